//! The energy balance and the neurochemistry on the device: flows, residual, drills, parity, state that survives.

use super::{both, failing, moved, run};
use crate::oracle::{ALL, On, edge, finite, open_world, watch};
use nikola_engine::backend::{BackendChoice, Keeper};
use nikola_engine::gpu::distance;
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::chemistry::{Chemistry, EngsSettings, Stimulus};
use nikola_engine::systems::components::ledger::Flow;
use nikola_engine::systems::components::oracle::{Alarm, Health, OracleSettings};
use nikola_engine::systems::components::ports::Command;
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_engine::systems::kernels::backend::Residency;
use nikola_tests::lab::{Field, advance, build, initial, restore, save};

/// A watched world on the device; none where this machine has no adapter.
fn watched(setup: &Setup) -> Option<Simulation> {
    let mut world = build(setup);
    moved(&mut world, setup).then_some(world)
}

fn flows(world: &Simulation) -> [f64; Flow::COUNT] {
    Flow::ALL.map(|flow| world.energy_flows().expect("booked").of(flow))
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
}

/// [`open_world`] in single precision with its oracle set.
fn open(on: On, oracle: OracleSettings) -> Setup {
    Setup { oracle: Some(oracle), ..open_world(Precision::F32, on) }
}

#[test]
fn the_balance_closes_on_the_device() {
    let off = On { interaction: true, ..On::default() };
    for (name, on, ticks) in [
        ("everything", ALL, 3_000),
        ("uniform damping", On { emitters: true, uniform_damping: true, ..off }, 1_000),
        ("closed", off, 1_000),
    ] {
        let setup = open_world(Precision::F32, on);
        let Some((mut device, mut host)) = both(&setup, ticks) else { return };
        let energy = host.sample().energy.abs();
        let report = *device.oracle().expect("watched");
        let apart = largest_difference(&flows(&device), &flows(&host)) / energy;
        let throughput: f64 = flows(&device).iter().map(|flow| flow.abs()).sum();
        println!(
            "{name}: worst {:.1e}, total {:.1e}, {:.2} of |H| through, flows {apart:.1e} of |H| from the processor's",
            report.energy_drift_worst,
            report.energy_drift_total,
            throughput / energy
        );
        assert_eq!(report.health, Health::Nominal);
        assert!(
            report.energy_drift_worst < 1e-4 && report.energy_drift_total.abs() < 1e-4,
            "{name}: {report:?}"
        );
        assert!(apart < 1e-4, "{name}: flows differ by {apart:.1e} of |H|");
        let error = distance(&device, &host);
        assert!(error < 1e-4, "{name}: {error:.2e}");
        let sample = device.sample();
        assert!((report.max_abs_psi / sample.max_abs_psi - 1.0).abs() < 0.1, "{report:?}, {sample:?}");
    }
}

#[test]
fn when_the_log_is_read_changes_no_figure() {
    let run = |looks: bool| {
        let mut world = watched(&open_world(Precision::F32, ALL))?;
        for tick in 0..300 {
            world.tick();
            if looks && tick % 37 == 0 {
                world.sample();
                world.save_scalars();
            }
        }
        Some((flows(&world), world.oracle().expect("watched").energy_drift_total, Field::of(&world)))
    };
    let (Some(seen), Some(unseen)) = (run(true), run(false)) else { return };
    assert!(seen == unseen, "{:?} against {:?}", (seen.0, seen.1), (unseen.0, unseen.1));
    assert!(run(false) == Some(unseen), "bits do not repeat");
}

#[test]
fn an_energy_bomb_is_taken_back_on_the_device() {
    let Some(mut world) = watched(&open_world(Precision::F32, ALL)) else { return };
    let mut edge = edge(&mut world);
    watch(&mut world, &mut edge, 250);
    world.corrupt_page(0, |_, re, im| (1.005 * re, 1.005 * im));
    assert_eq!(watch(&mut world, &mut edge, 60), [Health::Nominal, Health::Warning]);
    assert_eq!(watch(&mut world, &mut edge, 340), [Health::Warning, Health::Nominal]);
    let report = *world.oracle().expect("watched");
    assert_eq!((report.n_renormalisations, report.n_scrams), (1, 0));
}

