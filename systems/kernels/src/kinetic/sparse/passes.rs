//! The two kinds of unit: a run over one page, and a part of a column.
//! Invariant: a unit touches only the nodes of its page, or of its bundles of lines; units of one level are disjoint.
//! Source: cache blocking as in `kinetic/sweep.rs`. A run goes over its page twice: blocks of a few rows are transposed, and
//! with the axes next to them done before they leave the first-level cache; then the last axes, some lanes at a time.

#![allow(unsafe_code)] // Raw planes, and scratch without initialisation checks.

use core::ops::Range;

use super::super::fibre::FibrePass;
use super::super::lines::{FLOW, Lines};
use super::super::sweep::{Transpose, row_step, run_group};
use super::mirror::MirrorPass;
use super::triple::TriplePass;
use super::{BUNDLE_LANES, Column, LinePlan, Probe, SparseKinetic, Unit};
use crate::field::Real;
use crate::half_potential::{LocalPlan, LocalRun, Operands, Planes};
use crate::simd::{Kernel, Lanes, SimdReal};

/// Batches of blocks that the opening flow does at a time: what jumps from block to block is followed by no prefetcher of the
/// processor, and a flow over one batch is over before they have caught up.
const FLOW_BATCHES: usize = 4;

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
        self.probe.record(local, self.probe.since(start).saturating_sub(local));
    }
}

