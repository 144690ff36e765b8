//! The chains of a lattice's traversals: those that take a whole cell at a time, on one slice or on all, the recurrence node by node
//! where a block would not do, and all of them side by side.
//!
//! Invariant: nothing but h goes from one block to the next, and chains share nothing: whether they wait for each other changes no
//! bit. A chain waits for itself most of the time, so a thread that has several of them runs them in turns.
//! Source: the module above.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::super::super::{STATE, State};
use super::super::aligned::Pair;
use super::super::blocks::{CELLS_MAX, SUMS_MAX, limit};
use super::super::{Around, CellMetric, TENSOR, WIDTH, apply, in_memory, mean, steps};
use super::{Lattice, Numbers, SIDE, Way};
use crate::field::{Real, Values};
use crate::simd::{Kernel, Lanes, SimdReal};

/// One traversal and how far it has come.
pub(in super::super) struct Chain<'a, T> {
    way: &'a Way,
    /// Of the traversals that go cell after cell, which.
    number: usize,
    slice: usize,
    at: usize,
    h: Pair<T>,
    state: &'a mut State,
}

impl<'a, T: Real> Chain<'a, T> {
    /// At the beginning of a way.
    pub fn new(lattice: &'a Lattice, way: usize, state: &'a mut State) -> Self {
        let (h, number) = (Pair::default(), lattice.n_before(way));
        Chain { way: &lattice.ways[way], number, slice: 0, at: 0, h, state }
    }

    fn end(self) {
        for d in 0..STATE {
            (self.state.re[d], self.state.im[d]) = (self.h[0][d].to_f64(), self.h[1][d].to_f64());
        }
    }
}

/// Some traversals. Built only with chains of the metric's lattice, the numbers of whose units are those of the tick, and with
/// the lattice's scratch.
pub struct LatticeWalk<'a, T: SimdReal> {
    pub(in super::super) metric: &'a CellMetric<T>,
    pub(in super::super) around: &'a Around<'a, T>,
    pub(in super::super) chains: Vec<Chain<'a, T>>,
    pub(in super::super) scratch: *mut T,
}

impl<T: Real> Kernel<T> for LatticeWalk<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let LatticeWalk { metric, around, mut chains, scratch } = self;
        let Some((lattice, numbers)) = &metric.lattice else { return };
        let turned = &lattice.turned(around.slices)[..];
        let mean = T::from_f64(mean(around.recurrence));
        let of_slot = numbers.cells.len() / lattice.cells.len();
        let walk = Walk { metric, around, lattice, numbers, turned, mean, limit: limit::<T>(), of_slot, scratch };
        while let Some(at) = chains.iter().position(|chain| matches!(chain.way, Way::Across { .. })) {
            let mut chain = chains.swap_remove(at);
            if let Way::Across { slots, n_cells, visits } = chain.way {
                walk.across::<V>((slots, *n_cells, visits), &mut chains, &mut chain.h);
            }
            chain.end();
        }
        let mut turn = 0;
        // In a round, each chain has a turn.
        let mut n_idle = 0;
        while n_idle < BESIDE {
            let has_moved = V::call(Beside { walk: &walk, chains: &mut chains, turn });
            n_idle = if has_moved { 0 } else { n_idle + 1 };
            turn += 1;
        }
        chains.into_iter().for_each(Chain::end);
    }
}

/// What chains share.
pub(super) struct Walk<'a, T: SimdReal> {
    pub metric: &'a CellMetric<T>,
    around: &'a Around<'a, T>,
    pub lattice: &'a Lattice,
    pub numbers: &'a Numbers<T>,
    /// Slices, the oldest first.
    pub turned: &'a [usize],
    /// γ.
    pub mean: T,
    limit: f64,
    /// Numbers of a slot's cell.
    of_slot: usize,
    pub scratch: *mut T,
}

/// Turns of a round.
const BESIDE: usize = 9;

/// One block of the chains that are to move in this turn, a third of them. Says whether any did.
pub(super) struct Beside<'a, 'b, T: SimdReal> {
    pub walk: &'a Walk<'b, T>,
    pub chains: &'a mut [Chain<'b, T>],
    pub turn: usize,
}

