//! The two kinds of unit: a run over one page, and a part of a column.
//! Invariant: a unit touches only the nodes of its page, or of its bundles of lines; units of one level are disjoint.
//! Source: cache blocking as in `kinetic/sweep.rs`.

#![allow(unsafe_code)] // Raw planes, and scratch without initialisation checks.

use core::ops::Range;

use super::super::fibre::FibrePass;
use super::super::lines::{FLOW, Lines};
use super::super::sweep::{Transpose, row_step, run_group};
use super::triple::TriplePass;
use super::{BUNDLE_LANES, Column, LinePlan, Probe, SparseKinetic, Unit};
use crate::field::Real;
use crate::half_potential::{LocalPlan, LocalRun, Operands, Planes};
use crate::simd::{Kernel, Lanes, SimdReal};

/// One unit of a level. Built only with planes, operands and scratch of the plan's sizes.
pub struct SparseUnit<'a, T: SimdReal> {
    pub(super) kinetic: &'a SparseKinetic<T>,
    pub(super) unit: &'a Unit,
    pub(super) planes: &'a [Planes<T>],
    pub(super) opening: Option<(&'a LocalPlan<T>, Operands<T>)>,
    pub(super) scratch: *mut T,
    pub(super) probe: &'a Probe,
}

impl<T: Real> Kernel<T> for SparseUnit<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let start = self.probe.now();
        // SAFETY: the scratch has the sizes that `activate` found, and the unit owns its nodes.
        let local = unsafe {
            match self.unit {
                Unit::Run { slot, axes, .. } => self.run_page::<V>(*slot, axes),
                Unit::Column { column, bundles } => {
                    let column = &self.kinetic.columns[*column];
                    let bundles = bundles.clone();
                    let (kinetic, planes, scratch) = (self.kinetic, self.planes, self.scratch);
                    let visitor = Propagate { line: &column.line };
                    column_bundles::<V>(kinetic, column, bundles, planes, scratch, true, visitor);
                    0
                }
            }
        };
        self.probe.record(local, (self.probe.now() - start).saturating_sub(local));
    }
}

