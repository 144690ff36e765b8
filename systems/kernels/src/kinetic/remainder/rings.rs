//! The remainder on a torus of three-node rings, cell by cell: gradient, flux and divergence of a cell without a field between.
//!
//! Invariant: fields lie cell after cell, [`PITCH`] numbers to a cell, zeros behind its nodes, so that every vector is whole. What
//! a cell gives goes to the cells beside it in the order of cells; chunks are cut by the number of cells, and across chunks it
//! goes through fields of their own, so neither threads nor vectors change a bit.
//! Source: `flux.rs` and `ring3.rs`; factors of both derivatives are part of D.

#![allow(unsafe_code)] // Vector loads and stores through pointers, and fields shared between chunks.

use super::lanczos::ByCells;
use super::{AXES_MAX, Layout, Pair, Scratch};
use crate::field::{Real, Threads};
use crate::half_potential::Planes;
use crate::kinetic::dft::Complex;
use crate::kinetic::ring3;
use crate::kinetic::sparse::Aligned;
use crate::kinetic::varying::CellGrid;
use crate::simd::accumulate::Accumulator;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::{for_each_chunk, map_chunks};
use core::ops::Range;

/// Numbers of a cell, of which nodes take the first ones.
pub(crate) const PITCH: usize = 32;

/// A cell's numbers with room on both sides for the neighbours of its first and last nodes.
pub(crate) const MARGIN: usize = 32;
pub(crate) const ROW: usize = MARGIN + PITCH + MARGIN;

/// Both parts of a cell's gradient along each axis.
pub(crate) type Gradients<T> = [[[T; PITCH]; 2]; AXES_MAX];

/// D of a cell, a row of zeros behind.
pub(crate) const TENSOR: usize = (AXES_MAX + 1) * AXES_MAX;

/// Chunks into which cells are cut where there are enough of them.
const CHUNKS: usize = 9;

/// An axis whose lines lie in a cell: distance of neighbours, and which of the places at +1, −2, −1, +2 are a node's
/// neighbours.
struct Inside<T> {
    axis: usize,
    stride: usize,
    keeps: Aligned<[[T; PITCH]; 4]>,
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
    far: Vec<Scratch<T>>,
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
            let beside = |cell: usize| ring3::beside(cell, stride).map(|cell| cell as u32);
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
        let mut rings = Rings {
            n_axes: coupled.len(),
            run,
            n_cells,
            chunk,
            inside,
            outside,
            factors,
            tensors: vec![T::default(); n_cells * TENSOR],
            far: (0..n_far).map(|_| Scratch::with_room(n_cells * PITCH)).collect(),
        };
        rings.renew(pairs, &(0..n_cells).collect::<Vec<_>>());
        Some(rings)
    }

    fn n_chunks(&self) -> usize {
        self.n_cells / self.chunk
    }

    fn cells(&self, chunk: usize) -> Range<usize> {
        chunk * self.chunk..(chunk + 1) * self.chunk
    }
}

impl<T: Real> ByCells<T> for Rings<T> {
    fn apply(
        &mut self,
        level: Level,
        threads: Threads<'_>,
        (source, image): (Planes<T>, Planes<T>),
        less: Option<(Planes<T>, f64)>,
    ) -> f64 {
        let len = self.field_len();
        let far: Vec<Planes<T>> = self.far.iter_mut().map(|far| far.aligned(len)).collect();
        let (rings, far) = (&*self, &far[..]);
        for_each_chunk(threads, rings.n_chunks(), |chunk| {
            let cells = rings.cells(chunk);
            T::ring_cells(level, RingCells { rings, far, source, image, cells });
        });
        let less = less.map(|(field, share)| (field, T::from_f64(share)));
        let parts = map_chunks(threads, rings.n_chunks(), |chunk| {
            let cells = rings.cells(chunk);
            T::ring_joins(level, RingJoins { rings, far, source, image, less, cells })
        });
        parts.iter().sum()
    }

    fn power(&self, level: Level, threads: Threads<'_>, field: Planes<T>) -> f64 {
        let parts = map_chunks(threads, self.n_chunks(), |chunk| {
            T::ring_powers(level, RingPowers { rings: self, field, cells: self.cells(chunk) })
        });
        parts.iter().sum()
    }

