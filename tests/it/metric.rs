//! The plastic metric as a stage: equilibrium, learning, energy, determinism, saving.

use nikola_engine::scene::{load, resolve};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::metric::{CellRule, Plasticity};
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_engine::systems::components::torus::{PageRule, Torus};
use nikola_engine::systems::kernels::metric_update::component;
use nikola_engine::systems::world::BuildOptions;
use nikola_tests::lab::{
    Field, advance, build, build_with, cis, initial, polar, restore, save, setup, torus,
};
use std::path::Path;

/// All axes in threes, a field of several modes, a metric that learns fast.
fn learning(axes: &[(Axis, usize, f64)], precision: Precision) -> Setup {
    learning_on(torus(axes), precision)
}

fn learning_on(torus: Torus, precision: Precision) -> Setup {
    let mut scene = setup(torus.clone(), 1e-3);
    scene.precision = precision;
    scene.plasticity = Some(Plasticity { eta: 4.0, lambda: 8.0, ..Plasticity::default() });
    scene.wave.beta = 0.5;
    scene.initial = initial(&torus, |p| {
        let phase: f64 = p.iter().enumerate().map(|(d, x)| (x * (0.7 + 0.2 * d as f64)).sin()).sum();
        polar(1.0 + 0.2 * (p[6] + 0.4 * p[0]).cos(), phase)
    });
    scene
}

#[test]
fn a_frozen_wave_leads_to_the_equilibrium() {
    // A plane wave keeps its structure tensor, and a metric that is the same in every cell (all are updated in every
    // tick) keeps the plane wave.
    let axes = [Axis::R, Axis::W, Axis::X, Axis::Y, Axis::Z].map(|axis| (axis, 3, 3.0));
    let torus = torus(&axes);
    let mut scene = setup(torus.clone(), 1e-2);
    scene.wave.diffusion[Axis::W.index()] = 1.6;
    let (eta, lambda) = (1.5, 10.0);
    scene.plasticity = Some(Plasticity { eta, lambda: 2.0 * lambda, every: 1, ..Plasticity::default() });
    let k = std::f64::consts::TAU / 3.0;
    scene.initial = initial(&torus, move |p| cis(k * (p[0] - p[5] + p[6] - p[8])));
    let mut world = build(&scene);
    advance(&mut world, 200);
    // Chemistry at rest: η = η_base, λ = λ_base/2. Modes (1, −1, 1, 0, −1) along r w x y z.
    let modes = [1.0, -1.0, 1.0, 0.0, -1.0];
    for cell in 0..9 {
        let g = world.read_metric(0, cell).expect("a plastic metric");
        for i in 0..5 {
            for j in i..5 {
                let rest = if i != j {
                    0.0
                } else if i == 1 {
                    1.0 / 1.6
                } else {
                    1.0
                };
                let expected = rest - eta / lambda * modes[i] * modes[j] / 4.0;
                let found = g[component(5, i, j)];
                assert!((found - expected).abs() < 1e-6, "cell {cell} ({i}, {j}): {found} and {expected}");
            }
        }
    }
    let counts = world.metric_counts().expect("a plastic metric");
    assert_eq!(counts.n_updated, 9 * 200);
    assert!(counts.hit_rate() > 0.2, "the metric settles, so factorisations are kept: {counts:?}");
}

/// The metric's work relative to the energy, and what of the energy's change neither it nor anything else explains.
fn energy_balance(precision: Precision, dt: f64) -> (f64, f64) {
    let mut scene = learning(&[Axis::R, Axis::T, Axis::X, Axis::Y, Axis::Z].map(|a| (a, 3, 3.0)), precision);
    scene.wave.dt = dt;
    let mut world = build(&scene);
    let before = world.sample().energy;
    advance(&mut world, (0.4 / dt) as u64);
    let work = world.metric_counts().expect("a plastic metric").work;
    (work / before, (world.sample().energy - before - work) / before)
}

