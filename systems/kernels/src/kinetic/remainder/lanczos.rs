//! The Lanczos iteration on fields that lie cell after cell. Invariant: that of `remainder.rs`; a vector whose weight is below the
//! rounding of a step is not computed, nor is what only it would need. Source: the module's.

use super::{BASIS, Pair, Remainder};
use crate::field::{Real, Threads};
use crate::half_potential::Planes;
use crate::simd::Level;

/// Weight of a vector of the basis that is lost in a step, in roundings.
const LOST: f64 = 0.125;

/// R on fields that lie cell after cell.
pub(super) trait ByCells<T>: Send + Sync {
    /// image ← R·source − share·before; returns Re⟨source|image⟩.
    fn apply(
        &mut self,
        level: Level,
        threads: Threads<'_>,
        fields: (Planes<T>, Planes<T>),
        less: Option<(Planes<T>, f64)>,
    ) -> f64;

    /// Re⟨field|R·field⟩.
    fn power(&self, level: Level, threads: Threads<'_>, field: Planes<T>) -> f64;

    /// image ← image − share·field; returns its ‖·‖².
    fn take(&self, level: Level, threads: Threads<'_>, image: Planes<T>, share: (Planes<T>, f64)) -> f64;

    /// A field from one node after node, page by page.
    fn pack(&self, level: Level, threads: Threads<'_>, nodes: &[Planes<T>], field: Planes<T>);

    /// Adds Σ weight·field to one node after node, page by page.
    fn unpack(
        &self,
        level: Level,
        threads: Threads<'_>,
        fields: (&[Planes<T>], &[(f64, f64)]),
        nodes: &[Planes<T>],
    );

    /// Takes over D^{ij} of some cells.
    fn renew(&mut self, pairs: &[Pair<T>], cells: &[usize]);

    /// Numbers of a field.
    fn field_len(&self) -> usize;

    /// Bytes of the tables and of the fields between chunks.
    fn bytes(&self) -> usize;
}

impl<T: Real> Remainder<T> {
    /// [`Remainder::apply`] cell by cell, for Ψ of this norm. Vectors are kept as they come, with their norms beside, so that no pass
    /// is spent on scaling; of the last one only its energy is needed, which takes no divergence.
    pub(super) fn apply_by_cells(
        &mut self,
        level: Level,
        threads: Threads<'_>,
        psi: &[Planes<T>],
        size: f64,
    ) {
        // No vector adds more than this times the one before, over its number.
        let most = self.bound() * self.duration.abs();
        let Some(mut by_cells) = self.by_cells.take() else { return };
        let n = by_cells.field_len();
        let fields: Vec<Planes<T>> = self.basis.iter_mut().map(|field| field.aligned(n)).collect();
        let mut matrix = [0.0; BASIS * BASIS];
        let mut norms = [size; BASIS];
        let mut reach = 1.0;
        let mut n_basis = self.rule.vectors;
        by_cells.pack(level, threads, psi, fields[0]);
        for k in 0..self.rule.vectors {
            // R·v_k = v_{k+1} + α_k·v_k + (|v_k|/|v_{k−1}|)²·v_{k−1}.
            let is_next_lost = reach * most / (k + 1) as f64 <= LOST * T::EPSILON;
            if is_next_lost || k + 1 == self.rule.vectors {
                n_basis = k + 1;
                matrix[k * BASIS + k] = by_cells.power(level, threads, fields[k]) / (norms[k] * norms[k]);
                break;
            }
            let less = (k > 0).then(|| (fields[k - 1], (norms[k] / norms[k - 1]).powi(2)));
            let next = fields[k + 1];
            let alpha = by_cells.apply(level, threads, (fields[k], next), less) / (norms[k] * norms[k]);
            matrix[k * BASIS + k] = alpha;
            norms[k + 1] = by_cells.take(level, threads, next, (fields[k], alpha)).sqrt();
            let beta = norms[k + 1] / norms[k];
            reach *= beta * self.duration.abs() / (k + 1) as f64;
            if reach.is_nan() || reach <= LOST * T::EPSILON || beta <= f64::EPSILON * alpha.abs() {
                n_basis = k + 1;
                break;
            }
            matrix[k * BASIS + k + 1] = beta;
            matrix[(k + 1) * BASIS + k] = beta;
        }
        let mut weights = self.weights(matrix, n_basis);
        self.counts.residual = weights[self.rule.vectors - 1].0.hypot(weights[self.rule.vectors - 1].1);
        for ((re, im), norm) in weights.iter_mut().zip(&norms) {
            (*re, *im) = (*re * size / norm, *im * size / norm);
        }
        by_cells.unpack(level, threads, (&fields[..n_basis], &weights[..n_basis]), psi);
        self.by_cells = Some(by_cells);
    }
}
