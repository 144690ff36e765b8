//! `nikola keys`: the key store, without a running engine.
//! Invariant: secret keys are never printed.

use super::{Failure, failed};
use crate::app::print_line;
use crate::exit;
use crate::spine::attach::keys_folder;
use crate::spine::keys::{KeyError, KeyStore, is_public_key};
use crate::spine::roles::Roles;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(in crate::app) struct KeysArguments {
    /// Key store; NIKOLA_KEYS, /etc/nikola/keys or the user's state folder when absent.
    #[arg(long, value_name = "DIR", global = true)]
    keys: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<KeysVerb>,
}

#[derive(Subcommand, Debug)]
enum KeysVerb {
    /// Print the keys of this store and who is admitted (the default).
    List,
    /// Make a key pair and print its public part.
    New {
        /// Its name.
        name: String,
    },
    /// Put a public key on the white list.
    Admit {
        /// Name of its owner.
        name: String,
        /// Public key in Z85.
        public_key: String,
        /// observe, component, inject, operate, admin; with commas between.
        #[arg(long, default_value = "observe")]
        roles: String,
    },
    /// Take a name off the white list; a running engine cuts it off at once.
    Revoke {
        /// Name.
        name: String,
    },
}

pub(super) fn execute(arguments: &KeysArguments) -> Result<(), Failure> {
    let folder = arguments.keys.clone().or_else(keys_folder);
    let folder =
        folder.ok_or_else(|| Failure::new("no folder for keys; name one with --keys", exit::USAGE))?;
    let store = KeyStore::open(&folder)?;
    match arguments.verb.as_ref().unwrap_or(&KeysVerb::List) {
        KeysVerb::List => list(&store),
        KeysVerb::New { name } => print_line(&format!("{name}  {}", store.key(name)?.public)),
        KeysVerb::Admit { name, public_key, roles } => {
            if !is_public_key(public_key) {
                let text = format!("{public_key:?} is no public key; expected 40 characters in Z85");
                return Err(Failure::new(text, exit::USAGE));
            }
            store.admit(name, public_key, &Roles::parse(roles).map_err(failed(exit::USAGE))?)?;
            print_line(&format!("{name} is on the white list"))
        }
        KeysVerb::Revoke { name } => {
            let was_there = store.revoke(name)?;
            let word = if was_there { "is off" } else { "was not on" };
            print_line(&format!("{name} {word} the white list"))
        }
    }
}

fn list(store: &KeyStore) -> Result<(), Failure> {
    let whitelist = store.whitelist()?;
    print_line(&format!("{}\n\nown keys:", store.folder().display()))?;
    for name in store.names()? {
        print_line(&format!("  {name:<20} {}", store.key(&name)?.public))?;
    }
    print_line("admitted:")?;
    let mut peers: Vec<_> = whitelist.peers.iter().collect();
    peers.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    for (key, peer) in peers {
        print_line(&format!("  {:<20} {key}  {}", peer.name, peer.roles))?;
    }
    for line in &whitelist.bad_lines {
        print_line(&format!("not understood: {}: {line}", store.whitelist_path().display()))?;
    }
    Ok(())
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::new(error, exit::SPINE)
    }
}
