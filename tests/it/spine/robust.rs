//! Robustness: hostile bytes, slow readers, dead peers, restarts, many messages; nothing grows.

use super::super::command_line::{Scratch, binary};
use super::{Bench, PATIENCE, code};
use nikola_engine::spine::client::Client;
use nikola_engine::spine::generated::nikola::{
    ComponentId, RetrieveResponse, SparseWaveform, control::Verb, error::Code, neural_spike::Payload,
};
use nikola_engine::spine::keys::{KeyPair, KeyStore};
use nikola_engine::spine::place::Place;
use nikola_engine::spine::roles::Roles;
use nikola_engine::spine::socket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Numbers that look random and are the same every time.
fn noise(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 24
}

#[test]
fn hostile_frames_are_counted_and_change_nothing() {
    let bench = Bench::new("fuzz", &[("part", "component")]);
    let (control, data) = (bench.control("cli"), bench.data("part", ComponentId::Agent));
    let mut state = 11;
    for round in 0..2000 {
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for _ in 0..=noise(&mut state) % 5 {
            let length = noise(&mut state) % 300;
            frames.push((0..length).map(|_| noise(&mut state) as u8).collect());
        }
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let target = if round % 2 == 0 { &control } else { &data };
        target.send_bytes(&frames).expect("taken");
        // Answers to malformed bytes are read, so that they do not pile up.
        while target.receive(Duration::ZERO).is_some() {}
    }
    assert!(control.ask_verb(Verb::Ping).is_ok());
    let malformed = bench.broker().counters().figures().find(|(name, _)| name == "spine.malformed");
    assert!(malformed.expect("a counter").1 >= 990.0);
    // Beyond the bound libzmq ends the connection, which comes back.
    data.send_bytes(&[&vec![0; 8 << 20]]).expect("taken");
    control.send_bytes(&[&vec![0; 128 << 10]]).expect("taken");
    assert!(bench.control("cli").ask_verb(Verb::Ping).is_ok());
}

#[test]
fn messages_find_their_way_and_answers_theirs_back() {
    let names = [("a", "component"), ("m1", "component"), ("m2", "component")];
    let bench = Bench::new("route", &names);
    let asker = bench.data("a", ComponentId::Agent);
    let workers = ["m1", "m2"].map(|name| bench.data(name, ComponentId::Memory));
    let id = asker.send(ComponentId::Memory, Payload::Text("too early".into())).expect("sent");
    assert_eq!(code(asker.answer_to(&id)), Code::Unreachable);
    // A component is there once it was heard of.
    for worker in &workers {
        let id = worker.send(ComponentId::Ingest, Payload::Text("here".into())).expect("sent");
        assert_eq!(code(worker.answer_to(&id)), Code::Unreachable);
    }
    let key = |first: u8| {
        let mut keys = vec![0; 16];
        keys[0] = first;
        Payload::SparseWaveform(SparseWaveform { keys, ..SparseWaveform::default() })
    };
    // The lowest keys belong to the first worker, the highest to the second.
    for (first, worker) in [(0, 0), (0x3f, 1)] {
        let id = asker.send(ComponentId::Memory, key(first)).expect("sent");
        let question = workers[worker].receive(PATIENCE).expect("the question");
        assert_eq!(question.request_id, id);
        let mut answer = question.clone();
        answer.set_sender(ComponentId::Memory);
        answer.set_recipient(ComponentId::Agent);
        answer.sequence = nikola_engine::spine::envelope::next_sequence();
        answer.payload = Some(Payload::RetrieveResponse(RetrieveResponse::default()));
        workers[worker].send_spike(&answer).expect("sent");
        assert!(matches!(asker.answer_to(&id), Ok(Payload::RetrieveResponse(_))));
    }
    // Texts go to the two in turn.
    for _ in 0..2 {
        asker.send(ComponentId::Memory, Payload::Text("turn".into())).expect("sent");
    }
    assert!(workers.iter().all(|worker| worker.receive(PATIENCE).is_some()));
}

#[test]
fn a_restarted_broker_is_found_again_and_nothing_answered_was_lost() {
    let mut bench = Bench::new("restart", &[]);
    let client = bench.control("cli");
    let server = bench.broker().place().server_key.clone();
    for round in 0..3 {
        assert!(client.ask_verb(Verb::Ping).is_ok(), "round {round}");
        bench.start();
        assert_eq!(bench.broker().place().server_key, server, "the identity survives");
        // What was in flight is asked again: without an answer nothing was promised.
        let began = Instant::now();
        let mut patient = client.ask_verb(Verb::Ping);
        while patient.is_err() && began.elapsed() < PATIENCE {
            patient = client.ask_verb(Verb::Ping);
        }
        assert!(patient.is_ok(), "{patient:?}");
    }
}

