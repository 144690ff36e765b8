//! What keeps H of a closed scene in single precision.
//!
//! Invariant: at fixed ticks H is measured in f64 (less what leapfrog keeps beside it, see the kernel), and the step is
//! handed a relative gain of both fields that cancels the leak; the gain joins an increment, where single precision can
//! hold it. Double precision needs none; a watched world is trimmed by its balance instead. Source: as the norm's ledger
//! in [`crate::oracle`].

use super::WaveFlow;
use crate::ingress::TickPlan;
use crate::observables::{Known, ObservedColumns, measure, pages_ref};
use crate::oracle::NormLedger;
use crate::propagators::Propagators;
use crate::state::{StateError, StateReader, StateWriter, Survives};
use crate::world::{Compute, Environment};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::fill::Profile;
use nikola_components::setup::{Precision, Setup, WaveParameters};
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_kernels::Real;

/// Ticks at which H is measured: powers of two from the first of these to the second, then every so many.
const FIRST_MEASURED: u64 = 64;
const MEASURED_EVERY: u64 = 1024;

/// Largest leak per tick that is taken for rounding, and the share of it that one check of the balance corrects.
const TRIM_MAX: f64 = 5e-7;
const TRIM_SHARE: f64 = 0.5;

/// What keeps H of a closed scene in single precision.
#[derive(Debug, Clone, Default, Resource)]
pub struct EnergyKeeper {
    is_needed: bool,
    /// Whether the balance trims the gain.
    is_trimmed: bool,
    reference: Option<f64>,
    /// Relative change of both fields in each linear flow.
    gain: f64,
    last: Option<Measured>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    tick: u64,
    /// Relative error of the fields, half of that of H.
    error: f64,
}

impl EnergyKeeper {
    /// The keeper at tick 0; idle where energy enters or leaves, where its balance is watched, and in double precision.
    pub fn new(setup: &Setup) -> Self {
        let is_closed = matches!(setup.damping, Profile::Uniform(value) if value == 0.0)
            && setup.emitters.is_empty()
            && setup.plasticity.is_none()
            && setup.engs.is_none();
        let is_single = setup.precision == Precision::F32;
        Self {
            is_needed: is_closed && is_single && setup.oracle.is_none(),
            is_trimmed: is_single && setup.oracle.is_some(),
            ..Self::default()
        }
    }

    /// Relative change of both fields in the next linear flow.
    pub fn gain(&self) -> f64 {
        self.gain
    }

    /// The balance of a watched world lacks `leak` of both fields per tick, relatively: rounding, if it is that small.
    pub(crate) fn trim(&mut self, leak: f64) {
        if self.is_trimmed && leak.abs() <= TRIM_MAX {
            self.gain -= TRIM_SHARE * leak;
        }
    }

    /// Whether [`keep_energy`] looks at the columns before this tick's step.
    pub fn measures(&self, tick: Tick, plan: &TickPlan) -> bool {
        self.is_due(tick.0) || (self.is_needed && plan.is_rebased)
    }

    fn is_due(&self, tick: u64) -> bool {
        let is_early = tick >= FIRST_MEASURED && tick.is_power_of_two();
        self.is_needed && (is_early || tick.is_multiple_of(MEASURED_EVERY) || self.reference.is_none())
    }

    /// Dead-beat control: until the next measurement, cancel the measured leak and the error that is there.
    fn steer(&mut self, tick: u64, energy: f64) {
        let Some(reference) = self.reference.filter(|reference| *reference > 0.0) else {
            self.reference = Some(energy);
            return;
        };
        let error = 0.5 * (energy - reference) / reference;
        let last = self.last.unwrap_or(Measured { tick: 0, error: 0.0 });
        let leak = (error - last.error) / (tick - last.tick).max(1) as f64 - self.gain;
        let next = if tick < MEASURED_EVERY { tick.max(FIRST_MEASURED) } else { MEASURED_EVERY };
        self.gain = -leak - error / next as f64;
        self.last = Some(Measured { tick, error });
    }

    /// The state was changed from outside: H is taken as it is from now on, the leak as it was.
    fn rebase(&mut self, tick: u64, energy: f64) {
        self.reference = Some(energy);
        self.last = Some(Measured { tick, error: 0.0 });
    }
}

/// Everything but whether it is needed, which the setup says.
impl Survives for EnergyKeeper {
    fn save(&self, out: &mut StateWriter) {
        out.put_f64_or_none(self.reference);
        out.put_f64(self.gain);
        out.put_u64(self.last.map_or(u64::MAX, |last| last.tick));
        out.put_f64(self.last.map_or(0.0, |last| last.error));
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.reference = from.take_f64_or_none()?;
        self.gain = from.take_f64()?;
        let last = Measured { tick: from.take_u64()?, error: from.take_f64()? };
        self.last = (last.tick != u64::MAX).then_some(last);
        Ok(())
    }
}

/// The energy is kept where nothing else changes it.
pub fn keep_energy<T: Real + Scalar>(
    columns: ObservedColumns<'_, '_, T>,
    mut keeper: ResMut<'_, EnergyKeeper>,
    mut flow: ResMut<'_, WaveFlow<T>>,
    mut times: ResMut<'_, StageTimes>,
    plan: Res<'_, TickPlan>,
    torus: Res<'_, Torus>,
    wave: Res<'_, WaveParameters>,
    environment: Res<'_, Environment>,
    propagators: Res<'_, Propagators<T>>,
    compute: Res<'_, Compute>,
    ledger: Res<'_, NormLedger>,
    tick: Res<'_, Tick>,
) {
    if !keeper.measures(*tick, &plan) {
        return;
    }
    let is_rebased = keeper.is_needed && plan.is_rebased;
    let began = times.now();
    let known = &mut Known::default();
    let sample =
        measure(&columns, &torus, &wave, &environment, &propagators, &compute, &ledger, *tick, known);
    let pages = pages_ref(columns.iter().map(|(psi, ..)| psi));
    let (means, size) = ((compute.level, compute.threads()), (wave.dt, torus.cell_volume()));
    let energy = sample.energy - flow.shadow(means, &pages, (&propagators, wave.beta), size);
    if is_rebased {
        keeper.rebase(tick.0, energy);
    } else {
        keeper.steer(tick.0, energy);
    }
    let ended = times.now();
    times.add(Stage::WaveForm, ended - began);
}
