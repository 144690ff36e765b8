//! Why a result could not be written. Invariant: the path and the remedy are always named.

use crate::exit;
use std::io;
use std::path::{Path, PathBuf};

/// A failed write.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {action}\n  found:    {reason}\n  expected: a writable folder with free space\n  remedy:   {}", path.display(), remedy(reason))]
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

fn remedy(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on that disk, or write elsewhere with --out DIR"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "make the folder writable, or write elsewhere with --out DIR"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a file is in the way: remove it, or write elsewhere with --out DIR"
        }
        io::ErrorKind::NotFound => "create the parent folder, or write elsewhere with --out DIR",
        _ => "write elsewhere with --out DIR",
    }
}
