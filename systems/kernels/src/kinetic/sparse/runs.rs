//! Cells of a sparse torus that are runs of nodes: P∂P on a cell as a few whole vectors, whichever pages its lines pass through.
//!
//! Invariant: pages have three nodes along every axis, a cell is one run of nodes that spans the axes inside it. What a node takes
//! from a page of its column, `ahead` pages behind it, from `shift` nodes further on, weighs ∂ at 3·ahead − shift: the same for
//! all nodes that have such a neighbour. Pages of a column come in the order of their slots, the page itself first, so sums have
//! one order, whatever the vectors.
//! Source: `fibre.rs` for ∂, `metric_update/rings.rs` for vectors that overlap.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::Blocks;
use crate::field::Real;
use crate::half_potential::Planes;
use crate::kinetic::fibre::derivative;
use crate::kinetic::remainder::{AXES_MAX, Gradients, MARGIN, PITCH, ROW};
use crate::simd::{Lanes, SimdReal};
use std::collections::BTreeMap;

/// Nodes of a page along an axis.
pub(crate) const SIDE: usize = 3;

/// Places from two nodes before to two behind.
pub(crate) const SHIFTS: usize = 2 * SIDE - 1;

/// Cells from a cell to the one whose numbers are fetched meanwhile.
pub(crate) const AHEAD: usize = 2;

/// Axes inside a cell, at most.
const INSIDE_MAX: usize = 3;

/// A page that a line passes through.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub slot: usize,
    /// ∂ by shift.
    slopes: [f64; SHIFTS],
    /// K by shift, where it is known; a node's own is left out.
    curvatures: [f64; SHIFTS],
}

/// What is summed over the nodes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sum {
    /// P∂P.
    Slope,
    /// PKP but for its diagonal.
    Curvature,
}

/// On a cache line of its own, so that no vector lies on two.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Aligned<A>(pub A);

/// The lines of an axis.
#[derive(Debug, Clone)]
pub(crate) struct LineAxis {
    /// Its number among the axes that were asked for.
    pub axis: usize,
    storage_axis: usize,
    /// Distance of neighbours: in nodes inside a cell, in cells outside.
    pub stride: usize,
    slopes: Vec<f64>,
    /// K by offset, where it is known.
    curvatures: Vec<f64>,
    /// Of each page: the pages of its column, itself first.
    links: Vec<Vec<Link>>,
    /// Place of each cell of a page along the axis.
    pub places: Vec<u8>,
}

impl LineAxis {
    /// The pages of the column of a page, itself first.
    pub fn links(&self, slot: usize) -> &[Link] {
        &self.links[slot]
    }

    fn activate(&mut self, blocks: &Blocks, pages: &[usize]) {
        let mut columns: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        let place = |page: usize| blocks.column_of(page, self.storage_axis);
        for (slot, &page) in pages.iter().enumerate() {
            let (column, position) = place(page);
            columns.entry(column).or_default().push((slot, position));
        }
        let extent = blocks.extents[self.storage_axis];
        let link = |own: usize, &(slot, position): &(usize, usize)| {
            // From the other page's first node to the own one's, and two on, so that nothing is below zero.
            let apart = (own + extent / SIDE - position) * SIDE + SIDE - 1;
            let at = |shift: usize| (apart - shift) % extent;
            let curvature = |offset: usize| match self.curvatures.get(offset) {
                Some(curvature) if offset > 0 => *curvature,
                _ => 0.0,
            };
            Link {
                slot,
                slopes: core::array::from_fn(|shift| self.slopes[at(shift)]),
                curvatures: core::array::from_fn(|shift| curvature(at(shift))),
            }
        };
        let links = pages.iter().enumerate().map(|(slot, &page)| {
            let (column, own) = place(page);
            let others = columns[&column].iter().filter(|(other, _)| *other != slot);
            [(slot, own)].iter().chain(others).map(|of| link(own, of)).collect()
        });
        self.links = links.collect();
    }
}

