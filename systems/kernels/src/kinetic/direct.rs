//! Lengths with large prime factors, and tori of very few lines: one line at a time through `rustfft`.
//! Invariant: the same scalar planner at every SIMD level, so the same bits. Source: the `rustfft` crate.

#![allow(unsafe_code)] // Strided access through pointers.

use std::sync::Arc;

use rustfft::{Fft, num_complex::Complex};

use super::lines::{FLOW, FORWARD, INVERSE, Lines};
use crate::field::Real;
use crate::half_potential::Planes;

type Line<T> = Complex<<T as crate::simd::SimdReal>::Num>;

/// A planned line transform with its phases in natural order.
pub struct DirectPlan<T: crate::simd::SimdReal> {
    n: usize,
    forward: Arc<dyn Fft<T::Num>>,
    inverse: Arc<dyn Fft<T::Num>>,
    phases: Vec<Line<T>>,
}

impl<T: Real> DirectPlan<T> {
    /// `phases[m]` is the factor (re, im) of mode `m` in 0..n.
    pub(crate) fn new(n: usize, phases: &[(f64, f64)]) -> Self {
        let [forward, inverse] = T::transforms(n);
        let round = |x: f64| T::from_f64(x / n as f64).to_num();
        let phases = phases.iter().map(|&(re, im)| Complex::new(round(re), round(im))).collect();
        DirectPlan { n, forward, inverse, phases }
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
                        for (z, phase) in line.iter_mut().zip(&self.phases) {
                            *z = *z * phase;
                        }
                    }
                    if PASS != FORWARD {
                        self.inverse.process_with_scratch(line, scratch);
                    }
                    for (k, z) in line.iter().enumerate() {
                        let at = base + k * lines.step;
                        // SAFETY: inside the planes, says the caller.
                        unsafe {
                            *planes.re.add(at) = T::from_num(z.re);
                            *planes.im.add(at) = T::from_num(z.im);
                        }
                    }
                }
            }
        }
    }
}
