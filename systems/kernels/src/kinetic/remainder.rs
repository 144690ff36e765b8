//! The off-diagonal part of a metric, R = −½ Σ_{i≠j} ∂_i D^{ij} ∂_j, propagated by a short Lanczos iteration.
//!
//! Invariant: R is Hermitian, because ∂ is real and antisymmetric, and the iteration ends with the exponential of a
//! small real symmetric matrix in an orthonormal basis: the norm is kept to rounding whatever the accuracy; the error
//! of one application with m vectors is of order m in its duration. Small off-diagonals change slowly, so one application may
//! stand for several flows in whose middle it sits (multiple time steps).
//! Source: Park & Light, J. Chem. Phys. 85 (1986) 5870; Tuckerman, Berne & Martyna, J. Chem. Phys. 97 (1992) 1990.

#![allow(unsafe_code)] // Pages shared between chunks as raw planes.

mod expansion;
mod flux;
mod lanczos;
mod pages;
mod rings;

pub use flux::FluxPass;
pub(crate) use flux::{PART, Tensor, fluxes_of_run};
pub use pages::{PageCells, PageJoins, PagePowers};
pub(crate) use rings::{Gradients, MARGIN, PITCH, ROW, TENSOR, TOGETHER};
pub use rings::{RingCells, RingJoins, RingMoves, RingPowers, RingTakes};

use self::lanczos::ByCells;
use self::pages::Pages;
use self::rings::Rings;
use super::bundle::AxisPass;
use super::dft::Complex;
use super::fibre::diagonalise;
use super::gradient::{derivative_pass, derivative_times};
use super::sparse::{ActiveSlopes, Runs};
use super::varying::{CellGrid, Diffusion};
use crate::field::{PageMut, PageRef, Real, Threads};
use crate::half_potential::{Planes, Time};
use crate::reduce;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::for_each_chunk;

/// Below this |D^{ij}| the remainder is skipped, and the skip counted.
pub const OFF_DIAGONAL_FLOOR: f64 = 1e-5;

/// Most vectors of the Krylov basis.
const BASIS: usize = 5;

/// Most axes of a torus.
pub(crate) const AXES_MAX: usize = 9;

/// Nodes whose fluxes one thread computes at a time, about.
const PIECE_NODES: usize = 4096;

/// How the remainder is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemainderRule {
    /// Flows that share one application in their middle; odd.
    pub every: u64,
    /// Vectors of the Krylov basis, 3 to 5: one application has an error of that order in its duration.
    pub vectors: usize,
}

/// What the remainder did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RemainderCounts {
    /// Applications.
    pub n_applied: u64,
    /// Applications skipped because every |D^{ij}| was below [`OFF_DIAGONAL_FLOOR`].
    pub n_skipped: u64,
    /// Weight of the last basis vector in the last application: its square bounds the error's order of magnitude.
    pub residual: f64,
}

/// A field of the torus' shape, page after page.
pub(crate) struct Scratch<T> {
    pub re: Vec<T>,
    pub im: Vec<T>,
}

impl<T: Real> Scratch<T> {
    pub fn new(n: usize) -> Self {
        Scratch { re: vec![T::default(); n], im: vec![T::default(); n] }
    }

    /// For [`Self::aligned`] planes of `n` numbers.
    pub fn with_room(n: usize) -> Self {
        Self::new(n + 64 / T::BYTES)
    }

    /// Both planes from the beginning of a cache line on. Panics without room.
    pub fn aligned(&mut self, n: usize) -> Planes<T> {
        let first = |plane: &mut Vec<T>| {
            let first = plane.as_ptr().align_offset(64);
            plane[first..first + n].as_mut_ptr()
        };
        Planes { re: first(&mut self.re), im: first(&mut self.im), len: n }
    }

    pub fn fill(&mut self, value: T) {
        self.re.fill(value);
        self.im.fill(value);
    }

    pub fn planes(&mut self, page_nodes: usize) -> Vec<Planes<T>> {
        let pages = self.re.chunks_mut(page_nodes).zip(self.im.chunks_mut(page_nodes));
        pages.map(|(re, im)| Planes::of(&mut PageMut { re, im })).collect()
    }

    pub fn pages(&self, page_nodes: usize) -> Vec<PageRef<'_, T>> {
        let pages = self.re.chunks(page_nodes).zip(self.im.chunks(page_nodes));
        pages.map(|(re, im)| PageRef { re, im }).collect()
    }

    pub fn bytes(&self) -> usize {
        2 * self.re.len() * T::BYTES
    }
}

