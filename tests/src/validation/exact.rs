//! Exact solutions and identities of the split-step scheme.
//! Invariant: every solution used here solves the equation on the torus itself, or misses it by less than the
//! tolerance (the soliton's tails at the box edge are 4e-9).

use super::Case;
use crate::lab::{
    Field, Position, advance, build, cis, from_field, initial, nearest_image, polar, profile, setup, torus,
};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::setup::{Integrator, Setup};
use std::f64::consts::TAU;

/// All exact cases.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![plane_wave_phase()];
    cases.extend(Axis::ALL.map(linear_dispersion));
    cases.extend(Axis::ALL.map(soliton_on));
    cases.extend(soliton_orders());
    cases.extend([
        damped_mode(),
        damped_nonlinear_phase(),
        norm_is_conserved(),
        energy_has_no_trend(),
        reversibility(),
        galilean_shift(),
        axis_permutation(),
        soliton_collision(),
    ]);
    cases
}

/// Ψ = A e^{ikx}: the phase runs at −(½k² + V + βA²), whatever the step.
pub fn plane_wave_phase() -> Case {
    let (length, amplitude, beta, potential, dt, ticks) = (7.0, 0.8, 1.3, 0.4, 1e-2, 1_000);
    let torus = torus(&[(Axis::X, 9, length), (Axis::Z, 32, length)]);
    let (kx, kz) = (TAU / length, -3.0 * TAU / length);
    let mut plane = setup(torus.clone(), dt);
    plane.wave.beta = beta;
    plane.potential = Profile::Uniform(potential);
    plane.initial = initial(&torus, move |p| polar(amplitude, kx * p[6] + kz * p[8]));
    let mut world = build(&plane);
    advance(&mut world, ticks);
    let omega = 0.5 * (kx * kx + kz * kz) + potential + beta * amplitude * amplitude;
    let t = dt * ticks as f64;
    let exact = Field::exact(&torus, |p| polar(amplitude, kx * p[6] + kz * p[8] - omega * t));
    Case::defect(
        "plane wave, nonlinear phase after 1,000 ticks of 1e-2",
        "exact: ω = ½k² + V + βA²",
        Field::of(&world).relative_error(&exact),
        1e-12,
    )
}

/// β = 0: mode 4 of 27 nodes along each axis turns at ½Dk².
pub fn linear_dispersion(axis: Axis) -> Case {
    let (extent, length, dt, ticks) = (27, 5.0, 1e-3, 1_000);
    let torus = torus(&[(axis, extent, length)]);
    let k = 4.0 * TAU / length;
    let mut plane = setup(torus.clone(), dt);
    plane.wave.diffusion[axis.index()] = 1.7;
    plane.initial = initial(&torus, move |p| cis(k * p[axis.index()]));
    let mut world = build(&plane);
    advance(&mut world, ticks);
    let t = dt * ticks as f64;
    let exact = Field::exact(&torus, |p| cis(k * p[axis.index()] - 0.5 * 1.7 * k * k * t));
    Case::defect(
        format!("linear dispersion along {axis}, D = 1.7"),
        "exact: ω = ½Dk²",
        Field::of(&world).relative_error(&exact),
        1e-12,
    )
}

const SOLITON_LENGTH: f64 = 40.0;

/// A sech(A(x − vt)) e^{i(vx + (A² − v²)t/2)} with A = v = 1, for β = −1.
fn soliton(x: f64, t: f64) -> (f64, f64) {
    polar(1.0 / nearest_image(x - t, SOLITON_LENGTH).cosh(), x)
}

fn soliton_setup(axis: Axis, dt: f64, integrator: Integrator) -> Setup {
    let torus = torus(&[(axis, 512, SOLITON_LENGTH)]);
    let mut scene = setup(torus.clone(), dt);
    scene.wave.beta = -1.0;
    scene.wave.integrator = integrator;
    scene.initial = initial(&torus, move |p| soliton(p[axis.index()], 0.0));
    scene
}

