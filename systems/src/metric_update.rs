//! The plastic metric: each cell's g yields to the wave that runs through it and returns to g₀.
//!
//! Invariant: a rotating share of the cells is updated each tick, whatever the threads; D = c²g⁻¹ and with it the
//! propagators change only where g moved by more than the tolerance since its last factorisation. Ψ is not touched, so
//! the energy changes by exactly ½ ΣδD^{ij} Re(∂_iΨ* ∂_jΨ), which is added to the energy flows.
//!
//! ```text
//! structure tensor ─ exact relaxation of g ─ moved far enough? ─ guard, Cholesky, g⁻¹ ─ D ─ propagators of its lines
//! ```
//!
//! Source: kernels `metric_update`; the rates follow dopamine (η) and serotonin (λ).

use crate::observables::pages_ref;
use crate::propagators::{Plan, Propagators};
use crate::world::Compute;
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use core::ops::Range;
use nikola_components::chemistry::Chemistry;
use nikola_components::clock::Tick;
use nikola_components::column::{ColumnError, Scalar, zeroed};
use nikola_components::ledger::{EnergyFlows, Flow};
use nikola_components::metric::{MetricCells, Plasticity};
use nikola_components::setup::{Setup, WaveParameters};
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::Psi;
use nikola_kernels::Real;
use nikola_kernels::kinetic::varying::{CellGrid, Diffusion};
use nikola_kernels::metric_update::{
    CellStencil, EIGENVALUE_MAX, EIGENVALUE_MIN, Relaxation, Tensors, component, factorise, moved,
    n_components, relax, structure,
};
use nikola_kernels::transcendental::tanh;

/// Cells that are factorised together.
const BATCH: usize = 8;

/// What the stage did since the world began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MetricCounts {
    /// Updates of a cell.
    pub n_updated: u64,
    /// Updates that needed a new factorisation.
    pub n_factorised: u64,
    /// Cells whose eigenvalues had to be moved into the allowed range.
    pub n_projected: u64,
    /// Change of the kinetic energy by the metric's changes, model units.
    pub work: f64,
}

impl MetricCounts {
    /// Share of the updates that kept their factorisation.
    pub fn hit_rate(&self) -> f64 {
        1.0 - self.n_factorised as f64 / self.n_updated.max(1) as f64
    }
}

/// The learning metric of a world.
#[derive(Resource)]
pub struct PlasticMetric {
    plasticity: Plasticity,
    stencil: CellStencil,
    /// g₀ of each storage axis.
    rest: Vec<f64>,
    /// c².
    speed2: f64,
    /// What happened so far.
    pub counts: MetricCounts,
    sums: Vec<f64>,
    changed: Vec<usize>,
}

impl PlasticMetric {
    /// The metric of `setup`, at rest on the cells of `grid`.
    pub fn new(setup: &Setup, plasticity: Plasticity, grid: &CellGrid) -> Self {
        let diffusion = setup.torus.storage().iter().map(|axis| setup.wave.diffusion[axis.index()]);
        let speed2 = plasticity.speed * plasticity.speed;
        Self {
            plasticity,
            stencil: CellStencil::new(grid),
            rest: diffusion.map(|diffusion| speed2 / diffusion).collect(),
            speed2,
            counts: MetricCounts::default(),
            sums: Vec::new(),
            changed: Vec::new(),
        }
    }

    /// g₀ of each storage axis.
    pub fn rest(&self) -> &[f64] {
        &self.rest
    }

    /// Cells of this tick's turn.
    fn turn(&self, tick: Tick) -> Range<usize> {
        let n = self.stencil.grid().n_cells() as u64;
        let (turn, every) = (tick.0 % self.plasticity.every, self.plasticity.every);
        (n * turn / every) as usize..(n * (turn + 1) / every) as usize
    }

    fn rates(&self, chemistry: Option<&Chemistry>, dt: f64) -> Relaxation {
        let chemistry = chemistry.copied().unwrap_or_default();
        Relaxation {
            eta: self.plasticity.eta * (1.0 + tanh(chemistry.dopamine - 0.5)),
            lambda: self.plasticity.lambda * (0.5 + 0.5 * tanh(chemistry.serotonin - 0.5)),
            duration: dt * self.plasticity.every as f64,
            gradient_floor: self.plasticity.gradient_floor,
        }
    }
}

/// Cells of every page, at rest.
///
/// # Errors
/// [`ColumnError`] when they do not fit the address space.
pub fn cells_at_rest(torus: &Torus, grid: &CellGrid, rest: &[f64]) -> Result<Vec<MetricCells>, ColumnError> {
    let axes = rest.len();
    let per_page = torus.page_nodes() / grid.cell_nodes();
    let mut columns = zeroed::<f64>(2 * torus.n_pages(), n_components(axes) * per_page, None)?.into_iter();
    let mut pages = Vec::with_capacity(torus.n_pages());
    while let (Some(mut g), Some(mut factorised)) = (columns.next(), columns.next()) {
        for column in [&mut g, &mut factorised] {
            for (i, rest) in rest.iter().enumerate() {
                column[component(axes, i, i) * per_page..][..per_page].fill(*rest);
            }
        }
        pages.push(MetricCells { g, factorised });
    }
    Ok(pages)
}

