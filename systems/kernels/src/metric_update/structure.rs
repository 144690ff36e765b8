//! Sums of products of derivatives over the nodes of a cell. Invariant: those of [`super::structure()`]; vectors are virtual ones, so
//! the level changes no bit. Source: the module's.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::rings::{Rings, Slopes};
use super::{AXES_MAX, BATCH, COMPONENTS_MAX, CellStencil, n_components};
use crate::field::{PageRef, Real};
use crate::kinetic::remainder::{Gradients, PITCH};
use crate::kinetic::sparse::Aligned;
use crate::simd::{Kernel, Lanes, SimdReal};
use core::ops::Range;

/// The structure tensors of some cells, component after component. Built only with pages of the stencil's shape.
pub struct StructurePass<'a, T: SimdReal> {
    pub(super) stencil: &'a CellStencil,
    pub(super) pages: &'a [PageRef<'a, T>],
    pub(super) cells: Range<usize>,
}

impl<T: Real> Kernel<T> for StructurePass<'_, T> {
    type Out = Vec<f64>;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> Vec<f64> {
        match &self.stencil.rings {
            Some(rings) => self.on_rings::<V>(rings),
            None => self.on_runs::<V>(),
        }
    }
}

impl<T: Real> StructurePass<'_, T> {
    /// Cells that are runs of rings of three.
    #[inline(always)]
    fn on_rings<V: Lanes<T = T>>(self, rings: &Rings) -> Vec<f64> {
        let axes = self.stencil.grid.cell.len();
        let mut slopes = Slopes::new(rings, V::N);
        let mut gradients: Aligned<Gradients<T>> = Aligned([[[T::default(); PITCH]; 2]; AXES_MAX]);
        let mut rows = [0.0; COMPONENTS_MAX.next_multiple_of(BATCH) * BATCH];
        let mut out = vec![0.0; n_components(axes) * self.cells.len()];
        let planes = [self.pages[0].re.as_ptr(), self.pages[0].im.as_ptr()];
        let cells = self.cells.clone();
        for (at, cell) in cells.enumerate() {
            // SAFETY: the page has the stencil's nodes, as its rings have.
            unsafe { slopes.fill::<V, false>(planes, core::ptr::null(), cell, &mut gradients.0) };
            products::<V>(gradients.0.as_flattened().as_flattened(), axes, PITCH, &mut rows, (&mut out, at));
        }
        out
    }

    #[inline(always)]
    fn on_runs<V: Lanes<T = T>>(self) -> Vec<f64> {
        let axes = self.stencil.grid.cell.len();
        let width = self.stencil.grid.cell_nodes().next_multiple_of(V::N);
        // ∂_dΨ on the cell's nodes, real then imaginary part of each axis; lanes beyond the last node stay 0.
        let mut gradients = vec![T::default(); 2 * axes * width];
        let mut rows = vec![0.0; COMPONENTS_MAX.next_multiple_of(BATCH) * BATCH];
        let mut out = vec![0.0; n_components(axes) * self.cells.len()];
        let mut place = self.stencil.place(self.cells.start);
        for at in 0..self.cells.len() {
            let origin = place.origin();
            for (r, first) in self.stencil.runs.iter().enumerate() {
                for d in 0..axes {
                    let (re, im) = gradients[2 * d * width..].split_at_mut(width);
                    let at = r * self.stencil.run..(r + 1) * self.stencil.run;
                    // A run begins where the axes inside it begin; along the others, runs of a cell lie side by side.
                    let inside = if *first == 0 { 0 } else { first / place.strides[d] % place.extents[d] };
                    let coordinate = place.coordinates[d] + inside;
                    let start = (origin + first, coordinate);
                    self.slope::<V>(d, start, &mut re[at.clone()], &mut im[at]);
                }
            }
            products::<V>(&gradients, axes, width, &mut rows, (&mut out, at));
            place.advance(axes);
        }
        out
    }

    /// The page of a node, and the node in it.
    #[inline(always)]
    fn page_of(&self, node: usize) -> (&PageRef<'_, T>, usize) {
        match self.pages {
            [page] => (page, node),
            pages => {
                let nodes = self.stencil.grid.shape.page_nodes;
                (&pages[node / nodes], node % nodes)
            }
        }
    }

    /// ∂_dΨ on the run of nodes from `first` on, which has this coordinate along the axis.
    #[inline(always)]
    fn slope<V: Lanes<T = T>>(
        &self,
        d: usize,
        (first, coordinate): (usize, usize),
        re: &mut [T],
        im: &mut [T],
    ) {
        let shape = &self.stencil.grid.shape;
        let (extent, stride) = (shape.extents[d], shape.stride(d));
        let slopes = &self.stencil.slopes[d];
        let beside = |node: usize, coordinate: usize, offset: usize| {
            let wrapped =
                if coordinate < offset { coordinate + extent - offset } else { coordinate - offset };
            self.page_of(node - coordinate * stride + wrapped * stride)
        };
        let n_nodes = re.len();
        if let Some(others) = &self.stencil.turns[d] {
            let (page, node) = self.page_of(first);
            let (from_re, from_im) = (&page.re[node..][..n_nodes], &page.im[node..][..n_nodes]);
            let out = re.iter_mut().zip(im);
            for ((re, im), others) in out.zip(others.chunks_exact(extent - 1)) {
                let (mut x, mut y) = (0.0, 0.0);
                for (slope, &other) in slopes[1..].iter().zip(others) {
                    x += slope * from_re[other as usize].to_f64();
                    y += slope * from_im[other as usize].to_f64();
                }
                (*re, *im) = (T::from_f64(x), T::from_f64(y));
            }
            return;
        }
        if stride < n_nodes {
            // The run turns around within the axis: node by node.
            for (k, (re, im)) in re.iter_mut().zip(im).enumerate() {
                let (mut x, mut y) = (0.0, 0.0);
                for (offset, slope) in slopes.iter().enumerate().skip(1) {
                    let (page, node) = beside(first + k, (first + k) / stride % extent, offset);
                    x += slope * page.re[node].to_f64();
                    y += slope * page.im[node].to_f64();
                }
                (*re, *im) = (T::from_f64(x), T::from_f64(y));
            }
            return;
        }
        for (offset, slope) in slopes.iter().enumerate().skip(1) {
            let (page, node) = beside(first, coordinate, offset);
            let (from_re, from_im) = (&page.re[node..][..n_nodes], &page.im[node..][..n_nodes]);
            let slope = V::splat(T::from_f64(*slope));
            // SAFETY: `n_nodes` scalars are readable, and writable where the sums go.
            unsafe {
                if slopes.len() == 3 && offset == 1 {
                    // Both neighbours of a ring of three at once.
                    let (page, node) = beside(first, coordinate, 2);
                    let other = V::splat(T::from_f64(slopes[2]));
                    let planes = [
                        (from_re, &page.re[node..][..n_nodes], &mut *re),
                        (from_im, &page.im[node..][..n_nodes], &mut *im),
                    ];
                    for (from, beyond, to) in planes {
                        if n_nodes < V::N {
                            let x = V::load_n(from.as_ptr(), n_nodes).mul(slope);
                            let x = V::load_n(beyond.as_ptr(), n_nodes).mul_add(other, x);
                            x.store_n(to.as_mut_ptr(), n_nodes);
                            continue;
                        }
                        // The last vector overlaps the one before, which is cheaper than a mask.
                        let mut lane = 0;
                        while lane < n_nodes {
                            let at = lane.min(n_nodes - V::N);
                            let x = V::load(from.as_ptr().add(at)).mul(slope);
                            let x = V::load(beyond.as_ptr().add(at)).mul_add(other, x);
                            x.store(to.as_mut_ptr().add(at));
                            lane += V::N;
                        }
                    }
                    return;
                }
                for lane in (0..n_nodes).step_by(V::N) {
                    let n = V::N.min(n_nodes - lane);
                    let (to_re, to_im) = (re.as_mut_ptr().add(lane), im.as_mut_ptr().add(lane));
                    let mut x = V::load_n(from_re.as_ptr().add(lane), n).mul(slope);
                    let mut y = V::load_n(from_im.as_ptr().add(lane), n).mul(slope);
                    if offset > 1 {
                        (x, y) = (x.add(V::load_n(to_re, n)), y.add(V::load_n(to_im, n)));
                    }
                    x.store_n(to_re, n);
                    y.store_n(to_im, n);
                }
            }
        }
    }
}

