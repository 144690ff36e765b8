//! Structure tensors on the active pages of a sparse torus, cell by cell. Invariant: those of the truncated wave, ∂ over active
//! nodes; a page's cells are cut into chunks by number, vectors are virtual ones: neither threads nor levels change a bit.
//! Source: the module's; `kinetic/sparse/runs.rs` for ∂.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::structure::products;
use super::{AXES_MAX, BATCH, CHUNK_CELLS, COMPONENTS_MAX, n_components, turn};
use crate::field::{PageRef, Real, Threads};
use crate::half_potential::Planes;
use crate::kinetic::remainder::{Gradients, PITCH};
use crate::kinetic::sparse::{Aligned, RunSlopes, RunTables, Runs};
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::map_chunks;
use core::ops::Range;

/// Structure tensors of ranges of cells, each on one page: component after component of a range, range after range.
pub(crate) fn structure_on_runs<T: Real>(
    level: Level,
    threads: Threads<'_>,
    runs: &Runs,
    pages: &[PageRef<'_, T>],
    ranges: &[Range<usize>],
    sums: &mut [f64],
) {
    let (components, per_page) = (n_components(runs.n_axes()), runs.per_page());
    let tables = &RunTables::<T>::new(runs, runs.run());
    let pages: &[Planes<T>] = &pages.iter().map(Planes::read).collect::<Vec<_>>();
    let chunks: Vec<Range<usize>> = ranges
        .iter()
        .flat_map(|range| {
            assert!(range.is_empty() || range.start / per_page == (range.end - 1) / per_page, "one page");
            range.clone().step_by(CHUNK_CELLS).map(|first| first..range.end.min(first + CHUNK_CELLS))
        })
        .collect();
    let parts = map_chunks(threads, chunks.len(), |chunk| {
        let cells = chunks[chunk].clone();
        T::run_structure(level, RunStructure { runs, tables, pages, cells })
    });
    let (mut rest, mut parts) = (sums, &parts[..]);
    for range in ranges {
        let (sums, others) = rest.split_at_mut(components * range.len());
        let (of_range, behind) = parts.split_at(range.len().div_ceil(CHUNK_CELLS));
        turn(of_range, (components, CHUNK_CELLS), sums);
        (rest, parts) = (others, behind);
    }
}

/// The structure tensors of some cells of a page, component after component. Built only with pages of the runs.
pub struct RunStructure<'a, T: SimdReal> {
    runs: &'a Runs,
    tables: &'a RunTables<T>,
    pages: &'a [Planes<T>],
    cells: Range<usize>,
}

impl<T: Real> Kernel<T> for RunStructure<'_, T> {
    type Out = Vec<f64>;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> Vec<f64> {
        let RunStructure { runs, tables, pages, cells } = self;
        let (n_axes, per_page) = (runs.n_axes(), runs.per_page());
        let slot = cells.start / per_page;
        let mut slopes = RunSlopes::new(runs, tables, pages, slot);
        let mut gradients: Aligned<Gradients<T>> = Aligned([[[T::default(); PITCH]; 2]; AXES_MAX]);
        let mut rows = [0.0; COMPONENTS_MAX.next_multiple_of(BATCH) * BATCH];
        let mut out = vec![0.0; n_components(n_axes) * cells.len()];
        for (at, cell) in cells.enumerate() {
            // SAFETY: a cell of the page.
            unsafe { slopes.fill::<V>(cell - slot * per_page, &mut gradients.0) };
            let of_cell = (&mut out[..], at);
            products::<V>(gradients.0.as_flattened().as_flattened(), n_axes, PITCH, &mut rows, of_cell);
        }
        out
    }
}
