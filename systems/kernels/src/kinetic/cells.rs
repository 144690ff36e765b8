//! Axes that lie wholly inside metric cells: D is constant on every such line, and the axes of a cell commute.
//!
//! Invariant: a cell is a contiguous block of 3, 9 or 27 nodes; lanes are cells, so each lane has its own phases.
//! Source: `ring.rs`, with the factor e^{−iθ} kept: y_j = x_j + q(x_j − S/3), q = e^{−iθ} − 1, S the sum of the ring.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::dft::Complex;
use super::lines::Rows;
use super::sweep::{Transpose, with_scratch};
use super::varying::Diffusion;
use core::ops::Range;

use crate::field::Real;
use crate::half_potential::{Planes, Time};
use crate::simd::{Kernel, Lanes, Level, SimdReal};

/// Most nodes of a block.
const BLOCK_MAX: usize = 27;

/// q of one axis for every cell.
struct Factors<T> {
    re: Vec<T>,
    im: Vec<T>,
}

/// The axes inside cells, planned.
pub(crate) struct CellBlocks<T> {
    /// How many trailing axes.
    n_axes: usize,
    cells_per_page: usize,
    duration: f64,
    time: Time,
    /// Of each axis, slowest first.
    half: Vec<Factors<T>>,
    whole: Vec<Factors<T>>,
}

impl<T: Real> CellBlocks<T> {
    /// The last `n_axes` storage axes, over `duration` and twice that.
    pub fn new(diffusion: &Diffusion, n_axes: usize, duration: f64, time: Time) -> Self {
        let grid = &diffusion.grid;
        let n_cells = grid.n_cells();
        let zeros = || Factors { re: vec![T::default(); n_cells], im: vec![T::default(); n_cells] };
        let factors = || (0..n_axes).map(|_| zeros()).collect();
        let cells_per_page = grid.shape.page_nodes / grid.cell_nodes();
        let mut blocks =
            CellBlocks { n_axes, cells_per_page, duration, time, half: factors(), whole: factors() };
        blocks.renew(diffusion, &(0..n_cells).collect::<Vec<_>>());
        blocks
    }

    /// Renews the phases of some cells.
    pub fn renew(&mut self, diffusion: &Diffusion, changed: &[usize]) {
        let first = diffusion.grid.cell.len() - self.n_axes;
        for (a, (half, whole)) in self.half.iter_mut().zip(&mut self.whole).enumerate() {
            let k = core::f64::consts::TAU / (3.0 * diffusion.grid.spacing[first + a]);
            for &cell in changed {
                let theta = 0.5 * self.duration * k * k * diffusion.at(first + a, cell);
                for (factors, theta) in [(&mut *half, theta), (&mut *whole, 2.0 * theta)] {
                    let (re, im) = super::increment(theta, self.time);
                    factors.re[cell] = T::from_f64(re);
                    factors.im[cell] = T::from_f64(im);
                }
            }
        }
    }

    /// How many trailing axes there are.
    pub fn n_axes(&self) -> usize {
        self.n_axes
    }

    /// q (re, im) of axis `axis`, counted from the slowest, on `cell`, for the half or the whole duration.
    pub fn factor(&self, axis: usize, cell: usize, is_half: bool) -> (T, T) {
        let factors = if is_half { &self.half } else { &self.whole };
        (factors[axis].re[cell], factors[axis].im[cell])
    }

    /// Bytes of the tables.
    pub fn bytes(&self) -> usize {
        self.half.iter().map(|factors| 4 * factors.re.len() * T::BYTES).sum()
    }

    /// Nodes of a block.
    pub fn block(&self) -> usize {
        3usize.pow(self.n_axes as u32)
    }

    /// Runs the axes over the blocks of `nodes`, which lie in one page, for the half or the whole duration, on the calling
    /// thread.
    pub fn run_on(&self, level: Level, planes: &[Planes<T>], nodes: Range<usize>, is_half: bool) {
        let cells = nodes.start / self.block()..nodes.end / self.block();
        let page = cells.start / self.cells_per_page;
        with_scratch(2 * BLOCK_MAX * (64 / T::BYTES), |scratch| {
            let planes = planes[page];
            T::cell_pass(level, CellPass { blocks: self, page, cells, planes, is_half, scratch });
        });
    }
}

/// Some blocks of one page. Built only with the plan's planes and scratch.
pub struct CellPass<'a, T: SimdReal> {
    blocks: &'a CellBlocks<T>,
    page: usize,
    /// Counted over all pages.
    cells: Range<usize>,
    planes: Planes<T>,
    is_half: bool,
    scratch: *mut T,
}

impl<T: Real> Kernel<T> for CellPass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let CellPass { blocks, page, cells, planes, is_half, scratch } = self;
        let factors = if is_half { &blocks.half } else { &blocks.whole };
        let block = blocks.block();
        let step = 2 * V::N;
        for at in cells.clone().step_by(V::N) {
            let (n, first) = (V::N.min(cells.end - at), at - page * blocks.cells_per_page);
            // SAFETY: `n` whole cells are inside the page; the scratch holds `block` rows of two vectors.
            unsafe {
                let nodes = planes.offset(first * block);
                let rows = Planes { re: scratch, im: scratch.add(V::N), len: block * step };
                V::call(Transpose::<T, true> { page: nodes, rows, block, step, n });
                let rows_of = Rows::new(rows, step);
                let mut stride = block;
                for factors in factors {
                    stride /= 3;
                    let q = (
                        V::load_n(factors.re.as_ptr().add(at), n),
                        V::load_n(factors.im.as_ptr().add(at), n),
                    );
                    for base in (0..block).filter(|row| (row / stride).is_multiple_of(3)) {
                        ring::<V>(rows_of, [base, base + stride, base + 2 * stride], q);
                    }
                }
                V::call(Transpose::<T, false> { page: nodes, rows, block, step, n });
            }
        }
    }
}

/// One ring in every lane.
///
/// # Safety
/// The rows exist.
#[inline(always)]
unsafe fn ring<V: Lanes>(rows: Rows<V::T>, at: [usize; 3], q: (V, V)) {
    let third = V::splat(V::T::from_f64(-1.0 / 3.0));
    // SAFETY: says the caller.
    unsafe {
        let x: [Complex<V>; 3] = [
            rows.load::<V, true>(at[0], V::N),
            rows.load::<V, true>(at[1], V::N),
            rows.load::<V, true>(at[2], V::N),
        ];
        let mean = x[0].add(x[1]).add(x[2]).mul(q.0.mul(third), q.1.mul(third));
        for (x, row) in x.into_iter().zip(at) {
            rows.store::<V, true>(row, V::N, x.add(x.mul(q.0, q.1).add(mean)));
        }
    }
}
