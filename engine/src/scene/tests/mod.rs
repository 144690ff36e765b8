//! Tests of the scene reader: good scenes, broken scenes, overrides, physics of the named forms, mutation.

mod bad_fields;
mod bad_scenes;
mod forms;
mod mutation;
mod overrides;
mod scenes;

use super::{Resolved, Scene, SceneError, load_str, resolve};
use std::path::Path;

/// Reads and resolves a text.
fn resolved(text: &str) -> Result<(Scene, Resolved), SceneError> {
    with_overrides(text, &[])
}

fn with_overrides(text: &str, overrides: &[&str]) -> Result<(Scene, Resolved), SceneError> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let scene = load_str("test.ron", text, &overrides)?;
    let resolved = resolve(&scene, Path::new("."))?;
    Ok((scene, resolved))
}

/// The smallest scene, with further fields.
fn minimal(further: &str) -> String {
    format!("(version: 1, torus: (extents: {{z: 16}}), ticks: 10, initial: Uniform(), {further})")
}
