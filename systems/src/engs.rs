//! Extended neurochemical gating: D, S, N, boredom and ATP, their causes and their effects.
//!
//! Invariant: every `every` ticks the scalars are updated from what happened (energies, stimuli, counted work), never
//! from a clock; at the beginning of the next tick their effects are applied, once, and the scalars published as one
//! snapshot. Γ and D follow in steps of `DAMPING_STEPS` and `DIFFUSION_STEPS`, so that columns and kinetic plans
//! are renewed only when a step is crossed. Rules: `nikola_kernels::engs`. Without the scene's `engs` nothing of
//! this exists.

mod effects;
mod reservoir;
mod survival;

pub(crate) use effects::{hasten, publish, soothe};
pub(crate) use survival::restore;

use reservoir::{RESERVOIR_NODES, Reservoir};

use crate::damping::set_damping;
use crate::metric_update::{PlasticMetric, fill_diffusion};
use crate::observables::{Known, pages_ref};
use crate::oracle::watch::Watch;
use crate::oracle::weigh::SourceWork;
use crate::propagators::Propagators;
use crate::world::{Compute, Environment};
use bevy_ecs::prelude::*;
use core::ops::Range;
use nikola_components::chemistry::{
    Chemistry, ChemistryBoard, Effects, EngsSettings, Goal, Horizon, NapCause, Stimulus, Work,
};
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::ledger::{EnergyFlows, Flow};
use nikola_components::metric::MetricCells;
use nikola_components::ports::{Egress, Event, Ingress};
use nikola_components::setup::{Setup, WaveParameters};
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::{Damping, Potential, Psi, Velocity};
use nikola_kernels::energy::KineticForm;
use nikola_kernels::engs::{self as rules, DecayRates, Modulators, Stimuli};
use nikola_kernels::kinetic::AxisTerm;
use nikola_kernels::simd::Level;
use nikola_kernels::{PageRef, Real, Threads, Values, reduce};

/// Γ/Γ_scene moves in steps of 1/256.
const DAMPING_STEPS: f64 = 256.0;

/// N, as it enters the wave speed, moves in steps of 1/64.
const DIFFUSION_STEPS: f64 = 64.0;

/// ATP below which a warning leaves, and below which a nap begins; and at which it ends.
const ATP_LOW: f64 = 0.15;
const ATP_CRITICAL: f64 = 0.05;
const ATP_AWAKE: f64 = 0.9;

/// A nap lasts at least this long.
const NAP_SECS_MIN: f64 = 1.0;

/// Dopamine below which fatigue sets in, and how long it may stay there.
const FATIGUE_DOPAMINE: f64 = 0.2;
const FATIGUE_SECS: f64 = 5.0;

/// Node-steps that one update of a metric cell is counted as: 45 components, about five flops each, against about
/// 165 flops of a node-step.
const PLASTICITY_NODE_STEPS: f64 = 2.0;

/// |δ| that counts as a surprise, which reaches an explorative goal; its reward.
const SURPRISE: f64 = 0.05;
const CURIOSITY_REWARD: f64 = 0.1;

/// Ids of explorative goals begin here.
const CURIOSITY_GOALS: u64 = 1 << 63;

/// Most open goals of one horizon.
const GOALS_MAX: usize = 64;

/// Stimuli that came in since the last update.
#[derive(Debug, Default, Resource)]
pub struct Inbox {
    /// In the order they came.
    pub stimuli: Vec<Stimulus>,
}

/// What the stage remembers.
#[derive(Resource)]
pub struct Engs {
    settings: EngsSettings,
    /// T as it was when the world was built; none where it can change otherwise.
    form: Option<KineticForm>,
    /// Kinetic terms and D of the scene.
    terms: Vec<AxisTerm>,
    diffusion: [f64; 9],
    reservoir: Reservoir,
    densities: Vec<f64>,
    expected_energy: Option<f64>,
    /// δ of the last update.
    pub reward_error: f64,
    /// Entropy of the last update, nats.
    pub entropy: f64,
    /// Open goals.
    pub goals: Vec<Goal>,
    /// Reward of goals that were reached during an update, for the next one.
    pending_reward: f64,
    n_curiosities: u64,
    is_curious: bool,
    is_atp_low: bool,
    /// Model seconds spent with low dopamine.
    fatigue_secs: f64,
    /// Model seconds napped; none while awake.
    napped_secs: Option<f64>,
    damping_step: i64,
    diffusion_step: i64,
}

