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
use crate::oracle::weigh::SourceWork;
use crate::propagators::Propagators;
use crate::world::Compute;
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use core::ops::Range;
use nikola_components::chemistry::{Chemistry, Work};
use nikola_components::clock::Tick;
use nikola_components::column::{ColumnError, Scalar, zeroed};
use nikola_components::ledger::{EnergyFlows, Flow};
use nikola_components::metric::{MetricCells, Plasticity};
use nikola_components::setup::{Setup, WaveParameters};
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::{Damping, Psi};
use nikola_kernels::kinetic::varying::{CellGrid, Diffusion};
use nikola_kernels::metric_update::{
    CellStencil, EIGENVALUE_MAX, EIGENVALUE_MIN, Relaxation, Tensors, component, factorise, inverse,
    is_finite, moved, n_components, relax, structure,
};
use nikola_kernels::simd::Level;
use nikola_kernels::transcendental::tanh;
use nikola_kernels::{PageRef, Real, Threads};

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
    /// Updates of a cell whose structure tensor was not finite: such a cell does not yield.
    pub n_not_finite: u64,
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
    /// How the cells of a dense torus find their neighbours; on a sparse one the operator knows.
    stencil: Option<CellStencil>,
    cell_nodes: usize,
    /// Cells of a page.
    per_page: usize,
    /// g₀ of each storage axis.
    rest: Vec<f64>,
    /// c² of the scene, and what it is multiplied with.
    speed2: f64,
    speed2_scale: f64,
    /// What happened so far.
    pub counts: MetricCounts,
    sums: Vec<f64>,
    changed: Vec<usize>,
}

/// The cells of a tick: ranges of equal length, cells counted page after page.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    ranges: Vec<Range<usize>>,
}

impl Turn {
    /// The ranges.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Cells of all ranges.
    pub fn n_cells(&self) -> usize {
        self.ranges.iter().map(ExactSizeIterator::len).sum()
    }

    /// Where the sums of a range begin: component after component, range after range.
    fn sums_of(&self, range: usize, components: usize) -> Range<usize> {
        let first: usize = self.ranges[..range].iter().map(ExactSizeIterator::len).sum();
        first * components..(first + self.ranges[range].len()) * components
    }

    /// Where the sums of a cell of the turn are: its first component, and how far apart components are.
    fn place(&self, components: usize, cell: usize) -> (usize, usize) {
        let range = self.ranges.partition_point(|range| range.end <= cell);
        let of_range = &self.ranges[range];
        (self.sums_of(range, components).start + cell - of_range.start, of_range.len())
    }
}

impl PlasticMetric {
    /// The metric of `setup`, at rest on the cells of `grid`.
    pub fn new(setup: &Setup, plasticity: Plasticity, grid: &CellGrid) -> Self {
        let diffusion = setup.torus.storage().iter().map(|axis| setup.wave.diffusion[axis.index()]);
        let speed2 = plasticity.speed * plasticity.speed;
        Self {
            plasticity,
            stencil: setup.growth.is_none().then(|| CellStencil::new(grid)),
            cell_nodes: grid.cell_nodes(),
            per_page: setup.torus.page_nodes() / grid.cell_nodes(),
            rest: diffusion.map(|diffusion| speed2 / diffusion).collect(),
            speed2,
            speed2_scale: 1.0,
            counts: MetricCounts::default(),
            sums: Vec::new(),
            changed: Vec::new(),
        }
    }

    /// g₀ of each storage axis.
    pub fn rest(&self) -> &[f64] {
        &self.rest
    }

    /// Nodes of a cell.
    pub fn cell_nodes(&self) -> usize {
        self.cell_nodes
    }

    /// Cells whose metric has changed in this tick, ascending.
    pub fn changed(&self) -> &[usize] {
        &self.changed
    }

    /// c² is `scale` times the scene's from now on; D has to be computed anew.
    pub fn set_scale(&mut self, scale: f64) {
        self.speed2_scale = scale;
    }

