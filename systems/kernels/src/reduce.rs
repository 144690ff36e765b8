//! Sums over the field in f64. Invariant: fixed chunks, summed in a fixed order, lanes folded in a fixed order:
//! the same bits for any number of threads and any SIMD level.
//! Source: definitions of norm, interaction, potential and damping integrals; Parseval for the spectral moments.

#![allow(unsafe_code)] // Vector loads through pointers.

use rustfft::num_complex::Complex;

use crate::field::{PageRef, Real, Shape, Threads, Values};
use crate::kinetic::direct::transforms;
use crate::simd::{Kernel, Lanes, Level};
use crate::threads::map_chunks;

mod ring;

#[doc(hidden)]
pub use ring::{RingRun, RingSums};

/// Nodes (or lines) summed before a partial result is stored.
const CHUNK: usize = 4096;

/// Sums over all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// Σ|Ψ|².
    pub norm2: f64,
    /// Σ|Ψ|⁴.
    pub quartic: f64,
    /// ΣV|Ψ|².
    pub potential: f64,
    /// ΣΓ|Ψ|².
    pub damping: f64,
    /// max |Ψ|².
    pub max_abs2: f64,
    /// Nodes whose |Ψ|² is not finite.
    pub n_nonfinite: u64,
}

/// Moments of the power spectrum along one axis.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SpectralMoments {
    /// Σ|Ψ̂|²/N_d = Σ|Ψ|².
    pub weight: f64,
    /// Σ m|Ψ̂|²/N_d, m the signed mode number (0 for the Nyquist mode of even extents).
    pub first: f64,
    /// Σ m²|Ψ̂|²/N_d.
    pub second: f64,
}

/// A run of nodes inside one page, at most [`CHUNK`] long.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Piece<'a, T> {
    re: &'a [T],
    im: &'a [T],
    /// The other field of a scalar product, else the same.
    other: PageRef<'a, T>,
    potential: Result<&'a [T], T>,
    damping: Result<&'a [T], T>,
}

/// What a piece is summed for.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq)]
pub enum Sum {
    Norm,
    Totals,
    Inner,
}

/// The pieces of all pages, in order.
fn pieces<'a, T: Real>(
    a: &[PageRef<'a, T>],
    b: &[PageRef<'a, T>],
    potential: Values<'a, T>,
    damping: Values<'a, T>,
) -> Vec<Piece<'a, T>> {
    let mut pieces = Vec::new();
    for (p, page) in a.iter().enumerate() {
        assert_eq!(page.re.len(), page.im.len());
        for start in (0..page.re.len()).step_by(CHUNK) {
            let range = start..page.re.len().min(start + CHUNK);
            let cut = |values: &Values<'a, T>| match values {
                Values::Uniform(x) => Err(*x),
                Values::PerNode(slices) => Ok(&slices[p][range.clone()]),
            };
            let other = PageRef { re: &b[p].re[range.clone()], im: &b[p].im[range.clone()] };
            pieces.push(Piece {
                re: &page.re[range.clone()],
                im: &page.im[range.clone()],
                other,
                potential: cut(&potential),
                damping: cut(&damping),
            });
        }
    }
    pieces
}

/// All sums in one pass.
///
/// - equation: Σρ, Σρ², ΣVρ, ΣΓρ, max ρ with ρ = |Ψ|²
/// - source: definitions
/// - scheme and order: f64 sums in 8 or 16 fixed lanes over chunks of 4,096 nodes
/// - stability bound: rounding below 1e-13 relative for positive terms
/// - bytes and flops per node: 4 scalars, about 12 flops in f64
pub fn totals<T: Real>(
    level: Level,
    threads: Threads<'_>,
    pages: &[PageRef<'_, T>],
    potential: Values<'_, T>,
    damping: Values<'_, T>,
) -> Totals {
    let pieces = pieces(pages, pages, potential, damping);
    let mut sum = Totals::default();
    for part in map_chunks(threads, pieces.len(), |c| T::sum_piece(level, Sum::Totals, pieces[c])) {
        sum.norm2 += part.norm2;
        sum.quartic += part.quartic;
        sum.potential += part.potential;
        sum.damping += part.damping;
        sum.max_abs2 = sum.max_abs2.max(part.max_abs2);
        sum.n_nonfinite += part.n_nonfinite;
    }
    sum
}

/// Σ|Ψ|², the one sum the norm controller needs every few ticks: about 3 µs for 20,000 nodes in cache.
pub fn norm2<T: Real>(level: Level, threads: Threads<'_>, pages: &[PageRef<'_, T>]) -> f64 {
    let none = Values::Uniform(T::default());
    let pieces = pieces(pages, pages, none, none);
    let part = |c: usize| T::sum_piece(level, Sum::Norm, pieces[c]).norm2;
    map_chunks(threads, pieces.len(), part).into_iter().fold(0.0, |sum, part| sum + part)
}

