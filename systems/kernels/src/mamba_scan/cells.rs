//! The recurrence with a metric of its own on every cell: h ← h − Δ(1 − r̂)G h + Bx, G the symmetric 9 × 9 tensor of the
//! node's cell.
//!
//! Invariant: the step is limited by the spectral radius of the node's own G, so the recurrence never grows where
//! cells change slowly compared with Δ; one traversal is one chain, whatever the threads. In the eigenbasis of G the
//! recurrence is diagonal, but two of the four traversals change cells at every node, where the two changes of basis cost
//! twice what G itself costs: G is applied as it is, the same map. A step of one chain waits for the step before; the
//! traversals of a thread take turns, so that one works while another waits.
//! Source: Gu & Dao 2023 for the recurrence; Gershgorin's circles for the limit where it is far.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::{Order, Recurrence, STATE, STEP_LIMIT, State};
use crate::field::{PageRef, Real, Threads, Values};
use crate::kinetic::fibre::diagonalise;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::for_each_part;

/// Numbers of one part of h: nine and padding. What stands in the padding is finite and of no consequence.
const WIDTH: usize = 16;

/// Numbers of a cell's G.
const TENSOR: usize = STATE * STATE;

/// Traversals that take turns on a thread, at most.
const TURNS_MAX: usize = 4;

/// G of every cell, r…z.
#[derive(Debug, Clone)]
pub struct CellMetric<T> {
    level: Level,
    /// The cell of each node.
    of_node: Vec<u32>,
    /// Nodes cell after cell, and where each cell's begin.
    nodes: Vec<u32>,
    starts: Vec<u32>,
    /// Columns of G, cell after cell, and room to read a vector from the last of them.
    columns: Vec<T>,
    /// a·Tr G of each node's cell, and the greatest step that the cell allows.
    density_weight: Vec<T>,
    step_max: Vec<T>,
    /// What each node gives to the recurrence: B·Re Ψ, B·Im Ψ, Δ(1 − r̂).
    re: Vec<T>,
    im: Vec<T>,
    step: Vec<T>,
}

impl<T: Real> CellMetric<T> {
    /// Cells with G = 0; `of_node[i]` is the cell of node `i`, below `n_cells`; panics if not.
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
            columns: vec![T::default(); n_cells * TENSOR + WIDTH],
            density_weight: zeros(),
            step_max: vec![T::from_f64(f64::INFINITY); of_node.len()],
            re: zeros(),
            im: zeros(),
            step: zeros(),
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
        for (to, value) in self.columns[cell * TENSOR..][..TENSOR].iter_mut().zip(g.as_flattened()) {
            *to = T::from_f64(*value);
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
        let density_weight = T::from_f64(recurrence.density_weight * trace);
        let step_max = T::from_f64(STEP_LIMIT / radius);
        for &node in &self.nodes[self.starts[cell] as usize..self.starts[cell + 1] as usize] {
            self.density_weight[node as usize] = density_weight;
            self.step_max[node as usize] = step_max;
        }
    }

    /// Runs every order over Ψ; `slices` are those of the tick, oldest first.
    ///
    /// - equation: h ← h − Δ(1 − r̂)G h + Bx, Δ = min(Δ₀/(1 + a·ρ·Tr G), 1.6/((1 − r̂)ρ(G)))
    /// - source: the module's
    /// - scheme and order: definition
    /// - stability bound: eigenvalues of each factor in −0.6…1
    /// - bytes and flops per node and order: 4 scalars, 9 columns of G in cache; 340 flops
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
        let metric = &*self;
        let n_threads = match threads {
            Threads::Crew(crew) => crew.n_threads(),
            Threads::Serial => 1,
        };
        let turns = orders.len().div_ceil(n_threads).clamp(1, TURNS_MAX);
        for_each_part(threads, states.chunks_mut(turns), |part, states| {
            let orders = &orders[part * turns..][..states.len()];
            T::cell_walk(metric.level, CellWalk { metric, orders, slices, states });
        });
    }
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
        let to = (&mut metric.re[place.clone()], &mut metric.im[place.clone()], &mut metric.step[place]);
        let one = V::splat(T::from_f64(1.0));
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
                input.mul(re).store_n(to.0.as_mut_ptr().add(node), n);
                input.mul(im).store_n(to.1.as_mut_ptr().add(node), n);
                step.store_n(to.2.as_mut_ptr().add(node), n);
            }
        }
    }
}

