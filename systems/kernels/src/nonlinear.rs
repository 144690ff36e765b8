//! Closed forms of the local nonlinear flow, in f64: the reference every vector kernel is tested against.
//! Invariant: each function is the exact solution of an ordinary differential equation at one node.
//! Source: i∂tΨ = VΨ + β|Ψ|²Ψ − iΓΨ − iκ|Ψ|²Ψ; |Ψ|² obeys its own equation, whose integral is the phase.

use libm::{cos, exp, expm1, log1p, sin, sqrt};

/// `∫₀ʰ e^{−2Γs} ds = (1 − e^{−2Γh})/(2Γ)`: the time over which a decaying density acts as if it were constant.
/// Γ in 1/time, h in time (either sign). Accurate for every Γh, zero included.
pub fn effective_duration(damping: f64, duration: f64) -> f64 {
    let x = damping * duration;
    if x.abs() < 1e-4 {
        // 1 − x + (2/3)x² − (1/3)x³: the next term is below 1e-16.
        duration * (1.0 - x * (1.0 - x * (2.0 / 3.0 - x / 3.0)))
    } else {
        -expm1(-2.0 * x) / (2.0 * damping)
    }
}

/// Exact flow of `Ψ_t = −i(V + β|Ψ|²)Ψ − ΓΨ` over `duration`. Returns the new (re, im).
pub fn real_time(re: f64, im: f64, potential: f64, damping: f64, beta: f64, duration: f64) -> (f64, f64) {
    let density = re * re + im * im;
    let angle = -(potential * duration + beta * density * effective_duration(damping, duration));
    let scale = exp(-damping * duration);
    let (c, s) = (cos(angle) * scale, sin(angle) * scale);
    (re * c - im * s, re * s + im * c)
}

/// Exact flow of `Ψ_τ = −(V + β|Ψ|² − μ)Ψ` over `duration` (a Bernoulli equation for |Ψ|²). Returns the new (re, im).
/// A focusing β may blow up within `duration`; the result is then not finite.
pub fn imaginary_time(re: f64, im: f64, potential: f64, mu: f64, beta: f64, duration: f64) -> (f64, f64) {
    let density = re * re + im * im;
    let rate = potential - mu;
    let growth = 1.0 + 2.0 * beta * density * effective_duration(rate, duration);
    let scale = exp(-rate * duration) / sqrt(growth);
    (re * scale, im * scale)
}

/// Exact flow of two-body loss, `Ψ_t = −i(V + β|Ψ|²)Ψ − κ|Ψ|²Ψ`: ρ(h) = ρ₀/(1 + 2κρ₀h), phase β·ln(1 + 2κρ₀h)/(2κ).
/// Returns the new (re, im). κ ≥ 0 and h ≥ 0, or 2κρ₀h > −1.
pub fn two_body_loss(re: f64, im: f64, potential: f64, kappa: f64, beta: f64, duration: f64) -> (f64, f64) {
    let density = re * re + im * im;
    let x = 2.0 * kappa * density * duration;
    let phase = if x.abs() < 1e-5 {
        beta * density * duration * (1.0 - x * (0.5 - x * (1.0 / 3.0 - x / 4.0)))
    } else {
        beta * log1p(x) / (2.0 * kappa)
    };
    let angle = -(potential * duration + phase);
    let scale = 1.0 / sqrt(1.0 + x);
    let (c, s) = (cos(angle) * scale, sin(angle) * scale);
    (re * c - im * s, re * s + im * c)
}
