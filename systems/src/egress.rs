//! Last stage: what leaves a tick.
//! Invariant: reads the world, changes nothing but its own queue; a full queue drops its oldest entry and counts it.

use crate::ingress::TickPlan;
use crate::observables::{Known, ObservedColumns, measure};
use crate::oracle::NormLedger;
use crate::propagators::Propagators;
use crate::world::{Compute, Environment};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::ports::Egress;
use nikola_components::setup::WaveParameters;
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_kernels::Real;

/// When samples are taken.
#[derive(Debug, Clone, Copy, Resource)]
pub struct Sampling {
    every: u64,
}

impl Sampling {
    /// Every `every` ticks; 0 for only on demand.
    pub fn new(every: u64) -> Self {
        Self { every }
    }

    /// Whether a sample is due after `tick`.
    pub fn is_due(self, tick: Tick) -> bool {
        self.every > 0 && tick.0.is_multiple_of(self.every)
    }
}

/// The stage.
pub fn report<T: Real + Scalar>(
    columns: ObservedColumns<'_, '_, T>,
    mut egress: ResMut<'_, Egress>,
    mut times: ResMut<'_, StageTimes>,
    mut known: ResMut<'_, Known>,
    sampling: Res<'_, Sampling>,
    plan: Res<'_, TickPlan>,
    torus: Res<'_, Torus>,
    wave: Res<'_, WaveParameters>,
    environment: Res<'_, Environment>,
    propagators: Res<'_, Propagators<T>>,
    compute: Res<'_, Compute>,
    ledger: Res<'_, NormLedger>,
    tick: Res<'_, Tick>,
) {
    let began = times.now();
    if plan.wants_sample || sampling.is_due(*tick) {
        let (tick, known) = (*tick, &mut known);
        let sample =
            measure(&columns, &torus, &wave, &environment, &propagators, &compute, &ledger, tick, known);
        egress.push(sample);
    }
    *known = Known::default();
    let ended = times.now();
    times.add(Stage::Egress, ended - began);
}