/// The resources, where the scene has neurochemistry.
pub(crate) fn equip<T: Real + Scalar>(world: &mut World, setup: &Setup) {
    let Some(settings) = setup.engs else { return };
    let propagators = world.resource::<Propagators<T>>();
    let terms = propagators.terms.clone();
    let form = (!propagators.is_live()).then(|| KineticForm::new(&propagators.shape, &terms));
    world.insert_resource(Engs {
        settings,
        form,
        terms,
        diffusion: setup.wave.diffusion,
        densities: Vec::with_capacity(RESERVOIR_NODES),
        reservoir: Reservoir::new(setup),
        expected_energy: None,
        reward_error: 0.0,
        entropy: 0.0,
        goals: Vec::new(),
        pending_reward: 0.0,
        n_curiosities: 0,
        is_curious: false,
        is_atp_low: false,
        fatigue_secs: 0.0,
        napped_secs: None,
        damping_step: DAMPING_STEPS as i64,
        diffusion_step: 0,
    });
    world.insert_resource(settings.initial);
    world.insert_resource(Effects::default());
    world.insert_resource(ChemistryBoard::default());
    world.insert_resource(Inbox::default());
    world.insert_resource(Work::default());
}

/// What the broadcast changes.
#[derive(bevy_ecs::system::SystemParam)]
pub struct Targets<'w, T: Real + Scalar> {
    engs: Option<ResMut<'w, Engs>>,
    effects: Option<ResMut<'w, Effects>>,
    flows: Option<ResMut<'w, EnergyFlows>>,
    environment: ResMut<'w, Environment>,
    propagators: ResMut<'w, Propagators<T>>,
    metric: Option<ResMut<'w, PlasticMetric>>,
    sources: SourceWork<'w, T>,
    wave: ResMut<'w, WaveParameters>,
}

impl<T: Real + Scalar> Targets<'_, T> {
    /// Where the stages take V and Γ from.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The kinetic terms now.
    pub(crate) fn axes(&self) -> &[AxisTerm] {
        &self.propagators.terms
    }

    /// D has changed as a whole: what the kick that opens this tick gains by it is work of the sources.
    fn weigh_sources(&mut self, pages: &[PageRef<'_, T>]) {
        if let Some(flows) = &mut self.flows {
            flows.add(Flow::Source, self.sources.refresh(&self.propagators, &self.wave, pages));
        }
    }
}

/// Applies the effects of the scalars and publishes them, right after ingress.
pub fn broadcast<T: Real + Scalar>(
    mut columns: Query<'_, '_, (&Psi<T>, Option<&mut Damping<T>>)>,
    cells: Query<'_, '_, &MetricCells>,
    mut targets: Targets<'_, T>,
    chemistry: Option<Res<'_, Chemistry>>,
    board: Option<Res<'_, ChemistryBoard>>,
    mut times: ResMut<'_, StageTimes>,
    compute: Res<'_, Compute>,
    torus: Res<'_, Torus>,
) {
    let (Some(chemistry), Some(board)) = (chemistry, board) else { return };
    let began = times.now();
    publish(&mut targets, &chemistry, &board);
    soothe(&mut targets, &chemistry, columns.iter_mut().map(|(_, damping)| damping));
    let pages = pages_ref(columns.iter().map(|(psi, _)| psi));
    let (level, threads, one) = (compute.level, compute.long_threads(), Values::Uniform(T::from_f64(1.0)));
    let is_other = hasten(&mut targets, &chemistry, (&compute, cells.iter()), |form, propagators, scale| {
        torus.cell_volume()
            * match form {
                Some(form) => form.value(level, threads, &pages, one),
                None => propagators.kinetic_form(threads, &pages, one) / scale,
            }
    });
    if is_other {
        targets.weigh_sources(&pages);
    }
    let ended = times.now();
    times.add(Stage::Engs, ended - began);
}

/// What an update reads and changes, besides the columns.
#[derive(bevy_ecs::system::SystemParam)]
pub struct Updated<'w> {
    engs: Option<ResMut<'w, Engs>>,
    chemistry: Option<ResMut<'w, Chemistry>>,
    inbox: Option<ResMut<'w, Inbox>>,
    work: Option<ResMut<'w, Work>>,
    effects: Option<Res<'w, Effects>>,
    ingress: ResMut<'w, Ingress>,
    egress: ResMut<'w, Egress>,
    environment: Res<'w, Environment>,
    wave: Res<'w, WaveParameters>,
}

