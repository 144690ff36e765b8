//! `nikola bench`: what one tick costs on this machine, stage by stage, beside the memory-bandwidth floor.
//!
//! Invariant: the floor is measured in the same run, with the same threads and a buffer of the same size, so that a
//! state that fits a cache is judged by the cache's bandwidth. Bytes are those the scheme must move: Ψ read and
//! written by two sweeps, V read twice.

pub mod realtime;

use crate::runner::now_nanos;
use nikola_systems::Simulation;
use nikola_systems::components::fill::Profile;
use nikola_systems::components::noise;
use nikola_systems::components::setup::{Precision, Setup, WaveParameters};
use nikola_systems::components::telemetry::Stage;
use nikola_systems::components::torus::{PageRule, Torus, TorusError};
use nikola_systems::world::{BuildError, BuildOptions};
use rayon::prelude::*;
use serde::Serialize;
use std::sync::Arc;

/// Samples kept per stage.
const SAMPLES_MAX: usize = 20_000;

/// What to measure.
#[derive(Debug, Clone)]
pub struct BenchRequest {
    /// Extents of the active axes, slowest first; at most nine.
    pub shape: Vec<usize>,
    /// Scalar type.
    pub precision: Precision,
    /// How to run.
    pub options: BuildOptions,
    /// Wall seconds to measure for.
    pub secs: f64,
}

/// Ticks of a scene before it is measured: caches are warm, the ledger has settled.
const WARM_TICKS: usize = 100;

/// Quantiles of one stage in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct StageRow {
    /// Stage name.
    pub stage: &'static str,
    /// Median.
    pub p50_micros: f64,
    /// 99th percentile.
    pub p99_micros: f64,
    /// 99.9th percentile.
    pub p999_micros: f64,
    /// Largest.
    pub max_micros: f64,
    /// What a tick of one 3^9 page at 1 kHz may spend on it, where something is set.
    pub budget_micros: Option<f64>,
    /// Bytes this stage must move per tick.
    pub floor_bytes: f64,
    /// Time to move them at the measured bandwidth.
    pub floor_micros: f64,
}

/// The result of one measurement.
#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    /// Extents as given, or the scene's name.
    pub shape: String,
    /// Nodes.
    pub nodes: usize,
    /// `"f32"` or `"f64"`.
    pub precision: &'static str,
    /// Worker threads.
    pub threads: usize,
    /// SIMD level.
    pub simd: String,
    /// Median milliseconds per tick, measured around whole ticks.
    pub ms: f64,
    /// Smallest.
    pub ms_min: f64,
    /// Ticks measured.
    pub samples: usize,
    /// Copy bandwidth at this size and thread count, bytes read plus written per second.
    pub bandwidth_bytes_per_sec: f64,
    /// Bytes a full Strang tick must move per node.
    pub bytes_per_node: f64,
    /// `ms` at that bandwidth.
    pub floor_ms: f64,
    /// `ms / floor_ms`.
    pub achieved_over_floor: f64,
    /// Peak resident memory of the process per node, in bytes.
    pub peak_bytes_per_node: f64,
    /// Norm after the run relative to before, minus one.
    pub norm_drift: f64,
    /// The stages.
    pub stages: Vec<StageRow>,
    /// Every measured tick in the order they ran.
    #[serde(skip)]
    pub ticks: Vec<TickRow>,
}

/// One measured tick in nanoseconds: the whole of it, and each stage in the order of [`Stage::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickRow {
    /// Around the whole tick.
    pub whole: u64,
    /// Of each stage.
    pub stages: [u64; Stage::COUNT],
}

