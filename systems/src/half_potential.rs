//! The potential half steps: V, Γ, the sources E, and in the same pass half of the nonlinear flow.
//!
//! Invariant: opening and closing are mirror images. Opening: kick by E at the tick's start, then the local flow of
//! (V, Γ, β); closing: the local flow with V at the tick's end, then the kick by E at the tick's end. The local flow
//! itself is exact (closed form with damping), so the tick is second order pointwise.
//!
//! `open` arms the local flow; the kinetic stage applies it in its first memory sweep. `close` runs the last sweep.

use crate::ingress::TickPlan;
use crate::oracle::NormLedger;
use crate::propagators::Propagators;
use crate::world::{Compute, Environment, Sources, fill_profile, pages_mut, values};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::setup::{TimeMode, WaveParameters};
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::wave::{Damping, Potential, Psi};
use nikola_kernels::half_potential::{LocalFlow, Time};
use nikola_kernels::{PageMut, Real, Values, reduce, source};

/// A local flow that the next memory sweep will apply.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LocalPlan {
    /// Duration of the V and Γ flow in model time.
    pub duration: f64,
    /// β during the flow; zero on a degraded tick.
    pub beta: f64,
    /// Relative change of Ψ that compensates the rounding leak of the norm.
    pub gain: f64,
    /// μ of the imaginary-time flow.
    pub mu: f64,
}

/// What the stages of one tick hand to each other.
#[derive(Debug, Default, Resource)]
pub struct Pending {
    /// Armed by `open`, applied by the kinetic stage.
    pub opening: Option<LocalPlan>,
    /// Armed by `nonlinear`, applied by `close`.
    pub closing: LocalPlan,
    /// Σ|Ψ|² before the kinetic step, on ticks that measure its leak.
    pub norm2_before: Option<f64>,
}

/// The mutable columns a local flow works on.
pub type LocalColumns<'w, 's, T> =
    Query<'w, 's, (&'static mut Psi<T>, Option<&'static mut Potential<T>>, Option<&'static Damping<T>>)>;

/// One pass' view of all pages.
pub struct LocalView<'a, T: Real> {
    /// Ψ.
    pub pages: Vec<PageMut<'a, T>>,
    potential: Vec<&'a [T]>,
    damping: Vec<&'a [T]>,
}

impl<'a, T: Real + Scalar> LocalView<'a, T> {
    /// Gathers the columns in storage order.
    pub fn new(columns: &'a mut LocalColumns<'_, '_, T>) -> Self {
        let mut view = Self { pages: Vec::new(), potential: Vec::new(), damping: Vec::new() };
        for (psi, potential, damping) in columns.iter_mut() {
            let psi = psi.into_inner();
            view.pages.push(PageMut { re: &mut psi.re, im: &mut psi.im });
            if let Some(potential) = potential {
                let potential: &Potential<T> = potential.into_inner();
                view.potential.push(&potential.0);
            }
            if let Some(damping) = damping {
                view.damping.push(&damping.0);
            }
        }
        view
    }

    /// Splits into the pages and the local flow of `plan`.
    pub fn flow<'b>(
        &'b mut self,
        plan: &LocalPlan,
        environment: &Environment,
        time: TimeMode,
    ) -> (&'b mut [PageMut<'a, T>], LocalFlow<'b, T>) {
        let flow = LocalFlow {
            duration: plan.duration,
            potential: values(environment.uniform_potential, &self.potential),
            damping: match environment.uniform_damping {
                Some(value) => Values::Uniform(T::from_f64(value)),
                None => Values::PerNode(&self.damping),
            },
            beta: plan.beta,
            time: match time {
                TimeMode::Real => Time::Real,
                TimeMode::Imaginary => Time::Imaginary { mu: plan.mu },
            },
            gain: plan.gain,
        };
        (&mut self.pages, flow)
    }
}

/// Opening stage.
pub fn open<T: Real + Scalar>(
    mut columns: LocalColumns<'_, '_, T>,
    mut environment: ResMut<'_, Environment>,
    mut pending: ResMut<'_, Pending>,
    mut times: ResMut<'_, StageTimes>,
    wave: Res<'_, WaveParameters>,
    sources: Res<'_, Sources<T>>,
    propagators: Res<'_, Propagators<T>>,
    ledger: Res<'_, NormLedger>,
    plan: Res<'_, TickPlan>,
    tick: Res<'_, Tick>,
) {
    let began = times.now();
    drive_potential(&mut columns, &mut environment, tick.time(wave.dt));
    let first = propagators.composition.local[0];
    kick(columns.iter_mut().map(|(psi, ..)| psi.into_inner()), &sources, &wave, *tick, 0.0, first.weight());
    pending.opening = Some(LocalPlan {
        duration: wave.dt * first.weight(),
        beta: if plan.is_degraded { 0.0 } else { wave.beta },
        gain: ledger.gain(),
        mu: ledger.mu(),
    });
    let ended = times.now();
    times.add(Stage::HalfPotential, ended - began);
}

