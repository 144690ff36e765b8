//! The oracle: watches the norm, and keeps rounding from leaking it.
//!
//! Invariant: on a closed scene (no damping, no sources, real time) ∫|Ψ|² stays at its reference; on an open one the
//! kinetic step alone is kept unitary. Every unitary step in floating point is unitary only to rounding: in single
//! precision the bias is about −5e-8 (three-point rings) to −3e-7 (transforms) of the norm per tick, always in the
//! same direction. The ledger measures the leak in f64 at fixed ticks and hands the opening flow a relative gain
//! that cancels it; the gain is applied in increment form, where single precision can hold it. In imaginary time the
//! ledger renormalises every tick and tracks μ, which enters the local flow, so that the fixed point carries no
//! first-order bias.
//!
//! Where the scene asks for it, the [`balance`] of the energy is watched too, and acted on.

pub mod account;
pub mod balance;
pub mod guard;
pub mod live;
pub mod power;
mod survival;
pub mod watch;
pub mod weigh;

pub(crate) use survival::{load_watch, recall, save_watch, tally};

use crate::ingress::TickPlan;
use crate::observables::pages_ref;
use crate::state::{StateError, StateReader, StateWriter, Survives};
use crate::world::{Compute, Environment, pages_mut};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::setup::{Setup, TimeMode, WaveParameters};
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::Psi;
use nikola_kernels::half_potential::{LocalFlow, Time};
use nikola_kernels::{Real, Values, half_potential, reduce};

/// Ticks after a start or a change from outside during which the norm is measured every tick.
const SETTLING_TICKS: u64 = 64;

/// Ticks between measurements afterwards.
const WATCH_EVERY: u64 = 16;

/// On an open scene the norm changes for good reasons, so the leak of the kinetic step alone is measured, every so
/// many ticks and during the first few.
const LEAK_EVERY: u64 = 256;
const LEAK_FIRST_TICKS: u64 = 4;

/// Relative error of Ψ beyond which a watched world's norm did not leak by rounding: it is left for the oracle to see.
const ROUNDING_MAX: f64 = 1e-5;

/// Largest leak per tick that is taken for rounding, and the share of it that one check corrects.
const TRIM_MAX: f64 = 5e-7;
const TRIM_SHARE: f64 = 0.5;

/// The norm's reference, the gain that keeps it, and μ in imaginary time.
#[derive(Debug, Clone, Default, Resource)]
pub struct NormLedger {
    reference: Option<f64>,
    reference_energy: Option<f64>,
    gain: f64,
    mu: f64,
    kept_norm: Option<f64>,
    last: Option<Measured>,
    since: u64,
    /// Whether the energy balance is watched, and with it the norm's.
    is_watched: bool,
    /// Norm at the last measurement, ∫|Ψ|².
    pub norm: f64,
    /// Sum of the applied gains: the leak that was compensated, as a relative change of Ψ.
    pub compensated: f64,
    /// Ticks at which Ψ was found not finite.
    pub n_nonfinite_ticks: u64,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    tick: u64,
    error: f64,
}

impl NormLedger {
    /// The ledger at tick 0.
    pub fn new(setup: &Setup) -> Self {
        let kept_norm = (setup.wave.time == TimeMode::Imaginary).then(|| setup.norm.unwrap_or(1.0));
        Self { kept_norm, is_watched: setup.oracle.is_some(), ..Self::default() }
    }

    /// Relative change of Ψ to apply in the next opening flow.
    pub fn gain(&self) -> f64 {
        self.gain
    }

    /// μ of the imaginary-time flow.
    pub fn mu(&self) -> f64 {
        self.mu
    }

    /// ∫|Ψ|² that drifts are measured against.
    pub fn reference_norm(&self) -> Option<f64> {
        self.reference
    }

    /// Energy that drifts are measured against.
    pub fn reference_energy(&self) -> Option<f64> {
        self.reference_energy
    }

    /// Sets the reference of both drifts.
    pub fn set_reference(&mut self, norm: f64, energy: f64) {
        self.reference = Some(norm);
        self.reference_energy = Some(energy);
        self.last = None;
        self.since = 0;
    }

    /// ∫|Ψ|² that left on purpose: drifts are measured against what remains.
    pub fn withdraw(&mut self, norm: f64) {
        self.reference = self.reference.map(|reference| reference - norm);
    }

    /// The balance of an open, watched world lacks `leak` of Ψ per tick, relatively: rounding, if it is that small.
    pub(crate) fn trim(&mut self, leak: f64) {
        if leak.abs() <= TRIM_MAX {
            self.gain -= TRIM_SHARE * leak;
        }
    }

    /// The state was changed from outside: the norm is taken as it is from now on.
    pub(crate) fn rebase(&mut self, norm: f64) {
        self.reference = Some(norm);
        self.last = None;
        self.since = 0;
    }

    /// Whether this tick measures the leak of the kinetic step.
    pub fn measures_leak(&self, tick: Tick, environment: &Environment) -> bool {
        !environment.is_closed
            && self.kept_norm.is_none()
            && (tick.0 < LEAK_FIRST_TICKS || (!self.is_watched && tick.0.is_multiple_of(LEAK_EVERY)))
    }

    /// The kinetic step took Σ|Ψ|² from `before` to `after`: the next opening flows undo that change.
    pub fn note_leak(&mut self, before: f64, after: f64) {
        let leak = 0.5 * (after - before) / before;
        if leak.is_finite() {
            self.gain = -leak;
        }
    }

