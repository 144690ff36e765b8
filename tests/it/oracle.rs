//! The energy balance of open worlds, and drills: whatever is done to a watched world, it ends in a named state.

use nikola_engine::edge::{Edge, Flow as Goes};
use nikola_engine::incidents::Incidents;
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::emitter::{Emitter, Envelope};
use nikola_engine::systems::components::fill::{Profile, TimePotential};
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::ledger::Flow;
use nikola_engine::systems::components::oracle::{Action, Alarm, Health, OracleSettings, Resume};
use nikola_engine::systems::components::ports::{Command, Event};
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_engine::systems::components::torus::Torus;
use nikola_tests::lab::{Field, advance, build, initial, nearest_image, polar, profile, setup, torus};
use std::sync::Arc;

/// A trap whose strength swings.
struct Swinging(Torus);

impl TimePotential for Swinging {
    fn add(&self, t: f64, page: usize, v: &mut [f64]) {
        let swing = 0.3 * (1.9 * t).sin();
        self.0.for_each_node(page, |i, coordinates| {
            v[i] += swing * self.0.coordinate(Axis::Z, coordinates[Axis::Z.index()]).abs() / 6.0;
        });
    }
}

/// What is on in a scene.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct On {
    pub(crate) emitters: bool,
    pub(crate) uniform_damping: bool,
    pub(crate) damping: bool,
    pub(crate) drive: bool,
    pub(crate) interaction: bool,
}

pub(crate) const ALL: On =
    On { emitters: true, uniform_damping: false, damping: true, drive: true, interaction: true };

/// A small torus of rings with everything that may change its energy.
pub(crate) fn open_world(precision: Precision, on: On) -> Setup {
    open_world_at(precision, on, 1e-3)
}

fn open_world_at(precision: Precision, on: On, dt: f64) -> Setup {
    let torus = torus(&[Axis::U, Axis::V, Axis::X, Axis::Y, Axis::Z].map(|axis| (axis, 3, 12.0)));
    let mut scene = setup(torus.clone(), dt);
    scene.precision = precision;
    scene.wave.beta = if on.interaction { 0.4 } else { 0.0 };
    scene.potential = profile(&torus, |p| 0.5 + 0.2 * (0.5 * p[6]).cos() + 0.01 * p[8] * p[8]);
    if on.drive {
        scene.drive = Some(Arc::new(Swinging(torus.clone())));
    }
    if on.uniform_damping {
        scene.damping = Profile::Uniform(0.15);
    }
    if on.damping {
        scene.damping = profile(&torus, |p| 0.1 * (1.0 - (-p[8] * p[8] / 64.0).exp()));
    }
    scene.initial = initial(&torus, |p| polar(0.8 * (-p[8] * p[8] / 64.0).exp(), 0.2 * p[8]));
    if on.emitters {
        scene.emitters = emitters(&torus, 32.0);
    }
    scene.oracle = Some(OracleSettings { memory_ticks: 1_000_000_000, ..OracleSettings::default() });
    scene
}

/// Three emitters of one shape about z = 2, e^{−z²/spread}.
pub(crate) fn emitters(torus: &Torus, spread: f64) -> Vec<Emitter> {
    let shape = initial(torus, move |p| ((-nearest_image(p[8] - 2.0, 12.0).powi(2) / spread).exp(), 0.0));
    let emitter = |(frequency_hz, amplitude): (f64, f64)| Emitter {
        name: format!("{frequency_hz} Hz"),
        frequency_hz,
        phase_turns: 0.1,
        amplitude,
        profile: shape.clone(),
        envelope: Envelope::Window { start_secs: 0.5, end_secs: f64::INFINITY, rise_secs: 1.0 },
    };
    [(0.13, 0.1), (0.35, 0.2), (5.083, 0.5)].map(emitter).to_vec()
}

/// (largest residual of any check, all unexplained energy, the flows' total) relative to |H|.
pub(crate) fn residual_of(world: &mut Simulation, ticks: u64) -> (f64, f64, f64) {
    advance(world, ticks);
    let energy = world.sample().energy.abs();
    let report = world.oracle().expect("watched");
    let flows = world.energy_flows().expect("booked");
    let throughput: f64 = Flow::ALL.iter().map(|flow| flows.of(*flow).abs()).sum();
    (report.energy_drift_worst, report.energy_drift_total.abs(), throughput / energy)
}

