//! What the nodes of sixteen cells give to the recurrence, and what those cells do to h where they go as a whole.
//!
//! Invariant: a lane is a cell on one slice and sees no other. Source: the series of `blocks.rs` to second order.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::super::super::Recurrence;
use super::super::blocks::{SUMS_MAX, Sums, TURNED_MAX};
use super::super::{Limits, WIDTH, mean, steps};
use super::{Lattice, NODES, ROOM, SIDE, Way};
use crate::field::{PageRef, Real, Values};
use crate::simd::{Kernel, Lanes, SimdReal};

/// Numbers of a unit's cells, slice after slice.
pub(in super::super) struct Unit<'a, T> {
    pub number: usize,
    pub nodes: &'a mut [T],
    pub cells: &'a mut [T],
    pub pasts: &'a mut [T],
}

/// One unit. Built only with the numbers of a lattice of the pages' nodes, and its scratch.
pub struct UnitPass<'a, T: SimdReal> {
    pub(in super::super) lattice: &'a Lattice,
    pub(in super::super) recurrence: &'a Recurrence,
    pub(in super::super) limits: &'a [Limits<T>],
    /// The largest Σ t|E| of a cell that goes as a whole.
    pub(in super::super) limit: f64,
    pub(in super::super) pages: &'a [PageRef<'a, T>],
    pub(in super::super) openness: Values<'a, T>,
    /// Slices, the oldest first.
    pub(in super::super) turned: &'a [usize],
    pub(in super::super) unit: Unit<'a, T>,
    pub(in super::super) scratch: *mut T,
}

impl<T: Real> Kernel<T> for UnitPass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(mut self) {
        let plane = 3 * self.lattice.nodes * SIDE;
        for slice in 0..self.lattice.n_slices {
            // SAFETY: the scratch has as many planes as there are slices.
            unsafe {
                let sides = self.scratch.add(slice * plane);
                self.fill_nodes::<V>(slice, sides);
                if self.lattice.n_before(self.lattice.ways.len()) > 0 {
                    self.fill_cells::<V>(slice, sides);
                }
            }
        }
        match self.lattice.n_slices {
            1 => self.fill_pasts::<V, 1>(),
            2 => self.fill_pasts::<V, 2>(),
            3 => self.fill_pasts::<V, 3>(),
            _ => {}
        }
    }
}

