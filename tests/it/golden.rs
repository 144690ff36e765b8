//! Golden digests: every scene of the house, after a number of ticks, has the bits it always had.
//!
//! Invariant: `tests/golden/digests.csv` has one row per scene and no other. A change that moves bits on purpose
//! writes the file anew with `NIKOLA_GOLDEN=write cargo test -p nikola-tests --test it golden` and says why in its
//! commit. Digests do not depend on threads or SIMD level, so the file holds on every machine.

use super::tidy::root;
use nikola_engine::observe::digest::state_digest;
use nikola_engine::scene::{load, resolve};
use nikola_engine::systems::world::BuildOptions;
use nikola_tests::lab::{advance, build_with};
use std::collections::BTreeMap;
use std::path::Path;

/// Node-ticks spent per scene at most, so that all scenes together take seconds.
const NODE_TICKS: u64 = 2_000_000;

/// What the file of digests begins with.
const HEADER: &str = "scene,ticks,digest";

fn golden_path() -> std::path::PathBuf {
    root().join("tests/golden/digests.csv")
}

/// Scene → (ticks, digest), as written.
fn recorded() -> BTreeMap<String, (u64, String)> {
    let text = std::fs::read_to_string(golden_path()).unwrap_or_default();
    let row = |line: &str| {
        let mut cells = line.split(',').map(str::to_string);
        let (name, ticks, digest) = (cells.next()?, cells.next()?.parse().ok()?, cells.next()?);
        Some((name, (ticks, digest)))
    };
    text.lines().skip(1).map(|line| row(line).unwrap_or_else(|| panic!("malformed row: {line}"))).collect()
}

/// Runs `scene` for its share of node-ticks.
fn measured(path: &Path) -> (u64, String) {
    let scene = load(path, &[]).unwrap_or_else(|error| panic!("{error}"));
    let resolved = resolve(&scene, &scene.base_dir).unwrap_or_else(|error| panic!("{error}"));
    let nodes = resolved.setup.torus.n_nodes() as u64;
    let ticks = (NODE_TICKS / nodes).clamp(4, 1_000).min(resolved.plan.ticks);
    let mut simulation = build_with(&resolved.setup, &BuildOptions { threads: 2, ..BuildOptions::default() });
    advance(&mut simulation, ticks);
    (ticks, state_digest(&simulation))
}

#[test]
fn every_scene_has_its_golden_digest() {
    let folder = std::fs::read_dir(root().join("scenes")).expect("the folder of scenes");
    let mut found = BTreeMap::new();
    for entry in folder {
        let path = entry.expect("a folder entry").path();
        if path.extension().is_some_and(|extension| extension == "ron") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            found.insert(name, measured(&path));
        }
    }
    if std::env::var("NIKOLA_GOLDEN").is_ok_and(|word| word == "write") {
        let rows = found.iter().map(|(name, (ticks, digest))| format!("{name},{ticks},{digest}\n"));
        let text = format!("{HEADER}\n{}", rows.collect::<String>());
        std::fs::write(golden_path(), text).expect("a writable tests/golden/digests.csv");
        return;
    }
    let recorded = recorded();
    let differs = |(name, value): &(&String, &(u64, String))| recorded.get(*name) != Some(*value);
    let mut wrong: Vec<String> = found.iter().filter(differs).map(|(name, _)| name.clone()).collect();
    wrong.extend(
        recorded.keys().filter(|name| !found.contains_key(*name)).map(|name| format!("{name} (no scene)")),
    );
    assert!(
        wrong.is_empty(),
        "digests differ from tests/golden/digests.csv: {}\nif that is meant: NIKOLA_GOLDEN=write cargo test -p \
         nikola-tests --test it golden",
        wrong.join(", ")
    );
}
