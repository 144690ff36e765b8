//! Neurochemistry in the tick: causes, effects and naps. The rules themselves are tested beside their kernel.

use nikola_engine::observe::digest::state_digest;
use nikola_engine::scene::{load, resolve};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::chemistry::{
    Chemistry, EngsSettings, Goal, Horizon, NapCause, Stimulus,
};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::oracle::{Health, OracleSettings};
use nikola_engine::systems::components::ports::{Command, Event, IngressError};
use nikola_engine::systems::components::setup::Setup;
use nikola_tests::lab::{Field, advance, build, initial, polar, profile, setup, torus};

/// A quiet world: nothing drives it, so its energy is what is expected.
fn quiet(engs: EngsSettings) -> Setup {
    let torus = torus(&[Axis::W, Axis::X, Axis::Y, Axis::Z].map(|axis| (axis, 3, 6.0)));
    let mut scene = setup(torus.clone(), 1e-3);
    scene.initial = initial(&torus, |p| polar(1.0 + 0.2 * p[8].cos(), 0.4 * p[7].sin()));
    scene.engs = Some(engs);
    scene
}

fn chemistry(world: &Simulation) -> Chemistry {
    *world.chemistry().expect("it has neurochemistry")
}

fn stimulate(world: &mut Simulation, stimulus: Stimulus) {
    world.push(Command::Stimulate(stimulus)).expect("taken in");
}

fn events(world: &mut Simulation) -> Vec<Event> {
    std::iter::from_fn(|| world.pop_event()).collect()
}

#[test]
fn a_steady_world_stays_at_rest() {
    let mut world = build(&quiet(EngsSettings { boredom_growth: 0.0, ..EngsSettings::default() }));
    advance(&mut world, 2_000);
    let now = chemistry(&world);
    let rest = Chemistry::default();
    assert!((now.dopamine - rest.dopamine).abs() < 1e-6, "{now:?}");
    assert!(now.norepinephrine < 1e-9, "{now:?}");
    assert!((now.serotonin - rest.serotonin).abs() < 1e-8, "{now:?}");
    assert!(now.atp < 1.0, "work is paid for");
}

#[test]
fn at_rest_the_wave_has_the_bits_it_has_without() {
    let with = quiet(EngsSettings::default());
    let without = Setup { engs: None, ..with.clone() };
    let (mut a, mut b) = (build(&with), build(&without));
    advance(&mut a, 300);
    advance(&mut b, 300);
    assert_eq!(state_digest(&a), state_digest(&b));
}

#[test]
fn rewards_goals_alerts_and_stress_act_at_the_next_update() {
    let mut world = build(&quiet(EngsSettings::default()));
    stimulate(&mut world, Stimulus::Reward(0.5));
    stimulate(&mut world, Stimulus::Stress(0.25));
    advance(&mut world, 10);
    let now = chemistry(&world);
    assert!((now.dopamine - 0.55).abs() < 1e-6 && (now.norepinephrine - 0.25).abs() < 1e-12, "{now:?}");
    stimulate(&mut world, Stimulus::AddGoal(Goal { id: 7, horizon: Horizon::Mid, reward: 1.0 }));
    stimulate(&mut world, Stimulus::ReachGoal(7));
    stimulate(&mut world, Stimulus::ReachGoal(8));
    advance(&mut world, 10);
    let then = chemistry(&world);
    assert!((then.serotonin - 0.55).abs() < 1e-3 && then.dopamine > 0.64, "{then:?}");
    stimulate(&mut world, Stimulus::Alert);
    advance(&mut world, 10);
    assert!((chemistry(&world).serotonin - 0.05).abs() < 1e-3);
    let refused = world.push(Command::Stimulate(Stimulus::Reward(1.5)));
    assert!(matches!(refused, Err(IngressError::OutOfRange { .. })));
    assert!(world.push(Command::Stimulate(Stimulus::Stress(f64::NAN))).is_err());
}

