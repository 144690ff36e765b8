//! `nikola plot`: pictures of a run folder, of a `.npy` file or of a time series as CSV.
//! Invariant: what is drawn depends on the files alone; a file that cannot be drawn is refused with a remedy.

use crate::observe::OutputError;
use crate::observe::error::PlotError;
use crate::observe::npy;
use crate::observe::npy_write::read_records;
use crate::observe::pictures::{draw_folder, field, series_pictures, write_picture};
use crate::observe::run_files::{AxisFile, RunFiles, read_csv};
use std::path::{Path, PathBuf};

/// Nodes of the largest array that is drawn.
const NODES_MAX: usize = 1 << 26;

/// Draws what lies at `path` into the folder `out`, or beside the input; gives the files written.
///
/// # Errors
/// [`PlotError`] for an input that cannot be drawn or a disk that refuses.
pub fn plot(path: &Path, out: Option<&Path>) -> Result<Vec<PathBuf>, PlotError> {
    if path.is_dir() {
        return draw_folder(path, out.unwrap_or(path));
    }
    let folder = out.or(path.parent()).unwrap_or(Path::new(""));
    if out.is_some() {
        std::fs::create_dir_all(folder).map_err(OutputError::on(folder, "create the folder"))?;
    }
    let stem = path.file_stem().map_or_else(|| "plot".into(), |stem| stem.to_string_lossy().into_owned());
    let is_csv = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let columns = if is_csv { Some(read_csv(path)?) } else { read_records(path).ok() };
    if let Some(columns) = columns {
        let mut written = Vec::new();
        for (name, picture) in series_pictures(&columns) {
            let name = if name == stem { name } else { format!("{stem}-{name}") };
            written.push(folder.join(format!("{name}.png")));
            write_picture(&folder.join(format!("{name}.png")), &picture)?;
        }
        return Ok(written);
    }
    let file = folder.join(format!("{stem}.png"));
    write_picture(&file, &array_picture(path, &stem)?)?;
    Ok(vec![file])
}

/// The picture of one array: with the axes of its run where it lies in a run folder, else by index.
fn array_picture(path: &Path, stem: &str) -> Result<crate::plot::Picture, PlotError> {
    let expected = "a run folder, a .npy file of float32, float64, complex64 or complex128, or a .csv file";
    let fault = |error: npy::NpyError| {
        PlotError::array(path, error, expected, "check the path, or save with np.save")
    };
    let shape = npy::shape_of(path).map_err(fault)?;
    let active: Vec<usize> = shape.iter().copied().filter(|extent| *extent != 1).collect();
    let n_nodes = active.iter().try_fold(1usize, |n, extent| n.checked_mul(*extent));
    if !(1..=2).contains(&active.len()) || n_nodes.is_none_or(|n| n == 0 || n > NODES_MAX) {
        return Err(PlotError::input(
            path,
            format!("shape {shape:?}"),
            "one or two axes of more than one node, 67 million nodes at most",
            "save a slice, e.g. np.save(\"slice.npy\", a[0, 0, :, :]), or ask for one in the scene's outputs.marginals",
        ));
    }
    let values = npy::read(path).map_err(fault)?;
    let axes = axes_in_run(path, &active).unwrap_or_else(|| {
        // Node i is drawn at i.
        let axis = |(d, &extent): (usize, &usize)| AxisFile::by_index(format!("index {d}"), extent);
        active.iter().enumerate().map(axis).collect()
    });
    Ok(field(stem, &axes, &values))
}

/// The axes of a snapshot that lies in its run's folder.
fn axes_in_run(path: &Path, active: &[usize]) -> Option<Vec<AxisFile>> {
    let files = RunFiles::open(path.parent()?.parent()?).ok()?;
    let array = files.arrays.iter().find(|array| array.path.file_name() == path.file_name())?;
    let axes = files.axes_of(array);
    active.iter().eq(axes.iter().map(|axis| &axis.extent)).then_some(axes)
}
