//! The step of the wave form Ψ̈ + ΓΨ̇ − Σ_d D_d ∂_d²Ψ = β|Ψ|²Ψ + E.
//!
//! Invariant: the step is a palindrome, kick by E at the tick's start · half flow of β and of a Γ that varies in space
//! · exact linear flow (with Γ where it is uniform) · the same half flow · kick by E at the tick's end. Every part is
//! an exact flow, so the tick is second order at every node and there is no bound on dt. On a degraded tick both
//! halves of β are skipped.
//!
//! In single precision, transforms there and back change the field by some 1e-9 (rings of three) to 3e-7 (longer
//! axes) of its norm per tick, always in the same direction. On a closed scene [`keep_energy`] measures H in f64 at
//! fixed ticks and hands the linear flow a relative gain of both fields that cancels the leak; the gain joins an
//! increment, where single precision can hold it. Double precision needs none.

use crate::half_potential::kick_pages;
use crate::ingress::TickPlan;
use crate::observables::{ObservedColumns, measure};
use crate::oracle::NormLedger;
use crate::propagators::{Propagators, axis_terms};
use crate::state::{StateError, StateReader, StateWriter, Survives};
use crate::world::{Compute, Environment, Sources, pages_mut};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::fill::Profile;
use nikola_components::setup::{Precision, Setup, WaveParameters};
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::{Damping, Psi, Velocity};
use nikola_kernels::simd::Level;
use nikola_kernels::wave_form::{Kick, WaveForm};
use nikola_kernels::{PageMut, Real};

/// The planned linear flow over one tick.
#[derive(Resource)]
pub struct WaveFlow<T: Real> {
    /// Tables and the order of its sweeps.
    pub plan: WaveForm<T>,
}

impl<T: Real> WaveFlow<T> {
    /// Plans the flow of `setup`. Damping that varies in space is left to the kicks.
    pub fn new(setup: &Setup, level: Level) -> Self {
        let (shape, terms) = axis_terms(setup);
        let alpha = match setup.damping {
            Profile::Uniform(value) => value,
            Profile::PerNode(_) => 0.0,
        };
        Self { plan: WaveForm::new(level, &shape, &terms, setup.wave.dt, alpha) }
    }
}

/// Ticks at which H is measured: powers of two from the first of these to the second, then every so many.
const FIRST_MEASURED: u64 = 64;
const MEASURED_EVERY: u64 = 1024;

/// What keeps H of a closed scene in single precision.
#[derive(Debug, Clone, Default, Resource)]
pub struct EnergyKeeper {
    is_needed: bool,
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
    /// The keeper at tick 0; idle where energy enters or leaves, and in double precision.
    pub fn new(setup: &Setup) -> Self {
        let is_closed =
            matches!(setup.damping, Profile::Uniform(value) if value == 0.0) && setup.emitters.is_empty();
        Self { is_needed: is_closed && setup.precision == Precision::F32, ..Self::default() }
    }

    /// Relative change of both fields in the next linear flow.
    pub fn gain(&self) -> f64 {
        self.gain
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
    let energy =
        measure(&columns, &torus, &wave, &environment, &propagators, &compute, &ledger, *tick).energy;
    if is_rebased {
        keeper.rebase(tick.0, energy);
    } else {
        keeper.steer(tick.0, energy);
    }
    let ended = times.now();
    times.add(Stage::WaveForm, ended - began);
}

/// The columns a step works on.
pub type WaveColumns<'w, 's, T> =
    Query<'w, 's, (&'static mut Psi<T>, &'static mut Velocity<T>, Option<&'static Damping<T>>)>;

/// The step.
pub fn advance<T: Real + Scalar>(
    mut columns: WaveColumns<'_, '_, T>,
    mut times: ResMut<'_, StageTimes>,
    mut tick: ResMut<'_, Tick>,
    flow: Res<'_, WaveFlow<T>>,
    keeper: Res<'_, EnergyKeeper>,
    wave: Res<'_, WaveParameters>,
    sources: Res<'_, Sources<T>>,
    environment: Res<'_, Environment>,
    plan: Res<'_, TickPlan>,
    compute: Res<'_, Compute>,
) {
    let began = times.now();
    let end = Tick(tick.0 + 1);
    let (mut psi, mut velocity, mut damping) = (Vec::new(), Vec::new(), Vec::new());
    for (own_psi, own_velocity, own_damping) in &mut columns {
        psi.push(own_psi.into_inner());
        velocity.push(own_velocity.into_inner());
        damping.extend(own_damping.map(|column| &column.0[..]));
    }
    let mut psi = pages_mut(psi.into_iter());
    let mut velocity: Vec<_> =
        velocity.into_iter().map(|page| PageMut { re: &mut page.re, im: &mut page.im }).collect();
    let half = Kick {
        duration: 0.5 * wave.dt,
        beta: if plan.is_degraded { 0.0 } else { wave.beta },
        damping: environment.uniform_damping.is_none().then_some(&damping[..]),
    };
    let threads = compute.threads();
    kick_pages(&mut velocity, &sources, &wave, *tick, 0.0, 0.5);
    flow.plan.forward(threads, &mut psi, &mut velocity, &half);
    flow.plan.turn(threads, &mut psi, &mut velocity, keeper.gain);
    flow.plan.backward(threads, &mut psi, &mut velocity, &half);
    kick_pages(&mut velocity, &sources, &wave, end, 0.0, 0.5);
    *tick = end;
    let ended = times.now();
    times.add(Stage::WaveForm, ended - began);
}
