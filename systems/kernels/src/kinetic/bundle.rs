//! Lines of one axis, bundled where neighbours share a propagator, and the passes over them.
//!
//! Invariant: every node of the torus is in exactly one bundle, a row of a bundle lies in one page, and bundles are cut
//! by the data's shape alone. A bundle is `extent` rows of `lanes` contiguous nodes, one row every `stride` nodes.
//! Source: the usual loop nest over one dimension of a row-major array; three-node lines in [`super::ring3`].

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use core::ops::Range;

use super::Axis;
use super::dft::Complex;
use super::fibre::{FIBRE_NODES_MAX, Fibre, FibrePass};
use super::lines::{FLOW, Lines};
use super::sweep::{run_group, with_scratch};
use crate::field::{Real, Shape, Threads};
use crate::half_potential::Planes;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::for_each_chunk;

/// Vectors per row of a bundle, at most.
const BUNDLE_VECTORS: usize = 4;
/// Bundles that one thread takes at a time, and at least as many nodes.
const CHUNK_BUNDLES: usize = 64;
/// See [`CHUNK_BUNDLES`].
const CHUNK_NODES: usize = 4096;
/// With fewer lanes, a dense line fills its vectors with its own nodes.
const LANES_MIN: usize = 4;

/// Nodes of a block of three-node lines whose nodes are closer than a vector is long.
const PERIOD_MAX: usize = 48;

/// Neighbouring lines with one propagator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bundle {
    /// First node of the first row, counted over all pages.
    node: usize,
    lanes: u32,
    /// Entry of the axis' table.
    entry: u32,
}

/// What the lines of an axis are multiplied with.
pub(crate) enum Table<T: SimdReal> {
    /// Three nodes: complex weights of the edges (0,1), (1,2), (2,0).
    Rings(Vec<[T; 6]>),
    /// Dense increments.
    Dense(Vec<Fibre<T>>),
    /// Transforms with a phase of their own.
    Transforms(Vec<Axis<T>>),
    /// Three nodes: the derivative, κ(Ψ_{j+1} − Ψ_{j−1}).
    Slope(T),
}

/// One pass over the lines of an axis.
pub(crate) struct AxisPass<T: SimdReal> {
    extent: usize,
    stride: usize,
    page_nodes: usize,
    bundles: Vec<Bundle>,
    pub table: Table<T>,
}

impl<T: Real> AxisPass<T> {
    /// Bundles the lines of storage axis `axis`; line `l`, in the order of first nodes, uses entry `entry(l)`.
    pub fn new(shape: &Shape, axis: usize, table: Table<T>, entry: impl Fn(usize) -> u32) -> Self {
        let (extent, stride, page_nodes) = (shape.extents[axis], shape.stride(axis), shape.page_nodes);
        let lanes_max = (BUNDLE_VECTORS * 64 / T::BYTES) as u32;
        let mut bundles: Vec<Bundle> = Vec::new();
        for line in 0..shape.n_nodes() / extent {
            let node = line / stride * extent * stride + line % stride;
            let entry = entry(line);
            match bundles.last_mut() {
                Some(last)
                    if last.entry == entry
                        && last.node + last.lanes as usize == node
                        && !line.is_multiple_of(stride)
                        && !node.is_multiple_of(page_nodes)
                        && last.lanes < lanes_max =>
                {
                    last.lanes += 1;
                }
                _ => bundles.push(Bundle { node, lanes: 1, entry }),
            }
        }
        AxisPass { extent, stride, page_nodes, bundles, table }
    }

    /// Which entry of the table each line uses, in the order of first nodes.
    pub fn entries(&self) -> Vec<u32> {
        let n_lines = self.bundles.iter().map(|bundle| bundle.lanes as usize).sum();
        let mut entries = vec![0; n_lines];
        for bundle in &self.bundles {
            for node in bundle.node..bundle.node + bundle.lanes as usize {
                entries[node / (self.extent * self.stride) * self.stride + node % self.stride] = bundle.entry;
            }
        }
        entries
    }

    /// Bytes of tables and bundles.
    pub fn bytes(&self) -> usize {
        let table: usize = match &self.table {
            Table::Rings(weights) => weights.len() * 6 * T::BYTES,
            Table::Dense(fibres) => fibres.iter().map(Fibre::bytes).sum(),
            Table::Transforms(axes) => axes.iter().map(Axis::bytes).sum(),
            Table::Slope(_) => T::BYTES,
        };
        table + self.bundles.len() * size_of::<Bundle>()
    }