fn residual(scene: &Setup, ticks: u64) -> (f64, f64, f64) {
    residual_of(&mut build(scene), ticks)
}

#[test]
fn every_flow_alone_is_booked() {
    let off = On { interaction: true, ..On::default() };
    let cases = [
        ("closed", off, 1e-7),
        ("emitters, linear", On { emitters: true, ..On::default() }, 1e-6),
        ("emitters", On { emitters: true, ..off }, 2e-6),
        ("uniform damping", On { uniform_damping: true, ..off }, 1e-7),
        ("damping", On { damping: true, ..off }, 1e-7),
        ("drive", On { drive: true, ..off }, 1e-7),
        ("emitters, uniform damping", On { emitters: true, uniform_damping: true, ..off }, 2e-6),
    ];
    for (name, on, bound) in cases {
        let (worst, total, throughput) = residual(&open_world(Precision::F64, on), 5_000);
        println!("{name:<28} worst {worst:.1e}, total {total:.1e}, {throughput:.2} of |H| through");
        assert!(worst < bound && total < bound, "{name}: worst {worst}, total {total}");
    }
}

#[test]
fn the_balance_of_an_open_world_closes_over_a_hundred_thousand_ticks() {
    for (precision, bound) in [(Precision::F64, 1e-6), (Precision::F32, 1e-4)] {
        let (worst, total, throughput) = residual(&open_world(precision, ALL), 100_000);
        println!("{precision:?}: worst {worst:.1e}, total {total:.1e}, {throughput:.2} of |H| through");
        assert!(worst < bound && total < bound, "{precision:?}: worst {worst}, total {total}");
    }
}

#[test]
fn what_remains_is_the_order_of_the_step() {
    // Rings of spacing 1: energies up to 11 instead of 0.7, so that the difference of H and H̃ shows.
    let unexplained = |dt: f64| {
        let mut scene = open_world_at(Precision::F64, ALL, dt);
        scene.wave.diffusion = [16.0; 9];
        residual(&scene, (20.0 / dt).round() as u64).1
    };
    let errors = [4e-3, 2e-3].map(unexplained);
    let order = (errors[0] / errors[1]).log2();
    println!("unexplained after 20 units of time: {errors:?}, order {order:.2}");
    assert!(order > 1.7, "order {order}, errors {errors:?}");
}

#[test]
fn degraded_ticks_and_a_new_beta_are_booked() {
    let mut world = build(&open_world(Precision::F64, ALL));
    advance(&mut world, 150);
    for _ in 0..40 {
        world.push(Command::Degrade).expect("room");
        advance(&mut world, 3);
    }
    world.push(Command::SetBeta(0.7)).expect("room");
    advance(&mut world, 230);
    let report = world.oracle().expect("watched");
    assert_eq!(report.health, Health::Nominal);
    assert!(report.energy_drift_worst < 5e-6, "{report:?}");
    assert!(world.energy_flows().expect("booked").of(Flow::Parameters).abs() > 1e-2);
}

/// Runs a watched world with the edge that answers the oracle; the states it went through.
pub(crate) fn watch(world: &mut Simulation, edge: &mut Incidents, ticks: u64) -> Vec<Health> {
    let mut states = vec![world.oracle().expect("watched").health];
    for _ in 0..ticks {
        world.tick();
        let goes = edge.after_tick(world).expect("nothing is written");
        let health = world.oracle().expect("watched").health;
        if states.last() != Some(&health) {
            states.push(health);
        }
        if goes == Goes::Stop {
            break;
        }
    }
    states
}

pub(crate) fn edge(world: &mut Simulation) -> Incidents {
    Incidents::new(world, None, true).expect("nothing is written").expect("a watched world")
}

pub(crate) fn finite(world: &Simulation) -> bool {
    Field::of(world).values.iter().all(|(re, im)| re.is_finite() && im.is_finite())
}

