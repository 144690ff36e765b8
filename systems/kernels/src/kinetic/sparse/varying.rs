//! The kinetic flow of a metric that varies in space on an active set of pages: exp(−iτPTP), T = −½ Σ ∂_i D^{ij} ∂_j.
//!
//! Invariant: a palindrome of flows that are each unitary to rounding, whatever the set and the metric: axes forward with
//! half their duration, the off-diagonal remainder, axes backward, or, where the metric learns, forward in one tick and
//! backward in the next; so the error is of second order after every tick. A line's factor is the dense unitary of P ½∂ᵀD∂ P over its active nodes; where no page is active D is a constant
//! diagonal, the background, and the remainder is P∂_iP D^{ij} P∂_jP. Tables are kept per column and renewed only where
//! the set or D changed.
//! Source: `kinetic/varying.rs` for the palindrome, `kinetic/fibre.rs` for one line, [`super`] for columns.

#![allow(unsafe_code)] // Pages shared between units as raw planes.

mod flow;
mod lines;
mod packed;
mod sheet;
mod slopes;

pub use flow::OutsidePass;
pub use sheet::SheetPass;
pub(crate) use slopes::ActiveSlopes;
pub use slopes::SlopePass;

use core::ops::Range;
use std::collections::BTreeMap;
use std::sync::Arc;

use self::flow::{Flow, Half};
use self::packed::{BlockTable, Packed, TRIPLE};

use super::super::fibre::{Fibre, FibrePass, LinePattern, derivative};
use super::super::remainder::{Layout, Remainder, RemainderCounts, RemainderRule};
use super::super::sweep::with_scratch;
use super::super::varying::{Diffusion, share, ways};
use super::super::{AxisTerm, Probe};
use super::runs::{Runs, run_of};
use super::{Blocks, SparseKinetic};
use crate::field::{PageMut, Real, Threads};
use crate::half_potential::{self, LocalFlow, Planes};
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::{for_each_chunk, map_long_chunks};

/// Bundles that one thread takes at a time.
const CHUNK_BUNDLES: usize = 64;
/// Lines whose propagators one thread computes at a time.
const CHUNK_LINES: usize = 32;
/// With fewer lanes, a line fills its vectors with its own nodes.
const LANES_MIN: usize = 4;
/// Lanes of a bundle, at most.
const LANES_MAX: usize = 256;

/// Neighbouring lines of a page along one axis that lie on the same line of cells.
#[derive(Debug, Clone, Copy)]
struct PageBundle {
    base: u32,
    lanes: u32,
    /// Line of cells, within a page.
    line: u32,
}

/// How the lines of an axis lie in a page, the same for every page.
#[derive(Debug)]
struct AxisLayout {
    side: usize,
    stride: usize,
    /// Nodes of a cell along the axis.
    cell: usize,
    bundles: Vec<PageBundle>,
    /// Cells of each line of cells, in order along the axis.
    cells: Vec<Vec<u32>>,
    /// Line of cells of each cell.
    line_of: Vec<u32>,
}

impl AxisLayout {
    fn new(blocks: &Blocks, cell: &[usize], axis: usize) -> Self {
        let (sides, page_nodes) = (&blocks.sides, blocks.page_nodes());
        let (side, stride) = (sides[axis], blocks.stride(axis));
        let cells = |a: usize| sides[a] / cell[a];
        let cell_of = |node: usize| {
            (0..sides.len())
                .fold(0, |index, a| index * cells(a) + node / blocks.stride(a) % sides[a] / cell[a])
        };
        let inner: usize = (axis + 1..sides.len()).map(cells).product();
        let n_cells: usize = (0..sides.len()).map(cells).product();
        let line = |cell: usize| cell / (inner * cells(axis)) * inner + cell % inner;
        let mut lines = vec![Vec::new(); n_cells / cells(axis)];
        (0..n_cells).for_each(|cell| lines[line(cell)].push(cell as u32));
        let mut bundles: Vec<PageBundle> = Vec::new();
        for outer in (0..page_nodes).step_by(side * stride) {
            for lane in 0..stride {
                let (base, line) = ((outer + lane) as u32, line(cell_of(outer + lane)) as u32);
                match bundles.last_mut() {
                    Some(last)
                        if lane > 0
                            && last.line == line
                            && last.base + last.lanes == base
                            && (last.lanes as usize) < LANES_MAX =>
                    {
                        last.lanes += 1;
                    }
                    _ => bundles.push(PageBundle { base, lanes: 1, line }),
                }
            }
        }
        let line_of = (0..n_cells).map(|cell| line(cell) as u32).collect();
        AxisLayout { side, stride, cell: cell[axis], bundles, cells: lines, line_of }
    }
}

