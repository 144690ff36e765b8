//! Ground states of harmonic traps by normalised gradient flow, against published chemical potentials.
//! Source: ω = 1, norm 1; values of Bao, Jaksch & Markowich, J. Comput. Phys. 187 (2003) 318, in more digits.

use super::Case;
use crate::lab::{Field, Position};
use crate::lab::{advance, build, from_field, initial, profile, setup, torus};
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::setup::TimeMode;

/// (axes, β, μ, nodes per axis, box length)
const PUBLISHED: [(usize, f64, f64, usize, f64); 7] = [
    (1, 3.1371, 1.526_594_50, 128, 20.0),
    (1, 62.742, 10.369_463_31, 256, 24.0),
    (1, 627.42, 48.024_469_70, 512, 32.0),
    (2, 10.0, 2.063_751_91, 64, 14.0),
    (2, 500.0, 12.678_319_30, 128, 18.0),
    (3, 125.6637, 4.016_111_94, 48, 14.0),
    (3, 1256.6371, 9.473_054_43, 48, 15.0),
];

/// All published ground states.
pub fn cases() -> Vec<Case> {
    PUBLISHED
        .iter()
        .map(|&(axes, beta, mu, extent, length)| ground_state(axes, beta, mu, extent, length))
        .collect()
}

/// The cheap ones, for the test run.
pub fn short_cases() -> Vec<Case> {
    PUBLISHED[..4]
        .iter()
        .map(|&(axes, beta, mu, extent, length)| ground_state(axes, beta, mu, extent, length))
        .collect()
}

fn ground_state(n_axes: usize, beta: f64, mu: f64, extent: usize, length: f64) -> Case {
    let axes = &[Axis::X, Axis::Y, Axis::Z][..n_axes];
    let torus = torus(&axes.iter().map(|&axis| (axis, extent, length)).collect::<Vec<_>>());
    let radius2 = |p: &Position| p[6] * p[6] + p[7] * p[7] + p[8] * p[8];
    let mut scene = setup(torus.clone(), 0.0);
    scene.wave.time = TimeMode::Imaginary;
    scene.wave.beta = beta;
    scene.norm = Some(1.0);
    scene.potential = profile(&torus, move |p| 0.5 * radius2(p));
    // A Thomas–Fermi-like start: as wide as the published μ says, with a soft edge.
    let wide = (2.0 * mu).sqrt();
    scene.initial = initial(&torus, move |p| (1.0 / (1.0 + (radius2(p) / (0.5 * wide * wide)).powi(3)), 0.0));
    let mut found = 0.0;
    for (tau, duration) in [(2e-2, 6.0), (5e-3, 4.0), (1e-3, 1.0)] {
        scene.wave.dt = tau;
        let mut world = build(&scene);
        advance(&mut world, (duration / tau) as u64);
        found = world.sample().mu;
        scene.initial = from_field(&torus, Field::of(&world));
    }
    Case::number(
        format!("ground state of a {n_axes}-D trap, β = {beta}: μ"),
        "published (Bao, Jaksch & Markowich 2003, converged)",
        mu,
        found,
        1e-6,
    )
}
