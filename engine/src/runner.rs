//! The runner: the only wall clock. It calls ticks at absolute deadlines, or as fast as they go.
//!
//! Invariant: pacing never changes a state. In real time a tick that comes too late moves the deadline (time
//! dilates); the runner never catches up in a burst.

use nikola_systems::Simulation;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Wall time per tick in real-time pacing.
pub const TICK_PERIOD: Duration = Duration::from_millis(1);

/// The last stretch before a deadline is spun, because a sleep wakes late by about this much.
const SPIN: Duration = Duration::from_micros(80);

/// How ticks follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Pace {
    /// As fast as possible.
    #[default]
    Free,
    /// One thousand ticks per second of wall time.
    Realtime,
}

/// How the pacing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PaceReport {
    /// Ticks that ended after their deadline.
    pub late_ticks: u64,
    /// Whole periods given up because of late ticks.
    pub dropped_periods: u64,
}

/// Nanoseconds since the first call; monotonic.
pub fn now_nanos() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Runs until `is_done` says so after a tick.
///
/// # Errors
/// Whatever `after_tick` returns ends the run.
pub fn run<E>(
    simulation: &mut Simulation,
    ticks: u64,
    pace: Pace,
    mut after_tick: impl FnMut(&mut Simulation) -> Result<bool, E>,
) -> Result<PaceReport, E> {
    let mut report = PaceReport::default();
    let mut deadline = Instant::now() + TICK_PERIOD;
    for _ in 0..ticks {
        simulation.tick();
        let goes_on = after_tick(simulation)?;
        if !goes_on {
            break;
        }
        if pace == Pace::Realtime {
            deadline = wait_until(deadline, &mut report);
        }
    }
    Ok(report)
}

/// Waits for `deadline` and returns the next one.
fn wait_until(deadline: Instant, report: &mut PaceReport) -> Instant {
    let now = Instant::now();
    if now > deadline {
        let missed = (now - deadline).as_nanos() / TICK_PERIOD.as_nanos();
        report.late_ticks += 1;
        report.dropped_periods += missed as u64;
        return now + TICK_PERIOD;
    }
    if let Some(rest) = (deadline - now).checked_sub(SPIN) {
        std::thread::sleep(rest);
    }
    while Instant::now() < deadline {
        std::hint::spin_loop();
    }
    deadline + TICK_PERIOD
}
