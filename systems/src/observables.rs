//! The standard observables of a world: norm, energy and its parts, momentum, μ, max|Ψ|.
//!
//! Invariant: read-only, in f64, over fixed chunks in fixed order. Derivatives are spectral, so the energy is the
//! one that the split-step scheme conserves up to its order. In the wave form it is H = ∫ ½|Ψ̇|² + ½D|∂Ψ|² − (β/4)|Ψ|⁴.

use crate::oracle::NormLedger;
use crate::propagators::Propagators;
use crate::world::{Compute, Environment};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::setup::WaveParameters;
use nikola_components::telemetry::Sample;
use nikola_components::torus::Torus;
use nikola_components::wave::{Potential, Psi, Velocity};
use nikola_kernels::{PageRef, Real, Values, reduce};

/// The columns an observation reads.
pub type ObservedColumns<'w, 's, T> =
    Query<'w, 's, (&'static Psi<T>, Option<&'static Velocity<T>>, Option<&'static Potential<T>>)>;

/// Pages of Ψ in storage order.
pub fn pages_ref<'a, T: Real + Scalar>(psi: impl Iterator<Item = &'a Psi<T>>) -> Vec<PageRef<'a, T>> {
    psi.map(|psi| PageRef { re: &psi.re[..], im: &psi.im[..] }).collect()
}

/// What stages of one tick, after Ψ has advanced, have already asked for; forgotten when Ψ changes and when the tick ends.
#[derive(Debug, Default, Resource)]
pub struct Known {
    /// Σ over nodes of the density of ⟨Ψ,TΨ⟩, where T is [live](Propagators::is_live).
    pub kinetic: Option<f64>,
    /// The same of ⟨ΓΨ,TΨ⟩, where Γ varies in space.
    pub damped: Option<f64>,
}

/// Measures the world. Drifts are relative to the ledger's reference.
#[allow(clippy::too_many_lines)]
pub fn measure<T: Real + Scalar>(
    columns: &ObservedColumns<'_, '_, T>,
    torus: &Torus,
    wave: &WaveParameters,
    environment: &Environment,
    propagators: &Propagators<T>,
    compute: &Compute,
    ledger: &NormLedger,
    tick: Tick,
    known: &mut Known,
) -> Sample {
    let pages = pages_ref(columns.iter().map(|(psi, ..)| psi));
    let potential: Vec<&[T]> = columns.iter().filter_map(|(.., v)| v.map(|v| &v.0[..])).collect();
    let potential = crate::world::values(environment.uniform_potential, &potential);
    let no_damping = Values::Uniform(T::from_f64(0.0));
    let (level, threads) = (compute.level, compute.long_threads());
    let totals = reduce::totals(level, threads, &pages, potential, no_damping);
    let volume = torus.cell_volume();
    let norm = volume * totals.norm2;
    let mut gradient = 0.0;
    let mut momentum = [0.0; 9];
    let moments = propagators.moments(level, threads, &pages);
    for (axis, moments) in torus.storage().iter().zip(&moments) {
        let unit = core::f64::consts::TAU / torus.lengths()[axis.index()];
        if propagators.diffusion.is_none() {
            gradient += 0.5 * wave.diffusion[axis.index()] * unit * unit * moments.second * volume;
        }
        momentum[axis.index()] = unit * moments.first * volume;
    }
    if propagators.diffusion.is_some() {
        let one = Values::Uniform(T::from_f64(1.0));
        let kinetic = || propagators.kinetic_form(threads, &pages, one);
        gradient = volume * *known.kinetic.get_or_insert_with(kinetic);
    }
    let velocity: Vec<_> = columns.iter().filter_map(|(_, velocity, _)| velocity).collect();
    let is_first_order = velocity.is_empty();
    let (energy_kinetic, energy_potential, energy_interaction) = if is_first_order {
        (gradient, volume * totals.potential, 0.5 * wave.beta * volume * totals.quartic)
    } else {
        let velocity: Vec<_> =
            velocity.iter().map(|page| PageRef { re: &page.re[..], im: &page.im[..] }).collect();
        let kinetic = 0.5 * volume * reduce::norm2(level, threads, &velocity);
        (kinetic, gradient, -0.25 * wave.beta * volume * totals.quartic)
    };
    let energy = energy_kinetic + energy_potential + energy_interaction;
    let relative = |value: f64, reference: f64| (value - reference) / reference.abs().max(f64::MIN_POSITIVE);
    Sample {
        tick: tick.0,
        time: tick.time(wave.dt),
        norm,
        norm_drift: ledger.reference_norm().map_or(0.0, |reference| relative(norm, reference)),
        energy,
        energy_kinetic,
        energy_potential,
        energy_interaction,
        energy_drift: ledger.reference_energy().map_or(0.0, |reference| relative(energy, reference)),
        mu: if is_first_order {
            (energy_kinetic + energy_potential + 2.0 * energy_interaction) / norm
        } else {
            0.0
        },
        momentum,
        max_abs_psi: totals.max_abs2.sqrt(),
        n_nonfinite: totals.n_nonfinite,
    }
}
