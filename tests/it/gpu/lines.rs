//! Worlds whose kinetic flow goes line by line on the device: a varying metric, a plastic one, active sets of pages.
//!
//! Invariant: as in the parent; the host in single precision is the twin, and both decide alike.

use super::{advance, both, build, distance, failing, moved, run};
use nikola_engine::backend::{BackendChoice, Keeper};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::emitter::{Emitter, Envelope, Injection};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::growth::GrowthRule;
use nikola_engine::systems::components::metric::{CellRule, MetricProfile, Plasticity};
use nikola_engine::systems::components::ports::Command;
use nikola_engine::systems::components::setup::{Integrator, Precision, Setup, TimeMode};
use nikola_engine::systems::components::torus::{PageRule, Torus};
use nikola_engine::systems::kernels::backend::Residency;
use nikola_tests::lab::{initial, nearest_image, polar, profile, restore, save, setup, torus};

/// Every kind of line: long and short, even and odd, constant and varying along it, and off-diagonals.
fn curved(integrator: Integrator, time: TimeMode) -> Setup {
    let torus = torus(&[
        (Axis::X, 16, 8.0),
        (Axis::Y, 9, 5.0),
        (Axis::Z, 3, 3.0),
        (Axis::R, 3, 3.0),
        (Axis::S, 5, 4.0),
    ]);
    let base = setup(torus.clone(), 2e-3);
    let mut diagonal = [const { Profile::Uniform(1.0) }; 9];
    diagonal[Axis::X.index()] = profile(&torus, |p| 1.0 + 0.2 * (p[6] * std::f64::consts::TAU / 8.0).cos());
    diagonal[Axis::Y.index()] = profile(&torus, |p| 1.1 + 0.2 * (p[6] * std::f64::consts::TAU / 8.0).sin());
    diagonal[Axis::Z.index()] = profile(&torus, |p| 0.9 + 0.1 * (p[8] * std::f64::consts::TAU / 3.0).cos());
    diagonal[Axis::R.index()] = Profile::Uniform(0.7);
    let shear = profile(&torus, |p| 0.1 * (p[7] * std::f64::consts::TAU / 5.0).sin());
    let twist = profile(&torus, |p| 0.05 * (p[6] * std::f64::consts::TAU / 8.0).cos());
    let lump = initial(&torus, |p| ((-p[6] * p[6]).exp(), 0.0));
    Setup {
        precision: Precision::F32,
        metric: Some(MetricProfile {
            diagonal,
            off_diagonal: vec![(Axis::X, Axis::Y, shear), (Axis::S, Axis::X, twist)],
        }),
        wave: nikola_engine::systems::components::setup::WaveParameters {
            beta: 0.8,
            integrator,
            time,
            ..base.wave
        },
        norm: (time == TimeMode::Imaginary).then_some(1.0),
        potential: profile(&torus, |p| 0.3 * p[6] * p[6] + p[8]),
        initial: initial(&torus, |p| polar((-0.3 * p[7] * p[7]).exp(), 0.2 * p[6])),
        emitters: if time == TimeMode::Imaginary { Vec::new() } else { vec![emitter(lump)] },
        ..base
    }
}

fn emitter(profile: std::sync::Arc<dyn nikola_engine::systems::components::fill::ComplexFill>) -> Emitter {
    Emitter {
        name: "lump".into(),
        frequency_hz: 3.0,
        phase_turns: 0.1,
        amplitude: 0.5,
        profile,
        envelope: Envelope::Constant,
    }
}

/// All axes in threes, a field of several modes, a metric that learns fast.
fn learning(axes: &[Axis], cell: CellRule) -> Setup {
    let axes: Vec<_> = axes.iter().map(|&axis| (axis, 3, 3.0)).collect();
    let torus = torus(&axes);
    let mut scene = setup(torus.clone(), 1e-3);
    scene.precision = Precision::F32;
    scene.plasticity = Some(Plasticity { eta: 4.0, lambda: 8.0, cell, ..Plasticity::default() });
    scene.wave.beta = 0.5;
    scene.initial = initial(&torus, |p| {
        let phase: f64 = p.iter().enumerate().map(|(d, x)| (x * (0.7 + 0.2 * d as f64)).sin()).sum();
        polar(1.0 + 0.2 * (p[6] + 0.4 * p[0]).cos(), phase)
    });
    scene
}

fn rule(threshold: f64) -> GrowthRule {
    GrowthRule { threshold, vacuum: 2.0 * threshold, ..GrowthRule::default() }
}

