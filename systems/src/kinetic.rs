//! The kinetic propagator exp(−i dt T), T = −½ Σ_ij ∂_i D^{ij} ∂_j: exact on every axis where D is a constant
//! diagonal, a palindrome of exact line propagators where it varies in space.
//!
//! Invariant: runs the inside of the tick's composition; the last memory sweep is left to `half_potential::close`,
//! which fuses it with the closing local flow. For Strang that means one sweep here and one there.

use crate::half_potential::{LocalColumns, LocalPlan, LocalView, Pending, drive_potential, kick};
use crate::ingress::TickPlan;
use crate::oracle::NormLedger;
use crate::propagators::Propagators;
use crate::world::{Compute, Environment, Sources};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::setup::WaveParameters;
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::wave::Psi;
use nikola_kernels::kinetic::Probe;
use nikola_kernels::{PageMut, Real, half_potential, reduce};

/// The stage.
pub fn propagate<T: Real + Scalar>(
    mut columns: LocalColumns<'_, '_, T>,
    mut environment: ResMut<'_, Environment>,
    mut pending: ResMut<'_, Pending>,
    mut times: ResMut<'_, StageTimes>,
    mut propagators: ResMut<'_, Propagators<T>>,
    wave: Res<'_, WaveParameters>,
    sources: Res<'_, Sources<T>>,
    ledger: Res<'_, NormLedger>,
    plan: Res<'_, TickPlan>,
    tick: Res<'_, Tick>,
    compute: Res<'_, Compute>,
) {
    let began = times.now();
    let mut opening = pending.opening.take();
    let Propagators { composition, plans, which, probe, .. } = &mut *propagators;
    let local = |weight: f64| LocalPlan {
        duration: wave.dt * weight,
        beta: if plan.is_degraded { 0.0 } else { wave.beta },
        gain: 0.0,
        mu: ledger.mu(),
    };
    let n_kinetic = composition.kinetic.len();
    for i in 0..n_kinetic {
        let mut view = LocalView::new(&mut columns);
        let kinetic = &mut plans[which[i]];
        match opening.take() {
            Some(armed) if n_kinetic == 1 && ledger.measures_leak(*tick, &environment) => {
                let (pages, flow) = view.flow(&armed, &environment, wave.time);
                half_potential::apply(compute.level, compute.threads(), pages, &flow);
                let views: Vec<_> = pages.iter().map(PageMut::as_ref).collect();
                pending.norm2_before = Some(reduce::norm2(compute.level, compute.threads(), &views));
                kinetic.sweep_inner(compute.threads(), pages, None, tick.0, probe);
            }
            Some(armed) => {
                let (pages, flow) = view.flow(&armed, &environment, wave.time);
                kinetic.sweep_inner(compute.threads(), pages, Some(&flow), tick.0, probe);
            }
            None => kinetic.sweep_inner(compute.threads(), &mut view.pages, None, tick.0, probe),
        }
        if i + 1 == n_kinetic {
            break;
        }
        let step = composition.local[i + 1];
        let has_kick = !sources.emitters.is_empty();
        drop(view);
        drive_potential(&mut columns, &mut environment, tick.time(wave.dt) + step.at * wave.dt);
        let mut view = LocalView::new(&mut columns);
        let (pages, flow) =
            view.flow(&local(if has_kick { step.left } else { step.weight() }), &environment, wave.time);
        kinetic.sweep_outer(compute.threads(), pages, Some(&flow), probe);
        if has_kick {
            let psi = columns.iter_mut().map(|(psi, ..)| -> &mut Psi<T> { psi.into_inner() });
            kick(psi, &sources, &wave, *tick, step.at, step.weight());
            opening = Some(local(step.right));
        }
    }
    let ended = times.now();
    attribute(&mut times, probe, ended - began);
}

/// Splits the wall time of a fused sweep between the potential and the kinetic stage, in the proportion of the time
/// that the workers spent in each.
pub fn attribute(times: &mut StageTimes, probe: &mut Probe, elapsed: u64) {
    let local = std::mem::take(probe.local.get_mut());
    let kinetic = std::mem::take(probe.kinetic.get_mut());
    let total = local + kinetic;
    let share = if total == 0 { 0.0 } else { local as f64 / total as f64 };
    let local_part = (elapsed as f64 * share) as u64;
    times.add(Stage::HalfPotential, local_part);
    times.add(Stage::Kinetic, elapsed - local_part);
}
