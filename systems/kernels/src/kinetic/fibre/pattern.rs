//! Propagators of many lines with the same active nodes, each with a D of its own.
//!
//! Invariant: those of [`super`] to rounding in double precision. A short step's angles are small, so its series needs a few
//! products of matrices and no eigenvectors; a truncated term is below the rounding of the increment, hence no norm leaks.
//! Source: Taylor series of exp(−iB) − 1, B = τA (Moler & Van Loan, SIAM Rev. 45 (2003) 3, method 1).

use super::{Fibre, derivative, increments};
use crate::field::Real;
use crate::half_potential::Time;

/// Above this bound of the angles, eigenvectors take less work than more terms.
const ANGLE_MAX: f64 = 0.5;

/// The first dropped term, relative to the first.
const TRUNCATION: f64 = 1e-17;

/// Which nodes of a ring are active, and ∂ from them to all nodes.
pub(crate) struct LinePattern {
    extent: usize,
    /// Active nodes in ring order.
    nodes: Vec<usize>,
    /// ∂ from every active node to node `k`: `nodes.len()` numbers for each `k`.
    slopes: Vec<f64>,
    /// ½·(Nyquist wavenumber)²/n² where the ring has such a mode.
    nyquist: f64,
}

impl LinePattern {
    /// Of a ring whose active nodes are marked.
    pub fn new(spacing: f64, active: &[bool]) -> Self {
        let n = active.len();
        let nodes: Vec<usize> = (0..n).filter(|&node| active[node]).collect();
        let slope: Vec<f64> = (0..n).map(|offset| derivative(n, offset, spacing)).collect();
        let slopes =
            (0..n).flat_map(|k| nodes.iter().map(move |p| (k + n - p) % n)).map(|offset| slope[offset]);
        let k = core::f64::consts::PI / spacing;
        let nyquist = if n.is_multiple_of(2) { 0.5 * k * k / (n * n) as f64 } else { 0.0 };
        Self { extent: n, slopes: slopes.collect(), nodes, nyquist }
    }

    /// exp(−i·duration·A) − 1 with D on every node of the ring. Panics if D has another length.
    pub fn fibre<T: Real>(&self, diffusion: &[f64], duration: f64) -> Fibre<T> {
        let m = self.nodes.len();
        let angles = self.angles(diffusion, duration);
        let rows = angles.chunks_exact(m.max(1));
        let bound = rows.fold(0.0, |most: f64, row| most.max(row.iter().map(|x| x.abs()).sum()));
        let (mut re, mut im) = if bound < ANGLE_MAX {
            series(&angles, m, bound)
        } else {
            increments(angles, m, 1.0, Time::Real)
        };
        // A product is symmetric but for its rounding.
        for i in 0..m {
            for j in 0..i {
                (re[i * m + j], im[i * m + j]) = (re[j * m + i], im[j * m + i]);
            }
        }
        let round = |x: Vec<f64>| x.into_iter().map(T::from_f64).collect();
        Fibre { m, re: round(re), im: round(im) }
    }

    /// duration·A over the active nodes, row-major; see [`super::FibreLine::hamiltonian`].
    fn angles(&self, diffusion: &[f64], duration: f64) -> Vec<f64> {
        assert_eq!(diffusion.len(), self.extent, "D on every node");
        let m = self.nodes.len();
        let mut angles = vec![0.0; m * m];
        for (k, d) in diffusion.iter().enumerate() {
            let slopes = &self.slopes[k * m..][..m];
            let factor = 0.5 * duration * d;
            for (slope, row) in slopes.iter().zip(angles.chunks_exact_mut(m)) {
                add_scaled(row, factor * slope, slopes);
            }
        }
        if self.nyquist > 0.0 {
            let mode = duration * self.nyquist * diffusion.iter().sum::<f64>();
            for (i, p) in self.nodes.iter().enumerate() {
                for (j, q) in self.nodes.iter().enumerate() {
                    angles[i * m + j] += if (p + q).is_multiple_of(2) { mode } else { -mode };
                }
            }
        }
        angles
    }
}

/// exp(−iB) − 1 of a real symmetric m × m matrix whose eigenvalues are at most `bound`.
fn series(b: &[f64], m: usize, bound: f64) -> (Vec<f64>, Vec<f64>) {
    let (mut re, mut im) = (vec![0.0; m * m], vec![0.0; m * m]);
    let (mut power, mut next) = (b.to_vec(), vec![0.0; m * m]);
    let (mut size, mut degree) = (bound, 1);
    loop {
        // (−i)^k: −i, −1, i, 1.
        let sign = if degree % 4 == 1 || degree % 4 == 2 { -1.0 } else { 1.0 };
        add_scaled(if degree % 2 == 1 { &mut im } else { &mut re }, sign, &power);
        degree += 1;
        size *= bound / f64::from(degree);
        if size <= TRUNCATION * bound {
            break;
        }
        next.fill(0.0);
        for (row, to) in power.chunks_exact(m).zip(next.chunks_exact_mut(m)) {
            for (x, of_b) in row.iter().zip(b.chunks_exact(m)) {
                add_scaled(to, x / f64::from(degree), of_b);
            }
        }
        std::mem::swap(&mut power, &mut next);
    }
    (re, im)
}

/// to ← to + factor·x.
fn add_scaled(to: &mut [f64], factor: f64, x: &[f64]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += factor * x);
}

#[cfg(test)]
mod tests {
    use super::super::FibreLine;
    use super::*;

    #[test]
    fn the_series_is_what_the_eigenvectors_give() {
        // Odd and even rings, cut and whole; the longest step is beyond the series.
        for (n, cut) in [(27, 12), (27, 27), (12, 6), (9, 3)] {
            let active: Vec<bool> = (0..n).map(|node| node < cut || node == cut + 4).collect();
            let diffusion: Vec<f64> = (0..n).map(|node| 1.0 + 0.1 * (node * node % 7) as f64).collect();
            let pattern = LinePattern::new(0.7, &active);
            for duration in [1e-3, 0.02, 0.3] {
                let found = pattern.fibre::<f64>(&diffusion, duration);
                let line = FibreLine { spacing: 0.7, diffusion: &diffusion, active: Some(&active) };
                let expected = Fibre::<f64>::new(&line, duration, Time::Real);
                assert_eq!(found.nodes(), expected.nodes());
                for i in 0..found.nodes() {
                    for j in 0..found.nodes() {
                        let (a, b) = (found.entry(i, j), expected.entry(i, j));
                        assert!((a.0 - b.0).abs() < 1e-13 && (a.1 - b.1).abs() < 1e-13, "{n} {duration}");
                        assert_eq!(a, found.entry(j, i));
                    }
                }
            }
        }
    }
}
