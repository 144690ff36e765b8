//! The wave form with a metric that varies in space: against the dense matrix, against the exact step, order, energy.
//! Invariant: the dense matrix is that of [`super::metric`], 2T = −Σ_ij ∂_i D^{ij} ∂_j, whose eigenvalues are ω².

use super::Case;
use super::metric::{NODES, modes, scene};
use super::wave_form::wave;
use crate::lab::{Field, advance, build, from_field, initial, polar, profile, torus};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::emitter::{Emitter, Envelope};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::metric::MetricProfile;
use nikola_engine::systems::components::setup::{Equation, Integrator, Precision, Setup};
use std::f64::consts::TAU;

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = dense();
    cases.extend([agreement(), driven_order(), trend(), single_precision(), reversible()]);
    cases
}

/// The closed scene of the 2-D metric, with a velocity.
pub fn metric_2d(dt: f64) -> Setup {
    let mut scene = scene(dt, Integrator::Strang);
    let bump = |p: &[f64; 9]| polar(0.6 * (-0.4 * (p[6] * p[6] + p[7] * p[7])).exp(), 0.9 * p[6] + 0.3);
    scene.equation = Equation::Wave { velocity: initial(&scene.torus, bump) };
    scene
}

fn velocity(world: &Simulation) -> Field {
    let torus = world.torus();
    let mut field = Field { values: vec![(0.0, 0.0); torus.n_nodes()] };
    let (mut re, mut im) = (vec![0.0; torus.page_nodes()], vec![0.0; torus.page_nodes()]);
    for page in 0..torus.n_pages() {
        assert!(world.read_velocity(page, &mut re, &mut im), "the wave form has a velocity");
        torus.for_each_node(page, |i, coordinates| {
            field.values[crate::lab::canonical(torus, coordinates)] = (re[i], im[i]);
        });
    }
    field
}

/// cos(ωt)Ψ₀ + sin(ωt)/ω Ψ̇₀ from the eigenvectors of the dense matrix.
fn exact(t: f64) -> Field {
    let (values, vectors) = modes();
    let world = build(&metric_2d(1e-3));
    let (psi, speed) = (Field::of(&world), velocity(&world));
    let mut end = Field { values: vec![(0.0, 0.0); NODES] };
    for (value, vector) in values.iter().zip(vectors.chunks_exact(NODES)) {
        let omega = (2.0 * value.max(0.0)).sqrt();
        let (cosine, sine) = ((omega * t).cos(), if omega < 1e-6 { t } else { (omega * t).sin() / omega });
        let along = |field: &Field| {
            let parts = vector.iter().zip(&field.values);
            parts.fold((0.0, 0.0), |sum, (v, x)| (sum.0 + v * x.0, sum.1 + v * x.1))
        };
        let (a, b) = (along(&psi), along(&speed));
        for (v, out) in vector.iter().zip(&mut end.values) {
            out.0 += v * (cosine * a.0 + sine * b.0);
            out.1 += v * (cosine * a.1 + sine * b.1);
        }
    }
    end
}

fn dense() -> Vec<Case> {
    let t = 1.6;
    let exact = exact(t);
    let error = |ticks: u64| {
        let mut world = build(&metric_2d(t / ticks as f64));
        advance(&mut world, ticks);
        Field::of(&world).relative_error(&exact)
    };
    let source = "dense matrix: cos(t√A)Ψ₀ + sin(t√A)/√A Ψ̇₀, A = Σ∂_i†D^{ij}∂_j";
    vec![
        Case::number(
            "wave form, variable metric in 2-D, all components: order",
            source,
            2.0,
            (error(160) / error(320)).log2(),
            0.005,
        ),
        Case::defect(
            "wave form, variable metric in 2-D: error, 3,200 ticks to t = 1.6",
            source,
            error(3_200),
            1e-6,
        ),
    ]
}

