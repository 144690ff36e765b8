//! How a run gets its spine.
//! Invariant: a run without a folder, or with a path too long for a socket, runs without one and says so; anything else
//! that is wrong stops it before its first tick.

use super::broker::{BrokerError, Config, Running};
use super::keys::KeyError;
use super::place::PlaceError;
use super::port::port;
use super::supervisor::ChildSpec;
use super::tick_side::TickSide;
use crate::intake::IntakeSender;
use crate::run::{RunError, SpineRequest};
use std::path::{Path, PathBuf};

/// Where a system service keeps its keys.
const SYSTEM_KEYS: &str = "/etc/nikola/keys";

/// Starts the broker of a run and returns its edge.
///
/// # Errors
/// [`RunError::Spine`].
pub fn attach(
    request: &SpineRequest,
    folder: &Path,
    scene: &str,
    intake: IntakeSender,
) -> Result<Option<TickSide>, RunError> {
    let failed = |error: BrokerError| RunError::Spine { reason: error.to_string() };
    let children = request.children.iter().map(|text| child(text)).collect::<Result<_, _>>();
    let mut config = Config {
        folder: folder.to_path_buf(),
        listen: request.listen.clone(),
        keys: request.keys.clone().or_else(keys_folder).unwrap_or_else(|| folder.join("keys")),
        children: children.map_err(|reason| RunError::Spine { reason })?,
    };
    let start = |config: &Config| {
        let (broker, tick) = port().map_err(BrokerError::System)?;
        Running::start(config.clone(), Some((broker, intake.clone()))).map(|running| (running, tick))
    };
    let mut started = start(&config);
    if request.keys.is_none() && matches!(started, Err(BrokerError::Key(KeyError::File { .. }))) {
        // A home folder that cannot be written: the keys live as long as the run folder.
        config.keys = folder.join("keys");
        started = start(&config);
    }
    match started {
        Ok((running, tick)) => Ok(Some(TickSide::new(tick, scene, running))),
        Err(BrokerError::Place(long @ PlaceError::TooLong { .. })) => {
            eprintln!("warning: no spine: {long}");
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

/// The key store unless one is named: NIKOLA_KEYS, that of the system service, or the user's state folder.
pub fn keys_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let system = Some(PathBuf::from(SYSTEM_KEYS)).filter(|path| path.is_dir());
    let state = || {
        let state = variable("XDG_STATE_HOME");
        state
            .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
            .map(|path| path.join("nikola/keys"))
    };
    variable("NIKOLA_KEYS").or(system).or_else(state)
}

/// Reads `NAME=PROGRAM ARGUMENTS…`.
///
/// # Errors
/// What is wrong with it.
pub fn child(text: &str) -> Result<ChildSpec, String> {
    let wrong = || format!("{text:?} is no child; expected NAME=PROGRAM ARGUMENTS…");
    let (name, command) = text.split_once('=').ok_or_else(wrong)?;
    let command: Vec<_> = command.split_whitespace().map(String::from).collect();
    if command.is_empty() || !super::keys::is_name(name) {
        return Err(wrong());
    }
    Ok(ChildSpec { name: name.into(), command })
}
