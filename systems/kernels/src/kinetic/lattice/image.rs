//! TE of a field, kept while D changes cell by cell. Invariant: a pure function of the field, D and the active set; see
//! [`super::Lattice::renew_image`]. Source: T is Hermitian, so that ⟨E, TΨ⟩ = ⟨TE, Ψ⟩.

use super::page_nodes;
use crate::field::{PageRef, Real, Values};
use crate::kinetic::gradient::Wide;

/// A field, its gradient and its image under T, kept while D changes cell by cell.
#[derive(Debug, Clone)]
pub struct Image {
    pub(super) field: Wide,
    pub(super) gradient: Vec<Wide>,
    /// Σ_j δ^{ij}∂_jE for each i.
    pub(super) flux: Vec<Wide>,
    /// The part of TE that does not depend on the cells.
    pub(super) fixed: Wide,
    /// TE.
    pub(super) image: Wide,
    pub(super) is_stale: Vec<bool>,
}

impl Image {
    /// E.
    pub fn field(&self) -> (&[f64], &[f64]) {
        (&self.field.re, &self.field.im)
    }

    /// TE.
    pub fn image(&self) -> (&[f64], &[f64]) {
        (&self.image.re, &self.image.im)
    }

    /// ⟨E, hΨ⟩ and ⟨E, Ψ⟩ over the active nodes, h = T + V + β|Ψ|², as (re, im, re, im).
    ///
    /// - equation: Σ conj(TE + (V + β|Ψ|²)E)·Ψ and Σ conj(E)·Ψ
    /// - source: T is Hermitian, V and β|Ψ|² are real
    /// - scheme and order: exact
    /// - stability bound: rounding of an f64 sum
    /// - bytes and flops per node: 32 + 3·size, 24 flops
    pub fn power<T: Real>(&self, pages: &[PageRef<'_, T>], potential: &Values<'_, T>, beta: f64) -> [f64; 4] {
        let nodes = page_nodes(pages);
        let mut sums = [0.0; 4];
        for (p, page) in pages.iter().enumerate() {
            let range = p * nodes..(p + 1) * nodes;
            let e = self.field.re[range.clone()].iter().zip(&self.field.im[range.clone()]);
            let te = self.image.re[range.clone()].iter().zip(&self.image.im[range]);
            let psi = page.re.iter().zip(page.im);
            for (i, (((re, im), (a, b)), (te_re, te_im))) in psi.zip(e).zip(te).enumerate() {
                let (re, im) = (re.to_f64(), im.to_f64());
                let v = match potential {
                    Values::Uniform(value) => value.to_f64(),
                    Values::PerNode(slices) => slices[p][i].to_f64(),
                };
                let local = v + beta * (re * re + im * im);
                let (h, g) = (te_re + local * a, te_im + local * b);
                sums[0] += h * re + g * im;
                sums[1] += h * im - g * re;
                sums[2] += a * re + b * im;
                sums[3] += a * im - b * re;
            }
        }
        sums
    }
}
