//! The folder of one run.
//! Invariant: a run never writes into another run's folder; the next free number is claimed by creating the folder.

use super::error::OutputError;
use super::series::write_whole;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Most runs of one scene in one folder.
const RUNS_MAX: u32 = 100_000;

/// A claimed folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Creates `<parent>/<scene>-<n>` for the next free n.
    ///
    /// # Errors
    /// [`OutputError`] when the folder cannot be created.
    pub fn claim(parent: &Path, scene: &str) -> Result<Self, OutputError> {
        std::fs::create_dir_all(parent).map_err(OutputError::on(parent, "create the folder of runs"))?;
        for n in 1..=RUNS_MAX {
            let path = parent.join(format!("{scene}-{n}"));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(OutputError::on(&path, "create the run folder")(error)),
            }
        }
        let reason =
            io::Error::new(io::ErrorKind::AlreadyExists, format!("{RUNS_MAX} runs of {scene} exist"));
        Err(OutputError::on(parent, "find a free run number")(reason))
    }

    /// Takes `path` itself, which must be new or empty.
    ///
    /// # Errors
    /// [`OutputError`] when it holds something already or cannot be created.
    pub fn take(path: &Path) -> Result<Self, OutputError> {
        std::fs::create_dir_all(path).map_err(OutputError::on(path, "create the run folder"))?;
        let mut entries =
            std::fs::read_dir(path).map_err(OutputError::on(path, "look into the run folder"))?;
        if entries.next().is_some() {
            let reason = io::Error::new(io::ErrorKind::AlreadyExists, "the folder is not empty");
            return Err(OutputError::on(path, "use the run folder")(reason));
        }
        Ok(Self { path: path.to_path_buf() })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder within.
    ///
    /// # Errors
    /// [`OutputError`] when it cannot be created.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, OutputError> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).map_err(OutputError::on(&path, "create the folder"))?;
        Ok(path)
    }

    /// Writes a text file as a whole.
    ///
    /// # Errors
    /// [`OutputError`] when the disk refuses.
    pub fn write_text(&self, name: &str, text: &str) -> Result<(), OutputError> {
        write_whole(&self.path.join(name), |sink| sink.write_all(text.as_bytes()))
    }

    /// Writes a JSON file as a whole.
    ///
    /// # Errors
    /// [`OutputError`] when the disk refuses.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), OutputError> {
        let path = self.path.join(name);
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| OutputError::on(&path, "write as JSON")(io::Error::other(error)))?;
        self.write_text(name, &(text + "\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_get_the_next_free_number_and_never_share() {
        let parent = std::env::temp_dir().join(format!("nikola-runs-{}", std::process::id()));
        let first = RunFolder::claim(&parent, "soliton").expect("writable");
        let second = RunFolder::claim(&parent, "soliton").expect("writable");
        assert!(first.path().ends_with("soliton-1") && second.path().ends_with("soliton-2"));
        first.write_text("a.txt", "x").expect("writable");
        let error = RunFolder::take(first.path()).expect_err("not empty").to_string();
        assert!(error.contains("not empty") && error.contains("--out"), "{error}");
        assert!(!first.path().join("a.partial").exists());
        std::fs::remove_dir_all(&parent).expect("removable");
    }
}
