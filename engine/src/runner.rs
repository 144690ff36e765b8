//! The runner: the only wall clock. It calls ticks at absolute deadlines, or as fast as they go.
//!
//! Invariant: pacing never changes a state but by decisions that enter the tick as data and are recorded: [`replay`]
//! of the same decisions gives the same digest. In real time a tick that comes too late moves the deadline (time
//! dilates); the runner never catches up in a burst.
//!
//! ```text
//! real time, each period:  governor ─ Drop ──────────────────────────────────────► next period
//!                             └ intake → edges → tick → edges → thresholds → pet the watchdog → sleep, spin
//! ```

pub mod governor;
pub mod pacer;
pub mod privileges;
pub mod watchdog;

use crate::edge::{Edge, Ending, Flow};
use crate::exit;
use crate::intake::{Alarm, Batch, Intake, Order};
use crate::observe::histogram::Histogram;
use crate::run::RunError;
use crate::shm::writer::wall_nanos;
use governor::{Decision, Governor, RealtimeRules, TimingJournal};
use nikola_systems::Simulation;
use nikola_systems::components::oracle;
use nikola_systems::components::ports::Command;
use pacer::{Clock, PERIOD_NANOS, Pacer, SystemClock};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use watchdog::{TickRecord, Watchdog};

/// Longest time between a request to halt and the end of the process, unless somebody asks for less.
pub const END_LIMIT_SECS: f64 = 60.0;

/// How ticks follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Pace {
    /// As fast as possible.
    #[default]
    Free,
    /// One thousand ticks per second of wall time.
    Realtime,
}

/// Where the watchdog leaves what it knows, and after how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchdogPlan {
    /// Longest time without a tick, microseconds.
    pub limit_micros: u64,
    /// The black box.
    pub path: PathBuf,
}

/// Everything about the clock that a run is given.
#[derive(Debug, Clone, Default)]
pub struct Pacing {
    /// Free or real time.
    pub pace: Pace,
    /// What real time does to a tick.
    pub rules: RealtimeRules,
    /// Armed in real time only.
    pub watchdog: Option<WatchdogPlan>,
    /// Longest orderly end; [`END_LIMIT_SECS`] where absent.
    pub end_limit: Option<Duration>,
}

/// Times from the scheduled begin of a period to the end of its work.
#[derive(Debug, Clone, Default)]
pub struct Periods {
    /// Of all periods.
    pub histogram: Histogram,
    /// Longer than 1,000 µs.
    pub n_over_1000_micros: u64,
    /// Longer than 1,050 µs.
    pub n_over_1050_micros: u64,
}

impl Periods {
    /// Adds one.
    pub fn add(&mut self, nanos: u64) {
        self.histogram.add(nanos);
        self.n_over_1000_micros += u64::from(nanos > 1_000_000);
        self.n_over_1050_micros += u64::from(nanos > 1_050_000);
    }

    /// Adds those of another run.
    pub fn absorb(&mut self, other: &Self) {
        self.histogram.absorb(&other.histogram);
        self.n_over_1000_micros += other.n_over_1000_micros;
        self.n_over_1050_micros += other.n_over_1050_micros;
    }
}

/// How the pacing went.
#[derive(Debug, Clone, Default)]
pub struct PaceReport {
    /// Why the run ended.
    pub ending: Ending,
    /// When its last tick did, nanoseconds since 1970.
    pub ended_nanos: u64,
    /// Ticks that ended after their deadline.
    pub late_ticks: u64,
    /// Periods in which no tick ran.
    pub dropped_periods: u64,
    /// Ticks without the nonlinear flow.
    pub degraded_ticks: u64,
    /// Every decision that real time made.
    pub journal: TimingJournal,
    /// Those that came after the last batch: ticks done then, and the decision.
    pub last_decisions: Vec<(u64, Decision)>,
    /// How long the periods' work took; empty in free pacing.
    pub periods: Periods,
}

/// Nanoseconds since the first call; monotonic.
pub fn now_nanos() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The processor's own counter, which is read in a third of the time of a clock; where it has none, [`now_nanos`].
#[allow(unsafe_code)]
pub fn counter() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction; it reads a register and touches no memory.
    return unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    now_nanos()
}

