//! The wave form where D varies in space: Ψ̈ + ΓΨ̇ = ∂_i(D^{ij}(x)∂_jΨ) + β|Ψ|²Ψ + E by kick, drift, kick.
//!
//! Invariant: the force is that of H = ∫ ½|Ψ̇|² + ½D^{ij}∂_iΨ∂_jΨ* − (β/4)|Ψ|⁴ on the lattice, with the derivative that
//! also weighs the energy (`kinetic::gradient`); so the step is symplectic and a palindrome, and for β = 0 it keeps
//! the *shadow* energy H − (dt²/8)∫|F|² to rounding, F the force. It is stable while dt·ω < 2 for every mode:
//! [`frequency_bound`] says how large ω can be for a metric. The image of Ψ under ∂D∂ is kept from the end of a step to
//! the beginning of the next, so that a step costs one application of it.
//!
//! Axes that no off-diagonal component couples go one by one: gradient, flux, divergence, or one transform where D is
//! the same everywhere; coupled axes go together. The Nyquist mode of an even axis, which has no slope, has the line's
//! mean D.
//!
//! Source: Störmer & Verlet; Hairer, Lubich & Wanner, Acta Numerica 12 (2003) 399; `fibre.rs` for the lattice.

#![allow(unsafe_code)] // Pages shared between chunks as raw planes.

pub mod lines;
mod operator;
mod passes;

#[doc(hidden)]
pub use passes::LeapPass;

use self::operator::{Group, Nyquist, Straight};
use self::passes::{DampPlan, DampRun, StepPlan, StepRun};
use super::Kick;
use crate::field::{PageMut, PageRef, Real, Shape, Threads};
use crate::half_potential::Planes;
use crate::kinetic::remainder::Scratch;
use crate::kinetic::varying::{CellGrid, Diffusion};
use crate::reduce;
use crate::simd::{Level, SimdReal};
use crate::threads::for_each_chunk;

/// Nodes that one thread takes at a time.
const CHUNK: usize = 4096;

/// A planned step.
pub struct Leapfrog<T: SimdReal> {
    level: Level,
    shape: Shape,
    straight: Vec<Straight<T>>,
    groups: Vec<Group<T>>,
    nyquist: Vec<Nyquist<T>>,
    /// ∂_i(D^{ij}∂_jΨ).
    image: Scratch<T>,
    scratch: Scratch<T>,
}

/// Lengths and strengths of one kick and the drift after it, in model time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leap {
    /// Length of the kick.
    pub kick: f64,
    /// Coefficient of |Ψ|²Ψ; zero on a degraded tick.
    pub beta: f64,
    /// Length of the drift; none after the last kick.
    pub drift: Option<f64>,
    /// Relative change of Ψ in the drift, or of Ψ̇ in the last kick.
    pub gain: f64,
}

impl<T: Real> Leapfrog<T> {
    /// Plans the step for the metric `diffusion`, whose grid is that of the pages.
    pub fn new(level: Level, diffusion: &Diffusion) -> Self {
        let grid = &diffusion.grid;
        let shape = grid.shape.clone();
        let (straight, groups) = operator::plan(diffusion);
        let nyquist = operator::nyquist(diffusion);
        let n = shape.n_nodes();
        Leapfrog { level, straight, groups, nyquist, image: Scratch::new(n), scratch: Scratch::new(n), shape }
    }

    /// Takes over D of some cells.
    pub fn renew(&mut self, diffusion: &Diffusion, changed: &[usize]) {
        self.groups.iter_mut().for_each(|group| group.renew(diffusion, changed));
        if !self.nyquist.is_empty() && !changed.is_empty() {
            self.nyquist = operator::nyquist(diffusion);
        }
    }

