//! Transcendental functions whose bits depend neither on the platform's libm nor on the SIMD level.
//! Invariant: integer and IEEE arithmetic only. Source: scalar functions from `libm` (musl, FreeBSD msun); vector
//! forms are Taylor polynomials in increment form, so that nothing is lost in single precision at small arguments.

use core::f64::consts::TAU;

use crate::field::Real;
use crate::simd::Lanes;

pub use libm::{cos, cosh, exp, expm1, fabs, log as ln, log1p, pow, sin, sincos, sinh, sqrt, tan, tanh};

/// `Angles` below this need no range reduction and the short polynomials.
pub(crate) const SMALL_ANGLE: f64 = 0.1;

/// Angles below this need the shortest polynomials: those of most steps. In single precision it is what keeps the modulus over
/// millions of ticks.
pub(crate) fn tiny_angle<T: Real>() -> f64 {
    if T::BYTES == 4 { 0.015 } else { 0.03 }
}

/// In double precision, angles below this need even less; the bias of the modulus is then below a⁶/360, 1e-17.
pub(crate) const MINUTE_ANGLE: f64 = 0.004;

/// Exponents below this need a short series: those of most steps.
const TINY_EXPONENT: f64 = 0.005;
/// Exponents below this need no halving.
const SMALL_EXPONENT: f64 = 0.25;
/// Halvings applied beyond: exponents below `SMALL_EXPONENT·2^4` stay in vectors.
const HALVINGS: usize = 4;

/// 1/k! for k = 0..=22.
const INVERSE_FACTORIAL: [f64; 23] = {
    let mut table = [1.0; 23];
    let mut k = 1;
    let mut factorial = 1.0; // exact in f64 up to 22!
    while k < 23 {
        factorial *= k as f64;
        table[k] = 1.0 / factorial;
        k += 1;
    }
    table
};

#[inline(always)]
fn constant<V: Lanes>(x: f64) -> V {
    V::splat(V::T::from_f64(x))
}

#[inline(always)]
fn signed_coefficient(k: usize) -> f64 {
    if (k / 2) % 2 == 1 { -INVERSE_FACTORIAL[k] } else { INVERSE_FACTORIAL[k] }
}

/// Σ c_k u^((k−k0)/2) for k = k0, k0+2, …, `last`, by Horner, c_k = ±1/k!.
#[inline(always)]
fn alternating<V: Lanes>(u: V, first: usize, last: usize) -> V {
    let mut p = constant::<V>(signed_coefficient(last));
    let mut k = last;
    while k > first {
        k -= 2;
        p = p.mul_add(u, constant::<V>(signed_coefficient(k)));
    }
    p
}

/// (sin a, cos a − 1) for |a| < [`tiny_angle`]; error below a quarter unit in the last place of 1. The modulus has a bias
/// below |a|⁶/60 in single precision, |a|⁸/20,000 in double.
#[inline(always)]
pub(crate) fn sin_cosm1_tiny<V: Lanes>(a: V) -> (V, V) {
    let single = V::T::BYTES == 4;
    let u = a.mul(a);
    let s = alternating::<V>(u, 3, if single { 3 } else { 7 });
    let c = alternating::<V>(u, 2, if single { 4 } else { 6 });
    (s.mul_add(a.mul(u), a), c.mul(u))
}

/// The same for |a| < [`MINUTE_ANGLE`].
#[inline(always)]
pub(crate) fn sin_cosm1_minute<V: Lanes>(a: V) -> (V, V) {
    let u = a.mul(a);
    let s = alternating::<V>(u, 3, 5);
    let c = alternating::<V>(u, 2, 4);
    (s.mul_add(a.mul(u), a), c.mul(u))
}

/// (sin a, cos a − 1) for |a| < [`SMALL_ANGLE`]; error below a quarter unit in the last place of 1.
#[inline(always)]
pub(crate) fn sin_cosm1_small<V: Lanes>(a: V) -> (V, V) {
    let single = V::T::BYTES == 4;
    let u = a.mul(a);
    let s = alternating::<V>(u, 3, if single { 5 } else { 9 });
    let c = alternating::<V>(u, 2, if single { 4 } else { 10 });
    (s.mul_add(a.mul(u), a), c.mul(u))
}

/// (sin a, cos a − 1) for any finite a (relative accuracy fades as |a| outgrows the mantissa); NaN gives NaN.
/// cos a − 1 = −2 sin²(a/2), so that the modulus has no bias.
#[inline(always)]
pub(crate) fn sin_cosm1<V: Lanes>(a: V) -> (V, V) {
    let single = V::T::BYTES == 4;
    let high = V::T::from_f64(TAU);
    let low = (TAU - high.to_f64()) + 2.449_293_598_294_706_4e-16;
    let turns = a.mul(constant::<V>(1.0 / TAU)).round();
    let r = turns.neg_mul_add(V::splat(high), a);
    let r = turns.neg_mul_add(constant::<V>(low), r);
    // Only an |a| beyond the reach of the reduction leaves [−π, π]; the clamp keeps the flow unitary there.
    let half = r.mul(constant::<V>(0.5));
    let t = constant::<V>(TAU / 4.0).min(constant::<V>(-TAU / 4.0).max(half));
    let u = t.mul(t);
    let s = alternating::<V>(u, 3, if single { 13 } else { 21 }).mul_add(t.mul(u), t);
    let c = alternating::<V>(u, 2, if single { 12 } else { 22 }).mul_add(u, constant::<V>(1.0));
    let two_s = s.add(s);
    (two_s.mul(c), constant::<V>(0.0).sub(two_s.mul(s)))
}

