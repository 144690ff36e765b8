//! The wave form on a device: the same step as [`crate::wave_form::advance`], told to the backend.
//!
//! Invariant: a backend of the wave form holds Ψ and, after it, Ψ̇ (`nikola_kernels::backend::DeviceWorld::wave`). The
//! energy of a closed scene is measured by the host's stage, at its ticks, on fetched columns. Where the oracle or the
//! neurochemistry watches, every kick of a source and every damping of a leapfrog is the host's own, on the columns, because it
//! is booked by its exact change of H; the device does the rest of the tick between, so that such a tick waits for one copy of
//! both fields there and one back.

use super::{Device, Fields, Inner, kick, pairs, scatter_fields};
use crate::ingress::TickPlan;
use crate::metric_update::PlasticMetric;
use crate::propagators::Propagators;
use crate::wave_form::exchange::Books;
use crate::wave_form::{
    self, Around, EnergyKeeper, Fields as StepFields, LeapFlow, Middle, WaveColumns, WaveFlow, WavePlan,
};
use crate::world::{Environment, Sources};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::setup::{Setup, WaveParameters};
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::wave::Velocity;
use nikola_kernels::backend::{LeapStep, LineFlows, LocalStep, WaveWorld};
use nikola_kernels::kinetic::varying::Diffusion;
use nikola_kernels::wave_form::leapfrog::{Leap, lines};
use nikola_kernels::wave_form::{Kick, WaveForm};

/// Ψ̇ and α, where the equation is of second order in time.
pub(super) fn gathered(world: &mut World) -> Option<WaveWorld> {
    world.get_resource::<EnergyKeeper>()?;
    let mut pages = world.query::<&Velocity<f32>>();
    let pairs = pages.iter(world).flat_map(|page| page.re.iter().zip(page.im.iter()));
    let velocity = pairs.map(|(&re, &im)| [re, im]).collect();
    let alpha = world.resource::<Environment>().uniform_damping.unwrap_or(0.0);
    Some(WaveWorld { velocity, alpha, is_leaping: is_leaping(world) })
}

/// Whether a world's metric varies in the wave form.
fn is_leaping(world: &World) -> bool {
    let flow = world.get_resource::<WaveFlow<f32>>();
    flow.is_some_and(|flow| matches!(flow.plan, WavePlan::Leap(_)))
}

/// The metric of a wave form that leaps.
pub(super) fn flows(world: &World, diffusion: Option<&Diffusion>, is_plastic: bool) -> Option<LineFlows> {
    let diffusion = diffusion.filter(|_| is_leaping(world))?;
    Some(LineFlows { cells: Some(lines::metric_world(diffusion, is_plastic)), ..LineFlows::default() })
}

/// Whether the equation of `setup` is the wave form.
pub(super) fn is_wave(setup: &Setup) -> bool {
    matches!(setup.equation, nikola_components::setup::Equation::Wave { .. })
}

/// Copies the pairs of Ψ̇ into the columns.
pub(super) fn scatter<'a>(pairs: &[[f32; 2]], pages: impl Iterator<Item = &'a mut Velocity<f32>>) {
    let mut rest = pairs;
    for velocity in pages {
        let (mine, others) = rest.split_at(velocity.re.len());
        for ((re, im), pair) in velocity.re.iter_mut().zip(velocity.im.iter_mut()).zip(mine) {
            (*re, *im) = (pair[0], pair[1]);
        }
        rest = others;
    }
}

/// Before the energy is measured: fetches both fields into the columns.
pub fn fetch_for_energy(
    device: ResMut<'_, Device>,
    mut fields: Fields<'_, '_>,
    keeper: Res<'_, EnergyKeeper>,
    plan: Res<'_, TickPlan>,
    tick: Res<'_, Tick>,
) {
    if keeper.measures(*tick, &plan) {
        device.look(*tick, |pairs| scatter_fields(pairs, &mut fields));
    }
}

/// The middle of a tick on the device.
struct OnDevice<'a>(&'a mut Inner);

impl OnDevice<'_> {
    /// Sends both fields, has the device do `work`, and takes them back.
    fn with(&mut self, fields: &mut StepFields<'_, f32>, work: impl FnOnce(&mut Inner)) {
        let mut pairs = Vec::with_capacity(2 * self.0.copy.len());
        for page in fields.psi.iter().chain(&fields.velocity) {
            pairs.extend(page.re.iter().zip(page.im.iter()).map(|(&re, &im)| [re, im]));
        }
        self.0.call(|backend| backend.write(&pairs));
        work(self.0);
        if self.0.call(|backend| backend.read(&mut pairs)).is_none() {
            return;
        }
        let mut rest = pairs.iter();
        for page in fields.psi.iter_mut().chain(&mut fields.velocity) {
            for ((re, im), pair) in page.re.iter_mut().zip(page.im.iter_mut()).zip(rest.by_ref()) {
                (*re, *im) = (pair[0], pair[1]);
            }
        }
    }
}

