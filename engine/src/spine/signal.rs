//! SIGTERM to a child. Invariant: only processes that this one started and has not waited for are signalled.

#![allow(unsafe_code)] // kill(2)

/// Asks a process to end.
pub(super) fn terminate(process: u32) {
    if let Ok(process) = libc::pid_t::try_from(process) {
        // SAFETY: kill takes two integers; a process that is gone is an error that does not matter here.
        unsafe { libc::kill(process, libc::SIGTERM) };
    }
}