/// Runs until `until` ticks are done, an edge stops the run or a halt is asked for; then the edges' ends, in order.
///
/// # Errors
/// The first failure of an edge ends the run at once; so does a watchdog that cannot be armed.
pub fn run(
    simulation: &mut Simulation,
    until: u64,
    pacing: &Pacing,
    intake: &mut Intake,
    edges: &mut [&mut dyn Edge],
) -> Result<PaceReport, RunError> {
    let realtime = match pacing.pace {
        Pace::Free => None,
        Pace::Realtime => Some(Realtime::new(SystemClock::of_this_thread(), pacing)?),
    };
    let end_limit = pacing.end_limit.unwrap_or(Duration::from_secs_f64(END_LIMIT_SECS));
    run_with(simulation, until, realtime, end_limit, intake, edges)
}

fn run_with<C: Clock>(
    simulation: &mut Simulation,
    until: u64,
    mut realtime: Option<Realtime<C>>,
    end_limit: Duration,
    intake: &mut Intake,
    edges: &mut [&mut dyn Edge],
) -> Result<PaceReport, RunError> {
    let mut batch = Batch::default();
    let mut ending = Ending::Done;
    // A run that is continued begins on time.
    let was_throttled = simulation.growth().is_some_and(|growth| growth.is_throttled);
    let mut relief = was_throttled.then_some(Decision::Throttle(false));
    while simulation.tick_count() < until {
        let mut oldest = 0;
        if let Some(realtime) = &mut realtime {
            if !realtime.admits(simulation.tick_count()) {
                realtime.end_period(simulation);
                continue;
            }
            oldest = realtime.oldest_order();
        }
        intake.gather(simulation, oldest, &mut batch);
        batch.orders.extend(relief.take().and_then(|decision| carry_out(decision, simulation)));
        if let Some(realtime) = &mut realtime {
            realtime.enter(simulation, &mut batch);
        }
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
        if let Some(realtime) = &mut realtime {
            realtime.measure(simulation.tick_count());
        }
        if flow == Flow::Stop {
            ending = Ending::Stopped;
            break;
        }
        if batch.wants_halt {
            ending = Ending::Halted;
            break;
        }
        if batch.wants_blink {
            ending = Ending::Blink;
            break;
        }
        if let Some(realtime) = &mut realtime {
            realtime.end_period(simulation);
        }
    }
    let mut report = realtime.map(Realtime::report).unwrap_or_default();
    (report.ending, report.ended_nanos) = (ending, wall_nanos());
    let _bound = (ending == Ending::Halted).then(|| EndBound::begin(end_limit));
    for edge in edges.iter_mut() {
        edge.at_end(simulation, ending)?;
    }
    Ok(report)
}

/// Ends the process when an orderly end takes longer than it may.
struct EndBound(Option<SyncSender<()>>);

