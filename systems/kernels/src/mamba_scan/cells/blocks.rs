//! A traversal block by block: what a block of nodes does to h, from sums over its nodes.
//!
//! Invariant: blocks are cut by the traversal alone, and what a block does depends on its nodes alone, so neither threads nor
//! vectors change a bit. A step is h ← (1 − sγ)(1 − tE)h + Bx, t = s/(1 − sγ); the numbers 1 − sγ are divided out, and with
//! y = h/Π(1 − sγ), x̂ = Bx/Π(1 − sγ), X = Σx̂ the product of a block of steps is
//!
//! ```text
//! y = h + X·1 − Σ_c E_c(T_c h + R_c·1) + Σ_ab E_a E_b(T_ab h + R_ab·1) − …
//! T_c = Σ_{k on c} t_k, T_ab = Σ_{k on a} t_k T_b(before k);  R likewise, with t_k X(before k)
//! ```
//!
//! with sums over the cells c of the block. Where a traversal stays on few cells for a while the terms of second order are
//! kept, where it changes cells at every node those of the first. What is dropped, β³/6 or β²/2 with β = Σ t|E|, is below what as
//! many steps round, half a unit in the last place each; where it is not, the block is cut, or goes node by node.
//! Source: the Dyson series of a product, Magnus, Comm. Pure Appl. Math. 7 (1954) 649.

mod mixed;

use self::mixed::MIXED;
use super::super::{Order, STATE, State};
use super::aligned::Pair;
use super::images::{Image, together};
use super::lattice;
use super::{CellMetric, RECORD, ROW_SUMS, TENSOR, apply};
use crate::field::Real;
use crate::simd::{Kernel, Lanes, SimdReal};

/// Most cells of a block that is done to second order.
pub(super) const CELLS_MAX: usize = 3;

/// Pairs that a block works in: zero, and three for each cell.
pub(super) const ROOMS: usize = 1 + 3 * CELLS_MAX;

/// Most positions of a block, and least where it is worth its sums.
const POSITIONS_MAX: usize = 27;
const POSITIONS_MIN: usize = 3;

/// Numbers of a block's sums: Π 1/(1 − sγ), X, and (T, R) of each cell and of each pair.
pub(super) const SUMS_MAX: usize = 3 + 3 * CELLS_MAX + 3 * CELLS_MAX * CELLS_MAX;

/// Largest Π 1/(1 − sγ) of a block: T is then at most twice Σs.
pub(super) const TURNED_MAX: f64 = 2.0;

/// Runs whose positions stand side by side.
const SIDE: usize = 16;

/// How a traversal is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Runs of so many positions, on as many cells as there are slices in a run. The table has where records of positions begin,
    /// the first ones of [`SIDE`] runs, then the second ones; the last run stands for those that are not there.
    Runs { positions: usize, cells: usize, table: Vec<u32> },
    /// Nine nodes at a time, whatever their cells.
    Mixed,
}

impl Route {
    pub fn new(order: &Order, slices: &[u32], of_node: &[u32]) -> Self {
        let positions = &order.positions[..];
        let greatest = positions.iter().max().zip(slices.iter().max()).map(|(p, s)| (p + s) as usize);
        assert!(greatest.is_none_or(|node| node < of_node.len()), "an order visits nodes that exist");
        let cells = if order.is_time_fastest { slices.len() } else { 1 };
        let is_alike =
            |a: u32, b: u32| slices.iter().all(|s| of_node[(a + s) as usize] == of_node[(b + s) as usize]);
        let run = positions.iter().take_while(|p| is_alike(**p, positions[0])).count().min(POSITIONS_MAX);
        let is_run = |run: &[u32]| run.iter().all(|p| is_alike(*p, run[0]));
        let has_runs = run >= POSITIONS_MIN
            && cells <= CELLS_MAX
            && positions.len().is_multiple_of(run)
            && positions.chunks(run).all(is_run);
        if !has_runs {
            return Route::Mixed;
        }
        let last = positions.len() / run - 1;
        let begins = |first: usize, k: usize| {
            (first..first + SIDE).map(move |r| RECORD as u32 * positions[r.min(last) * run + k])
        };
        let table = (0..=last).step_by(SIDE).flat_map(|first| (0..run).flat_map(move |k| begins(first, k)));
        Route::Runs { positions: run, cells, table: table.collect() }
    }

    /// Scalars of scratch for vectors of `lanes` lanes.
    pub fn scratch(&self, lanes: usize) -> usize {
        match self {
            Self::Runs { .. } => 0,
            Self::Mixed => 5 * MIXED * lanes,
        }
    }
}

