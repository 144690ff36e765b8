//! The axes inside cells on a vector of cells of a sheet, transposed: rows are nodes, lanes are cells.
//! Invariant: a lane is a cell, whatever the vectors; lanes behind the last cell hold zeros. Source: [`super`]; `kinetic/cells.rs`.

#![allow(unsafe_code)] // Rows of the scratch as raw planes, vectors.

use super::super::super::sweep::Transpose;
use super::super::runs::SIDE;
use super::ActiveAxis;
use super::flow::{Half, Sheet, load_rows, store_rows, triple};
use super::packed::{BLOCK, Packed, TRIPLE, block_at};
use crate::field::Real;
use crate::half_potential::Planes;
use crate::simd::{Kernel, Lanes, SimdReal};

/// Lines of a cell along an axis that are advanced together.
pub(super) const TILE: usize = 3;

/// A vector of cells of a sheet. Built only with the planes of the active pages and the flow's scratch.
pub struct SheetPass<'a, T: SimdReal> {
    pub(super) sheet: &'a Sheet,
    pub(super) run: usize,
    /// Those inside cells.
    pub(super) axes: &'a [ActiveAxis<T>],
    pub(super) planes: &'a [Planes<T>],
    pub(super) group: usize,
    /// Cells of the group.
    pub(super) n: usize,
    pub(super) half: Half,
    pub(super) scratch: *mut T,
}

impl<T: Real> Kernel<T> for SheetPass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let Self { sheet, run, planes, group, n, scratch, .. } = self;
        let step = 2 * V::N;
        // SAFETY: the scratch has a row for each node of a cell of each page; the chunk owns these cells.
        unsafe {
            let rows = |place: usize| {
                let first = scratch.add(place * run * step);
                Planes { re: first, im: first.add(V::N), len: run * step }
            };
            for (place, &slot) in sheet.slots.iter().enumerate() {
                let page = planes.get_unchecked(slot).offset(group * V::N * run);
                V::call(Transpose::<T, true> { page, rows: rows(place), block: run, step, n });
            }
            if self.half != Half::Second {
                for axis in 0..self.axes.len() {
                    self.along::<V>(axis);
                }
            }
            if self.half != Half::First {
                for axis in (0..self.axes.len()).rev() {
                    self.along::<V>(axis);
                }
            }
            for (place, &slot) in sheet.slots.iter().enumerate() {
                let page = planes.get_unchecked(slot).offset(group * V::N * run);
                V::call(Transpose::<T, false> { page, rows: rows(place), block: run, step, n });
            }
        }
    }
}

impl<T: Real> SheetPass<'_, T> {
    /// An axis on all its columns.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    #[inline(always)]
    unsafe fn along<V: Lanes<T = T>>(&self, axis: usize) {
        let Self { sheet, run, axes, group, scratch, .. } = *self;
        let axis_of = &axes[axis];
        // SAFETY: room for the rows of a tile of lines lies behind those of the cells.
        unsafe {
            let tile = scratch.add(sheet.slots.len() * run * 2 * V::N);
            for (column, places) in &sheet.columns[axis] {
                let Packed::Blocks(blocks) = &axis_of.columns[*column].table.packed else { continue };
                let (stride, numbers) = (axis_of.layout.stride, blocks.group(group));
                V::call(CellLines { places, run, stride, numbers, cells: scratch, tile });
            }
        }
    }
}

/// U on the lines of a vector of cells along one axis. Built only with the transposed cells of a sheet, which the caller owns, the
/// numbers of a column's group, and room for a tile of lines.
struct CellLines<'a, T> {
    places: &'a [usize],
    run: usize,
    stride: usize,
    numbers: &'a [T],
    cells: *mut T,
    tile: *mut T,
}

impl<T: Real> Kernel<T> for CellLines<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let (block, stride) = (SIDE * self.stride, self.stride);
        for first in (0..self.run).step_by(block) {
            for node in first..first + stride {
                // Lines of a cell come three by three, except along its last axis, where they begin three nodes apart.
                let apart = if stride == 1 { SIDE } else { 1 };
                let line = if stride == 1 { node / SIDE } else { node };
                if !line.is_multiple_of(TILE) {
                    continue;
                }
                // SAFETY: says whoever built the pass.
                unsafe {
                    if let [place] = self.places {
                        self.alone::<V, V::Narrow>(*place, node, apart);
                    } else {
                        self.together::<V, V::Narrow>(node, apart);
                    }
                }
            }
        }
    }
}