impl<T: Real> SparseUnit<'_, T> {
    /// The opening local flow, then the axes of a run. Returns the nanoseconds spent in the local flow.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    #[inline(always)]
    unsafe fn run_page<V: Lanes<T = T>>(&self, slot: usize, axes: &[usize]) -> u64 {
        let kinetic = self.kinetic;
        let page = self.planes[slot];
        let block = kinetic.block_rows();
        let n_blocks = page.len / block;
        let step = row_step(block, V::N, V::N);
        let (first_near, near) = kinetic.near();
        let n_inside = axes.iter().take_while(|axis| kinetic.is_in_block(**axis)).count();
        let (inside, outside) = axes.split_at(n_inside);
        let (nearby, far) = outside.split_at(outside.iter().take_while(|axis| **axis >= first_near).count());
        let part = FLOW_BATCHES * V::N;
        let (mut local, mut done) = (0, 0);
        // SAFETY: blocks lie inside the page, the scratch holds `block` rows and the hungriest buffer.
        unsafe {
            let rows = Planes { re: self.scratch, im: self.scratch.add(V::N), len: block * step };
            let buffer = self.scratch.add(block * step);
            for first in (0..n_blocks).step_by(V::N) {
                let n = V::N.min(n_blocks - first);
                let nodes = page.offset(first * block);
                if let Some((plan, operands)) = self.opening
                    && first % part == 0
                {
                    let before = self.probe.now();
                    let (operands, len) =
                        (operands.offset(first * block), part.min(n_blocks - first) * block);
                    V::call(LocalRun { plan, src: nodes, dst: nodes, operands, len });
                    local += self.probe.since(before);
                }
                if n_inside > 0 {
                    V::call(Transpose::<T, true> { page: nodes, rows, block, step, n });
                    for &axis in inside {
                        let stride = kinetic.blocks.stride(axis);
                        let line = kinetic.blocks.sides[axis] * stride;
                        let lines = Lines {
                            outer: block / line,
                            outer_stride: line * step,
                            inner: stride,
                            inner_stride: step,
                            step: stride * step,
                            lanes: V::N,
                        };
                        self.run_axis::<V>(slot, axis, rows, lines, buffer);
                    }
                    V::call(Transpose::<T, false> { page: nodes, rows, block, step, n });
                }
                // While they are in the first-level cache.
                let ready = (first + n) * block / near * near;
                if ready > done {
                    let lines = (ready - done, block, block);
                    self.run_outside::<V>(slot, nearby, page.offset(done), lines, buffer);
                    done = ready;
                }
            }
            let lanes = kinetic.far_lanes(slot, far, near);
            for lane in (0..near / lanes).map(|part| part * lanes) {
                // The last part has what is left.
                let lanes = if lane + 2 * lanes > near { near - lane } else { lanes };
                self.run_outside::<V>(slot, far, page.offset(lane), (page.len, near, lanes), buffer);
            }
            local
        }
    }

    /// Axes of a run behind those of its blocks on `nodes` nodes: of every `run` neighbours the first `lanes`.
    ///
    /// # Safety
    /// The nodes exist and belong to the unit.
    #[inline(always)]
    unsafe fn run_outside<V: Lanes<T = T>>(
        &self,
        slot: usize,
        axes: &[usize],
        planes: Planes<T>,
        (nodes, run, lanes): (usize, usize, usize),
        buffer: *mut T,
    ) {
        for &axis in axes {
            let stride = self.kinetic.blocks.stride(axis);
            let line = self.kinetic.blocks.sides[axis] * stride;
            let (inner, lanes) = if lanes == run { (1, stride) } else { (stride / run, lanes) };
            let lines = Lines {
                outer: nodes / line,
                outer_stride: line,
                inner,
                inner_stride: run,
                step: stride,
                lanes,
            };
            // SAFETY: says the caller.
            unsafe { self.run_axis::<V>(slot, axis, planes, lines, buffer) };
        }
    }

    /// One axis of a run on `lines`.
    ///
    /// # Safety
    /// The lines exist and belong to the unit.
    #[inline(always)]
    unsafe fn run_axis<V: Lanes<T = T>>(
        &self,
        slot: usize,
        axis: usize,
        planes: Planes<T>,
        lines: Lines,
        buffer: *mut T,
    ) {
        let kinetic = self.kinetic;
        match kinetic.plan_alone(slot, axis) {
            LinePlan::Triple(plan) => {
                let lead = match &kinetic.leads[slot] {
                    Some((first, lead)) if *first == axis => Some(lead),
                    _ => None,
                };
                V::call(TriplePass { planes, lines, plan, lead });
            }
            // SAFETY: says the caller; the buffer is the plan's.
            LinePlan::Dense(axis) => unsafe {
                run_group::<V, FLOW>(std::slice::from_ref(axis), planes, lines, buffer);
            },
            plan => {
                let side = kinetic.blocks.sides[axis];
                let mut rows = Vec::with_capacity(side);
                // SAFETY: says the caller.
                unsafe {
                    for k in 0..side {
                        rows.push(planes.offset(k * lines.step));
                    }
                    Bundle { rows: &rows, lines, base: 0, free: buffer }.propagate::<V>(plan);
                }
            }
        }
    }
}

/// Lines of a column: row `k` holds their `k`-th active nodes, from where `lines` counts.
pub(super) struct Bundle<'a, T> {
    pub rows: &'a [Planes<T>],
    /// Where the lines are; its step is the rows' affair.
    pub lines: Lines,
    /// Scalars from a row's beginning to the first line.
    pub base: usize,
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
        let Bundle { rows, lines, base, free } = *self;
        if let LinePlan::Mirror(plan) = line {
            V::call(MirrorPass { plan, rows, lines, base, scratch: free });
            return;
        }
        let lanes = lines.lanes;
        for o in 0..lines.outer {
            for i in 0..lines.inner {
                let shift = base + o * lines.outer_stride + i * lines.inner_stride;
                // SAFETY: says the caller.
                unsafe {
                    match line {
                        LinePlan::Fibre(fibre) => {
                            V::call(FibrePass { fibre, rows, lanes, shift, scratch: free });
                        }
                        LinePlan::Dense(axis) => {
                            let width = lanes.next_multiple_of(V::N);
                            let step = row_step(rows.len(), width, V::N);
                            let planes = Planes { re: free, im: free.add(width), len: rows.len() * step };
                            copy_rows::<V>(rows, shift, planes, step, lanes, true);
                            let lines = Lines {
                                outer: 1,
                                outer_stride: 0,
                                inner: 1,
                                inner_stride: 0,
                                step,
                                lanes: width,
                            };
                            let buffer = free.add(rows.len() * step);
                            run_group::<V, FLOW>(std::slice::from_ref(axis), planes, lines, buffer);
                            copy_rows::<V>(rows, shift, planes, step, lanes, false);
                        }
                        LinePlan::Mirror(_) | LinePlan::Triple(_) => {
                            unreachable!("three nodes are part of a run, a mirrored line is done")
                        }
                    }
                }
            }
        }
    }
}

