//! The scan: reads the whole torus in several orders into a state of nine numbers each, and gives a readout.
//!
//! Invariant: reads Ψ and never writes it; a world without a scan doesn't have this stage at all. The readout's
//! weights change by commands only (`Teach`, `SetReadout`), so a replay learns the same.
//! Source: Gu & Dao, arXiv 2312.00752 (2023), for the recurrence; Jaeger & Haas, Science 304 (2004) 78, for the
//! trained linear readout of a dynamical system.

use crate::ingress::TickPlan;
use crate::observables::pages_ref;
use crate::world::{BuildError, Compute, fill_profile};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::fill::Profile;
use nikola_components::geometry::axis::Axis;
use nikola_components::geometry::traversal::{self, Traversal};
use nikola_components::noise;
use nikola_components::scan::{Feature, ReadoutSetup, STATE, ScanOutput, ScanSetup, Scanned};
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::Psi;
use nikola_kernels::mamba_scan::{Order, Recurrence, Scan, State};
use nikola_kernels::readout::{self, Recursive};
use nikola_kernels::{PageRef, Real, Values};

/// Random stream that draws the nodes of the readout.
const STREAM_NODES: u32 = 0x5343_414e;

/// The scan of a world.
#[derive(Resource)]
pub struct RunningScan<T: Real> {
    every: u64,
    traversals: Vec<Traversal>,
    /// Storage index of each traversal's last position, on slice 0.
    last_positions: Vec<u32>,
    slices: Vec<u32>,
    scan: Scan<T>,
    states: Vec<State>,
    /// 1 − r̂ where it varies, page after page.
    openness: Result<Vec<T>, T>,
}

/// The readout of a world.
#[derive(Resource)]
pub struct RunningReadout {
    /// Weights and what learning remembers: part of the state of a world.
    pub learner: Recursive,
    forgetting: f64,
    features: Vec<Feature>,
    /// Storage indices of the nodes that are read.
    nodes: Vec<u32>,
}

/// Adds the resources of the scan to a world that is being built.
///
/// # Errors
/// [`BuildError::NotFinite`] when r̂ is not finite somewhere.
pub fn insert<T: Real + Scalar>(
    world: &mut World,
    setup: &ScanSetup,
    torus: &Torus,
    seed: u64,
) -> Result<(), BuildError> {
    let orders: Vec<Order> = setup
        .traversals
        .iter()
        .map(|traversal| Order {
            positions: traversal.positions(torus),
            is_time_fastest: traversal.is_time_fastest(),
        })
        .collect();
    let recurrence = Recurrence {
        step: setup.step,
        density_weight: setup.density_weight,
        input_weight: setup.input_weight,
        metric: setup.metric,
    };
    let slices = traversal::slices(torus);
    let empty = |&traversal| Scanned { traversal, re: [0.0; STATE], im: [0.0; STATE], output: (0.0, 0.0) };
    let n_features = setup.readout.as_ref().map_or(0, |readout| readout.n_features(setup.traversals.len()));
    world.insert_resource(ScanOutput {
        tick: 0,
        traversals: setup.traversals.iter().map(empty).collect(),
        features: vec![0.0; n_features],
        values: vec![0.0; setup.readout.as_ref().map_or(0, |readout| readout.n_targets)],
    });
    if let Some(readout) = &setup.readout {
        world.insert_resource(RunningReadout {
            learner: Recursive::new(n_features, readout.n_targets, readout.ridge),
            forgetting: readout.forgetting,
            features: readout.features.clone(),
            nodes: draw(readout, torus.n_nodes(), seed),
        });
    }
    world.insert_resource(RunningScan::<T> {
        every: setup.every,
        traversals: setup.traversals.clone(),
        last_positions: orders.iter().filter_map(|order| order.positions.last().copied()).collect(),
        states: vec![State::default(); orders.len()],
        openness: openness(&setup.openness, torus)?,
        scan: Scan::new(recurrence, torus.n_nodes(), slices.clone(), orders),
        slices,
    });
    Ok(())
}

