//! The kinetic flow of a metric that varies in space: T = −½ Σ_ij ∂_i D^{ij}(x) ∂_j.
//!
//! Invariant: a palindrome of flows that are each unitary to rounding, hence second order whatever the metric and no
//! norm is lost: axes forward with half their duration, [axes inside cells, remainder, axes inside cells], axes
//! backward. A metric that learns has the palindrome of two ticks, each of which passes an axis once: forward in even ticks,
//! backward in odd ones, the remainder where they meet. The error is of second order after the first of them too.
//!
//! ```text
//! ½r ½s ½t … ½w │ ½xyz  R  ½xyz │ ½w … ½t ½s ½r        (without a remainder this tick: one whole xyz)
//! r s t … w xyz (R) │ (R) xyz w … t s r                 (a metric that learns: an even tick and an odd one)
//! ```
//!
//! Where D^{dd} is constant along a line, as inside a cell that spans its axes, the line's flow is diagonal in Fourier
//! space with its own phase; elsewhere it is a small dense unitary, cached, and renewed only where D changed.
//! Source: physics of the splitting in Strang 1968; each factor in `ring3.rs`, `fibre.rs`, `cells.rs`, `remainder.rs`.

pub(crate) mod lines;

use super::bundle::{AxisPass, Table};
use super::cells::CellBlocks;
use super::fibre::{FIBRE_NODES_MAX, Fibre, FibreLine};
use super::remainder::{Remainder, RemainderRule};
use super::{Axis, AxisTerm, Probe, plan_axis, ring3};
use crate::field::{PageMut, Real, Shape, Threads};
use crate::half_potential::{self, LocalFlow, Planes, Prefactor, Time};
use crate::simd::{Level, SimdReal};
use crate::threads::{for_each_chunk, for_each_part};
use std::collections::BTreeMap;

/// Bytes of Ψ that stay in the first-level cache while axis after axis runs over them.
const BLOCK_BYTES: usize = 24 << 10;

/// Where the metric's cells are: boxes of equal shape that tile every page.
#[derive(Debug, Clone, PartialEq)]
pub struct CellGrid {
    /// Storage shape of the torus.
    pub shape: Shape,
    /// Distance between nodes along each storage axis.
    pub spacing: Vec<f64>,
    /// Nodes of a cell along each storage axis.
    pub cell: Vec<usize>,
}

impl CellGrid {
    /// Nodes of a cell.
    pub fn cell_nodes(&self) -> usize {
        self.cell.iter().product()
    }

    /// Cells of the torus. They are counted in row-major order over the lattice of cells, page after page.
    pub fn n_cells(&self) -> usize {
        self.shape.n_nodes() / self.cell_nodes()
    }

    /// Cells along storage axis `axis`.
    pub fn extent(&self, axis: usize) -> usize {
        self.shape.extents[axis] / self.cell[axis]
    }

    /// Distance in cells between neighbours along storage axis `axis`.
    pub fn stride(&self, axis: usize) -> usize {
        (axis + 1..self.cell.len()).map(|d| self.extent(d)).product()
    }

    /// Number of the cell with the node of these storage coordinates.
    fn cell_of(&self, coordinates: impl Fn(usize) -> usize) -> usize {
        (0..self.cell.len()).fold(0, |cell, d| cell * self.extent(d) + coordinates(d) / self.cell[d])
    }

    /// Number of the cell with node `node`, counted over all pages.
    pub fn cell_of_node(&self, node: usize) -> usize {
        self.cell_of(|d| node / self.shape.stride(d) % self.shape.extents[d])
    }
}

/// D^{ij} on the cells of a grid, in storage order of axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Diffusion {
    /// The cells.
    pub grid: CellGrid,
    /// D^{dd} of each storage axis, per cell; one number where it is the same everywhere and stays so.
    pub diagonal: Vec<Vec<f64>>,
    /// D^{ij} of the pairs i < j of storage axes that can be other than zero.
    pub off_diagonal: Vec<OffDiagonal>,
}

/// One off-diagonal component.
#[derive(Debug, Clone, PartialEq)]
pub struct OffDiagonal {
    /// Storage axes i < j.
    pub axes: (usize, usize),
    /// D^{ij} = D^{ji} per cell.
    pub values: Vec<f64>,
}

