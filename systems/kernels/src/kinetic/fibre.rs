//! Lines whose D^{dd} varies from node to node, and lines cut by an active set: dense propagators.
//!
//! Invariant: A = P·½∂†D∂·P is real symmetric whatever D ≥ 0 and whatever nodes P keeps, so U = exp(−iτA) is unitary
//! and complex symmetric. It is built in f64 and kept as U − 1: the increment is as small as the step, so that neither
//! its rounding nor its application leaks norm at the level of the state's precision.
//! Source: ∂ is the Fourier derivative (Trefethen, Spectral Methods in MATLAB, ch. 3); Jacobi's eigenvalue method.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

mod pattern;

pub(crate) use pattern::LinePattern;

use super::dft::Complex;
use super::sweep::with_scratch;
use crate::field::{PageMut, Real};
use crate::half_potential::{Planes, Time};
use crate::simd::{Kernel, Lanes, Level, SimdReal};

/// Most nodes of a line that gets a dense propagator: 81² complex numbers are 105 kB in double precision.
pub const FIBRE_NODES_MAX: usize = 81;

/// Sweeps of Jacobi's method; it converges quadratically, and 81 × 81 takes nine.
const JACOBI_SWEEPS_MAX: usize = 40;

/// Rows of U − 1 that share one load of Ψ.
const TILE: usize = 4;

/// A line as its propagator sees it.
#[derive(Debug, Clone, Copy)]
pub struct FibreLine<'a> {
    /// Distance between neighbours, model units.
    pub spacing: f64,
    /// D^{dd} on every node of the ring, active or not: a truncated wave has a slope on inactive nodes too.
    pub diffusion: &'a [f64],
    /// Which nodes are active; all where absent.
    pub active: Option<&'a [bool]>,
}

impl FibreLine<'_> {
    fn is_active(&self, node: usize) -> bool {
        self.active.is_none_or(|active| active[node])
    }

    /// A over the active nodes in ring order, row-major: ⟨Ψ|A|Ψ⟩ = ½ Σ_n D_n |(∂Ψ)_n|². An even ring has a Nyquist
    /// mode that no first derivative sees; it keeps its wavenumber, weighed with the mean of D, so that a uniform
    /// line has the spectrum ½Dk² of the transform at every extent. Panics if `active` has another length.
    pub fn hamiltonian(&self) -> Vec<f64> {
        let n = self.diffusion.len();
        assert!(self.active.is_none_or(|active| active.len() == n), "a mark for every node");
        let nodes: Vec<usize> = (0..n).filter(|&node| self.is_active(node)).collect();
        let slope: Vec<f64> = (0..n).map(|offset| derivative(n, offset, self.spacing)).collect();
        let nyquist = if n.is_multiple_of(2) {
            let k = core::f64::consts::PI / self.spacing;
            0.5 * k * k * self.diffusion.iter().sum::<f64>() / (n * n) as f64
        } else {
            0.0
        };
        let m = nodes.len();
        let mut a = vec![0.0; m * m];
        for (i, &p) in nodes.iter().enumerate() {
            for (j, &q) in nodes.iter().enumerate().take(i + 1) {
                let sum = (0..n).fold(0.0, |sum, k| {
                    sum + self.diffusion[k] * slope[(k + n - p) % n] * slope[(k + n - q) % n]
                });
                let sign = if (p + q).is_multiple_of(2) { 1.0 } else { -1.0 };
                a[i * m + j] = 0.5 * sum + sign * nyquist;
                a[j * m + i] = a[i * m + j];
            }
        }
        a
    }
}

/// ∂_{j, j−offset} of the Fourier derivative on a ring of `n` nodes.
pub fn derivative(n: usize, offset: usize, spacing: f64) -> f64 {
    if offset == 0 {
        return 0.0;
    }
    let half = core::f64::consts::PI / n as f64;
    let (sin, cos) = libm::sincos(half * offset as f64);
    let sign = if offset.is_multiple_of(2) { 1.0 } else { -1.0 };
    let even = if n.is_multiple_of(2) { cos } else { 1.0 };
    sign * half / spacing * even / sin
}

/// The propagator of a line: U − 1 over its active nodes.
pub struct Fibre<T> {
    m: usize,
    /// Column after column, which for a symmetric matrix is row after row.
    re: Vec<T>,
    im: Vec<T>,
}

