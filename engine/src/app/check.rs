//! `nikola check`: explains a scene without running it.
//! Invariant: reads the scene and measures the memory's bandwidth; writes nothing.

use super::{Failure, SceneArguments, load, print_line};
use crate::{bench, scene};
use clap::Args;

#[derive(Args, Debug)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub(super) scene: SceneArguments,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn execute(arguments: &CheckArguments) -> Result<(), Failure> {
    let scene = load(&arguments.scene, &[])?;
    let resolved = scene::resolve(&scene, &scene.base_dir)?;
    let bytes = scene::memory_bytes(&resolved.setup).min(256e6) as usize;
    let bandwidth = bench::copy_bandwidth(bytes, 1);
    let report = scene::check(&resolved, Some(bandwidth));
    if arguments.json {
        print_line(&report.to_json().to_string())
    } else {
        print_line(report.to_string().trim_end())
    }
}
