//! The scan: reads the whole torus in several orders into a state of nine numbers each, and gives a readout.
//!
//! Invariant: reads Ψ and never writes it; a world without a scan doesn't have this stage at all. The readout's
//! weights change by commands only (`Teach`, `SetReadout`), so a replay learns the same.
//! Source: Gu & Dao, arXiv 2312.00752 (2023), for the recurrence; Jaeger & Haas, Science 304 (2004) 78, for the
//! trained linear readout of a dynamical system.

use crate::ingress::TickPlan;
use crate::metric_update::PlasticMetric;
use crate::observables::pages_ref;
use crate::world::{BuildError, Compute, Environment, fill_profile};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::fill::Profile;
use nikola_components::geometry::axis::Axis;
use nikola_components::geometry::traversal::{self, Traversal};
use nikola_components::growth::Growth;
use nikola_components::metric::{CellRule, MetricCells, MetricProfile};
use nikola_components::noise;
use nikola_components::scan::{Feature, ReadoutSetup, STATE, ScanOutput, Scanned};
use nikola_components::setup::Setup;
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::Psi;
use nikola_kernels::mamba_scan::{CellMetric, Order, Recurrence, Scan, State};
use nikola_kernels::metric_update::{self, BATCH, COMPONENTS_MAX, component, n_components};
use nikola_kernels::readout::{self, Recursive};
use nikola_kernels::simd::Level;
use nikola_kernels::{PageRef, Real, Values};
use std::collections::BTreeSet;

/// Random stream that draws the nodes of the readout.
const STREAM_NODES: u32 = 0x5343_414e;

/// The scan of a world.
#[derive(Resource)]
pub struct RunningScan<T: Real> {
    every: u64,
    traversals: Vec<Traversal>,
    recurrence: Recurrence,
    openness_law: Profile,
    /// g^{ij} on every node, where it varies and does not learn.
    metric_law: Option<MetricProfile>,
    learns: bool,
    /// What follows from the set of pages.
    path: Path<T>,
    states: Vec<State>,
}

/// The way through the pages there are.
struct Path<T: Real> {
    /// Revision of the set of pages it was made for.
    revision: u64,
    /// Storage index of each traversal's last position, on slice 0.
    last_positions: Vec<u32>,
    slices: Vec<u32>,
    scan: Scan<T>,
    /// 1 − r̂ where it varies, page after page.
    openness: Result<Vec<T>, T>,
    /// Cells whose metric the scan has to take over.
    is_stale: Vec<bool>,
}

/// The readout of a world.
#[derive(Resource)]
pub struct RunningReadout {
    /// Weights and what learning remembers: part of the state of a world.
    pub learner: Recursive,
    forgetting: f64,
    features: Vec<Feature>,
    /// Page and node of each node that is read.
    nodes: Vec<(usize, usize)>,
}