impl<T: Real> Fibre<T> {
    /// exp(−i·duration·A) − 1 in real time, exp(−duration·A) − 1 in imaginary time.
    pub fn new(line: &FibreLine<'_>, duration: f64, time: Time) -> Self {
        let m = (0..line.diffusion.len()).filter(|&node| line.is_active(node)).count();
        let (re, im) = increments(line.hamiltonian(), m, duration, time);
        let round = |x: Vec<f64>| x.into_iter().map(T::from_f64).collect();
        Fibre { m, re: round(re), im: round(im) }
    }

    /// Active nodes of the line.
    pub fn nodes(&self) -> usize {
        self.m
    }

    /// Appends U − 1 as a device takes it: column after column, single precision (U is symmetric).
    pub(crate) fn add_numbers(&self, out: &mut Vec<[f32; 2]>) {
        out.extend(self.re.iter().zip(&self.im).map(|(re, im)| [re.to_f64() as f32, im.to_f64() as f32]));
    }

    /// Element (i, j) of U − 1.
    pub(crate) fn entry(&self, i: usize, j: usize) -> (f64, f64) {
        (self.re[i * self.m + j].to_f64(), self.im[i * self.m + j].to_f64())
    }

    /// Bytes of the matrix.
    pub fn bytes(&self) -> usize {
        2 * self.m * self.m * T::BYTES
    }

    /// Scalars of scratch that a pass needs.
    pub(crate) fn scratch(&self) -> usize {
        2 * self.m * (64 / T::BYTES)
    }

