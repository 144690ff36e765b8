//! The recurrence with a metric of its own on every cell: h ← h − Δ(1 − r̂)G h + Bx, G the symmetric 9 × 9 tensor of the
//! node's cell.
//!
//! Invariant: the step is limited by the spectral radius of the node's own G, so the recurrence never grows where
//! cells change slowly compared with Δ; one traversal is one chain, whatever the threads. G is kept as γ + E, γ a number for
//! all cells: the chain goes block by block, exact in γ, see [`blocks`].
//! Source: Gu & Dao 2023 for the recurrence; Gershgorin's circles for the limit where it is far.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

mod blocks;

pub use blocks::CellWalk;

use self::blocks::Route;
use super::{Order, Recurrence, STATE, STEP_LIMIT, State};
use crate::field::{PageRef, Real, Threads, Values};
use crate::kinetic::fibre::diagonalise;
use crate::kinetic::sweep::with_scratch;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::for_each_part;

/// Numbers of one part of h: nine and padding. What stands in the padding is finite and of no consequence.
const WIDTH: usize = 16;

/// Numbers of a cell's E: nine columns, E·(1, …, 1), and padding.
const TENSOR: usize = 96;

/// Numbers of a node's record.
const RECORD: usize = 4;

/// Least 1 − sγ that s is divided by.
const LEAST: f64 = 1e-20;

/// Where a cell's E·(1, …, 1) begins.
const ROW_SUMS: usize = STATE * STATE;

/// G of every cell, r…z.
#[derive(Debug, Clone)]
pub struct CellMetric<T> {
    level: Level,
    /// The cell of each node.
    of_node: Vec<u32>,
    /// Nodes cell after cell, and where each cell's begin.
    nodes: Vec<u32>,
    starts: Vec<u32>,
    /// E = G − γ of each cell and room to read a vector from the end, and |E| by its Frobenius norm.
    tensors: Vec<T>,
    sizes: Vec<T>,
    /// a·Tr G of each node's cell, the greatest step that the cell allows, and its |E|.
    density_weight: Vec<T>,
    step_max: Vec<T>,
    size_of_node: Vec<T>,
    /// What each node gives to the recurrence, a record each: t = s/(1 − sγ) with s = Δ(1 − r̂), B·Re Ψ, B·Im Ψ, t|E|.
    records: Vec<T>,
    /// s of each node.
    steps: Vec<T>,
    /// How each traversal is cut into blocks.
    routes: Vec<Route>,
}

impl<T: Real> CellMetric<T> {
    /// Cells with G = γ; `of_node[i]` is the cell of node `i`, below `n_cells`; panics if not.
    pub fn new(level: Level, of_node: Vec<u32>, n_cells: usize) -> Self {
        assert!(of_node.iter().all(|cell| (*cell as usize) < n_cells), "every node's cell exists");
        let mut nodes: Vec<u32> = (0..of_node.len() as u32).collect();
        nodes.sort_by_key(|node| of_node[*node as usize]);
        let starts = (0..=n_cells)
            .map(|cell| nodes.partition_point(|node| (of_node[*node as usize] as usize) < cell) as u32);
        let zeros = || vec![T::default(); of_node.len()];
        CellMetric {
            level,
            starts: starts.collect(),
            tensors: vec![T::default(); n_cells * TENSOR + WIDTH],
            sizes: vec![T::default(); n_cells],
            density_weight: zeros(),
            step_max: vec![T::from_f64(f64::INFINITY); of_node.len()],
            records: vec![T::default(); of_node.len() * RECORD],
            steps: zeros(),
            size_of_node: zeros(),
            routes: Vec::new(),
            nodes,
            of_node,
        }
    }

    /// Nodes.
    pub fn n_nodes(&self) -> usize {
        self.of_node.len()
    }

    /// Sets G of a cell; `recurrence` says how large a step can be.
    pub fn set(&mut self, recurrence: &Recurrence, cell: usize, g: &[[f64; STATE]; STATE]) {
        let (tensor, mean) = (&mut self.tensors[cell * TENSOR..][..TENSOR], mean(recurrence));
        let mut size = 0.0;
        for (i, row) in g.iter().enumerate() {
            let mut sum = 0.0;
            for (j, value) in row.iter().enumerate() {
                let value = if i == j { value - mean } else { *value };
                tensor[i * STATE + j] = T::from_f64(value);
                sum += value;
                size += value * value;
            }
            tensor[ROW_SUMS + i] = T::from_f64(sum);
        }
        self.sizes[cell] = T::from_f64(libm::sqrt(size));
        let trace: f64 = (0..STATE).map(|i| g[i][i]).sum();
        let row = |row: &[f64; STATE]| row.iter().fold(0.0, |sum, x| sum + x.abs());
        let bound = g.iter().map(row).fold(0.0, f64::max);
        // Most metrics are far from the limit: only near it, the radius itself is worth its cost.
        let radius = if bound * recurrence.step <= STEP_LIMIT {
            bound
        } else {
            let mut matrix: Vec<f64> = g.iter().flatten().copied().collect();
            diagonalise(&mut matrix, STATE);
            (0..STATE).fold(0.0, |most: f64, i| most.max(matrix[i * STATE + i]))
        };
        let density_weight = T::from_f64(recurrence.density_weight * trace);
        let step_max = T::from_f64(STEP_LIMIT / radius);
        for &node in &self.nodes[self.starts[cell] as usize..self.starts[cell + 1] as usize] {
            self.density_weight[node as usize] = density_weight;
            self.step_max[node as usize] = step_max;
            self.size_of_node[node as usize] = self.sizes[cell];
        }
    }

