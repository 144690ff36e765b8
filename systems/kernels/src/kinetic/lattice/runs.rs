//! The quadratic form of T cell by cell, where cells are runs of nodes. Invariant: that of [`super`]; cells are cut into chunks by
//! number, vectors are virtual ones: neither threads nor levels change a bit. Gradients and their products on a cell are formed in
//! the precision of Ψ. Source: the module's; `kinetic/sparse/runs.rs`.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::Lattice;
use crate::field::{PageRef, Real, Threads};
use crate::half_potential::Planes;
use crate::kinetic::remainder::{AXES_MAX, Gradients, PITCH, TENSOR, TOGETHER};
use crate::kinetic::sparse::{Aligned, RunSlopes, RunTables, Runs, Sum};
use crate::kinetic::varying::Diffusion;
use crate::simd::accumulate::Accumulator;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::map_chunks;
use core::ops::Range;

/// Cells that one thread takes at a time.
const CHUNK_CELLS: usize = 81;

impl Lattice {
    /// Re⟨wΨ, TΨ⟩ per node's volume, summed, w = 1 where there is none.
    pub(super) fn form_on_runs<T: Real>(
        &self,
        threads: Threads<'_>,
        runs: &Runs,
        diffusion: &Diffusion,
        pages: &[PageRef<'_, T>],
        weight: Option<&[&[T]]>,
    ) -> f64 {
        let per_page = runs.per_page();
        let psi: &[Planes<T>] = &pages.iter().map(Planes::read).collect::<Vec<_>>();
        let times = |(x, w): (&T, &T)| T::from_f64(x.to_f64() * w.to_f64());
        let weighted: Option<Vec<[Vec<T>; 2]>> = weight.map(|weight| {
            let page = |(page, w): (&PageRef<'_, T>, &&[T])| {
                [page.re, page.im].map(|plane| plane.iter().zip(*w).map(times).collect())
            };
            pages.iter().zip(weight).map(page).collect()
        });
        let weighted: Option<Vec<Planes<T>>> = weighted
            .as_ref()
            .map(|planes| planes.iter().map(|[re, im]| Planes::read(&PageRef { re, im })).collect());
        let tables = &RunTables::new(runs, runs.run());
        let background = &self.background[..];
        let diagonal: f64 = self.axes.iter().zip(background).map(|(axis, d)| 0.5 * d * axis.second[0]).sum();
        let per_chunk = per_page.div_ceil(CHUNK_CELLS);
        let parts = map_chunks(threads, psi.len() * per_chunk, |chunk| {
            let (slot, first) = (chunk / per_chunk, chunk % per_chunk * CHUNK_CELLS);
            let cells = first..per_page.min(first + CHUNK_CELLS);
            let weighted = weighted.as_deref();
            T::run_form(
                Level::detect(),
                RunForm { runs, tables, diffusion, background, diagonal, psi, weighted, slot, cells },
            )
        });
        parts.iter().sum()
    }
}

/// The form on some cells of a page. Built only with pages of the runs.
pub struct RunForm<'a, T: SimdReal> {
    runs: &'a Runs,
    tables: &'a RunTables<T>,
    diffusion: &'a Diffusion,
    background: &'a [f64],
    /// Σ ½D₀K of a node with itself.
    diagonal: f64,
    psi: &'a [Planes<T>],
    weighted: Option<&'a [Planes<T>]>,
    slot: usize,
    cells: Range<usize>,
}

impl<T: Real> RunForm<'_, T> {
    /// ½(D − D₀) of a cell; rows behind the last axis stay zeros.
    fn fill_tensor(&self, cell: usize, tensor: &mut [T; TENSOR]) {
        for (i, background) in self.background.iter().enumerate() {
            tensor[i * AXES_MAX + i] = T::from_f64(0.5 * (self.diffusion.at(i, cell) - background));
        }
        for pair in &self.diffusion.off_diagonal {
            let ((i, j), value) = (pair.axes, T::from_f64(0.5 * pair.values[cell]));
            (tensor[i * AXES_MAX + j], tensor[j * AXES_MAX + i]) = (value, value);
        }
    }
}