/// How cells lie in a page.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    page_nodes: usize,
    n_cells: usize,
    /// Contiguous nodes that are in one cell.
    run: usize,
    /// The cell of each run.
    cells: Vec<u32>,
}

impl Layout {
    /// A box of `sides` nodes, row-major, in cells of `cell` nodes.
    pub fn of_page(sides: &[usize], cell: &[usize]) -> Self {
        let page_nodes: usize = sides.iter().product();
        let stride = |axis: usize| -> usize { sides[axis + 1..].iter().product() };
        // A cell's nodes are contiguous over its whole trailing axes and its share of the next.
        let mut run = 1;
        for d in (0..cell.len()).rev() {
            run *= cell[d];
            if cell[d] != sides[d] {
                break;
            }
        }
        let cell_of = |node: usize| {
            (0..cell.len())
                .fold(0, |index, d| index * (sides[d] / cell[d]) + node / stride(d) % sides[d] / cell[d])
        };
        Layout {
            page_nodes,
            n_cells: page_nodes / cell.iter().product::<usize>(),
            run,
            cells: (0..page_nodes).step_by(run).map(|node| cell_of(node) as u32).collect(),
        }
    }

    /// Contiguous nodes that are in one cell.
    pub fn run(&self) -> usize {
        self.run
    }

    /// The cell of each run.
    pub fn cells(&self) -> &[u32] {
        &self.cells
    }

    /// The cell of a node, within a page.
    pub fn cell_of(&self, node: usize) -> usize {
        self.cells[node / self.run] as usize
    }
}

/// ∂ of one axis, in place: on a whole torus, or P∂P on an active set.
enum Derivative<T: SimdReal> {
    Whole(AxisPass<T>),
    Active(ActiveSlopes<T>),
}

impl<T: Real> Derivative<T> {
    /// to ← ∂ from.
    fn run_to(&self, level: Level, threads: Threads<'_>, from: &[Planes<T>], to: &[Planes<T>]) {
        match self {
            Self::Whole(pass) if pass.is_slope() => pass.run_to(level, threads, from, to, false),
            _ => {
                combine(level, threads, to, &[(from, 1.0, 0.0)], false);
                self.run(level, threads, to);
            }
        }
    }

    fn run(&self, level: Level, threads: Threads<'_>, planes: &[Planes<T>]) {
        match self {
            Self::Whole(pass) => pass.run(level, threads, planes),
            Self::Active(slopes) => slopes.run(level, threads, planes),
        }
    }
}

/// D^{ij} of one pair i ≤ j; `axes` are positions in the list of axes that are coupled.
pub(crate) struct Pair<T> {
    pub axes: (usize, usize),
    /// Of each cell.
    pub values: Vec<T>,
}

/// A planned remainder.
pub struct Remainder<T: SimdReal> {
    rule: RemainderRule,
    duration: f64,
    time: Time,
    page_nodes: usize,
    /// Contiguous nodes that are in one cell.
    run: usize,
    /// Whether every node is a cell.
    is_per_node: bool,
    /// The cell of each run.
    cells: Vec<u32>,
    pairs: Vec<Pair<T>>,
    /// Storage axes of the positions that pairs name, and the largest wavenumber of each.
    coupled: Vec<usize>,
    wavenumbers: Vec<f64>,
    /// Whether R is large enough to matter.
    is_large: Option<bool>,
    /// Bound of the operator's norm.
    bound: Option<f64>,
    derivatives: Vec<Derivative<T>>,
    /// −½∂ of each axis, where all of them have three nodes.
    divergences: Vec<AxisPass<T>>,
    /// The same cell by cell, where cells are runs; fields lie cell after cell then, and there are no gradients.
    by_cells: Option<Box<dyn ByCells<T>>>,
    gradients: Vec<Scratch<T>>,
    basis: Vec<Scratch<T>>,
    image: Scratch<T>,
    counts: RemainderCounts,
}

impl<T: Real> Remainder<T> {
    /// Plans the remainder of flows over `duration`. Panics if the rule asks for an even interval, or for fewer than
    /// 3 or more than 5 vectors.
    pub fn new(diffusion: &Diffusion, duration: f64, time: Time, rule: RemainderRule) -> Self {
        let grid = &diffusion.grid;
        let derivative =
            |axis: usize| Derivative::Whole(derivative_pass(&grid.shape, axis, grid.spacing[axis]));
        // Pages are runs of the whole torus: for its cells, it is one page.
        let layout = Layout::of_page(&grid.shape.extents, &grid.cell);
        let pages = (&layout, 1);
        let mut remainder = Self::with(diffusion, pages, derivative, duration, time, rule);
        remainder.page_nodes = grid.shape.page_nodes;
        if let Some(rings) = Rings::new(grid, &layout, &remainder.coupled, &remainder.pairs) {
            remainder.set_by_cells(Box::new(rings));
        } else if remainder.coupled.iter().all(|&axis| grid.shape.extents[axis] == 3) {
            let pass = |&axis: &usize| derivative_times(-0.5, &grid.shape, axis, grid.spacing[axis]);
            remainder.divergences = remainder.coupled.iter().map(pass).collect();
        }
        remainder
    }

