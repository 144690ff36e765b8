//! Lengths with large prime factors, and tori of very few lines: one line at a time through `rustfft`.
//! Invariant: the same scalar planner at every SIMD level, so the same bits. Transforms are in double precision whatever
//! the state's, compiled once: a line is rounded when it is stored. Source: the `rustfft` crate.

#![allow(unsafe_code)] // Strided access through pointers.

use std::sync::Arc;

use rustfft::{Fft, FftPlannerScalar, num_complex::Complex};

use super::lines::{FLOW, FORWARD, INVERSE, Lines};
use crate::field::Real;
use crate::half_potential::Planes;

type Line = Complex<f64>;

/// The transform of length `n` forward and back.
pub(crate) fn transforms(n: usize) -> [Arc<dyn Fft<f64>>; 2] {
    let mut planner = FftPlannerScalar::new();
    [planner.plan_fft_forward(n), planner.plan_fft_inverse(n)]
}

/// A planned line transform with the factors of its modes in natural order.
pub(crate) struct DirectPlan {
    n: usize,
    forward: Arc<dyn Fft<f64>>,
    inverse: Arc<dyn Fft<f64>>,
    /// What of the line itself is added to the result: 1 for a flow, 0 for another operator.
    kept: f64,
    /// (Factor − kept)/n.
    factors: Vec<Line>,
}

impl DirectPlan {
    /// `factors[m]` is the factor (re, im) of mode `m` in 0..n, less `kept`.
    pub(crate) fn new(kept: f64, factors: &[(f64, f64)]) -> Self {
        let n = factors.len();
        let [forward, inverse] = transforms(n);
        let factors = factors.iter().map(|&(re, im)| Complex::new(re, im) / n as f64).collect();
        DirectPlan { n, forward, inverse, kept, factors }
    }

    /// Bytes of the tables.
    pub(crate) fn bytes(&self) -> usize {
        self.n * size_of::<Line>()
    }

    /// Complex numbers a pass works on.
    fn n_working(&self) -> usize {
        self.n + self.forward.get_inplace_scratch_len().max(self.inverse.get_inplace_scratch_len())
    }

    /// Scalars of buffer a pass needs: one more than they take where the buffer may begin between two f64.
    pub(crate) fn buffer<T: Real>(&self) -> usize {
        2 * self.n_working() * size_of::<f64>() / T::BYTES + usize::from(T::BYTES < size_of::<f64>())
    }

    /// Transforms every line there and back (`PASS` = `FLOW`), or one way.
    ///
    /// # Safety
    /// The geometry stays inside the planes, the buffer has `self.buffer::<T>()` scalars that were written once, the caller
    /// owns both.
    pub(crate) unsafe fn run<T: Real, const PASS: u8>(
        &self,
        planes: Planes<T>,
        lines: Lines,
        buffer: *mut T,
    ) {
        // SAFETY: a complex number is two f64 (repr(C)), for which any bits will do; lengths as the caller says.
        let (line, scratch) = unsafe {
            let first = buffer.byte_add(buffer.addr().next_multiple_of(align_of::<Line>()) - buffer.addr());
            let all = core::slice::from_raw_parts_mut(first.cast::<Line>(), self.n_working());
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
                            *z = Complex::new((*planes.re.add(at)).to_f64(), (*planes.im.add(at)).to_f64())
                        };
                    }
                    if PASS != INVERSE {
                        self.forward.process_with_scratch(line, scratch);
                    }
                    if PASS == FLOW {
                        for (z, factor) in line.iter_mut().zip(&self.factors) {
                            *z *= factor;
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
                                z.re += self.kept * (*re).to_f64();
                                z.im += self.kept * (*im).to_f64();
                            }
                            *re = T::from_f64(z.re);
                            *im = T::from_f64(z.im);
                        }
                    }
                }
            }
        }
    }
}
