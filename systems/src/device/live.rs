//! Worlds on a device whose energy is watched while T can change: a metric that varies or learns, pages that come and go; and
//! every wave form that is watched.
//!
//! Invariant: the oracle and the neurochemistry are the host's own stages, on a copy of Ψ that is fetched at the end of
//! every tick; what they change of Ψ, Γ and D goes to the device before Ψ moves on. So their figures are the host's for the
//! same Ψ, and a tick waits for one copy of it.

use super::{Device, adopt, balance};
use crate::propagators::Propagators;
use crate::world::Environment;
use bevy_ecs::prelude::*;
use nikola_components::setup::Setup;
use nikola_components::wave::{Damping, Psi};

/// What a device knows of T and Γ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Standing {
    /// Of T as a whole.
    revision: u64,
    /// What is done to Γ.
    damping: (f64, f64),
}

impl Standing {
    fn new(environment: &Environment, propagators: &Propagators<f32>) -> Self {
        let law = &environment.damping_law;
        Self { revision: propagators.revision, damping: (law.scale, law.extra) }
    }

    /// That of a world.
    pub fn of(world: &World) -> Self {
        Self::new(world.resource::<Environment>(), world.resource::<Propagators<f32>>())
    }
}

/// Whether the metric of a world of `setup` varies, or its pages come and go.
pub(super) fn is_live(setup: &Setup) -> bool {
    setup.metric.is_some() || setup.plasticity.is_some() || setup.growth.is_some()
}

/// Whether the oracle and the neurochemistry of `setup` look at a copy of Ψ.
pub fn is_watched(setup: &Setup) -> bool {
    (is_live(setup) || super::wave_form::is_wave(setup)) && (setup.oracle.is_some() || setup.engs.is_some())
}

/// After the effects of the neurochemistry: if T changed as a whole, the device takes everything over.
pub fn adopt_changes(world: &mut World) {
    let standing = Standing::of(world);
    let Some(mut device) = world.get_resource_mut::<Device>() else { return };
    let inner = device.inner();
    if inner.failure.is_none() && inner.standing.revision != standing.revision {
        adopt(world);
    }
}

/// After stages of the host: the device takes over what was done to Γ.
pub fn send_damping(
    mut device: ResMut<'_, Device>,
    columns: Query<'_, '_, Option<&Damping<f32>>, With<Psi<f32>>>,
    environment: Res<'_, Environment>,
    propagators: Res<'_, Propagators<f32>>,
) {
    let inner = device.inner();
    let standing = Standing::new(&environment, &propagators);
    if inner.failure.is_none() && inner.standing != standing {
        balance::send_damping(inner, &environment, columns.iter().flatten());
        inner.standing = standing;
    }
}

/// After the oracle: the device takes over what was done to the fields, if anything was.
pub fn send_psi(mut device: ResMut<'_, Device>, fields: super::Fields<'_, '_>) {
    let inner = device.inner();
    if inner.failure.is_some() {
        return;
    }
    let is_same = |(now, before): ([f32; 2], &[f32; 2])| now.map(f32::to_bits) == before.map(f32::to_bits);
    if !super::pairs(&fields).zip(&inner.copy).all(is_same) {
        let copy: Vec<[f32; 2]> = super::pairs(&fields).collect();
        inner.call(|backend| backend.write(&copy));
        inner.copy = copy;
    }
}
