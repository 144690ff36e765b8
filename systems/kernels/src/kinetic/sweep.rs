//! The two sweeps of a step over one page and over one batch of rows. Invariant: a chunk touches only its own nodes.
//! Source: cache blocking as drawn in [`super`].

#![allow(unsafe_code)] // Raw planes, and scratch without initialisation checks.

use core::ops::Range;
use std::cell::RefCell;

use super::closing::RingRun;
use super::fft::FftPass;
use super::lines::{FLOW, Lines};
use super::ring::{FetchRings, RingPass};
use super::{Axis, Kinetic, Probe, Scheme};
use crate::field::Real;
use crate::half_potential::{LocalPlan, LocalRun, Operands, Planes};
use crate::simd::{Kernel, Lanes, SimdReal};

/// Scalars from one row of a batch to the next: both planes, and one vector more where a power of two of rows
/// would fall into few sets of the cache.
pub(crate) fn row_step(rows: usize, lanes: usize, vector: usize) -> usize {
    2 * lanes + if rows >= 64 && rows.is_multiple_of(16) { vector } else { 0 }
}

thread_local! {
    static SCRATCH: RefCell<Vec<CacheLine>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct CacheLine(#[allow(dead_code)] [u8; 64]); // Only its size and alignment matter.

/// Lends `scalars` aligned scalars of this thread's scratch; it grows once and is kept.
pub(crate) fn with_scratch<T, R>(scalars: usize, work: impl FnOnce(*mut T) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        let lines = (scalars * size_of::<T>()).div_ceil(64);
        if scratch.len() < lines {
            scratch.resize(lines, CacheLine([0; 64]));
        }
        work(scratch.as_mut_ptr().cast())
    })
}

/// A slab of a page, or all of it, in the inner sweep. Built only with planes, operands and scratch of the plan's sizes.
pub struct PageSweep<'a, T: SimdReal> {
    pub(crate) kinetic: &'a Kinetic<T>,
    /// Whole lines of all axes that the sweep does.
    pub(crate) planes: Planes<T>,
    pub(crate) opening: Option<(&'a LocalPlan<T>, Operands<T>)>,
    pub(crate) scratch: *mut T,
    pub(crate) probe: &'a Probe,
}

impl<T: Real> Kernel<T> for PageSweep<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let PageSweep { kinetic, planes, opening, scratch, probe } = self;
        let block = kinetic.block_rows();
        let blocks = planes.len / block;
        let start = probe.now();
        let (mut local, mut sampled) = (0, 0);
        // SAFETY: the scratch holds `block` rows and the buffer of the hungriest axis, see `size_scratch`; a batch
        // is inside the slab.
        unsafe {
            for first in (0..blocks).step_by(V::N) {
                let n = V::N.min(blocks - first);
                let nodes = planes.offset(first * block);
                // Every eighth batch is timed, the first always.
                let timed = probe.counter.is_some() && first % (8 * V::N) == 0;
                let before = if timed { probe.now() } else { 0 };
                if let Some((plan, operands)) = opening {
                    let operands = operands.offset(first * block);
                    V::call(LocalRun { plan, src: nodes, dst: nodes, operands, len: n * block });
                }
                if timed {
                    local += probe.since(before);
                }
                block_axes::<V, FLOW>(kinetic, nodes, n, scratch);
                if timed {
                    sampled += probe.since(before);
                }
            }
            let inner = probe.since(start);
            page_axes::<V, FLOW>(&kinetic.axes[kinetic.split.0..kinetic.split.1], planes, scratch);
            if sampled > 0 {
                let local = (inner as f64 * local as f64 / sampled as f64) as u64;
                probe.record(local, probe.since(start).saturating_sub(local));
            }
        }
    }
}

