//! Images of several h under several symmetric matrices, side by side.
//!
//! Invariant: an image does not depend on those beside it. One alone waits for its own sums most of the time; three fill the
//! time. Source: definition.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::super::STATE;
use super::aligned::Pair;
use super::{PACKED, WIDTH};
use crate::field::Real;
use crate::simd::{Lanes, opaque};

/// to ← scale·(start − matrix·from).
#[derive(Debug, Clone, Copy)]
pub(super) struct Image<T> {
    /// Packed.
    pub matrix: *const T,
    pub from: *const Pair<T>,
    pub start: *const Pair<T>,
    pub to: *mut Pair<T>,
    pub scale: T,
}

impl<T: Real> Image<T> {
    /// What stands where there is none; not to be computed.
    pub fn none() -> Self {
        let (from, to) = (core::ptr::null(), core::ptr::null_mut());
        Image { matrix: core::ptr::null(), from, start: from, to, scale: T::default() }
    }
}

/// All images; what one writes no other reads.
///
/// # Safety
/// Matrices of [`PACKED`] numbers, and pairs.
#[inline(always)]
pub(super) unsafe fn together<V: Lanes, const K: usize>(images: &[Image<V::T>; K]) {
    const { assert!(PACKED >= STATE * (STATE + 1) / 2) };
    let zero = V::splat(V::T::default());
    let mut results = [[[zero; 2]; K]; 2];
    for part in (0..STATE).step_by(V::N) {
        // Two sums each, so that a product need not wait for the one before.
        let mut sums = [[[zero; 2]; 2]; K];
        let mut numbers = [core::ptr::null(); K];
        // SAFETY: says the caller.
        unsafe {
            for k in 0..K {
                for q in 0..2 {
                    sums[k][q][0] = V::load(images[k].start.cast::<V::T>().add(q * WIDTH + part));
                }
                // The compiler does not know the place, so it reads numbers that have just been written as a vector one by one
                // from memory, which is cheaper than to take them out of the vector.
                numbers[k] = images[k].from.cast::<V::T>().wrapping_add(opaque(0));
            }
            // Not a loop: what does not know its column is not unrolled.
            take::<V, K, 0, 0>(images, part, &numbers, &mut sums);
            take::<V, K, 1, 1>(images, part, &numbers, &mut sums);
            take::<V, K, 2, 0>(images, part, &numbers, &mut sums);
            take::<V, K, 3, 1>(images, part, &numbers, &mut sums);
            take::<V, K, 4, 0>(images, part, &numbers, &mut sums);
            take::<V, K, 5, 1>(images, part, &numbers, &mut sums);
            take::<V, K, 6, 0>(images, part, &numbers, &mut sums);
            take::<V, K, 7, 1>(images, part, &numbers, &mut sums);
            take::<V, K, 8, 0>(images, part, &numbers, &mut sums);
        }
        for k in 0..K {
            for q in 0..2 {
                let [first, second] = sums[k][q];
                results[part / V::N][k][q] = second.add(first).mul(V::splat(images[k].scale));
            }
        }
    }
    for part in (0..STATE).step_by(V::N) {
        for k in 0..K {
            for q in 0..2 {
                // SAFETY: says the caller.
                unsafe {
                    results[part / V::N][k][q].store(images[k].to.cast::<V::T>().add(q * WIDTH + part));
                }
            }
        }
    }
}

/// Column J of every matrix, into one of the two sums.
///
/// # Safety
/// As [`together`].
#[inline(always)]
unsafe fn take<V: Lanes, const K: usize, const J: usize, const S: usize>(
    images: &[Image<V::T>; K],
    part: usize,
    numbers: &[*const V::T; K],
    sums: &mut [[[V; 2]; 2]; K],
) {
    for k in 0..K {
        // SAFETY: says the caller.
        unsafe {
            let column = V::column(images[k].matrix, part, J);
            sums[k][0][S] = column.neg_mul_add(V::splat(*numbers[k].add(J)), sums[k][0][S]);
            sums[k][1][S] = column.neg_mul_add(V::splat(*numbers[k].add(WIDTH + J)), sums[k][1][S]);
        }
    }
}