/// Adds the resources of the scan to a world that is being built; its pages and its metric are there.
///
/// # Errors
/// [`BuildError::NotFinite`] when r̂ or the metric is not finite somewhere.
pub fn insert<T: Real + Scalar>(world: &mut World, setup: &Setup) -> Result<(), BuildError> {
    let Some(scan) = &setup.scan else { return Ok(()) };
    let torus = &setup.torus;
    let n_features = scan.readout.as_ref().map_or(0, |readout| readout.n_features(scan.traversals.len()));
    world.insert_resource(ScanOutput {
        tick: 0,
        traversals: scan.traversals.iter().map(|traversal| Scanned::nothing(*traversal)).collect(),
        features: vec![0.0; n_features],
        values: vec![0.0; scan.readout.as_ref().map_or(0, |readout| readout.n_targets)],
    });
    if let Some(readout) = &scan.readout {
        let nodes = match setup.growth {
            None => draw(readout, torus.n_nodes(), setup.seed),
            Some(_) => draw_sparse(readout, torus.n_nodes(), setup.seed),
        };
        let place = |node: usize| (node / torus.page_nodes(), node % torus.page_nodes());
        world.insert_resource(RunningReadout {
            learner: Recursive::new(n_features, readout.n_targets, readout.ridge),
            forgetting: readout.forgetting,
            features: readout.features.clone(),
            nodes: nodes.into_iter().map(place).collect(),
        });
    }
    let recurrence = Recurrence {
        step: scan.step,
        density_weight: scan.density_weight,
        input_weight: scan.input_weight,
        metric: scan.metric,
    };
    let mut running = RunningScan::<T> {
        every: scan.every,
        traversals: scan.traversals.clone(),
        recurrence,
        openness_law: scan.openness.clone(),
        metric_law: scan.inverse_metric.clone(),
        learns: setup.plasticity.is_some(),
        path: Path::default(),
        states: vec![State::default(); scan.traversals.len()],
    };
    let cells =
        setup.plasticity.map_or(1, |plasticity| plasticity.cell.shape(torus).iter().product::<usize>());
    let level = world.resource::<Compute>().level;
    let environment = world.resource::<Environment>();
    running.path = running.arrange(torus, &environment.pages, setup.growth.is_some(), (level, cells))?;
    world.insert_resource(running);
    Ok(())
}

/// After a load: the scan takes over the metric of every cell, and nothing has been scanned yet.
pub(crate) fn restore<T: Real>(world: &mut World) {
    if let Some(mut output) = world.get_resource_mut::<ScanOutput>() {
        output.forget();
    }
    if let Some(mut running) = world.get_resource_mut::<RunningScan<T>>() {
        running.path.is_stale.fill(true);
    }
}

impl<T: Real> Default for Path<T> {
    fn default() -> Self {
        let recurrence =
            Recurrence { step: 1.0, density_weight: 0.0, input_weight: 0.0, metric: [1.0; STATE] };
        Path {
            revision: 0,
            last_positions: Vec::new(),
            slices: Vec::new(),
            scan: Scan::new(recurrence, 0, Vec::new(), Vec::new()),
            openness: Err(T::default()),
            is_stale: Vec::new(),
        }
    }
}

impl<T: Real> RunningScan<T> {
    /// The way through `pages`.
    fn arrange(
        &self,
        torus: &Torus,
        pages: &[usize],
        is_sparse: bool,
        (level, cell_nodes): (Level, usize),
    ) -> Result<Path<T>, BuildError> {
        let orders: Vec<Order> = self
            .traversals
            .iter()
            .map(|traversal| Order {
                positions: match is_sparse {
                    true => traversal.positions_on(torus, pages),
                    false => traversal.positions(torus),
                },
                is_time_fastest: traversal.is_time_fastest(),
            })
            .collect();
        let slices = if is_sparse { traversal::slices_in_page(torus) } else { traversal::slices(torus) };
        let n_nodes = pages.len() * torus.page_nodes();
        let last_positions = orders.iter().filter_map(|order| order.positions.last().copied()).collect();
        let mut scan = Scan::new(self.recurrence, n_nodes, slices.clone(), orders);
        let n_cells = n_nodes / cell_nodes;
        if self.learns || self.metric_law.is_some() {
            scan.set_cells(CellMetric::new(level, cells_of_nodes(torus, cell_nodes, pages.len()), n_cells));
        }
        if let Some(law) = &self.metric_law {
            self.fill_metric(law, level, torus, pages, &mut scan)?;
        }
        Ok(Path {
            revision: 0,
            last_positions,
            openness: openness(&self.openness_law, torus, pages)?,
            scan,
            slices,
            is_stale: vec![true; if self.learns { n_cells } else { 0 }],
        })
    }