/// The trailing axes of `n ≤ N` blocks of contiguous nodes, through a transposed copy.
///
/// # Safety
/// The blocks are inside the page, the scratch is as [`Kinetic::size_scratch`] sizes it, the caller owns both.
#[inline(always)]
unsafe fn block_axes<V: Lanes, const PASS: u8>(
    kinetic: &Kinetic<V::T>,
    nodes: Planes<V::T>,
    n: usize,
    scratch: *mut V::T,
) {
    let block = kinetic.block_rows();
    if block == 1 {
        return;
    }
    let step = row_step(block, V::N, V::N);
    // SAFETY: says the caller.
    unsafe {
        let rows = Planes { re: scratch, im: scratch.add(V::N), len: block * step };
        V::call(Transpose::<V::T, true> { page: nodes, rows, block, step, n });
        let axes = &kinetic.axes[kinetic.split.1..];
        run_axes::<V, PASS>(axes, rows, (block, 1), step, V::N, scratch.add(block * step));
        V::call(Transpose::<V::T, false> { page: nodes, rows, block, step, n });
    }
}

/// All axes inside a page, one way.
///
/// # Safety
/// The caller owns the page and scratch as [`Kinetic::size_scratch`] sizes it.
#[inline(always)]
pub(crate) unsafe fn page_transform<V: Lanes, const PASS: u8>(
    kinetic: &Kinetic<V::T>,
    planes: Planes<V::T>,
    scratch: *mut V::T,
) {
    let block = kinetic.block_rows();
    let n_blocks = planes.len / block;
    // SAFETY: says the caller.
    unsafe {
        for first in (0..n_blocks).step_by(V::N) {
            let n = V::N.min(n_blocks - first);
            block_axes::<V, PASS>(kinetic, planes.offset(first * block), n, scratch);
        }
        page_axes::<V, PASS>(&kinetic.axes[kinetic.split.0..kinetic.split.1], planes, scratch);
    }
}

/// Neighbouring columns of the outer sweep, batch by batch. Built only with sizes that agree with the plan.
pub struct OuterBatch<'a, T: SimdReal> {
    pub(crate) kinetic: &'a Kinetic<T>,
    pub(crate) planes: &'a [Planes<T>],
    pub(crate) operands: &'a [Operands<T>],
    pub(crate) closing: &'a LocalPlan<T>,
    /// Nodes from one row to the next.
    pub(crate) run: usize,
    pub(crate) columns: Range<usize>,
    pub(crate) scratch: *mut T,
    pub(crate) probe: &'a Probe,
}

impl<T: Real> Kernel<T> for OuterBatch<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let OuterBatch { kinetic, planes, operands, closing, run, columns, scratch, probe } = self;
        let rows = kinetic.outer_rows();
        let width = kinetic.batch_lanes;
        let step = row_step(rows, width, V::N);
        let table = RowTable { planes, run, page_nodes: kinetic.shape.page_nodes };
        for first in columns.clone().step_by(width) {
            let start = probe.now();
            let lanes = width.min(columns.end - first);
            let ahead = width.min(columns.end - first - lanes);
            // SAFETY: rows lie inside pages, because `run` divides the page; the scratch holds `rows` rows and the
            // buffer; the columns of different chunks are disjoint.
            unsafe {
                let batch = Planes { re: scratch, im: scratch.add(width), len: rows * step };
                if rows > 1 {
                    let axes = &kinetic.axes[..kinetic.split.0];
                    let whole = lanes.next_multiple_of(V::N);
                    let buffer = scratch.add(rows * step);
                    match axes {
                        // The first pass over a batch fetches it, where a row follows the other in one page.
                        [rest @ .., major, minor]
                            if let (Scheme::Ring { b: c }, Scheme::Ring { b }) =
                                (&major.scheme, &minor.scheme)
                                && planes.len() == 1
                                && lanes >= V::N =>
                        {
                            let (from, b) = (table.at(0, first), [*b, *c]);
                            V::call(FetchRings { from, run, batch, step, rows, lanes, b });
                            if let [Axis { scheme: Scheme::Ring { b }, .. }] = rest
                                && RingRun::is_possible(closing)
                            {
                                let middle = probe.now();
                                let operands = table.operands(operands, 0, first);
                                let (batch, page) = ((batch, step), (from, run));
                                let b = *b;
                                V::call(RingRun { plan: closing, operands, batch, page, rows, lanes, b });
                                probe.record(probe.since(middle), middle.saturating_sub(start));
                                continue;
                            }
                            run_axes::<V, FLOW>(rest, batch, (rows, 9), step, whole, buffer);
                        }
                        _ => {
                            V::call(Exchange::<T, true> { table, rows, first, lanes, batch, step });
                            run_axes::<V, FLOW>(axes, batch, (rows, 1), step, whole, buffer);
                        }
                    }
                }
                let middle = probe.now();
                for row in 0..rows {
                    let (dst, own) = (table.at(row, first), table.operands(operands, row, first));
                    if ahead > 0 {
                        table.operands(operands, row, first + lanes).prefetch::<V>(ahead);
                        table.at(row, first + lanes).prefetch::<V>(ahead);
                    }
                    let src = if rows > 1 { batch.offset(row * step) } else { dst };
                    V::call(LocalRun { plan: closing, src, dst, operands: own, len: lanes });
                }
                probe.record(probe.since(middle), middle.saturating_sub(start));
            }
        }
    }
}

