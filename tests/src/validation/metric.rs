//! Metrics that vary in space against the exponential of the dense matrix.
//! Invariant: the dense matrix is written down from the definition, ½ Σ_ij ∂_i† D^{ij} ∂_j with Fourier derivatives.

use super::Case;
use crate::lab::{Field, advance, build, initial, profile, setup, torus};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::metric::MetricProfile;
use nikola_engine::systems::components::setup::{Integrator, Setup};
use nikola_engine::systems::kernels::kinetic::fibre::{derivative, diagonalise};

const EXTENT: usize = 9;
/// Nodes of the 2-D metric.
pub(super) const NODES: usize = EXTENT * EXTENT;
const LENGTH: f64 = 6.0;

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = orders();
    cases.push(norm());
    cases.push(energy());
    cases
}

fn components(x: f64, y: f64) -> [f64; 3] {
    let k = std::f64::consts::TAU / LENGTH;
    [
        1.0 + 0.4 * (k * x).cos() * (k * y).sin(),
        1.2 + 0.3 * (k * (x + y)).sin(),
        0.35 * (k * y).cos() + 0.1 * (k * x).sin(),
    ]
}

/// The closed scene on the 2-D metric, Schrödinger form.
pub(super) fn scene(dt: f64, integrator: Integrator) -> Setup {
    let torus = torus(&[(Axis::X, EXTENT, LENGTH), (Axis::Y, EXTENT, LENGTH)]);
    let mut scene = setup(torus.clone(), dt);
    scene.wave.integrator = integrator;
    let component = |c: usize| profile(&torus, move |p| components(p[6], p[7])[c]);
    let mut diagonal = [const { Profile::Uniform(1.0) }; 9];
    diagonal[Axis::X.index()] = component(0);
    diagonal[Axis::Y.index()] = component(1);
    scene.metric = Some(MetricProfile { diagonal, off_diagonal: vec![(Axis::X, Axis::Y, component(2))] });
    scene.initial = initial(&torus, |p| {
        let bump = (-0.5 * (p[6] * p[6] + p[7] * p[7])).exp();
        (bump * (1.3 * p[6]).cos() + 0.2, bump * (0.7 * p[7]).sin())
    });
    scene
}

/// Eigenvalues and eigenvectors (row after row) of the dense T; Ψ in canonical order.
pub(super) fn modes() -> (Vec<f64>, Vec<f64>) {
    let spacing = LENGTH / EXTENT as f64;
    let position = |i: usize| -0.5 * LENGTH + i as f64 * spacing;
    // (∂_d)_{node, other} with node = (x, y).
    let slope = |d: usize, node: usize, other: usize| {
        let (a, b) = ([node / EXTENT, node % EXTENT], [other / EXTENT, other % EXTENT]);
        let offset = (a[d] + EXTENT - b[d]) % EXTENT;
        if a[1 - d] == b[1 - d] { derivative(EXTENT, offset, spacing) } else { 0.0 }
    };
    let mut matrix = vec![0.0; NODES * NODES];
    for node in 0..NODES {
        let [xx, yy, xy] = components(position(node / EXTENT), position(node % EXTENT));
        for a in 0..NODES {
            for b in 0..NODES {
                let (ax, ay) = (slope(0, node, a), slope(1, node, a));
                let (bx, by) = (slope(0, node, b), slope(1, node, b));
                matrix[a * NODES + b] += 0.5 * (xx * ax * bx + yy * ay * by + xy * (ax * by + ay * bx));
            }
        }
    }
    let vectors = diagonalise(&mut matrix, NODES);
    ((0..NODES).map(|e| matrix[e * NODES + e]).collect(), vectors)
}

/// exp(−itT)Ψ₀ from the eigenvectors of the dense T.
fn exact(t: f64) -> Field {
    let (values, vectors) = modes();
    let start = Field::of(&build(&scene(1.0, Integrator::Strang)));
    let mut end = Field { values: vec![(0.0, 0.0); NODES] };
    for (e, vector) in vectors.chunks_exact(NODES).enumerate() {
        let (sin, cos) = (values[e] * t).sin_cos();
        let (re, im) = vector
            .iter()
            .zip(&start.values)
            .fold((0.0, 0.0), |(re, im), (v, psi)| (re + v * psi.0, im + v * psi.1));
        for (v, psi) in vector.iter().zip(&mut end.values) {
            psi.0 += v * (cos * re + sin * im);
            psi.1 += v * (cos * im - sin * re);
        }
    }
    end
}

/// Order between two halvings of the step, for both integrators that keep their order.
fn orders() -> Vec<Case> {
    let t = 0.8;
    let exact = exact(t);
    let error = |ticks: u64, integrator| {
        let mut world = build(&scene(t / ticks as f64, integrator));
        advance(&mut world, ticks);
        Field::of(&world).relative_error(&exact)
    };
    let order = |integrator, ticks: u64| (error(ticks, integrator) / error(2 * ticks, integrator)).log2();
    let source = "dense matrix exponential of ½Σ∂_i†D^{ij}∂_j";
    vec![
        Case::number(
            "variable metric in 2-D, all components: order of Strang",
            source,
            2.0,
            order(Integrator::Strang, 80),
            0.005,
        ),
        Case::number(
            "variable metric in 2-D: order of Yoshida4",
            source,
            4.0,
            order(Integrator::Yoshida4, 40),
            0.02,
        ),
        Case::defect(
            "variable metric in 2-D: error of Strang, 320 ticks to t = 0.8",
            source,
            error(320, Integrator::Strang),
            2e-5,
        ),
    ]
}

/// Norm over 2,000 ticks.
fn norm() -> Case {
    let mut world = build(&scene(5e-3, Integrator::Strang));
    let before = world.sample().norm;
    let worst = (0..20).fold(0.0_f64, |worst, _| {
        advance(&mut world, 100);
        worst.max((world.sample().norm / before - 1.0).abs())
    });
    Case::defect("variable metric in 2-D: norm over 2,000 ticks", "each factor is unitary", worst, 1e-13)
}

/// Energy over 2,000 ticks: the palindrome conserves a neighbour of H, so the error stays where it is.
fn energy() -> Case {
    let drift = |dt: f64, ticks: u64| {
        let mut world = build(&scene(dt, Integrator::Strang));
        let before = world.sample().energy;
        (0..10).fold(0.0_f64, |worst, _| {
            advance(&mut world, ticks / 10);
            worst.max((world.sample().energy / before - 1.0).abs())
        })
    };
    let (whole, half) = (drift(5e-3, 2_000), drift(2.5e-3, 4_000));
    Case::number(
        "variable metric in 2-D: order of the energy error",
        "backward error analysis",
        2.0,
        (whole / half).log2(),
        0.02,
    )
}
