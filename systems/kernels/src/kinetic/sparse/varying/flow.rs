//! The axes of a sparse torus whose cells are runs, in vectors: those outside cells page by page, those inside cells a vector of
//! cells at a time on all pages that such lines connect.
//!
//! Invariant: units of one level touch no common node, and what is done to a node is done in the order of axes, or backward,
//! whatever the units; so neither threads nor levels change a bit. Units are cut by the set.
//!
//! ```text
//! run:    one page, consecutive axes along which it is alone: the first ones over all of it, the others block by block
//! lines:  some lines of a column along one axis
//! sheet:  pages that differ along axes inside cells alone; a vector of cells of them, transposed, all these axes
//! ```
//!
//! Source: [`super`]; cache blocking as in `kinetic/varying.rs`.

#![allow(unsafe_code)] // Pages shared between units as raw planes, vectors.

use super::super::super::dft::Complex;
use super::super::super::fibre::FibrePass;
use super::super::super::sweep::with_scratch;
use super::super::runs::SIDE;
use super::packed::{Packed, TRIPLE, lanes};
use super::sheet::{SheetPass, TILE};
use super::{ActiveAxis, Blocks, CHUNK_BUNDLES, PageBundle};
use crate::field::{Real, Threads};
use crate::half_potential::Planes;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::{for_each_chunk, for_each_level};
use core::ops::Range;
use std::collections::BTreeMap;

/// Bytes of Ψ that stay in the first-level cache while axis after axis runs over them.
const BLOCK_BYTES: usize = 20 << 10;

/// With as few pages, the first axis of a page is done in parts and the others block by block, so that threads have a share.
const FEW_PAGES: usize = 8;

/// A piece of the axes outside cells.
enum Unit {
    /// `axes`, along which the page in `slot` is alone, on some of its nodes: whole lines of each.
    Run { slot: usize, axes: Vec<usize>, nodes: Range<usize> },
    /// Lines of a column, by their bundles.
    Lines { axis: usize, column: usize, bundles: Range<usize> },
}

/// Pages that share their place along all axes outside cells.
pub(super) struct Sheet {
    pub slots: Vec<usize>,
    /// Of each axis inside: its columns, with the places of their pages in `slots`.
    pub columns: Vec<Vec<(usize, Vec<usize>)>>,
}

/// The order of work on an active set.
pub(super) struct Flow {
    /// Axes outside cells.
    n_outside: usize,
    run: usize,
    cells_per_page: usize,
    levels: Vec<Vec<Unit>>,
    sheets: Vec<Sheet>,
    scratch: usize,
}

/// Which of the axes inside cells are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    First,
    Second,
    Both,
}

impl Flow {
    /// For these pages, in cells that are runs of `run` nodes.
    pub fn new<T: Real>(blocks: &Blocks, run: usize, pages: &[usize], axes: &[ActiveAxis<T>]) -> Self {
        let n_outside = (0..axes.len()).filter(|&axis| blocks.stride(axis) >= run).count();
        let within: usize = (n_outside..axes.len()).map(|axis| blocks.pages_along(axis)).product();
        let mut by_sheet: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (slot, page) in pages.iter().enumerate() {
            by_sheet.entry(page / within).or_default().push(slot);
        }
        let sheets: Vec<Sheet> = by_sheet
            .into_values()
            .map(|slots| {
                let columns = axes[n_outside..].iter().map(|axis| {
                    let mut columns: Vec<usize> = slots.iter().map(|&slot| axis.column_of[slot]).collect();
                    columns.sort_unstable();
                    columns.dedup();
                    let place = |slot: &usize| slots.binary_search(slot).expect("lines stay in their sheet");
                    let of = |column: usize| {
                        (column, axis.columns[column].slots.iter().map(place).collect::<Vec<_>>())
                    };
                    columns.into_iter().map(of).collect()
                });
                Sheet { columns: columns.collect(), slots }
            })
            .collect();
        let longest = |sheet: &Sheet| sheet.columns.iter().flatten().map(|(_, p)| p.len()).max().unwrap_or(0);
        let scratch =
            |sheet: &Sheet| 2 * lanes::<T>() * (sheet.slots.len() * run + longest(sheet) * SIDE * TILE);
        Self {
            n_outside,
            run,
            cells_per_page: blocks.page_nodes() / run,
            levels: schedule(blocks, pages.len(), &axes[..n_outside]),
            scratch: sheets.iter().map(scratch).max().unwrap_or(0),
            sheets,
        }
    }

