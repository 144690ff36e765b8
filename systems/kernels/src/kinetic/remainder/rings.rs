//! The remainder on a torus of three-node rings, cell by cell: gradient, flux and divergence of a cell without a field between.
//!
//! Invariant: fields lie cell after cell, [`PITCH`] numbers to a cell, zeros behind its nodes, so that every vector is whole. What
//! a cell gives goes to the cells beside it in the order of cells; chunks are cut by the number of cells, and across chunks it
//! goes through fields of their own, so neither threads nor vectors change a bit.
//! Source: `flux.rs` and `ring3.rs`; factors of both derivatives are part of D.

#![allow(unsafe_code)] // Vector loads and stores through pointers, and fields shared between chunks.

use super::{AXES_MAX, Layout, Pair};
use crate::field::{Real, Threads};
use crate::half_potential::Planes;
use crate::kinetic::dft::Complex;
use crate::kinetic::ring3;
use crate::kinetic::varying::CellGrid;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::for_each_chunk;
use core::ops::Range;

/// Numbers of a cell, of which nodes take the first ones.
pub(super) const PITCH: usize = 32;

/// A cell's numbers with room on both sides for the neighbours of its first and last nodes.
const MARGIN: usize = 32;
const ROW: usize = MARGIN + PITCH + MARGIN;

/// D of a cell, a row of zeros behind.
const TENSOR: usize = (AXES_MAX + 1) * AXES_MAX;

/// Chunks into which cells are cut where there are enough of them.
const CHUNKS: usize = 9;

/// An axis whose lines lie in a cell: distance of neighbours, and which of the places at +1, −2, −1, +2 are a node's
/// neighbours.
struct Inside<T> {
    axis: usize,
    stride: usize,
    keeps: [[T; PITCH]; 4],
}

/// An axis whose lines pass through cells: the cells after and before each cell.
struct Outside {
    axis: usize,
    beside: Vec<[u32; 2]>,
    /// Its own field, where a line leaves its chunk.
    far: Option<usize>,
}

/// The rings of a torus.
pub(super) struct Rings<T> {
    n_axes: usize,
    /// Nodes of a cell.
    run: usize,
    n_cells: usize,
    chunk: usize,
    inside: Vec<Inside<T>>,
    outside: Vec<Outside>,
    /// −½κ_iκ_j.
    factors: [[f64; AXES_MAX]; AXES_MAX],
    /// −½κ_i D^{ij} κ_j of each cell.
    tensors: Vec<T>,
    /// Fluxes that leave their chunk, (re, im) of each far axis.
    far: Vec<[Vec<T>; 2]>,
}

impl<T: Real> Rings<T> {
    /// The rings of the axes `coupled`; none where an axis has other than three nodes, or a cell is no run of at least
    /// three and at most [`PITCH`] nodes, or the torus is more than a page.
    pub fn new(grid: &CellGrid, layout: &Layout, coupled: &[usize], pairs: &[Pair<T>]) -> Option<Self> {
        let (shape, run) = (&grid.shape, layout.run);
        let is_run = run == grid.cell_nodes() && run.is_multiple_of(3) && run <= PITCH && layout.n_cells > 1;
        let is_ring = coupled.iter().all(|&axis| shape.extents[axis] == 3);
        if !(is_run && is_ring && shape.n_pages() == 1) {
            return None;
        }
        let n_cells = layout.n_cells;
        let n_chunks = if n_cells.is_multiple_of(CHUNKS) && n_cells > CHUNKS * CHUNKS { CHUNKS } else { 1 };
        let chunk = n_cells / n_chunks;
        let (mut inside, mut outside, mut n_far) = (Vec::new(), Vec::new(), 0);
        for (k, &axis) in coupled.iter().enumerate() {
            let stride = shape.stride(axis);
            if stride < run {
                inside.push(Inside { axis: k, stride, keeps: keeps(stride, run) });
                continue;
            }
            let stride = stride / run;
            let beside = |cell: usize| {
                let coordinate = cell / stride % 3;
                let first = cell - coordinate * stride;
                [1, 2].map(|offset| (first + (coordinate + offset) % 3 * stride) as u32)
            };
            let is_far = !chunk.is_multiple_of(3 * stride);
            outside.push(Outside {
                axis: k,
                beside: (0..n_cells).map(beside).collect(),
                far: is_far.then_some(n_far),
            });
            n_far += usize::from(is_far);
        }
        let slope = |k: usize| ring3::slope(grid.spacing[coupled[k]]);
        let mut factors = [[0.0; AXES_MAX]; AXES_MAX];
        for i in 0..coupled.len() {
            (0..coupled.len()).for_each(|j| factors[i][j] = -0.5 * slope(i) * slope(j));
        }
        let field = || vec![T::default(); n_cells * PITCH];
        let mut rings = Rings {
            n_axes: coupled.len(),
            run,
            n_cells,
            chunk,
            inside,
            outside,
            factors,
            tensors: vec![T::default(); n_cells * TENSOR],
            far: (0..n_far).map(|_| [field(), field()]).collect(),
        };
        rings.renew(pairs, 0..n_cells);
        Some(rings)
    }