/// Why a bench cannot run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The shape is not `N×N×…` with one to nine extents.
    #[error("shape {found:?} is not a list of 1 to 9 extents; expected for example 27x27x27")]
    Shape {
        /// What was given.
        found: String,
    },
    /// The torus cannot exist.
    #[error(transparent)]
    Torus(#[from] TorusError),
    /// The world cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Parses `27x27x3`.
///
/// # Errors
/// [`BenchError::Shape`] names what was found.
pub fn parse_shape(text: &str) -> Result<Vec<usize>, BenchError> {
    let wrong = || BenchError::Shape { found: text.to_string() };
    let shape: Vec<usize> =
        text.split(['x', '×']).map(|part| part.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    if shape.is_empty() || shape.len() > 9 { Err(wrong()) } else { Ok(shape) }
}

/// A cubic Schrödinger step with a rough potential on every node: nothing a code could skip.
///
/// # Errors
/// [`BenchError::Torus`] when such a torus cannot exist.
pub fn bench_setup(shape: &[usize], precision: Precision) -> Result<Setup, BenchError> {
    let mut extents = [1; 9];
    extents[..shape.len()].copy_from_slice(shape);
    let torus = Torus::new(extents, extents.map(|extent| extent as f64), PageRule::Auto)?;
    let nodes = torus.page_nodes() as u64;
    let random = move |stream: u32, page: usize, out: &mut [f64]| {
        for (i, slot) in out.iter_mut().enumerate() {
            *slot = noise::uniform(1, stream, 0, page as u64 * nodes + i as u64);
        }
    };
    let potential = move |page: usize, out: &mut [f64]| random(0, page, out);
    let initial = move |page: usize, re: &mut [f64], im: &mut [f64]| {
        random(1, page, re);
        random(2, page, im);
        re.iter_mut().chain(im).for_each(|value| *value -= 0.5);
    };
    let free = Setup::free(torus, 1e-3);
    Ok(Setup {
        precision,
        wave: WaveParameters { beta: 1.0, ..free.wave },
        potential: Profile::PerNode(Arc::new(potential)),
        initial: Arc::new(initial),
        ..free
    })
}

/// Runs the measurement.
///
/// # Errors
/// [`BenchError`] when the shape or the world is impossible.
pub fn run(request: &BenchRequest) -> Result<BenchReport, BenchError> {
    let setup = bench_setup(&request.shape, request.precision)?;
    let name = request.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
    measure(name, &setup, &request.options, request.secs, 3)
}

/// Measures the ticks of a world as a scene describes it; `name` is the scene's. On a sparse torus nodes are those of the
/// pages that are active in the end.
///
/// # Errors
/// [`BenchError::Build`] when the world is impossible.
pub fn run_scene(
    name: String,
    setup: &Setup,
    options: &BuildOptions,
    secs: f64,
) -> Result<BenchReport, BenchError> {
    measure(name, setup, options, secs, WARM_TICKS)
}

fn measure(
    shape: String,
    setup: &Setup,
    options: &BuildOptions,
    secs: f64,
    n_warm: usize,
) -> Result<BenchReport, BenchError> {
    let mut simulation = Simulation::new(setup, options)?;
    let before = simulation.sample().norm;
    let mut rows: Vec<TickRow> = Vec::with_capacity(SAMPLES_MAX);
    for _ in 0..n_warm {
        simulation.tick();
    }
    let began = now_nanos();
    let budget = (secs * 1e9) as u64;
    while rows.len() < SAMPLES_MAX && (rows.len() < 3 || now_nanos() - began < budget) {
        let start = now_nanos();
        simulation.tick();
        let whole = now_nanos() - start;
        rows.push(TickRow { whole, stages: simulation.stage_times().nanos });
    }
    let norm_drift = simulation.sample().norm / before - 1.0;
    let nodes = simulation.active_pages().len() * simulation.torus().page_nodes();
    let simd = simulation.compute().level.to_string();
    let peak_bytes_per_node = peak_resident_bytes() as f64 / nodes as f64;
    drop(simulation);
    let scalar = setup.precision.bytes() as f64;
    let bytes_per_node = 2.0 * 4.0 * scalar + 2.0 * scalar;
    let threads = options.threads.max(1);
    let bandwidth = copy_bandwidth((3.0 * scalar * nodes as f64) as usize, threads);
    let mut wholes: Vec<u64> = rows.iter().map(|row| row.whole).collect();
    wholes.sort_unstable();
    let ms = wholes[wholes.len() / 2] as f64 * 1e-6;
    let floor_ms = bytes_per_node * nodes as f64 / bandwidth * 1e3;
    let stages = Stage::ALL
        .iter()
        .enumerate()
        .map(|(index, stage)| {
            let mut samples: Vec<u64> = rows.iter().map(|row| row.stages[index]).collect();
            stage_row(*stage, &mut samples, scalar * nodes as f64, bandwidth)
        })
        .collect();
    Ok(BenchReport {
        shape,
        nodes,
        precision: setup.precision.name(),
        threads,
        simd,
        ms,
        ms_min: wholes[0] as f64 * 1e-6,
        samples: rows.len(),
        bandwidth_bytes_per_sec: bandwidth,
        bytes_per_node,
        floor_ms,
        achieved_over_floor: ms / floor_ms,
        peak_bytes_per_node,
        norm_drift,
        stages,
        ticks: rows,
    })
}

fn stage_row(stage: Stage, samples: &mut [u64], scalar_bytes_total: f64, bandwidth: f64) -> StageRow {
    samples.sort_unstable();
    let at = |quantile: f64| {
        let index = ((samples.len() as f64 * quantile) as usize).min(samples.len() - 1);
        samples[index] as f64 * 1e-3
    };
    // The two sweeps carry Ψ once in and once out each; the local flow rides on them and adds the reads of V.
    let scalars = match stage {
        Stage::HalfPotential => 2.0,
        Stage::Kinetic => 8.0,
        _ => 0.0,
    };
    let floor_bytes = scalars * scalar_bytes_total;
    StageRow {
        stage: stage.name(),
        p50_micros: at(0.5),
        p99_micros: at(0.99),
        p999_micros: at(0.999),
        max_micros: samples[samples.len() - 1] as f64 * 1e-3,
        budget_micros: stage.budget_micros(),
        floor_bytes,
        floor_micros: floor_bytes / bandwidth * 1e6,
    }
}

/// Bytes per second (read + written) of copying a buffer of half of `bytes` onto another, by `threads` threads.
pub fn copy_bandwidth(bytes: usize, threads: usize) -> f64 {
    let words = (bytes / 16).max(1024);
    let source: Vec<u64> = (0..words as u64).collect();
    let mut target = vec![0u64; words];
    let chunk = words.div_ceil(threads);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok().filter(|_| threads > 1);
    let inner = (4_000_000 / words).max(1);
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let start = now_nanos();
        for _ in 0..inner {
            match &pool {
                Some(pool) => pool.install(|| {
                    target
                        .par_chunks_mut(chunk)
                        .zip(source.par_chunks(chunk))
                        .for_each(|(target, source)| target.copy_from_slice(source));
                }),
                None => target.copy_from_slice(&source),
            }
            std::hint::black_box(&mut target);
        }
        best = best.min((now_nanos() - start) as f64 * 1e-9 / inner as f64);
    }
    (2 * words * size_of::<u64>()) as f64 / best
}

/// Peak resident memory of this process in bytes, 0 where the system does not tell.
pub fn peak_resident_bytes() -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// The measured ticks as CSV, in microseconds.
pub fn ticks_csv(rows: &[TickRow]) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("tick,whole_micros");
    for stage in Stage::ALL {
        let _ = write!(out, ",{}_micros", stage.name());
    }
    out.push('\n');
    for (tick, row) in rows.iter().enumerate() {
        let _ = write!(out, "{tick},{:.3}", row.whole as f64 * 1e-3);
        for nanos in row.stages {
            let _ = write!(out, ",{:.3}", nanos as f64 * 1e-3);
        }
        out.push('\n');
    }
    out
}

