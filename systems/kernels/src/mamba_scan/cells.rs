//! The recurrence with a metric of its own on every cell: h ← h − Δ(1 − r̂)G h + Bx, G the symmetric 9 × 9 tensor of the
//! node's cell.
//!
//! Invariant: the step is limited by the spectral radius of the node's own G, so the recurrence never grows where
//! cells change slowly compared with Δ; one traversal is one chain, whatever the threads. In the eigenbasis of G the
//! recurrence is diagonal, but two of the four traversals change cells at every node, where the two changes of basis cost
//! twice what G itself costs: G is applied as it is, the same map.
//! Source: Gu & Dao 2023 for the recurrence; Gershgorin's circles for the limit where it is far.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::{Order, Recurrence, STATE, STEP_LIMIT, State};
use crate::field::{PageRef, Real, Threads, Values};
use crate::kinetic::fibre::diagonalise;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

/// Numbers of a column of G: nine and padding.
const WIDTH: usize = 16;

/// What a node gives to the recurrence: B·Re Ψ, B·Im Ψ, Δ(1 − r̂), and padding.
type CellRecord<T> = [T; 4];

/// G of every cell, r…z.
#[derive(Debug, Clone)]
pub struct CellMetric<T> {
    level: Level,
    /// The cell of each node.
    of_node: Vec<u32>,
    /// Columns of G, cell after cell.
    columns: Vec<T>,
    trace: Vec<f64>,
    /// Greatest step that the cell allows.
    step_max: Vec<f64>,
    records: Vec<CellRecord<T>>,
}

impl<T: Real> CellMetric<T> {
    /// Cells with G = 0; `of_node[i]` is the cell of node `i`, below `n_cells`; panics if not.
    pub fn new(level: Level, of_node: Vec<u32>, n_cells: usize) -> Self {
        assert!(of_node.iter().all(|cell| (*cell as usize) < n_cells), "every node's cell exists");
        CellMetric {
            level,
            records: vec![[T::default(); 4]; of_node.len()],
            of_node,
            columns: vec![T::default(); n_cells * STATE * WIDTH],
            trace: vec![0.0; n_cells],
            step_max: vec![f64::INFINITY; n_cells],
        }
    }

    /// Nodes.
    pub fn n_nodes(&self) -> usize {
        self.of_node.len()
    }

    /// Sets G of a cell; `recurrence` says how large a step can be.
    pub fn set(&mut self, recurrence: &Recurrence, cell: usize, g: &[[f64; STATE]; STATE]) {
        for (j, column) in g.iter().enumerate() {
            let to = &mut self.columns[(cell * STATE + j) * WIDTH..][..STATE];
            to.iter_mut().zip(column).for_each(|(slot, value)| *slot = T::from_f64(*value));
        }
        self.trace[cell] = (0..STATE).map(|i| g[i][i]).sum();
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
        self.step_max[cell] = STEP_LIMIT / radius;
    }

