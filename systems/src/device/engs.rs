//! Neurochemistry on a device: the stages of [`crate::engs`], told to the backend.
//!
//! Invariant: the reservoir is collected on the device and read with the energy when the scalars are updated, so that
//! other ticks wait for nothing; Γ and D go to the backend when one of their steps is crossed.

use super::balance::send_damping;
use super::{Device, Inner};
use crate::engs::{Engs, Targets, Updated, hasten, publish, soothe};
use crate::propagators::Propagators;
use bevy_ecs::prelude::*;
use nikola_components::chemistry::{Chemistry, ChemistryBoard};
use nikola_components::clock::Tick;
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::{Damping, Psi};
use nikola_kernels::backend::{KINETIC, NORM2, POTENTIAL, QUARTIC, Wanted};
use nikola_kernels::energy::KineticForm;

/// Applies the effects of the scalars and publishes them, right after ingress.
pub fn broadcast(
    mut device: ResMut<'_, Device>,
    mut columns: Query<'_, '_, Option<&mut Damping<f32>>, With<Psi<f32>>>,
    mut targets: Targets<'_, f32>,
    chemistry: Option<Res<'_, Chemistry>>,
    board: Option<Res<'_, ChemistryBoard>>,
    mut times: ResMut<'_, StageTimes>,
    compute: Res<'_, crate::world::Compute>,
    torus: Res<'_, Torus>,
) {
    let (Some(chemistry), Some(board)) = (chemistry, board) else { return };
    let began = times.now();
    let inner = device.inner();
    publish(&mut targets, &chemistry, &board);
    if soothe(&mut targets, &chemistry, columns.iter_mut()) {
        send_damping(inner, targets.environment(), columns.iter().flatten());
    }
    let volume = torus.cell_volume();
    let kinetic = |_: Option<&KineticForm>, _: &Propagators<f32>, _: f64| {
        let sums = inner.call(|backend| backend.watching()?.sums(Wanted { kinetic: true, drive: false }));
        volume * sums.map_or(f64::NAN, |sums| sums[KINETIC])
    };
    // Where a metric learns, the host's own stage does this.
    if hasten(&mut targets, &chemistry, (&compute, core::iter::empty()), kinetic) {
        let axes = targets.axes().to_vec();
        inner.call(|backend| backend.watching()?.set_axes(&axes));
    }
    let ended = times.now();
    times.add(Stage::Engs, ended - began);
}

/// Collects a slice of the reservoir every tick; every so many ticks, updates the scalars.
pub fn update(
    mut device: ResMut<'_, Device>,
    mut updated: Updated<'_>,
    mut times: ResMut<'_, StageTimes>,
    torus: Res<'_, Torus>,
    tick: Res<'_, Tick>,
) {
    let began = times.now();
    let inner = device.inner();
    updated.work_done(torus.n_nodes() as u64);
    let Some(range) = updated.begin_slice(tick.0, torus.n_nodes()) else { return };
    inner.call(|backend| backend.watching()?.collect(range.start, range.len()));
    if updated.is_due(tick.0) {
        let Some(engs) = updated.engs() else { return };
        read_reservoir(inner, engs, range.end);
        let Some(sums) =
            inner.call(|backend| backend.watching()?.sums(Wanted { kinetic: true, drive: false }))
        else {
            return;
        };
        let potential = updated.uniform_potential().map_or(sums[POTENTIAL], |v| v * sums[NORM2]);
        let kinetic = updated.scaled(sums[KINETIC]);
        updated.conclude(tick.0, kinetic, potential, sums[QUARTIC], torus.cell_volume());
    }
    let ended = times.now();
    times.add(Stage::Engs, ended - began);
}

/// Brings what was collected up to place `end` of the reservoir to the host.
fn read_reservoir(inner: &mut Inner, engs: &mut Engs, end: usize) {
    let known = engs.n_densities();
    if known >= end {
        return;
    }
    if let Some(pairs) = inner.call(|backend| backend.watching()?.read_collected(end)) {
        let density = |&[re, im]: &[f32; 2]| f64::from(re).powi(2) + f64::from(im).powi(2);
        engs.take_densities(pairs[known..end].iter().map(density));
    }
}

/// Brings the part of the reservoir that was collected so far to the host: before the scalars are saved.
pub fn settle(
    device: Option<ResMut<'_, Device>>,
    engs: Option<ResMut<'_, Engs>>,
    torus: Res<'_, Torus>,
    tick: Res<'_, Tick>,
) {
    if let (Some(mut device), Some(mut engs)) = (device, engs)
        && tick.0 > 0
    {
        let end = engs.slice(tick.0, torus.n_nodes()).end;
        read_reservoir(device.inner(), &mut engs, end);
    }
}
