//! Sources, commands and time-dependent potentials: exact solutions and the order of the scheme.

use nikola_engine::systems::components::emitter::{Emitter, Envelope, Injection};
use nikola_engine::systems::components::fill::TimePotential;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::ports::Command;
use nikola_engine::systems::components::setup::{Integrator, Setup};
use nikola_engine::systems::components::torus::Torus;
use nikola_tests::lab::{Field, advance, build, initial, polar, setup, torus};
use std::f64::consts::TAU;
use std::sync::Arc;

fn driven(dt: f64, gamma: f64, integrator: Integrator) -> Setup {
    let torus = torus(&[(Axis::Z, 9, 3.0)]);
    let mut scene = setup(torus.clone(), dt);
    scene.wave.integrator = integrator;
    scene.damping = nikola_engine::systems::components::fill::Profile::Uniform(gamma);
    scene.initial = initial(&torus, |_| (0.0, 0.0));
    scene.emitters = vec![Emitter {
        name: "drive".into(),
        frequency_hz: 0.8,
        phase_turns: 0.0,
        amplitude: 0.5,
        profile: initial(&torus, |_| (1.0, 0.0)),
        envelope: Envelope::Constant,
    }];
    scene
}

/// ∂tΨ = −ΓΨ + A e^{−iωt} from rest: Ψ = A (e^{−iωt} − e^{−Γt}) / (Γ − iω).
fn driven_error(dt: f64, gamma: f64, integrator: Integrator) -> f64 {
    let scene = driven(dt, gamma, integrator);
    let mut world = build(&scene);
    advance(&mut world, (2.0 / dt).round() as u64);
    let (t, omega) = (2.0, 0.8 * TAU);
    let top = (0.5 * ((omega * t).cos() - (-gamma * t).exp()), -0.5 * (omega * t).sin());
    let size = gamma * gamma + omega * omega;
    // 1/(Γ − iω) = (Γ + iω)/(Γ² + ω²)
    let exact = ((top.0 * gamma - top.1 * omega) / size, (top.0 * omega + top.1 * gamma) / size);
    Field::of(&world).relative_error(&Field::exact(&scene.torus, |_| exact))
}

#[test]
fn a_driven_damped_mode_is_second_order() {
    let errors = [0.02, 0.01, 0.005].map(|dt| driven_error(dt, 0.6, Integrator::Strang));
    for pair in errors.windows(2) {
        let order = (pair[0] / pair[1]).log2();
        assert!((order - 2.0).abs() < 0.02, "order {order}, errors {errors:?}");
    }
}

#[test]
fn a_driven_mode_is_fourth_order_with_yoshida() {
    let errors = [0.04, 0.02].map(|dt| driven_error(dt, 0.0, Integrator::Yoshida4));
    let order = (errors[0] / errors[1]).log2();
    assert!((order - 4.0).abs() < 0.1, "order {order}, errors {errors:?}");
}

#[test]
fn an_injection_adds_its_profile_at_its_tick() {
    let torus = torus(&[(Axis::X, 27, 27.0), (Axis::Y, 9, 9.0)]);
    let mut scene = setup(torus.clone(), 1e-3);
    scene.initial = initial(&torus, |_| (0.0, 0.0));
    let profile = initial(&torus, |p| polar(1.0 + p[6] * 0.1, p[7]));
    scene.injections = vec![Injection { tick: 5, amplitude: (0.0, 2.0), profile: profile.clone() }];
    let mut world = build(&scene);
    advance(&mut world, 5);
    assert_eq!(world.sample().norm, 0.0);
    advance(&mut world, 1);
    let mut same = setup(torus.clone(), 1e-3);
    same.initial = initial(&torus, |p| {
        let (re, im) = polar(1.0 + p[6] * 0.1, p[7]);
        (-2.0 * im, 2.0 * re)
    });
    let mut reference = build(&same);
    advance(&mut reference, 1);
    assert!(Field::of(&world).relative_error(&Field::of(&reference)) < 1e-14);
    let command = Command::Inject { amplitude: (1.0, 0.0), profile };
    world.push(command).expect("there is room");
    advance(&mut world, 1);
    assert!(world.sample().norm > 0.0);
}

#[test]
fn a_degraded_tick_is_a_tick_without_the_nonlinear_flow() {
    let torus = torus(&[(Axis::X, 64, 16.0)]);
    let scene = |beta: f64| {
        let mut scene = setup(torus.clone(), 1e-2);
        scene.wave.beta = beta;
        scene.initial = initial(&torus, |p| ((-p[6] * p[6]).exp(), 0.3));
        scene
    };
    let mut degraded = build(&scene(5.0));
    degraded.push(Command::Degrade).expect("there is room");
    advance(&mut degraded, 1);
    let mut linear = build(&scene(0.0));
    advance(&mut linear, 1);
    assert_eq!(Field::of(&degraded), Field::of(&linear));
    advance(&mut degraded, 1);
    advance(&mut linear, 1);
    assert_ne!(Field::of(&degraded), Field::of(&linear));
}

struct Shaken {
    torus: Torus,
    force: f64,
    omega: f64,
}

impl TimePotential for Shaken {
    fn add(&self, t: f64, page: usize, v: &mut [f64]) {
        let force = self.force * (self.omega * t).sin();
        self.torus.for_each_node(page, |i, coordinates| {
            v[i] -= force * self.torus.coordinate(Axis::X, coordinates[Axis::X.index()]);
        });
    }
}

/// Ehrenfest: in a shaken harmonic trap the centre obeys ẍ = −x + F sin ωt, whatever the interaction.
fn shaken_error(dt: f64) -> f64 {
    let torus = torus(&[(Axis::X, 128, 24.0)]);
    let (force, omega, t_end) = (0.3, 1.7, 3.0);
    let mut scene = setup(torus.clone(), dt);
    scene.wave.beta = 4.0;
    scene.potential = nikola_tests::lab::profile(&torus, |p| 0.5 * p[6] * p[6]);
    scene.drive = Some(Arc::new(Shaken { torus: torus.clone(), force, omega }));
    scene.initial = initial(&torus, |p| ((-0.5 * p[6] * p[6]).exp(), 0.0));
    scene.norm = Some(1.0);
    let mut world = build(&scene);
    advance(&mut world, (t_end / dt).round() as u64);
    let (mut mass, mut first) = (0.0, 0.0);
    for (i, (re, im)) in Field::of(&world).values.iter().enumerate() {
        mass += re * re + im * im;
        first += (re * re + im * im) * torus.coordinate(Axis::X, i);
    }
    // x(0) = ẋ(0) = 0: x = F/(1 − ω²) (sin ωt − ω sin t).
    let exact = force / (1.0 - omega * omega) * ((omega * t_end).sin() - omega * t_end.sin());
    (first / mass - exact).abs()
}

#[test]
fn a_shaken_trap_is_second_order() {
    let errors = [0.02, 0.01].map(shaken_error);
    let order = (errors[0] / errors[1]).log2();
    assert!((order - 2.0).abs() < 0.05, "order {order}, errors {errors:?}");
    assert!(errors[1] < 1e-4);
}
