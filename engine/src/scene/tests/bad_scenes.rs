//! Broken scenes: each is refused with place, found, expected and remedy, and with the class's exit code.
//!
//! A row is: text (a whole scene, further fields of the smallest one, or its initial state) · class · place · found ·
//! expected · remedy. The last four are parts of what the message must say.

use super::bad_fields::FIELDS;
use super::{minimal, resolved};
use crate::exit;
use crate::scene::SceneError;

/// Text · class · place · found · expected · remedy.
pub(super) type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

fn class(error: &SceneError) -> &'static str {
    match error {
        SceneError::Read { .. } => "read",
        SceneError::Syntax { .. } => "syntax",
        SceneError::Value { .. } => "value",
        SceneError::Expression { .. } => "expression",
        SceneError::Override { .. } => "override",
        SceneError::Limit { .. } => "limit",
    }
}

/// What is missing in the refusal of `text`, if anything.
fn lack(text: &str, row: &Row) -> Option<String> {
    let (_, wanted, place, found, expected, remedy) = row;
    let error = match resolved(text) {
        Err(error) => error,
        Ok(_) => return Some(format!("accepted: {text}")),
    };
    let fault = error.fault();
    let message = error.to_string();
    let code = if *wanted == "read" { exit::INPUT } else { exit::SCENE };
    let parts = [&fault.found, &fault.expected, &fault.remedy];
    let checks = [
        ("class", class(&error) == *wanted),
        ("place", fault.place.to_string().contains(place)),
        ("file", fault.place.to_string().starts_with("test.ron")),
        ("found", fault.found.contains(found)),
        ("expected", fault.expected.contains(expected)),
        ("remedy", fault.remedy.contains(remedy)),
        ("all parts", parts.iter().all(|part| !part.trim().is_empty() && message.contains(part.as_str()))),
        ("exit code", error.exit_code() == code),
    ];
    let failed: Vec<&str> = checks.iter().filter(|(_, holds)| !holds).map(|(name, _)| *name).collect();
    (!failed.is_empty()).then(|| format!("{failed:?} of {row:?}\n{message}"))
}

fn refuse(text: &str, row: &Row) {
    assert_eq!(lack(text, row), None);
}

fn refuse_all(rows: &[Row], text: impl Fn(&str) -> String) {
    let lacks: Vec<String> = rows.iter().filter_map(|row| lack(&text(row.0), row)).collect();
    assert!(lacks.is_empty(), "{} rows:\n{}", lacks.len(), lacks.join("\n\n"));
}

