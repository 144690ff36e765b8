//! The broker: one thread between all components, the tick and the command line.
//!
//! ```text
//!           ┌───────────── spine-broker ─────────────┐
//! DEALER ──▶│ control  drained completely, first      │──orders──▶ tick
//! DEALER ──▶│ data     one message, then control again│◀─outcomes─ tick
//! DEALER ──▶│ pairing  one message a turn             │
//!    SUB ◀──│ events   PUB                            │──SIGTERM─▶ children
//!           └──────────────────────────────────────────┘
//! ```
//!
//! Invariant: after every data message the control socket is drained before the next; nothing here waits for one peer;
//! every queue is bounded and what does not fit is counted and told to its sender.

mod control;
mod data;
mod doors;
mod outbox;

pub use doors::Counters;

use super::clock::{Moment, now};
use super::health::{Health, REPORT_EVERY};
use super::keys::{KeyError, KeyStore, Whitelist};
use super::pairing::Pairing;
use super::place::{Endpoints, Place, PlaceError};
use super::port::BrokerPort;
use super::replay::ReplayGuard;
use super::roles::Roles;
use super::socket::SocketError;
use super::supervisor::{ChildSpec, GRACE, RealProcesses, Supervisor};
use super::zap::Admission;
use crate::intake::{IntakeSender, Receipt};
use control::Pending;
use data::Members;
use doors::{Doors, Incoming, Plane};
use outbox::Outbox;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks at the white list, the watchdog and the children.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Between two looks at orders without a receipt.
const RECEIPTS_EVERY: Duration = Duration::from_millis(10);

/// Data messages between two polls of all descriptors; control is looked at after each of them.
const DATA_BURST: usize = 64;

/// What a broker is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the sockets and of `spine.json`.
    pub folder: PathBuf,
    /// Address on the network, `tcp://ADDRESS:PORT`; none for this machine alone.
    pub listen: Option<String>,
    /// Folder of the key store.
    pub keys: PathBuf,
    /// Children to supervise.
    pub children: Vec<ChildSpec>,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Sockets.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Endpoints.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The system.
    #[error("the spine cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// A running broker; stops when dropped.