    /// Applies U to `lanes` neighbouring lines on the calling thread; the active node `k` of line `l` is node
    /// `rows[k].1 + l` of page `rows[k].0`. Panics unless there is one row per active node, all inside their pages
    /// and none over another.
    ///
    /// - equation: Ψ' = Ψ + (U − 1)Ψ on each line
    /// - source: the module's
    /// - scheme and order: exact
    /// - stability bound: none (unitary)
    /// - bytes and flops per node: 4 scalars, 8m flops for m active nodes
    pub fn apply(&self, level: Level, pages: &mut [PageMut<'_, T>], rows: &[(usize, usize)], lanes: usize) {
        assert_eq!(rows.len(), self.m, "one row per active node");
        let mut sorted = rows.to_vec();
        sorted.sort_unstable();
        let is_apart = |pair: &[(usize, usize)]| pair[0].0 != pair[1].0 || pair[0].1 + lanes <= pair[1].1;
        assert!(sorted.windows(2).all(is_apart), "rows don't overlap");
        let planes: Vec<Planes<T>> = pages.iter_mut().map(Planes::of).collect();
        let rows: Vec<Planes<T>> = rows
            .iter()
            .map(|&(page, node)| {
                assert!(node + lanes <= planes[page].len, "rows lie inside their pages");
                // SAFETY: `node + lanes` is at most the page's length, asserted above, so the offset stays inside it.
                unsafe { planes[page].offset(node) }
            })
            .collect();
        with_scratch(self.scratch(), |scratch| {
            T::fibre_pass(level, FibrePass { fibre: self, rows: &rows, lanes, shift: 0, scratch });
        });
    }
}

/// exp(−i·duration·A) − 1, or exp(−duration·A) − 1, of a real symmetric m × m matrix.
fn increments(mut a: Vec<f64>, m: usize, duration: f64, time: Time) -> (Vec<f64>, Vec<f64>) {
    let vectors = diagonalise(&mut a, m);
    let (mut re, mut im) = (vec![0.0; m * m], vec![0.0; m * m]);
    for k in 0..m {
        let (c, s) = super::increment(duration * a[k * m + k], time);
        let v = &vectors[k * m..(k + 1) * m];
        for i in 0..m {
            for j in 0..m {
                re[i * m + j] += c * (v[i] * v[j]);
                im[i * m + j] += s * (v[i] * v[j]);
            }
        }
    }
    if time == Time::Real {
        polish(&mut re, &mut im, m);
    }
    (re, im)
}

/// Jacobi's cyclic method for a real symmetric m × m matrix: leaves the eigenvalues on the diagonal of `a`, returns the eigenvectors as rows.
pub fn diagonalise(a: &mut [f64], m: usize) -> Vec<f64> {
    let mut vectors = vec![0.0; m * m];
    for i in 0..m {
        vectors[i * m + i] = 1.0;
    }
    let size = a.iter().fold(0.0, |sum, x| sum + x * x);
    for _ in 0..JACOBI_SWEEPS_MAX {
        let off = (0..m).flat_map(|p| (0..p).map(move |q| (p, q))).fold(0.0, |sum, (p, q)| {
            let x: f64 = a[p * m + q];
            sum + x * x
        });
        if off <= f64::EPSILON * f64::EPSILON * 1e-6 * size {
            break;
        }
        for p in 0..m {
            for q in p + 1..m {
                rotate(a, &mut vectors, m, p, q);
            }
        }
    }
    vectors
}

/// One step of Newton's iteration to the nearest unitary matrix, U ← U(3 − U†U)/2, in terms of M = U − 1: rounding
/// in the eigenvectors would else leak norm, always in the same direction.
fn polish(re: &mut [f64], im: &mut [f64], m: usize) {
    let (old_re, old_im) = (re.to_vec(), im.to_vec());
    // E = U†U − 1 = M + M† + M†M, Hermitian; M is symmetric.
    let (mut defect_re, mut defect_im) = (vec![0.0; m * m], vec![0.0; m * m]);
    for i in 0..m {
        let row = i * m..(i + 1) * m;
        for j in 0..m {
            let column = j * m..(j + 1) * m;
            let (a, b) = (&old_re[row.clone()], &old_im[row.clone()]);
            let (c, d) = (&old_re[column.clone()], &old_im[column]);
            let (mut x, mut y) = (0.0, 0.0);
            for k in 0..m {
                x += a[k] * c[k] + b[k] * d[k];
                y += a[k] * d[k] - b[k] * c[k];
            }
            defect_re[i * m + j] = x + 2.0 * a[j];
            defect_im[i * m + j] = y;
        }
    }
    for i in 0..m {
        for j in 0..m {
            let (mut x, mut y) = (defect_re[i * m + j], defect_im[i * m + j]);
            for k in 0..m {
                let (a, b) = (old_re[i * m + k], old_im[i * m + k]);
                let (c, d) = (defect_re[k * m + j], defect_im[k * m + j]);
                x += a * c - b * d;
                y += a * d + b * c;
            }
            re[i * m + j] -= 0.5 * x;
            im[i * m + j] -= 0.5 * y;
        }
    }
}

/// One Jacobi rotation that makes a_pq vanish (Golub & Van Loan, 8.5.2).
fn rotate(a: &mut [f64], vectors: &mut [f64], m: usize, p: usize, q: usize) {
    let apq = a[p * m + q];
    if apq == 0.0 {
        return;
    }
    let tau = (a[q * m + q] - a[p * m + p]) / (2.0 * apq);
    let t = tau.signum() / (tau.abs() + libm::sqrt(1.0 + tau * tau));
    let c = 1.0 / libm::sqrt(1.0 + t * t);
    let s = t * c;
    for k in 0..m {
        let (x, y) = (a[p * m + k], a[q * m + k]);
        (a[p * m + k], a[q * m + k]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..m {
        let (x, y) = (a[k * m + p], a[k * m + q]);
        (a[k * m + p], a[k * m + q]) = (c * x - s * y, s * x + c * y);
    }
    (a[p * m + q], a[q * m + p]) = (0.0, 0.0);
    for k in 0..m {
        let (x, y) = (vectors[p * m + k], vectors[q * m + k]);
        (vectors[p * m + k], vectors[q * m + k]) = (c * x - s * y, s * x + c * y);
    }
}

/// U on a bundle of lines. Built only with one row per active node, which has `lanes` nodes from `shift` on, and the
/// fibre's scratch.
pub struct FibrePass<'a, T: SimdReal> {
    pub(crate) fibre: &'a Fibre<T>,
    pub(crate) rows: &'a [Planes<T>],
    pub(crate) lanes: usize,
    pub(crate) shift: usize,
    pub(crate) scratch: *mut T,
}

impl<T: Real> Kernel<T> for FibrePass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        self.by_lanes::<V>();
    }
}