    fn set_by_cells(&mut self, by_cells: Box<dyn ByCells<T>>) {
        let n = by_cells.field_len();
        self.basis.iter_mut().for_each(|field| *field = Scratch::with_room(n));
        (self.gradients, self.derivatives, self.image) = (Vec::new(), Vec::new(), Scratch::new(0));
        self.by_cells = Some(by_cells);
    }

    /// The same on `n_pages` active pages, P∂_iP D^{ij} P∂_jP; `slopes` are those of every storage axis, `runs` the runs of
    /// some of them.
    pub(crate) fn on_active(
        diffusion: &Diffusion,
        pages: (&Layout, usize),
        slopes: Vec<ActiveSlopes<T>>,
        runs: impl FnOnce(&[usize]) -> Option<Runs>,
        duration: f64,
        rule: RemainderRule,
        counts: RemainderCounts,
    ) -> Self {
        let mut slopes: Vec<_> = slopes.into_iter().map(Some).collect();
        let derivative =
            |axis: usize| Derivative::Active(slopes[axis].take().expect("each axis is asked for once"));
        let mut remainder = Self::with(diffusion, pages, derivative, duration, Time::Real, rule);
        if let Some(runs) = runs(&remainder.coupled) {
            let pages = Pages::new(runs, &remainder.pairs);
            remainder.set_by_cells(Box::new(pages));
        }
        Remainder { counts, ..remainder }
    }

    fn with(
        diffusion: &Diffusion,
        (layout, n_pages): (&Layout, usize),
        derivative: impl FnMut(usize) -> Derivative<T>,
        duration: f64,
        time: Time,
        rule: RemainderRule,
    ) -> Self {
        assert!(!rule.every.is_multiple_of(2) && (3..=BASIS).contains(&rule.vectors));
        let n = n_pages * layout.page_nodes;
        let mut coupled: Vec<usize> =
            diffusion.off_diagonal.iter().flat_map(|pair| [pair.axes.0, pair.axes.1]).collect();
        coupled.sort_unstable();
        coupled.dedup();
        let position = |axis: usize| coupled.binary_search(&axis).unwrap_or_default();
        let pair = |pair: &super::varying::OffDiagonal| Pair {
            axes: (position(pair.axes.0), position(pair.axes.1)),
            values: pair.values.iter().map(|&x| T::from_f64(x)).collect(),
        };
        let of_page =
            |page: usize| layout.cells.iter().map(move |cell| (page * layout.n_cells) as u32 + cell);
        Remainder {
            rule,
            duration: duration * rule.every as f64,
            time,
            page_nodes: layout.page_nodes,
            run: layout.run,
            is_per_node: layout.n_cells == layout.page_nodes,
            cells: (0..n_pages).flat_map(of_page).collect(),
            pairs: diffusion.off_diagonal.iter().map(pair).collect(),
            wavenumbers: coupled.iter().map(|&axis| greatest_wavenumber(&diffusion.grid, axis)).collect(),
            is_large: None,
            bound: None,
            derivatives: coupled.iter().copied().map(derivative).collect(),
            divergences: Vec::new(),
            by_cells: None,
            gradients: coupled.iter().map(|_| Scratch::new(n)).collect(),
            basis: (0..rule.vectors).map(|_| Scratch::new(n)).collect(),
            image: Scratch::new(n),
            counts: RemainderCounts::default(),
            coupled,
        }
    }

    /// Takes over D^{ij} of some cells.
    pub fn renew(&mut self, diffusion: &Diffusion, changed: &[usize]) {
        for (pair, source) in self.pairs.iter_mut().zip(&diffusion.off_diagonal) {
            for &cell in changed {
                pair.values[cell] = T::from_f64(source.values[cell]);
            }
        }
        if let Some(by_cells) = &mut self.by_cells {
            by_cells.renew(&self.pairs, changed);
        }
        (self.is_large, self.bound) = (None, None);
    }

