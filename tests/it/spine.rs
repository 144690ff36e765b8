//! The spine over real sockets: the binary steered by its own command line, attacks, planes, robustness.
//! Invariant: no test waits for time; each waits for an answer or an event, with a deadline.

mod attack;
mod circuit;
mod engine;
mod python;
mod robust;
mod slow;
mod survival;
mod waves;

use super::command_line::Scratch;
use nikola_engine::spine::broker::{Config, Running};
use nikola_engine::spine::client::{Client, ClientError, Subscription};
use nikola_engine::spine::generated::nikola::{ComponentId, control::Verb, error::Code};
use nikola_engine::spine::keys::{KeyPair, KeyStore};
use nikola_engine::spine::roles::Roles;
use nikola_engine::spine::socket;
use std::path::PathBuf;
use std::time::Duration;

/// Long enough for a busy machine, short enough for a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long silence is listened to before it counts as silence.
const SILENCE: Duration = Duration::from_millis(700);

/// A broker without an engine, in a folder of its own, and keys for it.
struct Bench {
    scratch: Scratch,
    store: KeyStore,
    context: zmq::Context,
    broker: Option<Running>,
}

impl Bench {
    /// `peers`: names and roles that are on the white list from the start.
    fn new(name: &str, peers: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(&format!("spine-{name}"));
        let (store, _) = KeyStore::open_with_keys(&scratch.path().join("keys")).expect("a key store");
        for (name, roles) in peers {
            let key = store.key(name).expect("a key");
            store.admit(name, &key.public, &Roles::parse(roles).expect("roles")).expect("admitted");
        }
        let mut bench = Self { scratch, store, context: socket::context().expect("CURVE"), broker: None };
        bench.start();
        bench
    }

    fn start(&mut self) {
        self.broker = None;
        let config = Config {
            folder: self.scratch.path().into(),
            listen: None,
            keys: self.keys(),
            children: Vec::new(),
        };
        self.broker = Some(Running::start(config, None).expect("a broker"));
    }

    fn keys(&self) -> PathBuf {
        self.scratch.path().join("keys")
    }

    fn broker(&self) -> &Running {
        self.broker.as_ref().expect("started")
    }

    fn key(&self, name: &str) -> KeyPair {
        self.store.key(name).expect("a key")
    }

    fn connect(&self, key: &KeyPair, component: ComponentId, endpoint: &str) -> Client {
        let server = &self.broker().place().server_key;
        let mut client = Client::connect(&self.context, component, key, server, endpoint).expect("a socket");
        client.patience = PATIENCE;
        client
    }

    fn control(&self, name: &str) -> Client {
        self.connect(&self.key(name), ComponentId::Cli, &self.broker().place().endpoints.control)
    }

    fn data(&self, name: &str, component: ComponentId) -> Client {
        self.connect(&self.key(name), component, &self.broker().place().endpoints.data)
    }

    fn events(&self, name: &str, topic: &str) -> Subscription {
        let place = self.broker().place();
        Subscription::connect(
            &self.context,
            &self.key(name),
            &place.server_key,
            &place.endpoints.events,
            topic,
        )
        .expect("a socket")
    }
}

/// Whether nobody answers.
fn is_silent(client: &mut Client) -> bool {
    client.patience = SILENCE;
    matches!(client.ask_verb(Verb::Ping), Err(ClientError::Silence { .. }))
}

/// The code of a refusal.
fn code<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> Code {
    match outcome {
        Err(ClientError::Refused { error }) => error.code(),
        other => panic!("expected a refusal, found {other:?}"),
    }
}
