//! Three-node lines with D of their own: the propagator in closed form.
//!
//! Invariant: on three nodes A = ½∂†D∂ is the Laplacian of a triangle whose edge opposite node n has conductance
//! w_n = ½κ²D_n, κ = 2π/(3√3 h). Its non-zero eigenvalues are σ ± r, σ = Σw, r² = ½Σ(w_i − w_j)², so U − 1 is again a
//! triangle's Laplacian, with complex weights: ΣΨ is kept and no eigenvectors are needed.
//! Source: U = e^{−iτσ}[cos τr − i(sin τr / r)(A − σ)] on the complement of (1,1,1); Kirchhoff's matrix-tree theorem.

use crate::half_potential::Time;

/// ∂_{j,j+1} = −∂_{j,j−1} on a ring of three nodes.
pub(crate) fn slope(spacing: f64) -> f64 {
    core::f64::consts::TAU / (3.0 * spacing * 3.0_f64.sqrt())
}

/// The nodes after and before a node on its ring of three.
pub(crate) fn beside(node: usize, stride: usize) -> [usize; 2] {
    let coordinate = node / stride % 3;
    let first = node - coordinate * stride;
    [first + (coordinate + 1) % 3 * stride, first + (coordinate + 2) % 3 * stride]
}

/// Complex weights of the edges (0,1), (1,2), (2,0) of U − 1, for D on the nodes 0, 1, 2.
pub(crate) fn weights(diffusion: [f64; 3], spacing: f64, duration: f64, time: Time) -> [(f64, f64); 3] {
    let kappa = slope(spacing);
    let [w0, w1, w2] = diffusion.map(|d| 0.5 * kappa * kappa * d);
    let sigma = w0 + w1 + w2;
    let apart = [w0 - w1, w1 - w2, w2 - w0];
    let r = libm::sqrt(0.5 * apart.iter().fold(0.0, |sum, x| sum + x * x));
    match time {
        Time::Real => {
            // e^{−iτσ} − 1, cos τr − 1 and sin(τr)/r from half the angles, each without cancellation.
            let (sin, cos) = libm::sincos(0.5 * duration * sigma);
            let (e_re, e_im) = (-2.0 * sin * sin, -2.0 * sin * cos);
            let (sin, cos) = libm::sincos(0.5 * duration * r);
            let c = -2.0 * sin * sin;
            let s = if r * duration.abs() < 1e-9 { duration } else { 2.0 * sin * cos / r };
            // (1 + E)(1 + C + iσS) − 1 on the complement, and −i(1 + E)S on A.
            let x = sigma * s;
            let (a_re, a_im) = (e_re + c + e_re * c - e_im * x, e_im + x + e_im * c + e_re * x);
            let (b_re, b_im) = (e_im * s, -(1.0 + e_re) * s);
            [w2, w0, w1].map(|w| (-a_re / 3.0 - b_re * w, -a_im / 3.0 - b_im * w))
        }
        Time::Imaginary { .. } => {
            let e = libm::expm1(-duration * sigma);
            let half = libm::sinh(0.5 * duration * r);
            let c = 2.0 * half * half;
            let s = if r * duration.abs() < 1e-9 { duration } else { libm::sinh(duration * r) / r };
            let a = e + (1.0 + e) * (c + sigma * s);
            let b = -(1.0 + e) * s;
            [w2, w0, w1].map(|w| (-a / 3.0 - b * w, 0.0))
        }
    }
}
