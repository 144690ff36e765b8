//! TE on a torus of three-node rings, which follows D by what a change adds to it.
//!
//! Invariant: fluxes are multiples of a quantum, a power of two so large that every sum of them is less than 2⁵³ quanta: adding
//! and subtracting them is exact, so TE is the same sum whatever came and went before. The quantum is a pure function of
//! E and D; where it changes, everything is computed anew. Its rounding is 2⁻⁴⁸ of the largest flux.
//! Source: `ring3.rs` for ∂; Demmel & Nguyen, Proc. ARITH 21 (2013) 163, for sums of numbers rounded in advance.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::{Image, Lattice};
use crate::field::{PageRef, Real};
use crate::half_potential::Planes;
use crate::kinetic::gradient::Wide;
use crate::kinetic::remainder::{AXES_MAX, PART, Tensor, fluxes_of_run};
use crate::kinetic::ring3;
use crate::kinetic::varying::Diffusion;
use crate::simd::accumulate::total;
use crate::simd::{Kernel, Lanes, Level, SimdReal, dispatch};
use core::ops::Range;

/// Every sum stays below 2⁵¹ quanta, so that a difference of two is below 2⁵².
const QUANTA_BITS: u64 = 51;

/// Exponents of doubles, biased: the least for which a quantum is a normal number, and that of what is no number.
const EXPONENT_MIN: u64 = 64;
const EXPONENT_NONE: u64 = 0x7ff;

/// The rings of a torus whose axes all have three nodes and whose cells are runs.
#[derive(Debug, Clone)]
pub(super) struct Rings {
    level: Level,
    runs: Vec<Range<usize>>,
    strides: Vec<usize>,
    /// −½κ of each axis.
    factors: Vec<f64>,
}

/// What an image keeps to follow D.
#[derive(Debug, Clone)]
pub(super) struct Follow {
    quantum: f64,
    /// Of each cell, what no sum of its fluxes exceeds; nothing where E has no gradient.
    bounds: Vec<f64>,
    /// Of each cell where E has a gradient, its place among those.
    places: Vec<Option<u32>>,
    /// Of each of these cells and each part of it, axis after axis, both planes: the gradient of E, then the flux. What a cell
    /// needs lies side by side: in fields of the torus it would be in as many pages of memory as there are rows.
    rows: Vec<f64>,
    /// The largest part of a gradient.
    greatest: f64,
    /// What is to be added to TE, and the cells where.
    change: Wide,
    is_touched: Vec<bool>,
    /// Whether TE has the change already.
    is_settled: bool,
    fluxes: Vec<f64>,
}

impl Rings {
    /// The rings of a torus with these extents; none where an axis has other than three nodes.
    pub fn new(level: Level, extents: &[usize], spacing: &[f64], runs: &[Range<usize>]) -> Option<Self> {
        let stride = |axis: usize| -> usize { extents[axis + 1..].iter().product() };
        let strides: Vec<usize> = (0..extents.len()).map(stride).collect();
        let run = runs.first()?.len();
        // A run begins where the axes inside it begin.
        let is_whole = |&stride: &usize| 3 * stride <= run && run.is_multiple_of(3 * stride) || stride >= run;
        (extents.iter().all(|&n| n == 3) && extents.len() <= AXES_MAX && strides.iter().all(is_whole)).then(
            || {
                let factors = spacing.iter().map(|&spacing| -0.5 * ring3::slope(spacing)).collect();
                Rings { level, runs: runs.to_vec(), strides, factors }
            },
        )
    }

    /// The nodes of each cell.
    pub fn runs(&self) -> &[Range<usize>] {
        &self.runs
    }