    /// Bytes of the fields and tables.
    pub fn bytes(&self) -> usize {
        let fields = self.gradients.iter().chain(&self.basis).chain([&self.image]);
        fields.map(Scratch::bytes).sum::<usize>()
            + self.pairs.iter().map(|pair| pair.values.len() * T::BYTES).sum::<usize>()
            + 4 * self.cells.len()
            + self.by_cells.as_ref().map_or(0, |by_cells| by_cells.bytes())
    }

    /// What happened so far.
    pub fn counts(&self) -> RemainderCounts {
        self.counts
    }

    /// Whether `tick` is in the middle of its interval and R is large enough to matter.
    pub fn is_due(&mut self, tick: u64) -> bool {
        if tick % self.rule.every != self.rule.every / 2 {
            return false;
        }
        let pairs = &self.pairs;
        let is_large = *self.is_large.get_or_insert_with(|| {
            pairs.iter().flat_map(|pair| &pair.values).any(|x| x.to_f64().abs() >= OFF_DIAGONAL_FLOOR)
        });
        self.counts.n_skipped += u64::from(!is_large);
        is_large
    }

    /// Ψ ← exp(−iτR)Ψ.
    ///
    /// - equation: i∂tΨ = RΨ
    /// - source: the module's
    /// - scheme and order: Lanczos with m vectors, order m in one application
    /// - stability bound: none (unitary in its subspace)
    /// - bytes and flops per node: about m·(6 + 8a) scalars for a coupled axes, m·(12a + 8·pairs) flops; m·14 scalars on
    ///   rings whose cells are runs
    pub fn apply(&mut self, level: Level, threads: Threads<'_>, pages: &mut [PageMut<'_, T>]) {
        let views: Vec<_> = pages.iter().map(PageMut::as_ref).collect();
        let size = reduce::norm2(level, threads, &views).sqrt();
        if size == 0.0 || !size.is_finite() {
            return;
        }
        let psi: Vec<_> = pages.iter_mut().map(Planes::of).collect();
        self.counts.n_applied += 1;
        if self.by_cells.is_some() {
            return self.apply_by_cells(level, threads, &psi, size);
        }
        let nodes = self.page_nodes;
        let mut matrix = [0.0; BASIS * BASIS];
        let first = self.basis[0].planes(nodes);
        combine(level, threads, &first, &[(&psi, 1.0 / size, 0.0)], false);
        let vectors = self.rule.vectors;
        let mut n_basis = vectors;
        let mut beta = 0.0;
        for k in 0..vectors {
            self.image_of(level, threads, k);
            let image = self.image.planes(nodes);
            if k > 0 {
                let before = self.basis[k - 1].planes(nodes);
                combine(level, threads, &image, &[(&before, -beta, 0.0)], true);
            }
            let alpha = inner(&self.basis[k], &self.image, nodes);
            matrix[k * BASIS + k] = alpha;
            if k + 1 == vectors {
                break;
            }
            let this = self.basis[k].planes(nodes);
            combine(level, threads, &image, &[(&this, -alpha, 0.0)], true);
            beta = reduce::norm2(level, threads, &self.image.pages(nodes)).sqrt();
            if beta <= f64::EPSILON * alpha.abs() || beta == 0.0 {
                n_basis = k + 1;
                break;
            }
            matrix[k * BASIS + k + 1] = beta;
            matrix[(k + 1) * BASIS + k] = beta;
            combine(level, threads, &self.basis[k + 1].planes(nodes), &[(&image, 1.0 / beta, 0.0)], false);
        }
        let weights = self.weights(matrix, n_basis);
        let parts: Vec<Vec<Planes<T>>> = self.basis.iter_mut().map(|q| q.planes(nodes)).collect();
        let terms: Vec<_> = parts
            .iter()
            .zip(weights)
            .take(n_basis)
            .map(|(q, (re, im))| (&q[..], re * size, im * size))
            .collect();
        combine(level, threads, &psi, &terms, true);
        self.counts.residual = weights[vectors - 1].0.hypot(weights[vectors - 1].1);
    }

    /// (exp(−iτM) − 1)e₁.
    fn weights(&self, matrix: [f64; BASIS * BASIS], n_basis: usize) -> [(f64, f64); BASIS] {
        let mut values: Vec<f64> =
            (0..n_basis * n_basis).map(|at| matrix[at / n_basis * BASIS + at % n_basis]).collect();
        let vectors = diagonalise(&mut values, n_basis);
        let mut weights = [(0.0, 0.0); BASIS];
        for e in 0..n_basis {
            let (re, im) = super::increment(self.duration * values[e * n_basis + e], self.time);
            let first = vectors[e * n_basis];
            for (k, weight) in weights.iter_mut().enumerate().take(n_basis) {
                let v = first * vectors[e * n_basis + k];
                weight.0 += v * re;
                weight.1 += v * im;
            }
        }
        weights
    }

    /// image ← R·basis_k.
    fn image_of(&mut self, level: Level, threads: Threads<'_>, k: usize) {
        let nodes = self.page_nodes;
        let source = self.basis[k].planes(nodes);
        let gradients: Vec<Vec<Planes<T>>> = self.gradients.iter_mut().map(|g| g.planes(nodes)).collect();
        for (gradient, derivative) in gradients.iter().zip(&self.derivatives) {
            derivative.run_to(level, threads, &source, gradient);
        }
        let (run, is_per_node) = (self.run, self.is_per_node);
        let (cells, pairs, gradients) = (&self.cells, &self.pairs, &gradients[..]);
        let piece = PIECE_NODES.next_multiple_of(run).min(nodes);
        let n_pieces = nodes.div_ceil(piece);
        for_each_chunk(threads, n_pieces * source.len(), |chunk| {
            let (page, first) = (chunk / n_pieces, chunk % n_pieces * piece);
            let nodes = first..nodes.min(first + piece);
            T::flux_pass(level, FluxPass { page, nodes, run, is_per_node, cells, pairs, gradients });
        });
        let image = self.image.planes(nodes);
        for (i, (derivative, flux)) in self.derivatives.iter().zip(gradients).enumerate() {
            match derivative {
                // −½ is part of these passes.
                Derivative::Whole(_) if self.divergences.len() > i => {
                    self.divergences[i].run_to(level, threads, flux, &image, i > 0);
                }
                _ => {
                    derivative.run(level, threads, flux);
                    combine(level, threads, &image, &[(flux, -0.5, 0.0)], i > 0);
                }
            }
        }
    }
}