    fn scratch(&self) -> usize {
        match &self.table {
            Table::Rings(_) | Table::Slope(_) => 0,
            Table::Dense(fibres) => fibres.iter().map(Fibre::scratch).max().unwrap_or(0),
            Table::Transforms(axes) => {
                let buffer = axes.iter().map(Axis::buffer).max().unwrap_or(0);
                2 * self.extent * BUNDLE_VECTORS * 64 / T::BYTES + buffer
            }
        }
    }

    /// Runs the pass over all pages.
    pub fn run(&self, level: Level, threads: Threads<'_>, planes: &[Planes<T>]) {
        self.run_to(level, threads, planes, planes, false);
    }

    /// Runs the pass from `planes` to the pages `to`, or adds what it gives to them. Only three-node lines can leave the
    /// place they are in.
    pub fn run_to(
        &self,
        level: Level,
        threads: Threads<'_>,
        planes: &[Planes<T>],
        to: &[Planes<T>],
        adds: bool,
    ) {
        let in_chunk = CHUNK_BUNDLES.max(CHUNK_NODES.div_ceil(self.block_nodes()));
        let n_chunks = self.bundles.len().div_ceil(in_chunk);
        for_each_chunk(threads, n_chunks, |chunk| {
            let bundles = chunk * in_chunk..self.bundles.len().min((chunk + 1) * in_chunk);
            self.run_bundles(level, (planes, to), adds, bundles);
        });
    }

    /// Runs the pass over the lines whose first nodes are in `nodes`, on the calling thread.
    pub fn run_on(&self, level: Level, planes: &[Planes<T>], nodes: Range<usize>) {
        let bundle = |node: usize| self.bundles.partition_point(|bundle| bundle.node < node);
        self.run_bundles(level, (planes, planes), false, bundle(nodes.start)..bundle(nodes.end));
    }

    fn run_bundles(
        &self,
        level: Level,
        (planes, to): (&[Planes<T>], &[Planes<T>]),
        adds: bool,
        bundles: Range<usize>,
    ) {
        with_scratch(self.scratch(), |scratch| {
            T::bundle_pass(level, BundlePass { axis: self, planes, to, adds, bundles, scratch });
        });
    }

    /// Whether the lines have three nodes and one derivative.
    pub fn is_slope(&self) -> bool {
        matches!(self.table, Table::Slope(_))
    }

    /// Nodes of the block that all lines of one outer index fill.
    pub fn block_nodes(&self) -> usize {
        self.stride * self.extent
    }
}

/// Some bundles of an axis. Built only with the planes of the axis' shape and its scratch.
pub struct BundlePass<'a, T: SimdReal> {
    axis: &'a AxisPass<T>,
    planes: &'a [Planes<T>],
    to: &'a [Planes<T>],
    adds: bool,
    bundles: Range<usize>,
    scratch: *mut T,
}

impl<T: Real> Kernel<T> for BundlePass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let bundles = &self.axis.bundles[self.bundles.clone()];
        // SAFETY: bundles are disjoint, their rows lie in their pages, here and where the pass goes to, and this chunk owns
        // them; the scratch is the pass'.
        unsafe {
            match &self.axis.table {
                Table::Rings(weights) => {
                    for bundle in bundles {
                        let [a, b, c, d, e, f] = weights[bundle.entry as usize];
                        let splat = <V::Narrow as Lanes>::splat;
                        let edges = [(splat(a), splat(b)), (splat(c), splat(d)), (splat(e), splat(f))];
                        self.rings::<V::Narrow, false>(bundle, Couple { edges });
                    }
                }
                Table::Slope(slope) => {
                    let is_thin = self.axis.stride < V::N && !core::ptr::eq(self.planes, self.to);
                    match (is_thin, self.adds) {
                        (true, false) => self.thin_slopes::<V, false>(*slope),
                        (true, true) => self.thin_slopes::<V, true>(*slope),
                        (false, adds) => {
                            let map = Differences { slope: <V::Narrow as Lanes>::splat(*slope) };
                            for bundle in bundles {
                                if adds {
                                    self.rings::<V::Narrow, true>(bundle, map);
                                } else {
                                    self.rings::<V::Narrow, false>(bundle, map);
                                }
                            }
                        }
                    }
                }
                Table::Dense(fibres) => {
                    let mut rows = [Planes { re: core::ptr::null_mut(), im: core::ptr::null_mut(), len: 0 };
                        FIBRE_NODES_MAX];
                    for bundle in bundles {
                        for (k, row) in rows[..self.axis.extent].iter_mut().enumerate() {
                            *row = self.row(bundle, k);
                        }
                        let fibre = &fibres[bundle.entry as usize];
                        let (rows, lanes) = (&rows[..self.axis.extent], bundle.lanes as usize);
                        let pass = FibrePass { fibre, rows, lanes, shift: 0, scratch: self.scratch };
                        if lanes < LANES_MIN { pass.by_nodes::<V>() } else { pass.by_lanes::<V>() }
                    }
                }
                Table::Transforms(axes) => {
                    for bundle in bundles {
                        self.transform::<V>(bundle, &axes[bundle.entry as usize]);
                    }
                }
            }
        }
    }
}