/// The cells of a sparse torus and the lines through them.
#[derive(Debug, Clone)]
pub(crate) struct Runs {
    /// Nodes of a cell.
    run: usize,
    /// Cells of a page.
    per_page: usize,
    n_axes: usize,
    inside: Vec<LineAxis>,
    outside: Vec<LineAxis>,
    n_pages: usize,
}

/// Nodes of a cell, where pages have three nodes along every axis and a cell is a run of more than half and at most [`PITCH`]
/// nodes.
pub(crate) fn run_of(blocks: &Blocks, cell: &[usize]) -> Option<usize> {
    let run: usize = cell.iter().product();
    let is_inside = |axis: usize| blocks.stride(axis) < run;
    let is_run = (0..cell.len()).all(|axis| cell[axis] == if is_inside(axis) { SIDE } else { 1 });
    let is_of_threes = blocks.sides.iter().all(|&side| side == SIDE);
    (is_run && is_of_threes && run > PITCH / 2 && run <= PITCH).then_some(run)
}

impl Runs {
    /// Without active pages, for the storage axes `axes`; none where pages have other than three nodes along one of them, or a
    /// cell is no run of more than half and at most [`PITCH`] nodes.
    pub fn new(blocks: &Blocks, spacing: &[f64], cell: &[usize], axes: &[usize]) -> Option<Self> {
        let run = run_of(blocks, cell).filter(|_| axes.len() <= AXES_MAX)?;
        let stride = |axis| blocks.stride(axis);
        let per_page = blocks.page_nodes() / run;
        let line = |(axis, &storage_axis): (usize, &usize)| {
            let (extent, nodes) = (blocks.extents[storage_axis], stride(storage_axis));
            let slope = |offset| derivative(extent, offset, spacing[storage_axis]);
            let stride = if nodes < run { nodes } else { nodes / run };
            let place = |cell: usize| (cell / stride % SIDE) as u8;
            LineAxis {
                axis,
                storage_axis,
                stride,
                slopes: (0..extent).map(slope).collect(),
                curvatures: Vec::new(),
                links: Vec::new(),
                places: if nodes < run { Vec::new() } else { (0..per_page).map(place).collect() },
            }
        };
        let (inside, outside): (Vec<_>, Vec<_>) =
            axes.iter().enumerate().map(line).partition(|line| line.places.is_empty());
        let runs = Self { run, per_page, n_axes: axes.len(), inside, outside, n_pages: 0 };
        (runs.inside.len() <= INSIDE_MAX).then_some(runs)
    }

    /// Lets [`Sum::Curvature`] be known, for the next active set; K by offset for each storage axis.
    pub fn set_curvatures<'c>(&mut self, of: impl Fn(usize) -> &'c [f64]) {
        for line in self.inside.iter_mut().chain(&mut self.outside) {
            line.curvatures = of(line.storage_axis).to_vec();
        }
    }

    /// Replaces the active set: row-major lattice indices, ascending.
    pub fn activate(&mut self, blocks: &Blocks, pages: &[usize]) {
        self.n_pages = pages.len();
        self.inside.iter_mut().chain(&mut self.outside).for_each(|line| line.activate(blocks, pages));
    }

    /// Nodes of a cell.
    pub fn run(&self) -> usize {
        self.run
    }

    /// Cells of a page.
    pub fn per_page(&self) -> usize {
        self.per_page
    }

    /// Axes that were asked for.
    pub fn n_axes(&self) -> usize {
        self.n_axes
    }

    /// Active pages.
    pub fn n_pages(&self) -> usize {
        self.n_pages
    }

    /// Axes whose lines lie in cells as far as a page goes.
    pub fn inside(&self) -> &[LineAxis] {
        &self.inside
    }

    /// Axes whose lines pass through cells.
    pub fn outside(&self) -> &[LineAxis] {
        &self.outside
    }

    /// Whether a column of an axis, by its number, has more than a page.
    pub fn is_shared(&self, axis: usize) -> bool {
        let mut lines = self.inside.iter().chain(&self.outside).filter(|line| line.axis == axis);
        lines.any(|line| line.links.iter().any(|links| links.len() > 1))
    }
}