fn soliton_error(axis: Axis, dt: f64, integrator: Integrator) -> f64 {
    let scene = soliton_setup(axis, dt, integrator);
    let mut world = build(&scene);
    let ticks = (5.0 / dt).round() as u64;
    advance(&mut world, ticks);
    // (A² − v²)/2 = 0: the soliton's own phase stands still, and e^{ivx} is carried by the box coordinate.
    let exact = Field::exact(&scene.torus, |p| {
        let x = p[axis.index()];
        let image = nearest_image(x - 5.0, SOLITON_LENGTH);
        polar(1.0 / image.cosh(), image + 5.0)
    });
    Field::of(&world).relative_error(&exact)
}

/// The reference soliton along one axis.
pub fn soliton_on(axis: Axis) -> Case {
    Case::defect(
        format!("bright soliton along {axis}, N = 512, T = 5, Strang at dt = 1e-3"),
        "exact (Zakharov & Shabat 1972); a reference Strang code has 4.8e-7",
        soliton_error(axis, 1e-3, Integrator::Strang),
        5.0e-7,
    )
}

/// Observed orders on the soliton.
pub fn soliton_orders() -> Vec<Case> {
    let order = |integrator, coarse: f64| {
        let errors = [coarse, coarse / 2.0].map(|dt| soliton_error(Axis::Z, dt, integrator));
        (errors[0] / errors[1]).log2()
    };
    vec![
        Case::number(
            "observed order, Strang (dt = 0.01 → 0.005)",
            "theory: 2",
            2.0,
            order(Integrator::Strang, 0.01),
            5e-3,
        ),
        Case::number(
            "observed order, Yoshida4 (dt = 0.05 → 0.025)",
            "theory: 4",
            4.0,
            order(Integrator::Yoshida4, 0.05),
            2.5e-2,
        ),
        Case::number(
            "observed order, BlanesMoan4 (dt = 0.1 → 0.05)",
            "theory: 4",
            4.0,
            order(Integrator::BlanesMoan4, 0.1),
            2.5e-2,
        ),
        Case::defect(
            "bright soliton, BlanesMoan4 at dt = 0.02",
            "floor of the box: 5.2e-9 (sech tails)",
            soliton_error(Axis::Z, 0.02, Integrator::BlanesMoan4),
            1.2e-8,
        ),
    ]
}

/// A linear mode under uniform damping decays as e^{−Γt}.
pub fn damped_mode() -> Case {
    let (gamma, dt, ticks, length) = (0.7, 1e-3, 2_000, 6.0);
    let torus = torus(&[(Axis::Y, 48, length)]);
    let k = 2.0 * TAU / length;
    let mut scene = setup(torus.clone(), dt);
    scene.damping = Profile::Uniform(gamma);
    scene.initial = initial(&torus, move |p| cis(k * p[7]));
    let mut world = build(&scene);
    advance(&mut world, ticks);
    let t = dt * ticks as f64;
    let exact = Field::exact(&torus, |p| polar((-gamma * t).exp(), k * p[7] - 0.5 * k * k * t));
    Case::defect(
        "damped mode, Γ = 0.7, t = 2",
        "exact: e^{−Γt − i½k²t}",
        Field::of(&world).relative_error(&exact),
        1e-12,
    )
}

/// A uniform wave under damping: |Ψ|² = ρ₀e^{−2Γt}, phase −βρ₀(1 − e^{−2Γt})/(2Γ). Exact for the damped local flow;
/// a frozen density would be first order.
pub fn damped_nonlinear_phase() -> Case {
    let (gamma, beta, dt, ticks) = (0.9, 2.5, 2e-2, 100);
    let torus = torus(&[(Axis::T, 27, 3.0)]);
    let mut scene = setup(torus.clone(), dt);
    scene.wave.beta = beta;
    scene.damping = profile(&torus, move |_: &Position| gamma);
    scene.initial = initial(&torus, |_| (1.2, 0.0));
    let mut world = build(&scene);
    advance(&mut world, ticks);
    let t = dt * ticks as f64;
    let phase = -beta * 1.44 * (1.0 - (-2.0 * gamma * t).exp()) / (2.0 * gamma);
    let exact = Field::exact(&torus, |_| polar(1.2 * (-gamma * t).exp(), phase));
    Case::defect(
        "damped nonlinear phase at dt = 0.02",
        "exact: φ = −βρ₀(1 − e^{−2Γt})/2Γ",
        Field::of(&world).relative_error(&exact),
        1e-12,
    )
}

