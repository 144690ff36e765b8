//! Text to document: size limits, version, overrides, RON, and errors that point at the text.
//! Invariant: an error of the RON reader becomes place, found, expected and remedy; none reaches a person raw.

use super::document::{Document, VERSION};
use super::error::{Fault, Place, SceneError, suggestion};
use super::limits::{LIST_MAX, SCENE_BYTES_MAX};
use super::outline::{Content, Outline};
use super::overrides;
use super::source::Source;
use ron::extensions::Extensions;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A scene file that has the right fields and types; values are checked by [`resolve`](super::resolve()).
#[derive(Debug, Clone)]
pub struct Scene {
    /// The fields.
    pub document: Document,
    /// The text they came from, after overrides.
    pub source: Source,
    /// Folder to which paths in the scene are relative.
    pub base_dir: PathBuf,
}

impl Scene {
    /// File name without folder and extension: the stem of a run folder.
    pub fn stem(&self) -> String {
        let path = Path::new(&self.source.name);
        path.file_stem().map_or_else(|| "scene".to_string(), |stem| stem.to_string_lossy().into_owned())
    }

    /// The scene's text after overrides; it loads again to the same scene.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    /// The title, or the stem where there is none.
    pub fn title(&self) -> String {
        if self.document.title.is_empty() { self.stem() } else { self.document.title.clone() }
    }
}

/// Reads the scene at `path` and applies `overrides`, each `field.path=value`.
///
/// # Errors
/// [`SceneError::Read`] if the file cannot be read, otherwise as [`load_str`].
pub fn load(path: &Path, overrides: &[String]) -> Result<Scene, SceneError> {
    let name = path.display().to_string();
    let unreadable = |found: String, remedy: &str| SceneError::Read {
        fault: Box::new(Fault {
            place: Place { file: name.clone(), ..Place::default() },
            found,
            expected: format!("a scene file of at most {SCENE_BYTES_MAX} bytes of UTF-8 text"),
            remedy: remedy.to_string(),
        }),
    };
    let file = fs::File::open(path).map_err(|error| {
        unreadable(error.to_string(), "check the path; the scenes of the house are in scenes/")
    })?;
    let mut bytes = Vec::new();
    file.take(SCENE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string(), "give the path of a file, not of a folder"))?;
    if bytes.len() as u64 > SCENE_BYTES_MAX {
        return Err(unreadable(
            "a larger file".into(),
            "keep arrays in .npy files and load them with FromNpy",
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        unreadable(format!("bytes that are not UTF-8 (at byte {at})"), "save the file as UTF-8 text")
    })?;
    let mut scene = load_str(&name, &text, overrides)?;
    scene.base_dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(scene)
}

/// Reads a scene from memory; `name` stands for the file in messages. Paths in it are relative to the current folder.
///
/// # Errors
/// [`SceneError::Syntax`] or [`SceneError::Override`].
pub fn load_str(name: &str, text: &str, overrides: &[String]) -> Result<Scene, SceneError> {
    if text.len() as u64 > SCENE_BYTES_MAX {
        return Err(SceneError::Limit {
            fault: Box::new(Fault {
                place: Place { file: name.into(), ..Place::default() },
                found: format!("{} bytes", text.len()),
                expected: format!("at most {SCENE_BYTES_MAX} bytes"),
                remedy: "keep arrays in .npy files and load them with FromNpy".into(),
            }),
        });
    }
    let mut source = Source::new(name, text.to_string())?;
    overrides::apply(&mut source, overrides)?;
    check_version(&source)?;
    check_lists(&source, source.outline())?;
    match options().from_str::<Document>(&source.text) {
        Ok(document) => Ok(Scene { document, source, base_dir: PathBuf::new() }),
        Err(error) => Err(syntax(&source, &error)),
    }
}

/// How every RON text of a scene is read.
pub(super) fn options() -> ron::Options {
    ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME)
}

fn check_version(source: &Source) -> Result<(), SceneError> {
    let found = source.value_text("version").map(str::trim);
    if found.and_then(|text| text.parse::<u64>().ok()) == Some(VERSION) {
        return Ok(());
    }
    let is_newer = found.and_then(|text| text.parse::<u64>().ok()).is_some_and(|version| version > VERSION);
    Err(SceneError::Syntax {
        fault: Box::new(Fault {
            place: source.place("version"),
            found: found.map_or("no field `version`".to_string(), |text| {
                format!("version {}", super::error::excerpt(text, 40))
            }),
            expected: format!("version: {VERSION}"),
            remedy: if is_newer {
                "this scene was written for a newer Nikola: update, or port it".into()
            } else {
                format!("begin the scene with ( version: {VERSION},")
            },
        }),
    })
}

