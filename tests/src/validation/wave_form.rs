//! The wave form: exact modes, the exact nonlinear plane wave, order and energy.
//! Invariant: every solution used here solves the equation on the torus itself.

use super::Case;
use crate::lab::{Field, advance, build, initial, polar, profile, setup, torus};
use nikola_engine::systems::components::emitter::{Emitter, Envelope};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::setup::{Equation, Precision, Setup};
use nikola_engine::systems::components::torus::Torus;
use nikola_engine::systems::kernels::wave_form::oscillator;
use std::f64::consts::TAU;

/// All cases of the wave form.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Axis::ALL.map(dispersion).into();
    cases.extend([
        standing_wave(),
        mode("damped mode", 0.6, 4),
        mode("overdamped mode", 9.0, 1),
        mode("drifting mode k = 0", 0.6, 0),
        nonlinear_plane_wave(),
        energy_has_no_trend(),
        energy_in_single_precision(),
    ]);
    cases.extend(orders());
    cases
}

/// A wave-form setup in double precision with Ψ̇ = 0.
pub fn wave(torus: Torus, dt: f64) -> Setup {
    Setup { equation: Equation::Wave { velocity: initial(&torus, |_| (0.0, 0.0)) }, ..setup(torus, dt) }
}

/// Ψ = e^{i(kx − ωt)} along one axis with ω = √D k.
fn dispersion(axis: Axis) -> Case {
    let (extent, length, diffusion, dt, ticks) = (27, 5.0, 1.7_f64, 1e-2, 1_000);
    let torus = torus(&[(axis, extent, length)]);
    let k = 4.0 * TAU / length;
    let omega = diffusion.sqrt() * k;
    let x = axis.index();
    let mut scene = wave(torus.clone(), dt);
    scene.wave.diffusion[x] = diffusion;
    scene.initial = initial(&torus, move |p| polar(1.0, k * p[x]));
    scene.equation =
        Equation::Wave { velocity: initial(&torus, move |p| polar(omega, k * p[x] - 0.25 * TAU)) };
    let mut world = build(&scene);
    advance(&mut world, ticks);
    let t = dt * ticks as f64;
    let exact = Field::exact(&torus, |p| polar(1.0, k * p[x] - omega * t));
    Case::defect(
        format!("wave form: dispersion along {axis}, D = 1.7"),
        "exact: ω = √D k",
        Field::of(&world).relative_error(&exact),
        1e-11,
    )
}

/// cos(kx)·cos(ωt) on a 3-D torus, ω from all three axes.
fn standing_wave() -> Case {
    let (dt, ticks) = (0.05, 400);
    let torus = torus(&[(Axis::X, 9, 2.0), (Axis::Y, 16, 3.0), (Axis::Z, 10, 5.0)]);
    let k = [TAU / 2.0, 2.0 * TAU / 3.0, 3.0 * TAU / 5.0];
    let shape = move |p: &[f64; 9]| (k[0] * p[6]).cos() * (k[1] * p[7]).cos() * (k[2] * p[8]).cos();
    let mut scene = wave(torus.clone(), dt);
    scene.initial = initial(&torus, move |p| (shape(p), 0.0));
    let mut world = build(&scene);
    advance(&mut world, ticks);
    let omega = k.iter().map(|k| k * k).sum::<f64>().sqrt();
    let amplitude = (omega * dt * ticks as f64).cos();
    let exact = Field::exact(&torus, |p| (amplitude * shape(p), 0.0));
    let case = "wave form: standing wave in 3-D, 400 ticks of 0.05 (ω dt = 0.32)";
    Case::defect(case, "exact: ω² = ΣD k²", Field::of(&world).relative_error(&exact), 1e-11)
}

/// One mode under damping: amplitude e^{−αt/2} and shifted frequency, or two real exponents, or a drift.
fn mode(name: &str, alpha: f64, m: usize) -> Case {
    let (dt, ticks, length) = (1e-2, 500, 7.0);
    let torus = torus(&[(Axis::Y, 3, 2.0), (Axis::Z, 32, length)]);
    let k = m as f64 * TAU / length;
    let mut scene = wave(torus.clone(), dt);
    scene.damping = Profile::Uniform(alpha);
    scene.initial = initial(&torus, move |p| polar(1.0, k * p[8]));
    scene.equation = Equation::Wave { velocity: initial(&torus, move |p| polar(0.3, k * p[8])) };
    let mut world = build(&scene);
    advance(&mut world, ticks);
    let (psi, _) = oscillator(1.0, 0.3, k * k, alpha, dt * ticks as f64);
    let exact = Field::exact(&torus, |p| polar(psi, k * p[8]));
    Case::defect(
        format!("wave form: {name}, α(1−r̂) = {alpha}, 500 ticks"),
        "exact: Ψ̈ + αΨ̇ + ω²Ψ = 0",
        Field::of(&world).relative_error(&exact),
        1e-11,
    )
}