/// Where the rows of the outer sweep are.
#[derive(Clone, Copy)]
pub(crate) struct RowTable<'a, T> {
    pub planes: &'a [Planes<T>],
    /// Nodes from one row to the next.
    pub run: usize,
    pub page_nodes: usize,
}

impl<T: Real> RowTable<'_, T> {
    /// Page of row `row`, column `first`, and the node there.
    #[inline(always)]
    fn node(&self, row: usize, first: usize) -> (usize, usize) {
        let node = row * self.run + first;
        (node / self.page_nodes, node % self.page_nodes)
    }

    /// Row `row` from column `first` on.
    #[inline(always)]
    pub fn at(&self, row: usize, first: usize) -> Planes<T> {
        let (page, at) = self.node(row, first);
        // SAFETY: `at` is inside the page.
        unsafe { self.planes[page].offset(at) }
    }

    /// The operands of that row, given those of all pages.
    #[inline(always)]
    fn operands(&self, operands: &[Operands<T>], row: usize, first: usize) -> Operands<T> {
        let (page, at) = self.node(row, first);
        // SAFETY: `at` is inside the page.
        unsafe { operands[page].offset(at) }
    }
}

/// Copies the columns of a batch into the scratch, or back. Built only with sizes that agree with the plan.
pub(crate) struct Exchange<'a, T, const INTO_BATCH: bool> {
    pub table: RowTable<'a, T>,
    pub rows: usize,
    pub first: usize,
    pub lanes: usize,
    pub batch: Planes<T>,
    pub step: usize,
}

impl<T: Real, const INTO_BATCH: bool> Kernel<T> for Exchange<'_, T, INTO_BATCH> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let Exchange { table, rows, first, lanes, batch, step } = self;
        for row in 0..rows {
            let page = table.at(row, first);
            for lane in (0..lanes).step_by(V::N) {
                let n = V::N.min(lanes - lane);
                // SAFETY: `lanes` columns of the row exist on both sides; the scratch has whole vectors.
                unsafe {
                    let batch = batch.offset(row * step);
                    for (page, batch) in [(page.re, batch.re), (page.im, batch.im)] {
                        if INTO_BATCH {
                            V::load_n(page.add(lane), n).store(batch.add(lane));
                        } else {
                            V::load(batch.add(lane)).store_n(page.add(lane), n);
                        }
                    }
                }
            }
        }
    }
}

/// `n` blocks of `block` contiguous nodes ↔ `block` rows of one lane per block. Built only with valid planes.
pub(crate) struct Transpose<T, const INTO_ROWS: bool> {
    pub page: Planes<T>,
    pub rows: Planes<T>,
    pub block: usize,
    pub step: usize,
    pub n: usize,
}