impl<T: Real> BundlePass<'_, T> {
    /// Row `k` of a bundle.
    ///
    /// # Safety
    /// `k` is below the extent.
    #[inline(always)]
    unsafe fn row(&self, bundle: &Bundle, k: usize) -> Planes<T> {
        // SAFETY: says the caller.
        unsafe { self.row_of(self.planes, bundle, k) }
    }

    /// Row `k` of a bundle in `planes`.
    ///
    /// # Safety
    /// `k` is below the extent, the planes are of the axis' shape.
    #[inline(always)]
    unsafe fn row_of(&self, planes: &[Planes<T>], bundle: &Bundle, k: usize) -> Planes<T> {
        let node = bundle.node + k * self.axis.stride;
        // SAFETY: the node exists.
        unsafe {
            match planes {
                [page] => page.offset(node),
                pages => pages.get_unchecked(node / self.axis.page_nodes).offset(node % self.axis.page_nodes),
            }
        }
    }

    /// Three-node lines through `map`, stored or added where the pass goes to.
    ///
    /// # Safety
    /// The axis has extent 3 and the caller owns the bundle.
    #[inline(always)]
    unsafe fn rings<V: Lanes<T = T>, const ADDS: bool>(&self, bundle: &Bundle, map: impl OnRing<V>) {
        let lanes = bundle.lanes as usize;
        // SAFETY: the extent is 3 and rows have `lanes` nodes; no vector begins behind `lanes − N`.
        unsafe {
            let rows = [self.row(bundle, 0), self.row(bundle, 1), self.row(bundle, 2)];
            let to = [0, 1, 2].map(|k| self.row_of(self.to, bundle, k));
            if lanes < V::N {
                let x = [
                    load_n::<V>(rows[0], 0, lanes),
                    load_n::<V>(rows[1], 0, lanes),
                    load_n::<V>(rows[2], 0, lanes),
                ];
                let [mut a, mut b, mut c] = map.on(x);
                if ADDS {
                    a = a.add(load_n::<V>(to[0], 0, lanes));
                    b = b.add(load_n::<V>(to[1], 0, lanes));
                    c = c.add(load_n::<V>(to[2], 0, lanes));
                }
                store_n(to[0], 0, lanes, a);
                store_n(to[1], 0, lanes, b);
                store_n(to[2], 0, lanes, c);
                return;
            }
            // The last vector overlaps the one before: it is computed first, from what is still untouched, and stored last.
            // Masked vectors would cost more than all others together.
            let last = ring_at::<V, ADDS>(&rows, &to, lanes - V::N, map);
            let mut lane = 0;
            while lane + V::N < lanes {
                store_ring(&to, lane, ring_at::<V, ADDS>(&rows, &to, lane, map));
                lane += V::N;
            }
            store_ring(&to, lanes - V::N, last);
        }
    }

    /// κ(Ψ_{j+1} − Ψ_{j−1}) along lines whose nodes are closer than a vector is long: every node reads all four places where
    /// its neighbours can be, and a factor of 1 or 0 keeps the two that are its own.
    ///
    /// # Safety
    /// The axis has extent 3, the pass goes elsewhere and the caller owns the bundles.
    #[inline(always)]
    unsafe fn thin_slopes<V: Lanes<T = T>, const ADDS: bool>(&self, slope: T) {
        let (stride, page_nodes) = (self.axis.stride, self.axis.page_nodes);
        let period = 3 * stride;
        let bundles = &self.axis.bundles[self.bundles.clone()];
        let (Some(first), Some(last)) = (bundles.first(), bundles.last()) else { return };
        let (zero, one) = (T::default(), T::from_f64(1.0));
        // For nodes 0 and on of a block: whether the next node is up, or the first; the one before down, or the last.
        let mut keeps = [[zero; PERIOD_MAX + 16]; 4];
        for k in 0..period + V::N {
            let coordinate = k % period / stride;
            keeps[0][k] = if coordinate < 2 { one } else { zero };
            keeps[1][k] = if coordinate == 2 { one } else { zero };
            keeps[2][k] = if coordinate > 0 { one } else { zero };
            keeps[3][k] = if coordinate == 0 { one } else { zero };
        }
        let end = last.node + period;
        let mut at = first.node;
        while at < end {
            let page = at / page_nodes;
            let (mut node, stop) = (at % page_nodes, page_nodes.min(end - page * page_nodes));
            at = page * page_nodes + stop;
            let (from, to) = (self.planes[page], self.to[page]);
            // SAFETY: vectors stay inside the page, single nodes inside their block.
            unsafe {
                let one_node = |node: usize| {
                    let coordinate = node / stride % 3;
                    let first = node - coordinate * stride;
                    let (up, down) =
                        (first + (coordinate + 1) % 3 * stride, first + (coordinate + 2) % 3 * stride);
                    for (from, to) in [(from.re, to.re), (from.im, to.im)] {
                        // In double precision and rounded after each step: the bits of the vectors.
                        let apart = T::from_f64((*from.add(up)).to_f64() - (*from.add(down)).to_f64());
                        let y = T::from_f64(apart.to_f64() * slope.to_f64());
                        let to = to.add(node);
                        *to = if ADDS { T::from_f64(y.to_f64() + (*to).to_f64()) } else { y };
                    }
                };
                while node < stop && node < 2 * stride {
                    one_node(node);
                    node += 1;
                }
                let factor = V::splat(slope);
                while node + V::N + 2 * stride <= stop {
                    let phase = node % period;
                    let [a, b, c, d] = &keeps;
                    let (a, b) = (V::load(a.as_ptr().add(phase)), V::load(b.as_ptr().add(phase)));
                    let (c, d) = (V::load(c.as_ptr().add(phase)), V::load(d.as_ptr().add(phase)));
                    for (from, to) in [(from.re, to.re), (from.im, to.im)] {
                        let up = V::load(from.add(node + stride)).mul(a);
                        let up = V::load(from.add(node - 2 * stride)).mul_add(b, up);
                        let apart = V::load(from.add(node - stride)).neg_mul_add(c, up);
                        let apart = V::load(from.add(node + 2 * stride)).neg_mul_add(d, apart);
                        let to = to.add(node);
                        let y = apart.mul(factor);
                        (if ADDS { y.add(V::load(to)) } else { y }).store(to);
                    }
                    node += V::N;
                }
                while node < stop {
                    one_node(node);
                    node += 1;
                }
            }
        }
    }

    /// Gathers a bundle, transforms it, scatters it.
    ///
    /// # Safety
    /// The caller owns the bundle; the scratch is the pass'.
    #[inline(always)]
    unsafe fn transform<V: Lanes<T = T>>(&self, bundle: &Bundle, axis: &Axis<T>) {
        let (extent, lanes) = (self.axis.extent, bundle.lanes as usize);
        let width = lanes.next_multiple_of(V::N);
        // SAFETY: `width` is at most BUNDLE_VECTORS vectors; rows have `lanes` nodes.
        unsafe {
            let batch = Planes { re: self.scratch, im: self.scratch.add(width), len: 2 * extent * width };
            let buffer = self.scratch.add(2 * extent * width);
            for k in 0..extent {
                let (row, to) = (self.row(bundle, k), batch.offset(2 * k * width));
                for lane in (0..lanes).step_by(V::N) {
                    let n = V::N.min(lanes - lane);
                    V::load_n(row.re.add(lane), n).store(to.re.add(lane));
                    V::load_n(row.im.add(lane), n).store(to.im.add(lane));
                }
            }
            let lines =
                Lines { outer: 1, outer_stride: 0, inner: 1, inner_stride: 0, step: 2 * width, lanes: width };
            run_group::<V, FLOW>(core::slice::from_ref(axis), batch, lines, buffer);
            for k in 0..extent {
                let (row, from) = (self.row(bundle, k), batch.offset(2 * k * width));
                for lane in (0..lanes).step_by(V::N) {
                    let n = V::N.min(lanes - lane);
                    V::load(from.re.add(lane)).store_n(row.re.add(lane), n);
                    V::load(from.im.add(lane)).store_n(row.im.add(lane), n);
                }
            }
        }
    }
}

