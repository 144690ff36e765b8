//! TE of a field, kept while D changes cell by cell. Invariant: a pure function of the field, D and the active set; see
//! [`super::Lattice::renew_image`]. Source: T is Hermitian, so that ⟨E, TΨ⟩ = ⟨TE, Ψ⟩.

use super::page_nodes;
use crate::field::{PageRef, Real, Values};
use crate::kinetic::gradient::Wide;

/// Sums that are under way side by side.
const LANES: usize = 8;

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
    /// TE before D last changed, where the torus is all there.
    pub(super) before: Wide,
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
        // Sums side by side: one alone would wait for each addition.
        let mut sums = [[0.0; LANES]; 4];
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
                let lane = i % LANES;
                sums[0][lane] += h * re + g * im;
                sums[1][lane] += h * im - g * re;
                sums[2][lane] += a * re + b * im;
                sums[3][lane] += a * im - b * re;
            }
        }
        sums.map(|lanes| lanes.iter().sum())
    }

    /// ⟨TE now − TE before, Ψ⟩ as (re, im).
    pub(super) fn change<T: Real>(&self, pages: &[PageRef<'_, T>]) -> (f64, f64) {
        let mut sums = [[0.0; LANES]; 2];
        let mut first = 0;
        for page in pages {
            let range = first..first + page.re.len();
            first = range.end;
            let now = self.image.re[range.clone()].iter().zip(&self.image.im[range.clone()]);
            let then = self.before.re[range.clone()].iter().zip(&self.before.im[range]);
            let psi = page.re.iter().zip(page.im);
            for (i, (((a, b), (c, d)), (x, y))) in now.zip(then).zip(psi).enumerate() {
                let (re, im, x, y) = (a - c, b - d, x.to_f64(), y.to_f64());
                sums[0][i % LANES] += re * x + im * y;
                sums[1][i % LANES] += re * y - im * x;
            }
        }
        let [re, im] = sums.map(|lanes| lanes.iter().sum());
        (re, im)
    }
}