impl<T: Real> FibrePass<'_, T> {
    /// Vectors across lines.
    #[inline(always)]
    pub(crate) fn by_lanes<V: Lanes<T = T>>(&self) {
        // A tile's sums, Ψ and an entry: on AVX2 more registers than there are, with wide vectors.
        self.by_vectors::<V::Narrow>();
    }

    #[inline(always)]
    fn by_vectors<V: Lanes<T = T>>(&self) {
        let m = self.fibre.m;
        for lane in (0..self.lanes).step_by(V::N) {
            let n = V::N.min(self.lanes - lane);
            // SAFETY: the pass is built with m rows that have `lanes` nodes from `shift` on, and with the fibre's scratch, two
            // vectors for each. `lane + n` is at most `lanes`; `tile` is given rows below m, with all of Ψ stored before.
            unsafe {
                for (k, row) in self.rows.iter().enumerate() {
                    let row = row.offset(self.shift + lane);
                    V::load_n(row.re, n).store(self.scratch.add(2 * k * V::N));
                    V::load_n(row.im, n).store(self.scratch.add((2 * k + 1) * V::N));
                }
                let tiled = m - m % TILE;
                for i in (0..tiled).step_by(TILE) {
                    self.tile::<V, TILE>(i, lane, n);
                }
                for i in tiled..m {
                    self.tile::<V, 1>(i, lane, n);
                }
            }
        }
    }

    /// Vectors along the line, one line after the other: for bundles too thin to fill a vector.
    #[inline(always)]
    pub(crate) fn by_nodes<V: Lanes<T = T>>(&self) {
        let Fibre { m, re, im } = self.fibre;
        for lane in 0..self.lanes {
            // SAFETY: as in `by_vectors`; the scratch holds 2m scalars, the matrix m columns of m entries, and `i + n` is at most m.
            unsafe {
                let (x, y) = (self.scratch, self.scratch.add(*m));
                for (k, row) in self.rows.iter().enumerate() {
                    x.add(k).write(*row.re.add(self.shift + lane));
                    y.add(k).write(*row.im.add(self.shift + lane));
                }
                for i in (0..*m).step_by(V::N) {
                    let n = V::N.min(m - i);
                    let mut sum = Complex::<V>::zero();
                    for j in 0..*m {
                        let (a, b) = (V::splat(*x.add(j)), V::splat(*y.add(j)));
                        let column_re = V::load_n(re.as_ptr().add(j * m + i), n);
                        let column_im = V::load_n(im.as_ptr().add(j * m + i), n);
                        sum = sum.add(Complex { re: column_re, im: column_im }.mul(a, b));
                    }
                    let old = Complex { re: V::load_n(x.add(i), n), im: V::load_n(y.add(i), n) };
                    let new = old.add(sum);
                    let (mut out_re, mut out_im) = ([T::default(); 16], [T::default(); 16]);
                    new.re.store_array(&mut out_re);
                    new.im.store_array(&mut out_im);
                    for (k, row) in self.rows[i..i + n].iter().enumerate() {
                        row.re.add(self.shift + lane).write(out_re[k]);
                        row.im.add(self.shift + lane).write(out_im[k]);
                    }
                }
            }
        }
    }

    /// Ψ on active node `k` before the pass.
    ///
    /// # Safety
    /// `k` is below m, and vector 2k and the next of the scratch were stored for this `V`.
    #[inline(always)]
    unsafe fn old<V: Lanes<T = T>>(&self, k: usize) -> Complex<V> {
        // SAFETY: the scratch has two vectors for each of the m rows, stored says the caller.
        unsafe {
            let at = self.scratch.add(2 * k * V::N);
            Complex { re: V::load(at), im: V::load(at.add(V::N)) }
        }
    }

    /// Rows `i .. i + R`: increments are summed among themselves and added once.
    ///
    /// # Safety
    /// `i + R` is at most m; the scratch holds the old Ψ of all m rows; each row has `n` nodes from `shift + lane` on, which
    /// belong to the caller.
    #[inline(always)]
    unsafe fn tile<V: Lanes<T = T>, const R: usize>(&self, i: usize, lane: usize, n: usize) {
        let Fibre { m, re, im } = self.fibre;
        // SAFETY: says the caller; the matrix has m² entries, and j·m + i + r is below that.
        unsafe {
            let mut sum = [Complex::<V>::zero(); R];
            for j in 0..*m {
                let x = self.old::<V>(j);
                for (r, sum) in sum.iter_mut().enumerate() {
                    let at = j * m + i + r;
                    let (a, b) = (V::splat(*re.get_unchecked(at)), V::splat(*im.get_unchecked(at)));
                    sum.re = x.im.neg_mul_add(b, x.re.mul_add(a, sum.re));
                    sum.im = x.im.mul_add(a, x.re.mul_add(b, sum.im));
                }
            }
            for (r, sum) in sum.into_iter().enumerate() {
                let (new, row) = (self.old::<V>(i + r).add(sum), self.rows[i + r].offset(self.shift + lane));
                new.re.store_n(row.re, n);
                new.im.store_n(row.im, n);
            }
        }
    }
}

#[cfg(test)]
mod tests;
