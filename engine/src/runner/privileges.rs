//! What the system grants a real-time thread: locked memory, SCHED_FIFO, a processor of its own.
//! Invariant: each refusal is one warning that names the remedy; a run goes on without. None changes a state.

#![allow(unsafe_code)] // System calls.

use std::io;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Privileges {
    /// SCHED_FIFO priority of the tick thread, 1 to 99.
    pub priority: Option<i32>,
    /// The only processor the tick thread may run on.
    pub cpu: Option<usize>,
    /// No page of the process leaves memory.
    pub lock_memory: bool,
}

/// What was granted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Granted {
    /// Whether the tick thread has real-time priority.
    pub has_priority: bool,
    /// One line per refusal.
    pub warnings: Vec<String>,
}

/// Asks for everything, for the calling thread.
pub fn request(wanted: Privileges) -> Granted {
    let mut granted = Granted::default();
    let mut refused = |what: String, remedy: &str| {
        let reason = io::Error::last_os_error();
        granted.warnings.push(format!("warning [real-time]: {what} refused ({reason}); {remedy}"));
    };
    if wanted.lock_memory {
        // SAFETY: no pointers involved.
        let code = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
        if code != 0 {
            refused(
                "locking memory was".into(),
                "raise the limit (`ulimit -l unlimited`, LimitMEMLOCK= of a unit), or leave --lock-memory out",
            );
        }
    }
    if let Some(cpu) = wanted.cpu {
        // SAFETY: a zeroed set is an empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        let is_nameable = cpu < libc::CPU_SETSIZE as usize;
        if is_nameable {
            // SAFETY: `cpu` is inside the set.
            unsafe { libc::CPU_SET(cpu, &mut set) };
        }
        // SAFETY: `set` is valid for the size given; 0 is the calling thread.
        let code = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
        if code != 0 {
            refused(
                format!("pinning to processor {cpu} was"),
                "name one of the processors this process may use (`taskset -p $$` shows them)",
            );
        }
    }
    let mut has_priority = false;
    if let Some(priority) = wanted.priority {
        let parameters = libc::sched_param { sched_priority: priority };
        // SAFETY: `parameters` is valid; 0 is the calling thread.
        has_priority = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) } == 0;
        if !has_priority {
            refused(
                format!("SCHED_FIFO priority {priority} was"),
                "run with CAP_SYS_NICE or raise the limit (`ulimit -r 99`, LimitRTPRIO= of a unit); priorities are 1 to 99",
            );
        }
    }
    granted.has_priority = has_priority;
    granted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_for_nothing_refused() {
        assert_eq!(request(Privileges::default()), Granted::default());
    }

    #[test]
    fn a_refusal_is_one_line_with_a_remedy() {
        let impossible = Privileges { priority: Some(1000), cpu: Some(100_000), lock_memory: false };
        let granted = std::thread::spawn(move || request(impossible)).join().expect("no panic");
        assert!(!granted.has_priority);
        assert_eq!(granted.warnings.len(), 2, "{:?}", granted.warnings);
        for (warning, remedy) in granted.warnings.iter().zip(["taskset", "CAP_SYS_NICE"]) {
            assert!(warning.contains("refused (") && warning.contains(remedy), "{warning}");
        }
    }
}
