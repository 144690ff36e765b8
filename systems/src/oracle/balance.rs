//! The watch on the balance: books the powers, checks H against the account, and acts.
//!
//! Invariant: exists only where the scene asks for it; everything it does to Ψ is booked and reported. See
//! [`super::account`] for the derivation and [`super::guard`] for the states.

use super::account::{Account, Amount, Booked, Powers};
use super::guard::{Act, Guard, Sight, Turn};
use super::weigh::Energies;
use super::{NormLedger, live::Border};
use crate::damping::set_damping;
use crate::ingress::{InputLog, TickPlan};
use crate::observables::{ObservedColumns, measure, pages_ref};
use crate::propagators::Propagators;
use crate::world::{Compute, Environment, Sources, values};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::ledger::{EnergyFlows, Flow};
use nikola_components::oracle::{Cause, Health, Incident, OVERLOAD_DAMPING, OracleReport, OracleSettings};
use nikola_components::ports::{Egress, Event};
use nikola_components::setup::{Setup, WaveParameters};
use nikola_components::telemetry::{Sample, Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::{Damping, Potential, Psi, Velocity};
use nikola_kernels::energy::local_form;
use nikola_kernels::reduce::{self, Totals};
use nikola_kernels::{Real, Values};

/// Half the interval over which ∂tV is taken as a central difference, as a fraction of dt: its error is below 1e-6
/// of a drive that turns once per tick, its rounding below 1e-12.
pub(crate) const DRIVE_STEP: f64 = 1e-3;

/// Everything the watch remembers.
#[derive(Resource)]
pub struct Watch<T: Real> {
    pub(crate) settings: OracleSettings,
    pub(super) account: Account,
    pub(crate) guard: Guard,
    pub(crate) energies: Energies<T>,
    /// Work of the sources at this border, seen before the set of pages changed.
    pub(super) closing: Option<Amount>,
    /// Flows booked up to the last tick, so that a tick's inflow by other stages is known.
    pub(crate) booked: f64,
    /// What is unexplained and remembered.
    pub(super) deficit: Amount,
    pub(super) deficit_total: f64,
    /// Relative change of Ψ per tick that the norm's balance lacked at the last check.
    pub(crate) leak: f64,
    pub(crate) last: Sample,
    pub(crate) last_totals: Totals,
    pub(super) sampled_at: u64,
    /// D of the first axis when the world was built, and Γ during the last tick where it is uniform.
    diffusion: f64,
    gamma: f64,
    /// Resets since the last quiet stretch: so many checkpoints are passed over.
    pub(super) skip: usize,
    scratch: Vec<f64>,
}

impl<T: Real + Scalar> Watch<T> {
    /// The watch of a world, if its scene asks for one.
    pub fn new(setup: &Setup, settings: OracleSettings, propagators: &Propagators<T>) -> Self {
        // Γ changes at updates of the chemistry: they must be borders of panels.
        let updates = setup.engs.map_or(0, |engs| engs.every);
        let divides_both = |n: &u64| settings.every.is_multiple_of(*n) && updates.is_multiple_of(*n);
        let sample_every = (1..=settings.sample_every).rev().find(divides_both).unwrap_or(1);
        let settings = OracleSettings { sample_every, ..settings };
        Self {
            settings,
            account: Account::default(),
            guard: Guard::default(),
            energies: Energies::new(setup, propagators),
            closing: None,
            booked: 0.0,
            deficit: Amount::default(),
            deficit_total: 0.0,
            leak: 0.0,
            last: Sample::default(),
            last_totals: Totals::default(),
            diffusion: setup.wave.diffusion[0],
            gamma: 0.0,
            sampled_at: 0,
            skip: 0,
            scratch: Vec::new(),
        }
    }

    /// State of the watched world.
    pub fn health(&self) -> Health {
        self.guard.health
    }
}

/// The columns the watch reads and, when it acts, changes.
pub type WatchedColumns<'w, 's, T> =
    Query<'w, 's, (&'static mut Psi<T>, Option<&'static mut Velocity<T>>, Option<&'static mut Potential<T>>)>;

/// Γ(x) of every page.
pub type DampingColumns<'w, 's, T> = Query<'w, 's, Option<&'static mut Damping<T>>, With<Psi<T>>>;

/// What the watch reads of a world that it does not own.
#[derive(SystemParam)]
pub struct Surroundings<'w, T: Real + Scalar> {
    pub(crate) torus: Res<'w, Torus>,
    pub(crate) wave: Res<'w, WaveParameters>,
    propagators: Res<'w, Propagators<T>>,
    compute: Res<'w, Compute>,
    pub(crate) plan: Res<'w, TickPlan>,
    pub(crate) tick: Res<'w, Tick>,
}

/// One look at the columns.
struct Look<'a, 'w, 's, T: Real + Scalar> {
    columns: ObservedColumns<'w, 's, T>,
    damping: Query<'w, 's, Option<&'static Damping<T>>, With<Psi<T>>>,
    environment: &'a Environment,
    sources: &'a Sources<T>,
    ledger: &'a NormLedger,
    around: &'a Surroundings<'a, T>,
}