fn check_lists(source: &Source, outline: &Outline) -> Result<(), SceneError> {
    let (count, children): (usize, Vec<&Outline>) = match &outline.content {
        Content::Leaf => return Ok(()),
        Content::Named { entries, .. } => {
            (entries.len(), entries.iter().map(|(_, _, value)| value).collect())
        }
        Content::List(items) | Content::Tuple(items) => (items.len(), items.iter().collect()),
    };
    if count > LIST_MAX {
        return Err(SceneError::Limit {
            fault: Box::new(Fault {
                place: source.place_at(outline.span.start, ""),
                found: format!("{count} entries"),
                expected: format!("at most {LIST_MAX} entries in one list"),
                remedy: "write one formula instead of many parts, or load the array with FromNpy".into(),
            }),
        });
    }
    children.into_iter().try_for_each(|child| check_lists(source, child))
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "no field".to_string() } else { format!("one of {}", names.join(", ")) }
}

/// Turns an error of the RON reader into one of ours.
pub(super) fn syntax(source: &Source, error: &ron::error::SpannedError) -> SceneError {
    use ron::Error as Ron;
    let mut start = source.byte_at(error.span.start.line, error.span.start.col);
    if matches!(error.code, Ron::InvalidValueForType { .. }) {
        // The reader stands behind the value that it refuses.
        start = source.last_before(start);
    } else {
        start += source
            .text
            .get(start..)
            .map_or(0, |rest| rest.len() - rest.trim_start_matches([' ', '\t']).len());
    }
    let token = source.value_at(start);
    let (found, expected, remedy) = match &error.code {
        Ron::NoSuchStructField { expected, found, outer } => {
            let whose = outer.as_ref().map(|outer| format!(" in `{outer}`")).unwrap_or_default();
            let remedy =
                suggestion(found, expected.iter().copied(), "remove it, or use one of the fields listed");
            (format!("unknown field `{found}`{whose}"), list(expected), remedy)
        }
        Ron::NoSuchEnumVariant { expected, found, outer } => {
            let whose = outer.as_ref().map(|outer| format!(" as `{outer}`")).unwrap_or_default();
            let remedy = suggestion(found, expected.iter().copied(), "use one of the names listed");
            (format!("unknown name `{found}`{whose}"), list(expected), remedy)
        }
        Ron::MissingStructField { field, outer } => {
            let whose = outer.as_ref().map(|outer| format!(" in `{outer}`")).unwrap_or_default();
            (format!("no field `{field}`{whose}"), format!("`{field}: …`"), format!("add `{field}`"))
        }
        Ron::DuplicateStructField { field, .. } => {
            (format!("`{field}` a second time"), "each field once".into(), "remove one of the two".into())
        }
        Ron::InvalidValueForType { expected, found } => {
            (format!("{token}, {found}"), expected.clone(), "write a value of the expected kind".into())
        }
        Ron::ExpectedInteger | Ron::IntegerOutOfBounds | Ron::InvalidIntegerDigit { .. } => (
            token,
            "a whole number in range, not negative unless it may be".into(),
            "write digits only, e.g. 1000".into(),
        ),
        // The reader stops inside a number, at its point or exponent.
        Ron::ExpectedComma if source.is_inside_value(start) => {
            (token, "a whole number".into(), "write digits only, e.g. 1000".into())
        }
        Ron::ExpectedDifferentLength { expected, found } => {
            (format!("{found} value(s)"), expected.clone(), "write as many values as expected".into())
        }
        Ron::ExpectedString => (token, "a text in quotes".into(), "put it in \"…\"".into()),
        Ron::ExpectedMap => (token, "`{`".into(), "write {key: value, …}".into()),
        Ron::ExpectedArray => (token, "`[`".into(), "write a list in [ ]".into()),
        other => {
            let mut said = other.to_string();
            if let Some(first) = said.get(..1) {
                said = format!("{}{}", first.to_lowercase(), &said[1..]);
            }
            let expected =
                said.strip_prefix("expected ").map_or_else(|| format!("valid RON ({said})"), str::to_string);
            (token, expected, "mend the text at this place; scenes/ has examples of every form".into())
        }
    };
    SceneError::Syntax {
        fault: Box::new(Fault {
            place: source.place_at(start, &source.path_at(start)),
            found,
            expected,
            remedy,
        }),
    }
}