/// One vector of a bundle through `map`, plus what is where it goes if the pass adds.
///
/// # Safety
/// Rows have a vector of nodes from `lane` on.
#[inline(always)]
unsafe fn ring_at<V: Lanes, const ADDS: bool>(
    rows: &[Planes<V::T>; 3],
    to: &[Planes<V::T>; 3],
    lane: usize,
    map: impl OnRing<V>,
) -> [Complex<V>; 3] {
    // SAFETY: says the caller.
    unsafe {
        let x = [load::<V>(rows[0], lane), load::<V>(rows[1], lane), load::<V>(rows[2], lane)];
        let [a, b, c] = map.on(x);
        if ADDS {
            let (p, q, r) = (load::<V>(to[0], lane), load::<V>(to[1], lane), load::<V>(to[2], lane));
            return [a.add(p), b.add(q), c.add(r)];
        }
        [a, b, c]
    }
}

/// # Safety
/// As [`ring_at`], for writing.
#[inline(always)]
unsafe fn store_ring<V: Lanes>(to: &[Planes<V::T>; 3], lane: usize, [a, b, c]: [Complex<V>; 3]) {
    // SAFETY: says the caller.
    unsafe {
        store(to[0], lane, a);
        store(to[1], lane, b);
        store(to[2], lane, c);
    }
}