/// Closing stage: the mirror image of [`open`]; ends the tick's wave part.
pub fn close<T: Real + Scalar>(
    mut columns: LocalColumns<'_, '_, T>,
    mut environment: ResMut<'_, Environment>,
    mut pending: ResMut<'_, Pending>,
    mut times: ResMut<'_, StageTimes>,
    mut tick: ResMut<'_, Tick>,
    mut propagators: ResMut<'_, Propagators<T>>,
    wave: Res<'_, WaveParameters>,
    sources: Res<'_, Sources<T>>,
    mut ledger: ResMut<'_, NormLedger>,
    compute: Res<'_, Compute>,
) {
    let began = times.now();
    let end = Tick(tick.0 + 1);
    drive_potential(&mut columns, &mut environment, end.time(wave.dt));
    let weight = propagators.composition.local.last().map_or(0.0, |step| step.weight());
    let local = LocalPlan { duration: wave.dt * weight, mu: ledger.mu(), ..pending.closing };
    pending.closing = LocalPlan::default();
    let mut view = LocalView::new(&mut columns);
    let (pages, flow) = view.flow(&local, &environment, wave.time);
    let last = propagators.which[propagators.which.len() - 1];
    let Propagators { plans, probe, .. } = &mut *propagators;
    match pending.norm2_before.take() {
        Some(before) => {
            plans[last].sweep_outer(compute.threads(), pages, None, probe);
            let views: Vec<_> = pages.iter().map(PageMut::as_ref).collect();
            ledger.note_leak(before, reduce::norm2(compute.level, compute.threads(), &views));
            nikola_kernels::half_potential::apply(compute.level, compute.threads(), pages, &flow);
        }
        None => plans[last].sweep_outer(compute.threads(), pages, Some(&flow), probe),
    }
    let swept = times.now();
    crate::kinetic::attribute(&mut times, probe, swept - began);
    kick(columns.iter_mut().map(|(psi, ..)| psi.into_inner()), &sources, &wave, end, 0.0, weight);
    *tick = end;
    let ended = times.now();
    times.add(Stage::HalfPotential, ended - swept);
}

/// Ψ += dt·weight·E at `offset` ticks after `tick`.
pub fn kick<'a, T: Real + Scalar>(
    psi: impl Iterator<Item = &'a mut Psi<T>>,
    sources: &Sources<T>,
    wave: &WaveParameters,
    tick: Tick,
    offset: f64,
    weight: f64,
) {
    if sources.emitters.is_empty() || sources.is_muted {
        return;
    }
    kick_pages(&mut pages_mut(psi), sources, wave, tick, offset, weight);
}

/// As [`kick`], on any field: the wave form kicks the velocity.
pub fn kick_pages<T: Real + Scalar>(
    pages: &mut [PageMut<'_, T>],
    sources: &Sources<T>,
    wave: &WaveParameters,
    tick: Tick,
    offset: f64,
    weight: f64,
) {
    for (index, phasor) in phasors(sources, wave, tick, offset, weight) {
        for part in &sources.emitters[index].pages {
            let page = &mut pages[part.position];
            let page = PageMut { re: page.re, im: page.im };
            source::kick(page, &part.nodes, &part.re, &part.im, phasor.0, phasor.1);
        }
    }
}

/// Index and dt·weight·E (re, im) of each emitter that acts at `offset` ticks after `tick`; those that act on the same nodes
/// with the same amplitude are one.
pub fn phasors<T: Real + Scalar>(
    sources: &Sources<T>,
    wave: &WaveParameters,
    tick: Tick,
    offset: f64,
    weight: f64,
) -> impl Iterator<Item = (usize, (f64, f64))> {
    let (dt, time) = (wave.dt, tick.time(wave.dt) + offset * wave.dt);
    let of_leader = move |leader: usize| {
        let followers = sources.emitters[leader..].iter().filter(move |emitter| emitter.leader == leader);
        followers.fold((0.0, 0.0), |(re, im), emitter| {
            let strength = emitter.drive * emitter.envelope.at(time) * dt * weight;
            if strength == 0.0 {
                return (re, im);
            }
            let turns = emitter.phase.turns(tick.0) + emitter.frequency_hz * dt * offset;
            let (sin, cos) = nikola_kernels::transcendental::sincos(-core::f64::consts::TAU * turns);
            (re + strength * cos, im + strength * sin)
        })
    };
    let leaders = sources.emitters.iter().enumerate().filter(|(index, emitter)| emitter.leader == *index);
    leaders.map(move |(leader, _)| (leader, of_leader(leader))).filter(|(_, phasor)| *phasor != (0.0, 0.0))
}

/// Rebuilds the potential columns for model time `t`, where the potential depends on time.
pub fn drive_potential<T: Real + Scalar>(
    columns: &mut LocalColumns<'_, '_, T>,
    environment: &mut Environment,
    t: f64,
) {
    let Some(drive) = &environment.drive else { return };
    if environment.potential_time == t {
        return;
    }
    let mut scratch = Vec::new();
    for (&page, (_, potential, _)) in environment.pages.iter().zip(columns.iter_mut()) {
        let Some(mut potential) = potential else { continue };
        scratch.resize(potential.0.len(), 0.0);
        if let Some(profile) = &environment.static_potential {
            fill_profile(profile, page, &mut scratch);
        }
        drive.add(t, page, &mut scratch);
        for (slot, &value) in potential.0.iter_mut().zip(&scratch) {
            *slot = T::from_f64(value);
        }
    }
    environment.potential_time = t;
}