impl<T: Real> SparseUnit<'_, T> {
    /// The opening local flow, then the axes of a run. Returns the nanoseconds spent in the local flow.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    #[inline(always)]
    unsafe fn run_page<V: Lanes<T = T>>(&self, slot: usize, axes: &Range<usize>) -> u64 {
        let kinetic = self.kinetic;
        let page = self.planes[slot];
        let block = kinetic.block_rows();
        let n_blocks = page.len / block;
        let step = row_step(block, V::N, V::N);
        let in_block = axes.start.max(kinetic.split)..axes.end.max(kinetic.split);
        let mut local = 0;
        // SAFETY: blocks lie inside the page, the scratch holds `block` rows and the hungriest buffer.
        unsafe {
            let rows = Planes { re: self.scratch, im: self.scratch.add(V::N), len: block * step };
            let buffer = self.scratch.add(block * step);
            for first in (0..n_blocks).step_by(V::N) {
                let n = V::N.min(n_blocks - first);
                let nodes = page.offset(first * block);
                if let Some((plan, operands)) = self.opening {
                    let before = self.probe.now();
                    let operands = operands.offset(first * block);
                    V::call(LocalRun { plan, src: nodes, dst: nodes, operands, len: n * block });
                    local += self.probe.now() - before;
                }
                if in_block.start < in_block.end {
                    V::call(Transpose::<T, true> { page: nodes, rows, block, step, n });
                    self.run_axes::<V>(slot, in_block.clone(), block, rows, buffer, |stride| Lines {
                        outer: 1,
                        outer_stride: 0,
                        inner: stride,
                        inner_stride: step,
                        step: stride * step,
                        lanes: V::N,
                    });
                    V::call(Transpose::<T, false> { page: nodes, rows, block, step, n });
                }
            }
            let outside = axes.start.min(kinetic.split)..axes.end.min(kinetic.split);
            self.run_axes::<V>(slot, outside, page.len, page, self.scratch, |stride| Lines {
                outer: 1,
                outer_stride: 0,
                inner: 1,
                inner_stride: 0,
                step: stride,
                lanes: stride,
            });
        }
        local
    }

    /// Axes of a run on `rows` rows, minor axis first; `lines` gives the geometry of one group of lines.
    ///
    /// # Safety
    /// The rows exist and belong to the unit.
    #[inline(always)]
    unsafe fn run_axes<V: Lanes<T = T>>(
        &self,
        slot: usize,
        axes: Range<usize>,
        rows: usize,
        planes: Planes<T>,
        buffer: *mut T,
        lines: impl Fn(usize) -> Lines,
    ) {
        let kinetic = self.kinetic;
        let mut end = axes.end;
        while end > axes.start {
            let minor = kinetic.plan_alone(slot, end - 1);
            let major = (end - 1 > axes.start).then(|| kinetic.plan_alone(slot, end - 2));
            let stride = kinetic.blocks.stride(end - 1);
            let taken = match (minor, major) {
                (LinePlan::Triple(_), Some(LinePlan::Triple(_))) => 2,
                _ => 1,
            };
            let nodes: usize = kinetic.blocks.sides[end - taken..end].iter().product();
            let one = lines(stride);
            // Rows are as far apart as the geometry's step says for one stride.
            let row = one.step / stride;
            let lines = Lines { outer: rows / (nodes * stride), outer_stride: nodes * stride * row, ..one };
            // SAFETY: the lines cover exactly the rows.
            unsafe {
                match (minor, major) {
                    (LinePlan::Triple(minor), Some(LinePlan::Triple(major))) => {
                        V::call(TriplePass { planes, lines, plans: [minor, major] });
                    }
                    (LinePlan::Triple(plan), _) => V::call(TriplePass { planes, lines, plans: [plan] }),
                    (LinePlan::Dense(axis), _) => {
                        run_group::<V, FLOW>(std::slice::from_ref(axis), planes, lines, buffer);
                    }
                    (LinePlan::Fibre(fibre), _) => {
                        let mut line = Vec::with_capacity(fibre.nodes());
                        for (o, i) in (0..lines.outer).flat_map(|o| (0..lines.inner).map(move |i| (o, i))) {
                            let base = o * lines.outer_stride + i * lines.inner_stride;
                            line.clear();
                            line.extend((0..fibre.nodes()).map(|k| planes.offset(base + k * lines.step)));
                            V::call(FibrePass { fibre, rows: &line, lanes: lines.lanes, scratch: buffer });
                        }
                    }
                }
            }
            end -= taken;
        }
    }
}

/// A bundle of lines of a column: row `k` holds the `k`-th active node of `lanes` lines.
pub(super) struct Bundle<'a, T> {
    pub rows: &'a [Planes<T>],
    pub lanes: usize,
    /// Where the rows may be gathered: room for all of them, then for the plan's buffer.
    free: *mut T,
}

impl<T: Real> Bundle<'_, T> {
    /// Advances the bundle.
    ///
    /// # Safety
    /// The rows and the scratch belong to the caller.
    #[inline(always)]
    unsafe fn propagate<V: Lanes<T = T>>(&self, line: &LinePlan<T>) {
        let Bundle { rows, lanes, free } = *self;
        // SAFETY: says the caller.
        unsafe {
            match line {
                LinePlan::Fibre(fibre) => V::call(FibrePass { fibre, rows, lanes, scratch: free }),
                LinePlan::Dense(axis) => {
                    let width = lanes.next_multiple_of(V::N);
                    let step = row_step(rows.len(), width, V::N);
                    let planes = Planes { re: free, im: free.add(width), len: rows.len() * step };
                    copy_rows::<V>(rows, planes, step, lanes, true);
                    let lines =
                        Lines { outer: 1, outer_stride: 0, inner: 1, inner_stride: 0, step, lanes: width };
                    run_group::<V, FLOW>(
                        std::slice::from_ref(axis),
                        planes,
                        lines,
                        free.add(rows.len() * step),
                    );
                    copy_rows::<V>(rows, planes, step, lanes, false);
                }
                LinePlan::Triple(_) => unreachable!("a page alone in its column is part of a run"),
            }
        }
    }
}