#[test]
fn serotonin_scales_the_damping_where_it_is_uniform_and_where_not() {
    // Ψ is a plane wave, so |Ψ| decays as e^{−Γ_eff t}; S = 0 and no decay of S: Γ_eff = 1.5 Γ.
    let calm = Chemistry { serotonin: 0.0, ..Chemistry::default() };
    let engs = EngsSettings { initial: calm, serotonin_decay_per_sec: 0.0, ..EngsSettings::default() };
    for is_uniform in [true, false] {
        let mut scene = quiet(engs);
        scene.initial = initial(&scene.torus, |_| (1.0, 0.0));
        scene.damping = if is_uniform { Profile::Uniform(0.2) } else { profile(&scene.torus, |_| 0.2) };
        let mut world = build(&scene);
        advance(&mut world, 500);
        assert_eq!(world.effects().expect("published").damping_scale, 1.5);
        let amplitude = Field::of(&world).values[0].0.hypot(Field::of(&world).values[0].1);
        assert!((amplitude / (-0.15_f64).exp() - 1.0).abs() < 1e-9, "{amplitude}");
    }
}

#[test]
fn norepinephrine_speeds_waves_up() {
    // A plane wave turns by −½D k² t; N = 1 and ŝ = 1 give D_eff = 16/9 D.
    let awake = Chemistry { norepinephrine: 1.0, ..Chemistry::default() };
    let engs = EngsSettings {
        initial: awake,
        state: 1.0,
        norepinephrine_decay_per_sec: 0.0,
        ..EngsSettings::default()
    };
    let mut scene = quiet(engs);
    let k = std::f64::consts::TAU / 6.0;
    scene.initial = initial(&scene.torus, move |p| polar(1.0, k * p[8]));
    scene.wave.diffusion = [0.25; 9];
    let mut world = build(&scene);
    advance(&mut world, 1_000);
    let effects = *world.effects().expect("published");
    assert!((effects.diffusion_scale - 16.0 / 9.0).abs() < 1e-12);
    assert!((effects.firing_threshold - 0.3).abs() < 1e-2);
    let angle = -0.5 * 0.25 * 16.0 / 9.0 * k * k;
    let exact = Field::exact(&scene.torus, |p| polar(1.0, k * p[8] + angle));
    assert!(Field::of(&world).relative_error(&exact) < 1e-10);
}

#[test]
fn the_balance_closes_while_damping_and_speed_change() {
    let initial_scalars = Chemistry { serotonin: 0.1, norepinephrine: 0.9, ..Chemistry::default() };
    let engs = EngsSettings {
        initial: initial_scalars,
        state: 0.5,
        serotonin_decay_per_sec: 0.5,
        norepinephrine_decay_per_sec: 0.5,
        ..EngsSettings::default()
    };
    for is_uniform in [true, false] {
        let mut scene = quiet(engs);
        scene.wave.beta = 0.3;
        scene.damping = if is_uniform {
            Profile::Uniform(0.2)
        } else {
            profile(&scene.torus, |p| 0.1 + 0.02 * p[8].cos())
        };
        scene.oracle = Some(OracleSettings::default());
        let mut world = build(&scene);
        advance(&mut world, 3_000);
        let report = world.oracle().expect("watched");
        println!("uniform {is_uniform}: {report:?}");
        assert_eq!(report.health, Health::Nominal);
        assert!(report.energy_drift_worst < 2e-6, "{report:?}");
        assert!(world.effects().expect("published").damping_scale < 1.3);
    }
}

#[test]
fn exhaustion_leads_to_a_nap_that_refuses_input_until_it_is_over() {
    let engs =
        EngsSettings { atp_capacity: 81.0 * 400.0, atp_recharge_per_sec: 0.5, ..EngsSettings::default() };
    let mut world = build(&quiet(engs));
    advance(&mut world, 380);
    let seen = events(&mut world);
    assert!(matches!(seen[..], [Event::AtpLow { tick: 340..=350, .. }]), "{seen:?}");
    advance(&mut world, 30);
    let seen = events(&mut world);
    assert!(matches!(seen[..], [Event::NapWanted { cause: NapCause::Exhaustion, .. }]), "{seen:?}");
    let refused = world.push(Command::SetBeta(0.1));
    assert!(matches!(refused, Err(IngressError::Closed { .. })), "{refused:?}");
    assert!(world.push(Command::Sample).is_ok());
    let before = chemistry(&world).serotonin;
    advance(&mut world, 1_900);
    assert!(matches!(events(&mut world)[..], [Event::Woke { .. }]));
    assert!(world.push(Command::SetBeta(0.1)).is_ok());
    let now = chemistry(&world);
    assert!(now.atp > 0.05 && now.serotonin > before + 0.19, "{now:?}");
}

