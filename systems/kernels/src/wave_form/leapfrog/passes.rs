//! Passes over runs of nodes: kick and drift, damping, copies, Nyquist modes.
//!
//! Invariant: a node's result depends on its own numbers (a line's on its own nodes), never on how the torus was cut;
//! increments, so that single precision has no bias. Source: the module above.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::Leap;
use crate::field::Real;
use crate::half_potential::Planes;
use crate::simd::{Kernel, Lanes, SimdReal};
use crate::transcendental::loss_and_weight;
use core::ops::Range;

/// One pass over some nodes, as a vector kernel. Built only with planes that have them, and by whoever owns those that are written.
#[doc(hidden)]
pub enum LeapPass<'a, T: SimdReal> {
    Step(StepRun<T>),
    Damp(DampRun<'a, T>),
    Move(MoveRun<T>),
    Nyquist(NyquistRun<'a, T>),
}

impl<T: Real> Kernel<T> for LeapPass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        match self {
            Self::Step(run) => V::call(run),
            Self::Damp(run) => V::call(run),
            Self::Move(run) => V::call(run),
            Self::Nyquist(run) => run.run::<V>(),
        }
    }
}

/// The constants of a kick and a drift, rounded once.
#[derive(Clone, Copy)]
pub struct StepPlan<T> {
    h: T,
    /// hβ.
    strength: T,
    drift: T,
    is_drifting: bool,
    gain: T,
}

impl<T: Real> StepPlan<T> {
    pub fn new(leap: &Leap) -> Self {
        StepPlan {
            h: T::from_f64(leap.kick),
            strength: T::from_f64(leap.kick * leap.beta),
            drift: T::from_f64(leap.drift.unwrap_or(0.0)),
            is_drifting: leap.drift.is_some(),
            gain: T::from_f64(leap.gain),
        }
    }
}

/// Kick and drift of `n` nodes.
pub struct StepRun<T> {
    pub(super) plan: StepPlan<T>,
    pub(super) psi: Planes<T>,
    pub(super) velocity: Planes<T>,
    pub(super) image: Planes<T>,
    pub(super) n: usize,
}

impl<T: Real> Kernel<T> for StepRun<T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let StepRun { plan, psi, velocity, image, n } = self;
        let (h, strength) = (V::splat(plan.h), V::splat(plan.strength));
        let (drift, gain) = (V::splat(plan.drift), V::splat(plan.gain));
        for i in (0..n).step_by(V::N) {
            let n = V::N.min(n - i);
            // SAFETY: `n` nodes from `i` on exist and are this pass'.
            unsafe {
                let (re, im) = (V::load_n(psi.re.add(i), n), V::load_n(psi.im.add(i), n));
                let force = im.mul_add(im, re.mul(re)).mul(strength);
                let (x, y) = (V::load_n(velocity.re.add(i), n), V::load_n(velocity.im.add(i), n));
                let dx = V::load_n(image.re.add(i), n).mul_add(h, force.mul(re));
                let dy = V::load_n(image.im.add(i), n).mul_add(h, force.mul(im));
                let (x, y) = if plan.is_drifting {
                    let (x, y) = (x.add(dx), y.add(dy));
                    re.add(gain.mul_add(re, drift.mul(x))).store_n(psi.re.add(i), n);
                    im.add(gain.mul_add(im, drift.mul(y))).store_n(psi.im.add(i), n);
                    (x, y)
                } else {
                    (x.add(gain.mul_add(x, dx)), y.add(gain.mul_add(y, dy)))
                };
                x.store_n(velocity.re.add(i), n);
                y.store_n(velocity.im.add(i), n);
            }
        }
    }
}

/// The constants of a damping.
#[derive(Clone, Copy)]
pub struct DampPlan<T> {
    h: T,
    /// 1 − e^{−Γh} where Γ is uniform.
    loss: T,
}

impl<T: Real> DampPlan<T> {
    pub fn new(duration: f64, gamma: f64) -> Self {
        DampPlan { h: T::from_f64(duration), loss: T::from_f64(-libm::expm1(-gamma * duration)) }
    }
}

