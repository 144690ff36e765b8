//! What the last scan gave, in the description of a `.nik` file.
//!
//! Invariant: as of the oracle's tally, what is read is, bit for bit, what was written, and no tick depends on it: it is there
//! to be told of. Layout: docs/FORMATS.md, "Description".

use super::capture::{list, number};
use nikola_systems::Simulation;
use nikola_systems::components::geometry::traversal::Traversal;
use nikola_systems::components::scan::{STATE, ScanOutput, Scanned};
use serde_json::{Value, json};

/// Adds the output to the description, where there was a scan.
pub fn describe(simulation: &Simulation, about: &mut Value) {
    let Some(output) = simulation.scan().filter(|output| output.tick > 0) else { return };
    let traversals = output.traversals.iter().map(|scanned| {
        let (re, im) = scanned.output;
        json!({
            "name": scanned.traversal.name(),
            "re": texts(&scanned.re),
            "im": texts(&scanned.im),
            "output": texts(&[re, im]),
        })
    });
    about["scan"] = json!({
        "tick": output.tick,
        "traversals": traversals.collect::<Vec<_>>(),
        "features": texts(&output.features),
        "values": texts(&output.values),
    });
}

fn texts(numbers: &[f64]) -> Vec<String> {
    numbers.iter().map(|number| format!("{number:?}")).collect()
}

/// Reads it, if it is there.
///
/// # Errors
/// What is wrong.
pub fn parse(about: &Value) -> Result<Option<ScanOutput>, String> {
    let Some(own) = about.get("scan") else { return Ok(None) };
    let wrong = |found: String| format!("the scan: {found:.60}");
    let mut traversals = Vec::new();
    for entry in list(&own["traversals"]).map_err(wrong)? {
        let name = entry["name"].as_str().unwrap_or_default();
        let traversal = Traversal::ALL.into_iter().find(|traversal| traversal.name() == name);
        let traversal = traversal.ok_or_else(|| wrong(format!("a traversal {}", entry["name"])))?;
        let [re, im] = ["re", "im"].map(|part| exactly::<STATE>(&entry[part]));
        let [output_re, output_im] = exactly(&entry["output"]).map_err(wrong)?;
        let (re, im) = (re.map_err(wrong)?, im.map_err(wrong)?);
        traversals.push(Scanned { traversal, re, im, output: (output_re, output_im) });
    }
    Ok(Some(ScanOutput {
        tick: number(&own["tick"]).map_err(wrong)?,
        traversals,
        features: numbers(&own["features"]).map_err(wrong)?,
        values: numbers(&own["values"]).map_err(wrong)?,
    }))
}

fn numbers(value: &Value) -> Result<Vec<f64>, String> {
    let number =
        |text: &Value| text.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| text.to_string());
    list(value)?.iter().map(number).collect()
}

fn exactly<const N: usize>(value: &Value) -> Result<[f64; N], String> {
    numbers(value)?.try_into().map_err(|found: Vec<f64>| format!("{} numbers for {N}", found.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_output_is_named() {
        let nine = |first: &'static str| [&[first], &["0.1"; 8][..]].concat();
        let whole = json!({"tick": 40, "features": ["0.5", "NaN"], "values": [], "traversals": [
            {"name": Traversal::ALL[1].name(), "re": nine("-0.0"), "im": nine("1e-300"), "output": ["1.5", "inf"]}]});
        let read = parse(&json!({"scan": whole})).expect("whole").expect("there");
        assert_eq!((read.tick, read.traversals[0].traversal), (40, Traversal::ALL[1]));
        assert_eq!((read.traversals[0].im[0], read.traversals[0].output), (1e-300, (1.5, f64::INFINITY)));
        assert!(read.traversals[0].re[0].is_sign_negative() && read.features[1].is_nan());
        assert_eq!(parse(&json!({})), Ok(None));
        for name in ["tick", "features", "values", "traversals"] {
            for broken in [Value::Null, json!([7]), json!("much"), json!(-1.5)] {
                let mut own = whole.clone();
                own[name] = broken;
                let error = parse(&json!({"scan": own})).expect_err("broken");
                assert!(error.starts_with("the scan: "), "{error}");
            }
        }
        for (name, broken) in [("name", json!("sideways")), ("re", json!(["1"])), ("output", json!([]))] {
            let mut own = whole.clone();
            own["traversals"][0][name] = broken;
            assert!(parse(&json!({"scan": own})).is_err(), "{name}");
        }
    }
}
