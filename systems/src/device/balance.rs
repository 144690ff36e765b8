//! The energy balance on a device: the stage [`crate::oracle::balance`], whose sums the backend keeps in its log.
//!
//! Invariant: each tick enters what the host knows of it (inflows, phasors of the sources, parameters) and tells the
//! backend which sums to append; the log is read at the checks, and when something needs an answer, and every tick is
//! then booked in order with the same arithmetic as on the host. So a tick waits for nothing, and when the log is read
//! changes no figure. What the oracle reacts to is seen at the checks: the largest |Ψ| and the nodes that are not finite
//! since the last one; while it freezes, at every sample.

use super::{Device, Inner};
use crate::egress::Sampling;
use crate::ingress::TickPlan;
use crate::oracle::account::{Amount, Powers};
use crate::oracle::balance::{Change, DRIVE_STEP, DampingColumns, Reach, Surroundings, act};
use crate::oracle::guard::{Act, Sight};
use crate::oracle::power::add_work;
use crate::oracle::watch::{Measured, TickEntry, Watch};
use crate::world::{Environment, Sources};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::ledger::EnergyFlows;
use nikola_components::setup::WaveParameters;
use nikola_components::telemetry::{Sample, Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::Damping;
use nikola_kernels::backend::{
    DAMPING, DAMPING_KINETIC, DAMPING_POTENTIAL, DAMPING_QUARTIC, DRIVE, KINETIC, LOG_ENTRIES_MAX, LocalStep,
    LogEntry, MAX_ABS2, N_NONFINITE, NORM2, POTENTIAL, QUARTIC, Quantity, Wanted,
};
use nikola_kernels::reduce::Totals;
use nikola_kernels::source::Strengths;

/// Ticks that wait to be booked.
#[derive(Debug, Default, Resource)]
pub struct DeviceLog {
    pending: Vec<Pending>,
    n_entries: usize,
    /// Largest |Ψ|² and most nodes that are not finite since the last judgement.
    pub(crate) seen: (f64, u64),
}

/// One tick that waits.
#[derive(Debug)]
struct Pending {
    entry: TickEntry,
    /// Phasors of the entries of work, which come first.
    phasors: Vec<(f64, f64)>,
    /// Whether an entry of sums follows, and whether it ends a panel.
    has_sums: bool,
    is_sampled: bool,
    terms: Terms,
}

/// What turns sums into energies.
#[derive(Debug, Clone, Copy)]
struct Terms {
    volume: f64,
    beta: f64,
    /// T now, relative to when the world was built.
    kinetic: f64,
    /// V and Γ where they are uniform.
    potential: Option<f64>,
    damping: Option<f64>,
}

impl Terms {
    fn of(environment: &Environment, torus: &Torus, wave: &WaveParameters, kinetic: f64) -> Self {
        Self {
            volume: torus.cell_volume(),
            beta: wave.beta,
            kinetic,
            potential: environment.uniform_potential,
            damping: environment.uniform_damping,
        }
    }

    fn totals(&self, sums: &LogEntry) -> Totals {
        Totals {
            norm2: sums[NORM2],
            quartic: sums[QUARTIC],
            potential: self.potential.map_or(sums[POTENTIAL], |v| v * sums[NORM2]),
            damping: self.damping.map_or(sums[DAMPING], |gamma| gamma * sums[NORM2]),
            max_abs2: sums[MAX_ABS2],
            n_nonfinite: sums[N_NONFINITE] as u64,
        }
    }

    fn powers(&self, sums: &LogEntry) -> Powers {
        let damping = match self.damping {
            Some(gamma) => Amount { energy: -gamma * self.beta * self.volume * sums[QUARTIC], norm: 0.0 },
            None => {
                let potential = self.potential.map_or(sums[DAMPING_POTENTIAL], |v| v * sums[DAMPING]);
                let local = potential + self.beta * sums[DAMPING_QUARTIC];
                Amount { energy: -2.0 * self.volume * local, norm: -2.0 * self.volume * sums[DAMPING] }
            }
        };
        let damping_kinetic = match self.damping {
            Some(_) => 0.0,
            None => -2.0 * self.volume * self.kinetic * sums[DAMPING_KINETIC],
        };
        Powers { damping, damping_kinetic, drive: self.volume * sums[DRIVE] }
    }

    fn sample(&self, tick: Tick, dt: f64, sums: &LogEntry) -> Sample {
        let totals = self.totals(sums);
        let energy_kinetic = self.volume * self.kinetic * sums[KINETIC];
        let energy_potential = self.volume * totals.potential;
        let energy_interaction = 0.5 * self.beta * self.volume * totals.quartic;
        Sample {
            tick: tick.0,
            time: tick.time(dt),
            norm: self.volume * totals.norm2,
            energy: energy_kinetic + energy_potential + energy_interaction,
            energy_kinetic,
            energy_potential,
            energy_interaction,
            max_abs_psi: totals.max_abs2.sqrt(),
            n_nonfinite: totals.n_nonfinite,
            ..Sample::default()
        }
    }
}

impl DeviceLog {
    /// Books every tick that waits; the last sums, if there were any.
    fn drain(
        &mut self,
        inner: &mut Inner,
        watch: &mut Watch<f32>,
        flows: &mut EnergyFlows,
        wave: &WaveParameters,
    ) -> Option<LogEntry> {
        if self.pending.is_empty() {
            return None;
        }
        let entries = if self.n_entries == 0 {
            Vec::new()
        } else {
            inner.call(|backend| backend.watching()?.read_log())?
        };
        self.n_entries = 0;
        let mut entries = entries.into_iter();
        let mut last = None;
        for Pending { entry, phasors, has_sums, is_sampled, terms } in self.pending.drain(..) {
            let mut work = Amount::default();
            for (phasor, sums) in phasors.into_iter().zip(entries.by_ref()) {
                add_work(&mut work, phasor, &[sums[0], sums[1], sums[2], sums[3]], wave, terms.volume);
            }
            Watch::<f32>::add_booked(&watch.book_tick(&entry, work, wave.dt), flows);
            let Some(sums) = has_sums.then(|| entries.next()).flatten() else { continue };
            watch.last_totals = terms.totals(&sums);
            self.seen.0 = self.seen.0.max(sums[MAX_ABS2]);
            self.seen.1 = self.seen.1.max(sums[N_NONFINITE] as u64);
            if is_sampled {
                let booked = watch.book_sample(entry.tick, &terms.powers(&sums), wave.dt);
                Watch::<f32>::add_booked(&booked, flows);
            }
            last = Some(sums);
        }
        watch.booked = flows.total();
        last
    }
}

/// ∂tV of this tick border, for sums that want it; whether there is any.
fn send_drive(
    inner: &mut Inner,
    environment: &Environment,
    torus: &Torus,
    wave: &WaveParameters,
    t: f64,
) -> bool {
    let Some(drive) = &environment.drive else { return false };
    let (step, nodes) = (DRIVE_STEP * wave.dt, torus.page_nodes());
    let mut rate = Vec::with_capacity(torus.n_nodes());
    let (mut early, mut late) = (vec![0.0; nodes], vec![0.0; nodes]);
    for &page in &environment.pages {
        early.fill(0.0);
        late.fill(0.0);
        drive.add(t - step, page, &mut early);
        drive.add(t + step, page, &mut late);
        rate.extend(late.iter().zip(&early).map(|(late, early)| ((late - early) / (2.0 * step)) as f32));
    }
    inner.call(|backend| backend.watching()?.set_drive(&rate));
    true
}

/// Γ as the host has it, sent to the backend.
pub(super) fn send_damping<'a>(
    inner: &mut Inner,
    environment: &Environment,
    columns: impl Iterator<Item = &'a Damping<f32>>,
) {
    let damping = match environment.uniform_damping {
        Some(value) => Quantity::Uniform(value),
        None => Quantity::PerNode(columns.flat_map(|column| column.0.iter().copied()).collect()),
    };
    inner.call(|backend| backend.set_damping(&damping));
}