    /// Gives every node of `pages` its G, the inverse of `law` there.
    fn fill_metric(
        &self,
        law: &MetricProfile,
        level: Level,
        torus: &Torus,
        pages: &[usize],
        scan: &mut Scan<T>,
    ) -> Result<(), BuildError> {
        let (storage, nodes) = (torus.storage(), torus.page_nodes());
        let n = storage.len();
        let mut of_page = vec![vec![0.0; nodes]; n_components(n)];
        let place = |axis: &Axis| storage.iter().position(|other| other == axis);
        for (position, &page) in pages.iter().enumerate() {
            let mut fill = |i: usize, j: usize, profile: &Profile| {
                let values = &mut of_page[component(n, i.min(j), i.max(j))];
                fill_profile(profile, page, values);
                match values.iter().position(|value| !value.is_finite()) {
                    None => Ok(()),
                    Some(at) => Err(BuildError::NotFinite {
                        what: "a component of the metric",
                        found: values[at],
                        coordinates: torus.node(page, at),
                    }),
                }
            };
            for (i, axis) in storage.iter().enumerate() {
                fill(i, i, &law.diagonal[axis.index()])?;
            }
            for (a, b, profile) in &law.off_diagonal {
                if let (Some(a), Some(b)) = (place(a), place(b)) {
                    fill(a, b, profile)?;
                }
            }
            for first in (0..nodes).step_by(BATCH) {
                let batch = BATCH.min(nodes - first);
                let mut g = [[0.0; BATCH]; COMPONENTS_MAX];
                for (lanes, values) in g.iter_mut().zip(&of_page) {
                    lanes[..batch].copy_from_slice(&values[first..first + batch]);
                }
                let inverse = metric_update::inverse(level, n, &g);
                for lane in 0..batch {
                    let g = self.tensor(storage, |c| inverse[c][lane]);
                    scan.set_metric(position * nodes + first + lane, &g);
                }
            }
        }
        Ok(())
    }

    /// G of a cell from its components over the storage axes. Along axes of one node it is the recurrence's own.
    fn tensor(&self, storage: &[Axis], of: impl Fn(usize) -> f64) -> [[f64; STATE]; STATE] {
        let mut g = [[0.0; STATE]; STATE];
        (0..STATE).for_each(|d| g[d][d] = self.recurrence.metric[d]);
        for (i, a) in storage.iter().enumerate() {
            for (j, b) in storage.iter().enumerate().skip(i) {
                let value = of(component(storage.len(), i, j));
                g[a.index()][b.index()] = value;
                g[b.index()][a.index()] = value;
            }
        }
        g
    }

    /// Takes over g of the cells that changed.
    fn take_over_metric(&mut self, torus: &Torus, cells: &Query<'_, '_, &MetricCells>) {
        let storage = torus.storage();
        let components = n_components(storage.len());
        let mut first = 0;
        for page in cells.iter() {
            let per_page = page.factorised.len() / components;
            for at in 0..per_page {
                if !std::mem::take(&mut self.path.is_stale[first + at]) {
                    continue;
                }
                let g = self.tensor(storage, |c| page.factorised[c * per_page + at]);
                self.path.scan.set_metric(first + at, &g);
            }
            first += per_page;
        }
    }
}

/// The cell of every node of `n_pages` pages, page after page. Cells are boxes of 3 along x, y, z where the page allows, or
/// nodes.
fn cells_of_nodes(torus: &Torus, cell_nodes: usize, n_pages: usize) -> Vec<u32> {
    let rule = if cell_nodes == 1 { CellRule::Node } else { CellRule::Block };
    let (cell, shape) = (rule.shape(torus), torus.page_shape());
    let storage = torus.storage();
    let mut of_page = Vec::with_capacity(torus.page_nodes());
    for node in 0..torus.page_nodes() {
        let (mut rest, mut index, mut scale) = (node, 0, 1);
        for axis in storage.iter().rev().map(|axis| axis.index()) {
            index += rest % shape[axis] / cell[axis] * scale;
            scale *= shape[axis] / cell[axis];
            rest /= shape[axis];
        }
        of_page.push(index as u32);
    }
    let per_page = (torus.page_nodes() / cell_nodes) as u32;
    (0..n_pages as u32).flat_map(|page| of_page.iter().map(move |cell| page * per_page + cell)).collect()
}