    fn take(
        &self,
        level: Level,
        threads: Threads<'_>,
        image: Planes<T>,
        (field, share): (Planes<T>, f64),
    ) -> f64 {
        let share = T::from_f64(share);
        let parts = map_chunks(threads, self.n_chunks(), |chunk| {
            T::ring_takes(level, RingTakes { image, field, share, cells: self.cells(chunk) })
        });
        parts.iter().sum()
    }

    fn pack(&self, level: Level, threads: Threads<'_>, nodes: &[Planes<T>], field: Planes<T>) {
        let (run, nodes) = (self.run, nodes[0]);
        for_each_chunk(threads, self.n_chunks(), |chunk| {
            let cells = self.cells(chunk);
            T::ring_moves(level, RingMoves { run, nodes, cells, fields: &[field], weights: &[] });
        });
    }

    fn unpack(
        &self,
        level: Level,
        threads: Threads<'_>,
        (fields, weights): (&[Planes<T>], &[(f64, f64)]),
        nodes: &[Planes<T>],
    ) {
        let (run, nodes) = (self.run, nodes[0]);
        let rounded = |(re, im): &(f64, f64)| (T::from_f64(*re), T::from_f64(*im));
        let weights: Vec<(T, T)> = weights.iter().map(rounded).collect();
        for_each_chunk(threads, self.n_chunks(), |chunk| {
            let cells = self.cells(chunk);
            T::ring_moves(level, RingMoves { run, nodes, cells, fields, weights: &weights });
        });
    }

    fn field_len(&self) -> usize {
        self.n_cells * PITCH
    }

    fn bytes(&self) -> usize {
        let besides: usize = self.outside.iter().map(|axis| 8 * axis.beside.len()).sum();
        (self.tensors.len() + 2 * self.far.len() * self.field_len()) * T::BYTES + besides
    }

    fn renew(&mut self, pairs: &[Pair<T>], cells: &[usize]) {
        for &cell in cells {
            let tensor = &mut self.tensors[cell * TENSOR..][..TENSOR];
            for pair in pairs {
                let ((i, j), value) = (pair.axes, pair.values[cell].to_f64());
                let value = T::from_f64(self.factors[i][j] * value);
                (tensor[i * AXES_MAX + j], tensor[j * AXES_MAX + i]) = (value, value);
            }
        }
    }
}

impl<T: Real> Rings<T> {
    /// Differences of neighbours along each axis on a cell; `own` is room for the cell's numbers.
    ///
    /// # Safety
    /// The field has PITCH numbers for each cell, the cell exists.
    #[inline(always)]
    unsafe fn fill_gradients<V: Lanes<T = T>>(
        &self,
        source: Planes<T>,
        cell: usize,
        Aligned(own): &mut Aligned<[[T; ROW]; 2]>,
        gradients: &mut Gradients<T>,
    ) {
        // SAFETY: says the caller.
        unsafe {
            for (plane, from) in [source.re, source.im].into_iter().enumerate() {
                for lane in (0..PITCH).step_by(V::N) {
                    V::load(from.add(cell * PITCH + lane)).store(own[plane].as_mut_ptr().add(MARGIN + lane));
                }
                for axis in &self.inside {
                    let to = gradients.get_unchecked_mut(axis.axis)[plane].as_mut_ptr();
                    for lane in (0..PITCH).step_by(V::N) {
                        axis.apart::<V>(&own[plane], lane).store(to.add(lane));
                    }
                }
                for axis in &self.outside {
                    let to = gradients.get_unchecked_mut(axis.axis)[plane].as_mut_ptr();
                    let [up, down] = *axis.beside.get_unchecked(cell);
                    let (up, down) = (from.add(up as usize * PITCH), from.add(down as usize * PITCH));
                    for lane in (0..PITCH).step_by(V::N) {
                        V::load(up.add(lane)).sub(V::load(down.add(lane))).store(to.add(lane));
                    }
                }
            }
        }
    }
}

/// Both parts of the fluxes of a cell along each axis, with margins.
pub(super) type Fluxes<T> = [Aligned<[[T; ROW]; 2]>; AXES_MAX];