    /// Cuts the traversals into blocks. Panics if an order names a node that doesn't exist.
    pub(super) fn plan(&mut self, orders: &[Order], slices: &[u32]) {
        self.routes = orders.iter().map(|order| Route::new(order, slices, &self.of_node)).collect();
    }

    /// Runs every order over Ψ; `slices` are those of the tick, oldest first. The orders are those of the plan.
    ///
    /// - equation: h ← h − Δ(1 − r̂)G h + Bx, Δ = min(Δ₀/(1 + a·ρ·Tr G), 1.6/((1 − r̂)ρ(G)))
    /// - source: the module's
    /// - scheme and order: the definition to rounding, in blocks
    /// - stability bound: eigenvalues of each factor in −0.6…1
    /// - bytes and flops per node and order: 3 scalars and 10 to 50 flops in blocks of few cells, 9 columns of E and 220
    ///   flops where every node has another cell, 350 flops node by node
    pub(super) fn run(
        &mut self,
        recurrence: &Recurrence,
        threads: Threads<'_>,
        pages: &[PageRef<'_, T>],
        openness: Values<'_, T>,
        (orders, slices): (&[Order], &[u32]),
        states: &mut [State],
    ) {
        let mut first = 0;
        for (p, page) in pages.iter().enumerate() {
            let openness = match openness {
                Values::Uniform(value) => Values::Uniform(value),
                Values::PerNode(slices) => Values::PerNode(&slices[p..=p]),
            };
            T::cell_steps(self.level, CellSteps { metric: self, recurrence, page: *page, openness, first });
            first += page.re.len();
        }
        let (metric, mean) = (&*self, T::from_f64(mean(recurrence)));
        assert_eq!(orders.len(), metric.routes.len(), "the orders of the plan");
        let mut walks: Vec<_> = states.iter_mut().zip(orders).zip(&metric.routes).collect();
        // The longest first, so that no thread begins it when the others have finished.
        walks.sort_by_key(|(_, route)| **route != Route::Mixed);
        for_each_part(threads, walks.into_iter(), |_, ((state, order), route)| {
            with_scratch(route.scratch(64 / T::BYTES), |scratch| {
                let walk = CellWalk { metric, mean, way: (order, slices), route, scratch, state };
                T::cell_walk(metric.level, walk);
            });
        });
    }
}

/// γ: what all cells have in common.
fn mean(recurrence: &Recurrence) -> f64 {
    recurrence.trace() / STATE as f64
}

/// What the nodes of a page give to the recurrence. Built only with pages of the metric's nodes.
pub struct CellSteps<'a, T: SimdReal> {
    metric: &'a mut CellMetric<T>,
    recurrence: &'a Recurrence,
    page: PageRef<'a, T>,
    openness: Values<'a, T>,
    first: usize,
}

impl<T: Real> Kernel<T> for CellSteps<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let CellSteps { metric, recurrence, page, openness, first } = self;
        let n_nodes = page.re.len();
        let place = first..first + n_nodes;
        let of_nodes = (&metric.density_weight[place.clone()], &metric.step_max[place.clone()]);
        let (sizes, steps) = (&metric.size_of_node[place.clone()], &mut metric.steps[place]);
        let records = &mut metric.records[RECORD * first..RECORD * (first + n_nodes)];
        let one = V::splat(T::from_f64(1.0));
        let (mean, least) = (V::splat(T::from_f64(mean(recurrence))), V::splat(T::from_f64(LEAST)));
        let step = V::splat(T::from_f64(recurrence.step));
        let input = V::splat(T::from_f64(recurrence.input_weight));
        for node in (0..n_nodes).step_by(V::N) {
            let n = V::N.min(n_nodes - node);
            // SAFETY: slices of `n_nodes` numbers each.
            unsafe {
                let (re, im) =
                    (V::load_n(page.re.as_ptr().add(node), n), V::load_n(page.im.as_ptr().add(node), n));
                let density = im.mul_add(im, re.mul(re));
                let slowed = density.mul_add(V::load_n(of_nodes.0.as_ptr().add(node), n), one);
                let openness = match openness {
                    Values::Uniform(value) => V::splat(value),
                    Values::PerNode(slices) => V::load_n(slices[0].as_ptr().add(node), n),
                };
                let step = step.div(slowed).mul(openness);
                let step = step.min(V::load_n(of_nodes.1.as_ptr().add(node), n));
                // Where the factor is not well above 0 this is huge, and where the step is negative no number: no block
                // takes such a node.
                let turn = step.div(step.neg_mul_add(mean, one).max(least));
                let turn = step.sqrt().mul(V::splat(T::default())).add(turn);
                step.store_n(steps.as_mut_ptr().add(node), n);
                let beta = turn.mul(V::load_n(sizes.as_ptr().add(node), n));
                let record = [turn, input.mul(re), input.mul(im), beta];
                let to = records.as_mut_ptr().add(RECORD * node);
                if n == V::N {
                    V::store_records(record, to);
                    continue;
                }
                let mut last = [T::default(); RECORD * 16];
                V::store_records(record, last.as_mut_ptr());
                core::ptr::copy_nonoverlapping(last.as_ptr(), to, RECORD * n);
            }
        }
    }
}

#[cfg(test)]
mod tests;
