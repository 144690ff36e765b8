//! Traversals that go from cell to cell at every node, over a group of cells as often as a cell has nodes.
//!
//! Invariant: nine nodes are a block, to first order; where that is not enough, three are, and where those are not, each node
//! goes alone. Every visit of nine cells, forwards or backwards, has the same tensors to sum, with weights of its own: the sums
//! of a group are one small product of matrices, ahead of the chain. Sums go over cells in the order of the group.
//! Source: the series of `blocks.rs` to first order.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::super::super::STATE;
use super::super::aligned::Pair;
use super::super::blocks::{TURNED_MAX, first_order_limit};
use super::super::images::{Image, together};
use super::super::{ROW_SUMS, TENSOR, WIDTH};
use super::chain::{Beside, STAGES, Walk, add};
use super::{Lattice, NINE, NODES, ROOM, SIDE, Visit};
use crate::field::Real;
use crate::simd::symmetric::PACKED;
use crate::simd::{Kernel, Lanes, SimdReal};

/// Nodes of a block where nine are too many.
const THREE: usize = 3;

/// Planes of what nine nodes of each visit come to: 1/Π(1/(1 − sγ)), X, β over the greatest.
const SUMS: usize = 4;

/// t·X(before) of the nodes of nine cells, forwards and backwards, of each visit.
const DRIVEN: usize = 2 * NINE * 2 * ROOM;

/// Scalars of scratch for groups of nine-cell parts.
pub(super) fn scratch(n_parts: usize, n_visits: usize) -> usize {
    let n_blocks = n_parts * n_visits;
    DRIVEN + n_parts * 2 * SUMS * ROOM + n_blocks * (PACKED + 2 * WIDTH)
}

/// What a group works in.
struct Room<T> {
    driven: *mut T,
    sums: *mut T,
    operators: *mut T,
    inputs: *mut T,
}

/// Nine cells of a group.
struct Nine<T> {
    tensors: [*const T; NINE],
    nodes: [*const T; NINE],
    sizes: [T; NINE],
}

impl<'a, T: Real> Walk<'a, T> {
    /// The traversal, and others beside it.
    #[inline(always)]
    pub fn across<V: Lanes<T = T>>(
        &self,
        (slots, n_cells, visits): (&[u32], usize, &[Visit]),
        beside: &mut Beside<'_, 'a, T>,
        h: &mut Pair<T>,
    ) {
        let (lattice, numbers) = (self.lattice, self.numbers);
        let n_parts = n_cells / NINE;
        let n_blocks = n_parts * lattice.nodes;
        // SAFETY: the scratch is that of the way.
        let room = unsafe {
            let sums = self.scratch.add(DRIVEN);
            let inputs = sums.add(n_parts * 2 * SUMS * ROOM);
            Room { driven: self.scratch, sums, inputs, operators: inputs.add(n_blocks * 2 * WIDTH) }
        };
        let mut start = Pair::default();
        let mut n_visits = 0;
        for slice in self.turned.iter().copied() {
            for (group, visits) in slots.chunks_exact(n_cells).zip(visits.chunks_exact(lattice.nodes)) {
                for (part, slots) in group.chunks_exact(NINE).enumerate() {
                    let mut nine = Nine {
                        tensors: [core::ptr::null(); NINE],
                        nodes: [core::ptr::null(); NINE],
                        sizes: [T::default(); NINE],
                    };
                    for (k, slot) in slots.iter().enumerate() {
                        let slot = *slot as usize + SIDE * slice;
                        let cell = lattice.cells[slot] as usize;
                        nine.tensors[k] = self.metric.tensors[cell * TENSOR..].as_ptr();
                        nine.nodes[k] = numbers.nodes[slot * NODES..].as_ptr();
                        nine.sizes[k] = self.metric.limits[cell][2];
                    }
                    // SAFETY: the cells' numbers, and room for those of so many parts.
                    unsafe { self.prepare::<V>(lattice, &nine, visits, part, &room) };
                }
                for (k, visit) in visits.iter().enumerate() {
                    beside.begin::<V>(self);
                    let place = lattice.place(visit.node, V::N);
                    for turn in 0..n_parts.max(STAGES) {
                        let part = if visit.is_reversed { n_parts - 1 - turn.min(n_parts - 1) } else { turn };
                        let mut image = None;
                        if turn < n_parts {
                            // SAFETY: prepared.
                            unsafe {
                                let direction = usize::from(visit.is_reversed);
                                let sums = room.sums.add((2 * part + direction) * SUMS * ROOM + place);
                                let block = part * visits.len() + k;
                                if (*sums.add(3 * ROOM)).to_f64() <= 1.0 {
                                    let inputs = room.inputs.add(block * 2 * WIDTH).cast_const();
                                    let matrix = room.operators.add(block * PACKED).cast_const();
                                    add::<V>(h, inputs, &mut start);
                                    let (from, start) = (&raw const *h, &raw const start);
                                    image = Some(Image { matrix, from, start, to: h, scale: *sums });
                                } else {
                                    let slots = &group[part * NINE..][..NINE];
                                    V::call(Threes { walk: self, slots, slice, visit: *visit, h });
                                }
                            }
                        }
                        beside.go::<V>(image);
                    }
                    // A block of all slices is as many as there are slices.
                    if usize::is_multiple_of(n_visits, self.turned.len()) {
                        beside.pasts::<V>(self);
                    }
                    n_visits += 1;
                }
            }
        }
    }