    /// Runs every order over Ψ; `slices` are those of the tick, oldest first.
    ///
    /// - equation: h ← h − Δ(1 − r̂)G h + Bx, Δ = min(Δ₀/(1 + a·ρ·Tr G), 1.6/((1 − r̂)ρ(G)))
    /// - source: the module's
    /// - scheme and order: definition
    /// - stability bound: eigenvalues of each factor in −0.6…1
    /// - bytes and flops per node and order: 5 scalars, 9 columns of G in cache; 340 flops
    pub(super) fn run(
        &mut self,
        recurrence: &Recurrence,
        threads: Threads<'_>,
        pages: &[PageRef<'_, T>],
        openness: Values<'_, T>,
        (orders, slices): (&[Order], &[u32]),
        states: &mut [State],
    ) {
        self.fill_records(recurrence, pages, openness);
        let walk = |(order, state): (&Order, &mut State)| {
            let walk = CellWalk { metric: self, order, slices, state };
            T::cell_walk(self.level, walk);
        };
        match threads {
            Threads::Pool(pool) => {
                pool.install(|| states.par_iter_mut().enumerate().for_each(|(k, s)| walk((&orders[k], s))));
            }
            Threads::Serial => orders.iter().zip(states).for_each(walk),
        }
    }

    fn fill_records(&mut self, recurrence: &Recurrence, pages: &[PageRef<'_, T>], openness: Values<'_, T>) {
        let mut node = 0;
        for (p, page) in pages.iter().enumerate() {
            for i in 0..page.re.len() {
                let (re, im) = (page.re[i].to_f64(), page.im[i].to_f64());
                let openness = match openness {
                    Values::Uniform(value) => value.to_f64(),
                    Values::PerNode(slices) => slices[p][i].to_f64(),
                };
                let cell = self.of_node[node] as usize;
                let slowed = 1.0 + recurrence.density_weight * (re * re + im * im) * self.trace[cell];
                let step = (recurrence.step / slowed * openness).min(self.step_max[cell]);
                let input = recurrence.input_weight;
                self.records[node] =
                    [T::from_f64(input * re), T::from_f64(input * im), T::from_f64(step), T::default()];
                node += 1;
            }
        }
    }
}

/// One traversal. Built only with an order and slices of the metric's nodes.
pub struct CellWalk<'a, T: SimdReal> {
    metric: &'a CellMetric<T>,
    order: &'a Order,
    slices: &'a [u32],
    state: &'a mut State,
}

impl<T: Real> Kernel<T> for CellWalk<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let CellWalk { metric, order, slices, state } = self;
        let mut h = [[T::default(); WIDTH]; 2];
        if order.is_time_fastest {
            for &position in &order.positions {
                for &slice in slices {
                    metric.step::<V>((position + slice) as usize, &mut h);
                }
            }
        } else {
            for &slice in slices {
                for &position in &order.positions {
                    metric.step::<V>((position + slice) as usize, &mut h);
                }
            }
        }
        for d in 0..STATE {
            (state.re[d], state.im[d]) = (h[0][d].to_f64(), h[1][d].to_f64());
        }
    }
}

