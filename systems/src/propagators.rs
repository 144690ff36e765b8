//! The kinetic propagators of a world: one per distinct weight of the composition, for a metric that is constant or
//! that varies in space.
//!
//! Invariant: a scene with a constant diagonal metric runs [`Kinetic`] and nothing else; which one runs is decided
//! when the world is built.

mod active;

use crate::integrator::Composition;
use crate::metric_update::is_rest_allowed;
use crate::world::{BuildError, BuildOptions, fill_profile};
use active::{ActiveMetric, blocks};
use bevy_ecs::prelude::Resource;
use nikola_components::fill::Profile;
use nikola_components::geometry::axis::Axis;
use nikola_components::metric::{CellRule, MetricProfile};
use nikola_components::setup::{Equation, Integrator, Setup, TimeMode};
use nikola_components::torus::Torus;
use nikola_kernels::half_potential::{LocalFlow, Time};
use nikola_kernels::kinetic::fibre::FIBRE_NODES_MAX;
use nikola_kernels::kinetic::gradient::energy as gradient_energy;
use nikola_kernels::kinetic::lattice::Lattice;
use nikola_kernels::kinetic::remainder::{RemainderCounts, RemainderRule};
use nikola_kernels::kinetic::sparse::{SparseKinetic, SparseVarying};
use nikola_kernels::kinetic::varying::{CellGrid, Diffusion, OffDiagonal, Varying};
use nikola_kernels::kinetic::{AxisTerm, Kinetic, Probe};
use nikola_kernels::metric_update::{self, CellStencil};
use nikola_kernels::reduce::{SpectralMoments, spectral_moments_of_axes};
use nikola_kernels::simd::Level;
use nikola_kernels::wave_form::leapfrog::{Leapfrog, frequency_bound};
use nikola_kernels::{PageMut, PageRef, Real, Shape, Threads, Values};

/// Nodes of a cell from which on the energy is summed by structure tensors.
const CELL_NODES_MIN: usize = 9;

/// How a static off-diagonal remainder is applied: in every tick, one order better than the composition needs.
const STATIC_REMAINDER: RemainderRule = RemainderRule { every: 1, vectors: 4 };
/// Vectors that keep a fourth-order composition at its order.
const FOURTH_ORDER_VECTORS: usize = 5;
/// Vectors for a plastic metric, whose off-diagonals are small.
const PLASTIC_VECTORS: usize = 3;

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
    /// Kinetic term of each storage axis of a constant metric.
    pub terms: Vec<AxisTerm>,
    /// D^{ij} where it varies in space; the propagators stand for it. On a sparse torus the cells of the active pages,
    /// page after page in storage order.
    pub diffusion: Option<Diffusion>,
    /// T as a form and an operator, where the metric varies or the set of pages does.
    pub lattice: Option<Lattice>,
    /// Counts changes of T other than those of single cells.
    pub revision: u64,
    /// What a varying metric and an active set are planned from; none for a constant metric on a dense torus.
    active: Option<ActiveMetric>,
    /// How the energy of a plastic metric on a dense torus is summed cell by cell.
    stencil: Option<(Level, CellStencil)>,
    /// Time spent inside fused sweeps.
    pub probe: Probe,
}

/// The kinetic flow of one weight.
pub enum Plan<T: Real> {
    /// Constant diagonal metric.
    Constant(Kinetic<T>),
    /// A metric that varies in space.
    Varying(Box<Varying<T>>),
    /// Constant diagonal metric on the active pages of a sparse torus.
    Sparse(SparseKinetic<T>),
    /// A metric that varies in space on the active pages of a sparse torus.
    Active(Box<SparseVarying<T>>),
}

