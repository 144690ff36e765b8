//! Absolute deadlines on the monotonic clock: sleep, then a short spin.
//!
//! Invariant: deadlines are one period apart and never in a burst; a late one moves all that follow (time dilates).
//! Source: clock_nanosleep(2) with TIMER_ABSTIME, which unlike a relative sleep does not add up its lateness.

#![allow(unsafe_code)] // System calls of the monotonic clock.

/// Wall time per tick in real-time pacing: 1 kHz.
pub const PERIOD_NANOS: u64 = 1_000_000;

/// The last stretch before a deadline is spun, because a sleep wakes late by about this much.
const SPIN_NANOS: u64 = 60_000;

/// Something that tells the time and waits. The runner's is the system's; tests have one of their own.
pub trait Clock {
    /// Monotonic nanoseconds.
    fn now(&mut self) -> u64;
    /// Returns when `now()` has reached `nanos`.
    fn wait_until(&mut self, nanos: u64);
}

/// CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&mut self) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid place for a timespec; CLOCK_MONOTONIC always exists.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    fn wait_until(&mut self, nanos: u64) {
        let wake = nanos.saturating_sub(SPIN_NANOS);
        if self.now() < wake {
            let time = libc::timespec {
                tv_sec: (wake / 1_000_000_000) as libc::time_t,
                tv_nsec: (wake % 1_000_000_000) as libc::c_long,
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

    /// Waits for the next period; returns how many nanoseconds the one that ends was late. A late period's
    /// successor begins at once.
    pub fn next(&mut self, clock: &mut impl Clock) -> u64 {
        let (deadline, now) = (self.deadline(), clock.now());
        if now > deadline {
            self.began = now;
            return now - deadline;
        }
        clock.wait_until(deadline);
        self.began = deadline;
        0
    }
}