#[test]
fn not_a_number_on_the_device_goes_back_to_the_last_checkpoint() {
    let oracle = OracleSettings { checkpoint_every: 100, ..OracleSettings::default() };
    let Some(mut world) = watched(&open(ALL, oracle)) else { return };
    let mut edge = edge(&mut world);
    watch(&mut world, &mut edge, 330);
    world.corrupt_page(0, |i, re, im| if i == 17 { (f64::NAN, im) } else { (re, im) });
    let states = watch(&mut world, &mut edge, 80);
    assert_eq!(states, [Health::Nominal, Health::Reset, Health::Nominal]);
    assert!(finite(&world));
    let report = world.oracle().expect("watched");
    assert_eq!((report.n_scrams, report.n_resets), (1, 1));
    assert_eq!(watch(&mut world, &mut edge, 200), [Health::Nominal]);
    assert!(world.energy_flows().expect("booked").total().is_finite());
}

#[test]
fn without_a_checkpoint_the_device_ends_halted_and_zero() {
    let Some(mut world) = watched(&open_world(Precision::F32, ALL)) else { return };
    world.corrupt_page(0, |_, _, im| (f64::INFINITY, im));
    advance(&mut world, 100);
    assert_eq!(world.oracle().expect("watched").health, Health::Reset);
    world.push(Command::Restore(None)).expect("room");
    advance(&mut world, 1);
    assert_eq!(world.oracle().expect("watched").health, Health::Halted);
    assert!(Field::of(&world).values.iter().all(|value| *value == (0.0, 0.0)));
    advance(&mut world, 100);
    assert_eq!(world.sample().norm, 0.0);
}

#[test]
fn a_large_amplitude_is_frozen_on_the_device() {
    let oracle = OracleSettings { freeze_ticks: 20, freeze_damping: 0.1, ..OracleSettings::default() };
    let on = On { uniform_damping: true, ..On::default() };
    let setup = open(on, oracle);
    let Some(mut world) = watched(&setup) else { return };
    let mut edge = edge(&mut world);
    watch(&mut world, &mut edge, 50);
    let bomb = Command::Inject {
        amplitude: (40.0, 0.0),
        profile: initial(&setup.torus, |p| (if p[8].abs() < 5.0 { 1.0 } else { 0.0 }, 0.0)),
    };
    world.push(bomb).expect("room");
    let states = watch(&mut world, &mut edge, 200);
    assert_eq!(states, [Health::Nominal, Health::SoftScram, Health::Reset, Health::Nominal]);
    assert!(finite(&world));
}

#[test]
fn a_scram_by_command_damps_a_world_that_had_no_damping() {
    let on = On { emitters: true, ..On::default() };
    let oracle = OracleSettings { freeze_ticks: 100_000, ..OracleSettings::default() };
    let Some(mut world) = watched(&open(on, oracle)) else { return };
    advance(&mut world, 150);
    world.push(Command::Scram(Alarm::Asked)).expect("room");
    advance(&mut world, 1);
    let norm = world.sample().norm;
    advance(&mut world, 500);
    assert_eq!(world.oracle().expect("watched").health, Health::SoftScram);
    let decayed = world.sample().norm / norm;
    assert!((decayed / (-1.0_f64).exp() - 1.0).abs() < 1e-5, "γ = 1 for half a unit of time: {decayed}");
    world.push(Command::Resume).expect("room");
    advance(&mut world, 100);
    assert_eq!(world.oracle().expect("watched").health, Health::Nominal);
}

