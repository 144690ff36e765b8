//! Three-node lines with D of their own: the propagator in closed form.
//!
//! Invariant: on three nodes A = ½∂†D∂ is the Laplacian of a triangle whose edge opposite node n has conductance
//! w_n = ½κ²D_n, κ = 2π/(3√3 h). Its non-zero eigenvalues are σ ± r, σ = Σw, r² = ½Σ(w_i − w_j)², so U − 1 is again a
//! triangle's Laplacian, with complex weights: ΣΨ is kept and no eigenvectors are needed.
//! Source: U = e^{−iτσ}[cos τr − i(sin τr / r)(A − σ)] on the complement of (1,1,1); Kirchhoff's matrix-tree theorem.

use crate::half_potential::Time;
use crate::simd::{Kernel, Lanes, Level, dispatch};
use crate::transcendental::sin_cosm1;

/// Lines whose weights are computed side by side.
pub(crate) const LINES: usize = 8;

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

/// The same for [`LINES`] lines, D of each node line after line; re and im of each edge, line after line.
pub(crate) fn weights_of_lines(
    level: Level,
    diffusion: &[[f64; LINES]; 3],
    spacing: f64,
    duration: f64,
    time: Time,
) -> [[f64; LINES]; 6] {
    let Time::Real = time else {
        let mut all = [[0.0; LINES]; 6];
        for line in 0..LINES {
            let [first, second, third] = diffusion;
            let edges = weights([first[line], second[line], third[line]], spacing, duration, time);
            for (edge, (re, im)) in edges.into_iter().enumerate() {
                (all[2 * edge][line], all[2 * edge + 1][line]) = (re, im);
            }
        }
        return all;
    };
    dispatch::<f64, _>(level, Weights { diffusion, spacing, duration })
}

/// Below this r is taken for it: sin(τr)/r is τ there.
const LEAST_RADIUS: f64 = 1e-290;

/// The weights of lines in real time.
struct Weights<'a> {
    diffusion: &'a [[f64; LINES]; 3],
    spacing: f64,
    duration: f64,
}

impl Kernel<f64> for Weights<'_> {
    type Out = [[f64; LINES]; 6];
    #[inline(always)]
    fn run<V: Lanes<T = f64>>(self) -> [[f64; LINES]; 6] {
        let Weights { diffusion, spacing, duration } = self;
        let kappa = slope(spacing);
        let half = V::splat(0.5 * kappa * kappa);
        let duration = V::splat(duration);
        // SAFETY: eight numbers each.
        let (w0, w1, w2) = unsafe {
            (
                V::load(diffusion[0].as_ptr()).mul(half),
                V::load(diffusion[1].as_ptr()).mul(half),
                V::load(diffusion[2].as_ptr()).mul(half),
            )
        };
        let sigma = w0.add(w1).add(w2);
        let (a, b, c) = (w0.sub(w1), w1.sub(w2), w2.sub(w0));
        let r = c.mul_add(c, b.mul_add(b, a.mul(a))).mul(V::splat(0.5)).sqrt().max(V::splat(LEAST_RADIUS));
        let (sin, e_re) = sin_cosm1(duration.mul(sigma));
        let e_im = sin.neg();
        let (sin, c) = sin_cosm1(duration.mul(r));
        let s = sin.div(r);
        // (1 + E)(1 + C + iσS) − 1 on the complement, and −i(1 + E)S on A.
        let x = sigma.mul(s);
        let a_re = e_im.neg_mul_add(x, e_re.mul_add(c, e_re.add(c)));
        let a_im = e_re.mul_add(x, e_im.mul_add(c, e_im.add(x)));
        let (b_re, b_im) = (e_im.mul(s), s.add(e_re.mul(s)).neg());
        let third = V::splat(-1.0 / 3.0);
        let (a_re, a_im) = (a_re.mul(third), a_im.mul(third));
        let mut all = [[0.0; LINES]; 6];
        for (edge, w) in [w2, w0, w1].into_iter().enumerate() {
            // SAFETY: eight numbers each.
            unsafe {
                b_re.neg_mul_add(w, a_re).store(all[2 * edge].as_mut_ptr());
                b_im.neg_mul_add(w, a_im).store(all[2 * edge + 1].as_mut_ptr());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_side_by_side_have_the_weights_of_each_and_the_same_bits_at_every_level() {
        let mut diffusion = [[0.0; LINES]; 3];
        for (node, d) in diffusion.iter_mut().enumerate() {
            for (line, d) in d.iter_mut().enumerate() {
                // The first line is uniform, the others ever less.
                *d = 1.0 + line as f64 * line as f64 * [0.0, 0.013, -0.007][node];
            }
        }
        for (duration, time) in [(2e-4, Time::Real), (0.7, Time::Real), (0.1, Time::Imaginary { mu: 0.0 })] {
            let reference = weights_of_lines(Level::Scalar, &diffusion, 0.8, duration, time);
            for level in Level::available() {
                assert_eq!(weights_of_lines(level, &diffusion, 0.8, duration, time), reference, "{level}");
            }
            for line in 0..LINES {
                let expected =
                    weights([0, 1, 2].map(|node: usize| diffusion[node][line]), 0.8, duration, time);
                for (edge, (re, im)) in expected.into_iter().enumerate() {
                    let found = (reference[2 * edge][line], reference[2 * edge + 1][line]);
                    let error = (found.0 - re).abs().max((found.1 - im).abs());
                    assert!(error < 1e-15 * (re.abs() + im.abs()).max(0.1), "{line} {duration}: {error:e}");
                }
            }
        }
    }
}
