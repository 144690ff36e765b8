//! The planned flow of the wave form, and how it follows a Γ and a D that change.
//!
//! Invariant: a plan is a pure function of Γ and D as they are; a loaded world steps with the same one.

use super::exchange::Books;
use super::{Around, Fields};
use crate::propagators::{Propagators, axis_terms};
use crate::world::Compute;
use bevy_ecs::prelude::*;
use nikola_components::column::Scalar;
use nikola_components::fill::Profile;
use nikola_components::setup::{Setup, WaveParameters};
use nikola_kernels::kinetic::varying::Diffusion;
use nikola_kernels::simd::Level;
use nikola_kernels::wave_form::WaveForm;
use nikola_kernels::wave_form::leapfrog::{Leapfrog, frequency_bound};
use nikola_kernels::{PageMut, PageRef, Real, Threads};

/// dt·ω of a part of a tick, where a tick has more than one.
const PHASE_MAX: f64 = 1.9;

/// The planned flow over one tick.
#[derive(Resource)]
pub struct WaveFlow<T: Real> {
    /// The flow.
    pub plan: WavePlan<T>,
    /// Of T, see [`Propagators::revision`].
    pub(super) revision: u64,
    /// The uniform Γ that the exact flow has.
    pub(super) alpha: f64,
}

/// One of two schemes; which one is decided when the world is built.
pub enum WavePlan<T: Real> {
    /// Constant metric: every mode turns by itself.
    Exact(Box<WaveForm<T>>),
    /// A metric that varies in space.
    Leap(Box<LeapFlow<T>>),
}

/// Leapfrog, and what it knows of the state.
pub struct LeapFlow<T: Real> {
    pub(super) plan: Leapfrog<T>,
    /// Parts of a tick.
    pub(super) n_steps: usize,
    /// Whether ∂D∂Ψ is that of Ψ at the end of the last step.
    is_weighed: bool,
}

impl<T: Real> WaveFlow<T> {
    /// Plans the flow of `setup`. Damping that varies in space is left to the kicks, all damping where D varies.
    pub fn new(setup: &Setup, propagators: &Propagators<T>, level: Level) -> Self {
        let revision = propagators.revision;
        if let Some(diffusion) = &propagators.diffusion {
            let plan = WavePlan::Leap(Box::new(LeapFlow::new(level, diffusion, setup.wave.dt)));
            return Self { plan, revision, alpha: 0.0 };
        }
        let (shape, terms) = axis_terms(setup);
        let alpha = match setup.damping {
            Profile::Uniform(value) => value,
            Profile::PerNode(_) => 0.0,
        };
        let plan = WaveForm::new(level, &shape, &terms, setup.wave.dt, alpha);
        Self { plan: WavePlan::Exact(Box::new(plan)), revision, alpha }
    }

    /// Which scheme each storage axis runs.
    pub fn describe(&self) -> Vec<String> {
        match &self.plan {
            WavePlan::Exact(plan) => plan.describe(),
            WavePlan::Leap(leap) => leap.plan.describe(),
        }
    }

    /// Parts of a tick: 1, unless D has grown during the run.
    pub fn n_steps(&self) -> usize {
        match &self.plan {
            WavePlan::Exact(_) => 1,
            WavePlan::Leap(leap) => leap.n_steps,
        }
    }

    /// Leapfrog is planned anew where D was changed as a whole.
    fn refresh(&mut self, level: Level, propagators: &Propagators<T>, dt: f64) {
        let WavePlan::Leap(leap) = &mut self.plan else { return };
        if self.revision != propagators.revision
            && let Some(diffusion) = &propagators.diffusion
        {
            **leap = LeapFlow::new(level, diffusion, dt);
            self.revision = propagators.revision;
        }
    }

