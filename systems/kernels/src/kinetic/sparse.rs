//! The kinetic flow on an active set of pages: exp(−iτPTP), P the projector on the set.
//!
//! Invariant: PTP = Σ_d P T_d P, and each P T_d P is block-diagonal over *columns*, the active pages that share all
//! lattice positions but the one along d; all lines of a column have the same active nodes, hence one propagator,
//! which is cached by the pattern of positions. Every factor is unitary, so is the step, whatever the set. Factors of
//! different axes commute only on product sets, so forward and backward ticks take the axes in opposite order: two
//! ticks are a palindrome, and the error is of second order after every tick (after an odd number one Lie step is
//! unmatched, whose own error is of second order).
//! Source: restricted Hamiltonians as in dynamically pruned grids (Hartke, PCCP 8 (2006) 3627); Strang 1968.
//!
//! ```text
//! run:    one page, all axes along which it is alone in its column; blocks in the first-level cache
//! column: the pages of one column along one axis, rows across pages
//! ```
//!
//! Forward runs come first, so that a page is visited once for them and once per column it is in. Runs and columns that
//! touch no common page form a level; levels follow each other, the units of one are shared.

#![allow(unsafe_code)] // Pages shared between units as raw planes.

mod gram;
mod lines;
mod mirror;
mod passes;
mod runs;
mod triple;
mod varying;

use core::ops::Range;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::fibre::{Fibre, FibreLine};
use super::sweep::{row_step, with_scratch};
use super::{Axis, AxisTerm, BLOCK_ROWS, Probe, plan_axis};
use crate::field::{PageMut, Real, Threads};
use crate::half_potential::{self, LocalFlow, LocalPlan, Operands, Planes, Prefactor, Time};
use crate::simd::{Level, SimdReal};
use crate::threads::for_each_level;

#[doc(hidden)]
pub use gram::GramUnit;
use gram::Ring;
pub use gram::{ColumnGram, ColumnLayers, Leak};
use mirror::Mirror;
#[doc(hidden)]
pub use passes::SparseUnit;
pub(crate) use runs::{
    AHEAD, Aligned, LineAxis, RunSlopes, RunTables, Runs, SHIFTS, SIDE, Sum, Tie, along_inside, copy_run,
    fetch, fetch_run, outside_terms, sum_terms, ties,
};
use triple::{Lead, Triple};
pub(crate) use varying::ActiveSlopes;
pub use varying::SparseVarying;
#[doc(hidden)]
pub use varying::{ActivePass, OutsidePass, SheetPass, SlopePass};

/// Lanes of a bundle of lines along an axis whose neighbours lie far apart.
const BUNDLE_LANES: usize = 96;

/// Parts a column is cut into, so that one column can keep several threads busy.
const COLUMN_PARTS: usize = 4;

/// Bytes of Ψ that a run keeps in the first-level cache, beside the transposed blocks.
const NEAR_BYTES: usize = 20 << 10;

/// Full lines up to this length are propagated by their matrix, longer ones by transform.
const FULL_FIBRE_MAX: usize = 9;

/// A block-paged torus, storage axes slowest first: a page is a box of `sides`, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    /// Nodes of the torus along each axis, each above 1.
    pub extents: Vec<usize>,
    /// Nodes of a page along each axis.
    pub sides: Vec<usize>,
}

impl Blocks {
    /// Nodes per page.
    pub fn page_nodes(&self) -> usize {
        self.sides.iter().product()
    }

    /// Distance in a page between neighbours along `axis`.
    pub(crate) fn stride(&self, axis: usize) -> usize {
        self.sides[axis + 1..].iter().product()
    }

    /// Pages along `axis`.
    pub(crate) fn pages_along(&self, axis: usize) -> usize {
        self.extents[axis] / self.sides[axis]
    }

    /// (column, position) of a page along `axis`, from its row-major index on the page lattice.
    pub(crate) fn column_of(&self, page: usize, axis: usize) -> (usize, usize) {
        let inner: usize = (axis + 1..self.sides.len()).map(|a| self.pages_along(a)).product();
        let along = self.pages_along(axis);
        (page / (inner * along) * inner + page % inner, page / inner % along)
    }

