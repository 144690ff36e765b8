//! Gram matrices of columns: what the active set knows about its own lines, in f64.
//!
//! Invariant: G_jk = Σ_lines conj(Ψ_j)Ψ_k over the active nodes j, k of a column. Every quadratic form of one axis
//! follows from it: norms of layers, the kinetic energy ⟨Ψ|P T_d P|Ψ⟩, the momentum, and what would leave,
//! ‖Q T_d P Ψ‖² for an inactive page Q = tr(B G Bᵀ), B the rows of T_d that end on Q. Bundles are summed in order.
//! Source: definitions.

#![allow(unsafe_code)] // Vector loads through pointers.

use super::passes::{Bundle, Visitor, column_bundles};
use super::{Column, SparseKinetic};
use crate::field::{PageRef, Real, Threads};
use crate::half_potential::Planes;
use crate::kinetic::lines::Lines;
use crate::kinetic::sweep::with_scratch;
use crate::reduce::SpectralMoments;
use crate::simd::{Kernel, Lanes, SimdReal};
use crate::threads::map_chunks;

/// Lanes of an f64 vector.
const WIDE: usize = 8;

/// The Gram matrix of one column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnGram {
    /// Active pages of the column, as positions in the active set, in ring order from behind the largest gap.
    pub slots: Vec<usize>,
    /// Their positions along the axis.
    pub positions: Vec<usize>,
    /// Nodes of a page along the axis: row `k` is node `k % side` of page `k / side`.
    pub side: usize,
    /// Re G, row-major.
    pub re: Vec<f64>,
    /// Im G, row-major; empty where it was not asked for.
    pub im: Vec<f64>,
}

/// What a column's pages hold, layer by layer of nodes along the axis.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnLayers {
    /// See [`ColumnGram::slots`].
    pub slots: Vec<usize>,
    /// See [`ColumnGram::positions`].
    pub positions: Vec<usize>,
    /// See [`ColumnGram::side`].
    pub side: usize,
    /// Σ|Ψ|² of each layer.
    pub layers: Vec<f64>,
}

impl ColumnLayers {
    /// Σ|Ψ|² of the `k`-th page of the column.
    pub fn page_norm2(&self, k: usize) -> f64 {
        self.layers[k * self.side..(k + 1) * self.side].iter().sum()
    }
}

/// What would leave the active set through one face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leak {
    /// Position in the active set of the page whose face it is.
    pub slot: usize,
    /// Whether the face is the upper one.
    pub is_upper: bool,
    /// The inactive page behind it, as row-major lattice index.
    pub page: usize,
    /// Σ|T_d P Ψ|² over the nodes of that page.
    pub rate2: f64,
    /// Σ|Ψ|² over the layer of nodes behind the face.
    pub layer2: f64,
}

impl ColumnGram {
    /// The layers.
    pub fn layers(&self) -> ColumnLayers {
        ColumnLayers {
            slots: self.slots.clone(),
            positions: self.positions.clone(),
            side: self.side,
            layers: (0..self.rows()).map(|row| self.layer_norm2(row)).collect(),
        }
    }

    /// Σ|Ψ|² of the layer of nodes `row`.
    pub fn layer_norm2(&self, row: usize) -> f64 {
        self.re[row * (self.rows() + 1)]
    }

    /// Rows: active nodes of a line.
    pub fn rows(&self) -> usize {
        self.slots.len() * self.side
    }

    /// Σ_jk f(j − k on the ring) Re G_jk over pages for which `keeps` holds.
    fn form(&self, along: usize, keeps: &dyn Fn(usize) -> bool, f: &dyn Fn(usize) -> f64) -> f64 {
        let (m, ring) = (self.rows(), along * self.side);
        let node = |row: usize| self.positions[row / self.side] * self.side + row % self.side;
        let mut sum = 0.0;
        for j in (0..m).filter(|j| keeps(j / self.side)) {
            for k in (0..m).filter(|k| keeps(k / self.side)) {
                sum += f((node(j) + ring - node(k)) % ring) * self.re[j * m + k];
            }
        }
        sum
    }
}

/// Circulant elements of one axis over the offset j − k of nodes on the ring.
pub(super) struct Ring {
    /// m² in position space: T_d = ½D(2π/L)² times this.
    pub second: Vec<f64>,
    /// −i times m in position space.
    first: Vec<f64>,
}