impl Diffusion {
    /// D^{dd} of `axis` on `cell`.
    pub fn at(&self, axis: usize, cell: usize) -> f64 {
        let values = &self.diagonal[axis];
        values[if values.len() == 1 { 0 } else { cell }]
    }

    /// Largest |D^{ij}|, i ≠ j.
    pub fn off_diagonal_greatest(&self) -> f64 {
        self.off_diagonal.iter().flat_map(|pair| &pair.values).fold(0.0, |most, x| most.max(x.abs()))
    }

    fn is_uniform(&self, axis: usize) -> bool {
        self.diagonal[axis].len() == 1
    }

    /// Axes at the end of the storage order that lie wholly inside cells, if cells are runs of nodes.
    fn axes_inside_cells(&self) -> usize {
        let grid = &self.grid;
        let is_inside = |d: &usize| grid.cell[*d] == 3 && grid.shape.extents[*d] == 3 && !self.is_uniform(*d);
        let inside = (0..grid.cell.len()).rev().take_while(is_inside).count().min(3);
        let rest = grid.cell.len() - inside;
        if grid.cell[..rest].iter().all(|&nodes| nodes == 1) { inside } else { 0 }
    }

    /// Whether every line of `axis` lies inside one cell.
    pub fn is_constant_along(&self, axis: usize) -> bool {
        self.is_uniform(axis) || self.grid.extent(axis) == 1 || {
            let (extent, stride) = (self.grid.extent(axis), self.grid.stride(axis));
            (0..self.grid.n_cells()).all(|cell| {
                let first = cell - cell / stride % extent * stride;
                self.diagonal[axis][cell] == self.diagonal[axis][first]
            })
        }
    }
}

/// Whether a tick goes forward through the axes, and whether it goes backward.
pub(super) fn ways(is_plastic: bool, tick: u64) -> [bool; 2] {
    let is_even = tick.is_multiple_of(2);
    [!is_plastic || is_even, !is_plastic || !is_even]
}

/// The share of the flow that is done each time an axis is passed.
pub(super) fn share(is_plastic: bool) -> f64 {
    if is_plastic { 1.0 } else { 0.5 }
}

/// A storage axis that this flow cannot propagate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTooLong {
    /// Storage axis.
    pub axis: usize,
    /// Nodes along it.
    pub extent: usize,
}

/// One axis and what is needed to renew its table.
struct Line<T: SimdReal> {
    pass: AxisPass<T>,
    axis: usize,
    /// Whether the table has one entry per line of cells, so that it can be renewed.
    by_cells: bool,
    /// D of each transform.
    constants: Vec<f64>,
}

/// A planned kinetic flow of a varying metric.
pub struct Varying<T: SimdReal> {
    level: Level,
    grid: CellGrid,
    time: Time,
    /// Duration of a pass over an axis: half the flow's, or all of it.
    share: f64,
    is_plastic: bool,
    axes: Vec<Line<T>>,
    /// Leading axes whose lines are longer than a block.
    n_outer: usize,
    /// Nodes of the blocks in which the other axes run one after the other, in cache.
    block: usize,
    inside: Option<CellBlocks<T>>,
    remainder: Option<Remainder<T>>,
    described: Vec<String>,
}

