//! The kinetic flow exp(−iτT), T = −½ Σ_d D^{dd}∂_d², of a constant diagonal metric, axis by axis.
//!
//! Invariant: axes commute, so the order is chosen for the cache and never shows beyond rounding. Axes fall into
//! three groups, and a whole Strang step is two sweeps over memory:
//!
//! ```text
//! sweep_inner, per slab:   opening local flow → G0: trailing axes, blocks transposed into a small scratch
//!                                             → G1: the page's other axes, vertical over contiguous runs
//! sweep_outer, per batch:  gather rows → G2: axes that cross pages (or, with one page, leading ones)
//!                                             → closing local flow → scatter
//! ```
//!
//! Source: Strang 1968; each axis as in `kinetic/ring.rs` (extent 3), `kinetic/fft.rs` or `kinetic/direct.rs`; a metric
//! that varies in space in `kinetic/varying.rs`; active sets of pages in `kinetic/sparse.rs`.

#![allow(unsafe_code)] // Pages shared between chunks as raw planes.

pub(crate) mod bundle;
mod cells;
mod closing;
pub(crate) mod dft;
pub(crate) mod direct;
mod fft;
pub mod fibre;
pub mod gradient;
pub mod lattice;
pub(crate) mod lines;
pub mod order;
pub mod remainder;
mod ring;
pub(crate) mod ring3;
pub mod sparse;
pub(crate) mod sweep;
pub mod varying;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::field::{PageMut, Real, Shape, Threads, Values};
use crate::half_potential::{LocalFlow, LocalPlan, Operands, Planes, Prefactor, Time};
use crate::simd::{Level, SimdReal};
use crate::threads::for_each_chunk;
use direct::DirectPlan;
use fft::FftPlan;

#[doc(hidden)]
pub use bundle::BundlePass;
#[doc(hidden)]
pub use cells::CellPass;
#[doc(hidden)]
pub use remainder::{CombinePass, FluxPass};
#[doc(hidden)]
pub use sweep::{OuterBatch, PageSweep};

/// Kinetic term of one storage axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AxisTerm {
    /// Nodes along the axis.
    pub extent: usize,
    /// 2π/L.
    pub wavenumber_unit: f64,
    /// D^{dd} = c²·g^{dd}.
    pub diffusion: f64,
}

/// Attributes time inside fused sweeps; the default measures nothing. Times are of processors, summed, in the counter's own
/// measure: what can be read from them is a proportion.
#[derive(Debug, Default)]
pub struct Probe {
    /// A monotonic counter.
    pub counter: Option<fn() -> u64>,
    /// Time of local flows in the chunks that are looked at: every fourth of a sweep of [`Kinetic`], else all. A ring that shares
    /// its pass with the closing flow counts here.
    pub local: AtomicU64,
    /// The same of kinetic passes.
    pub kinetic: AtomicU64,
}

impl Probe {
    /// This for every fourth chunk of a sweep, and one that measures nothing for the others: the chunks are alike, and looking at
    /// a clock takes its time.
    fn sample(&self, chunk: usize) -> &Self {
        static OFF: Probe = Probe { counter: None, local: AtomicU64::new(0), kinetic: AtomicU64::new(0) };
        if chunk.is_multiple_of(4) { self } else { &OFF }
    }

    fn now(&self) -> u64 {
        self.counter.map_or(0, |counter| counter())
    }

    /// From then to now.
    fn since(&self, start: u64) -> u64 {
        self.now().saturating_sub(start)
    }

    fn record(&self, local: u64, kinetic: u64) {
        if self.counter.is_some() {
            self.local.fetch_add(local, Ordering::Relaxed);
            self.kinetic.fetch_add(kinetic, Ordering::Relaxed);
        }
    }
}

/// How one axis is propagated.
pub(crate) enum Scheme<T: SimdReal> {
    Ring { b: (T, T) },
    Fft(FftPlan<T>),
    Direct(DirectPlan),
}

pub(crate) struct Axis<T: SimdReal> {
    pub(crate) extent: usize,
    stride: usize,
    scheme: Scheme<T>,
}

