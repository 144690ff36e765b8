//! Cells of a torus of three-node rings: gradients of a cell as a few whole vectors, and the kinetic energy from them without
//! structure tensors between.
//!
//! Invariant: a cell is one run of nodes of one page. Its last vector overlaps the one before; lanes that a node has already had
//! are zero in a gradient, so every node counts once and no vector is cut. Vectors are virtual ones, cells are cut into chunks by
//! number: neither levels nor threads change a bit.
//! Source: `kinetic/ring3.rs` for ∂.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::{AXES_MAX, CHUNK_CELLS};
use crate::field::{PageRef, Real, Threads};
use crate::kinetic::remainder::{Gradients, MARGIN, PITCH, ROW, TENSOR, TOGETHER};
use crate::kinetic::ring3;
use crate::kinetic::sparse::Aligned;
use crate::kinetic::varying::{CellGrid, Diffusion};
use crate::simd::accumulate::Accumulator;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::map_chunks;
use core::ops::Range;

/// Axes whose lines lie in a cell, at most.
const INSIDE_MAX: usize = 3;

/// An axis whose lines lie in a cell.
#[derive(Debug, Clone)]
struct Inside {
    axis: usize,
    stride: usize,
    slope: f64,
}

/// An axis whose lines pass through cells: first nodes of the cells after and before each cell.
#[derive(Debug, Clone)]
struct Outside {
    axis: usize,
    beside: Vec<[u32; 2]>,
    slope: f64,
}

/// The rings of a torus.
#[derive(Debug, Clone)]
pub(super) struct Rings {
    /// Nodes of a cell.
    run: usize,
    n_axes: usize,
    inside: Vec<Inside>,
    outside: Vec<Outside>,
}

impl Rings {
    /// The rings of `grid`; none where an axis has other than three nodes, a cell is no run of more than half and at most
    /// [`PITCH`] nodes, or the torus is more than a page.
    pub fn new(grid: &CellGrid) -> Option<Self> {
        let (shape, run) = (&grid.shape, grid.cell_nodes());
        let n_axes = grid.cell.len();
        let is_run = (0..n_axes).all(|d| grid.cell[d] == if shape.stride(d) < run { 3 } else { 1 });
        let is_ring = shape.extents.iter().all(|&extent| extent == 3) && n_axes <= AXES_MAX;
        if !(is_run && is_ring && shape.n_pages() == 1 && run > PITCH / 2 && run <= PITCH) {
            return None;
        }
        let n_cells = grid.n_cells();
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for axis in 0..n_axes {
            let (stride, slope) = (shape.stride(axis), ring3::slope(grid.spacing[axis]));
            if stride < run {
                inside.push(Inside { axis, stride, slope });
                continue;
            }
            let beside = |cell: usize| ring3::beside(cell * run, stride).map(|node| node as u32);
            outside.push(Outside { axis, beside: (0..n_cells).map(beside).collect(), slope });
        }
        (inside.len() <= INSIDE_MAX).then_some(Rings { run, n_axes, inside, outside })
    }
}

/// What is the same for all cells, in the precision of Ψ, for vectors of N lanes.
struct Tables<T> {
    /// First node of each vector.
    firsts: [usize; PITCH],
    /// 1 where a lane is a node's first, else 0.
    counts: Aligned<[T; PITCH]>,
    /// ∂ of the inner axes at +1, −2, −1, +2 places.
    inner: Aligned<[[[T; PITCH]; 4]; INSIDE_MAX]>,
}

/// Room for the gradients of cells: a field, with the tables it needs.
pub(super) struct Slopes<'a, T: SimdReal> {
    rings: &'a Rings,
    tables: Tables<T>,
    own: Aligned<[[T; ROW]; 2]>,
}

impl<'a, T: Real> Slopes<'a, T> {
    /// For vectors of `lanes` lanes.
    pub fn new(rings: &'a Rings, lanes: usize) -> Self {
        let zero = T::default();
        let (mut firsts, mut counts) = ([0; PITCH], [zero; PITCH]);
        let mut inner = [[[zero; PITCH]; 4]; INSIDE_MAX];
        for at in 0..PITCH {
            let vector = at / lanes;
            firsts[vector] = (vector * lanes).min(rings.run - lanes);
            let node = firsts[vector] + at % lanes;
            if node < vector * lanes {
                continue;
            }
            counts[at] = T::from_f64(1.0);
            for (axis, tables) in rings.inside.iter().zip(&mut inner) {
                let coordinate = node / axis.stride % 3;
                tables[if coordinate < 2 { 0 } else { 1 }][at] = T::from_f64(axis.slope);
                tables[if coordinate > 0 { 2 } else { 3 }][at] = T::from_f64(-axis.slope);
            }
        }
        let tables = Tables { firsts, counts: Aligned(counts), inner: Aligned(inner) };
        Slopes { rings, tables, own: Aligned([[zero; ROW]; 2]) }
    }