fn rough(dt: f64) -> Setup {
    let torus = torus(&[(Axis::X, 27, 9.0), (Axis::Y, 9, 4.0), (Axis::Z, 3, 3.0)]);
    let mut scene = setup(torus.clone(), dt);
    scene.wave.beta = 0.8;
    scene.potential = profile(&torus, |p| 0.5 * (p[6] * 1.3).sin() + 0.2 * p[7].cos());
    scene.initial = initial(&torus, |p| {
        polar(0.7 + 0.3 * (TAU * p[6] / 9.0).cos(), (TAU * p[7] / 4.0).sin() + (TAU * p[8] / 3.0).cos())
    });
    scene
}

/// Norm drift over 10,000 ticks in f64.
pub fn norm_is_conserved() -> Case {
    let mut world = build(&rough(1e-3));
    advance(&mut world, 10_000);
    let drift = world.sample().norm_drift.abs();
    Case::defect("norm drift after 10,000 ticks, f64", "exact: 0 (unitary scheme)", drift, 1e-12)
}

/// The energy error of a symplectic scheme oscillates; over twice the time it does not grow.
pub fn energy_has_no_trend() -> Case {
    let mut world = build(&rough(2e-3));
    let mut largest = [0.0_f64; 2];
    for half in &mut largest {
        for _ in 0..100 {
            advance(&mut world, 50);
            *half = half.max(world.sample().energy_drift.abs());
        }
    }
    Case::number(
        "largest energy error, second 5,000 ticks over first 5,000",
        "bounded, no secular term (Gauckler & Lubich 2010)",
        1.0,
        largest[1] / largest[0],
        0.3,
    )
}

/// 2,000 ticks forward and 2,000 back.
pub fn reversibility() -> Case {
    let forward = rough(1e-3);
    let mut world = build(&forward);
    let start = Field::of(&world);
    advance(&mut world, 2_000);
    let mut backward = rough(-1e-3);
    backward.initial = from_field(&forward.torus, Field::of(&world));
    let mut world = build(&backward);
    advance(&mut world, 2_000);
    Case::defect(
        "reversibility: 2,000 ticks forward, 2,000 back",
        "exact: 0 (palindromic composition)",
        Field::of(&world).relative_error(&start),
        1e-11,
    )
}

/// A boost by a lattice wavenumber shifts the solution by k₀t: chosen to be whole nodes.
pub fn galilean_shift() -> Case {
    let (extent, length, ticks) = (128usize, 16.0, 500u64);
    let k0 = 2.0 * TAU / length;
    let shift_nodes = 10usize;
    let dt = shift_nodes as f64 * (length / extent as f64) / (k0 * ticks as f64);
    let torus = torus(&[(Axis::X, extent, length)]);
    let packet = move |x: f64| polar((-0.5 * x * x).exp(), 0.3 * (TAU * x / length).sin());
    let run = |boost: f64| {
        let mut scene = setup(torus.clone(), dt);
        scene.wave.beta = 1.5;
        scene.initial = initial(&torus, move |p| {
            let ((re, im), (c, s)) = (packet(p[6]), cis(boost * p[6]));
            (re * c - im * s, re * s + im * c)
        });
        let mut world = build(&scene);
        advance(&mut world, ticks);
        Field::of(&world)
    };
    let (still, moving) = (run(0.0), run(k0));
    let t = dt * ticks as f64;
    let values = (0..extent).map(|i| {
        let (re, im) = still.values[(i + extent - shift_nodes) % extent];
        let x = torus.coordinate(Axis::X, i);
        let (c, s) = cis(k0 * x - 0.5 * k0 * k0 * t);
        (re * c - im * s, re * s + im * c)
    });
    let expected = Field { values: values.collect() };
    Case::defect(
        "Galilean boost by mode 2, shift by 10 nodes",
        "exact: Ψ'(x,t) = Ψ(x − k₀t, t) e^{i(k₀x − ½k₀²t)}",
        moving.relative_error(&expected),
        1e-11,
    )
}

