//! The spine: control latency with an empty and with a full data plane, round trips beside a bare libzmq echo, cost of
//! the tick's look at the control plane, a million messages.
//!
//! Invariant: what is compared is measured in turn in the same process; medians and 99th percentiles are printed, with
//! the number of messages that really waited.
//!
//! Full data plane: feeders queue messages until their connections take no more, and stop. What was sent and not yet
//! handled waits in the broker's queue, in the sockets and in the feeders' own queues, and goes on arriving and being
//! handled while commands are timed; only those sent while at least 100,000 waited before and after count. Then the
//! queues are filled again. The commanding client has a context of its own and asks for a short slice, as `nikola ctl`
//! does; so have both ends of the echo. The feeders stand for other processes, whose threads would otherwise compete with
//! the commanding client on a machine of two processors: they step back as far as the broker's data plane does.

use nikola_engine::edge::Edge;
use nikola_engine::intake::Batch;
use nikola_engine::scene;
use nikola_engine::spine::broker::{Config, Running};
use nikola_engine::spine::client::Client;
use nikola_engine::spine::generated::nikola::{ComponentId, control::Verb, neural_spike::Payload};
use nikola_engine::spine::keys::{KeyPair, KeyStore};
use nikola_engine::spine::port::port;
use nikola_engine::spine::priority::{be_prompt, made_by, step_back};
use nikola_engine::spine::roles::Roles;
use nikola_engine::spine::socket;
use nikola_engine::spine::tick_side::TickSide;
use nikola_engine::spine::zap::{Admission, DOMAIN, Handler};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::world::BuildOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages that must wait while the full plane is measured.
const WAITING: u64 = 100_000;

/// Clients that fill the data plane; each connection holds 10,000 messages at either end.
const FEEDERS: usize = 24;

/// Commands that are timed.
const PINGS: usize = 5_000;

fn quantiles(mut micros: Vec<f64>) -> (f64, f64) {
    micros.sort_by(f64::total_cmp);
    let at = |q: f64| micros[((micros.len() - 1) as f64 * q) as usize];
    (at(0.5), at(0.99))
}

fn config(folder: &Path) -> Config {
    Config { folder: folder.into(), listen: None, keys: folder.join("keys"), children: Vec::new() }
}

fn counted(broker: &Running, name: &str) -> u64 {
    broker.counters().figures().find(|(found, _)| found == name).map_or(0, |(_, value)| value as u64)
}

struct Place {
    folder: PathBuf,
    store: KeyStore,
    broker: Running,
}

impl Place {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("nikola-bench-spine-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let (store, _) = KeyStore::open_with_keys(&folder.join("keys")).expect("a key store");
        for i in 0..FEEDERS {
            let name = format!("feeder{i}");
            let key = store.key(&name).expect("a key").public;
            store.admit(&name, &key, &Roles::parse("component").expect("a role")).expect("admitted");
        }
        let broker = Running::start(config(&folder), None).expect("a broker");
        Self { folder, store, broker }
    }

    fn client(&self, context: &zmq::Context, name: &str, is_control: bool) -> Client {
        let place = self.broker.place();
        let endpoint = if is_control { &place.endpoints.control } else { &place.endpoints.data };
        let key = self.store.key(name).expect("a key");
        Client::connect(context, ComponentId::Agent, &key, &place.server_key, endpoint).expect("a socket")
    }

    /// The client that commands, in a context of its own.
    fn commander(&self) -> Client {
        self.client(&socket::context().expect("CURVE"), "cli", true)
    }

