//! First stage: everything that enters a tick from outside, as data.
//!
//! Invariant: nothing outside this stage changes what a tick will do; the commands of the batch are applied in the
//! order they came, then scene injections due at this tick. On a sparse torus the pages of a scene's injection were
//! born at the last tick's end; a field that is sent waits for its pages and is added at the end of this tick.

use crate::boundary::{Nursery, support};
use crate::engs::Inbox;
use crate::observables::pages_ref;
use crate::world::{Compute, EMITTER_CUTOFF, Environment, SourceNodes, Sources, source_nodes};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::fill::ComplexFill;
use nikola_components::growth::Growth;
use nikola_components::ledger::{EnergyFlows, Flow};
use nikola_components::oracle::Alarm;
use nikola_components::ports::{Checkpoint, Command, Ingress};
use nikola_components::setup::WaveParameters;
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::{Psi, Velocity};
use nikola_kernels::{PageMut, Real, Values, reduce, source};
use std::collections::VecDeque;
use std::sync::Arc;

/// Inputs remembered for the case that one of them leads to a reset.
const RECENT_INPUTS_MAX: usize = 256;

/// Digests that are refused, at most; the oldest is forgotten.
const BLACKLIST_MAX: usize = 1024;

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
    /// A freeze was asked for, by the strongest alarm.
    pub alarm: Option<Alarm>,
    /// The end of a freeze was asked for.
    pub is_resume_asked: bool,
    /// The oracle's request for a checkpoint was answered: its tick, or none.
    pub restored: Option<Option<u64>>,
    batch: Vec<Command>,
}

/// The injections that entered a watched world, by digest.
#[derive(Debug, Default, Resource)]
pub struct InputLog {
    pub(crate) recent: VecDeque<u64>,
    pub(crate) blacklist: VecDeque<u64>,
    refused: Vec<u64>,
}

impl InputLog {
    /// Whether an injection may enter; remembers it if so.
    fn admit(&mut self, digest: u64) -> bool {
        if self.blacklist.contains(&digest) {
            self.refused.push(digest);
            return false;
        }
        if self.recent.len() == RECENT_INPUTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(digest);
        true
    }

    /// The state is healthy: what entered until now did no harm.
    pub fn absolve(&mut self) {
        self.recent.clear();
    }

    /// Blacklists what entered since the last [`Self::absolve`], and returns it.
    pub fn condemn(&mut self) -> Vec<u64> {
        let condemned: Vec<u64> = self.recent.drain(..).collect();
        self.blacklist.extend(&condemned);
        let excess = self.blacklist.len().saturating_sub(BLACKLIST_MAX);
        self.blacklist.drain(..excess);
        condemned
    }

    /// Digests refused since the last call.
    pub fn take_refused(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.refused)
    }
}

/// What only some worlds have, and ingress feeds.
#[derive(SystemParam)]
pub struct Watched<'w> {
    log: Option<ResMut<'w, InputLog>>,
    flows: Option<ResMut<'w, EnergyFlows>>,
    inbox: Option<ResMut<'w, Inbox>>,
    growth: Option<ResMut<'w, Growth>>,
}

impl Watched<'_> {
    fn attribute_rest(&mut self, flow: Flow) {
        if let Some(flows) = &mut self.flows {
            flows.attribute_rest(flow);
        }
    }

    /// Whether a field that was sent to a sparse torus may enter: its digest is taken over the pages it needs, whatever
    /// pages there are.
    fn admits<T: Real>(&mut self, profile: &dyn ComplexFill, amplitude: (f64, f64), torus: &Torus) -> bool {
        let (Some(log), Some(growth)) = (&mut self.log, &self.growth) else { return true };
        let rule = &growth.rule;
        let pages = support(profile, torus, &rule.seeds, rule.threshold, rule.pages_max).unwrap_or_default();
        log.admit(digest(&source_nodes::<T>(profile, amplitude, torus, &pages, EMITTER_CUTOFF)))
    }
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
    mut watched: Watched<'_>,
    compute: Res<'_, Compute>,
    torus: Res<'_, Torus>,
    tick: Res<'_, Tick>,
    mut psi: Query<'_, '_, &mut Psi<T>>,
    mut velocity: Query<'_, '_, &mut Velocity<T>>,
) {
    let began = times.now();
    times.nanos = [0; Stage::COUNT];
    let mut batch = std::mem::take(&mut plan.batch);
    ingress.take(&mut batch);
    *plan = TickPlan::default();
    for command in &batch {
        match command {
            Command::Inject { .. } if sources.is_muted => {}
            Command::Inject { amplitude, profile } => match &mut nursery {
                Some(nursery) => {
                    let is_admitted = watched.admits::<T>(profile.as_ref(), *amplitude, &torus);
                    if is_admitted {
                        nursery.arrivals.push((*amplitude, profile.clone()));
                        plan.is_rebased = true;
                    }
                }
                None => {
                    plan.is_rebased |=
                        inject(&mut psi, profile.as_ref(), *amplitude, &torus, &environment, &mut watched);
                }
            },
            Command::SetBeta(beta) => {
                wave.beta = *beta;
                plan.is_rebased = true;
                watched.attribute_rest(Flow::Parameters);
            }
            Command::Degrade => plan.is_degraded = true,
            Command::Sample => plan.wants_sample = true,
            Command::Drive { emitter, value } => {
                sources.emitters[*emitter].drive = *value;
                watched.attribute_rest(Flow::Source);
            }
            Command::Teach(targets) => plan.taught = Some(targets.clone()),
            Command::SetReadout(weights) => plan.readout = Some(weights.clone()),
            Command::Scram(alarm) => plan.alarm = plan.alarm.max(Some(*alarm)),
            Command::Resume => plan.is_resume_asked = true,
            Command::Restore(checkpoint) => {
                plan.restored = Some(checkpoint.as_ref().map(|checkpoint| checkpoint.tick));
                if let Some(checkpoint) = checkpoint {
                    match &mut nursery {
                        // Its pages may have gone: it is put back when they exist again, at the end of this tick.
                        Some(nursery) => {
                            clear(&mut psi);
                            nursery.restored = Some(checkpoint.clone());
                        }
                        None => restore(&mut psi, &mut velocity, checkpoint),
                    }
                    plan.is_rebased = true;
                    watched.attribute_rest(Flow::Scram);
                }
            }
            Command::Stimulate(stimulus) => {
                if let Some(inbox) = &mut watched.inbox {
                    inbox.stimuli.push(*stimulus);
                }
            }
            Command::ThrottleGrowth(is_throttled) => {
                if let Some(growth) = &mut watched.growth {
                    growth.is_throttled = *is_throttled;
                }
            }
        }
    }
    plan.batch = batch;
    while sources.injections.first().is_some_and(|injection| injection.tick <= tick.0) {
        let injection = sources.injections.remove(0);
        if sources.is_muted {
            continue;
        }
        plan.is_rebased |= inject(
            &mut psi,
            injection.profile.as_ref(),
            injection.amplitude,
            &torus,
            &environment,
            &mut watched,
        );
    }
    if let Some(flows) = watched.flows.as_deref_mut().filter(|_| plan.is_degraded) {
        // This tick has no β: its energy leaves H here and comes back in the oracle, as it is then.
        let pages = pages_ref(psi.iter());
        let zero = Values::Uniform(T::from_f64(0.0));
        let quartic = reduce::totals(compute.level, compute.threads(), &pages, zero, zero).quartic;
        let interaction = environment.interaction() * wave.beta * torus.cell_volume() * quartic;
        flows.add(Flow::Parameters, -interaction);
    }
    let ended = times.now();
    times.add(Stage::Ingress, ended - began);
}

