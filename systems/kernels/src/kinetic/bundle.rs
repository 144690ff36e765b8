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
/// Bundles that one thread takes at a time.
const CHUNK_BUNDLES: usize = 64;
/// With fewer lanes, a dense line fills its vectors with its own nodes.
const LANES_MIN: usize = 4;

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
        let n_chunks = self.bundles.len().div_ceil(CHUNK_BUNDLES);
        for_each_chunk(threads, n_chunks, |chunk| {
            let bundles = chunk * CHUNK_BUNDLES..self.bundles.len().min((chunk + 1) * CHUNK_BUNDLES);
            with_scratch(self.scratch(), |scratch| {
                T::bundle_pass(level, BundlePass { axis: self, planes, bundles, scratch });
            });
        });
    }
}

/// Some bundles of an axis. Built only with the planes of the axis' shape and its scratch.
pub struct BundlePass<'a, T: SimdReal> {
    axis: &'a AxisPass<T>,
    planes: &'a [Planes<T>],
    bundles: Range<usize>,
    scratch: *mut T,
}

impl<T: Real> Kernel<T> for BundlePass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let bundles = &self.axis.bundles[self.bundles.clone()];
        // SAFETY: bundles are disjoint, their rows lie in their pages, and this chunk owns them.
        unsafe {
            match &self.axis.table {
                Table::Rings(weights) => {
                    for bundle in bundles {
                        let [a, b, c, d, e, f] = weights[bundle.entry as usize];
                        let edges = [
                            (V::splat(a), V::splat(b)),
                            (V::splat(c), V::splat(d)),
                            (V::splat(e), V::splat(f)),
                        ];
                        self.rings::<V>(bundle, Couple { edges });
                    }
                }
                Table::Slope(slope) => {
                    let slope = V::splat(*slope);
                    for bundle in bundles {
                        self.rings::<V>(bundle, Differences { slope });
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
        let node = bundle.node + k * self.axis.stride;
        // SAFETY: the node exists.
        unsafe {
            match self.planes {
                [page] => page.offset(node),
                pages => pages.get_unchecked(node / self.axis.page_nodes).offset(node % self.axis.page_nodes),
            }
        }
    }

    /// Three-node lines through `map`.
    ///
    /// # Safety
    /// The axis has extent 3 and the caller owns the bundle.
    #[inline(always)]
    unsafe fn rings<V: Lanes<T = T>>(
        &self,
        bundle: &Bundle,
        map: impl OnRing<V>,
    ) {
        let lanes = bundle.lanes as usize;
        // SAFETY: rows have `lanes` nodes.
        unsafe {
            let rows = [self.row(bundle, 0), self.row(bundle, 1), self.row(bundle, 2)];
            let mut lane = 0;
            while lane + V::N <= lanes {
                let x =
                    rows.map(|row| Complex { re: V::load(row.re.add(lane)), im: V::load(row.im.add(lane)) });
                for (row, y) in rows.iter().zip(map.on(x)) {
                    y.re.store(row.re.add(lane));
                    y.im.store(row.im.add(lane));
                }
                lane += V::N;
            }
            if lane < lanes {
                let n = lanes - lane;
                let x = rows.map(|row| Complex {
                    re: V::load_n(row.re.add(lane), n),
                    im: V::load_n(row.im.add(lane), n),
                });
                for (row, y) in rows.iter().zip(map.on(x)) {
                    y.re.store_n(row.re.add(lane), n);
                    y.im.store_n(row.im.add(lane), n);
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
