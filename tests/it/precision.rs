//! Single precision does not leak: the norm ledger at work. The long form is `nikola run` over 10⁶ ticks.

use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_tests::lab::{advance, build, initial, polar, profile, setup, torus};

fn closed(axes: &[(Axis, usize, f64)], precision: Precision) -> Setup {
    let torus = torus(axes);
    let mut scene = setup(torus.clone(), 1e-3);
    scene.precision = precision;
    scene.wave.beta = 1.0;
    scene.potential = profile(&torus, |p| 0.3 * p[6].sin() + 0.2 * p[8].cos());
    scene.initial = initial(&torus, |p| polar(1.0 + 0.4 * p[6].cos(), p[7] + 2.0 * p[8]));
    scene
}

#[test]
fn the_norm_of_a_closed_scene_stays_in_single_precision() {
    let rings: Vec<_> = Axis::ALL.map(|axis| (axis, 3, 3.0)).to_vec();
    let cube: Vec<_> = [Axis::X, Axis::Y, Axis::Z].map(|axis| (axis, 27, 27.0)).to_vec();
    for axes in [rings, cube] {
        let mut world = build(&closed(&axes, Precision::F32));
        for _ in 0..30 {
            advance(&mut world, 100);
            let drift = world.sample().norm_drift.abs();
            assert!(drift <= 1e-6, "norm drift {drift:e} at tick {}", world.tick_count());
        }
    }
}

#[test]
fn single_and_double_precision_tell_the_same_story() {
    let axes: Vec<_> = [Axis::X, Axis::Y, Axis::Z].map(|axis| (axis, 9, 9.0)).to_vec();
    let fields = [Precision::F32, Precision::F64].map(|precision| {
        let mut world = build(&closed(&axes, precision));
        advance(&mut world, 1_000);
        nikola_tests::lab::Field::of(&world)
    });
    let error = fields[0].relative_error(&fields[1]);
    assert!(error < 1e-4 && error > 0.0, "relative difference {error:e}");
}