impl<T: Real + Scalar> Look<'_, '_, '_, T> {
    fn with_values<R>(
        &self,
        work: impl FnOnce(&[nikola_kernels::PageRef<'_, T>], Values<'_, T>, Values<'_, T>) -> R,
    ) -> R {
        let pages = pages_ref(self.columns.iter().map(|(psi, ..)| psi));
        let potential: Vec<&[T]> = self.columns.iter().filter_map(|(.., v)| v.map(|v| &v.0[..])).collect();
        let damping: Vec<&[T]> = self.damping.iter().filter_map(|g| g.map(|g| &g.0[..])).collect();
        let potential = values(self.environment.uniform_potential, &potential);
        work(&pages, potential, values(self.environment.uniform_damping, &damping))
    }

    fn measure(&self) -> Sample {
        let around = self.around;
        measure(
            &self.columns,
            &around.torus,
            &around.wave,
            self.environment,
            &around.propagators,
            &around.compute,
            self.ledger,
            *around.tick,
        )
    }

    /// The uniform part of Γ, which the account integrates by itself.
    fn gamma(&self) -> f64 {
        self.environment.uniform_damping.unwrap_or(0.0)
    }

    /// Work of the sources at this tick border.
    fn work(&self, energies: &mut Energies<T>, kinetic_scale: f64) -> Amount {
        if self.sources.emitters.is_empty() {
            return Amount::default();
        }
        let around = self.around;
        self.with_values(|pages, potential, _| {
            let (tick, wave, volume) = (*around.tick, &*around.wave, around.torus.cell_volume());
            match energies {
                Energies::Constant { sources, .. } => {
                    sources.at(tick, self.sources, wave, pages, &potential, kinetic_scale, volume)
                }
                Energies::Live(power) => {
                    power.refresh(&around.propagators, self.sources, around.torus.page_nodes());
                    power.at(&Border { tick, pages, wave, volume }, self.sources, &potential)
                }
            }
        })
    }

    /// Local sums and sampled powers at this tick border.
    fn powers(&self, energies: &Energies<T>, kinetic_scale: f64, scratch: &mut Vec<f64>) -> (Totals, Powers) {
        let around = self.around;
        let (level, threads) = (around.compute.level, around.compute.threads());
        let (volume, beta) = (around.torus.cell_volume(), around.wave.beta);
        let mut powers = Powers::default();
        let totals = self.with_values(|pages, potential, damping| {
            let totals = reduce::totals(level, threads, pages, potential, damping);
            powers.damping = match damping {
                // −2Γ(H + W) and −2ΓN: H and N decay in the account, W = (β/2)∫ρ² remains.
                Values::Uniform(gamma) => {
                    Amount { energy: -gamma.to_f64() * beta * volume * totals.quartic, norm: 0.0 }
                }
                Values::PerNode(_) => {
                    let kinetic = match energies {
                        Energies::Constant { form, .. } => {
                            kinetic_scale * form.value(level, threads, pages, damping)
                        }
                        Energies::Live(_) => around.propagators.kinetic_form(threads, pages, damping),
                    };
                    let local = local_form(level, threads, pages, potential, beta, damping);
                    powers.damping_kinetic = -2.0 * volume * kinetic;
                    Amount { energy: -2.0 * volume * local, norm: -2.0 * volume * totals.damping }
                }
            };
            totals
        });
        if let Some(drive) = &self.environment.drive {
            let (t, step) = (around.tick.time(around.wave.dt), DRIVE_STEP * around.wave.dt);
            let mut sum = 0.0;
            for (page, (psi, ..)) in self.columns.iter().enumerate() {
                let nodes = psi.re.len();
                scratch.clear();
                scratch.resize(2 * nodes, 0.0);
                let (early, late) = scratch.split_at_mut(nodes);
                drive.add(t - step, page, early);
                drive.add(t + step, page, late);
                let density = |i: usize| psi.re[i].to_f64().powi(2) + psi.im[i].to_f64().powi(2);
                sum += (0..nodes).map(|i| (late[i] - early[i]) * density(i)).sum::<f64>();
            }
            powers.drive = volume * sum / (2.0 * step);
        }
        (totals, powers)
    }
}

/// A world as it is at a tick border, measured.
pub(crate) struct Measured {
    /// Energy and its parts, norm.
    pub sample: Sample,
    /// Work of the sources at the border.
    pub work: Amount,
    /// Local sums.
    pub totals: Totals,
    /// Sampled powers.
    pub powers: Powers,
    /// The uniform part of Γ.
    pub gamma: f64,
}

/// What of a tick is known without looking at the field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TickEntry {
    /// The tick that ended.
    pub tick: u64,
    /// What other stages booked before the set of pages changed.
    pub inflow: Amount,
    /// What went or came with pages at the end of the tick.
    pub at_end: Amount,
    /// Jumps of the power of Γ(x) at the tick's beginning and at its end.
    pub jumps: [Amount; 2],
    /// By how much Γ and T were scaled at the border before.
    pub ratios: (f64, f64),
    /// The uniform part of Γ.
    pub gamma: f64,
}