/// The propagators of a column's lines.
struct ColumnTable<T: SimdReal> {
    pattern: LinePattern,
    fibres: Vec<Fibre<T>>,
    /// Entry of each line of cells.
    which: Vec<u32>,
    /// Lines that share each entry.
    n_users: Vec<u32>,
    /// The same for vectors.
    packed: Packed<T>,
}

/// Active pages of one column with what their lines are multiplied with.
struct ActiveColumn<T: SimdReal> {
    /// Row-major lattice indices, which name the column's pattern.
    pages: Vec<usize>,
    slots: Vec<usize>,
    positions: Vec<usize>,
    table: ColumnTable<T>,
}

/// One axis.
struct ActiveAxis<T: SimdReal> {
    layout: Arc<AxisLayout>,
    columns: Vec<ActiveColumn<T>>,
    /// Of each page: its column.
    column_of: Vec<usize>,
}

/// A planned kinetic flow of a varying metric on an active set.
pub struct SparseVarying<T: SimdReal> {
    level: Level,
    duration: f64,
    is_plastic: bool,
    spacing: Vec<f64>,
    cells_per_page: usize,
    layout: Arc<Layout>,
    background: Vec<f64>,
    /// The active set, and what a constant metric would do on it.
    view: SparseKinetic<T>,
    axes: Vec<ActiveAxis<T>>,
    rule: RemainderRule,
    remainder: Option<Remainder<T>>,
    /// Nodes of a cell, where cells are runs.
    run: Option<usize>,
    /// The order of work on the active set there.
    flow: Option<Flow>,
    scratch: usize,
}

impl<T: Real> SparseVarying<T> {
    /// Plans the flow over `duration` with an empty active set. A metric that learns asks for a tick of this one flow. A page is cut into cells of `cell` nodes; `terms` give the
    /// background. Panics where blocks, cells and terms disagree.
    pub fn new(
        level: Level,
        blocks: &Blocks,
        cell: &[usize],
        terms: &[AxisTerm],
        duration: f64,
        (rule, is_plastic): (RemainderRule, bool),
    ) -> Self {
        assert!(
            blocks.sides.iter().zip(cell).all(|(side, cell)| side.is_multiple_of(*cell)),
            "cells tile a page"
        );
        let spacing =
            terms.iter().map(|term| core::f64::consts::TAU / term.wavenumber_unit / term.extent as f64);
        let axis = |axis: usize| ActiveAxis {
            layout: Arc::new(AxisLayout::new(blocks, cell, axis)),
            columns: Vec::new(),
            column_of: Vec::new(),
        };
        Self {
            level,
            duration,
            is_plastic,
            spacing: spacing.collect(),
            cells_per_page: blocks.page_nodes() / cell.iter().product::<usize>(),
            layout: Arc::new(Layout::of_page(&blocks.sides, cell)),
            background: terms.iter().map(|term| term.diffusion).collect(),
            view: SparseKinetic::new(level, blocks, terms, duration),
            axes: (0..cell.len()).map(axis).collect(),
            rule,
            remainder: None,
            run: run_of(blocks, cell),
            flow: None,
            scratch: 0,
        }
    }

    /// The active set with the constant metric of the background: Gram matrices, leaks and moments.
    pub fn view(&self) -> &SparseKinetic<T> {
        &self.view
    }

    /// What the remainder did so far.
    pub fn remainder_counts(&self) -> Option<RemainderCounts> {
        self.remainder.as_ref().map(Remainder::counts)
    }

