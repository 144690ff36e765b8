//! A device whose kinetic flow goes line by line: a varying metric, static or plastic, and active sets of pages.
//!
//! Invariant: the plans of the host own the tables, in their precision; the device computes with a copy that follows
//! them. Of a plastic metric the device sums the structure tensors, which takes all of Ψ; the small algebra of the cells
//! in turn stays on the host, in double precision, which shading languages lack. Of an active set the device measures
//! layers and leaks; who is born and who goes is decided as on the host.

use super::live::Standing;
use super::{Device, device_world, scatter};
use crate::engs::Engs;
use crate::metric_update::{MetricStage, PlasticMetric, Sight, restore};
use crate::observables::pages_ref;
use crate::oracle::watch::Watch;
use crate::propagators::{Plan, Propagators};
use crate::wave_form::WaveFlow;
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::growth::Growth;
use nikola_components::metric::MetricCells;
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::wave::{Damping, Psi};
use nikola_kernels::backend::{LineFlows, LineStep, Renewal};
use nikola_kernels::wave_form::leapfrog::lines as leapfrog;

/// The metric and the account of growth that belong to a copy of Ψ, as of a tick.
#[derive(Debug, Default)]
pub(super) struct Kept {
    tick: u64,
    /// g and what is factorised, page after page.
    cells: Vec<[Vec<f64>; 2]>,
    growth: Option<Growth>,
}

/// The flows of a world that go line by line; none where all axes are constants.
pub(super) fn flows(world: &World) -> Option<LineFlows> {
    let is_plastic = world.contains_resource::<PlasticMetric>();
    let propagators = world.resource::<Propagators<f32>>();
    if let Some(flows) = super::wave_form::flows(world, propagators.diffusion.as_ref(), is_plastic) {
        return Some(flows);
    }
    let is_steered = world.contains_resource::<Watch<f32>>() || world.contains_resource::<Engs>();
    let mut flows = LineFlows { is_steered, ..LineFlows::default() };
    for plan in &propagators.plans {
        match plan {
            Plan::Constant(_) => return None,
            Plan::Varying(plan) => {
                plan.add_lines(&mut flows);
                flows.cells.get_or_insert_with(|| plan.metric_world());
            }
            Plan::Active(plan) => {
                plan.add_lines(&mut flows);
                flows.cells.get_or_insert_with(|| plan.metric_world());
            }
            Plan::Sparse(plan) => plan.add_lines(&mut flows),
        }
    }
    (!flows.programs.is_empty()).then_some(flows)
}

/// Kinetic flow `which` in `tick` as a step over lines, where it is one.
pub(super) fn step(propagators: &mut Propagators<f32>, which: usize, tick: Tick) -> Option<LineStep> {
    match &mut propagators.plans[which] {
        Plan::Constant(_) => None,
        Plan::Varying(plan) => {
            let remainder = plan.due_remainder(tick.0);
            Some(LineStep { which, program: plan.program(tick.0, remainder.is_some()), remainder })
        }
        Plan::Active(plan) => {
            let remainder = plan.due_remainder(tick.0);
            Some(LineStep { which, program: plan.program(tick.0), remainder })
        }
        Plan::Sparse(_) => {
            Some(LineStep { which, program: usize::from(!tick.0.is_multiple_of(2)), remainder: None })
        }
    }
}

impl Device {
    /// What the boundary of the active set measures along `axis`; nothing after a failure.
    pub fn measure(&mut self, axis: usize) -> Option<Vec<f64>> {
        let mut sums = Vec::new();
        self.inner().call(|backend| backend.measure(axis, &mut sums)).map(|()| sums)
    }

    /// Gives a world that goes on from the copy of Ψ the metric and the account that belong to it.
    pub fn put_back(&self, world: &mut World) {
        let inner = self.lock();
        if inner.kept.tick != inner.copied_at {
            return;
        }
        let mut cells = world.query::<&mut MetricCells>();
        for (mut cells, [g, factorised]) in cells.iter_mut(world).zip(&inner.kept.cells) {
            cells.g.copy_from_slice(g);
            cells.factorised.copy_from_slice(factorised);
        }
        restore::<f32>(world);
        if let Some(growth) = &inner.kept.growth {
            world.insert_resource(growth.clone());
        }
    }
}