/// A traversal. Built only with an order and slices of the metric's nodes, the route made for them and its scratch.
pub struct CellWalk<'a, T: SimdReal> {
    pub(super) metric: &'a CellMetric<T>,
    /// γ.
    pub(super) mean: T,
    pub(super) way: (&'a Order, &'a [u32]),
    pub(super) route: &'a Route,
    pub(super) scratch: *mut T,
    pub(super) state: &'a mut State,
}

/// Where a traversal is: its nodes are the sums of a number of one list and one of the other.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    slow: &'a [u32],
    fast: &'a [u32],
    at: (usize, usize),
}

impl<'a> Cursor<'a> {
    /// At the `k`-th node.
    #[inline(always)]
    fn new((order, slices): (&'a Order, &'a [u32]), k: usize) -> Self {
        let positions = &order.positions[..];
        let (slow, fast) = if order.is_time_fastest { (positions, slices) } else { (slices, positions) };
        Cursor { slow, fast, at: (k / fast.len(), k % fast.len()) }
    }

    /// # Safety
    /// There is a next node.
    #[inline(always)]
    unsafe fn next(&mut self) -> u32 {
        // SAFETY: says the caller.
        let node = unsafe { *self.slow.get_unchecked(self.at.0) + *self.fast.get_unchecked(self.at.1) };
        self.at.1 += 1;
        if self.at.1 == self.fast.len() {
            self.at = (self.at.0 + 1, 0);
        }
        node
    }
}

impl<T: Real> Kernel<T> for CellWalk<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let (order, slices) = self.way;
        assert_eq!(order.positions.len() * slices.len(), self.metric.n_nodes(), "every node once");
        let mut h = Pair::default();
        match self.route {
            Route::Runs { positions, cells: 1, table } => self.runs::<V, 1>(*positions, table, &mut h),
            Route::Runs { positions, cells: 2, table } => self.runs::<V, 2>(*positions, table, &mut h),
            Route::Runs { positions, table, .. } => self.runs::<V, 3>(*positions, table, &mut h),
            Route::Mixed => self.mixed::<V>(&mut h),
        }
        for d in 0..STATE {
            (self.state.re[d], self.state.im[d]) = (h[0][d].to_f64(), h[1][d].to_f64());
        }
    }
}

/// The largest Σ t|E| of a block of so many nodes that is done to first order.
pub(super) fn first_order_limit<T: Real>(n_nodes: usize) -> f64 {
    libm::sqrt(n_nodes as f64 * T::EPSILON)
}

/// The same of a block that is done to second order.
pub(super) fn second_order_limit<T: Real>(n_nodes: usize) -> f64 {
    libm::cbrt(3.0 * n_nodes as f64 * T::EPSILON)
}

impl<T: Real> CellWalk<'_, T> {
    /// Blocks of `positions` positions on `C` cells each, to second order.
    #[inline(always)]
    fn runs<V: Lanes<T = T>, const C: usize>(&self, positions: usize, table: &[u32], h: &mut Pair<T>) {
        let (order, slices) = self.way;
        let n = positions * C;
        let n_runs = order.positions.len() / positions;
        let limit = second_order_limit::<T>(n);
        let (source, mean) = (Source::new(self.metric), V::splat(self.mean));
        let mut sums = [[T::default(); 16]; SUMS_MAX];
        let mut cells = [[0; C]; 16];
        let mut room = [Pair::default(); ROOMS];
        // All slices at each position, or one slice after the other.
        for (pass, slices) in slices.chunks_exact(C).enumerate() {
            let mut offsets = [0; C];
            offsets.iter_mut().zip(slices).for_each(|(offset, slice)| *offset = *slice as usize);
            for first in (0..n_runs).step_by(V::N) {
                let lanes = V::N.min(n_runs - first);
                // SAFETY: `n_runs` runs are there, and in the table as many as whole vectors need. Lanes without a run are not
                // looked at.
                unsafe {
                    for (lane, cells) in cells.iter_mut().enumerate().take(lanes) {
                        let position = *order.positions.get_unchecked((first + lane) * positions) as usize;
                        for (cell, offset) in cells.iter_mut().zip(offsets) {
                            *cell = *source.cell.add(position + offset) as usize;
                        }
                    }
                    let table = table.as_ptr().add(first / SIDE * SIDE * positions + first % SIDE);
                    sum_runs::<V, C>(source.records, (table, offsets), positions, mean, &mut sums);
                    for (lane, cells) in cells.iter().enumerate().take(lanes) {
                        if self.metric.is_within(&sums, lane, cells, limit) {
                            self.metric.advance::<V, C>(&sums, lane, cells, &mut room, h);
                        } else {
                            self.node_by_node::<V>(n * (pass * n_runs + first + lane), n, h);
                        }
                    }
                }
            }
        }
    }

    /// `n` nodes from the `k`-th on by the definition.
    #[inline(never)]
    fn node_by_node<V: Lanes<T = T>>(&self, k: usize, n: usize, h: &mut Pair<T>) {
        V::call(Nodes { walk: self, k, n, h });
    }
}