impl<T: Real> Plan<T> {
    /// Opening local flow, then what of the kinetic flow is not left to [`Plan::sweep_outer`].
    pub fn sweep_inner(
        &mut self,
        threads: Threads<'_>,
        pages: &mut [PageMut<'_, T>],
        opening: Option<&LocalFlow<'_, T>>,
        tick: u64,
        probe: &Probe,
    ) {
        match self {
            Self::Constant(plan) => plan.sweep_inner(threads, pages, opening, probe),
            Self::Varying(plan) => plan.sweep_inner(threads, pages, opening, tick, probe),
            Self::Sparse(plan) => plan.sweep(threads, pages, opening, !tick.is_multiple_of(2), probe),
            Self::Active(plan) => plan.sweep_inner(threads, pages, opening, tick, probe),
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
            (Self::Varying(plan), _) => plan.sweep_outer(threads, pages, closing, probe),
            (Self::Sparse(plan), Some(closing)) => plan.close(threads, pages, closing, probe),
            (Self::Active(plan), Some(closing)) => plan.view().close(threads, pages, closing, probe),
            (Self::Sparse(_) | Self::Active(_), None) => {}
        }
    }

    /// The scheme of each storage axis.
    pub fn describe(&self) -> Vec<String> {
        match self {
            Self::Constant(plan) => plan.describe(),
            Self::Varying(plan) => plan.describe(),
            Self::Sparse(plan) => vec!["active set".into(); plan.blocks().sides.len()],
            Self::Active(plan) => vec!["active set, dense lines".into(); plan.view().blocks().sides.len()],
        }
    }

    /// What the off-diagonal remainder did so far, where there is one.
    pub fn remainder(&self) -> Option<RemainderCounts> {
        match self {
            Self::Constant(_) | Self::Sparse(_) => None,
            Self::Varying(plan) => plan.remainder().map(|remainder| remainder.counts()),
            Self::Active(plan) => plan.remainder_counts(),
        }
    }

    /// Renews what depends on D of some cells, ascending.
    pub fn renew(&mut self, threads: Threads<'_>, diffusion: &Diffusion, changed: &[usize]) {
        match self {
            Self::Varying(plan) => plan.renew(threads, diffusion, changed),
            Self::Active(plan) => plan.renew(threads, diffusion, changed),
            Self::Constant(_) | Self::Sparse(_) => {}
        }
    }
}

impl<T: Real> Propagators<T> {
    /// The active set with the constant metric of its background, where the torus is sparse.
    pub fn sparse(&self) -> Option<&SparseKinetic<T>> {
        match self.plans.first() {
            Some(Plan::Sparse(plan)) => Some(plan),
            Some(Plan::Active(plan)) => Some(plan.view()),
            _ => None,
        }
    }

    /// Whether T can change: the metric varies, or the set of pages does.
    pub fn is_live(&self) -> bool {
        self.active.is_some()
    }

    /// The cells of a metric that learns on a dense torus, all of T that can change there.
    pub fn learning_cells(&self) -> Option<core::ops::Range<usize>> {
        let learns = self.active.as_ref().is_some_and(ActiveMetric::learns_densely);
        self.diffusion.as_ref().filter(|_| learns).map(|diffusion| 0..diffusion.grid.n_cells())
    }

    /// Plans every distinct kinetic flow anew, for real time, with D `scale` times that of the scene's `terms`. A plastic
    /// metric must have been given its new D before.
    pub fn rescale(&mut self, (level, threads): (Level, Threads<'_>), terms: &[AxisTerm], scale: f64) {
        self.terms = terms.iter().map(|term| scaled(term, scale)).collect();
        self.revision += 1;
        if self.active.is_some() {
            return self.rescale_active((level, threads), scale);
        }
        let plan = |duration: &f64| {
            Plan::Constant(Kinetic::new(level, &self.shape, &self.terms, *duration, Time::Real))
        };
        self.plans = self.durations.iter().map(plan).collect();
    }

    /// Whether D is `scale` times that of `terms`.
    pub fn has_scale(&self, terms: &[AxisTerm], scale: f64) -> bool {
        self.terms.iter().zip(terms).all(|(own, term)| own.diffusion == scaled(term, scale).diffusion)
    }

    /// T as an operator and the D it has now, where it is [live](Self::is_live).
    pub fn operator(&self) -> Option<(&Lattice, &Diffusion)> {
        let (active, lattice) = (self.active.as_ref()?, self.lattice.as_ref()?);
        Some((lattice, self.diffusion.as_ref().unwrap_or(active.constant())))
    }

    /// Σ of the density of Re⟨wΨ, TΨ⟩ over the nodes, where T is [live](Self::is_live): with w = 1, times a node's volume,
    /// the kinetic energy.
    pub fn kinetic_form(&self, threads: Threads<'_>, pages: &[PageRef<'_, T>], weight: Values<'_, T>) -> f64 {
        if let (Some((level, stencil)), Some(diffusion)) = (&self.stencil, &self.diffusion) {
            return metric_update::kinetic_form(*level, threads, (stencil, diffusion), pages, weight);
        }
        match (&self.active, &self.lattice, &self.diffusion, weight) {
            (Some(active), _, Some(diffusion), Values::Uniform(weight)) if active.is_dense() => {
                weight.to_f64() * gradient_energy(diffusion, pages)
            }
            (Some(active), Some(lattice), diffusion, weight) => {
                lattice.form(threads, diffusion.as_ref().unwrap_or(active.constant()), pages, weight)
            }
            _ => 0.0,
        }
    }

