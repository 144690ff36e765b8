//! Structure tensors over the active nodes: cell by cell where cells are runs, else node by node.
//! Invariant: cells are cut into chunks by number, a cell's nodes are summed in order. Source: kernel `metric_update`.

use super::{Lattice, page_nodes};
use crate::field::{PageRef, Real, Threads};
use crate::metric_update::{component, n_components, structure_on_runs};
use crate::simd::Level;
use crate::threads::map_chunks;
use core::ops::Range;

/// Cells that one thread takes at a time, node by node.
const CHUNK_CELLS: usize = 16;

impl Lattice {
    /// Structure tensors of ranges of cells, as [`crate::metric_update::structure`] gives them, of the truncated wave: component
    /// after component of a range, range after range. A range lies on one page of a sparse torus.
    ///
    /// - equation: S_ij = Σ_n Re(∂_iΨ ∂_jΨ*), ∂ over active nodes
    /// - source: kernel `metric_update`
    /// - scheme and order: exact
    /// - stability bound: none
    /// - bytes and flops per node: 4m flops per axis on lines of m active nodes, 4 flops per component
    pub fn structure<T: Real>(
        &self,
        level: Level,
        threads: Threads<'_>,
        pages: &[PageRef<'_, T>],
        ranges: &[Range<usize>],
        sums: &mut [f64],
    ) {
        let n_cells: usize = ranges.iter().map(ExactSizeIterator::len).sum();
        assert_eq!(sums.len(), n_components(self.axes.len()) * n_cells, "a number per component and cell");
        if let Some(runs) = &self.runs {
            return structure_on_runs(level, threads, runs, pages, ranges, sums);
        }
        let mut rest = sums;
        for range in ranges {
            let (sums, others) = rest.split_at_mut(n_components(self.axes.len()) * range.len());
            self.structure_by_nodes(threads, pages, range.clone(), sums);
            rest = others;
        }
    }

    /// The same of one range, node by node.
    fn structure_by_nodes<T: Real>(
        &self,
        threads: Threads<'_>,
        pages: &[PageRef<'_, T>],
        cells: Range<usize>,
        sums: &mut [f64],
    ) {
        let axes = self.axes.len();
        let components = n_components(axes);
        let n_chunks = cells.len().div_ceil(CHUNK_CELLS);
        let parts = map_chunks(threads, n_chunks, |chunk| {
            let first = cells.start + chunk * CHUNK_CELLS;
            let mut out = Vec::with_capacity(components * CHUNK_CELLS);
            for cell in first..cells.end.min(first + CHUNK_CELLS) {
                let mut tensor = vec![0.0; components];
                for node in self.nodes_of(cell) {
                    self.add_products(pages, node, &mut tensor);
                }
                out.extend(tensor);
            }
            out
        });
        for (chunk, part) in parts.iter().enumerate() {
            for (k, tensor) in part.chunks_exact(components).enumerate() {
                for (c, value) in tensor.iter().enumerate() {
                    sums[c * cells.len() + chunk * CHUNK_CELLS + k] = *value;
                }
            }
        }
    }

    /// Adds Re(∂_iΨ ∂_jΨ*) of a node.
    fn add_products<T: Real>(&self, pages: &[PageRef<'_, T>], node: usize, tensor: &mut [f64]) {
        let axes = self.axes.len();
        let mut gradient = [(0.0, 0.0); 9];
        for (axis, gradient) in self.axes.iter().zip(&mut gradient) {
            let p = self.place(axis, node);
            for (other, q) in self.line_through(axis, node) {
                let slope = axis.slope[(p + axis.extent - q) % axis.extent];
                let (page, at) = (&pages[other / page_nodes(pages)], other % page_nodes(pages));
                gradient.0 += slope * page.re[at].to_f64();
                gradient.1 += slope * page.im[at].to_f64();
            }
        }
        for i in 0..axes {
            for j in i..axes {
                let (a, b) = (gradient[i], gradient[j]);
                tensor[component(axes, i, j)] += a.0 * b.0 + a.1 * b.1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