    /// Replaces the active set. `diffusion` has the cells of its pages, page after page; columns that were there keep
    /// their propagators, so D on their pages must be what it was.
    pub fn activate(&mut self, pages: &[usize], diffusion: &Diffusion) {
        self.view.activate(pages);
        for axis in 0..self.axes.len() {
            let mut known: BTreeMap<Vec<usize>, ColumnTable<T>> =
                self.axes[axis].columns.drain(..).map(|column| (column.pages, column.table)).collect();
            let mut columns = Vec::new();
            let mut column_of = vec![0; pages.len()];
            for column in &self.view.columns[self.view.along[axis].clone()] {
                let of_column: Vec<usize> = column.slots.iter().map(|&slot| pages[slot]).collect();
                column.slots.iter().for_each(|&slot| column_of[slot] = columns.len());
                let table = known
                    .remove(&of_column)
                    .unwrap_or_else(|| self.table(axis, &column.slots, &column.positions, diffusion));
                columns.push(ActiveColumn {
                    pages: of_column,
                    slots: column.slots.clone(),
                    positions: column.positions.clone(),
                    table,
                });
            }
            self.axes[axis].columns = columns;
            self.axes[axis].column_of = column_of;
        }
        let fibres = self.axes.iter().flat_map(|axis| &axis.columns).flat_map(|column| &column.table.fibres);
        self.scratch = fibres.map(Fibre::scratch).max().unwrap_or(0);
        let flow = |run| Flow::new(&self.view.blocks, run, pages, &self.axes);
        self.flow = self.run.map(flow);
        self.plan_remainder(diffusion);
    }

    /// Forgets every propagator: D changed everywhere, and so did the background.
    pub fn forget(&mut self, terms: &[AxisTerm]) {
        self.background = terms.iter().map(|term| term.diffusion).collect();
        let pages = self.view.pages.clone();
        self.view = SparseKinetic::new(self.level, &self.view.blocks.clone(), terms, self.duration);
        self.view.activate(&pages);
        self.axes.iter_mut().for_each(|axis| axis.columns.clear());
    }

    fn plan_remainder(&mut self, diffusion: &Diffusion) {
        if diffusion.off_diagonal.is_empty() {
            return;
        }
        let counts = self.remainder_counts().unwrap_or_default();
        let slopes = (0..self.axes.len()).map(|axis| self.slopes(axis)).collect();
        self.remainder = Some(Remainder::on_active(
            diffusion,
            (&self.layout, self.view.pages.len()),
            slopes,
            |axes| self.runs(axes, &diffusion.grid.cell),
            self.duration,
            self.rule,
            counts,
        ));
    }

    /// The runs of some axes on the active set, where cells are runs.
    fn runs(&self, axes: &[usize], cell: &[usize]) -> Option<Runs> {
        let mut runs = Runs::new(&self.view.blocks, &self.spacing, cell, axes)?;
        runs.activate(&self.view.blocks, &self.view.pages);
        Some(runs)
    }

    /// P∂P along an axis.
    fn slopes(&self, axis: usize) -> ActiveSlopes<T> {
        let (layout, extent) = (&self.axes[axis].layout, self.view.blocks.extents[axis]);
        let offsets: Vec<f64> = (0..extent).map(|o| derivative(extent, o, self.spacing[axis])).collect();
        let mut known: BTreeMap<Vec<usize>, Arc<Vec<T>>> = BTreeMap::new();
        let columns = self.axes[axis].columns.iter().map(|column| {
            let matrix = known.entry(column.positions.clone()).or_insert_with(|| {
                let places: Vec<usize> = column
                    .positions
                    .iter()
                    .flat_map(|p| (0..layout.side).map(move |j| p * layout.side + j))
                    .collect();
                let element = |p: &usize, q: &usize| T::from_f64(offsets[(p + extent - q) % extent]);
                Arc::new(places.iter().flat_map(|p| places.iter().map(move |q| element(p, q))).collect())
            });
            (column.slots.clone(), Arc::clone(matrix))
        });
        let mut bundles = Vec::new();
        for outer in (0..self.view.blocks.page_nodes()).step_by(layout.side * layout.stride) {
            for lane in (0..layout.stride).step_by(LANES_MAX) {
                let lanes = LANES_MAX.min(layout.stride - lane) as u32;
                bundles.push(PageBundle { base: (outer + lane) as u32, lanes, line: 0 });
            }
        }
        ActiveSlopes { side: layout.side, stride: layout.stride, columns: columns.collect(), bundles }
    }

    /// The propagators of a column. Lines with the same D share one.
    fn table(
        &self,
        axis: usize,
        slots: &[usize],
        positions: &[usize],
        diffusion: &Diffusion,
    ) -> ColumnTable<T> {
        let mut known: BTreeMap<Vec<u64>, u32> = BTreeMap::new();
        let n_lines = self.axes[axis].layout.cells.len();
        let mut table = ColumnTable {
            pattern: self.pattern(axis, positions),
            fibres: Vec::new(),
            which: Vec::new(),
            n_users: Vec::new(),
            packed: self.packed(axis, slots.len(), n_lines),
        };
        for line in 0..n_lines {
            let values = self.line_values(axis, slots, positions, line, diffusion);
            let next = table.fibres.len() as u32;
            let entry = *known.entry(values.iter().map(|x| x.to_bits()).collect()).or_insert(next);
            if entry == next {
                table.fibres.push(table.pattern.fibre(&values, share(self.is_plastic) * self.duration));
                table.n_users.push(0);
            }
            table.n_users[entry as usize] += 1;
            table.which.push(entry);
            table.packed.set(line, &table.fibres[entry as usize]);
        }
        table
    }

