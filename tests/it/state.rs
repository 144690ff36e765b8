//! Save → load → continue equals the uninterrupted run, byte for byte, for 1, 2 and 4 threads and both precisions.

use nikola_engine::observe::digest::state_digest;
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::chemistry::{Chemistry, EngsSettings, Goal, Horizon, Stimulus};
use nikola_engine::systems::components::column::Column;
use nikola_engine::systems::components::emitter::{Emitter, Envelope, Injection};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::geometry::traversal::Traversal;
use nikola_engine::systems::components::growth::GrowthRule;
use nikola_engine::systems::components::metric::Plasticity;
use nikola_engine::systems::components::oracle::{Alarm, OracleSettings};
use nikola_engine::systems::components::ports::{Command, Event, IngressError};
use nikola_engine::systems::components::scan::{Feature, ReadoutSetup, ScanSetup};
use nikola_engine::systems::components::setup::{Equation, Integrator, Precision, Setup, TimeMode};
use nikola_engine::systems::components::torus::{PageRule, Torus};
use nikola_engine::systems::world::BuildOptions;
use nikola_tests::lab::{
    Led, build_with, go_on_from_every_tick, initial, polar, profile, restore, save, setup, torus,
};
use std::sync::Arc;

/// Damped, driven by two emitters, a time-dependent potential and an injection, on many pages.
fn open_scene(precision: Precision) -> Setup {
    let torus = torus(&[(Axis::X, 27, 27.0), (Axis::Y, 54, 54.0), (Axis::Z, 27, 27.0)]);
    let mut scene = setup(torus.clone(), 1e-2);
    scene.precision = precision;
    scene.wave.beta = 0.7;
    scene.potential = profile(&torus, |p| 0.2 * (p[6] * 0.3).sin());
    scene.drive = Some(Arc::new(Shaken));
    scene.damping = profile(&torus, |p| 0.01 * (1.0 + (p[7] * 0.9).cos()));
    scene.initial = initial(&torus, |p| polar(1.0 + 0.1 * p[6].cos(), p[7] * 0.2));
    scene.emitters = vec![Emitter {
        name: "drive".into(),
        frequency_hz: 0.8,
        phase_turns: 0.1,
        amplitude: 0.5,
        profile: initial(&torus, |p| ((-p[6] * p[6] / 9.0).exp(), 0.0)),
        envelope: Envelope::Window { start_secs: 0.0, end_secs: f64::INFINITY, rise_secs: 0.3 },
    }];
    let strike = initial(&torus, |p| ((-p[8] * p[8] / 4.0).exp(), 0.1));
    let injection = |tick| Injection { tick, amplitude: (0.3, 0.1), profile: strike.clone() };
    scene.injections = vec![injection(3), injection(SAVED_AT), injection(SAVED_AT + 5)];
    scene
}

struct Shaken;

impl nikola_engine::systems::components::fill::TimePotential for Shaken {
    fn add(&self, t: f64, page: usize, v: &mut [f64]) {
        v.iter_mut().enumerate().for_each(|(i, v)| *v += 0.1 * (t + (i + page) as f64).sin());
    }
}

/// Closed, all nine axes, nonlinear: the ledger steers the norm.
fn closed_scene(precision: Precision) -> Setup {
    let axes: Vec<_> = Axis::ALL.map(|axis| (axis, 3, 3.0)).to_vec();
    let torus = torus(&axes);
    let mut scene = setup(torus.clone(), 1e-3);
    scene.precision = precision;
    scene.wave.beta = 1.3;
    scene.wave.integrator = Integrator::Yoshida4;
    scene.initial = initial(&torus, |p| polar(1.0 + 0.4 * p[6].cos(), p[7] + 2.0 * p[8]));
    scene
}

