//! Emitters and injections.
//!
//! Source: the golden-ratio frequencies f_n = π φⁿ Hz (n = 1…8) with phase offsets of 23, 19, 17, 13, 11, 7, 5, 3
//! degrees × Δφ, and the central synchroniser f_9 = π φ⁻¹ √2 · 32/27 Hz at 0°. f_1 + f_2 = f_3 exactly, so the
//! frequencies are not free of resonances. Invariant: one emitter here is one phase accumulator of the engine.

use super::context::Names;
use super::error::SceneError;
use super::field::FieldBuilder;
use super::forms::{EmitterForm, EnvelopeForm, FieldForm, InjectionForm};
use super::limits::LIST_MAX;
use super::quantity::Quantity;
use super::remembered;
use super::survey;
use core::f64::consts::{PI, SQRT_2};
use nikola_components::emitter::{Emitter, Envelope, Injection};
use nikola_components::fill::ComplexFill;
use std::sync::Arc;

const PHI: f64 = 1.618_033_988_749_894_8;

/// Phase offsets of the emitters 1…8 in degrees per Δφ.
const OFFSETS_DEG: [f64; 8] = [23.0, 19.0, 17.0, 13.0, 11.0, 7.0, 5.0, 3.0];

/// Frequency in Hz and phase offset in degrees (for Δφ = 1) of golden-ratio emitter `n` in 1…9.
pub fn golden_ratio(n: u8) -> Option<(f64, f64)> {
    match n {
        1..=8 => {
            let power = (0..n).fold(1.0, |power, _| power * PHI);
            Some((PI * power, OFFSETS_DEG[usize::from(n) - 1]))
        }
        9 => Some((PI / PHI * SQRT_2 * 32.0 / 27.0, 0.0)),
        _ => None,
    }
}

