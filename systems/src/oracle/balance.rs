//! The watch on the balance: books the powers, checks H against the account, and acts.
//!
//! Invariant: exists only where the scene asks for it; everything it does to Ψ is booked and reported. See
//! [`super::account`] for the derivation and [`super::guard`] for the states.

use super::account::{Amount, Booked, Powers};
use super::guard::{Act, Sight, Turn};
use super::watch::{Measured, Watch};
use super::weigh::Energies;
use super::{NormLedger, live::Border};
use crate::damping::set_damping;
use crate::ingress::{InputLog, TickPlan};
use crate::observables::{Known, ObservedColumns, measure, pages_ref};
use crate::propagators::Propagators;
use crate::wave_form::{EnergyKeeper, WaveFlow};
use crate::world::{Compute, Environment, Sources, values};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use nikola_components::checkpoints::Checkpoints;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::ledger::{EnergyFlows, Flow};
use nikola_components::oracle::{Cause, OVERLOAD_DAMPING, OracleReport};
use nikola_components::ports::Egress;
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

    /// The energies that the scheme keeps: in the wave form less leapfrog's shadow.
    fn measure(&self, scheme: &mut Scheme<'_, T>, known: &mut Known) -> Sample {
        let around = self.around;
        let mut sample = measure(
            &self.columns,
            &around.torus,
            &around.wave,
            self.environment,
            &around.propagators,
            &around.compute,
            self.ledger,
            *around.tick,
            known,
        );
        let Some(flow) = &mut scheme.flow else { return sample };
        let pages = pages_ref(self.columns.iter().map(|(psi, ..)| psi));
        let (means, size) =
            ((around.compute.level, around.compute.threads()), (around.wave.dt, around.torus.cell_volume()));
        let shadow = flow.shadow(means, &pages, (&around.propagators, around.wave.beta), size);
        sample.energy -= shadow;
        sample.energy_potential -= shadow;
        sample
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
                Energies::Booked => Amount::default(),
                Energies::Live(power) => {
                    power.refresh(&around.propagators, self.sources, around.torus.page_nodes());
                    power.at(&Border { tick, pages, wave, volume }, self.sources, &potential)
                }
            }
        })
    }

    /// Local sums and sampled powers at this tick border.
    fn powers(
        &self,
        energies: &Energies<T>,
        kinetic_scale: f64,
        scratch: &mut Vec<f64>,
        known: &Known,
    ) -> (Totals, Powers) {
        let around = self.around;
        let (level, threads) = (around.compute.level, around.compute.long_threads());
        let (volume, beta) = (around.torus.cell_volume(), around.wave.beta);
        let mut powers = Powers::default();
        let totals = self.with_values(|pages, potential, damping| {
            let totals = reduce::totals(level, threads, pages, potential, damping);
            if let Energies::Booked = energies {
                return totals;
            }
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
                        Energies::Live(_) | Energies::Booked => {
                            let form = || around.propagators.kinetic_form(threads, pages, damping);
                            known.damped.unwrap_or_else(form)
                        }
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

impl<T: Real + Scalar> Watch<T> {
    fn begin(
        &mut self,
        look: &Look<'_, '_, '_, T>,
        scheme: &mut Scheme<'_, T>,
        flows: &mut EnergyFlows,
        cause: Option<Flow>,
    ) {
        let scale = self.kinetic_scale(look.around.wave.diffusion[0]);
        let work = look.work(&mut self.energies, scale);
        let known = &mut Known::default();
        let (totals, powers) = look.powers(&self.energies, scale, &mut self.scratch, known);
        let measured =
            Measured { sample: look.measure(scheme, known), work, totals, powers, gamma: look.gamma() };
        self.begin_from(&measured, (look.around.tick.0, look.around.wave.dt), flows, cause);
    }

    /// Books one tick; returns what is to be judged.
    fn book(&mut self, look: &Look<'_, '_, '_, T>, flows: &mut EnergyFlows, known: &Known) -> Sight {
        let (tick, dt) = (look.around.tick.0, look.around.wave.dt);
        let entry = self.enter(tick, look.gamma(), flows);
        let scale = self.kinetic_scale(look.around.wave.diffusion[0]);
        let work = look.work(&mut self.energies, scale);
        let mut booked = [self.book_tick(&entry, work, dt), Booked::default()];
        let mut sight = Sight { tick, ..Sight::default() };
        let is_sampled = self.samples(tick);
        if is_sampled || look.around.plan.is_degraded {
            let (totals, powers) = look.powers(&self.energies, scale, &mut self.scratch, known);
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

    fn readmit_on_host(&mut self, look: &Look<'_, '_, '_, T>, flows: &mut EnergyFlows) {
        let around = look.around;
        let (level, threads) = (around.compute.level, around.compute.long_threads());
        let quartic = look.with_values(|pages, _, damping| match damping {
            Values::Uniform(_) => None,
            Values::PerNode(_) => {
                let zero = Values::Uniform(T::from_f64(0.0));
                let density = local_form(level, threads, pages, zero, around.wave.beta, damping);
                Some(around.torus.cell_volume() * density)
            }
        });
        let volume = around.torus.cell_volume();
        self.readmit_interaction((around.wave.beta, around.wave.dt, volume), quartic, flows);
    }
}

/// The scheme of the wave form, which keeps something beside H, and what keeps H in single precision.
#[derive(SystemParam)]
pub struct Scheme<'w, T: Real + Scalar> {
    flow: Option<ResMut<'w, WaveFlow<T>>>,
    keeper: Option<ResMut<'w, EnergyKeeper>>,
}

/// The resources of the watch, where the scene asks for it.
pub(crate) fn equip<T: Real + Scalar>(world: &mut World, setup: &Setup) {
    let Some(settings) = setup.oracle else { return };
    let watch = Watch::<T>::new(setup, settings, world.resource::<Propagators<T>>());
    world.insert_resource(watch);
    world.insert_resource(EnergyFlows::default());
    world.insert_resource(OracleReport::default());
    world.insert_resource(InputLog::default());
    world.insert_resource(Checkpoints::default());
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
    mut scheme: Scheme<'_, T>,
    around: Surroundings<'_, T>,
) {
    let Reach { watch: Some(watch), flows: Some(flows), report, environment, sources, ledger, .. } =
        &mut reach
    else {
        return;
    };
    let look =
        Look { columns, damping: damping.as_readonly(), environment, sources, ledger, around: &around };
    watch.begin(&look, &mut scheme, flows, None);
    if let Some(report) = report {
        watch.tell(report);
    }
}

/// The system.
pub fn balance<T: Real + Scalar>(
    mut columns: WatchedColumns<'_, '_, T>,
    mut damping: DampingColumns<'_, '_, T>,
    mut reach: Reach<'_, T>,
    mut scheme: Scheme<'_, T>,
    mut times: ResMut<'_, StageTimes>,
    mut known: ResMut<'_, Known>,
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
            watch.begin(&look, &mut scheme, flows, Some(cause));
            watch.sight(tick)
        }
        None => watch.book(&look, flows, &known),
    };
    if tick.is_multiple_of(watch.settings.every) {
        watch.check(look.measure(&mut scheme, &mut known), around.wave.dt, &mut sight);
        match &mut scheme.keeper {
            Some(keeper) => keeper.trim(watch.leak),
            None if !environment.is_closed => ledger.trim(watch.leak),
            None => {}
        }
    }
    sight.alarm = plan.alarm;
    sight.is_resume_asked = plan.is_resume_asked;
    sight.restored = plan.restored;
    while let Some(turn) = watch.decide(&mut sight) {
        let (cause, change) = act(&turn, watch, &mut damping, environment, sources);
        *known = Known::default();
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
            watch.begin(&look, &mut scheme, flows, Some(flow));
            ledger.rebase(watch.last.norm);
        }
        watch.announce(tick, turn, report, log, egress);
    }
    watch.conclude(tick, report, log, egress);
    let ended = times.now();
    times.add(Stage::Oracle, ended - began);
    report.tick_duration_ns = times.nanos.iter().sum();
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
    for (psi, velocity, _) in columns.iter_mut() {
        let psi = psi.into_inner();
        psi.re.iter_mut().chain(psi.im.iter_mut()).for_each(|x| *x = T::from_f64(change(x.to_f64())));
        if let Some(velocity) = velocity {
            let velocity = velocity.into_inner();
            let planes = velocity.re.iter_mut().chain(velocity.im.iter_mut());
            planes.for_each(|x| *x = T::from_f64(change(x.to_f64())));
        }
    }
}
