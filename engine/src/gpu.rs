//! `nikola gpu`: adapters, a self-test, parity with the processor and device time of a tick.
//!
//! Invariant: the copy bandwidth is measured in the same run on the same device with a buffer of Ψ's size, so that a
//! state that fits a cache is judged by the cache. A tick is timed around whole batches, schedule and ledger
//! included; device time per pass comes from timestamps in a run of its own.

use crate::bench::{bench_setup, parse_shape};
use crate::runner::now_nanos;
use nikola_shaders::{AdapterReport, Device, WaveBackend, WgpuBackend};
use nikola_systems::Simulation;
use nikola_systems::components::setup::{Precision, Setup};
use nikola_systems::kernels::backend::{Backend, PassTime};
use nikola_systems::world::BuildOptions;
use serde::Serialize;
use std::fmt::Write as _;

/// Shapes of the table of `cargo xtask bench --gpu`.
pub const CASES: [&str; 4] = ["27x27x27x3x3x3x3x3x3", "128x128x128", "512x512", "3x3x3x3x3x3x3x3x3"];

/// Ticks after which the ledger has settled and measures now and then.
const WARM_TICKS: u64 = 80;
/// Ticks whose passes are timed one by one.
const TIMED_TICKS: u64 = 48;

/// One kind of pass.
#[derive(Debug, Clone, Serialize)]
pub struct PassRow {
    /// What it does.
    pub name: String,
    /// How often per tick.
    pub per_tick: f64,
    /// Microseconds of device time each.
    pub micros: f64,
    /// Bytes it must move, over its time and the copy bandwidth.
    pub achieved_over_copy: f64,
}

/// One shape measured.
#[derive(Debug, Clone, Serialize)]
pub struct GpuReport {
    /// Extents.
    pub shape: String,
    /// Nodes.
    pub nodes: usize,
    /// Adapter.
    pub adapter: String,
    /// How the axes are grouped.
    pub sweeps: Vec<String>,
    /// Milliseconds per tick in batches, wall time of whole batches.
    pub ms: f64,
    /// Milliseconds of device time per tick, summed over passes; null where the device has no timestamps.
    pub device_ms: Option<f64>,
    /// Bytes the passes of a tick must move, per node.
    pub bytes_per_node: Option<f64>,
    /// Copy bandwidth in bytes per second.
    pub copy_bytes_per_sec: f64,
    /// Bytes of a tick over its wall time and the copy bandwidth.
    pub achieved_over_copy: Option<f64>,
    /// Nodes whose tick would take one millisecond.
    pub nodes_per_ms: f64,
    /// Norm after the run relative to before, minus one.
    pub norm_drift: f64,
    /// Ticks measured.
    pub ticks: u64,
    /// The passes.
    pub passes: Vec<PassRow>,
}

/// Largest relative L2 distance between device and processor after a thousand ticks.
pub const PARITY_MAX: f64 = 1e-4;

/// A failure in words.
type Outcome<T> = Result<T, String>;

fn words(error: impl ToString) -> String {
    error.to_string()
}

fn on_device(setup: &Setup, adapter: Option<&str>, is_timed: bool) -> Outcome<(Simulation, Vec<String>)> {
    let mut simulation = Simulation::new(setup, &options()).map_err(words)?;
    let world = simulation.device_world().ok_or("the GPU backend computes in single precision")?;
    let device = Device::open(adapter).map_err(words)?;
    let (backend, sweeps): (Box<dyn Backend>, _) = if world.wave.is_some() {
        let backend = WaveBackend::new(device, world, is_timed).map_err(words)?;
        let sweeps = backend.groups();
        (Box::new(backend), sweeps)
    } else {
        let backend = WgpuBackend::new(device, world, is_timed).map_err(words)?;
        let sweeps = backend.groups();
        (Box::new(backend), sweeps)
    };
    simulation.move_to(setup, backend).map_err(words)?;
    Ok((simulation, sweeps))
}

fn options() -> BuildOptions {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    BuildOptions { threads, ..BuildOptions::default() }
}

/// Waits until the device is idle, by asking for the norm.
fn settle(simulation: &mut Simulation) -> Outcome<()> {
    let Some(mut device) = simulation.device_mut() else {
        return Err("the simulation left the device".into());
    };
    device.with_backend(|backend| backend.norm2()).map(|_| ()).map_err(words)
}

