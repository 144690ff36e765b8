//! Worlds on the device whose T changes while their energy is watched: balance, parity, drills, state that survives.

use super::{both, failing, moved, run};
use crate::living::{OPEN, On, world};
use crate::oracle::{edge, finite, watch};
use nikola_engine::backend::{BackendChoice, Keeper};
use nikola_engine::gpu::distance;
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::ledger::Flow;
use nikola_engine::systems::components::oracle::{Alarm, Health, OracleSettings};
use nikola_engine::systems::components::ports::Command;
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_engine::systems::kernels::backend::Residency;
use nikola_tests::lab::{Field, advance, build, restore, save};

/// What changes T, in every way that a device knows.
pub fn cases() -> [(&'static str, On); 5] {
    [
        ("metric", On { metric: true, ..OPEN }),
        ("plasticity", On { plasticity: true, engs: true, ..OPEN }),
        ("growth", On { growth: true, engs: true, ..OPEN }),
        ("metric and growth", On { metric: true, growth: true, engs: true, ..OPEN }),
        ("plasticity and growth", On { plasticity: true, growth: true, engs: true, ..OPEN }),
    ]
}

/// A world of [`cases`] in single precision.
pub fn living(on: On) -> Setup {
    let mut scene = world(Precision::F32, on);
    // Fast enough that pages are born, and cells learn, within the ticks of a test.
    scene.wave.dt = 4e-3;
    if let Some(plasticity) = &mut scene.plasticity {
        (plasticity.every, plasticity.tolerance) = (8, 1e-4);
    }
    scene
}

fn on_device(setup: &Setup) -> Option<Simulation> {
    let mut world = build(setup);
    moved(&mut world, setup).then_some(world)
}

/// On the processor and, where this machine has one, on a device.
fn everywhere(setup: &Setup) -> impl Iterator<Item = Simulation> {
    [Some(build(setup)), on_device(setup)].into_iter().flatten()
}

#[test]
fn the_balance_of_a_changing_metric_closes_on_the_device() {
    for (name, on) in cases() {
        let setup = living(on);
        let Some((device, mut host)) = both(&setup, 600) else { return };
        let energy = host.sample().energy.abs();
        let flows = |world: &Simulation| Flow::ALL.map(|flow| world.energy_flows().expect("booked").of(flow));
        let (found, expected) = (flows(&device), flows(&host));
        let apart =
            found.iter().zip(&expected).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs())) / energy;
        let (report, usual) = (device.oracle().expect("watched"), host.oracle().expect("watched"));
        let error = distance(&device, &host);
        println!(
            "{name}: {} pages, residual {:.1e} (host {:.1e}), flows {apart:.1e} apart, Ψ {error:.1e}",
            device.active_pages().len(),
            report.energy_drift_worst,
            usual.energy_drift_worst
        );
        assert_eq!(report.health, Health::Nominal, "{name}");
        assert!(report.energy_drift_worst < 1e-4, "{name}: {report:?}");
        assert!(apart < 1e-4, "{name}: flows differ by {apart:.1e} of |H|: {found:?} {expected:?}");
        assert!(error < 1e-5, "{name}: {error:.2e}");
        assert_eq!(device.active_pages(), host.active_pages(), "{name}");
        let births = |world: &Simulation| world.growth().map(|growth| growth.n_births);
        assert_eq!(births(&device), births(&host), "{name}");
        assert!(!on.growth || births(&device) > Some(0), "{name}: a page is born");
        let learned = |world: &Simulation| world.metric_counts().map_or(0, |counts| counts.n_factorised);
        assert!(!on.plasticity || learned(&device) > 0, "{name}: a cell learns");
        let effects = |world: &Simulation| {
            world.effects().map(|effects| (effects.damping_scale, effects.diffusion_scale))
        };
        assert_eq!(effects(&device), effects(&host), "{name}");
        assert!(!on.engs || effects(&device).is_some_and(|(gamma, d)| gamma != 1.0 && d != 1.0), "{name}");
    }
}

