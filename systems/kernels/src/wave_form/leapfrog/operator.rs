//! ∂_i D^{ij}(x) ∂_j, planned: which axes go alone, which together, and the Nyquist modes.
//!
//! Invariant: the operator is symmetric, because ∂ is antisymmetric and D symmetric; partial images are added in the
//! order of axes, whatever the threads. Source: `kinetic/gradient.rs`, whose energy this is the force of.

use super::passes::{LeapPass, MoveRun, NyquistRun};
use super::{CHUNK, wavenumber_greatest};
use crate::field::{Real, Shape, Threads};
use crate::half_potential::Planes;
use crate::kinetic::bundle::AxisPass;
use crate::kinetic::gradient::{derivative_times, operator_pass};
use crate::kinetic::remainder::{FluxPass, Layout, Pair, Scratch};
use crate::kinetic::varying::Diffusion;
use crate::simd::{Level, SimdReal};
use crate::threads::for_each_chunk;

/// An axis whose D is the same everywhere and that no component couples.
pub(super) struct Straight<T: SimdReal> {
    pub axis: usize,
    /// D∂² in one pass, or D∂ after ∂ on three nodes.
    pass: AxisPass<T>,
    slope: Option<AxisPass<T>>,
}

impl<T: Real> Straight<T> {
    fn new(shape: &Shape, axis: usize, spacing: f64, diffusion: f64) -> Self {
        if shape.extents[axis] == 3 {
            let pass = |factor| derivative_times(factor, shape, axis, spacing);
            return Straight { axis, pass: pass(diffusion), slope: Some(pass(1.0)) };
        }
        let second = |k: f64| (-diffusion * k * k, 0.0);
        Straight { axis, pass: operator_pass(shape, axis, spacing, second), slope: None }
    }

