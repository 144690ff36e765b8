//! What is done to every component of g alike: the relaxation, how far it has come, and whether it is a number.
//!
//! Invariant: a cell is a lane and sees no other; each number is what plain arithmetic gives, without fused operations.
//! Source: the module above.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::{BLOCK_CELLS, Relaxation, Tensors, component};
use crate::simd::{Kernel, Lanes};
use core::ops::Range;

/// g ← g + r(g₀ − g) − scale·S, r = 1 − e^{−λt}. Built only with tensors and sums of the same cells.
pub(super) struct Relax<'a, 'b> {
    pub tensors: &'a mut Tensors<'b>,
    pub sums: &'a [f64],
    pub rest: &'a [f64],
    pub nodes: usize,
    pub rates: &'a Relaxation,
}

impl Kernel<f64> for Relax<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = f64>>(self) {
        let Relax { tensors, sums, rest, nodes, rates } = self;
        let axes = rest.len();
        let n_cells = sums.len() / super::n_components(axes);
        let Relaxation { eta, lambda, duration, gradient_floor } = *rates;
        let returned = -libm::expm1(-lambda * duration);
        // (1 − e^{−λt})/λ, its limit where nothing returns.
        let yielded = if lambda * duration < 1e-12 { duration } else { returned / lambda };
        let (floor, least) = (V::splat(nodes as f64 * gradient_floor), V::splat(f64::MIN_POSITIVE));
        let (yielded, returned) = (V::splat(eta * yielded), V::splat(returned));
        for at in (0..n_cells).step_by(V::N) {
            let n = V::N.min(n_cells - at);
            // SAFETY: so many cells in every component.
            unsafe {
                let mut trace = V::splat(0.0);
                for i in 0..axes {
                    trace = trace.add(load::<V>(sums.as_ptr().add(component(axes, i, i) * n_cells + at), n));
                }
                let scale = yielded.div(trace.add(floor).max(least));
                for i in 0..axes {
                    for j in i..axes {
                        let c = component(axes, i, j);
                        let target = V::splat(if i == j { rest[i] } else { 0.0 });
                        let sum = load::<V>(sums.as_ptr().add(c * n_cells + at), n);
                        let to = tensors.g.as_mut_ptr().add(c * tensors.stride + tensors.first + at);
                        let g = load::<V>(to, n);
                        let change = returned.mul(target.sub(g)).sub(scale.mul(sum));
                        store(g.add(change), to, n);
                    }
                }
            }
        }
    }
}

/// The largest distance of a component of each cell from what it was; no number where one is none. Built only with tensors of
/// the cells, a block at most.
pub(super) struct Far<'a, 'b> {
    pub tensors: &'a Tensors<'b>,
    pub factorised: &'a [f64],
    pub components: usize,
    pub cells: Range<usize>,
}

impl Kernel<f64> for Far<'_, '_> {
    type Out = [f64; BLOCK_CELLS];
    #[inline(always)]
    fn run<V: Lanes<T = f64>>(self) -> [f64; BLOCK_CELLS] {
        let Far { tensors, factorised, components, cells } = self;
        let mut far = [0.0; BLOCK_CELLS];
        for at in (0..cells.len()).step_by(V::N) {
            let n = V::N.min(cells.len() - at);
            let first = tensors.first + cells.start + at;
            let (mut most, mut none) = (V::splat(0.0), V::splat(0.0));
            for c in 0..components {
                // SAFETY: so many cells in every component; a block is whole vectors.
                unsafe {
                    let now = load::<V>(tensors.g.as_ptr().add(c * tensors.stride + first), n);
                    let then = load::<V>(factorised.as_ptr().add(c * tensors.stride + first), n);
                    // `max` forgets what is no number.
                    let distance = now.sub(then).abs();
                    none = none.add(distance.sub(distance));
                    most = most.max(distance);
                }
            }
            // SAFETY: as above.
            unsafe { most.add(none).store(far.as_mut_ptr().add(at)) };
        }
        far
    }
}

/// Whether every number is one.
pub(super) struct Finite<'a> {
    pub numbers: &'a [f64],
}

impl Kernel<f64> for Finite<'_> {
    type Out = bool;
    #[inline(always)]
    fn run<V: Lanes<T = f64>>(self) -> bool {
        let numbers = self.numbers;
        let mut none = V::splat(0.0);
        for at in (0..numbers.len()).step_by(V::N) {
            // SAFETY: so many numbers.
            let x = unsafe { load::<V>(numbers.as_ptr().add(at), V::N.min(numbers.len() - at)) };
            none = none.add(x.sub(x));
        }
        none.all_below(V::splat(1.0))
    }
}

/// A vector, or its first `n` numbers.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn load<V: Lanes>(from: *const V::T, n: usize) -> V {
    // SAFETY: says the caller.
    unsafe { if n == V::N { V::load(from) } else { V::load_n(from, n) } }
}

/// # Safety
/// As [`load`].
#[inline(always)]
unsafe fn store<V: Lanes>(x: V, to: *mut V::T, n: usize) {
    // SAFETY: says the caller.
    unsafe { if n == V::N { x.store(to) } else { x.store_n(to, n) } }
}
