//! The oracle's tally in the description of a `.nik` file.
//!
//! Invariant: what is read is, bit for bit, what was written: real numbers are texts, the shortest decimals that read back
//! to the same number, because JSON knows no NaN. Layout: docs/FORMATS.md, "Description".

use super::capture::number;
use nikola_systems::Simulation;
use nikola_systems::components::oracle::OracleTally;
use serde_json::{Value, json};

/// Adds the tally to the description, where the scene has an oracle.
pub fn describe(simulation: &Simulation, about: &mut Value) {
    let Some(tally) = simulation.oracle_tally() else { return };
    about["oracle"] = json!({
        "energy_drift_worst": format!("{:?}", tally.energy_drift_worst),
        "renormalisations": tally.n_renormalisations,
        "scrams": tally.n_scrams,
        "resets": tally.n_resets,
        "norm": format!("{:?}", tally.norm),
        "energy": format!("{:?}", tally.energy),
        "max_abs2": format!("{:?}", tally.max_abs2),
        "not_finite": tally.n_nonfinite,
    });
}

/// Reads it, if it is there.
///
/// # Errors
/// What is wrong.
pub fn parse(about: &Value) -> Result<Option<OracleTally>, String> {
    let Some(own) = about.get("oracle") else { return Ok(None) };
    let real = |name: &str| {
        let text = own[name].as_str().ok_or_else(|| format!("{name} of the oracle: {}", own[name]))?;
        text.parse::<f64>().map_err(|_| format!("{name} of the oracle: {text:.40}"))
    };
    let count = |name: &str| number(&own[name]).map_err(|found| format!("{name} of the oracle: {found:.40}"));
    Ok(Some(OracleTally {
        energy_drift_worst: real("energy_drift_worst")?,
        n_renormalisations: count("renormalisations")?,
        n_scrams: count("scrams")?,
        n_resets: count("resets")?,
        norm: real("norm")?,
        energy: real("energy")?,
        max_abs2: real("max_abs2")?,
        n_nonfinite: count("not_finite")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_tally_is_named() {
        let whole = json!({"energy_drift_worst": "1e-7", "renormalisations": 1, "scrams": 2, "resets": 3,
            "norm": "NaN", "energy": "-0.1", "max_abs2": "inf", "not_finite": 4});
        let tally = parse(&json!({"oracle": whole})).expect("whole").expect("there");
        assert_eq!((tally.n_resets, tally.energy, tally.max_abs2), (3, -0.1, f64::INFINITY));
        assert!(tally.norm.is_nan());
        assert_eq!(parse(&json!({})), Ok(None));
        for name in whole.as_object().expect("an object").keys() {
            for broken in [Value::Null, json!([]), json!("much"), json!(-1.5)] {
                let mut own = whole.clone();
                own[name] = broken;
                let error = parse(&json!({"oracle": own})).expect_err("broken");
                assert!(error.contains(name), "{name} in {error}");
            }
        }
        assert!(parse(&json!({"oracle": 7})).is_err());
    }
}
