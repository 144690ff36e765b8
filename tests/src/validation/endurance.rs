//! Long runs: the drift of norm and energy on closed scenes, and one digest for every thread count.
//! Invariant: a long run is the ordinary tick, only more often; nothing is switched on for it.

use super::Case;
use crate::lab::{advance, build, build_with, initial, polar, profile, setup, torus};
use nikola_engine::backend::to_device;
use nikola_engine::observe::digest::state_digest;
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_engine::systems::world::BuildOptions;

/// Samples of a drift run; the first and the last tenth are compared for a trend.
const SAMPLES: u64 = 1_000;

/// A closed nonlinear scene on `extents` (slowest axis first), with a potential and a wave that moves along every axis: on
/// nodes that all carry the same numbers rounding would be the same, too.
pub fn closed(extents: &[usize], precision: Precision) -> Setup {
    let axes: Vec<_> =
        extents.iter().zip(Axis::ALL).map(|(&extent, axis)| (axis, extent, extent as f64)).collect();
    let torus = torus(&axes);
    let last = extents.len() - 1;
    let phase = |p: &[f64]| p.iter().enumerate().map(|(d, x)| (1.0 + 0.25 * d as f64) * x).sum::<f64>();
    let mut scene = setup(torus.clone(), 1e-3);
    scene.precision = precision;
    scene.wave.beta = 1.0;
    scene.potential = profile(&torus, move |p| 0.3 * p[0].sin() + 0.2 * p[last].cos());
    scene.initial = initial(&torus, move |p| polar(1.0 + 0.4 * p[0].cos(), phase(&p[..=last])));
    scene
}

/// Largest |norm drift| over `ticks`, and whether the energy has a trend: means of the first and last tenth of the
/// samples apart, against the spread inside a tenth.
pub fn drift(
    extents: &[usize],
    precision: Precision,
    ticks: u64,
    norm_allowed: f64,
    energy_allowed: f64,
) -> [Case; 2] {
    let mut world = build(&closed(extents, precision));
    drift_of(&mut world, extents, precision, ticks, norm_allowed, energy_allowed)
}

/// [`drift`] in single precision on the best GPU.
///
/// # Errors
/// Why there is none, or why it failed.
pub fn drift_on_device(
    extents: &[usize],
    ticks: u64,
    norm_allowed: f64,
    energy_allowed: f64,
) -> Result<[Case; 2], String> {
    let setup = closed(extents, Precision::F32);
    let mut world = build(&setup);
    to_device(&mut world, &setup, "endurance", None).map_err(|error| error.to_string())?;
    let cases = drift_of(&mut world, extents, Precision::F32, ticks, norm_allowed, energy_allowed);
    // A device that failed left its last copy, which does not drift.
    match world.device().and_then(|device| device.failure()) {
        Some(error) => Err(error.to_string()),
        None => Ok(cases),
    }
}

fn drift_of(
    world: &mut Simulation,
    extents: &[usize],
    precision: Precision,
    ticks: u64,
    norm_allowed: f64,
    energy_allowed: f64,
) -> [Case; 2] {
    let every = (ticks / SAMPLES).max(1);
    let (mut norm_worst, mut energies) = (0.0_f64, Vec::new());
    for _ in 0..ticks / every {
        advance(world, every);
        let sample = world.sample();
        norm_worst = norm_worst.max(sample.norm_drift.abs());
        energies.push(sample.energy_drift);
    }
    let tenth = (energies.len() / 10).max(1);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let trend = (mean(&energies[energies.len() - tenth..]) - mean(&energies[..tenth])).abs();
    let shape = extents.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
    let name = |what: &str| format!("{what}, {shape}, {}, {ticks} ticks", precision.name());
    [
        Case::defect(name("largest norm drift"), "identity: the flow is unitary", norm_worst, norm_allowed),
        Case::defect(
            name("energy, mean of the last tenth against the first, relative"),
            "bounded for symmetric splitting (Faou 2012)",
            trend,
            energy_allowed,
        ),
    ]
}

/// Digest of `extents` after `ticks` with `threads` workers.
pub fn digest(extents: &[usize], precision: Precision, ticks: u64, threads: usize) -> String {
    let options = BuildOptions { threads, ..BuildOptions::default() };
    let mut world = build_with(&closed(extents, precision), &options);
    advance(&mut world, ticks);
    state_digest(&world)
}