impl Updated<'_> {
    /// Counts the node-steps of a tick.
    pub(crate) fn work_done(&mut self, n_nodes: u64) {
        if let Some(work) = &mut self.work {
            work.node_steps += n_nodes;
        }
    }

    /// This tick's slice of the reservoir; the first one forgets what was collected before.
    pub(crate) fn begin_slice(&mut self, tick: u64, n_nodes: usize) -> Option<Range<usize>> {
        let engs = self.engs.as_deref_mut()?;
        let range = engs.slice(tick, n_nodes);
        if range.start == 0 {
            engs.densities.clear();
        }
        Some(range)
    }

    /// Whether the scalars are updated at the end of `tick`.
    pub(crate) fn is_due(&self, tick: u64) -> bool {
        self.engs.as_ref().is_some_and(|engs| tick.is_multiple_of(engs.settings.every))
    }

    /// The stage's memory.
    pub(crate) fn engs(&mut self) -> Option<&mut Engs> {
        self.engs.as_deref_mut()
    }

    /// V where it is uniform.
    pub(crate) fn uniform_potential(&self) -> Option<f64> {
        self.environment.uniform_potential
    }

    /// ⟨Ψ,TΨ⟩ with the D there is now, from that with the scene's.
    pub(crate) fn scaled(&self, kinetic: f64) -> f64 {
        self.effects.as_ref().map_or(1.0, |effects| effects.diffusion_scale) * kinetic
    }

    /// Updates the scalars; `kinetic` is ⟨Ψ,TΨ⟩, `potential` ΣV|Ψ|² or in the wave form ½Σ|Ψ̇|², `quartic` Σ|Ψ|⁴.
    pub(crate) fn conclude(&mut self, tick: u64, kinetic: f64, potential: f64, quartic: f64, volume: f64) {
        let (Some(engs), Some(chemistry), Some(inbox), Some(work)) =
            (&mut self.engs, &mut self.chemistry, &mut self.inbox, &mut self.work)
        else {
            return;
        };
        let interaction = self.environment.interaction() * self.wave.beta * quartic;
        let energy = volume * (kinetic + potential + interaction);
        let dt_secs = engs.settings.every as f64 * self.wave.dt;
        let step = Step { tick, dt_secs, energy };
        engs.step(&step, chemistry, inbox, work, &mut self.egress);
        **work = Work::default();
        self.ingress.set_closed(engs.door());
    }
}

