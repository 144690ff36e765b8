//! Which of the spine's threads the system prefers when there are fewer processors than work.
//!
//! Invariant: needs no privilege, and changes nothing but when a thread runs. Threads that a thread starts afterwards,
//! those of a libzmq context among them, inherit what it has here.
//!
//! A thread that sleeps and wakes for a moment waits, on a busy machine, until the one that runs has used its slice up:
//! one to three milliseconds, for each of the four threads that a question passes. Since Linux 6.12 a thread may ask for
//! a short slice (sched_setattr(2), `sched_runtime` under SCHED_OTHER), and the scheduler then lets it in at once; older
//! kernels ignore the wish. What moves bulk steps back by its nice value instead.

#![allow(unsafe_code)] // System calls.

/// Slice of a prompt thread in nanoseconds: the shortest the kernel grants, several times what a question takes.
const SLICE_NANOS: u64 = 100_000;

/// How much nicer the data plane is: a fourteenth of the share of an ordinary thread, so that it is slow, not starved,
/// beside a tick that uses every processor. With five steps commands beside a full data plane still waited 2 to 3 ms at
/// the 99th percentile on two busy processors, with twelve a third to half of one.
const STEP_BACK: i32 = 12;

/// Asks that the calling thread is let in as soon as it wakes.
pub fn be_prompt() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: zeroes are a valid value of this plain structure.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::sched_attr>() as u32;
        attributes.size = size;
        // SAFETY: the structure outlives the call and its size is given; 0 is the calling thread.
        let code = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
        if code == 0 && attributes.sched_policy == libc::SCHED_OTHER as u32 {
            attributes.sched_runtime = SLICE_NANOS;
            // SAFETY: as above. A refusal leaves the thread as it was.
            let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
        }
    }
}

/// Lets every ordinary thread go first.
pub fn step_back() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: takes integers; 0 is the calling thread, whose nice value Linux keeps for itself.
        let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        // SAFETY: as above; being nicer is always allowed.
        let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice + STEP_BACK) };
    }
}

/// Runs `make` on a thread of its own that called `prepare`, and waits: what it starts inherits.
pub fn made_by<T: Send>(prepare: fn(), make: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let maker = scope.spawn(move || {
            prepare();
            make()
        });
        maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn nice() -> i32 {
        // SAFETY: takes integers; 0 is the calling thread.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn threads_that_are_started_inherit_and_nobody_else_changes() {
        let before = nice();
        let inherited = made_by(step_back, || std::thread::spawn(nice).join().expect("no panic"));
        assert_eq!((nice(), inherited), (before, (before + STEP_BACK).min(19)));
        assert_eq!(made_by(be_prompt, nice), before, "a short slice is no other nice value");
    }
}