/// What the stage works on, wherever Ψ is.
#[derive(SystemParam)]
pub struct MetricStage<'w, 's, T: Real + Scalar> {
    cells: Query<'w, 's, &'static mut MetricCells>,
    metric: Option<ResMut<'w, PlasticMetric>>,
    propagators: ResMut<'w, Propagators<T>>,
    flows: Option<ResMut<'w, EnergyFlows>>,
    chemistry: Option<Res<'w, Chemistry>>,
    wave: Res<'w, WaveParameters>,
    torus: Res<'w, Torus>,
    compute: Res<'w, Compute>,
    tick: Res<'w, Tick>,
}

impl<T: Real + Scalar> MetricStage<'_, '_, T> {
    /// Cells of this tick's turn; none without a plastic metric.
    pub fn turn(&self) -> Range<usize> {
        self.metric.as_ref().map_or(0..0, |metric| metric.turn(*self.tick))
    }

    /// The kinetic flows and D, as the turn left them.
    pub fn propagators(&self) -> &Propagators<T> {
        &self.propagators
    }

    /// The cells whose D the turn renewed, ascending.
    pub fn changed(&self) -> &[usize] {
        self.metric.as_ref().map_or(&[], |metric| &metric.changed)
    }

    /// Lets g of the cells in turn yield to the structure tensors `sums`, and renews D and the propagators where g moved
    /// far enough.
    pub fn yield_to(&mut self, turn: &Range<usize>, sums: &[f64]) {
        let Some(metric) = self.metric.as_deref_mut() else { return };
        let Propagators { plans, diffusion: Some(diffusion), .. } = &mut *self.propagators else { return };
        let rates = metric.rates(self.chemistry.as_deref(), self.wave.dt);
        let mut changed = std::mem::take(&mut metric.changed);
        relax_cells(metric, &mut self.cells, turn, sums, &rates, &mut changed);
        metric.counts.n_updated += turn.len() as u64;
        metric.counts.n_factorised += changed.len() as u64;
        let renewed = renew(metric, &mut self.cells, diffusion, &self.compute, &changed, turn, sums);
        let work = self.torus.cell_volume() * renewed;
        for plan in plans.iter_mut() {
            if let Plan::Varying(plan) = plan {
                plan.renew(diffusion, &changed);
            }
        }
        metric.counts.work += work;
        if let Some(flows) = &mut self.flows {
            flows.add(Flow::Metric, work);
        }
        metric.changed = changed;
    }
}

/// The stage.
pub fn update<T: Real + Scalar>(
    psi: Query<'_, '_, &Psi<T>>,
    mut stage: MetricStage<'_, '_, T>,
    mut times: ResMut<'_, StageTimes>,
) {
    let began = times.now();
    let turn = stage.turn();
    let Some(metric) = &mut stage.metric else { return };
    let mut sums = std::mem::take(&mut metric.sums);
    sums.resize(n_components(metric.rest.len()) * turn.len(), 0.0);
    let (pages, compute) = (pages_ref(psi.iter()), &stage.compute);
    structure(compute.level, compute.threads(), &metric.stencil, &pages, turn.clone(), &mut sums);
    stage.yield_to(&turn, &sums);
    if let Some(metric) = &mut stage.metric {
        metric.sums = sums;
    }
    let ended = times.now();
    times.add(Stage::MetricUpdate, ended - began);
}

/// Relaxes the cells in turn, and notes in `changed` those that moved too far from their factorisation.
fn relax_cells(
    metric: &PlasticMetric,
    cells: &mut Query<'_, '_, &mut MetricCells>,
    turn: &Range<usize>,
    sums: &[f64],
    rates: &Relaxation,
    changed: &mut Vec<usize>,
) {
    let nodes = metric.stencil.grid().cell_nodes();
    let per_page = metric.stencil.grid().shape.page_nodes / nodes;
    let components = n_components(metric.rest.len());
    changed.clear();
    let mut part = Vec::new();
    for (page, mut cells) in cells.iter_mut().enumerate() {
        let range = turn.start.max(page * per_page)..turn.end.min((page + 1) * per_page);
        if range.is_empty() {
            continue;
        }
        // A page's share of the sums, unless the whole turn lies on it.
        let sums = if range == *turn {
            sums
        } else {
            part.clear();
            for c in 0..components {
                let at = c * turn.len() + range.start - turn.start;
                part.extend_from_slice(&sums[at..at + range.len()]);
            }
            &part
        };
        let first = range.start - page * per_page;
        let cells = &mut *cells;
        let mut tensors = Tensors { g: &mut cells.g, stride: per_page, first };
        relax(&mut tensors, sums, &metric.rest, nodes, rates);
        let known = changed.len();
        let tolerance = metric.plasticity.tolerance;
        moved(&tensors, &cells.factorised, components, range.len(), tolerance, changed);
        changed[known..].iter_mut().for_each(|cell| *cell += range.start);
    }
}

