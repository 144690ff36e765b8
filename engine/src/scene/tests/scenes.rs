//! Every scene of the house resolves, says what one should see, and checks.

use crate::scene::expression::FUNCTIONS;
use crate::scene::overrides::FIELDS;
use crate::scene::{check, load, load_str, resolve};
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

#[test]
fn the_reference_names_every_field_form_and_function() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/SCENES.md");
    let reference = std::fs::read_to_string(path).expect("docs/SCENES.md");
    let is_named = |name: &str| {
        let found = reference.match_indices(name).any(|(at, _)| {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let before = reference[..at].chars().next_back();
            let after = reference[at + name.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        });
        assert!(found, "docs/SCENES.md does not name `{name}`");
    };
    FIELDS.iter().for_each(|name| is_named(name));
    FUNCTIONS.iter().for_each(|function| is_named(function.name));
    // The reader lists the forms it knows when it meets one that it does not.
    for (text, place) in
        [("initial: Qqqq()", "field"), ("potential: Qqqq()", "potential"), ("emitters: [Qqqq()]", "emitter")]
    {
        let initial = if place == "field" { "" } else { "initial: Uniform()," };
        let text = format!("(version: 1, torus: (extents: {{z: 4}}), ticks: 1, {initial} {text})");
        let error = load_str("test.ron", &text, &[]).map(|_| ()).expect_err(place);
        let forms = error.fault().expected.strip_prefix("one of ").expect("a list of forms").to_string();
        assert!(forms.contains(", "), "{forms}");
        forms.split(", ").for_each(is_named);
    }
}