fn nonlinear_error(dt: f64) -> f64 {
    let (length, amplitude, beta, end) = (6.0, 0.8_f64, -1.5, 2.0);
    let torus = torus(&[(Axis::X, 9, length), (Axis::Z, 16, length)]);
    let k = TAU / length;
    let omega = (2.0 * k * k - beta * amplitude * amplitude).sqrt();
    let mut scene = wave(torus.clone(), dt);
    scene.wave.beta = beta;
    scene.initial = initial(&torus, move |p| polar(amplitude, k * (p[6] + p[8])));
    let turned = move |p: &[f64; 9]| polar(amplitude * omega, k * (p[6] + p[8]) - 0.25 * TAU);
    scene.equation = Equation::Wave { velocity: initial(&torus, turned) };
    let mut world = build(&scene);
    advance(&mut world, (end / dt).round() as u64);
    let exact = Field::exact(&torus, |p| polar(amplitude, k * (p[6] + p[8]) - omega * end));
    Field::of(&world).relative_error(&exact)
}

/// Ψ = A e^{i(kx − ωt)} is exact with ω² = Dk² − βA².
fn nonlinear_plane_wave() -> Case {
    let error = nonlinear_error(1e-3);
    Case::defect("wave form: nonlinear plane wave, dt = 1e-3", "exact: ω² = Dk² − βA²", error, 1e-6)
}

/// β, uniform and varying damping, and a source, all at once.
fn driven(dt: f64, is_damping_uniform: bool) -> Setup {
    let torus = torus(&[(Axis::X, 9, 4.0), (Axis::Z, 16, 6.0)]);
    let mut scene = wave(torus.clone(), dt);
    scene.wave.beta = -0.9;
    scene.damping = if is_damping_uniform {
        Profile::Uniform(0.7)
    } else {
        profile(&torus, |p| 0.7 * (1.0 + (TAU * p[8] / 6.0).cos()))
    };
    scene.initial = initial(&torus, |p| polar(1.0 + 0.3 * (TAU * p[6] / 4.0).cos(), TAU * p[8] / 6.0));
    scene.equation = Equation::Wave { velocity: initial(&torus, |p| (0.5 * (TAU * p[8] / 6.0).sin(), 0.2)) };
    scene.emitters = vec![Emitter {
        name: "source".into(),
        frequency_hz: 0.4,
        phase_turns: 0.1,
        amplitude: 1.5,
        profile: initial(&torus, |p| ((-(p[6] * p[6] + p[8] * p[8])).exp(), 0.0)),
        envelope: Envelope::Window { start_secs: 0.0, end_secs: f64::INFINITY, rise_secs: 0.7 },
    }];
    scene
}

fn driven_field(dt: f64, is_damping_uniform: bool) -> Field {
    let mut world = build(&driven(dt, is_damping_uniform));
    advance(&mut world, (1.6 / dt).round() as u64);
    Field::of(&world)
}

/// Largest pointwise difference.
fn largest(a: &Field, b: &Field) -> f64 {
    let off = |(a, b): (&(f64, f64), &(f64, f64))| (a.0 - b.0).hypot(a.1 - b.1);
    a.values.iter().zip(&b.values).map(off).fold(0.0, f64::max)
}

fn orders() -> Vec<Case> {
    let order = |coarse: f64, fine: f64| (coarse / fine).log2();
    let driven = [("uniform", true), ("varying", false)].map(|(name, is_uniform)| {
        let reference = driven_field(1e-3 / 8.0, is_uniform);
        let error = |dt| largest(&driven_field(dt, is_uniform), &reference);
        Case::number(
            format!("wave form: pointwise order with β, {name} damping and a source"),
            "Strang 1968: 2",
            2.0,
            order(error(0.02), error(0.01)),
            0.02,
        )
    });
    let plane = order(nonlinear_error(0.02), nonlinear_error(0.01));
    let plane =
        Case::number("wave form: order on the nonlinear plane wave", "Strang 1968: 2", 2.0, plane, 0.01);
    driven.into_iter().chain([plane]).collect()
}

/// A rough closed state with β < 0: H oscillates within O(dt²) and has no trend.
fn energy_has_no_trend() -> Case {
    let torus = torus(&[(Axis::Y, 3, 3.0), (Axis::Z, 27, 9.0)]);
    let mut scene = wave(torus.clone(), 1e-3);
    scene.wave.beta = -0.7;
    scene.initial = initial(&torus, |p| polar(1.0 + 0.2 * (3.1 * p[8]).sin(), p[7]));
    let mut world = build(&scene);
    let first = world.sample().energy;
    let mut largest = 0.0_f64;
    for _ in 0..20 {
        advance(&mut world, 500);
        largest = largest.max((world.sample().energy / first - 1.0).abs());
    }
    Case::defect("wave form: energy over 10,000 ticks of 1e-3, f64", "exact: H is constant", largest, 1e-6)
}

/// The same in single precision, where H is kept by measurement.
fn energy_in_single_precision() -> Case {
    let torus = torus(&[(Axis::Y, 3, 3.0), (Axis::Z, 27, 9.0)]);
    let mut scene = wave(torus.clone(), 1e-3);
    scene.precision = Precision::F32;
    scene.initial = initial(&torus, |p| polar(1.0 + 0.2 * (3.1 * p[8]).sin(), p[7]));
    let mut world = build(&scene);
    let first = world.sample().energy;
    advance(&mut world, 100 * 1024);
    let drift = (world.sample().energy / first - 1.0).abs();
    Case::defect("wave form: energy over 102,400 ticks of 1e-3, f32", "exact: H is constant", drift, 3e-6)
}
