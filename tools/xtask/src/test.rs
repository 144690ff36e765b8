//! `cargo xtask test`: everything that must hold before a change is good.
//! Invariant: the last line is the summary over all test binaries, and any failure fails the command.

use crate::{answers, command, install};
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

/// Totals of `test result:` lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Totals {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs all steps; a failed step does not stop the others.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) = arguments.first() {
        bail!("`test` takes no arguments, found {unknown:?}");
    }
    if !answers("python3", &["-c", "import numpy, pandas"]) {
        install(&["python3", "python3-numpy", "python3-pandas"], "reading results from Python");
    }
    let mut failed_steps = Vec::new();
    let mut step = |name: &'static str, program: &str, arguments: &[&str], environment: &[(&str, &str)]| {
        println!("── {name}");
        let began = Instant::now();
        let mut process = command(program, arguments);
        process.envs(environment.iter().copied());
        let is_good = process.status().is_ok_and(|status| status.success());
        println!(
            "── {name}: {} in {:.0} s",
            if is_good { "good" } else { "FAILED" },
            began.elapsed().as_secs_f64()
        );
        if !is_good {
            failed_steps.push(name);
        }
    };
    step("format", "cargo", &["fmt", "--all", "--check"], &[]);
    step("lints", "cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]);
    step(
        "documentation",
        "cargo",
        &["doc", "--workspace", "--no-deps", "--document-private-items"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    );
    // The command-line tests drive the real binary.
    step("binary", "cargo", &["build", "--bin", "nikola"], &[]);
    let (totals, is_good) = tests().context("running the tests")?;
    if !is_good {
        failed_steps.push("tests");
    }
    if !failed_steps.is_empty() {
        println!("failed: {}", failed_steps.join(", "));
    }
    println!("{}", summary(totals));
    if !failed_steps.is_empty() {
        bail!("failed: {}", failed_steps.join(", "));
    }
    Ok(())
}

fn summary(totals: Totals) -> String {
    let mut line = format!("{} passed, {} failed", totals.passed, totals.failed);
    if totals.skipped > 0 {
        line.push_str(&format!(", {} skipped", totals.skipped));
    }
    line
}

fn tests() -> anyhow::Result<(Totals, bool)> {
    println!("── tests");
    let began = Instant::now();
    let mut process = command("cargo", &["test", "--workspace", "--no-fail-fast"]);
    let mut child = process.stdout(Stdio::piped()).spawn()?;
    let mut totals = Totals::default();
    let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    for line in lines {
        let line = line?;
        println!("{line}");
        add(&mut totals, &line);
    }
    let is_good = child.wait()?.success() && totals.failed == 0 && totals.passed > 0;
    let verdict = if is_good { "good" } else { "FAILED" };
    println!("── tests: {verdict} in {:.0} s", began.elapsed().as_secs_f64());
    Ok((totals, is_good))
}

/// Adds a line of the form `test result: ok. 12 passed; 0 failed; 0 ignored; …`.
fn add(totals: &mut Totals, line: &str) {
    let Some(rest) = line.strip_prefix("test result: ") else { return };
    for part in rest.split(['.', ';']) {
        let mut words = part.split_whitespace();
        let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
            continue;
        };
        match what {
            "passed" => totals.passed += count,
            "failed" => totals.failed += count,
            "ignored" => totals.skipped += count,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_add_up() {
        let mut totals = Totals::default();
        add(
            &mut totals,
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        );
        add(&mut totals, "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        add(&mut totals, "running 5 tests");
        assert_eq!(totals, Totals { passed: 15, failed: 2, skipped: 1 });
        assert_eq!(summary(totals), "15 passed, 2 failed, 1 skipped");
    }
}