/// Damping of `n` nodes, uniform or by node.
pub struct DampRun<'a, T> {
    pub(super) plan: DampPlan<T>,
    pub(super) velocity: Planes<T>,
    pub(super) damping: Option<&'a [T]>,
    pub(super) n: usize,
}

impl<T: Real> Kernel<T> for DampRun<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let DampRun { plan, velocity, damping, n } = self;
        let (h, uniform) = (V::splat(plan.h), V::splat(plan.loss));
        for i in (0..n).step_by(V::N) {
            let n = V::N.min(n - i);
            // SAFETY: `n` nodes from `i` on exist, of the damping too, and are this pass'.
            unsafe {
                let loss = match damping {
                    Some(damping) => loss_and_weight(V::load_n(damping.as_ptr().add(i), n).mul(h)).0,
                    None => uniform,
                };
                for plane in [velocity.re, velocity.im] {
                    let x = V::load_n(plane.add(i), n);
                    loss.neg_mul_add(x, x).store_n(plane.add(i), n);
                }
            }
        }
    }
}

/// to ← from on `n` nodes, or added to it.
pub struct MoveRun<T> {
    pub(super) from: Planes<T>,
    pub(super) to: Planes<T>,
    pub(super) first: usize,
    pub(super) n: usize,
    pub(super) adds: bool,
}

impl<T: Real> Kernel<T> for MoveRun<T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let MoveRun { from, to, first, n, adds } = self;
        for (from, to) in [(from.re, to.re), (from.im, to.im)] {
            for i in (first..first + n).step_by(V::N) {
                let n = V::N.min(first + n - i);
                // SAFETY: `n` nodes from `i` on exist and are this pass'.
                unsafe {
                    let x = V::load_n(from.add(i), n);
                    (if adds { V::load_n(to.add(i), n).add(x) } else { x }).store_n(to.add(i), n);
                }
            }
        }
    }
}

/// The Nyquist modes of some lines of an axis.
pub struct NyquistRun<'a, T> {
    pub(super) extent: usize,
    pub(super) stride: usize,
    pub(super) page_nodes: usize,
    pub(super) weights: &'a [T],
    pub(super) lines: Range<usize>,
    pub(super) psi: &'a [Planes<T>],
    pub(super) image: &'a [Planes<T>],
}

impl<T: Real> NyquistRun<'_, T> {
    /// Σ(−1)^n Ψ_n of neighbouring lines in vectors, then ±weight·sum to the image.
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let NyquistRun { extent, stride, page_nodes, weights, lines, psi, image } = self;
        let mut line = lines.start;
        while line < lines.end {
            // Lines up to the end of the block, of the chunk and of the page.
            let first = line / stride * extent * stride + line % stride;
            let n = V::N.min(stride - line % stride).min(lines.end - line);
            let n = n.min(page_nodes - first % page_nodes);
            let zero = V::splat(T::default());
            let (mut re, mut im) = (zero, zero);
            // SAFETY: `n` lines beside each other, whose rows lie in pages; this pass owns them.
            unsafe {
                let row = |planes: &[Planes<T>], k: usize| {
                    let node = first + k * stride;
                    planes.get_unchecked(node / page_nodes).offset(node % page_nodes)
                };
                for k in 0..extent {
                    let row = row(psi, k);
                    let (x, y) = (V::load_n(row.re, n), V::load_n(row.im, n));
                    (re, im) = if k % 2 == 0 { (re.add(x), im.add(y)) } else { (re.sub(x), im.sub(y)) };
                }
                let weight = V::load_n(weights.as_ptr().add(line), n);
                let (re, im) = (re.mul(weight), im.mul(weight));
                for k in 0..extent {
                    let row = row(image, k);
                    let (x, y) = (V::load_n(row.re, n), V::load_n(row.im, n));
                    let (x, y) = if k % 2 == 0 { (x.add(re), y.add(im)) } else { (x.sub(re), y.sub(im)) };
                    x.store_n(row.re, n);
                    y.store_n(row.im, n);
                }
            }
            line += n;
        }
    }
}