impl<T: Real> CellMetric<T> {
    /// Whether what a block of runs drops is below rounding.
    pub(super) fn is_within(&self, sums: &[[T; 16]], lane: usize, cells: &[usize], limit: f64) -> bool {
        let beta = cells.iter().enumerate().fold(0.0, |beta, (c, cell)| {
            beta + sums[3 + 3 * c][lane].to_f64() * self.limits[*cell][2].to_f64()
        });
        beta <= limit && sums[0][lane].to_f64() <= TURNED_MAX
    }

    /// One block of runs.
    ///
    /// # Safety
    /// The cells exist.
    #[inline(always)]
    pub(super) unsafe fn advance<V: Lanes<T = T>, const C: usize>(
        &self,
        sums: &[[T; 16]],
        lane: usize,
        cells: &[usize; C],
        room: &mut [Pair<T>; ROOMS],
        h: &mut Pair<T>,
    ) {
        let [zero, rooms @ ..] = room;
        let (first, rooms) = rooms.split_at_mut(CELLS_MAX);
        let (arguments, second) = rooms.split_at_mut(CELLS_MAX);
        let product = V::splat(T::from_f64(1.0 / sums[0][lane].to_f64()));
        let scale = T::from_f64(-1.0);
        let mut images = [Image::none(); C];
        // SAFETY: tensors have TENSOR numbers; parts of h have WIDTH numbers.
        unsafe {
            let tensor = |c: usize| self.tensors.as_ptr().add(cells[c] * TENSOR);
            for c in 0..C {
                images[c] = Image { matrix: tensor(c), from: h, start: zero, to: &raw mut first[c], scale };
            }
            together::<V, C>(&images);
            for a in 0..C {
                for part in (0..STATE).step_by(V::N) {
                    for (q, to) in arguments[a].iter_mut().enumerate() {
                        let mut sum = V::splat(T::default());
                        for b in 0..C {
                            let of_pair = &sums[3 + 3 * C + 3 * (a * C + b)..];
                            let ones = V::load(tensor(b).add(ROW_SUMS + part));
                            let v = V::load(first[b][q].as_ptr().add(part));
                            sum = v.mul_add(V::splat(of_pair[0][lane]), sum);
                            sum = ones.mul_add(V::splat(of_pair[1 + q][lane]), sum);
                        }
                        sum.store(to.as_mut_ptr().add(part));
                    }
                }
                let (from, to) = (&raw const arguments[a], &raw mut second[a]);
                images[a] = Image { matrix: tensor(a), from, start: zero, to, scale };
            }
            together::<V, C>(&images);
            for part in (0..STATE).step_by(V::N) {
                for (q, h) in h.iter_mut().enumerate() {
                    let h = h.as_mut_ptr().add(part);
                    let mut sum = V::load(h).add(V::splat(sums[1 + q][lane]));
                    for c in 0..C {
                        let ones = V::load(tensor(c).add(ROW_SUMS + part));
                        let v = V::load(first[c][q].as_ptr().add(part));
                        sum = v.neg_mul_add(V::splat(sums[3 + 3 * c][lane]), sum);
                        sum = ones.neg_mul_add(V::splat(sums[4 + 3 * c + q][lane]), sum);
                        sum = sum.add(V::load(second[c][q].as_ptr().add(part)));
                    }
                    sum.mul(product).store(h);
                }
            }
        }
    }
}

/// What nodes give, as raw tables: one that is written must not make them be looked up again.
#[derive(Clone, Copy)]
struct Source<T> {
    records: *const T,
    cell: *const u32,
}

impl<T: Real> Source<T> {
    fn new(metric: &CellMetric<T>) -> Self {
        Source { records: metric.records.as_ptr(), cell: metric.of_node.as_ptr() }
    }
}

/// Nodes by the definition.
struct Nodes<'a, 'b, T: SimdReal> {
    walk: &'a CellWalk<'b, T>,
    k: usize,
    n: usize,
    h: &'a mut Pair<T>,
}