/// Vectors of a gradient that [`products`] keeps.
const KEPT: usize = 4;

/// Σ_lanes (re_i re_j + im_i im_j) of all components, those of cell `at` of the cells that `out` has room for; `rows` is room for
/// eight numbers of each.
#[inline(always)]
pub(super) fn products<V: Lanes>(
    gradients: &[V::T],
    axes: usize,
    width: usize,
    rows: &mut [f64],
    (out, at): (&mut [f64], usize),
) {
    let components = n_components(axes);
    let n_cells = out.len() / components;
    let mut c = 0;
    for i in 0..axes {
        // Those of the first axis stay in registers, as many as fit there.
        let of_first = &gradients[2 * i * width..][..2 * width];
        let mut first = [V::splat(V::T::default()); KEPT];
        for v in 0..KEPT.min(2 * width / V::N) {
            // SAFETY: so many vectors are readable.
            first[v] = unsafe { V::load(of_first.as_ptr().add(v * V::N)) };
        }
        for j in i..axes {
            let of_other = &gradients[2 * j * width..][..2 * width];
            let mut sum = V::splat(V::T::default());
            for v in 0..2 * width / V::N {
                // SAFETY: N numbers are readable from there on.
                unsafe {
                    let kept = if v < KEPT { first[v] } else { V::load(of_first.as_ptr().add(v * V::N)) };
                    sum = kept.mul_add(V::load(of_other.as_ptr().add(v * V::N)), sum);
                }
            }
            let mut wide = sum.widen(0);
            for half in 1..V::N / BATCH {
                wide = wide.add(sum.widen(half));
            }
            // SAFETY: a row of eight numbers.
            unsafe { wide.store(rows[c * BATCH..].as_mut_ptr()) };
            c += 1;
        }
    }
    // Lanes are summed for eight components at a time.
    for first in (0..components).step_by(BATCH) {
        let mut columns = [0.0; BATCH * BATCH];
        let mut sum = [0.0; 16];
        // SAFETY: eight rows of eight numbers on both sides.
        unsafe {
            let from = rows[first * BATCH..].as_ptr();
            V::Wide::transpose(from, BATCH, BATCH, BATCH, columns.as_mut_ptr(), BATCH, BATCH);
            let mut total = V::Wide::splat(0.0);
            for column in columns.chunks_exact(BATCH) {
                total = total.add(V::Wide::load(column.as_ptr()));
            }
            total.store_array(&mut sum);
        }
        for (c, sum) in sum.iter().enumerate().take(BATCH.min(components - first)) {
            out[(first + c) * n_cells + at] = *sum;
        }
    }
}