fn advance(simulation: &mut Simulation, ticks: u64) -> Outcome<f64> {
    settle(simulation)?;
    let began = now_nanos();
    for _ in 0..ticks {
        simulation.tick();
    }
    settle(simulation)?;
    if let Some(failure) = simulation.device().and_then(|device| device.failure()) {
        return Err(failure.to_string());
    }
    Ok((now_nanos() - began) as f64 * 1e-6)
}

/// Measures one shape for about `secs`.
///
/// # Errors
/// What the device or the world said.
pub fn bench(shape: &str, adapter: Option<&str>, secs: f64) -> Outcome<GpuReport> {
    let setup = bench_setup(&parse_shape(shape).map_err(words)?, Precision::F32).map_err(words)?;
    let nodes = setup.torus.n_nodes();
    let (mut simulation, sweeps) = on_device(&setup, adapter, false)?;
    let before = simulation.sample().norm;
    advance(&mut simulation, WARM_TICKS)?;
    let probe = advance(&mut simulation, 16)? / 16.0;
    let ticks = ((secs * 1e3 / 3.0 / probe) as u64).clamp(16, 100_000).next_multiple_of(16);
    let mut rounds = [0.0; 3];
    for round in &mut rounds {
        *round = advance(&mut simulation, ticks)? / ticks as f64;
    }
    rounds.sort_by(f64::total_cmp);
    let norm_drift = simulation.sample().norm / before - 1.0;
    drop(simulation);
    let device = Device::open(adapter).map_err(words)?;
    let name = device.report.name.clone();
    let copy = device.copy_bandwidth(8 * nodes as u64).map_err(words)?;
    drop(device);
    let (passes, timed_ticks) = time_passes(&setup, adapter)?;
    let per_tick = |total: u64| total as f64 / timed_ticks as f64;
    let has_times = !passes.is_empty();
    let bytes: f64 = passes.iter().map(|pass| per_tick(pass.bytes)).sum();
    let ms = rounds[1];
    Ok(GpuReport {
        shape: shape.to_owned(),
        nodes,
        adapter: name,
        sweeps,
        ms,
        device_ms: has_times.then(|| passes.iter().map(|pass| per_tick(pass.nanos)).sum::<f64>() * 1e-6),
        bytes_per_node: has_times.then(|| bytes / nodes as f64),
        copy_bytes_per_sec: copy,
        achieved_over_copy: has_times.then(|| bytes / (ms * 1e-3) / copy),
        nodes_per_ms: nodes as f64 / ms,
        norm_drift,
        ticks: 3 * ticks,
        passes: passes.iter().map(|pass| row(pass, timed_ticks, copy)).collect(),
    })
}

fn row(pass: &PassTime, ticks: u64, copy: f64) -> PassRow {
    let count = pass.count.max(1) as f64;
    PassRow {
        name: pass.name.clone(),
        per_tick: pass.count as f64 / ticks as f64,
        micros: pass.nanos as f64 / count * 1e-3,
        achieved_over_copy: pass.bytes as f64 / (pass.nanos.max(1) as f64 * 1e-9) / copy,
    }
}

/// Device time of each pass, once the ledger has settled.
fn time_passes(setup: &Setup, adapter: Option<&str>) -> Outcome<(Vec<PassTime>, u64)> {
    let (mut simulation, _) = on_device(setup, adapter, true)?;
    advance(&mut simulation, WARM_TICKS)?;
    let take = |simulation: &mut Simulation| {
        simulation.device_mut().map(|mut device| device.with_backend(|backend| backend.take_times()))
    };
    take(&mut simulation);
    for _ in 0..TIMED_TICKS {
        simulation.tick();
    }
    settle(&mut simulation)?;
    Ok((take(&mut simulation).unwrap_or_default(), TIMED_TICKS))
}

