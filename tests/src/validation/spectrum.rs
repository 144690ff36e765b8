//! Linear response: growth rates and frequencies against Bogoliubov theory, and the trapped gas' exact mode.
//! Source: u̇ = ½K²v, v̇ = −(½K² + 2βn)u for Ψ = √n e^{−iβnt}(1 + u + iv) with u, v ∝ cos Kx.

use super::Case;
use crate::lab::{Field, advance, build, cis, initial, profile, setup, torus};
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::setup::TimeMode;
use std::f64::consts::TAU;

/// All cases of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [0.5, 1.0, 1.4, 1.8].into_iter().map(modulational_instability).collect();
    cases.extend([0.5, 1.0, 3.0].into_iter().map(bogoliubov));
    cases.push(kohn_mode());
    cases
}

/// (u, v) of mode 1 relative to the background at time `t`.
fn response(field: &Field, amplitude: f64, beta: f64, t: f64) -> (f64, f64) {
    let n = field.values.len() as f64;
    let (c, s) = cis(beta * amplitude * amplitude * t);
    let (mut u, mut v) = (0.0, 0.0);
    for (i, (re, im)) in field.values.iter().enumerate() {
        let weight = 2.0 / n * (TAU * i as f64 / n).cos();
        u += weight * (re * c - im * s) / amplitude;
        v += weight * (re * s + im * c) / amplitude;
    }
    // Coordinates start at −L/2, where cos Kx = −1.
    (-u, -v)
}

fn perturbed(k: f64, beta: f64, u: f64, v: f64, dt: f64, ticks: u64) -> Vec<(f64, f64)> {
    let torus = torus(&[(Axis::Z, 32, TAU / k)]);
    let mut scene = setup(torus.clone(), dt);
    scene.wave.beta = beta;
    scene.initial = initial(&torus, move |p| (1.0 + u * (k * p[8]).cos(), v * (k * p[8]).cos()));
    let mut world = build(&scene);
    let mut responses = Vec::new();
    for _ in 0..2 {
        advance(&mut world, ticks);
        responses.push(response(&Field::of(&world), 1.0, beta, world.time()));
    }
    responses
}

/// Growth of the unstable mode for β = −1, A = 1.
pub fn modulational_instability(k: f64) -> Case {
    let sigma = k * (1.0 - k * k / 4.0).sqrt();
    let (seed, dt, ticks) = (1e-7, 5e-4, 4_000);
    let grown = perturbed(k, -1.0, seed, seed * sigma / (0.5 * k * k), dt, ticks);
    let size = |(u, v): (f64, f64)| u.hypot(v);
    let rate = (size(grown[1]) / size(grown[0])).ln() / (dt * ticks as f64);
    Case::number(
        format!("modulational instability, K = {k}"),
        "σ = K√(1 − K²/4) (Benjamin & Feir 1967; Bespalov & Talanov 1966)",
        sigma,
        rate,
        1e-5,
    )
}

/// Frequency of a density wave on a repulsive background (β = 1, n = 1).
pub fn bogoliubov(k: f64) -> Case {
    let half = 0.5 * k * k;
    let exact = (half * (half + 2.0)).sqrt();
    let (seed, dt) = (1e-6, 2e-4);
    // A quarter period and a bit: the phase is read at two times, less than half a turn apart.
    let ticks = (0.23 * TAU / exact / dt).round() as u64;
    let seen = perturbed(k, 1.0, seed, 0.0, dt, ticks);
    // u = cos ωt, v = −(ω/½K²) sin ωt.
    let phase = |(u, v): (f64, f64)| (-v * half / exact).atan2(u);
    let rate = (phase(seen[1]) - phase(seen[0])).rem_euclid(TAU) / (dt * ticks as f64);
    Case::number(
        format!("Bogoliubov frequency, K = {k}"),
        "ε = √(½K²(½K² + 2βn)) (Bogoliubov 1947)",
        exact,
        rate,
        1e-6,
    )
}

/// The centre of a displaced, interacting cloud oscillates at the trap frequency exactly (Kohn's theorem).
pub fn kohn_mode() -> Case {
    let (omega, beta, length) = (1.3, 8.0, 20.0);
    let torus = torus(&[(Axis::X, 128, length)]);
    let trap = profile(&torus, move |p| 0.5 * omega * omega * p[6] * p[6]);
    let mut relax = setup(torus.clone(), 2e-3);
    relax.wave.beta = beta;
    relax.wave.time = TimeMode::Imaginary;
    relax.norm = Some(1.0);
    relax.potential = trap.clone();
    relax.initial = initial(&torus, |p| ((-0.2 * p[6] * p[6]).exp(), 0.0));
    let mut ground = build(&relax);
    advance(&mut ground, 6_000);
    let field = Field::of(&ground);
    // Displace by 6 nodes, then let go.
    let shifted = Field { values: (0..128).map(|i| field.values[(i + 128 - 6) % 128]).collect() };
    let mut swing = setup(torus.clone(), 1e-3);
    swing.wave.beta = beta;
    swing.potential = trap;
    swing.initial = crate::lab::from_field(&torus, shifted);
    let mut world = build(&swing);
    let centre = |field: &Field| {
        let moments = field.values.iter().enumerate().fold((0.0, 0.0), |(m, f), (i, (re, im))| {
            let rho = re * re + im * im;
            (m + rho, f + rho * torus.coordinate(Axis::X, i))
        });
        moments.1 / moments.0
    };
    let x0 = centre(&Field::of(&world));
    // At ωt ≈ 3.25 turns the centre passes zero at full speed, so that it reads the frequency most sharply.
    let ticks = (3.25 * TAU / omega / 1e-3).round() as u64;
    advance(&mut world, ticks);
    let x = centre(&Field::of(&world));
    let t = world.time();
    let turns = 3.0 * TAU + (x / x0).clamp(-1.0, 1.0).acos();
    Case::number(
        "Kohn mode of an interacting cloud (β = 8): frequency",
        "exactly the trap's ω (Kohn 1961; Dobson 1994)",
        omega,
        turns / t,
        1e-6,
    )
}
