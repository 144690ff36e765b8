//! Spectral moments along axes of extent 3, in closed form and in vectors.
//! Invariant: pages (or triples of pages) are the chunks, lanes are folded in a fixed order: the same bits for any number
//! of threads and any SIMD level. Source: the spectrum of a ring of three, by hand; Parseval.

use super::{SpectralMoments, fold, halves, load};
use crate::field::{PageRef, Real, Shape, Threads};
use crate::simd::{Kernel, Lanes, Level};
use crate::threads::map_chunks;

/// Strides below this are read with a mask over the first nodes of lines, longer ones as runs of neighbours.
const MIN_RUN: usize = 27;

/// One storage run: the first, second and third nodes of rings at the same offset of three slices.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct RingRun<'a, T> {
    nodes: [PageRef<'a, T>; 3],
    n_nodes: usize,
    /// Distance of a ring's nodes where the three slices overlap: offsets whose digit is not 0 start no ring.
    masked_stride: Option<usize>,
}

/// Sums of a run, before the factors of [`SpectralMoments`].
#[doc(hidden)]
#[derive(Clone, Copy, Default)]
pub struct RingSums {
    /// Σ|x₀ + x₁ + x₂|².
    total: f64,
    /// Σ|a|² with a = x₀ − (x₁ + x₂)/2.
    even: f64,
    /// Σ|b|² with b = x₁ − x₂.
    odd: f64,
    /// Σ Im(a b*).
    cross: f64,
}

impl<T: Real> Kernel<T> for RingRun<'_, T> {
    type Out = RingSums;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> RingSums {
        let [x, y, z] = self.nodes;
        // One period of the mask beyond a vector, so that any phase can be loaded from it.
        let mut mask = [T::from_f64(1.0); 3 * MIN_RUN + 16];
        let mut period = 1;
        if let Some(stride) = self.masked_stride {
            for i in 0..mask.len() {
                mask[i] = T::from_f64(if (i / stride).is_multiple_of(3) { 1.0 } else { 0.0 });
            }
            period = 3 * stride;
        }
        let zero = V::Wide::splat(0.0);
        let mut acc = [zero; 4];
        for i in (0..self.n_nodes).step_by(V::N) {
            let phase = i % period;
            let on = load::<V>(&mask, phase);
            let re = (load::<V>(x.re, i), load::<V>(y.re, i), load::<V>(z.re, i));
            let im = (load::<V>(x.im, i), load::<V>(y.im, i), load::<V>(z.im, i));
            for h in 0..halves::<V>() {
                let on = on.widen(h);
                let (s_re, a_re, b_re) = combine(on, re.0.widen(h), re.1.widen(h), re.2.widen(h));
                let (s_im, a_im, b_im) = combine(on, im.0.widen(h), im.1.widen(h), im.2.widen(h));
                acc[0] = s_im.mul_add(s_im, s_re.mul_add(s_re, acc[0]));
                acc[1] = a_im.mul_add(a_im, a_re.mul_add(a_re, acc[1]));
                acc[2] = b_im.mul_add(b_im, b_re.mul_add(b_re, acc[2]));
                acc[3] = a_re.neg_mul_add(b_im, a_im.mul_add(b_re, acc[3]));
            }
        }
        RingSums { total: fold(acc[0]), even: fold(acc[1]), odd: fold(acc[2]), cross: fold(acc[3]) }
    }
}

/// (s, a, b) of one real part. A function, not a closure: only functions can be forced into the vector code.
#[inline(always)]
fn combine<W: Lanes<T = f64>>(on: W, x: W, y: W, z: W) -> (W, W, W) {
    let (x, y, z) = (x.mul(on), y.mul(on), z.mul(on));
    let outer = y.add(z);
    (x.add(outer), outer.mul_add(W::splat(-0.5), x), y.sub(z))
}

/// Moments along storage axis `axis`, whose extent is 3.
///
/// - equation: with s, a, b of [`RingSums`]: Σm|Ψ̂|²/3 = −(2/√3) Σ Im(a b*), Σm²|Ψ̂|²/3 = ⅔ Σ(|a|² + ¾|b|²)
/// - source: |a ∓ i(√3/2)b|² are the powers of the modes ±1 of three nodes
/// - scheme and order: exact; f64 sums in fixed lanes over pages
/// - stability bound: none
/// - bytes and flops per node: 2 scalars (three times as many below a stride of 27), about 10 flops
pub(super) fn moments<T: Real>(
    level: Level,
    threads: Threads<'_>,
    shape: &Shape,
    axis: usize,
    pages: &[PageRef<'_, T>],
) -> SpectralMoments {
    let (stride, nodes) = (shape.stride(axis), shape.page_nodes);
    let sums = if stride < nodes {
        map_chunks(threads, pages.len(), |p| in_page(level, stride, pages[p]))
    } else {
        let apart = stride / nodes;
        map_chunks(threads, pages.len() / 3, |triple| {
            let first = triple / apart * 3 * apart + triple % apart;
            let nodes_of = [first, first + apart, first + 2 * apart].map(|p| pages[p]);
            T::sum_ring(level, RingRun { nodes: nodes_of, n_nodes: nodes, masked_stride: None })
        })
    };
    let mut sum = SpectralMoments::default();
    for part in sums {
        let outer = (part.even + 0.75 * part.odd) * 2.0 / 3.0;
        sum.weight += part.total / 3.0 + outer;
        sum.first -= part.cross * 2.0 / 3f64.sqrt();
        sum.second += outer;
    }
    sum
}

/// The rings of one page along an axis inside it.
fn in_page<T: Real>(level: Level, stride: usize, page: PageRef<'_, T>) -> RingSums {
    let n = page.re.len();
    let shifted = |from: usize, n_nodes: usize, masked_stride| RingRun {
        nodes: [0, 1, 2].map(|node| {
            let range = from + node * stride..n.min(from + node * stride + n_nodes);
            PageRef { re: &page.re[range.clone()], im: &page.im[range] }
        }),
        n_nodes,
        masked_stride,
    };
    if stride < MIN_RUN {
        return T::sum_ring(level, shifted(0, n - 2 * stride, Some(stride)));
    }
    let mut sum = RingSums::default();
    for from in (0..n).step_by(3 * stride) {
        let part = T::sum_ring(level, shifted(from, stride, None));
        sum.total += part.total;
        sum.even += part.even;
        sum.odd += part.odd;
        sum.cross += part.cross;
    }
    sum
}
