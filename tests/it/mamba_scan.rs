//! The scan inside a tick: what it reads, what it leaves alone, what its readout learns.

use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::geometry::traversal::Traversal;
use nikola_engine::systems::components::ports::Command;
use nikola_engine::systems::components::scan::{Feature, ReadoutSetup, STATE, ScanSetup};
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_engine::systems::components::torus::Torus;
use nikola_engine::systems::kernels::simd::Level;
use nikola_engine::systems::world::BuildOptions;
use nikola_tests::lab::{
    Field, advance, build, build_with, canonical, initial, polar, profile, setup, torus,
};
use std::sync::Arc;

const METRIC: [f64; STATE] = [1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 1.0];

fn openness(p: &[f64; 9]) -> f64 {
    0.5 + 0.4 * (p[6] + 2.0 * p[8]).sin()
}

fn scan(torus: &Torus) -> ScanSetup {
    ScanSetup {
        step: 0.01,
        density_weight: 10.0,
        input_weight: 0.3,
        openness: profile(torus, openness),
        metric: METRIC,
        inverse_metric: None,
        traversals: Traversal::ALL.to_vec(),
        every: 1,
        readout: Some(ReadoutSetup {
            n_nodes: 20,
            features: vec![Feature::Density, Feature::Scan],
            n_targets: 2,
            forgetting: 1.0,
            ridge: 1e-6,
        }),
    }
}

fn scene(extents: &[usize], precision: Precision) -> Setup {
    let axes: Vec<_> = extents.iter().enumerate().map(|(d, &n)| (Axis::ALL[8 - d], n, n as f64)).collect();
    let torus = torus(&axes);
    let mut scene = setup(torus.clone(), 1e-2);
    scene.precision = precision;
    scene.wave.beta = 0.5;
    scene.potential = profile(&torus, |p| p.iter().sum::<f64>().sin());
    scene.initial = initial(&torus, |p| polar(1.0 + 0.3 * p[8].cos(), p[2] + 0.7 * p[5]));
    scene.scan = Some(scan(&torus));
    scene
}

/// The raster traversal by its definition: slices of axis t from the oldest, row-major inside, in f64.
fn raster(simulation: &Simulation) -> ([f64; STATE], [f64; STATE]) {
    let torus = simulation.torus();
    let field = Field::of(simulation);
    let extents = *torus.extents();
    let present = simulation.tick_count() as usize % extents[2];
    let (mut re, mut im) = ([0.0; STATE], [0.0; STATE]);
    for age in (0..extents[2]).rev() {
        let t = (present + extents[2] - age) % extents[2];
        for row_major in 0..torus.n_nodes() / extents[2] {
            let mut coordinates = [0; 9];
            let mut rest = row_major;
            for d in [8, 7, 6, 5, 4, 3, 1, 0] {
                coordinates[d] = rest % extents[d];
                rest /= extents[d];
            }
            coordinates[2] = t;
            let position = core::array::from_fn(|d| torus.coordinate(Axis::ALL[d], coordinates[d]));
            let (x, y) = field.values[canonical(torus, &coordinates)];
            let trace: f64 = METRIC.iter().sum();
            let step = 0.01 / (1.0 + 10.0 * (x * x + y * y) * trace) * openness(&position);
            for d in 0..STATE {
                re[d] = (1.0 - step * METRIC[d]) * re[d] + 0.3 * x;
                im[d] = (1.0 - step * METRIC[d]) * im[d] + 0.3 * y;
            }
        }
    }
    (re, im)
}

