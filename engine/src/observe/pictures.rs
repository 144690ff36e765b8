//! Pictures of a run: Ψ, its cuts, their course in time, the time series, and one page with all of them.
//!
//! Invariant: everything is drawn from files that the run wrote, so that `nikola plot` can draw it again.

use super::OutputError;
use super::error::PlotError;
use super::npy::NpyArray;
use super::npy_write::Columns;
use super::run_files::{ArrayFile, AxisFile, RunFiles};
use super::run_folder::RunFolder;
use super::series::write_whole;
use super::snapshot::{cut, write_cut};
use crate::plot::{self, Panel, Picture};
use crate::scene::{Marginal, RunPlan, Snapshots};
use nikola_systems::Simulation;
use nikola_systems::components::geometry::axis::Axis;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Instants of a space-time picture: more than it has pixels.
const INSTANTS_MAX: usize = 1024;

/// Nodes of the largest array that is drawn.
const NODES_MAX: usize = 1 << 26;

/// Draws the pictures of a finished run into `pictures/` and the overview beside the figures.
///
/// # Errors
/// [`OutputError`] when the disk refuses.
pub fn draw_run(folder: &RunFolder, simulation: &Simulation, plan: &RunPlan) -> Result<(), OutputError> {
    write_default_cuts(folder, simulation, plan)?;
    match draw_folder(folder.path(), folder.path()) {
        Ok(_) => Ok(()),
        Err(PlotError::Output(error)) => Err(error),
        // The files were written a moment ago; only the disk can have changed them.
        Err(error @ PlotError::Input { .. }) => {
            Err(OutputError::on(folder.path(), "draw the pictures")(std::io::Error::other(error.to_string())))
        }
    }
}

/// Where a torus of three axes and more has no cuts to show, the plane of its two longest axes is cut at the end.
fn write_default_cuts(
    folder: &RunFolder,
    simulation: &Simulation,
    plan: &RunPlan,
) -> Result<(), OutputError> {
    let torus = simulation.torus();
    if torus.storage().len() < 3 || !plan.marginals.is_empty() || plan.snapshots == Snapshots::Never {
        return Ok(());
    }
    let mut keep: Vec<Axis> = torus.storage()[..2].to_vec();
    keep.sort_by_key(|axis| axis.index());
    let at = torus.extents().map(|extent| extent / 2);
    let snapshots = folder.subfolder("snapshots")?;
    for marginal in [Marginal::Project { keep: keep.clone() }, Marginal::Slice { keep, at }] {
        let name = format!("{}-{:09}.npy", marginal.name(), simulation.tick_count());
        write_cut(&cut(simulation, &marginal), &snapshots.join(name))?;
    }
    Ok(())
}

/// Draws a run folder into `out`: `overview.png`, and the single pictures in `pictures/`. Gives what was written.
///
/// # Errors
/// [`PlotError`] for a folder that is no run, a broken file, or a disk that refuses.
pub fn draw_folder(run: &Path, out: &Path) -> Result<Vec<PathBuf>, PlotError> {
    let files = RunFiles::open(run)?;
    let mut drawn: Vec<(String, Picture)> = Vec::new();
    for array in shown(&files) {
        let axes = files.axes_of(array);
        let values = files.read(array, &axes)?;
        let time = array.tick as f64 * files.resolved.dt;
        drawn.push((array.name.clone(), field(&title_of(&files, array, time), &axes, &values)));
    }
    drawn.extend(space_times(&files)?);
    if let Some(columns) = files.series()? {
        drawn.extend(series_pictures(&columns));
    }
    let mut written = Vec::new();
    let folder = out.join("pictures");
    std::fs::create_dir_all(&folder).map_err(OutputError::on(&folder, "create the folder"))?;
    for (name, picture) in &drawn {
        written.push(folder.join(format!("{name}.png")));
        write_picture(&folder.join(format!("{name}.png")), picture)?;
    }
    let lines = subtitle(&files)?;
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let pictures: Vec<Picture> = drawn.into_iter().map(|(_, picture)| picture).collect();
    let overview = out.join("overview.png");
    write_picture(&overview, &plot::overview(&files.resolved.title, &lines, &pictures))?;
    written.insert(0, overview);
    Ok(written)
}

/// Writes a picture as a whole.
///
/// # Errors
/// [`OutputError`] when the disk refuses.
pub fn write_picture(path: &Path, picture: &Picture) -> Result<(), OutputError> {
    write_whole(path, |sink| sink.write_all(&picture.to_png()))
}

/// The last array of each name that has one or two axes; a slice over all axes is Ψ once more and left out.
fn shown(files: &RunFiles) -> Vec<&ArrayFile> {
    let n_active = files.resolved.axes.len();
    let mut shown: Vec<&ArrayFile> = Vec::new();
    for array in &files.arrays {
        let axes = files.axes_of(array);
        let n_nodes = axes.iter().try_fold(1usize, |n, axis| n.checked_mul(axis.extent));
        let is_whole = array.name.starts_with("slice") && axes.len() == n_active;
        if !(1..=2).contains(&axes.len()) || is_whole || n_nodes.is_none_or(|n| n > NODES_MAX) {
            continue;
        }
        shown.retain(|other| other.name != array.name);
        shown.push(array);
    }
    shown
}