/// Factorises g of the `changed` cells and renews their D. Returns ½ ΣδD^{ij} S_ij over their nodes.
fn renew(
    metric: &mut PlasticMetric,
    cells: &mut Query<'_, '_, &mut MetricCells>,
    diffusion: &mut Diffusion,
    compute: &Compute,
    changed: &[usize],
    turn: &Range<usize>,
    sums: &[f64],
) -> f64 {
    if changed.is_empty() {
        return 0.0;
    }
    let axes = metric.rest.len();
    let mut pages: Vec<_> = cells.iter_mut().map(Mut::into_inner).collect();
    let per_page = metric.stencil.grid().n_cells() / pages.len();
    let mut work = 0.0;
    for batch in changed.chunks(BATCH) {
        let mut g = [[0.0; BATCH]; n_components(9)];
        for lane in 0..BATCH {
            // Lanes that are left over repeat the last cell.
            let cell = batch[lane.min(batch.len() - 1)];
            let (page, at) = (&pages[cell / per_page], cell % per_page);
            for (c, lanes) in g.iter_mut().enumerate().take(n_components(axes)) {
                lanes[lane] = page.g[c * per_page + at];
            }
        }
        let factorised = factorise(compute.level, axes, &mut g);
        for (lane, &cell) in batch.iter().enumerate() {
            metric.counts.n_projected += u64::from(factorised.was_projected[lane]);
            let (page, at) = (&mut pages[cell / per_page], cell % per_page);
            for (c, lanes) in g.iter().enumerate().take(n_components(axes)) {
                page.g[c * per_page + at] = lanes[lane];
                page.factorised[c * per_page + at] = lanes[lane];
            }
            let inverse =
                |i: usize, j: usize| metric.speed2 * factorised.inverse[component(axes, i, j)][lane];
            let sum = |i: usize, j: usize| sums[component(axes, i, j) * turn.len() + cell - turn.start];
            for i in 0..axes {
                let d = &mut diffusion.diagonal[i][cell];
                work += 0.5 * (inverse(i, i) - *d) * sum(i, i);
                *d = inverse(i, i);
            }
            for pair in &mut diffusion.off_diagonal {
                let (i, j) = pair.axes;
                let d = &mut pair.values[cell];
                work += (inverse(i, j) - *d) * sum(i, j);
                *d = inverse(i, j);
            }
        }
    }
    work
}

/// Makes D and the propagators stand for the factorised g of the pages again, as after loading a saved world.
pub fn restore<T: Real + Scalar>(world: &mut World) {
    let Some(mut metric) = world.remove_resource::<PlasticMetric>() else { return };
    let Some(mut propagators) = world.remove_resource::<Propagators<T>>() else { return };
    let level = world.resource::<Compute>().level;
    let axes = metric.rest.len();
    let mut query = world.query::<&MetricCells>();
    if let Propagators { plans, diffusion: Some(diffusion), .. } = &mut propagators {
        let mut cell = 0;
        for page in query.iter(world) {
            let per_page = page.factorised.len() / n_components(axes);
            for at in 0..per_page {
                let mut g = [[0.0; BATCH]; n_components(9)];
                for (c, lanes) in g.iter_mut().enumerate().take(n_components(axes)) {
                    lanes.fill(page.factorised[c * per_page + at]);
                }
                let inverse = factorise(level, axes, &mut g).inverse;
                for i in 0..axes {
                    diffusion.diagonal[i][cell] = metric.speed2 * inverse[component(axes, i, i)][0];
                }
                for pair in &mut diffusion.off_diagonal {
                    pair.values[cell] = metric.speed2 * inverse[component(axes, pair.axes.0, pair.axes.1)][0];
                }
                cell += 1;
            }
        }
        let all: Vec<usize> = (0..cell).collect();
        for plan in plans.iter_mut() {
            if let Plan::Varying(plan) = plan {
                plan.renew(diffusion, &all);
            }
        }
    }
    metric.changed.clear();
    world.insert_resource(metric);
    world.insert_resource(propagators);
}

/// Whether g₀ lies in the range that the guard keeps.
pub fn is_rest_allowed(rest: f64) -> bool {
    (EIGENVALUE_MIN..=EIGENVALUE_MAX).contains(&rest)
}