    /// Prepares an image, takes over its gradient, and sets TE. Returns the nodes where E or TE can be other than nothing.
    pub fn begin(&self, lattice: &Lattice, diffusion: &Diffusion, image: &mut Image) -> Vec<bool> {
        let n_nodes = image.field.re.len();
        let is_nonzero = |node: usize| image.gradient.iter().any(|g| g.re[node] != 0.0 || g.im[node] != 0.0);
        let parts = || image.gradient.iter().flat_map(|g| g.re.iter().chain(&g.im));
        let mut n_reached = 0;
        let place = |run: &Range<usize>| {
            run.clone().any(is_nonzero).then(|| {
                n_reached += 1;
                n_reached - 1
            })
        };
        let places: Vec<Option<u32>> = self.runs.iter().map(place).collect();
        let mut rows = Vec::new();
        for (run, _) in self.runs.iter().zip(&places).filter(|(_, place)| place.is_some()) {
            for nodes in parts_of(run) {
                for of_axis in &image.gradient {
                    for plane in [&of_axis.re, &of_axis.im] {
                        rows.extend_from_slice(&plane[nodes.clone()]);
                        rows.resize(rows.len() + nodes.len(), 0.0);
                    }
                }
            }
        }
        let mut follow = Follow {
            quantum: f64::NAN,
            bounds: vec![0.0; self.runs.len()],
            places,
            rows,
            greatest: parts().fold(0.0, |most, x| most.max(x.abs())),
            change: Wide { re: vec![0.0; n_nodes], im: vec![0.0; n_nodes] },
            is_touched: vec![false; self.runs.len()],
            is_settled: false,
            fluxes: vec![0.0; 2 * AXES_MAX * PART],
        };
        let mut is_near: Vec<bool> =
            image.field.re.iter().zip(&image.field.im).map(|(re, im)| *re != 0.0 || *im != 0.0).collect();
        for node in (0..n_nodes).filter(|&node| is_nonzero(node)) {
            for &stride in &self.strides {
                let [up, down] = ring3::beside(node, stride);
                (is_near[up], is_near[down]) = (true, true);
            }
        }
        self.note(lattice, diffusion, &mut follow, 0..self.runs.len());
        // Both are in the rows now.
        (image.gradient, image.flux) = (Vec::new(), Vec::new());
        image.follow = Some(follow);
        self.begin_anew(lattice, diffusion, image);
        image.settle(&self.runs);
        is_near
    }

    /// D changed on `cells`: leaves what is to be added to TE in the image's change, and, where the quantum is another now,
    /// the new TE too.
    pub fn follow(
        &self,
        lattice: &Lattice,
        diffusion: &Diffusion,
        image: &mut Image,
        cells: impl Iterator<Item = usize> + Clone,
    ) {
        let Some(follow) = &mut image.follow else { return };
        self.note(lattice, diffusion, follow, cells.clone());
        if follow.quantum == quantum(&follow.bounds) {
            cells.for_each(|cell| self.renew_cell(lattice, diffusion, image, cell));
            return;
        }
        let before = image.image.clone();
        self.begin_anew(lattice, diffusion, image);
        image.settle(&self.runs);
        // TE is there; the change, which is not exact here, is only for the caller to look at.
        if let Some(follow) = &mut image.follow {
            follow.is_touched.fill(true);
            follow.is_settled = true;
            let planes = [
                (&mut follow.change.re, &image.image.re, &before.re),
                (&mut follow.change.im, &image.image.im, &before.im),
            ];
            for (change, now, then) in planes {
                change.iter_mut().zip(now).zip(then).for_each(|((change, now), then)| *change = now - then);
            }
        }
    }

    /// The bounds of the fluxes of cells.
    fn note(
        &self,
        lattice: &Lattice,
        diffusion: &Diffusion,
        follow: &mut Follow,
        cells: impl Iterator<Item = usize>,
    ) {
        let axes = self.factors.len();
        let mut d: Tensor<f64> = [[0.0; AXES_MAX]; AXES_MAX + 1];
        for cell in cells.filter(|&cell| follow.places[cell].is_some()) {
            self.fill_tensor(lattice, diffusion, cell, &mut d);
            let row = |row: &[f64; AXES_MAX]| row[..axes].iter().fold(0.0, |sum, x| sum + x.abs());
            // Two neighbours of each axis. A sum that is no number is not lost, as it would be by `max`.
            let most = d[..axes].iter().map(row).fold(0.0, |most, x| if x <= most { most } else { x });
            follow.bounds[cell] = 2.0 * axes as f64 * follow.greatest * most;
        }
    }

    /// All fluxes by the quantum of now; TE is what the image's change says then.
    fn begin_anew(&self, lattice: &Lattice, diffusion: &Diffusion, image: &mut Image) {
        let Some(follow) = &mut image.follow else { return };
        follow.quantum = quantum(&follow.bounds);
        let (per_node, run) = (4 * self.factors.len(), 0..self.runs[0].len());
        let mut rest = &mut follow.rows[..];
        while !rest.is_empty() {
            for nodes in parts_of(&run) {
                let (part, behind) = core::mem::take(&mut rest).split_at_mut(per_node * nodes.len());
                // The flux behind the gradient.
                part.chunks_mut(2 * nodes.len()).for_each(|rows| rows[nodes.len()..].fill(0.0));
                rest = behind;
            }
        }
        image.image.re.fill(0.0);
        image.image.im.fill(0.0);
        (0..self.runs.len()).for_each(|cell| self.renew_cell(lattice, diffusion, image, cell));
    }