    /// Numbers of a field.
    pub fn field_len(&self) -> usize {
        self.n_cells * PITCH
    }

    /// Bytes of the tables and of the fields between chunks.
    pub fn bytes(&self) -> usize {
        let besides: usize = self.outside.iter().map(|axis| 8 * axis.beside.len()).sum();
        (self.tensors.len() + 2 * self.far.len() * self.field_len()) * T::BYTES + besides
    }

    /// Takes over D^{ij} of some cells.
    pub fn renew(&mut self, pairs: &[Pair<T>], cells: impl Iterator<Item = usize>) {
        for cell in cells {
            let tensor = &mut self.tensors[cell * TENSOR..][..TENSOR];
            for pair in pairs {
                let ((i, j), value) = (pair.axes, pair.values[cell].to_f64());
                let value = T::from_f64(self.factors[i][j] * value);
                (tensor[i * AXES_MAX + j], tensor[j * AXES_MAX + i]) = (value, value);
            }
        }
    }

    /// image ← R·source; both are fields in cells.
    pub fn apply(&mut self, level: Level, threads: Threads<'_>, source: Planes<T>, image: Planes<T>) {
        let far: Vec<Planes<T>> = self
            .far
            .iter_mut()
            .map(|[re, im]| Planes { re: re.as_mut_ptr(), im: im.as_mut_ptr(), len: re.len() })
            .collect();
        let (rings, far) = (&*self, &far[..]);
        let n_chunks = rings.n_cells / rings.chunk;
        let cells = |chunk: usize| chunk * rings.chunk..(chunk + 1) * rings.chunk;
        for_each_chunk(threads, n_chunks, |chunk| {
            T::ring_cells(level, RingCells { rings, far, source, image, cells: cells(chunk) });
        });
        if far.is_empty() {
            return;
        }
        for_each_chunk(threads, n_chunks, |chunk| {
            T::ring_joins(level, RingJoins { rings, far, image, cells: cells(chunk) });
        });
    }

    /// A field in cells from one node after node, times a factor.
    pub fn pack(&self, level: Level, nodes: Planes<T>, factor: f64, cells: Planes<T>) {
        let factor = Some(T::from_f64(factor));
        T::ring_moves(level, RingMoves { rings: self, nodes, cells, factor });
    }

    /// Adds a field in cells to one node after node.
    pub fn unpack(&self, level: Level, cells: Planes<T>, nodes: Planes<T>) {
        T::ring_moves(level, RingMoves { rings: self, nodes, cells, factor: None });
    }
}

/// See [`Inside`].
fn keeps<T: Real>(stride: usize, run: usize) -> [[T; PITCH]; 4] {
    let mut keeps = [[T::default(); PITCH]; 4];
    for node in 0..run {
        let coordinate = node / stride % 3;
        let up = if coordinate < 2 { 0 } else { 1 };
        let down = if coordinate > 0 { 2 } else { 3 };
        (keeps[up][node], keeps[down][node]) = (T::from_f64(1.0), T::from_f64(1.0));
    }
    keeps
}