impl<T: Real> Axis<T> {
    fn buffer(&self) -> usize {
        match &self.scheme {
            Scheme::Ring { .. } => 0,
            Scheme::Fft(plan) => plan.buffer(),
            Scheme::Direct(plan) => plan.buffer::<T>(),
        }
    }

    fn bytes(&self) -> usize {
        match &self.scheme {
            Scheme::Ring { .. } => 0,
            Scheme::Fft(plan) => plan.bytes(),
            Scheme::Direct(plan) => plan.bytes(),
        }
    }

    /// For each position after a forward pass, its mode (0..n) and the weight that an inverse pass leaves out.
    pub(crate) fn modes(&self) -> Vec<(usize, f64)> {
        let uniform = 1.0 / self.extent as f64;
        match &self.scheme {
            Scheme::Ring { .. } => vec![(0, 1.0 / 3.0), (1, 2.0 / 3.0), (1, 0.5)],
            Scheme::Fft(plan) => (0..self.extent).map(|position| (plan.mode(position), uniform)).collect(),
            Scheme::Direct(_) => (0..self.extent).map(|mode| (mode, uniform)).collect(),
        }
    }

    fn describe(&self) -> String {
        match &self.scheme {
            Scheme::Ring { .. } => "ring3".into(),
            Scheme::Fft(plan) => format!("fft {}", plan.describe()),
            Scheme::Direct(_) => format!("rustfft {}", self.extent),
        }
    }
}

/// A planned kinetic flow.
pub struct Kinetic<T: SimdReal> {
    pub(crate) level: Level,
    pub(crate) shape: Shape,
    time: Time,
    /// Axes of extent > 1, slowest first: G2 is `..split.0`, G1 `split.0..split.1`, G0 `split.1..`.
    pub(crate) axes: Vec<Axis<T>>,
    pub(crate) split: (usize, usize),
    /// For each storage axis, its scheme in words.
    described: Vec<String>,
    /// What the rings leave to the closing local flow.
    prefactor: Prefactor,
    /// Lanes of a batch of the outer sweep.
    pub(crate) batch_lanes: usize,
    /// Scalars of scratch per thread.
    pub(crate) scratch: usize,
}

/// Trailing axes are gathered up to this many rows of a transposed block, so that it stays in the first-level cache.
const BLOCK_ROWS: usize = 96;
/// With one page, leading axes are left to the outer sweep up to this many rows.
const LEADING_ROWS: usize = 32;
/// Bytes of an outer batch, so that it stays in the second-level cache.
const BATCH_BYTES: usize = 192 << 10;
/// Vectors per row of an outer batch, at most: two to four cache lines in a row keep the memory's pages open.
const BATCH_VECTORS: usize = 4;
/// Batches of a chunk of the outer sweep, at most; and chunks per sweep, at least, where there are batches enough.
const CHUNK_BATCHES: usize = 16;
const MIN_CHUNKS: usize = 16;
/// Blocks of a slab where nothing couples them: a multiple of every vector's lanes.
const SLAB_BLOCKS: usize = 32;
/// Slabs into which one page is cut, at least, where its lines allow.
const MIN_SLABS: usize = 4;
/// Fewer lines than this along an axis, and lanes are not worth filling.
const MIN_LINES: usize = 4;

impl<T: Real> Kinetic<T> {
    /// Plans the flow over `duration`: exp(−i·duration·½ΣD k²) in real time (negative durations run backwards),
    /// exp(−duration·½ΣD k²) in imaginary time. `axes` are in storage order and agree with `shape`; panics if not.
    pub fn new(level: Level, shape: &Shape, axes: &[AxisTerm], duration: f64, time: Time) -> Self {
        assert_eq!(shape.extents.len(), axes.len(), "one kinetic term per storage axis");
        let mut prefactor = Prefactor::NONE;
        let mut described = Vec::new();
        let mut active = Vec::new();
        for (d, term) in axes.iter().enumerate() {
            assert_eq!(shape.extents[d], term.extent, "extents of shape and kinetic terms agree");
            if term.extent == 1 {
                described.push("none".to_owned());
                continue;
            }
            let scheme = plan_axis(term, shape.n_nodes() / term.extent, duration, time, &mut prefactor);
            let axis = Axis { extent: term.extent, stride: shape.stride(d), scheme };
            described.push(axis.describe());
            active.push(axis);
        }
        let mut plan = Kinetic {
            level,
            shape: shape.clone(),
            time,
            split: split(shape, &active),
            axes: active,
            described,
            prefactor,
            batch_lanes: 0,
            scratch: 0,
        };
        plan.size_scratch();
        plan
    }

