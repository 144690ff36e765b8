//! `--set path=value`: one value of the scene's text replaced before it is read.
//!
//! Invariant: an override is text put in the place of a value, so that it passes through exactly the same checks as
//! the file; it cannot add a field that the scene format doesn't have. (A tree of `ron::Value` would not do: it
//! forgets the names of forms such as `Harmonic(…)`.)

use super::error::{Fault, Place, SceneError, excerpt, suggestion};
use super::limits::OVERRIDES_MAX;
use super::outline::{Content, Outline, Step, steps};
use super::source::Source;

/// Applies the overrides in order.
///
/// # Errors
/// [`SceneError::Override`] names the override, and the nearest field where there is one.
pub fn apply(source: &mut Source, overrides: &[String]) -> Result<(), SceneError> {
    if overrides.len() > OVERRIDES_MAX {
        return Err(fault(
            "",
            format!("{} overrides", overrides.len()),
            format!("at most {OVERRIDES_MAX}"),
            "write the changes into a scene file",
        ));
    }
    overrides.iter().try_for_each(|text| apply_one(source, text))
}

fn fault(typed: &str, found: String, expected: impl Into<String>, remedy: impl Into<String>) -> SceneError {
    let place =
        Place { file: format!("--set {}", excerpt(typed, 80)).trim_end().to_string(), ..Place::default() };
    SceneError::Override {
        fault: Box::new(Fault { place, found, expected: expected.into(), remedy: remedy.into() }),
    }
}

fn apply_one(source: &mut Source, typed: &str) -> Result<(), SceneError> {
    let Some((path, value)) = typed.split_once('=') else {
        return Err(fault(typed, "no `=`".into(), "path=value", "write e.g. --set equation.beta=-1"));
    };
    let (path, value) = (path.trim(), value.trim());
    if path.is_empty() || value.is_empty() {
        let found = if path.is_empty() { "no path before `=`" } else { "no value after `=`" };
        return Err(fault(typed, found.into(), "path=value", "write e.g. --set equation.beta=-1"));
    }
    let steps = steps(path);
    let edit = locate(source.outline(), &steps).map_err(|(found, names)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let remedy = suggestion(&found, names.iter().copied(), "use one of the fields listed");
        let expected = if names.is_empty() {
            "a field of a group".into()
        } else {
            format!("one of {}", names.join(", "))
        };
        fault(typed, format!("`{found}` in the path"), expected, remedy)
    })?;
    let quoted = match &edit {
        Edit::Replace(span) => {
            let is_text = source.text.get(span.clone()).is_some_and(|old| old.starts_with('"'));
            is_text && !value.starts_with('"') && value.parse::<f64>().is_err() && !value.ends_with(')')
        }
        Edit::Insert { .. } => false,
    };
    let value = if quoted {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        value.to_string()
    };
    if let Err(error) = Source::new("value", value.clone()) {
        let inner = error.fault();
        return Err(fault(
            typed,
            format!("{} in the value", inner.found),
            "a RON value: a number, a name, \"text\", (…), {…} or […]",
            "put texts and expressions in quotes, and the whole override in single quotes for the shell",
        ));
    }
    write(source, edit, &value, typed);
    source.rescan()
}

enum Edit {
    Replace(std::ops::Range<usize>),
    Insert { at: usize, before: String, after: String },
}

/// The bytes an override replaces. A field that the text leaves at its default is inserted.
fn locate(outline: &Outline, steps: &[Step]) -> Result<Edit, (String, Vec<String>)> {
    let Some((step, rest)) = steps.split_first() else { return Ok(Edit::Replace(outline.span.clone())) };
    if let Some(child) = outline.child(step) {
        return locate(child, rest);
    }
    match (group(outline), step) {
        (Some((open, names)), Step::Name(name)) if !name.is_empty() => {
            let is_top = names.iter().any(|name| name == "version");
            if is_top && !FIELDS.contains(&name.as_str()) {
                return Err((name.clone(), FIELDS.iter().map(|name| (*name).to_string()).collect()));
            }
            let mut before = format!("{name}: ");
            let mut after = String::new();
            let mut parent = name.as_str();
            for step in rest {
                let Step::Name(name) = step else { return Err((format!("{step:?}"), Vec::new())) };
                let Some((opening, closing)) = brackets(parent) else {
                    return Err((name.clone(), Vec::new()));
                };
                before.push_str(opening);
                before.push_str(name);
                before.push_str(": ");
                after.insert_str(0, closing);
                parent = name;
            }
            Ok(Edit::Insert { at: open, before, after: after + ", " })
        }
        (Some((_, names)), Step::Index(index)) => Err((format!("[{index}]"), names)),
        (_, Step::Name(name)) => Err((name.clone(), Vec::new())),
        (None, Step::Index(index)) => {
            let count = list_length(outline);
            Err((format!("[{index}]"), (0..count.min(16)).map(|i| format!("[{i}]")).collect()))
        }
    }
}

fn list_length(outline: &Outline) -> usize {
    match &outline.content {
        Content::List(items) => items.len(),
        Content::Tuple(items) => match items.as_slice() {
            [only] => list_length(only),
            _ => items.len(),
        },
        _ => 0,
    }
}

fn group(outline: &Outline) -> Option<(usize, Vec<String>)> {
    match &outline.content {
        Content::Named { open, entries } => {
            Some((*open, entries.iter().map(|(key, _, _)| key.clone()).collect()))
        }
        Content::Tuple(items) => match items.as_slice() {
            [only] => group(only),
            _ => None,
        },
        Content::List(_) | Content::Leaf => None,
    }
}

/// Fields of a scene, for suggestions; a test keeps them equal to those of the document.
pub(super) const FIELDS: [&str; 30] = [
    "version",
    "title",
    "description",
    "constants",
    "torus",
    "equation",
    "time",
    "dt",
    "ticks",
    "precision",
    "integrator",
    "potential",
    "resonance",
    "state",
    "plasticity",
    "initial",
    "velocity",
    "normalise",
    "emitters",
    "injections",
    "growth",
    "scan",
    "observables",
    "outputs",
    "naps",
    "schedule",
    "oracle",
    "engs",
    "realtime",
    "seed",
];

/// How a group that the text leaves out is opened and closed.
fn brackets(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "torus" | "outputs" | "naps" | "realtime" | "scan" | "readout" | "growth" | "plasticity" => {
            ("(", ")")
        }
        "equation" => ("Schrodinger(", ")"),
        "extents" | "lengths" | "metric" | "off_diagonal" | "constants" | "omega" | "centre" | "width"
        | "momentum" | "mode" | "periods" | "mode_max" | "at" => ("{", "}"),
        _ => return None,
    })
}

fn write(source: &mut Source, edit: Edit, value: &str, typed: &str) {
    let (span, text) = match edit {
        Edit::Replace(span) => (span, value.to_string()),
        Edit::Insert { at, before, after } => (at..at, format!("{before}{value}{after}")),
    };
    source.text.replace_range(span.clone(), &text);
    let (removed, added) = (span.end - span.start, text.len());
    let start = span.start;
    source.overrides.retain(|(old, _)| old.end <= start || old.start >= span.end);
    for (old, _) in &mut source.overrides {
        if old.start >= span.end {
            *old = old.start + added - removed..old.end + added - removed;
        }
    }
    // An inserted field counts as the override's from its name on, so that an unknown name is blamed on it.
    source.overrides.push((start..start + text.trim_end_matches([',', ' ']).len(), excerpt(typed, 80)));
}