/// R on the cells of a chunk. Built only with fields of the rings.
pub struct RingCells<'a, T: SimdReal> {
    rings: &'a Rings<T>,
    far: &'a [Planes<T>],
    source: Planes<T>,
    image: Planes<T>,
    cells: Range<usize>,
}

impl<T: Real> Kernel<T> for RingCells<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let RingCells { rings, far, source, image, cells } = self;
        // The cell's Ψ, and its fluxes, with margins; gradients without.
        let mut own = [[T::default(); ROW]; 2];
        let mut fluxes = [[[T::default(); ROW]; 2]; AXES_MAX + 1];
        let mut gradients = [[[T::default(); PITCH]; 2]; AXES_MAX];
        // SAFETY: fields have PITCH numbers for each cell; a chunk owns the image and the far fields of its cells, and lines that
        // do not leave it.
        unsafe {
            for lane in (0..cells.len() * PITCH).step_by(V::N) {
                V::splat(T::default()).store(image.re.add(cells.start * PITCH + lane));
                V::splat(T::default()).store(image.im.add(cells.start * PITCH + lane));
            }
            for cell in cells {
                for (plane, from) in [source.re, source.im].into_iter().enumerate() {
                    for lane in (0..PITCH).step_by(V::N) {
                        V::load(from.add(cell * PITCH + lane))
                            .store(own[plane].as_mut_ptr().add(MARGIN + lane));
                    }
                    for axis in &rings.inside {
                        for lane in (0..PITCH).step_by(V::N) {
                            let apart = axis.apart::<V>(&own[plane], lane);
                            apart.store(gradients[axis.axis][plane].as_mut_ptr().add(lane));
                        }
                    }
                    for axis in &rings.outside {
                        let [up, down] = *axis.beside.get_unchecked(cell);
                        let (up, down) = (from.add(up as usize * PITCH), from.add(down as usize * PITCH));
                        for lane in (0..PITCH).step_by(V::N) {
                            let apart = V::load(up.add(lane)).sub(V::load(down.add(lane)));
                            apart.store(gradients[axis.axis][plane].as_mut_ptr().add(lane));
                        }
                    }
                }
                let tensor = rings.tensors.as_ptr().add(cell * TENSOR);
                for i in (0..rings.n_axes).step_by(2) {
                    for lane in (0..PITCH).step_by(V::N) {
                        let zero = V::splat(T::default());
                        let (mut a, mut b) = (Complex { re: zero, im: zero }, Complex { re: zero, im: zero });
                        for j in 0..rings.n_axes {
                            let [re, im] = gradients.get_unchecked(j);
                            let (re, im) = (V::load(re.as_ptr().add(lane)), V::load(im.as_ptr().add(lane)));
                            let p = V::splat(*tensor.add(i * AXES_MAX + j));
                            let q = V::splat(*tensor.add((i + 1) * AXES_MAX + j));
                            a = Complex { re: re.mul_add(p, a.re), im: im.mul_add(p, a.im) };
                            b = Complex { re: re.mul_add(q, b.re), im: im.mul_add(q, b.im) };
                        }
                        let [re, im] = fluxes.get_unchecked_mut(i);
                        a.re.store(re.as_mut_ptr().add(MARGIN + lane));
                        a.im.store(im.as_mut_ptr().add(MARGIN + lane));
                        let [re, im] = fluxes.get_unchecked_mut(i + 1);
                        b.re.store(re.as_mut_ptr().add(MARGIN + lane));
                        b.im.store(im.as_mut_ptr().add(MARGIN + lane));
                    }
                }
                for (plane, to) in [image.re, image.im].into_iter().enumerate() {
                    for lane in (0..PITCH).step_by(V::N) {
                        let own = to.add(cell * PITCH + lane);
                        let mut sum = V::load(own);
                        for axis in &rings.inside {
                            sum = sum.add(axis.apart::<V>(&fluxes.get_unchecked(axis.axis)[plane], lane));
                        }
                        sum.store(own);
                    }
                    for axis in &rings.outside {
                        let flux = fluxes.get_unchecked(axis.axis)[plane].as_ptr().add(MARGIN);
                        if let Some(field) = axis.far {
                            let far = far.get_unchecked(field);
                            let far = [far.re, far.im][plane].add(cell * PITCH);
                            for lane in (0..PITCH).step_by(V::N) {
                                V::load(flux.add(lane)).store(far.add(lane));
                            }
                            continue;
                        }
                        let [up, down] = *axis.beside.get_unchecked(cell);
                        let (up, down) = (to.add(up as usize * PITCH), to.add(down as usize * PITCH));
                        for lane in (0..PITCH).step_by(V::N) {
                            let x = V::load(flux.add(lane));
                            V::load(up.add(lane)).sub(x).store(up.add(lane));
                            V::load(down.add(lane)).add(x).store(down.add(lane));
                        }
                    }
                }
            }
        }
    }
}

