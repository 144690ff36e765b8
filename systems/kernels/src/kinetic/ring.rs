//! Extent 3: the kinetic flow as a ring coupling. Invariant: each axis is the circulant 1 + b·S, S the sum over the
//! ring, with the factor of the outer modes left to the local flow. Increments keep single precision unbiased.
//! Source: F⁻¹ diag(1, q, q) F = q(1 + b·S), b = (1/q − 1)/3, q = e^{−iθ}, θ = ½τD(2π/L)².
//!
//! Where modes of several axes meet, the ring is taken apart in the real basis (1, 1, 1), (1, −½, −½), (0, 1, −1):
//! its constants are exact in binary, so a transform there and back has no systematic rounding; the weights 1/3,
//! 2/3 and 1/2 are the caller's.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use core::mem::MaybeUninit;

use super::dft::Complex;
use super::lines::{FLOW, FORWARD, Lines, Rows};
use crate::field::Real;
use crate::half_potential::Planes;
use crate::simd::{Kernel, Lanes, opaque};

/// One extent-3 axis, or two neighbouring ones done together (`b[0]` the minor, `b[1]` the major axis).
///
/// - equation: y_j = x_j + b·(x_0 + x_1 + x_2) on each ring; `FORWARD` and `INVERSE` as in the module
/// - source: closed form of the 3-point Fourier propagator
/// - scheme and order: exact
/// - stability bound: none (unitary up to the factor q)
/// - bytes and flops per node and axis: 4 scalars per pass of two axes, 9 flops
pub(crate) struct RingPass<T, const AXES: usize, const PASS: u8> {
    pub planes: Planes<T>,
    /// Geometry of the minor axis; the major axis has three times its step.
    pub lines: Lines,
    pub b: [(T, T); AXES],
}

impl<T: Real, const AXES: usize, const PASS: u8> Kernel<T> for RingPass<T, AXES, PASS> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        // Nine complex vectors at a time: on AVX2 twice as many registers as there are, with the wide ones.
        self.couple_all::<V::Narrow>();
    }
}

/// Two neighbouring axes done together on rows of a page, `run` nodes apart, into rows of a batch, `step` scalars apart.
///
/// - equation, source, scheme and order, stability bound: as [`RingPass`]
/// - bytes and flops per node: 4 scalars for two axes, 18 flops
pub(crate) struct FetchRings<T> {
    pub from: Planes<T>,
    pub run: usize,
    pub batch: Planes<T>,
    pub step: usize,
    /// A multiple of nine.
    pub rows: usize,
    /// At least as many as the widest vector has.
    pub lanes: usize,
    /// The minor axis first.
    pub b: [(T, T); 2],
}

impl<T: Real> Kernel<T> for FetchRings<T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        self.fetch::<V::Narrow>();
    }
}

impl<T: Real> FetchRings<T> {
    #[inline(always)]
    fn fetch<V: Lanes<T = T>>(self) {
        let [(b_re, b_im), (c_re, c_im)] = self.b;
        let splat = V::splat;
        let pair = Pair { b: (splat(b_re), splat(b_im)), c: (splat(c_re), splat(c_im)), one: one() };
        for nine in 0..self.rows / 9 {
            let mut lane = 0;
            while lane < self.lanes {
                // The last vector overlaps the one before; what both write is the same.
                let at = lane.min(self.lanes - V::N);
                // SAFETY: `rows` rows of `lanes ≥ N` lanes exist on both sides, which are apart.
                unsafe {
                    let from = Rows::new(self.from, self.run).shifted(opaque(9 * nine * self.run + at));
                    let to = Rows::new(self.batch, self.step).shifted(opaque(9 * nine * self.step + at));
                    pair.block(from, to);
                }
                lane += V::N;
            }
        }
    }
}

impl<T: Real, const AXES: usize, const PASS: u8> RingPass<T, AXES, PASS> {
    #[inline(always)]
    fn couple_all<V: Lanes<T = T>>(self) {
        let Lines { outer, outer_stride, inner, inner_stride, step, lanes } = self.lines;
        let zero = T::from_f64(0.0);
        let mut b = [(V::splat(zero), V::splat(zero)); AXES];
        for axis in 0..AXES {
            b[axis] = (V::splat(self.b[axis].0), V::splat(self.b[axis].1));
        }
        let (rows, one) = (Rows::new(self.planes, step), one());
        if AXES == 2 && PASS == FLOW && lanes >= V::N {
            let couple = Pair { b: b[0], c: b[AXES - 1], one };
            for o in 0..outer {
                for i in 0..inner {
                    // SAFETY: the geometry stays inside the planes, and this chunk owns them.
                    unsafe { couple.lines(rows.shifted(opaque(o * outer_stride + i * inner_stride)), lanes) };
                }
            }
            return;
        }
        for o in 0..outer {
            for i in 0..inner {
                let base = o * outer_stride + i * inner_stride;
                let mut lane = 0;
                // SAFETY: the geometry stays inside the planes, and this chunk owns them.
                unsafe {
                    while lane + V::N <= lanes {
                        couple::<V, AXES, PASS, true>(rows.shifted(opaque(base + lane)), V::N, &b, one);
                        lane += V::N;
                    }
                    if lane < lanes {
                        couple::<V, AXES, PASS, false>(rows.shifted(base + lane), lanes - lane, &b, one);
                    }
                }
            }
        }
    }
}

/// Two neighbouring axes done together: (1 + b·S)(1 + c·S') on blocks of 3 × 3, minor index fastest.
#[derive(Clone, Copy)]
struct Pair<V> {
    /// Of the minor axis.
    b: (V, V),
    /// Of the major axis.
    c: (V, V),
    /// 1, see [`Lanes::add_by`].
    one: V,
}

