//! `cargo xtask validate` and `cargo xtask endurance`: measured tables in docs/VALIDATION.md and docs/ENDURANCE.md.
//! Invariant: a table is written by the program that measured it, in a release build.

use crate::command;
use anyhow::bail;

/// Every validation case again.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) = arguments.first() {
        bail!("`validate` takes no arguments, found {unknown:?}");
    }
    report("validate", &[], &["docs/VALIDATION.md"])
}

/// The long runs again.
pub fn endure(arguments: &[String]) -> anyhow::Result<()> {
    if arguments.first().is_some_and(|argument| argument == "--gpu") {
        let flags: Vec<&str> = arguments.iter().map(String::as_str).collect();
        return report("endurance", &["--features", "gpu"], &flags);
    }
    if let Some(unknown) = arguments.iter().find(|argument| *argument != "--large") {
        bail!("`endurance` takes only --large, or --gpu with --ticks, found {unknown:?}");
    }
    let flags: Vec<&str> = arguments.iter().map(String::as_str).collect();
    report("endurance", &[], &[&["docs/ENDURANCE.md"], &flags[..]].concat())
}

fn report(program: &str, features: &[&str], arguments: &[&str]) -> anyhow::Result<()> {
    let cargo = ["run", "--release", "--quiet", "--package", "nikola-tests", "--bin", program];
    if !command("cargo", &[&cargo[..], features, &["--"], arguments].concat()).status()?.success() {
        bail!("something is out of its bounds, see above");
    }
    Ok(())
}