impl<T: Real> CellMetric<T> {
    /// One node.
    #[inline(always)]
    fn step<V: Lanes<T = T>>(&self, node: usize, h: &mut [[T; WIDTH]; 2]) {
        let cell = self.of_node[node] as usize;
        let [re, im, step, _] = self.records[node];
        let columns = self.columns[cell * STATE * WIDTH..][..STATE * WIDTH].as_ptr();
        let old = *h;
        for part in (0..WIDTH).step_by(V::N) {
            // Three sums each, so that a product need not wait for the one before.
            let zero = V::splat(T::default());
            let mut sums = [[zero; 3]; 2];
            for j in 0..STATE {
                // SAFETY: a cell has nine columns of WIDTH numbers.
                let column = unsafe { V::load(columns.add(j * WIDTH + part)) };
                for (sums, old) in sums.iter_mut().zip(&old) {
                    sums[j % 3] = column.mul_add(V::splat(old[j]), sums[j % 3]);
                }
            }
            for ((h, sums), x) in h.iter_mut().zip(sums).zip([re, im]) {
                let image = sums[0].add(sums[1]).add(sums[2]);
                // SAFETY: WIDTH numbers.
                unsafe {
                    let here = h.as_mut_ptr().add(part);
                    let new = image.neg_mul_add(V::splat(step), V::load(here).add(V::splat(x)));
                    new.store(here);
                }
            }
        }
        // Padding takes no part.
        for h in h {
            h[STATE..].fill(T::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scan;
    use super::*;

    const RECURRENCE: Recurrence =
        Recurrence { step: 0.02, density_weight: 5.0, input_weight: 0.7, metric: [1.0; STATE] };
    const NODES: usize = 240;

    fn noise(seed: u64) -> Vec<f64> {
        crate::kinetic::tests::noise(NODES, seed)
    }

    fn orders() -> Vec<Order> {
        let order = |step: u32, is_time_fastest| Order {
            positions: (0..80).map(|i| i * step % 80).collect(),
            is_time_fastest,
        };
        vec![order(7, false), order(3, true)]
    }

    /// A positive definite tensor per cell; those of the last cell are large, so that the step is limited.
    fn tensor(cell: usize) -> [[f64; STATE]; STATE] {
        let base = crate::kinetic::tests::noise(STATE * STATE, cell as u64 + 5);
        let scale = if cell == 7 { 60.0 } else { 0.3 };
        core::array::from_fn(|i| {
            core::array::from_fn(|j| {
                let dot: f64 = (0..STATE).map(|k| base[i * STATE + k] * base[j * STATE + k]).sum();
                scale * dot + if i == j { 0.2 } else { 0.0 }
            })
        })
    }

    fn cell_of(node: usize) -> usize {
        node / 3 % 8
    }

    fn run<T: Real>(
        level: Level,
        threads: Threads<'_>,
        g: impl Fn(usize) -> [[f64; STATE]; STATE],
    ) -> Vec<State> {
        let mut scan = Scan::<T>::new(RECURRENCE, NODES, vec![0, 80, 160], orders());
        scan.set_cells(CellMetric::new(level, (0..NODES).map(|n| cell_of(n) as u32).collect(), 8));
        (0..8).for_each(|cell| scan.set_metric(cell, &g(cell)));
        let plane = |seed| -> Vec<T> { noise(seed).into_iter().map(T::from_f64).collect() };
        let (re, im, openness) = (plane(1), plane(2), noise(3));
        let openness: Vec<T> = openness.into_iter().map(|x| T::from_f64(0.5 * (x + 1.0))).collect();
        let pages: Vec<_> = re.chunks(120).zip(im.chunks(120)).map(|(re, im)| PageRef { re, im }).collect();
        let openness: Vec<&[T]> = openness.chunks(120).collect();
        let mut states = vec![State::default(); 2];
        scan.run(threads, &pages, Values::PerNode(&openness), 1, &mut states);
        states
    }

    /// By the definition, in f64.
    fn expected(order: &Order) -> State {
        let (re, im, openness) = (noise(1), noise(2), noise(3));
        let slices = [160, 0, 80];
        let mut nodes = Vec::new();
        if order.is_time_fastest {
            order.positions.iter().for_each(|p| nodes.extend(slices.map(|s| (p + s) as usize)));
        } else {
            slices.iter().for_each(|s| nodes.extend(order.positions.iter().map(|p| (p + s) as usize)));
        }
        let mut state = State::default();
        for node in nodes {
            let g = tensor(cell_of(node));
            let mut eigen: Vec<f64> = g.iter().flatten().copied().collect();
            diagonalise(&mut eigen, STATE);
            let radius = (0..STATE).fold(0.0, |most: f64, i| most.max(eigen[i * STATE + i]));
            let trace: f64 = (0..STATE).map(|i| g[i][i]).sum();
            let density = re[node] * re[node] + im[node] * im[node];
            let step = (0.02 / (1.0 + 5.0 * density * trace) * 0.5 * (openness[node] + 1.0))
                .min(STEP_LIMIT / radius);
            for (h, x) in [(&mut state.re, re[node]), (&mut state.im, im[node])] {
                let old = *h;
                for i in 0..STATE {
                    let image: f64 = (0..STATE).map(|j| g[i][j] * old[j]).sum();
                    h[i] = old[i] - step * image + 0.7 * x;
                }
            }
        }
        state
    }

    fn distance(a: &State, b: &State) -> f64 {
        let parts = a.re.iter().zip(&b.re).chain(a.im.iter().zip(&b.im));
        parts.fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()))
    }

    #[test]
    fn each_cell_applies_its_own_metric() {
        let double = run::<f64>(Level::detect(), Threads::Serial, tensor);
        let single = run::<f32>(Level::detect(), Threads::Serial, tensor);
        for (k, order) in orders().iter().enumerate() {
            let expected = expected(order);
            assert!(distance(&double[k], &expected) < 1e-12, "{:?} against {expected:?}", double[k]);
            assert!(distance(&single[k], &expected) < 1e-4, "{:?} against {expected:?}", single[k]);
        }
    }

    #[test]
    fn one_diagonal_metric_everywhere_is_the_scalar_recurrence() {
        let diagonal = |_| core::array::from_fn(|i| core::array::from_fn(|j| if i == j { 1.0 } else { 0.0 }));
        let cells = run::<f64>(Level::detect(), Threads::Serial, diagonal);
        let mut scan = Scan::<f64>::new(RECURRENCE, NODES, vec![0, 80, 160], orders());
        let (re, im) = (noise(1), noise(2));
        let openness: Vec<f64> = noise(3).into_iter().map(|x| 0.5 * (x + 1.0)).collect();
        let pages = [PageRef { re: &re, im: &im }];
        let mut states = vec![State::default(); 2];
        scan.run(Threads::Serial, &pages, Values::PerNode(&[&openness]), 1, &mut states);
        for (a, b) in cells.iter().zip(&states) {
            assert!(distance(a, b) < 1e-12);
        }
    }

    #[test]
    fn threads_and_levels_do_not_change_a_bit() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
        let reference = run::<f32>(Level::Scalar, Threads::Serial, tensor);
        for level in Level::available() {
            assert_eq!(run::<f32>(level, Threads::Pool(&pool), tensor), reference, "{level:?}");
        }
    }
}