/// The same problem with its axes relabelled gives the same field, bit for bit.
pub fn axis_permutation() -> Case {
    let run = |axes: [Axis; 3]| {
        let torus = torus(&[(axes[0], 27, 9.0), (axes[1], 9, 4.0), (axes[2], 3, 3.0)]);
        let index = axes.map(Axis::index);
        let mut scene = setup(torus.clone(), 1e-3);
        scene.wave.beta = 0.8;
        scene.potential = profile(&torus, move |p| 0.5 * (p[index[0]] * 1.3).sin() + 0.2 * p[index[1]].cos());
        scene.initial = initial(&torus, move |p| {
            polar(0.7 + 0.3 * (TAU * p[index[0]] / 9.0).cos(), (TAU * p[index[1]] / 4.0).sin() + p[index[2]])
        });
        let mut world = build(&scene);
        advance(&mut world, 500);
        let field = Field::of(&world);
        let mut sorted = Vec::new();
        for a in 0..27 {
            for b in 0..9 {
                for c in 0..3 {
                    let mut coordinates = [0; 9];
                    (coordinates[index[0]], coordinates[index[1]], coordinates[index[2]]) = (a, b, c);
                    sorted.push(field.values[crate::lab::canonical(&torus, &coordinates)]);
                }
            }
        }
        Field { values: sorted }
    };
    let reference = run([Axis::X, Axis::Y, Axis::Z]);
    let others = [[Axis::Z, Axis::Y, Axis::X], [Axis::R, Axis::T, Axis::S], [Axis::U, Axis::W, Axis::V]];
    let worst = others.map(|axes| run(axes).relative_error(&reference)).into_iter().fold(0.0, f64::max);
    Case::defect("axis relabelling, 27×9×3, three permutations", "exact: identical", worst, 0.0)
}

/// Two unit solitons at ±v pass through each other; each is displaced by ln(1 + 1/v²) along its way.
pub fn soliton_collision() -> Case {
    let (length, v, start, t_end, dt) = (80.0, 2.0, 12.0, 12.0, 2e-3);
    let torus = torus(&[(Axis::Z, 1024, length)]);
    let mut scene = setup(torus.clone(), dt);
    scene.wave.beta = -1.0;
    scene.wave.integrator = Integrator::Yoshida4;
    scene.initial = initial(&torus, move |p| {
        let one = |x0: f64, v: f64| polar(1.0 / (p[8] - x0).cosh(), v * (p[8] - x0));
        let (a, b) = (one(-start, v), one(start, -v));
        (a.0 + b.0, a.1 + b.1)
    });
    let mut world = build(&scene);
    advance(&mut world, (t_end / dt) as u64);
    let field = Field::of(&world);
    let (mut mass, mut first) = (0.0, 0.0);
    for (i, (re, im)) in field.values.iter().enumerate() {
        let x = torus.coordinate(Axis::Z, i);
        if x > 0.0 {
            mass += re * re + im * im;
            first += x * (re * re + im * im);
        }
    }
    let displaced = first / mass - (v * t_end - start);
    Case::number(
        "soliton collision at ±2: displacement",
        "exact two-soliton solution: ln(1 + 1/v²)",
        (1.0 + 1.0 / (v * v)).ln(),
        displaced,
        1e-4,
    )
}
