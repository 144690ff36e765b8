//! First stage: everything that enters a tick from outside, as data.
//!
//! Invariant: nothing outside this stage changes what a tick will do; the commands of the batch are applied in the
//! order they came, then scene injections due at this tick. On a sparse torus the pages of a scene's injection were
//! born at the last tick's end; a field that is sent waits for its pages and is added at the end of this tick.

use crate::boundary::Nursery;
use crate::world::{EMITTER_CUTOFF, Environment, Sources, source_nodes};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::fill::ComplexFill;
use nikola_components::ports::{Command, Ingress};
use nikola_components::setup::WaveParameters;
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::Psi;
use nikola_kernels::{PageMut, Real, source};
use std::sync::Arc;

/// What this tick will do, decided here and read by the later stages.
#[derive(Debug, Default, Resource)]
pub struct TickPlan {
    /// Both halves of the nonlinear flow are skipped.
    pub is_degraded: bool,
    /// A sample was asked for.
    pub wants_sample: bool,
    /// The state was changed from outside, so conserved quantities start anew.
    pub is_rebased: bool,
    /// What the readout should have given.
    pub taught: Option<Arc<[f64]>>,
    /// New weights of the readout.
    pub readout: Option<Arc<[f64]>>,
    batch: Vec<Command>,
}

/// The stage.
pub fn take_in<T: Real + Scalar>(
    mut ingress: ResMut<'_, Ingress>,
    mut plan: ResMut<'_, TickPlan>,
    mut times: ResMut<'_, StageTimes>,
    mut wave: ResMut<'_, WaveParameters>,
    mut sources: ResMut<'_, Sources<T>>,
    mut nursery: Option<ResMut<'_, Nursery>>,
    environment: Res<'_, Environment>,
    torus: Res<'_, Torus>,
    tick: Res<'_, Tick>,
    mut psi: Query<'_, '_, &mut Psi<T>>,
) {
    let began = times.now();
    times.nanos = [0; Stage::COUNT];
    let mut batch = std::mem::take(&mut plan.batch);
    ingress.take(&mut batch);
    *plan = TickPlan::default();
    for command in &batch {
        match command {
            Command::Inject { amplitude, profile } => {
                match &mut nursery {
                    Some(nursery) => nursery.arrivals.push((*amplitude, profile.clone())),
                    None => inject(&mut psi, profile.as_ref(), *amplitude, &torus, &environment),
                }
                plan.is_rebased = true;
            }
            Command::SetBeta(beta) => {
                wave.beta = *beta;
                plan.is_rebased = true;
            }
            Command::Degrade => plan.is_degraded = true,
            Command::Sample => plan.wants_sample = true,
            Command::Drive { emitter, value } => sources.emitters[*emitter].drive = *value,
            Command::Teach(targets) => plan.taught = Some(targets.clone()),
            Command::SetReadout(weights) => plan.readout = Some(weights.clone()),
        }
    }
    plan.batch = batch;
    while sources.injections.first().is_some_and(|injection| injection.tick <= tick.0) {
        let injection = sources.injections.remove(0);
        inject(&mut psi, injection.profile.as_ref(), injection.amplitude, &torus, &environment);
        plan.is_rebased = true;
    }
    let ended = times.now();
    times.add(Stage::Ingress, ended - began);
}

fn inject<T: Real + Scalar>(
    psi: &mut Query<'_, '_, &mut Psi<T>>,
    profile: &dyn ComplexFill,
    amplitude: (f64, f64),
    torus: &Torus,
    environment: &Environment,
) {
    let touched = source_nodes::<T>(profile, amplitude, torus, &environment.pages, EMITTER_CUTOFF);
    let mut pages: Vec<_> = psi.iter_mut().map(Mut::into_inner).collect();
    for part in touched {
        let psi = &mut *pages[part.position];
        let page = PageMut { re: &mut psi.re, im: &mut psi.im };
        source::kick(page, &part.nodes, &part.re, &part.im, 1.0, 0.0);
    }
}
