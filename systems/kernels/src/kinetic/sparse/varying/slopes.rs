//! P∂P along an axis of an active set, by small matrices over the active nodes of a line.
//! Invariant: a line is one unit, so threads change no bit. Source: `kinetic/fibre.rs` for ∂.

#![allow(unsafe_code)] // Pages shared between units as raw planes.

use super::{CHUNK_BUNDLES, PageBundle};
use crate::field::{Real, Threads};
use crate::half_potential::Planes;
use crate::kinetic::dft::Complex;
use crate::kinetic::sweep::with_scratch;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::for_each_chunk;
use core::ops::Range;
use std::sync::Arc;

/// P∂P of one axis.
pub(crate) struct ActiveSlopes<T> {
    pub(super) side: usize,
    pub(super) stride: usize,
    /// Pages of each column with the matrix over its active nodes, row after row.
    pub(super) columns: Vec<(Vec<usize>, Arc<Vec<T>>)>,
    pub(super) bundles: Vec<PageBundle>,
}

impl<T: Real> ActiveSlopes<T> {
    /// Ψ ← P∂PΨ.
    pub fn run(&self, level: Level, threads: Threads<'_>, planes: &[Planes<T>]) {
        let rows = self.columns.iter().map(|(slots, _)| slots.len() * self.side).max().unwrap_or(0);
        let parts = self.bundles.len().div_ceil(CHUNK_BUNDLES);
        for_each_chunk(threads, self.columns.len() * parts, |chunk| {
            let part = chunk % parts * CHUNK_BUNDLES;
            let bundles = part..self.bundles.len().min(part + CHUNK_BUNDLES);
            with_scratch(2 * rows * (64 / T::BYTES), |scratch| {
                T::slope_pass(
                    level,
                    SlopePass { slopes: self, column: chunk / parts, bundles, planes, scratch },
                );
            });
        });
    }
}

/// Some bundles of a column. Built only with the planes of the active pages and scratch for two vectors per row.
pub struct SlopePass<'a, T: SimdReal> {
    slopes: &'a ActiveSlopes<T>,
    column: usize,
    bundles: Range<usize>,
    planes: &'a [Planes<T>],
    scratch: *mut T,
}

impl<T: Real> Kernel<T> for SlopePass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let SlopePass { slopes, column, bundles, planes, scratch } = self;
        let (slots, matrix) = &slopes.columns[column];
        let m = slots.len() * slopes.side;
        for bundle in &slopes.bundles[bundles] {
            for lane in (0..bundle.lanes as usize).step_by(V::N) {
                let n = V::N.min(bundle.lanes as usize - lane);
                let row = |k: usize| {
                    let node = bundle.base as usize + lane + k % slopes.side * slopes.stride;
                    // SAFETY: the node exists.
                    unsafe { planes[slots[k / slopes.side]].offset(node) }
                };
                // SAFETY: rows have `n` lanes here and belong to this unit, the scratch has two vectors per row.
                unsafe {
                    for k in 0..m {
                        V::load_n(row(k).re, n).store(scratch.add(2 * k * V::N));
                        V::load_n(row(k).im, n).store(scratch.add((2 * k + 1) * V::N));
                    }
                    for i in 0..m {
                        let mut sum = Complex::<V>::zero();
                        for j in 0..m {
                            let x = Complex {
                                re: V::load(scratch.add(2 * j * V::N)),
                                im: V::load(scratch.add((2 * j + 1) * V::N)),
                            };
                            sum = sum.add_scaled(V::splat(matrix[i * m + j]), x);
                        }
                        sum.re.store_n(row(i).re, n);
                        sum.im.store_n(row(i).im, n);
                    }
                }
            }
        }
    }
}
