//! The broker: two threads between all components, the tick and the command line.
//!
//! ```text
//!           ┌──────── spine-broker (prompt) ──────────┐
//! DEALER ──▶│ control  drained completely, first      │──orders──▶ tick
//! DEALER ──▶│ pairing  one message a turn             │◀─outcomes─ tick
//!           │ white list, watchdog, children          │──SIGTERM─▶ children
//!           └───────────────┬─────────────────────────┘
//!           counters · health · white list · events (PUB) ──▶ SUB
//!           ┌───────────────┴─────────────────────────┐
//! DEALER ──▶│ data     handed on, guarded by breakers │
//!           └──────── spine-data (steps back) ────────┘
//! ```
//!
//! Invariant: control and data share no socket, no libzmq thread and no queue, and the scheduler prefers control, so
//! that a command's latency does not depend on how much data waits; nothing here waits for one peer; every queue is
//! bounded and what does not fit is counted and told to its sender.

mod control;
mod data;
mod desk;
mod doors;
mod outbox;
mod questions;

pub use doors::Counters;

use super::clock::{Moment, now};
use super::health::{Health, REPORT_EVERY};
use super::keys::{KeyError, KeyStore, Whitelist};
use super::pairing::Pairing;
use super::place::{Endpoints, Place, PlaceError};
use super::port::BrokerPort;
use super::priority;
use super::roles::Roles;
use super::socket::{SocketError, readable};
use super::supervisor::{ChildSpec, GRACE, RealProcesses, Supervisor};
use super::zap::Admission;
use crate::intake::{IntakeSender, Receipt};
use control::Pending;
use data::DataPlane;
use desk::{Desk, Outcome};
use doors::{Doors, Events, Plane};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks at the white list, the watchdog and the children.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Between two looks at orders without a receipt.
const RECEIPTS_EVERY: Duration = Duration::from_millis(10);

/// Folder of the breakers' states, in the key store: it outlives every run.
const BREAKERS: &str = "breakers";

/// Where a peer is: its routing id, and an empty delimiter when it used one.
type Route = Vec<Vec<u8>>;

/// What both threads use. Locks are held for one look or one message, never while waiting.
struct Shared {
    admission: Arc<Admission>,
    counters: Arc<Counters>,
    health: Mutex<Health>,
    events: Mutex<Events>,
    /// Keys and names that were taken off the white list and that the data plane has not forgotten yet.
    withdrawn: Mutex<Vec<(String, String)>>,
    /// Messages that wait for a recipient to take them.
    n_parcels: AtomicU64,
}

impl Shared {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn withdrawn(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        let counters: Arc<Counters> = Arc::default();
        let at: Vec<Endpoints> = std::iter::once(&endpoints).chain(&network).cloned().collect();
        // libzmq's threads inherit from the thread that opens a context's first socket.
        let control = priority::made_by(priority::be_prompt, || {
            Doors::open(&[Plane::Control, Plane::Pairing], &server, &admission, &at, &counters)
        })?;
        let data = priority::made_by(priority::step_back, || {
            Doors::open(&[Plane::Data], &server, &admission, &at, &counters)
        })?;
        let events = Events::open(&server, &admission, &at, &counters)?;
        let breakers = store.folder().join(BREAKERS);
        // In a store that cannot be written, breakers remember in memory alone.
        let _ = std::fs::create_dir_all(&breakers);
        let shared = Arc::new(Shared {
            admission,
            counters: Arc::clone(&counters),
            health: Mutex::default(),
            events: Mutex::new(events),
            withdrawn: Mutex::default(),
            n_parcels: AtomicU64::new(0),
        });
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
        let broker = Broker {
            desk: Desk::new(control, began, Arc::clone(&shared)),
            data: DataPlane::start(data, began, &shared, breakers)?,
            shared,
            server_key: server.public,
            place: place.clone(),
            store,
            stamp,
            engine: engine.map(|(port, intake)| Engine {
                port,
                intake,
                events: place.endpoints.events.clone(),
            }),
            stopped,
            pairing: Pairing::new(),
            pairing_waiter: None,
            supervisor: Supervisor::new(RealProcesses::new(environment.to_vec()), config.children, began),
            pending: Vec::new(),
            next_look: began,
            next_report: began,
            wave_until: began,
            is_halted: false,
        };
        let thread = std::thread::Builder::new().name("spine-broker".into()).spawn(move || {
            priority::be_prompt();
            broker.run();
        })?;
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
    desk: Desk,
    data: data::Running,
    shared: Arc<Shared>,
    server_key: String,
    place: Place,
    store: KeyStore,
    stamp: Option<(i64, i64, u64, u64)>,
    engine: Option<Engine>,
    stopped: UnixStream,
    pairing: Pairing,
    pairing_waiter: Option<Pending>,
    supervisor: Supervisor<RealProcesses>,
    pending: Vec<(Receiver<Receipt>, Pending)>,
    next_look: Moment,
    next_report: Moment,
    /// Until when somebody wants waves.
    wave_until: Moment,
    is_halted: bool,
}

impl Broker {
    fn run(mut self) {
        while !self.is_halted {
            match self.wait() {
                Some(is_rung) => self.turn(is_rung),
                None => break,
            }
        }
        self.end_children();
        drop(self.data);
        self.shared.events().close();
    }

