//! The chains of a lattice's traversals: those that take a whole cell at a time, on one slice or on all, the recurrence node by node
//! where a block would not do, and all of them side by side.
//!
//! Invariant: nothing but h goes from one block to the next, and chains share nothing: whether they wait for each other changes no
//! bit. A chain waits for itself most of the time, so a thread that has several of them runs them in turns.
//! Source: the module above.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::super::super::{STATE, State};
use super::super::aligned::Pair;
use super::super::blocks::{ROOMS, SUMS_MAX, second_order_limit};
use super::super::images::{Image, together};
use super::super::{Around, CellMetric, TENSOR, WIDTH, apply, mean, steps};
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
    /// The next cell, where it goes as a whole: its tensor and its sums.
    cell: Option<(*const T, *const T)>,
    second: Pair<T>,
    first: Pair<T>,
    start: Pair<T>,
    /// What a past works in; the first stays zero.
    rooms: [Pair<T>; ROOMS],
}

impl<'a, T: Real> Chain<'a, T> {
    /// At the beginning of a way.
    pub fn new(lattice: &'a Lattice, way: usize, state: &'a mut State) -> Self {
        let (h, number) = (Pair::default(), lattice.n_before(way));
        let way = &lattice.ways[way];
        let rooms = [h; ROOMS];
        Chain { way, number, slice: 0, at: 0, h, state, cell: None, second: h, first: h, start: h, rooms }
    }

    /// A cell to second order, in two images: h ← (h + X − E[Th + R − E(T₂h + R₂)])/turned.
    #[inline(always)]
    fn image<V: Lanes<T = T>>(&mut self, stage: usize) -> Option<Image<T>> {
        let (matrix, sums) = self.cell?;
        // SAFETY: a cell's sums are WIDTH numbers.
        let sums = unsafe { &*sums.cast::<[T; WIDTH]>() };
        let start = &raw const self.start;
        if stage == 0 {
            scaled::<V>(&self.h, sums[6], [sums[7], sums[8]], &mut self.second);
            scaled::<V>(&self.h, sums[3], [sums[4], sums[5]], &mut self.start);
            let (from, to) = (&raw const self.second, &raw mut self.first);
            Some(Image { matrix, from, start, to, scale: T::from_f64(1.0) })
        } else {
            self.cell = None;
            scaled::<V>(&self.h, T::from_f64(1.0), [sums[1], sums[2]], &mut self.start);
            let (from, to) = (&raw const self.first, &raw mut self.h);
            Some(Image { matrix, from, start, to, scale: sums[0] })
        }
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
        let limit = second_order_limit::<T>(lattice.nodes * turned.len());
        let walk = Walk { metric, around, lattice, numbers, turned, mean, limit, of_slot, scratch };
        while let Some(at) = chains.iter().position(|chain| matches!(chain.way, Way::Across { .. })) {
            let mut chain = chains.swap_remove(at);
            if let Way::Across { slots, n_cells, visits } = chain.way {
                let mut beside = Beside { chains: &mut chains, stage: 0 };
                walk.across::<V>((slots, *n_cells, visits), &mut beside, &mut chain.h);
            }
            chain.end();
        }
        for mut chain in chains {
            walk.rest::<V>(&mut chain);
            chain.end();
        }
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
    /// The largest Σ t|E| of a past that is done as a whole.
    limit: f64,
    /// Numbers of a slot's cell.
    of_slot: usize,
    pub scratch: *mut T,
}

/// Chains that run beside another one, a block of each in a turn.
pub(super) struct Beside<'a, 'b, T: SimdReal> {
    chains: &'a mut [Chain<'b, T>],
    /// How many images of the turn are done.
    stage: usize,
}

/// Images of a cell that goes to second order.
pub(super) const STAGES: usize = 2;

/// Images side by side, at most.
const SIDE_BY_SIDE: usize = 3;

impl<T: Real> Beside<'_, '_, T> {
    /// The next cell of each chain that goes cell after cell, as many as have room beside another one.
    #[inline(always)]
    pub fn begin<V: Lanes<T = T>>(&mut self, walk: &Walk<'_, T>) {
        self.stage = 0;
        let mut n_cells = 0;
        for chain in self.chains.iter_mut() {
            if let Way::Cells { slots, places } = chain.way
                && n_cells < SIDE_BY_SIDE - 1
            {
                walk.next_cell::<V>(slots, places, chain);
                n_cells += 1;
            }
        }
    }

    /// An image of another chain, and those of the chains here that are next.
    #[inline(always)]
    pub fn go<V: Lanes<T = T>>(&mut self, other: Option<Image<T>>) {
        let mut images = [Image::none(); SIDE_BY_SIDE];
        let mut n_images = 0;
        if let Some(image) = other {
            (images[0], n_images) = (image, 1);
        }
        if self.stage < STAGES {
            for chain in self.chains.iter_mut() {
                if let Some(image) = chain.image::<V>(self.stage) {
                    images[n_images] = image;
                    n_images += 1;
                }
            }
        }
        self.stage += 1;
        let [a, b, _] = images;
        // SAFETY: each image is of a chain of its own.
        unsafe {
            match n_images {
                0 => {}
                1 => together::<V, 1>(&[a]),
                2 => together::<V, 2>(&[a, b]),
                _ => together::<V, SIDE_BY_SIDE>(&images),
            }
        }
    }