    /// Cells of this tick's turn: a share of all cells, or on a sparse torus of the cells of every page, so that pages
    /// that come and go leave the others' turns alone.
    fn turn(&self, tick: Tick, n_pages: usize) -> Turn {
        let (turn, every) = (tick.0 % self.plasticity.every, self.plasticity.every);
        let share = |n: usize| {
            let n = n as u64;
            (n * turn / every) as usize..(n * (turn + 1) / every) as usize
        };
        let ranges = match self.stencil {
            Some(_) => vec![share(self.per_page * n_pages)],
            None => {
                let share = share(self.per_page);
                let first = |page: usize| page * self.per_page;
                (0..n_pages).map(|page| first(page) + share.start..first(page) + share.end).collect()
            }
        };
        Turn { ranges }
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

/// Cells of `n_pages` pages, at rest.
///
/// # Errors
/// [`ColumnError`] when they do not fit the address space.
pub fn cells_at_rest(metric: &PlasticMetric, n_pages: usize) -> Result<Vec<MetricCells>, ColumnError> {
    let (rest, per_page) = (&metric.rest, metric.per_page);
    let axes = rest.len();
    let mut columns = zeroed::<f64>(2 * n_pages, n_components(axes) * per_page, None)?.into_iter();
    let mut pages = Vec::with_capacity(n_pages);
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
    told: Told<'w, T>,
    chemistry: Option<Res<'w, Chemistry>>,
    wave: Res<'w, WaveParameters>,
    torus: Res<'w, Torus>,
    compute: Res<'w, Compute>,
    tick: Res<'w, Tick>,
}

/// The columns that the balance of the energy is kept from, where it is watched.
pub struct Sight<'a, T: Real> {
    /// Ψ of every page.
    pub pages: &'a [PageRef<'a, T>],
    /// Γ of every page, where it varies in space.
    pub damping: &'a [&'a [T]],
}

/// What a change of the metric is told to.
#[derive(SystemParam)]
pub struct Told<'w, T: Real + Scalar> {
    flows: Option<ResMut<'w, EnergyFlows>>,
    sources: SourceWork<'w, T>,
    work: Option<ResMut<'w, Work>>,
}