    /// The axes outside cells. `fibres` is the scratch of their matrices.
    pub fn outside<T: Real>(
        &self,
        level: Level,
        threads: Threads<'_>,
        axes: &[ActiveAxis<T>],
        planes: &[Planes<T>],
        fibres: usize,
        is_backward: bool,
    ) {
        let n = self.levels.len();
        let at = |i: usize| &self.levels[if is_backward { n - 1 - i } else { i }];
        let sizes: Vec<usize> = (0..n).map(|i| at(i).len()).collect();
        for_each_level(threads, &sizes, |i, unit| {
            let unit = &at(i)[unit];
            with_scratch(fibres, |scratch| {
                T::outside_pass(
                    level,
                    OutsidePass { unit, run: self.run, axes, planes, scratch, is_backward },
                );
            });
        });
    }

    /// The axes inside cells.
    pub fn inside<T: Real>(
        &self,
        level: Level,
        threads: Threads<'_>,
        axes: &[ActiveAxis<T>],
        planes: &[Planes<T>],
        half: Half,
    ) {
        let n_groups = self.cells_per_page.div_ceil(lanes::<T>());
        let axes = &axes[self.n_outside..];
        for_each_chunk(threads, self.sheets.len() * n_groups, |chunk| {
            let (sheet, group) = (&self.sheets[chunk / n_groups], chunk % n_groups);
            let n = lanes::<T>().min(self.cells_per_page - group * lanes::<T>());
            with_scratch(self.scratch, |scratch| {
                let run = self.run;
                T::sheet_pass(level, SheetPass { sheet, run, axes, planes, group, n, half, scratch });
            });
        });
    }
}

/// Units in levels: a page's axes follow each other, columns wait for all of their pages.
fn schedule<T: Real>(blocks: &Blocks, n_pages: usize, axes: &[ActiveAxis<T>]) -> Vec<Vec<Unit>> {
    let mut levels: Vec<Vec<Unit>> = Vec::new();
    let put = |levels: &mut Vec<Vec<Unit>>, level: usize, unit: Unit| {
        levels.resize_with(levels.len().max(level + 1), Vec::new);
        levels[level].push(unit);
    };
    let nodes = blocks.page_nodes();
    let lines = |axis: usize, column: usize| {
        let n = axes[axis].layout.bundles.len();
        (0..n).step_by(CHUNK_BUNDLES).map(move |first| Unit::Lines {
            axis,
            column,
            bundles: first..n.min(first + CHUNK_BUNDLES),
        })
    };
    // Of each page: the next free level, and the axes that it is alone along since.
    let mut next = vec![(0, Vec::new()); n_pages];
    let flush = |levels: &mut Vec<Vec<Unit>>, slot: usize, next: &mut (usize, Vec<usize>)| {
        let mut alone = std::mem::take(&mut next.1);
        if alone.is_empty() {
            return;
        }
        if n_pages > FEW_PAGES {
            put(levels, next.0, Unit::Run { slot, axes: alone, nodes: 0..nodes });
            next.0 += 1;
            return;
        }
        let first = alone.remove(0);
        lines(first, axes[first].column_of[slot]).for_each(|unit| put(levels, next.0, unit));
        next.0 += 1;
        if let Some(&second) = alone.first() {
            let block = SIDE * blocks.stride(second);
            for start in (0..nodes).step_by(block) {
                put(levels, next.0, Unit::Run { slot, axes: alone.clone(), nodes: start..start + block });
            }
            next.0 += 1;
        }
    };
    for (a, axis) in axes.iter().enumerate() {
        for (index, column) in axis.columns.iter().enumerate() {
            if let [slot] = column.slots[..] {
                next[slot].1.push(a);
                continue;
            }
            column.slots.iter().for_each(|&slot| flush(&mut levels, slot, &mut next[slot]));
            let level = column.slots.iter().map(|&slot| next[slot].0).max().unwrap_or(0);
            lines(a, index).for_each(|unit| put(&mut levels, level, unit));
            column.slots.iter().for_each(|&slot| next[slot].0 = level + 1);
        }
    }
    next.iter_mut().enumerate().for_each(|(slot, next)| flush(&mut levels, slot, next));
    levels
}