impl EndBound {
    fn begin(limit: Duration) -> Self {
        let (sender, end) = sync_channel::<()>(1);
        let watch = move || {
            if end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!(
                    "error: the orderly end took longer than {} s; leaving now, the journal covers the rest",
                    limit.as_secs_f64()
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

/// Runs until `until` ticks are done with the decisions of an earlier run in place of a clock.
pub fn replay(simulation: &mut Simulation, until: u64, journal: &TimingJournal) {
    let mut decisions = journal.decisions().iter().peekable();
    while simulation.tick_count() < until {
        let done = simulation.tick_count();
        while let Some(&(_, decision)) = decisions.next_if(|(tick, _)| *tick <= done) {
            // An empty batch takes what the earlier run's took.
            let _ = carry_out(decision, simulation);
        }
        simulation.tick();
    }
}

/// Lets a decision act on the coming tick, and gives the order that a journal keeps for it. A dropped period has
/// nothing to act on; a soft SCRAM acts where the scene has an oracle, whose states end it, and is on record elsewhere.
fn carry_out(decision: Decision, simulation: &mut Simulation) -> Option<Order> {
    match decision {
        Decision::Degrade => simulation.push(Command::Degrade).ok().map(|()| Order::Degrade),
        Decision::Throttle(is_throttled) => {
            simulation.growth()?;
            let order = Order::ThrottleGrowth(is_throttled);
            simulation.push(Command::ThrottleGrowth(is_throttled)).ok().map(|()| order)
        }
        Decision::SoftScram => {
            let alarm = oracle::Alarm::Overload;
            simulation.push(Command::Scram(alarm)).ok().map(|()| Order::Scram(Alarm::Overload))
        }
        Decision::Drop => None,
    }
}

/// One run in real time.
struct Realtime<C: Clock> {
    clock: C,
    pacer: Pacer,
    governor: Governor,
    watchdog: Option<Watchdog>,
    order_age_nanos_max: u64,
    /// When the work of this period began.
    began: u64,
    /// Decisions for the coming tick, each with the ticks done when it was made.
    decisions: Vec<(u64, Decision)>,
    is_degraded: bool,
    report: PaceReport,
}

impl<C: Clock> Realtime<C> {
    fn new(mut clock: C, pacing: &Pacing) -> Result<Self, RunError> {
        let arm =
            |plan: &WatchdogPlan| Watchdog::arm(plan.limit_micros, &plan.path).map_err(RunError::Watchdog);
        Ok(Self {
            pacer: Pacer::new(&mut clock, PERIOD_NANOS),
            clock,
            governor: Governor::new(pacing.rules),
            watchdog: pacing.watchdog.as_ref().map(arm).transpose()?,
            order_age_nanos_max: (pacing.rules.order_age_millis_max * 1e6) as u64,
            began: 0,
            decisions: Vec::new(),
            is_degraded: false,
            report: PaceReport::default(),
        })
    }

    /// Whether a tick runs in this period.
    fn admits(&mut self, done: u64) -> bool {
        self.began = self.clock.now();
        let left = self.pacer.deadline().saturating_sub(self.began);
        let decision = self.governor.before_tick(done, left);
        self.is_degraded = decision == Some(Decision::Degrade);
        self.report.degraded_ticks += u64::from(self.is_degraded);
        self.decisions.extend(decision.map(|decision| (done, decision)));
        let is_dropped = decision == Some(Decision::Drop);
        self.report.dropped_periods += u64::from(is_dropped);
        !is_dropped
    }

    /// Orders sent before this moment waited too long.
    fn oldest_order(&self) -> u64 {
        now_nanos().saturating_sub(self.order_age_nanos_max)
    }

    /// Hands the decisions to the tick and to its record.
    fn enter(&mut self, simulation: &mut Simulation, batch: &mut Batch) {
        batch.decisions.append(&mut self.decisions);
        let decisions = batch.decisions.iter();
        batch.orders.extend(decisions.filter_map(|(_, decision)| carry_out(*decision, simulation)));
    }

    /// The work of this period is done.
    fn measure(&mut self, tick: u64) {
        let now = self.clock.now();
        let work_nanos = now - self.began;
        let period_nanos = now - self.pacer.began();
        let late_nanos = now.saturating_sub(self.pacer.deadline());
        self.report.periods.add(period_nanos);
        let decided = self.governor.after_tick(tick, work_nanos, self.is_degraded);
        self.decisions.extend(decided.into_iter().map(|decision| (tick, decision)));
        if let Some(watchdog) = &self.watchdog {
            watchdog.remember(TickRecord { tick, work_nanos, late_nanos, is_degraded: self.is_degraded });
        }
    }

    /// Sleeps until the next period.
    fn end_period(&mut self, simulation: &Simulation) {
        let rouse = || simulation.compute().rouse();
        self.report.late_ticks += u64::from(self.pacer.next(&mut self.clock, rouse) > 0);
        if let Some(watchdog) = &self.watchdog {
            watchdog.pet();
        }
    }

    fn report(mut self) -> PaceReport {
        self.report.journal = std::mem::take(&mut self.governor.journal);
        self.report.last_decisions = std::mem::take(&mut self.decisions);
        self.report
    }
}

#[cfg(test)]
mod tests;