/// Where vectors begin in a cell and which of their lanes count, the same for all cells.
pub(crate) struct RunTables<T> {
    /// Numbers from one cell to the next.
    pub pitch: usize,
    /// First number of each vector.
    pub firsts: [usize; PITCH],
    /// 1 where a lane is a node's first, else 0.
    pub counts: Aligned<[T; PITCH]>,
    /// Of each axis inside: the same, where the place at that shift is a neighbour.
    pub keeps: Vec<Aligned<[[T; PITCH]; SHIFTS]>>,
}

impl<T: Real> RunTables<T> {
    /// For cells that follow each other every `pitch` numbers: [`PITCH`], with zeros behind the nodes, or none behind them.
    pub fn new(runs: &Runs, pitch: usize) -> Self {
        let (zero, one, lanes) = (T::default(), T::from_f64(1.0), 64 / T::BYTES);
        let (mut firsts, mut counts) = ([0; PITCH], Aligned([zero; PITCH]));
        let mut keeps = vec![Aligned([[zero; PITCH]; SHIFTS]); runs.inside.len()];
        for at in 0..PITCH {
            let vector = at / lanes;
            firsts[vector] = (vector * lanes).min(pitch - lanes);
            let node = firsts[vector] + at % lanes;
            if node < vector * lanes || node >= runs.run {
                continue;
            }
            counts.0[at] = one;
            for (line, keeps) in runs.inside.iter().zip(&mut keeps) {
                let place = node / line.stride % SIDE;
                for (shift, keep) in keeps.0.iter_mut().enumerate() {
                    keep[at] = if (SIDE - 1..2 * SIDE - 1).contains(&(place + shift)) { one } else { zero };
                }
            }
        }
        Self { pitch, firsts, counts, keeps }
    }
}

/// A link with weights in the precision of Ψ.
#[derive(Clone, Copy)]
pub(crate) struct Tie<T> {
    pub slot: usize,
    pub weights: [T; SHIFTS],
}

/// P∂P, or PKP, of a field on the cells of one page.
pub(crate) struct RunSlopes<'a, T: SimdReal> {
    runs: &'a Runs,
    tables: &'a RunTables<T>,
    /// The field on each page.
    pages: &'a [Planes<T>],
    slot: usize,
    /// Of each axis inside, then of each outside: its links.
    ties: Vec<Vec<Tie<T>>>,
    /// The runs of a column, with margins.
    rows: Vec<Aligned<[[T; ROW]; 2]>>,
    /// What an axis outside sums: a run's numbers, and their weight.
    terms: Vec<(Planes<T>, T)>,
}

impl<'a, T: Real> RunSlopes<'a, T> {
    /// On the cells of the page in `slot`. The field has numbers for every cell of every page.
    pub fn new(runs: &'a Runs, tables: &'a RunTables<T>, pages: &'a [Planes<T>], slot: usize) -> Self {
        Self::of(Sum::Slope, runs, tables, pages, slot)
    }

    /// The same of another sum.
    pub fn of(
        sum: Sum,
        runs: &'a Runs,
        tables: &'a RunTables<T>,
        pages: &'a [Planes<T>],
        slot: usize,
    ) -> Self {
        assert!(pages.len() == runs.n_pages && slot < pages.len(), "a field on every page");
        assert!(pages.iter().all(|page| page.len == runs.per_page * tables.pitch), "numbers for every cell");
        let lines = || runs.inside.iter().chain(&runs.outside);
        let most = lines().map(|line| line.links[slot].len()).max().unwrap_or(1);
        let nothing = Planes { re: core::ptr::null_mut(), im: core::ptr::null_mut(), len: 0 };
        Self {
            runs,
            tables,
            pages,
            slot,
            ties: lines().map(|line| ties(sum, line, slot)).collect(),
            rows: vec![Aligned([[T::default(); ROW]; 2]); most],
            terms: vec![(nothing, T::default()); most * SIDE],
        }
    }

