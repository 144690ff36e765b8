//! Lines whose active nodes look alike from both ends: what nearly every column of a sparse set is.
//! Invariant: with D uniform and the pattern its own mirror image, U − 1 commutes with reversal, so the even and the odd
//! part of a line are propagated each by a matrix of half the size: half the work of the whole matrix.
//! Source: centrosymmetric matrices (Cantoni & Butler, Linear Algebra Appl. 13 (1976) 275).

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::super::dft::Complex;
use super::super::fibre::Fibre;
use super::super::lines::Lines;
use crate::field::Real;
use crate::half_potential::Planes;
use crate::simd::{Kernel, Lanes};

/// Rows of a half matrix that share one load of Ψ; as many complex sums as sixteen registers hold.
const TILE: usize = 5;

/// Bytes between what is propagated and what is fetched: the time of four vectors covers a trip to the last cache.
const AHEAD: usize = 128;

/// The propagator of a line of m nodes, as its even and its odd half.
pub(super) struct Mirror<T> {
    /// U − 1 as a whole.
    pub fibre: Fibre<T>,
    /// ½(U_ik + U_ik′) of the increments, column after column; k′ = m − 1 − k.
    even: Vec<[T; 2]>,
    /// ½(U_ik − U_ik′), likewise.
    odd: Vec<[T; 2]>,
}

impl<T: Real> Mirror<T> {
    /// Takes `fibre` apart, whose pattern of active nodes is its own mirror image.
    pub fn new(fibre: Fibre<T>) -> Self {
        let m = fibre.nodes();
        let (n_even, n_odd) = (m.div_ceil(2), m / 2);
        let half = |i: usize, k: usize, sign: f64| {
            let (a, b) = (fibre.entry(i, k), fibre.entry(i, m - 1 - k));
            // The middle of an odd line is its own mirror image: half the sum is its entry.
            [T::from_f64(0.5 * (a.0 + sign * b.0)), T::from_f64(0.5 * (a.1 + sign * b.1))]
        };
        let table = |n: usize, sign: f64| (0..n * n).map(|at| half(at % n, at / n, sign)).collect();
        let (even, odd) = (table(n_even, 1.0), table(n_odd, -1.0));
        Self { fibre, even, odd }
    }

    /// Scalars of scratch that a pass needs: the even and odd part of Ψ, and the even increments.
    pub fn scratch(&self) -> usize {
        let m = self.fibre.nodes();
        2 * (m + m.div_ceil(2)) * (64 / T::BYTES)
    }
}

/// U on bundles of lines. Built only with one row per active node, all lanes of `lines` in it, and the plan's scratch.
///
/// - equation: Ψ' = Ψ + (U − 1)Ψ on each line
/// - source: the module's
/// - scheme and order: exact
/// - stability bound: none (unitary)
/// - bytes and flops per node: 4 scalars, 4m flops for m active nodes
pub(super) struct MirrorPass<'a, T> {
    pub plan: &'a Mirror<T>,
    pub rows: &'a [Planes<T>],
    /// Where the lines are, counted from the rows; its step is the rows' affair.
    pub lines: Lines,
    /// Scalars from a row's beginning to the first line.
    pub base: usize,
    pub scratch: *mut T,
}

impl<T: Real> Kernel<T> for MirrorPass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        // Ten sums at a time: on AVX2 more registers than there are, with wide vectors.
        self.all::<V::Narrow>();
    }
}

