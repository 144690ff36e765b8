//! Sums in double precision of what vectors hold. Invariant: lanes are summed side by side and folded in order, so no level changes
//! a bit. Source: definition.

use super::Lanes;

/// Sums of one value per lane in f64.
pub(crate) struct Accumulator<V: Lanes>([V::Wide; 2]);

impl<V: Lanes> Accumulator<V> {
    /// Nothing yet.
    #[inline(always)]
    pub fn new() -> Self {
        Self([V::Wide::splat(0.0); 2])
    }

    /// Adds every lane.
    #[inline(always)]
    pub fn add(&mut self, x: V) {
        for half in 0..V::N / 8 {
            self.0[half] = self.0[half].add(x.widen(half));
        }
    }

    /// The sum of all that was added.
    #[inline(always)]
    pub fn total(self) -> f64 {
        total(self.0[0].add(self.0[1]))
    }
}

/// The lanes of a vector, summed in order.
#[inline(always)]
pub(crate) fn total<W: Lanes<T = f64>>(sums: W) -> f64 {
    let mut lanes = [0.0; 16];
    sums.store_array(&mut lanes);
    lanes[..W::N].iter().fold(0.0, |sum, lane| sum + lane)
}