#[test]
fn the_energy_changes_by_the_metric_work() {
    let (work, coarse) = energy_balance(Precision::F64, 1e-3);
    let (_, fine) = energy_balance(Precision::F64, 2.5e-4);
    assert!(work.abs() > 0.02, "the metric moved: {work} of the energy");
    // What is left is the splitting's own error, of second order in the step.
    assert!(fine.abs() < 5e-7 && fine.abs() < 0.15 * coarse.abs(), "{coarse:e} at dt, {fine:e} at dt/4");
    let (_, single) = energy_balance(Precision::F32, 1e-3);
    assert!((single - coarse).abs() < 1e-5, "single precision: {single:e}");
}

#[test]
fn threads_do_not_change_a_bit() {
    let axes =
        [(Axis::X, 9, 9.0), (Axis::Y, 9, 9.0), (Axis::Z, 9, 9.0), (Axis::R, 3, 3.0), (Axis::S, 3, 3.0)];
    for precision in [Precision::F32, Precision::F64] {
        let whole = torus(&axes);
        let rule = PageRule::Shape([3, 3, 1, 1, 1, 1, 3, 9, 9]);
        let pages = Torus::new(*whole.extents(), *whole.lengths(), rule).expect("valid pages");
        let scene = learning_on(pages, precision);
        let run = |threads| {
            let mut world = build_with(&scene, &BuildOptions { threads, ..BuildOptions::default() });
            advance(&mut world, 12);
            (Field::of(&world), world.read_metric(2, 40), world.metric_counts())
        };
        let one = run(1);
        for threads in [2, 4] {
            assert!(run(threads) == one, "{precision:?} on {threads} threads");
        }
    }
}

#[test]
fn a_saved_metric_continues_bit_for_bit() {
    let scene = learning(&[Axis::R, Axis::X, Axis::Y, Axis::Z].map(|axis| (axis, 3, 3.0)), Precision::F32);
    let mut world = build(&scene);
    advance(&mut world, 37);
    let mut other = build(&scene);
    restore(&mut other, &save(&mut world)).expect("the state of the same scene");
    advance(&mut world, 50);
    advance(&mut other, 50);
    assert!(Field::of(&world) == Field::of(&other) && world.read_metric(0, 1) == other.read_metric(0, 1));
}

#[test]
fn a_metric_that_would_collapse_is_projected() {
    let mut scene = learning(&[Axis::R, Axis::X, Axis::Y].map(|axis| (axis, 3, 3.0)), Precision::F64);
    scene.plasticity =
        Some(Plasticity { eta: 60.0, lambda: 0.0, cell: CellRule::Node, ..Plasticity::default() });
    let mut world = build(&scene);
    advance(&mut world, 200);
    let counts = world.metric_counts().expect("a plastic metric");
    assert!(counts.n_projected > 0, "{counts:?}");
    let sample = world.sample();
    assert!(sample.n_nonfinite == 0 && sample.norm_drift.abs() < 1e-12, "{sample:?}");
}

/// Peaks of `received` after both probes of a scene in `scenes/`, and the work of its metric.
fn probes(name: &str) -> [f64; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenes").join(name);
    let scene = load(&path, &[]).expect("a scene of the repository");
    let resolved = resolve(&scene, Path::new(".")).expect("a scene that resolves");
    let second = resolved.setup.injections[0].tick;
    let mut world = Simulation::new(&resolved.setup, &BuildOptions::default()).expect("a world");
    let received = &resolved.plan.observables[0];
    let mut peaks = [0.0_f64; 2];
    for tick in 0..resolved.plan.ticks {
        world.tick();
        // Twenty units of model time after each probe.
        let since = if tick < second { tick } else { tick - second };
        if tick % 10 == 0 && since < 400 {
            let share = received
                .evaluate(world.time(), world.active_pages(), |page, re, im| world.read_page(page, re, im));
            let peak = &mut peaks[usize::from(tick >= second)];
            *peak = peak.max(share);
        }
    }
    peaks
}

#[test]
fn a_driven_path_conducts_better_afterwards() {
    let [before, after] = probes("plastic_path.ron");
    assert!(before > 0.02 && after > 1.5 * before, "received {before} before, {after} after");
    let [before, after] = probes("plastic_path_control.ron");
    assert!((after / before - 1.0).abs() < 0.02, "control: received {before} before, {after} after");
}