impl<T: Real> Varying<T> {
    /// Plans the flow over `duration`. `is_plastic` keeps tables renewable, and asks for a tick of this one flow.
    ///
    /// # Errors
    /// [`LineTooLong`] where D^{dd} varies along a line of more than [`FIBRE_NODES_MAX`] nodes.
    pub fn new(
        level: Level,
        diffusion: &Diffusion,
        duration: f64,
        time: Time,
        is_plastic: bool,
        rule: RemainderRule,
    ) -> Result<Self, LineTooLong> {
        let grid = &diffusion.grid;
        let inside = diffusion.axes_inside_cells();
        let outside = grid.cell.len() - inside;
        let share = share(is_plastic) * duration;
        let (mut axes, mut described) = (Vec::new(), Vec::new());
        for axis in 0..outside {
            let extent = grid.shape.extents[axis];
            if extent == 1 {
                described.push("none".to_owned());
                continue;
            }
            let line = plan_line::<T>(level, diffusion, axis, share, time, is_plastic)?;
            described.push(describe(&line));
            axes.push(line);
        }
        described.extend((outside..grid.cell.len()).map(|_| "ring3 per cell".to_owned()));
        let inside = (inside > 0).then(|| CellBlocks::new(diffusion, inside, 0.5 * duration, time));
        let remainder =
            (!diffusion.off_diagonal.is_empty()).then(|| Remainder::new(diffusion, duration, time, rule));
        let page = grid.shape.page_nodes;
        let fits = |line: &&Line<T>| {
            let nodes = line.pass.block_nodes();
            2 * nodes * T::BYTES <= BLOCK_BYTES && page.is_multiple_of(nodes)
        };
        let n_outer = axes.len() - axes.iter().rev().take_while(fits).count();
        let block = axes.get(n_outer).map_or(
            // Nothing but axes inside cells: a page at a time.
            page,
            |line: &Line<T>| line.pass.block_nodes(),
        );
        Ok(Varying {
            level,
            grid: grid.clone(),
            time,
            share,
            is_plastic,
            axes,
            n_outer,
            block,
            inside,
            remainder,
            described,
        })
    }

    /// Renews what depends on the cells marked in `changed`. Only for a plastic plan.
    pub fn renew(&mut self, threads: Threads<'_>, diffusion: &Diffusion, changed: &[usize]) {
        let (level, times) = (self.level, (self.share, self.time));
        for_each_part(threads, self.axes.iter_mut().filter(|line| line.by_cells), |_, line| {
            line.renew(level, diffusion, changed, times);
        });
        if let Some(inside) = &mut self.inside {
            inside.renew(diffusion, changed);
        }
        if let Some(remainder) = &mut self.remainder {
            remainder.renew(diffusion, changed);
        }
    }

    /// Opening local flow, then the whole kinetic flow. `tick` says whether the remainder is due.
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
        assert_eq!(pages.len(), self.grid.shape.n_pages(), "as many pages as the shape has");
        let planes: Vec<_> = pages.iter_mut().map(Planes::of).collect();
        let is_due = self.remainder.as_mut().is_some_and(|remainder| remainder.is_due(tick));
        let [is_forward, is_backward] = ways(self.is_plastic, tick);
        // Half of the axes inside cells on each side of the remainder.
        let is_split = is_due && is_forward && is_backward;
        if is_forward {
            for line in &self.axes[..self.n_outer] {
                line.pass.run(self.level, threads, &planes);
            }
            self.run_blocks(threads, &planes, [true, is_backward && !is_split], is_split);
        }
        if let Some(remainder) = self.remainder.as_mut().filter(|_| is_due) {
            remainder.apply(self.level, threads, pages);
        }
        if is_split || !is_forward {
            self.run_blocks(threads, &planes, [false, true], is_split);
        }
        if is_backward {
            for line in self.axes[..self.n_outer].iter().rev() {
                line.pass.run(self.level, threads, &planes);
            }
        }
        probe.record(opened.saturating_sub(began), probe.since(opened));
    }

    /// Axes inside cells, with half their duration or all of it, block by block, with the others before or behind them.
    fn run_blocks(
        &self,
        threads: Threads<'_>,
        planes: &[Planes<T>],
        [opens, closes]: [bool; 2],
        is_half: bool,
    ) {
        let inner = &self.axes[self.n_outer..];
        for_each_chunk(threads, self.grid.shape.n_nodes() / self.block, |block| {
            let nodes = block * self.block..(block + 1) * self.block;
            for line in inner.iter().filter(|_| opens) {
                line.pass.run_on(self.level, planes, nodes.clone());
            }
            if let Some(inside) = &self.inside {
                inside.run_on(self.level, planes, nodes.clone(), is_half);
            }
            for line in inner.iter().rev().filter(|_| closes) {
                line.pass.run_on(self.level, planes, nodes.clone());
            }
        });
    }

    /// The closing local flow.
    pub fn sweep_outer(
        &self,
        threads: Threads<'_>,
        pages: &mut [PageMut<'_, T>],
        closing: Option<&LocalFlow<'_, T>>,
        probe: &Probe,
    ) {
        let began = probe.now();
        if let Some(flow) = closing {
            half_potential::apply(self.level, threads, pages, flow);
        }
        probe.record(probe.since(began), 0);
    }

    /// Which scheme each storage axis runs.
    pub fn describe(&self) -> Vec<String> {
        self.described.clone()
    }

    /// What the remainder did so far.
    pub fn remainder(&self) -> Option<&Remainder<T>> {
        self.remainder.as_ref()
    }

    /// Bytes of tables and of the remainder's fields.
    pub fn bytes(&self) -> usize {
        self.axes.iter().map(|line| line.pass.bytes()).sum::<usize>()
            + self.inside.as_ref().map_or(0, CellBlocks::bytes)
            + self.remainder.as_ref().map_or(0, Remainder::bytes)
    }
}