/// A unit of the axes outside cells. Built only with the planes of the active pages and the matrices' scratch.
pub struct OutsidePass<'a, T: SimdReal> {
    unit: &'a Unit,
    run: usize,
    axes: &'a [ActiveAxis<T>],
    planes: &'a [Planes<T>],
    scratch: *mut T,
    is_backward: bool,
}

impl<T: Real> Kernel<T> for OutsidePass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let (slot, axes, nodes) = match self.unit {
            Unit::Lines { axis, column, bundles } => {
                return self.lines::<V>(*axis, *column, bundles.clone());
            }
            Unit::Run { slot, axes, nodes } => (*slot, axes, nodes.clone()),
        };
        let covers = |axis: usize| SIDE * self.axes[axis].layout.stride;
        let is_far = |axis: &&usize| 2 * covers(**axis) * T::BYTES > BLOCK_BYTES;
        let (far, near) = axes.split_at(axes.iter().take_while(is_far).count());
        let block = near.first().map_or(nodes.len(), |&axis| covers(axis));
        if !self.is_backward {
            for &axis in far {
                self.of_page::<V>(axis, slot, nodes.clone());
            }
        }
        for start in nodes.clone().step_by(block) {
            for k in 0..near.len() {
                let axis = near[if self.is_backward { near.len() - 1 - k } else { k }];
                self.of_page::<V>(axis, slot, start..start + block);
            }
        }
        if self.is_backward {
            for &axis in far.iter().rev() {
                self.of_page::<V>(axis, slot, nodes.clone());
            }
        }
    }
}

impl<T: Real> OutsidePass<'_, T> {
    /// The lines of a page along an axis on some nodes.
    #[inline(always)]
    fn of_page<V: Lanes<T = T>>(&self, axis: usize, slot: usize, nodes: Range<usize>) {
        let bundle = SIDE * self.run;
        self.lines::<V>(axis, self.axes[axis].column_of[slot], nodes.start / bundle..nodes.end / bundle);
    }

    #[inline(always)]
    fn lines<V: Lanes<T = T>>(&self, axis: usize, column: usize, bundles: Range<usize>) {
        let (layout, column) = (&self.axes[axis].layout, &self.axes[axis].columns[column]);
        let (stride, run, bundles) = (layout.stride, self.run, &layout.bundles[bundles]);
        if let Packed::Triples(triples) = &column.table.packed {
            let page = self.planes[column.slots[0]];
            return V::call(TripleLines { page, stride, run, bundles, triples });
        }
        let mut rows = Vec::with_capacity(column.slots.len() * SIDE);
        for bundle in bundles {
            rows.clear();
            for &slot in &column.slots {
                for j in 0..SIDE {
                    // SAFETY: a bundle is three rows of a run of each page of the column.
                    rows.push(unsafe { self.planes[slot].offset(bundle.base as usize + j * stride) });
                }
            }
            let fibre = &column.table.fibres[column.table.which[bundle.line as usize] as usize];
            V::call(FibrePass { fibre, rows: &rows, lanes: run, shift: 0, scratch: self.scratch });
        }
    }
}

/// U on lines of three nodes, a run of neighbours with one matrix at a time. Built only with the bundles of a page that its caller
/// owns, each three rows of a run of more than half a row's vectors, and a triple for each line of cells.
struct TripleLines<'a, T> {
    page: Planes<T>,
    stride: usize,
    run: usize,
    bundles: &'a [PageBundle],
    triples: &'a [[T; TRIPLE]],
}

