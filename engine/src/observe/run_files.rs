//! A run folder read back: its axes, its time series and its arrays.
//!
//! Invariant: only what the pictures need is read, one array at a time; a missing or broken file is an error that
//! names it, and a file of an unknown name is left alone. Layout: docs/FORMATS.md, "Run folder".

use super::error::PlotError;
use super::npy::{self, NpyArray};
use super::npy_write::{Columns, read_records};
use crate::scene::limits::TICKS_MAX;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Largest text file that is read: a million rows of a time series.
const TEXT_MAX: u64 = super::rows::TEXT_BYTES_MAX;

/// One active axis of the torus.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AxisFile {
    /// Its letter.
    pub axis: String,
    /// Nodes.
    pub extent: usize,
    /// Period in model units.
    pub length: f64,
    /// Position of node 0; −L/2 when absent.
    #[serde(skip)]
    pub first: Option<f64>,
}

impl AxisFile {
    /// An axis whose node i lies at i.
    pub fn by_index(axis: String, extent: usize) -> Self {
        Self { axis, extent, length: extent as f64, first: Some(0.0) }
    }

    /// Position of node `i`.
    pub fn coordinate(&self, i: usize) -> f64 {
        self.first.unwrap_or(-0.5 * self.length) + i as f64 * self.length / self.extent as f64
    }

    /// Outer edges of the first and the last node's cells.
    pub fn edges(&self) -> (f64, f64) {
        let half = 0.5 * self.length / self.extent as f64;
        (self.coordinate(0) - half, self.coordinate(self.extent - 1) + half)
    }
}

/// What `resolved.json` says about a run, as far as pictures need it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Resolved {
    /// Title of the scene.
    pub title: String,
    /// Model time per tick.
    pub dt: f64,
    /// Active axes; sorted r…z by [`RunFiles::open`].
    pub axes: Vec<AxisFile>,
}

/// What an array holds, told by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArrayFile {
    /// `psi`, `project_yz`, `slice_yz`.
    pub name: String,
    /// After this tick.
    pub tick: u64,
    /// The file.
    pub path: PathBuf,
}

/// An opened run folder.
#[derive(Debug)]
pub struct RunFiles {
    folder: PathBuf,
    /// Axes and times.
    pub resolved: Resolved,
    /// Arrays by name, then tick.
    pub arrays: Vec<ArrayFile>,
}

impl RunFiles {
    /// Reads `resolved.json` and lists the arrays.
    ///
    /// # Errors
    /// [`PlotError::Input`] if this is no run folder.
    pub fn open(folder: &Path) -> Result<Self, PlotError> {
        let path = folder.join("resolved.json");
        let mut resolved: Resolved = serde_json::from_str(&text(&path)?)
            .map_err(|error| PlotError::input(&path, error, "the resolved parameters of a run", RUN_AGAIN))?;
        resolved.axes.sort_by_key(|axis| "rstuvwxyz".find(&axis.axis));
        let is_sound = |axis: &AxisFile| {
            let is_axis = axis.axis.len() == 1 && "rstuvwxyz".contains(&axis.axis);
            is_axis && axis.extent > 0 && axis.length.is_finite() && axis.length > 0.0
        };
        if let Some(axis) = resolved.axes.iter().find(|axis| !is_sound(axis)) {
            let found = format!("axis {:?}, extent {}, length {}", axis.axis, axis.extent, axis.length);
            return Err(PlotError::input(&path, found, "axes r…z of positive extent and length", RUN_AGAIN));
        }
        let mut arrays = Vec::new();
        // A run without snapshots has no such folder.
        for entry in std::fs::read_dir(folder.join("snapshots")).into_iter().flatten().flatten() {
            arrays.extend(array_file(entry.path()));
        }
        arrays.sort();
        Ok(Self { folder: folder.to_path_buf(), resolved, arrays })
    }

    /// The time series, from the CSV file or else the NPY file; none where the run wrote neither.
    ///
    /// # Errors
    /// [`PlotError::Input`] for a broken file.
    pub fn series(&self) -> Result<Option<Columns>, PlotError> {
        let (csv, records) = (self.folder.join("series.csv"), self.folder.join("series.npy"));
        if csv.exists() {
            read_csv(&csv).map(Some)
        } else if records.exists() {
            let expected = "a record array of float64 columns";
            read_records(&records)
                .map(Some)
                .map_err(|error| PlotError::array(&records, error, expected, RUN_AGAIN))
        } else {
            Ok(None)
        }
    }

    /// `summary.json`; null where the run was stopped before its end.
    ///
    /// # Errors
    /// [`PlotError::Input`] for a broken file.
    pub fn summary(&self) -> Result<serde_json::Value, PlotError> {
        let path = self.folder.join("summary.json");
        if !path.exists() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_str(&text(&path)?)
            .map_err(|error| PlotError::input(&path, error, "the closing summary of a run", RUN_AGAIN))
    }

    /// Axes of an array, in the order of its dimensions.
    pub fn axes_of(&self, array: &ArrayFile) -> Vec<AxisFile> {
        let kept = array.name.split_once('_').map(|(_, kept)| kept);
        let is_kept = |axis: &&AxisFile| kept.is_none_or(|kept| kept.contains(&axis.axis));
        self.resolved.axes.iter().filter(is_kept).cloned().collect()
    }

