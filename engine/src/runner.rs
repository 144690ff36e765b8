//! The runner: the only wall clock. It calls ticks at absolute deadlines, or as fast as they go.
//!
//! Invariant: pacing never changes a state. In real time a tick that comes too late moves the deadline (time
//! dilates); the runner never catches up in a burst.

use crate::edge::{Edge, Ending, Flow};
use crate::exit;
use crate::intake::{Batch, Intake};
use crate::run::RunError;
use nikola_systems::Simulation;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Wall time per tick in real-time pacing.
pub const TICK_PERIOD: Duration = Duration::from_millis(1);

/// Longest time between a request to halt and the end of the process.
const END_LIMIT: Duration = Duration::from_secs(60);

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

/// Runs until `until` ticks are done, an edge stops the run or a halt is asked for; then the edges' ends, in order.
///
/// # Errors
/// The first failure of an edge ends the run at once.
pub fn run(
    simulation: &mut Simulation,
    until: u64,
    pace: Pace,
    intake: &mut Intake,
    edges: &mut [&mut dyn Edge],
) -> Result<PaceReport, RunError> {
    let mut report = PaceReport::default();
    let mut batch = Batch::default();
    let mut ending = Ending::Done;
    let mut deadline = Instant::now() + TICK_PERIOD;
    while simulation.tick_count() < until {
        intake.gather(simulation, &mut batch);
        for edge in edges.iter_mut() {
            edge.before_tick(simulation, &mut batch)?;
        }
        // Orders of a batch with a halt in it are taken in first: they are on the record already.
        batch.acknowledge();
        simulation.tick();
        let mut flow = Flow::Continue;
        for edge in edges.iter_mut() {
            if edge.after_tick(simulation)? == Flow::Stop {
                flow = Flow::Stop;
            }
        }
        if flow == Flow::Stop {
            ending = Ending::Stopped;
            break;
        }
        if batch.wants_halt {
            ending = Ending::Halted;
            break;
        }
        if pace == Pace::Realtime {
            deadline = wait_until(deadline, &mut report);
        }
    }
    let _bound = (ending == Ending::Halted).then(EndBound::begin);
    for edge in edges.iter_mut() {
        edge.at_end(simulation, ending)?;
    }
    Ok(report)
}

/// Ends the process when an orderly end takes longer than it may.
struct EndBound(Option<SyncSender<()>>);

impl EndBound {
    fn begin() -> Self {
        let (sender, end) = sync_channel::<()>(1);
        let watch = move || {
            if end.recv_timeout(END_LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!(
                    "error: the orderly end took longer than {} s; leaving now, the journal covers the rest",
                    END_LIMIT.as_secs()
                );
                std::process::exit(i32::from(exit::OUTPUT));
            }
        };
        // Without a thread to be had the end is merely not bounded.
        let _ = std::thread::Builder::new().name("end-bound".into()).spawn(watch);
        Self(Some(sender))
    }
}

impl Drop for EndBound {
    fn drop(&mut self) {
        self.0 = None;
    }
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
