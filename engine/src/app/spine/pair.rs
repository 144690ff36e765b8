//! `nikola pair`: brings in a new client, with words for both sides.
//! Invariant: the token is made here and shown once; the broker gets its SHA-256 alone. The fingerprint shown on both
//! sides is the same or somebody is in between.

use super::{Failure, Whom, failed};
use crate::app::print_line;
use crate::exit;
use crate::spine::attach::keys_folder;
use crate::spine::client::{Client, ClientError};
use crate::spine::generated::nikola::{
    ComponentId, Control, Pairing, control::Verb, neural_spike::Payload, pairing::State,
};
use crate::spine::keys::KeyStore;
use crate::spine::sodium::{from_hex, hex, random, sha256};
use crate::spine::{pairing::TOKEN_LIFE, socket};
use clap::Args;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// First word of a pairing code.
const CODE: &str = "nikola1";

/// Between two looks for a candidate.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub(in crate::app) struct PairArguments {
    #[command(flatten)]
    whom: Whom,
    /// On the engine's machine: print a code for one new client and wait for it.
    #[arg(long, conflicts_with_all = ["code", "name"])]
    open: bool,
    /// What the new client may do: observe, component, inject, operate, admin; with commas between.
    #[arg(long, value_name = "ROLES", default_value = "observe,inject", requires = "open")]
    roles: String,
    /// Seconds the code is good for, at most 300.
    #[arg(long, value_name = "S", default_value_t = 300, requires = "open")]
    valid: u32,
    /// Do not ask whether the fingerprints agree.
    #[arg(long, requires = "open")]
    yes: bool,
    /// On the client's machine: the code that `nikola pair --open` printed.
    #[arg(required_unless_present = "open")]
    code: Option<String>,
    /// Name of the new client and of its key.
    #[arg(long, default_value = "client")]
    name: String,
    /// Where the new client keeps its key; NIKOLA_KEYS or the user's state folder when absent.
    #[arg(long, value_name = "DIR")]
    client_keys: Option<PathBuf>,
}

pub(super) fn execute(arguments: &PairArguments) -> Result<(), Failure> {
    match &arguments.code {
        Some(code) => join(arguments, code),
        None => open(arguments),
    }
}

/// The operator's side.
fn open(arguments: &PairArguments) -> Result<(), Failure> {
    let place = arguments.whom.place()?;
    let client = arguments.whom.connect(&place)?;
    let token = random::<32>();
    let valid_seconds = arguments.valid.min(TOKEN_LIFE.as_secs() as u32);
    let opened = ask(
        &client,
        Verb::PairOpen,
        Pairing {
            token_sha256: sha256(&token).to_vec(),
            valid_seconds,
            roles: arguments.roles.clone(),
            ..Pairing::default()
        },
    )?;
    let server = zmq::z85_decode(&place.server_key).map_err(failed(exit::SPINE))?;
    let pairing = place.network.as_ref().map_or(opened.endpoint, |network| network.pairing.clone());
    let code = format!("{CODE}:{}:{}:{pairing}", hex(&token), hex(&server));
    print_line(&format!(
        "Pairing is open for {valid_seconds} s and one client. On the client's machine type:\n\n  nikola pair '{code}' \
         --name NAME\n\nWaiting for it …"
    ))?;
    let deadline = Instant::now() + Duration::from_secs(u64::from(valid_seconds));
    let candidate = loop {
        let state = ask(&client, Verb::PairState, Pairing::default())?;
        match state.state() {
            State::Verification => break state,
            State::Locked => {
                return Err(Failure::new(
                    "pairing was locked: too many wrong tokens, or too late",
                    exit::REFUSED,
                ));
            }
            _ if Instant::now() > deadline => {
                return Err(Failure::new(
                    "nobody came in time; run `nikola pair --open` again",
                    exit::REFUSED,
                ));
            }
            _ => std::thread::sleep(LOOK_EVERY),
        }
    };
    print_line(&format!(
        "\n{:?} asks to come in with the roles {}. Its screen must show this fingerprint:\n\n  {}\n",
        candidate.name, arguments.roles, candidate.fingerprint
    ))?;
    let confirmed = arguments.yes || confirm()?;
    ask(&client, Verb::PairConfirm, Pairing { confirmed, ..Pairing::default() })?;
    if confirmed {
        print_line(&format!("{:?} is on the white list.", candidate.name))
    } else {
        Err(Failure::new("refused; nobody was admitted", exit::REFUSED))
    }
}

fn confirm() -> Result<bool, Failure> {
    print!("Do they agree? [y/N] ");
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed(exit::INPUT))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// The new client's side.
fn join(arguments: &PairArguments, code: &str) -> Result<(), Failure> {
    let wrong = || {
        let text = "this is no pairing code; expected the whole text between the quotes that `nikola pair --open` printed";
        Failure::new(text, exit::USAGE)
    };
    let parts: Vec<_> = code.trim().splitn(4, ':').collect();
    let [CODE, token, server, endpoint] = parts.as_slice() else { return Err(wrong()) };
    let token = from_hex(token).ok_or_else(wrong)?;
    let server = from_hex(server).filter(|key| key.len() == 32).ok_or_else(wrong)?;
    let server_key = zmq::z85_encode(&server).map_err(failed(exit::USAGE))?;
    let folder = arguments
        .client_keys
        .clone()
        .or_else(keys_folder)
        .ok_or_else(|| Failure::new("no folder for keys; name one with --client-keys", exit::USAGE))?;
    let store = KeyStore::open(&folder).map_err(failed(exit::SPINE))?;
    let key = store.key(&arguments.name).map_err(failed(exit::SPINE))?;
    let context = socket::context().map_err(failed(exit::SPINE))?;
    let mut client = Client::connect(&context, ComponentId::Agent, &key, &server_key, endpoint)?;
    client.patience = arguments.whom.patience();
    let request =
        Pairing { token, name: arguments.name.clone(), public_key: key.public.clone(), ..Pairing::default() };
    let control = Control { verb: Verb::PairRequest.into(), pairing: Some(request), ..Control::default() };
    let id = client.send(ComponentId::Spine, Payload::Control(control))?;
    let shown = pairing(client.answer_to(&id)?)?;
    print_line(&format!(
        "The engine's operator must see this fingerprint:\n\n  {}\n\nWaiting for the confirmation …",
        shown.fingerprint
    ))?;
    client.patience = TOKEN_LIFE;
    match pairing(client.answer_to(&id)?)?.outcome.as_str() {
        "admitted" => print_line(&format!(
            "Paired. Use it with: nikola ctl --as {} --keys {} status",
            arguments.name,
            store.folder().display()
        )),
        outcome => Err(Failure::new(format!("the operator's answer: {outcome}"), exit::REFUSED)),
    }
}

fn ask(client: &Client, verb: Verb, pairing_fields: Pairing) -> Result<Pairing, Failure> {
    let control = Control { verb: verb.into(), pairing: Some(pairing_fields), ..Control::default() };
    pairing(client.ask(control)?)
}

fn pairing(payload: Payload) -> Result<Pairing, Failure> {
    match payload {
        Payload::Control(Control { pairing: Some(pairing), .. }) => Ok(pairing),
        _ => Err(ClientError::Unexpected { expected: "a pairing" }.into()),
    }
}
