//! Three neighbouring active nodes of a longer ring: what most pages of a sparse set are along most axes.
//! Invariant: the matrix is symmetric under transposition and reversal, because D is uniform and the nodes are
//! equidistant; the increment U − 1 is split into its even and odd part. Source: [`super::Fibre`].

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::super::dft::Complex;
use super::super::fibre::Fibre;
use super::super::lines::{Lines, Rows};
use crate::field::Real;
use crate::half_potential::Planes;
use crate::simd::{Kernel, Lanes};

/// U − 1 = [a b c; b d b; c b a] as p = (a + c)/2, q = (a − c)/2, b and d.
#[derive(Clone, Copy)]
pub(super) struct Triple<T> {
    p: (T, T),
    q: (T, T),
    b: (T, T),
    d: (T, T),
}

impl<T: Real> Triple<T> {
    /// p, q, b, d.
    pub fn numbers(&self) -> [[f32; 2]; 4]
    where
        T: Into<f32>,
    {
        [self.p, self.q, self.b, self.d].map(|(re, im)| [re.into(), im.into()])
    }

    /// The propagator of a fibre of three neighbouring nodes; none for another length.
    pub fn new(fibre: &Fibre<T>) -> Option<Self> {
        if fibre.nodes() != 3 {
            return None;
        }
        let round = |(re, im): (f64, f64)| (T::from_f64(re), T::from_f64(im));
        let ((a_re, a_im), (c_re, c_im)) = (fibre.entry(0, 0), fibre.entry(0, 2));
        Some(Self {
            p: round((0.5 * (a_re + c_re), 0.5 * (a_im + c_im))),
            q: round((0.5 * (a_re - c_re), 0.5 * (a_im - c_im))),
            b: round(fibre.entry(0, 1)),
            d: round(fibre.entry(1, 1)),
        })
    }
}

/// One axis of side 3, or two neighbouring ones done together (`plans[0]` the minor, `plans[1]` the major axis).
///
/// - equation: x += (U − 1)x on each line of three nodes
/// - source: the module's
/// - scheme and order: exact
/// - stability bound: none (unitary)
/// - bytes and flops per node and axis: 4 scalars per pass of two axes, 18 flops
pub(super) struct TriplePass<'a, T, const AXES: usize> {
    pub planes: Planes<T>,
    /// Geometry of the minor axis; the major axis has three times its step.
    pub lines: Lines,
    pub plans: [&'a Triple<T>; AXES],
}

impl<T: Real, const AXES: usize> Kernel<T> for TriplePass<'_, T, AXES> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        // Nine complex vectors at a time: on AVX2 twice as many registers as there are, with the wide ones.
        self.couple_all::<V::Narrow>();
    }
}

impl<T: Real, const AXES: usize> TriplePass<'_, T, AXES> {
    #[inline(always)]
    fn couple_all<V: Lanes<T = T>>(self) {
        let Lines { outer, outer_stride, inner, inner_stride, step, lanes } = self.lines;
        let mut plans = [Spread::<V>::new(self.plans[0]); AXES];
        for axis in 1..AXES {
            plans[axis] = Spread::new(self.plans[axis]);
        }
        let rows = Rows::new(self.planes, step);
        for o in 0..outer {
            for i in 0..inner {
                let base = o * outer_stride + i * inner_stride;
                let mut lane = 0;
                // SAFETY: the geometry stays inside the planes, and this unit owns them.
                unsafe {
                    while lane + V::N <= lanes {
                        couple::<V, AXES, true>(rows.shifted(base + lane), V::N, &plans);
                        lane += V::N;
                    }
                    if lane < lanes {
                        couple::<V, AXES, false>(rows.shifted(base + lane), lanes - lane, &plans);
                    }
                }
            }
        }
    }
}

/// A plan in vectors.
#[derive(Clone, Copy)]
struct Spread<V> {
    p: (V, V),
    q: (V, V),
    b: (V, V),
    d: (V, V),
}

impl<V: Lanes> Spread<V> {
    #[inline(always)]
    fn new(plan: &Triple<V::T>) -> Self {
        Self { p: splat(plan.p), q: splat(plan.q), b: splat(plan.b), d: splat(plan.d) }
    }

    /// U on three nodes: increments are summed among themselves and added once.
    #[inline(always)]
    fn apply(&self, x: [Complex<V>; 3]) -> [Complex<V>; 3] {
        let (sum, difference) = (x[0].add(x[2]), x[0].sub(x[2]));
        let even = accumulate(sum.mul(self.p.0, self.p.1), x[1], self.b);
        let odd = difference.mul(self.q.0, self.q.1);
        let middle = accumulate(sum.mul(self.b.0, self.b.1), x[1], self.d);
        [x[0].add(even.add(odd)), x[1].add(middle), x[2].add(even.sub(odd))]
    }
}

/// A function and no closure, which would be one of its own, outside the vectors' `enter`.
#[inline(always)]
fn splat<V: Lanes>((re, im): (V::T, V::T)) -> (V, V) {
    (V::splat(re), V::splat(im))
}

/// sum + x·w.
#[inline(always)]
fn accumulate<V: Lanes>(sum: Complex<V>, x: Complex<V>, (re, im): (V, V)) -> Complex<V> {
    Complex {
        re: x.im.neg_mul_add(im, x.re.mul_add(re, sum.re)),
        im: x.im.mul_add(re, x.re.mul_add(im, sum.im)),
    }
}

/// # Safety
/// 3^AXES rows with `n` lanes each are readable and writable.
#[inline(always)]
unsafe fn couple<V: Lanes, const AXES: usize, const FULL: bool>(
    rows: Rows<V::T>,
    n: usize,
    plans: &[Spread<V>; AXES],
) {
    // SAFETY: says the caller.
    unsafe {
        if AXES == 1 {
            let x = [rows.load::<V, FULL>(0, n), rows.load::<V, FULL>(1, n), rows.load::<V, FULL>(2, n)];
            let x = plans[0].apply(x);
            for k in 0..3 {
                rows.store::<V, FULL>(k, n, x[k]);
            }
            return;
        }
        let mut x = [Complex::zero(); 9];
        for k in 0..3 {
            let (a, b) = (rows.load::<V, FULL>(3 * k, n), rows.load::<V, FULL>(3 * k + 1, n));
            let c = rows.load::<V, FULL>(3 * k + 2, n);
            [x[3 * k], x[3 * k + 1], x[3 * k + 2]] = plans[0].apply([a, b, c]);
        }
        for k in 0..3 {
            for (j, z) in plans[AXES - 1].apply([x[k], x[k + 3], x[k + 6]]).into_iter().enumerate() {
                rows.store::<V, FULL>(k + 3 * j, n, z);
            }
        }
    }
}
