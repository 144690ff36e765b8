//! T = −½ Σ_ij ∂_i D^{ij}(x) ∂_j as a quadratic form and as an operator, on a whole torus or on its active pages.
//!
//! Invariant: the operator is the one that propagates, P T P with P the projector on the active nodes: a truncated wave
//! has a slope on inactive nodes too, where D is a constant diagonal, the *background*. Everything is f64 and summed in a
//! fixed order, whatever the threads. Source: `fibre.rs` for one line; Parseval for the background.
//!
//! With K = ∂ᵀ∂ on the whole ring (the Nyquist mode of an even one included) and S = P∂P, D = D₀ + δ gives
//!
//! ```text
//! P T P = ½ Σ_i D₀_i P K_i P  −  ½ Σ_ij S_i δ^{ij} S_j  + Nyquist modes of δ on even axes
//! ```
//!
//! Nodes are counted page after page in storage order: page `k` of the active ones begins at `k·page_nodes`. A dense torus
//! is one page.

mod image;
mod rings;
mod runs;
mod structure;
mod whole;

pub use image::{Image, ImagePower};
pub use rings::ImageChange;
pub use runs::RunForm;

use self::whole::Whole;
use super::fibre::derivative;
use super::gradient::Wide;
use super::sparse::{Blocks, Runs};
use super::varying::{CellGrid, Diffusion};
use crate::field::{PageRef, Real, Threads, Values};
use crate::simd::Level;
use crate::threads::map_chunks;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The active nodes of a torus, their lines and their cells.
#[derive(Debug, Clone)]
pub struct Lattice {
    axes: Vec<LatticeAxis>,
    page_nodes: usize,
    n_pages: usize,
    /// The cell of each node, within its page.
    cells: Vec<u32>,
    /// Nodes of each cell, within its page.
    nodes: Vec<Vec<u32>>,
    /// D where no page is active, along each axis.
    background: Vec<f64>,
    /// A torus that is all there.
    dense: Option<Arc<Whole>>,
    /// A sparse one whose cells are runs.
    runs: Option<Runs>,
}

/// One storage axis.
#[derive(Debug, Clone)]
struct LatticeAxis {
    extent: usize,
    side: usize,
    /// Distance between neighbours in a page.
    stride: usize,
    spacing: f64,
    /// ∂ from one node to another by their offset on the ring.
    slope: Vec<f64>,
    /// K likewise.
    second: Vec<f64>,
    columns: Vec<LatticeColumn>,
    /// Of each page: its column.
    column_of: Vec<usize>,
}

/// Active pages that share all lattice positions but one.
#[derive(Debug, Clone)]
struct LatticeColumn {
    slots: Vec<usize>,
    positions: Vec<usize>,
}

impl LatticeColumn {
    /// (first node of the row in memory, place on the ring) of each active node of a line, for the line at `base` in its
    /// page.
    fn rows<'a>(
        &'a self,
        axis: &'a LatticeAxis,
        page_nodes: usize,
        base: usize,
    ) -> impl Iterator<Item = (usize, usize)> + 'a {
        self.slots.iter().zip(&self.positions).flat_map(move |(slot, position)| {
            (0..axis.side)
                .map(move |j| (slot * page_nodes + base + j * axis.stride, position * axis.side + j))
        })
    }
}

impl LatticeAxis {
    fn new(extent: usize, side: usize, stride: usize, spacing: f64) -> Self {
        LatticeAxis {
            extent,
            side,
            stride,
            spacing,
            slope: (0..extent).map(|offset| derivative(extent, offset, spacing)).collect(),
            second: Vec::new(),
            columns: Vec::new(),
            column_of: Vec::new(),
        }
    }

    /// K by offset: (1/N) Σ_k k² cos(k·offset).
    fn second_derivative(&self) -> Vec<f64> {
        let n = self.extent;
        let unit = core::f64::consts::TAU / (n as f64 * self.spacing);
        let element = |offset: usize| {
            (0..n).fold(0.0, |sum, mode| {
                let signed = if 2 * mode > n { mode as f64 - n as f64 } else { mode as f64 };
                let angle = core::f64::consts::TAU * (mode * offset % n) as f64 / n as f64;
                sum + (signed * unit).powi(2) * libm::cos(angle)
            }) / n as f64
        };
        (0..n).map(element).collect()
    }