impl<T: Real> MirrorPass<'_, T> {
    #[inline(always)]
    fn all<V: Lanes<T = T>>(self) {
        let Lines { outer, outer_stride, inner, inner_stride, lanes, .. } = self.lines;
        // Transposed rows are one vector long and in the cache.
        let is_far = lanes > 64 / T::BYTES;
        for o in 0..outer {
            for i in 0..inner {
                let base = self.base + o * outer_stride + i * inner_stride;
                let mut lane = 0;
                // SAFETY: the rows have all lanes of the lines, and belong to this unit.
                unsafe {
                    while lane + V::N <= lanes {
                        // More rows than the processor's prefetchers follow, a page's length apart.
                        if is_far && lane.is_multiple_of(64 / T::BYTES) {
                            self.prefetch::<V>(base + lane + AHEAD / T::BYTES);
                        }
                        self.vector::<V, true>(base + lane, V::N);
                        lane += V::N;
                    }
                    if lane < lanes {
                        self.vector::<V, false>(base + lane, lanes - lane);
                    }
                }
            }
        }
    }

    /// Fetches a line of the cache of each row towards it; behind the last lanes it is the next bundle's.
    #[inline(always)]
    fn prefetch<V: Lanes<T = T>>(&self, shift: usize) {
        for row in self.rows {
            V::prefetch(row.re.wrapping_add(shift));
            V::prefetch(row.im.wrapping_add(shift));
        }
    }

    /// `n` lanes from `shift` on.
    ///
    /// # Safety
    /// All rows have them; the scratch is the plan's.
    #[inline(always)]
    unsafe fn vector<V: Lanes<T = T>, const FULL: bool>(&self, shift: usize, n: usize) {
        let m = self.rows.len();
        let (n_even, n_odd) = (m.div_ceil(2), m / 2);
        // SAFETY: says the caller; the scratch has two vectors for each of m + n_even complex numbers.
        unsafe {
            let (even, odd) = (self.scratch, self.scratch.add(2 * n_even * V::N));
            let increments = self.scratch.add(2 * m * V::N);
            for k in 0..n_odd {
                let (a, b) = (self.load::<V, FULL>(k, shift, n), self.load::<V, FULL>(m - 1 - k, shift, n));
                keep(even, k, a.add(b));
                keep(odd, k, a.sub(b));
            }
            if n_odd < n_even {
                keep(even, n_odd, self.load::<V, FULL>(n_odd, shift, n));
            }
            let mut first = 0;
            while first < n_even {
                let table = self.plan.even.as_ptr().add(first);
                let to = increments.add(2 * first * V::N);
                first += match n_even - first {
                    1 => products::<V, 1>(table, n_even, even, to),
                    2 => products::<V, 2>(table, n_even, even, to),
                    3 | 6 => products::<V, 3>(table, n_even, even, to),
                    4 | 7 | 8 => products::<V, 4>(table, n_even, even, to),
                    _ => products::<V, TILE>(table, n_even, even, to),
                };
            }
            if n_odd < n_even {
                let x = self.load::<V, FULL>(n_odd, shift, n);
                self.store::<V, FULL>(n_odd, shift, n, x.add(kept(increments, n_odd)));
            }
            let mut first = 0;
            while first < n_odd {
                first += match n_odd - first {
                    1 => self.finish::<V, FULL, 1>(first, odd, increments, shift, n),
                    2 => self.finish::<V, FULL, 2>(first, odd, increments, shift, n),
                    3 | 6 => self.finish::<V, FULL, 3>(first, odd, increments, shift, n),
                    4 | 7 | 8 => self.finish::<V, FULL, 4>(first, odd, increments, shift, n),
                    _ => self.finish::<V, FULL, TILE>(first, odd, increments, shift, n),
                };
            }
        }
    }

    /// The odd increments of rows `first .. first + R`, and what they and the even ones make of Ψ there and opposite.
    /// Returns R.
    ///
    /// # Safety
    /// As [`Self::vector`].
    #[inline(always)]
    unsafe fn finish<V: Lanes<T = T>, const FULL: bool, const R: usize>(
        &self,
        first: usize,
        odd: *mut T,
        even_increments: *mut T,
        shift: usize,
        n: usize,
    ) -> usize {
        let m = self.rows.len();
        // SAFETY: says the caller.
        unsafe {
            let sums = sums::<V, R>(self.plan.odd.as_ptr().add(first), m / 2, odd);
            for r in 0..R {
                let (near, far) = (first + r, m - 1 - first - r);
                let even = kept::<V>(even_increments, near);
                let (a, b) = (self.load::<V, FULL>(near, shift, n), self.load::<V, FULL>(far, shift, n));
                self.store::<V, FULL>(near, shift, n, a.add(even.add(sums[r])));
                self.store::<V, FULL>(far, shift, n, b.add(even.sub(sums[r])));
            }
        }
        R
    }

    #[inline(always)]
    unsafe fn load<V: Lanes<T = T>, const FULL: bool>(&self, k: usize, shift: usize, n: usize) -> Complex<V> {
        // SAFETY: the row has the lanes, says the caller.
        unsafe {
            let row = self.rows.get_unchecked(k);
            let (re, im) = (row.re.add(shift), row.im.add(shift));
            if FULL {
                Complex { re: V::load(re), im: V::load(im) }
            } else {
                Complex { re: V::load_n(re, n), im: V::load_n(im, n) }
            }
        }
    }

    #[inline(always)]
    unsafe fn store<V: Lanes<T = T>, const FULL: bool>(
        &self,
        k: usize,
        shift: usize,
        n: usize,
        x: Complex<V>,
    ) {
        // SAFETY: the row has the lanes, says the caller.
        unsafe {
            let row = self.rows.get_unchecked(k);
            let (re, im) = (row.re.add(shift), row.im.add(shift));
            if FULL {
                x.re.store(re);
                x.im.store(im);
            } else {
                x.re.store_n(re, n);
                x.im.store_n(im, n);
            }
        }
    }
}

