//! Time series: one row per sample, one f64 column per observable.
//!
//! Invariant: a CSV row is on its way to the disk as soon as it is taken, so that a run that is killed leaves a
//! readable file; the NPY form is written once at the end (temporary file, sync, rename).

use super::error::OutputError;
use super::npy_write::write_record_header;
use super::rows::RowFile;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes rows as CSV while they come, and as one structured NPY array at the end.
#[derive(Debug)]
pub struct SeriesWriter {
    columns: Vec<String>,
    csv: Option<RowFile>,
    npy: Option<PathBuf>,
    rows: Vec<f64>,
}

impl SeriesWriter {
    /// Starts `series.csv` and/or `series.npy` in `folder`.
    ///
    /// # Errors
    /// [`OutputError`] when the CSV file cannot be created.
    pub fn create(folder: &Path, columns: &[String], csv: bool, npy: bool) -> Result<Self, OutputError> {
        let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
        let create = || RowFile::create(&folder.join("series.csv"), &names.join(","));
        let csv = csv.then(create).transpose()?;
        let npy = npy.then(|| folder.join("series.npy"));
        Ok(Self { columns: columns.to_vec(), csv, npy, rows: Vec::new() })
    }

    /// Adds a row; shortest decimal that reads back to the same f64.
    ///
    /// # Errors
    /// [`OutputError`] when the disk refuses.
    pub fn push(&mut self, row: &[f64]) -> Result<(), OutputError> {
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.extend_from_slice(row);
        let Some(csv) = &mut self.csv else { return Ok(()) };
        let mut line = String::with_capacity(16 * row.len());
        for (i, value) in row.iter().enumerate() {
            let _ = write!(line, "{}{value:?}", if i == 0 { "" } else { "," });
        }
        csv.add(format_args!("{line}"));
        // A row costs a sweep over Ψ; handing it to the system at once costs nothing beside it.
        csv.hand_over()
    }

    /// Column names.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Rows so far.
    pub fn n_rows(&self) -> usize {
        self.rows.len() / self.columns.len().max(1)
    }

    /// One column of all rows.
    pub fn column(&self, name: &str) -> Option<Vec<f64>> {
        let index = self.columns.iter().position(|column| column == name)?;
        Some(self.rows.iter().skip(index).step_by(self.columns.len()).copied().collect())
    }

    /// Finishes both files.
    ///
    /// # Errors
    /// [`OutputError`] when the disk refuses.
    pub fn finish(&mut self) -> Result<(), OutputError> {
        if let Some(csv) = &mut self.csv {
            csv.finish()?;
        }
        let Some(path) = &self.npy else { return Ok(()) };
        write_whole(path, |sink| {
            write_record_header(sink, &self.columns, self.n_rows())?;
            self.rows.iter().try_for_each(|value| sink.write_all(&value.to_le_bytes()))
        })
    }
}

fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_string()
    }
}

/// Writes a file as a whole: temporary neighbour, sync, rename, so that it is there complete or not at all.
///
/// # Errors
/// [`OutputError`] when the disk refuses; the temporary file is removed.
pub fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<(), OutputError> {
    let temporary = path.with_extension("partial");
    let attempt = || -> std::io::Result<()> {
        let mut sink = BufWriter::new(File::create(&temporary)?);
        fill(&mut sink)?;
        sink.flush()?;
        sink.get_ref().sync_all()?;
        std::fs::rename(&temporary, path)?;
        sync_folder(path);
        Ok(())
    };
    attempt().map_err(|reason| {
        let _ = std::fs::remove_file(&temporary);
        OutputError { path: path.to_path_buf(), action: "write", reason }
    })
}

/// Makes a new name last beyond a power failure, where the system lets a folder be synced: the file itself is safe
/// already, so that a refusal is no error.
fn sync_folder(path: &Path) {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Ok(folder) = File::open(parent.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_from_both_files() {
        let folder = std::env::temp_dir().join(format!("nikola-series-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let columns = ["time".to_string(), "a,b".to_string()];
        let mut series = SeriesWriter::create(&folder, &columns, true, true).expect("writable");
        for i in 0..100 {
            series.push(&[f64::from(i) * 0.1, -1.0 / 3.0]).expect("writable");
        }
        series.finish().expect("writable");
        assert_eq!(series.column("a,b").map(|column| column.len()), Some(100));
        let csv = std::fs::read_to_string(folder.join("series.csv")).expect("written");
        assert!(csv.starts_with("time,\"a,b\"\n0.0,-0.3333333333333333\n"));
        assert_eq!(csv.lines().count(), 101);
        let npy = std::fs::read(folder.join("series.npy")).expect("written");
        assert_eq!(npy.len() % 64, (100 * 16) % 64);
        std::fs::remove_dir_all(&folder).expect("removable");
    }

    /// A Python with numpy: the one `cargo xtask test` found, or the system's.
    fn python_with_numpy() -> Option<std::ffi::OsString> {
        let candidates =
            [std::env::var_os("NIKOLA_PYTHON"), Some("python3".into()), Some("/usr/bin/python3".into())];
        let has_numpy = |python: &std::ffi::OsString| {
            let run = std::process::Command::new(python).args(["-c", "import numpy"]).output();
            run.is_ok_and(|output| output.status.success())
        };
        candidates.into_iter().flatten().find(has_numpy)
    }

    #[test]
    fn numpy_reads_the_records_to_the_last_bit() {
        let Some(python) = python_with_numpy() else {
            println!("skipped: no Python with numpy here");
            return;
        };
        let folder = std::env::temp_dir().join(format!("nikola-records-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let columns = ["time".to_string(), "<x^2>, 'Ψ'".to_string()];
        let mut series = SeriesWriter::create(&folder, &columns, false, true).expect("writable");
        let rows = [[0.1, f64::MIN_POSITIVE], [-1.0 / 3.0, f64::INFINITY], [1e300, -0.0]];
        rows.iter().for_each(|row| series.push(row).expect("writable"));
        series.finish().expect("writable");
        let script = "import sys, numpy; a = numpy.load(sys.argv[1], allow_pickle=False); \
                      print(len(a.dtype.names), ' '.join(v.hex() for row in a.tolist() for v in row))";
        let mut run = std::process::Command::new(python);
        let run = run.args(["-c", script]).arg(folder.join("series.npy")).output().expect("Python starts");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let expected = "2 0x1.999999999999ap-4 0x1.0000000000000p-1022 -0x1.5555555555555p-2 inf \
                        0x1.7e43c8800759cp+996 -0x0.0p+0";
        assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), expected);
        std::fs::remove_dir_all(&folder).expect("removable");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = SeriesWriter::create(Path::new("/nonexistent/folder"), &["a".into()], true, false)
            .expect_err("no such folder")
            .to_string();
        assert!(error.contains("/nonexistent/folder/series.csv") && error.contains("remedy"), "{error}");
    }

    #[test]
    fn a_full_disk_is_named() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            println!("skipped: no /dev/full here");
            return;
        }
        let reason = std::fs::write(full, b"x").expect_err("always full");
        let error = OutputError { path: full.to_path_buf(), action: "write", reason }.to_string();
        assert!(error.contains("free space"), "{error}");
    }
}