/// Σ conj(a)·b as (re, im), at the best level, on the calling thread. Panics if the pages differ in shape.
pub fn inner<T: Real>(a: &[PageRef<'_, T>], b: &[PageRef<'_, T>]) -> (f64, f64) {
    assert_eq!(a.len(), b.len(), "as many pages on both sides");
    let none = Values::Uniform(T::default());
    let mut sum = (0.0, 0.0);
    for piece in pieces(a, b, none, none) {
        let part = T::sum_piece(Level::detect(), Sum::Inner, piece);
        sum = (sum.0 + part.norm2, sum.1 + part.quartic);
    }
    sum
}

/// Sums one piece. An inner product is returned in (`norm2`, `quartic`).
pub(crate) struct SumPiece<'a, T> {
    pub sum: Sum,
    pub piece: Piece<'a, T>,
}

impl<T: Real> Kernel<T> for SumPiece<'_, T> {
    type Out = Totals;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> Totals {
        match self.sum {
            Sum::Norm => V::call(NormPiece(self.piece)),
            Sum::Totals => V::call(TotalsPiece(self.piece)),
            Sum::Inner => V::call(InnerPiece(self.piece)),
        }
    }
}

/// Halves of a vector as f64 vectors.
#[inline(always)]
fn halves<V: Lanes>() -> usize {
    V::N / 8
}

/// The lanes of an accumulator, first to last.
#[inline(always)]
fn fold<W: Lanes<T = f64>>(x: W) -> f64 {
    let mut lanes = [0.0; 16];
    x.store_array(&mut lanes);
    let mut sum = lanes[0];
    for lane in &lanes[1..8] {
        sum += lane;
    }
    sum
}

/// Lanes `i..` of a slice, zeros beyond its end.
#[inline(always)]
fn load<V: Lanes>(x: &[V::T], i: usize) -> V {
    let x = &x[i..];
    // SAFETY: reads at most `x.len()` scalars.
    unsafe { if x.len() >= V::N { V::load(x.as_ptr()) } else { V::load_n(x.as_ptr(), x.len()) } }
}

struct NormPiece<'a, T>(Piece<'a, T>);

impl<T: Real> Kernel<T> for NormPiece<'_, T> {
    type Out = Totals;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> Totals {
        let zero = V::Wide::splat(0.0);
        let (mut re, mut im) = ([zero; 2], [zero; 2]);
        for i in (0..self.0.re.len()).step_by(V::N) {
            let (x, y) = (load::<V>(self.0.re, i), load::<V>(self.0.im, i));
            for h in 0..halves::<V>() {
                re[h] = x.widen(h).mul_add(x.widen(h), re[h]);
                im[h] = y.widen(h).mul_add(y.widen(h), im[h]);
            }
        }
        Totals { norm2: fold(re[0].add(im[0]).add(re[1].add(im[1]))), ..Totals::default() }
    }
}

struct InnerPiece<'a, T>(Piece<'a, T>);

impl<T: Real> Kernel<T> for InnerPiece<'_, T> {
    type Out = Totals;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> Totals {
        let Piece { re, im, other, .. } = self.0;
        let zero = V::Wide::splat(0.0);
        let (mut sum_re, mut sum_im) = ([zero; 2], [zero; 2]);
        for i in (0..re.len()).step_by(V::N) {
            let (ar, ai) = (load::<V>(re, i), load::<V>(im, i));
            let (br, bi) = (load::<V>(other.re, i), load::<V>(other.im, i));
            for h in 0..halves::<V>() {
                let (ar, ai, br, bi) = (ar.widen(h), ai.widen(h), br.widen(h), bi.widen(h));
                sum_re[h] = ai.mul_add(bi, ar.mul_add(br, sum_re[h]));
                sum_im[h] = ai.neg_mul_add(br, ar.mul_add(bi, sum_im[h]));
            }
        }
        Totals {
            norm2: fold(sum_re[0].add(sum_re[1])),
            quartic: fold(sum_im[0].add(sum_im[1])),
            ..Totals::default()
        }
    }
}

struct TotalsPiece<'a, T>(Piece<'a, T>);