    /// Reads an array, which must have the shape of `axes`.
    ///
    /// # Errors
    /// [`PlotError::Input`] for a broken file or another shape.
    pub fn read(&self, array: &ArrayFile, axes: &[AxisFile]) -> Result<NpyArray, PlotError> {
        let expected = "an array of numbers as the run wrote it";
        let values = npy::read(&array.path)
            .map_err(|error| PlotError::array(&array.path, error, expected, RUN_AGAIN))?;
        if values.shape().iter().eq(axes.iter().map(|axis| &axis.extent)) {
            return Ok(values);
        }
        let found = format!("shape {:?}", values.shape());
        Err(PlotError::input(&array.path, found, "the extents of the axes in resolved.json", RUN_AGAIN))
    }
}

/// What helps with a file that is not as the run wrote it.
const RUN_AGAIN: &str = "run the scene again, or plot a single .npy file";

/// `…/psi-000000200.npy` → psi, 200.
fn array_file(path: PathBuf) -> Option<ArrayFile> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".npy")?;
    let (name, tick) = stem.rsplit_once('-')?;
    let (kind, kept) = name.split_once('_').unwrap_or((name, "z"));
    let is_known = matches!((kind, name.contains('_')), ("psi", false) | ("project" | "slice", true))
        && kept.chars().all(|letter| "rstuvwxyz".contains(letter));
    let tick = tick.parse().ok().filter(|tick| *tick <= TICKS_MAX && is_known)?;
    Some(ArrayFile { name: name.to_string(), tick, path })
}

/// Reads a text file of bounded size.
fn text(path: &Path) -> Result<String, PlotError> {
    let missing = "a run folder, or a .npy or .csv file";
    let fault = |error: std::io::Error| PlotError::input(path, error, missing, "check the path");
    let about = std::fs::metadata(path).map_err(fault)?;
    if !about.is_file() || about.len() > TEXT_MAX {
        let found = format!("{} bytes", about.len());
        return Err(PlotError::input(path, found, "a file of at most 1 GB", "check the path"));
    }
    std::fs::read_to_string(path).map_err(fault)
}

/// Reads a time series: a line of names, then rows of numbers.
///
/// # Errors
/// [`PlotError::Input`] naming the line.
pub fn read_csv(path: &Path) -> Result<Columns, PlotError> {
    let text = text(path)?;
    // The last row of a run that was killed may be half a row: what no line end follows is left out.
    let mut lines = text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines();
    let mut columns: Columns =
        fields(lines.next().unwrap_or_default()).into_iter().map(|name| (name, Vec::new())).collect();
    let n = columns.len();
    for (i, line) in lines.enumerate() {
        let fault = |found: String| {
            let remedy = "remove the line, or run the scene again";
            PlotError::input(
                path,
                format!("line {}: {found}", i + 2),
                "as many numbers as column names",
                remedy,
            )
        };
        let values: Result<Vec<f64>, _> = line.split(',').map(|value| value.trim().parse()).collect();
        match values {
            Ok(values) if values.len() == n => {
                columns.iter_mut().zip(values).for_each(|((_, column), value)| column.push(value));
            }
            Ok(values) => return Err(fault(format!("{} numbers for {n} columns", values.len()))),
            Err(_) => return Err(fault(format!("{line:.60}"))),
        }
    }
    Ok(columns)
}

/// Names of a CSV header; quoted names may hold commas and doubled quotes.
fn fields(line: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let Some(name) = names.last_mut() else { break };
        match letter {
            '"' if is_quoted && letters.next_if_eq(&'"').is_some() => name.push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => names.push(String::new()),
            letter => name.push(letter),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_arrays_tell_what_they_hold() {
        let parsed = |name: &str| array_file(PathBuf::from(name)).map(|file| (file.name, file.tick));
        assert_eq!(parsed("a/psi-000000200.npy"), Some(("psi".into(), 200)));
        assert_eq!(parsed("project_yz-7.npy"), Some(("project_yz".into(), 7)));
        for other in ["psi.npy", "psi-x.npy", "psi_x-1.npy", "slice-1.npy", "slice_ab-1.npy", "psi-1.partial"]
        {
            assert_eq!(parsed(other), None, "{other}");
        }
    }

    #[test]
    fn a_header_keeps_quoted_names() {
        assert_eq!(fields("tick,\"a,b\",\"say \"\"x\"\"\",<z>"), ["tick", "a,b", "say \"x\"", "<z>"]);
    }

    #[test]
    fn half_a_row_at_the_end_is_left_out_and_one_inside_is_named() {
        let path = std::env::temp_dir().join(format!("nikola-csv-{}.csv", std::process::id()));
        std::fs::write(&path, "tick,norm\n0.0,1.0\n1.0,NaN\n2.0,1").expect("writable");
        let columns = read_csv(&path).expect("readable");
        assert_eq!(columns[0].1, [0.0, 1.0]);
        std::fs::write(&path, "tick,norm\n0.0,1.0\n1.0\n").expect("writable");
        let error = read_csv(&path).expect_err("a short row").to_string();
        assert!(error.contains("line 3") && error.contains("remedy"), "{error}");
        std::fs::remove_file(&path).expect("removable");
    }

    #[test]
    fn axes_have_positions_and_edges() {
        let axis = AxisFile { axis: "z".into(), extent: 4, length: 8.0, first: None };
        assert_eq!((axis.coordinate(0), axis.coordinate(2), axis.edges()), (-4.0, 0.0, (-5.0, 3.0)));
    }
}
