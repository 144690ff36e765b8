//! The wave form watched, with chemistry and with a metric that learns, where D is constant and where it varies.
//! Invariant: whatever is done to a watched world, it ends in a named state and its balance says what happened.

use crate::oracle::{edge, emitters, finite, residual_of, watch};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::chemistry::{Chemistry, EngsSettings};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::ledger::Flow;
use nikola_engine::systems::components::metric::{MetricProfile, Plasticity};
use nikola_engine::systems::components::oracle::{Alarm, Health, OracleSettings};
use nikola_engine::systems::components::ports::Command;
use nikola_engine::systems::components::setup::{Equation, Precision, Setup};
use nikola_engine::systems::world::BuildOptions;
use nikola_tests::lab::{
    Field, advance, build, build_with, initial, polar, profile, restore, save, setup, torus,
};
use std::f64::consts::TAU;

/// How D is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric {
    Constant,
    Varying,
    Plastic,
}

pub const METRICS: [Metric; 3] = [Metric::Constant, Metric::Varying, Metric::Plastic];

/// What is on in a scene.
#[derive(Debug, Clone, Copy, Default)]
pub struct On {
    pub emitters: bool,
    pub uniform_damping: bool,
    pub damping: bool,
    pub interaction: bool,
}

pub const ALL: On = On { emitters: true, uniform_damping: false, damping: true, interaction: true };

/// A small torus of rings and a longer line, watched, with everything that may change its energy.
pub fn open_world(metric: Metric, precision: Precision, on: On) -> Setup {
    let axes = [(Axis::U, 3, 6.0), (Axis::X, 3, 6.0), (Axis::Y, 3, 6.0), (Axis::Z, 9, 12.0)];
    let torus = torus(&axes);
    let mut scene = setup(torus.clone(), 1e-3);
    scene.precision = precision;
    scene.wave.beta = if on.interaction { -0.4 } else { 0.0 };
    if on.uniform_damping {
        scene.damping = Profile::Uniform(0.15);
    }
    if on.damping {
        scene.damping = profile(&torus, |p| 0.03 * (1.0 - (-p[8] * p[8] / 16.0).exp()));
    }
    scene.initial = initial(&torus, |p| polar(0.8 + 0.2 * (TAU * p[8] / 12.0).cos(), TAU * p[8] / 12.0));
    scene.equation = Equation::Wave { velocity: initial(&torus, |p| (0.4 * (TAU * p[6] / 6.0).sin(), 0.2)) };
    match metric {
        Metric::Constant => {}
        Metric::Varying => {
            let mut diagonal = [const { Profile::Uniform(1.0) }; 9];
            diagonal[Axis::X.index()] = profile(&torus, |p| 1.0 + 0.3 * (TAU * p[8] / 12.0).cos());
            diagonal[Axis::Z.index()] = profile(&torus, |p| 1.2 + 0.4 * (TAU * p[8] / 12.0).sin());
            let coupling = profile(&torus, |p| 0.3 * (TAU * p[7] / 6.0).cos());
            scene.metric = Some(MetricProfile { diagonal, off_diagonal: vec![(Axis::Y, Axis::Z, coupling)] });
        }
        Metric::Plastic => {
            let rates = Plasticity::default();
            scene.plasticity = Some(Plasticity { eta: 0.1, lambda: 0.4, tolerance: 1e-3, ..rates });
        }
    }
    if on.emitters {
        scene.emitters = emitters(&torus, 8.0);
    }
    scene.oracle = Some(OracleSettings { memory_ticks: 1_000_000_000, ..OracleSettings::default() });
    scene
}

/// As [`residual_of`], of a world that stays nominal.
fn residual(world: &mut Simulation, ticks: u64) -> (f64, f64, f64) {
    let found = residual_of(world, ticks);
    assert_eq!(world.oracle().expect("watched").health, Health::Nominal);
    found
}

#[test]
fn every_flow_of_the_wave_form_is_booked() {
    let off = On::default();
    let cases = [
        ("closed, linear", off, 1e-10),
        ("emitters", On { emitters: true, ..off }, 1e-10),
        ("uniform damping", On { uniform_damping: true, ..off }, 1e-10),
        ("damping", On { damping: true, ..off }, 1e-10),
        ("closed", On { interaction: true, ..off }, 1e-6),
        ("uniform damping with β", On { interaction: true, uniform_damping: true, ..off }, 1e-6),
        ("all", ALL, 1e-6),
    ];
    for metric in METRICS {
        for (name, on, bound) in cases {
            // The work of a metric that learns is that of H at the border, within the kick's order.
            let bound = if metric == Metric::Plastic { 1e-6 } else { bound };
            let mut world = build(&open_world(metric, Precision::F64, on));
            let (worst, total, throughput) = residual(&mut world, 5_000);
            println!("{metric:?}, {name:<24} worst {worst:.1e}, total {total:.1e}, {throughput:.2} of |H|");
            assert!(worst < bound && total < bound, "{metric:?}, {name}: worst {worst}, total {total}");
        }
    }
}