#[test]
fn an_energy_bomb_of_one_per_cent_shows_and_is_taken_back() {
    for on in [ALL, On { interaction: true, ..On::default() }] {
        let mut world = build(&open_world(Precision::F64, on));
        let mut edge = edge(&mut world);
        watch(&mut world, &mut edge, 250);
        let before = world.sample().energy;
        world.corrupt_page(0, |_, re, im| (1.005 * re, 1.005 * im));
        let bomb = world.sample().energy / before - 1.0;
        let states = watch(&mut world, &mut edge, 60);
        assert_eq!(states, [Health::Nominal, Health::Warning]);
        let seen = world.oracle().expect("watched").energy_drift_ratio;
        assert!((seen / bomb - 1.0).abs() < 0.05, "{seen} of {bomb}");
        assert_eq!(watch(&mut world, &mut edge, 340), [Health::Warning, Health::Nominal]);
        let report = *world.oracle().expect("watched");
        assert_eq!((report.n_renormalisations, report.n_scrams), (1, 0));
        let taken = world.energy_flows().expect("booked").of(Flow::Renormalisation);
        assert!((taken / (before * bomb) + 1.0).abs() < 0.1, "{taken} of {}", before * bomb);
    }
}

#[test]
fn not_a_number_goes_back_to_the_last_checkpoint_at_once() {
    let mut scene = open_world(Precision::F32, ALL);
    scene.oracle = Some(OracleSettings { checkpoint_every: 100, ..OracleSettings::default() });
    let mut world = build(&scene);
    let mut edge = edge(&mut world);
    watch(&mut world, &mut edge, 330);
    world.corrupt_page(0, |i, re, im| if i == 17 { (f64::NAN, im) } else { (re, im) });
    let states = watch(&mut world, &mut edge, 20);
    assert_eq!(states, [Health::Nominal, Health::Reset, Health::Nominal]);
    assert!(finite(&world));
    let report = world.oracle().expect("watched");
    assert_eq!((report.n_scrams, report.n_resets), (1, 1));
    assert_eq!(watch(&mut world, &mut edge, 500), [Health::Nominal]);
    assert!(world.energy_flows().expect("booked").total().is_finite());
}

#[test]
fn without_a_checkpoint_not_a_number_ends_halted_and_zero() {
    let mut world = build(&open_world(Precision::F64, ALL));
    world.corrupt_page(0, |_, _, im| (f64::INFINITY, im));
    advance(&mut world, 8);
    assert_eq!(world.oracle().expect("watched").health, Health::Reset);
    world.push(Command::Restore(None)).expect("room");
    advance(&mut world, 1);
    assert_eq!(world.oracle().expect("watched").health, Health::Halted);
    assert!(Field::of(&world).values.iter().all(|value| *value == (0.0, 0.0)));
    advance(&mut world, 100);
    assert_eq!(world.sample().norm, 0.0);
}

/// Two dimensions, focusing, three times the critical norm: the exact solution collapses in finite time.
fn collapse(on_reset: OracleSettings) -> Setup {
    let torus = torus(&[(Axis::Y, 64, 12.0), (Axis::Z, 64, 12.0)]);
    let mut scene = setup(torus.clone(), 1e-3);
    scene.precision = Precision::F32;
    scene.wave.beta = -1.0;
    scene.initial = initial(&torus, |p| ((-(p[7] * p[7] + p[8] * p[8]) / 2.0).exp(), 0.0));
    // The Townes soliton's norm is 5.85.
    scene.norm = Some(17.5);
    scene.oracle = Some(on_reset);
    scene
}

#[test]
fn a_focusing_collapse_is_frozen() {
    let freeze = OracleSettings { freeze_damping: 2.0, freeze_ticks: 600, ..OracleSettings::default() };
    let mut world = build(&collapse(freeze));
    let mut edge = edge(&mut world);
    let states = watch(&mut world, &mut edge, 3_000);
    assert_eq!(states[..3], [Health::Nominal, Health::SoftScram, Health::Nominal], "{states:?}");
    assert!(finite(&world));
    assert!(world.oracle().expect("watched").max_abs_psi < 4.5);
}

