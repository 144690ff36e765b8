//! The kinetic propagators of a world: one per distinct weight of the composition.
//!
//! Invariant: a dense scene with a constant diagonal metric runs [`Kinetic`] and nothing else; which one runs is
//! decided when the world is built.

use crate::integrator::Composition;
use crate::world::BuildOptions;
use bevy_ecs::prelude::Resource;
use nikola_components::setup::{Setup, TimeMode};
use nikola_kernels::half_potential::{LocalFlow, Time};
use nikola_kernels::kinetic::sparse::{Blocks, SparseKinetic};
use nikola_kernels::kinetic::{AxisTerm, Kinetic, Probe};
use nikola_kernels::reduce::{SpectralMoments, spectral_moments};
use nikola_kernels::simd::Level;
use nikola_kernels::{PageMut, PageRef, Real, Shape, Threads};

/// The composition of a tick and one kinetic propagator per distinct weight.
#[derive(Resource)]
pub struct Propagators<T: Real> {
    /// Weights of the flows.
    pub composition: Composition,
    /// Storage shape.
    pub shape: Shape,
    /// `plans[which[i]]` is the propagator of kinetic flow `i`.
    pub which: Vec<usize>,
    /// Distinct propagators.
    pub plans: Vec<Plan<T>>,
    /// Model time of each of them.
    pub durations: Vec<f64>,
    /// Kinetic term of each storage axis.
    pub terms: Vec<AxisTerm>,
    /// Time spent inside fused sweeps.
    pub probe: Probe,
}

/// The kinetic flow of one weight.
pub enum Plan<T: Real> {
    /// Constant diagonal metric on a dense torus.
    Constant(Kinetic<T>),
    /// Constant diagonal metric on the active pages of a sparse torus.
    Sparse(SparseKinetic<T>),
}

impl<T: Real> Plan<T> {
    /// Opening local flow, then what of the kinetic flow is not left to [`Plan::sweep_outer`].
    pub fn sweep_inner(
        &self,
        threads: Threads<'_>,
        pages: &mut [PageMut<'_, T>],
        opening: Option<&LocalFlow<'_, T>>,
        tick: u64,
        probe: &Probe,
    ) {
        match self {
            Self::Constant(plan) => plan.sweep_inner(threads, pages, opening, probe),
            Self::Sparse(plan) => plan.sweep(threads, pages, opening, !tick.is_multiple_of(2), probe),
        }
    }

    /// The rest of the kinetic flow, then the closing local flow.
    pub fn sweep_outer(
        &self,
        threads: Threads<'_>,
        pages: &mut [PageMut<'_, T>],
        closing: Option<&LocalFlow<'_, T>>,
        probe: &Probe,
    ) {
        match (self, closing) {
            (Self::Constant(plan), _) => plan.sweep_outer(threads, pages, closing, probe),
            (Self::Sparse(plan), Some(closing)) => plan.close(threads, pages, closing, probe),
            (Self::Sparse(_), None) => {}
        }
    }

    /// The scheme of each storage axis.
    pub fn describe(&self) -> Vec<String> {
        match self {
            Self::Constant(plan) => plan.describe(),
            Self::Sparse(plan) => vec!["active set".into(); plan.blocks().sides.len()],
        }
    }
}

impl<T: Real> Propagators<T> {
    /// The flow on the active set, where the torus is sparse.
    pub fn sparse(&self) -> Option<&SparseKinetic<T>> {
        match self.plans.first() {
            Some(Plan::Sparse(plan)) => Some(plan),
            _ => None,
        }
    }

    /// Replaces the active set of a sparse torus.
    pub fn activate(&mut self, pages: &[usize]) {
        for plan in &mut self.plans {
            if let Plan::Sparse(plan) = plan {
                plan.activate(pages);
            }
        }
    }

    /// Moments of the spectrum along a storage axis; on a sparse torus those of the restricted operator.
    pub fn moments(
        &self,
        level: Level,
        threads: Threads<'_>,
        storage_axis: usize,
        pages: &[PageRef<'_, T>],
    ) -> SpectralMoments {
        match self.sparse() {
            Some(plan) => plan.moments(threads, storage_axis, pages),
            None => spectral_moments(level, threads, &self.shape, storage_axis, pages),
        }
    }
}

/// The storage shape and the kinetic term of each of its axes.
pub fn axis_terms(setup: &Setup) -> (Shape, Vec<AxisTerm>) {
    let torus = &setup.torus;
    let shape = Shape { extents: torus.storage_extents(), page_nodes: torus.page_nodes() };
    let mut terms: Vec<AxisTerm> = torus
        .storage()
        .iter()
        .map(|axis| AxisTerm {
            extent: torus.extents()[axis.index()],
            wavenumber_unit: core::f64::consts::TAU / torus.lengths()[axis.index()],
            diffusion: setup.wave.diffusion[axis.index()],
        })
        .collect();
    if terms.is_empty() {
        terms.push(AxisTerm { extent: 1, wavenumber_unit: 0.0, diffusion: 0.0 });
    }
    (shape, terms)
}

/// Plans the propagators of `setup`.
pub fn propagators<T: Real>(
    setup: &Setup,
    composition: Composition,
    level: Level,
    options: &BuildOptions,
) -> Propagators<T> {
    let torus = &setup.torus;
    let (shape, terms) = axis_terms(setup);
    let time = match setup.wave.time {
        TimeMode::Real => Time::Real,
        TimeMode::Imaginary => Time::Imaginary { mu: 0.0 },
    };
    let mut distinct: Vec<f64> = Vec::new();
    let mut which = Vec::new();
    for &weight in &composition.kinetic {
        let known = distinct.iter().position(|&other| other == weight);
        which.push(known.unwrap_or(distinct.len()));
        if known.is_none() {
            distinct.push(weight);
        }
    }
    let durations: Vec<f64> = distinct.iter().map(|weight| weight * setup.wave.dt).collect();
    let plan = |&duration: &f64| {
        if setup.growth.is_none() {
            return Plan::Constant(Kinetic::new(level, &shape, &terms, duration, time));
        }
        let sides = torus.storage().iter().map(|axis| torus.page_shape()[axis.index()]).collect();
        let blocks = Blocks { extents: shape.extents.clone(), sides };
        Plan::Sparse(SparseKinetic::new(level, &blocks, &terms, duration))
    };
    let plans = durations.iter().map(plan).collect();
    let probe = Probe { now_nanos: options.now_nanos, ..Probe::default() };
    Propagators { composition, shape, which, plans, durations, terms, probe }
}