#[test]
fn a_bomb_and_a_hole_end_in_a_named_state_where_everything_changes() {
    let on = On { plasticity: true, growth: true, engs: true, ..OPEN };
    let mut setup = living(on);
    setup.oracle = Some(OracleSettings { checkpoint_every: 100, ..OracleSettings::default() });
    for mut world in everywhere(&setup) {
        let (residency, mut edge) = (world.residency(), edge(&mut world));
        watch(&mut world, &mut edge, 250);
        for page in 0..world.active_pages().len() {
            world.corrupt_page(page, |_, re, im| (1.02 * re, 1.02 * im));
        }
        let states = watch(&mut world, &mut edge, 400);
        assert_eq!(states, [Health::Nominal, Health::Warning, Health::Nominal], "{residency:?}");
        assert_eq!(world.oracle().expect("watched").n_renormalisations, 1);
        world.corrupt_page(0, |i, re, im| if i == 3 { (f64::NAN, im) } else { (re, im) });
        let states = watch(&mut world, &mut edge, 150);
        assert_eq!(states, [Health::Nominal, Health::Reset, Health::Nominal], "{residency:?}");
        assert!(finite(&world));
        assert_eq!(world.residency(), residency);
    }
}

#[test]
fn without_a_checkpoint_a_learning_world_ends_halted_and_zero() {
    for on in [On { plasticity: true, ..OPEN }, On { plasticity: true, growth: true, ..OPEN }] {
        for mut world in everywhere(&living(on)) {
            world.corrupt_page(0, |_, _, im| (f64::INFINITY, im));
            advance(&mut world, 100);
            assert_eq!(world.oracle().expect("watched").health, Health::Reset);
            world.push(Command::Restore(None)).expect("room");
            advance(&mut world, 1);
            assert_eq!(world.oracle().expect("watched").health, Health::Halted);
            assert!(Field::of(&world).values.iter().all(|value| *value == (0.0, 0.0)));
            advance(&mut world, 50);
            assert_eq!(world.sample().norm, 0.0);
            assert!(world.metric_counts().expect("it learns").n_not_finite > 0);
            assert!(world.read_metric(0, 0).expect("it learns").iter().all(|g| g.is_finite()));
        }
    }
}

#[test]
fn a_scram_damps_a_living_device_that_had_no_damping() {
    let mut setup = living(On { growth: true, emitters: true, ..On::default() });
    setup.damping = Profile::Uniform(0.0);
    setup.oracle = Some(OracleSettings { freeze_ticks: 100_000, ..OracleSettings::default() });
    let Some(mut world) = on_device(&setup) else { return };
    advance(&mut world, 50);
    world.push(Command::Scram(Alarm::Asked)).expect("room");
    advance(&mut world, 1);
    let norm = world.sample().norm;
    advance(&mut world, 125);
    assert_eq!(world.oracle().expect("watched").health, Health::SoftScram);
    let decayed = world.sample().norm / norm;
    let expected = (-1.0_f64).exp();
    assert!((decayed / expected - 1.0).abs() < 1e-3, "γ = 1 for half a unit of time: {decayed}");
}

#[test]
fn a_living_state_survives_on_the_device() {
    for (name, on) in cases() {
        let setup = living(on);
        let (Some(mut first), Some(mut second)) = (on_device(&setup), on_device(&setup)) else { return };
        advance(&mut first, 117);
        restore(&mut second, &save(&mut first)).expect("the same setup");
        advance(&mut first, 100);
        advance(&mut second, 100);
        assert_eq!(distance(&first, &second), 0.0, "{name}");
        assert_eq!(first.save_scalars(), second.save_scalars(), "{name}");
    }
}

#[test]
fn a_living_world_that_loses_its_device_goes_on_with_a_new_account() {
    for (name, on) in cases() {
        let setup = living(on);
        let mut host = build(&setup);
        advance(&mut host, 250);
        let Some(mut simulation) = failing(&setup, 900) else { return };
        let mut keeper = Keeper::watching(&setup, BackendChoice::Auto, "drill");
        run(&mut simulation, &mut keeper, 250).expect("auto goes on");
        assert_eq!(simulation.residency(), Residency::Host, "{name}");
        let report = simulation.oracle().expect("watched");
        assert!(report.health == Health::Nominal && report.energy_drift_worst < 1e-4, "{name}: {report:?}");
        let error = distance(&simulation, &host);
        println!("{name}: {error:.1e}");
        assert!(error < 1e-3, "{name}: {error:.2e}");
    }
}