impl Ring {
    pub fn new(n: usize) -> Self {
        // cos and sin of one turn's n-th parts, each once: plans of long axes need n² of them.
        let turns: Vec<(f64, f64)> = (0..n)
            .map(|part| {
                let angle = core::f64::consts::TAU * part as f64 / n as f64;
                (libm::cos(angle), libm::sin(angle))
            })
            .collect();
        let element = |offset: usize, of: &dyn Fn(f64, (f64, f64)) -> f64| {
            let sum = (0..n).fold(0.0, |sum, mode| {
                let signed = if 2 * mode > n { mode as f64 - n as f64 } else { mode as f64 };
                sum + of(signed, turns[mode * offset % n])
            });
            sum / n as f64
        };
        let is_nyquist = |m: f64| 2.0 * m == n as f64;
        Self {
            second: (0..n).map(|o| element(o, &|m, (cos, _)| m * m * cos)).collect(),
            first: (0..n)
                .map(|o| element(o, &|m, (_, sin)| if is_nyquist(m) { 0.0 } else { m * sin }))
                .collect(),
        }
    }
}

impl<T: Real> SparseKinetic<T> {
    /// Gram matrices of all columns along `axis`, in order. Panics unless there is one page per active page.
    ///
    /// - equation: G_jk = Σ conj(Ψ_j)Ψ_k
    /// - source: the module's
    /// - scheme and order: f64 sums in 8 fixed lanes per column
    /// - stability bound: rounding below 1e-13 relative for layers
    /// - bytes and flops per node: 2 scalars, 4(m + 1) flops (half of them for Re alone) for m active nodes per line
    pub fn grams(&self, threads: Threads<'_>, axis: usize, pages: &[PageRef<'_, T>]) -> Vec<ColumnGram> {
        self.sum::<true>(threads, axis, pages)
    }

    /// What the pages hold along `axis`, and what would leave through their faces: [`Self::grams`] without Im G, which
    /// neither depends on.
    pub fn faces(
        &self,
        threads: Threads<'_>,
        axis: usize,
        pages: &[PageRef<'_, T>],
    ) -> (Vec<ColumnLayers>, Vec<Leak>) {
        let grams = self.sum::<false>(threads, axis, pages);
        (grams.iter().map(ColumnGram::layers).collect(), self.leaks(axis, &grams))
    }

    fn sum<const IM: bool>(
        &self,
        threads: Threads<'_>,
        axis: usize,
        pages: &[PageRef<'_, T>],
    ) -> Vec<ColumnGram> {
        assert_eq!(pages.len(), self.pages.len(), "as many pages as are active");
        let planes: Vec<Planes<T>> = pages.iter().map(Planes::read).collect();
        assert!(
            planes.iter().all(|planes| planes.len == self.blocks.page_nodes()),
            "pages of the blocks' size"
        );
        let columns = &self.columns[self.along[axis].clone()];
        map_chunks(threads, columns.len(), |c| {
            let column = &columns[c];
            let m = column.slots.len() * self.blocks.sides[axis];
            let mut sums = vec![[[0.0; WIDE]; 2]; m * m];
            with_scratch(self.scratch, |scratch| {
                let planes = &planes;
                T::gram_unit(
                    self.level,
                    GramUnit { kinetic: self, column, planes, scratch, has_im: IM, sums: &mut sums },
                );
            });
            let fold = |part: usize, j: usize, k: usize| {
                let (i, sign) =
                    if j <= k { (j * m + k, 1.0) } else { (k * m + j, if part == 1 { -1.0 } else { 1.0 }) };
                sign * sums[i][part].iter().fold(0.0, |sum, lane| sum + lane)
            };
            let all = |part: usize| (0..m * m).map(|i| fold(part, i / m, i % m)).collect();
            ColumnGram {
                slots: column.slots.clone(),
                positions: column.positions.clone(),
                side: self.blocks.sides[axis],
                re: all(0),
                im: if IM { all(1) } else { Vec::new() },
            }
        })
    }

    /// Moments of the spectrum of PTP along `axis`, in the units of [`crate::reduce::spectral_moments`].
    pub fn moments(&self, threads: Threads<'_>, axis: usize, pages: &[PageRef<'_, T>]) -> SpectralMoments {
        let along = self.blocks.pages_along(axis);
        let ring = &self.rings[axis];
        let n = self.blocks.extents[axis];
        let mut moments = SpectralMoments::default();
        for gram in self.grams(threads, axis, pages) {
            let m = gram.rows();
            moments.weight += (0..m).map(|row| gram.layer_norm2(row)).sum::<f64>();
            moments.second += gram.form(along, &|_| true, &|offset| ring.second[offset]);
            let node = |row: usize| gram.positions[row / gram.side] * gram.side + row % gram.side;
            for j in 0..m {
                for k in 0..m {
                    // ⟨j|M|k⟩ = i·first(j − k), and Re(i·x) = −Im x.
                    moments.first -= ring.first[(node(j) + n - node(k)) % n] * gram.im[j * m + k];
                }
            }
        }
        moments
    }

    /// ⟨Ψ|P T_d P|Ψ⟩ along `axis`, and the same without the pages that `drops` names, over the columns that hold one.
    pub fn energy_without(
        &self,
        threads: Threads<'_>,
        axis: usize,
        pages: &[PageRef<'_, T>],
        drops: &[bool],
    ) -> (f64, f64) {
        let along = self.blocks.pages_along(axis);
        let ring = &self.rings[axis];
        let scale = 0.5 * self.terms[axis].diffusion * self.terms[axis].wavenumber_unit.powi(2);
        let touched = self
            .grams(threads, axis, pages)
            .into_iter()
            .filter(|gram| gram.slots.iter().any(|&slot| drops[slot]));
        touched.fold((0.0, 0.0), |(with, without), gram| {
            let keeps = |k: usize| !drops[gram.slots[k]];
            let second = |offset: usize| scale * ring.second[offset];
            (with + gram.form(along, &|_| true, &second), without + gram.form(along, &keeps, &second))
        })
    }

    /// What would leave through the faces of the columns along `axis`.
    pub fn leaks(&self, axis: usize, grams: &[ColumnGram]) -> Vec<Leak> {
        let along = self.blocks.pages_along(axis);
        let n = self.blocks.extents[axis];
        let ring = &self.rings[axis];
        let scale = 0.5 * self.terms[axis].diffusion * self.terms[axis].wavenumber_unit.powi(2);
        let mut leaks = Vec::new();
        for gram in grams {
            let m = gram.rows();
            let node = |row: usize| gram.positions[row / gram.side] * gram.side + row % gram.side;
            let rate2 = |position: usize| {
                let row =
                    |i: usize, j: usize| scale * ring.second[(position * gram.side + i + n - node(j)) % n];
                let mut sum = 0.0;
                for i in 0..gram.side {
                    for j in 0..m {
                        let inner: f64 = (0..m).map(|k| row(i, k) * gram.re[j * m + k]).sum();
                        sum += row(i, j) * inner;
                    }
                }
                sum.max(0.0)
            };
            for (k, (&slot, &position)) in gram.slots.iter().zip(&gram.positions).enumerate() {
                for is_upper in [false, true] {
                    let beyond = (position + if is_upper { 1 } else { along - 1 }) % along;
                    if gram.positions.contains(&beyond) {
                        continue;
                    }
                    let edge = k * gram.side + if is_upper { gram.side - 1 } else { 0 };
                    let page = self.blocks.page_in_column(self.pages[slot], axis, beyond);
                    let layer2 = gram.layer_norm2(edge);
                    leaks.push(Leak { slot, is_upper, page, rate2: rate2(beyond), layer2 });
                }
            }
        }
        leaks
    }
}

/// One column's sums. Built only with the active pages and the plan's scratch.
pub struct GramUnit<'a, T: SimdReal> {
    kinetic: &'a SparseKinetic<T>,
    column: &'a Column<T>,
    planes: &'a [Planes<T>],
    scratch: *mut T,
    has_im: bool,
    /// (Re, Im) of G_jk, j ≤ k, in lanes.
    sums: &'a mut [[[f64; WIDE]; 2]],
}