/// Adds the profile to Ψ, unless it is blacklisted; says whether it did.
fn inject<T: Real + Scalar>(
    psi: &mut Query<'_, '_, &mut Psi<T>>,
    profile: &dyn ComplexFill,
    amplitude: (f64, f64),
    torus: &Torus,
    environment: &Environment,
    watched: &mut Watched<'_>,
) -> bool {
    let touched = source_nodes::<T>(profile, amplitude, torus, &environment.pages, EMITTER_CUTOFF);
    if watched.log.as_deref_mut().is_some_and(|log| !log.admit(digest(&touched))) {
        return false;
    }
    let mut pages: Vec<_> = psi.iter_mut().map(Mut::into_inner).collect();
    for part in touched {
        let psi = &mut *pages[part.position];
        let page = PageMut { re: &mut psi.re, im: &mut psi.im };
        source::kick(page, &part.nodes, &part.re, &part.im, 1.0, 0.0);
    }
    watched.attribute_rest(Flow::Source);
    true
}

/// FNV-1a over the pages, nodes and weights of an injection.
fn digest<T: Real>(touched: &[SourceNodes<T>]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = OFFSET;
    let mut absorb = |word: u64| {
        for byte in word.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    };
    for part in touched {
        absorb(part.page as u64);
        for ((node, re), im) in part.nodes.iter().zip(&part.re).zip(&part.im) {
            absorb(u64::from(*node));
            absorb(re.to_f64().to_bits());
            absorb(im.to_f64().to_bits());
        }
    }
    hash
}

/// Ψ becomes zero, what is no number included.
fn clear<T: Real + Scalar>(psi: &mut Query<'_, '_, &mut Psi<T>>) {
    for psi in psi.iter_mut() {
        let psi = psi.into_inner();
        psi.re.fill(T::from_f64(0.0));
        psi.im.fill(T::from_f64(0.0));
    }
}

/// Ψ, and Ψ̇ where there is one, become those of the checkpoint. Panics if it is of another torus (a bug in the caller).
fn restore<T: Real + Scalar>(
    psi: &mut Query<'_, '_, &mut Psi<T>>,
    velocity: &mut Query<'_, '_, &mut Velocity<T>>,
    checkpoint: &Checkpoint,
) {
    if let Some([re, im]) = &checkpoint.velocity {
        let (mut re, mut im) = (re.iter(), im.iter());
        for velocity in velocity.iter_mut() {
            let velocity = velocity.into_inner();
            velocity.re.iter_mut().zip(re.by_ref()).for_each(|(slot, value)| *slot = T::from_f64(*value));
            velocity.im.iter_mut().zip(im.by_ref()).for_each(|(slot, value)| *slot = T::from_f64(*value));
        }
    }
    let (mut re, mut im) = (checkpoint.re.iter(), checkpoint.im.iter());
    for psi in psi.iter_mut() {
        let psi = psi.into_inner();
        psi.re.iter_mut().zip(re.by_ref()).for_each(|(slot, value)| *slot = T::from_f64(*value));
        psi.im.iter_mut().zip(im.by_ref()).for_each(|(slot, value)| *slot = T::from_f64(*value));
    }
    assert!(re.next().is_none() && im.next().is_none(), "a checkpoint of this torus");
}