impl<T: Real + Scalar> MetricStage<'_, '_, T> {
    /// Cells of this tick's turn; none without a plastic metric.
    pub fn turn(&self) -> Turn {
        let n_pages = self.cells.iter().len();
        self.metric.as_ref().map_or_else(Turn::default, |metric| metric.turn(*self.tick, n_pages))
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
    /// far enough. Only a world whose balance is watched looks at what is `seen`.
    pub fn yield_to(&mut self, turn: &Turn, sums: &mut [f64], seen: &Sight<'_, T>) {
        let Some(metric) = self.metric.as_deref_mut() else { return };
        metric.counts.n_not_finite +=
            silence(turn, n_components(metric.rest.len()), sums, self.compute.level);
        let propagators = &mut *self.propagators;
        let Some(diffusion) = &mut propagators.diffusion else { return };
        let rates = metric.rates(self.chemistry.as_deref(), self.wave.dt);
        relax_cells(metric, &mut self.cells, turn, sums, (&rates, self.compute.level));
        metric.counts.n_updated += turn.n_cells() as u64;
        metric.counts.n_factorised += metric.changed.len() as u64;
        let works = renew(metric, &mut self.cells, diffusion, &self.compute, turn, sums);
        let work = self.torus.cell_volume() * works.iter().fold(0.0, |sum, work| sum + work);
        for plan in &mut propagators.plans {
            plan.renew(self.compute.threads(), diffusion, &metric.changed);
        }
        metric.counts.work += work;
        if let Some(flows) = &mut self.told.flows {
            flows.add(Flow::Metric, work);
            let damping = seen.damping;
            if let Some(lattice) = propagators.lattice.as_ref().filter(|_| !damping.is_empty()) {
                let taken = metric
                    .changed
                    .iter()
                    .zip(&works)
                    .fold(0.0, |sum, (cell, work)| sum + lattice.mean_on(*cell, damping) * work);
                flows.note_jump(false, -2.0 * self.torus.cell_volume() * taken, 0.0);
            }
            let gained = self.told.sources.follow(propagators, &self.wave, seen.pages, &metric.changed);
            flows.add(Flow::Source, gained);
        }
        if let Some(counted) = &mut self.told.work {
            counted.plasticity_updates += turn.n_cells() as u64;
        }
    }
}

/// The stage.
pub fn update<T: Real + Scalar>(
    psi: Query<'_, '_, (&Psi<T>, Option<&Damping<T>>)>,
    mut stage: MetricStage<'_, '_, T>,
    mut times: ResMut<'_, StageTimes>,
) {
    let began = times.now();
    let turn = stage.turn();
    let Some(metric) = &mut stage.metric else { return };
    let components = n_components(metric.rest.len());
    let mut sums = std::mem::take(&mut metric.sums);
    sums.resize(components * turn.n_cells(), 0.0);
    let (pages, compute) = (pages_ref(psi.iter().map(|(psi, _)| psi)), &stage.compute);
    match (&metric.stencil, &stage.propagators.lattice) {
        (Some(stencil), _) => {
            for (k, range) in turn.ranges.iter().enumerate() {
                let sums = &mut sums[turn.sums_of(k, components)];
                structure(compute.level, compute.threads(), stencil, &pages, range.clone(), sums);
            }
        }
        (None, Some(lattice)) => {
            lattice.structure(compute.level, compute.threads(), &pages, &turn.ranges, &mut sums);
        }
        (None, None) => {}
    }
    let damping: Vec<&[T]> = psi.iter().filter_map(|(_, damping)| damping.map(|d| &d.0[..])).collect();
    stage.yield_to(&turn, &mut sums, &Sight { pages: &pages, damping: &damping });
    if let Some(metric) = &mut stage.metric {
        metric.sums = sums;
    }
    let ended = times.now();
    times.add(Stage::MetricUpdate, ended - began);
}

/// Takes the structure tensors that are not finite for zero: g of such a cell would stay without a number after Ψ has been
/// put right. Says how many there were.
fn silence(turn: &Turn, components: usize, sums: &mut [f64], level: Level) -> u64 {
    if is_finite(level, sums) {
        return 0;
    }
    let mut n_silenced = 0;
    for (k, range) in turn.ranges.iter().enumerate() {
        let sums = &mut sums[turn.sums_of(k, components)];
        for cell in 0..range.len() {
            if (0..components).any(|c| !sums[c * range.len() + cell].is_finite()) {
                (0..components).for_each(|c| sums[c * range.len() + cell] = 0.0);
                n_silenced += 1;
            }
        }
    }
    n_silenced
}

/// Relaxes the cells of a turn; those that moved far enough are the metric's changed ones.
fn relax_cells(
    metric: &mut PlasticMetric,
    cells: &mut Query<'_, '_, &mut MetricCells>,
    turn: &Turn,
    sums: &[f64],
    (rates, level): (&Relaxation, Level),
) {
    let (components, per_page) = (n_components(metric.rest.len()), metric.per_page);
    let mut changed = std::mem::take(&mut metric.changed);
    changed.clear();
    let mut part = Vec::new();
    for (page, mut cells) in cells.iter_mut().enumerate() {
        let of_page = page * per_page..(page + 1) * per_page;
        let k = turn.ranges.partition_point(|range| range.end <= of_page.start);
        let Some(whole) = turn.ranges.get(k) else { continue };
        let range = whole.start.max(of_page.start)..whole.end.min(of_page.end);
        if range.is_empty() {
            continue;
        }
        // A page's share of the sums, unless the whole range lies on it.
        let sums = &sums[turn.sums_of(k, components)];
        let sums = if range == *whole {
            sums
        } else {
            part.clear();
            for c in 0..components {
                let at = c * whole.len() + range.start - whole.start;
                part.extend_from_slice(&sums[at..at + range.len()]);
            }
            &part
        };
        let first = range.start - of_page.start;
        let cells = &mut *cells;
        let mut tensors = Tensors { g: &mut cells.g, stride: per_page, first };
        relax(level, &mut tensors, sums, &metric.rest, metric.cell_nodes, rates);
        let known = changed.len();
        let tolerance = metric.plasticity.tolerance;
        moved(level, &tensors, &cells.factorised, components, range.len(), tolerance, &mut changed);
        changed[known..].iter_mut().for_each(|cell| *cell += range.start);
    }
    metric.changed = changed;
}

/// Factorises g of the changed cells and renews their D. Returns ½ ΣδD^{ij} S_ij of each of them.
fn renew(
    metric: &mut PlasticMetric,
    cells: &mut Query<'_, '_, &mut MetricCells>,
    diffusion: &mut Diffusion,
    compute: &Compute,
    turn: &Turn,
    sums: &[f64],
) -> Vec<f64> {
    let mut works = Vec::with_capacity(metric.changed.len());
    let axes = metric.rest.len();
    let mut pages: Vec<_> = cells.iter_mut().map(Mut::into_inner).collect();
    let per_page = metric.per_page;
    let speed2 = metric.speed2 * metric.speed2_scale;
    for batch in metric.changed.chunks(BATCH) {
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
            let inverse = |i: usize, j: usize| speed2 * factorised.inverse[component(axes, i, j)][lane];
            let (first, stride) = turn.place(n_components(axes), cell);
            let sum = |i: usize, j: usize| sums[first + component(axes, i, j) * stride];
            let mut work = 0.0;
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
            works.push(work);
        }
    }
    works
}