    /// image ← D∂²ψ, or added to it.
    pub fn run(
        &self,
        level: Level,
        threads: Threads<'_>,
        [psi, scratch, image]: [&[Planes<T>]; 3],
        adds: bool,
    ) {
        match &self.slope {
            Some(slope) => {
                slope.run_to(level, threads, psi, scratch, false);
                self.pass.run_to(level, threads, scratch, image, adds);
            }
            None => {
                let to = if adds { scratch } else { image };
                copy(level, threads, psi, to, false);
                self.pass.run(level, threads, to);
                if adds {
                    copy(level, threads, scratch, image, true);
                }
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.pass.bytes() + self.slope.as_ref().map_or(0, AxisPass::bytes)
    }
}

/// Axes that go together: one whose D varies, or all that are coupled.
pub(super) struct Group<T: SimdReal> {
    /// Storage axes, ascending.
    pub axes: Vec<usize>,
    page_nodes: usize,
    /// Contiguous nodes that are in one cell.
    run: usize,
    is_per_node: bool,
    /// The cell of each run.
    cells: Vec<u32>,
    pairs: Vec<Pair<T>>,
    derivatives: Vec<AxisPass<T>>,
    gradients: Vec<Scratch<T>>,
}

impl<T: Real> Group<T> {
    fn new(diffusion: &Diffusion, axes: Vec<usize>) -> Self {
        let grid = &diffusion.grid;
        let layout = Layout::of_page(&grid.shape.extents, &grid.cell);
        let n_cells = grid.n_cells();
        let is_per_node = grid.cell_nodes() == 1;
        let mut pairs = Vec::new();
        for (i, &axis) in axes.iter().enumerate() {
            let values = (0..n_cells).map(|cell| T::from_f64(diffusion.at(axis, cell))).collect();
            pairs.push(Pair { axes: (i, i), values });
        }
        for pair in &diffusion.off_diagonal {
            let position = |axis| axes.binary_search(&axis).ok();
            if let (Some(i), Some(j)) = (position(pair.axes.0), position(pair.axes.1)) {
                let values = pair.values.iter().map(|&d| T::from_f64(d)).collect();
                pairs.push(Pair { axes: (i, j), values });
            }
        }
        let pass = |&axis: &usize| derivative_times(1.0, &grid.shape, axis, grid.spacing[axis]);
        Group {
            page_nodes: grid.shape.page_nodes,
            run: layout.run(),
            is_per_node,
            cells: if is_per_node { Vec::new() } else { layout.cells().to_vec() },
            pairs,
            derivatives: axes.iter().map(pass).collect(),
            gradients: axes.iter().map(|_| Scratch::new(grid.shape.n_nodes())).collect(),
            axes,
        }
    }

    pub fn renew(&mut self, diffusion: &Diffusion, changed: &[usize]) {
        for pair in &mut self.pairs {
            let (a, b) = (self.axes[pair.axes.0], self.axes[pair.axes.1]);
            if a == b {
                changed.iter().for_each(|&cell| pair.values[cell] = T::from_f64(diffusion.at(a, cell)));
                continue;
            }
            let source = diffusion.off_diagonal.iter().find(|pair| pair.axes == (a, b));
            let Some(source) = source else { continue };
            changed.iter().for_each(|&cell| pair.values[cell] = T::from_f64(source.values[cell]));
        }
    }

    /// image ← Σ ∂_i D^{ij} ∂_jψ over the group's axes, or added to it.
    pub fn run(
        &mut self,
        level: Level,
        threads: Threads<'_>,
        (psi, image): (&[Planes<T>], &[Planes<T>]),
        adds: bool,
    ) {
        let nodes = self.page_nodes;
        let gradients: Vec<Vec<Planes<T>>> = self.gradients.iter_mut().map(|g| g.planes(nodes)).collect();
        for (gradient, pass) in gradients.iter().zip(&self.derivatives) {
            if pass.is_slope() {
                pass.run_to(level, threads, psi, gradient, false);
            } else {
                copy(level, threads, psi, gradient, false);
                pass.run(level, threads, gradient);
            }
        }
        let piece = CHUNK.next_multiple_of(self.run).min(nodes);
        let n_pieces = nodes.div_ceil(piece);
        let (run, is_per_node, cells, pairs) = (self.run, self.is_per_node, &self.cells, &self.pairs);
        for_each_chunk(threads, n_pieces * psi.len(), |chunk| {
            let (page, first) = (chunk / n_pieces, chunk % n_pieces * piece);
            let nodes = first..nodes.min(first + piece);
            let gradients = &gradients[..];
            T::flux_pass(level, FluxPass { page, nodes, run, is_per_node, cells, pairs, gradients });
        });
        for (i, (flux, pass)) in gradients.iter().zip(&self.derivatives).enumerate() {
            let adds = adds || i > 0;
            if pass.is_slope() {
                pass.run_to(level, threads, flux, image, adds);
            } else {
                pass.run(level, threads, flux);
                copy(level, threads, flux, image, adds);
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.gradients.iter().map(Scratch::bytes).sum::<usize>()
            + self.derivatives.iter().map(AxisPass::bytes).sum::<usize>()
            + self.pairs.iter().map(|pair| pair.values.len() * T::BYTES).sum::<usize>()
            + 4 * self.cells.len()
    }
}

/// to ← from, or added to it.
fn copy<T: Real>(level: Level, threads: Threads<'_>, from: &[Planes<T>], to: &[Planes<T>], adds: bool) {
    let nodes = from.first().map_or(0, |page| page.len);
    let pieces = nodes.div_ceil(CHUNK).max(1);
    for_each_chunk(threads, pieces * from.len(), |chunk| {
        let (page, first) = (chunk / pieces, chunk % pieces * CHUNK);
        let n = CHUNK.min(nodes - first);
        T::leap_pass(level, LeapPass::Move(MoveRun { from: from[page], to: to[page], first, n, adds }));
    });
}

/// The axes alone and the axes together.
type Operator<T> = (Vec<Straight<T>>, Vec<Group<T>>);

/// The axes alone and the axes together, each in ascending order.
pub(super) fn plan<T: Real>(diffusion: &Diffusion) -> Operator<T> {
    let grid = &diffusion.grid;
    let couples =
        |axis: usize| diffusion.off_diagonal.iter().any(|pair| pair.axes.0 == axis || pair.axes.1 == axis);
    let is_active = |axis: &usize| grid.shape.extents[*axis] > 1;
    let (mut straight, mut groups, mut coupled) = (Vec::new(), Vec::new(), Vec::new());
    for axis in (0..grid.cell.len()).filter(is_active) {
        if couples(axis) {
            coupled.push(axis);
        } else if let [value] = diffusion.diagonal[axis][..] {
            straight.push(Straight::new(&grid.shape, axis, grid.spacing[axis], value));
        } else {
            groups.push(Group::new(diffusion, vec![axis]));
        }
    }
    if !coupled.is_empty() {
        groups.push(Group::new(diffusion, coupled));
    }
    (straight, groups)
}

/// The Nyquist mode of an even axis on each line: −K²·mean D.
pub(super) struct Nyquist<T> {
    extent: usize,
    stride: usize,
    page_nodes: usize,
    /// −K²·mean D/N of each line, in the order of first nodes.
    weights: Vec<T>,
}

/// −K²·mean D/N of each line of an even axis, in the order of first nodes.
pub(super) fn nyquist_weights(diffusion: &Diffusion, axis: usize) -> impl Iterator<Item = f64> {
    let grid = &diffusion.grid;
    let (extent, stride) = (grid.shape.extents[axis], grid.shape.stride(axis));
    let k = wavenumber_greatest(grid, axis);
    (0..grid.shape.n_nodes() / extent).map(move |line| {
        let first = line / stride * extent * stride + line % stride;
        let sum = (0..extent)
            .fold(0.0, |sum, node| sum + diffusion.at(axis, grid.cell_of_node(first + node * stride)));
        -k * k * sum / (extent * extent) as f64
    })
}

/// Those of the axes that are even and have slopes.
pub(super) fn nyquist<T: Real>(diffusion: &Diffusion) -> Vec<Nyquist<T>> {
    let grid = &diffusion.grid;
    let couples =
        |axis: usize| diffusion.off_diagonal.iter().any(|pair| pair.axes.0 == axis || pair.axes.1 == axis);
    let has_slopes = |axis: &usize| diffusion.diagonal[*axis].len() != 1 || couples(*axis);
    let is_even = |axis: &usize| grid.shape.extents[*axis].is_multiple_of(2);
    let of_axis = |axis: usize| Nyquist {
        extent: grid.shape.extents[axis],
        stride: grid.shape.stride(axis),
        page_nodes: grid.shape.page_nodes,
        weights: nyquist_weights(diffusion, axis).map(T::from_f64).collect(),
    };
    (0..grid.cell.len()).filter(is_even).filter(has_slopes).map(of_axis).collect()
}

impl<T: Real> Nyquist<T> {
    /// image += the mode's part.
    pub fn run(&self, level: Level, threads: Threads<'_>, (psi, image): (&[Planes<T>], &[Planes<T>])) {
        let Nyquist { extent, stride, page_nodes, ref weights } = *self;
        let in_chunk = (CHUNK / extent).max(1);
        for_each_chunk(threads, weights.len().div_ceil(in_chunk), |chunk| {
            let lines = chunk * in_chunk..weights.len().min((chunk + 1) * in_chunk);
            let run = NyquistRun { extent, stride, page_nodes, weights, lines, psi, image };
            T::leap_pass(level, LeapPass::Nyquist(run));
        });
    }
}
