//! The selective state-space scan over the torus (Gu & Dao 2023, in nine components): a linear recurrence along a
//! traversal whose step depends on the amplitude it reads.
//!
//! Invariant: the state never grows by itself: every factor of the recurrence lies in [−0.6, 1], whatever Ψ. Same
//! bits for any number of threads: chains are cut by the traversal's length and joined in its order. Needs no vector
//! instructions: the cost is that of reading 19,683 records in four orders.
//!
//! Where the metric G is diagonal along r…z and the same on all nodes, each component is a scalar recurrence, and
//! components with equal entries of G are equal: with G = 1 one pass serves all nine. Where G varies from cell to cell,
//! [`CellMetric`] runs it as a whole.

mod cells;

use rustfft::num_traits::{One, Zero};

use crate::field::{PageRef, Real, Threads, Values};
use crate::simd::SimdReal;
use crate::threads::{for_each_part, map_chunks};

pub use cells::{CellMetric, CellSteps, CellWalk, LatticeWalk, UnitPass};

/// Components of the state: one per axis of the metric.
pub const STATE: usize = 9;

/// The step is kept below this over ((1 − r̂)·ρ(G)), so that factors stay above −0.6.
const STEP_LIMIT: f64 = 1.6;

/// Positions of one unit of work: fixed, so that the join never depends on who worked.
const UNIT: usize = 16_384;

/// Chains that run side by side within a unit: enough to hide the latency of a product and a sum.
const CHAINS: usize = 8;

/// What a node gives to the recurrence: B·Re Ψ, B·Im Ψ, 0, and the factor 1 − Δ(1 − r̂)G.
pub type Record<N> = [N; 4];

/// Parameters of the recurrence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recurrence {
    /// Δ₀.
    pub step: f64,
    /// a.
    pub density_weight: f64,
    /// B.
    pub input_weight: f64,
    /// Diagonal of G along r…z, each above 0.
    pub metric: [f64; STATE],
}

impl Recurrence {
    /// The factor of the component with metric entry `g` at a node of density ρ and openness 1 − r̂.
    ///
    /// - equation: A = 1 − Δ(1 − r̂)g, Δ = min(Δ₀/(1 + a·ρ·Tr G), 1.6/((1 − r̂)·ρ(G)))
    /// - source: Gu & Dao 2023, first-order discretisation
    /// - scheme and order: definition
    /// - stability bound: −0.6 ≤ A ≤ 1 for every ρ ≥ 0 and 0 ≤ 1 − r̂ ≤ 1
    /// - bytes and flops: none, 8 flops
    pub fn factor(&self, g: f64, density: f64, openness: f64) -> f64 {
        let step = (self.step / (1.0 + self.density_weight * density * self.trace())) * openness;
        1.0 - step.min(STEP_LIMIT / self.greatest()) * g
    }

    fn trace(&self) -> f64 {
        self.metric.iter().sum()
    }

    fn greatest(&self) -> f64 {
        self.metric.iter().fold(0.0, |greatest, g| greatest.max(*g))
    }
}

/// One way through the torus. A node's storage index is `positions[i] + slices[j]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Storage index of each position on slice 0, in the order visited.
    pub positions: Vec<u32>,
    /// Whether each position's whole past is read before the next position; else slice after slice.
    pub is_time_fastest: bool,
}

/// The state at the end of a traversal.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct State {
    /// Real parts along r…z.
    pub re: [f64; STATE],
    /// Imaginary parts.
    pub im: [f64; STATE],
}

impl State {
    /// y = C·h for real C along r…z, as (re, im).
    pub fn output(&self, coupling: &[f64; STATE]) -> (f64, f64) {
        let dot = |h: &[f64; STATE]| h.iter().zip(coupling).map(|(h, c)| h * c).sum();
        (dot(&self.re), dot(&self.im))
    }
}

/// A run of positions of one traversal, on one slice or (time fastest) on all of them.
#[derive(Debug, Clone, Copy)]
struct Unit {
    order: usize,
    start: usize,
    end: usize,
    /// Place of the slice, oldest first; none for all slices.
    slice: Option<usize>,
}

/// What a unit does to the state: h ← product·h + (re, im).
#[derive(Debug, Clone, Copy, Default)]
pub struct Effect {
    re: f64,
    im: f64,
    product: f64,
}

/// Orders, parameters and scratch of a scan.
#[derive(Debug)]
pub struct Scan<T: Real> {
    recurrence: Recurrence,
    orders: Vec<Order>,
    slices: Vec<u32>,
    units: Vec<Unit>,
    effects: Vec<Effect>,
    records: Vec<Record<T::Num>>,
    cells: Option<CellMetric<T>>,
    /// Slices of the current tick, oldest first.
    turned: Vec<u32>,
}

