//! The step of a node. Invariant: a pure function of the node and its cell, the same in blocks and node by node but for
//! rounding. Source: the recurrence's definition, s = min(Δ₀(1 − r̂)/(1 + a·ρ·Tr G), 1.6/ρ(G)) and t = s/(1 − sγ).

use super::super::Recurrence;
use super::{LEAST, mean};
use crate::field::Real;
use crate::simd::Lanes;

/// What all nodes have in common.
pub(super) struct Constants<V> {
    one: V,
    step: V,
    /// B.
    pub input: V,
    mean: V,
    least: V,
    less_than_nothing: V,
}

impl<V: Lanes> Constants<V> {
    #[inline(always)]
    pub fn new(recurrence: &Recurrence) -> Self {
        let splat = |x: f64| V::splat(V::T::from_f64(x));
        Constants {
            one: splat(1.0),
            step: splat(recurrence.step),
            input: splat(recurrence.input_weight),
            mean: splat(mean(recurrence)),
            least: splat(LEAST),
            less_than_nothing: splat(f64::NEG_INFINITY),
        }
    }

    /// Δ₀(1 − r̂) and 1 + a·ρ·Tr G, whose quotient the step is where it is not limited.
    #[inline(always)]
    fn parts(&self, re: V, im: V, openness: V, weight: V) -> (V, V) {
        let density = im.mul_add(im, re.mul(re));
        (self.step.mul(openness), density.mul_add(weight, self.one))
    }

    /// s of nodes with Ψ, 1 − r̂, and a·Tr G and the greatest step of their cells.
    #[inline(always)]
    pub fn step(&self, re: V, im: V, openness: V, weight: V, most: V) -> V {
        let (open, slowed) = self.parts(re, im, openness, weight);
        open.div(slowed).min(most)
    }

    /// t of a step.
    #[inline(always)]
    pub fn turn(&self, step: V) -> V {
        self.only_forward(step.div(step.neg_mul_add(self.mean, self.one).max(self.least)))
    }

    /// t at once; `most` is that of the greatest step.
    #[inline(always)]
    pub fn turn_at_once(&self, re: V, im: V, openness: V, weight: V, most: V) -> V {
        let (open, slowed) = self.parts(re, im, openness, weight);
        let left = open.neg_mul_add(self.mean, slowed).max(slowed.mul(self.least));
        self.only_forward(open.div(left).min(most))
    }

    /// Where the factor 1 − sγ is not well above 0, t is huge; where the step is negative it is infinite: no block takes such a
    /// node.
    #[inline(always)]
    fn only_forward(&self, turn: V) -> V {
        turn.mul(self.less_than_nothing).max(turn)
    }
}