/// (1 − e^{−y}, (1 − e^{−2y})/(2y)) for any y; the first is the loss of a damping factor, the second what a decaying
/// density weighs relative to a constant one.
#[inline(always)]
pub(crate) fn loss_and_weight<V: Lanes>(y: V) -> (V, V) {
    let reach = SMALL_EXPONENT * f64::from(1u32 << HALVINGS);
    if y.abs().all_below(constant::<V>(TINY_EXPONENT)) {
        let phi = phi_small(y, if V::SINGLE { 2 } else { 5 });
        let loss = y.mul(phi);
        (loss, weight_from(phi, loss))
    } else if y.abs().all_below(constant::<V>(SMALL_EXPONENT)) {
        let phi = phi_small(y, if V::SINGLE { 6 } else { 12 });
        let loss = y.mul(phi);
        (loss, weight_from(phi, loss))
    } else if y.abs().all_below(constant::<V>(reach)) {
        let mut x = y.mul(constant::<V>(1.0 / f64::from(1u32 << HALVINGS)));
        let mut phi = phi_small(x, if V::SINGLE { 6 } else { 12 });
        for _ in 0..HALVINGS {
            // φ(2x) = φ(x)(1 − xφ(x)/2).
            phi = weight_from(phi, x.mul(phi));
            x = x.add(x);
        }
        let loss = y.mul(phi);
        (loss, weight_from(phi, loss))
    } else {
        lane_by_lane(y)
    }
}

/// φ(y) = (1 − e^{−y})/y by its series up to y^`last`, |y| < [`SMALL_EXPONENT`].
#[inline(always)]
fn phi_small<V: Lanes>(y: V, last: usize) -> V {
    let mut p = constant::<V>(INVERSE_FACTORIAL[last + 1]);
    let mut k = last;
    while k > 0 {
        k -= 1;
        p = y.neg_mul_add(p, constant::<V>(INVERSE_FACTORIAL[k + 1]));
    }
    p
}

#[inline(always)]
fn weight_from<V: Lanes>(phi: V, loss: V) -> V {
    phi.mul(loss).neg_mul_add(constant::<V>(0.5), phi)
}

/// The same through scalar `libm`, for exponents where a factor e^{−4} or less remains (or a growth of e^4 or more).
#[inline(always)]
fn lane_by_lane<V: Lanes>(y: V) -> (V, V) {
    let mut lanes = [V::T::default(); 16];
    let mut loss = [V::T::default(); 16];
    let mut weight = [V::T::default(); 16];
    y.store_array(&mut lanes);
    for i in 0..V::N {
        let x = lanes[i].to_f64();
        loss[i] = V::T::from_f64(-expm1(-x));
        weight[i] = V::T::from_f64(crate::nonlinear::effective_duration(x, 1.0));
    }
    (V::from_array(&loss), V::from_array(&weight))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level, dispatch};

    struct Both<T>(T);
    impl<T: Real> Kernel<T> for Both<T> {
        type Out = [f64; 4];
        #[inline(always)]
        fn run<V: Lanes<T = T>>(self) -> [f64; 4] {
            let x = V::splat(self.0);
            let (s, c) = match self.0.to_f64().abs() {
                a if !V::SINGLE && a < MINUTE_ANGLE => sin_cosm1_minute(x),
                a if a < tiny_angle::<T>() => sin_cosm1_tiny(x),
                a if a < SMALL_ANGLE => sin_cosm1_small(x),
                _ => sin_cosm1(x),
            };
            let (l, w) = loss_and_weight(x);
            let mut out = [0.0; 4];
            for (o, v) in out.iter_mut().zip([s, c, l, w]) {
                let mut lanes = [T::default(); 16];
                v.store_array(&mut lanes);
                *o = lanes[0].to_f64();
            }
            out
        }
    }

    fn check<T: Real>(resolution: f64) {
        for level in Level::available() {
            for i in -4000..4000 {
                let x = T::from_f64(f64::from(i) * 3.17e-3 * if i % 7 == 0 { 1e-4 } else { 1.0 });
                let [s, c, l, w] = dispatch::<T, _>(level, Both(x));
                let y = x.to_f64();
                let near = |a: f64, b: f64, scale: f64| {
                    assert!((a - b).abs() <= 4.0 * resolution * scale.max(1e-300), "{level} {y}: {a} {b}");
                };
                near(s, sin(y), y.abs().min(1.0));
                // The shortest polynomials are as near to 1 as they promise; the others keep every digit of cos − 1.
                let (cosm1, shortest) = (-2.0 * sin(0.5 * y) * sin(0.5 * y), y.abs() < tiny_angle::<T>());
                near(c, cosm1, (y * y).min(1.0).max(if shortest { 1.0 / 16.0 } else { 0.0 }));
                near(l, -expm1(-y), 4.0 * expm1(-y).abs());
                near(w, crate::nonlinear::effective_duration(y, 1.0), 4.0 * exp(-2.0 * y).max(1.0));
            }
        }
    }

    #[test]
    fn vector_functions_match_libm() {
        check::<f32>(f64::from(f32::EPSILON));
        check::<f64>(f64::EPSILON);
    }

    #[test]
    fn not_a_number_stays_visible() {
        for level in Level::available() {
            for x in [f32::NAN, f32::INFINITY] {
                let out = dispatch::<f32, _>(level, Both(x));
                assert!(out[0].is_nan() && out[1].is_nan());
            }
            assert!(dispatch::<f32, _>(level, Both(3e30_f32))[0].abs() <= 1.0);
        }
    }
}