/// Axes whose fluxes are summed together; behind the last axis there is room for as many.
pub(crate) const TOGETHER: usize = 3;
const _: () = assert!(AXES_MAX.is_multiple_of(TOGETHER));

/// F_i = Σ_j −½D^{ij}∂_jΨ on a cell.
///
/// # Safety
/// At most [`AXES_MAX`] axes; the tensor has [`TENSOR`] numbers.
#[inline(always)]
pub(super) unsafe fn fill_fluxes<V: Lanes>(
    n_axes: usize,
    tensor: *const V::T,
    gradients: &Gradients<V::T>,
    fluxes: &mut Fluxes<V::T>,
) {
    let zero = V::splat(V::T::default());
    // SAFETY: says the caller; planes of a gradient are PITCH numbers, those of a flux lie behind a margin.
    unsafe {
        for i in (0..n_axes).step_by(TOGETHER) {
            for lane in (0..PITCH).step_by(V::N) {
                let mut sums = [[zero; 2]; TOGETHER];
                for j in 0..n_axes {
                    let [re, im] = gradients.get_unchecked(j);
                    let (re, im) = (V::load(re.as_ptr().add(lane)), V::load(im.as_ptr().add(lane)));
                    for k in 0..TOGETHER {
                        let d = V::splat(*tensor.add((i + k) * AXES_MAX + j));
                        sums[k] = [re.mul_add(d, sums[k][0]), im.mul_add(d, sums[k][1])];
                    }
                }
                for k in 0..TOGETHER {
                    let [re, im] = &mut fluxes.get_unchecked_mut(i + k).0;
                    sums[k][0].store(re.as_mut_ptr().add(MARGIN + lane));
                    sums[k][1].store(im.as_mut_ptr().add(MARGIN + lane));
                }
            }
        }
    }
}

/// Σ_{i<j} −½D^{ij} Re(∂_iΨ* ∂_jΨ) of a cell, its lanes not summed.
///
/// # Safety
/// At most [`AXES_MAX`] axes; the tensor has [`TENSOR`] numbers.
#[inline(always)]
pub(super) unsafe fn power_of_cell<V: Lanes>(
    n_axes: usize,
    tensor: *const V::T,
    gradients: &Gradients<V::T>,
) -> V {
    let (n, zero) = (n_axes, V::splat(V::T::default()));
    let (mut re, mut im) = (zero, zero);
    // SAFETY: says the caller; behind the last axis there is a row of zeros.
    unsafe {
        for i in (0..n).step_by(2) {
            let (first, second) = (gradients.get_unchecked(i), gradients.get_unchecked((i + 1).min(n - 1)));
            for lane in (0..PITCH).step_by(V::N) {
                let (mut a, mut b) = (Complex { re: zero, im: zero }, Complex { re: zero, im: zero });
                for j in i + 1..n {
                    let [x, y] = gradients.get_unchecked(j);
                    let (x, y) = (V::load(x.as_ptr().add(lane)), V::load(y.as_ptr().add(lane)));
                    let p = V::splat(*tensor.add(i * AXES_MAX + j));
                    let q = V::splat(*tensor.add((i + 1) * AXES_MAX + j));
                    a = Complex { re: x.mul_add(p, a.re), im: y.mul_add(p, a.im) };
                    b = Complex { re: x.mul_add(q, b.re), im: y.mul_add(q, b.im) };
                }
                re = V::load(first[0].as_ptr().add(lane)).mul_add(a.re, re);
                im = V::load(first[1].as_ptr().add(lane)).mul_add(a.im, im);
                re = V::load(second[0].as_ptr().add(lane)).mul_add(b.re, re);
                im = V::load(second[1].as_ptr().add(lane)).mul_add(b.im, im);
            }
        }
    }
    re.add(im)
}

