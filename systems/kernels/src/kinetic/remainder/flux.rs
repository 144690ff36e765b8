//! Fluxes F_i = Σ_j D^{ij} ∂_jΨ, all axes of a node at once.
//!
//! Invariant: a node's fluxes depend on its own gradients and its cell's D alone; sums run over the axes in order, whatever
//! the vectors. Source: definition.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::{AXES_MAX, Pair};
use crate::field::Real;
use crate::half_potential::Planes;
use crate::kinetic::dft::Complex;
use crate::simd::{Kernel, Lanes, SimdReal};
use core::mem::MaybeUninit;
use core::ops::Range;

/// F_i = Σ_j D^{ij} ∂_jΨ in the place of ∂_iΨ, on some nodes of a page. Built only with fields of one shape.
pub struct FluxPass<'a, T: SimdReal> {
    pub(crate) page: usize,
    pub(crate) nodes: Range<usize>,
    pub(crate) run: usize,
    pub(crate) is_per_node: bool,
    pub(crate) cells: &'a [u32],
    pub(crate) pairs: &'a [Pair<T>],
    pub(crate) gradients: &'a [Vec<Planes<T>>],
}

impl<T: Real> Kernel<T> for FluxPass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let n_axes = self.gradients.len();
        let page_nodes = self.gradients[0][self.page].len;
        let mut rows = [Planes { re: core::ptr::null_mut(), im: core::ptr::null_mut(), len: 0 }; AXES_MAX];
        for (row, gradient) in rows.iter_mut().zip(self.gradients) {
            *row = gradient[self.page];
        }
        // Where every node is a cell, D is a vector; else it is one number over each run.
        let length = if self.is_per_node { self.nodes.len() } else { self.run };
        let mut d: Tensor<T> = [[T::default(); AXES_MAX]; AXES_MAX + 1];
        for first in self.nodes.clone().step_by(length) {
            let node = self.page * page_nodes + first;
            if self.is_per_node {
                // SAFETY: `length` nodes of the page, and as many cells.
                unsafe { self.per_node::<V>(&rows[..n_axes], first, node) };
                continue;
            }
            let cell = self.cells[node / self.run] as usize;
            for pair in self.pairs {
                let value = pair.values[cell];
                (d[pair.axes.0][pair.axes.1], d[pair.axes.1][pair.axes.0]) = (value, value);
            }
            for lane in (0..length).step_by(PART) {
                let (rows, n) = (&rows[..n_axes], PART.min(length - lane));
                // SAFETY: nodes of the page.
                unsafe { fluxes_of_run::<V>(rows, rows, first + lane, n, &d) };
            }
        }
    }
}

impl<T: Real> FluxPass<'_, T> {
    /// The fluxes where every node from `first` on has a cell of its own, `cell` and on.
    ///
    /// # Safety
    /// The nodes and cells exist and belong to the caller.
    #[inline(always)]
    unsafe fn per_node<V: Lanes<T = T>>(&self, rows: &[Planes<T>], first: usize, cell: usize) {
        let zero = V::splat(T::default());
        for lane in (0..self.nodes.len()).step_by(V::N) {
            let n = V::N.min(self.nodes.len() - lane);
            let mut flux = [Complex { re: zero, im: zero }; AXES_MAX];
            // SAFETY: says the caller.
            unsafe {
                for pair in self.pairs {
                    let d = V::load_n(pair.values.as_ptr().add(cell + lane), n);
                    let ends = [pair.axes, (pair.axes.1, pair.axes.0)];
                    for &(i, j) in &ends[..if pair.axes.0 == pair.axes.1 { 1 } else { 2 }] {
                        let row = rows.get_unchecked(j).offset(first + lane);
                        let to = flux.get_unchecked_mut(i);
                        to.re = V::load_n(row.re, n).mul_add(d, to.re);
                        to.im = V::load_n(row.im, n).mul_add(d, to.im);
                    }
                }
                for (row, flux) in rows.iter().zip(&flux) {
                    flux.re.store_n(row.re.add(first + lane), n);
                    flux.im.store_n(row.im.add(first + lane), n);
                }
            }
        }
    }
}

/// D^{ij} of a cell, and a row of zeros to complete the last pair.
pub(crate) type Tensor<T> = [[T; AXES_MAX]; AXES_MAX + 1];

/// Most nodes of a cell whose fluxes are computed from one copy of their gradients.
pub(crate) const PART: usize = 32;

/// The fluxes of `n` ≤ [`PART`] nodes of one cell from `node` on: two axes at a time, so that eight sums are under way and
/// none of them leaves its register.
///
/// # Safety
/// Both lists have a row for each of at most nine axes, of these nodes; the caller owns those that are written. They may
/// be the same.
#[inline(always)]
pub(crate) unsafe fn fluxes_of_run<V: Lanes>(
    rows: &[Planes<V::T>],
    to: &[Planes<V::T>],
    node: usize,
    n: usize,
    d: &Tensor<V::T>,
) {
    // Filled only as far as there are axes and nodes: clearing it would cost as much as a row.
    let mut x = [const { MaybeUninit::<[[V::T; PART]; 2]>::uninit() }; AXES_MAX];
    // Vectors from these nodes on; the last overlaps the one before, which is cheaper than a mask.
    let starts = (0..n.saturating_sub(V::N)).step_by(V::N).chain([n.saturating_sub(V::N)]);
    let lanes = n.min(V::N);
    // SAFETY: says the caller; indices are below the number of axes, which is at most nine.
    unsafe {
        for (x, row) in x.iter_mut().zip(rows) {
            let x = x.as_mut_ptr().cast::<V::T>();
            for lane in starts.clone() {
                V::load_n(row.re.add(node + lane), lanes).store(x.add(lane));
                V::load_n(row.im.add(node + lane), lanes).store(x.add(PART + lane));
            }
        }
        for i in (0..rows.len()).step_by(2) {
            let (of_a, of_b) = (d.get_unchecked(i), d.get_unchecked(i + 1));
            for lane in starts.clone() {
                let zero = V::splat(V::T::default());
                let (mut a, mut b) = (Complex { re: zero, im: zero }, Complex { re: zero, im: zero });
                for j in 0..rows.len() {
                    let x = x.get_unchecked(j).as_ptr().cast::<V::T>();
                    let (re, im) = (V::load(x.add(lane)), V::load(x.add(PART + lane)));
                    let (p, q) = (V::splat(*of_a.get_unchecked(j)), V::splat(*of_b.get_unchecked(j)));
                    a = Complex { re: re.mul_add(p, a.re), im: im.mul_add(p, a.im) };
                    b = Complex { re: re.mul_add(q, b.re), im: im.mul_add(q, b.im) };
                }
                let row = to.get_unchecked(i);
                a.re.store_n(row.re.add(node + lane), lanes);
                a.im.store_n(row.im.add(node + lane), lanes);
                if let Some(row) = to.get(i + 1) {
                    b.re.store_n(row.re.add(node + lane), lanes);
                    b.im.store_n(row.im.add(node + lane), lanes);
                }
            }
        }
    }
}