impl<T: Real> Line<T> {
    fn renew(
        &mut self,
        level: Level,
        diffusion: &Diffusion,
        changed: &[usize],
        (duration, time): (f64, Time),
    ) {
        let (extent, stride) = (diffusion.grid.extent(self.axis), diffusion.grid.stride(self.axis));
        let spacing = diffusion.grid.spacing[self.axis];
        let mut last = usize::MAX;
        let mut rings = RingBatch::default();
        for &cell in changed {
            // Cells come in ascending order, so the cells of a line along the fastest axis follow each other.
            let entry = cell / (extent * stride) * stride + cell % stride;
            if entry != last {
                let value = line_value(diffusion, self.axis, entry);
                match &mut self.pass.table {
                    Table::Rings(weights) => {
                        rings.add(entry, [value(0), value(1), value(2)]);
                        if rings.n == ring3::LINES {
                            rings.fill(level, weights, spacing, duration, time);
                        }
                    }
                    Table::Dense(fibres) => {
                        let nodes = 0..diffusion.grid.shape.extents[self.axis];
                        let values: Vec<f64> = nodes.map(value).collect();
                        fibres[entry] = fibre(&values, spacing, duration, time);
                    }
                    Table::Transforms(_) | Table::Slope(_) => unreachable!("not renewable"),
                }
            }
            last = entry;
        }
        if let Table::Rings(weights) = &mut self.pass.table {
            rings.fill(level, weights, spacing, duration, time);
        }
    }
}

/// Rings whose weights are to be computed side by side.
#[derive(Default)]
struct RingBatch {
    n: usize,
    entries: [usize; ring3::LINES],
    diffusion: [[f64; ring3::LINES]; 3],
}

impl RingBatch {
    fn add(&mut self, entry: usize, values: [f64; 3]) {
        self.entries[self.n] = entry;
        for (to, value) in self.diffusion.iter_mut().zip(values) {
            to[self.n] = value;
        }
        self.n += 1;
    }

    fn fill<T: Real>(
        &mut self,
        level: Level,
        weights: &mut [[T; 6]],
        spacing: f64,
        duration: f64,
        time: Time,
    ) {
        if self.n == 0 {
            return;
        }
        let all = ring3::weights_of_lines(level, &self.diffusion, spacing, duration, time);
        for (line, entry) in self.entries[..self.n].iter().enumerate() {
            for (to, of_lines) in weights[*entry].iter_mut().zip(&all) {
                *to = T::from_f64(of_lines[line]);
            }
        }
        self.n = 0;
    }
}

/// D^{dd} by node on line of cells `entry` along `axis`.
fn line_value(diffusion: &Diffusion, axis: usize, entry: usize) -> impl Fn(usize) -> f64 {
    let grid = &diffusion.grid;
    let (extent, stride) = (grid.extent(axis), grid.stride(axis));
    let first = entry / stride * extent * stride + entry % stride;
    move |node| diffusion.at(axis, first + node / grid.cell[axis] * stride)
}

fn ring_weights<T: Real>(values: [f64; 3], spacing: f64, duration: f64, time: Time) -> [T; 6] {
    let weights = ring3::weights(values, spacing, duration, time);
    core::array::from_fn(|i| T::from_f64(if i % 2 == 0 { weights[i / 2].0 } else { weights[i / 2].1 }))
}

fn fibre<T: Real>(values: &[f64], spacing: f64, duration: f64, time: Time) -> Fibre<T> {
    Fibre::new(&FibreLine { spacing, diffusion: values, active: None }, duration, time)
}