#[test]
fn a_collapse_that_no_freeze_stops_ends_halted() {
    let weak = OracleSettings {
        freeze_damping: 1e-3,
        freeze_ticks: 40,
        resets_max: 2,
        reset_window: 1_000_000,
        ..OracleSettings::default()
    };
    let mut world = build(&collapse(weak));
    let mut edge = edge(&mut world);
    let states = watch(&mut world, &mut edge, 20_000);
    let round = [Health::SoftScram, Health::Reset, Health::Nominal];
    let expected: Vec<Health> = [Health::Nominal]
        .into_iter()
        .chain(round)
        .chain(round)
        .chain([Health::SoftScram, Health::Halted])
        .collect();
    assert_eq!(states, expected);
    assert!(finite(&world) && edge.halting(&world).is_some());
}

#[test]
fn an_input_that_leads_to_a_reset_is_refused_the_next_time() {
    let scene = open_world(Precision::F64, On { uniform_damping: true, ..On::default() });
    let mut settings = scene.oracle.expect("watched");
    (settings.freeze_ticks, settings.freeze_damping) = (20, 0.1);
    let mut world = build(&Setup { oracle: Some(settings), ..scene.clone() });
    let mut edge = edge(&mut world);
    watch(&mut world, &mut edge, 50);
    let bomb = |strength: f64| Command::Inject {
        amplitude: (strength, 0.0),
        profile: initial(&scene.torus, |p| (if p[8].abs() < 5.0 { 1.0 } else { 0.0 }, 0.0)),
    };
    world.push(bomb(40.0)).expect("room");
    let states = watch(&mut world, &mut edge, 60);
    assert_eq!(states, [Health::Nominal, Health::SoftScram, Health::Reset, Health::Nominal]);
    world.push(bomb(40.0)).expect("room");
    world.tick();
    let refused =
        std::iter::from_fn(|| world.pop_event()).any(|event| matches!(event, Event::Refused { .. }));
    assert!(refused, "the same input is known");
    assert_eq!(world.oracle().expect("watched").health, Health::Nominal);
    world.push(bomb(0.01)).expect("room");
    assert_eq!(watch(&mut world, &mut edge, 40), [Health::Nominal], "another input is not");
}

#[test]
fn a_scram_by_command_mutes_the_sources_until_it_is_resumed() {
    let mut scene = open_world(Precision::F64, On { emitters: true, ..On::default() });
    let settings = scene.oracle.expect("watched");
    scene.oracle = Some(OracleSettings { resume: Resume::Manual, freeze_ticks: 10, ..settings });
    let mut world = build(&scene);
    advance(&mut world, 900);
    world.push(Command::Scram(Alarm::Asked)).expect("room");
    advance(&mut world, 1);
    let (norm, source) = (world.sample().norm, world.energy_flows().expect("booked").of(Flow::Source));
    advance(&mut world, 500);
    assert_eq!(world.oracle().expect("watched").health, Health::SoftScram);
    // γ = 1 for half a unit of time, sources off.
    let decayed = world.sample().norm / norm;
    assert!((decayed / (-1.0_f64).exp() - 1.0).abs() < 1e-6, "{decayed}");
    assert_eq!(world.energy_flows().expect("booked").of(Flow::Source), source);
    world.push(Command::Resume).expect("room");
    advance(&mut world, 300);
    let report = world.oracle().expect("watched");
    assert_eq!(report.health, Health::Nominal);
    assert!(report.energy_drift_worst < 2e-6, "{report:?}");
    assert_ne!(world.energy_flows().expect("booked").of(Flow::Source), source);
}

#[test]
fn action_scram_freezes_on_drift() {
    let mut scene = open_world(Precision::F64, ALL);
    let settings = OracleSettings { action: Action::Scram, every: 20, ..OracleSettings::default() };
    scene.oracle = Some(settings);
    let mut world = build(&scene);
    let mut edge = edge(&mut world);
    watch(&mut world, &mut edge, 50);
    world.corrupt_page(0, |_, re, im| (1.01 * re, 1.01 * im));
    let states = watch(&mut world, &mut edge, 1_100);
    assert_eq!(states, [Health::Nominal, Health::Warning, Health::SoftScram, Health::Nominal]);
}