impl<T: Real> CellLines<'_, T> {
    /// Three lines, `apart` from `node` on, of one page.
    ///
    /// # Safety
    /// The nodes exist.
    #[inline(always)]
    unsafe fn alone<V: Lanes<T = T>, W: Lanes<T = T>>(&self, place: usize, node: usize, apart: usize) {
        let (numbers, step) = (self.numbers.as_ptr(), 2 * V::N);
        // SAFETY: a block has nine pairs of vectors; nodes have a row.
        unsafe {
            for lane in (0..V::N).step_by(W::N) {
                let mut u = [W::splat(T::default()); TRIPLE];
                for (k, entry) in [0, 1, 2, 4, 5, 8].into_iter().enumerate() {
                    u[2 * k] = W::load(numbers.add(2 * entry * V::N + lane));
                    u[2 * k + 1] = W::load(numbers.add((2 * entry + 1) * V::N + lane));
                }
                for line in 0..TILE {
                    let first = self.cells.add((place * self.run + node + line * apart) * step + lane);
                    let row = Planes { re: first, im: first.add(V::N), len: 0 };
                    let rows = [row, shifted(row, self.stride * step), shifted(row, 2 * self.stride * step)];
                    store_rows(&rows, 0, triple(&u, load_rows::<W>(&rows, 0)));
                }
            }
        }
    }

    /// Three lines, `apart` from `node` on, through all pages of the column.
    ///
    /// # Safety
    /// The nodes exist.
    #[inline(always)]
    unsafe fn together<V: Lanes<T = T>, W: Lanes<T = T>>(&self, node: usize, apart: usize) {
        let (step, n) = (2 * V::N, self.places.len());
        // SAFETY: nodes have a row; the tile has one for each node of three lines.
        unsafe {
            let mut to = self.tile;
            for &place in self.places {
                for j in 0..SIDE {
                    for line in 0..TILE {
                        let at = place * self.run + node + line * apart + j * self.stride;
                        let from = self.cells.add(at * step);
                        V::load(from).store(to);
                        V::load(from.add(V::N)).store(to.add(V::N));
                        to = to.add(step);
                    }
                }
            }
            for lane in (0..V::N).step_by(W::N) {
                for i in 0..n {
                    self.block_row::<V, W>((i, n), (node, apart), lane);
                }
            }
        }
    }

    /// The nodes of page `i` of `n`.
    ///
    /// # Safety
    /// The tile holds the old Ψ.
    #[inline(always)]
    unsafe fn block_row<V: Lanes<T = T>, W: Lanes<T = T>>(
        &self,
        (i, n): (usize, usize),
        (node, apart): (usize, usize),
        lane: usize,
    ) {
        let (numbers, old, step) = (self.numbers.as_ptr(), self.tile.cast_const(), 2 * V::N);
        let zero = W::splat(T::default());
        let (mut re, mut im) = ([[zero; TILE]; SIDE], [[zero; TILE]; SIDE]);
        // SAFETY: blocks on and above the diagonal are there, the others are their mirror images.
        unsafe {
            for j in 0..n {
                let (block, along, across) =
                    if j < i { (block_at(n, j, i), 1, SIDE) } else { (block_at(n, i, j), SIDE, 1) };
                let block = numbers.add(block * BLOCK * V::N + lane);
                for c in 0..SIDE {
                    let x = old.add((j * SIDE + c) * TILE * step + lane);
                    let entries = block.add(c * across * step);
                    let a = [W::load(x), W::load(x.add(step)), W::load(x.add(2 * step))];
                    let x = x.add(V::N);
                    let b = [W::load(x), W::load(x.add(step)), W::load(x.add(2 * step))];
                    for r in 0..SIDE {
                        let entry = entries.add(r * along * step);
                        let (p, q) = (W::load(entry), W::load(entry.add(V::N)));
                        for line in 0..TILE {
                            re[r][line] = b[line].neg_mul_add(q, a[line].mul_add(p, re[r][line]));
                            im[r][line] = b[line].mul_add(p, a[line].mul_add(q, im[r][line]));
                        }
                    }
                }
            }
            let first = self.places.get_unchecked(i) * self.run + node;
            for r in 0..SIDE {
                for line in 0..TILE {
                    let from = old.add(((i * SIDE + r) * TILE + line) * step + lane);
                    let to = self.cells.add((first + line * apart + r * self.stride) * step + lane);
                    W::load(from).add(re[r][line]).store(to);
                    W::load(from.add(V::N)).add(im[r][line]).store(to.add(V::N));
                }
            }
        }
    }
}

/// # Safety
/// So many scalars lie behind the row's first.
#[inline(always)]
unsafe fn shifted<T>(row: Planes<T>, by: usize) -> Planes<T> {
    // SAFETY: says the caller.
    unsafe { Planes { re: row.re.add(by), im: row.im.add(by), len: 0 } }
}