impl<T: Real + Scalar> Watch<T> {
    /// Starts the account from what is there now. The unexplained rest goes to `cause`.
    pub(crate) fn begin_from(
        &mut self,
        measured: &Measured,
        (tick, dt): (u64, f64),
        flows: &mut EnergyFlows,
        cause: Option<Flow>,
    ) {
        self.last = measured.sample;
        if let Some(cause) = cause {
            let rest = self.last.energy - self.account.expected.energy;
            if rest.is_finite() {
                flows.add(cause, rest);
            }
        }
        self.gamma = measured.gamma;
        self.deficit = Amount::default();
        self.account = Account::default();
        self.account.anchor(Amount { energy: self.last.energy, norm: self.last.norm });
        self.closing = None;
        flows.take_at_end();
        flows.take_jumps();
        self.account.open(measured.work);
        self.account.sample(&measured.powers, measured.gamma, 0, dt);
        self.sampled_at = tick;
        self.last_totals = measured.totals;
        self.booked = flows.total();
    }

    fn begin(&mut self, look: &Look<'_, '_, '_, T>, flows: &mut EnergyFlows, cause: Option<Flow>) {
        let scale = self.kinetic_scale(look.around.wave.diffusion[0]);
        let work = look.work(&mut self.energies, scale);
        let (totals, powers) = look.powers(&self.energies, scale, &mut self.scratch);
        let measured = Measured { sample: look.measure(), work, totals, powers, gamma: look.gamma() };
        self.begin_from(&measured, (look.around.tick.0, look.around.wave.dt), flows, cause);
    }

    /// Takes what other stages booked in the tick that ended.
    pub(crate) fn enter(&mut self, tick: u64, gamma: f64, flows: &mut EnergyFlows) -> TickEntry {
        let at_end = Amount::from(flows.take_at_end());
        let inflow = Amount { energy: flows.total() - self.booked - at_end.energy, norm: flows.take_norm() };
        self.booked = flows.total();
        let jumps = flows.take_jumps().map(Amount::from);
        TickEntry { tick, inflow, at_end, jumps, ratios: flows.take_ratios(), gamma }
    }