/// A soliton that crosses pages, with everything that acts on nodes.
fn crossing() -> Setup {
    let (extents, block) = ([81, 9, 9], [3, 3, 9]);
    let axes = [Axis::Z, Axis::X, Axis::Y];
    let (mut all, mut lengths, mut sides) = ([1; 9], [1.0; 9], [1; 9]);
    for (k, axis) in axes.into_iter().enumerate() {
        all[axis.index()] = extents[k];
        lengths[axis.index()] = extents[k] as f64 * 0.4;
        sides[axis.index()] = block[k];
    }
    let torus = Torus::new(all, lengths, PageRule::Blocks(sides)).expect("valid");
    let length = lengths[Axis::Z.index()];
    let mut scene = setup(torus.clone(), 1e-2);
    scene.precision = Precision::F32;
    scene.wave.beta = -1.0;
    scene.initial = initial(&torus, move |p| {
        let z = nearest_image(p[Axis::Z.index()], length);
        polar(1.0 / z.cosh(), 3.0 * z)
    });
    scene.growth = Some(rule(1e-3));
    scene
}

/// The same with a potential, damping, an emitter and an injection.
fn rich_crossing() -> Setup {
    let base = crossing();
    let torus = base.torus.clone();
    let lump = initial(&torus, |p| ((-p[8] * p[8]).exp(), 0.0));
    let far = initial(&torus, |p| ((-(p[8] - 9.0).powi(2)).exp(), 0.0));
    Setup {
        potential: profile(&torus, |p| 0.1 * (0.4 * p[8]).cos()),
        damping: profile(&torus, |p| 0.02 * (1.0 + (0.7 * p[7]).cos())),
        emitters: vec![emitter(lump)],
        injections: vec![Injection { tick: 20, amplitude: (0.3, 0.1), profile: far }],
        ..base
    }
}

#[test]
fn a_varying_metric_agrees_with_the_processor() {
    for integrator in [Integrator::Strang, Integrator::Yoshida4] {
        let setup = curved(integrator, TimeMode::Real);
        let Some((device, host)) = both(&setup, 60) else { return };
        let mut exact = build(&Setup { precision: Precision::F64, ..setup });
        advance(&mut exact, 60);
        let (error, usual) = (distance(&device, &exact), distance(&host, &exact));
        println!("{integrator:?}: {error:.1e}, the host {usual:.1e}");
        assert!(error < 1.5 * usual + 1e-6, "{integrator:?}: {error:.2e}, the host {usual:.2e}");
        assert_eq!(
            device.remainder_counts().map(|counts| counts.n_applied),
            host.remainder_counts().map(|counts| counts.n_applied)
        );
    }
    let Some((mut device, mut host)) = both(&curved(Integrator::Strang, TimeMode::Imaginary), 60) else {
        return;
    };
    let (found, expected) = (device.sample(), host.sample());
    assert!((found.mu / expected.mu - 1.0).abs() < 1e-5, "{} against {}", found.mu, expected.mu);
}

#[test]
fn a_varying_metric_keeps_the_norm() {
    let mut setup = curved(Integrator::Strang, TimeMode::Real);
    setup.emitters.clear();
    let mut simulation = build(&setup);
    if !moved(&mut simulation, &setup) {
        return;
    }
    advance(&mut simulation, 1_000);
    let drift = simulation.sample().norm_drift;
    println!("norm drift {drift:.1e}");
    assert!(drift.abs() < 1e-6, "drift {drift:.2e}");
}

#[test]
fn a_plastic_metric_agrees_with_the_processor() {
    let cases = [
        (&[Axis::R, Axis::T, Axis::X, Axis::Y, Axis::Z][..], CellRule::Block),
        (&[Axis::R, Axis::X, Axis::Y][..], CellRule::Node),
        (&Axis::ALL[..], CellRule::Block),
    ];
    for (axes, cell) in cases {
        let setup = learning(axes, cell);
        let ticks = if axes.len() == 9 { 24 } else { 400 };
        let Some((device, host)) = both(&setup, ticks) else { return };
        let error = distance(&device, &host);
        let (a, b) = (device.metric_counts().expect("plastic"), host.metric_counts().expect("plastic"));
        let components = |world: &Simulation| world.read_metric(0, 1).expect("a plastic metric");
        let apart = components(&device)
            .iter()
            .zip(components(&host))
            .fold(0.0_f64, |most, (a, b)| most.max((a - b).abs()));
        println!("{} axes, {cell:?}: {error:.1e}, g apart {apart:.1e}, {a:?}", axes.len());
        assert!(error < 1e-5, "{} axes: {error:.2e}", axes.len());
        assert!(apart < 1e-5, "{} axes: g is {apart:.2e} apart", axes.len());
        assert_eq!(a.n_updated, b.n_updated);
        assert!(
            a.n_factorised > 0 && a.n_factorised.abs_diff(b.n_factorised) <= 1 + b.n_factorised / 50,
            "{a:?} {b:?}"
        );
        assert!((a.work - b.work).abs() <= 1e-4 * b.work.abs(), "{} against {}", a.work, b.work);
    }
}

