//! What the watch on the balance remembers, how it books a tick, judges a check and tells of it.
//!
//! Invariant: nothing here reads the field; [`super::balance`] measures it on the host, `crate::device::balance` on a
//! device, which books its ticks later with the same arithmetic.

use super::account::{Account, Amount, Booked, Powers};
use super::guard::{Act, Guard, Sight, Turn};
use super::weigh::Energies;
use crate::ingress::InputLog;
use crate::propagators::Propagators;
use bevy_ecs::prelude::*;
use nikola_components::column::Scalar;
use nikola_components::ledger::{EnergyFlows, Flow};
use nikola_components::oracle::{Cause, Health, Incident, OracleReport, OracleSettings, OracleTally};
use nikola_components::ports::{Egress, Event};
use nikola_components::setup::{Equation, Setup};
use nikola_components::telemetry::Sample;
use nikola_kernels::Real;
use nikola_kernels::reduce::Totals;

/// Everything the watch remembers.
#[derive(Resource)]
pub struct Watch<T: Real> {
    pub(crate) settings: OracleSettings,
    pub(super) account: Account,
    pub(crate) guard: Guard,
    pub(crate) energies: Energies<T>,
    /// Whether the equation is of second order in time: then every flow is booked by the stage that lets it through, and the
    /// norm, which nothing conserves, has no balance.
    pub(crate) is_second_order: bool,
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
    pub(super) gamma: f64,
    /// Resets since the last quiet stretch: so many checkpoints are passed over.
    pub(super) skip: usize,
    pub(super) scratch: Vec<f64>,
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
            is_second_order: matches!(setup.equation, Equation::Wave { .. }),
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

    /// What H should be now, with what `flows` booked since the last border.
    pub(crate) fn expected_energy(&self, flows: &EnergyFlows) -> f64 {
        self.account.expected.energy + flows.total() - self.booked
    }

    /// State of the watched world.
    pub fn health(&self) -> Health {
        self.guard.health
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
        self.gamma = self.fading(measured.gamma);
        self.deficit = Amount::default();
        self.account = Account::default();
        self.account.anchor(Amount { energy: self.last.energy, norm: self.last.norm });
        self.closing = None;
        // Whatever this tick brought is in what was measured.
        flows.take_at_end();
        flows.take_jumps();
        flows.take_norm();
        flows.take_ratios();
        self.account.open(measured.work);
        self.account.sample(&measured.powers, measured.gamma, 0, dt);
        self.sampled_at = tick;
        self.last_totals = measured.totals;
        self.booked = flows.total();
    }

    /// Takes what other stages booked in the tick that ended.
    pub(crate) fn enter(&mut self, tick: u64, gamma: f64, flows: &mut EnergyFlows) -> TickEntry {
        let at_end = Amount::from(flows.take_at_end());
        let inflow = Amount { energy: flows.total() - self.booked - at_end.energy, norm: flows.take_norm() };
        self.booked = flows.total();
        let mut jumps = flows.take_jumps().map(Amount::from);
        if self.is_second_order {
            jumps = Default::default();
        }
        TickEntry { tick, inflow, at_end, jumps, ratios: flows.take_ratios(), gamma }
    }