    /// [`Self::kinetic_form`] with w = 1 and with `weights`, at once.
    pub fn kinetic_forms(
        &self,
        threads: Threads<'_>,
        pages: &[PageRef<'_, T>],
        weights: &[&[T]],
    ) -> [f64; 2] {
        if let (Some((level, stencil)), Some(diffusion)) = (&self.stencil, &self.diffusion) {
            return metric_update::kinetic_forms(*level, threads, (stencil, diffusion), pages, weights);
        }
        let form = |weight| self.kinetic_form(threads, pages, weight);
        [form(Values::Uniform(T::from_f64(1.0))), form(Values::PerNode(weights))]
    }

    /// Moments of the spectrum along each storage axis; on a sparse torus those of the restricted operator.
    pub fn moments(
        &self,
        level: Level,
        threads: Threads<'_>,
        pages: &[PageRef<'_, T>],
    ) -> Vec<SpectralMoments> {
        match self.sparse() {
            Some(plan) => {
                (0..self.shape.extents.len()).map(|axis| plan.moments(threads, axis, pages)).collect()
            }
            None => spectral_moments_of_axes(level, threads, &self.shape, pages),
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
///
/// # Errors
/// [`BuildError::Unsupported`] where the metric varies along a line that is too long for a dense propagator, and
/// [`BuildError::NotFinite`] where a component is no number.
pub fn propagators<T: Real>(
    setup: &Setup,
    composition: Composition,
    level: Level,
    options: &BuildOptions,
) -> Result<Propagators<T>, BuildError> {
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
    let diffusion = match setup.growth {
        Some(_) => ActiveMetric::empty_diffusion(setup, &shape),
        None => diffusion(setup, &shape)?,
    };
    let rule = match setup.plasticity {
        Some(plasticity) => RemainderRule { every: plasticity.remainder_every, vectors: PLASTIC_VECTORS },
        None if setup.wave.integrator == Integrator::Strang => STATIC_REMAINDER,
        None => RemainderRule { vectors: FOURTH_ORDER_VECTORS, ..STATIC_REMAINDER },
    };
    let durations: Vec<f64> = distinct.iter().map(|weight| weight * setup.wave.dt).collect();
    let plan = |&duration: &f64| {
        if setup.growth.is_some() {
            let blocks = blocks(torus);
            return Ok(match &diffusion {
                None => Plan::Sparse(SparseKinetic::new(level, &blocks, &terms, duration)),
                Some(diffusion) => {
                    let cell = &diffusion.grid.cell;
                    let rule = (rule, setup.plasticity.is_some());
                    Plan::Active(Box::new(SparseVarying::new(level, &blocks, cell, &terms, duration, rule)))
                }
            });
        }
        let Some(diffusion) = &diffusion else {
            return Ok(Plan::Constant(Kinetic::new(level, &shape, &terms, duration, time)));
        };
        if let Equation::Wave { .. } = setup.equation {
            // Its step has a plan of its own: stage wave_form.
            return Ok(Plan::Constant(Kinetic::new(level, &shape, &terms, duration, time)));
        }
        let is_plastic = setup.plasticity.is_some();
        Varying::new(level, diffusion, duration, time, is_plastic, rule)
            .map(|plan| Plan::Varying(Box::new(plan)))
            .map_err(|long| too_long(torus.storage()[long.axis], long.extent))
    };
    let plans = durations.iter().map(plan).collect::<Result<_, _>>()?;
    let probe = Probe { counter: options.counter, ..Probe::default() };
    let active = ActiveMetric::new(setup, &shape, &terms, diffusion.as_ref(), rule, time);
    let lattice = active.as_ref().map(|active| active.lattice(diffusion.as_ref()));
    let stencil = match (&diffusion, setup.plasticity, &setup.growth) {
        // Where a cell is a node or two, its tensor costs more than it saves.
        (Some(diffusion), Some(_), None) if diffusion.grid.cell_nodes() >= CELL_NODES_MIN => {
            Some((level, CellStencil::new(&diffusion.grid)))
        }
        _ => None,
    };
    Ok(Propagators {
        stencil,
        composition,
        shape,
        which,
        plans,
        durations,
        terms,
        diffusion,
        lattice,
        revision: 0,
        active,
        probe,
    })
}

/// Which schemes would run each storage axis of `setup`, without a field.
///
/// # Errors
/// As [`propagators`].
pub fn describe(setup: &Setup) -> Result<Vec<String>, BuildError> {
    if let Some(diffusion) = dense_wave_form(setup)? {
        return Ok(Leapfrog::<f64>::new(Level::Scalar, &diffusion).describe());
    }
    let composition = Composition::new(Integrator::Strang);
    let planned = propagators::<f64>(setup, composition, Level::Scalar, &BuildOptions::default())?;
    Ok(planned.plans.first().map(Plan::describe).unwrap_or_default())
}

/// D of a wave form whose metric varies on a dense torus; a plastic one at rest.
fn dense_wave_form(setup: &Setup) -> Result<Option<Diffusion>, BuildError> {
    match setup.equation {
        Equation::Wave { .. } if setup.growth.is_none() => diffusion(setup, &axis_terms(setup).0),
        _ => Ok(None),
    }
}

/// The longest time step that is stable for the wave form with the metric of `setup`, below which every mode is; none where
/// it needs no bound. A plastic metric is taken at rest: where it grows, the stage divides its steps.
///
/// # Errors
/// [`BuildError::NotFinite`] where a component is no number.
pub fn longest_step(setup: &Setup) -> Result<Option<f64>, BuildError> {
    let longest = |diffusion: Diffusion| 2.0 / frequency_bound(&diffusion);
    Ok(dense_wave_form(setup)?.map(longest).filter(|longest| longest.is_finite()))
}

/// Refuses a metric that no propagator computes.
///
/// # Errors
/// [`BuildError::Unsupported`] says what and the remedy.
pub fn check_metric(setup: &Setup) -> Result<(), BuildError> {
    let name = setup.wave.integrator.name();
    let unsupported =
        |what: String, remedy: &str| Err(BuildError::Unsupported { what, remedy: remedy.into() });
    let torus = &setup.torus;
    let is_varying = setup.metric.is_some() || setup.plasticity.is_some();
    if is_varying && setup.growth.is_none() && !torus.has_contiguous_pages() {
        let what = "a metric that varies in space on a dense torus whose pages are boxes".to_string();
        return unsupported(what, "leave the page's shape to the engine, or let pages grow with `growth`");
    }
    if is_varying && setup.wave.integrator == Integrator::BlanesMoan4 {
        let what = format!("{name} with a metric that varies in space falls to second order");
        return unsupported(what, "use integrator: Strang, or Yoshida4 for fourth order");
    }
    let is_wave_form = matches!(setup.equation, Equation::Wave { .. });
    if let Some(metric) = setup.metric.as_ref().filter(|_| !is_wave_form) {
        refuse_long_lines(torus, metric)?;
    }
    let Some(plasticity) = setup.plasticity else { return Ok(()) };
    if setup.metric.is_some() {
        let what = "plasticity on top of a metric that varies in space".to_string();
        return unsupported(
            what,
            "give the metric constants: they are the rest that the plastic metric returns to",
        );
    }
    if setup.wave.integrator != Integrator::Strang || setup.wave.time != TimeMode::Real {
        let what = format!("plasticity with integrator {name} in {:?} time", setup.wave.time);
        return unsupported(what, "use integrator: Strang and time: Real");
    }
    for axis in torus.storage() {
        let extent = torus.extents()[axis.index()];
        if extent.is_multiple_of(2) || extent > FIBRE_NODES_MAX {
            let what = format!("plasticity with {extent} nodes along axis {axis}");
            let remedy = format!("give axis {axis} an odd extent of at most {FIBRE_NODES_MAX}");
            return unsupported(what, &remedy);
        }
        let rest = plasticity.speed * plasticity.speed / setup.wave.diffusion[axis.index()];
        if !is_rest_allowed(rest) {
            let what = format!("plasticity around g0 = {rest} along axis {axis}");
            return unsupported(what, "use a constant metric between 1e-3 and 1e3");
        }
    }
    Ok(())
}

/// Refuses a metric that varies along a line too long for a dense propagator.
///
/// # Errors
/// [`BuildError::Unsupported`] names the axis.
fn refuse_long_lines(torus: &Torus, metric: &MetricProfile) -> Result<(), BuildError> {
    for (storage_axis, axis) in torus.storage().iter().enumerate() {
        let extent = torus.extents()[axis.index()];
        if extent <= FIBRE_NODES_MAX || matches!(metric.diagonal[axis.index()], Profile::Uniform(_)) {
            continue;
        }
        if !torus.has_contiguous_pages() {
            // Of a sparse torus only active pages can be looked at.
            return Err(too_long(*axis, extent));
        }
        let mut only =
            MetricProfile { diagonal: [const { Profile::Uniform(1.0) }; 9], off_diagonal: Vec::new() };
        only.diagonal[axis.index()] = metric.diagonal[axis.index()].clone();
        let shape = Shape { extents: torus.storage_extents(), page_nodes: torus.page_nodes() };
        if !of_profile(&only, torus, grid(torus, &shape, CellRule::Node))?.is_constant_along(storage_axis) {
            return Err(too_long(*axis, extent));
        }
    }
    Ok(())
}

fn grid(torus: &Torus, shape: &Shape, rule: CellRule) -> CellGrid {
    let cell = rule.shape(torus);
    CellGrid {
        shape: shape.clone(),
        spacing: torus.storage().iter().map(|&axis| torus.spacing(axis)).collect(),
        cell: torus.storage().iter().map(|axis| cell[axis.index()]).collect(),
    }
}

fn too_long(axis: Axis, extent: usize) -> BuildError {
    BuildError::Unsupported {
        what: format!("the metric g^{{{axis}{axis}}} varies along axis {axis}, which has {extent} nodes"),
        remedy: format!(
            "give axis {axis} at most {FIBRE_NODES_MAX} nodes, or let g^{{{axis}{axis}}} depend on other axes only"
        ),
    }
}

/// D^{ij} of a setup whose metric varies or learns.
fn diffusion(setup: &Setup, shape: &Shape) -> Result<Option<Diffusion>, BuildError> {
    if setup.metric.is_none() && setup.plasticity.is_none() {
        return Ok(None);
    }
    let torus = &setup.torus;
    let rule = setup.plasticity.map_or(CellRule::Node, |plasticity| plasticity.cell);
    let grid = grid(torus, shape, rule);
    if setup.plasticity.is_some() {
        let n_cells = grid.n_cells();
        let axes = grid.cell.len();
        let pairs = (0..axes).flat_map(|i| (i + 1..axes).map(move |j| (i, j)));
        let diagonal = torus.storage().iter().map(|axis| vec![setup.wave.diffusion[axis.index()]; n_cells]);
        return Ok(Some(Diffusion {
            diagonal: diagonal.collect(),
            off_diagonal: pairs.map(|axes| OffDiagonal { axes, values: vec![0.0; n_cells] }).collect(),
            grid,
        }));
    }
    setup.metric.as_ref().map(|metric| of_profile(metric, torus, grid)).transpose()
}

fn scaled(term: &AxisTerm, scale: f64) -> AxisTerm {
    AxisTerm { diffusion: term.diffusion * scale, ..*term }
}

/// D^{ij} of a profile on every node of a dense torus.
fn of_profile(metric: &MetricProfile, torus: &Torus, grid: CellGrid) -> Result<Diffusion, BuildError> {
    let position = |axis: Axis| torus.storage().iter().position(|other| *other == axis);
    let diagonal = torus.storage().iter().map(|axis| match &metric.diagonal[axis.index()] {
        Profile::Uniform(value) => Ok(vec![*value]),
        profile => per_node("the diagonal of the metric", profile, torus),
    });
    let diagonal = diagonal.collect::<Result<_, _>>()?;
    let mut off_diagonal = Vec::new();
    for (a, b, profile) in &metric.off_diagonal {
        if let (Some(a), Some(b)) = (position(*a), position(*b)) {
            let values = per_node("an off-diagonal component of the metric", profile, torus)?;
            off_diagonal.push(OffDiagonal { axes: (a.min(b), a.max(b)), values });
        }
    }
    Ok(Diffusion { grid, diagonal, off_diagonal })
}

/// A profile on every node, pages in storage order.
fn per_node(what: &'static str, profile: &Profile, torus: &Torus) -> Result<Vec<f64>, BuildError> {
    let nodes = torus.page_nodes();
    let mut values = vec![0.0; torus.n_nodes()];
    for (page, values) in values.chunks_mut(nodes).enumerate() {
        fill_profile(profile, page, values);
        if let Some(i) = values.iter().position(|value| !value.is_finite()) {
            return Err(BuildError::NotFinite { what, found: values[i], coordinates: torus.node(page, i) });
        }
    }
    Ok(values)
}