impl<T: Real> Kernel<T> for RunForm<'_, T> {
    type Out = f64;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> f64 {
        let Self { runs, tables, psi, slot, .. } = self;
        let (n, zero) = (runs.n_axes(), V::splat(T::default()));
        let mut slopes = RunSlopes::new(runs, tables, psi, slot);
        let mut curvatures = RunSlopes::of(Sum::Curvature, runs, tables, psi, slot);
        let mut slopes_of_weighted = self.weighted.map(|field| RunSlopes::new(runs, tables, field, slot));
        let mut gradients: Aligned<Gradients<T>> = Aligned([[[T::default(); PITCH]; 2]; AXES_MAX]);
        let mut of_weighted: Aligned<Gradients<T>> = Aligned([[[T::default(); PITCH]; 2]; AXES_MAX]);
        let mut seconds: Aligned<Gradients<T>> = Aligned([[[T::default(); PITCH]; 2]; AXES_MAX]);
        let mut tensor = [T::default(); TENSOR];
        let mut half = [T::default(); AXES_MAX];
        for (half, background) in half.iter_mut().zip(self.background) {
            *half = T::from_f64(0.5 * background);
        }
        let diagonal = V::splat(T::from_f64(self.diagonal));
        let mut total = Accumulator::<V>::new();
        for cell in self.cells.clone() {
            self.fill_tensor(slot * runs.per_page() + cell, &mut tensor);
            let (mut re, mut im) = (zero, zero);
            // SAFETY: a cell of the page; planes of a gradient are PITCH numbers, axes and rows behind the last one are zeros.
            unsafe {
                slopes.fill::<V>(cell, &mut gradients.0);
                curvatures.fill::<V>(cell, &mut seconds.0);
                let left = match &mut slopes_of_weighted {
                    Some(slopes) => {
                        slopes.fill::<V>(cell, &mut of_weighted.0);
                        &of_weighted.0
                    }
                    None => &gradients.0,
                };
                let at = cell * tables.pitch;
                let own = psi.get_unchecked(slot).offset(at);
                let with = self.weighted.map_or(own, |field| field.get_unchecked(slot).offset(at));
                for v in 0..PITCH / V::N {
                    let (first, lane) = (*tables.firsts.get_unchecked(v), v * V::N);
                    let counts = V::load(tables.counts.0.as_ptr().add(lane));
                    let mut x = V::load(own.re.add(first)).mul(diagonal);
                    let mut y = V::load(own.im.add(first)).mul(diagonal);
                    for i in 0..n {
                        let [a, b] = seconds.0.get_unchecked(i);
                        let half = V::splat(*half.get_unchecked(i));
                        x = V::load(a.as_ptr().add(lane)).mul_add(half, x);
                        y = V::load(b.as_ptr().add(lane)).mul_add(half, y);
                    }
                    re = V::load(with.re.add(first)).mul(counts).mul_add(x, re);
                    im = V::load(with.im.add(first)).mul(counts).mul_add(y, im);
                    for i in (0..n).step_by(TOGETHER) {
                        let mut fluxes = [[zero; 2]; TOGETHER];
                        for j in 0..n {
                            let [a, b] = gradients.0.get_unchecked(j);
                            let (a, b) = (V::load(a.as_ptr().add(lane)), V::load(b.as_ptr().add(lane)));
                            for k in 0..TOGETHER {
                                let d = V::splat(*tensor.get_unchecked((i + k) * AXES_MAX + j));
                                fluxes[k] = [a.mul_add(d, fluxes[k][0]), b.mul_add(d, fluxes[k][1])];
                            }
                        }
                        for k in 0..TOGETHER {
                            let [a, b] = left.get_unchecked(i + k);
                            re = V::load(a.as_ptr().add(lane)).mul_add(fluxes[k][0], re);
                            im = V::load(b.as_ptr().add(lane)).mul_add(fluxes[k][1], im);
                        }
                    }
                }
            }
            total.add(re.add(im));
        }
        total.total()
    }
}