#[derive(Debug)]
pub struct Running {
    place: Place,
    counters: Arc<Counters>,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Opens the key store, binds every socket, writes `spine.json` and starts the thread.
    ///
    /// # Errors
    /// [`BrokerError`]; nothing runs then.
    pub fn start(config: Config, engine: Option<(BrokerPort, IntakeSender)>) -> Result<Self, BrokerError> {
        let (store, server) = KeyStore::open_with_keys(&config.keys)?;
        for child in &config.children {
            let key = store.key(&child.name)?;
            if !store.whitelist()?.peers.contains_key(&key.public) {
                store.admit(&child.name, &key.public, &Roles::parse("component").expect("a role"))?;
            }
        }
        // Before anybody can connect: whatever is sent to this broker is younger.
        let began = now();
        let endpoints = Endpoints::in_folder(&config.folder)?;
        let network = config.listen.as_deref().map(Endpoints::on_tcp).transpose()?;
        let admission = Arc::new(Admission::default());
        let stamp = store.whitelist_stamp();
        *admission.whitelist.write().expect("nobody else has it yet") = store.whitelist()?;
        let doors = Doors::open(&server, Arc::clone(&admission), &endpoints, network.as_ref())?;
        let place = Place {
            pid: std::process::id(),
            endpoints,
            network,
            server_key: server.public.clone(),
            keys: std::path::absolute(store.folder())?,
        };
        place.write(&config.folder)?;
        let environment = [("NIKOLA_SPINE", config.folder.as_path()), ("NIKOLA_KEYS", store.folder())]
            .map(|(name, path)| (name.to_string(), path.display().to_string()));
        let (stop, stopped) = UnixStream::pair()?;
        let counters = Arc::clone(&doors.counters);
        let broker = Broker {
            doors,
            server_key: server.public,
            place: place.clone(),
            admission,
            store,
            stamp,
            engine: engine.map(|(port, intake)| Engine {
                port,
                intake,
                events: place.endpoints.events.clone(),
            }),
            stopped,
            replay: ReplayGuard::new(began),
            pairing: Pairing::new(),
            pairing_waiter: None,
            health: Health::default(),
            supervisor: Supervisor::new(RealProcesses::new(environment.to_vec()), config.children, began),
            members: Members::default(),
            pending: Vec::new(),
            outbox: Outbox::default(),
            next_look: began,
            next_report: began,
            wave_until: began,
            is_halted: false,
        };
        let thread = std::thread::Builder::new().name("spine-broker".into()).spawn(move || broker.run())?;
        Ok(Self { place, counters, stop, thread: Some(thread) })
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What it counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Waits until somebody with the right to do so halts it; for a broker without an engine.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.write(&[1]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The way to the tick.
struct Engine {
    port: BrokerPort,
    intake: IntakeSender,
    /// Endpoint of the events.
    events: String,
}

/// Everything the thread owns.
struct Broker {
    doors: Doors,
    server_key: String,
    place: Place,
    admission: Arc<Admission>,
    store: KeyStore,
    stamp: Option<(i64, i64, u64, u64)>,
    engine: Option<Engine>,
    stopped: UnixStream,
    replay: ReplayGuard,
    pairing: Pairing,
    pairing_waiter: Option<Pending>,
    health: Health,
    supervisor: Supervisor<RealProcesses>,
    members: Members,
    pending: Vec<(Receiver<Receipt>, Pending)>,
    outbox: Outbox,
    next_look: Moment,
    next_report: Moment,
    /// Until when somebody wants waves.
    wave_until: Moment,
    is_halted: bool,
}

impl Broker {
    fn run(mut self) {
        while !self.is_halted && !self.wait() {
            self.turn();
        }
        self.end_children();
        self.doors.close();
    }

    /// Waits for something to do; whether to stop.
    fn wait(&self) -> bool {
        let at = now();
        // A refused order rings no bell.
        let receipts = (!self.pending.is_empty()).then(|| at.after(RECEIPTS_EVERY));
        let due = self.outbox.due().into_iter().chain(receipts).fold(self.next_look, Moment::min);
        // Rounded up: a timeout of zero before the time has come would spin.
        let millis = due.since(at).as_micros().div_ceil(1000) as i64;
        let mut items = vec![zmq::PollItem::from_fd(self.stopped.as_raw_fd(), zmq::POLLIN)];
        items.extend(self.doors.poll_items());
        items.extend(
            self.engine
                .iter()
                .map(|engine| zmq::PollItem::from_fd(engine.port.bell().as_raw_fd(), zmq::POLLIN)),
        );
        match zmq::poll(&mut items, millis) {
            Ok(_) | Err(zmq::Error::EINTR) => items[0].is_readable(),
            Err(_) => true,
        }
    }

    /// One round: outcomes, control, pairing, what is due, then data with control in between.
    fn turn(&mut self) {
        self.take_outcomes();
        self.drain_control();
        if let Some(incoming) = self.doors.receive(Plane::Pairing) {
            self.handle_pairing(incoming, now());
        }
        let at = now();
        self.resend(at);
        if at >= self.next_look {
            self.look(at);
        }
        for _ in 0..DATA_BURST {
            let Some(incoming) = self.doors.receive(Plane::Data) else { break };
            self.handle_data(incoming, now());
            self.drain_control();
        }
    }

    fn drain_control(&mut self) {
        while let Some(incoming) = self.doors.receive(Plane::Control) {
            self.handle_control(incoming, now());
        }
    }

    /// White list, watchdog, children, reports.
    fn look(&mut self, at: Moment) {
        self.next_look = at.after(LOOK_EVERY);
        self.reload_whitelist();
        self.expire_pairing(at);
        if let Some(engine) = self.engine.as_ref().filter(|_| at >= self.wave_until) {
            engine.port.wishes.publish_wave(0, super::sparse::THETA);
        }
        for change in self.health.check(at) {
            if change.state == super::generated::nikola::status_report::State::Dead {
                self.supervisor.resurrect(&change.name, at);
            }
            self.doors.publish_text("health", &format!("{} {}", change.name, change.state.as_str_name()));
        }
        for name in self.supervisor.step(at) {
            self.health.seen(&name, super::generated::nikola::ComponentId::Unknown, at);
            self.doors.publish_text("health", &format!("{name} started"));
        }
        if at >= self.next_report {
            self.next_report = at.after(REPORT_EVERY);
            let report = self.engine_report(at);
            self.doors.publish_report(report);
        }
    }

    /// Reads the white list again when it changed. Who was removed is cut off at once: its messages are no longer
    /// looked at, and the event socket, which cannot drop one subscriber, is made anew.
    fn reload_whitelist(&mut self) {
        let stamp = self.store.whitelist_stamp();
        if stamp == self.stamp {
            return;
        }
        // A list that cannot be read admits nobody.
        let list = self.store.whitelist().unwrap_or_default();
        self.stamp = stamp;
        let old =
            self.admission.whitelist.write().map(|mut held| std::mem::replace(&mut *held, list.clone()));
        let old: Whitelist = old.unwrap_or_default();
        let removed: Vec<_> = old.peers.iter().filter(|(key, _)| !list.peers.contains_key(*key)).collect();
        for (key, peer) in &removed {
            self.replay.forget(key.as_bytes());
            self.members.forget(&peer.name);
            self.health.forget(&peer.name);
        }
        if !removed.is_empty() {
            Counters::add(&self.doors.counters.revoked, removed.len() as u64);
            self.doors.renew_events();
        }
    }

    fn end_children(&mut self) {
        let began = now();
        while !self.supervisor.end(now().since(began) < GRACE) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn set_pairing_door(&mut self, at: Moment) {
        let is_open = *self.pairing.state(at) != super::pairing::State::Locked;
        self.admission.is_pairing_open.store(is_open, Ordering::Release);
    }
}