    /// ∂Ψ on a cell, or ∂(wΨ).
    ///
    /// # Safety
    /// The planes, and the weight where there is one, have the nodes of the rings; the cell exists; the tables are for `V`.
    #[inline(always)]
    pub unsafe fn fill<V: Lanes<T = T>, const IS_WEIGHTED: bool>(
        &mut self,
        planes: [*const T; 2],
        weight: *const T,
        cell: usize,
        to: &mut Gradients<T>,
    ) {
        let Slopes { rings, tables, own } = self;
        let origin = cell * rings.run;
        // SAFETY: says the caller; margins hold the neighbours of a run's ends, which are at most 2·9 nodes away.
        unsafe {
            for (plane, from) in planes.into_iter().enumerate() {
                let load = |node: usize| {
                    let x = V::load(from.add(node));
                    if IS_WEIGHTED { x.mul(V::load(weight.add(node))) } else { x }
                };
                let row = own.0[plane].as_mut_ptr().add(MARGIN);
                for v in 0..PITCH / V::N {
                    let first = *tables.firsts.get_unchecked(v);
                    load(origin + first).store(row.add(first));
                }
                for (axis, of_axis) in rings.inside.iter().zip(&tables.inner.0) {
                    let (row, stride) = (row.cast_const(), axis.stride);
                    for v in 0..PITCH / V::N {
                        let at = row.add(*tables.firsts.get_unchecked(v));
                        let factor = |k: usize| V::load(of_axis.get_unchecked(k).as_ptr().add(v * V::N));
                        let sum = V::load(at.add(stride)).mul(factor(0));
                        let sum = V::load(at.sub(2 * stride)).mul_add(factor(1), sum);
                        let sum = V::load(at.sub(stride)).mul_add(factor(2), sum);
                        let sum = V::load(at.add(2 * stride)).mul_add(factor(3), sum);
                        sum.store(to.get_unchecked_mut(axis.axis)[plane].as_mut_ptr().add(v * V::N));
                    }
                }
                for axis in &rings.outside {
                    let [up, down] = *axis.beside.get_unchecked(cell);
                    let slope = V::splat(T::from_f64(axis.slope));
                    for v in 0..PITCH / V::N {
                        let first = *tables.firsts.get_unchecked(v);
                        let factor = V::load(tables.counts.0.as_ptr().add(v * V::N)).mul(slope);
                        let apart = load(up as usize + first).sub(load(down as usize + first)).mul(factor);
                        apart.store(to.get_unchecked_mut(axis.axis)[plane].as_mut_ptr().add(v * V::N));
                    }
                }
            }
        }
    }
}

/// Which form is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Weight<'a, T> {
    /// That with w = 1.
    One,
    /// That with these.
    Of(&'a [T]),
    /// Both at once: their gradients and fluxes are the same.
    OneAnd(&'a [T]),
}

/// Σ over nodes of the density of Re⟨Ψ, TΨ⟩ and of Re⟨wΨ, TΨ⟩, zero where one is not asked for; `page` and `weight` have the nodes
/// of the rings.
pub(super) fn forms<T: Real>(
    level: Level,
    threads: Threads<'_>,
    (rings, n_cells): (&Rings, usize),
    diffusion: &Diffusion,
    page: PageRef<'_, T>,
    weight: Weight<'_, T>,
) -> [f64; 2] {
    let n_nodes = rings.run * n_cells;
    assert!(page.re.len() == n_nodes && page.im.len() == n_nodes);
    if let Weight::Of(weight) | Weight::OneAnd(weight) = weight {
        assert_eq!(weight.len(), n_nodes, "a weight for every node");
    }
    assert_eq!(diffusion.diagonal.len(), rings.n_axes, "D of every axis");
    let parts = map_chunks(threads, n_cells.div_ceil(CHUNK_CELLS), |chunk| {
        let first = chunk * CHUNK_CELLS;
        let cells = first..n_cells.min(first + CHUNK_CELLS);
        T::ring_form(level, RingForm { rings, diffusion, page, weight, cells })
    });
    parts.iter().fold([0.0; 2], |[one, of], part| [one + part[0], of + part[1]])
}

/// The forms on some cells. Built only with a page and a weight of the rings' nodes.
pub struct RingForm<'a, T: SimdReal> {
    rings: &'a Rings,
    diffusion: &'a Diffusion,
    page: PageRef<'a, T>,
    weight: Weight<'a, T>,
    cells: Range<usize>,
}

impl<T: Real> Kernel<T> for RingForm<'_, T> {
    type Out = [f64; 2];
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> [f64; 2] {
        match self.weight {
            Weight::One => self.sum::<V, false, false>(&[]),
            Weight::Of(weight) => self.sum::<V, true, false>(weight),
            Weight::OneAnd(weight) => self.sum::<V, true, true>(weight),
        }
    }
}

