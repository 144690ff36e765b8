//! How local and kinetic flows are composed within one tick.
//!
//! Invariant: every composition is palindromic, begins and ends with a local flow, and its kinetic weights sum to 1.
//! Sources: Strang, SIAM J. Numer. Anal. 5 (1968) 506; Yoshida, Phys. Lett. A 150 (1990) 262; Blanes & Moan,
//! J. Comput. Appl. Math. 142 (2002) 313, table 2, method S6 of order 4.

use nikola_components::setup::Integrator;

/// A local flow between two kinetic flows. Where sources act, they kick between its two parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalStep {
    /// Weight applied before the kick.
    pub left: f64,
    /// Weight applied after the kick.
    pub right: f64,
    /// Model time since the tick began, as a fraction of dt.
    pub at: f64,
}

impl LocalStep {
    /// Weight of the whole flow, and of the kick.
    pub fn weight(&self) -> f64 {
        self.left + self.right
    }
}

/// local₀ · kinetic₀ · local₁ · kinetic₁ · … · local_n, weights as fractions of dt.
#[derive(Debug, Clone, PartialEq)]
pub struct Composition {
    /// One more than the kinetic weights.
    pub local: Vec<LocalStep>,
    /// Weights of the kinetic flows.
    pub kinetic: Vec<f64>,
}

impl Composition {
    /// The composition of `integrator`.
    pub fn new(integrator: Integrator) -> Self {
        match integrator {
            Integrator::Strang => Self::of_strang_steps(&[1.0]),
            Integrator::Yoshida4 => {
                let cube_root = 2.0_f64.cbrt();
                let outer = 1.0 / (2.0 - cube_root);
                Self::of_strang_steps(&[outer, -cube_root * outer, outer])
            }
            Integrator::BlanesMoan4 => Self::blanes_moan(),
        }
    }

    /// Whether any flow runs backwards (so that damping would amplify and imaginary time would be unstable).
    pub fn has_negative_steps(&self) -> bool {
        self.kinetic.iter().any(|&weight| weight < 0.0) || self.local.iter().any(|step| step.weight() < 0.0)
    }

    fn of_strang_steps(weights: &[f64]) -> Self {
        let mut local = vec![LocalStep { left: 0.0, right: 0.5 * weights[0], at: 0.0 }];
        let mut at = 0.0;
        for (i, weight) in weights.iter().enumerate() {
            at += weight;
            let right = weights.get(i + 1).map_or(0.0, |next| 0.5 * next);
            local.push(LocalStep { left: 0.5 * weight, right, at });
        }
        Self { local, kinetic: weights.to_vec() }.with_exact_end()
    }

    fn blanes_moan() -> Self {
        let a = [0.079_203_696_431_195_7, 0.353_172_906_049_774, -0.042_065_080_357_719_5];
        let a4 = 1.0 - 2.0 * (a[0] + a[1] + a[2]);
        let b = [0.209_515_106_613_362, -0.143_851_773_179_818];
        let b3 = 0.5 - (b[0] + b[1]);
        let kinetic = vec![b[0], b[1], b3, b3, b[1], b[0]];
        let weights = [a[0], a[1], a[2], a4, a[2], a[1], a[0]];
        let mut local = Vec::with_capacity(weights.len());
        let mut at = 0.0;
        for (i, &weight) in weights.iter().enumerate() {
            let (left, right) = match i {
                0 => (0.0, weight),
                6 => (weight, 0.0),
                _ => (0.5 * weight, 0.5 * weight),
            };
            local.push(LocalStep { left, right, at });
            at += kinetic.get(i).copied().unwrap_or(0.0);
        }
        Self { local, kinetic }.with_exact_end()
    }

    /// The last local flow acts exactly at the end of the tick, whatever the weights' sum rounds to.
    fn with_exact_end(mut self) -> Self {
        if let Some(last) = self.local.last_mut() {
            last.at = 1.0;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compositions_are_palindromic_and_consistent() {
        for integrator in [Integrator::Strang, Integrator::Yoshida4, Integrator::BlanesMoan4] {
            let composition = Composition::new(integrator);
            assert_eq!(composition.local.len(), composition.kinetic.len() + 1);
            let kinetic: f64 = composition.kinetic.iter().sum();
            let local: f64 = composition.local.iter().map(LocalStep::weight).sum();
            assert!((kinetic - 1.0).abs() < 1e-14 && (local - 1.0).abs() < 1e-14, "{integrator:?}");
            let n = composition.local.len();
            for i in 0..n {
                let (step, mirror) = (composition.local[i], composition.local[n - 1 - i]);
                assert!((step.left - mirror.right).abs() < 1e-15, "{integrator:?}");
                assert!((step.at + mirror.at - 1.0).abs() < 1e-14, "{integrator:?}");
            }
        }
    }
}