    /// The page at `position` of the column of `page` along `axis`.
    fn page_in_column(&self, page: usize, axis: usize, position: usize) -> usize {
        let inner: usize = (axis + 1..self.sides.len()).map(|a| self.pages_along(a)).product();
        let (_, old) = self.column_of(page, axis);
        page - old * inner + position * inner
    }
}

/// The propagator of the lines of a column.
enum LinePlan<T: SimdReal> {
    /// One page of side 3.
    Triple(Triple<T>),
    /// A pattern that is its own mirror image.
    Mirror(Mirror<T>),
    /// Any other pattern.
    Fibre(Fibre<T>),
    /// Every page of the ring: the transform of the dense torus.
    Dense(Axis<T>),
}

impl<T: Real> LinePlan<T> {
    fn buffer(&self) -> usize {
        match self {
            Self::Triple(_) => 0,
            Self::Mirror(mirror) => mirror.scratch(),
            Self::Fibre(fibre) => fibre.scratch(),
            Self::Dense(axis) => axis.buffer(),
        }
    }
}

/// Active pages that share all lattice positions but the one along `axis`, in ring order from behind the largest gap.
struct Column<T: SimdReal> {
    axis: usize,
    slots: Vec<usize>,
    positions: Vec<usize>,
    line: Arc<LinePlan<T>>,
}

/// Work that one thread does without interruption.
#[derive(Debug, Clone, PartialEq)]
enum Unit {
    /// The opening local flow, if it `opens`, and `axes` along which the page is alone, last first.
    Run {
        slot: usize,
        axes: Vec<usize>,
        opens: bool,
    },
    Column {
        column: usize,
        bundles: Range<usize>,
    },
}

/// A kinetic flow on an active set that may change between ticks.
pub struct SparseKinetic<T: SimdReal> {
    level: Level,
    blocks: Blocks,
    terms: Vec<AxisTerm>,
    /// T along each axis, as elements.
    rings: Vec<Ring>,
    duration: f64,
    lines: BTreeMap<(usize, Vec<usize>), Arc<LinePlan<T>>>,
    /// Row-major lattice indices, ascending.
    pages: Vec<usize>,
    columns: Vec<Column<T>>,
    /// Column of each page along each axis: `column_at[slot·axes + axis]`.
    column_at: Vec<usize>,
    /// `along[axis]` is the range of `columns` along that axis.
    along: Vec<Range<usize>>,
    /// The axis that leads the run of each page, and what it does, if it is alone along any with a side of 3.
    leads: Vec<Option<(usize, Lead<T>)>>,
    /// Levels of units, forward and backward.
    levels: [Vec<Vec<Unit>>; 2],
    /// First axis of the blocks that a run transposes.
    split: usize,
    scratch: usize,
}

impl<T: Real> SparseKinetic<T> {
    /// Plans exp(−i·duration·PTP) with an empty active set. Panics where blocks and terms disagree.
    pub fn new(level: Level, blocks: &Blocks, terms: &[AxisTerm], duration: f64) -> Self {
        assert_eq!(blocks.extents.len(), terms.len(), "one kinetic term per storage axis");
        for (axis, term) in terms.iter().enumerate() {
            assert_eq!(blocks.extents[axis], term.extent, "extents of blocks and kinetic terms agree");
            assert!(term.extent > 1 && term.extent.is_multiple_of(blocks.sides[axis]), "pages tile the axis");
        }
        let mut split = blocks.sides.len();
        while split > 0 && blocks.sides[split - 1..].iter().product::<usize>() <= BLOCK_ROWS {
            split -= 1;
        }
        Self {
            level,
            blocks: blocks.clone(),
            terms: terms.to_vec(),
            rings: terms.iter().map(|term| Ring::new(term.extent)).collect(),
            duration,
            lines: BTreeMap::new(),
            pages: Vec::new(),
            columns: Vec::new(),
            column_at: Vec::new(),
            along: Vec::new(),
            leads: Vec::new(),
            levels: [Vec::new(), Vec::new()],
            split,
            scratch: 0,
        }
    }