fn openness<T: Real>(
    profile: &Profile,
    torus: &Torus,
    pages: &[usize],
) -> Result<Result<Vec<T>, T>, BuildError> {
    if let Profile::Uniform(value) = profile {
        return Ok(Err(T::from_f64(*value)));
    }
    let mut all = Vec::with_capacity(pages.len() * torus.page_nodes());
    let mut values = vec![0.0; torus.page_nodes()];
    for &page in pages {
        fill_profile(profile, page, &mut values);
        if let Some(i) = values.iter().position(|value| !value.is_finite()) {
            let coordinates = torus.node(page, i);
            return Err(BuildError::NotFinite { what: "1 − resonance", found: values[i], coordinates });
        }
        all.extend(values.iter().map(|&value| T::from_f64(value)));
    }
    Ok(Ok(all))
}

/// `n_nodes` distinct storage indices in ascending order: those with the smallest random keys.
fn draw(readout: &ReadoutSetup, n_all: usize, seed: u64) -> Vec<usize> {
    let mut keyed: Vec<(u64, usize)> =
        (0..n_all).map(|node| (noise::uniform(seed, STREAM_NODES, 0, node as u64).to_bits(), node)).collect();
    keyed.sort_unstable();
    let mut nodes: Vec<usize> = keyed.into_iter().take(readout.n_nodes).map(|(_, node)| node).collect();
    nodes.sort_unstable();
    nodes
}

/// The same on a torus too large to be walked: drawn one by one.
fn draw_sparse(readout: &ReadoutSetup, n_all: usize, seed: u64) -> Vec<usize> {
    let mut nodes = BTreeSet::new();
    for i in 0.. {
        if nodes.len() == readout.n_nodes.min(n_all) {
            break;
        }
        let u = noise::uniform(seed, STREAM_NODES, 0, i);
        nodes.insert(((u * n_all as f64) as usize).min(n_all - 1));
    }
    nodes.into_iter().collect()
}

/// What of a world the scan reads beside Ψ.
#[derive(SystemParam)]
pub struct Around<'w, 's> {
    cells: Query<'w, 's, &'static MetricCells>,
    metric: Option<Res<'w, PlasticMetric>>,
    growth: Option<Res<'w, Growth>>,
    environment: Res<'w, Environment>,
    torus: Res<'w, Torus>,
    compute: Res<'w, Compute>,
}

/// The stage.
pub fn advance<T: Real + Scalar>(
    psi: Query<'_, '_, &Psi<T>>,
    mut running: ResMut<'_, RunningScan<T>>,
    mut readout: Option<ResMut<'_, RunningReadout>>,
    mut output: ResMut<'_, ScanOutput>,
    mut times: ResMut<'_, StageTimes>,
    plan: Res<'_, TickPlan>,
    around: Around<'_, '_>,
    tick: Res<'_, Tick>,
) {
    let began = times.now();
    running.follow(&around);
    if let (Some(readout), Some(weights)) = (&mut readout, &plan.readout) {
        readout.learner.weights.copy_from_slice(weights);
    }
    let is_due = tick.0.is_multiple_of(running.every);
    if is_due {
        let pages = pages_ref(psi.iter());
        output.tick = tick.0;
        scan_pages(&mut running, &pages, &around, *tick, &mut output);
        if let Some(readout) = &mut readout {
            readout.read(&pages, &around.environment, &mut output);
        }
    }
    // Between scans the features are of an earlier tick: there is nothing to learn from.
    if let (true, Some(readout), Some(targets)) = (is_due, &mut readout, &plan.taught) {
        let forgetting = readout.forgetting;
        readout.learner.learn(&output.features, targets, forgetting);
    }
    let ended = times.now();
    times.add(Stage::MambaScan, ended - began);
}

