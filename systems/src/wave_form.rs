//! The step of the wave form Ψ̈ + ΓΨ̇ − ∂_i(D^{ij}∂_jΨ) = β|Ψ|²Ψ + E.
//!
//! Invariant: a tick is a palindrome of exact flows, so it is of second order at every node. On a degraded tick both halves
//! of β are skipped.
//!
//! ```text
//! D constant:  kick by E · half flow of β and of a Γ that varies · exact linear flow (with a uniform Γ) · and back
//! D varies:    half of Γ · kick by E · kick by ∂D∂Ψ and β · drift · and back
//! ```
//!
//! The first has no bound on dt. The second is leapfrog, with everything conservative in its kick, and stable while
//! dt·ω < 2: a scene that is beyond is refused. Where D grows during the run, because it learns or because its speed
//! follows the chemistry, the kicks and the drift are repeated with a part of dt, as often as a bound of ω asks for; the
//! sources and Γ stay at the tick's ends.
//!
//! In single precision, transforms there and back change the field by some 1e-9 (rings of three) to 3e-7 (longer
//! axes) of its norm per tick, always in the same direction; [`keeper`] cancels that. What sources and damping do to
//! the energy of a watched world is booked as it happens, by [`exchange`].

pub mod exchange;
pub mod keeper;
mod plan;

pub use keeper::{EnergyKeeper, keep_energy};
pub(crate) use plan::{LeapFlow, restore};
pub use plan::{WaveFlow, WavePlan};

use self::exchange::Books;
use crate::half_potential::kick_pages;
use crate::ingress::TickPlan;
use crate::metric_update::PlasticMetric;
use crate::propagators::Propagators;
use crate::world::{Compute, Environment, Sources, pages_mut};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::setup::WaveParameters;
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::wave::{Damping, Psi, Velocity};
use nikola_kernels::wave_form::leapfrog::Leap;
use nikola_kernels::wave_form::{Kick, WaveForm};
use nikola_kernels::{PageMut, Real, Threads};

/// The columns a step works on.
pub type WaveColumns<'w, 's, T> =
    Query<'w, 's, (&'static mut Psi<T>, &'static mut Velocity<T>, Option<&'static Damping<T>>)>;

/// What a step reads of the world.
#[derive(SystemParam)]
pub struct Around<'w, T: Real + Scalar> {
    keeper: Res<'w, EnergyKeeper>,
    wave: Res<'w, WaveParameters>,
    sources: Res<'w, Sources<T>>,
    environment: Res<'w, Environment>,
    plan: Res<'w, TickPlan>,
    compute: Res<'w, Compute>,
    propagators: Res<'w, Propagators<T>>,
    metric: Option<Res<'w, PlasticMetric>>,
}

impl<T: Real + Scalar> Around<'_, T> {
    /// β in this tick.
    fn beta(&self) -> f64 {
        if self.plan.is_degraded { 0.0 } else { self.wave.beta }
    }
}

/// Both fields of every page, and Γ where it varies.
pub(crate) struct Fields<'a, T: Real> {
    pub psi: Vec<PageMut<'a, T>>,
    pub velocity: Vec<PageMut<'a, T>>,
    damping: Vec<&'a [T]>,
}

/// Where the part of a tick between the kicks by sources is computed.
pub(crate) trait Middle<T: Real> {
    /// Whether the host computes it.
    const IS_HOST: bool;

    /// A half kick of β and of a Γ that varies, the exact flow with a relative `gain`, and the half kick again.
    fn turn(&mut self, plan: &WaveForm<T>, fields: &mut Fields<'_, T>, half: &Kick<'_, T>, gain: f64);

    /// Kick, drift, kick, as often as a tick has parts.
    fn leap(&mut self, leap: &mut LeapFlow<T>, fields: &mut Fields<'_, T>, open: &Leap);
}

/// The host's plans.
struct OnHost<'a>(Threads<'a>);

impl<T: Real> Middle<T> for OnHost<'_> {
    const IS_HOST: bool = true;

    fn turn(&mut self, plan: &WaveForm<T>, fields: &mut Fields<'_, T>, half: &Kick<'_, T>, gain: f64) {
        let Fields { psi, velocity, .. } = fields;
        plan.forward(self.0, psi, velocity, half);
        plan.turn(self.0, psi, velocity, gain);
        plan.backward(self.0, psi, velocity, half);
    }

    fn leap(&mut self, leap: &mut LeapFlow<T>, fields: &mut Fields<'_, T>, open: &Leap) {
        for _ in 0..leap.n_steps {
            leap.plan.step(self.0, &mut fields.psi, &mut fields.velocity, open);
            leap.weigh(self.0, &fields.psi);
            leap.plan.step(self.0, &mut fields.psi, &mut fields.velocity, &Leap { drift: None, ..*open });
        }
    }
}

impl<T: Real + Scalar> Fields<'_, T> {
    /// Γ where it varies.
    fn damping_of<'b>(damping: &'b [&'b [T]], around: &Around<'_, T>) -> Option<&'b [&'b [T]]> {
        around.environment.uniform_damping.is_none().then_some(damping)
    }
}