    /// Waits for something to do: whether the tick rang its bell, or nothing when it is time to stop.
    fn wait(&self) -> Option<bool> {
        let at = now();
        // A refused order rings no bell.
        let receipts = (!self.pending.is_empty()).then(|| at.after(RECEIPTS_EVERY));
        let due = self.desk.outbox.due().into_iter().chain(receipts).fold(self.next_look, Moment::min);
        let [control, pairing] = [Plane::Control, Plane::Pairing].map(|plane| self.desk.door(plane));
        // Both doors are asked: news that one of them swallowed is told here or never.
        let is_quiet = control.is_quiet() & pairing.is_quiet();
        let wait = if is_quiet { due.since(at) } else { Duration::ZERO };
        let bell = self.engine.as_ref().map(|engine| engine.port.bell().as_raw_fd());
        let descriptors =
            [Some(control.descriptor()), Some(pairing.descriptor()), Some(self.stopped.as_raw_fd()), bell];
        let [is_control, is_pairing, is_stopped, is_rung] = readable(descriptors, wait).ok()?;
        for (door, _) in [(control, is_control), (pairing, is_pairing)].into_iter().filter(|door| door.1) {
            door.wake();
        }
        (!is_stopped).then_some(is_rung)
    }

    /// One round: control, outcomes, pairing, what is due.
    fn turn(&mut self, is_rung: bool) {
        self.drain_control();
        if is_rung || !self.pending.is_empty() {
            self.take_outcomes();
        }
        if let Some(incoming) = self.desk.door(Plane::Pairing).receive() {
            self.handle_pairing(incoming, now());
        }
        let at = now();
        self.resend(at);
        if at >= self.next_look {
            self.look(at);
        }
    }

    fn drain_control(&mut self) {
        while let Some(incoming) = self.desk.door(Plane::Control).receive() {
            self.handle_control(incoming, now());
        }
    }

    /// Tries again what is due.
    fn resend(&mut self, at: Moment) {
        while let Some((parcel, attempt)) = self.desk.outbox.take(at) {
            if let Some(Outcome::Lost(loss)) = self.desk.send(parcel, attempt, at) {
                self.desk.regret(loss, at);
            }
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
        let changes = self.shared.health().check(at);
        for change in changes {
            if change.state == super::generated::nikola::status_report::State::Dead {
                self.supervisor.resurrect(&change.name, at);
            }
            let text = format!("{} {}", change.name, change.state.as_str_name());
            self.shared.events().publish_text("health", &text);
        }
        for name in self.supervisor.step(at) {
            self.shared.health().seen(&name, super::generated::nikola::ComponentId::Unknown, at);
            self.shared.events().publish_text("health", &format!("{name} started"));
        }
        if at >= self.next_report {
            self.next_report = at.after(REPORT_EVERY);
            let report = self.engine_report(at);
            self.shared.events().publish_report(report);
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
        let mut held = self.shared.admission.whitelist.write().unwrap_or_else(PoisonError::into_inner);
        let old: Whitelist = std::mem::replace(&mut *held, list);
        let removed: Vec<(String, String)> = old
            .peers
            .into_iter()
            .filter(|(key, _)| !held.peers.contains_key(key))
            .map(|(key, peer)| (key, peer.name.clone()))
            .collect();
        drop(held);
        for (key, name) in &removed {
            self.desk.forget(key);
            self.shared.health().forget(name);
        }
        if !removed.is_empty() {
            let n_removed = removed.len() as u64;
            self.shared.withdrawn().extend(removed);
            Counters::add(&self.shared.counters.revoked, n_removed);
            self.shared.events().renew();
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
        self.shared.admission.is_pairing_open.store(is_open, Ordering::Release);
    }
}