impl<T: Real> Scan<T> {
    /// A scan of `n_nodes` nodes; `slices[j]` is what slice j of axis t adds to a position's index. Panics if an
    /// order does not visit as many nodes as there are.
    pub fn new(recurrence: Recurrence, n_nodes: usize, slices: Vec<u32>, orders: Vec<Order>) -> Self {
        assert!(orders.iter().all(|order| order.positions.len() * slices.len() == n_nodes));
        let mut units = Vec::new();
        for (index, order) in orders.iter().enumerate() {
            let n_positions = order.positions.len();
            let passes: Vec<Option<usize>> =
                if order.is_time_fastest { vec![None] } else { (0..slices.len()).map(Some).collect() };
            for slice in passes {
                let blocks = (0..n_positions).step_by(UNIT);
                units.extend(blocks.map(|start| Unit {
                    order: index,
                    start,
                    end: n_positions.min(start + UNIT),
                    slice,
                }));
            }
        }
        let effects = vec![Effect::default(); units.len()];
        let records = vec![[T::Num::zero(); 4]; n_nodes];
        Self { recurrence, orders, turned: slices.clone(), slices, units, effects, records, cells: None }
    }

    /// Gives every cell a metric of its own, in place of the recurrence's; it has the nodes of the scan; panics if not.
    pub fn set_cells(&mut self, mut cells: CellMetric<T>) {
        assert_eq!(cells.n_nodes(), self.records.len(), "a cell for every node");
        cells.plan(&self.orders, &self.slices);
        self.cells = Some(cells);
    }

    /// Sets G of a cell, where cells have one of their own.
    pub fn set_metric(&mut self, cell: usize, g: &[[f64; STATE]; STATE]) {
        if let Some(cells) = &mut self.cells {
            cells.set(&self.recurrence, cell, g);
        }
    }

    /// Bytes of tables and scratch.
    pub fn bytes(&self) -> usize {
        let positions: usize = self.orders.iter().map(|order| order.positions.len()).sum();
        4 * positions + size_of_val(&self.records[..]) + size_of_val(&self.units[..])
    }