/// The report as a person reads it.
pub fn render(report: &BenchReport) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} nodes ({}), {}, {} thread(s), {}",
        report.nodes, report.shape, report.precision, report.threads, report.simd
    );
    let _ = writeln!(
        out,
        "tick {:.4} ms (min {:.4}, {} ticks) · floor {:.4} ms ({} B/node at {:.1} GB/s) · {:.1}× floor · {:.1} B/node peak",
        report.ms,
        report.ms_min,
        report.samples,
        report.floor_ms,
        report.bytes_per_node,
        report.bandwidth_bytes_per_sec * 1e-9,
        report.achieved_over_floor,
        report.peak_bytes_per_node
    );
    let _ = writeln!(
        out,
        "{:<16}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "stage", "p50 µs", "p99 µs", "p99.9 µs", "max µs", "budget µs", "floor µs"
    );
    for row in &report.stages {
        let _ = writeln!(
            out,
            "{:<16}{:>12.2}{:>12.2}{:>12.2}{:>12.2}{:>12}{:>12.2}",
            row.stage,
            row.p50_micros,
            row.p99_micros,
            row.p999_micros,
            row.max_micros,
            row.budget_micros.map_or_else(String::new, |budget| format!("{budget:.0}")),
            row.floor_micros
        );
    }
    out
}