/// The largest eigenvalue of −i∂ along a storage axis.
fn greatest_wavenumber(grid: &CellGrid, axis: usize) -> f64 {
    let extent = grid.shape.extents[axis];
    let unit = core::f64::consts::TAU / (extent as f64 * grid.spacing[axis]);
    unit * ((extent - 1) / 2) as f64
}

/// to ← Σ (re + i·im)·term, or that added to `to`. Pages are independent.
fn combine<T: Real>(
    level: Level,
    threads: Threads<'_>,
    to: &[Planes<T>],
    terms: &[(&[Planes<T>], f64, f64)],
    adds: bool,
) {
    for_each_chunk(threads, to.len(), |page| {
        let to = to[page];
        // SAFETY: planes have `len` scalars each; the fields are different; one chunk owns the page.
        let (to_re, to_im) = unsafe {
            (core::slice::from_raw_parts_mut(to.re, to.len), core::slice::from_raw_parts_mut(to.im, to.len))
        };
        for (t, &(term, re, im)) in terms.iter().enumerate() {
            let term = term[page];
            // SAFETY: as above.
            let (x, y) = unsafe {
                (
                    core::slice::from_raw_parts(term.re, term.len),
                    core::slice::from_raw_parts(term.im, term.len),
                )
            };
            let (re, im) = (T::from_f64(re), T::from_f64(im));
            T::combine_pass(
                level,
                CombinePass { to: (to_re, to_im), term: (x, y), factor: (re, im), adds: adds || t > 0 },
            );
        }
    });
}

/// to ← factor·term, or that added to `to`. Slices of one length.
pub struct CombinePass<'a, T> {
    to: (&'a mut [T], &'a mut [T]),
    term: (&'a [T], &'a [T]),
    factor: (T, T),
    adds: bool,
}

impl<T: Real> Kernel<T> for CombinePass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let CombinePass { to: (to_re, to_im), term: (re, im), factor, adds } = self;
        let factor = (V::splat(factor.0), V::splat(factor.1));
        for node in (0..re.len()).step_by(V::N) {
            let n = V::N.min(re.len() - node);
            // SAFETY: four slices of one length.
            unsafe {
                let load = |plane: &[T]| V::load_n(plane.as_ptr().add(node), n);
                let term = Complex { re: load(re), im: load(im) }.mul(factor.0, factor.1);
                let sum = if adds { Complex { re: load(to_re), im: load(to_im) }.add(term) } else { term };
                sum.re.store_n(to_re.as_mut_ptr().add(node), n);
                sum.im.store_n(to_im.as_mut_ptr().add(node), n);
            }
        }
    }
}

/// Re⟨a|b⟩.
fn inner<T: Real>(a: &Scratch<T>, b: &Scratch<T>, nodes: usize) -> f64 {
    reduce::inner(&a.pages(nodes), &b.pages(nodes)).0
}

#[cfg(test)]
mod tests;