/// Second order in time, closed, in one precision with an energy that is kept: the velocity carries over.
fn wave_scene(precision: Precision) -> Setup {
    let torus = torus(&[(Axis::X, 27, 27.0), (Axis::Y, 54, 54.0), (Axis::Z, 27, 27.0)]);
    let mut scene = setup(torus.clone(), 1e-2);
    scene.precision = precision;
    scene.wave.beta = -0.7;
    scene.initial = initial(&torus, |p| polar(1.0 + 0.1 * p[6].cos(), p[7] * 0.2));
    scene.equation = Equation::Wave { velocity: initial(&torus, |p| (p[8].sin(), 0.3)) };
    scene
}

/// Open, and with a readout that is taught: weights, what learning remembers and the emitter's drive carry over.
fn taught_scene(precision: Precision) -> Setup {
    let mut scene = open_scene(precision);
    let readout = ReadoutSetup {
        n_nodes: 6,
        features: vec![Feature::Density, Feature::Scan],
        n_targets: 1,
        forgetting: 0.99,
        ridge: 1e-3,
    };
    scene.scan = Some(ScanSetup {
        step: 0.01,
        density_weight: 10.0,
        input_weight: 1.0,
        openness: Profile::Uniform(0.5),
        metric: [1.0; 9],
        inverse_metric: None,
        traversals: vec![Traversal::XyzFastest],
        every: 2,
        readout: Some(readout),
    });
    scene
}

/// Imaginary time: μ and the renormalisation carry over.
fn descending_scene(precision: Precision) -> Setup {
    let torus = torus(&[(Axis::Z, 128, 20.0)]);
    let mut scene = setup(torus.clone(), 1e-2);
    scene.precision = precision;
    scene.wave.time = TimeMode::Imaginary;
    scene.wave.beta = 2.0;
    scene.norm = Some(1.0);
    scene.potential = profile(&torus, |p| 0.5 * p[8] * p[8]);
    scene.damping = Profile::Uniform(0.0);
    scene
}

/// x and z, in pages of three by three nodes or whole.
fn plane(z: usize, is_sparse: bool) -> Torus {
    let (mut extents, mut lengths, mut sides) = ([1; 9], [1.0; 9], [1; 9]);
    for (axis, extent, side) in [(Axis::X, 9, 3), (Axis::Z, z, 3)] {
        extents[axis.index()] = extent;
        lengths[axis.index()] = extent as f64 * 0.5;
        sides[axis.index()] = side;
    }
    Torus::new(extents, lengths, if is_sparse { PageRule::Blocks(sides) } else { PageRule::Auto })
        .expect("valid")
}

/// Sparse: pages are born and pruned before the state is saved and after it is loaded.
fn sparse_scene(precision: Precision) -> Setup {
    packet(precision, plane(81, true))
}

/// A packet that runs along z.
fn packet(precision: Precision, torus: Torus) -> Setup {
    let mut scene = setup(torus.clone(), 2e-2);
    scene.precision = precision;
    scene.wave.beta = -0.3;
    scene.potential = profile(&torus, |p| 0.02 * (p[8] * 0.31).cos());
    scene.initial = initial(&torus, |p| polar((-0.5 * p[8] * p[8]).exp(), 3.0 * p[8]));
    scene.growth = (!torus.has_contiguous_pages()).then(|| GrowthRule {
        threshold: 1e-2,
        vacuum: 2e-2,
        quiet_ticks: 8,
        ..GrowthRule::default()
    });
    scene
}

/// Watched and with chemistry: damping and wave speed change before and after, stimuli wait for the next update.
fn watched_scene(precision: Precision) -> Setup {
    let mut scene = open_scene(precision);
    scene.wave.dt = 1e-3;
    scene.oracle = Some(OracleSettings { every: 20, checkpoint_every: 20, ..OracleSettings::default() });
    let initial = Chemistry { serotonin: 0.1, norepinephrine: 0.9, ..Chemistry::default() };
    let rates = EngsSettings::default();
    scene.engs = Some(EngsSettings { initial, state: 0.5, serotonin_decay_per_sec: 20.0, ..rates });
    scene
}