/// 1, but the compiler does not know.
#[inline(always)]
pub(crate) fn one<V: Lanes>() -> V {
    V::splat(V::T::from_f64(opaque(1) as f64))
}

impl<V: Lanes> Pair<V> {
    /// Nine rows of `lanes ≥ N` lanes, in place.
    ///
    /// # Safety
    /// They are readable and writable.
    #[inline(always)]
    unsafe fn lines(self, rows: Rows<V::T>, lanes: usize) {
        // Re and Im of nine rows of at most 16 lanes.
        let mut kept = MaybeUninit::<[V::T; 2 * 9 * 16]>::uninit();
        let tail = lanes % V::N;
        // SAFETY: says the caller; `kept` has room for nine complex vectors.
        unsafe {
            let last = rows.shifted(lanes - V::N);
            let re: *mut V::T = kept.as_mut_ptr().cast();
            let kept = Rows { re, im: re.add(9 * V::N), step: V::N };
            if tail > 0 {
                // The last vector overlaps the one before: it is computed from what is still untouched.
                self.block(last, kept);
            }
            let mut lane = 0;
            while lane + V::N <= lanes {
                let rows = rows.shifted(opaque(lane));
                self.block(rows, rows);
                lane += V::N;
            }
            if tail > 0 {
                for k in 0..9 {
                    last.store::<V, true>(k, V::N, kept.load::<V, true>(k, V::N));
                }
            }
        }
    }

    /// One vector of each of nine rows. What the minor rings add is the same along a ring, so that the sums over the major
    /// ones need no row a second time: y_kj = x_kj + (t_k + u_j) with t_k = b·Σ_j x_kj, u_j = c·Σ_k (x_kj + t_k).
    ///
    /// # Safety
    /// Nine vectors are readable and writable; `to` is `from` or apart from it.
    #[inline(always)]
    unsafe fn block(self, from: Rows<V::T>, to: Rows<V::T>) {
        let mut along = [Complex::zero(); 3];
        let mut across = [Complex::zero(); 3];
        // SAFETY: says the caller.
        unsafe {
            for k in 0..3 {
                let [x, y, z] = [
                    from.load::<V, true>(3 * k, V::N),
                    from.load::<V, true>(3 * k + 1, V::N),
                    from.load::<V, true>(3 * k + 2, V::N),
                ];
                along[k] = x.add(y).add(z).mul(self.b.0, self.b.1);
                across = match k {
                    0 => [x, y, z],
                    _ => [across[0].add(x), across[1].add(y), across[2].add(z)],
                };
            }
            let added = along[0].add(along[1]).add(along[2]);
            for j in 0..3 {
                across[j] = across[j].add(added).mul(self.c.0, self.c.1);
            }
            for k in 0..3 {
                for j in 0..3 {
                    let x = from.load::<V, true>(3 * k + j, V::N);
                    let added = along[k].add(across[j]);
                    to.store::<V, true>(3 * k + j, V::N, x.add_by(self.one, added));
                }
            }
        }
    }
}

/// # Safety
/// 3^AXES rows with `n` lanes each are readable and writable.
#[inline(always)]
unsafe fn couple<V: Lanes, const AXES: usize, const PASS: u8, const FULL: bool>(
    rows: Rows<V::T>,
    n: usize,
    b: &[(V, V); AXES],
    one: V,
) {
    // SAFETY: says the caller.
    unsafe {
        if AXES == 1 {
            let x = [rows.load::<V, FULL>(0, n), rows.load::<V, FULL>(1, n), rows.load::<V, FULL>(2, n)];
            let x = match PASS {
                FLOW => {
                    let [x, y, z] = x;
                    let t = x.add(y).add(z).mul(b[0].0, b[0].1);
                    [x.add_half_by(one, t), y.add_half_by(one, t), z.add_half_by(one, t)]
                }
                _ => ring::<V, PASS>(x, b[0]),
            };
            for k in 0..3 {
                rows.store::<V, FULL>(k, n, x[k]);
            }
        } else {
            let mut x = [Complex::zero(); 9];
            for k in 0..9 {
                x[k] = rows.load::<V, FULL>(k, n);
            }
            nine::<V, PASS>(&mut x, b[0], b[AXES - 1]);
            for k in 0..9 {
                rows.store::<V, FULL>(k, n, x[k]);
            }
        }
    }
}

/// Both axes of a 3 × 3 block, minor index fastest.
#[inline(always)]
pub(crate) fn nine<V: Lanes, const PASS: u8>(x: &mut [Complex<V>; 9], minor: (V, V), major: (V, V)) {
    for k in 0..3 {
        [x[3 * k], x[3 * k + 1], x[3 * k + 2]] =
            ring::<V, PASS>([x[3 * k], x[3 * k + 1], x[3 * k + 2]], minor);
    }
    for k in 0..3 {
        [x[k], x[k + 3], x[k + 6]] = ring::<V, PASS>([x[k], x[k + 3], x[k + 6]], major);
    }
}

/// One ring of three.
#[inline(always)]
pub(crate) fn ring<V: Lanes, const PASS: u8>(x: [Complex<V>; 3], (re, im): (V, V)) -> [Complex<V>; 3] {
    let minus_half = V::splat(V::T::from_f64(-0.5));
    match PASS {
        FLOW => {
            let t = x[0].add(x[1]).add(x[2]).mul(re, im);
            [x[0].add(t), x[1].add(t), x[2].add(t)]
        }
        FORWARD => {
            let sum = x[1].add(x[2]);
            [x[0].add(sum), x[0].add_scaled(minus_half, sum), x[1].sub(x[2])]
        }
        _ => {
            let middle = x[0].add_scaled(minus_half, x[1]);
            [x[0].add(x[1]), middle.add(x[2]), middle.sub(x[2])]
        }
    }
}