/// Whole texts.
const TEXTS: &[Row] = &[
    ("", "syntax", "test.ron:1:1", "empty", "version: 1", "mend"),
    ("   // nothing\n", "syntax", "test.ron:2:1", "empty", "version: 1", "mend"),
    ("(", "syntax", "test.ron:1:1", "does not close", "`)`", "mend"),
    ("(version: 1, torus: (extents: {z: 16}", "syntax", "1:21", "does not close", "`)`", "mend"),
    ("(version: 1, title: \"x", "syntax", "1:21", "does not end", "closing", "mend"),
    ("(version: 1, /* x", "syntax", "1:14", "comment that does not end", "*/", "mend"),
    ("(version: 1 torus: ())", "syntax", "1:13", "`t`", "`,` or `)`", "mend"),
    ("(version: 1) x", "syntax", "1:14", "further text", "end of the file", "mend"),
    ("(version: 1]", "syntax", "1:12", "`]`", "`,` or `)`", "mend"),
    ("(version: 1,, torus: ())", "syntax", "1:13", "`,`", "a value", "mend"),
    (
        "(torus: (extents: {z: 16}), ticks: 1, initial: Uniform())",
        "syntax",
        "version",
        "no field `version`",
        "version: 1",
        "begin",
    ),
    ("(version: 2)", "syntax", "version", "version 2", "version: 1", "newer"),
    ("(version: -1)", "syntax", "version", "version -1", "version: 1", "begin"),
    ("(version: \"1\")", "syntax", "version", "\"1\"", "version: 1", "begin"),
    ("42", "syntax", "test.ron", "no field `version`", "version: 1", "begin"),
    ("{\"version\": 1}", "syntax", "test.ron:1:1", "`{`", "", "scenes/"),
    (
        "(version: 1, ticks: 5, initial: Uniform())",
        "syntax",
        "test.ron",
        "no field `torus`",
        "torus",
        "add `torus`",
    ),
    (
        "(version: 1, torus: (extents: {z: 9}), initial: Uniform())",
        "syntax",
        "test.ron",
        "no field `ticks`",
        "ticks",
        "add `ticks`",
    ),
    (
        "(version: 1, torus: (extents: {z: 9}), ticks: 5)",
        "syntax",
        "test.ron",
        "no field `initial`",
        "initial",
        "add",
    ),
    (
        "(version: 1, torus: (), ticks: 5, initial: Uniform())",
        "syntax",
        "torus",
        "no field `extents`",
        "extents",
        "add",
    ),
    (
        "(version: 1,\n torus: (extents: {q: 9}), ticks: 5, initial: Uniform())",
        "syntax",
        "test.ron:2:",
        "`q`",
        "r, s, t, u, v, w, x, y, z, all",
        "use",
    ),
    (
        "(version: 1, torus: (extents: {z: 9, z: 8}), ticks: 5, initial: Uniform())",
        "syntax",
        "extents",
        "`z` a second time",
        "once",
        "remove",
    ),
    (
        "(version: 1, torus: (extents: {z: 9}, size: 3), ticks: 5, initial: Uniform())",
        "syntax",
        "torus",
        "unknown field `size`",
        "extents, lengths, page",
        "remove",
    ),
    (
        "(version: 1, torus: (extents: {z: 9}, lenghts: {z: 3}), ticks: 5, initial: Uniform())",
        "syntax",
        "torus",
        "lenghts",
        "lengths",
        "did you mean `lengths`?",
    ),
    (
        "(version: 1, torus: (extents: {z: 0}), ticks: 5, initial: Uniform())",
        "value",
        "torus.extents.z",
        "0",
        "1 to 16384",
        "between",
    ),
    (
        "(version: 1, torus: (extents: {z: 20000}), ticks: 5, initial: Uniform())",
        "value",
        "torus.extents.z",
        "20000",
        "1 to 16384",
        "between",
    ),
    (
        "(version: 1, torus: (extents: {z: 2.5}), ticks: 5, initial: Uniform())",
        "value",
        "torus.extents.z",
        "2.5",
        "whole",
        "round",
    ),
    (
        "(version: 1, torus: (extents: {all: 100}), ticks: 5, initial: Uniform())",
        "limit",
        "torus.extents",
        "nodes",
        "at most",
        "smaller",
    ),
    (
        "(version: 1, torus: (extents: {z: 9}, lengths: {z: 0}), ticks: 5, initial: Uniform())",
        "value",
        "torus.lengths.z",
        "0",
        "above 0",
        "positive",
    ),
    (
        "(version: 1, torus: (extents: {z: 9}, lengths: {z: -4}), ticks: 5, initial: Uniform())",
        "value",
        "torus.lengths.z",
        "-4",
        "above 0",
        "positive",
    ),
    (
        "(version: 1, torus: (extents: {z: 9}, lengths: {z: NaN}), ticks: 5, initial: Uniform())",
        "value",
        "torus.lengths.z",
        "NaN",
        "finite",
        "units",
    ),
    (
        "(version: 1, torus: (extents: {y: 9, z: 9}, page: Shape({y: 2, z: 9})), ticks: 5, initial: Uniform())",
        "value",
        "torus.page",
        "2",
        "page",
        "Auto",
    ),
    (
        "(version: 1, torus: (extents: {z: \"9 +\"}), ticks: 5, initial: Uniform())",
        "expression",
        "torus.extents.z",
        "end of the expression",
        "a number",
        "complete",
    ),
    (
        "(version: 1, torus: (extents: [9]), ticks: 5, initial: Uniform())",
        "syntax",
        "extents",
        "sequence",
        "per axis",
        "expected kind",
    ),
];