/// Appends this border's work of the sources; its phasors.
fn log_work(
    inner: &mut Inner,
    watch: &Watch<f32>,
    sources: &Sources<f32>,
    around: &Surroundings<'_, f32>,
    kinetic: f64,
) -> Vec<(f64, f64)> {
    let strengths = Strengths { kinetic, beta: around.wave.beta };
    // Where T can change, the host's own stage keeps the balance.
    let Some((_, power)) = watch.energies.constant() else { return Vec::new() };
    power
        .phasors(*around.tick, sources, &around.wave)
        .map(|(profile, phasor)| {
            inner.call(|backend| backend.watching()?.log_work(profile, &strengths));
            phasor
        })
        .collect()
}

/// The world as it is at this border; waits for the device. The log must be empty.
fn measure(
    inner: &mut Inner,
    watch: &Watch<f32>,
    sources: &Sources<f32>,
    environment: &Environment,
    around: &Surroundings<'_, f32>,
) -> Option<Measured> {
    let kinetic = watch.kinetic_scale(around.wave.diffusion[0]);
    let terms = Terms::of(environment, &around.torus, &around.wave, kinetic);
    let drive = send_drive(inner, environment, &around.torus, &around.wave, around.tick.time(around.wave.dt));
    let sums = inner.call(|backend| backend.watching()?.sums(Wanted { kinetic: true, drive }))?;
    let phasors = log_work(inner, watch, sources, around, kinetic);
    let mut work = Amount::default();
    if !phasors.is_empty() {
        let entries = inner.call(|backend| backend.watching()?.read_log())?;
        for (phasor, sums) in phasors.into_iter().zip(&entries) {
            add_work(&mut work, phasor, &[sums[0], sums[1], sums[2], sums[3]], &around.wave, terms.volume);
        }
    }
    Some(Measured {
        sample: terms.sample(*around.tick, around.wave.dt, &sums),
        work,
        totals: terms.totals(&sums),
        powers: terms.powers(&sums),
        gamma: environment.uniform_damping.unwrap_or(0.0),
    })
}

