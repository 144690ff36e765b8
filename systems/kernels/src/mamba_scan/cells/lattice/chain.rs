//! Traversals that take a whole cell at a time, on one slice or on all, and the recurrence node by node where a block would not
//! do.
//!
//! Invariant: nothing but h goes from one block to the next. Source: the module above.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::super::super::STATE;
use super::super::blocks::{CELLS_MAX, CellWalk, Pair, SUMS_MAX};
use super::super::{COLUMNS, TENSOR, WIDTH, apply, steps};
use super::{Lattice, Numbers, SIDE};
use crate::field::{Real, Values};
use crate::simd::Lanes;

impl<T: Real> CellWalk<'_, T> {
    /// One slice after the other, cell after cell; `way` counts the traversals that do so.
    #[inline(always)]
    pub(in super::super) fn cells<V: Lanes<T = T>>(
        &self,
        (lattice, numbers): (&Lattice, &Numbers<T>),
        (slots, places, way): (&[u32], &[u32], usize),
        h: &mut Pair<T>,
    ) {
        let n_ways = lattice.n_before(lattice.ways.len());
        let mut room = [[T::default(); WIDTH]; 2];
        let (mut from, mut to) = (h, &mut room);
        let mut n_turns = 0;
        for slice in lattice.turned(self.way.1) {
            for slot in slots {
                let slot = *slot as usize + SIDE * slice;
                // SAFETY: the numbers are the lattice's.
                unsafe {
                    let scale = *numbers.scales.get_unchecked(slot);
                    if scale.to_f64().is_nan() {
                        self.cell_by_nodes::<V>(lattice, (slot, places), from);
                        continue;
                    }
                    let inputs = numbers.inputs.as_ptr().add((slot * n_ways + way) * 2 * WIDTH);
                    let operator = numbers.operators.as_ptr().add(slot * TENSOR);
                    go::<V>(operator, inputs, scale, from, to);
                }
                core::mem::swap(&mut from, &mut to);
                n_turns += 1;
            }
        }
        // The last result is where the next would begin.
        if n_turns % 2 == 1 {
            *to = *from;
        }
    }

    /// The whole past of each position before the next one, a cell's positions at a time.
    #[inline(always)]
    pub(in super::super) fn pasts<V: Lanes<T = T>, const C: usize>(
        &self,
        (lattice, numbers): (&Lattice, &Numbers<T>),
        (slots, places): (&[u32], &[u32]),
        h: &mut Pair<T>,
    ) {
        let turned = lattice.turned(self.way.1);
        let limit = super::super::blocks::limit::<T>();
        let mut room = [[[T::default(); WIDTH]; 2]; CELLS_MAX + 2];
        for slot in slots {
            let slot = *slot as usize;
            let (unit, lane) = (slot / (SIDE * C), slot % SIDE);
            let sums = &numbers.pasts[unit * SUMS_MAX * SIDE..][..SUMS_MAX * SIDE];
            let (sums, _) = sums.as_chunks::<SIDE>();
            let mut cells = [0; C];
            for (cell, slice) in cells.iter_mut().zip(&turned) {
                *cell = lattice.cells[slot + SIDE * slice] as usize;
            }
            if self.is_within(sums, lane, &cells, limit) {
                // SAFETY: the cells exist.
                unsafe { self.advance::<V, C>(sums, lane, &cells, &mut room, h) };
                continue;
            }
            for place in &places[unit * lattice.nodes..][..lattice.nodes] {
                for cell in cells {
                    self.one_node::<V>(cell, *place as usize, h);
                }
            }
        }
    }

    /// A whole cell by the definition.
    #[inline(never)]
    fn cell_by_nodes<V: Lanes<T = T>>(
        &self,
        lattice: &Lattice,
        (slot, places): (usize, &[u32]),
        h: &mut Pair<T>,
    ) {
        let unit = slot / (SIDE * lattice.n_slices);
        for place in &places[unit * lattice.nodes..][..lattice.nodes] {
            self.one_node::<V>(lattice.cells[slot] as usize, *place as usize, h);
        }
    }

    /// A node of a cell that is a run of nodes, by the definition.
    #[inline(always)]
    pub(super) fn one_node<V: Lanes<T = T>>(&self, cell: usize, node: usize, h: &mut Pair<T>) {
        let Some((lattice, _)) = &self.metric.lattice else { return };
        let constants = steps::Constants::<V>::new(self.recurrence);
        let node = cell * lattice.nodes + node;
        let page_nodes = self.pages[0].re.len();
        let (page, at) = (node / page_nodes, node % page_nodes);
        let (re, im) = (V::splat(self.pages[page].re[at]), V::splat(self.pages[page].im[at]));
        let openness = match self.openness {
            Values::Uniform(value) => V::splat(value),
            Values::PerNode(slices) => V::splat(slices[page][at]),
        };
        let [weight, most, ..] = self.metric.limits[cell];
        let step = constants.step(re, im, openness, V::splat(weight), V::splat(most));
        let keep = step.neg_mul_add(V::splat(self.mean), V::constant(1.0));
        let inputs = [constants.input.mul(re), constants.input.mul(im)];
        let mut image = [[T::default(); WIDTH]; 2];
        // SAFETY: tensors have TENSOR numbers and room to read a vector; parts of a pair have WIDTH numbers.
        unsafe {
            apply::<V, false>(self.metric.tensors.as_ptr().add(cell * TENSOR), h, &mut image);
            for part in (0..STATE).step_by(V::N) {
                for q in 0..2 {
                    let h = h[q].as_mut_ptr().add(part);
                    let kept = V::load(h).mul_add(keep, inputs[q]);
                    V::load(image[q].as_ptr().add(part)).neg_mul_add(step, kept).store(h);
                }
            }
        }
    }
}

/// to ← p·from + inputs − p·(operator·from).
///
/// # Safety
/// The operator has nine columns behind [`COLUMNS`] numbers, and as many to read behind them as a vector is long; inputs are a
/// pair.
#[inline(always)]
pub(super) unsafe fn go<V: Lanes>(
    operator: *const V::T,
    inputs: *const V::T,
    scale: V::T,
    from: &Pair<V::T>,
    to: &mut Pair<V::T>,
) {
    let scale = V::splat(scale);
    let zero = V::splat(V::T::default());
    for part in (0..STATE).step_by(V::N) {
        // SAFETY: says the caller; parts of a pair have WIDTH numbers.
        unsafe {
            // Three sums each, so that a product need not wait for the one before.
            let (mut re, mut im) = ([zero; 3], [zero; 3]);
            for j in 0..STATE {
                let column = V::load(operator.add(COLUMNS + j * STATE + part));
                re[j % 3] = column.mul_add(V::splat(from[0][j]), re[j % 3]);
                im[j % 3] = column.mul_add(V::splat(from[1][j]), im[j % 3]);
            }
            let kept = V::load(from[0].as_ptr().add(part)).mul_add(scale, V::load(inputs.add(part)));
            re[0].add(re[1]).add(re[2]).neg_mul_add(scale, kept).store(to[0].as_mut_ptr().add(part));
            let kept = V::load(from[1].as_ptr().add(part)).mul_add(scale, V::load(inputs.add(WIDTH + part)));
            im[0].add(im[1]).add(im[2]).neg_mul_add(scale, kept).store(to[1].as_mut_ptr().add(part));
        }
    }
}