    /// Books one tick in the account.
    pub(crate) fn book_tick(&mut self, entry: &TickEntry, work: Amount, dt: f64) -> Booked {
        // The border where Γ changed is the last one: what was sampled there is what acted since.
        self.account.scale_damping(entry.ratios.0);
        self.account.scale_kinetic(entry.ratios.1);
        self.gamma = entry.gamma;
        let closing = self.closing.take().unwrap_or(work);
        let mut booked = self.account.tick(entry.inflow, closing, work, self.gamma, dt);
        self.account.settle(entry.at_end);
        let begun = entry.tick as f64 - 1.0 - self.sampled_at as f64;
        for (jump, elapsed) in entry.jumps.into_iter().zip([begun, begun + 1.0]) {
            let lead = 0.5 * self.settings.sample_every as f64 - elapsed;
            booked.damping += self.account.jump(jump, lead, dt);
        }
        booked
    }

    /// Books the powers since the last sample in the account.
    pub(crate) fn book_sample(&mut self, tick: u64, powers: &Powers, dt: f64) -> Booked {
        let booked = self.account.sample(powers, self.gamma, tick - self.sampled_at, dt);
        self.sampled_at = tick;
        booked
    }

    /// Adds what was booked to the flows.
    pub(crate) fn add_booked(booked: &Booked, flows: &mut EnergyFlows) {
        let Booked { source, damping, drive } = *booked;
        // A field that left the finite numbers is judged by what was seen; its figures are no energies.
        if (source + damping + drive).is_finite() {
            flows.add(Flow::Source, source);
            flows.add(Flow::Damping, damping);
            flows.add(Flow::Drive, drive);
        }
    }

    /// Whether the powers are sampled at the end of `tick`.
    pub(crate) fn samples(&self, tick: u64) -> bool {
        tick.is_multiple_of(self.settings.sample_every)
    }

    /// Books one tick; returns what is to be judged.
    fn book(&mut self, look: &Look<'_, '_, '_, T>, flows: &mut EnergyFlows) -> Sight {
        let (tick, dt) = (look.around.tick.0, look.around.wave.dt);
        let entry = self.enter(tick, look.gamma(), flows);
        let scale = self.kinetic_scale(look.around.wave.diffusion[0]);
        let work = look.work(&mut self.energies, scale);
        let mut booked = [self.book_tick(&entry, work, dt), Booked::default()];
        let mut sight = Sight { tick, ..Sight::default() };
        let is_sampled = self.samples(tick);
        if is_sampled || look.around.plan.is_degraded {
            let (totals, powers) = look.powers(&self.energies, scale, &mut self.scratch);
            sight.max_abs_psi = Some(totals.max_abs2.sqrt());
            sight.n_nonfinite = totals.n_nonfinite;
            self.last_totals = totals;
            if is_sampled {
                booked[1] = self.book_sample(tick, &powers, dt);
            }
            if look.around.plan.is_degraded {
                self.readmit_on_host(look, flows);
            }
        }
        for booked in &booked {
            Self::add_booked(booked, flows);
        }
        self.booked = flows.total();
        sight
    }

    /// A degraded tick ran without β: `ingress` took the interaction energy out of H, here it comes back. `quartic` is
    /// ∫Γ|Ψ|⁴ where Γ varies in space.
    pub(crate) fn readmit_interaction(
        &mut self,
        around: &Surroundings<'_, T>,
        quartic: Option<f64>,
        flows: &mut EnergyFlows,
    ) {
        let interaction = 0.5 * around.wave.beta * around.torus.cell_volume() * self.last_totals.quartic;
        flows.add(Flow::Parameters, interaction);
        // The sampled part of the damping power that belongs to β did not act in this tick: −2Γ·W where Γ is uniform
        // (the account does the other half), −2∫Γβ|Ψ|⁴ where it is not.
        let spared = around.wave.dt * quartic.map_or(2.0 * self.gamma * interaction, |sum| 2.0 * sum);
        flows.add(Flow::Damping, spared);
        self.account.adjust(interaction + spared);
    }

    fn readmit_on_host(&mut self, look: &Look<'_, '_, '_, T>, flows: &mut EnergyFlows) {
        let around = look.around;
        let (level, threads) = (around.compute.level, around.compute.threads());
        let quartic = look.with_values(|pages, _, damping| match damping {
            Values::Uniform(_) => None,
            Values::PerNode(_) => {
                let zero = Values::Uniform(T::from_f64(0.0));
                let density = local_form(level, threads, pages, zero, around.wave.beta, damping);
                Some(around.torus.cell_volume() * density)
            }
        });
        self.readmit_interaction(around, quartic, flows);
    }