    /// Scans Ψ with the cut after slice `present`; `openness` is 1 − r̂. Writes one state per order, h = 0 before
    /// the first node.
    ///
    /// - equation: h_k = A_k h_{k−1} + B Ψ_k along each order, A_k as in [`Recurrence::factor`]
    /// - source: Gu & Dao, arXiv 2312.00752 (2023); Blelloch, CMU-CS-90-190 (1990) for joining chains
    /// - scheme and order: exact; eight chains side by side, joined by h ← P·h + e in f64
    /// - stability bound: |A| ≤ 1, so |h| ≤ B·Σ|Ψ|
    /// - bytes and flops per node: 2 scalars read and a record of 4 written, then 4 + 4 scalars and 6 flops per
    ///   order; once per distinct entry of G
    pub fn run(
        &mut self,
        threads: Threads<'_>,
        pages: &[PageRef<'_, T>],
        openness: Values<'_, T>,
        present: usize,
        states: &mut [State],
    ) {
        assert!(states.len() == self.orders.len() && present < self.slices.len());
        self.turned.copy_from_slice(&self.slices);
        self.turned.rotate_left(present + 1);
        if let Some(cells) = &mut self.cells {
            let path = (&self.orders[..], &self.turned[..]);
            return cells.run(&self.recurrence, threads, pages, openness, path, states);
        }
        let metric = self.recurrence.metric;
        for first in 0..STATE {
            if metric[..first].contains(&metric[first]) {
                continue;
            }
            self.fill_records(threads, pages, openness, metric[first]);
            self.walk_units(threads);
            for d in (first..STATE).filter(|&d| metric[d] == metric[first]) {
                self.join(states, d);
            }
        }
    }

    /// Records for the component with metric entry `g`.
    fn fill_records(
        &mut self,
        threads: Threads<'_>,
        pages: &[PageRef<'_, T>],
        openness: Values<'_, T>,
        g: f64,
    ) {
        let page_nodes = self.records.len() / pages.len().max(1);
        assert!(pages.iter().all(|page| page.re.len() == page_nodes && page.im.len() == page_nodes));
        let num = |value: f64| T::from_f64(value).to_num();
        let of_page = Records {
            step: num(self.recurrence.step),
            density_weight: num(self.recurrence.density_weight * self.recurrence.trace()),
            step_max: num(STEP_LIMIT / self.recurrence.greatest()),
            input_weight: num(self.recurrence.input_weight),
            metric: num(g),
        };
        let fill = |p: usize, records: &mut [Record<T::Num>]| {
            let openness = match openness {
                Values::Uniform(value) => Values::Uniform(value),
                Values::PerNode(slices) => Values::PerNode(&slices[p..=p]),
            };
            T::scan_records(&of_page, pages[p], openness, records);
        };
        for_each_part(threads, self.records.chunks_mut(page_nodes), fill);
    }

    fn walk_units(&mut self, threads: Threads<'_>) {
        let Self { orders, units, effects, records, turned, .. } = self;
        *effects = map_chunks(threads, units.len(), |unit| {
            let unit = &units[unit];
            let positions = &orders[unit.order].positions[unit.start..unit.end];
            let slices = unit.slice.map_or(&turned[..], |j| &turned[j..=j]);
            T::scan_walk(records, positions, slices)
        });
    }

    /// Component `d` of every state from the effects of its units, in order.
    fn join(&self, states: &mut [State], d: usize) {
        for state in states.iter_mut() {
            (state.re[d], state.im[d]) = (0.0, 0.0);
        }
        for (unit, effect) in self.units.iter().zip(&self.effects) {
            let state = &mut states[unit.order];
            state.re[d] = effect.product * state.re[d] + effect.re;
            state.im[d] = effect.product * state.im[d] + effect.im;
        }
    }
}

/// Constants of the records of one component.
#[derive(Debug, Clone, Copy)]
pub struct Records<N> {
    step: N,
    density_weight: N,
    step_max: N,
    input_weight: N,
    metric: N,
}

impl<N: rustfft::FftNum> Records<N> {
    /// The records of a page, with 1 − r̂ of its nodes.
    #[inline(always)]
    pub(crate) fn fill_page<T: Real + SimdReal<Num = N>>(
        &self,
        page: PageRef<'_, T>,
        openness: Values<'_, T>,
        records: &mut [Record<N>],
    ) {
        match openness {
            Values::Uniform(value) => self.fill(page, |_| value, records),
            Values::PerNode(slices) => self.fill(page, |i| slices[0][i], records),
        }
    }

    #[inline(always)]
    fn fill<T: Real + SimdReal<Num = N>>(
        &self,
        page: PageRef<'_, T>,
        openness: impl Fn(usize) -> T,
        records: &mut [Record<N>],
    ) {
        for (i, record) in records.iter_mut().enumerate() {
            let (re, im) = (page.re[i].to_num(), page.im[i].to_num());
            let density = re * re + im * im;
            let step = self.step / (N::one() + self.density_weight * density) * openness(i).to_num();
            let is_within = T::from_num(step) < T::from_num(self.step_max);
            let step = if is_within { step } else { self.step_max };
            *record =
                [self.input_weight * re, self.input_weight * im, N::zero(), N::one() - step * self.metric];
        }
    }
}

/// Runs `positions`, each through all `slices`, as eight chains of equal length and a tail, and joins them.
#[inline(always)]
pub(crate) fn walk<T: Real>(records: &[Record<T::Num>], positions: &[u32], slices: &[u32]) -> Effect {
    let length = positions.len() / CHAINS;
    let chains: [&[u32]; CHAINS] = core::array::from_fn(|c| &positions[c * length..(c + 1) * length]);
    let start = [T::Num::zero(), T::Num::zero(), T::Num::one(), T::Num::zero()];
    let mut states = [start; CHAINS];
    for p in 0..length {
        for &slice in slices {
            for (state, chain) in states.iter_mut().zip(&chains) {
                step(state, &records[(chain[p] + slice) as usize]);
            }
        }
    }
    let mut tail = start;
    for &position in &positions[CHAINS * length..] {
        slices.iter().for_each(|slice| step(&mut tail, &records[(position + slice) as usize]));
    }
    let mut joined = Effect { product: 1.0, ..Effect::default() };
    for [re, im, product, _] in states.into_iter().chain([tail]) {
        let [re, im, product] = [re, im, product].map(|x| T::from_num(x).to_f64());
        joined.re = product * joined.re + re;
        joined.im = product * joined.im + im;
        joined.product *= product;
    }
    joined
}

/// (re, im, product) ← A·(re, im, product) + (B·Re Ψ, B·Im Ψ, 0). The fourth lane fills the register.
#[inline(always)]
fn step<N: rustfft::FftNum>(state: &mut Record<N>, record: &Record<N>) {
    for (h, x) in state.iter_mut().zip(record) {
        *h = record[3] * *h + *x;
    }
}

#[cfg(test)]
mod tests;