/// Before Ψ moves on: keeps what a current copy of it would need to go on from.
pub fn keep(
    mut device: ResMut<'_, Device>,
    cells: Query<'_, '_, &MetricCells>,
    growth: Option<Res<'_, Growth>>,
    tick: Res<'_, Tick>,
) {
    let inner = device.inner();
    if inner.is_current && inner.copied_at == tick.0 {
        let of_page = |cells: &MetricCells| [cells.g.to_vec(), cells.factorised.to_vec()];
        let cells = cells.iter().map(of_page).collect();
        inner.kept = Kept { tick: tick.0, cells, growth: growth.map(|growth| growth.clone()) };
    }
}

/// The stage `metric_update` on the device.
pub fn update_metric(
    mut device: ResMut<'_, Device>,
    columns: Query<'_, '_, (&Psi<f32>, Option<&Damping<f32>>)>,
    mut stage: MetricStage<'_, '_, f32>,
    flow: Option<Res<'_, WaveFlow<f32>>>,
    mut times: ResMut<'_, StageTimes>,
) {
    let began = times.now();
    let inner = device.inner();
    let turn = stage.turn();
    if turn.n_cells() == 0 {
        return;
    }
    let mut sums = Vec::new();
    if inner.call(|backend| backend.structure(turn.ranges(), &mut sums)).is_none() {
        return;
    }
    // Only a world whose balance is watched looks at these, and its columns hold Ψ at every border.
    let pages = pages_ref(columns.iter().map(|(psi, _)| psi));
    let damping: Vec<&[f32]> =
        columns.iter().filter_map(|(_, damping)| damping.map(|damping| &damping.0[..])).collect();
    stage.yield_to(&turn, &mut sums, &Sight { pages: &pages, damping: &damping });
    let Propagators { plans, diffusion: Some(diffusion), .. } = stage.propagators() else { return };
    let (mut renewal, mut base) = (Renewal::default(), 0);
    for plan in plans {
        base = match plan {
            Plan::Varying(plan) => plan.renewed(diffusion, stage.changed(), base, &mut renewal),
            Plan::Active(plan) => plan.renewed(diffusion, stage.changed(), base, &mut renewal),
            Plan::Constant(_) | Plan::Sparse(_) => base,
        };
    }
    if flow.is_some() {
        renewal = leapfrog::renewed(diffusion, stage.changed());
    }
    if !renewal.tables.is_empty() || !renewal.off_diagonal.is_empty() {
        inner.call(|backend| backend.renew(&renewal));
    }
    let ended = times.now();
    times.add(Stage::MetricUpdate, ended - began);
}

/// Brings Ψ into the columns, where it is on a device; says whether the columns hold it now.
pub fn bring(world: &mut World) -> bool {
    let tick = *world.resource::<Tick>();
    let mut pages = world.query::<&mut Psi<f32>>();
    let Some(device) = world.remove_resource::<Device>() else { return true };
    device.look(tick, |pairs| scatter(pairs, pages.iter_mut(world).map(Mut::into_inner)));
    let is_there = device.failure().is_none();
    world.insert_resource(device);
    is_there
}

/// Sends the columns, and everything that depends on the set of pages or the state that was loaded, to the device, where
/// there is one.
pub fn adopt(world: &mut World) {
    if !world.contains_resource::<Device>() {
        return;
    }
    let (tick, standing) = (*world.resource::<Tick>(), Standing::of(world));
    let fresh = device_world(world);
    let n_flows = world.resource::<Propagators<f32>>().which.len();
    let mut device = world.resource_mut::<Device>();
    if fresh.lines.is_none() && fresh.wave.is_none() {
        device.continue_from(tick, n_flows);
        return device.replace(fresh.psi, tick);
    }
    let inner = device.inner();
    let velocity = fresh.wave.as_ref().map_or(&[][..], |wave| &wave.velocity);
    inner.copy = [&fresh.psi, velocity].concat();
    inner.call(|backend| backend.adopt(fresh));
    (inner.is_current, inner.copied_at, inner.has_injected) = (true, tick.0, false);
    inner.standing = standing;
}