fn serve(binary: &Path, scratch: &Scratch) -> Child {
    let mut command = Command::new(binary);
    command.arg("spine").arg(scratch.path()).arg("--keys").arg(scratch.path().join("keys"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a broker starts")
}

/// A broker in a process of its own, so that what it holds can be counted from outside.
pub(super) struct Process {
    binary: PathBuf,
    child: Child,
    scratch: Scratch,
}

impl Process {
    pub(super) fn start(name: &str, peers: &[&str]) -> Option<Self> {
        let binary = binary()?;
        let scratch = Scratch::new(&format!("broker-{name}"));
        let (store, _) = KeyStore::open_with_keys(&scratch.path().join("keys")).expect("a key store");
        for peer in peers {
            let key = store.key(peer).expect("a key").public;
            store.admit(peer, &key, &Roles::parse("component,operate").expect("roles")).expect("admitted");
        }
        let child = serve(&binary, &scratch);
        let process = Self { binary, child, scratch };
        process.wait();
        Some(process)
    }

    /// SIGKILL, and a new broker in the same folder with the same keys.
    pub(super) fn kill_and_restart(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        std::fs::remove_file(self.scratch.path().join("spine.json")).expect("left behind");
        self.child = serve(&self.binary, &self.scratch);
        self.wait();
    }

    fn wait(&self) {
        let began = Instant::now();
        while Place::read(self.scratch.path()).is_err() {
            assert!(began.elapsed() < PATIENCE, "no spine.json");
            std::thread::yield_now();
        }
    }

    pub(super) fn place(&self) -> Place {
        Place::read(self.scratch.path()).expect("a place")
    }

    pub(super) fn key(&self, name: &str) -> KeyPair {
        let store = KeyStore::open(&self.scratch.path().join("keys")).expect("a key store");
        store.key(name).expect("a key")
    }

    pub(super) fn client(&self, context: &zmq::Context, name: &str, is_control: bool) -> Client {
        let endpoints = self.place().endpoints;
        let endpoint = if is_control { endpoints.control } else { endpoints.data };
        self.connect(context, name, ComponentId::Agent, &endpoint)
    }

    /// On the data plane.
    pub(super) fn client_as(&self, context: &zmq::Context, name: &str, component: ComponentId) -> Client {
        self.connect(context, name, component, &self.place().endpoints.data)
    }

    fn connect(&self, context: &zmq::Context, name: &str, component: ComponentId, endpoint: &str) -> Client {
        let (server, key) = (self.place().server_key, self.key(name));
        let mut client = Client::connect(context, component, &key, &server, endpoint).expect("a socket");
        client.patience = PATIENCE;
        client
    }

    pub(super) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("a process").count()
    }

    pub(super) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn many_connections_and_messages_leave_nothing_behind() {
    let Some(broker) = Process::start("growth", &["part"]) else { return };
    let context = socket::context().expect("CURVE");
    let control = broker.client(&context, "cli", true);
    let connect = |n| {
        for _ in 0..n {
            assert!(broker.client(&context, "cli", true).ask_verb(Verb::Ping).is_ok());
        }
    };
    let speak = |n: u32| {
        let part = broker.client(&context, "part", false);
        // A queue that is full stays so for as long as the broker's data plane has to wait for a processor.
        let patiently = |recipient, text: &str| {
            let began = Instant::now();
            loop {
                match part.send(recipient, Payload::Text(text.into())) {
                    Ok(id) => return id,
                    Err(_) => assert!(began.elapsed() < PATIENCE, "the broker takes nothing"),
                }
            }
        };
        let text = "x".repeat(64);
        for _ in 0..n {
            patiently(ComponentId::Unknown, &text);
        }
        // An answer to the last of them: all before it are done.
        let id = patiently(ComponentId::Ingest, "end");
        assert_eq!(code(part.answer_to(&id)), Code::Unreachable);
    };
    connect(10);
    speak(2_000);
    let settled = |wanted: usize| {
        let began = Instant::now();
        while broker.descriptors() > wanted && began.elapsed() < PATIENCE {
            assert!(control.ask_verb(Verb::Ping).is_ok());
        }
        broker.descriptors()
    };
    let descriptors = broker.descriptors();
    let memory = broker.memory_kib();
    connect(50);
    speak(30_000);
    assert!(settled(descriptors) <= descriptors, "descriptors");
    let after = broker.memory_kib();
    assert!(after < memory + 16 * 1024, "{memory} kB before, {after} kB after");
}