impl<T: Real> Kernel<T> for Nodes<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let Nodes { walk, k, n, h } = self;
        let metric = walk.metric;
        let mut cursor = Cursor::new(walk.way, k);
        let mut image = Pair::default();
        for _ in 0..n {
            // SAFETY: so many nodes are ahead; tensors have TENSOR numbers.
            unsafe {
                let node = cursor.next() as usize;
                let cell = *metric.of_node.get_unchecked(node) as usize;
                apply::<V>(metric.tensors.as_ptr().add(cell * TENSOR), h, &mut image);
                let record = &metric.records[RECORD * node..][..RECORD];
                let step = metric.steps[node];
                let keep = V::splat(T::from_f64(1.0 - step.to_f64() * walk.mean.to_f64()));
                let step = V::splat(step);
                for part in (0..STATE).step_by(V::N) {
                    for (h, (image, x)) in h.iter_mut().zip(image.iter().zip([record[1], record[2]])) {
                        let h = h.as_mut_ptr().add(part);
                        let kept = V::load(h).mul_add(keep, V::splat(x));
                        V::load(image.as_ptr().add(part)).neg_mul_add(step, kept).store(h);
                    }
                }
            }
        }
    }
}

/// The sums of one block per lane, from the records of its nodes: those of a position on the table's lanes, on each of C slices.
///
/// # Safety
/// The records are there.
#[inline(always)]
unsafe fn sum_runs<V: Lanes, const C: usize>(
    records: *const V::T,
    (table, offsets): (*const u32, [usize; C]),
    positions: usize,
    mean: V,
    to: &mut [[V::T; 16]; SUMS_MAX],
) {
    let mut sums = Sums::<V, C>::new();
    for k in 0..positions {
        for a in 0..C {
            // SAFETY: says the caller.
            unsafe {
                let [t, re, im, _] = V::load_records(records.add(RECORD * offsets[a]), table.add(k * SIDE));
                sums.add(a, [t, re, im], mean);
            }
        }
    }
    sums.store(to);
}

/// The sums of a block of C cells in every lane: Π 1/(1 − sγ), X, and (T, R) of each cell and of each pair.
pub(super) struct Sums<V, const C: usize> {
    turned: V,
    x: [V; 2],
    first: [[V; 3]; C],
    second: [[[V; 3]; C]; C],
}

impl<V: Lanes, const C: usize> Sums<V, C> {
    #[inline(always)]
    pub fn new() -> Self {
        let zero = V::splat(V::T::default());
        let (first, second) = ([[zero; 3]; C], [[[zero; 3]; C]; C]);
        Sums { turned: V::constant(1.0), x: [zero; 2], first, second }
    }

    /// A node of cell `a`: t, B·Re Ψ, B·Im Ψ.
    #[inline(always)]
    pub fn add(&mut self, a: usize, [t, re, im]: [V; 3], mean: V) {
        for b in 0..C {
            for q in 0..3 {
                self.second[a][b][q] = t.mul_add(self.first[b][q], self.second[a][b][q]);
            }
        }
        self.first[a][0] = self.first[a][0].add(t);
        self.first[a][1] = t.mul_add(self.x[0], self.first[a][1]);
        self.first[a][2] = t.mul_add(self.x[1], self.first[a][2]);
        self.turned = t.mul(mean).mul_add(self.turned, self.turned);
        self.x = [re.mul_add(self.turned, self.x[0]), im.mul_add(self.turned, self.x[1])];
    }

    /// Those of `n` nodes of each cell, node `places[k]` of every one at a time; `sides` hold three numbers of each node, a
    /// cell per lane.
    ///
    /// # Safety
    /// The numbers are there, and so many places below `n`.
    #[inline(always)]
    pub unsafe fn of(sides: [*const V::T; C], n: usize, places: &[u32], mean: V) -> Self {
        let mut sums = Self::new();
        for place in places {
            for a in 0..C {
                // SAFETY: says the caller.
                unsafe {
                    let at = sides[a].add(*place as usize * lattice::SIDE);
                    let plane = n * lattice::SIDE;
                    let node = [V::load(at), V::load(at.add(plane)), V::load(at.add(2 * plane))];
                    sums.add(a, node, mean);
                }
            }
        }
        sums
    }

    #[inline(always)]
    pub fn store(self, to: &mut [[V::T; 16]; SUMS_MAX]) {
        self.turned.store_array(&mut to[0]);
        self.x[0].store_array(&mut to[1]);
        self.x[1].store_array(&mut to[2]);
        for a in 0..C {
            for q in 0..3 {
                self.first[a][q].store_array(&mut to[3 + 3 * a + q]);
                for b in 0..C {
                    self.second[a][b][q].store_array(&mut to[3 + 3 * C + 3 * (a * C + b) + q]);
                }
            }
        }
    }
}