    /// Active pages, ascending.
    pub fn pages(&self) -> &[usize] {
        &self.pages
    }

    /// The block-paged torus.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Patterns with a propagator of their own so far.
    pub fn n_patterns(&self) -> usize {
        self.lines.len()
    }

    /// Replaces the active set: `pages` are row-major lattice indices, ascending; panics if not.
    pub fn activate(&mut self, pages: &[usize]) {
        assert!(pages.is_sorted_by(|a, b| a < b), "pages are ascending and distinct");
        self.pages = pages.to_vec();
        self.columns.clear();
        self.along.clear();
        let n_axes = self.blocks.sides.len();
        self.column_at = vec![0; pages.len() * n_axes];
        for axis in 0..n_axes {
            let mut found: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
            for (slot, &page) in pages.iter().enumerate() {
                let (column, position) = self.blocks.column_of(page, axis);
                found.entry(column).or_default().push((position, slot));
            }
            let first = self.columns.len();
            for (_, mut members) in found {
                members.sort_unstable();
                let start = behind_largest_gap(&members, self.blocks.pages_along(axis));
                members.rotate_left(start);
                let (positions, slots): (Vec<_>, Vec<_>) = members.into_iter().unzip();
                slots.iter().for_each(|slot| self.column_at[slot * n_axes + axis] = self.columns.len());
                let line = self.line(axis, &positions);
                self.columns.push(Column { axis, slots, positions, line });
            }
            self.along.push(first..self.columns.len());
        }
        self.leads = (0..pages.len()).map(|slot| self.lead(slot)).collect();
        self.levels = self.schedule();
        self.scratch = self.columns.iter().map(|column| self.column_scratch(column)).max().unwrap_or(0);
        let rows = self.block_rows();
        let lanes = 64 / T::BYTES;
        let buffer = self.columns.iter().map(|column| column.line.buffer()).max().unwrap_or(0);
        self.scratch = self.scratch.max(rows * row_step(rows, lanes, lanes) + buffer);
    }

    /// The propagator of a pattern; rotated patterns are one.
    fn line(&mut self, axis: usize, positions: &[usize]) -> Arc<LinePlan<T>> {
        let along = self.blocks.pages_along(axis);
        let pattern: Vec<usize> = positions.iter().map(|p| (p + along - positions[0]) % along).collect();
        if let Some(line) = self.lines.get(&(axis, pattern.clone())) {
            return Arc::clone(line);
        }
        let (term, side) = (self.terms[axis], self.blocks.sides[axis]);
        let line = if pattern.len() == along && term.extent > FULL_FIBRE_MAX {
            let scheme =
                plan_axis(&term, usize::MAX, self.duration, Time::Real, &mut Prefactor::NONE.clone());
            LinePlan::Dense(Axis { extent: term.extent, stride: self.blocks.stride(axis), scheme })
        } else {
            let mut active = vec![false; term.extent];
            for position in &pattern {
                active[position * side..(position + 1) * side].fill(true);
            }
            let spacing = core::f64::consts::TAU / term.wavenumber_unit / term.extent as f64;
            let diffusion = vec![term.diffusion; term.extent];
            let line = FibreLine { spacing, diffusion: &diffusion, active: Some(&active) };
            match (&pattern[..], side) {
                ([_], 3) => LinePlan::Triple(Triple::new(&line.hamiltonian(), self.duration)),
                _ => {
                    let fibre = Fibre::new(&line, self.duration, Time::Real);
                    match is_own_mirror(&pattern) {
                        true => LinePlan::Mirror(Mirror::new(fibre)),
                        false => LinePlan::Fibre(fibre),
                    }
                }
            }
        };
        let line = Arc::new(line);
        self.lines.insert((axis, pattern), Arc::clone(&line));
        line
    }

    /// The lead of a page's run.
    fn lead(&self, slot: usize) -> Option<(usize, Lead<T>)> {
        let triple = |axis: usize| match self.plan_alone(slot, axis) {
            LinePlan::Triple(triple) => Some((axis, triple)),
            _ => None,
        };
        let mut triples = (0..self.blocks.sides.len()).rev().filter_map(triple);
        let (axis, first) = triples.next()?;
        Some((axis, first.lead(triples.map(|(_, triple)| triple.angle()).sum())))
    }

