//! `nikola info`: what a `.nik` file or a state directory holds.
//! Invariant: reads headers, footers and page headers; payloads are `verify`'s business.

use super::{Failure, print_line};
use crate::exit;
use crate::persist::PersistError;
use crate::persist::disk::RealDisk;
use crate::persist::manifest::Manifest;
use crate::persist::open::StateRequest;
use crate::persist::reader::Log;
use crate::persist::store::open_log;
use crate::persist::verify::describe;
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// A stored state and its key.
#[derive(Args, Debug)]
pub(super) struct StoredArguments {
    /// A .nik file or a state directory.
    pub(super) path: PathBuf,
    /// The key of an encrypted state.
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

impl StoredArguments {
    /// As persistence takes them.
    pub(super) fn request(&self) -> StateRequest {
        StateRequest { folder: self.path.clone(), key_file: self.key_file.clone() }
    }

    /// Opens the file, or the file that the directory's manifest names at its checkpoint.
    pub(super) fn open(&self) -> Result<Log, PersistError> {
        let key = self.request().key()?;
        if !self.path.is_dir() {
            return Log::open(&RealDisk, &self.path, key);
        }
        let manifest = Manifest::read(&RealDisk, &self.path)?;
        open_log(&RealDisk, &self.path, &manifest, key)
    }

    /// Prints an object as JSON or as lines.
    pub(super) fn print(&self, value: &Value) -> Result<(), Failure> {
        if self.json { print_line(&value.to_string()) } else { print_line(lines(value, 0).trim_end()) }
    }
}

impl From<PersistError> for Failure {
    fn from(error: PersistError) -> Self {
        Self::new(&error, error.exit_code())
    }
}

pub(super) fn execute(arguments: &StoredArguments) -> Result<(), Failure> {
    if arguments.path.as_os_str().is_empty() {
        return Err(Failure::new("an empty path; name a .nik file or a state directory", exit::USAGE));
    }
    arguments.print(&describe(&arguments.open()?))
}

/// An object as indented lines; each element of a list of objects on a line of its own.
fn lines(value: &Value, depth: usize) -> String {
    let Value::Object(fields) = value else { return format!("{value}\n") };
    let indent = "  ".repeat(depth);
    let mut text = String::new();
    for (name, value) in fields {
        match value {
            Value::Object(_) => text += &format!("{indent}{name}\n{}", lines(value, depth + 1)),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text += &format!("{indent}{name}\n");
                items.iter().for_each(|item| text += &format!("{indent}  {}\n", plain(item)));
            }
            value => text += &format!("{indent}{name:<18} {}\n", plain(value)),
        }
    }
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let parts: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
            parts.join("  ")
        }
        value => value.to_string(),
    }
}