/// Whether somebody waits for an answer in this tick.
fn is_asked(plan: &TickPlan) -> bool {
    plan.is_degraded
        || plan.alarm.is_some()
        || plan.is_resume_asked
        || plan.restored.is_some()
        || plan.wants_sample
}

/// The system.
pub fn balance(
    mut device: ResMut<'_, Device>,
    mut log: ResMut<'_, DeviceLog>,
    mut damping: DampingColumns<'_, '_, f32>,
    mut reach: Reach<'_, f32>,
    mut times: ResMut<'_, StageTimes>,
    around: Surroundings<'_, f32>,
    sampling: Res<'_, Sampling>,
) {
    let Reach { watch, flows, report, log: inputs, environment, sources, ledger, egress } = &mut reach;
    let (Some(watch), Some(flows), Some(report), Some(inputs)) = (watch, flows, report, inputs) else {
        return;
    };
    let began = times.now();
    let inner = device.inner();
    let (tick, dt, plan) = (around.tick.0, around.wave.dt, &around.plan);
    let kinetic = watch.kinetic_scale(around.wave.diffusion[0]);
    let terms = Terms::of(environment, &around.torus, &around.wave, kinetic);
    let is_check = tick.is_multiple_of(watch.settings.every);
    let mut sight = Sight { tick, ..Sight::default() };
    let mut checked = None;
    if let Some(cause) = flows.take_rest() {
        log.drain(inner, watch, flows, &around.wave);
        let Some(measured) = measure(inner, watch, sources, environment, &around) else { return };
        watch.begin_from(&measured, (tick, dt), flows, Some(cause));
        log.seen = (measured.totals.max_abs2, measured.totals.n_nonfinite);
        checked = Some(measured.sample);
        sight = watch.sight(tick);
    } else {
        let entry = watch.enter(tick, environment.uniform_damping.unwrap_or(0.0), flows);
        let is_sampled = watch.samples(tick);
        let has_sums = is_sampled || is_check || plan.is_degraded;
        let phasors = log_work(inner, watch, sources, &around, kinetic);
        log.n_entries += phasors.len() + usize::from(has_sums);
        if has_sums {
            let drive = send_drive(inner, environment, &around.torus, &around.wave, around.tick.time(dt));
            let kinetic = is_check || terms.damping.is_none();
            inner.call(|backend| backend.watching()?.log_sums(Wanted { kinetic, drive }));
        }
        let n_next = phasors.len() + 1;
        log.pending.push(Pending { entry, phasors, has_sums, is_sampled, terms });
        let is_full = log.n_entries + n_next > LOG_ENTRIES_MAX;
        let is_freezing = watch.guard.health.mutes_sources() && is_sampled;
        // Who reads the log, and when, must not matter: only these ticks judge what it shows.
        let is_judged = is_check || is_freezing || is_asked(plan);
        let sums = if is_judged || is_full || sampling.is_due(*around.tick) {
            log.drain(inner, watch, flows, &around.wave)
        } else {
            None
        };
        if is_judged {
            sight.n_nonfinite = log.seen.1;
            let largest =
                if watch.guard.health.mutes_sources() { watch.last_totals.max_abs2 } else { log.seen.0 };
            sight.max_abs_psi = Some(largest.sqrt());
            if let Some(sums) = sums.filter(|_| plan.is_degraded) {
                let quartic = terms.beta * terms.volume * sums[DAMPING_QUARTIC];
                let quartic = terms.damping.is_none().then_some(quartic);
                watch.readmit_interaction((terms.beta, dt, terms.volume), quartic, flows);
                watch.booked = flows.total();
            }
            checked = sums.filter(|_| is_check).map(|sums| terms.sample(*around.tick, dt, &sums));
            log.seen = (0.0, 0);
        }
    }
    if let Some(sample) = checked.filter(|_| is_check) {
        let largest = sight.max_abs_psi;
        watch.check(sample, dt, &mut sight);
        sight.max_abs_psi = largest;
        if !environment.is_closed {
            ledger.trim(watch.leak);
        }
    }
    sight.alarm = plan.alarm;
    sight.is_resume_asked = plan.is_resume_asked;
    sight.restored = plan.restored;
    while let Some(turn) = watch.decide(&mut sight) {
        let (cause, change) = act(&turn, watch, &mut damping, environment, sources);
        if matches!(turn.act, Act::Freeze | Act::Thaw) {
            send_damping(inner, environment, damping.iter().flatten());
        }
        apply(inner, change, &around.torus);
        if let Some(flow) = cause {
            log.drain(inner, watch, flows, &around.wave);
            let Some(measured) = measure(inner, watch, sources, environment, &around) else { return };
            watch.begin_from(&measured, (tick, dt), flows, Some(flow));
            ledger.rebase(watch.last.norm);
        }
        watch.announce(tick, turn, report, inputs, egress);
    }
    watch.conclude(tick, report, inputs, egress);
    let ended = times.now();
    times.add(Stage::Oracle, ended - began);
    report.tick_duration_ns = times.nanos.iter().sum();
}

/// Carries a change of Ψ out on the device.
fn apply(inner: &mut Inner, change: Change, torus: &Torus) {
    match change {
        Change::None => return,
        Change::Scale(factor) => {
            let scale = LocalStep { duration: 0.0, beta: 0.0, gain: factor - 1.0, mu: 0.0 };
            inner.call(|backend| backend.local(&scale));
        }
        Change::Zero => {
            let zero = vec![[0.0; 2]; torus.n_nodes()];
            inner.call(|backend| backend.write(&zero));
        }
    }
    inner.is_current = false;
}

/// Books what waits, so that the scalars of the world are whole: before they are saved.
pub fn settle(
    device: Option<ResMut<'_, Device>>,
    log: Option<ResMut<'_, DeviceLog>>,
    mut reach: Reach<'_, f32>,
    wave: Res<'_, WaveParameters>,
) {
    let Reach { watch: Some(watch), flows: Some(flows), .. } = &mut reach else { return };
    if let (Some(mut device), Some(mut log)) = (device, log) {
        log.drain(device.inner(), watch, flows, &wave);
    }
}
