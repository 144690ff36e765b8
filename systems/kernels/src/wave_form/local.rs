//! The kick of the velocity at each node. Invariant: Ψ is read only, so the flow is exact; increments, so that single
//! precision has no bias. Source: variation of constants for a linear equation with a constant right-hand side.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::Kick;
use crate::field::Real;
use crate::half_potential::Planes;
use crate::simd::{Kernel, Lanes};
use crate::transcendental::loss_and_weight;

/// The constants of a kick, rounded once.
pub(crate) struct KickPlan<T> {
    /// h.
    h: T,
    /// hβ.
    strength: T,
}

impl<T: Real> KickPlan<T> {
    /// `None` for a kick that changes nothing.
    pub fn new(kick: &Kick<'_, T>) -> Option<Self> {
        let is_idle = kick.beta == 0.0 && kick.damping.is_none();
        let strength = T::from_f64(kick.duration * kick.beta);
        (!is_idle).then(|| KickPlan { h: T::from_f64(kick.duration), strength })
    }
}

/// One run of nodes; `damping` is null where it does not vary.
///
/// - equation: Ψ̇' = Ψ̇ + φ·(hβ|Ψ|²Ψ − ΓhΨ̇), φ = (1 − e^{−Γh})/(Γh)
/// - source: see the module
/// - scheme and order: exact flow of the local part; second order inside the step
/// - stability bound: none for the linear part; β > 0 has no bound on the energy from below
/// - bytes and flops per node: 6 scalars (7 with damping), 9 flops (about 30)
///
/// Built only where both fields and the damping have `psi.len` nodes and nobody else touches the velocity.
pub(crate) struct KickRun<'a, T> {
    pub plan: &'a KickPlan<T>,
    pub psi: Planes<T>,
    pub velocity: Planes<T>,
    pub damping: *const T,
}

impl<T: Real> Kernel<T> for KickRun<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        if self.damping.is_null() {
            kick::<V, false>(&self);
        } else {
            kick::<V, true>(&self);
        }
    }
}

#[inline(always)]
fn kick<V: Lanes, const DAMPED: bool>(run: &KickRun<'_, V::T>) {
    let KickRun { plan, psi, velocity, damping } = run;
    let (h, strength) = (V::splat(plan.h), V::splat(plan.strength));
    let half = V::splat(V::T::from_f64(0.5));
    for i in (0..psi.len).step_by(V::N) {
        let n = V::N.min(psi.len - i);
        // SAFETY: `n` nodes from `i` on exist, see the struct.
        unsafe {
            let (re, im) = (V::load_n(psi.re.add(i), n), V::load_n(psi.im.add(i), n));
            let force = im.mul_add(im, re.mul(re)).mul(strength);
            let (vel_re, vel_im) = (velocity.re.add(i), velocity.im.add(i));
            let (x, y) = (V::load_n(vel_re, n), V::load_n(vel_im, n));
            let (x, y) = if DAMPED {
                let exponent = V::load_n(damping.add(i), n).mul(h);
                // The weight of y/2 is (1 − e^{−y})/y.
                let (_, weight) = loss_and_weight(exponent.mul(half));
                let dx = exponent.neg_mul_add(x, force.mul(re));
                let dy = exponent.neg_mul_add(y, force.mul(im));
                (weight.mul_add(dx, x), weight.mul_add(dy, y))
            } else {
                (force.mul_add(re, x), force.mul_add(im, y))
            };
            x.store_n(vel_re, n);
            y.store_n(vel_im, n);
        }
    }
}