impl<T: Real> UnitPass<'_, T> {
    /// The nodes of the cells of a slice, and the same with cells as lanes.
    ///
    /// # Safety
    /// `sides` has three numbers of each node of sixteen cells.
    #[inline(always)]
    unsafe fn fill_nodes<V: Lanes<T = T>>(&mut self, slice: usize, sides: *mut T) {
        let (n, first) = (self.lattice.nodes, SIDE * slice);
        let page_nodes = self.pages[0].re.len();
        let slots = (self.unit.number * self.lattice.n_slices + slice) * SIDE;
        let cells = &self.lattice.cells[slots..slots + SIDE];
        let constants = steps::Constants::<V>::new(self.recurrence);
        for (lane, cell) in cells.iter().enumerate() {
            let node = *cell as usize * n;
            let (page, node) = (node / page_nodes, node % page_nodes);
            let (re, im) = (self.pages[page].re[node..].as_ptr(), self.pages[page].im[node..].as_ptr());
            let [weight, _, _, most] = self.limits[*cell as usize];
            let (weight, most) = (V::splat(weight), V::splat(most));
            let to = self.unit.nodes[(first + lane) * NODES..][..NODES].as_mut_ptr();
            for v in (0..n).step_by(V::N) {
                // SAFETY: cells are runs of at least a vector's nodes of one page; the last vector overlaps the one before.
                unsafe {
                    let at = v.min(n - V::N);
                    let (re, im) = (V::load(re.add(at)), V::load(im.add(at)));
                    let openness = match self.openness {
                        Values::Uniform(value) => V::splat(value),
                        Values::PerNode(slices) => V::load(slices[page].as_ptr().add(node + at)),
                    };
                    constants.turn_at_once(re, im, openness, weight, most).store(to.add(v));
                    constants.input.mul(re).store(to.add(ROOM + v));
                    constants.input.mul(im).store(to.add(2 * ROOM + v));
                }
            }
        }
        for plane in 0..3 {
            for v in (0..n).step_by(V::N) {
                for half in (0..SIDE).step_by(V::N) {
                    // SAFETY: N cells of which N nodes each are written, NODES numbers apart.
                    unsafe {
                        let from = self.unit.nodes.as_ptr().add((first + half) * NODES + plane * ROOM + v);
                        let to = sides.add((plane * n + v.min(n - V::N)) * SIDE + half);
                        V::transpose(from, NODES, V::N, V::N, to, SIDE, V::N);
                    }
                }
            }
        }
    }

    /// What each cell of a slice comes to.
    ///
    /// # Safety
    /// `sides` is what [`Self::fill_nodes`] made of it.
    #[inline(always)]
    unsafe fn fill_cells<V: Lanes<T = T>>(&mut self, slice: usize, sides: *const T) {
        let (n, first) = (self.lattice.nodes, SIDE * slice);
        let n_ways = self.lattice.n_before(self.lattice.ways.len());
        let mean = V::splat(T::from_f64(mean(self.recurrence)));
        let limit = self.limit;
        let cells = &self.lattice.cells[(self.unit.number * self.lattice.n_slices + slice) * SIDE..][..SIDE];
        let mut sums = [[T::default(); 16]; SUMS_MAX];
        let mut way = 0;
        for places in &self.lattice.ways {
            let Way::Cells { places, .. } = places else { continue };
            let places = &places[self.unit.number * n..][..n];
            for half in (0..SIDE).step_by(V::N) {
                // SAFETY: says the caller.
                unsafe { Sums::<V, 1>::of([sides.add(half)], n, places, mean).store(&mut sums) };
                for lane in 0..V::N {
                    let beta = sums[3][lane].to_f64() * self.limits[cells[half + lane] as usize][2].to_f64();
                    let is_within = beta <= limit && sums[0][lane].to_f64() <= TURNED_MAX;
                    let scale = if is_within { 1.0 / sums[0][lane].to_f64() } else { f64::NAN };
                    sums[0][lane] = T::from_f64(scale);
                }
                let to = self.unit.cells[((first + half) * n_ways + way) * WIDTH..].as_mut_ptr();
                for part in (0..WIDTH).step_by(V::N) {
                    // SAFETY: more than WIDTH rows; WIDTH numbers of each lane.
                    unsafe {
                        let from = sums[part].as_ptr();
                        V::transpose(from, 16, V::N, V::N, to.add(part), n_ways * WIDTH, V::N);
                    }
                }
            }
            way += 1;
        }
    }

    /// The sums of the pasts of the positions of the cells.
    #[inline(always)]
    fn fill_pasts<V: Lanes<T = T>, const C: usize>(&mut self) {
        let n = self.lattice.nodes;
        let mean = V::splat(T::from_f64(mean(self.recurrence)));
        let mut sums = [[T::default(); 16]; SUMS_MAX];
        for way in &self.lattice.ways {
            let Way::Pasts { places, .. } = way else { continue };
            let places = &places[self.unit.number * n..][..n];
            for half in (0..SIDE).step_by(V::N) {
                let mut sides = [self.scratch.cast_const(); C];
                for (side, slice) in sides.iter_mut().zip(self.turned) {
                    *side = side.wrapping_add(slice * 3 * n * SIDE + half);
                }
                // SAFETY: the planes of the slices, filled.
                unsafe { Sums::<V, C>::of(sides, n, places, mean).store(&mut sums) };
                let to = self.unit.pasts.chunks_exact_mut(SIDE);
                for (to, sums) in to.zip(&sums).take(3 + 3 * C + 3 * C * C) {
                    to[half..half + V::N].copy_from_slice(&sums[..V::N]);
                }
            }
        }
    }
}
