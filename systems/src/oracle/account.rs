//! The energy account: what H and ∫|Ψ|² should be, given every flow that was booked.
//!
//! Invariant: plain arithmetic in f64, one call per tick in the order of the tick; nothing here reads the field.
//!
//! **Derivation.** With h = T + V + β|Ψ|², the exact balance of i∂tΨ = hΨ − iΓΨ + iE is
//!
//! ```text
//! dH/dt = −2 Re⟨ΓΨ, hΨ⟩ + 2 Re⟨E, hΨ⟩ + ∫∂tV|Ψ|²        dN/dt = −2∫Γ|Ψ|² + 2 Re⟨E, Ψ⟩
//! ```
//!
//! The conservative part of a Strang tick conserves a modified energy H̃ = H + O(dt²) (Hairer, Lubich & Wanner,
//! *Geometric Numerical Integration*, ch. IX), so H swings by O(dt²) around the account without a trend; what must
//! be right is the sum of the flows. Each is booked by the quadrature of the step itself:
//!
//! - **Sources.** A tick ends with the kick Ψ += ½dt·E(t_n) and the next begins with the same kick. Both together
//!   change a quadratic H by exactly 2dt·Re⟨E(t_n), hΨ_n⟩, Ψ_n the state between them: one power per tick border,
//!   half of it booked before the border and half after. It is the sum the step performs, whatever the emitter's
//!   frequency; ⟨E, TΨ⟩ = ⟨TE, Ψ⟩ needs no derivative of Ψ.
//! - **Uniform Γ.** −2ReΓ⟨Ψ, hΨ⟩ = −2Γ(H + W) with W = (β/2)∫|Ψ|⁴. The first part is integrated exactly, as the
//!   factor e^{−2Γdt} per tick on the account itself, so no kinetic energy need be measured; W is sampled.
//! - **Γ(x).** The power −2Re⟨ΓΨ, hΨ⟩ is sampled.
//! - **V(x, t).** In extended phase space the step is a splitting of H + p_t, and p_t changes by −dt·∫∂tV(t_n)|Ψ_n|²
//!   per border: the trapezium rule with the derivative at the border. The power is sampled.
//!
//! - **A metric that changes, pages that are pruned.** ΔH is booked in its tick; where Γ varies, the power sampled next
//!   has jumped with it inside a panel, at a tick that is known: see [`Account::jump`].
//!
//! Sampled powers are integrated over panels of m ticks by the third-order Adams–Moulton formula
//! h(5f_k + 8f_{k−1} − f_{k−2})/12, whose error −h⁴f‴/24 per panel adds up to a difference of end values, again
//! without a trend. The measured H is compared with the account at the checks; a bomb, a defect of the step or a flow
//! nobody booked shows in full.

use crate::state::{StateError, StateReader, StateWriter};

/// Integrates a sampled power.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Panel {
    /// The last two samples.
    last: Option<f64>,
    before: Option<f64>,
}

impl Panel {
    /// Energy over the panel that ends with `power`; `decay` is what a flow one panel ago has shrunk to by now.
    fn close(&mut self, power: f64, duration: f64, decay: f64) -> f64 {
        let energy = match (self.last, self.before) {
            (None, _) => 0.0,
            (Some(last), None) => 0.5 * duration * (power + decay * last),
            (Some(last), Some(before)) => {
                duration / 12.0 * (5.0 * power + decay * (8.0 * last - decay * before))
            }
        };
        self.before = self.last;
        self.last = Some(power);
        energy
    }
}

/// Energy and norm of one quantity, model units.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Amount {
    /// Energy H.
    pub energy: f64,
    /// ∫|Ψ|².
    pub norm: f64,
}

impl From<(f64, f64)> for Amount {
    fn from((energy, norm): (f64, f64)) -> Self {
        Self { energy, norm }
    }
}

/// Powers sampled at a tick border.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Powers {
    /// Dissipation that the uniform factor does not cover; of the energy without its kinetic part.
    pub damping: Amount,
    /// The kinetic part.
    pub damping_kinetic: f64,
    /// ∫∂tV|Ψ|².
    pub drive: f64,
}

/// What one tick booked, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Booked {
    /// By sources.
    pub source: f64,
    /// By Γ.
    pub damping: f64,
    /// By V(x, t).
    pub drive: f64,
}

/// The account.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Account {
    /// What H and the norm should be at the last tick border.
    pub expected: Amount,
    /// Work of the source kick that opens the next tick.
    opening: Amount,
    /// Energy without its kinetic part, norm, kinetic part.
    damping: [Panel; 3],
    drive: Panel,
    /// Ticks of the last panel.
    panel_ticks: u64,
}

impl Account {
    /// Continues from a measured state.
    pub fn anchor(&mut self, measured: Amount) {
        self.expected = measured;
    }

    /// Sets the work of the source kick that opens the next tick: half of `work`.
    pub fn open(&mut self, work: Amount) {
        self.opening = Amount { energy: 0.5 * work.energy, norm: 0.5 * work.norm };
    }

    /// Γ was scaled everywhere at the last border: so were the powers sampled there.
    pub fn scale_damping(&mut self, ratio: f64) {
        for panel in &mut self.damping {
            panel.last = panel.last.map(|power| power * ratio);
            panel.before = panel.before.map(|power| power * ratio);
        }
    }

    /// T was scaled at the last border: so was the kinetic power sampled there.
    pub fn scale_kinetic(&mut self, ratio: f64) {
        let panel = &mut self.damping[2];
        panel.last = panel.last.map(|power| power * ratio);
        panel.before = panel.before.map(|power| power * ratio);
    }