/// A constant metric that is told node by node: the leapfrog against the exact flow, which differ by O(dt²).
fn agreement() -> Case {
    let scene = |dt: f64, is_told: bool| {
        let torus = torus(&[(Axis::X, 9, 4.0), (Axis::Z, 16, 6.0)]);
        let mut scene = wave(torus.clone(), dt);
        scene.wave.beta = -0.9;
        scene.damping = Profile::Uniform(0.3);
        scene.wave.diffusion[Axis::X.index()] = 1.4;
        scene.initial = initial(&torus, |p| polar(1.0 + 0.3 * (TAU * p[6] / 4.0).cos(), TAU * p[8] / 6.0));
        if is_told {
            let mut diagonal = [const { Profile::Uniform(1.0) }; 9];
            diagonal[Axis::X.index()] = profile(&torus, |_| 1.4);
            diagonal[Axis::Z.index()] = profile(&torus, |_| 1.0);
            scene.metric = Some(MetricProfile { diagonal, off_diagonal: Vec::new() });
        }
        scene
    };
    let apart = |dt: f64| {
        let [a, b] = [false, true].map(|is_told| {
            let mut world = build(&scene(dt, is_told));
            advance(&mut world, (1.6 / dt).round() as u64);
            Field::of(&world)
        });
        a.relative_error(&b)
    };
    let order = (apart(0.01) / apart(0.005)).log2();
    let case = "wave form: leapfrog against the exact flow on a constant metric told by node, order";
    Case::number(case, "both are of second order", 2.0, order, 0.01)
}

/// β, a damping that varies and a source on the 2-D metric.
pub fn driven(dt: f64) -> Setup {
    let mut scene = metric_2d(dt);
    scene.wave.beta = -0.9;
    scene.damping = profile(&scene.torus, |p| 0.7 * (1.0 + (TAU * p[6] / 6.0).cos()));
    scene.emitters = vec![Emitter {
        name: "source".into(),
        frequency_hz: 0.4,
        phase_turns: 0.1,
        amplitude: 1.5,
        profile: initial(&scene.torus, |p| ((-(p[6] * p[6] + p[7] * p[7])).exp(), 0.0)),
        envelope: Envelope::Window { start_secs: 0.0, end_secs: f64::INFINITY, rise_secs: 0.7 },
    }];
    scene
}

fn driven_order() -> Case {
    let field = |dt: f64| {
        let mut world = build(&driven(dt));
        advance(&mut world, (1.6 / dt).round() as u64);
        Field::of(&world)
    };
    let reference = field(1e-3 / 4.0);
    let error = |dt| {
        let off = |(a, b): (&(f64, f64), &(f64, f64))| (a.0 - b.0).hypot(a.1 - b.1);
        field(dt).values.iter().zip(&reference.values).map(off).fold(0.0, f64::max)
    };
    Case::number(
        "wave form, variable metric: pointwise order with β, Γ(x) and a source",
        "Störmer & Verlet: 2",
        2.0,
        (error(0.02) / error(0.01)).log2(),
        0.02,
    )
}

/// H swings with (ω dt)² and has no trend: the mean of the last tenth is that of the first.
fn trend() -> Case {
    let mut scene = metric_2d(0.02);
    scene.wave.beta = -0.7;
    let mut world = build(&scene);
    let mut energies = Vec::new();
    for _ in 0..20_000 {
        world.tick();
        energies.push(world.sample().energy);
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&energies[..2_000]), mean(&energies[18_000..]));
    Case::defect(
        "wave form, variable metric: mean energy of the last tenth of 20,000 ticks of 0.02, f64",
        "H of the lattice has no trend",
        (last / first - 1.0).abs(),
        3e-5,
    )
}

/// The same in single precision, where H is kept by measurement.
fn single_precision() -> Case {
    let mut scene = metric_2d(2e-3);
    scene.precision = Precision::F32;
    let mut world = build(&scene);
    let first = world.sample().energy;
    advance(&mut world, 100 * 1024);
    let drift = (world.sample().energy / first - 1.0).abs();
    let case = "wave form, variable metric: energy over 102,400 ticks of 2e-3, f32";
    Case::defect(case, "H of the lattice within its swing of (ω dt)²", drift, 2e-5)
}

fn reversible() -> Case {
    let mut scene = metric_2d(0.01);
    scene.wave.beta = -0.7;
    let mut world = build(&scene);
    let start = Field::of(&world);
    advance(&mut world, 1_000);
    let mut back = metric_2d(0.01);
    back.wave.beta = -0.7;
    back.initial = from_field(&back.torus, Field::of(&world));
    let mut turned = velocity(&world);
    turned.values.iter_mut().for_each(|x| *x = (-x.0, -x.1));
    back.equation = Equation::Wave { velocity: from_field(&back.torus, turned) };
    let mut world = build(&back);
    advance(&mut world, 1_000);
    Case::defect(
        "wave form, variable metric: 1,000 ticks forward and back with β",
        "exact: reversible",
        Field::of(&world).relative_error(&start),
        1e-11,
    )
}
