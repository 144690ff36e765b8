//! Blocks of nine nodes, whatever their cells: to first order what they do is the sum of their tensors.
//!
//! Invariant: as in [`super`]; where nine nodes are too many for the first order, three go at a time, and where three are,
//! each goes alone. Source: the module above.

use super::super::super::STATE;
use super::super::aligned::Pair;
use super::super::{RECORD, ROW_SUMS, TENSOR, apply};
use super::{CellWalk, Cursor, Source, TURNED_MAX, first_order_limit};
use crate::field::Real;
use crate::simd::Lanes;
use crate::simd::symmetric::PACKED;

/// Nodes of a block, in parts that can go alone.
pub(super) const MIXED: usize = 9;
const PARTS: usize = 3;

/// A block of nine nodes: its lane, its first node's place in the traversal, its cells.
struct Block<'a> {
    lane: usize,
    first: usize,
    cells: &'a [u32; MIXED],
}

/// What blocks of nine nodes work in: Σ tE, and what it and the inputs do.
struct Room<T> {
    sum: [T; PACKED],
    pairs: [Pair<T>; 2],
}

impl<T: Real> CellWalk<'_, T> {
    /// Nine nodes at a time, to first order; three or one where that is not enough.
    #[inline(always)]
    pub(super) fn mixed<V: Lanes<T = T>>(&self, h: &mut Pair<T>) {
        let n_blocks = self.metric.n_nodes() / MIXED;
        let limits = [first_order_limit::<T>(MIXED), first_order_limit::<T>(MIXED / PARTS)];
        let (source, scratch) = (Source::new(self.metric), self.scratch);
        let mut sums = [[T::default(); 16]; 4 * (PARTS + 1)];
        let mut cells = [[0; MIXED]; 16];
        // Lanes without a block read the first record.
        let mut begins = [[0; 16]; MIXED];
        let mut room = Room { sum: [T::default(); PACKED], pairs: [Pair::default(); 2] };
        let mut cursor = Cursor::new(self.way, 0);
        for first in (0..n_blocks).step_by(V::N) {
            let lanes = V::N.min(n_blocks - first);
            // SAFETY: as in `runs`, with two planes more.
            unsafe {
                for (lane, cells) in cells.iter_mut().enumerate().take(lanes) {
                    for (k, cell) in cells.iter_mut().enumerate() {
                        let node = cursor.next();
                        begins[k][lane] = RECORD as u32 * node;
                        *cell = *source.cell.add(node as usize);
                    }
                }
                for (k, begins) in begins.iter().enumerate() {
                    let [t, re, im, beta] = V::load_records(source.records, begins.as_ptr());
                    let to = scratch.add(k * V::N);
                    t.store(to);
                    re.store(to.add(MIXED * V::N));
                    im.store(to.add(2 * MIXED * V::N));
                    beta.store(to.add(3 * MIXED * V::N));
                }
                sum_parts::<V>(scratch, V::splat(self.mean), &mut sums);
                for (lane, cells) in cells.iter().enumerate().take(lanes) {
                    let block = Block { lane, first: MIXED * (first + lane), cells };
                    self.advance_mixed::<V>(&sums, &block, limits, &mut room, h);
                }
            }
        }
        self.node_by_node::<V>(MIXED * n_blocks, self.metric.n_nodes() - MIXED * n_blocks, h);
    }

    /// One block of nine nodes.
    ///
    /// # Safety
    /// The scratch holds what [`sum_parts`] made of them; the cells exist.
    #[inline(always)]
    unsafe fn advance_mixed<V: Lanes<T = T>>(
        &self,
        sums: &[[T; 16]; 4 * (PARTS + 1)],
        block: &Block<'_>,
        [of_all, of_part]: [f64; 2],
        room: &mut Room<T>,
        h: &mut Pair<T>,
    ) {
        let lane = block.lane;
        // SAFETY: says the caller.
        unsafe {
            if sums[3][lane].to_f64() <= of_all && sums[0][lane].to_f64() <= TURNED_MAX {
                let whole = [sums[0][lane], sums[1][lane], sums[2][lane]];
                self.advance_sum::<V>(self.scratch.add(3 * MIXED * V::N), block, 0..MIXED, whole, room, h);
                return;
            }
            for part in 0..PARTS {
                let sums = &sums[4 * (part + 1)..];
                let nodes = part * MIXED / PARTS..(part + 1) * MIXED / PARTS;
                if sums[3][lane].to_f64() <= of_part && sums[0][lane].to_f64() <= TURNED_MAX {
                    let part = [sums[0][lane], sums[1][lane], sums[2][lane]];
                    self.advance_sum::<V>(self.scratch.add(MIXED * V::N), block, nodes, part, room, h);
                } else {
                    self.node_by_node::<V>(block.first + nodes.start, nodes.len(), h);
                }
            }
        }
    }

    /// Some nodes of a block of nine: Σ tE and Σ tX(before)·E·1, then h. t·X is in two planes from `driven` on.
    ///
    /// # Safety
    /// As [`Self::advance_mixed`].
    #[inline(always)]
    unsafe fn advance_sum<V: Lanes<T = T>>(
        &self,
        driven: *const T,
        block: &Block<'_>,
        nodes: core::ops::Range<usize>,
        [turned, x_re, x_im]: [T; 3],
        room: &mut Room<T>,
        h: &mut Pair<T>,
    ) {
        let (tensors, lane, plane) = (self.metric.tensors.as_ptr(), block.lane, MIXED * V::N);
        let (turns, zero) = (self.scratch.cast_const(), V::splat(T::default()));
        let [of_h, of_x] = &mut room.pairs;
        // SAFETY: planes have nine vectors; tensors have TENSOR numbers.
        unsafe {
            for from in (0..PACKED).step_by(3 * V::N) {
                let (mut a, mut b, mut c) = (zero, zero, zero);
                for k in nodes.clone() {
                    let t = V::splat(*turns.add(k * V::N + lane));
                    let tensor = tensors.add(*block.cells.get_unchecked(k) as usize * TENSOR + from);
                    a = V::load(tensor).mul_add(t, a);
                    b = V::load(tensor.add(V::N)).mul_add(t, b);
                    c = V::load(tensor.add(2 * V::N)).mul_add(t, c);
                }
                let to = room.sum.as_mut_ptr().add(from);
                a.store(to);
                b.store(to.add(V::N));
                c.store(to.add(2 * V::N));
            }
            for part in (0..STATE).step_by(V::N) {
                let (mut re, mut im) = (zero, zero);
                for k in nodes.clone() {
                    let at = driven.add(k * V::N + lane);
                    let tensor = tensors.add(*block.cells.get_unchecked(k) as usize * TENSOR);
                    let ones = V::load(tensor.add(ROW_SUMS + part));
                    re = ones.mul_add(V::splat(*at), re);
                    im = ones.mul_add(V::splat(*at.add(plane)), im);
                }
                re.store(of_x[0].as_mut_ptr().add(part));
                im.store(of_x[1].as_mut_ptr().add(part));
            }
            apply::<V>(room.sum.as_ptr(), h, of_h);
            let product = V::constant(1.0).div(V::splat(turned));
            for part in (0..STATE).step_by(V::N) {
                for (q, x) in [x_re, x_im].into_iter().enumerate() {
                    let h = h[q].as_mut_ptr().add(part);
                    let less = V::load(of_h[q].as_ptr().add(part)).add(V::load(of_x[q].as_ptr().add(part)));
                    V::load(h).add(V::splat(x)).sub(less).mul(product).store(h);
                }
            }
        }
    }
}