    /// First nodes, within a page, of groups of `stride` contiguous lines.
    fn bases(&self, page_nodes: usize) -> impl Iterator<Item = usize> {
        (0..page_nodes).step_by(self.side * self.stride)
    }

    /// (Nyquist wavenumber)²/N where the axis has such a mode.
    fn nyquist(&self) -> Option<f64> {
        let k = core::f64::consts::PI / self.spacing;
        self.extent.is_multiple_of(2).then(|| k * k / self.extent as f64)
    }
}

impl Lattice {
    /// A torus that is all there, with the cells of `grid`.
    pub fn dense(grid: &CellGrid) -> Self {
        let blocks = Blocks { extents: grid.shape.extents.clone(), sides: grid.shape.extents.clone() };
        let background = vec![0.0; grid.cell.len()];
        let mut lattice = Self::new(&blocks, &grid.spacing, &grid.cell, background);
        lattice.dense = Some(Arc::new(Whole::new(grid, &lattice.nodes)));
        lattice.activate(&blocks, &[0]);
        lattice
    }

    /// A torus without active pages, in boxes, each cut into boxes of `cell` nodes. `background` is D along each axis
    /// where no page is active. Panics where cells don't tile a page.
    pub fn sparse(blocks: &Blocks, spacing: &[f64], cell: &[usize], background: Vec<f64>) -> Self {
        let mut lattice = Self::new(blocks, spacing, cell, background);
        for axis in &mut lattice.axes {
            axis.second = axis.second_derivative();
        }
        let axes: Vec<usize> = (0..cell.len()).collect();
        lattice.runs = Runs::new(blocks, spacing, cell, &axes);
        if let Some(runs) = &mut lattice.runs {
            runs.set_curvatures(|axis| &lattice.axes[axis].second);
        }
        lattice
    }

    fn new(blocks: &Blocks, spacing: &[f64], cell: &[usize], background: Vec<f64>) -> Self {
        let page_nodes = blocks.page_nodes();
        let sides = &blocks.sides;
        let stride = |axis: usize| -> usize { sides[axis + 1..].iter().product() };
        assert!(sides.iter().zip(cell).all(|(side, cell)| side.is_multiple_of(*cell)), "cells tile a page");
        let axes: Vec<LatticeAxis> = (0..sides.len())
            .map(|a| LatticeAxis::new(blocks.extents[a], sides[a], stride(a), spacing[a]))
            .collect();
        let cell_of = |node: usize| {
            (0..sides.len())
                .fold(0, |index, a| index * (sides[a] / cell[a]) + node / axes[a].stride % sides[a] / cell[a])
        };
        let cells: Vec<u32> = (0..page_nodes).map(|node| cell_of(node) as u32).collect();
        let mut nodes = vec![Vec::new(); page_nodes / cell.iter().product::<usize>()];
        cells.iter().enumerate().for_each(|(node, cell)| nodes[*cell as usize].push(node as u32));
        Lattice { axes, page_nodes, n_pages: 0, cells, nodes, background, dense: None, runs: None }
    }

    /// Replaces the active set: row-major lattice indices, ascending.
    pub fn activate(&mut self, blocks: &Blocks, pages: &[usize]) {
        self.n_pages = pages.len();
        if let Some(runs) = &mut self.runs {
            runs.activate(blocks, pages);
        }
        for (a, axis) in self.axes.iter_mut().enumerate() {
            let mut found: BTreeMap<usize, LatticeColumn> = BTreeMap::new();
            let mut names = Vec::with_capacity(pages.len());
            for (slot, &page) in pages.iter().enumerate() {
                let (name, position) = blocks.column_of(page, a);
                let column = found
                    .entry(name)
                    .or_insert_with(|| LatticeColumn { slots: Vec::new(), positions: Vec::new() });
                column.slots.push(slot);
                column.positions.push(position);
                names.push(name);
            }
            let order: BTreeMap<usize, usize> = found.keys().copied().zip(0..).collect();
            axis.column_of = names.iter().map(|name| order[name]).collect();
            axis.columns = found.into_values().collect();
        }
    }