impl<T: Real> RunningScan<T> {
    /// The path follows the set of pages; cells that changed are noted.
    fn follow(&mut self, around: &Around<'_, '_>) {
        let revision = around.growth.as_ref().map_or(0, |growth| growth.revision);
        if revision != self.path.revision {
            let cell_nodes = around.metric.as_ref().map_or(1, |metric| metric.cell_nodes());
            let by = (around.compute.level, cell_nodes);
            // r̂ is a pure function of the page; where it is no number, the path stays as it was and the page is skipped.
            let environment = &around.environment;
            if let Ok(path) = self.arrange(&around.torus, &environment.pages, true, by) {
                self.path = Path { revision, ..path };
            }
            // Every cell is taken over; those that changed in this tick are counted by the set before.
            return;
        }
        if let Some(metric) = &around.metric {
            for &cell in metric.changed() {
                self.path.is_stale[cell] = true;
            }
        }
    }
}

fn scan_pages<T: Real>(
    running: &mut RunningScan<T>,
    pages: &[PageRef<'_, T>],
    around: &Around<'_, '_>,
    tick: Tick,
    output: &mut ScanOutput,
) {
    if running.traversals.is_empty() {
        return;
    }
    let (torus, compute) = (&*around.torus, &around.compute);
    if running.learns {
        running.take_over_metric(torus, &around.cells);
    }
    let Path { scan, openness, last_positions, slices: of_time, .. } = &mut running.path;
    let present = traversal::present(torus, tick.0);
    let slices: Vec<&[T]>;
    let openness = match &*openness {
        Err(value) => Values::Uniform(*value),
        Ok(all) => {
            slices = all.chunks(torus.page_nodes()).collect();
            Values::PerNode(&slices)
        }
    };
    scan.run(compute.long_threads(), pages, openness, present, &mut running.states);
    for (k, (scanned, state)) in output.traversals.iter_mut().zip(&running.states).enumerate() {
        let last = last_positions[k] + of_time[present];
        (scanned.re, scanned.im) = (state.re, state.im);
        scanned.output = state.output(&amplitudes_beside(pages, torus, &around.environment, last as usize));
    }
}

/// |Ψ| on the upper neighbour of a node along each axis: the coupling C. An axis of one node gives the node itself; where no
/// page is active, Ψ is zero.
fn amplitudes_beside<T: Real>(
    pages: &[PageRef<'_, T>],
    torus: &Torus,
    environment: &Environment,
    node: usize,
) -> [f64; STATE] {
    let page = environment.pages[node / torus.page_nodes()];
    let here = torus.node(page, node % torus.page_nodes());
    Axis::ALL.map(|axis| {
        let (d, mut beside) = (axis.index(), here);
        beside[d] = (here[d] + 1) % torus.extents()[d];
        let (page, i) = torus.locate(beside);
        let Some(page) = environment.position(page) else { return 0.0 };
        let (re, im) = (pages[page].re[i].to_f64(), pages[page].im[i].to_f64());
        (re * re + im * im).sqrt()
    })
}

impl RunningReadout {
    /// Gathers the features and applies the weights.
    fn read<T: Real>(&self, pages: &[PageRef<'_, T>], environment: &Environment, output: &mut ScanOutput) {
        let at = |&(page, i): &(usize, usize)| {
            let Some(position) = environment.position(page) else { return (0.0, 0.0) };
            let page = pages[position];
            (page.re[i].to_f64(), page.im[i].to_f64())
        };
        let ScanOutput { traversals, features, values, .. } = output;
        features.clear();
        for feature in &self.features {
            match feature {
                Feature::Re => features.extend(self.nodes.iter().map(|node| at(node).0)),
                Feature::Im => features.extend(self.nodes.iter().map(|node| at(node).1)),
                Feature::Density => features.extend(self.nodes.iter().map(|node| {
                    let (re, im) = at(node);
                    re * re + im * im
                })),
                Feature::Scan => {
                    for scanned in &*traversals {
                        features.extend([scanned.output.0, scanned.output.1]);
                        features.extend(scanned.re.iter().chain(&scanned.im));
                    }
                }
            }
        }
        readout::predict(&self.learner.weights, features, values);
    }
}