impl<T: Real> Kernel<T> for GramUnit<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let GramUnit { kinetic, column, planes, scratch, has_im, sums } = self;
        let bundles = 0..kinetic.n_bundles(column.axis);
        // SAFETY: the pages are lent for reading and nothing writes into them.
        unsafe {
            if has_im {
                let pairs = Pairs::<true> { sums };
                column_bundles::<V>(kinetic, column, bundles, planes, scratch, false, pairs);
            } else {
                let pairs = Pairs::<false> { sums };
                column_bundles::<V>(kinetic, column, bundles, planes, scratch, false, pairs);
            }
        }
    }
}

/// Adds the products of all pairs of rows.
struct Pairs<'a, const IM: bool> {
    sums: &'a mut [[[f64; WIDE]; 2]],
}

impl<V: Lanes<T: Real>, const IM: bool> Visitor<V> for Pairs<'_, IM> {
    #[inline(always)]
    unsafe fn visit(&mut self, bundle: &Bundle<'_, V::T>) {
        let m = bundle.rows.len();
        for j in 0..m {
            let mut k = j;
            while k < m {
                let sums = &mut self.sums[j * m + k..];
                k += match m - k {
                    1 => V::call(Products::<_, 1, IM> { bundle, j, k, sums }),
                    2 => V::call(Products::<_, 2, IM> { bundle, j, k, sums }),
                    _ => V::call(Products::<_, 3, IM> { bundle, j, k, sums }),
                };
            }
        }
    }
}