    /// What nine cells do at each visit.
    ///
    /// # Safety
    /// Numbers of the cells; room for the parts before and this one.
    #[inline(always)]
    unsafe fn prepare<V: Lanes<T = T>>(
        &self,
        lattice: &Lattice,
        nine: &Nine<T>,
        visits: &[Visit],
        part: usize,
        room: &Room<T>,
    ) {
        let limits = (V::constant(1.0 / first_order_limit::<T>(NINE)), V::constant(1.0 / TURNED_MAX));
        // SAFETY: says the caller.
        unsafe {
            for v in (0..lattice.nodes).step_by(V::N) {
                for backwards in 0..2 {
                    let sums = room.sums.add((2 * part + backwards) * SUMS * ROOM + v);
                    let driven = room.driven.add(backwards * NINE * 2 * ROOM + v);
                    self.sum_nine::<V>(nine, v, backwards == 1, limits, driven, sums);
                }
            }
            let operators = room.operators.add(part * visits.len() * PACKED);
            let inputs = room.inputs.add(part * visits.len() * 2 * WIDTH);
            let sums = room.sums.add(2 * part * SUMS * ROOM);
            let mut first = 0;
            // As many visits at a time as there are registers for their sums.
            if V::Narrow::N == V::N {
                while first + 3 <= visits.len() {
                    let visits = &visits[first..];
                    let to = (operators.add(first * PACKED), inputs.add(first * 2 * WIDTH));
                    sum_tensors::<V, 3>(lattice, nine, visits, (room.driven, sums), to);
                    first += 3;
                }
            }
            while first < visits.len() {
                let visits = &visits[first..];
                let to = (operators.add(first * PACKED), inputs.add(first * 2 * WIDTH));
                sum_tensors::<V, 1>(lattice, nine, visits, (room.driven, sums), to);
                first += 1;
            }
        }
    }

    /// What the nodes of nine cells come to, a visit per lane.
    ///
    /// # Safety
    /// Numbers of the cells from `v` on; planes of ROOM numbers to write.
    #[inline(always)]
    unsafe fn sum_nine<V: Lanes<T = T>>(
        &self,
        nine: &Nine<T>,
        v: usize,
        is_backwards: bool,
        limits: (V, V),
        driven: *mut T,
        to: *mut T,
    ) {
        let (zero, one, mean) = (V::splat(T::default()), V::constant(1.0), V::splat(self.mean));
        let (mut turned, mut beta, mut re, mut im) = (one, zero, zero, zero);
        for turn in 0..NINE {
            let k = if is_backwards { NINE - 1 - turn } else { turn };
            // SAFETY: says the caller.
            unsafe {
                let node = nine.nodes.get_unchecked(k).add(v);
                let t = V::load(node);
                beta = t.mul_add(V::splat(*nine.sizes.get_unchecked(k)), beta);
                t.mul(re).store(driven.add(2 * k * ROOM));
                t.mul(im).store(driven.add((2 * k + 1) * ROOM));
                turned = t.mul(mean).mul_add(turned, turned);
                re = V::load(node.add(ROOM)).mul_add(turned, re);
                im = V::load(node.add(2 * ROOM)).mul_add(turned, im);
            }
        }
        // SAFETY: says the caller.
        unsafe {
            one.div(turned).store(to);
            re.store(to.add(ROOM));
            im.store(to.add(2 * ROOM));
            beta.mul(limits.0).max(turned.mul(limits.1)).store(to.add(3 * ROOM));
        }
    }
}

