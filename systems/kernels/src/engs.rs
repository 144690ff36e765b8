//! Extended neurochemical gating: the update rules of D, S, N, boredom and ATP.
//!
//! Invariant: pure arithmetic in f64 on a handful of scalars; every result lies in [0, 1]. Rates are per second of
//! model time where they say so. Reward prediction error after Schultz, Dayan & Montague, Science 275 (1997) 1593;
//! the rules themselves are this engine's definition, written out at each function.

use crate::transcendental::ln;
use libm::{expm1, tanh};

/// D, S and N of the coupled system.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Modulators {
    /// Dopamine.
    pub dopamine: f64,
    /// Serotonin.
    pub serotonin: f64,
    /// Norepinephrine.
    pub norepinephrine: f64,
}

/// Rest values that deviations are counted from.
pub const REST: Modulators = Modulators { dopamine: 0.5, serotonin: 0.5, norepinephrine: 0.0 };

/// Gain of δ on D, and pull of D towards rest, per update.
pub const DOPAMINE_GAIN: f64 = 0.1;
/// Pull of D towards rest, per update.
pub const DOPAMINE_DECAY: f64 = 0.01;
/// Serotonin gained by a nap.
pub const NAP_GAIN: f64 = 0.2;
/// Serotonin gained by a goal.
pub const GOAL_GAIN: f64 = 0.05;
/// Serotonin lost by a security alert.
pub const ALERT_LOSS: f64 = 0.5;

/// Coupling rates, per second: row = whose change, column = whose deviation (D, S, N).
pub const COUPLING: [[f64; 3]; 3] = [[0.0, -0.10, 0.08], [0.05, 0.0, 0.0], [0.0, -0.06, 0.0]];

/// Decay rates of S and N towards rest, per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecayRates {
    /// Of serotonin while awake.
    pub serotonin_per_sec: f64,
    /// Of norepinephrine.
    pub norepinephrine_per_sec: f64,
}

/// What happened since the last update.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stimuli {
    /// Reward prediction error δ.
    pub reward_error: f64,
    /// Security alerts.
    pub alerts: u32,
    /// Goals reached.
    pub goals: u32,
    /// Naps that ended.
    pub naps: u32,
    /// Stress by late ticks and alerts, added to N.
    pub stress: f64,
}

/// δ = R + (H − Ĥ)/max(|Ĥ|, floor). R in [−1, 1]; zero where H is what was expected and nothing was given.
pub fn reward_prediction_error(reward: f64, energy: f64, expected: f64, floor: f64) -> f64 {
    reward + (energy - expected) / expected.abs().max(floor)
}

/// Exponential moving average: Ĥ + (1 − e^{−dt/τ})(H − Ĥ), exact for a constant H.
pub fn expectation(expected: f64, energy: f64, dt_secs: f64, tau_secs: f64) -> f64 {
    expected - expm1(-dt_secs / tau_secs) * (energy - expected)
}

/// One update of D, S and N over `dt_secs`; the result is clamped to [0, 1].
///
/// - equation: ΔD = 0.1δ − 0.01(D − ½) + (−0.10S′ + 0.08N′)dt; ΔS = −k_S S′ dt + 0.05D′ dt + 0.2·naps + 0.05·goals
///   − 0.5·alerts; ΔN = −k_N N′ dt − 0.06S′ dt + stress (primes: deviations from rest)
/// - source: this engine's definition
/// - scheme and order: explicit Euler, deviations taken before the update
/// - stability bound: |1 + λ_i dt| < 1 for the eigenvalues of [`linear_part`], far inside at 100 Hz
/// - bytes and flops: three scalars, about 30 flops
pub fn couple(now: Modulators, stimuli: &Stimuli, rates: &DecayRates, dt_secs: f64) -> Modulators {
    let deviation = [
        now.dopamine - REST.dopamine,
        now.serotonin - REST.serotonin,
        now.norepinephrine - REST.norepinephrine,
    ];
    let coupled = |row: usize| -> f64 {
        COUPLING[row].iter().zip(deviation).map(|(rate, deviation)| rate * deviation * dt_secs).sum()
    };
    let dopamine = DOPAMINE_GAIN * stimuli.reward_error - DOPAMINE_DECAY * deviation[0] + coupled(0);
    let serotonin = -rates.serotonin_per_sec * deviation[1] * dt_secs
        + coupled(1)
        + NAP_GAIN * f64::from(stimuli.naps)
        + GOAL_GAIN * f64::from(stimuli.goals)
        - ALERT_LOSS * f64::from(stimuli.alerts);
    let norepinephrine = -rates.norepinephrine_per_sec * deviation[2] * dt_secs + coupled(2) + stimuli.stress;
    Modulators {
        dopamine: (now.dopamine + dopamine).clamp(0.0, 1.0),
        serotonin: (now.serotonin + serotonin).clamp(0.0, 1.0),
        norepinephrine: (now.norepinephrine + norepinephrine).clamp(0.0, 1.0),
    }
}

