//! Tests of persistence as a whole: a small world, its files, and what may happen to them.

mod checkpoints;
mod encryption;
mod faults;
mod flips;
mod mutation;
mod orders;
mod simulated;

use super::Result;
use super::capture::{capture, restore};
use super::cipher::MasterKey;
use super::disk::{Disk, RealDisk};
use super::header::{CipherKind, Header};
use super::reader::Log;
use super::writer::{Encoding, LogWriter};
use crate::intake::OrderBuilder;
use crate::scene::{Resolved, Scene, load_str, resolve};
use nikola_systems::Simulation;
use nikola_systems::world::BuildOptions;
use std::path::{Path, PathBuf};

/// Four pages of nine nodes.
pub(super) const SCENE: &str =
    "(version: 1, torus: (extents: {x: 12, z: 3}, page: Shape({x: 3, z: 3})), ticks: 100000,
    precision: F64, equation: Schrodinger(beta: 0.7), initial: Gaussian(width: {x: 2}, momentum: {x: 0.5}))";

/// The scene, what it came to, and how its orders become commands.
pub(super) fn scene() -> (Scene, Resolved, OrderBuilder) {
    let scene = load_str("small.ron", SCENE, &[]).expect("a scene");
    let resolved = resolve(&scene, Path::new(".")).expect("a scene that resolves");
    let builder = OrderBuilder::new(&scene, &resolved.setup);
    (scene, resolved, builder)
}

pub(super) fn world(resolved: &Resolved) -> Simulation {
    Simulation::new(&resolved.setup, &BuildOptions::default()).expect("a world")
}

/// Numbers that depend on the seed alone.
pub(super) fn random(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below.max(1)
}

/// A folder of its own for one test.
pub(super) fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("nikola-persist-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a writable temporary folder");
    path
}

/// A file with a full and two differential snapshots, and the world at the last of them.
pub(super) fn small_log(path: &Path, key: Option<MasterKey>, encoding: Encoding) -> Simulation {
    let (_, resolved, _) = scene();
    let mut simulation = world(&resolved);
    let header = Header {
        creation_secs: 1,
        baseline_secs: 1,
        cipher: if key.is_some() { CipherKind::ChaCha20Poly1305 } else { CipherKind::None },
        precision: simulation.precision(),
        salt: [7; 16],
        scene_id: [9; 12],
        page_nodes: simulation.torus().page_nodes() as u32,
    };
    let mut writer = LogWriter::create(&RealDisk, path, header, key).expect("writable");
    for _ in 0..3 {
        let copy = capture(&mut simulation, None, &mut Vec::new());
        writer.append(copy.tick, &copy.contents, &copy.untouched, encoding).expect("writable");
        if copy.tick < 10 {
            (0..5).for_each(|_| simulation.tick());
        }
    }
    simulation
}

/// Loads the last snapshot of a file into a new world.
pub(super) fn load(disk: &dyn Disk, path: &Path, key: Option<MasterKey>) -> Result<(Log, Simulation)> {
    let (_, resolved, _) = scene();
    let log = Log::open(disk, path, key)?;
    let mut simulation = world(&resolved);
    restore(&log, &mut simulation)?;
    Ok((log, simulation))
}