/// Chooses the scheme of one axis and fills its table.
fn plan_line<T: Real>(
    level: Level,
    diffusion: &Diffusion,
    axis: usize,
    duration: f64,
    time: Time,
    is_plastic: bool,
) -> Result<Line<T>, LineTooLong> {
    let grid = &diffusion.grid;
    let (shape, spacing, extent) = (&grid.shape, grid.spacing[axis], grid.shape.extents[axis]);
    let by_cells = is_plastic && !diffusion.is_uniform(axis);
    let is_constant = !by_cells && diffusion.is_constant_along(axis);
    if extent != 3 && !is_constant && extent > FIBRE_NODES_MAX {
        return Err(LineTooLong { axis, extent });
    }
    let n_cell_lines = grid.n_cells() / grid.extent(axis);
    // Which entry of the table each line of cells uses, and the values that an entry stands for.
    let mut entries: Vec<u32> = Vec::with_capacity(n_cell_lines);
    let mut distinct: Vec<Vec<f64>> = Vec::new();
    let mut known: BTreeMap<Vec<u64>, u32> = BTreeMap::new();
    for cell_line in 0..if diffusion.is_uniform(axis) { 1 } else { n_cell_lines } {
        let values: Vec<f64> = (0..extent).map(line_value(diffusion, axis, cell_line)).collect();
        let next = distinct.len() as u32;
        let entry = if by_cells {
            next
        } else {
            *known.entry(values.iter().map(|x| x.to_bits()).collect()).or_insert(next)
        };
        if entry == next {
            distinct.push(values);
        }
        entries.push(entry);
    }
    let n_lines = shape.n_nodes() / extent;
    let table = if extent == 3 {
        let of_line =
            |values: &Vec<f64>| ring_weights([values[0], values[1], values[2]], spacing, duration, time);
        let mut weights: Vec<_> = distinct.iter().map(of_line).collect();
        if by_cells {
            // As they are renewed, to the bit.
            for (lines, weights) in distinct.chunks(ring3::LINES).zip(weights.chunks_mut(ring3::LINES)) {
                let mut rings = RingBatch::default();
                for (line, values) in lines.iter().enumerate() {
                    rings.add(line, [values[0], values[1], values[2]]);
                }
                rings.fill(level, weights, spacing, duration, time);
            }
        }
        Table::Rings(weights)
    } else if is_constant {
        let transform = |values: &Vec<f64>| {
            let wavenumber_unit = core::f64::consts::TAU / (extent as f64 * spacing);
            let term = AxisTerm { extent, wavenumber_unit, diffusion: values[0] };
            let scheme = plan_axis(&term, n_lines, duration, time, &mut { Prefactor::NONE });
            Axis { extent, stride: shape.stride(axis), scheme }
        };
        Table::Transforms(distinct.iter().map(transform).collect())
    } else {
        Table::Dense(distinct.iter().map(|values| fibre(values, spacing, duration, time)).collect())
    };
    let (cell_extent, cell_stride) = (grid.extent(axis), grid.stride(axis));
    let stride = shape.stride(axis);
    let entry = |line: usize| {
        if entries.len() == 1 {
            return entries[0];
        }
        let cell = grid.cell_of_node(line / stride * extent * stride + line % stride);
        entries[cell / (cell_extent * cell_stride) * cell_stride + cell % cell_stride]
    };
    let constants = match table {
        Table::Transforms(_) => distinct.iter().map(|values| values[0]).collect(),
        _ => Vec::new(),
    };
    Ok(Line { pass: AxisPass::new(shape, axis, table, entry), axis, by_cells, constants })
}

fn describe<T: Real>(line: &Line<T>) -> String {
    match &line.pass.table {
        Table::Rings(weights) if weights.len() == 1 => "ring3".to_owned(),
        Table::Rings(weights) => format!("ring3, {} lines", weights.len()),
        Table::Dense(fibres) => format!("dense, {} lines", fibres.len()),
        Table::Transforms(axes) => format!("{}, {} lines", axes[0].describe(), axes.len()),
        Table::Slope(_) => "derivative".to_owned(),
    }
}

#[cfg(test)]
mod tests;
