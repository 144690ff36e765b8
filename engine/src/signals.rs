//! Signals become requests that the runner looks at between ticks.
//!
//! Invariant: SIGTERM and the first SIGINT ask for an orderly end; a second SIGINT leaves at once (a journal covers what
//! ran). SIGUSR1 asks for a nap, SIGUSR2 for a blink.

use crate::intake::Bells;
use std::io;

/// What the shell reports for a process that SIGINT ended.
#[cfg(unix)]
const INTERRUPTED: i32 = 130;

/// Listens from now on.
///
/// # Errors
/// When the system refuses a handler.
#[cfg(unix)]
pub fn listen() -> io::Result<Bells> {
    use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    use signal_hook::flag;
    let bells = Bells::default();
    // Handlers run in the order they were registered: the first SIGINT finds the bell silent.
    flag::register_conditional_shutdown(SIGINT, INTERRUPTED, bells.halt.clone())?;
    flag::register(SIGINT, bells.halt.clone())?;
    flag::register(SIGTERM, bells.halt.clone())?;
    flag::register(SIGUSR1, bells.nap.clone())?;
    flag::register(SIGUSR2, bells.blink.clone())?;
    Ok(bells)
}

/// There are no such signals here: the bells stay silent.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn listen() -> io::Result<Bells> {
    Ok(Bells::default())
}