impl<T: Real> Inside<T> {
    /// Ψ_{+1} − Ψ_{−1} on a vector of a cell's nodes: a factor of 1 or 0 keeps the places that are neighbours.
    #[inline(always)]
    fn apart<V: Lanes<T = T>>(&self, row: &[T; ROW], lane: usize) -> V {
        let at = row.as_ptr().wrapping_add(MARGIN + lane);
        // SAFETY: neighbours are at most 2·9 nodes away, which the margins have; PITCH is a whole number of vectors.
        unsafe {
            let keep = |k: usize| self.keeps[k].as_ptr().add(lane);
            let apart = V::load(at.add(self.stride)).mul(V::load(keep(0)));
            let apart = V::load(at.sub(2 * self.stride)).mul_add(V::load(keep(1)), apart);
            let apart = V::load(at.sub(self.stride)).neg_mul_add(V::load(keep(2)), apart);
            V::load(at.add(2 * self.stride)).neg_mul_add(V::load(keep(3)), apart)
        }
    }
}

/// What comes from beyond the chunks. Built only with fields of the rings.
pub struct RingJoins<'a, T: SimdReal> {
    rings: &'a Rings<T>,
    far: &'a [Planes<T>],
    image: Planes<T>,
    cells: Range<usize>,
}

impl<T: Real> Kernel<T> for RingJoins<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let RingJoins { rings, far, image, cells } = self;
        for cell in cells {
            for (plane, to) in [image.re, image.im].into_iter().enumerate() {
                for lane in (0..PITCH).step_by(V::N) {
                    // SAFETY: fields have PITCH numbers for each cell; a chunk owns the image of its cells.
                    unsafe {
                        let own = to.add(cell * PITCH + lane);
                        let mut sum = V::load(own);
                        for axis in &rings.outside {
                            let Some(field) = axis.far else { continue };
                            let far = far.get_unchecked(field);
                            let far = [far.re, far.im][plane];
                            let [up, down] = *axis.beside.get_unchecked(cell);
                            sum = sum.add(V::load(far.add(up as usize * PITCH + lane)));
                            sum = sum.sub(V::load(far.add(down as usize * PITCH + lane)));
                        }
                        sum.store(own);
                    }
                }
            }
        }
    }
}

/// Between a field in cells and one node after node: with a factor to the first, without added to the second. Built only with
/// fields of the rings.
pub struct RingMoves<'a, T: SimdReal> {
    rings: &'a Rings<T>,
    nodes: Planes<T>,
    cells: Planes<T>,
    factor: Option<T>,
}

impl<T: Real> Kernel<T> for RingMoves<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let RingMoves { rings, nodes, cells, factor } = self;
        for (nodes, cells) in [(nodes.re, cells.re), (nodes.im, cells.im)] {
            for cell in 0..rings.n_cells {
                for lane in (0..rings.run).step_by(V::N) {
                    let n = V::N.min(rings.run - lane);
                    // SAFETY: the fields have so many cells and nodes; PITCH is a whole number of vectors.
                    unsafe {
                        let (node, own) =
                            (nodes.add(cell * rings.run + lane), cells.add(cell * PITCH + lane));
                        match factor {
                            Some(factor) => V::load_n(node, n).mul(V::splat(factor)).store(own),
                            None => V::load_n(node, n).add(V::load(own)).store_n(node, n),
                        }
                    }
                }
            }
        }
    }
}