impl<T: Real> Kernel<T> for Beside<'_, '_, T> {
    type Out = bool;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> bool {
        let Beside { walk, chains, turn } = self;
        let mut has_moved = false;
        for chain in chains.iter_mut().skip(turn % 3).step_by(3) {
            has_moved |= match chain.way {
                Way::Cells { slots, places } => walk.cell::<V>(slots, places, chain),
                // A block of all slices is as many as there are slices.
                Way::Pasts { slots, places } if (turn / 3).is_multiple_of(walk.turned.len()) => {
                    match walk.turned.len() {
                        1 => walk.past::<V, 1>(slots, places, chain),
                        2 => walk.past::<V, 2>(slots, places, chain),
                        _ => walk.past::<V, 3>(slots, places, chain),
                    }
                }
                Way::Pasts { .. } | Way::Across { .. } => false,
            };
        }
        has_moved
    }
}

impl<T: Real> Walk<'_, T> {
    /// The next cell of one slice after the other; none after the last.
    #[inline(always)]
    fn cell<V: Lanes<T = T>>(&self, slots: &[u32], places: &[u32], chain: &mut Chain<'_, T>) -> bool {
        let Some(slice) = self.turned.get(chain.slice) else { return false };
        let slot = slots[chain.at] as usize + SIDE * slice;
        chain.at += 1;
        if chain.at == slots.len() {
            (chain.slice, chain.at) = (chain.slice + 1, 0);
        }
        let next = slots[chain.at] as usize + SIDE * slice;
        let tensor = self.metric.tensors.as_ptr().wrapping_add(self.lattice.cells[next] as usize * TENSOR);
        for at in (0..TENSOR).step_by(64 / T::BYTES) {
            V::prefetch(tensor.wrapping_add(at));
        }
        V::prefetch(self.numbers.cells[next * self.of_slot..].as_ptr());
        let sums = &self.numbers.cells[slot * self.of_slot + chain.number * WIDTH..][..WIDTH];
        let cell = self.lattice.cells[slot] as usize;
        if sums[0].to_f64().is_nan() {
            let unit = slot / (SIDE * self.lattice.n_slices);
            V::call(Nodes { walk: self, cells: [cell], places: self.places(unit, places), h: &mut chain.h });
        } else {
            // SAFETY: the cell exists.
            unsafe { whole::<V>(self.metric.tensors.as_ptr().add(cell * TENSOR), sums, &mut chain.h) };
        }
        true
    }

    /// The past of the next cell's positions; none after the last.
    #[inline(always)]
    fn past<V: Lanes<T = T>, const C: usize>(
        &self,
        slots: &[u32],
        places: &[u32],
        chain: &mut Chain<'_, T>,
    ) -> bool {
        let Some(slot) = slots.get(chain.at) else { return false };
        chain.at += 1;
        let slot = *slot as usize;
        let (unit, lane) = (slot / (SIDE * C), slot % SIDE);
        let sums = &self.numbers.pasts[unit * SUMS_MAX * SIDE..][..SUMS_MAX * SIDE];
        let (sums, _) = sums.as_chunks::<SIDE>();
        let mut cells = [0; C];
        for (cell, slice) in cells.iter_mut().zip(self.turned) {
            *cell = self.lattice.cells[slot + SIDE * slice] as usize;
        }
        if self.metric.is_within(sums, lane, &cells, self.limit) {
            let mut room = [Pair::default(); CELLS_MAX + 2];
            // SAFETY: the cells exist.
            unsafe { self.metric.advance::<V, C>(sums, lane, &cells, &mut room, &mut chain.h) };
        } else {
            V::call(Nodes { walk: self, cells, places: self.places(unit, places), h: &mut chain.h });
        }
        true
    }

    fn places<'a>(&self, unit: usize, places: &'a [u32]) -> &'a [u32] {
        &places[unit * self.lattice.nodes..][..self.lattice.nodes]
    }

    /// A node of a cell by the definition.
    #[inline(always)]
    pub fn one_node<V: Lanes<T = T>>(&self, cell: usize, node: usize, h: &mut Pair<T>) {
        let Around { recurrence, pages, openness, .. } = *self.around;
        let constants = steps::Constants::<V>::new(recurrence);
        let node = cell * self.lattice.nodes + node;
        let page_nodes = pages[0].re.len();
        let (page, at) = (node / page_nodes, node % page_nodes);
        let (re, im) = (V::splat(pages[page].re[at]), V::splat(pages[page].im[at]));
        let openness = match openness {
            Values::Uniform(value) => V::splat(value),
            Values::PerNode(slices) => V::splat(slices[page][at]),
        };
        let [weight, most, ..] = self.metric.limits[cell];
        let step = constants.step(re, im, openness, V::splat(weight), V::splat(most));
        let keep = step.neg_mul_add(V::splat(self.mean), V::constant(1.0));
        let inputs = [constants.input.mul(re), constants.input.mul(im)];
        let mut image = Pair::default();
        // SAFETY: tensors have TENSOR numbers; parts of a pair have WIDTH numbers.
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

/// The nodes of C cells by the definition, a place of each cell before the next.
struct Nodes<'a, 'b, T: SimdReal, const C: usize> {
    walk: &'a Walk<'b, T>,
    cells: [usize; C],
    places: &'a [u32],
    h: &'a mut Pair<T>,
}

impl<T: Real, const C: usize> Kernel<T> for Nodes<'_, '_, T, C> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        for place in self.places {
            for cell in self.cells {
                self.walk.one_node::<V>(cell, *place as usize, self.h);
            }
        }
    }
}