/// Everything on: a plastic metric on pages that come and go, watched, with chemistry and a scan.
fn living_scene(precision: Precision) -> Setup {
    alive(precision, plane(45, true))
}

/// A plastic metric and a wave speed that changes, every page there.
fn plastic_scene(precision: Precision) -> Setup {
    alive(precision, plane(27, false))
}

fn alive(precision: Precision, torus: Torus) -> Setup {
    let mut scene = packet(precision, torus.clone());
    scene.damping = profile(&torus, |p| 0.02 * (1.0 + (0.3 * p[8]).cos()));
    scene.emitters = vec![Emitter {
        name: "drive".into(),
        frequency_hz: 0.3,
        phase_turns: 0.1,
        amplitude: 0.3,
        profile: initial(&torus, |p| ((-p[8] * p[8]).exp(), 0.0)),
        envelope: Envelope::Constant,
    }];
    scene.plasticity =
        Some(Plasticity { eta: 0.4, tolerance: 1e-3, gradient_floor: 1e-4, ..Plasticity::default() });
    scene.oracle = Some(OracleSettings { every: 20, checkpoint_every: 20, ..OracleSettings::default() });
    let initial = Chemistry { serotonin: 0.1, norepinephrine: 0.9, ..Chemistry::default() };
    let quick = EngsSettings { serotonin_decay_per_sec: 20.0, ..EngsSettings::default() };
    scene.engs = Some(EngsSettings { initial, state: 0.5, ..quick });
    scene.scan = taught_scene(precision).scan;
    scene
}

const SAVED_AT: u64 = 37;
const ENDS_AT: u64 = 70;

fn advance(world: &mut Simulation, until: u64) {
    while world.tick_count() < until {
        if world.tick_count() == 20 {
            world.push(Command::SetBeta(0.9)).expect("finite");
        }
        if world.readout_weights().is_some() {
            let target = [(0.3 * world.tick_count() as f64).sin()];
            world.push(Command::Teach(Arc::from(target))).expect("one target");
            if world.tick_count() == 30 {
                world.push(Command::Drive { emitter: 0, value: 0.5 }).expect("one emitter");
            }
        }
        if world.chemistry().is_some() && world.tick_count() == SAVED_AT - 2 {
            world.push(Command::Stimulate(Stimulus::Reward(0.4))).expect("in range");
        }
        world.tick();
    }
}

type SceneOf = fn(Precision) -> Setup;
const SCENES: [(&str, SceneOf); 9] = [
    ("open", open_scene),
    ("closed", closed_scene),
    ("wave", wave_scene),
    ("descending", descending_scene),
    ("sparse", sparse_scene),
    ("taught", taught_scene),
    ("watched", watched_scene),
    ("living", living_scene),
    ("plastic", plastic_scene),
];

#[test]
fn save_load_continue_equals_the_uninterrupted_run() {
    for (name, scene) in SCENES {
        for precision in [Precision::F32, Precision::F64] {
            let scene = scene(precision);
            let world = |threads| build_with(&scene, &BuildOptions { threads, ..BuildOptions::default() });
            let mut uninterrupted = world(1);
            advance(&mut uninterrupted, SAVED_AT);
            let saved = save(&mut uninterrupted);
            advance(&mut uninterrupted, ENDS_AT);
            let end = save(&mut uninterrupted);
            assert_ne!(saved, end);
            let is_sparse = scene.growth.is_some();
            assert!(!is_sparse || saved.pages != end.pages, "{name}: pages came and went meanwhile");
            for threads in [1, 2, 4] {
                let mut resumed = world(threads);
                restore(&mut resumed, &saved).expect("its own state");
                assert!(save(&mut resumed) == saved, "{name} {precision:?}: load is not the inverse of save");
                advance(&mut resumed, ENDS_AT);
                assert!(save(&mut resumed) == end, "{name} {precision:?} {threads} threads");
                assert_eq!(state_digest(&resumed), state_digest(&uninterrupted));
                assert_eq!(resumed.sample(), uninterrupted.sample(), "{name} {precision:?}");
            }
        }
    }
}

