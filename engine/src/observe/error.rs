//! Why a result could not be written, or not be drawn. Invariant: the path and the remedy are always named.

use super::npy::NpyError;
use crate::exit;
use std::io;
use std::path::{Path, PathBuf};

/// A failed write.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {action}\n  found:    {reason}\n  expected: {}\n  remedy:   {}", path.display(), expected(reason), remedy(reason))]
pub struct OutputError {
    /// File or folder.
    pub path: PathBuf,
    /// What was tried.
    pub action: &'static str,
    /// What the system said.
    pub reason: io::Error,
}

impl OutputError {
    /// For `map_err`: wraps what the system said.
    pub fn on(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |reason| Self { path, action, reason }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        exit::OUTPUT
    }
}

fn expected(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "a new or empty folder",
        _ => "a writable folder with free space",
    }
}

fn remedy(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on that disk, or write elsewhere with --out DIR"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "make the folder writable, or write elsewhere with --out DIR"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "remove what is there, or write elsewhere with --out DIR"
        }
        io::ErrorKind::NotFound => "create the parent folder, or write elsewhere with --out DIR",
        _ => "write elsewhere with --out DIR",
    }
}

/// A picture that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// What should be drawn cannot be read.
    #[error("{}: cannot be drawn\n  found:    {found}\n  expected: {expected}\n  remedy:   {remedy}", path.display())]
    Input {
        /// File or folder.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What should be there.
        expected: &'static str,
        /// What helps.
        remedy: &'static str,
    },
    /// The picture cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl PlotError {
    /// An input that is not as expected.
    pub fn input(path: &Path, found: impl ToString, expected: &'static str, remedy: &'static str) -> Self {
        Self::Input { path: path.to_path_buf(), found: found.to_string(), expected, remedy }
    }

    /// An array that cannot be read; the path is said once.
    pub fn array(path: &Path, error: NpyError, expected: &'static str, remedy: &'static str) -> Self {
        match error {
            NpyError::Io { reason, .. } => Self::input(path, reason, expected, remedy),
            error @ NpyError::Format { .. } => Self::input(path, error, expected, remedy),
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input { .. } => exit::INPUT,
            Self::Output(error) => error.exit_code(),
        }
    }
}