impl<T: Real> RingForm<'_, T> {
    /// Rows of D of every cell, or without a weight its upper triangle with half of the diagonal.
    #[inline(always)]
    fn fill_tensors<const IS_WEIGHTED: bool>(&self, d: &mut [[T; TENSOR]; CHUNK_CELLS]) {
        let share = if IS_WEIGHTED { 1.0 } else { 0.5 };
        let cells = self.cells.clone();
        for (i, values) in self.diffusion.diagonal.iter().enumerate() {
            if let [value] = values[..] {
                d.iter_mut().for_each(|d| d[i * AXES_MAX + i] = T::from_f64(share * value));
                continue;
            }
            for (d, value) in d.iter_mut().zip(&values[cells.clone()]) {
                d[i * AXES_MAX + i] = T::from_f64(share * value);
            }
        }
        for pair in &self.diffusion.off_diagonal {
            let (i, j) = pair.axes;
            let (upper, lower) = (i * AXES_MAX + j, j * AXES_MAX + i);
            for (d, value) in d.iter_mut().zip(&pair.values[cells.clone()]) {
                d[upper] = T::from_f64(*value);
                if IS_WEIGHTED {
                    d[lower] = T::from_f64(*value);
                }
            }
        }
    }

    #[inline(always)]
    fn sum<V: Lanes<T = T>, const IS_WEIGHTED: bool, const IS_BOTH: bool>(&self, weight: &[T]) -> [f64; 2] {
        let (rings, n) = (self.rings, self.rings.n_axes);
        let zero = V::splat(T::default());
        let mut slopes = Slopes::new(rings, V::N);
        // Axes and rows of D behind the last axis are zeros.
        let mut gradients: Aligned<Gradients<T>> = Aligned([[[T::default(); PITCH]; 2]; AXES_MAX]);
        let mut weighted: Aligned<Gradients<T>> = Aligned([[[T::default(); PITCH]; 2]; AXES_MAX]);
        let mut tensors = [[T::default(); TENSOR]; CHUNK_CELLS];
        self.fill_tensors::<IS_WEIGHTED>(&mut tensors);
        let planes = [self.page.re.as_ptr(), self.page.im.as_ptr()];
        let (mut total, mut of_one) = (Accumulator::<V>::new(), Accumulator::<V>::new());
        for (cell, d) in self.cells.clone().zip(&tensors) {
            let (mut re, mut im, mut one_re, mut one_im) = (zero, zero, zero, zero);
            // SAFETY: the page and the weight have the nodes; planes of a gradient are PITCH numbers.
            unsafe {
                slopes.fill::<V, false>(planes, weight.as_ptr(), cell, &mut gradients.0);
                if IS_WEIGHTED {
                    slopes.fill::<V, true>(planes, weight.as_ptr(), cell, &mut weighted.0);
                }
                let left = if IS_WEIGHTED { &weighted.0 } else { &gradients.0 };
                for i in (0..n).step_by(TOGETHER) {
                    for lane in (0..PITCH).step_by(V::N) {
                        let mut fluxes = [[zero; 2]; TOGETHER];
                        for j in (if IS_WEIGHTED { 0 } else { i })..n {
                            let [a, b] = gradients.0.get_unchecked(j);
                            let (a, b) = (V::load(a.as_ptr().add(lane)), V::load(b.as_ptr().add(lane)));
                            for k in 0..TOGETHER {
                                let d = V::splat(*d.as_ptr().add((i + k) * AXES_MAX + j));
                                fluxes[k] = [a.mul_add(d, fluxes[k][0]), b.mul_add(d, fluxes[k][1])];
                            }
                        }
                        for k in 0..TOGETHER {
                            let [a, b] = left.get_unchecked(i + k);
                            re = V::load(a.as_ptr().add(lane)).mul_add(fluxes[k][0], re);
                            im = V::load(b.as_ptr().add(lane)).mul_add(fluxes[k][1], im);
                        }
                        for k in 0..(if IS_BOTH { TOGETHER } else { 0 }) {
                            let [a, b] = gradients.0.get_unchecked(i + k);
                            one_re = V::load(a.as_ptr().add(lane)).mul_add(fluxes[k][0], one_re);
                            one_im = V::load(b.as_ptr().add(lane)).mul_add(fluxes[k][1], one_im);
                        }
                    }
                }
            }
            total.add(re.add(im));
            if IS_BOTH {
                of_one.add(one_re.add(one_im));
            }
        }
        match (IS_WEIGHTED, IS_BOTH) {
            (false, _) => [total.total(), 0.0],
            (true, false) => [0.0, 0.5 * total.total()],
            (true, true) => [0.5 * of_one.total(), 0.5 * total.total()],
        }
    }
}
