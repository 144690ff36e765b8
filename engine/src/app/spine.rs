//! `nikola ctl`, `nikola pair`, `nikola keys`, `nikola spine`: the command line's side of the control plane.
//! Invariant: every answer can be had as JSON; no answer and a refusal have exit codes of their own.

mod ctl;
mod keys;
mod pair;
mod print;

use super::{Failure, print_line};
use crate::exit;
use crate::spine::attach::{child, keys_folder};
use crate::spine::broker::{Config, Running};
use crate::spine::client::{Client, ClientError};
use crate::spine::generated::nikola::ComponentId;
use crate::spine::keys::{CLI, KeyStore};
use crate::spine::place::Place;
use crate::spine::{priority, socket};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Subcommand, Debug)]
pub(super) enum SpineTask {
    /// Steer a running engine: status, watch, scram, resume, nap, halt, snapshot, inject, set, subscribe, …
    Ctl(ctl::CtlArguments),
    /// Bring in a new client: `nikola pair --open` on the engine's machine, then `nikola pair CODE` on the client's.
    Pair(pair::PairArguments),
    /// List, make, admit and revoke keys.
    Keys(keys::KeysArguments),
    /// Run a broker without an engine.
    Spine(BrokerArguments),
}

#[derive(Args, Debug)]
pub(super) struct BrokerArguments {
    /// Folder of the sockets and of spine.json.
    folder: PathBuf,
    /// Let known keys in over the network too: tcp://ADDRESS:PORT, and the three ports after it.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Key store; NIKOLA_KEYS, /etc/nikola/keys or the user's state folder when absent.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Start and supervise a component (may be repeated).
    #[arg(long = "child", value_name = "NAME=COMMAND")]
    children: Vec<String>,
}

/// Whom to speak with, and as whom.
#[derive(Args, Debug)]
pub(super) struct Whom {
    /// Run folder of the engine; the newest one that runs below runs/ when absent.
    #[arg(long, value_name = "DIR", global = true)]
    run: Option<PathBuf>,
    /// Name of the key to use.
    #[arg(long = "as", value_name = "NAME", default_value = CLI, global = true)]
    key_name: String,
    /// Key store; the engine's when absent.
    #[arg(long, value_name = "DIR", global = true)]
    keys: Option<PathBuf>,
    /// Seconds to wait for an answer.
    #[arg(long, value_name = "S", default_value_t = 5.0, global = true)]
    timeout: f64,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

pub(super) fn execute(task: &SpineTask) -> Result<(), Failure> {
    match task {
        SpineTask::Ctl(arguments) => ctl::execute(arguments),
        SpineTask::Pair(arguments) => pair::execute(arguments),
        SpineTask::Keys(arguments) => keys::execute(arguments),
        SpineTask::Spine(arguments) => serve(arguments),
    }
}

fn serve(arguments: &BrokerArguments) -> Result<(), Failure> {
    std::fs::create_dir_all(&arguments.folder).map_err(failed(exit::OUTPUT))?;
    let children: Result<_, _> = arguments.children.iter().map(|text| child(text)).collect();
    let config = Config {
        folder: arguments.folder.clone(),
        listen: arguments.listen.clone(),
        keys: arguments.keys.clone().or_else(keys_folder).unwrap_or_else(|| arguments.folder.join("keys")),
        children: children.map_err(failed(exit::USAGE))?,
    };
    let running = Running::start(config, None).map_err(failed(exit::SPINE))?;
    print_line(&format!("a broker serves {}", running.place().endpoints.control))?;
    running.wait();
    Ok(())
}

fn failed<E: std::fmt::Display>(code: u8) -> impl FnOnce(E) -> Failure {
    move |error| Failure::new(error, code)
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = if matches!(error, ClientError::Refused { .. }) { exit::REFUSED } else { exit::SPINE };
        Self::new(error, code)
    }
}

impl Whom {
    fn place(&self) -> Result<Place, Failure> {
        Place::find(self.run.as_deref()).map_err(failed(exit::SPINE))
    }

    fn patience(&self) -> Duration {
        Duration::try_from_secs_f64(self.timeout).unwrap_or(Duration::from_secs(5))
    }

    /// The key to use with that engine.
    fn key(&self, place: &Place) -> Result<crate::spine::keys::KeyPair, Failure> {
        let folder = self.keys.as_ref().unwrap_or(&place.keys);
        let store = KeyStore::open(folder).map_err(failed(exit::SPINE))?;
        store.key(&self.key_name).map_err(failed(exit::SPINE))
    }

    /// A connection to the control socket.
    fn connect(&self, place: &Place) -> Result<Client, Failure> {
        // Here and in libzmq's thread: an operator's command goes before whatever keeps this machine busy.
        priority::be_prompt();
        let context = socket::context().map_err(failed(exit::SPINE))?;
        let key = self.key(place)?;
        let mut client =
            Client::connect(&context, ComponentId::Cli, &key, &place.server_key, &place.endpoints.control)?;
        client.patience = self.patience();
        Ok(client)
    }
}