#[test]
fn the_balance_of_the_wave_form_closes_over_a_hundred_thousand_ticks() {
    for metric in METRICS {
        for (precision, bound) in [(Precision::F64, 1e-6), (Precision::F32, 1e-4)] {
            let mut world = build(&open_world(metric, precision, ALL));
            let (worst, total, throughput) = residual(&mut world, 100_000);
            println!(
                "{metric:?} {precision:?}: worst {worst:.1e}, total {total:.1e}, {throughput:.2} of |H|"
            );
            assert!(worst < bound && total < bound, "{metric:?} {precision:?}: {worst}, {total}");
        }
    }
}

#[test]
fn degraded_ticks_and_a_new_beta_are_booked_in_the_wave_form() {
    for metric in METRICS {
        let mut world = build(&open_world(metric, Precision::F64, ALL));
        advance(&mut world, 150);
        for _ in 0..40 {
            world.push(Command::Degrade).expect("room");
            advance(&mut world, 3);
        }
        world.push(Command::SetBeta(-0.7)).expect("room");
        let (worst, ..) = residual(&mut world, 230);
        assert!(worst < 5e-6, "{metric:?}: {worst}");
        assert!(world.energy_flows().expect("booked").of(Flow::Parameters).abs() > 1e-2);
    }
}

#[test]
fn a_bomb_in_the_wave_form_shows_and_is_taken_back() {
    for metric in METRICS {
        for precision in [Precision::F64, Precision::F32] {
            let mut world = build(&open_world(metric, precision, ALL));
            let mut edge = edge(&mut world);
            watch(&mut world, &mut edge, 250);
            let before = world.sample().energy;
            world.corrupt_page(0, |_, re, im| (1.02 * re, 1.02 * im));
            let bomb = world.sample().energy / before - 1.0;
            assert!(bomb > 2e-3, "{bomb}");
            assert_eq!(watch(&mut world, &mut edge, 60), [Health::Nominal, Health::Warning]);
            // A metric that learns has moved H meanwhile.
            let seen = world.oracle().expect("watched").energy_drift_ratio * world.sample().energy / before;
            assert!((seen / bomb - 1.0).abs() < 0.05, "{metric:?} {precision:?}: {seen} of {bomb}");
            assert_eq!(watch(&mut world, &mut edge, 340), [Health::Warning, Health::Nominal]);
            assert_eq!(world.oracle().expect("watched").n_renormalisations, 1);
        }
    }
}

#[test]
fn not_a_number_in_the_wave_form_goes_back_to_a_checkpoint_or_ends_halted() {
    for metric in METRICS {
        let mut scene = open_world(metric, Precision::F32, ALL);
        scene.oracle = Some(OracleSettings { checkpoint_every: 100, ..OracleSettings::default() });
        let mut world = build(&scene);
        let mut edge = edge(&mut world);
        watch(&mut world, &mut edge, 330);
        world.corrupt_page(0, |i, re, im| if i == 17 { (f64::NAN, im) } else { (re, im) });
        let states = watch(&mut world, &mut edge, 20);
        assert_eq!(states, [Health::Nominal, Health::Reset, Health::Nominal], "{metric:?}");
        assert!(finite(&world) && world.sample().energy.is_finite());
        assert_eq!(watch(&mut world, &mut edge, 500), [Health::Nominal]);
        assert!(world.energy_flows().expect("booked").total().is_finite());
        // Without a checkpoint.
        let mut world = build(&scene);
        world.corrupt_page(0, |_, _, im| (f64::INFINITY, im));
        advance(&mut world, 8);
        world.push(Command::Restore(None)).expect("room");
        advance(&mut world, 1);
        assert_eq!(world.oracle().expect("watched").health, Health::Halted);
        advance(&mut world, 100);
        assert_eq!((world.sample().norm, world.sample().energy), (0.0, 0.0));
    }
}

#[test]
fn a_blow_up_with_positive_beta_is_frozen_or_halted() {
    for metric in METRICS {
        let mut scene = open_world(metric, Precision::F64, On::default());
        scene.wave.beta = 3.0;
        scene.initial = initial(&scene.torus, |_| (2.0, 0.0));
        let weak = OracleSettings {
            freeze_damping: 1e-3,
            freeze_ticks: 40,
            resets_max: 2,
            reset_window: 1_000_000,
            ..OracleSettings::default()
        };
        scene.oracle = Some(weak);
        let mut world = build(&scene);
        let mut edge = edge(&mut world);
        let states = watch(&mut world, &mut edge, 20_000);
        assert_eq!(states.last(), Some(&Health::Halted), "{metric:?}: {states:?}");
        assert!(finite(&world) && edge.halting(&world).is_some());
        assert!(states.contains(&Health::SoftScram) || states.contains(&Health::Reset), "{states:?}");
    }
}

