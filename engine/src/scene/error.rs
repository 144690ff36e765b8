//! What can be wrong with a scene, told so that a person can mend it.
//! Invariant: every error names the place, what was found, what was expected and the remedy; nothing outside the
//! process makes this folder panic.
//!
//! Exit codes are those of [`crate::exit`]: `INPUT` for a file that cannot be read or is malformed, `SCENE` for
//! everything else.

use crate::exit;
use std::fmt;

/// Where in a scene: file and position when known, and the field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// File name, or `--set path=value` when an override brought the text.
    pub file: String,
    /// Line and column, from 1, when known.
    pub position: Option<(usize, usize)>,
    /// Dotted path of the field, e.g. `initial[1].width.z`; empty when the file as a whole is meant.
    pub field: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.field.is_empty() {
            write!(f, " ({})", self.field)?;
        }
        Ok(())
    }
}

/// The four things a person needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  found:    {}", self.found)?;
        write!(f, "\n  expected: {}", self.expected)?;
        write!(f, "\n  remedy:   {}", self.remedy)
    }
}

/// Why a scene cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SceneError {
    /// A file (the scene or one it names) cannot be read or is not what it claims to be.
    #[error("{}: cannot read{fault}", fault.place)]
    Read {
        /// What is wrong.
        fault: Box<Fault>,
    },
    /// The text is not RON, or not a scene: unknown, missing or doubled field, wrong type, unknown form.
    #[error("{}: not a scene{fault}", fault.place)]
    Syntax {
        /// What is wrong.
        fault: Box<Fault>,
    },
    /// A field has a value that cannot be simulated.
    #[error("{}: value out of range{fault}", fault.place)]
    Value {
        /// What is wrong.
        fault: Box<Fault>,
    },
    /// An expression does not parse, or is not finite somewhere.
    #[error("{}: bad expression\n\n    {text}\n    {}^{fault}", fault.place, blanks(*column))]
    Expression {
        /// What is wrong.
        fault: Box<Fault>,
        /// The expression.
        text: String,
        /// Character of `text` that the caret marks, from 0.
        column: usize,
    },
    /// A `--set` names no field or brings no value.
    #[error("{}: bad override{fault}", fault.place)]
    Override {
        /// What is wrong.
        fault: Box<Fault>,
    },
    /// The scene is larger than this build accepts.
    #[error("{}: too large{fault}", fault.place)]
    Limit {
        /// What is wrong.
        fault: Box<Fault>,
    },
}

fn blanks(column: usize) -> String {
    " ".repeat(column)
}

impl SceneError {
    /// The process's exit code for this class of error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. } => exit::INPUT,
            _ => exit::SCENE,
        }
    }

    /// Place, found, expected and remedy.
    pub fn fault(&self) -> &Fault {
        match self {
            Self::Read { fault }
            | Self::Syntax { fault }
            | Self::Value { fault }
            | Self::Expression { fault, .. }
            | Self::Override { fault }
            | Self::Limit { fault } => fault,
        }
    }
}

/// The candidate closest to `found`, if close enough to be a slip of the pen.
pub fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = found.to_lowercase();
    let letters = folded.chars().count();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (candidate.len().max(letters) / 3).max(1) && *distance < letters
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?" or what to do otherwise.
pub fn suggestion<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    match nearest(found, candidates) {
        Some(near) => format!("did you mean `{near}`?"),
        None => otherwise.to_string(),
    }
}

/// At most `limit` characters of `text`, on one line.
pub fn excerpt(text: &str, limit: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect();
    if text.chars().nth(limit).is_some() { format!("{line}…") } else { line }
}
