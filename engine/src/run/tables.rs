//! The texts and column names of a run folder.
//! Invariant: names and their order are what docs/FORMATS.md lists; readers find columns by name. Rows of a tick are with
//! the system before that tick can be in a kept state: the recorder goes before the edge that keeps.

use crate::observe::rows::{RowFile, TEXT_BYTES_MAX};
use crate::observe::{OutputError, pictures, watch};
use crate::persist::replay::Replay;
use crate::runner::Pace;
use crate::runner::governor::Decision;
use crate::scene::RunPlan;
use nikola_systems::Simulation;
use nikola_systems::components::geometry::axis::Axis;
use nikola_systems::components::growth::Change;
use nikola_systems::components::telemetry::Stage;
use serde_json::json;
use std::path::Path;

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

/// The files that grow beside the series.
pub(super) struct Tables {
    digests: RowFile,
    /// On a sparse torus.
    growth: Option<RowFile>,
    /// In real time.
    timing: Option<RowFile>,
    /// Tick of the last row of `digests`.
    digest_tick: Option<u64>,
}

impl Tables {
    /// Starts those files that this run has rows for.
    pub(super) fn create(folder: &Path, simulation: &Simulation, pace: Pace) -> Result<Self, OutputError> {
        let start = |name: &str, header: &str| RowFile::create(&folder.join(name), header);
        let growth = || {
            let file = start("growth.csv", "tick,key,change,strength,norm,energy")?;
            Ok(file.at_most(TEXT_BYTES_MAX))
        };
        let timing = || start("timing.csv", "tick,decision");
        Ok(Self {
            digests: start("digests.csv", "tick,digest")?,
            growth: simulation.growth().is_some().then(growth).transpose()?,
            timing: (pace == Pace::Realtime).then(timing).transpose()?,
            digest_tick: None,
        })
    }

    /// Births, prunings and refusals since the last call.
    pub(super) fn note_growth(&mut self, simulation: &mut Simulation) -> Result<(), OutputError> {
        let Some(growth) = &mut self.growth else { return Ok(()) };
        while let Some(event) = simulation.pop_growth() {
            let (change, strength, norm, energy) = match event.change {
                Change::Born { strength } => ("born", strength, 0.0, 0.0),
                Change::Pruned { norm, energy } => ("pruned", 0.0, norm, energy),
                Change::Capped => ("capped", 0.0, 0.0, 0.0),
                Change::Throttled => ("throttled", 0.0, 0.0, 0.0),
                Change::NotFinite => ("not_finite", 0.0, 0.0, 0.0),
            };
            let (tick, key) = (event.tick, event.key.value());
            growth.add(format_args!("{tick},{key:032x},{change},{strength:?},{norm:?},{energy:?}"));
        }
        growth.hand_over()
    }

    /// Decisions of real time: ticks done before each, and what it was.
    pub(super) fn note_decisions(&mut self, decisions: &[(u64, Decision)]) -> Result<(), OutputError> {
        let Some(timing) = &mut self.timing else { return Ok(()) };
        for (tick, decision) in decisions {
            timing.add(format_args!("{tick},{decision:?}"));
        }
        timing.hand_over()
    }

    /// The state's digest after `tick`, once.
    pub(super) fn note_digest(&mut self, tick: u64, digest: &str) -> Result<(), OutputError> {
        if self.digest_tick.replace(tick) == Some(tick) {
            return Ok(());
        }
        self.digests.add(format_args!("{tick},{digest}"));
        self.digests.hand_over()
    }

    /// Waits until all rows are on the disk.
    pub(super) fn finish(&mut self) -> Result<(), OutputError> {
        let files = [Some(&mut self.digests), self.growth.as_mut(), self.timing.as_mut()];
        files.into_iter().flatten().try_for_each(RowFile::finish)
    }
}

/// Where a continued run goes on: rows of that tick may be in its folder and in the one before, earlier ones are not.
pub(super) fn continued(replay: &Replay) -> serde_json::Value {
    json!({"tick": replay.tick, "checkpoint_tick": replay.checkpoint_tick})
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
