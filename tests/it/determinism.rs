//! The same scene gives the same bits with 1, 2 and 4 threads and at every SIMD level.

use nikola_engine::systems::components::emitter::{Emitter, Envelope};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::setup::{Equation, Precision, Setup};
use nikola_engine::systems::kernels::simd::Level;
use nikola_engine::systems::world::BuildOptions;
use nikola_tests::lab::{Field, advance, build_with, initial, polar, profile, setup, torus};

const ALL: [Axis; 9] = Axis::ALL;

fn scene(extents: &[usize], precision: Precision) -> Setup {
    let axes: Vec<_> = extents.iter().enumerate().map(|(i, &n)| (ALL[i], n, n as f64)).collect();
    let torus = torus(&axes);
    let mut scene = setup(torus.clone(), 1e-3);
    scene.precision = precision;
    scene.wave.beta = 0.7;
    scene.potential =
        profile(&torus, |p| p.iter().enumerate().map(|(d, x)| (x * (d as f64 + 0.3)).sin()).sum());
    scene.damping = profile(&torus, |p| 0.01 * (1.0 + (p[0] * 0.9).cos()));
    scene.initial = initial(&torus, |p| {
        polar(1.0 + 0.1 * p[0].cos(), p.iter().enumerate().map(|(d, x)| x * d as f64).sum())
    });
    scene
}

/// The wave form with β, a damping that varies, and a source.
fn second_order(extents: &[usize], precision: Precision) -> Setup {
    let first_order = scene(extents, precision);
    let torus = first_order.torus.clone();
    let source = Emitter {
        name: "source".into(),
        frequency_hz: 5.0,
        phase_turns: 0.2,
        amplitude: 2.0,
        profile: initial(&torus, |p| ((-p[0] * p[0]).exp(), 0.1)),
        envelope: Envelope::Constant,
    };
    Setup {
        equation: Equation::Wave { velocity: initial(&torus, |p| (p[0].sin(), 0.3)) },
        potential: Profile::Uniform(0.0),
        emitters: vec![source],
        ..first_order
    }
}

fn run(scene: &Setup, threads: usize, level: Option<Level>, ticks: u64) -> Field {
    let mut world = build_with(scene, &BuildOptions { threads, level, ..BuildOptions::default() });
    advance(&mut world, ticks);
    Field::of(&world)
}

/// Shapes that take every path: one page and many, rings, transforms, mixed radices, primes.
const SHAPES: [&[usize]; 8] = [
    &[3; 9],
    &[27, 27, 27],
    &[27, 27, 27, 3, 3, 3],
    &[64, 64, 32],
    &[256, 128],
    &[101, 250],
    &[10, 6, 7, 5, 12],
    &[4096],
];

#[test]
fn threads_do_not_change_a_bit() {
    for precision in [Precision::F32, Precision::F64] {
        for extents in SHAPES {
            let scene = scene(extents, precision);
            let ticks = if extents == [3; 9] { 200 } else { 12 };
            let one = run(&scene, 1, None, ticks);
            for threads in [2, 4] {
                assert!(
                    run(&scene, threads, None, ticks) == one,
                    "{extents:?} {precision:?} {threads} threads"
                );
            }
        }
    }
}

#[test]
fn simd_levels_do_not_change_a_bit() {
    let levels = Level::available();
    println!("levels on this machine: {levels:?}");
    for precision in [Precision::F32, Precision::F64] {
        for extents in SHAPES {
            let scene = scene(extents, precision);
            let reference = run(&scene, 1, Some(Level::Scalar), 3);
            for &level in &levels {
                assert!(run(&scene, 2, Some(level), 3) == reference, "{extents:?} {precision:?} {level:?}");
            }
        }
    }
}

#[test]
fn the_wave_form_has_the_same_bits_everywhere() {
    for precision in [Precision::F32, Precision::F64] {
        for extents in SHAPES {
            let scene = second_order(extents, precision);
            let reference = run(&scene, 1, Some(Level::Scalar), 3);
            for (threads, level) in [(1, None), (2, None), (4, None), (2, Some(Level::Avx2))] {
                let found = run(&scene, threads, level, 3);
                assert!(found == reference, "{extents:?} {precision:?} {threads} threads {level:?}");
            }
        }
    }
}
