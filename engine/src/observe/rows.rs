//! Files that grow row by row: comma-separated values with a header.
//!
//! Invariant: the header is there from the beginning, and rows that were handed over are with the system, in one call for
//! all rows of a tick; so that a run that is killed leaves whole rows, at most one torn at the end where the system itself
//! stopped in between. What no line end closes is no row. Nothing here waits for the disk but [`RowFile::finish`].

use super::error::OutputError;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Bytes of a text file that is read back, at most; a file whose rows nothing else bounds gets no longer.
pub const TEXT_BYTES_MAX: u64 = 1 << 30;

/// A growing file.
#[derive(Debug)]
pub struct RowFile {
    path: PathBuf,
    file: File,
    /// Rows that were not handed over yet.
    text: String,
    n_bytes: u64,
    bytes_max: u64,
    is_full: bool,
}

impl RowFile {
    /// Starts the file `path` with its header.
    ///
    /// # Errors
    /// [`OutputError`] when it cannot be created.
    pub fn create(path: &Path, header: &str) -> Result<Self, OutputError> {
        let file = File::create(path).map_err(OutputError::on(path, "create the file of rows"))?;
        let path = path.to_path_buf();
        let text = format!("{header}\n");
        let mut rows = Self { path, file, text, n_bytes: 0, bytes_max: u64::MAX, is_full: false };
        rows.hand_over()?;
        Ok(rows)
    }

    /// The same file, which takes no more rows once it has so many bytes.
    #[must_use]
    pub fn at_most(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// Adds a row to those that wait.
    pub fn add(&mut self, row: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{row}");
    }

    /// Hands the rows that wait to the system. A file that is as long as one may be takes none; that is said once.
    ///
    /// # Errors
    /// [`OutputError`] when the disk refuses.
    pub fn hand_over(&mut self) -> Result<(), OutputError> {
        if self.text.is_empty() {
            return Ok(());
        }
        let n_bytes = self.n_bytes.saturating_add(self.text.len() as u64);
        if n_bytes > self.bytes_max {
            if !self.is_full {
                let (path, max) = (self.path.display(), self.bytes_max);
                eprintln!("warning: {path}: no more than {max} bytes are written; later rows are left out");
            }
            self.is_full = true;
        }
        if self.is_full {
            // Shorter rows that would fit are left out too: a file has no gaps.
            self.text.clear();
            return Ok(());
        }
        self.n_bytes = n_bytes;
        let written = self.file.write_all(self.text.as_bytes());
        self.text.clear();
        written.map_err(OutputError::on(&self.path, "write rows"))
    }

    /// Hands the last rows over and waits until the file is on the disk.
    ///
    /// # Errors
    /// [`OutputError`] when the disk refuses.
    pub fn finish(&mut self) -> Result<(), OutputError> {
        self.hand_over()?;
        self.file.sync_all().map_err(OutputError::on(&self.path, "write rows"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_there_when_they_are_handed_over_and_never_with_gaps() {
        let path = std::env::temp_dir().join(format!("nikola-rows-{}.csv", std::process::id()));
        let text = || std::fs::read_to_string(&path).expect("written");
        let mut rows = RowFile::create(&path, "tick,what").expect("writable");
        assert_eq!(text(), "tick,what\n");
        rows.add(format_args!("{},{}", 1, "a"));
        rows.add(format_args!("{},{}", 1, "b"));
        assert_eq!(text(), "tick,what\n");
        rows.hand_over().expect("writable");
        assert_eq!(text(), "tick,what\n1,a\n1,b\n");
        let mut rows = rows.at_most(24);
        rows.add(format_args!("{},{}", 2, "long"));
        rows.hand_over().expect("left out");
        rows.add(format_args!("{},{}", 3, "c"));
        rows.finish().expect("left out");
        assert_eq!(text(), "tick,what\n1,a\n1,b\n");
        std::fs::remove_file(&path).expect("removable");
    }

    #[test]
    fn a_folder_that_is_not_there_and_a_full_disk_are_named() {
        let error =
            RowFile::create(Path::new("/nonexistent/growth.csv"), "a").expect_err("no folder").to_string();
        assert!(error.contains("/nonexistent/growth.csv") && error.contains("remedy"), "{error}");
        let full = Path::new("/dev/full");
        if !full.exists() {
            println!("skipped: no /dev/full here");
            return;
        }
        let error = RowFile::create(full, "a").expect_err("always full").to_string();
        assert!(error.contains("/dev/full") && error.contains("free space"), "{error}");
    }
}