    /// Adds energy that was booked after the tick.
    pub fn adjust(&mut self, energy: f64) {
        self.expected.energy += energy;
    }

    /// Adds what stages changed at the border, after the kick that closed the tick.
    pub fn settle(&mut self, change: Amount) {
        self.expected.energy += change.energy;
        self.expected.norm += change.norm;
    }

    /// A sampled power jumped by `power`, `lead` ticks before the middle of its panel. The formula takes every jump inside a
    /// panel for one in its middle: its weights 5/12 in this panel and 13/12 in the next add up to that. Returns the energy.
    pub fn jump(&mut self, power: Amount, lead: f64, dt: f64) -> f64 {
        let energy = power.energy * lead * dt;
        self.settle(Amount { energy, norm: power.norm * lead * dt });
        energy
    }

    /// One tick: `inflow` was booked by other stages; `closing` and `opening` are 2dt·Re⟨E, hΨ⟩ (and 2dt·Re⟨E, Ψ⟩) at the
    /// tick's end, as the kick that closes it and the one that opens the next find h and Ψ; the uniform part of Γ during
    /// it was `gamma`.
    pub fn tick(&mut self, inflow: Amount, closing: Amount, opening: Amount, gamma: f64, dt: f64) -> Booked {
        let factor = libm::expm1(-2.0 * gamma * dt);
        let half = Amount { energy: 0.5 * closing.energy, norm: 0.5 * closing.norm };
        let energy = self.expected.energy + self.opening.energy + inflow.energy;
        let norm = self.expected.norm + self.opening.norm + inflow.norm;
        let booked =
            Booked { source: self.opening.energy + half.energy, damping: energy * factor, drive: 0.0 };
        self.expected.energy = energy + energy * factor + half.energy;
        self.expected.norm = norm + norm * factor + half.norm;
        self.open(opening);
        booked
    }

    /// A sample of the powers after `ticks` ticks of `dt`.
    pub fn sample(&mut self, powers: &Powers, gamma: f64, ticks: u64, dt: f64) -> Booked {
        let duration = ticks as f64 * dt;
        if ticks != self.panel_ticks {
            // The formula wants equal panels; a first one after an interruption may be shorter.
            self.damping.iter_mut().chain([&mut self.drive]).for_each(|panel| panel.before = None);
        }
        self.panel_ticks = ticks;
        let decay = libm::exp(-2.0 * gamma * duration);
        let damping = self.damping[0].close(powers.damping.energy, duration, decay)
            + self.damping[2].close(powers.damping_kinetic, duration, decay);
        let norm = self.damping[1].close(powers.damping.norm, duration, decay);
        let drive = self.drive.close(powers.drive, duration, decay);
        self.expected.energy += damping + drive;
        self.expected.norm += norm;
        Booked { source: 0.0, damping, drive }
    }
}

impl Account {
    /// Every number that later ticks depend on.
    pub fn save(&self, out: &mut StateWriter) {
        for amount in [self.expected, self.opening] {
            out.put_f64(amount.energy);
            out.put_f64(amount.norm);
        }
        for panel in self.damping.iter().chain([&self.drive]) {
            out.put_f64_or_none(panel.last);
            out.put_f64_or_none(panel.before);
        }
        out.put_u64(self.panel_ticks);
    }

    /// Takes them back.
    ///
    /// # Errors
    /// [`StateError`] when the blob ends early.
    pub fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        for amount in [&mut self.expected, &mut self.opening] {
            amount.energy = from.take_f64()?;
            amount.norm = from.take_f64()?;
        }
        for panel in self.damping.iter_mut().chain([&mut self.drive]) {
            panel.last = from.take_f64_or_none()?;
            panel.before = from.take_f64_or_none()?;
        }
        self.panel_ticks = from.take_u64()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_are_third_order() {
        let error = |panels: u32| {
            let (mut panel, h) = (Panel::default(), 1.0 / f64::from(panels));
            let power = |i: u32| libm::sin(3.0 * f64::from(i) * h) + 2.0;
            let sum: f64 = (0..=panels).map(|i| panel.close(power(i), h, 1.0)).sum();
            (sum - (2.0 + (1.0 - libm::cos(3.0)) / 3.0)).abs()
        };
        let order = (error(40) / error(80)).log2();
        assert!(order > 2.7, "order {order}");
    }

    #[test]
    fn a_decaying_oscillator_under_a_kick_is_exact() {
        // ∂tΨ = −ΓΨ, H = Ψ²: kicks of δ per border, by hand and by the account.
        let (gamma, dt, delta) = (0.7, 0.01, 0.003);
        let mut psi: f64 = 1.0;
        let mut account = Account::default();
        let amount = |x: f64| Amount { energy: x, norm: x };
        let work = |psi: f64| amount(2.0 * psi * delta);
        account.anchor(amount(psi * psi));
        account.open(work(psi));
        for _ in 0..500 {
            psi = (psi + 0.5 * delta) * libm::exp(-gamma * dt) + 0.5 * delta;
            account.tick(Amount::default(), work(psi), work(psi), gamma, dt);
        }
        // A border splits a kick of δ in halves, so the account is δ²/4 ahead after each closing half; the opening half
        // takes it back. What the first border lacked has decayed to δ²/4·e^{−7}.
        let ahead = account.expected.energy - psi * psi;
        assert!((ahead - 0.25 * delta * delta).abs() < 5e-9, "{account:?} against {}", psi * psi);
    }
}