    /// Compares H with the account.
    pub(crate) fn check(&mut self, measured: Sample, dt: f64, sight: &mut Sight) {
        self.last = measured;
        sight.n_nonfinite = sight.n_nonfinite.max(self.last.n_nonfinite);
        sight.max_abs_psi = Some(self.last.max_abs_psi);
        if !self.last.energy.is_finite() {
            return;
        }
        let unexplained = self.last.energy - self.account.expected.energy;
        let lacking = self.last.norm - self.account.expected.norm;
        // What cannot be explained fades like everything else, and is forgotten in the end.
        let forgotten = (self.settings.every as f64 / self.settings.memory_ticks as f64).min(1.0);
        let fading = -2.0 * self.gamma * self.settings.every as f64 * dt;
        let kept = (1.0 - forgotten) * libm::exp(fading);
        self.deficit = Amount {
            energy: self.deficit.energy * kept + unexplained,
            norm: self.deficit.norm * kept + lacking,
        };
        self.deficit_total += unexplained;
        self.leak = 0.5 * lacking / (self.last.norm * self.settings.every as f64);
        self.account.anchor(Amount { energy: self.last.energy, norm: self.last.norm });
        sight.residual = Some(self.deficit.energy.abs() / self.scale());
    }

    /// T now, relative to when the world was built.
    pub(crate) fn kinetic_scale(&self, diffusion: f64) -> f64 {
        diffusion / self.diffusion
    }

    fn scale(&self) -> f64 {
        self.last.energy.abs().max(self.settings.energy_floor)
    }

    /// The factor that takes Ψ to the expected energy, or to the expected norm where the energy cannot tell.
    fn factor(&self) -> f64 {
        let target = self.last.energy - self.deficit.energy;
        let quadratic = self.last.energy_kinetic + self.last.energy_potential;
        let by_energy = scale_to_energy(quadratic, self.last.energy_interaction, target);
        let by_norm = ((self.last.norm - self.deficit.norm) / self.last.norm).sqrt();
        by_energy.unwrap_or(if by_norm.is_finite() { by_norm } else { 1.0 })
    }
}

/// λ with λ²Q + λ⁴W = target; Ψ·√(target/H) where W = 0. `None` where H or the target is not positive.
pub fn scale_to_energy(quadratic: f64, interaction: f64, target: f64) -> Option<f64> {
    if quadratic + interaction <= 0.0 || target <= 0.0 {
        return None;
    }
    let square = if interaction == 0.0 {
        target / quadratic
    } else {
        let root = quadratic * quadratic + 4.0 * interaction * target;
        // The root that tends to target/Q as W → 0.
        2.0 * target / (quadratic + root.sqrt())
    };
    (square.is_finite() && square > 0.0).then(|| square.sqrt())
}

/// The resources of the watch, where the scene asks for it.
pub(crate) fn equip<T: Real + Scalar>(world: &mut World, setup: &Setup) {
    let Some(settings) = setup.oracle else { return };
    let watch = Watch::<T>::new(setup, settings, world.resource::<Propagators<T>>());
    world.insert_resource(watch);
    world.insert_resource(EnergyFlows::default());
    world.insert_resource(OracleReport::default());
    world.insert_resource(InputLog::default());
}

/// What the watch owns, and what it acts on.
#[derive(SystemParam)]
pub struct Reach<'w, T: Real + Scalar> {
    pub(crate) watch: Option<ResMut<'w, Watch<T>>>,
    pub(crate) flows: Option<ResMut<'w, EnergyFlows>>,
    pub(crate) report: Option<ResMut<'w, OracleReport>>,
    pub(crate) log: Option<ResMut<'w, InputLog>>,
    pub(crate) environment: ResMut<'w, Environment>,
    pub(crate) sources: ResMut<'w, Sources<T>>,
    pub(crate) ledger: ResMut<'w, NormLedger>,
    pub(crate) egress: ResMut<'w, Egress>,
}