    /// Books one tick in the account.
    pub(crate) fn book_tick(&mut self, entry: &TickEntry, work: Amount, dt: f64) -> Booked {
        // The border where Γ changed is the last one: what was sampled there is what acted since.
        self.account.scale_damping(entry.ratios.0);
        self.account.scale_kinetic(entry.ratios.1);
        self.gamma = self.fading(entry.gamma);
        let closing = self.closing.take().unwrap_or(work);
        let gamma = if self.is_second_order { 0.0 } else { self.gamma };
        let mut booked = self.account.tick(entry.inflow, closing, work, gamma, dt);
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
        let gamma = if self.is_second_order { 0.0 } else { self.gamma };
        let booked = self.account.sample(powers, gamma, tick - self.sampled_at, dt);
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

    /// Whether the balance of this tick asks for ⟨ΓΨ,TΨ⟩ of a Γ that varies in space, by the propagators' form.
    pub(crate) fn asks_for_kinetic(&self, tick: u64) -> bool {
        matches!(self.energies, Energies::Live(_)) && self.samples(tick)
    }

    /// A degraded tick ran without β: `ingress` took the interaction energy out of H, here it comes back. `quartic` is
    /// ∫Γ|Ψ|⁴ where Γ varies in space.
    pub(crate) fn readmit_interaction(
        &mut self,
        (beta, dt, volume): (f64, f64, f64),
        quartic: Option<f64>,
        flows: &mut EnergyFlows,
    ) {
        let factor = if self.is_second_order { -0.25 } else { 0.5 };
        let interaction = factor * beta * volume * self.last_totals.quartic;
        flows.add(Flow::Parameters, interaction);
        if self.is_second_order {
            return self.account.adjust(interaction);
        }
        // The sampled part of the damping power that belongs to β did not act in this tick: −2Γ·W where Γ is uniform
        // (the account does the other half), −2∫Γβ|Ψ|⁴ where it is not.
        let spared = dt * quartic.map_or(2.0 * self.gamma * interaction, |sum| 2.0 * sum);
        flows.add(Flow::Damping, spared);
        self.account.adjust(interaction + spared);
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
        let lacking = if self.is_second_order { 0.0 } else { self.last.norm - self.account.expected.norm };
        // What cannot be explained fades like everything else, and is forgotten in the end.
        let forgotten = (self.settings.every as f64 / self.settings.memory_ticks as f64).min(1.0);
        let fading = -2.0 * self.gamma * self.settings.every as f64 * dt;
        let kept = (1.0 - forgotten) * libm::exp(fading);
        self.deficit = Amount {
            energy: self.deficit.energy * kept + unexplained,
            norm: self.deficit.norm * kept + lacking,
        };
        self.deficit_total += unexplained;
        let share =
            if self.is_second_order { unexplained / self.last.energy } else { lacking / self.last.norm };
        self.leak = 0.5 * share / self.settings.every as f64;
        self.account.anchor(Amount { energy: self.last.energy, norm: self.last.norm });
        sight.residual = Some(self.deficit.energy.abs() / self.scale());
    }

    /// The rate with which H fades as e^{−2Γt}: of the wave form's as e^{−Γt}.
    fn fading(&self, gamma: f64) -> f64 {
        if self.is_second_order { 0.5 * gamma } else { gamma }
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

    /// Takes back what it only tells; the report of the last tick follows from that and from what survived.
    pub(crate) fn recall(&mut self, tally: Option<OracleTally>) -> OracleReport {
        let expected = self.account.expected;
        let tally = tally.unwrap_or(OracleTally {
            norm: expected.norm,
            energy: expected.energy,
            max_abs2: self.last_totals.max_abs2,
            n_nonfinite: self.last_totals.n_nonfinite,
            ..OracleTally::default()
        });
        (self.last.norm, self.last.energy) = (tally.norm, tally.energy);
        (self.last_totals.max_abs2, self.last_totals.n_nonfinite) = (tally.max_abs2, tally.n_nonfinite);
        let mut report = OracleReport {
            energy_drift_worst: tally.energy_drift_worst,
            n_renormalisations: tally.n_renormalisations,
            n_scrams: tally.n_scrams,
            n_resets: tally.n_resets,
            ..OracleReport::default()
        };
        self.tell(&mut report);
        report
    }

    /// The figures of the tick.
    pub(super) fn tell(&self, report: &mut OracleReport) {
        report.health = self.guard.health;
        report.strikes = self.guard.strikes;
        report.energy_drift_ratio = self.deficit.energy.abs() / self.scale();
        report.energy_drift_worst = report.energy_drift_worst.max(report.energy_drift_ratio);
        report.energy_drift_total = self.deficit_total / self.scale();
        report.norm = self.account.expected.norm;
        report.max_abs_psi = self.last_totals.max_abs2.sqrt();
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