    fn size_scratch(&mut self) {
        let lanes = 64 / T::BYTES;
        let rows = self.outer_rows();
        let vectors = (BATCH_BYTES / (rows * 2 * 64)).clamp(1, BATCH_VECTORS);
        self.batch_lanes = lanes * vectors;
        let outer = self.outer_batch_scalars();
        let inner = self.block_rows() * sweep::row_step(self.block_rows(), lanes, lanes);
        let buffer = self.axes.iter().map(Axis::buffer).max().unwrap_or(0);
        self.scratch = outer.max(inner) + buffer;
    }

    /// Scalars of one gathered batch of the outer sweep.
    pub(crate) fn outer_batch_scalars(&self) -> usize {
        let rows = self.outer_rows();
        rows * sweep::row_step(rows, self.batch_lanes, 64 / T::BYTES)
    }

    /// Rows of a transposed block: the product of the extents of G0.
    fn block_rows(&self) -> usize {
        self.axes[self.split.1..].iter().map(|a| a.extent).product()
    }

    /// Rows of an outer batch: the product of the extents of G2.
    pub(crate) fn outer_rows(&self) -> usize {
        self.axes[..self.split.0].iter().map(|a| a.extent).product()
    }

    /// Opening local flow, then the axes inside a page. Panics if pages, shape and flow disagree.
    pub fn sweep_inner(
        &self,
        threads: Threads<'_>,
        pages: &mut [PageMut<'_, T>],
        opening: Option<&LocalFlow<'_, T>>,
        probe: &Probe,
    ) {
        let planes = self.planes(pages);
        let page_nodes = self.shape.page_nodes;
        let opening = opening.map(|flow| (LocalPlan::new(flow, Prefactor::NONE), flow));
        let slab = self.slab_nodes();
        let n_slabs = page_nodes.div_ceil(slab);
        for_each_chunk(threads, planes.len() * n_slabs, |chunk| {
            let (p, first) = (chunk / n_slabs, chunk % n_slabs * slab);
            let opening = opening.as_ref().map(|(plan, flow)| (plan, Operands::of(flow, p, page_nodes)));
            // SAFETY: a slab begins inside its page.
            let (planes, opening) = unsafe {
                let planes = Planes { len: slab.min(page_nodes - first), ..planes[p].offset(first) };
                (planes, opening.map(|(plan, operands)| (plan, operands.offset(first))))
            };
            let probe = probe.sample(chunk);
            sweep::with_scratch(self.scratch, |scratch| {
                T::page_sweep(self.level, PageSweep { kinetic: self, planes, opening, scratch, probe });
            });
        });
    }

    /// Nodes of a slab of the inner sweep: whole lines of all its axes. Among several pages, a page.
    fn slab_nodes(&self) -> usize {
        let (page, block) = (self.shape.page_nodes, self.block_rows());
        let line = match &self.axes[self.split.0..self.split.1] {
            _ if self.shape.n_pages() > 1 => return page,
            [] => return page.min(block * SLAB_BLOCKS),
            [outermost, ..] => outermost.extent * outermost.stride,
        };
        // Of the widths that make slabs enough, the one whose blocks fill the widest vectors best.
        let blocks = line / block;
        let fill = |width: usize| (width * blocks) as f64 / (width * blocks).next_multiple_of(16) as f64;
        let widths = 1..=(page / line).div_ceil(MIN_SLABS);
        line * widths.reduce(|best, width| if fill(width) > fill(best) { width } else { best }).unwrap_or(1)
    }

    /// Axes that cross pages, then the closing local flow. Panics if pages, shape and flow disagree.
    pub fn sweep_outer(
        &self,
        threads: Threads<'_>,
        pages: &mut [PageMut<'_, T>],
        closing: Option<&LocalFlow<'_, T>>,
        probe: &Probe,
    ) {
        let planes = self.planes(pages);
        // Without a closing flow, a flow of no duration still applies what the rings left over.
        let bare = LocalFlow {
            duration: 0.0,
            potential: Values::Uniform(T::default()),
            damping: Values::Uniform(T::default()),
            beta: 0.0,
            time: self.time,
            gain: 0.0,
        };
        let flow = match closing {
            None if self.split.0 == 0 && self.prefactor == Prefactor::NONE => return,
            None => &bare,
            Some(flow) => flow,
        };
        let alike = matches!(flow.time, Time::Real) == matches!(self.time, Time::Real);
        assert!(alike, "kinetic and local flow run in the same time");
        let plan = LocalPlan::new(flow, self.prefactor);
        let operands: Vec<_> =
            (0..planes.len()).map(|p| Operands::of(flow, p, self.shape.page_nodes)).collect();
        let run = self.shape.n_nodes() / self.outer_rows();
        self.for_each_columns(threads, run, |chunk, columns| {
            let (planes, operands, closing) = (&planes[..], &operands[..], &plan);
            let probe = probe.sample(chunk);
            sweep::with_scratch(self.scratch, |scratch| {
                let batch =
                    OuterBatch { kinetic: self, planes, operands, closing, run, columns, scratch, probe };
                T::outer_batch(self.level, batch);
            });
        });
    }

    /// Cuts the `run` columns of the outer sweep into chunks of whole batches.
    pub(crate) fn for_each_columns(
        &self,
        threads: Threads<'_>,
        run: usize,
        work: impl Fn(usize, core::ops::Range<usize>) + Sync,
    ) {
        // Chunks of several batches, so that each batch can fetch ahead for the next.
        let columns =
            self.batch_lanes * CHUNK_BATCHES.min(run.div_ceil(self.batch_lanes * MIN_CHUNKS)).max(1);
        for_each_chunk(threads, run.div_ceil(columns), |chunk| {
            work(chunk, chunk * columns..run.min((chunk + 1) * columns));
        });
    }

    pub(crate) fn planes(&self, pages: &mut [PageMut<'_, T>]) -> Vec<Planes<T>> {
        assert_eq!(pages.len(), self.shape.n_pages(), "as many pages as the shape has");
        assert!(
            pages.iter().all(|page| page.re.len() == self.shape.page_nodes),
            "pages of the shape's length"
        );
        pages.iter_mut().map(Planes::of).collect()
    }

    /// Which scheme each storage axis runs: "ring3", "fft 3·9", "rustfft 101", or "none" for extent 1.
    pub fn describe(&self) -> Vec<String> {
        self.described.clone()
    }

    /// Bytes of tables, and of scratch on one thread.
    pub fn bytes(&self) -> usize {
        self.axes.iter().map(Axis::bytes).sum::<usize>() + self.scratch * T::BYTES
    }
}

/// e^{−iθ} − 1 in real, e^{−θ} − 1 in imaginary time, without cancellation.
fn increment(theta: f64, time: Time) -> (f64, f64) {
    match time {
        Time::Real => {
            let (sin, cos) = libm::sincos(0.5 * theta);
            (-2.0 * sin * sin, -2.0 * sin * cos)
        }
        Time::Imaginary { .. } => (libm::expm1(-theta), 0.0),
    }
}

impl AxisTerm {
    /// ½·duration·D·k² of a mode in 0..extent: the angle by which it turns, or its decay in imaginary time.
    fn exponent(&self, mode: usize, duration: f64) -> f64 {
        let n = self.extent;
        let signed = if 2 * mode > n { mode as f64 - n as f64 } else { mode as f64 };
        let k = signed * self.wavenumber_unit;
        0.5 * duration * self.diffusion * k * k
    }

    /// The factor (re, im) of a mode in 0..extent over `duration`.
    pub fn phase(&self, mode: usize, duration: f64, time: Time) -> (f64, f64) {
        let exponent = self.exponent(mode, duration);
        match time {
            Time::Real => (libm::cos(exponent), -libm::sin(exponent)),
            Time::Imaginary { .. } => (libm::exp(-exponent), 0.0),
        }
    }

    /// Coefficients h of the axis as a circulant sum, y_j = x_j + Σ_d h_d x_{j−d}: the inverse transform of phase − 1.
    pub fn circulant(&self, duration: f64, time: Time) -> Vec<(f64, f64)> {
        let n = self.extent;
        let phases: Vec<(f64, f64)> =
            (0..n).map(|mode| increment(self.exponent(mode, duration), time)).collect();
        let turn: Vec<(f64, f64)> = (0..n)
            .map(|k| {
                let (sin, cos) = libm::sincos(core::f64::consts::TAU * k as f64 / n as f64);
                (cos / n as f64, sin / n as f64)
            })
            .collect();
        let coefficient = |d: usize| {
            phases.iter().enumerate().fold((0.0, 0.0), |sum, (mode, phase)| {
                let w = turn[mode * d % n];
                (sum.0 + phase.0 * w.0 - phase.1 * w.1, sum.1 + phase.0 * w.1 + phase.1 * w.0)
            })
        };
        (0..n).map(coefficient).collect()
    }

    /// Extent 3 as a ring: the coefficient b of y_j = x_j + b·S; what is left over goes to `prefactor`.
    pub fn ring(&self, duration: f64, time: Time, prefactor: &mut Prefactor) -> (f64, f64) {
        let theta = self.exponent(1, duration);
        match time {
            Time::Real => {
                prefactor.angle -= theta;
                let half = libm::sin(0.5 * theta);
                (-2.0 * half * half / 3.0, libm::sin(theta) / 3.0)
            }
            Time::Imaginary { .. } => {
                prefactor.scale *= libm::exp(-theta);
                (libm::expm1(theta) / 3.0, 0.0)
            }
        }
    }
}

/// Chooses the scheme of one axis, and adds what a ring leaves over to `prefactor`.
fn plan_axis<T: Real>(
    term: &AxisTerm,
    n_lines: usize,
    duration: f64,
    time: Time,
    prefactor: &mut Prefactor,
) -> Scheme<T> {
    let n = term.extent;
    if n == 3 && n_lines >= MIN_LINES {
        let (re, im) = term.ring(duration, time, prefactor);
        // The ring's sum has the factor 1 + 3b.
        let [re, im] = match time {
            Time::Real => fft::rounded(3, (3.0 * re, 3.0 * im)),
            Time::Imaginary { .. } => [re, im].map(T::from_f64),
        };
        return Scheme::Ring { b: (re, im) };
    }
    let increment = |mode: usize| increment(term.exponent(mode, duration), time);
    match FftPlan::flow(n, time, increment).filter(|_| n_lines >= MIN_LINES) {
        Some(plan) => Scheme::Fft(plan),
        None => Scheme::Direct(DirectPlan::new(1.0, &(0..n).map(increment).collect::<Vec<_>>())),
    }
}

/// Cuts the active axes into (G2, G1, G0), see the module.
fn split<T: Real>(shape: &Shape, axes: &[Axis<T>]) -> (usize, usize) {
    let crossing = axes.iter().filter(|a| a.extent * a.stride > shape.page_nodes).count();
    let mut inner = axes.len();
    let mut rows = 1;
    while inner > crossing {
        let grown = rows * axes[inner - 1].extent;
        if rows >= 16 && grown > BLOCK_ROWS {
            break;
        }
        rows = grown;
        inner -= 1;
    }
    let mut outer = crossing;
    if shape.n_pages() == 1 {
        let mut rows = 1;
        while outer < inner && (rows == 1 || rows * axes[outer].extent <= LEADING_ROWS) {
            rows *= axes[outer].extent;
            outer += 1;
        }
    }
    (outer, inner)
}

#[cfg(test)]
pub(crate) mod tests;