#[test]
fn the_stage_reads_the_torus_as_the_definition_says() {
    for (extents, precision, tolerance) in [
        (&[3; 9][..], Precision::F64, 1e-11),
        (&[3; 9][..], Precision::F32, 2e-4),
        (&[5, 4, 6, 1, 1, 1, 4, 3][..], Precision::F64, 1e-11),
        (&[30, 20, 40][..], Precision::F64, 1e-11),
    ] {
        let mut simulation = build(&scene(extents, precision));
        for _ in 0..4 {
            simulation.tick();
            let (re, im) = raster(&simulation);
            let output = simulation.scan().expect("the scene has a scan");
            assert_eq!(output.tick, simulation.tick_count());
            for d in 0..STATE {
                let found = (output.traversals[0].re[d], output.traversals[0].im[d]);
                let error = (found.0 - re[d]).hypot(found.1 - im[d]);
                assert!(
                    error < tolerance * (1.0 + re[d].hypot(im[d])),
                    "{extents:?} {precision:?}: {error:.1e}"
                );
            }
        }
    }
}

#[test]
fn threads_and_levels_do_not_change_a_bit_of_the_scan() {
    for precision in [Precision::F32, Precision::F64] {
        for extents in [&[3; 9][..], &[27, 27, 27, 3, 3][..], &[10, 6, 9, 5, 12][..]] {
            let scene = scene(extents, precision);
            let run = |threads, level| {
                let mut world =
                    build_with(&scene, &BuildOptions { threads, level, ..BuildOptions::default() });
                advance(&mut world, 3);
                world.scan().cloned()
            };
            let one = run(1, None);
            for threads in [2, 4] {
                assert!(run(threads, None) == one, "{extents:?} {precision:?} {threads} threads");
            }
            for level in Level::available() {
                assert!(run(2, Some(level)) == one, "{extents:?} {precision:?} {level:?}");
            }
        }
    }
}

#[test]
fn a_scan_never_touches_the_wave_and_its_absence_costs_no_stage() {
    let with = scene(&[3; 9], Precision::F32);
    let without = Setup { scan: None, ..with.clone() };
    let (mut a, mut b) = (build(&with), build(&without));
    advance(&mut a, 20);
    advance(&mut b, 20);
    assert!(Field::of(&a) == Field::of(&b));
    assert!(b.scan().is_none() && b.readout_weights().is_none());
}

#[test]
fn the_cadence_is_kept() {
    let mut scene = scene(&[9, 9], Precision::F64);
    scene.scan.as_mut().expect("the scene has a scan").every = 3;
    let mut simulation = build(&scene);
    let mut ticks = Vec::new();
    for _ in 0..7 {
        simulation.tick();
        ticks.push(simulation.scan().map_or(0, |output| output.tick));
    }
    assert_eq!(ticks, [0, 0, 3, 3, 3, 6, 6]);
}

#[test]
fn the_readout_learns_what_it_is_taught_and_takes_weights() {
    // The target is itself a linear map of the features, so recursive least squares must find it.
    let mut simulation = build(&scene(&[9, 9], Precision::F64));
    let mut errors = Vec::new();
    for _ in 0..400 {
        simulation.tick();
        let output = simulation.scan().expect("the scene has a scan");
        let target = [1.0 + output.features[0] - 2.0 * output.features[7], output.features[3]];
        errors.push((output.values[0] - target[0]).abs() + (output.values[1] - target[1]).abs());
        // The next tick's features differ little; what is taught belongs to the tick that takes it in.
        let taught = Command::Teach(Arc::from(target));
        simulation.push(taught).expect("there is room");
    }
    let (first, last) = (errors[0], errors[399]);
    assert!(last < 0.05 * first, "{first} {last}");

    // What was taught last is learned in the next tick; a tick later nothing more is.
    simulation.tick();
    let n_features = simulation.scan().expect("the scene has a scan").features.len();
    let mut weights = vec![0.0; 2 * (n_features + 1)];
    (weights[0], weights[n_features + 1]) = (3.5, -1.0);
    simulation.push(Command::SetReadout(Arc::from(&weights[..]))).expect("it fits");
    simulation.tick();
    assert_eq!(simulation.scan().expect("the scene has a scan").values, [3.5, -1.0]);
    assert!(simulation.readout_weights() == Some(&weights[..]), "weights are taken as they are");
    assert!(simulation.push(Command::SetReadout(Arc::from([1.0]))).is_err());
}