impl<T: Real, const INTO_ROWS: bool> Kernel<T> for Transpose<T, INTO_ROWS> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let Transpose { page, rows, block, step, n } = self;
        for (page, rows) in [(page.re, rows.re), (page.im, rows.im)] {
            for column in (0..block).step_by(V::N) {
                let width = V::N.min(block - column);
                // A last part too narrow for vectors overlaps the one before; what both write is the same.
                let part = width.max(V::N / 2).min(block);
                let (column, width) = (column + width - part, part);
                // SAFETY: `n ≤ N` blocks of `block` nodes in the page, `block` rows of N lanes in the scratch.
                unsafe {
                    let (nodes, row) = (page.add(column), rows.add(column * step));
                    if INTO_ROWS {
                        V::transpose(nodes, block, n, width, row, step, V::N);
                    } else {
                        V::transpose(row, step, width, n, nodes, block, width);
                    }
                }
            }
        }
    }
}

/// All axes of a group on `rows` rows of `lanes` lanes, minor axis first. Neighbours on the minor axis are `stride` rows
/// apart.
///
/// # Safety
/// The rows exist and are owned by the caller, as is a buffer for the hungriest axis.
#[inline(always)]
pub(crate) unsafe fn run_axes<V: Lanes, const PASS: u8>(
    axes: &[Axis<V::T>],
    planes: Planes<V::T>,
    (rows, mut stride): (usize, usize),
    step: usize,
    lanes: usize,
    buffer: *mut V::T,
) {
    let mut end = axes.len();
    while end > 0 {
        let take = ring_pair(&axes[..end]);
        let group = &axes[end - take..end];
        let extent: usize = group.iter().map(|a| a.extent).product();
        let lines = Lines {
            outer: rows / (extent * stride),
            outer_stride: extent * stride * step,
            inner: stride,
            inner_stride: step,
            step: stride * step,
            lanes,
        };
        // SAFETY: the lines cover exactly the rows.
        unsafe { run_group::<V, PASS>(group, planes, lines, buffer) };
        stride *= extent;
        end -= take;
    }
}

/// All axes of a group inside a page, minor axis first, over contiguous runs.
///
/// # Safety
/// The caller owns the page and a buffer for the hungriest axis.
#[inline(always)]
pub(crate) unsafe fn page_axes<V: Lanes, const PASS: u8>(
    axes: &[Axis<V::T>],
    planes: Planes<V::T>,
    buffer: *mut V::T,
) {
    let mut end = axes.len();
    while end > 0 {
        let take = ring_pair(&axes[..end]);
        let group = &axes[end - take..end];
        let outer_stride = group[0].extent * group[0].stride;
        let stride = group[take - 1].stride;
        let lines = Lines {
            outer: planes.len / outer_stride,
            outer_stride,
            inner: 1,
            inner_stride: 0,
            step: stride,
            lanes: stride,
        };
        // SAFETY: the lines cover exactly the page.
        unsafe { run_group::<V, PASS>(group, planes, lines, buffer) };
        end -= take;
    }
}

/// 2 if the last two axes are rings, else 1.
fn ring_pair<T: Real>(axes: &[Axis<T>]) -> usize {
    match axes {
        [.., Axis { scheme: Scheme::Ring { .. }, .. }, Axis { scheme: Scheme::Ring { .. }, .. }] => 2,
        _ => 1,
    }
}

/// # Safety
/// As [`run_axes`].
#[inline(always)]
pub(crate) unsafe fn run_group<V: Lanes, const PASS: u8>(
    group: &[Axis<V::T>],
    planes: Planes<V::T>,
    lines: Lines,
    buffer: *mut V::T,
) {
    match group {
        [Axis { scheme: Scheme::Ring { b: major }, .. }, Axis { scheme: Scheme::Ring { b: minor }, .. }] => {
            V::call(RingPass::<_, 2, PASS> { planes, lines, b: [*minor, *major] });
        }
        [Axis { scheme: Scheme::Ring { b }, .. }] => {
            V::call(RingPass::<_, 1, PASS> { planes, lines, b: [*b] })
        }
        [Axis { scheme: Scheme::Fft(plan), .. }] => {
            V::call(FftPass::<_, PASS> { planes, lines, plan, buffer })
        }
        // SAFETY: says the caller.
        [Axis { scheme: Scheme::Direct(plan), .. }] => unsafe {
            plan.run::<V::T, PASS>(planes, lines, buffer)
        },
        _ => unreachable!("groups are one axis or two rings"),
    }
}
