//! The wave form on the device: Ψ and Ψ̇ against the processor, the energy of a closed scene, state that survives.

use super::{both, moved};
use nikola_engine::gpu::distance;
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::emitter::{Emitter, Envelope, Injection};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::ports::Command;
use nikola_engine::systems::components::setup::{Equation, Precision, Setup, WaveParameters};
use nikola_tests::lab::{advance, build, initial, profile, restore, save, setup, torus};

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
