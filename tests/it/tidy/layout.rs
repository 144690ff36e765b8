//! The tree: top-level names, what each source and scene begins with, how long files are.

use super::{files, nothing_found, sources};

/// Top-level folders; nothing else is added without changing the architecture.
const FOLDERS: [&str; 9] =
    ["components", "systems", "shaders", "engine", "scenes", "tools", "tests", "benches", "docs"];

/// Top-level files beside dot-files.
const FILES: [&str; 7] =
    ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "Cargo.toml", "Cargo.lock", "rustfmt.toml", "clippy.toml"];

/// Longer files hide two things in one.
const LINES_MAX: usize = 600;

#[test]
fn top_level_names_are_the_fixed_set() {
    let stray = files().into_iter().filter_map(|file| {
        let is_known = match file.path.split_once('/') {
            Some((folder, _)) => folder.starts_with('.') || FOLDERS.contains(&folder),
            None => file.path.starts_with('.') || FILES.contains(&file.path.as_str()),
        };
        (!is_known).then_some(file.path)
    });
    nothing_found("the top level holds what ARCHITECTURE.md names and nothing else:", stray.collect());
}

#[test]
fn papers_of_the_house_exist() {
    let papers = ["LICENSE-MIT", "LICENSE-APACHE", "docs/ARCHITECTURE.md", "docs/CHANGELOG.md"];
    let files = files();
    let is_missing = |paper: &&str| !files.iter().any(|file| file.path == *paper);
    nothing_found("missing:", papers.into_iter().filter(is_missing).map(String::from).collect());
}

#[test]
fn every_source_says_what_it_is() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path);
    nothing_found("a source begins with `//!`: what it is and which invariant it keeps:", silent.collect());
}

#[test]
fn files_are_short_enough_to_read() {
    let written = sources().into_iter().filter(|(path, _)| !path.contains("/generated/"));
    let long = written.filter_map(|(path, text)| {
        let n_lines = text.lines().count();
        (n_lines > LINES_MAX).then(|| format!("{path}: {n_lines} lines"))
    });
    nothing_found(&format!("at most {LINES_MAX} lines a file; split these:"), long.collect());
}

#[test]
fn every_scene_says_what_one_should_see() {
    let mut n_scenes = 0;
    let mut silent = Vec::new();
    for file in files() {
        if !(file.path.starts_with("scenes/") && file.path.ends_with(".ron")) {
            continue;
        }
        n_scenes += 1;
        let text = file.text.unwrap_or_default();
        let comment: String = text.lines().take_while(|line| line.starts_with("//")).collect();
        if !comment.contains("What one should see") {
            silent.push(file.path);
        }
    }
    nothing_found("a scene begins with a comment `What one should see: …`:", silent);
    assert!(n_scenes >= 15, "{n_scenes} scenes");
}

/// Programs that measure the device and compute nothing of the wave.
const MEASURING: [&str; 1] = ["copy"];

#[test]
fn every_shader_has_its_twin() {
    let paths: Vec<String> = files().into_iter().map(|file| file.path).collect();
    let shaders = paths.iter().filter_map(|path| path.strip_prefix("shaders/wgsl/"));
    let mut n_shaders = 0;
    let lonely = shaders.filter(|shader| {
        n_shaders += 1;
        let stem = shader.strip_suffix(".wgsl").unwrap_or(shader);
        !MEASURING.contains(&stem) && !paths.contains(&format!("systems/kernels/src/{stem}.rs"))
    });
    let lonely: Vec<String> = lonely.map(|shader| format!("shaders/wgsl/{shader}")).collect();
    nothing_found("a shader's stem is that of the kernel it is the twin of:", lonely);
    assert!(n_shaders >= 8, "{n_shaders} shaders");
}