impl FieldBuilder<'_> {
    /// A surveyed field: finite at every node.
    pub(super) fn pattern(&self, form: &FieldForm, path: &str) -> Result<Arc<dyn ComplexFill>, SceneError> {
        let fill = remembered::complex(&self.grid, self.build(form, path)?);
        survey::complex(&self.grid, fill.as_ref()).map_err(|bad| self.blame(form, path, &bad))?;
        Ok(fill)
    }

    /// Names the innermost part of `form` that is not finite.
    pub fn blame(&self, form: &FieldForm, path: &str, bad: &survey::BadNode) -> SceneError {
        if let FieldForm::Sum(parts) | FieldForm::Product(parts) = form {
            for (i, part) in parts.iter().enumerate() {
                let path = format!("{path}[{i}]");
                let Ok(fill) = self.build(part, &path) else { continue };
                if let Err(bad) = survey::complex(&self.grid, fill.as_ref()) {
                    return self.blame(part, &path, &bad);
                }
            }
        }
        self.context.not_finite(path, bad)
    }

    /// Every emitter of the scene; `end` is the model time at which the run ends.
    ///
    /// # Errors
    /// Values that cannot be used, by field.
    pub fn emitters(&self, forms: &[EmitterForm], end: f64) -> Result<Vec<Emitter>, SceneError> {
        let mut emitters = Vec::new();
        for (i, form) in forms.iter().enumerate() {
            let path = format!("emitters[{i}]");
            match form {
                EmitterForm::GoldenRatio { n, delta_phi, amplitude, profile, envelope } => {
                    self.golden(n, [delta_phi, amplitude], profile, envelope, &path, end, &mut emitters)?;
                }
                EmitterForm::Custom { name, frequency_hz, phase_deg, amplitude, profile, envelope } => {
                    let number = |quantity: &Quantity, field: &str| {
                        self.context.number(quantity, &format!("{path}.{field}"))
                    };
                    emitters.push(Emitter {
                        name: if name.is_empty() {
                            format!("emitter {}", emitters.len() + 1)
                        } else {
                            name.clone()
                        },
                        frequency_hz: number(frequency_hz, "frequency_hz")?,
                        phase_turns: number(phase_deg, "phase_deg")? / 360.0,
                        amplitude: number(amplitude, "amplitude")?,
                        profile: self.pattern(profile, &format!("{path}.profile"))?,
                        envelope: self.envelope(envelope, &format!("{path}.envelope"), end)?,
                    });
                }
            }
        }
        if emitters.len() > LIST_MAX {
            return Err(self.context.value(
                "emitters",
                format!("{} emitters", emitters.len()),
                format!("at most {LIST_MAX}"),
                "merge emitters of one frequency into one profile",
            ));
        }
        Ok(emitters)
    }

    fn golden(
        &self,
        numbers: &[u8],
        values: [&Quantity; 2],
        profile: &FieldForm,
        envelope: &EnvelopeForm,
        path: &str,
        end: f64,
        emitters: &mut Vec<Emitter>,
    ) -> Result<(), SceneError> {
        let delta_phi = self.context.number(values[0], &format!("{path}.delta_phi"))?;
        let amplitude = self.context.number(values[1], &format!("{path}.amplitude"))?;
        let profile = self.pattern(profile, &format!("{path}.profile"))?;
        let envelope = self.envelope(envelope, &format!("{path}.envelope"), end)?;
        let all: Vec<u8> = (1..=9).collect();
        let chosen = if numbers.is_empty() { all.as_slice() } else { numbers };
        for (i, &n) in chosen.iter().enumerate() {
            let Some((frequency_hz, offset_deg)) = golden_ratio(n).filter(|_| !chosen[..i].contains(&n))
            else {
                return Err(self.context.value(
                    &format!("{path}.n[{i}]"),
                    format!("{n}"),
                    "different numbers from 1 to 9 (9 is the central synchroniser)",
                    "remove it; leave `n` out to have all nine",
                ));
            };
            emitters.push(Emitter {
                name: if n == 9 { "synchroniser".into() } else { format!("golden ratio {n}") },
                frequency_hz,
                phase_turns: offset_deg * delta_phi / 360.0,
                amplitude,
                profile: profile.clone(),
                envelope: envelope.clone(),
            });
        }
        Ok(())
    }

    fn envelope(&self, form: &EnvelopeForm, path: &str, end: f64) -> Result<Envelope, SceneError> {
        let context = self.context;
        match form {
            EnvelopeForm::Constant => Ok(Envelope::Constant),
            EnvelopeForm::Window { start_secs, end_secs, rise_secs } => {
                let start = context.number(start_secs, &format!("{path}.start_secs"))?;
                let rise = context.number(rise_secs, &format!("{path}.rise_secs"))?;
                let stop = match end_secs {
                    None => f64::INFINITY,
                    Some(quantity) => context.number(quantity, &format!("{path}.end_secs"))?,
                };
                if rise < 0.0 || stop <= start {
                    return Err(context.value(
                        path,
                        format!("a window from {start} to {stop} with ramps of {rise}"),
                        "start_secs < end_secs and rise_secs from 0 on",
                        "put the end after the start",
                    ));
                }
                Ok(Envelope::Window { start_secs: start, end_secs: stop, rise_secs: rise })
            }
            EnvelopeForm::Expr(text) => {
                let node = context.expression(text, path, Names::Time)?;
                let at = move |t: f64| node.fold(Some(t)).number().unwrap_or(f64::NAN);
                for time in [0.0, 0.5 * end, end] {
                    let value = at(time);
                    if !value.is_finite() {
                        let bad = survey::BadNode { value: format!("{value}"), node: format!("t = {time}") };
                        return Err(context.not_finite(path, &bad));
                    }
                }
                Ok(Envelope::Function(Arc::new(at)))
            }
        }
    }

    /// Every injection of the scene.
    ///
    /// # Errors
    /// Values that cannot be used, by field.
    pub fn injections(&self, forms: &[InjectionForm]) -> Result<Vec<Injection>, SceneError> {
        let build = |(i, form): (usize, &InjectionForm)| {
            let path = format!("injections[{i}]");
            let amplitude = self.context.number(&form.amplitude, &format!("{path}.amplitude"))?;
            let phase = self.context.number(&form.phase, &format!("{path}.phase"))?;
            Ok(Injection {
                tick: form.tick,
                amplitude: super::separable::polar(amplitude, phase),
                profile: self.pattern(&form.profile, &format!("{path}.profile"))?,
            })
        };
        forms.iter().enumerate().map(build).collect()
    }
}