    /// −½κ_i D^{ij} of a cell.
    fn fill_tensor(&self, lattice: &Lattice, diffusion: &Diffusion, cell: usize, d: &mut Tensor<f64>) {
        for (axis, factor) in self.factors.iter().enumerate() {
            d[axis][axis] = factor * (diffusion.at(axis, cell) - lattice.background[axis]);
        }
        for pair in &diffusion.off_diagonal {
            let ((i, j), value) = (pair.axes, pair.values[cell]);
            (d[i][j], d[j][i]) = (self.factors[i] * value, self.factors[j] * value);
        }
    }

    /// The fluxes of a cell; what they became more than they were goes to the nodes beside.
    fn renew_cell(&self, lattice: &Lattice, diffusion: &Diffusion, image: &mut Image, cell: usize) {
        let Some(follow) = &mut image.follow else { return };
        let Some(place) = follow.places[cell] else { return };
        let mut d: Tensor<f64> = [[0.0; AXES_MAX]; AXES_MAX + 1];
        self.fill_tensor(lattice, diffusion, cell, &mut d);
        let run = self.runs[cell].clone();
        let change = follow.change.planes(follow.change.re.len())[0];
        let per_node = 4 * self.factors.len();
        let mut first = per_node * run.len() * place as usize;
        for nodes in parts_of(&run) {
            let rows = &mut follow.rows[first..first + per_node * nodes.len()];
            first += rows.len();
            let (fluxes, quantum) = (follow.fluxes.as_mut_ptr(), follow.quantum);
            let pass =
                CellChange { rings: self, rows, nodes, d: &d, fluxes, change, quantum, run: run.len() };
            dispatch::<f64, _>(self.level, pass);
        }
        follow.is_touched[cell] = true;
        for &stride in self.strides.iter().filter(|stride| **stride >= run.len()) {
            let [up, down] = ring3::beside(run.start, stride);
            (follow.is_touched[up / run.len()], follow.is_touched[down / run.len()]) = (true, true);
        }
    }
}

impl Image {
    /// Σ conj(change)·Ψ over the nodes where there is one, as (re, im).
    pub(super) fn change_of<T: Real>(
        &self,
        level: Level,
        runs: &[Range<usize>],
        pages: &[PageRef<'_, T>],
    ) -> (f64, f64) {
        let Some(follow) = &self.follow else { return (0.0, 0.0) };
        let [re, im] = T::image_change(level, ImageChange { follow, runs, pages });
        (re, im)
    }

    /// Adds the change to TE, unless that is new already, and forgets it.
    pub(super) fn settle(&mut self, runs: &[Range<usize>]) {
        let Some(follow) = &mut self.follow else { return };
        let share = if core::mem::take(&mut follow.is_settled) { 0.0 } else { 1.0 };
        for (run, is_touched) in runs.iter().zip(&mut follow.is_touched) {
            if !core::mem::take(is_touched) {
                continue;
            }
            let planes =
                [(&mut self.image.re, &mut follow.change.re), (&mut self.image.im, &mut follow.change.im)];
            for (image, change) in planes {
                for (image, change) in image[run.clone()].iter_mut().zip(&mut change[run.clone()]) {
                    *image += share * core::mem::take(change);
                }
            }
        }
    }
}

/// The quantum for sums below the largest of `bounds`; NaN, which is equal to nothing, where that is no number.
fn quantum(bounds: &[f64]) -> f64 {
    let most = bounds.iter().fold(0.0, |most, x| if *x <= most { most } else { *x });
    let exponent = most.to_bits() >> 52 & EXPONENT_NONE;
    if exponent == EXPONENT_NONE {
        return f64::NAN;
    }
    f64::from_bits((exponent.max(EXPONENT_MIN) + 1 - QUANTA_BITS) << 52)
}

/// The nodes of a cell in parts of at most [`PART`].
fn parts_of(run: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let (first, end) = (run.start, run.end);
    (first..end).step_by(PART).map(move |first| first..end.min(first + PART))
}

/// New fluxes on some nodes of a cell, and their differences to the old ones. Built only with four rows of so many numbers for each
/// axis, and a change that has the nodes.
struct CellChange<'a> {
    rings: &'a Rings,
    /// Of each axis and plane, the gradient and the flux.
    rows: &'a mut [f64],
    nodes: Range<usize>,
    /// −½κ_i D^{ij}.
    d: &'a Tensor<f64>,
    fluxes: *mut f64,
    change: Planes<f64>,
    quantum: f64,
    /// Nodes of a cell.
    run: usize,
}