    /// Cuts the work into levels: forward runs, then columns from the last storage axis to the first; backward the
    /// other way round. Pages that touch no common column commute, so each is as late (forward) or as early (backward)
    /// as its columns let it.
    fn schedule(&self) -> [Vec<Vec<Unit>>; 2] {
        let n_axes = self.blocks.sides.len();
        let mut levels: Vec<Vec<Unit>> = Vec::new();
        let mut put = |level: usize, unit: Unit| {
            levels.resize_with(levels.len().max(level + 1), Vec::new);
            levels[level].push(unit);
        };
        // Per page: the next free level.
        let mut next = vec![0; self.pages.len()];
        for (index, column) in self.columns.iter().enumerate().filter(|(_, column)| column.slots.len() > 1) {
            let level = column.slots.iter().map(|&slot| next[slot]).max().unwrap_or(0);
            let bundles = self.n_bundles(column.axis);
            let part = bundles.div_ceil(COLUMN_PARTS);
            for start in (0..bundles).step_by(part) {
                let bundles = start..bundles.min(start + part);
                put(level, Unit::Column { column: index, bundles });
            }
            column.slots.iter().for_each(|&slot| next[slot] = level + 1);
        }
        let mut openings = Vec::new();
        for (slot, &level) in next.iter().enumerate() {
            let is_alone = |axis: &usize| self.columns[self.column_at[slot * n_axes + axis]].slots.len() == 1;
            let axes = (0..n_axes).rev().filter(is_alone).collect();
            put(level, Unit::Run { slot, axes, opens: level == 0 });
            if level > 0 {
                openings.push(Unit::Run { slot, axes: Vec::new(), opens: true });
            }
        }
        let mut forward = levels.clone();
        forward.reverse();
        for unit in forward.iter_mut().flatten() {
            if let Unit::Run { opens, .. } = unit {
                *opens = true;
            }
        }
        if !openings.is_empty() {
            levels.insert(0, openings);
        }
        [forward, levels]
    }

