//! Why stored state cannot be written, read or continued.
//! Invariant: a message names the file, the place in it, what was found, what was expected and a remedy.

use crate::exit;
use std::io;
use std::path::{Path, PathBuf};

/// Classes of failures, one exit code each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A file is missing or unreadable.
    Input,
    /// A file is damaged, torn or of another version.
    Damaged,
    /// A write or sync failed.
    Output,
    /// Another engine writes to the directory.
    Busy,
    /// The key is missing, exposed or another one.
    Key,
    /// The directory belongs to another scene.
    Scene,
    /// A replay does not reach the recorded digests.
    Diverged,
}

/// A failure of persistence.
#[derive(Debug, thiserror::Error)]
#[error("{}: {place}\n  found:    {found}\n  expected: {expected}\n  remedy:   {remedy}", path.display())]
pub struct PersistError {
    /// Class.
    pub fault: Fault,
    /// File or directory.
    pub path: PathBuf,
    /// Place in it.
    pub place: String,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// What helps.
    pub remedy: &'static str,
}

impl PersistError {
    /// A failure with all its parts.
    pub fn new(
        fault: Fault,
        path: &Path,
        place: impl Into<String>,
        found: impl ToString,
        expected: impl ToString,
        remedy: &'static str,
    ) -> Self {
        Self {
            fault,
            path: path.to_path_buf(),
            place: place.into(),
            found: found.to_string(),
            expected: expected.to_string(),
            remedy,
        }
    }

    /// A damaged place in a file.
    pub fn damaged(
        path: &Path,
        place: impl Into<String>,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        let remedy = "restore the file from a copy; what lies before the damage is whole";
        Self::new(Fault::Damaged, path, place, found, expected, remedy)
    }

    /// For `map_err`: a read that failed.
    pub fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |error| {
            let remedy = "check the path and its permissions";
            Self::new(Fault::Input, &path, "cannot be read", error, "a readable file", remedy)
        }
    }

    /// For `map_err`: a write that failed.
    pub fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |error| {
            let remedy =
                "free space or mend the disk, then run again: the state continues from its last sync";
            Self::new(Fault::Output, &path, "cannot be written", error, "a write that succeeds", remedy)
        }
    }

    /// The store refused further writes after an earlier failure.
    pub fn poisoned(path: &Path, why: &str) -> Self {
        let expected = "no failed write since the start";
        let remedy = "mend the disk and start again: what was acknowledged before is on it";
        Self::new(Fault::Output, path, "the store is poisoned", why, expected, remedy)
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self.fault {
            Fault::Input => exit::INPUT,
            Fault::Damaged => exit::DAMAGED,
            Fault::Output => exit::OUTPUT,
            Fault::Busy => exit::BUSY,
            Fault::Key => exit::KEY,
            Fault::Scene => exit::SCENE,
            Fault::Diverged => exit::REPLAY,
        }
    }
}

/// What persistence returns.
pub type Result<T> = std::result::Result<T, PersistError>;