    /// Computes ∂_i(D^{ij}∂_jΨ) for the next kick. Panics if pages and shape disagree.
    ///
    /// - equation: F = Σ_ij ∂_i D^{ij} ∂_jΨ
    /// - source: the module's
    /// - scheme and order: exact on the lattice
    /// - stability bound: see [`frequency_bound`]
    /// - bytes and flops per node: about 12 scalars and two transforms for an axis whose D varies, 8 and one for one
    ///   whose D does not; 45 pairs of D cost 8 flops each
    pub fn weigh(&mut self, threads: Threads<'_>, psi: &[PageRef<'_, T>]) {
        assert!(psi.len() == self.shape.n_pages() && psi.iter().all(|p| p.re.len() == self.shape.page_nodes));
        // Only read.
        let psi: Vec<Planes<T>> = psi.iter().map(Planes::read).collect();
        let nodes = self.shape.page_nodes;
        let (image, scratch) = (self.image.planes(nodes), self.scratch.planes(nodes));
        let level = self.level;
        let mut adds = false;
        for axis in &self.straight {
            axis.run(level, threads, [&psi, &scratch, &image], adds);
            adds = true;
        }
        for group in &mut self.groups {
            group.run(level, threads, (&psi, &image), adds);
            adds = true;
        }
        for axis in &self.nyquist {
            axis.run(level, threads, (&psi, &image));
        }
        if !adds {
            self.image.fill(T::default());
        }
    }

    /// Kicks Ψ̇ by the force as it was [weighed](Self::weigh) and by β, then drifts. Panics if pages and shape disagree.
    ///
    /// - equation: Ψ̇' = Ψ̇ + h(F + β|Ψ|²Ψ), Ψ' = Ψ + τΨ̇'
    /// - source: the module's
    /// - scheme and order: the factors of a method of second order
    /// - stability bound: the module's
    /// - bytes and flops per node: 10 scalars (8 without a drift), 14 flops
    pub fn step(
        &mut self,
        threads: Threads<'_>,
        psi: &mut [PageMut<'_, T>],
        velocity: &mut [PageMut<'_, T>],
        leap: &Leap,
    ) {
        let (psi, velocity) = (self.of_shape(psi), self.of_shape(velocity));
        let image = self.image.planes(self.shape.page_nodes);
        self.kick(threads, [&psi, &velocity, &image], leap);
    }

    fn kick(&self, threads: Threads<'_>, [psi, velocity, image]: [&[Planes<T>]; 3], leap: &Leap) {
        let plan = StepPlan::new(leap);
        self.for_each_run(threads, |page, first, n| {
            // SAFETY: `n` nodes of the page from `first` on; one chunk owns them.
            let [psi, velocity, image] =
                [psi[page], velocity[page], image[page]].map(|planes| unsafe { planes.offset(first) });
            T::leap_pass(self.level, LeapPass::Step(StepRun { plan, psi, velocity, image, n }));
        });
    }

    /// Damps Ψ̇ for a time: Ψ̇' = e^{−Γh}Ψ̇, Γ uniform or that of `kick`, whose β is not looked at.
    pub fn damp(
        &self,
        threads: Threads<'_>,
        velocity: &mut [PageMut<'_, T>],
        gamma: f64,
        kick: &Kick<'_, T>,
    ) {
        if kick.damping.is_none() && gamma == 0.0 {
            return;
        }
        let velocity = self.of_shape(velocity);
        let plan = DampPlan::new(kick.duration, gamma);
        self.for_each_run(threads, |page, first, n| {
            // SAFETY: as in `kick`; the damping has a number for each node, which the slice checks.
            let velocity = unsafe { velocity[page].offset(first) };
            let damping = kick.damping.map(|damping| &damping[page][first..first + n]);
            T::leap_pass(self.level, LeapPass::Damp(DampRun { plan, velocity, damping, n }));
        });
    }

    /// Σ|F + β|Ψ|²Ψ|² over the nodes, F as it was [weighed](Self::weigh) for this Ψ: times dt²/8 and a node's volume,
    /// what the shadow energy is less than H.
    pub fn force2(&mut self, threads: Threads<'_>, psi: &[PageRef<'_, T>], beta: f64) -> f64 {
        let nodes = self.shape.page_nodes;
        self.scratch.fill(T::default());
        let (image, force) = (self.image.planes(nodes), self.scratch.planes(nodes));
        // Only read.
        let planes: Vec<Planes<T>> = psi.iter().map(Planes::read).collect();
        let leap = Leap { kick: 1.0, beta, drift: None, gain: 0.0 };
        self.kick(threads, [&planes, &force, &image], &leap);
        reduce::norm2(self.level, threads, &self.scratch.pages(nodes))
    }

    fn of_shape(&self, pages: &mut [PageMut<'_, T>]) -> Vec<Planes<T>> {
        assert!(pages.len() == self.shape.n_pages());
        assert!(pages.iter().all(|page| page.re.len() == self.shape.page_nodes));
        pages.iter_mut().map(Planes::of).collect()
    }

    /// Calls `work(page, first node, nodes)` for runs that cover the torus.
    fn for_each_run(&self, threads: Threads<'_>, work: impl Fn(usize, usize, usize) + Sync) {
        let nodes = self.shape.page_nodes;
        let pieces = nodes.div_ceil(CHUNK);
        for_each_chunk(threads, self.shape.n_pages() * pieces, |chunk| {
            let first = chunk % pieces * CHUNK;
            work(chunk / pieces, first, CHUNK.min(nodes - first));
        });
    }

    /// Which scheme each storage axis runs.
    pub fn describe(&self) -> Vec<String> {
        let mut names = vec!["none".to_owned(); self.shape.extents.len()];
        for axis in &self.straight {
            names[axis.axis] = "leapfrog, one D".into();
        }
        for group in &self.groups {
            let name = if group.axes.len() > 1 { "leapfrog, coupled" } else { "leapfrog, D by node" };
            group.axes.iter().for_each(|&axis| names[axis] = name.into());
        }
        names
    }

    /// Bytes of tables and of the fields between passes.
    pub fn bytes(&self) -> usize {
        self.image.bytes()
            + self.scratch.bytes()
            + self.straight.iter().map(Straight::bytes).sum::<usize>()
            + self.groups.iter().map(Group::bytes).sum::<usize>()
    }
}

/// The largest wavenumber of a storage axis: the Nyquist mode's where the extent is even.
pub fn wavenumber_greatest(grid: &CellGrid, axis: usize) -> f64 {
    let extent = grid.shape.extents[axis];
    core::f64::consts::TAU / (extent as f64 * grid.spacing[axis]) * (extent / 2) as f64
}

/// A bound of the frequency of every mode: ω² ≤ Σ_i K_i² max_x(D^{ii} + Σ_j |D^{ij}| K_j/K_i), K_i the largest
/// wavenumber of axis i. A step of length dt is stable while dt·ω < 2.
///
/// Source: Gershgorin's circles around the tensor K_i D^{ij} K_j of each node, and Parseval.
pub fn frequency_bound(diffusion: &Diffusion) -> f64 {
    let grid = &diffusion.grid;
    let k: Vec<f64> = (0..grid.cell.len()).map(|axis| wavenumber_greatest(grid, axis)).collect();
    let mut square = 0.0;
    for (axis, &own) in k.iter().enumerate().filter(|(_, k)| **k > 0.0) {
        let pairs: Vec<_> = diffusion
            .off_diagonal
            .iter()
            .filter(|pair| pair.axes.0 == axis || pair.axes.1 == axis)
            .map(|pair| (k[pair.axes.0 + pair.axes.1 - axis] / own, &pair.values))
            .collect();
        let n = pairs.iter().map(|(_, values)| values.len()).fold(diffusion.diagonal[axis].len(), usize::max);
        let mut most = 0.0_f64;
        for cell in 0..n {
            let circle = pairs.iter().fold(0.0, |sum, (ratio, values)| sum + ratio * values[cell].abs());
            most = most.max(diffusion.at(axis, cell) + circle);
        }
        square += own * own * most;
    }
    libm::sqrt(square)
}

#[cfg(test)]
mod tests;