    /// Opening local flow, then all axes, in the order of an even (forward) or odd (backward) tick. Panics unless
    /// there is one page per active page, in their order.
    ///
    /// - equation: Ψ' = Π_d exp(−iτ P T_d P) Ψ
    /// - source: the module's
    /// - scheme and order: exact per axis; second order between axes, over ticks of alternating direction
    /// - stability bound: none (unitary on any active set)
    /// - bytes and flops per node: 4 scalars per run or column it is part of; 21 flops per axis alone, 4m in a column of
    ///   m active nodes per line (8m where the pattern isn't its own mirror image)
    pub fn sweep(
        &self,
        threads: Threads<'_>,
        pages: &mut [PageMut<'_, T>],
        opening: Option<&LocalFlow<'_, T>>,
        is_backward: bool,
        probe: &Probe,
    ) {
        let nodes = self.blocks.page_nodes();
        assert_eq!(pages.len(), self.pages.len(), "as many pages as are active");
        assert!(pages.iter().all(|page| page.re.len() == nodes), "pages of the blocks' size");
        let planes: Vec<Planes<T>> = pages.iter_mut().map(Planes::of).collect();
        let opening = opening.map(|flow| (LocalPlan::new(flow, Prefactor::NONE), flow));
        let levels = &self.levels[usize::from(is_backward)];
        let sizes: Vec<usize> = levels.iter().map(Vec::len).collect();
        for_each_level(threads, &sizes, |level, u| {
            let unit = &levels[level][u];
            let opening = match (unit, &opening) {
                (Unit::Run { slot, opens: true, .. }, Some((plan, flow))) => {
                    Some((plan, Operands::of(flow, *slot, nodes)))
                }
                _ => None,
            };
            with_scratch(self.scratch, |scratch| {
                let planes = &planes;
                T::sparse_unit(
                    self.level,
                    SparseUnit { kinetic: self, unit, planes, opening, scratch, probe },
                );
            });
        });
    }

    /// The propagator of a page along an axis along which it is alone.
    fn plan_alone(&self, slot: usize, axis: usize) -> &LinePlan<T> {
        &self.columns[self.column_at[slot * self.blocks.sides.len() + axis]].line
    }

    /// The closing local flow.
    pub fn close(
        &self,
        threads: Threads<'_>,
        pages: &mut [PageMut<'_, T>],
        closing: &LocalFlow<'_, T>,
        probe: &Probe,
    ) {
        let start = probe.now();
        half_potential::apply(self.level, threads, pages, closing);
        probe.record(probe.since(start), 0);
    }

    /// Rows of a transposed block of a run.
    fn block_rows(&self) -> usize {
        self.blocks.sides[self.split..].iter().product()
    }

    /// Whether lines along `axis` lie too close in memory for vectors across them, so that blocks are transposed.
    fn is_in_block(&self, axis: usize) -> bool {
        axis >= self.split
    }

    /// The first of the axes behind the blocks that lie within [`NEAR_BYTES`], and the nodes of a page that they span.
    fn near(&self) -> (usize, usize) {
        let (mut first, mut nodes) = (self.split, self.block_rows());
        while first > 0 && 2 * T::BYTES * nodes * self.blocks.sides[first - 1] <= NEAR_BYTES {
            first -= 1;
            nodes *= self.blocks.sides[first];
        }
        (first, nodes)
    }

    /// Lanes of a part of a page that the last axes of a run, `far`, are done on together: in the first-level cache, if they
    /// all have three nodes, else all `run` neighbours of a row.
    fn far_lanes(&self, slot: usize, far: &[usize], run: usize) -> usize {
        let is_triple = |axis: &usize| matches!(self.plan_alone(slot, *axis), LinePlan::Triple(_));
        if far.len() < 2 || !far.iter().all(is_triple) {
            return run;
        }
        let lanes = NEAR_BYTES / 2 / (2 * T::BYTES * (self.blocks.page_nodes() / run));
        (lanes / 16 * 16).clamp(16, run.max(16)).min(run)
    }

    /// Bundles of lines of a column along `axis`.
    fn n_bundles(&self, axis: usize) -> usize {
        if self.is_in_block(axis) {
            (self.blocks.page_nodes() / self.block_rows()).div_ceil(64 / T::BYTES)
        } else {
            let stride = self.blocks.stride(axis);
            self.blocks.page_nodes() / (self.blocks.sides[axis] * stride) * stride.div_ceil(BUNDLE_LANES)
        }
    }

    /// Scalars of scratch for one bundle of a column.
    fn column_scratch(&self, column: &Column<T>) -> usize {
        let lanes = 64 / T::BYTES;
        let nodes = column.slots.len() * self.blocks.sides[column.axis];
        let (rows, lanes_max) = if self.is_in_block(column.axis) {
            let block = self.block_rows();
            (column.slots.len() * block * row_step(block, lanes, lanes), lanes)
        } else {
            (0, BUNDLE_LANES)
        };
        // A transform gathers its rows behind them.
        let gathered = match *column.line {
            LinePlan::Dense(_) => nodes * row_step(nodes, lanes_max, lanes),
            LinePlan::Triple(_) | LinePlan::Mirror(_) | LinePlan::Fibre(_) => 0,
        };
        rows + gathered + column.line.buffer()
    }
}

/// Whether a pattern of positions, ascending, looks alike from both ends.
fn is_own_mirror(pattern: &[usize]) -> bool {
    let ends = pattern.first().zip(pattern.last()).map(|(a, b)| a + b);
    pattern.iter().zip(pattern.iter().rev()).all(|(a, b)| Some(a + b) == ends)
}

/// Index of the member that follows the largest gap of the ring; the first of several.
fn behind_largest_gap(members: &[(usize, usize)], along: usize) -> usize {
    let gap = |i: usize| {
        let before = members[(i + members.len() - 1) % members.len()].0;
        (members[i].0 + along - before - 1) % along
    };
    (0..members.len()).rev().max_by_key(|&i| gap(i)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