    /// Room for what vectors take of a column's propagators.
    fn packed(&self, axis: usize, n_pages: usize, n_lines: usize) -> Packed<T> {
        match self.run {
            Some(run) if self.axes[axis].layout.stride < run => {
                Packed::Blocks(BlockTable::new(n_pages, n_lines))
            }
            Some(_) if n_pages == 1 => Packed::Triples(vec![[T::default(); TRIPLE]; n_lines]),
            _ => Packed::No,
        }
    }

    /// D on the ring of a line, turned so that the column's first page begins at 0.
    fn line_values(
        &self,
        axis: usize,
        slots: &[usize],
        positions: &[usize],
        line: usize,
        diffusion: &Diffusion,
    ) -> Vec<f64> {
        let layout = &self.axes[axis].layout;
        let along = self.view.blocks.pages_along(axis);
        let mut values = vec![self.background[axis]; self.view.blocks.extents[axis]];
        for (slot, position) in slots.iter().zip(positions) {
            let first = (position + along - positions[0]) % along * layout.side;
            for (c, cell) in layout.cells[line].iter().enumerate() {
                let d = diffusion.at(axis, slot * self.cells_per_page + *cell as usize);
                values[first + c * layout.cell..][..layout.cell].fill(d);
            }
        }
        values
    }

    /// The active nodes of a column's lines, turned like [`Self::line_values`].
    fn pattern(&self, axis: usize, positions: &[usize]) -> LinePattern {
        let side = self.axes[axis].layout.side;
        let along = self.view.blocks.pages_along(axis);
        let mut active = vec![false; self.view.blocks.extents[axis]];
        for position in positions {
            active[(position + along - positions[0]) % along * side..][..side].fill(true);
        }
        LinePattern::new(self.spacing[axis], &active)
    }

    /// Renews what depends on the cells in `changed`, ascending.
    pub fn renew(&mut self, threads: Threads<'_>, diffusion: &Diffusion, changed: &[usize]) {
        let mut lines: Vec<[usize; 3]> = Vec::new();
        for (axis, active) in self.axes.iter().enumerate() {
            if diffusion.diagonal[axis].len() == 1 {
                continue;
            }
            let known = lines.len();
            lines.extend(changed.iter().map(|cell| {
                let (slot, cell) = (cell / self.cells_per_page, cell % self.cells_per_page);
                [axis, active.column_of[slot], active.layout.line_of[cell] as usize]
            }));
            lines[known..].sort_unstable();
        }
        lines.dedup();
        let fibre = |&[axis, index, line]: &[usize; 3]| {
            let column = &self.axes[axis].columns[index];
            let values = self.line_values(axis, &column.slots, &column.positions, line, diffusion);
            column.table.pattern.fibre(&values, share(self.is_plastic) * self.duration)
        };
        let fibres = map_long_chunks(threads, lines.len().div_ceil(CHUNK_LINES), |chunk| {
            let first = chunk * CHUNK_LINES;
            lines[first..lines.len().min(first + CHUNK_LINES)].iter().map(fibre).collect::<Vec<_>>()
        });
        for (&[axis, index, line], fibre) in lines.iter().zip(fibres.into_iter().flatten()) {
            self.axes[axis].columns[index].table.replace(line, fibre);
        }
        if let Some(remainder) = &mut self.remainder {
            remainder.renew(diffusion, changed);
        }
    }