    /// Messages that were sent and are not handled yet.
    fn waiting(&self, sent: u64) -> u64 {
        sent.saturating_sub(counted(&self.broker, "spine.data"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn ping(client: &Client) -> f64 {
    let began = Instant::now();
    client.ask_verb(Verb::Ping).expect("an answer");
    began.elapsed().as_secs_f64() * 1e6
}

/// A bare ROUTER that sends back what it gets, and the DEALER that asks it; with CURVE or without.
struct Echo {
    dealer: zmq::Socket,
    _zap: Option<Handler>,
}

impl Echo {
    fn new(folder: &Path, is_curve: bool) -> Self {
        // A context for each end, as in two processes: with one, libzmq would hand over between its own threads.
        let [context, asker] = [(), ()].map(|()| socket::context().expect("CURVE"));
        let endpoint = format!("ipc://{}/echo-{is_curve}.ipc", folder.display());
        let (server, client) = (KeyPair::generate(), KeyPair::generate());
        let admission = Arc::new(Admission::default());
        let list = nikola_engine::spine::keys::Whitelist::parse(&format!("c {}", client.public));
        *admission.whitelist.write().expect("a lock") = list;
        let zap = is_curve.then(|| Handler::start(&context, admission).expect("a handler"));
        let router = if is_curve {
            socket::server(&context, zmq::ROUTER, &server, DOMAIN).expect("a socket")
        } else {
            context.socket(zmq::ROUTER).expect("a socket")
        };
        router.bind(&endpoint).expect("bound");
        std::thread::spawn(move || {
            while let Ok(frames) = router.recv_multipart(0) {
                if frames.last().is_some_and(|body| body == b"end") {
                    break;
                }
                let _ = router.send_multipart(frames, 0);
            }
        });
        let dealer = if is_curve {
            socket::client(&asker, zmq::DEALER, &client, &server.public, &endpoint).expect("a socket")
        } else {
            let dealer = asker.socket(zmq::DEALER).expect("a socket");
            dealer.connect(&endpoint).expect("connected");
            dealer
        };
        Self { dealer, _zap: zap }
    }

    fn round_trip(&self) -> f64 {
        let began = Instant::now();
        self.dealer.send(&[7u8; 64][..], 0).expect("sent");
        let _ = self.dealer.recv_bytes(0).expect("received");
        began.elapsed().as_secs_f64() * 1e6
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.dealer.send("end", 0);
    }
}

fn round_trips(place: &Place) {
    let (bare, curve) = (Echo::new(&place.folder, false), Echo::new(&place.folder, true));
    let client = place.commander();
    let (mut ours, mut theirs, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5_000 {
        theirs.push(bare.round_trip());
        sealed.push(curve.round_trip());
        ours.push(ping(&client));
    }
    let [ours, theirs, sealed] = [ours, theirs, sealed].map(quantiles);
    println!("round trip over ipc, µs                  p50      p99");
    println!("  bare libzmq echo, 64 bytes        {:8.1} {:8.1}", theirs.0, theirs.1);
    println!("  bare libzmq echo with CURVE       {:8.1} {:8.1}", sealed.0, sealed.1);
    println!("  control command through broker    {:8.1} {:8.1}", ours.0, ours.1);
    println!(
        "  ÷ echo with CURVE {:.2} (asked ≤ 1.3), ÷ bare echo {:.2}; asked < 500 µs\n",
        ours.0 / sealed.0,
        ours.0 / theirs.0
    );
}

fn latency_beside_a_full_data_plane(place: &Place) {
    let idle: Vec<f64> = made_by(be_prompt, || {
        let client = place.commander();
        (0..PINGS).map(|_| ping(&client)).collect()
    });
    let feeders: Vec<_> = made_by(step_back, || {
        let context = socket::context().expect("CURVE");
        (0..FEEDERS).map(|i| place.client(&context, &format!("feeder{i}"), false)).collect()
    });
    let mut sent = counted(&place.broker, "spine.data");
    let (mut full, mut least, mut most, mut n_rounds) = (Vec::new(), u64::MAX, 0, 0);
    let began = Instant::now();
    while full.len() < PINGS && began.elapsed() < Duration::from_secs(120) {
        sent += fill(&feeders);
        n_rounds += 1;
        most = most.max(place.waiting(sent));
        made_by(be_prompt, || {
            let client = place.commander();
            // The handshake is no command's latency.
            let _ = ping(&client);
            while full.len() < PINGS && place.waiting(sent) >= WAITING {
                let micros = ping(&client);
                let waiting = place.waiting(sent);
                if waiting >= WAITING {
                    least = least.min(waiting);
                    full.push(micros);
                }
            }
        });
    }
    println!("control latency, µs                      p50      p99");
    let idle = quantiles(idle);
    println!("  data plane empty                  {:8.1} {:8.1}", idle.0, idle.1);
    if full.is_empty() {
        println!("  the data plane never held {WAITING} messages here (at most {most})\n");
        return;
    }
    let n = full.len();
    let full = quantiles(full);
    println!(
        "  {least} to {most} messages waiting {:8.1} {:8.1}   ({n} pings in {n_rounds} fillings; asked p99 < 1000)\n",
        full.0, full.1
    );
    // What follows begins with an empty plane.
    while place.waiting(sent) > 0 {
        std::thread::yield_now();
    }
}

/// Sends until no feeder takes any more; how many were sent.
fn fill(feeders: &[Client]) -> u64 {
    let mut sent = 0;
    loop {
        let before = sent;
        for feeder in feeders {
            let text = || Payload::Text("x".repeat(64));
            sent +=
                (0..256).take_while(|_| feeder.try_send(ComponentId::Unknown, text()).is_ok()).count() as u64;
        }
        // A round in which less than a tenth was taken only keeps up with what the broker handles.
        if sent - before < 256 * feeders.len() as u64 / 10 {
            return sent;
        }
    }
}

/// One feeder and one broker: how long a million messages take, and what they leave behind.
fn a_million_messages(place: &Place) {
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB").trim();
        line.trim_end_matches(" kB").parse::<u64>().unwrap_or(0)
    };
    let descriptors = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let feeder = place.client(&socket::context().expect("CURVE"), "feeder0", false);
    let speak = |n: u64| {
        let start = counted(&place.broker, "spine.data");
        for _ in 0..n {
            while feeder.try_send(ComponentId::Unknown, Payload::Text("x".repeat(64))).is_err() {
                std::thread::yield_now();
            }
        }
        while counted(&place.broker, "spine.data") < start + n {
            std::thread::yield_now();
        }
    };
    speak(100_000);
    let before = (memory(), descriptors());
    let began = Instant::now();
    speak(1_000_000);
    let secs = began.elapsed().as_secs_f64();
    println!(
        "10^6 messages of 64 bytes: {secs:.1} s, {:.0} a second; memory {} → {} kB, descriptors {} → {}\n",
        1e6 / secs,
        before.0,
        memory(),
        before.1,
        descriptors()
    );
}

/// What the tick pays for being reachable when nobody says anything.
fn control_poll() {
    let text = "(version: 1, torus: (extents: {z: 16}), ticks: 1, initial: Uniform(amplitude: 1))";
    let scene = scene::load_str("tiny.ron", text, &[]).expect("a scene");
    let resolved = scene::resolve(&scene, &scene.base_dir).expect("resolves");
    let mut simulation = Simulation::new(&resolved.setup, &BuildOptions::default()).expect("builds");
    let folder = std::env::temp_dir().join(format!("nikola-bench-poll-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let builder = nikola_engine::intake::OrderBuilder::new(&scene, &resolved.setup);
    let (sender, mut intake) = nikola_engine::intake::Intake::new(builder);
    let (ours, theirs) = port().expect("a port");
    let running = Running::start(config(&folder), Some((ours, sender))).expect("a broker");
    let mut edge = TickSide::new(theirs, "tiny", running);
    let mut batch = Batch::default();
    let mut nanos = Vec::new();
    for _ in 0..200_000 {
        let began = Instant::now();
        intake.gather(&mut simulation, 0, &mut batch);
        edge.before_tick(&simulation, &mut batch).expect("goes on");
        edge.after_tick(&mut simulation).expect("goes on");
        nanos.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let (p50, p99) = quantiles(nanos);
    println!("control poll per tick, µs: p50 {p50:.3}, p99 {p99:.3} (asked ≤ 30)");
    drop(edge);
    let _ = std::fs::remove_dir_all(folder);
}

fn main() {
    let place = Place::new();
    made_by(be_prompt, || round_trips(&place));
    latency_beside_a_full_data_plane(&place);
    a_million_messages(&place);
    control_poll();
}
