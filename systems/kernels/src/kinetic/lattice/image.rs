//! TE of a field, kept while D changes cell by cell. Invariant: a pure function of the field, D and the active set; see
//! [`super::Lattice::renew_image`]. Source: T is Hermitian, so that ⟨E, TΨ⟩ = ⟨TE, Ψ⟩.

#![allow(unsafe_code)] // Vector loads through pointers.

use super::page_nodes;
use super::rings::Follow;
use crate::field::{PageRef, Real, Values};
use crate::kinetic::gradient::Wide;
use crate::simd::accumulate::total;
use crate::simd::{Kernel, Lanes, Level, SimdReal};

/// Sums that are under way side by side.
const LANES: usize = 8;

/// Nodes that are looked at together, where any of them matters.
const BLOCK: usize = 16;

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
    /// On rings of three nodes: what TE follows D by.
    pub(super) follow: Option<Follow>,
    /// First nodes of the blocks, each within a page, on which E or TE can be other than nothing.
    pub(super) blocks: Vec<u32>,
}

/// First nodes of the blocks of pages of `page_nodes` nodes, of `n_nodes` in all, that have a node that `is_near`.
pub(super) fn blocks(n_nodes: usize, page_nodes: usize, is_near: impl Fn(usize) -> bool) -> Vec<u32> {
    let pages = (0..n_nodes).step_by(page_nodes.max(1));
    let of_page = |page: usize| (page..page + page_nodes).step_by(BLOCK).map(move |node| (page, node));
    pages
        .flat_map(of_page)
        .filter(|&(page, node)| (node..(node + BLOCK).min(page + page_nodes)).any(&is_near))
        .map(|(_, node)| node as u32)
        .collect()
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
    /// - bytes and flops per node: 32 + 3·size, 24 flops; nodes far from E are not looked at
    pub fn power<T: Real>(&self, pages: &[PageRef<'_, T>], potential: &Values<'_, T>, beta: f64) -> [f64; 4] {
        let n_nodes: usize = pages.iter().map(|page| page.re.len()).sum();
        let is_alike =
            |page: &PageRef<'_, T>| page.re.len() == pages[0].re.len() && page.im.len() == page.re.len();
        assert!(n_nodes == self.field.re.len() && pages.iter().all(is_alike), "a number per active node");
        if let Values::PerNode(slices) = potential {
            let has_all = slices.iter().zip(pages).all(|(slice, page)| slice.len() == page.re.len());
            assert!(slices.len() == pages.len() && has_all, "V on every node");
        }
        T::image_power(Level::detect(), ImagePower { image: self, pages, potential: *potential, beta })
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

/// The sums of [`Image::power`]. Built only with pages and values of the image's nodes.
pub struct ImagePower<'a, T: SimdReal> {
    image: &'a Image,
    pages: &'a [PageRef<'a, T>],
    potential: Values<'a, T>,
    beta: f64,
}

impl<T: Real> Kernel<T> for ImagePower<'_, T> {
    type Out = [f64; 4];
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> [f64; 4] {
        let ImagePower { image, pages, potential, beta } = self;
        let nodes = page_nodes(pages);
        let zero = V::Wide::splat(0.0);
        let beta = V::Wide::splat(beta);
        let (mut h_re, mut h_im, mut e_re, mut e_im) = (zero, zero, zero, zero);
        for &first in &image.blocks {
            let (page, at) = (first as usize / nodes, first as usize % nodes);
            let of_block = BLOCK.min(nodes - at);
            for k in (0..of_block).step_by(V::N) {
                let (n, at) = (V::N.min(of_block - k), at + k);
                // SAFETY: the block is inside its page; every plane has the image's nodes.
                unsafe {
                    let re = V::load_n(pages[page].re.as_ptr().add(at), n);
                    let im = V::load_n(pages[page].im.as_ptr().add(at), n);
                    let v = match potential {
                        Values::Uniform(value) => V::splat(value),
                        Values::PerNode(slices) => V::load_n(slices[page].as_ptr().add(at), n),
                    };
                    for half in 0..n.div_ceil(V::Wide::N) {
                        let n = V::Wide::N.min(n - half * V::Wide::N);
                        let node = first as usize + k + half * V::Wide::N;
                        let (re, im) = (re.widen(half), im.widen(half));
                        let (a, b) = wide_at::<V::Wide>(&image.field, node, n);
                        let (te_re, te_im) = wide_at::<V::Wide>(&image.image, node, n);
                        let local = im.mul_add(im, re.mul(re)).mul_add(beta, v.widen(half));
                        let (h, g) = (local.mul_add(a, te_re), local.mul_add(b, te_im));
                        h_re = g.mul_add(im, h.mul_add(re, h_re));
                        h_im = g.neg_mul_add(re, h.mul_add(im, h_im));
                        e_re = b.mul_add(im, a.mul_add(re, e_re));
                        e_im = b.neg_mul_add(re, a.mul_add(im, e_im));
                    }
                }
            }
        }
        [total(h_re), total(h_im), total(e_re), total(e_im)]
    }
}

/// `n` nodes of a field from `node` on.
///
/// # Safety
/// The field has them.
#[inline(always)]
unsafe fn wide_at<W: Lanes<T = f64>>(field: &Wide, node: usize, n: usize) -> (W, W) {
    // SAFETY: says the caller.
    unsafe { (W::load_n(field.re.as_ptr().add(node), n), W::load_n(field.im.as_ptr().add(node), n)) }
}