/// The step.
pub fn advance<T: Real + Scalar>(
    columns: WaveColumns<'_, '_, T>,
    mut times: ResMut<'_, StageTimes>,
    mut tick: ResMut<'_, Tick>,
    mut flow: ResMut<'_, WaveFlow<T>>,
    books: Books<'_, T>,
    around: Around<'_, T>,
) {
    let began = times.now();
    step_with(&mut OnHost(around.compute.threads()), columns, *tick, &mut flow, books, &around);
    tick.0 += 1;
    let ended = times.now();
    times.add(Stage::WaveForm, ended - began);
}

/// The step that begins at tick `start`, its middle computed by `middle`.
pub(crate) fn step_with<T: Real + Scalar, M: Middle<T>>(
    middle: &mut M,
    mut columns: WaveColumns<'_, '_, T>,
    start: Tick,
    flow: &mut WaveFlow<T>,
    mut books: Books<'_, T>,
    around: &Around<'_, T>,
) {
    let end = Tick(start.0 + 1);
    let mut fields = Fields { psi: Vec::new(), velocity: Vec::new(), damping: Vec::new() };
    let mut is_psi_new = false;
    let mut psi = Vec::new();
    for (own_psi, own_velocity, own_damping) in &mut columns {
        is_psi_new |= own_psi.is_changed();
        psi.push(own_psi.into_inner());
        let velocity = own_velocity.into_inner();
        fields.velocity.push(PageMut { re: &mut velocity.re, im: &mut velocity.im });
        fields.damping.extend(own_damping.map(|column| &column.0[..]));
    }
    fields.psi = pages_mut(psi.into_iter());
    let level = around.compute.level;
    flow.follow_exact(level, around);
    let WaveFlow { plan, revision, .. } = flow;
    match plan {
        WavePlan::Exact(plan) => turn(plan, middle, &mut fields, (start, end), &mut books, around),
        WavePlan::Leap(leap) => {
            leap.follow((is_psi_new, M::IS_HOST), &fields, &mut books, (level, revision), around);
            leap_through(leap, middle, &mut fields, (start, end), &mut books, around);
        }
    }
}

/// Kicks Ψ̇ by the sources at a border, for half a tick.
fn kick_by_sources<T: Real + Scalar>(
    fields: &mut Fields<'_, T>,
    at: Tick,
    books: &mut Books<'_, T>,
    around: &Around<'_, T>,
) {
    if around.sources.is_muted {
        return;
    }
    books.book_sources(&fields.velocity, at, &around.sources, &around.wave);
    kick_pages(&mut fields.velocity, &around.sources, &around.wave, at, 0.0, 0.5);
}

/// The tick of a constant metric.
fn turn<T: Real + Scalar>(
    plan: &WaveForm<T>,
    middle: &mut impl Middle<T>,
    fields: &mut Fields<'_, T>,
    (start, end): (Tick, Tick),
    books: &mut Books<'_, T>,
    around: &Around<'_, T>,
) {
    kick_by_sources(fields, start, books, around);
    let before = books.sums(fields, 1.0, around);
    let damping = fields.damping.clone();
    let half = Kick {
        duration: 0.5 * around.wave.dt,
        beta: around.beta(),
        damping: Fields::damping_of(&damping, around),
    };
    middle.turn(plan, fields, &half, around.keeper.gain());
    let after = books.sums(fields, -1.0, around);
    books.book_turn(before, after, around);
    kick_by_sources(fields, end, books, around);
}

/// The tick of a metric that varies.
fn leap_through<T: Real + Scalar>(
    leap: &mut LeapFlow<T>,
    middle: &mut impl Middle<T>,
    fields: &mut Fields<'_, T>,
    (start, end): (Tick, Tick),
    books: &mut Books<'_, T>,
    around: &Around<'_, T>,
) {
    damp(leap, fields, books, around);
    kick_by_sources(fields, start, books, around);
    let dt = around.wave.dt / leap.n_steps as f64;
    let gain = around.keeper.gain() / leap.n_steps as f64;
    let open = Leap { kick: 0.5 * dt, beta: around.beta(), drift: Some(dt), gain };
    middle.leap(leap, fields, &open);
    kick_by_sources(fields, end, books, around);
    damp(leap, fields, books, around);
}

/// Half a tick's damping.
fn damp<T: Real + Scalar>(
    leap: &LeapFlow<T>,
    fields: &mut Fields<'_, T>,
    books: &mut Books<'_, T>,
    around: &Around<'_, T>,
) {
    let threads = around.compute.threads();
    let gamma = around.environment.uniform_damping.unwrap_or(0.0);
    books.book_damping(fields, around);
    let Fields { velocity, damping, .. } = &mut *fields;
    let half =
        Kick { duration: 0.5 * around.wave.dt, beta: 0.0, damping: Fields::damping_of(damping, around) };
    leap.plan.damp(threads, velocity, gamma, &half);
}