impl Middle<f32> for OnDevice<'_> {
    const IS_HOST: bool = false;

    fn turn(&mut self, _: &WaveForm<f32>, fields: &mut StepFields<'_, f32>, half: &Kick<'_, f32>, gain: f64) {
        let half = LocalStep { duration: half.duration, beta: half.beta, gain: 0.0, mu: 0.0 };
        self.with(fields, |inner| {
            inner.call(|backend| backend.local(&LocalStep { gain, ..half }));
            inner.call(|backend| backend.kinetic(0));
            inner.call(|backend| backend.local(&half));
        });
    }

    fn leap(&mut self, leap: &mut LeapFlow<f32>, fields: &mut StepFields<'_, f32>, open: &Leap) {
        let step = leap_step(leap, open);
        self.with(fields, |inner| {
            inner.call(|backend| backend.leap(&step));
        });
        leap.forget();
    }
}

fn leap_step(leap: &LeapFlow<f32>, open: &Leap) -> LeapStep {
    let dt = open.drift.unwrap_or_default();
    LeapStep { dt, beta: open.beta, gain: open.gain, n_steps: leap.n_steps() }
}

/// The step of a world that is watched.
pub fn advance_watched(
    columns: WaveColumns<'_, '_, f32>,
    mut device: ResMut<'_, Device>,
    mut times: ResMut<'_, StageTimes>,
    mut tick: ResMut<'_, Tick>,
    mut flow: ResMut<'_, WaveFlow<f32>>,
    books: Books<'_, f32>,
    around: Around<'_, f32>,
) {
    let began = times.now();
    let inner = device.inner();
    wave_form::step_with(&mut OnDevice(inner), columns, *tick, &mut flow, books, &around);
    if inner.failure.is_none() {
        tick.0 += 1;
    }
    let ended = times.now();
    times.add(Stage::WaveForm, ended - began);
}

/// After a step of a world that is watched: the columns are the copy of both fields, whose last kick the device lacks.
pub fn keep_copy(mut device: ResMut<'_, Device>, fields: Fields<'_, '_>, tick: Res<'_, Tick>) {
    let inner = device.inner();
    if inner.failure.is_none() {
        inner.copy.clear();
        inner.copy.extend(pairs(&fields));
        (inner.is_current, inner.copied_at, inner.has_injected) = (true, tick.0, false);
    }
}

/// The step.
pub fn advance(
    mut device: ResMut<'_, Device>,
    mut times: ResMut<'_, StageTimes>,
    mut tick: ResMut<'_, Tick>,
    mut flow: ResMut<'_, WaveFlow<f32>>,
    metric: Option<Res<'_, PlasticMetric>>,
    propagators: Res<'_, Propagators<f32>>,
    keeper: Res<'_, EnergyKeeper>,
    wave: Res<'_, WaveParameters>,
    sources: Res<'_, Sources<f32>>,
    plan: Res<'_, TickPlan>,
) {
    let began = times.now();
    let inner = device.inner();
    inner.is_current = false;
    let end = Tick(tick.0 + 1);
    let beta = if plan.is_degraded { 0.0 } else { wave.beta };
    let half = LocalStep { duration: 0.5 * wave.dt, beta, gain: 0.0, mu: 0.0 };
    match &mut flow.plan {
        WavePlan::Exact(_) => {
            kick(inner, &sources, &wave, *tick, 0.0, 0.5);
            inner.call(|backend| backend.local(&LocalStep { gain: keeper.gain(), ..half }));
            inner.call(|backend| backend.kinetic(0));
            inner.call(|backend| backend.local(&half));
            kick(inner, &sources, &wave, end, 0.0, 0.5);
        }
        WavePlan::Leap(leap) => {
            if let (Some(metric), Some(diffusion)) = (&metric, &propagators.diffusion)
                && !metric.changed().is_empty()
            {
                leap.renew(diffusion, metric.changed(), wave.dt);
            }
            let n_steps = leap.n_steps();
            let (dt, gain) = (wave.dt / n_steps as f64, keeper.gain() / n_steps as f64);
            inner.call(|backend| backend.local(&half));
            kick(inner, &sources, &wave, *tick, 0.0, 0.5);
            inner.call(|backend| backend.leap(&LeapStep { dt, beta, gain, n_steps }));
            kick(inner, &sources, &wave, end, 0.0, 0.5);
            inner.call(|backend| backend.local(&half));
        }
    }
    if inner.failure.is_none() {
        *tick = end;
    }
    let ended = times.now();
    times.add(Stage::WaveForm, ended - began);
}