#[test]
fn an_active_set_agrees_with_the_processor() {
    for (name, setup) in [("plain", crossing()), ("rich", rich_crossing())] {
        let mut device = build(&setup);
        if !moved(&mut device, &setup) {
            return;
        }
        let mut host = build(&setup);
        for tick in 0..150 {
            if tick == 60 && name == "rich" {
                for world in [&mut device, &mut host] {
                    let profile = initial(world.torus(), |p| ((-(p[8] + 8.0).powi(2)).exp(), 0.0));
                    world.push(Command::Inject { amplitude: (0.2, 0.0), profile }).expect("finite");
                }
            }
            device.tick();
            host.tick();
        }
        assert_eq!(device.device().and_then(|device| device.failure()), None);
        assert_eq!(device.active_pages(), host.active_pages(), "{name}: the same pages");
        let (a, b) = (device.growth().expect("sparse"), host.growth().expect("sparse"));
        // The emitter keeps its pages, and what was sent takes its time to go.
        let n_prunings_min = if name == "plain" { 5 } else { 0 };
        let is_lively = a.n_births > 4 && a.n_prunings >= n_prunings_min;
        assert!(is_lively, "{name}: {} births, {} prunings", a.n_births, a.n_prunings);
        assert_eq!((a.n_births, a.n_prunings), (b.n_births, b.n_prunings));
        assert!((a.leaked / b.leaked - 1.0).abs() < 1e-3, "{name}: leaked {} and {}", a.leaked, b.leaked);
        assert!((a.pruned_norm - b.pruned_norm).abs() < 1e-6, "{} and {}", a.pruned_norm, b.pruned_norm);
        let error = distance(&device, &host);
        println!("{name}: {} pages, {} births, {error:.1e}", a.quiet.len(), a.n_births);
        assert!(error < 1e-5, "{name}: {error:.2e}");
    }
}

/// Everything a run leaves: Ψ, pages, one cell's metric.
fn left(world: &Simulation) -> (Vec<f64>, Vec<usize>, Option<Vec<f64>>) {
    let nodes = world.torus().page_nodes();
    let (mut all, mut re, mut im) = (Vec::new(), vec![0.0; nodes], vec![0.0; nodes]);
    for &page in world.active_pages() {
        world.read_page(page, &mut re, &mut im);
        all.extend_from_slice(&re);
        all.extend_from_slice(&im);
    }
    (all, world.active_pages().to_vec(), world.read_metric(0, 0))
}

/// One world of each kind.
fn kinds() -> [(&'static str, Setup); 3] {
    [
        ("curved", curved(Integrator::Strang, TimeMode::Real)),
        ("learning", learning(&[Axis::R, Axis::T, Axis::X, Axis::Y, Axis::Z], CellRule::Block)),
        ("crossing", rich_crossing()),
    ]
}

#[test]
fn bits_repeat_whoever_looks() {
    for (name, setup) in kinds() {
        let run = |looks: bool| {
            let mut world = build(&setup);
            moved(&mut world, &setup).then(|| {
                for tick in 0..60 {
                    world.tick();
                    if looks && tick % 7 == 0 {
                        world.sample();
                    }
                }
                left(&world)
            })
        };
        let (Some(first), Some(again), Some(seen)) = (run(false), run(false), run(true)) else { return };
        assert!(first == again, "{name}: bits repeat");
        assert!(first == seen, "{name}: bits do not depend on looking");
    }
}

#[test]
fn a_saved_state_continues_on_a_device() {
    for (name, setup) in kinds() {
        let (mut first, mut second) = (build(&setup), build(&setup));
        if !(moved(&mut first, &setup) && moved(&mut second, &setup)) {
            return;
        }
        advance(&mut first, 50);
        restore(&mut second, &save(&mut first)).expect("the same setup");
        advance(&mut first, 40);
        advance(&mut second, 40);
        assert!(left(&first) == left(&second), "{name}");
    }
}

#[test]
fn with_auto_a_lost_device_is_replaced_by_the_processor() {
    for (name, setup) in kinds() {
        let mut host = build(&setup);
        advance(&mut host, 60);
        for calls_left in [2, 190] {
            let Some(mut simulation) = failing(&setup, calls_left) else { return };
            let mut keeper = Keeper::watching(&setup, BackendChoice::Auto, "drill");
            run(&mut simulation, &mut keeper, 60).expect("auto goes on");
            assert_eq!(simulation.residency(), Residency::Host, "{name} after {calls_left} calls");
            assert_eq!(simulation.active_pages(), host.active_pages(), "{name} after {calls_left} calls");
            let error = distance(&simulation, &host);
            assert!(error < 1e-5, "{name}: lost after {calls_left} calls: {error:.2e}");
            let counts =
                |world: &Simulation| world.growth().map(|growth| (growth.n_births, growth.n_prunings));
            assert_eq!(counts(&simulation), counts(&host), "{name} after {calls_left} calls");
        }
    }
}
