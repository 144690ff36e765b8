//! The wave form on the device: Ψ and Ψ̇ against the processor, the energy of a closed scene, state that survives.

use super::{both, failing, moved, run};
use crate::oracle::{edge, finite, watch};
use crate::wave_form::{ALL, METRICS, Metric, On, living, open_world};
use nikola_engine::backend::{BackendChoice, Keeper};
use nikola_engine::gpu::distance;
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::emitter::{Emitter, Envelope, Injection};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::ledger::Flow;
use nikola_engine::systems::components::oracle::{Health, OracleSettings};
use nikola_engine::systems::components::ports::Command;
use nikola_engine::systems::components::setup::{Equation, Precision, Setup, WaveParameters};
use nikola_engine::systems::kernels::backend::Residency;
use nikola_tests::lab::{Field, advance, build, initial, profile, restore, save, setup, torus};

/// A driven, damped wave with β, an injection, and axes of every kind.
fn driven(is_uniform: bool) -> Setup {
    let torus = torus(&[(Axis::X, 16, 8.0), (Axis::Y, 7, 5.0), (Axis::Z, 3, 3.0)]);
    let lump = initial(&torus, |p| ((-p[6] * p[6]).exp(), 0.0));
    let base = setup(torus.clone(), 5e-3);
    Setup {
        precision: Precision::F32,
        equation: Equation::Wave { velocity: initial(&torus, |p| (0.0, 0.3 * p[8].cos())) },
        wave: WaveParameters { beta: -1.0, ..base.wave },
        damping: if is_uniform {
            Profile::Uniform(0.4)
        } else {
            profile(&torus, |p| 0.3 * (1.0 + p[7].sin()))
        },
        initial: initial(&torus, |p| ((-0.3 * p[7] * p[7]).exp(), 0.1 * p[6])),
        emitters: vec![Emitter {
            name: "lump".into(),
            frequency_hz: 1.5,
            phase_turns: 0.1,
            amplitude: 0.5,
            profile: lump.clone(),
            envelope: Envelope::Constant,
        }],
        injections: vec![Injection { tick: 7, amplitude: (0.2, -0.1), profile: lump }],
        ..base
    }
}

/// ‖a − b‖ ÷ ‖b‖ of Ψ̇.
fn velocity_distance(a: &Simulation, b: &Simulation) -> f64 {
    let nodes = b.torus().page_nodes();
    let (mut difference, mut norm) = (0.0, 0.0);
    for page in 0..b.torus().n_pages() {
        let read = |world: &Simulation| {
            let (mut re, mut im) = (vec![0.0; nodes], vec![0.0; nodes]);
            assert!(world.read_velocity(page, &mut re, &mut im), "the wave form has a velocity");
            re.extend(im);
            re
        };
        for (x, y) in read(a).into_iter().zip(read(b)) {
            difference += (x - y).powi(2);
            norm += y.powi(2);
        }
    }
    (difference / norm).sqrt()
}

#[test]
fn a_driven_damped_wave_agrees_with_the_processor() {
    for is_uniform in [true, false] {
        let setup = driven(is_uniform);
        let Some((mut device, mut host)) = both(&setup, 60) else { return };
        for world in [&mut device, &mut host] {
            world.push(Command::Degrade).expect("room");
            world.push(Command::SetBeta(-0.7)).expect("room");
            advance(world, 30);
        }
        let errors = (distance(&device, &host), velocity_distance(&device, &host));
        println!("uniform damping {is_uniform}: {errors:?}");
        assert!(errors.0 < 1e-5 && errors.1 < 1e-5, "uniform damping {is_uniform}: {errors:?}");
    }
}

#[test]
fn the_energy_of_a_closed_wave_is_kept() {
    let torus = torus(&[(Axis::X, 27, 12.0), (Axis::Y, 9, 6.0)]);
    let base = setup(torus.clone(), 1e-2);
    let setup = Setup {
        precision: Precision::F32,
        equation: Equation::Wave { velocity: initial(&torus, |p| (0.1 * p[7].sin(), 0.0)) },
        wave: WaveParameters { beta: -0.5, ..base.wave },
        initial: initial(&torus, |p| ((-0.2 * p[6] * p[6]).exp(), 0.2 * p[7].cos())),
        ..base
    };
    let mut simulation = build(&setup);
    if !moved(&mut simulation, &setup) {
        return;
    }
    // Between two measurements a leak of some 1e-7 per tick adds up; afterwards it is taken back.
    let mut drifts = [0.0; 4];
    for drift in &mut drifts {
        advance(&mut simulation, 1_024);
        *drift = simulation.sample().energy_drift;
    }
    println!("energy drift every 1,024 ticks: {drifts:?}");
    assert!(drifts.iter().all(|drift| drift.abs() < 2e-4), "{drifts:?}");
}

#[test]
fn both_fields_survive_on_the_device() {
    let setup = driven(false);
    let (mut first, mut second) = (build(&setup), build(&setup));
    if !(moved(&mut first, &setup) && moved(&mut second, &setup)) {
        return;
    }
    advance(&mut first, 12);
    restore(&mut second, &save(&mut first)).expect("the same setup");
    advance(&mut first, 10);
    advance(&mut second, 10);
    assert_eq!((distance(&first, &second), velocity_distance(&first, &second)), (0.0, 0.0));
}