    /// The page's links along an axis inside, by its place among them.
    pub fn inside_ties(&self, k: usize) -> &[Tie<T>] {
        &self.ties[k]
    }

    /// The page's links along an axis outside, by its place among them.
    pub fn outside_ties(&self, k: usize) -> &[Tie<T>] {
        &self.ties[self.runs.inside.len() + k]
    }

    /// The sum along each axis on a cell of the page.
    ///
    /// # Safety
    /// The cell exists, the tables are for vectors of N lanes.
    #[inline(always)]
    pub unsafe fn fill<V: Lanes<T = T>>(&mut self, cell: usize, to: &mut Gradients<T>) {
        let Self { runs, tables, pages, slot, ties, rows, terms } = self;
        let at = cell * tables.pitch;
        // SAFETY: the cell exists, and so does each that is named below; there is a row for each page of the longest column, with
        // room for the neighbours of a run's ends, which are at most 2·9 nodes away, and terms for each of its nodes.
        unsafe {
            copy_run::<V>(tables, pages.get_unchecked(*slot).offset(at), rows.get_unchecked_mut(0));
            for (k, line) in runs.inside.iter().enumerate() {
                let ties = ties.get_unchecked(k);
                for other in 1..ties.len() {
                    let page = pages.get_unchecked(ties.get_unchecked(other).slot);
                    copy_run::<V>(tables, page.offset(at), rows.get_unchecked_mut(other));
                    // Cells of many pages, one after the other: no prefetcher of the processor follows so many.
                    fetch_run::<V>(*page, at + AHEAD * tables.pitch);
                }
                let keeps = tables.keeps.get_unchecked(k);
                let to = to.get_unchecked_mut(line.axis);
                for v in 0..PITCH / V::N {
                    let first = MARGIN + tables.firsts.get_unchecked(v);
                    let [x, y] = along_inside::<V>(line.stride, ties, rows, keeps, (first, v));
                    x.store(to[0].as_mut_ptr().add(v * V::N));
                    y.store(to[1].as_mut_ptr().add(v * V::N));
                }
            }
            for (k, line) in runs.outside.iter().enumerate() {
                let ties = ties.get_unchecked(runs.inside.len() + k);
                let n = outside_terms(line, ties, pages, (cell, tables.pitch), terms);
                let to = to.get_unchecked_mut(line.axis);
                for v in 0..PITCH / V::N {
                    let first = *tables.firsts.get_unchecked(v);
                    let counts = V::load(tables.counts.0.as_ptr().add(v * V::N));
                    let [x, y] = sum_terms::<V>(terms, n, first);
                    x.mul(counts).store(to[0].as_mut_ptr().add(v * V::N));
                    y.mul(counts).store(to[1].as_mut_ptr().add(v * V::N));
                }
            }
        }
    }
}

/// The links of a page along an axis, itself first.
pub(crate) fn ties<T: Real>(sum: Sum, line: &LineAxis, slot: usize) -> Vec<Tie<T>> {
    let tie = |link: &Link| {
        let weights = if sum == Sum::Slope { link.slopes } else { link.curvatures };
        Tie { slot: link.slot, weights: weights.map(T::from_f64) }
    };
    line.links[slot].iter().map(tie).collect()
}

/// A run's numbers into a row.
///
/// # Safety
/// The run has `pitch` numbers, the tables are for vectors of N lanes.
#[inline(always)]
pub(crate) unsafe fn copy_run<V: Lanes>(
    tables: &RunTables<V::T>,
    from: Planes<V::T>,
    to: &mut Aligned<[[V::T; ROW]; 2]>,
) {
    // SAFETY: says the caller.
    unsafe {
        for v in 0..PITCH / V::N {
            let first = *tables.firsts.get_unchecked(v);
            V::load(from.re.add(first)).store(to.0[0].as_mut_ptr().add(MARGIN + first));
            V::load(from.im.add(first)).store(to.0[1].as_mut_ptr().add(MARGIN + first));
        }
    }
}