/// Some traversals, in turns. Built only with orders and slices of the metric's nodes, and a state for each order.
pub struct CellWalk<'a, T: SimdReal> {
    metric: &'a CellMetric<T>,
    orders: &'a [Order],
    slices: &'a [u32],
    states: &'a mut [State],
}

/// Where a traversal is: its nodes are the sums of a number of one list and one of the other.
#[derive(Clone, Copy, Default)]
struct Cursor<'a> {
    slow: &'a [u32],
    fast: &'a [u32],
    at: (usize, usize),
}

impl<'a> Cursor<'a> {
    fn new(order: &'a Order, slices: &'a [u32]) -> Self {
        let positions = &order.positions[..];
        let (slow, fast) = if order.is_time_fastest { (positions, slices) } else { (slices, positions) };
        Cursor { slow, fast, at: (0, 0) }
    }

    fn n_nodes(&self) -> usize {
        self.slow.len() * self.fast.len()
    }

    #[inline(always)]
    fn next(&mut self) -> usize {
        let node = self.slow[self.at.0] + self.fast[self.at.1];
        self.at.1 += 1;
        if self.at.1 == self.fast.len() {
            self.at = (self.at.0 + 1, 0);
        }
        node as usize
    }
}

impl<T: Real> Kernel<T> for CellWalk<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let CellWalk { metric, orders, slices, states } = self;
        let mut h = [[[T::default(); WIDTH]; 2]; TURNS_MAX];
        let mut cursors = [Cursor::default(); TURNS_MAX];
        for (cursor, order) in cursors.iter_mut().zip(orders) {
            *cursor = Cursor::new(order, slices);
            assert_eq!(cursor.n_nodes(), metric.n_nodes(), "a traversal visits every node once");
        }
        for _ in 0..metric.n_nodes() {
            for (cursor, h) in cursors[..orders.len()].iter_mut().zip(&mut h) {
                metric.step::<V>(cursor.next(), h);
            }
        }
        for (state, h) in states.iter_mut().zip(&h) {
            for d in 0..STATE {
                (state.re[d], state.im[d]) = (h[0][d].to_f64(), h[1][d].to_f64());
            }
        }
    }
}

impl<T: Real> CellMetric<T> {
    /// One node.
    #[inline(always)]
    fn step<V: Lanes<T = T>>(&self, node: usize, h: &mut [[T; WIDTH]; 2]) {
        let columns = self.columns[self.of_node[node] as usize * TENSOR..][..TENSOR + WIDTH].as_ptr();
        let x = [V::splat(self.re[node]), V::splat(self.im[node])];
        let step = V::splat(self.step[node]);
        // With more than one vector to a part of h, the second needs what the first has changed.
        let copy;
        let old = if V::N < WIDTH {
            copy = *h;
            copy.as_ptr().cast::<T>()
        } else {
            h.as_ptr().cast::<T>()
        };
        for part in (0..STATE).step_by(V::N) {
            let zero = V::splat(T::default());
            // Two sums each, so that a product need not wait for the one before.
            let (mut re, mut im) = ([zero; 2], [zero; 2]);
            // SAFETY: a cell has nine columns of nine numbers, and as many to read behind them as a vector is long; h has
            // two parts of WIDTH numbers.
            unsafe {
                for j in 0..STATE {
                    let column = V::load(columns.add(j * STATE + part));
                    re[j % 2] = column.mul_add(V::splat(*old.add(j)), re[j % 2]);
                    im[j % 2] = column.mul_add(V::splat(*old.add(WIDTH + j)), im[j % 2]);
                }
                let [of_re, of_im] = h;
                let (to_re, to_im) = (of_re.as_mut_ptr().add(part), of_im.as_mut_ptr().add(part));
                let new = re[0].add(re[1]).neg_mul_add(step, V::load(to_re).add(x[0]));
                new.store(to_re);
                let new = im[0].add(im[1]).neg_mul_add(step, V::load(to_im).add(x[1]));
                new.store(to_im);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scan;
    use super::*;
    use crate::Crew;

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
        let crew = Crew::new(2).expect("threads");
        let reference = run::<f32>(Level::Scalar, Threads::Serial, tensor);
        for level in Level::available() {
            assert_eq!(run::<f32>(level, Threads::Crew(&crew), tensor), reference, "{level:?}");
        }
    }
}
