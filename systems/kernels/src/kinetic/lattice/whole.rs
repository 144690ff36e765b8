//! TE on a torus that is all there: fluxes cell by cell, their divergence along whole lines, in vectors.
//!
//! Invariant: as [`super::Lattice::renew_image`]: an image that followed D is that of a new image, bit for bit, because the
//! divergence is always taken as a whole and a cell's flux depends on its own D alone.
//! Source: `remainder.rs`, with the diagonal.

#![allow(unsafe_code)] // Fields as raw planes.

use super::rings::Rings;
use super::{Image, Lattice};
use crate::field::{Shape, Threads};
use crate::half_potential::Planes;
use crate::kinetic::bundle::AxisPass;
use crate::kinetic::gradient::{Wide, derivative_times};
use crate::kinetic::remainder::{AXES_MAX, PART, Tensor, fluxes_of_run};
use crate::kinetic::varying::{CellGrid, Diffusion};
use crate::simd::{Kernel, Lanes, Level, dispatch};
use core::ops::Range;

/// The lines of a torus that is all there.
pub(super) struct Whole {
    pub shape: Shape,
    level: Level,
    /// −½∂ of each axis.
    divergences: Vec<AxisPass<f64>>,
    /// Nodes of every cell, where they follow each other.
    runs: Option<Vec<Range<usize>>>,
    /// Where every axis has three nodes: the rings, which have a way of their own.
    pub rings: Option<Rings>,
}

impl std::fmt::Debug for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Whole({:?})", self.shape)
    }
}

impl Whole {
    pub fn new(grid: &CellGrid, nodes: &[Vec<u32>]) -> Self {
        let run = |nodes: &Vec<u32>| {
            let first = *nodes.first()? as usize;
            let is_run = nodes.iter().enumerate().all(|(k, node)| *node as usize == first + k);
            is_run.then_some(first..first + nodes.len())
        };
        let pass = |axis: usize| derivative_times(-0.5, &grid.shape, axis, grid.spacing[axis]);
        let runs: Option<Vec<Range<usize>>> = nodes.iter().map(run).collect();
        let level = Level::detect();
        let rings = |runs: &Vec<Range<usize>>| Rings::new(level, &grid.shape.extents, &grid.spacing, runs);
        Whole {
            level,
            divergences: (0..grid.cell.len()).map(pass).collect(),
            rings: runs.as_ref().and_then(rings),
            runs,
            shape: grid.shape.clone(),
        }
    }

    /// The fluxes on `cells` whose gradient is not nothing.
    pub fn set_fluxes(
        &self,
        lattice: &Lattice,
        diffusion: &Diffusion,
        image: &mut Image,
        cells: impl Iterator<Item = usize>,
    ) {
        let is_reached = |image: &Image, mut nodes: Range<usize>| {
            nodes.any(|node| image.gradient.iter().any(|g| g.re[node] != 0.0 || g.im[node] != 0.0))
        };
        let Some(runs) = &self.runs else {
            let nodes = cells.flat_map(|cell| lattice.nodes_of(cell));
            nodes.for_each(|node| lattice.set_flux(diffusion, image, node));
            return;
        };
        let n_nodes = self.shape.n_nodes();
        let mut d: Tensor<f64> = [[0.0; AXES_MAX]; AXES_MAX + 1];
        // The torus as one page.
        let whole = |field: &mut Wide| field.planes(n_nodes)[0];
        let to: Vec<Planes<f64>> = image.flux.iter_mut().map(whole).collect();
        for cell in cells {
            let nodes = runs[cell].clone();
            if !is_reached(image, nodes.clone()) {
                continue;
            }
            for (axis, row) in d.iter_mut().enumerate().take(to.len()) {
                row[axis] = diffusion.at(axis, cell) - lattice.background[axis];
            }
            for pair in &diffusion.off_diagonal {
                let value = pair.values[cell];
                (d[pair.axes.0][pair.axes.1], d[pair.axes.1][pair.axes.0]) = (value, value);
            }
            dispatch::<f64, _>(self.level, CellFlux { from: &image.gradient, to: &to, nodes, d: &d });
        }
    }

    /// TE from the fluxes; what it was before is kept beside it.
    pub fn set_image(&self, image: &mut Image) {
        std::mem::swap(&mut image.image, &mut image.before);
        image.image.re.copy_from_slice(&image.fixed.re);
        image.image.im.copy_from_slice(&image.fixed.im);
        let nodes = self.shape.page_nodes;
        for (pass, flux) in self.divergences.iter().zip(&mut image.flux) {
            if pass.is_slope() {
                let to = image.image.planes(nodes);
                pass.run_to(self.level, Threads::Serial, &flux.planes(nodes), &to, true);
            } else {
                let mut part = flux.clone();
                pass.run(self.level, Threads::Serial, &part.planes(nodes));
                image.image.add(1.0, &part);
            }
        }
    }
}

/// F_i = Σ_j D^{ij} ∂_jE on the nodes of a cell. Built only with fields that have them.
struct CellFlux<'a> {
    from: &'a [Wide],
    to: &'a [Planes<f64>],
    nodes: Range<usize>,
    d: &'a Tensor<f64>,
}

impl Kernel<f64> for CellFlux<'_> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = f64>>(self) {
        let CellFlux { from, to, nodes, d } = self;
        // Only read.
        let view = |field: &Wide| Planes {
            re: field.re.as_ptr().cast_mut(),
            im: field.im.as_ptr().cast_mut(),
            len: field.re.len(),
        };
        let mut rows = [Planes { re: core::ptr::null_mut(), im: core::ptr::null_mut(), len: 0 }; AXES_MAX];
        rows.iter_mut().zip(from).for_each(|(row, field)| *row = view(field));
        for first in nodes.clone().step_by(PART) {
            // SAFETY: the nodes exist in all fields, and the caller owns those that are written.
            unsafe { fluxes_of_run::<V>(&rows[..from.len()], to, first, PART.min(nodes.end - first), d) };
        }
    }
}