    /// Active nodes.
    pub fn n_nodes(&self) -> usize {
        self.n_pages * self.page_nodes
    }

    /// Cells of the active pages.
    pub fn n_cells(&self) -> usize {
        self.n_pages * self.nodes.len()
    }

    /// Replaces D where no page is active.
    pub fn set_background(&mut self, background: Vec<f64>) {
        self.background = background;
    }

    fn cell(&self, node: usize) -> usize {
        node / self.page_nodes * self.nodes.len() + self.cells[node % self.page_nodes] as usize
    }

    /// Whether D along `axis` is the background everywhere.
    fn is_background(&self, diffusion: &Diffusion, axis: usize) -> bool {
        diffusion.diagonal[axis].len() == 1 && diffusion.diagonal[axis][0] == self.background[axis]
    }

    /// P ∂_axis P of a field.
    fn gradient(&self, axis: usize, field: &Wide) -> Wide {
        let a = &self.axes[axis];
        if let Some(whole) = &self.dense {
            return field.derivative(&whole.shape, axis, a.spacing);
        }
        self.convolve(a, field, &a.slope)
    }

    /// Σ_q weight[p − q]·field_q over the active nodes of every line of an axis.
    fn convolve(&self, axis: &LatticeAxis, field: &Wide, weight: &[f64]) -> Wide {
        let n = axis.extent;
        let mut out = Wide { re: vec![0.0; field.re.len()], im: vec![0.0; field.re.len()] };
        for column in &axis.columns {
            for base in axis.bases(self.page_nodes) {
                for (to, p) in column.rows(axis, self.page_nodes, base) {
                    for (from, q) in column.rows(axis, self.page_nodes, base) {
                        let w = weight[(p + n - q) % n];
                        for lane in 0..axis.stride {
                            out.re[to + lane] += w * field.re[from + lane];
                            out.im[to + lane] += w * field.im[from + lane];
                        }
                    }
                }
            }
        }
        out
    }