/// Worlds of the wave form that are watched, or whose metric varies or learns: name and setup.
fn watched_and_varying() -> Vec<(String, Setup)> {
    let mut worlds = Vec::new();
    let uniform = On { uniform_damping: true, damping: false, ..ALL };
    for metric in METRICS {
        let named = |what: &str| format!("{metric:?}, {what}");
        worlds.push((named("watched"), open_world(metric, Precision::F32, ALL)));
        worlds.push((named("watched, uniform damping"), open_world(metric, Precision::F32, uniform)));
        worlds.push((named("chemistry"), living(metric, Precision::F32)));
        let chemistry = Setup { oracle: None, ..living(metric, Precision::F32) };
        worlds.push((named("chemistry alone"), chemistry));
        for on in [ALL, uniform] {
            worlds.push((named("alone"), Setup { oracle: None, ..open_world(metric, Precision::F32, on) }));
        }
    }
    worlds
}

#[test]
fn the_wave_form_with_everything_agrees_with_the_processor() {
    for (name, setup) in watched_and_varying() {
        let Some((device, mut host)) = both(&setup, 500) else { return };
        let errors = (distance(&device, &host), velocity_distance(&device, &host));
        println!("{name}: Ψ {:.1e}, Ψ̇ {:.1e}", errors.0, errors.1);
        assert!(errors.0 < 5e-5 && errors.1 < 5e-5, "{name}: {errors:?}");
        let effects = |world: &Simulation| {
            world.effects().map(|effects| (effects.damping_scale, effects.diffusion_scale))
        };
        assert_eq!(effects(&device), effects(&host), "{name}");
        let learned = |world: &Simulation| world.metric_counts().map(|counts| counts.n_factorised);
        assert!(learned(&device) != Some(0), "{name}: a cell learns");
        let Some(report) = device.oracle() else { continue };
        let energy = host.sample().energy.abs();
        let flows = |world: &Simulation| Flow::ALL.map(|flow| world.energy_flows().expect("booked").of(flow));
        let (found, expected) = (flows(&device), flows(&host));
        let apart =
            found.iter().zip(&expected).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs())) / energy;
        println!("    residual {:.1e}, flows {apart:.1e} apart", report.energy_drift_worst);
        assert_eq!(report.health, Health::Nominal, "{name}");
        assert!(report.energy_drift_worst < 1e-4, "{name}: {report:?}");
        assert!(apart < 1e-4, "{name}: flows differ by {apart:.1e} of |H|: {found:?} {expected:?}");
    }
}

#[test]
fn a_watched_wave_form_survives_on_the_device() {
    for (name, setup) in watched_and_varying() {
        let on_device = || {
            let mut world = build(&setup);
            moved(&mut world, &setup).then_some(world)
        };
        let (Some(mut first), Some(mut second)) = (on_device(), on_device()) else { return };
        advance(&mut first, 117);
        restore(&mut second, &save(&mut first)).expect("the same setup");
        advance(&mut first, 100);
        advance(&mut second, 100);
        assert_eq!(distance(&first, &second), 0.0, "{name}");
        assert_eq!(velocity_distance(&first, &second), 0.0, "{name}");
        assert_eq!(first.save_scalars(), second.save_scalars(), "{name}");
    }
}

#[test]
fn a_bomb_and_a_hole_end_in_a_named_state_in_the_wave_form() {
    for metric in METRICS {
        let mut setup = open_world(metric, Precision::F32, ALL);
        setup.oracle = Some(OracleSettings { checkpoint_every: 100, ..OracleSettings::default() });
        let mut world = build(&setup);
        if !moved(&mut world, &setup) {
            return;
        }
        let mut edge = edge(&mut world);
        watch(&mut world, &mut edge, 250);
        world.corrupt_page(0, |_, re, im| (1.02 * re, 1.02 * im));
        let states = watch(&mut world, &mut edge, 400);
        assert_eq!(states, [Health::Nominal, Health::Warning, Health::Nominal], "{metric:?}");
        world.corrupt_page(0, |i, re, im| if i == 17 { (f64::NAN, im) } else { (re, im) });
        let states = watch(&mut world, &mut edge, 150);
        assert_eq!(states, [Health::Nominal, Health::Reset, Health::Nominal], "{metric:?}");
        assert!(finite(&world));
        // Without a checkpoint.
        let mut world = build(&setup);
        assert!(moved(&mut world, &setup));
        world.corrupt_page(0, |_, _, im| (f64::INFINITY, im));
        advance(&mut world, 8);
        world.push(Command::Restore(None)).expect("room");
        advance(&mut world, 1);
        assert_eq!(world.oracle().expect("watched").health, Health::Halted);
        advance(&mut world, 50);
        assert!(Field::of(&world).values.iter().all(|value| *value == (0.0, 0.0)));
        assert_eq!((world.sample().norm, world.sample().energy), (0.0, 0.0));
    }
}

#[test]
fn a_wave_form_whose_metric_varies_goes_on_when_its_device_is_lost() {
    for metric in [Metric::Constant, Metric::Varying, Metric::Plastic] {
        for oracle in [true, false] {
            let mut setup = open_world(metric, Precision::F32, ALL);
            setup.oracle = setup.oracle.filter(|_| oracle);
            let mut host = build(&setup);
            advance(&mut host, 200);
            let Some(mut simulation) = failing(&setup, 300) else { return };
            let mut keeper = Keeper::watching(&setup, BackendChoice::Auto, "drill");
            run(&mut simulation, &mut keeper, 200).expect("auto goes on");
            assert_eq!(simulation.residency(), Residency::Host, "{metric:?}");
            let error = distance(&simulation, &host);
            println!("{metric:?}, watched {oracle}: {error:.1e}");
            assert!(error < 1e-3, "{metric:?}: {error:.2e}");
        }
    }
}