    /// Counts a tick; the ticks until the next measurement when one is due now.
    pub fn due(&mut self, tick: Tick, plan: &TickPlan) -> Option<u64> {
        self.compensated += self.gain;
        let interval = if self.since < SETTLING_TICKS { 1 } else { WATCH_EVERY };
        self.since += 1;
        let is_due = interval == 1 || tick.0.is_multiple_of(WATCH_EVERY) || plan.is_rebased;
        (is_due || self.kept_norm.is_some()).then_some(interval)
    }

    /// Judges a measured norm: steers the gain, or in imaginary time updates μ from the norm's rate and returns the
    /// relative change of Ψ that restores the kept norm.
    pub fn judge(
        &mut self,
        tick: Tick,
        norm: f64,
        interval: u64,
        environment: &Environment,
        plan: &TickPlan,
        wave: &WaveParameters,
    ) -> Option<f64> {
        self.norm = norm;
        if !norm.is_finite() {
            self.n_nonfinite_ticks += 1;
        } else if let Some(kept) = self.kept_norm {
            if norm > 0.0 {
                self.mu -= 0.5 * nikola_kernels::transcendental::ln(norm / kept) / wave.dt;
                self.norm = kept;
                return Some((kept / norm).sqrt() - 1.0);
            }
        } else if environment.is_closed {
            if plan.is_rebased {
                self.rebase(norm);
            } else {
                self.steer(tick.0, norm, interval);
            }
        }
        None
    }

    /// Forgets what was measured, for a world that goes on from an earlier tick.
    pub fn rewind(&mut self) {
        (self.last, self.since, self.gain) = (None, 0, 0.0);
    }

    /// Dead-beat control: the next interval cancels the measured leak and the error that is there.
    fn steer(&mut self, tick: u64, norm: f64, interval: u64) {
        let Some(reference) = self.reference.filter(|reference| *reference > 0.0) else { return };
        let error = 0.5 * ((norm - reference) / reference);
        if self.is_watched && error.abs() > ROUNDING_MAX {
            self.rebase(norm);
            return;
        }
        if let Some(last) = self.last {
            let ticks = (tick - last.tick).max(1) as f64;
            let leak = (error - last.error) / ticks - self.gain;
            self.gain = -leak - error / interval as f64;
        }
        self.last = Some(Measured { tick, error });
    }
}

/// Everything but the kept norm, which the setup says.
impl Survives for NormLedger {
    fn save(&self, out: &mut StateWriter) {
        out.put_f64_or_none(self.reference);
        out.put_f64_or_none(self.reference_energy);
        out.put_f64(self.gain);
        out.put_f64(self.mu);
        out.put_u64(u64::from(self.last.is_some()));
        let last = self.last.unwrap_or(Measured { tick: 0, error: 0.0 });
        out.put_u64(last.tick);
        out.put_f64(last.error);
        out.put_u64(self.since);
        out.put_f64(self.norm);
        out.put_f64(self.compensated);
        out.put_u64(self.n_nonfinite_ticks);
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.reference = from.take_f64_or_none()?;
        self.reference_energy = from.take_f64_or_none()?;
        self.gain = from.take_f64()?;
        self.mu = from.take_f64()?;
        let has_measured = from.take_u64()? != 0;
        let last = Measured { tick: from.take_u64()?, error: from.take_f64()? };
        self.last = has_measured.then_some(last);
        self.since = from.take_u64()?;
        self.norm = from.take_f64()?;
        self.compensated = from.take_f64()?;
        self.n_nonfinite_ticks = from.take_u64()?;
        Ok(())
    }
}

/// The stage.
pub fn watch<T: Real + Scalar>(
    mut psi: Query<'_, '_, &mut Psi<T>>,
    mut ledger: ResMut<'_, NormLedger>,
    mut times: ResMut<'_, StageTimes>,
    environment: Res<'_, Environment>,
    compute: Res<'_, Compute>,
    torus: Res<'_, Torus>,
    wave: Res<'_, WaveParameters>,
    plan: Res<'_, TickPlan>,
    tick: Res<'_, Tick>,
) {
    let began = times.now();
    if let Some(interval) = ledger.due(*tick, &plan) {
        let views = pages_ref(psi.iter());
        let norm = torus.cell_volume() * reduce::norm2(compute.level, compute.threads(), &views);
        if let Some(gain) = ledger.judge(*tick, norm, interval, &environment, &plan, &wave) {
            scale(&mut psi, &compute, gain);
        }
    }
    let ended = times.now();
    times.add(Stage::Oracle, ended - began);
}

/// Multiplies Ψ by 1 + `gain` (imaginary time).
fn scale<T: Real + Scalar>(psi: &mut Query<'_, '_, &mut Psi<T>>, compute: &Compute, gain: f64) {
    let mut pages = pages_mut(psi.iter_mut().map(Mut::into_inner));
    let zero = T::from_f64(0.0);
    let flow = LocalFlow {
        duration: 0.0,
        potential: Values::Uniform(zero),
        damping: Values::Uniform(zero),
        beta: 0.0,
        time: Time::Imaginary { mu: 0.0 },
        gain,
    };
    half_potential::apply(compute.level, compute.threads(), &mut pages, &flow);
}
