//! `nikola replay`: a state directory's run again, from its checkpoint through its journal.
//! Invariant: changes nothing on the disk; the state reached is compared with every recorded digest.

use super::info::StoredArguments;
use super::{Failure, threads};
use crate::backend::to_device;
use crate::observe::digest::state_digest;
use crate::persist::capture::state_hash;
use crate::persist::disk::RealDisk;
use crate::persist::manifest::{HOST, Manifest};
use crate::persist::open::{look_into, scene_in};
use crate::persist::reader::hex;
use crate::runner::now_nanos;
use crate::{memory, scene};
use clap::Args;
use nikola_systems::Simulation;
use nikola_systems::world::BuildOptions;
use serde_json::json;

#[derive(Args, Debug)]
pub(super) struct ReplayArguments {
    #[command(flatten)]
    pub(super) stored: StoredArguments,
    /// Stop when this many ticks are done.
    #[arg(long, value_name = "TICK")]
    pub(super) until: Option<u64>,
    /// Worker threads; all cores when absent. Never changes a result.
    #[arg(long, value_name = "T")]
    pub(super) threads: Option<usize>,
    /// Where a device computed the state: the one whose name contains this; the best one when absent.
    #[arg(long, value_name = "NAME")]
    pub(super) adapter: Option<String>,
}

pub(super) fn execute(arguments: &ReplayArguments) -> Result<(), Failure> {
    let request = arguments.stored.request();
    let scene = scene_in(&request.folder)?;
    let resolved = scene::resolve(&scene, &scene.base_dir)?;
    let options = BuildOptions {
        threads: threads(arguments.threads)?,
        memory_advice: Some(memory::advise_huge_pages),
        ..BuildOptions::default()
    };
    let mut simulation = Simulation::new(&resolved.setup, &options)
        .map_err(|error| Failure::new(format!("{}: {error}", scene.stem()), crate::exit::SCENE))?;
    if Manifest::read(&RealDisk, &request.folder)?.backend != HOST {
        to_device(&mut simulation, &resolved.setup, &scene.stem(), arguments.adapter.as_deref())
            .map_err(|failure| Failure::new(failure, crate::exit::BACKEND))?;
    }
    let began = now_nanos();
    let replay = look_into(&request, &scene, &resolved.setup, arguments.until, &mut simulation)?;
    let secs = (now_nanos() - began) as f64 * 1e-9;
    arguments.stored.print(&json!({
        "scene": scene.stem(),
        "checkpoint_tick": replay.checkpoint_tick,
        "tick": replay.tick,
        "orders": replay.n_orders,
        "digests": replay.n_digests,
        "torn_bytes": replay.torn_bytes,
        "secs": secs,
        "state_digest": state_digest(&simulation),
        "whole_state_digest": hex(&state_hash(&mut simulation)),
    }))
}