/// Rows ↔ a regular batch.
///
/// # Safety
/// Rows have `lanes` nodes from `shift` on, the batch as many rows of that many lanes, rounded up to whole vectors.
#[inline(always)]
unsafe fn copy_rows<V: Lanes>(
    rows: &[Planes<V::T>],
    shift: usize,
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
                let (near, far) = (batch.offset(k * step + lane), row.offset(shift + lane));
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

/// Visits the bundles of a column in `range`. Lines along the axes of a block are transposed into the scratch, visited
/// there, and, if the visitor writes, transposed back.
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
    let mut rows = Vec::with_capacity(column.slots.len() * side);
    // SAFETY: bundles lie inside the pages; see `column_scratch` for the sizes.
    unsafe {
        if !kinetic.is_in_block(column.axis) {
            for &slot in &column.slots {
                for j in 0..side {
                    rows.push(planes[slot].offset(j * stride));
                }
            }
            let per_outer = stride.div_ceil(BUNDLE_LANES);
            for bundle in range {
                let (outer, lane) = (bundle / per_outer, bundle % per_outer * BUNDLE_LANES);
                let lines = Lines {
                    outer: 1,
                    outer_stride: 0,
                    inner: 1,
                    inner_stride: 0,
                    step: 0,
                    lanes: BUNDLE_LANES.min(stride - lane),
                };
                let base = outer * side * stride + lane;
                visitor.visit(&Bundle { rows: &rows, lines, base, free: scratch });
            }
            return;
        }
        let block = kinetic.block_rows();
        let n_blocks = blocks.page_nodes() / block;
        let step = row_step(block, V::N, V::N);
        let batch = Planes { re: scratch, im: scratch.add(V::N), len: column.slots.len() * block * step };
        let free = scratch.add(column.slots.len() * block * step);
        for k in 0..column.slots.len() {
            for j in 0..side {
                rows.push(batch.offset((k * block + j * stride) * step));
            }
        }
        let lines = Lines {
            outer: block / (side * stride),
            outer_stride: side * stride * step,
            inner: stride,
            inner_stride: step,
            step: stride * step,
            lanes: V::N,
        };
        for bundle in range.clone() {
            let first = bundle * V::N;
            let n = V::N.min(n_blocks - first);
            if bundle + 1 < range.end {
                // Transposes jump from block to block, which no prefetcher of the processor follows.
                let (next, ahead) = (first + V::N, V::N.min(n_blocks - first - V::N) * block);
                for &slot in &column.slots {
                    planes[slot].offset(next * block).prefetch::<V>(ahead);
                }
            }
            for (k, &slot) in column.slots.iter().enumerate() {
                let (page, rows) = (planes[slot].offset(first * block), batch.offset(k * block * step));
                V::call(Transpose::<V::T, true> { page, rows, block, step, n });
            }
            visitor.visit(&Bundle { rows: &rows, lines, base: 0, free });
            if writes {
                for (k, &slot) in column.slots.iter().enumerate() {
                    let (page, rows) = (planes[slot].offset(first * block), batch.offset(k * block * step));
                    V::call(Transpose::<V::T, false> { page, rows, block, step, n });
                }
            }
        }
    }
}