/// The columns that an update reads.
pub type ReadColumns<'w, 's, T> =
    Query<'w, 's, (&'static Psi<T>, Option<&'static Potential<T>>, Option<&'static Velocity<T>>)>;

/// Collects a slice of the reservoir every tick; every so many ticks, updates the scalars.
pub fn update<T: Real + Scalar>(
    columns: ReadColumns<'_, '_, T>,
    damping: Query<'_, '_, Option<&Damping<T>>, With<Psi<T>>>,
    watch: Option<Res<'_, Watch<T>>>,
    mut updated: Updated<'_>,
    mut times: ResMut<'_, StageTimes>,
    mut known: ResMut<'_, Known>,
    propagators: Res<'_, Propagators<T>>,
    compute: Res<'_, Compute>,
    torus: Res<'_, Torus>,
    tick: Res<'_, Tick>,
) {
    let began = times.now();
    let pages = pages_ref(columns.iter().map(|(psi, ..)| psi));
    let n_nodes = pages.iter().map(|page| page.re.len()).sum::<usize>();
    updated.work_done(n_nodes as u64);
    let Some(range) = updated.begin_slice(tick.0, n_nodes) else { return };
    let Some(engs) = updated.engs() else { return };
    engs.collect(&pages, range);
    if updated.is_due(tick.0) {
        let potential: Vec<&[T]> = columns.iter().filter_map(|(_, v, _)| v.map(|v| &v.0[..])).collect();
        let potential = crate::world::values(updated.uniform_potential(), &potential);
        let (level, threads) = (compute.level, compute.long_threads());
        let none = Values::Uniform(T::from_f64(0.0));
        let totals = reduce::totals(level, threads, &pages, potential, none);
        let one = Values::Uniform(T::from_f64(1.0));
        let Some(engs) = updated.engs() else { return };
        let kinetic = match &engs.form {
            Some(form) => {
                let kinetic = form.value(level, threads, &pages, one);
                updated.scaled(kinetic)
            }
            None => {
                // The watch is about to ask for the damping's share of it.
                let damping: Vec<&[T]> = damping.iter().filter_map(|g| g.map(|g| &g.0[..])).collect();
                if watch.is_some_and(|watch| watch.asks_for_kinetic(tick.0)) && !damping.is_empty() {
                    let [kinetic, damped] = propagators.kinetic_forms(threads, &pages, &damping);
                    (known.kinetic, known.damped) = (Some(kinetic), Some(damped));
                }
                *known.kinetic.get_or_insert_with(|| propagators.kinetic_form(threads, &pages, one))
            }
        };
        let velocity = columns.iter().filter_map(|(.., velocity)| velocity);
        let velocity: Vec<_> = velocity.map(|v| PageRef { re: &v.re[..], im: &v.im[..] }).collect();
        let potential = totals.potential + 0.5 * reduce::norm2(level, threads, &velocity);
        updated.conclude(tick.0, kinetic, potential, totals.quartic, torus.cell_volume());
    }
    let ended = times.now();
    times.add(Stage::Engs, ended - began);
}

/// One update as the stage measured it.
struct Step {
    tick: u64,
    dt_secs: f64,
    energy: f64,
}

impl Engs {
    /// D of the scene.
    pub fn scene_diffusion(&self) -> [f64; 9] {
        self.diffusion
    }

    /// Why inputs are refused, if they are.
    fn door(&self) -> Option<&'static str> {
        self.napped_secs.map(|_| "it is napping")
    }

    /// The slice of the reservoir that `tick` collects, with `n_nodes` active nodes.
    pub(crate) fn slice(&self, tick: u64, n_nodes: usize) -> Range<usize> {
        let (every, n) = (self.settings.every, self.reservoir.len(n_nodes));
        let slice = (tick + every - 1) % every;
        n * slice as usize / every as usize..n * (slice as usize + 1) / every as usize
    }

    /// The reservoir as nodes of the whole torus; none on a sparse one, where it follows the active nodes.
    pub(crate) fn reservoir(&self, page_nodes: usize) -> Vec<u32> {
        let Reservoir::Fixed(nodes) = &self.reservoir else { return Vec::new() };
        nodes.iter().map(|&(page, node)| page * page_nodes as u32 + node).collect()
    }

    /// Kinetic terms of the scene.
    pub(crate) fn scene_terms(&self) -> &[AxisTerm] {
        &self.terms
    }

    /// Densities collected since the last update.
    pub(crate) fn n_densities(&self) -> usize {
        self.densities.len()
    }

    /// Adds collected densities.
    pub(crate) fn take_densities(&mut self, densities: impl Iterator<Item = f64>) {
        self.densities.extend(densities);
    }

    /// Reads a slice of the reservoir.
    fn collect<T: Real>(&mut self, pages: &[PageRef<'_, T>], range: Range<usize>) {
        let page_nodes = pages.first().map_or(1, |page| page.re.len());
        for k in range {
            let (page, node) = self.reservoir.node(k, pages.len(), page_nodes);
            let (re, im) = (pages[page].re[node], pages[page].im[node]);
            self.densities.push(re.to_f64() * re.to_f64() + im.to_f64() * im.to_f64());
        }
    }

    fn step(
        &mut self,
        step: &Step,
        chemistry: &mut Chemistry,
        inbox: &mut Inbox,
        work: &Work,
        egress: &mut Egress,
    ) {
        let settings = self.settings;
        let mut heard = self.hear(inbox);
        let expected = self.expected_energy.unwrap_or(step.energy);
        let error =
            rules::reward_prediction_error(heard.reward, step.energy, expected, settings.energy_floor);
        // A field that is not finite is the oracle's affair; it teaches nothing.
        self.reward_error = if error.is_finite() { error } else { 0.0 };
        if step.energy.is_finite() {
            let expected = rules::expectation(expected, step.energy, step.dt_secs, settings.tau_secs);
            self.expected_energy = Some(expected);
        }
        heard.goals += self.satisfy_curiosity();
        let naps = self.rest(step, chemistry, &heard, egress);
        let stimuli = Stimuli {
            reward_error: self.reward_error,
            alerts: heard.alerts,
            goals: heard.goals,
            naps,
            stress: heard.stress,
        };
        let now = Modulators {
            dopamine: chemistry.dopamine,
            serotonin: chemistry.serotonin,
            norepinephrine: chemistry.norepinephrine,
        };
        let rates = DecayRates {
            serotonin_per_sec: settings.serotonin_decay_per_sec,
            norepinephrine_per_sec: settings.norepinephrine_decay_per_sec,
        };
        let next = rules::couple(now, &stimuli, &rates, step.dt_secs);
        chemistry.dopamine = next.dopamine;
        chemistry.serotonin = next.serotonin;
        chemistry.norepinephrine = next.norepinephrine;
        self.entropy = rules::entropy(&self.densities);
        chemistry.boredom = rules::boredom(
            chemistry.boredom,
            self.entropy,
            settings.boredom_growth,
            settings.boredom_sharpness,
            settings.boredom_relief,
            self.reward_error,
        );
        self.grow_curious(step.tick, chemistry, egress);
        let spent = work.node_steps as f64
            + PLASTICITY_NODE_STEPS * work.plasticity_updates as f64
            + heard.work_node_steps;
        chemistry.atp = rules::atp(
            chemistry.atp,
            spent,
            settings.atp_capacity,
            settings.atp_recharge_per_sec,
            step.dt_secs,
            self.napped_secs.is_some(),
        );
        let is_low = chemistry.atp < ATP_LOW;
        if is_low && !self.is_atp_low {
            egress.push_event(Event::AtpLow { tick: step.tick, atp: chemistry.atp });
        }
        self.is_atp_low = is_low;
    }

    /// What the stimuli since the last update say.
    fn hear(&mut self, inbox: &mut Inbox) -> Heard {
        let mut heard = Heard { reward: std::mem::take(&mut self.pending_reward), ..Heard::default() };
        for stimulus in inbox.stimuli.drain(..) {
            match stimulus {
                Stimulus::Reward(reward) => heard.reward += reward,
                Stimulus::Alert => {
                    heard.alerts += 1;
                    heard.stress += 0.5;
                }
                Stimulus::Stress(stress) => heard.stress += stress,
                Stimulus::Work(node_steps) => heard.work_node_steps += node_steps,
                Stimulus::AddGoal(goal) => {
                    let open = self.goals.iter().filter(|other| other.horizon == goal.horizon).count();
                    let is_known = self.goals.iter().any(|other| other.id == goal.id);
                    if open < GOALS_MAX && !is_known {
                        self.goals.push(goal);
                    }
                }
                Stimulus::ReachGoal(id) => {
                    if let Some(index) = self.goals.iter().position(|goal| goal.id == id) {
                        heard.reward += self.goals.remove(index).reward;
                        heard.goals += 1;
                    }
                }
                Stimulus::Nap => heard.is_nap_asked = true,
            }
        }
        heard.reward = heard.reward.clamp(-1.0, 1.0);
        heard
    }

    /// Starts or ends a nap; the naps that ended.
    fn rest(&mut self, step: &Step, chemistry: &Chemistry, heard: &Heard, egress: &mut Egress) -> u32 {
        let is_tired = chemistry.dopamine < FATIGUE_DOPAMINE;
        self.fatigue_secs = if is_tired { self.fatigue_secs + step.dt_secs } else { 0.0 };
        match &mut self.napped_secs {
            Some(secs) => {
                *secs += step.dt_secs;
                if *secs >= NAP_SECS_MIN && chemistry.atp >= ATP_AWAKE {
                    self.napped_secs = None;
                    self.fatigue_secs = 0.0;
                    egress.push_event(Event::Woke { tick: step.tick });
                    return 1;
                }
            }
            None => {
                let cause = if chemistry.atp < ATP_CRITICAL {
                    Some(NapCause::Exhaustion)
                } else if self.fatigue_secs >= FATIGUE_SECS {
                    Some(NapCause::Fatigue)
                } else {
                    heard.is_nap_asked.then_some(NapCause::Asked)
                };
                if let Some(cause) = cause {
                    self.napped_secs = Some(0.0);
                    egress.push_event(Event::NapWanted { tick: step.tick, cause });
                }
            }
        }
        0
    }

    /// An explorative goal is reached by a surprise; the goals reached.
    fn satisfy_curiosity(&mut self) -> u32 {
        if self.reward_error.abs() < SURPRISE {
            return 0;
        }
        let before = self.goals.len();
        self.goals.retain(|goal| goal.id < CURIOSITY_GOALS);
        let reached = before - self.goals.len();
        self.pending_reward += CURIOSITY_REWARD * reached as f64;
        reached as u32
    }

    /// Raises a curiosity event when boredom passes its threshold from below.
    fn grow_curious(&mut self, tick: u64, chemistry: &Chemistry, egress: &mut Egress) {
        let is_curious = chemistry.boredom > self.settings.curiosity_at;
        if is_curious && !self.is_curious {
            let goal = CURIOSITY_GOALS + self.n_curiosities;
            self.n_curiosities += 1;
            self.goals.push(Goal { id: goal, horizon: Horizon::Short, reward: CURIOSITY_REWARD });
            egress.push_event(Event::Curiosity { tick, goal });
        }
        self.is_curious = is_curious;
    }
}

/// The stimuli of one update, added up.
#[derive(Debug, Default)]
struct Heard {
    reward: f64,
    alerts: u32,
    goals: u32,
    stress: f64,
    work_node_steps: f64,
    is_nap_asked: bool,
}
