//! `cargo xtask validate`: every validation case again, and the table in docs/VALIDATION.md.

use crate::command;
use anyhow::bail;

/// Runs the cases in a release build.
pub fn run(_: &[String]) -> anyhow::Result<()> {
    let arguments = [
        "run",
        "--release",
        "--quiet",
        "--package",
        "nikola-tests",
        "--bin",
        "validate",
        "--",
        "docs/VALIDATION.md",
    ];
    if !command("cargo", &arguments).status()?.success() {
        bail!("some cases are out of tolerance, see above");
    }
    Ok(())
}
