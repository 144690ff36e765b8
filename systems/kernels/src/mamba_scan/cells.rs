//! The recurrence with a metric of its own on every cell: h ← h − Δ(1 − r̂)G h + Bx, G the symmetric 9 × 9 tensor of the
//! node's cell.
//!
//! Invariant: the step is limited by the spectral radius of the node's own G, so the recurrence never grows where
//! cells change slowly compared with Δ; one traversal is one chain, whatever the threads. G is kept as γ + E, γ a number for
//! all cells: the chain goes block by block, exact in γ, see [`blocks`]; where cells are runs of nodes, a whole cell at a time,
//! see [`lattice`].
//! Source: Gu & Dao 2023 for the recurrence; Gershgorin's circles for the limit where it is far.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

mod aligned;
mod blocks;
mod images;
mod lattice;
mod steps;

pub use blocks::CellWalk;
pub use lattice::{LatticeWalk, UnitPass};

use self::aligned::{Aligned, Pair};
use self::blocks::{Route, SUMS_MAX};
use self::images::{Image, together};
use self::lattice::{Chain, Lattice, NODES, Numbers, SIDE, Unit};
use super::{Order, Recurrence, STATE, STEP_LIMIT, State};
use crate::field::{PageRef, Real, Threads, Values};
use crate::kinetic::fibre::diagonalise;
use crate::kinetic::sweep::with_scratch;
use crate::simd::symmetric::{PACKED, place};
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::for_each_part;

/// Numbers of one part of h: nine and padding. What stands in the padding is finite and of no consequence.
const WIDTH: usize = 16;

/// Numbers of a cell's E: packed, and E·(1, …, 1) as a vector.
const TENSOR: usize = ROW_SUMS + WIDTH;

/// Where a cell's E·(1, …, 1) begins.
const ROW_SUMS: usize = PACKED;

/// Of a cell: a·Tr G, the greatest step s, |E| by its Frobenius norm, and the greatest t = s/(1 − sγ).
type Limits<T> = [T; 4];

/// Numbers of a node's record.
const RECORD: usize = 4;

/// Least 1 − sγ that s is divided by.
const LEAST: f64 = 1e-20;