/// As [`living_scene`] and [`watched_scene`], where nothing has changed Γ or the wave speed yet.
fn calm(mut scene: Setup) -> Setup {
    let engs = scene.engs.as_mut().expect("chemistry");
    engs.initial = Chemistry { norepinephrine: 0.0, ..Chemistry::default() };
    scene
}

#[test]
fn a_state_is_loaded_whatever_the_world_held_before() {
    let calm_ones = [watched_scene, living_scene, plastic_scene].map(|of| calm(of(Precision::F64)));
    let scenes = SCENES.map(|(_, scene)| scene(Precision::F64)).into_iter().chain(calm_ones);
    for (i, scene) in scenes.enumerate() {
        let world = || build_with(&scene, &BuildOptions::default());
        let mut uninterrupted = world();
        advance(&mut uninterrupted, SAVED_AT);
        let saved = save(&mut uninterrupted);
        advance(&mut uninterrupted, ENDS_AT);
        // Frozen, aroused, and about to go back to a checkpoint with an order besides.
        let mut other = world();
        if scene.engs.is_some() {
            (0..3).for_each(|_| other.push(Command::Stimulate(Stimulus::Alert)).expect("chemistry"));
        }
        advance(&mut other, SAVED_AT - 15);
        if scene.oracle.is_some() {
            other.keep_checkpoint();
            other.push(Command::Scram(Alarm::Asked)).expect("an oracle");
        }
        advance(&mut other, SAVED_AT - 1);
        assert!(other.chemistry().is_none_or(|own| own.norepinephrine > 0.1), "scene {i} is not aroused");
        if scene.oracle.is_some() {
            other.answer(&Event::RestoreWanted { skip: 0 }).expect("room");
        }
        other.push(Command::SetBeta(5.0)).expect("finite");
        restore(&mut other, &saved).expect("its own state");
        assert!(other.scan().is_none_or(|output| output.tick == 0), "scene {i}: another state's scan");
        assert!(save(&mut other) == saved, "scene {i}: load is not the inverse of save");
        advance(&mut other, ENDS_AT);
        assert!(save(&mut other) == save(&mut uninterrupted), "scene {i}: something of before remains");
    }
}

/// Every command there is, now and then, as far as the world has what it names.
fn command(world: &mut Simulation, scene: &Setup) {
    let tick = world.tick_count();
    let at = |every: u64, phase: u64| tick % every == phase;
    let goal = |id| Goal { id, horizon: Horizon::Short, reward: 0.3 };
    let beta = 0.9 + 0.01 * (tick % 5) as f64;
    let profile = scene.emitters.first().map(|emitter| Arc::clone(&emitter.profile));
    let mut commands: Vec<(bool, Command)> = vec![
        (at(20, 3), Command::SetBeta(beta)),
        (at(9, 4), Command::Degrade),
        (at(13, 5), Command::ThrottleGrowth(true)),
        (at(13, 9), Command::ThrottleGrowth(false)),
        (at(7, 1), Command::Drive { emitter: 0, value: 0.5 + (tick % 3) as f64 }),
    ];
    if let Some(profile) = profile {
        commands.push((at(31, 6), Command::Inject { amplitude: (0.2, 0.1), profile }));
    }
    if scene.oracle.is_some() {
        commands.push((at(37, 12), Command::Scram(Alarm::Asked)));
        commands.push((at(37, 21), Command::Resume));
        commands.push((at(53, 30), Command::Scram(Alarm::Overload)));
        commands.push((at(53, 41), Command::Resume));
    }
    if scene.engs.is_some() {
        let stimuli = [
            (at(5, 2), Stimulus::Reward((0.3 * tick as f64).sin())),
            (at(23, 8), Stimulus::Alert),
            (at(11, 3), Stimulus::Stress(0.4)),
            (at(8, 6), Stimulus::Work(1e6)),
            (at(17, 1), Stimulus::AddGoal(goal(tick / 17))),
            (at(17, 14), Stimulus::ReachGoal(tick / 17)),
            (at(47, 20), Stimulus::Nap),
        ];
        commands.extend(stimuli.map(|(is_due, stimulus)| (is_due, Command::Stimulate(stimulus))));
    }
    if let Some(weights) = world.readout_weights() {
        let weights: Vec<f64> = weights.iter().map(|weight| 0.9 * weight).collect();
        commands.push((at(2, 0), Command::Teach(Arc::from([(0.3 * tick as f64).sin()]))));
        commands.push((at(29, 17), Command::SetReadout(Arc::from(weights))));
    }
    for (is_due, command) in commands {
        // Asleep, the door is closed.
        let taken = if is_due { world.push(command) } else { Ok(()) };
        assert!(matches!(taken, Ok(()) | Err(IngressError::Closed { .. })), "{taken:?}");
    }
}

