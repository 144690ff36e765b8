//! The log-Euclidean mean of metric tensors: what a new cell is given by its neighbours.
//!
//! Invariant: the mean of positive definite tensors is positive definite, its determinant lies between theirs, and the
//! mean of inverses is the inverse of the mean. Source: Arsigny, Fillard, Pennec & Ayache, Magn. Reson. Med. 56 (2006) 411.

use super::{component, n_components};
use crate::kinetic::fibre::diagonalise;

/// exp(Σ w log g / Σ w) of packed positive definite tensors over `axes` axes; none where there is no tensor. Equal tensors
/// are given back as they are.
///
/// - equation: as above, log and exp by eigenvalues
/// - source: the module's
/// - scheme and order: exact
/// - stability bound: relative rounding of the condition number
/// - bytes and flops: about 40 n³ per tensor
pub fn log_mean(axes: usize, tensors: &[(f64, Vec<f64>)]) -> Option<Vec<f64>> {
    let (_, first) = tensors.first()?;
    if tensors.iter().all(|(_, tensor)| tensor == first) {
        return Some(first.clone());
    }
    let total: f64 = tensors.iter().map(|(weight, _)| weight).sum();
    let mut sum = vec![0.0; n_components(axes)];
    for (weight, tensor) in tensors {
        let log = of_eigenvalues(axes, tensor, libm::log);
        sum.iter_mut().zip(log).for_each(|(sum, x)| *sum += weight / total * x);
    }
    Some(of_eigenvalues(axes, &sum, libm::exp))
}

/// f(g) of a symmetric tensor.
fn of_eigenvalues(axes: usize, g: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
    let at = |i: usize, j: usize| component(axes, i.min(j), i.max(j));
    let mut matrix: Vec<f64> = (0..axes * axes).map(|ij| g[at(ij / axes, ij % axes)]).collect();
    let vectors = diagonalise(&mut matrix, axes);
    let mut out = vec![0.0; n_components(axes)];
    for e in 0..axes {
        let value = f(matrix[e * axes + e]);
        let v = &vectors[e * axes..(e + 1) * axes];
        for i in 0..axes {
            for j in i..axes {
                out[component(axes, i, j)] += value * (v[i] * v[j]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commuting_tensors_have_the_geometric_mean_of_their_eigenvalues() {
        // [2 1; 1 2] has eigenvalues 3 and 1 on (1, ±1); [5 -3; -3 5] has 2 and 8.
        let mean =
            log_mean(2, &[(1.0, vec![2.0, 1.0, 2.0]), (3.0, vec![5.0, -3.0, 5.0])]).expect("two tensors");
        let (a, b) = (libm::pow(3.0, 0.25) * libm::pow(2.0, 0.75), libm::pow(8.0, 0.75));
        let expected = [0.5 * (a + b), 0.5 * (a - b), 0.5 * (a + b)];
        for (found, expected) in mean.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-14, "{mean:?}");
        }
    }

    #[test]
    fn one_tensor_is_its_own_mean_bit_for_bit_and_none_has_none() {
        let g = vec![1.3, 0.2, -0.1, 0.9, 0.05, 1.1];
        assert_eq!(log_mean(3, &[(0.5, g.clone()), (1.0, g.clone())]), Some(g));
        assert_eq!(log_mean(3, &[]), None);
    }

    #[test]
    fn the_mean_of_inverses_is_the_inverse_of_the_mean() {
        let inverse = |g: &[f64]| {
            let det = g[0] * g[2] - g[1] * g[1];
            vec![g[2] / det, -g[1] / det, g[0] / det]
        };
        let tensors = [(1.0, vec![2.0, 0.3, 1.0]), (2.0, vec![0.7, -0.2, 1.5])];
        let mean = log_mean(2, &tensors).expect("two tensors");
        let of_inverses = tensors.clone().map(|(w, g)| (w, inverse(&g)));
        let other = log_mean(2, &of_inverses).expect("two tensors");
        for (a, b) in inverse(&mean).iter().zip(other) {
            assert!((a - b).abs() < 1e-13);
        }
        let det = |g: &[f64]| g[0] * g[2] - g[1] * g[1];
        let expected = libm::pow(det(&tensors[0].1), 1.0 / 3.0) * libm::pow(det(&tensors[1].1), 2.0 / 3.0);
        assert!((det(&mean) - expected).abs() < 1e-13, "determinants have the weighted geometric mean");
    }
}