fn openness<T: Real>(profile: &Profile, torus: &Torus) -> Result<Result<Vec<T>, T>, BuildError> {
    if let Profile::Uniform(value) = profile {
        return Ok(Err(T::from_f64(*value)));
    }
    let mut all = Vec::with_capacity(torus.n_nodes());
    let mut values = vec![0.0; torus.page_nodes()];
    for page in 0..torus.n_pages() {
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
fn draw(readout: &ReadoutSetup, n_all: usize, seed: u64) -> Vec<u32> {
    let mut keyed: Vec<(u64, u32)> = (0..n_all as u32)
        .map(|node| (noise::uniform(seed, STREAM_NODES, 0, u64::from(node)).to_bits(), node))
        .collect();
    keyed.sort_unstable();
    let mut nodes: Vec<u32> = keyed.into_iter().take(readout.n_nodes).map(|(_, node)| node).collect();
    nodes.sort_unstable();
    nodes
}

/// The stage.
pub fn advance<T: Real + Scalar>(
    psi: Query<'_, '_, &Psi<T>>,
    mut running: ResMut<'_, RunningScan<T>>,
    mut readout: Option<ResMut<'_, RunningReadout>>,
    mut output: ResMut<'_, ScanOutput>,
    mut times: ResMut<'_, StageTimes>,
    plan: Res<'_, TickPlan>,
    torus: Res<'_, Torus>,
    compute: Res<'_, Compute>,
    tick: Res<'_, Tick>,
) {
    let began = times.now();
    if let (Some(readout), Some(weights)) = (&mut readout, &plan.readout) {
        readout.learner.weights.copy_from_slice(weights);
    }
    let is_due = tick.0.is_multiple_of(running.every);
    if is_due {
        let pages = pages_ref(psi.iter());
        output.tick = tick.0;
        scan_pages(&mut running, &pages, &torus, &compute, *tick, &mut output);
        if let Some(readout) = &mut readout {
            readout.read(&pages, &mut output);
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

fn scan_pages<T: Real>(
    running: &mut RunningScan<T>,
    pages: &[PageRef<'_, T>],
    torus: &Torus,
    compute: &Compute,
    tick: Tick,
    output: &mut ScanOutput,
) {
    if running.traversals.is_empty() {
        return;
    }
    let present = traversal::present(torus, tick.0);
    let slices: Vec<&[T]>;
    let openness = match &running.openness {
        Err(value) => Values::Uniform(*value),
        Ok(all) => {
            slices = all.chunks(torus.page_nodes()).collect();
            Values::PerNode(&slices)
        }
    };
    running.scan.run(compute.threads(), pages, openness, present, &mut running.states);
    for (k, (scanned, state)) in output.traversals.iter_mut().zip(&running.states).enumerate() {
        let last = running.last_positions[k] + running.slices[present];
        (scanned.re, scanned.im) = (state.re, state.im);
        scanned.output = state.output(&amplitudes_beside(pages, torus, last as usize));
    }
}

/// |Ψ| on the upper neighbour of a node along each axis: the coupling C. An axis of one node gives the node itself.
fn amplitudes_beside<T: Real>(pages: &[PageRef<'_, T>], torus: &Torus, node: usize) -> [f64; STATE] {
    let here = torus.node(node / torus.page_nodes(), node % torus.page_nodes());
    Axis::ALL.map(|axis| {
        let (d, mut beside) = (axis.index(), here);
        beside[d] = (here[d] + 1) % torus.extents()[d];
        let (page, i) = torus.locate(beside);
        let (re, im) = (pages[page].re[i].to_f64(), pages[page].im[i].to_f64());
        (re * re + im * im).sqrt()
    })
}

impl RunningReadout {
    /// Gathers the features and applies the weights.
    fn read<T: Real>(&self, pages: &[PageRef<'_, T>], output: &mut ScanOutput) {
        let page_nodes = pages.first().map_or(1, |page| page.re.len());
        let at = |node: &u32| {
            let (page, i) = (pages[*node as usize / page_nodes], *node as usize % page_nodes);
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