/// A world that is commanded.
struct Commanded<'a> {
    world: Simulation,
    scene: &'a Setup,
}

impl Led for Commanded<'_> {
    fn simulation(&mut self) -> &mut Simulation {
        &mut self.world
    }

    fn tick(&mut self) -> Result<(), String> {
        let world = &mut self.world;
        command(world, self.scene);
        world.tick();
        while let Some(event) = world.pop_event() {
            world.answer(&event).map_err(|error| error.to_string())?;
        }
        while world.pop_growth().is_some() {}
        Ok(())
    }
}

#[test]
fn whatever_is_commanded_every_tick_is_one_to_go_on_from() {
    for scene in [living_scene(Precision::F64), plastic_scene(Precision::F32)] {
        let begin = || Ok(Commanded { world: build_with(&scene, &BuildOptions::default()), scene: &scene });
        go_on_from_every_tick(begin, 110, 0, 6).expect("the same ticks");
    }
}

#[test]
fn a_state_of_another_scene_is_refused() {
    let mut world = build_with(&closed_scene(Precision::F64), &BuildOptions::default());
    let saved = save(&mut world);
    let mut other = closed_scene(Precision::F64);
    other.wave.dt = 2e-3;
    let refused = restore(&mut build_with(&other, &BuildOptions::default()), &saved).expect_err("another dt");
    assert!(refused.to_string().contains("time step"), "{refused}");
    let mut larger = build_with(&open_scene(Precision::F64), &BuildOptions::default());
    let refused = restore(&mut larger, &saved).expect_err("other pages");
    assert!(refused.to_string().contains("pages"), "{refused}");
}

#[test]
fn only_what_a_system_wrote_to_counts_as_touched() {
    let mut world = build_with(&closed_scene(Precision::F32), &BuildOptions::default());
    let mark = world.save_columns(None, &mut |_| {});
    let mut touched = 0;
    let mark = world.save_columns(Some(mark), &mut |column| touched += usize::from(column.is_touched));
    assert_eq!(touched, 0, "nothing ran in between");
    world.tick();
    world.save_columns(Some(mark), &mut |column| touched += usize::from(column.is_touched));
    assert_eq!(touched, 2, "a tick writes both planes of the one page");
}

#[test]
fn bytes_of_a_column_are_its_numbers_little_endian() {
    let mut columns: Vec<Column<f32>> =
        nikola_engine::systems::components::column::zeroed(1, 3, None).expect("small");
    columns[0].copy_from_slice(&[1.5, -0.0, f32::NAN]);
    let expected: Vec<u8> = columns[0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(columns[0].bytes(), expected);
    columns[0].bytes_mut()[..4].copy_from_slice(&2.0f32.to_le_bytes());
    assert_eq!(columns[0][0], 2.0);
}
