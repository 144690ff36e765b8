//! Where the lines of an axis are: strided rows, vectors across neighbouring lines. Invariant: a pass over an axis
//! reads and writes each of its nodes once, lanes never mix. Source: the usual loop nest of a transform over one
//! dimension of a row-major array.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::dft::Complex;
use crate::field::Real;
use crate::half_potential::Planes;
use crate::simd::Lanes;

/// What a pass over an axis does: transform, turn the phases and transform back; or only one way.
pub(crate) const FLOW: u8 = 0;
/// Nodes to modes.
pub(crate) const FORWARD: u8 = 1;
/// Modes to nodes, without the weight of the modes (see [`super::Axis::modes`]).
pub(crate) const INVERSE: u8 = 2;

/// All lines of one axis, in scalars from the origin of the planes:
/// point `k` of line `(o, i, lane)` is at `o·outer_stride + i·inner_stride + k·step + lane`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    pub outer: usize,
    pub outer_stride: usize,
    pub inner: usize,
    pub inner_stride: usize,
    pub step: usize,
    pub lanes: usize,
}

/// Rows of vectors: row `k` at `k·step`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<T> {
    pub re: *mut T,
    pub im: *mut T,
    pub step: usize,
}

impl<T: Real> Rows<T> {
    #[inline(always)]
    pub fn new(planes: Planes<T>, step: usize) -> Self {
        Rows { re: planes.re, im: planes.im, step }
    }

    /// The rows from `shift` scalars on.
    ///
    /// # Safety
    /// `shift` stays inside the planes.
    #[inline(always)]
    pub unsafe fn shifted(self, shift: usize) -> Self {
        // SAFETY: inside, says the caller.
        unsafe { Rows { re: self.re.add(shift), im: self.im.add(shift), step: self.step } }
    }

    /// # Safety
    /// Row `k` has N (if `FULL`) or `n` readable lanes.
    #[inline(always)]
    pub unsafe fn load<V: Lanes<T = T>, const FULL: bool>(self, k: usize, n: usize) -> Complex<V> {
        // SAFETY: readable, says the caller.
        unsafe {
            let (re, im) = (self.re.add(k * self.step), self.im.add(k * self.step));
            if FULL {
                Complex { re: V::load(re), im: V::load(im) }
            } else {
                Complex { re: V::load_n(re, n), im: V::load_n(im, n) }
            }
        }
    }

    /// # Safety
    /// Row `k` has N (if `FULL`) or `n` writable lanes.
    #[inline(always)]
    pub unsafe fn store<V: Lanes<T = T>, const FULL: bool>(self, k: usize, n: usize, x: Complex<V>) {
        // SAFETY: writable, says the caller.
        unsafe {
            let (re, im) = (self.re.add(k * self.step), self.im.add(k * self.step));
            if FULL {
                x.re.store(re);
                x.im.store(im);
            } else {
                x.re.store_n(re, n);
                x.im.store_n(im, n);
            }
        }
    }
}
