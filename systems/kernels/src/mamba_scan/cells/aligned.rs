//! Numbers that begin where a cache line does. Invariant: a vector of them lies in as few lines as it can, so that what is
//! written as a vector can be read as numbers at once. Source: alignment of the language.

#![allow(unsafe_code)] // A slice of lines seen as one of numbers.

use super::WIDTH;
use core::ops::{Deref, DerefMut};

/// h or an image of it, two parts of nine numbers and padding. What stands in the padding is of no consequence.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Pair<T>([[T; WIDTH]; 2]);

impl<T: Copy + Default> Default for Pair<T> {
    #[inline(always)]
    fn default() -> Self {
        Pair([[T::default(); WIDTH]; 2])
    }
}

impl<T> Deref for Pair<T> {
    type Target = [[T; WIDTH]; 2];
    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for Pair<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line<T>([T; WIDTH]);

/// A number of lines.
#[derive(Debug, Clone)]
pub(super) struct Aligned<T>(Vec<Line<T>>);

impl<T: Copy + Default> Aligned<T> {
    /// `n` zeros, or as many more as the last line takes.
    pub fn zeros(n: usize) -> Self {
        Aligned(vec![Line([T::default(); WIDTH]); n.div_ceil(WIDTH)])
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: a line is its numbers and, being as long as a multiple of its alignment, nothing else.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * WIDTH) }
    }
}

impl<T> DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * WIDTH) }
    }
}