impl Kernel<f64> for CellChange<'_> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = f64>>(self) {
        let CellChange { rings, rows: numbers, nodes, d, fluxes, change, quantum, run } = self;
        let (axes, n_nodes) = (rings.strides.len(), nodes.len());
        let none = Planes { re: core::ptr::null_mut(), im: core::ptr::null_mut(), len: 0 };
        let (mut rows, mut to) = ([none; AXES_MAX], [none; AXES_MAX]);
        // SAFETY: gradients are only read; `fluxes` has two rows of `PART` for each axis.
        unsafe {
            for (axis, (row, to)) in rows.iter_mut().zip(&mut to).enumerate().take(axes) {
                let re = numbers.as_mut_ptr().add(4 * axis * n_nodes);
                *row = Planes { re, im: re.add(2 * n_nodes), len: n_nodes };
                let first = fluxes.add(2 * axis * PART);
                *to = Planes { re: first, im: first.add(PART), len: PART };
            }
            fluxes_of_run::<V>(&rows[..axes], &to[..axes], 0, n_nodes, d);
        }
        // x + 1.5·2⁵² quanta is rounded to a quantum.
        let shift = V::splat(1.5 * (1u64 << 52) as f64 * quantum);
        for (axis, &stride) in rings.strides.iter().enumerate() {
            let planes = [
                (to[axis].re, rows[axis].re.wrapping_add(n_nodes), change.re),
                (to[axis].im, rows[axis].im.wrapping_add(n_nodes), change.im),
            ];
            for (new, old, change) in planes {
                // SAFETY: rows of `nodes.len()` numbers, and of `PART` where `fluxes` is padded; neighbours exist.
                unsafe {
                    for k in (0..nodes.len()).step_by(V::N) {
                        let n = V::N.min(nodes.len() - k);
                        let old = old.add(k);
                        let rounded = V::load_n(new.add(k), n).add(shift).sub(shift);
                        rounded.sub(V::load_n(old, n)).store_n(new.add(k), n);
                        rounded.store_n(old, n);
                    }
                    if stride >= run {
                        let [up, down] = ring3::beside(nodes.start, stride);
                        for k in (0..nodes.len()).step_by(V::N) {
                            let n = V::N.min(nodes.len() - k);
                            let x = V::load_n(new.add(k), n);
                            let (after, before) = (change.add(up + k), change.add(down + k));
                            V::load_n(after, n).sub(x).store_n(after, n);
                            V::load_n(before, n).add(x).store_n(before, n);
                        }
                    } else if nodes.len() == run {
                        // Whole rings, from the first on.
                        for first in (0..run).step_by(3 * stride) {
                            let (new, change) = (new.add(first), change.add(nodes.start + first));
                            for k in 0..stride {
                                let (a, b, c) = (*new.add(k), *new.add(k + stride), *new.add(k + 2 * stride));
                                *change.add(k) += b - c;
                                *change.add(k + stride) += c - a;
                                *change.add(k + 2 * stride) += a - b;
                            }
                        }
                    } else {
                        for (k, node) in nodes.clone().enumerate() {
                            let [up, down] = ring3::beside(node, stride);
                            *change.add(up) -= *new.add(k);
                            *change.add(down) += *new.add(k);
                        }
                    }
                }
            }
        }
    }
}

/// Σ conj(change)·Ψ. Built only with pages of the image's nodes.
pub struct ImageChange<'a, T: SimdReal> {
    follow: &'a Follow,
    runs: &'a [Range<usize>],
    pages: &'a [PageRef<'a, T>],
}

impl<T: Real> Kernel<T> for ImageChange<'_, T> {
    type Out = [f64; 2];
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> [f64; 2] {
        let ImageChange { follow, runs, pages } = self;
        let page_nodes = super::page_nodes(pages);
        let zero = V::Wide::splat(0.0);
        let (mut re, mut im) = (zero, zero);
        for (run, _) in runs.iter().zip(&follow.is_touched).filter(|(_, is_touched)| **is_touched) {
            let (page, at) = (&pages[run.start / page_nodes], run.start % page_nodes);
            let (page_re, page_im) = (&page.re[at..][..run.len()], &page.im[at..][..run.len()]);
            let (of_re, of_im) = (&follow.change.re[run.clone()], &follow.change.im[run.clone()]);
            for k in (0..run.len()).step_by(V::N) {
                let n = V::N.min(run.len() - k);
                // SAFETY: four slices of one length.
                unsafe {
                    let (x, y) =
                        (V::load_n(page_re.as_ptr().add(k), n), V::load_n(page_im.as_ptr().add(k), n));
                    for half in 0..n.div_ceil(V::Wide::N) {
                        let (k, n) = (k + half * V::Wide::N, V::Wide::N.min(n - half * V::Wide::N));
                        let (x, y) = (x.widen(half), y.widen(half));
                        let a = V::Wide::load_n(of_re.as_ptr().add(k), n);
                        let b = V::Wide::load_n(of_im.as_ptr().add(k), n);
                        re = b.mul_add(y, a.mul_add(x, re));
                        im = b.neg_mul_add(x, a.mul_add(y, im));
                    }
                }
            }
        }
        [total(re), total(im)]
    }
}