impl<T: Real> Kernel<T> for TripleLines<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        self.by_vectors::<V::Narrow>();
    }
}

impl<T: Real> TripleLines<'_, T> {
    #[inline(always)]
    fn by_vectors<V: Lanes<T = T>>(&self) {
        let Self { page, stride, run, bundles, triples } = *self;
        for bundle in bundles {
            // SAFETY: says whoever built the pass; vectors lie in the run's rows.
            unsafe {
                let numbers = triples.get_unchecked(bundle.line as usize).as_ptr();
                let mut u = [V::splat(T::default()); TRIPLE];
                for (k, u) in u.iter_mut().enumerate() {
                    *u = V::splat(*numbers.add(k));
                }
                let row = page.offset(bundle.base as usize);
                let rows = [row, row.offset(stride), row.offset(2 * stride)];
                // The last vector overlaps the one before: it is computed from what is still untouched, and stored last.
                let last = triple(&u, load_rows::<V>(&rows, run - V::N));
                let mut lane = 0;
                while lane + V::N < run {
                    store_rows(&rows, lane, triple(&u, load_rows::<V>(&rows, lane)));
                    lane += V::N;
                }
                store_rows(&rows, run - V::N, last);
            }
        }
    }
}

/// x + (U − 1)x: increments are summed among themselves and added once.
#[inline(always)]
pub(super) fn triple<V: Lanes>(u: &[V; TRIPLE], x: [Complex<V>; SIDE]) -> [Complex<V>; SIDE] {
    let [a, b, c] = x;
    let first = accumulate(accumulate(a.mul(u[0], u[1]), b, (u[2], u[3])), c, (u[4], u[5]));
    let second = accumulate(accumulate(a.mul(u[2], u[3]), b, (u[6], u[7])), c, (u[8], u[9]));
    let third = accumulate(accumulate(a.mul(u[4], u[5]), b, (u[8], u[9])), c, (u[10], u[11]));
    [a.add(first), b.add(second), c.add(third)]
}

/// sum + x·w.
#[inline(always)]
fn accumulate<V: Lanes>(sum: Complex<V>, x: Complex<V>, (re, im): (V, V)) -> Complex<V> {
    Complex {
        re: x.im.neg_mul_add(im, x.re.mul_add(re, sum.re)),
        im: x.im.mul_add(re, x.re.mul_add(im, sum.im)),
    }
}

/// # Safety
/// The rows have a vector from `lane` on.
#[inline(always)]
pub(super) unsafe fn load_rows<V: Lanes>(rows: &[Planes<V::T>; SIDE], lane: usize) -> [Complex<V>; SIDE] {
    // SAFETY: says the caller.
    unsafe { [load(rows[0], lane), load(rows[1], lane), load(rows[2], lane)] }
}

/// # Safety
/// As [`load_rows`], for writing.
#[inline(always)]
pub(super) unsafe fn store_rows<V: Lanes>(rows: &[Planes<V::T>; SIDE], lane: usize, x: [Complex<V>; SIDE]) {
    // SAFETY: says the caller.
    unsafe {
        store(rows[0], lane, x[0]);
        store(rows[1], lane, x[1]);
        store(rows[2], lane, x[2]);
    }
}

/// # Safety
/// The row has a vector from `lane` on.
#[inline(always)]
unsafe fn load<V: Lanes>(row: Planes<V::T>, lane: usize) -> Complex<V> {
    // SAFETY: says the caller.
    unsafe { Complex { re: V::load(row.re.add(lane)), im: V::load(row.im.add(lane)) } }
}

/// # Safety
/// As [`load`], for writing.
#[inline(always)]
unsafe fn store<V: Lanes>(row: Planes<V::T>, lane: usize, x: Complex<V>) {
    // SAFETY: says the caller.
    unsafe {
        x.re.store(row.re.add(lane));
        x.im.store(row.im.add(lane));
    }
}