/// Fetches `n` numbers towards the cache.
#[inline(always)]
pub(crate) fn fetch<V: Lanes>(from: *const V::T, n: usize) {
    for lane in (0..n).step_by(64 / <V::T as Real>::BYTES) {
        V::prefetch(from.wrapping_add(lane));
    }
}

/// Fetches a cell's numbers towards the cache.
#[inline(always)]
pub(crate) fn fetch_run<V: Lanes>(page: Planes<V::T>, at: usize) {
    fetch::<V>(page.re.wrapping_add(at), PITCH);
    fetch::<V>(page.im.wrapping_add(at), PITCH);
}

/// The sum along an axis inside on a vector of a cell's nodes, from the rows of its column.
///
/// # Safety
/// A row for each link, filled; vector `v` begins at `first` of a row.
#[inline(always)]
pub(crate) unsafe fn along_inside<V: Lanes>(
    stride: usize,
    ties: &[Tie<V::T>],
    rows: &[Aligned<[[V::T; ROW]; 2]>],
    keeps: &Aligned<[[V::T; PITCH]; SHIFTS]>,
    (first, v): (usize, usize),
) -> [V; 2] {
    let zero = V::splat(V::T::default());
    let (mut re, mut im) = (zero, zero);
    // SAFETY: says the caller.
    unsafe {
        for shift in 0..SHIFTS {
            // A node takes nothing from itself.
            if ties.len() == 1 && shift == SIDE - 1 {
                continue;
            }
            let at = first + shift * stride - (SIDE - 1) * stride;
            let (mut x, mut y) = (zero, zero);
            for (tie, row) in ties.iter().zip(rows) {
                let weight = V::splat(*tie.weights.get_unchecked(shift));
                x = V::load(row.0[0].as_ptr().add(at)).mul_add(weight, x);
                y = V::load(row.0[1].as_ptr().add(at)).mul_add(weight, y);
            }
            let keep = V::load(keeps.0.get_unchecked(shift).as_ptr().add(v * V::N));
            (re, im) = (x.mul_add(keep, re), y.mul_add(keep, im));
        }
    }
    [re, im]
}

/// What a cell takes along an axis outside, and how many terms that is.
///
/// # Safety
/// The cell exists on each page; `terms` has room for three for each link.
#[inline(always)]
pub(crate) unsafe fn outside_terms<T: Real>(
    line: &LineAxis,
    ties: &[Tie<T>],
    pages: &[Planes<T>],
    (cell, pitch): (usize, usize),
    terms: &mut [(Planes<T>, T)],
) -> usize {
    let mut n = 0;
    // SAFETY: says the caller.
    unsafe {
        let place = usize::from(*line.places.get_unchecked(cell));
        let first = cell - place * line.stride;
        for (k, tie) in ties.iter().enumerate() {
            let page = pages.get_unchecked(tie.slot);
            for j in 0..SIDE {
                if k > 0 || j != place {
                    let run = page.offset((first + j * line.stride) * pitch);
                    *terms.get_unchecked_mut(n) = (run, *tie.weights.get_unchecked(j + SIDE - 1 - place));
                    n += 1;
                }
            }
        }
    }
    n
}

/// Σ of `n` ≥ 2 terms on a vector of nodes.
///
/// # Safety
/// The terms are there, their runs have a vector from `first` on.
#[inline(always)]
pub(crate) unsafe fn sum_terms<V: Lanes>(terms: &[(Planes<V::T>, V::T)], n: usize, first: usize) -> [V; 2] {
    // SAFETY: says the caller.
    unsafe {
        let (run, weight) = terms.get_unchecked(0);
        let weight = V::splat(*weight);
        let (mut x, mut y) = (V::load(run.re.add(first)).mul(weight), V::load(run.im.add(first)).mul(weight));
        for k in 1..n {
            let (run, weight) = terms.get_unchecked(k);
            let weight = V::splat(*weight);
            x = V::load(run.re.add(first)).mul_add(weight, x);
            y = V::load(run.im.add(first)).mul_add(weight, y);
        }
        [x, y]
    }
}