    /// What the scheme keeps is H less this, for β = 0: (dt²/8)∫|F|² of leapfrog with the force F, nothing of the exact
    /// flow. D is that of `propagators`, `volume` a node's.
    pub(crate) fn shadow(
        &mut self,
        (level, threads): (Level, Threads<'_>),
        psi: &[PageRef<'_, T>],
        (propagators, beta): (&Propagators<T>, f64),
        (dt, volume): (f64, f64),
    ) -> f64 {
        self.refresh(level, propagators, dt);
        let WavePlan::Leap(leap) = &mut self.plan else { return 0.0 };
        leap.plan.weigh(threads, psi);
        leap.is_weighed = true;
        volume * leap.shadow(threads, psi, beta, dt)
    }
}

impl<T: Real + Scalar> WaveFlow<T> {
    /// An exact flow is planned anew where Γ or D was changed.
    pub(super) fn follow_exact(&mut self, level: Level, around: &Around<'_, T>) {
        let WavePlan::Exact(plan) = &mut self.plan else { return };
        let propagators = &around.propagators;
        let alpha = around.environment.uniform_damping.unwrap_or(0.0);
        if self.revision == propagators.revision && self.alpha == alpha {
            return;
        }
        (self.revision, self.alpha) = (propagators.revision, alpha);
        let (shape, terms) = (&propagators.shape, &propagators.terms);
        **plan = WaveForm::new(level, shape, terms, around.wave.dt, alpha);
    }
}

impl<T: Real> LeapFlow<T> {
    fn new(level: Level, diffusion: &Diffusion, dt: f64) -> Self {
        LeapFlow { plan: Leapfrog::new(level, diffusion), n_steps: n_steps(diffusion, dt), is_weighed: false }
    }

    /// (dt²/8)Σ|F|² for the ∂D∂Ψ there is.
    fn shadow(&mut self, threads: Threads<'_>, psi: &[PageRef<'_, T>], beta: f64, dt: f64) -> f64 {
        let step = dt / self.n_steps as f64;
        step * step / 8.0 * self.plan.force2(threads, psi, beta)
    }

    /// Takes over D of the cells that have `changed`, for a step that somebody else does.
    pub(crate) fn renew(&mut self, diffusion: &Diffusion, changed: &[usize], dt: f64) {
        self.plan.renew(diffusion, changed);
        self.n_steps = n_steps(diffusion, dt);
        self.is_weighed = false;
    }

    /// Ψ has moved on elsewhere.
    pub(crate) fn forget(&mut self) {
        self.is_weighed = false;
    }

    /// Parts of a tick.
    pub(crate) fn n_steps(&self) -> usize {
        self.n_steps
    }

    /// Computes ∂D∂Ψ.
    pub(super) fn weigh(&mut self, threads: Threads<'_>, psi: &[PageMut<'_, T>]) {
        self.plan.weigh(threads, &views(psi));
        self.is_weighed = true;
    }
}

impl<T: Real + Scalar> LeapFlow<T> {
    /// Takes over a D that has changed and a Ψ that was changed by others since the last step; ∂D∂Ψ follows where the host
    /// kicks by it. What a change of D does to the shadow is booked with what it does to H.
    pub(super) fn follow(
        &mut self,
        (is_psi_new, is_host): (bool, bool),
        fields: &Fields<'_, T>,
        books: &mut Books<'_, T>,
        (level, revision): (Level, &mut u64),
        around: &Around<'_, T>,
    ) {
        let (threads, propagators) = (around.compute.threads(), &around.propagators);
        let changed = around.metric.as_ref().map_or(&[][..], |metric| metric.changed());
        let is_other = *revision != propagators.revision;
        let diffusion = propagators.diffusion.as_ref().filter(|_| is_other || !changed.is_empty());
        self.is_weighed &= !is_psi_new;
        let Some(diffusion) = diffusion else {
            if is_host && !self.is_weighed {
                self.weigh(threads, &fields.psi);
            }
            return;
        };
        let (dt, beta, psi) = (around.wave.dt, around.wave.beta, views(&fields.psi));
        let is_booked = books.is_open();
        if is_booked && !self.is_weighed {
            self.plan.weigh(threads, &psi);
        }
        let before = if is_booked { self.shadow(threads, &psi, beta, dt) } else { 0.0 };
        if is_other {
            *self = Self::new(level, diffusion, dt);
            *revision = propagators.revision;
        } else {
            self.plan.renew(diffusion, changed);
            self.n_steps = n_steps(diffusion, dt);
        }
        self.is_weighed = false;
        if is_host || is_booked {
            self.weigh(threads, &fields.psi);
        }
        if is_booked {
            books.book_shadow(before - self.shadow(threads, &psi, beta, dt), is_other);
        }
    }
}

/// After a load: the plan is that of the loaded D, as it was when the state was saved.
pub(crate) fn restore<T: Real + Scalar>(world: &mut World) {
    let Some(mut flow) = world.remove_resource::<WaveFlow<T>>() else { return };
    let (level, dt) = (world.resource::<Compute>().level, world.resource::<WaveParameters>().dt);
    flow.refresh(level, world.resource::<Propagators<T>>(), dt);
    world.insert_resource(flow);
}

fn views<'a, T: Real>(pages: &'a [PageMut<'_, T>]) -> Vec<PageRef<'a, T>> {
    pages.iter().map(PageMut::as_ref).collect()
}

/// Parts of a tick that keep the fastest mode stable.
fn n_steps(diffusion: &Diffusion, dt: f64) -> usize {
    let phase = dt * frequency_bound(diffusion);
    if phase < 2.0 || !phase.is_finite() { 1 } else { (phase / PHASE_MAX).ceil() as usize }
}