/// Complex number `k` of a list in the scratch.
///
/// # Safety
/// It is there.
#[inline(always)]
unsafe fn kept<V: Lanes>(list: *const V::T, k: usize) -> Complex<V> {
    // SAFETY: says the caller.
    unsafe { Complex { re: V::load(list.add(2 * k * V::N)), im: V::load(list.add((2 * k + 1) * V::N)) } }
}

/// # Safety
/// As [`kept`].
#[inline(always)]
unsafe fn keep<V: Lanes>(list: *mut V::T, k: usize, x: Complex<V>) {
    // SAFETY: says the caller.
    unsafe {
        x.re.store(list.add(2 * k * V::N));
        x.im.store(list.add((2 * k + 1) * V::N));
    }
}

/// R rows of a table of n columns times a list of n numbers; `table` points at the first row's entry in column 0.
///
/// # Safety
/// Table and list have n columns and numbers, and R rows from there on.
#[inline(always)]
unsafe fn sums<V: Lanes, const R: usize>(
    table: *const [V::T; 2],
    n: usize,
    list: *const V::T,
) -> [Complex<V>; R] {
    let mut sums = [Complex::<V>::zero(); R];
    for k in 0..n {
        // SAFETY: says the caller.
        unsafe {
            let x = kept::<V>(list, k);
            for r in 0..R {
                let [re, im] = *table.add(k * n + r);
                let (a, b) = (V::splat(re), V::splat(im));
                sums[r].re = x.im.neg_mul_add(b, x.re.mul_add(a, sums[r].re));
                sums[r].im = x.im.mul_add(a, x.re.mul_add(b, sums[r].im));
            }
        }
    }
    sums
}

/// [`sums`], kept in another list. Returns R.
///
/// # Safety
/// As [`sums`], and `to` has room.
#[inline(always)]
unsafe fn products<V: Lanes, const R: usize>(
    table: *const [V::T; 2],
    n: usize,
    list: *const V::T,
    to: *mut V::T,
) -> usize {
    // SAFETY: says the caller.
    unsafe {
        let sums = sums::<V, R>(table, n, list);
        for r in 0..R {
            keep(to, r, sums[r]);
        }
    }
    R
}