/// Rows ↔ a regular batch.
///
/// # Safety
/// Rows have `lanes` nodes, the batch as many rows of that many lanes, rounded up to whole vectors.
#[inline(always)]
unsafe fn copy_rows<V: Lanes>(
    rows: &[Planes<V::T>],
    batch: Planes<V::T>,
    step: usize,
    lanes: usize,
    gathers: bool,
) {
    for (k, row) in rows.iter().enumerate() {
        for lane in (0..lanes).step_by(V::N) {
            let n = V::N.min(lanes - lane);
            // SAFETY: says the caller.
            unsafe {
                let (near, far) = (batch.offset(k * step + lane), row.offset(lane));
                if gathers {
                    V::load_n(far.re, n).store(near.re);
                    V::load_n(far.im, n).store(near.im);
                } else {
                    V::load_n(near.re, n).store_n(far.re, n);
                    V::load_n(near.im, n).store_n(far.im, n);
                }
            }
        }
    }
}

/// What is done to the bundles of a column. A trait and no closure: a closure is a function of its own, which is not
/// always inlined, and outside the vectors' `enter` each of their operations is a call.
pub(super) trait Visitor<V: Lanes> {
    /// Looks at a bundle, or advances it.
    ///
    /// # Safety
    /// The rows and the scratch belong to the caller.
    unsafe fn visit(&mut self, bundle: &Bundle<'_, V::T>);
}

/// Advances bundles.
struct Propagate<'a, T: SimdReal> {
    line: &'a LinePlan<T>,
}

impl<V: Lanes<T: Real>> Visitor<V> for Propagate<'_, V::T> {
    #[inline(always)]
    unsafe fn visit(&mut self, bundle: &Bundle<'_, V::T>) {
        // SAFETY: says the caller.
        unsafe { bundle.propagate::<V>(self.line) }
    }
}

/// Visits the bundles of a column in `range`. Narrow lines are transposed into the scratch, visited there, and, if
/// the visitor writes, transposed back.
///
/// # Safety
/// The planes are the active pages, the scratch has the sizes of `activate`; the caller owns the bundles' nodes, or they
/// are only read.
#[inline(always)]
pub(super) unsafe fn column_bundles<V: Lanes>(
    kinetic: &SparseKinetic<V::T>,
    column: &Column<V::T>,
    range: Range<usize>,
    planes: &[Planes<V::T>],
    scratch: *mut V::T,
    writes: bool,
    mut visitor: impl Visitor<V>,
) {
    let blocks = &kinetic.blocks;
    let (side, stride) = (blocks.sides[column.axis], blocks.stride(column.axis));
    let nodes = column.slots.len() * side;
    let mut rows = Vec::with_capacity(nodes);
    // SAFETY: bundles lie inside the pages; see `column_scratch` for the sizes.
    unsafe {
        if !kinetic.is_narrow(column.axis) {
            let per_outer = stride.div_ceil(BUNDLE_LANES);
            for bundle in range {
                let (outer, lane) = (bundle / per_outer, bundle % per_outer * BUNDLE_LANES);
                let base = outer * side * stride + lane;
                rows.clear();
                for &slot in &column.slots {
                    rows.extend((0..side).map(|j| planes[slot].offset(base + j * stride)));
                }
                visitor.visit(&Bundle { rows: &rows, lanes: BUNDLE_LANES.min(stride - lane), free: scratch });
            }
            return;
        }
        let block = side * stride;
        let n_blocks = blocks.page_nodes() / block;
        let step = row_step(nodes * stride, V::N, V::N);
        let batch = Planes { re: scratch, im: scratch.add(V::N), len: nodes * stride * step };
        let free = scratch.add(nodes * stride * step);
        for bundle in range {
            let first = bundle * V::N;
            let n = V::N.min(n_blocks - first);
            let of_page = |k: usize| (column.slots[k], batch.offset(k * block * step));
            for (slot, rows) in (0..column.slots.len()).map(of_page) {
                let page = planes[slot].offset(first * block);
                V::call(Transpose::<V::T, true> { page, rows, block, step, n });
            }
            for line in 0..stride {
                rows.clear();
                rows.extend((0..nodes).map(|k| batch.offset((k * stride + line) * step)));
                visitor.visit(&Bundle { rows: &rows, lanes: V::N, free });
            }
            for (slot, rows) in (0..column.slots.len()).map(of_page).filter(|_| writes) {
                let page = planes[slot].offset(first * block);
                V::call(Transpose::<V::T, false> { page, rows, block, step, n });
            }
        }
    }
}