#[test]
fn a_scram_damps_the_wave_form_until_it_thaws() {
    for metric in METRICS {
        let mut scene = open_world(metric, Precision::F64, On { emitters: true, ..On::default() });
        scene.oracle = Some(OracleSettings { freeze_ticks: 500, ..scene.oracle.expect("watched") });
        let mut world = build(&scene);
        advance(&mut world, 900);
        world.push(Command::Scram(Alarm::Asked)).expect("room");
        advance(&mut world, 1);
        let (energy, source) =
            (world.sample().energy, world.energy_flows().expect("booked").of(Flow::Source));
        advance(&mut world, 400);
        assert_eq!(world.oracle().expect("watched").health, Health::SoftScram);
        assert_eq!(world.energy_flows().expect("booked").of(Flow::Source), source);
        let damped = world.energy_flows().expect("booked").of(Flow::Damping);
        assert!(damped < -0.1 * energy, "{metric:?}: {damped} of {energy}");
        advance(&mut world, 2_000);
        let report = world.oracle().expect("watched");
        assert_eq!(report.health, Health::Nominal);
        assert!(report.energy_drift_worst < 1e-6, "{metric:?}: {report:?}");
    }
}

/// Damping and wave speed follow the chemistry.
pub fn living(metric: Metric, precision: Precision) -> Setup {
    let mut scene = open_world(metric, precision, ALL);
    let initial = Chemistry { serotonin: 0.1, norepinephrine: 0.9, ..Chemistry::default() };
    let quick = EngsSettings { serotonin_decay_per_sec: 2.0, ..EngsSettings::default() };
    scene.engs = Some(EngsSettings { initial, state: 0.5, ..quick });
    scene
}

#[test]
fn chemistry_moves_the_wave_form_and_the_balance_follows() {
    for metric in METRICS {
        for (precision, bound) in [(Precision::F64, 2e-6), (Precision::F32, 1e-4)] {
            let mut world = build(&living(metric, precision));
            let (worst, total, _) = residual(&mut world, 5_000);
            let moved = world.energy_flows().expect("booked").of(Flow::Parameters) / world.sample().energy;
            println!(
                "{metric:?} {precision:?}: worst {worst:.1e}, total {total:.1e}, {moved:.2} of |H| by D"
            );
            assert!(moved.abs() > 1e-3 && worst < bound && total < bound, "{metric:?} {precision:?}");
        }
    }
}

#[test]
fn a_plastic_metric_yields_to_the_wave_form() {
    let mut world = build(&open_world(Metric::Plastic, Precision::F64, ALL));
    advance(&mut world, 3_000);
    let counts = world.metric_counts().expect("plastic");
    assert!(counts.n_factorised > 100 && counts.work.abs() > 1e-6, "{counts:?}");
    let booked = world.energy_flows().expect("booked").of(Flow::Metric);
    assert!((booked / counts.work - 1.0).abs() < 0.05, "{booked} of {}", counts.work);
}

#[test]
fn the_wave_form_has_the_same_bits_on_every_crew_and_after_a_load() {
    for metric in METRICS {
        for precision in [Precision::F64, Precision::F32] {
            let scene = living(metric, precision);
            let world = |threads| build_with(&scene, &BuildOptions { threads, ..BuildOptions::default() });
            let mut one = world(1);
            advance(&mut one, 137);
            let saved = save(&mut one);
            advance(&mut one, 270);
            let end = save(&mut one);
            for threads in [1, 2, 4] {
                let mut whole = world(threads);
                advance(&mut whole, 407);
                assert!(save(&mut whole) == end, "{metric:?} {precision:?} {threads} threads");
                let mut resumed = world(threads);
                restore(&mut resumed, &saved).expect("its own state");
                assert!(save(&mut resumed) == saved, "{metric:?} {precision:?}: load and save");
                advance(&mut resumed, 270);
                assert!(save(&mut resumed) == end, "{metric:?} {precision:?} {threads} threads, resumed");
                assert_eq!(resumed.sample(), one.sample());
            }
        }
    }
}

#[test]
fn a_speed_that_grows_past_the_bound_is_stepped_in_parts() {
    // dt is just stable for the scene's D, and norepinephrine makes waves faster.
    let mut scene = living(Metric::Varying, Precision::F64);
    (scene.damping, scene.emitters) = (Profile::Uniform(0.0), Vec::new());
    scene.wave.beta = 0.0;
    let longest =
        nikola_engine::systems::propagators::longest_step(&scene).expect("finite").expect("bounded");
    scene.wave.dt = 0.98 * longest;
    let mut world = build(&scene);
    advance(&mut world, 2_000);
    assert!(world.effects().expect("chemistry").diffusion_scale > 1.1);
    let largest = Field::of(&world).values.iter().fold(0.0_f64, |m, x| m.max(x.0.hypot(x.1)));
    assert!(largest < 20.0, "stable: {largest}");
    scene.wave.dt = 1.01 * longest;
    let refused = Simulation::new(&scene, &BuildOptions::default()).expect_err("too long");
    assert!(refused.to_string().contains("2/ω"), "{refused}");
}
