//! What a person should know before a run: resolved, but suspicious.
//! Invariant: a warning never changes what is run; each gives the figures it rests on.

use super::document::{Document, SnapshotsForm};
use core::f64::consts::{PI, TAU};
use nikola_components::geometry::axis::Axis;
use nikola_components::setup::{Equation, Integrator, Setup, TimeMode};
use nikola_components::torus::Torus;
use std::fmt;

/// How grave a warning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// The result may not mean what the scene's author thinks.
    Warning,
}

/// One warning.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Warning {
    /// How grave.
    pub severity: Severity,
    /// A stable short name.
    pub code: &'static str,
    /// Text with figures and remedy.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
        };
        write!(f, "{severity} [{}]: {}", self.code, self.message)
    }
}

/// Figures of a scene's profiles.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Figures {
    /// Greatest |Ψ|² at tick 0, after normalisation.
    pub density_greatest: f64,
    /// ∫|Ψ|² at tick 0, after normalisation.
    pub norm: f64,
    /// Least and greatest static V.
    pub potential: (f64, f64),
    /// Greatest Γ.
    pub damping_greatest: f64,
}

/// Largest wave number of an axis: 2π⌊N/2⌋/L.
pub fn k_max(torus: &Torus, axis: Axis) -> f64 {
    TAU * (torus.extents()[axis.index()] / 2) as f64 / torus.lengths()[axis.index()]
}

/// dt·½ Σ D k_max².
pub fn kinetic_phase(setup: &Setup) -> f64 {
    let sum: f64 = Axis::ALL
        .iter()
        .map(|&axis| setup.wave.diffusion[axis.index()] * k_max(&setup.torus, axis).powi(2))
        .sum();
    0.5 * setup.wave.dt * sum
}

/// dt·|β||Ψ|²_max.
pub fn nonlinear_phase(setup: &Setup, figures: &Figures) -> f64 {
    setup.wave.dt * setup.wave.beta.abs() * figures.density_greatest
}

/// Snapshots and injections that a run as short as this one does not come to.
pub fn beyond_the_end(document: &Document) -> Option<Warning> {
    let end = document.ticks;
    let injections = document.injections.iter().map(|injection| injection.tick).enumerate();
    let mut late: Vec<String> = injections
        .filter(|(_, tick)| *tick >= end)
        .map(|(i, tick)| format!("injections[{i}] at tick {tick}"))
        .collect();
    if let SnapshotsForm::At(ticks) = &document.outputs.snapshots {
        late.extend(
            ticks.iter().filter(|tick| **tick > end).map(|tick| format!("the snapshot at tick {tick}")),
        );
    }
    let first = late.first()?;
    let more = if late.len() > 1 { format!(" (and {} more)", late.len() - 1) } else { String::new() };
    Some(Warning {
        severity: Severity::Warning,
        code: "beyond-the-end",
        message: format!("{first}{more} is left out: the run ends at tick {end}; raise `ticks` to have it"),
    })
}

/// Everything worth saying about a scene.
pub fn warnings(setup: &Setup, figures: &Figures) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut say = |severity, code, message: String| found.push(Warning { severity, code, message });
    let phase = kinetic_phase(setup) + nonlinear_phase(setup, figures);
    let is_real = setup.wave.time == TimeMode::Real;
    let is_wave = matches!(setup.equation, Equation::Wave { .. });
    if is_wave && setup.wave.beta > 0.0 {
        say(
            Severity::Warning,
            "unbounded-energy",
            format!(
                "beta = {} > 0 in the wave form: the energy −(β/4)|Ψ|⁴ has no bound from below, and |Ψ| above about \
                 k/√β runs away in finite time; use beta <= 0, or keep amplitudes small",
                setup.wave.beta
            ),
        );
    }
    let turn = (2.0 * kinetic_phase(setup) * setup.wave.dt).sqrt();
    if is_wave && setup.wave.beta != 0.0 && turn >= PI {
        let dt = setup.wave.dt * PI / turn;
        say(
            Severity::Warning,
            "split-step-resonance",
            format!(
                "dt·√(ΣD k_max²) = {turn:.3} is not below π: the kicks of β can resonate with the fastest modes; \
                 use dt < {dt:.3e}, or fewer nodes per length"
            ),
        );
    }
    let is_leaping = is_wave && (setup.metric.is_some() || setup.plasticity.is_some());
    let interaction = 3.0 * setup.wave.dt * nonlinear_phase(setup, figures);
    if is_leaping && setup.wave.beta < 0.0 && turn * turn + interaction >= 4.0 {
        say(
            Severity::Warning,
            "leapfrog-interaction",
            format!(
                "dt·√(ΣD k_max² + 3|β||Ψ|²_max) = {:.3} is not below 2: where the metric varies the step can grow by the \
                 interaction alone; lower dt",
                (turn * turn + interaction).sqrt()
            ),
        );
    }
    if is_real && !is_wave && setup.wave.beta != 0.0 && phase >= PI {
        let dt = setup.wave.dt * PI / phase;
        say(
            Severity::Warning,
            "split-step-resonance",
            format!(
                "dt·(½ΣD k_max² + |β||Ψ|²_max) = {phase:.3} is not below π: noise can grow on a numerical resonance; \
                 use dt < {dt:.3e}, or fewer nodes per length"
            ),
        );
    }
    let potential_phase = setup.wave.dt * (figures.potential.1 - figures.potential.0);
    if is_real && potential_phase >= PI {
        say(
            Severity::Warning,
            "potential-phase",
            format!(
                "dt·(V_max − V_min) = {potential_phase:.3} is not below π: the potential is not resolved in time; lower dt"
            ),
        );
    }
    let lattice: String = Axis::ALL
        .into_iter()
        .filter(|axis| (2..9).contains(&setup.torus.extents()[axis.index()]))
        .map(Axis::name)
        .collect::<Vec<_>>()
        .join(" ");
    if !lattice.is_empty() {
        say(
            Severity::Info,
            "lattice-axes",
            format!(
                "axes {lattice} have fewer than 9 nodes: an exact Hamiltonian lattice, not a resolved continuum"
            ),
        );
    }
    let is_damped = figures.damping_greatest > 0.0;
    if setup.wave.integrator != Integrator::Strang && is_damped {
        say(
            Severity::Warning,
            "negative-substeps",
            format!(
                "{} takes negative substeps, which amplify where the field decays (Γ dt up to {:.3e}); use Strang",
                setup.wave.integrator.name(),
                figures.damping_greatest * setup.wave.dt
            ),
        );
    }
    if !is_real && !setup.injections.is_empty() {
        say(
            Severity::Warning,
            "sources-in-imaginary-time",
            "injections disturb the descent to a ground state; remove them from an imaginary-time scene"
                .into(),
        );
    }
    if setup.wave.dt * figures.damping_greatest > 1.0 {
        let exponent = figures.damping_greatest * setup.wave.dt;
        say(
            Severity::Warning,
            "strong-damping",
            format!("Γ dt = {exponent:.3}: the field is gone within a tick; lower dt or alpha"),
        );
    }
    for emitter in &setup.emitters {
        let turns = emitter.frequency_hz.abs() * setup.wave.dt;
        if turns > 0.25 {
            say(
                Severity::Warning,
                "fast-emitter",
                format!(
                    "{} makes {turns:.3} turns per tick: lower dt below {:.3e}",
                    emitter.name,
                    0.25 / emitter.frequency_hz.abs()
                ),
            );
        }
    }
    found
}
