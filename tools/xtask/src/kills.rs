//! `cargo xtask kills`: the long form of the kill campaign.
//! Invariant: the program that is killed and the one that judges are built from the same sources, in release mode.

use crate::command;
use anyhow::bail;

/// Builds both and runs the campaign; its arguments are passed on.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let build = ["build", "--release", "--quiet", "--bin", "nikola", "--bin", "kill_campaign"];
    if !command("cargo", &[&build[..], &["-p", "nikola-engine", "-p", "nikola-tests"]].concat())
        .status()?
        .success()
    {
        bail!("the programs do not build, see above");
    }
    let mut campaign =
        vec!["run", "--release", "--quiet", "-p", "nikola-tests", "--bin", "kill_campaign", "--"];
    campaign.extend(arguments.iter().map(String::as_str));
    if !command("cargo", &campaign).status()?.success() {
        bail!("a killed run did not continue as it should, see above");
    }
    Ok(())
}