/// A vector of a row from `lane` on.
///
/// # Safety
/// The row has as many nodes.
#[inline(always)]
unsafe fn load<V: Lanes>(row: Planes<V::T>, lane: usize) -> Complex<V> {
    // SAFETY: says the caller.
    unsafe { Complex { re: V::load(row.re.add(lane)), im: V::load(row.im.add(lane)) } }
}

/// `n` nodes of a row from `lane` on.
///
/// # Safety
/// The row has as many nodes.
#[inline(always)]
unsafe fn load_n<V: Lanes>(row: Planes<V::T>, lane: usize, n: usize) -> Complex<V> {
    // SAFETY: says the caller.
    unsafe { Complex { re: V::load_n(row.re.add(lane), n), im: V::load_n(row.im.add(lane), n) } }
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

/// # Safety
/// As [`load_n`], for writing.
#[inline(always)]
unsafe fn store_n<V: Lanes>(row: Planes<V::T>, lane: usize, n: usize, x: Complex<V>) {
    // SAFETY: says the caller.
    unsafe {
        x.re.store_n(row.re.add(lane), n);
        x.im.store_n(row.im.add(lane), n);
    }
}

/// What is done to the three nodes of a ring. A trait and no closure: a closure is a function of its own, which is not
/// always inlined, and outside the vectors' `enter` each of their operations is a call.
trait OnRing<V: Lanes>: Copy {
    fn on(self, x: [Complex<V>; 3]) -> [Complex<V>; 3];
}

/// Ψ + Σ_edges ω_e (other end − this end): what leaves one node enters the other.
#[derive(Clone, Copy)]
struct Couple<V> {
    edges: [(V, V); 3],
}

impl<V: Lanes> OnRing<V> for Couple<V> {
    #[inline(always)]
    fn on(self, [a, b, c]: [Complex<V>; 3]) -> [Complex<V>; 3] {
        let [e, f, g] = self.edges;
        let ab = b.sub(a).mul(e.0, e.1);
        let bc = c.sub(b).mul(f.0, f.1);
        let ca = a.sub(c).mul(g.0, g.1);
        [a.add(ab.sub(ca)), b.add(bc.sub(ab)), c.add(ca.sub(bc))]
    }
}

/// κ(Ψ_{j+1} − Ψ_{j−1}).
#[derive(Clone, Copy)]
struct Differences<V> {
    slope: V,
}

impl<V: Lanes> Differences<V> {
    #[inline(always)]
    fn times(self, x: Complex<V>) -> Complex<V> {
        Complex { re: x.re.mul(self.slope), im: x.im.mul(self.slope) }
    }
}

impl<V: Lanes> OnRing<V> for Differences<V> {
    #[inline(always)]
    fn on(self, [a, b, c]: [Complex<V>; 3]) -> [Complex<V>; 3] {
        [self.times(b.sub(c)), self.times(c.sub(a)), self.times(a.sub(b))]
    }
}
