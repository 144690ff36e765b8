//! The closing half of the nonlinear flow β|Ψ|²Ψ.
//!
//! Invariant: mirror image of the half that `half_potential::open` armed. It is armed here and applied in the same
//! memory pass as the closing V and Γ (|Ψ| changes under Γ, so the three are integrated together, exactly). On a
//! degraded tick both halves are skipped.

use crate::half_potential::Pending;
use crate::ingress::TickPlan;
use bevy_ecs::prelude::*;
use nikola_components::setup::WaveParameters;
use nikola_components::telemetry::{Stage, StageTimes};

/// The stage.
pub fn close(
    mut pending: ResMut<'_, Pending>,
    mut times: ResMut<'_, StageTimes>,
    plan: Res<'_, TickPlan>,
    wave: Res<'_, WaveParameters>,
) {
    let began = times.now();
    pending.closing.beta = if plan.is_degraded { 0.0 } else { wave.beta };
    let ended = times.now();
    times.add(Stage::Nonlinear, ended - began);
}
