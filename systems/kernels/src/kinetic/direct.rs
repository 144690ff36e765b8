//! Lengths with large prime factors, and tori of very few lines: one line at a time through `rustfft`.
//! Invariant: the same scalar planner at every SIMD level, so the same bits. Source: the `rustfft` crate.

#![allow(unsafe_code)] // Strided access through pointers.

use std::sync::Arc;

use rustfft::{Fft, num_complex::Complex};

use super::lines::{FLOW, FORWARD, INVERSE, Lines};
use crate::field::Real;
use crate::half_potential::Planes;

type Line<T> = Complex<<T as crate::simd::SimdReal>::Num>;

/// A planned line transform with the factors of its modes in natural order.
pub struct DirectPlan<T: crate::simd::SimdReal> {
    n: usize,
    forward: Arc<dyn Fft<T::Num>>,
    inverse: Arc<dyn Fft<T::Num>>,
    /// What of the line itself is added to the result: 1 for a flow, 0 for another operator.
    kept: T::Num,
    /// (Factor − kept)/n.
    factors: Vec<Line<T>>,
}

impl<T: Real> DirectPlan<T> {
    /// `factors[m]` is the factor (re, im) of mode `m` in 0..n, less `kept`.
    pub(crate) fn new(kept: f64, factors: &[(f64, f64)]) -> Self {
        let n = factors.len();
        let [forward, inverse] = T::transforms(n);
        let round = |x: f64| T::from_f64(x / n as f64).to_num();
        let factors = factors.iter().map(|&(re, im)| Complex::new(round(re), round(im))).collect();
        DirectPlan { n, forward, inverse, kept: T::from_f64(kept).to_num(), factors }
    }

    /// Bytes of the tables.
    pub(crate) fn bytes(&self) -> usize {
        self.n * size_of::<Line<T>>()
    }

    /// Scalars of buffer a pass needs.
    pub(crate) fn buffer(&self) -> usize {
        2 * (self.n + self.forward.get_inplace_scratch_len().max(self.inverse.get_inplace_scratch_len()))
    }

    /// Transforms every line there and back (`PASS` = `FLOW`), or one way.
    ///
    /// # Safety
    /// The geometry stays inside the planes, the buffer has `self.buffer()` scalars, the caller owns both.
    pub(crate) unsafe fn run<const PASS: u8>(&self, planes: Planes<T>, lines: Lines, buffer: *mut T) {
        // SAFETY: a complex number is two scalars (repr(C)), `Num` is `T`; lengths as the caller says.
        let (line, scratch) = unsafe {
            let all = core::slice::from_raw_parts_mut(buffer.cast::<Line<T>>(), self.buffer() / 2);
            all.split_at_mut(self.n)
        };
        for o in 0..lines.outer {
            for i in 0..lines.inner {
                for lane in 0..lines.lanes {
                    let base = o * lines.outer_stride + i * lines.inner_stride + lane;
                    for (k, z) in line.iter_mut().enumerate() {
                        let at = base + k * lines.step;
                        // SAFETY: inside the planes, says the caller.
                        unsafe {
                            *z = Complex::new((*planes.re.add(at)).to_num(), (*planes.im.add(at)).to_num())
                        };
                    }
                    if PASS != INVERSE {
                        self.forward.process_with_scratch(line, scratch);
                    }
                    if PASS == FLOW {
                        for (z, factor) in line.iter_mut().zip(&self.factors) {
                            *z = *z * factor;
                        }
                    }
                    if PASS != FORWARD {
                        self.inverse.process_with_scratch(line, scratch);
                    }
                    for (k, z) in line.iter().enumerate() {
                        let at = base + k * lines.step;
                        // SAFETY: inside the planes, says the caller.
                        unsafe {
                            let (re, im) = (planes.re.add(at), planes.im.add(at));
                            let mut z = *z;
                            if PASS == FLOW {
                                z.re = z.re + self.kept * (*re).to_num();
                                z.im = z.im + self.kept * (*im).to_num();
                            }
                            *re = T::from_num(z.re);
                            *im = T::from_num(z.im);
                        }
                    }
                }
            }
        }
    }
}
