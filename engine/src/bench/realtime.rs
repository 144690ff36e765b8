//! Real time, measured: a scene at one thousand ticks per second beside a bare loop that only sleeps.
//!
//! Invariant: the two are interleaved in halves of a second of the same minute, so both see the same machine; both
//! measure from the scheduled begin of a period to the end of its work, which for the bare loop is waking up.

use super::TickRow;
use crate::edge::{Edge, Flow};
use crate::intake::{Batch, Intake, OrderBuilder};
use crate::run::RunError;
use crate::runner::pacer::{Clock, PERIOD_NANOS, Pacer, SystemClock};
use crate::runner::{self, Pace, Pacing, Periods, now_nanos};
use crate::scene::{Scene, resolve};
use nikola_systems::Simulation;
use nikola_systems::world::BuildOptions;
use serde::Serialize;

/// Periods of one half.
const HALF: u64 = 500;

/// One of the two loops.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lateness {
    /// Periods measured.
    pub periods: u64,
    /// Share of periods whose work ended more than 1,000 µs after their begin, percent.
    pub over_1000_percent: f64,
    /// More than 1,050 µs, percent.
    pub over_1050_percent: f64,
    /// Median of that time.
    pub p50_micros: f64,
    /// 99 % of all are below.
    pub p99_micros: f64,
    /// 99.9 % of all are below.
    pub p999_micros: f64,
    /// Largest.
    pub max_micros: f64,
}

/// Both loops.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RealtimeReport {
    /// The scene.
    pub scene: String,
    /// The engine.
    pub engine: Lateness,
    /// The bare loop.
    pub bare: Lateness,
    /// Ticks that ran without the nonlinear flow.
    pub degraded_ticks: u64,
    /// What the engine adds to the share over 1,000 µs, percentage points.
    pub added_percent: f64,
    /// Every tick of the engine in the order they ran.
    #[serde(skip)]
    pub ticks: Vec<TickRow>,
}

/// Keeps how long ticks take.
#[derive(Default)]
struct Ticks {
    began: u64,
    rows: Vec<TickRow>,
}

impl Edge for Ticks {
    fn before_tick(&mut self, _: &Simulation, _: &mut Batch) -> Result<(), RunError> {
        self.began = now_nanos();
        Ok(())
    }

    fn after_tick(&mut self, simulation: &mut Simulation) -> Result<Flow, RunError> {
        let whole = now_nanos() - self.began;
        self.rows.push(TickRow { whole, stages: simulation.stage_times().nanos });
        Ok(Flow::Continue)
    }
}

fn lateness(periods: &Periods) -> Lateness {
    let n = periods.histogram.count();
    let percent = |count: u64| 100.0 * count as f64 / n.max(1) as f64;
    Lateness {
        periods: n,
        over_1000_percent: percent(periods.n_over_1000_micros),
        over_1050_percent: percent(periods.n_over_1050_micros),
        p50_micros: periods.histogram.quantile_micros(0.5),
        p99_micros: periods.histogram.quantile_micros(0.99),
        p999_micros: periods.histogram.quantile_micros(0.999),
        max_micros: periods.histogram.max_micros(),
    }
}

/// Runs `scene` for `secs` seconds in all, half of them bare.
///
/// # Errors
/// [`RunError`] when the scene cannot be built.
pub fn run(scene: &Scene, secs: f64, options: &BuildOptions) -> Result<RealtimeReport, RunError> {
    let resolved = resolve(scene, &scene.base_dir)?;
    let mut simulation = Simulation::new(&resolved.setup, options)
        .map_err(|reason| RunError::Build { scene: scene.stem(), reason: Box::new(reason) })?;
    let (_sender, mut intake) = Intake::new(OrderBuilder::new(scene, &resolved.setup));
    let pacing =
        Pacing { pace: Pace::Realtime, rules: resolved.plan.realtime, watchdog: None, end_limit: None };
    let (mut engine, mut bare) = (Periods::default(), Periods::default());
    let mut degraded_ticks = 0;
    let halves = (secs.ceil() as u64).max(1);
    let mut ticks = Ticks { rows: Vec::with_capacity((halves * HALF) as usize), ..Ticks::default() };
    for _ in 0..halves {
        let until = simulation.tick_count() + HALF;
        let report = runner::run(&mut simulation, until, &pacing, &mut intake, &mut [&mut ticks])?;
        engine.absorb(&report.periods);
        degraded_ticks += report.degraded_ticks;
        sleep_only(HALF, &mut bare);
    }
    let (engine, bare) = (lateness(&engine), lateness(&bare));
    let added_percent = engine.over_1000_percent - bare.over_1000_percent;
    Ok(RealtimeReport { scene: scene.stem(), engine, bare, degraded_ticks, added_percent, ticks: ticks.rows })
}

/// The bare loop.
fn sleep_only(n_periods: u64, periods: &mut Periods) {
    let mut clock = SystemClock::of_this_thread();
    let mut pacer = Pacer::new(&mut clock, PERIOD_NANOS);
    for _ in 0..n_periods {
        periods.add(clock.now() - pacer.began());
        pacer.next(&mut clock, || ());
    }
}

/// The report as a person reads it.
pub fn render(report: &RealtimeReport) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} at 1 kHz beside a bare clock_nanosleep loop, in interleaved halves of a second\n{:<10}{:>10}{:>14}{:>14}{:>10}{:>10}{:>10}{:>10}",
        report.scene,
        "loop",
        "periods",
        "> 1000 µs %",
        "> 1050 µs %",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "max µs"
    );
    for (name, row) in [("engine", &report.engine), ("bare", &report.bare)] {
        let _ = writeln!(
            out,
            "{name:<10}{:>10}{:>14.3}{:>14.3}{:>10.1}{:>10.1}{:>10.1}{:>10.1}",
            row.periods,
            row.over_1000_percent,
            row.over_1050_percent,
            row.p50_micros,
            row.p99_micros,
            row.p999_micros,
            row.max_micros
        );
    }
    let _ = writeln!(
        out,
        "the engine adds {:+.3} percentage points over 1,000 µs; {} of its ticks were degraded",
        report.added_percent, report.degraded_ticks
    );
    out
}