/// G of every cell, r…z.
#[derive(Debug, Clone)]
pub struct CellMetric<T> {
    level: Level,
    /// The cell of each node.
    of_node: Vec<u32>,
    /// Nodes cell after cell, and where each cell's begin.
    nodes: Vec<u32>,
    starts: Vec<u32>,
    /// E = G − γ of each cell.
    tensors: Aligned<T>,
    limits: Vec<Limits<T>>,
    /// Where cells are runs of nodes; what follows is then empty.
    lattice: Option<(Lattice, Numbers<T>)>,
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
        let infinity = T::from_f64(f64::INFINITY);
        CellMetric {
            level,
            starts: starts.collect(),
            tensors: Aligned::zeros(n_cells * TENSOR),
            limits: vec![[T::default(), infinity, T::default(), infinity]; n_cells],
            lattice: None,
            density_weight: zeros(),
            step_max: vec![infinity; of_node.len()],
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
                tensor[place(i, j)] = T::from_f64(value);
                sum += value;
                size += value * value;
            }
            tensor[ROW_SUMS + i] = T::from_f64(sum);
        }
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
        let step_max = STEP_LIMIT / radius;
        let turn_max = step_max / (1.0 - step_max * mean).max(LEAST);
        let limits = [recurrence.density_weight * trace, step_max, libm::sqrt(size), turn_max];
        let limits = limits.map(T::from_f64);
        self.limits[cell] = limits;
        if self.lattice.is_some() {
            return;
        }
        for &node in &self.nodes[self.starts[cell] as usize..self.starts[cell + 1] as usize] {
            self.density_weight[node as usize] = limits[0];
            self.step_max[node as usize] = limits[1];
            self.size_of_node[node as usize] = limits[2];
        }
    }

    /// Cuts the traversals into blocks. Panics if an order names a node that doesn't exist.
    pub(super) fn plan(&mut self, orders: &[Order], slices: &[u32]) {
        if let Some(lattice) = Lattice::new(orders, slices, &self.of_node) {
            for of_node in [
                &mut self.density_weight,
                &mut self.step_max,
                &mut self.size_of_node,
                &mut self.records,
                &mut self.steps,
            ] {
                *of_node = Vec::new();
            }
            let numbers = Numbers::new(&lattice);
            self.lattice = Some((lattice, numbers));
            return;
        }
        self.routes = orders.iter().map(|order| Route::new(order, slices, &self.of_node)).collect();
    }

    /// Runs every order over Ψ; `slices` are those of the tick, oldest first. The orders are those of the plan.
    ///
    /// - equation: h ← h − Δ(1 − r̂)G h + Bx, Δ = min(Δ₀/(1 + a·ρ·Tr G), 1.6/((1 − r̂)ρ(G)))
    /// - source: the module's
    /// - scheme and order: the definition to rounding, in blocks
    /// - stability bound: eigenvalues of each factor in −0.6…1
    /// - bytes and flops per node and order: on a lattice 3 scalars and 20 to 60 flops where a cell goes as a whole, 3 scalars
    ///   and 140 flops where every node has another cell; elsewhere twice that; 350 flops node by node
    pub(super) fn run(
        &mut self,
        recurrence: &Recurrence,
        threads: Threads<'_>,
        pages: &[PageRef<'_, T>],
        openness: Values<'_, T>,
        (orders, slices): (&[Order], &[u32]),
        states: &mut [State],
    ) {
        if self.lattice.is_some() {
            self.fill_units(recurrence, threads, pages, openness, slices);
            return self.walk_lattice(threads, &Around { recurrence, pages, openness, slices }, states);
        }
        self.fill_records(recurrence, pages, openness);
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

impl<T: Real> CellMetric<T> {
    /// Records of all nodes.
    fn fill_records(&mut self, recurrence: &Recurrence, pages: &[PageRef<'_, T>], openness: Values<'_, T>) {
        let mut first = 0;
        for (p, page) in pages.iter().enumerate() {
            let openness = match openness {
                Values::Uniform(value) => Values::Uniform(value),
                Values::PerNode(slices) => Values::PerNode(&slices[p..=p]),
            };
            T::cell_steps(self.level, CellSteps { metric: self, recurrence, page: *page, openness, first });
            first += page.re.len();
        }
    }

    /// The numbers of all cells of the lattice.
    fn fill_units(
        &mut self,
        recurrence: &Recurrence,
        threads: Threads<'_>,
        pages: &[PageRef<'_, T>],
        openness: Values<'_, T>,
        slices: &[u32],
    ) {
        let Self { level, limits, lattice, .. } = self;
        let Some((lattice, numbers)) = lattice else { return };
        let page_nodes = pages.first().map_or(0, |page| page.re.len());
        let is_whole = |page: &PageRef<'_, T>| page.re.len() == page_nodes && page.im.len() == page_nodes;
        let n_nodes = pages.len() * page_nodes;
        assert!(pages.iter().all(is_whole) && n_nodes == limits.len() * lattice.nodes, "pages of the nodes");
        assert!(page_nodes.is_multiple_of(lattice.nodes), "cells do not cross pages");
        if let Values::PerNode(slices) = openness {
            assert!(slices.len() == pages.len() && slices.iter().all(|slice| slice.len() == page_nodes));
        }
        let turned = lattice.turned(slices);
        let n_slots = lattice.n_slices * SIDE;
        let n_cells = numbers.cells.len() / lattice.cells.len() * n_slots;
        let units = numbers
            .nodes
            .chunks_mut(n_slots * NODES)
            .zip(numbers.cells.chunks_mut(n_cells))
            .zip(numbers.pasts.chunks_mut(SUMS_MAX * SIDE));
        let (limits, lattice) = (&limits[..], &*lattice);
        let limit = blocks::second_order_limit::<T>(lattice.nodes);
        for_each_part(threads, units, |number, ((nodes, cells), pasts)| {
            let unit = Unit { number, nodes, cells, pasts };
            with_scratch(lattice.unit_scratch(), |scratch| {
                let turned = &turned[..];
                let pass =
                    UnitPass { lattice, recurrence, limits, limit, pages, openness, turned, unit, scratch };
                T::unit_pass(*level, pass);
            });
        });
    }

    /// Runs every order through the lattice; one thread runs all chains side by side.
    fn walk_lattice(&self, threads: Threads<'_>, around: &Around<'_, T>, states: &mut [State]) {
        let Some((lattice, _)) = &self.lattice else { return };
        let is_alone = threads.crew().is_none();
        let mut ways: Vec<_> = states.iter_mut().enumerate().collect();
        // The longest first, so that no thread begins it when the others have finished.
        ways.sort_by_key(|(way, _)| !lattice.is_across(*way));
        let mut parts = Vec::with_capacity(ways.len());
        if is_alone {
            parts.push(ways);
        } else {
            parts.extend(ways.into_iter().map(|way| vec![way]));
        }
        for_each_part(threads, parts.into_iter(), |_, ways| {
            with_scratch(lattice.scratch(), |scratch| {
                let chains = ways.into_iter().map(|(way, state)| Chain::new(lattice, way, state)).collect();
                T::lattice_walk(self.level, LatticeWalk { metric: self, around, chains, scratch });
            });
        });
    }
}

/// What of a tick the recurrence reads beside the metric.
struct Around<'a, T> {
    recurrence: &'a Recurrence,
    pages: &'a [PageRef<'a, T>],
    openness: Values<'a, T>,
    /// The oldest first.
    slices: &'a [u32],
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
        let constants = steps::Constants::<V>::new(recurrence);
        for node in (0..n_nodes).step_by(V::N) {
            let n = V::N.min(n_nodes - node);
            // SAFETY: slices of `n_nodes` numbers each.
            unsafe {
                let (re, im) =
                    (V::load_n(page.re.as_ptr().add(node), n), V::load_n(page.im.as_ptr().add(node), n));
                let openness = match openness {
                    Values::Uniform(value) => V::splat(value),
                    Values::PerNode(slices) => V::load_n(slices[0].as_ptr().add(node), n),
                };
                let weight = V::load_n(of_nodes.0.as_ptr().add(node), n);
                let most = V::load_n(of_nodes.1.as_ptr().add(node), n);
                let step = constants.step(re, im, openness, weight, most);
                let turn = constants.turn(step);
                step.store_n(steps.as_mut_ptr().add(node), n);
                let beta = turn.mul(V::load_n(sizes.as_ptr().add(node), n));
                let record = [turn, constants.input.mul(re), constants.input.mul(im), beta];
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

/// to ← E·from.
///
/// # Safety
/// `tensor` is packed.
#[inline(always)]
unsafe fn apply<V: Lanes>(tensor: *const V::T, from: &Pair<V::T>, to: &mut Pair<V::T>) {
    let start = Pair::default();
    let scale = V::T::from_f64(-1.0);
    // SAFETY: says the caller.
    unsafe { together::<V, 1>(&[Image { matrix: tensor, from, start: &start, to, scale }]) };
}

#[cfg(test)]
mod tests;