#[test]
fn degraded_ticks_are_booked_on_the_device() {
    for on in [ALL, On { damping: false, uniform_damping: true, ..ALL }] {
        let Some(mut world) = watched(&open_world(Precision::F32, on)) else { return };
        advance(&mut world, 150);
        for _ in 0..20 {
            world.push(Command::Degrade).expect("room");
            advance(&mut world, 3);
        }
        world.push(Command::SetBeta(0.7)).expect("room");
        advance(&mut world, 190);
        let report = world.oracle().expect("watched");
        assert_eq!(report.health, Health::Nominal);
        assert!(report.energy_drift_worst < 2e-5, "{report:?}");
        assert!(world.energy_flows().expect("booked").of(Flow::Parameters).abs() > 1e-2);
    }
}

/// A watched world whose Γ and D follow its chemistry.
fn chemical(on: On) -> Setup {
    let initial = Chemistry { serotonin: 0.1, norepinephrine: 0.9, ..Chemistry::default() };
    let engs = EngsSettings {
        initial,
        state: 0.5,
        serotonin_decay_per_sec: 0.5,
        norepinephrine_decay_per_sec: 0.5,
        ..EngsSettings::default()
    };
    Setup { engs: Some(engs), ..open_world(Precision::F32, on) }
}

#[test]
fn chemistry_on_the_device_is_that_of_the_processor() {
    for on in [ALL, On { damping: false, uniform_damping: true, ..ALL }] {
        let setup = chemical(on);
        let Some((mut device, mut host)) = both(&setup, 500) else { return };
        for world in [&mut device, &mut host] {
            world.push(Command::Stimulate(Stimulus::Reward(0.5))).expect("taken in");
            advance(world, 500);
        }
        let scalars = |world: &Simulation| world.chemistry().expect("it has chemistry").scalars();
        let apart = largest_difference(&scalars(&device), &scalars(&host));
        let error = distance(&device, &host);
        println!("scalars {apart:.1e}, Ψ {error:.1e}");
        assert!(apart < 5e-4, "{:?} against {:?}", scalars(&device), scalars(&host));
        let (found, expected) = (device.effects().expect("published"), host.effects().expect("published"));
        assert_eq!(found.damping_scale, expected.damping_scale);
        assert_eq!(found.diffusion_scale, expected.diffusion_scale);
        assert!(found.damping_scale > 1.2 && found.diffusion_scale > 1.1, "{found:?}");
        assert!(error < 1e-4, "{error:.2e}");
        let report = device.oracle().expect("watched");
        assert!(report.health == Health::Nominal && report.energy_drift_worst < 1e-4, "{report:?}");
    }
}

#[test]
fn a_watched_chemical_state_survives_on_the_device() {
    let setup = chemical(ALL);
    let (Some(mut first), Some(mut second)) = (watched(&setup), watched(&setup)) else { return };
    advance(&mut first, 117);
    restore(&mut second, &save(&mut first)).expect("the same setup");
    advance(&mut first, 100);
    advance(&mut second, 100);
    assert_eq!(distance(&first, &second), 0.0);
    assert_eq!(first.save_scalars(), second.save_scalars());
}

#[test]
fn a_watched_world_that_loses_its_device_goes_on_with_a_new_account() {
    let setup = chemical(ALL);
    let mut host = build(&setup);
    advance(&mut host, 250);
    let Some(mut simulation) = failing(&setup, 900) else { return };
    let mut keeper = Keeper::watching(&setup, BackendChoice::Auto, "drill");
    run(&mut simulation, &mut keeper, 60).expect("runs");
    // What was looked at last is what the run goes on from.
    simulation.sample();
    run(&mut simulation, &mut keeper, 250).expect("auto goes on");
    assert_eq!(simulation.residency(), Residency::Host);
    let report = simulation.oracle().expect("watched");
    assert!(report.health == Health::Nominal && report.energy_drift_worst < 1e-4, "{report:?}");
    let error = distance(&simulation, &host);
    assert!(error < 1e-2, "{error:.2e}");
}
