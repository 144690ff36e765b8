//! The wave form on a device: the same step as [`crate::wave_form::advance`], told to the backend.
//!
//! Invariant: a backend of the wave form holds Ψ and, after it, Ψ̇ (`nikola_kernels::backend::DeviceWorld::wave`). The
//! energy of a closed scene is measured by the host's stage, at its ticks, on fetched columns.

use super::{Device, Fields, kick, scatter_fields};
use crate::ingress::TickPlan;
use crate::wave_form::EnergyKeeper;
use crate::world::{Environment, Sources};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::setup::WaveParameters;
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::wave::Velocity;
use nikola_kernels::backend::{LocalStep, WaveWorld};

/// Ψ̇ and α, where the equation is of second order in time.
pub(super) fn gathered(world: &mut World) -> Option<WaveWorld> {
    world.get_resource::<EnergyKeeper>()?;
    let mut pages = world.query::<&Velocity<f32>>();
    let pairs = pages.iter(world).flat_map(|page| page.re.iter().zip(page.im.iter()));
    let velocity = pairs.map(|(&re, &im)| [re, im]).collect();
    Some(WaveWorld { velocity, alpha: world.resource::<Environment>().uniform_damping.unwrap_or(0.0) })
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

/// The step.
pub fn advance(
    mut device: ResMut<'_, Device>,
    mut times: ResMut<'_, StageTimes>,
    mut tick: ResMut<'_, Tick>,
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
    kick(inner, &sources, &wave, *tick, 0.0, 0.5);
    inner.call(|backend| backend.local(&LocalStep { gain: keeper.gain(), ..half }));
    inner.call(|backend| backend.kinetic(0));
    inner.call(|backend| backend.local(&half));
    kick(inner, &sources, &wave, end, 0.0, 0.5);
    if inner.failure.is_none() {
        *tick = end;
    }
    let ended = times.now();
    times.add(Stage::WaveForm, ended - began);
}