/// start − E·from.
#[inline(always)]
fn less<V: Lanes>(columns: &[V; STATE], from: &Pair<V::T>, start: [V; 2]) -> [V; 2] {
    let zero = V::splat(V::T::default());
    // Three sums each, so that a product need not wait for the one before.
    let (mut re, mut im) = ([start[0], zero, zero], [start[1], zero, zero]);
    let numbers = in_memory(from);
    for j in 0..STATE {
        // SAFETY: a pair.
        let (of_re, of_im) = unsafe { (*numbers.add(j), *numbers.add(WIDTH + j)) };
        re[j % 3] = columns[j].neg_mul_add(V::splat(of_re), re[j % 3]);
        im[j % 3] = columns[j].neg_mul_add(V::splat(of_im), im[j % 3]);
    }
    [re[1].add(re[2]).add(re[0]), im[1].add(im[2]).add(im[0])]
}

/// A cell to second order: h ← (h + X − E[Th + R − E(T₂h + R₂)])/turned.
///
/// # Safety
/// A packed tensor; WIDTH sums.
#[inline(always)]
unsafe fn whole<V: Lanes>(tensor: *const V::T, sums: &[V::T], h: &mut Pair<V::T>) {
    let (mut second, mut first) = (Pair::<V::T>::default(), Pair::<V::T>::default());
    // SAFETY: says the caller; parts of a pair have WIDTH numbers.
    unsafe {
        // Unpacked once: nine registers.
        let mut all = [V::columns(tensor, 0); 2];
        if V::N < STATE {
            all[1] = V::columns(tensor, V::N);
        }
        for part in (0..STATE).step_by(V::N) {
            for q in 0..2 {
                let h = V::load(h[q].as_ptr().add(part));
                let twice = h.mul_add(V::splat(sums[6]), V::splat(sums[7 + q]));
                twice.store(second[q].as_mut_ptr().add(part));
            }
        }
        for part in (0..STATE).step_by(V::N) {
            let columns = &all[part / V::N];
            let re = V::load(h[0].as_ptr().add(part)).mul_add(V::splat(sums[3]), V::splat(sums[4]));
            let im = V::load(h[1].as_ptr().add(part)).mul_add(V::splat(sums[3]), V::splat(sums[5]));
            let [re, im] = less::<V>(columns, &second, [re, im]);
            re.store(first[0].as_mut_ptr().add(part));
            im.store(first[1].as_mut_ptr().add(part));
        }
        for part in (0..STATE).step_by(V::N) {
            let columns = &all[part / V::N];
            let (re, im) = (h[0].as_mut_ptr().add(part), h[1].as_mut_ptr().add(part));
            let start = [V::load(re).add(V::splat(sums[1])), V::load(im).add(V::splat(sums[2]))];
            let rest = less::<V>(columns, &first, start);
            rest[0].mul(V::splat(sums[0])).store(re);
            rest[1].mul(V::splat(sums[0])).store(im);
        }
    }
}

/// to ← p·from + inputs − p·(operator·from).
///
/// # Safety
/// The operator is packed; inputs are a pair.
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
            let [re, im] = less::<V>(&V::columns(operator, part), from, [zero; 2]);
            let kept = V::load(from[0].as_ptr().add(part)).mul_add(scale, V::load(inputs.add(part)));
            re.mul_add(scale, kept).store(to[0].as_mut_ptr().add(part));
            let kept = V::load(from[1].as_ptr().add(part)).mul_add(scale, V::load(inputs.add(WIDTH + part)));
            im.mul_add(scale, kept).store(to[1].as_mut_ptr().add(part));
        }
    }
}
