//! From control messages to orders of the intake.
//! Invariant: what is not finite or of the wrong length never becomes an order; the numbers of a packet reach the
//! journal as they came, to the last bit.

use super::generated::nikola::Injection;
use crate::intake::{Order, Stimulus};
use nikola_systems::components::geometry::axis::Axis;
use std::fmt::Write as _;

/// Why a control message is no order.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OrderError {
    /// A number is missing or not finite.
    #[error("{field} is {found}; expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What came.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// No such parameter.
    #[error(
        "{found:?} cannot be set while running; expected beta, emitter.0, emitter.1, …, reward or stress"
    )]
    Parameter {
        /// Its name.
        found: String,
    },
    /// A peer may not make the engine read files.
    #[error("FromNpy reads a file, which is not done for a peer; send a formula or a packet")]
    ReadsFile,
}

/// SET_PARAM.
///
/// # Errors
/// [`OrderError`].
pub fn parameter(name: &str, value: f64) -> Result<Order, OrderError> {
    match name {
        "beta" => Ok(Order::SetBeta(finite("value", value)?)),
        "reward" => Ok(Order::Stimulate(Stimulus::Reward(finite("value", value)?))),
        "stress" => Ok(Order::Stimulate(Stimulus::Stress(finite("value", value)?))),
        _ => match name.strip_prefix("emitter.").map(str::parse) {
            Some(Ok(emitter)) => Ok(Order::Drive { emitter, value: finite("value", value)? }),
            _ => Err(OrderError::Parameter { found: name.into() }),
        },
    }
}

/// INJECT.
///
/// # Errors
/// [`OrderError`]; a strike's own text is checked by the intake.
pub fn injection(injection: Option<&Injection>) -> Result<Order, OrderError> {
    let missing =
        || OrderError::Field { field: "injection", found: "nothing".into(), expected: "an Injection" };
    let injection = injection.ok_or_else(missing)?;
    if injection.strike.contains("FromNpy") {
        return Err(OrderError::ReadsFile);
    }
    if !injection.strike.is_empty() {
        return Ok(Order::Inject(injection.strike.clone()));
    }
    let (re, im) = (finite("injection.re", injection.re)?, finite("injection.im", injection.im)?);
    let width = per_axis("injection.width", &injection.width)?;
    let centre = per_axis("injection.centre", &injection.centre)?;
    let momentum = per_axis("injection.momentum", &injection.momentum)?;
    let (modulus, phase) = (libm::hypot(re, im), libm::atan2(im, re));
    Ok(Order::Inject(format!(
        "(amplitude: {modulus:?}, phase: {phase:?}, profile: Gaussian(width: {width}, centre: {centre}, momentum: \
         {momentum}))"
    )))
}

fn finite(field: &'static str, found: f64) -> Result<f64, OrderError> {
    if found.is_finite() {
        return Ok(found);
    }
    Err(OrderError::Field { field, found: found.to_string(), expected: "a finite number" })
}

/// Nine numbers as a scene writes them, zeros left out.
fn per_axis(field: &'static str, list: &[f64]) -> Result<String, OrderError> {
    if !list.is_empty() && list.len() != 9 {
        let found = format!("{} numbers", list.len());
        return Err(OrderError::Field { field, found, expected: "nine numbers along r…z, or none" });
    }
    let mut text = String::from("{");
    for (axis, value) in Axis::ALL.iter().zip(list) {
        if finite(field, *value)? != 0.0 {
            let _ = write!(text, "{axis}: {value:?}, ");
        }
    }
    Ok(text + "}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_become_strikes() {
        let mut width = vec![0.0; 9];
        width[8] = 0.1 + 0.2;
        let packet = Injection { re: 3.0, im: 4.0, width, ..Injection::default() };
        let Ok(Order::Inject(text)) = super::injection(Some(&packet)) else { panic!("an injection") };
        assert!(text.contains("amplitude: 5.0") && text.contains("{z: 0.30000000000000004, }"), "{text}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (Injection { re: f64::NAN, ..Injection::default() }, "injection.re"),
            (Injection { centre: vec![0.0; 8], ..Injection::default() }, "injection.centre"),
            (Injection { momentum: vec![f64::INFINITY; 9], ..Injection::default() }, "injection.momentum"),
            (Injection { strike: "(profile: FromNpy(\"x\"))".into(), ..Injection::default() }, "FromNpy"),
        ];
        for (bad, word) in cases {
            let error = super::injection(Some(&bad)).expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(parameter("beta", 1.0).is_ok());
        assert_eq!(parameter("emitter.12", 0.5), Ok(Order::Drive { emitter: 12, value: 0.5 }));
        assert_eq!(parameter("reward", -1.0), Ok(Order::Stimulate(Stimulus::Reward(-1.0))));
        assert!(parameter("emitter.x", 1.0).is_err() && parameter("stress", f64::NAN).is_err());
        assert!(parameter("gamma", 1.0).expect_err("none").to_string().contains("beta"));
        assert!(super::injection(None).is_err());
    }
}