    /// Opening local flow, then the whole kinetic flow. `tick` says whether the remainder is due. Panics unless there is
    /// one page per active page, in their order.
    ///
    /// - equation: Ψ' = exp(−iτPTP)Ψ
    /// - source: the module's
    /// - scheme and order: exact per axis, palindrome of second order
    /// - stability bound: none (unitary on any active set)
    /// - bytes and flops per node: 8 scalars and 16m flops per axis in a column of m active nodes per line; the remainder
    ///   as in `kinetic/remainder.rs`
    pub fn sweep_inner(
        &mut self,
        threads: Threads<'_>,
        pages: &mut [PageMut<'_, T>],
        opening: Option<&LocalFlow<'_, T>>,
        tick: u64,
        probe: &Probe,
    ) {
        let began = probe.now();
        if let Some(flow) = opening {
            half_potential::apply(self.level, threads, pages, flow);
        }
        let opened = probe.now();
        assert_eq!(pages.len(), self.view.pages.len(), "as many pages as are active");
        let nodes = self.view.blocks.page_nodes();
        assert!(pages.iter().all(|page| page.re.len() == nodes), "pages of the blocks' size");
        let planes: Vec<Planes<T>> = pages.iter_mut().map(Planes::of).collect();
        let is_due = self.remainder.as_mut().is_some_and(|remainder| remainder.is_due(tick));
        let (axes, level) = (&self.axes[..], self.level);
        let [is_forward, is_backward] = ways(self.is_plastic, tick);
        if is_forward {
            match &self.flow {
                Some(flow) => {
                    flow.outside(level, threads, axes, &planes, self.scratch, false);
                    let is_whole = is_backward && !is_due;
                    flow.inside(
                        level,
                        threads,
                        axes,
                        &planes,
                        if is_whole { Half::Both } else { Half::First },
                    );
                }
                None => axes.iter().for_each(|axis| axis.run(level, threads, &planes, self.scratch)),
            }
        }
        if let Some(remainder) = self.remainder.as_mut().filter(|_| is_due) {
            remainder.apply(self.level, threads, pages);
        }
        if is_backward {
            match &self.flow {
                Some(flow) => {
                    if is_due || !is_forward {
                        flow.inside(level, threads, axes, &planes, Half::Second);
                    }
                    flow.outside(level, threads, axes, &planes, self.scratch, true);
                }
                None => axes.iter().rev().for_each(|axis| axis.run(level, threads, &planes, self.scratch)),
            }
        }
        probe.record(opened.saturating_sub(began), probe.since(opened));
    }
}

impl<T: Real> ColumnTable<T> {
    fn replace(&mut self, line: usize, fibre: Fibre<T>) {
        self.packed.set(line, &fibre);
        let entry = self.which[line] as usize;
        if self.n_users[entry] == 1 {
            self.fibres[entry] = fibre;
            return;
        }
        self.n_users[entry] -= 1;
        self.which[line] = self.fibres.len() as u32;
        self.fibres.push(fibre);
        self.n_users.push(1);
    }
}

impl<T: Real> ActiveAxis<T> {
    fn run(&self, level: Level, threads: Threads<'_>, planes: &[Planes<T>], scratch: usize) {
        let n_bundles = self.layout.bundles.len();
        let parts = n_bundles.div_ceil(CHUNK_BUNDLES);
        for_each_chunk(threads, self.columns.len() * parts, |chunk| {
            let (column, part) = (&self.columns[chunk / parts], chunk % parts * CHUNK_BUNDLES);
            let bundles = part..n_bundles.min(part + CHUNK_BUNDLES);
            with_scratch(scratch, |scratch| {
                T::active_pass(level, ActivePass { layout: &self.layout, column, bundles, planes, scratch });
            });
        });
    }
}

/// Some bundles of a column. Built only with the planes of the active pages and the plan's scratch.
pub struct ActivePass<'a, T: SimdReal> {
    layout: &'a AxisLayout,
    column: &'a ActiveColumn<T>,
    bundles: Range<usize>,
    planes: &'a [Planes<T>],
    scratch: *mut T,
}

impl<T: Real> Kernel<T> for ActivePass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let ActivePass { layout, column, bundles, planes, scratch } = self;
        let mut rows = Vec::with_capacity(column.slots.len() * layout.side);
        for bundle in &layout.bundles[bundles] {
            rows.clear();
            for &slot in &column.slots {
                for j in 0..layout.side {
                    // SAFETY: the node exists, and this unit owns the bundle's nodes.
                    rows.push(unsafe { planes[slot].offset(bundle.base as usize + j * layout.stride) });
                }
            }
            let fibre = &column.table.fibres[column.table.which[bundle.line as usize] as usize];
            let lanes = bundle.lanes as usize;
            let pass = FibrePass { fibre, rows: &rows, lanes, shift: 0, scratch };
            if lanes < LANES_MIN { pass.by_nodes::<V>() } else { pass.by_lanes::<V>() }
        }
    }
}

#[cfg(test)]
mod tests;