    /// Re⟨u, T v⟩ per node's volume, summed over the active nodes: Σ of the kinetic energy's density where `weight` is 1.
    ///
    /// - equation: Re Σ (wΨ)* TΨ
    /// - source: the module's
    /// - scheme and order: exact
    /// - stability bound: rounding
    /// - bytes and flops per node: f64 copies of Ψ and of each gradient; 8m flops per axis on lines of m active nodes
    pub fn form<T: Real>(
        &self,
        threads: Threads<'_>,
        diffusion: &Diffusion,
        pages: &[PageRef<'_, T>],
        weight: Values<'_, T>,
    ) -> f64 {
        let is_odd = || self.axes.iter().all(|axis| axis.nyquist().is_none());
        if let Some(runs) = self.runs.as_ref().filter(|_| is_odd()) {
            return match weight {
                Values::Uniform(w) => w.to_f64() * self.form_on_runs(threads, runs, diffusion, pages, None),
                Values::PerNode(slices) => self.form_on_runs(threads, runs, diffusion, pages, Some(slices)),
            };
        }
        self.form_by_fields(threads, diffusion, pages, weight)
    }

    /// The same by whole fields.
    fn form_by_fields<T: Real>(
        &self,
        threads: Threads<'_>,
        diffusion: &Diffusion,
        pages: &[PageRef<'_, T>],
        weight: Values<'_, T>,
    ) -> f64 {
        let psi = Wide::of(pages);
        assert_eq!(psi.re.len(), self.n_nodes(), "a page per active page");
        let weighted = match weight {
            Values::Uniform(_) => None,
            Values::PerNode(slices) => {
                let w = || slices.iter().flat_map(|slice| slice.iter().map(|x| x.to_f64()));
                let times = |x: &[f64]| x.iter().zip(w()).map(|(x, w)| x * w).collect();
                Some(Wide { re: times(&psi.re), im: times(&psi.im) })
            }
        };
        let factor = match weight {
            Values::Uniform(weight) => weight.to_f64(),
            Values::PerNode(_) => 1.0,
        };
        let parts = map_chunks(threads, self.axes.len(), |axis| {
            let u = weighted.as_ref().unwrap_or(&psi);
            let mut sum = self.background_form(axis, u, &psi);
            let couples =
                diffusion.off_diagonal.iter().any(|pair| pair.axes.0 == axis || pair.axes.1 == axis);
            let is_background = self.is_background(diffusion, axis);
            if is_background && !couples {
                return (sum, None);
            }
            let gradient = self.gradient(axis, &psi);
            let of_weighted = weighted.as_ref().map(|u| self.gradient(axis, u));
            if !is_background {
                let u_gradient = of_weighted.as_ref().unwrap_or(&gradient);
                sum += (0..psi.re.len()).fold(0.0, |sum, node| {
                    let d = diffusion.at(axis, self.cell(node)) - self.background[axis];
                    sum + 0.5 * d * gradient.dot(u_gradient, node)
                });
                sum += self.nyquist_form(diffusion, axis, u, &psi);
            }
            (sum, couples.then_some((gradient, of_weighted)))
        });
        let mut sum = parts.iter().fold(0.0, |sum, (part, _)| sum + part);
        for pair in &diffusion.off_diagonal {
            if let (Some((a, ua)), Some((b, ub))) = (&parts[pair.axes.0].1, &parts[pair.axes.1].1) {
                let (ua, ub) = (ua.as_ref().unwrap_or(a), ub.as_ref().unwrap_or(b));
                sum += (0..psi.re.len()).fold(0.0, |sum, node| {
                    sum + 0.5 * pair.values[self.cell(node)] * (a.dot(ub, node) + b.dot(ua, node))
                });
            }
        }
        factor * sum
    }

    /// ½D₀ Re⟨u, Kv⟩ along an axis.
    fn background_form(&self, axis: usize, u: &Wide, v: &Wide) -> f64 {
        let d = self.background[axis];
        if d == 0.0 {
            return 0.0;
        }
        let image = self.convolve(&self.axes[axis], v, &self.axes[axis].second);
        0.5 * d * (0..v.re.len()).fold(0.0, |sum, node| sum + image.dot(u, node))
    }

    /// Visits the lines of an even axis: the mean of D minus the background on it, and (node, ±1) of its nodes.
    fn nyquist_lines(&self, diffusion: &Diffusion, axis: usize, mut visit: impl FnMut(f64, &[(usize, f64)])) {
        let a = &self.axes[axis];
        let mut line = Vec::new();
        for column in &a.columns {
            for (base, lane) in
                a.bases(self.page_nodes).flat_map(|base| (0..a.stride).map(move |lane| (base, lane)))
            {
                line.clear();
                let sign = |p: usize| if p.is_multiple_of(2) { 1.0 } else { -1.0 };
                let rows = column.rows(a, self.page_nodes, base);
                line.extend(rows.map(|(node, place)| (node + lane, sign(place))));
                let excess =
                    |&(node, _): &(usize, f64)| diffusion.at(axis, self.cell(node)) - self.background[axis];
                visit(line.iter().map(excess).sum::<f64>() / a.extent as f64, &line);
            }
        }
    }

    fn nyquist_form(&self, diffusion: &Diffusion, axis: usize, u: &Wide, v: &Wide) -> f64 {
        let Some(k2) = self.axes[axis].nyquist() else { return 0.0 };
        let mut sum = 0.0;
        self.nyquist_lines(diffusion, axis, |mean, line| {
            let mode = |x: &[f64]| line.iter().map(|&(node, sign)| sign * x[node]).sum::<f64>();
            sum += 0.5 * k2 * mean * (mode(&u.re) * mode(&v.re) + mode(&u.im) * mode(&v.im));
        });
        sum
    }

    /// TE of a field in double precision, kept for [`Self::renew_image`].
    pub fn image(&self, diffusion: &Diffusion, re: Vec<f64>, im: Vec<f64>) -> Image {
        let field = Wide { re, im };
        assert_eq!(field.re.len(), self.n_nodes(), "a number per active node");
        let n = field.re.len();
        let zero = || Wide { re: vec![0.0; n], im: vec![0.0; n] };
        let mut fixed = zero();
        for axis in 0..self.axes.len() {
            let d = self.background[axis];
            if d != 0.0 {
                let image = self.convolve(&self.axes[axis], &field, &self.axes[axis].second);
                fixed.add(0.5 * d, &image);
            }
            if let Some(k2) = self.axes[axis].nyquist().filter(|_| !self.is_background(diffusion, axis)) {
                self.nyquist_lines(diffusion, axis, |mean, line| {
                    let mode = |x: &[f64]| line.iter().map(|&(node, sign)| sign * x[node]).sum::<f64>();
                    let (re, im) = (0.5 * k2 * mean * mode(&field.re), 0.5 * k2 * mean * mode(&field.im));
                    for &(node, sign) in line {
                        fixed.re[node] += sign * re;
                        fixed.im[node] += sign * im;
                    }
                });
            }
        }
        let is_uniform = diffusion.off_diagonal.is_empty()
            && (0..self.axes.len()).all(|axis| self.is_background(diffusion, axis));
        let gradient: Vec<Wide> = match is_uniform {
            true => Vec::new(),
            false => (0..self.axes.len()).map(|axis| self.gradient(axis, &field)).collect(),
        };
        let flux = gradient.iter().map(|_| zero()).collect();
        let (image, before) = (fixed.clone(), zero());
        let page_nodes = self.dense.as_ref().map_or(self.page_nodes, |whole| whole.shape.page_nodes);
        let blocks = image::blocks(n, page_nodes, |_| true);
        let is_stale = vec![false; n];
        let mut image = Image { image, before, field, gradient, flux, fixed, is_stale, follow: None, blocks };
        if is_uniform {
            return image;
        }
        if let Some(rings) = self.dense.as_ref().and_then(|whole| whole.rings.as_ref()) {
            let is_near = rings.begin(self, diffusion, &mut image);
            image.blocks = image::blocks(n, page_nodes, |node| is_near[node]);
        } else if let Some(whole) = &self.dense {
            whole.set_fluxes(self, diffusion, &mut image, 0..self.n_cells());
            whole.set_image(&mut image);
        } else {
            (0..n).for_each(|node| self.set_flux(diffusion, &mut image, node));
            (0..n).for_each(|node| self.set_image(&mut image, node));
        }
        image
    }

    /// Makes an image follow D, which has changed on `cells`. Returns ⟨TE new − TE old, Ψ⟩ as (re, im). The result is that
    /// of a new image, bit for bit.
    pub fn renew_image<T: Real>(
        &self,
        diffusion: &Diffusion,
        image: &mut Image,
        cells: impl Iterator<Item = usize> + Clone,
        pages: &[PageRef<'_, T>],
    ) -> (f64, f64) {
        let rings = self.dense.as_ref().and_then(|whole| whole.rings.as_ref());
        if let Some(rings) = rings.filter(|_| image.follow.is_some()) {
            rings.follow(self, diffusion, image, cells);
            let change = image.change_of(Level::detect(), rings.runs(), pages);
            image.settle(rings.runs());
            return change;
        }
        if let Some(whole) = self.dense.as_ref().filter(|_| !image.gradient.is_empty()) {
            whole.set_fluxes(self, diffusion, image, cells);
            whole.set_image(image);
            return image.change(pages);
        }
        for node in cells.flat_map(|cell| self.nodes_of(cell)) {
            let is_reached = image.gradient.iter().any(|g| g.re[node] != 0.0 || g.im[node] != 0.0);
            if !is_reached {
                continue;
            }
            self.set_flux(diffusion, image, node);
            for axis in &self.axes {
                self.line_through(axis, node).for_each(|(other, _)| image.is_stale[other] = true);
            }
        }
        let mut sum = (0.0, 0.0);
        for node in 0..image.is_stale.len() {
            if !std::mem::take(&mut image.is_stale[node]) {
                continue;
            }
            let before = (image.image.re[node], image.image.im[node]);
            self.set_image(image, node);
            let (re, im) = (image.image.re[node] - before.0, image.image.im[node] - before.1);
            let page = &pages[node / page_nodes(pages)];
            let at = node % page_nodes(pages);
            let (x, y) = (page.re[at].to_f64(), page.im[at].to_f64());
            sum.0 += re * x + im * y;
            sum.1 += re * y - im * x;
        }
        sum
    }

    /// F_i = Σ_j (D^{ij} − D₀)∂_jE on a node.
    fn set_flux(&self, diffusion: &Diffusion, image: &mut Image, node: usize) {
        let cell = self.cell(node);
        for axis in 0..self.axes.len() {
            let d = diffusion.at(axis, cell) - self.background[axis];
            let gradient = &image.gradient[axis];
            let flux = &mut image.flux[axis];
            (flux.re[node], flux.im[node]) = (d * gradient.re[node], d * gradient.im[node]);
        }
        for pair in &diffusion.off_diagonal {
            let d = pair.values[cell];
            for (i, j) in [pair.axes, (pair.axes.1, pair.axes.0)] {
                image.flux[i].re[node] += d * image.gradient[j].re[node];
                image.flux[i].im[node] += d * image.gradient[j].im[node];
            }
        }
    }

    /// TE = the fixed part − ½ Σ_i S_i F_i on a node.
    fn set_image(&self, image: &mut Image, node: usize) {
        let (mut re, mut im) = (0.0, 0.0);
        for (axis, flux) in self.axes.iter().zip(&image.flux) {
            let p = self.place(axis, node);
            for (other, q) in self.line_through(axis, node) {
                let slope = axis.slope[(p + axis.extent - q) % axis.extent];
                re += slope * flux.re[other];
                im += slope * flux.im[other];
            }
        }
        image.image.re[node] = image.fixed.re[node] - 0.5 * re;
        image.image.im[node] = image.fixed.im[node] - 0.5 * im;
    }

    /// Place of a node on the ring of an axis.
    fn place(&self, axis: &LatticeAxis, node: usize) -> usize {
        let (slot, inside) = (node / self.page_nodes, node % self.page_nodes);
        let column = &axis.columns[axis.column_of[slot]];
        let k = column.slots.iter().position(|other| *other == slot).unwrap_or_default();
        column.positions[k] * axis.side + inside / axis.stride % axis.side
    }

    /// The active nodes of the line along `axis` through a node, with their places on the ring.
    fn line_through<'a>(
        &'a self,
        axis: &'a LatticeAxis,
        node: usize,
    ) -> impl Iterator<Item = (usize, usize)> + 'a {
        let (slot, inside) = (node / self.page_nodes, node % self.page_nodes);
        let base = inside - inside / axis.stride % axis.side * axis.stride;
        axis.columns[axis.column_of[slot]].rows(axis, self.page_nodes, base)
    }

    /// Nodes of a cell.
    fn nodes_of(&self, cell: usize) -> impl Iterator<Item = usize> + '_ {
        let first = cell / self.nodes.len() * self.page_nodes;
        self.nodes[cell % self.nodes.len()].iter().map(move |node| first + *node as usize)
    }

    /// Mean of a quantity, given per page, over the nodes of a cell.
    pub fn mean_on<T: Real>(&self, cell: usize, pages: &[&[T]]) -> f64 {
        let nodes = pages.first().map_or(1, |page| page.len());
        let of_cell = self.nodes_of(cell);
        let sum: f64 = match pages {
            [page] => of_cell.map(|node| page[node].to_f64()).sum(),
            pages => of_cell.map(|node| pages[node / nodes][node % nodes].to_f64()).sum(),
        };
        sum / self.nodes[cell % self.nodes.len()].len() as f64
    }
}

/// Nodes per page of a list of pages.
fn page_nodes<T>(pages: &[PageRef<'_, T>]) -> usize {
    pages.first().map_or(1, |page| page.re.len())
}

#[cfg(test)]
mod tests;