/// Starts the account at tick 0; runs once, after the references of the drifts are set.
pub fn begin<T: Real + Scalar>(
    columns: ObservedColumns<'_, '_, T>,
    damping: DampingColumns<'_, '_, T>,
    mut reach: Reach<'_, T>,
    around: Surroundings<'_, T>,
) {
    let Reach { watch: Some(watch), flows: Some(flows), environment, sources, ledger, .. } = &mut reach
    else {
        return;
    };
    let look =
        Look { columns, damping: damping.as_readonly(), environment, sources, ledger, around: &around };
    watch.begin(&look, flows, None);
}

/// The system.
pub fn balance<T: Real + Scalar>(
    mut columns: WatchedColumns<'_, '_, T>,
    mut damping: DampingColumns<'_, '_, T>,
    mut reach: Reach<'_, T>,
    mut times: ResMut<'_, StageTimes>,
    around: Surroundings<'_, T>,
) {
    let Reach { watch, flows, report, log, environment, sources, ledger, egress } = &mut reach;
    let (Some(watch), Some(flows), Some(report), Some(log)) = (watch, flows, report, log) else { return };
    let began = times.now();
    let (tick, plan) = (around.tick.0, &around.plan);
    let look = Look {
        columns: columns.as_readonly(),
        damping: damping.as_readonly(),
        environment,
        sources,
        ledger,
        around: &around,
    };
    let mut sight = match flows.take_rest() {
        Some(cause) => {
            watch.begin(&look, flows, Some(cause));
            watch.sight(tick)
        }
        None => watch.book(&look, flows),
    };
    if tick.is_multiple_of(watch.settings.every) {
        watch.check(look.measure(), around.wave.dt, &mut sight);
        if !environment.is_closed {
            ledger.trim(watch.leak);
        }
    }
    sight.alarm = plan.alarm;
    sight.is_resume_asked = plan.is_resume_asked;
    sight.restored = plan.restored;
    while let Some(turn) = watch.decide(&mut sight) {
        let (cause, change) = act(&turn, watch, &mut damping, environment, sources);
        match change {
            Change::None => {}
            Change::Scale(factor) => scale_psi(&mut columns, |value| value * factor),
            Change::Zero => scale_psi(&mut columns, |_| 0.0),
        }
        if let Some(flow) = cause {
            let look = Look {
                columns: columns.as_readonly(),
                damping: damping.as_readonly(),
                environment,
                sources,
                ledger,
                around: &around,
            };
            watch.begin(&look, flows, Some(flow));
            ledger.rebase(watch.last.norm);
        }
        watch.announce(tick, turn, report, log, egress);
    }
    watch.conclude(tick, report, log, egress);
    let ended = times.now();
    times.add(Stage::Oracle, ended - began);
    report.tick_duration_ns = times.nanos.iter().sum();
}

impl<T: Real + Scalar> Watch<T> {
    /// Tells the edges of a decision that was carried out.
    pub(crate) fn announce(
        &mut self,
        tick: u64,
        turn: Turn,
        report: &mut OracleReport,
        log: &mut InputLog,
        egress: &mut Egress,
    ) {
        let blacklisted = if turn.act == Act::Reset {
            egress.push_event(Event::RestoreWanted { skip: self.skip });
            self.skip += 1;
            log.condemn()
        } else {
            Vec::new()
        };
        self.note(&turn, report);
        egress.push_event(Event::Incident(self.incident(tick, turn, report, blacklisted)));
    }

    /// The end of a tick: what was refused, the wish for a checkpoint, the figures.
    pub(crate) fn conclude(
        &mut self,
        tick: u64,
        report: &mut OracleReport,
        log: &mut InputLog,
        egress: &mut Egress,
    ) {
        for digest in log.take_refused() {
            egress.push_event(Event::Refused { tick, digest });
        }
        if self.guard.health == Health::Nominal && tick.is_multiple_of(self.settings.checkpoint_every) {
            egress.push_event(Event::CheckpointWanted);
            log.absolve();
            self.skip = self.skip.saturating_sub(1);
        }
        self.tell(report);
    }

    /// What the last look at the local sums showed.
    pub(crate) fn sight(&self, tick: u64) -> Sight {
        Sight {
            tick,
            max_abs_psi: Some(self.last_totals.max_abs2.sqrt()),
            n_nonfinite: self.last_totals.n_nonfinite,
            ..Sight::default()
        }
    }

