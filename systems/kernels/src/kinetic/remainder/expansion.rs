//! The remainder as a device applies it: a Taylor series of exp(−iτR), cut where its next term is below the state's
//! rounding.
//!
//! Invariant: ‖R‖ ≤ Σ_{i<j} max|D^{ij}| k_i k_j with k the largest wavenumber of each axis. A step has ‖R‖τ ≤ 1 and its
//! first dropped term is at most [`TRUNCATION`], so the series is unitary to the rounding of single precision and no
//! inner product, hence no wait for the device, is needed. Lanczos vectors on the host solve the same equation.
//! Source: Moler & Van Loan, SIAM Rev. 45 (2003) 3, method 1 with scaling.

use super::Remainder;
use crate::backend::{Expansion, MetricWorld};
use crate::field::Real;
use crate::half_potential::Time;

/// Cells that changed no further apart than this are sent to a device in one stretch.
const RUN_GAP: usize = 16;

/// Bound of the first dropped term of a step.
const TRUNCATION: f64 = 1e-9;

impl<T: Real> Remainder<T> {
    /// The series for the application in `tick`, where one is due.
    pub fn due(&mut self, tick: u64) -> Option<Expansion> {
        self.is_due(tick).then(|| self.expansion())
    }

    /// A bound of ‖R‖.
    pub(super) fn bound(&mut self) -> f64 {
        let (pairs, wavenumbers) = (&self.pairs, &self.wavenumbers);
        *self.bound.get_or_insert_with(|| {
            pairs.iter().fold(0.0, |sum, pair| {
                let greatest = T::greatest(&pair.values).to_f64();
                sum + greatest * wavenumbers[pair.axes.0] * wavenumbers[pair.axes.1]
            })
        })
    }

    /// The series for one application.
    fn expansion(&mut self) -> Expansion {
        let whole = self.bound() * self.duration.abs();
        let n_steps = (libm::ceil(whole) as usize).max(1);
        let size = whole / n_steps as f64;
        let mut degree = 1;
        let mut next = 0.5 * size * size;
        while next > TRUNCATION {
            degree += 1;
            next *= size / (degree + 1) as f64;
        }
        let duration = -self.duration / n_steps as f64;
        let factor = match self.time {
            Time::Real => (0.0, duration),
            Time::Imaginary { .. } => (duration, 0.0),
        };
        self.counts.n_applied += 1;
        Expansion { n_steps, degree, factor }
    }

    /// Tells a device which axes are coupled, and D^{ij} of every cell.
    pub(crate) fn tell(&self, world: &mut MetricWorld) {
        world.coupled.clone_from(&self.coupled);
        (0..world.n_cells()).for_each(|cell| self.cell_pairs(cell, &mut world.off_diagonal));
    }

    /// Adds D^{ij} of the cells in `changed`, ascending, as stretches of [`MetricWorld::off_diagonal`].
    pub(crate) fn add_pairs(&self, changed: &[usize], stretches: &mut Vec<(usize, Vec<f32>)>) {
        let n = self.coupled.len();
        let n_pairs = n * n.saturating_sub(1) / 2;
        for run in changed.chunk_by(|a, b| *b <= a + RUN_GAP) {
            let mut values = Vec::new();
            (run[0]..=run[run.len() - 1]).for_each(|cell| self.cell_pairs(cell, &mut values));
            stretches.push((run[0] * n_pairs, values));
        }
    }

    /// Appends D^{ij} of `cell` for all pairs i < j of coupled axes, row by row; zero where the metric has none.
    fn cell_pairs(&self, cell: usize, out: &mut Vec<f32>) {
        let n = self.coupled.len();
        let first = out.len();
        out.resize(first + n * n.saturating_sub(1) / 2, 0.0);
        for pair in &self.pairs {
            let (i, j) = pair.axes;
            out[first + i * n - i * (i + 1) / 2 + j - i - 1] = pair.values[cell].to_f64() as f32;
        }
    }
}