/// Σ conj(Ψ_j)·Ψ over the rows `k .. k + R` of a bundle, added to the first R of `sums`; returns R. Built only with
/// rows that have all lanes of the bundle's lines.
struct Products<'a, T, const R: usize, const IM: bool> {
    bundle: &'a Bundle<'a, T>,
    j: usize,
    k: usize,
    sums: &'a mut [[[f64; WIDE]; 2]],
}

impl<T: Real, const R: usize, const IM: bool> Kernel<T> for Products<'_, T, R, IM> {
    type Out = usize;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> usize {
        let Products { bundle, j, k, sums } = self;
        let Lines { outer, outer_stride, inner, inner_stride, lanes, .. } = bundle.lines;
        let zero = V::Wide::splat(0.0);
        let (mut re, mut im) = ([zero; R], [zero; R]);
        // SAFETY: rows have the lanes of the lines; the sums have as many lanes as an f64 vector.
        unsafe {
            for r in 0..R {
                re[r] = V::Wide::load(sums[r][0].as_ptr());
                if IM {
                    im[r] = V::Wide::load(sums[r][1].as_ptr());
                }
            }
            for o in 0..outer {
                for i in 0..inner {
                    let base = bundle.base + o * outer_stride + i * inner_stride;
                    for lane in (0..lanes).step_by(V::N) {
                        let (at, n) = (base + lane, V::N.min(lanes - lane));
                        let (a_re, a_im) = row::<V>(bundle.rows[j], at, n);
                        for half in 0..V::N / WIDE {
                            let (a_re, a_im) = (a_re.widen(half), a_im.widen(half));
                            for r in 0..R {
                                if r == 0 && j == k {
                                    // Widened already; Im is zero.
                                    re[r] = a_im.mul_add(a_im, a_re.mul_add(a_re, re[r]));
                                    continue;
                                }
                                let (b_re, b_im) = row::<V>(bundle.rows[k + r], at, n);
                                let (b_re, b_im) = (b_re.widen(half), b_im.widen(half));
                                re[r] = a_im.mul_add(b_im, a_re.mul_add(b_re, re[r]));
                                if IM {
                                    im[r] = a_im.neg_mul_add(b_re, a_re.mul_add(b_im, im[r]));
                                }
                            }
                        }
                    }
                }
            }
            for r in 0..R {
                re[r].store(sums[r][0].as_mut_ptr());
                if IM {
                    im[r].store(sums[r][1].as_mut_ptr());
                }
            }
        }
        R
    }
}

/// `n` lanes of a row from `at` on.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn row<V: Lanes>(row: Planes<V::T>, at: usize, n: usize) -> (V, V) {
    // SAFETY: says the caller.
    unsafe {
        let (re, im) = (row.re.add(at), row.im.add(at));
        if n == V::N { (V::load(re), V::load(im)) } else { (V::load_n(re, n), V::load_n(im, n)) }
    }
}