/// Of one block of nine nodes per lane, and of its parts: Π 1/(1 − sγ), X, β. Leaves t·X(before) of the parts in place of
/// B·Ψ, that of the whole behind it.
///
/// # Safety
/// There are four planes of nine vectors, and room for one more.
#[inline(always)]
unsafe fn sum_parts<V: Lanes>(nodes: *mut V::T, mean: V, to: &mut [[V::T; 16]; 4 * (PARTS + 1)]) {
    let plane = MIXED * V::N;
    let zero = V::splat(V::T::default());
    let one = V::constant(1.0);
    let (mut all_turned, mut all_beta, mut all_re, mut all_im) = (one, zero, zero, zero);
    for part in 0..PARTS {
        let (mut turned, mut beta, mut x_re, mut x_im) = (one, zero, zero, zero);
        for k in part * MIXED / PARTS..(part + 1) * MIXED / PARTS {
            // SAFETY: says the caller.
            unsafe {
                let at = nodes.add(k * V::N);
                let (of_re, of_im) = (at.add(plane), at.add(2 * plane));
                let (t, re, im) = (V::load(at), V::load(of_re), V::load(of_im));
                beta = beta.add(V::load(at.add(3 * plane)));
                t.mul(x_re).store(of_re);
                t.mul(x_im).store(of_im);
                t.mul(x_re.mul_add(all_turned, all_re)).store(at.add(3 * plane));
                t.mul(x_im.mul_add(all_turned, all_im)).store(at.add(4 * plane));
                turned = t.mul(mean).mul_add(turned, turned);
                (x_re, x_im) = (re.mul_add(turned, x_re), im.mul_add(turned, x_im));
            }
        }
        (all_re, all_im) = (x_re.mul_add(all_turned, all_re), x_im.mul_add(all_turned, all_im));
        (all_turned, all_beta) = (all_turned.mul(turned), all_beta.add(beta));
        let to = &mut to[4 * (part + 1)..];
        turned.store_array(&mut to[0]);
        x_re.store_array(&mut to[1]);
        x_im.store_array(&mut to[2]);
        beta.store_array(&mut to[3]);
    }
    all_turned.store_array(&mut to[0]);
    all_re.store_array(&mut to[1]);
    all_im.store_array(&mut to[2]);
    all_beta.store_array(&mut to[3]);
}
