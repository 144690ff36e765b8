//! The wave form: Ψ̈ + αΨ̇ − Σ_d D^{dd}∂_d²Ψ = β|Ψ|²Ψ + E, with state Ψ and velocity Ψ̇.
//!
//! Invariant: a step is (kick) · (exact flow of the linear part) · (the same kick), a palindrome of exact flows, so
//! it is second order at every node and needs no bound on the time step. The linear flow does not factor over axes,
//! because cos of a sum is no product: both fields go to modes on every axis, each mode turns by itself, and both
//! come back. Three sweeps over memory:
//!
//! ```text
//! forward, per page:    kick → axes inside the page, Ψ and Ψ̇, nodes to modes
//! turn,    per batch:   gather rows → axes that cross pages → turn every mode → back along them → scatter
//! backward, per page:   axes inside the page, modes to nodes → kick
//! ```
//!
//! Source: Deuflhard, Z. angew. Math. Phys. 30 (1979) 177; Hochbruck & Lubich, Numer. Math. 83 (1999) 403;
//! Phan & Ostermann, J. Sci. Comput. 92 (2022) 24 for the damped semilinear case.

#![allow(unsafe_code)] // Pages shared between chunks as raw planes.

pub mod exchange;
pub mod leapfrog;
mod local;
mod modes;
mod sweep;

use crate::field::{PageMut, Real, Shape, Threads};
use crate::half_potential::Time;
use crate::kinetic::sweep::{RowTable, with_scratch};
use crate::kinetic::{AxisTerm, Kinetic};
use crate::simd::{Level, SimdReal};
use crate::threads::for_each_chunk;
use local::KickPlan;
use modes::Modes;

#[doc(hidden)]
pub use exchange::ExchangeRun;
#[doc(hidden)]
pub use leapfrog::LeapPass;
pub use modes::shears;
#[doc(hidden)]
pub use sweep::{PairBatch, PairPage};

/// The local half-flow of the velocity: Ψ̇_t = β|Ψ|²Ψ − Γ(x)Ψ̇ with Ψ held, which is exact because Ψ is constant in it.
#[derive(Debug, Clone, Copy)]
pub struct Kick<'a, T> {
    /// Length of the flow in model time.
    pub duration: f64,
    /// Coefficient β of |Ψ|²Ψ; zero on a degraded tick.
    pub beta: f64,
    /// Damping of the velocity that varies in space, in 1/time; the uniform part belongs to the linear flow.
    pub damping: Option<&'a [&'a [T]]>,
}

/// A planned step of the wave form.
pub struct WaveForm<T: SimdReal> {
    /// The axes: how they are cut into sweeps and how each is transformed.
    transform: Kinetic<T>,
    modes: Modes<T>,
}

impl<T: Real> WaveForm<T> {
    /// Plans the linear flow over `duration` > 0 with the uniform damping rate `alpha` ≥ 0 (1/time): ω² of a mode is
    /// ΣD k² over its axes. `axes` are in storage order and agree with `shape`; panics if not.
    pub fn new(level: Level, shape: &Shape, axes: &[AxisTerm], duration: f64, alpha: f64) -> Self {
        let transform = Kinetic::new(level, shape, axes, 0.0, Time::Real);
        let active: Vec<_> = axes.iter().filter(|term| term.extent > 1).copied().collect();
        let modes = Modes::new(&transform, &active, duration, alpha);
        WaveForm { transform, modes }
    }