#[test]
fn low_dopamine_tires_and_a_stimulus_may_ask() {
    let sad = Chemistry { dopamine: 0.1, ..Chemistry::default() };
    let mut world = build(&quiet(EngsSettings { initial: sad, ..EngsSettings::default() }));
    // Without rewards D returns to rest too soon to tire; with punishment it stays low.
    for _ in 0..600 {
        stimulate(&mut world, Stimulus::Reward(-0.3));
        advance(&mut world, 10);
        if let [Event::NapWanted { cause, .. }] = events(&mut world)[..] {
            assert_eq!(cause, NapCause::Fatigue);
            break;
        }
    }
    assert!((5_000..=5_020).contains(&world.tick_count()));
    let mut world = build(&quiet(EngsSettings::default()));
    stimulate(&mut world, Stimulus::Nap);
    advance(&mut world, 10);
    assert!(matches!(events(&mut world)[..], [Event::NapWanted { cause: NapCause::Asked, tick: 10 }]));
}

#[test]
fn boredom_asks_to_explore_once_and_surprise_satisfies_it() {
    let engs = EngsSettings { boredom_growth: 0.05, ..EngsSettings::default() };
    let mut world = build(&quiet(engs));
    advance(&mut world, 2_000);
    let curious =
        |events: &[Event]| events.iter().filter(|event| matches!(event, Event::Curiosity { .. })).count();
    assert_eq!(curious(&events(&mut world)), 1);
    assert!(chemistry(&world).boredom > 0.8);
    let calm = chemistry(&world).serotonin;
    stimulate(&mut world, Stimulus::Reward(1.0));
    advance(&mut world, 10);
    let now = chemistry(&world);
    assert!(now.boredom < 0.6 && now.serotonin > calm + 0.04, "{now:?}");
}

#[test]
fn other_threads_read_one_snapshot_per_tick() {
    let mut world = build(&quiet(EngsSettings::default()));
    let board = world.chemistry_board().expect("it has neurochemistry");
    let reader = std::thread::spawn(move || {
        let mut n = 0_u64;
        while n < 1_000_000 {
            if let Some(chemistry) = board.read() {
                assert!(chemistry.is_valid());
                if chemistry.atp < 0.999 {
                    return n;
                }
            }
            n += 1;
        }
        n
    });
    stimulate(&mut world, Stimulus::Work(1e10));
    advance(&mut world, 200);
    reader.join().expect("every snapshot is whole");
    assert!(world.chemistry_board().and_then(|board| board.read()).expect("published").atp < 0.95);
}

#[test]
fn the_scene_shows_every_effect() {
    let path = super::tidy::root().join("scenes/neurochemistry.ron");
    let scene =
        load(&path, &["torus.extents={w: 3, x: 3, y: 3, z: 3}".into(), "engs.atp_capacity=2.7e5".into()])
            .unwrap_or_else(|error| panic!("{error}"));
    let resolved = resolve(&scene, &scene.base_dir).unwrap_or_else(|error| panic!("{error}"));
    let mut world = build(&resolved.setup);
    let mut highest = 0.0_f64;
    advance(&mut world, 100);
    let early = *world.effects().expect("published");
    assert!(early.damping_scale > 1.25 && early.diffusion_scale > 1.1 && early.firing_threshold < 0.4);
    for _ in 0..590 {
        advance(&mut world, 10);
        highest = highest.max(chemistry(&world).dopamine);
    }
    let late = *world.effects().expect("published");
    assert!(highest > 0.6, "dopamine rose to {highest}");
    assert!(late.damping_scale < early.damping_scale && late.diffusion_scale < early.diffusion_scale);
    let seen = events(&mut world);
    assert!(seen.iter().any(|event| matches!(event, Event::NapWanted { .. })), "{seen:?}");
    assert_eq!(world.oracle().expect("watched").health, Health::Nominal);
}