    /// The next block of each chain that goes over all slices.
    #[inline(always)]
    pub fn pasts<V: Lanes<T = T>>(&mut self, walk: &Walk<'_, T>) {
        for chain in self.chains.iter_mut() {
            walk.past::<V>(chain);
        }
    }
}

impl<T: Real> Walk<'_, T> {
    /// What is left of a chain.
    #[inline(always)]
    fn rest<V: Lanes<T = T>>(&self, chain: &mut Chain<'_, T>) {
        loop {
            match chain.way {
                Way::Cells { slots, places } if chain.slice < self.turned.len() => {
                    self.next_cell::<V>(slots, places, chain);
                    for stage in 0..STAGES {
                        if let Some(image) = chain.image::<V>(stage) {
                            // SAFETY: a chain's tensor and pairs.
                            unsafe { together::<V, 1>(&[image]) };
                        }
                    }
                }
                Way::Pasts { slots, .. } if chain.at < slots.len() => self.past::<V>(chain),
                _ => return,
            }
        }
    }

    /// The next block of a chain that goes over all slices.
    fn past<V: Lanes<T = T>>(&self, chain: &mut Chain<'_, T>) {
        let Way::Pasts { slots, places } = chain.way else { return };
        match self.turned.len() {
            1 => V::call(Past::<_, 1> { walk: self, slots, places, chain }),
            2 => V::call(Past::<_, 2> { walk: self, slots, places, chain }),
            _ => V::call(Past::<_, 3> { walk: self, slots, places, chain }),
        }
    }

    /// The next cell of one slice after the other; none after the last.
    #[inline(always)]
    fn next_cell<V: Lanes<T = T>>(&self, slots: &[u32], places: &[u32], chain: &mut Chain<'_, T>) {
        let Some(slice) = self.turned.get(chain.slice) else { return };
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
            chain.cell = Some((self.metric.tensors[cell * TENSOR..].as_ptr(), sums.as_ptr()));
        }
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
            apply::<V>(self.metric.tensors.as_ptr().add(cell * TENSOR), h, &mut image);
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

/// The past of the next cell's positions; nothing after the last.
struct Past<'a, 'b, 'c, T: SimdReal, const C: usize> {
    walk: &'a Walk<'b, T>,
    slots: &'a [u32],
    places: &'a [u32],
    chain: &'a mut Chain<'c, T>,
}

impl<T: Real, const C: usize> Kernel<T> for Past<'_, '_, '_, T, C> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let Past { walk, slots, places, chain } = self;
        let Some(slot) = slots.get(chain.at) else { return };
        chain.at += 1;
        let slot = *slot as usize;
        let (unit, lane) = (slot / (SIDE * C), slot % SIDE);
        let sums = &walk.numbers.pasts[unit * SUMS_MAX * SIDE..][..SUMS_MAX * SIDE];
        let (sums, _) = sums.as_chunks::<SIDE>();
        let mut cells = [0; C];
        for (cell, slice) in cells.iter_mut().zip(walk.turned) {
            *cell = walk.lattice.cells[slot + SIDE * slice] as usize;
        }
        if walk.metric.is_within(sums, lane, &cells, walk.limit) {
            let Chain { rooms, h, .. } = chain;
            // SAFETY: the cells exist.
            unsafe { walk.metric.advance::<V, C>(sums, lane, &cells, rooms, h) };
        } else {
            V::call(Nodes { walk, cells, places: walk.places(unit, places), h: &mut chain.h });
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

/// to ← h + a pair of numbers.
///
/// # Safety
/// The pair is there.
#[inline(always)]
pub(super) unsafe fn add<V: Lanes>(h: &Pair<V::T>, numbers: *const V::T, to: &mut Pair<V::T>) {
    for part in (0..STATE).step_by(V::N) {
        for q in 0..2 {
            // SAFETY: says the caller; parts of a pair have WIDTH numbers.
            unsafe {
                let sum = V::load(h[q].as_ptr().add(part)).add(V::load(numbers.add(q * WIDTH + part)));
                sum.store(to[q].as_mut_ptr().add(part));
            }
        }
    }
}

/// to ← factor·h + (re, im)·1.
#[inline(always)]
fn scaled<V: Lanes>(h: &Pair<V::T>, factor: V::T, shifts: [V::T; 2], to: &mut Pair<V::T>) {
    for part in (0..STATE).step_by(V::N) {
        for q in 0..2 {
            // SAFETY: parts of a pair have WIDTH numbers.
            unsafe {
                let sum = V::load(h[q].as_ptr().add(part)).mul_add(V::splat(factor), V::splat(shifts[q]));
                sum.store(to[q].as_mut_ptr().add(part));
            }
        }
    }
}