/// See [`Inside`].
fn keeps<T: Real>(stride: usize, run: usize) -> Aligned<[[T; PITCH]; 4]> {
    let mut keeps = [[T::default(); PITCH]; 4];
    for node in 0..run {
        let coordinate = node / stride % 3;
        let up = if coordinate < 2 { 0 } else { 1 };
        let down = if coordinate > 0 { 2 } else { 3 };
        (keeps[up][node], keeps[down][node]) = (T::from_f64(1.0), T::from_f64(1.0));
    }
    Aligned(keeps)
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
        let mut own = Aligned([[T::default(); ROW]; 2]);
        let mut fluxes: Fluxes<T> = [Aligned([[T::default(); ROW]; 2]); AXES_MAX];
        let mut gradients: Aligned<Gradients<T>> = Aligned([[[T::default(); PITCH]; 2]; AXES_MAX]);
        // SAFETY: fields have PITCH numbers for each cell; a chunk owns the image and the far fields of its cells, and lines that
        // do not leave it.
        unsafe {
            for lane in (0..cells.len() * PITCH).step_by(V::N) {
                V::splat(T::default()).store(image.re.add(cells.start * PITCH + lane));
                V::splat(T::default()).store(image.im.add(cells.start * PITCH + lane));
            }
            for cell in cells {
                rings.fill_gradients::<V>(source, cell, &mut own, &mut gradients.0);
                let tensor = rings.tensors.as_ptr().add(cell * TENSOR);
                fill_fluxes::<V>(rings.n_axes, tensor, &gradients.0, &mut fluxes);
                for (plane, to) in [image.re, image.im].into_iter().enumerate() {
                    for lane in (0..PITCH).step_by(V::N) {
                        let own = to.add(cell * PITCH + lane);
                        let mut sum = V::load(own);
                        for axis in &rings.inside {
                            sum = sum.add(axis.apart::<V>(&fluxes.get_unchecked(axis.axis).0[plane], lane));
                        }
                        sum.store(own);
                    }
                    for axis in &rings.outside {
                        let flux = fluxes.get_unchecked(axis.axis).0[plane].as_ptr().add(MARGIN);
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
            let keep = |k: usize| self.keeps.0[k].as_ptr().add(lane);
            let apart = V::load(at.add(self.stride)).mul(V::load(keep(0)));
            let apart = V::load(at.sub(2 * self.stride)).mul_add(V::load(keep(1)), apart);
            let apart = V::load(at.sub(self.stride)).neg_mul_add(V::load(keep(2)), apart);
            V::load(at.add(2 * self.stride)).neg_mul_add(V::load(keep(3)), apart)
        }
    }
}

/// Re⟨field|R·field⟩ on the cells of a chunk, −2 Σ_{i<j} of what R couples. Built only with a field of the rings.
pub struct RingPowers<'a, T: SimdReal> {
    rings: &'a Rings<T>,
    field: Planes<T>,
    cells: Range<usize>,
}

impl<T: Real> Kernel<T> for RingPowers<'_, T> {
    type Out = f64;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> f64 {
        let RingPowers { rings, field, cells } = self;
        let mut own = Aligned([[T::default(); ROW]; 2]);
        let mut gradients: Aligned<Gradients<T>> = Aligned([[[T::default(); PITCH]; 2]; AXES_MAX]);
        let mut total = Accumulator::<V>::new();
        for cell in cells {
            // SAFETY: the field has PITCH numbers for each cell; a cell has TENSOR numbers.
            unsafe {
                rings.fill_gradients::<V>(field, cell, &mut own, &mut gradients.0);
                let tensor = rings.tensors.as_ptr().add(cell * TENSOR);
                total.add(power_of_cell::<V>(rings.n_axes, tensor, &gradients.0));
            }
        }
        -2.0 * total.total()
    }
}

/// What comes from beyond the chunks, less a share of another field. Built only with fields of the rings.
pub struct RingJoins<'a, T: SimdReal> {
    rings: &'a Rings<T>,
    far: &'a [Planes<T>],
    source: Planes<T>,
    image: Planes<T>,
    less: Option<(Planes<T>, T)>,
    cells: Range<usize>,
}