/// Matrix of one update without stimuli: deviations after = matrix · deviations before.
pub fn linear_part(rates: &DecayRates, dt_secs: f64) -> [[f64; 3]; 3] {
    let mut matrix = COUPLING.map(|row| row.map(|rate| rate * dt_secs));
    matrix[0][0] += 1.0 - DOPAMINE_DECAY;
    matrix[1][1] += 1.0 - rates.serotonin_per_sec * dt_secs;
    matrix[2][2] += 1.0 - rates.norepinephrine_per_sec * dt_secs;
    matrix
}

/// η = η_base(1 + tanh(D − ½)).
pub fn plasticity_rate(base: f64, dopamine: f64) -> f64 {
    base * (1.0 + tanh(dopamine - 0.5))
}

/// λ = λ_base(½ + ½tanh(S − ½)).
pub fn elasticity_rate(base: f64, serotonin: f64) -> f64 {
    base * (0.5 + 0.5 * tanh(serotonin - 0.5))
}

/// α_eff/α = 1.5 − S.
pub fn damping_scale(serotonin: f64) -> f64 {
    1.5 - serotonin
}

/// D_eff/D = ((1 + ŝ)/(1 + ŝ_eff))² with ŝ_eff = ŝ/(1 + N): what arousal does to c², c = c0/(1 + ŝ).
pub fn diffusion_scale(state: f64, norepinephrine: f64) -> f64 {
    let ratio = (1.0 + state) / (1.0 + state / (1.0 + norepinephrine));
    ratio * ratio
}

/// Firing threshold θ = clamp(0.6 − 0.3N, 0.1, 0.95).
pub fn firing_threshold(norepinephrine: f64) -> f64 {
    (0.6 - 0.3 * norepinephrine).clamp(0.1, 0.95)
}

/// Entropy −Σp ln p in nats of p = ρ/Σρ; 0 where Σρ is 0. `densities` are |Ψ|² on the reservoir's nodes.
pub fn entropy(densities: &[f64]) -> f64 {
    let total: f64 = densities.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    // −Σ(ρ/t)ln(ρ/t) = ln t − (Σρ ln ρ)/t: one logarithm per node, one division in all.
    let weighted: f64 = densities.iter().filter(|density| **density > 0.0).map(|rho| rho * ln(*rho)).sum();
    (ln(total) - weighted / total).max(0.0)
}

/// Boredom after an update: + a(1 − tanh(k·Hs)) − relief·|δ|, clamped.
pub fn boredom(now: f64, entropy: f64, growth: f64, sharpness: f64, relief: f64, reward_error: f64) -> f64 {
    (now + growth * (1.0 - tanh(sharpness * entropy)) - relief * reward_error.abs()).clamp(0.0, 1.0)
}

/// ATP after an update: minus work/capacity while awake, plus `recharge_per_sec`·dt at rest, clamped.
pub fn atp(now: f64, work: f64, capacity: f64, recharge_per_sec: f64, dt_secs: f64, is_resting: bool) -> f64 {
    let change = if is_resting { recharge_per_sec * dt_secs } else { -work / capacity };
    (now + change).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests;
