//! Sources of the wave: emitters by direct digital synthesis and one-shot injections.
//!
//! Invariant: an emitter's phase is a pure function of the tick. The phase step per tick is a 128-bit fraction of a
//! turn, so that `phase(tick) = phase0 + step·tick` carries no accumulated rounding: after 10⁷ ticks the 64-bit
//! phase is exact to 2⁻⁶⁴ of a turn for the frequency and time step as given.

use crate::fill::ComplexFill;
use std::fmt;
use std::sync::Arc;

/// Strength of an emitter in time.
#[derive(Clone)]
pub enum Envelope {
    /// Always 1.
    Constant,
    /// Rises from 0 to 1 over `rise_secs` after `start_secs` and falls likewise before `end_secs` (sin² ramps).
    Window {
        /// When it begins to rise.
        start_secs: f64,
        /// When it has fallen to zero; infinity for never.
        end_secs: f64,
        /// Length of either ramp.
        rise_secs: f64,
    },
    /// Any function of model time.
    Function(Arc<dyn Fn(f64) -> f64 + Send + Sync>),
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.write_str("Constant"),
            Self::Window { start_secs, end_secs, rise_secs } => {
                write!(f, "Window({start_secs}..{end_secs}, rise {rise_secs})")
            }
            Self::Function(_) => f.write_str("Function"),
        }
    }
}

impl Envelope {
    /// Value at model time `t`.
    pub fn at(&self, t: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Window { start_secs, end_secs, rise_secs } => {
                ramp(t - start_secs, *rise_secs) * ramp(end_secs - t, *rise_secs)
            }
            Self::Function(function) => function(t),
        }
    }
}

/// sin² ramp: 0 before `elapsed = 0`, 1 after `elapsed = rise`.
fn ramp(elapsed: f64, rise: f64) -> f64 {
    if elapsed < 0.0 {
        return 0.0;
    }
    if elapsed >= rise {
        return 1.0;
    }
    let sine = libm::sin(core::f64::consts::FRAC_PI_2 * elapsed / rise);
    sine * sine
}

/// A running source: E(x, t) = amplitude · envelope(t) · profile(x) · e^{−2πi(f t + phase)}.
#[derive(Clone)]
pub struct Emitter {
    /// Name in reports.
    pub name: String,
    /// Frequency in turns per unit of model time (Hz when a unit is a second).
    pub frequency_hz: f64,
    /// Phase at t = 0, in turns.
    pub phase_turns: f64,
    /// Factor of the whole source.
    pub amplitude: f64,
    /// Where it acts.
    pub profile: Arc<dyn ComplexFill>,
    /// When it acts.
    pub envelope: Envelope,
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("name", &self.name)
            .field("frequency_hz", &self.frequency_hz)
            .field("phase_turns", &self.phase_turns)
            .field("amplitude", &self.amplitude)
            .field("envelope", &self.envelope)
            .finish_non_exhaustive()
    }
}

/// A source that strikes once: Ψ += amplitude · profile before tick `tick` begins.
#[derive(Clone)]
pub struct Injection {
    /// The tick.
    pub tick: u64,
    /// Complex factor (re, im).
    pub amplitude: (f64, f64),
    /// Where it acts.
    pub profile: Arc<dyn ComplexFill>,
}

impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injection")
            .field("tick", &self.tick)
            .field("amplitude", &self.amplitude)
            .finish_non_exhaustive()
    }
}

/// Phase of an oscillator as a 64-bit fraction of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseAccumulator {
    start: u128,
    step: u128,
}

impl PhaseAccumulator {
    /// An oscillator of `frequency_hz` sampled every `dt` time units, at `phase_turns` when tick is 0.
    pub fn new(frequency_hz: f64, dt: f64, phase_turns: f64) -> Self {
        Self { start: turns(phase_turns, 1.0), step: turns(frequency_hz, dt) }
    }

    /// Phase at `tick`, in units of 2⁻⁶⁴ turns.
    pub fn phase(&self, tick: u64) -> u64 {
        (self.start.wrapping_add(self.step.wrapping_mul(u128::from(tick))) >> 64) as u64
    }

    /// Phase at `tick` in turns, in [0, 1).
    pub fn turns(&self, tick: u64) -> f64 {
        // Keeping 53 bits makes the conversion exact and never reaches 1.
        (self.phase(tick) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

/// Fractional part of the exact product `a·b`, in units of 2⁻¹²⁸ turns.
fn turns(a: f64, b: f64) -> u128 {
    let (mantissa_a, exponent_a, sign_a) = decompose(a);
    let (mantissa_b, exponent_b, sign_b) = decompose(b);
    let product = u128::from(mantissa_a) * u128::from(mantissa_b);
    let shift = exponent_a + exponent_b + 128;
    let fraction = match shift {
        128.. => 0,
        0..=127 => product << shift,
        -127..=-1 => product >> -shift,
        _ => 0,
    };
    if sign_a == sign_b { fraction } else { fraction.wrapping_neg() }
}

/// `value = ±mantissa · 2^exponent`, exactly.
fn decompose(value: f64) -> (u64, i32, bool) {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, exponent) =
        if exponent == 0 { (fraction, -1074) } else { (fraction | (1 << 52), exponent - 1075) };
    (mantissa, exponent, bits >> 63 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_million_ticks_lose_no_phase() {
        // 5.083203692315260 Hz at 1 ms: compare with exact integer arithmetic on the f64's own mantissas.
        let (frequency, dt, ticks) = (5.083_203_692_315_26_f64, 1e-3_f64, 10_000_000_u64);
        let (mantissa_f, exponent_f, _) = decompose(frequency);
        let (mantissa_t, exponent_t, _) = decompose(dt);
        let shift = -(exponent_f + exponent_t) as u32; // product · 2^-shift turns per tick
        let product = u128::from(mantissa_f) * u128::from(mantissa_t);
        // (product · ticks) mod 2^shift, in two halves so that nothing overflows.
        let low = (product & ((1 << 64) - 1)) * u128::from(ticks);
        let high = (product >> 64) * u128::from(ticks) + (low >> 64);
        let total_low = low & ((1 << 64) - 1);
        assert!(shift < 128, "this example's product has fewer than 128 fraction bits");
        let fraction = ((high & ((1 << (shift - 64)) - 1)) << 64) | total_low;
        let expected = (fraction << (128 - shift)) >> 64;
        let found = PhaseAccumulator::new(frequency, dt, 0.0).phase(ticks);
        assert!(expected.abs_diff(u128::from(found)) <= 1, "{expected} against {found}");
    }

    #[test]
    fn whole_turns_return_to_the_start_and_signs_mirror() {
        let quarter = PhaseAccumulator::new(250.0, 1.0 / 1024.0, 0.25);
        assert_eq!(quarter.turns(1024), 0.25);
        let forward = PhaseAccumulator::new(3.25, 1.0 / 4096.0, 0.0);
        let backward = PhaseAccumulator::new(-3.25, 1.0 / 4096.0, 0.0);
        for tick in [1, 17, 4095] {
            assert_eq!(forward.phase(tick).wrapping_add(backward.phase(tick)), 0);
        }
    }

    #[test]
    fn windows_rise_and_fall() {
        let window = Envelope::Window { start_secs: 1.0, end_secs: 3.0, rise_secs: 0.5 };
        assert_eq!(window.at(0.9), 0.0);
        assert!((window.at(1.25) - 0.5).abs() < 1e-15);
        assert_eq!(window.at(2.0), 1.0);
        assert!((window.at(2.75) - 0.5).abs() < 1e-15);
        assert_eq!(window.at(3.1), 0.0);
    }
}