/// Σ tE and the inputs' part of K visits.
///
/// # Safety
/// So many visits, with their sums and t·X; room for their operators and inputs.
#[inline(always)]
unsafe fn sum_tensors<V: Lanes, const K: usize>(
    lattice: &Lattice,
    nine: &Nine<V::T>,
    visits: &[Visit],
    (driven, sums): (*const V::T, *const V::T),
    (operators, inputs): (*mut V::T, *mut V::T),
) {
    let zero = V::splat(V::T::default());
    let (mut places, mut weights, mut of_visit) = ([0; K], [driven; K], [sums; K]);
    for k in 0..K {
        let visit = visits[k];
        places[k] = lattice.place(visit.node, V::N);
        // SAFETY: says the caller.
        unsafe {
            weights[k] = driven.add(usize::from(visit.is_reversed) * NINE * 2 * ROOM + places[k]);
            of_visit[k] = sums.add(usize::from(visit.is_reversed) * SUMS * ROOM + places[k]);
        }
    }
    for from in (0..PACKED).step_by(3 * V::N) {
        let mut total = [[zero; 3]; K];
        for c in 0..NINE {
            // SAFETY: says the caller.
            unsafe {
                let tensor = nine.tensors.get_unchecked(c).add(from);
                let node = *nine.nodes.get_unchecked(c);
                let numbers = [V::load(tensor), V::load(tensor.add(V::N)), V::load(tensor.add(2 * V::N))];
                for k in 0..K {
                    let turn = V::splat(*node.add(places[k]));
                    for v in 0..3 {
                        total[k][v] = numbers[v].mul_add(turn, total[k][v]);
                    }
                }
            }
        }
        for k in 0..K {
            for v in 0..3 {
                // SAFETY: says the caller.
                unsafe { total[k][v].store(operators.add(k * PACKED + from + v * V::N)) };
            }
        }
    }
    for part in (0..STATE).step_by(V::N) {
        let mut total = [[zero; 2]; K];
        for c in 0..NINE {
            // SAFETY: says the caller.
            unsafe {
                let ones = V::load(nine.tensors.get_unchecked(c).add(ROW_SUMS + part));
                for k in 0..K {
                    let at = weights[k].add(2 * c * ROOM);
                    total[k][0] = ones.mul_add(V::splat(*at), total[k][0]);
                    total[k][1] = ones.mul_add(V::splat(*at.add(ROOM)), total[k][1]);
                }
            }
        }
        for k in 0..K {
            // SAFETY: says the caller.
            unsafe {
                let (re, im) = (V::splat(*of_visit[k].add(ROOM)), V::splat(*of_visit[k].add(2 * ROOM)));
                let to = inputs.add(k * 2 * WIDTH + part);
                re.sub(total[k][0]).store(to);
                im.sub(total[k][1]).store(to.add(WIDTH));
            }
        }
    }
}

/// Nine nodes that are too much for one block.
struct Threes<'a, 'b, T: SimdReal> {
    walk: &'a Walk<'b, T>,
    slots: &'a [u32],
    slice: usize,
    visit: Visit,
    h: &'a mut Pair<T>,
}

impl<T: Real> Kernel<T> for Threes<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let Threes { walk, slots, slice, visit, h } = self;
        let (lattice, numbers) = (walk.lattice, walk.numbers);
        let place = lattice.place(visit.node, V::N);
        let limit = first_order_limit::<T>(THREE);
        let mean = V::splat(walk.mean);
        let zero = V::splat(T::default());
        for three in 0..NINE / THREE {
            let mut cells = [0; THREE];
            let mut tensors = [core::ptr::null(); THREE];
            let (mut turns, mut driven) = ([zero; THREE], [[zero; 2]; THREE]);
            let (mut turned, mut beta, mut x) = (V::constant(1.0), 0.0, [zero; 2]);
            for k in 0..THREE {
                let at = THREE * three + k;
                let slot = slots[if visit.is_reversed { NINE - 1 - at } else { at }] as usize + SIDE * slice;
                let node = &numbers.nodes[slot * NODES..][..NODES];
                cells[k] = lattice.cells[slot] as usize;
                tensors[k] = walk.metric.tensors[cells[k] * TENSOR..].as_ptr();
                turns[k] = V::splat(node[place]);
                beta += node[place].to_f64() * walk.metric.limits[cells[k]][2].to_f64();
                driven[k] = [turns[k].mul(x[0]), turns[k].mul(x[1])];
                turned = turns[k].mul(mean).mul_add(turned, turned);
                x[0] = V::splat(node[ROOM + place]).mul_add(turned, x[0]);
                x[1] = V::splat(node[2 * ROOM + place]).mul_add(turned, x[1]);
            }
            let mut first = [T::default(); 16];
            turned.store_array(&mut first);
            if !(beta <= limit && first[0].to_f64() <= TURNED_MAX) {
                for cell in cells {
                    walk.one_node::<V>(cell, visit.node, h);
                }
                continue;
            }
            let mut sum = [T::default(); PACKED];
            for from in (0..PACKED).step_by(V::N) {
                // SAFETY: tensors have TENSOR numbers.
                unsafe {
                    let total = V::load(tensors[0].add(from)).mul(turns[0]);
                    let total = V::load(tensors[1].add(from)).mul_add(turns[1], total);
                    let total = V::load(tensors[2].add(from)).mul_add(turns[2], total);
                    total.store(sum.as_mut_ptr().add(from));
                }
            }
            let mut start = *h;
            for part in (0..STATE).step_by(V::N) {
                // SAFETY: tensors have TENSOR numbers; parts of a pair have WIDTH numbers.
                unsafe {
                    for q in 0..2 {
                        let at = start[q].as_mut_ptr().add(part);
                        let mut rest = V::load(at).add(x[q]);
                        for k in 0..THREE {
                            rest = V::load(tensors[k].add(ROW_SUMS + part)).neg_mul_add(driven[k][q], rest);
                        }
                        rest.store(at);
                    }
                }
            }
            let mut factor = [T::default(); 16];
            V::constant(1.0).div(turned).store_array(&mut factor);
            let (matrix, from, to) = (sum.as_ptr(), &raw const *h, &raw mut *h);
            // SAFETY: a packed sum, pairs.
            unsafe { together::<V, 1>(&[Image { matrix, from, start: &start, to, scale: factor[0] }]) };
        }
    }
}