/// `Ψ at t = 5`, `|Ψ|² over y z at t = 5`.
fn title_of(files: &RunFiles, array: &ArrayFile, time: f64) -> String {
    let others = files.resolved.axes.len() - files.axes_of(array).len();
    let what = match array.name.split_once('_') {
        Some(("project", _)) if others > 0 => "∫|Ψ|² over the other axes",
        Some(("project", _)) => "|Ψ|²",
        Some(_) if others > 0 => "Ψ, a slice",
        _ => "Ψ",
    };
    format!("{what} at t = {}", rounded(time))
}

/// A number without the noise of its last digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}

/// Draws an array of one or two axes; real values are densities.
pub fn field(title: &str, axes: &[AxisFile], values: &NpyArray) -> Picture {
    match axes {
        [across, up] => {
            let (x, y) = (across.edges(), up.edges());
            // The first axis runs to the right, the second up: rows of the picture are columns of the array.
            let order = (0..up.extent).flat_map(|j| (0..across.extent).map(move |i| i * up.extent + j));
            let labels = (across.axis.as_str(), up.axis.as_str());
            let (extents, width, height) = ((x.0, x.1, y.0, y.1), across.extent, up.extent);
            if values.is_complex() {
                let psi: Vec<(f64, f64)> = order.map(|at| values.at(at)).collect();
                plot::wave_plane(title, labels, extents, width, height, &psi)
            } else {
                let density: Vec<f64> = order.map(|at| values.at(at).0).collect();
                plot::density_plane(title, labels, extents, width, height, &density)
            }
        }
        _ => {
            let (label, n) = axes.first().map_or(("", 0), |axis| (axis.axis.as_str(), axis.extent));
            let xs: Vec<f64> =
                axes.iter().take(1).flat_map(|axis| (0..n).map(|i| axis.coordinate(i))).collect();
            if values.is_complex() {
                let psi: Vec<(f64, f64)> = (0..n).map(|i| values.at(i)).collect();
                plot::wave_line(title, label, &xs, &psi)
            } else {
                let density: Vec<f64> = (0..n).map(|i| values.at(i).0).collect();
                plot::density_line(title, label, &xs, &density)
            }
        }
    }
}

/// |Ψ|² over position and time, for every one-axis array that was written at least three times.
fn space_times(files: &RunFiles) -> Result<Vec<(String, Picture)>, PlotError> {
    let mut drawn = Vec::new();
    for last in shown(files) {
        let [axis] = files.axes_of(last).try_into().unwrap_or([NO_AXIS]);
        let all: Vec<&ArrayFile> = files.arrays.iter().filter(|array| array.name == last.name).collect();
        let Some(instants) = evenly_spaced(&all).filter(|_| axis.extent > 0) else { continue };
        let mut values = Vec::with_capacity(instants.len() * axis.extent);
        for array in &instants {
            let psi = files.read(array, std::slice::from_ref(&axis))?;
            let density = |i| match psi.at(i) {
                (re, im) if psi.is_complex() => re * re + im * im,
                (rho, _) => rho,
            };
            values.extend((0..axis.extent).map(density));
        }
        let time = |array: &ArrayFile| array.tick as f64 * files.resolved.dt;
        let (first, last_time) = (time(instants[0]), time(instants[instants.len() - 1]));
        let half = 0.5 * (last_time - first) / (instants.len() - 1) as f64;
        let (x0, x1) = axis.edges();
        let extents = (x0, x1, first - half, last_time + half);
        let title = "|Ψ|² over position and time";
        let labels = (axis.axis.as_str(), "t");
        let picture = plot::density_plane(title, labels, extents, axis.extent, instants.len(), &values);
        drawn.push((format!("{}_over_time", last.name), picture));
    }
    Ok(drawn)
}

/// Stands for an array of two axes, which has no space-time picture.
const NO_AXIS: AxisFile = AxisFile { axis: String::new(), extent: 0, length: 1.0, first: None };

/// The arrays at equal distances of time, at most as many as a picture shows; the end, if it is off the grid, is left
/// out. None where fewer than three remain.
fn evenly_spaced<'a>(all: &[&'a ArrayFile]) -> Option<Vec<&'a ArrayFile>> {
    let step = all.get(1)?.tick - all[0].tick;
    let stride = all.len().div_ceil(INSTANTS_MAX) as u64;
    let is_even = |array: &&&ArrayFile| (array.tick - all[0].tick).is_multiple_of(step * stride);
    let even: Vec<&ArrayFile> = all.iter().filter(is_even).copied().collect();
    let steps: Vec<u64> = even.windows(2).map(|pair| pair[1].tick - pair[0].tick).collect();
    (even.len() >= 3 && steps.iter().all(|other| *other == steps[0])).then_some(even)
}

/// Columns of a run's series that have a place of their own; the rest are the scene's observables.
pub(crate) const STANDARD: [&str; 11] = [
    "tick",
    "time",
    "norm",
    "norm_drift",
    "energy",
    "energy_kinetic",
    "energy_potential",
    "energy_interaction",
    "energy_drift",
    "mu",
    "max_abs_psi",
];

