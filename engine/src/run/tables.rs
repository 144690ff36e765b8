//! The texts and column names of a run folder.
//! Invariant: names and their order are what docs/FORMATS.md lists; readers find columns by name.

use crate::observe::{pictures, watch};
use crate::runner::PaceReport;
use crate::scene::RunPlan;
use nikola_systems::Simulation;
use nikola_systems::components::geometry::axis::Axis;
use nikola_systems::components::telemetry::Stage;
use serde_json::json;
use std::fmt::Write as _;

/// What the last scan gave, by column: |h| and y of each traversal, then the readout's values.
pub(super) fn scan_columns(simulation: &Simulation) -> Vec<(String, f64)> {
    let Some(output) = simulation.scan() else { return Vec::new() };
    let mut columns = Vec::new();
    for scanned in &output.traversals {
        let name = scanned.traversal.name();
        columns.push((format!("scan_{name}_norm"), scanned.norm()));
        columns.push((format!("scan_{name}_re"), scanned.output.0));
        columns.push((format!("scan_{name}_im"), scanned.output.1));
    }
    columns.extend(output.values.iter().enumerate().map(|(i, value)| (format!("readout_{i}"), *value)));
    columns
}

/// The decisions of real time: ticks done before each, and what it was.
pub(super) fn timing(pace: &PaceReport) -> String {
    let mut text = String::from("tick,decision\n");
    for (tick, decision) in pace.journal.decisions() {
        let _ = writeln!(text, "{tick},{decision:?}");
    }
    text
}

/// Names of the series' columns, in order.
pub(super) fn columns(simulation: &Simulation, plan: &RunPlan) -> Vec<String> {
    let mut columns: Vec<String> = pictures::STANDARD.map(String::from).to_vec();
    if simulation.growth().is_some() {
        columns.extend(["pages", "births", "prunings", "pruned_norm", "leaked"].map(String::from));
    }
    let extents = simulation.torus().extents();
    for axis in Axis::ALL.into_iter().filter(|axis| extents[axis.index()] > 1) {
        columns.extend([format!("momentum_{axis}"), format!("centre_{axis}"), format!("width_{axis}")]);
    }
    columns.extend(scan_columns(simulation).into_iter().map(|(name, _)| name));
    columns.extend(Stage::ALL.map(|stage| format!("{}_p50_micros", stage.name())));
    columns.extend(watch::columns(simulation));
    columns.extend(plan.observables.iter().map(|observable| observable.name.clone()));
    columns
}

/// What made the run: versions, target, how the kinetic step is done.
pub(super) fn versions(simulation: &Simulation) -> serde_json::Value {
    json!({
        "nikola": env!("CARGO_PKG_VERSION"),
        "scene_version": 1,
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "simd": simulation.compute().level.to_string(),
        "threads": simulation.compute().n_threads,
        "kinetic": simulation.describe_kinetic(),
    })
}