/// Initial states.
const INITIALS: &[Row] = &[
    ("Gausian(width: {z: 1})", "syntax", "initial", "Gausian", "Gaussian", "did you mean `Gaussian`?"),
    ("Gaussian()", "syntax", "initial", "no field `width`", "width", "add"),
    ("Gaussian(width: {z: 0})", "value", "initial.width.z", "0", "above 0", "positive"),
    (
        "Gaussian(width: {z: 1}, center: {z: 1})",
        "syntax",
        "initial",
        "center",
        "centre",
        "did you mean `centre`?",
    ),
    (
        "Gaussian(width: {z: 1}, momentum: {z: 5})",
        "value",
        "initial.momentum.z",
        "5",
        "within ±3.14",
        "smaller",
    ),
    ("Gaussian(width: {y: 1})", "value", "initial.width.y", "axis y", "z", "extent"),
    ("PlaneWave(mode: {z: 9})", "value", "initial.mode.z", "9", "-8 to 8", "between"),
    ("PlaneWave(mode: {z: 0.5})", "value", "initial.mode.z", "0.5", "whole", "round"),
    ("BrightSoliton(axis: z)", "value", "initial", "β = 0", "β < 0", "DarkSoliton"),
    ("DarkSoliton(axis: z)", "value", "initial", "β = 0", "β > 0", "BrightSoliton"),
    ("BrightSoliton(axis: Z)", "syntax", "initial.axis", "`Z`", "r, s, t", ""),
    ("Vortex(plane: (z, z))", "value", "initial.plane", "twice", "two different", "(x, y)"),
    ("Vortex(plane: (x, z))", "value", "initial.plane", "axis x", "z", "extent"),
    ("Vortex(plane: (z))", "syntax", "initial.plane", "1 value", "size 2", "as many"),
    ("Noise(rms: -1)", "value", "initial.rms", "-1", "from 0", "at least 0"),
    ("RandomModes(rms: 1, mode_max: {z: 2}, gap: 0)", "value", "initial.gap", "0", "above 0", "positive"),
    ("Expr(re: \"1/z\")", "expression", "initial", "inf +0i at z = 0 (node 8)", "finite", "division"),
    ("Expr(re: \"t\")", "expression", "initial.re", "name `t`", "t_axis", "`t_axis`"),
    ("Polar(amplitude: \"exp(z^4)\")", "expression", "initial", "inf", "finite", "overflow"),
    ("Sum([])", "value", "initial", "0 parts", "1 to", "Sum(["),
    ("Product([Uniform(), Expr(re: \"ln(z)\")])", "expression", "initial[1]", "NaN", "finite", "logarithm"),
    (
        "Sum([Uniform(), Sum([Uniform(), Gaussian(width: {z: -1})])])",
        "value",
        "initial[1][1].width.z",
        "-1",
        "above 0",
        "positive",
    ),
    ("FromNpy(\"../Cargo.toml\")", "read", "initial", "Cargo.toml", ".npy", "np.save"),
];

#[test]
fn broken_texts_are_refused() {
    refuse_all(TEXTS, str::to_string);
}

#[test]
fn broken_fields_are_refused() {
    refuse_all(FIELDS, minimal);
}

#[test]
fn broken_initial_states_are_refused() {
    refuse_all(INITIALS, |initial| {
        format!("(version: 1, torus: (extents: {{z: 16}}), ticks: 10, initial: {initial})")
    });
}

#[test]
fn the_tables_are_long_enough() {
    assert!(TEXTS.len() + FIELDS.len() + INITIALS.len() >= 60);
}

#[test]
fn the_smallest_scene_is_accepted() {
    resolved(&minimal("")).unwrap_or_else(|error| panic!("{error}"));
}

