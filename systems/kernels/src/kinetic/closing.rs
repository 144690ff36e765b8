//! A ring of three rows and the local flow after it in one pass, from a batch to its page. Invariant: the bits of a ring pass
//! and a flow without damping one after the other, but for which vectors decide together on a polynomial.
//! Source: loop fusion; the flow is bound by products, the ring by sums, and what is between them stays in registers.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::dft::Complex;
use super::lines::Rows;
use super::ring::one;
use crate::field::Real;
use crate::half_potential::{FreeFlow, Kind, LocalPlan, Operands, Planes};
use crate::simd::{Kernel, Lanes, opaque};

/// Rows `k`, `k + rows/3` and `k + 2·rows/3` are a ring, with the coefficient `b`. Built only with planes and operands that have
/// all rows, of as many lanes as the widest vector has at least, and for a flow that [can be fused](RingRun::is_possible).
///
/// - equation: y_j = x_j + b·(x_0 + x_1 + x_2), then Ψ' = e^{ia}Ψ of [`crate::half_potential::apply`]
/// - scheme and order: both exact
/// - stability bound: as [`crate::half_potential::apply`]
/// - bytes and flops per node: 5 scalars, 33 flops
pub(crate) struct RingRun<'a, T> {
    pub plan: &'a LocalPlan<T>,
    pub operands: Operands<T>,
    /// The first row, and scalars from one to the next.
    pub batch: (Planes<T>, usize),
    /// The same; operands are as far apart.
    pub page: (Planes<T>, usize),
    pub rows: usize,
    pub lanes: usize,
    pub b: (T, T),
}

impl<T: Real> RingRun<'_, T> {
    /// Whether the flow is without damping, in real time.
    pub fn is_possible(plan: &LocalPlan<T>) -> bool {
        matches!(plan.kind, Kind::Free { .. })
    }
}

impl<T: Real> Kernel<T> for RingRun<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        match self.plan.kind {
            Kind::Free { gain: false, potential: true } => V::call(Fused::<T, false, true>(self)),
            Kind::Free { gain: true, potential: true } => V::call(Fused::<T, true, true>(self)),
            Kind::Free { gain: false, potential: false } => V::call(Fused::<T, false, false>(self)),
            Kind::Free { gain: true, potential: false } => V::call(Fused::<T, true, false>(self)),
            Kind::Damped | Kind::Imaginary => unreachable!("fused only where it is possible"),
        }
    }
}

struct Fused<'a, T, const GAIN: bool, const POTENTIAL: bool>(RingRun<'a, T>);

impl<T: Real, const GAIN: bool, const POTENTIAL: bool> Kernel<T> for Fused<'_, T, GAIN, POTENTIAL> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let RingRun { plan, operands, batch, page, rows, lanes, b } = self.0;
        let flow = FreeFlow::<V, GAIN>::new(plan);
        let (b_re, b_im, one) = (V::splat(b.0), V::splat(b.1), one::<V>());
        let third = rows / 3;
        for k in 0..third {
            let mut lane = 0;
            while lane < lanes {
                // The last vector overlaps the one before; what is read stays as it is.
                let at = lane.min(lanes - V::N);
                // SAFETY: `rows` rows of `lanes ≥ N` lanes exist on both sides, which are apart.
                unsafe {
                    let from = Rows::new(batch.0, third * batch.1).shifted(opaque(k * batch.1 + at));
                    let to = Rows::new(page.0, third * page.1).shifted(opaque(k * page.1 + at));
                    let v = operands.potential.wrapping_add(k * page.1 + at);
                    let x = from.load::<V, true>(0, V::N);
                    let y = from.load::<V, true>(1, V::N);
                    let z = from.load::<V, true>(2, V::N);
                    let t = x.add(y).add(z).mul(b_re, b_im);
                    // In double precision the flow fills the units for products.
                    let (x, y, z) = if V::SINGLE {
                        (x.add_half_by(one, t), y.add_half_by(one, t), z.add_half_by(one, t))
                    } else {
                        (x.add(t), y.add(t), z.add(t))
                    };
                    let (u, v, w) = if POTENTIAL {
                        (V::load(v), V::load(v.add(third * page.1)), V::load(v.add(2 * third * page.1)))
                    } else {
                        (x.re, y.re, z.re)
                    };
                    let p = flow.angle::<POTENTIAL>(x.re, x.im, u);
                    let q = flow.angle::<POTENTIAL>(y.re, y.im, v);
                    let r = flow.angle::<POTENTIAL>(z.re, z.im, w);
                    let largest = p.abs().max(q.abs()).max(r.abs());
                    let ((x, x_im), (y, y_im), (z, z_im)) = if largest.all_below(flow.tiny) {
                        (
                            flow.turn_tiny(x.re, x.im, p),
                            flow.turn_tiny(y.re, y.im, q),
                            flow.turn_tiny(z.re, z.im, r),
                        )
                    } else if largest.all_below(flow.small) {
                        (
                            flow.turn_small(x.re, x.im, p),
                            flow.turn_small(y.re, y.im, q),
                            flow.turn_small(z.re, z.im, r),
                        )
                    } else {
                        (flow.turn(x.re, x.im, p), flow.turn(y.re, y.im, q), flow.turn(z.re, z.im, r))
                    };
                    to.store::<V, true>(0, V::N, Complex { re: x, im: x_im });
                    to.store::<V, true>(1, V::N, Complex { re: y, im: y_im });
                    to.store::<V, true>(2, V::N, Complex { re: z, im: z_im });
                }
                lane += V::N;
            }
        }
    }
}