    pub(crate) fn decide(&mut self, sight: &mut Sight) -> Option<Turn> {
        let settings = self.settings;
        let mut turn = self.guard.step(sight, &settings)?;
        if turn.act == Act::Renormalise {
            turn.cause = Cause::Renormalised(self.factor());
        }
        Some(turn)
    }

    fn note(&self, turn: &Turn, report: &mut OracleReport) {
        match turn.act {
            Act::Freeze => report.n_scrams += 1,
            Act::Reset => report.n_resets += 1,
            Act::Renormalise => report.n_renormalisations += 1,
            Act::Report | Act::Thaw | Act::Halt => {}
        }
    }

    fn incident(&self, tick: u64, turn: Turn, report: &OracleReport, blacklisted: Vec<u64>) -> Incident {
        Incident {
            tick,
            from: turn.from,
            to: turn.to,
            cause: turn.cause,
            residual: report.energy_drift_ratio,
            norm: self.last.norm,
            energy: self.last.energy,
            max_abs_psi: self.last_totals.max_abs2.sqrt(),
            blacklisted,
        }
    }

    /// The figures of the tick.
    fn tell(&self, report: &mut OracleReport) {
        report.health = self.guard.health;
        report.strikes = self.guard.strikes;
        report.energy_drift_ratio = self.deficit.energy.abs() / self.scale();
        report.energy_drift_worst = report.energy_drift_worst.max(report.energy_drift_ratio);
        report.energy_drift_total = self.deficit_total / self.scale();
        report.norm = self.account.expected.norm;
        report.max_abs_psi = self.last_totals.max_abs2.sqrt();
    }
}

/// What a decision does to Ψ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// It is multiplied.
    Scale(f64),
    /// It vanishes.
    Zero,
}

/// Carries a decision out on everything but Ψ; the flow to which a change of energy belongs, if there may be one, and
/// what to do to Ψ.
pub(crate) fn act<T: Real + Scalar>(
    turn: &Turn,
    watch: &Watch<T>,
    damping: &mut DampingColumns<'_, '_, T>,
    environment: &mut Environment,
    sources: &mut Sources<T>,
) -> (Option<Flow>, Change) {
    let scale = environment.damping_law.scale;
    let mut dampen = |environment: &mut Environment, extra: f64| {
        set_damping(damping.iter_mut(), environment, scale, extra);
    };
    match turn.act {
        Act::Report | Act::Reset => return (None, Change::None),
        Act::Freeze => {
            sources.is_muted = true;
            let is_overload = turn.cause == Cause::Overload;
            dampen(environment, if is_overload { OVERLOAD_DAMPING } else { watch.settings.freeze_damping });
        }
        Act::Thaw => {
            sources.is_muted = false;
            dampen(environment, 0.0);
        }
        Act::Renormalise => {
            let Cause::Renormalised(factor) = turn.cause else { return (None, Change::None) };
            return (Some(Flow::Renormalisation), Change::Scale(factor));
        }
        Act::Halt => {
            sources.is_muted = true;
            return (Some(Flow::Scram), Change::Zero);
        }
    }
    (Some(Flow::Scram), Change::None)
}

fn scale_psi<T: Real + Scalar>(columns: &mut WatchedColumns<'_, '_, T>, change: impl Fn(f64) -> f64) {
    for (psi, ..) in columns.iter_mut() {
        let psi = psi.into_inner();
        psi.re.iter_mut().chain(psi.im.iter_mut()).for_each(|x| *x = T::from_f64(change(x.to_f64())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_takes_the_energy_to_its_target() {
        for (quadratic, interaction, target) in [(2.0, 0.0, 2.1), (2.0, 3.0, 4.5), (2.0, -0.5, 1.6)] {
            let factor: f64 = scale_to_energy(quadratic, interaction, target).expect("positive energies");
            let found = factor.powi(2) * quadratic + factor.powi(4) * interaction;
            assert!((found - target).abs() < 1e-12, "{found} against {target}");
        }
        assert_eq!(scale_to_energy(2.0, 0.0, 2.0 * 1.01 * 1.01), Some(1.01));
        assert_eq!(scale_to_energy(1.0, -2.0, 1.0), None);
        assert_eq!(scale_to_energy(1.0, 0.0, -1.0), None);
        assert_eq!(scale_to_energy(1.0, -0.2, 100.0), None);
    }
}