/// Makes D and the propagators stand for the factorised g of the pages again, as after loading a saved world.
pub fn restore<T: Real + Scalar>(world: &mut World) {
    renew_pages::<T>(world, |_| true);
}

/// Makes D and the propagators stand for the factorised g of the pages, by position, that `is_wanted`.
pub fn renew_pages<T: Real + Scalar>(world: &mut World, is_wanted: impl Fn(usize) -> bool) {
    let Some(mut metric) = world.remove_resource::<PlasticMetric>() else { return };
    let Some(mut propagators) = world.remove_resource::<Propagators<T>>() else { return };
    let level = world.resource::<Compute>().level;
    let mut query = world.query::<&MetricCells>();
    if let Propagators { plans, diffusion: Some(diffusion), revision, .. } = &mut propagators {
        let pages = query.iter(world).enumerate().filter(|(page, _)| is_wanted(*page));
        let renewed = fill_diffusion(&metric, level, pages, diffusion);
        for plan in plans.iter_mut() {
            plan.renew(Threads::Serial, diffusion, &renewed);
        }
        *revision += 1;
    }
    metric.changed.clear();
    world.insert_resource(metric);
    world.insert_resource(propagators);
}

/// D of the cells of some pages, given with their position, from their factorised g. Returns the cells.
pub fn fill_diffusion<'a>(
    metric: &PlasticMetric,
    level: Level,
    pages: impl Iterator<Item = (usize, &'a MetricCells)>,
    diffusion: &mut Diffusion,
) -> Vec<usize> {
    let (axes, per_page) = (metric.rest.len(), metric.per_page);
    let speed2 = metric.speed2 * metric.speed2_scale;
    let mut renewed = Vec::new();
    for (position, page) in pages {
        for first in (0..per_page).step_by(BATCH) {
            let n = BATCH.min(per_page - first);
            let cell = position * per_page + first;
            let mut g = [[0.0; BATCH]; n_components(9)];
            for (c, lanes) in g.iter_mut().enumerate().take(n_components(axes)) {
                let values = &page.factorised[c * per_page + first..][..n];
                lanes[..n].copy_from_slice(values);
                // Lanes that are left over repeat the last cell.
                lanes[n..].fill(values[n - 1]);
            }
            // As it is: where the guard moved it, it is not moved again.
            let inverse = inverse(level, axes, &g);
            let fill = |d: &mut [f64], values: &[f64; BATCH]| {
                d[cell..cell + n].iter_mut().zip(values).for_each(|(d, value)| *d = speed2 * value);
            };
            for (i, d) in diffusion.diagonal.iter_mut().enumerate() {
                fill(d, &inverse[component(axes, i, i)]);
            }
            for pair in &mut diffusion.off_diagonal {
                fill(&mut pair.values, &inverse[component(axes, pair.axes.0, pair.axes.1)]);
            }
            renewed.extend(cell..cell + n);
        }
    }
    renewed
}

/// Whether g₀ lies in the range that the guard keeps.
pub fn is_rest_allowed(rest: f64) -> bool {
    (EIGENVALUE_MIN..=EIGENVALUE_MAX).contains(&rest)
}