impl<T: Real> Kernel<T> for TotalsPiece<'_, T> {
    type Out = Totals;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> Totals {
        let Piece { re, im, potential, damping, .. } = self.0;
        let zero = V::Wide::splat(0.0);
        let mut acc = [zero; 5];
        let mut n_nonfinite = 0;
        for i in (0..re.len()).step_by(V::N) {
            let (x, y) = (load::<V>(re, i), load::<V>(im, i));
            let operand = |values: Result<&[T], T>| match values {
                Ok(slice) => load::<V>(slice, i),
                Err(uniform) => V::splat(uniform),
            };
            let (v, g) = (operand(potential), operand(damping));
            for h in 0..halves::<V>() {
                let (x, y) = (x.widen(h), y.widen(h));
                let density = y.mul_add(y, x.mul(x));
                acc[0] = acc[0].add(density);
                acc[1] = density.mul_add(density, acc[1]);
                acc[2] = density.mul_add(v.widen(h), acc[2]);
                acc[3] = density.mul_add(g.widen(h), acc[3]);
                acc[4] = density.max(acc[4]);
                if !density.all_below(V::Wide::splat(f64::INFINITY)) {
                    let mut lanes = [0.0; 16];
                    density.store_array(&mut lanes);
                    n_nonfinite += lanes[..8].iter().filter(|d| !d.is_finite()).count() as u64;
                }
            }
        }
        let mut lanes = [0.0; 16];
        acc[4].store_array(&mut lanes);
        Totals {
            norm2: fold(acc[0]),
            quartic: fold(acc[1]),
            potential: fold(acc[2]),
            damping: fold(acc[3]),
            max_abs2: lanes.into_iter().fold(0.0, f64::max),
            n_nonfinite,
        }
    }
}

/// Moments of the spectrum along storage axis `axis`. Panics if pages and shape disagree.
///
/// - equation: Σ_m m^p |Ψ̂_m|²/N_d, p = 0, 1, 2, summed over all lines
/// - source: Parseval; extent 3 in closed form
/// - scheme and order: exact; one forward transform per line into scratch
/// - stability bound: none
/// - bytes and flops per node: 2 scalars, about 5·log₂ N_d flops
pub fn spectral_moments<T: Real>(
    level: Level,
    threads: Threads<'_>,
    shape: &Shape,
    axis: usize,
    pages: &[PageRef<'_, T>],
) -> SpectralMoments {
    assert!(pages.len() == shape.n_pages() && pages.iter().all(|p| p.re.len() == shape.page_nodes));
    if shape.extents[axis] == 3 {
        return ring::moments(level, threads, shape, axis, pages);
    }
    let n_lines = shape.n_nodes() / shape.extents[axis];
    let mut sum = SpectralMoments::default();
    let part = |chunk: usize| T::moments(shape, axis, pages, chunk * CHUNK..n_lines.min((chunk + 1) * CHUNK));
    for part in map_chunks(threads, n_lines.div_ceil(CHUNK), part) {
        sum.weight += part.weight;
        sum.first += part.first;
        sum.second += part.second;
    }
    sum
}

/// [`spectral_moments`] along every axis. Panics if pages and shape disagree.
pub fn spectral_moments_of_axes<T: Real>(
    level: Level,
    threads: Threads<'_>,
    shape: &Shape,
    pages: &[PageRef<'_, T>],
) -> Vec<SpectralMoments> {
    let n_axes = shape.extents.len();
    // A page of rings is one chunk along each axis: threads share the axes.
    if pages.len() == 1 && shape.extents.iter().all(|extent| *extent == 3) {
        return map_chunks(threads, n_axes, |axis| {
            spectral_moments(level, Threads::Serial, shape, axis, pages)
        });
    }
    (0..n_axes).map(|axis| spectral_moments(level, threads, shape, axis, pages)).collect()
}

/// Moments of the lines in `range`, in the order of their first nodes.
pub(crate) fn moments<T: Real>(
    shape: &Shape,
    axis: usize,
    pages: &[PageRef<'_, T>],
    range: core::ops::Range<usize>,
) -> SpectralMoments {
    let (n, stride) = (shape.extents[axis], shape.stride(axis));
    let [fft, _] = transforms(n);
    let mut scratch = vec![Complex::new(0.0, 0.0); fft.get_inplace_scratch_len()];
    let mut line = vec![Complex::new(0.0, 0.0); n];
    let mut sum = SpectralMoments::default();
    for index in range {
        let base = index / stride * n * stride + index % stride;
        let (mut page, mut at) = (base / shape.page_nodes, base % shape.page_nodes);
        for z in &mut line {
            *z = Complex::new(pages[page].re[at].to_f64(), pages[page].im[at].to_f64());
            at += stride;
            while at >= shape.page_nodes && page + 1 < pages.len() {
                at -= shape.page_nodes;
                page += 1;
            }
        }
        fft.process_with_scratch(&mut line, &mut scratch);
        add_spectrum(&mut sum, &line);
    }
    sum
}

fn add_spectrum(sum: &mut SpectralMoments, spectrum: &[Complex<f64>]) {
    let n = spectrum.len();
    for (m, z) in spectrum.iter().enumerate() {
        let power = z.norm_sqr() / n as f64;
        let signed = if 2 * m > n { m as f64 - n as f64 } else { m as f64 };
        sum.weight += power;
        sum.first += if 2 * m == n { 0.0 } else { signed * power };
        sum.second += signed * signed * power;
    }
}

#[cfg(test)]
mod tests;
