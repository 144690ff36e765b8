//! Absolute deadlines on the monotonic clock: sleep, wake whoever helps, then a short spin.
//!
//! Invariant: deadlines are one period apart and never in a burst; a late one moves all that follow (time dilates).
//! Source: clock_nanosleep(2) with TIMER_ABSTIME, which unlike a relative sleep does not add up its lateness; PR_SET_TIMERSLACK(2),
//! without which the kernel lets an ordinary thread wake another 50 µs later.

#![allow(unsafe_code)] // System calls of the monotonic clock.

/// Wall time per tick in real-time pacing: 1 kHz.
pub const PERIOD_NANOS: u64 = 1_000_000;

/// The last stretch before a deadline is spun, because a sleep wakes late by about this much, and so do the threads that are
/// woken at its beginning.
const SPIN_NANOS: u64 = 60_000;

/// Something that tells the time and waits. The runner's is the system's; tests have one of their own.
pub trait Clock {
    /// Monotonic nanoseconds.
    fn now(&mut self) -> u64;
    /// Returns about when `now()` has reached `nanos`, and leaves the processor to others until then.
    fn sleep_until(&mut self, nanos: u64);
    /// Returns when `now()` has reached `nanos`.
    fn spin_until(&mut self, nanos: u64);
}

/// CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(());

impl SystemClock {
    /// The clock of the calling thread, whose sleeps end as soon as the system can end them from now on.
    pub fn of_this_thread() -> Self {
        // What is refused here costs punctuality, nothing else.
        // SAFETY: this call takes one unsigned long and no pointer; it changes a number of the calling thread.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
        Self(())
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid place for a timespec; CLOCK_MONOTONIC always exists.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    fn sleep_until(&mut self, nanos: u64) {
        if self.now() < nanos {
            let time = libc::timespec {
                tv_sec: (nanos / 1_000_000_000) as libc::time_t,
                tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
            };
            // A signal may end the sleep early; the spin takes over.
            // SAFETY: `time` is a valid timespec and no remainder is asked for.
            unsafe {
                libc::clock_nanosleep(
                    libc::CLOCK_MONOTONIC,
                    libc::TIMER_ABSTIME,
                    &time,
                    std::ptr::null_mut(),
                );
            }
        }
    }

    fn spin_until(&mut self, nanos: u64) {
        while self.now() < nanos {
            std::hint::spin_loop();
        }
    }
}

/// The grid of deadlines.
#[derive(Debug, Clone, Copy)]
pub struct Pacer {
    /// When the period that runs now began.
    began: u64,
    period: u64,
}

impl Pacer {
    /// The first period begins now.
    pub fn new(clock: &mut impl Clock, period: u64) -> Self {
        Self { began: clock.now(), period }
    }

    /// End of the period that runs now.
    pub fn deadline(&self) -> u64 {
        self.began + self.period
    }

    /// When the period that runs now was due to begin.
    pub fn began(&self) -> u64 {
        self.began
    }

    /// Waits for the next period, and calls `rouse` a little before it; returns how many nanoseconds the one that ends was
    /// late. A late period's successor begins at once.
    pub fn next(&mut self, clock: &mut impl Clock, rouse: impl FnOnce()) -> u64 {
        let (deadline, now) = (self.deadline(), clock.now());
        if now > deadline {
            self.began = now;
            return now - deadline;
        }
        clock.sleep_until(deadline.saturating_sub(SPIN_NANOS));
        rouse();
        clock.spin_until(deadline);
        self.began = deadline;
        0
    }
}
