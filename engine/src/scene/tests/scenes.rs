//! Every scene of the house resolves, says what one should see, and checks.

use crate::scene::{check, load, resolve};
use std::path::{Path, PathBuf};

fn scenes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenes");
    let entries = std::fs::read_dir(folder).expect("the folder of scenes");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ron"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_scene_resolves_and_tells_what_one_should_see() {
    let paths = scenes();
    assert!(paths.len() >= 15, "{} scenes", paths.len());
    let mut dimensions = [false; 10];
    for path in paths {
        let name = path.display();
        let text = std::fs::read_to_string(&path).expect("a readable scene");
        let comment: String = text.lines().take_while(|line| line.starts_with("//")).collect();
        assert!(
            comment.contains("What one should see:"),
            "{name}: the first comment says what one should see"
        );
        let scene = load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        let resolved = resolve(&scene, &scene.base_dir).unwrap_or_else(|error| panic!("{error}"));
        assert!(!resolved.plan.observables.is_empty(), "{name} names observables");
        for warning in &resolved.warnings {
            assert!(warning.code == "lattice-axes", "{name}: {warning}");
        }
        dimensions[resolved.setup.torus.storage().len()] = true;
        let report = check(&resolved, None);
        assert_eq!(report.nodes, resolved.setup.torus.n_nodes());
        assert!(report.to_string().contains(&scene.title()));
        assert_eq!(report.to_json()["nodes"], report.nodes);
    }
    assert_eq!(dimensions[1..], [true; 9], "one scene at least for every dimension from 1 to 9");
}
