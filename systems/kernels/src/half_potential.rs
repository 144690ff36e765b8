//! The local flow: potential, damping and nonlinearity at each node, integrated exactly.
//! Invariant: a node's result depends on that node alone. Source: [`crate::nonlinear`].

use crate::field::{PageMut, Real, Threads, Values};
use crate::nonlinear;
use crate::simd::Level;

/// Which time the flow runs in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    /// i∂tΨ = (V + β|Ψ|²)Ψ − iΓΨ.
    Real,
    /// Ψ_τ = −(V + β|Ψ|² − μ)Ψ; damping is ignored.
    Imaginary {
        /// Chemical potential μ subtracted from V, so that the flow neither grows nor decays at the ground state.
        mu: f64,
    },
}

/// One exact local flow of V, Γ and β over `duration`.
#[derive(Debug, Clone, Copy)]
pub struct LocalFlow<'a, T> {
    /// Length of the flow in model time; negative in fourth-order schemes.
    pub duration: f64,
    /// Potential V, energy units of 1/time.
    pub potential: Values<'a, T>,
    /// Damping Γ in 1/time.
    pub damping: Values<'a, T>,
    /// Coefficient β of |Ψ|².
    pub beta: f64,
    /// Real or imaginary time.
    pub time: Time,
    /// Ψ is multiplied by `1 + gain`; 0.0 for none. Survives f32 for |gain| far below its resolution.
    pub gain: f64,
}

/// Applies the flow to every node of every page.
pub fn apply<T: Real>(_level: Level, _threads: Threads<'_>, pages: &mut [PageMut<'_, T>], flow: &LocalFlow<'_, T>) {
    let at = |values: &Values<'_, T>, p: usize, i: usize| match values {
        Values::Uniform(v) => v.to_f64(),
        Values::PerNode(s) => s[p][i].to_f64(),
    };
    for (p, page) in pages.iter_mut().enumerate() {
        for i in 0..page.re.len() {
            let (re, im) = (page.re[i].to_f64(), page.im[i].to_f64());
            let v = at(&flow.potential, p, i);
            let (re, im) = match flow.time {
                Time::Real => nonlinear::real_time(re, im, v, at(&flow.damping, p, i), flow.beta, flow.duration),
                Time::Imaginary { mu } => nonlinear::imaginary_time(re, im, v, mu, flow.beta, flow.duration),
            };
            page.re[i] = T::from_f64(re * (1.0 + flow.gain));
            page.im[i] = T::from_f64(im * (1.0 + flow.gain));
        }
    }
}