    /// First sweep: the opening kick, then the axes inside each page, nodes to modes. Panics if pages, shape and
    /// damping disagree.
    pub fn forward(
        &self,
        threads: Threads<'_>,
        psi: &mut [PageMut<'_, T>],
        velocity: &mut [PageMut<'_, T>],
        kick: &Kick<'_, T>,
    ) {
        self.pages::<true>(threads, psi, velocity, kick);
    }

    /// Second sweep: the axes that cross pages, the turn of every mode, and back. Both fields are multiplied by
    /// `1 + gain`, which enters an increment, so it survives single precision far below its resolution.
    pub fn turn(
        &self,
        threads: Threads<'_>,
        psi: &mut [PageMut<'_, T>],
        velocity: &mut [PageMut<'_, T>],
        gain: f64,
    ) {
        let (psi, velocity) = (self.transform.planes(psi), self.transform.planes(velocity));
        let run = self.modes.run;
        let scratch = self.transform.scratch + self.transform.outer_batch_scalars();
        self.transform.for_each_columns(threads, run, |_, columns| {
            let table = |planes| RowTable { planes, run, page_nodes: self.transform.shape.page_nodes };
            let (psi, velocity) = (table(&psi[..]), table(&velocity[..]));
            let (transform, modes) = (&self.transform, &self.modes);
            with_scratch(scratch, |scratch| {
                let batch = PairBatch { transform, modes, psi, velocity, columns, gain, scratch };
                T::pair_batch(self.transform.level, batch);
            });
        });
    }

    /// Third sweep: the axes inside each page, modes to nodes, then the closing kick.
    pub fn backward(
        &self,
        threads: Threads<'_>,
        psi: &mut [PageMut<'_, T>],
        velocity: &mut [PageMut<'_, T>],
        kick: &Kick<'_, T>,
    ) {
        self.pages::<false>(threads, psi, velocity, kick);
    }

    fn pages<const FORWARD: bool>(
        &self,
        threads: Threads<'_>,
        psi: &mut [PageMut<'_, T>],
        velocity: &mut [PageMut<'_, T>],
        kick: &Kick<'_, T>,
    ) {
        let (psi, velocity) = (self.transform.planes(psi), self.transform.planes(velocity));
        if let Some(damping) = kick.damping {
            assert!(
                damping.len() == psi.len() && damping.iter().zip(&psi).all(|(g, page)| g.len() == page.len)
            );
        }
        let plan = KickPlan::new(kick);
        for_each_chunk(threads, psi.len(), |p| {
            with_scratch(self.transform.scratch, |scratch| {
                let page = PairPage {
                    transform: &self.transform,
                    psi: psi[p],
                    velocity: velocity[p],
                    kick: plan.as_ref(),
                    damping: kick.damping.map_or(core::ptr::null(), |damping| damping[p].as_ptr()),
                    scratch,
                    is_forward: FORWARD,
                };
                T::pair_page(self.transform.level, page);
            });
        });
    }

    /// Which scheme each storage axis runs, as [`Kinetic::describe`] says it.
    pub fn describe(&self) -> Vec<String> {
        self.transform.describe()
    }

    /// Bytes of tables, and of scratch on one thread.
    pub fn bytes(&self) -> usize {
        self.transform.bytes() + self.transform.outer_batch_scalars() * T::BYTES + self.modes.bytes()
    }
}

/// The exact flow of ψ̈ + αψ̇ + ω²ψ = 0 over `duration`: returns (ψ, ψ̇) at its end. The reference of the vector
/// kernel, in f64 and in the textbook form; also the exact solution that observers compare with.
///
/// - equation: ψ' = E[(C + αs/2)ψ + sψ̇], ψ̇' = E[−ω²sψ + (C − αs/2)ψ̇], E = e^{−αh/2}, Ω² = ω² − α²/4,
///   C = cos Ωh, s = sin Ωh/Ω, hyperbolic where Ω² < 0
/// - source: the damped harmonic oscillator
/// - scheme and order: exact
/// - stability bound: none
/// - bytes and flops per node: a scalar function, three transcendentals
pub fn oscillator(psi: f64, velocity: f64, omega2: f64, alpha: f64, duration: f64) -> (f64, f64) {
    let (cosine, sine) = modes::cosine_and_sine(omega2 - 0.25 * alpha * alpha, duration);
    let decay = libm::exp(-0.5 * alpha * duration);
    let half = 0.5 * alpha * sine;
    (
        decay * ((cosine + half) * psi + sine * velocity),
        decay * ((cosine - half) * velocity - omega2 * sine * psi),
    )
}

#[cfg(test)]
mod tests;