/// Relative L2 distance of Ψ on the device from Ψ on the processor after `ticks` ticks of `setup` in f32.
///
/// # Errors
/// What the device or the world said.
pub fn parity(setup: &Setup, adapter: Option<&str>, ticks: u64) -> Outcome<f64> {
    let setup = Setup { precision: Precision::F32, ..setup.clone() };
    let mut device = Simulation::new(&setup, &options()).map_err(words)?;
    crate::backend::to_device(&mut device, &setup, "parity", adapter).map_err(words)?;
    let mut host = Simulation::new(&setup, &options()).map_err(words)?;
    for _ in 0..ticks {
        device.tick();
        host.tick();
    }
    if let Some(failure) = device.device().and_then(|device| device.failure()) {
        return Err(failure.to_string());
    }
    Ok(distance(&device, &host))
}

/// [`parity`] of a small torus with all nine axes, a rough potential and a nonlinearity.
///
/// # Errors
/// What the device or the world said.
pub fn self_test(adapter: Option<&str>) -> Outcome<f64> {
    parity(&bench_setup(&[3; 9], Precision::F32).map_err(words)?, adapter, 20)
}

/// ‖a − b‖ ÷ ‖b‖ over all nodes of Ψ (zero on pages that are not active), and of Ψ̇ where there is one: a standing
/// wave's Ψ passes through zero.
pub fn distance(a: &Simulation, b: &Simulation) -> f64 {
    let nodes = b.torus().page_nodes();
    let mut planes = vec![vec![0.0; nodes]; 4];
    let (mut difference, mut norm) = (0.0, 0.0);
    let mut pages = [a.active_pages(), b.active_pages()].concat();
    pages.sort_unstable();
    pages.dedup();
    for page in pages {
        let [a_re, a_im, b_re, b_im] = &mut planes[..] else { unreachable!("four planes") };
        let mut add = |a_re: &[f64], a_im: &[f64], b_re: &[f64], b_im: &[f64]| {
            for i in 0..nodes {
                difference += (a_re[i] - b_re[i]).powi(2) + (a_im[i] - b_im[i]).powi(2);
                norm += b_re[i].powi(2) + b_im[i].powi(2);
            }
        };
        a.read_page(page, a_re, a_im);
        b.read_page(page, b_re, b_im);
        add(a_re, a_im, b_re, b_im);
        if a.read_velocity(page, a_re, a_im) && b.read_velocity(page, b_re, b_im) {
            add(a_re, a_im, b_re, b_im);
        }
    }
    (difference / norm).sqrt()
}

/// The adapters, as a person reads them.
pub fn render_adapters(adapters: &[AdapterReport]) -> String {
    let mut out = String::new();
    for adapter in adapters {
        let _ = writeln!(out, "{} ({}, {})", adapter.name, adapter.kind, adapter.driver);
        let _ = writeln!(
            out,
            "  work group: {} bytes, {} threads · binding: {} MiB = {} nodes · timestamps: {} · {}",
            adapter.tile_bytes,
            adapter.threads,
            adapter.binding_bytes >> 20,
            adapter.binding_bytes / 8,
            if adapter.has_timestamps { "yes" } else { "no" },
            if adapter.missing.is_empty() {
                "can run a tick".to_owned()
            } else {
                format!("cannot run a tick: lacks {}", adapter.missing.join(", "))
            },
        );
    }
    out
}

/// A report as a person reads it.
pub fn render(report: &GpuReport) -> String {
    let mut out = String::new();
    let optional = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
    let _ = writeln!(
        out,
        "{} ({} nodes) on {}; sweeps {}",
        report.shape,
        report.nodes,
        report.adapter,
        report.sweeps.join(", ")
    );
    let _ = writeln!(
        out,
        "tick {:.4} ms in batches · device {} ms · {} B/node · copy {:.1} GB/s · achieved ÷ copy {} · {:.0} nodes per \
         1 ms tick · norm drift {:.1e} after {} ticks",
        report.ms,
        optional(report.device_ms),
        report.bytes_per_node.map_or("–".to_owned(), |bytes| format!("{bytes:.1}")),
        report.copy_bytes_per_sec * 1e-9,
        optional(report.achieved_over_copy),
        report.nodes_per_ms,
        report.norm_drift,
        report.ticks,
    );
    for pass in &report.passes {
        let _ = writeln!(
            out,
            "  {:<72} {:>6.2} a tick {:>10.2} µs {:>7.2} ÷ copy",
            pass.name, pass.per_tick, pass.micros, pass.achieved_over_copy
        );
    }
    out
}