/// Panels of observables in one picture.
const PANELS_MAX: usize = 8;

/// Pictures of a time series: norm and energy, motion per axis, and the scene's observables.
pub fn series_pictures(columns: &Columns) -> Vec<(String, Picture)> {
    let find =
        |name: &str| columns.iter().find(|(column, _)| column == name).map(|(_, values)| values.clone());
    let named = |name: &str, shown: &str| find(name).map(|values| (shown.to_string(), values));
    let (x_label, xs) = match (find("time"), columns.first()) {
        (Some(time), _) => ("t".to_string(), time),
        (None, Some((name, values))) => (name.clone(), values.clone()),
        (None, None) => return Vec::new(),
    };
    let panel = |title: &str, curves: Vec<Option<(String, Vec<f64>)>>| {
        let curves: Vec<_> = curves.into_iter().flatten().collect();
        (!curves.is_empty()).then(|| Panel { title: title.to_string(), log: false, curves })
    };
    let drifts = [named("norm_drift", "norm"), named("energy_drift", "energy")];
    let drifts =
        drifts.into_iter().flatten().map(|(name, values)| (name, magnitudes(&values))).collect::<Vec<_>>();
    let conserved = [
        (!drifts.is_empty()).then(|| Panel {
            title: "relative change, magnitude (0 at the smallest)".into(),
            log: true,
            curves: drifts,
        }),
        panel(
            "energy",
            vec![
                named("energy", "total"),
                named("energy_kinetic", "kinetic"),
                named("energy_potential", "potential"),
                named("energy_interaction", "interaction"),
            ],
        ),
        panel("chemical potential μ", vec![named("mu", "")]),
        panel("max |Ψ|", vec![named("max_abs_psi", "")]),
    ];
    let along = |prefix: &str| {
        let axes = "rstuvwxyz".chars();
        axes.map(|axis| named(&format!("{prefix}_{axis}"), &axis.to_string())).collect::<Vec<_>>()
    };
    let motion = [
        panel("centre", along("centre")),
        panel("width", along("width")),
        panel("momentum", along("momentum")),
    ];
    let is_own = |name: &str| {
        let is_axis = |prefix: &str| name.strip_prefix(prefix).is_some_and(|axis| axis.len() == 1);
        let is_standard =
            STANDARD.contains(&name) || ["centre_", "width_", "momentum_"].into_iter().any(is_axis);
        !is_standard && !name.ends_with("_p50_micros") && name != x_label
    };
    let own = columns.iter().filter(|(name, _)| is_own(name));
    let own =
        own.map(|(name, values)| panel(name, vec![Some((String::new(), values.clone()))])).take(PANELS_MAX);
    let groups: [(&str, &str, Vec<Option<Panel>>); 3] = [
        ("series", "Norm, energy, amplitude", conserved.into()),
        ("motion", "Motion along the axes", motion.into()),
        ("observables", "Observables of the scene", own.collect()),
    ];
    let draw = |(name, title, panels): (&str, &str, Vec<Option<Panel>>)| {
        let panels: Vec<Panel> = panels.into_iter().flatten().collect();
        (!panels.is_empty()).then(|| (name.to_string(), plot::series(title, &x_label, &xs, &panels)))
    };
    groups.into_iter().filter_map(draw).collect()
}

/// |values|, with exact zeros (the first row is one) raised to the smallest of the others: a logarithmic axis has no 0.
fn magnitudes(values: &[f64]) -> Vec<f64> {
    let least =
        values.iter().map(|value| value.abs()).filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    let raised = |value: &f64| if *value == 0.0 && least.is_finite() { least } else { value.abs() };
    values.iter().map(raised).collect()
}

/// Lines below the title of the overview: size, speed, errors, digest.
fn subtitle(files: &RunFiles) -> Result<Vec<String>, PlotError> {
    let axes = files.resolved.axes.iter();
    let mut lines = vec![
        axes.map(|axis| format!("{} {}", axis.axis, axis.extent)).collect::<Vec<_>>().join(" × ") + " nodes",
    ];
    let summary = files.summary()?;
    let number = |key: &str| summary[key].as_f64();
    if let (Some(ticks), Some(secs)) = (summary["ticks"].as_u64(), number("wall_secs")) {
        let precision = summary["precision"].as_str().unwrap_or("?");
        lines[0] += &format!("  ·  {precision}  ·  {ticks} ticks of {} in {secs:.2} s", files.resolved.dt);
    }
    if let (Some(norm), Some(energy)) = (number("norm"), number("energy")) {
        let drift = |key| number(key).map_or("not finite".into(), |drift| format!("{drift:+.1e}"));
        lines.push(format!(
            "norm {norm:.6} (change {})  ·  energy {energy:.6} (change {})",
            drift("norm_drift"),
            drift("energy_drift")
        ));
    }
    if let Some(digest) = summary["state_digest"].as_str() {
        lines.push(format!("state digest {digest:.16}"));
    }
    Ok(lines)
}

#[cfg(test)]
#[path = "pictures_tests.rs"]
mod tests;