impl<T: Real> Kernel<T> for RingJoins<'_, T> {
    type Out = f64;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> f64 {
        let RingJoins { rings, far, source, image, less, cells } = self;
        let mut total = Accumulator::<V>::new();
        for cell in cells {
            let mut product = V::splat(T::default());
            for plane in 0..2 {
                let (to, with) = ([image.re, image.im][plane], [source.re, source.im][plane]);
                for lane in (0..PITCH).step_by(V::N) {
                    // SAFETY: fields have PITCH numbers for each cell; a chunk owns the image of its cells.
                    unsafe {
                        let at = cell * PITCH + lane;
                        let mut sum = V::load(to.add(at));
                        for axis in &rings.outside {
                            let Some(field) = axis.far else { continue };
                            let far = far.get_unchecked(field);
                            let far = [far.re, far.im][plane];
                            let [up, down] = *axis.beside.get_unchecked(cell);
                            sum = sum.add(V::load(far.add(up as usize * PITCH + lane)));
                            sum = sum.sub(V::load(far.add(down as usize * PITCH + lane)));
                        }
                        if let Some((field, share)) = less {
                            let field = [field.re, field.im][plane];
                            sum = V::load(field.add(at)).neg_mul_add(V::splat(share), sum);
                        }
                        sum.store(to.add(at));
                        product = V::load(with.add(at)).mul_add(sum, product);
                    }
                }
            }
            total.add(product);
        }
        total.total()
    }
}

/// A field less a share of another. Built only with fields of the rings.
pub struct RingTakes<T> {
    pub(super) image: Planes<T>,
    pub(super) field: Planes<T>,
    pub(super) share: T,
    pub(super) cells: Range<usize>,
}

impl<T: Real> Kernel<T> for RingTakes<T> {
    type Out = f64;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> f64 {
        let RingTakes { image, field, share, cells } = self;
        let share = V::splat(share);
        let mut total = Accumulator::<V>::new();
        for cell in cells {
            let mut square = V::splat(T::default());
            for (to, from) in [(image.re, field.re), (image.im, field.im)] {
                for lane in (0..PITCH).step_by(V::N) {
                    // SAFETY: fields have PITCH numbers for each cell; a chunk owns its cells.
                    unsafe {
                        let to = to.add(cell * PITCH + lane);
                        let rest = V::load(from.add(cell * PITCH + lane)).neg_mul_add(share, V::load(to));
                        rest.store(to);
                        square = rest.mul_add(rest, square);
                    }
                }
            }
            total.add(square);
        }
        total.total()
    }
}

/// Between fields in cells and one node after node: to the first field, or, with weights, from their sum. Built only with fields
/// of the rings.
pub struct RingMoves<'a, T: SimdReal> {
    /// Nodes of a cell.
    pub(super) run: usize,
    pub(super) nodes: Planes<T>,
    pub(super) cells: Range<usize>,
    pub(super) fields: &'a [Planes<T>],
    pub(super) weights: &'a [(T, T)],
}

impl<T: Real> Kernel<T> for RingMoves<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let RingMoves { run, nodes, cells, fields, weights } = self;
        // Behind zeros, so that a vector can be read from where it was stored or from before.
        let mut sums = [[T::default(); 2 * PITCH]; 2];
        for cell in cells {
            let first = cell * run;
            for lane in (0..run).step_by(V::N) {
                let (at, n) = (cell * PITCH + lane, V::N.min(run - lane));
                // SAFETY: the fields have so many cells and nodes; PITCH is a whole number of vectors.
                unsafe {
                    if weights.is_empty() {
                        for (node, field) in [(nodes.re, fields[0].re), (nodes.im, fields[0].im)] {
                            V::load_n(node.add(first + lane), n).store(field.add(at));
                        }
                        continue;
                    }
                    let zero = V::splat(T::default());
                    let mut sum = Complex { re: zero, im: zero };
                    for (field, weight) in fields.iter().zip(weights) {
                        let v = Complex { re: V::load(field.re.add(at)), im: V::load(field.im.add(at)) };
                        sum = sum.add(v.mul(V::splat(weight.0), V::splat(weight.1)));
                    }
                    sum.re.store(sums[0].as_mut_ptr().add(PITCH));
                    sum.im.store(sums[1].as_mut_ptr().add(PITCH));
                    // A whole vector that ends with the cell: what it has beyond this one gets nothing.
                    let (back, n) = if run < V::N { (0, n) } else { (V::N - n, V::N) };
                    for (node, sum) in [nodes.re, nodes.im].into_iter().zip(&sums) {
                        let (node, sum) =
                            (node.add(first + lane).sub(back), sum.as_ptr().add(PITCH).sub(back));
                        V::load_n(node, n).add(V::load(sum)).store_n(node, n);
                    }
                }
            }
        }
    }
}