/// Scenes on a sparse torus of 27 pages, with further fields.
const SPARSE: &[Row] = &[
    ("growth: (threshold: 0)", "value", "growth.threshold", "0", "from 1e-6", "at least"),
    ("growth: (threshold: 0.9)", "value", "growth.threshold", "0.9", "to 0.5", "at most"),
    ("growth: (vacuum: 0.7)", "value", "growth.vacuum", "0.7", "to 0.5", "at most"),
    ("growth: (pages_max: 0)", "value", "growth.pages_max", "0", "whole number from 1", "choose"),
    ("growth: (births_max: 1.5)", "value", "growth.births_max", "1.5", "whole number", "round"),
    (
        "growth: (every: 100, quiet_ticks: 50)",
        "value",
        "growth.quiet_ticks",
        "50 ticks",
        "at least 100",
        "growth.every",
    ),
    ("growth: (seeds: [{x: 1}])", "value", "growth.seeds[0].x", "one node", "z", "remove"),
    ("growth: (pages_max: 5)", "limit", "initial", "more than 5 pages", "growth.pages_max", "narrower"),
    ("growth: (), equation: Wave()", "value", "equation", "wave form on a sparse", "Schrodinger", "remove"),
    ("growth: (), time: Imaginary", "value", "time", "sparse torus", "Strang", "time: Real"),
    (
        "growth: (), integrator: Yoshida4",
        "value",
        "integrator",
        "Yoshida4 on a sparse",
        "Strang",
        "integrator",
    ),
    (
        "growth: (), integrator: Yoshida4, plasticity: (eta: 1, lambda: 1)",
        "value",
        "integrator",
        "Yoshida4 on a sparse",
        "Strang",
        "integrator",
    ),
    (
        "growth: (), equation: Schrodinger(metric: {z: \"cos(z)\"})",
        "value",
        "equation.metric.z",
        "values from -",
        "above 0",
        "max(",
    ),
];

#[test]
fn broken_sparse_scenes_are_refused() {
    refuse_all(SPARSE, |further| {
        format!("(version: 1, torus: (extents: {{z: 81}}), ticks: 10, initial: Uniform(), {further})")
    });
    let slices = (
        "(version: 1, torus: (extents: {z: 27, t: 9}), growth: (), ticks: 1, initial: Uniform(), scan: (input_weight: 1))",
        "value",
        "scan",
        "3 of the 9 slices of axis t",
        "no time to pass",
        "torus.page",
    );
    refuse(slices.0, &slices);
    let large = (
        "(version: 1, torus: (extents: {all: 9}), growth: (), ticks: 1, initial: Uniform(), equation: \
         Schrodinger(metric: {z: \"1 + 0.1*cos(z)\"}))",
        "value",
        "equation.metric",
        "387420489 nodes",
        "16777216",
        "constants",
    );
    refuse(large.0, &large);
    let even = (
        "(version: 1, torus: (extents: {z: 24}), growth: (), ticks: 1, initial: Uniform(), plasticity: (eta: 1, lambda: 1))",
        "value",
        "growth",
        "one page",
        "two pages",
        "torus.page",
    );
    refuse(even.0, &even);
    let block = (
        "(version: 1, torus: (extents: {z: 81}, page: Shape({z: 5})), growth: (), ticks: 1, initial: Uniform())",
        "value",
        "torus.page.z",
        "divisor of 81",
        "equal pages",
        "Auto",
    );
    refuse(block.0, &block);
}

#[test]
fn nothing_can_be_normalised_to_something() {
    let text =
        "(version: 1, torus: (extents: {z: 16}), ticks: 10, initial: Uniform(amplitude: 0), normalise: 1)";
    refuse(text, &(text, "value", "initial", "zero at every node", "norm asked for", "normalise"));
}

#[test]
fn an_expression_is_shown_with_a_caret() {
    let error = resolved(&minimal("potential: Expr(\"0.5*omga^2\")")).map(|_| ()).expect_err("unknown name");
    let message = error.to_string();
    let lines: Vec<&str> = message.lines().collect();
    let shown = lines.iter().position(|line| line.contains("0.5*omga^2")).expect("the expression");
    let (text, caret) = (lines[shown], lines[shown + 1]);
    assert_eq!(caret.find('^'), text.find("omga"), "{message}");
}

#[test]
fn long_lists_and_deep_nesting_are_refused() {
    let many = "Zero, ".repeat(2000);
    let text = minimal(&format!("potential: Sum([{many}])"));
    refuse(&text, &("", "limit", "test.ron", "2000 entries", "at most 1024", "FromNpy"));
    let deep = format!("{}Zero{}", "Sum([".repeat(60), "])".repeat(60));
    let text = minimal(&format!("potential: {deep}"));
    refuse(&text, &("", "syntax", "test.ron", "nesting", "at most 48", "brackets"));
    let brackets = "[".repeat(100_000);
    refuse(&brackets, &("", "syntax", "test.ron", "nesting", "at most 48", "brackets"));
    let long = minimal(&format!("title: \"{}\"", "a".repeat(2 << 20)));
    refuse(&long, &("", "limit", "test.ron", "bytes", "at most 1048576", "FromNpy"));
}
