//! `cargo xtask test`: everything that must hold before a change is good.
//!
//! Invariant: a failed step does not stop the others but fails the command; what had to be skipped is said at the end;
//! the last line is the summary over all test binaries, alone.
//!
//! A test that needs a part this machine lacks prints a line `skipped: <why>` and returns; it is counted as skipped.

use crate::command;
use crate::python::{PACKAGES_VARIABLE, PYTHON_VARIABLE, READER_VARIABLE};
use crate::{graphics, python};
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

/// One set of features for every step but those without the spine, so that nothing is built twice: the default one and
/// the GPU backend.
const FEATURES: [&str; 2] = ["--features", "nikola-tests/gpu"];

/// What a line begins with when a test could not be done here.
const SKIPPED: &str = "skipped: ";

/// What happened so far.
#[derive(Debug, Default)]
struct Report {
    passed: u64,
    failed: u64,
    /// Tests marked so in the source.
    ignored: u64,
    /// Test and reason.
    skipped: Vec<String>,
    /// Steps that failed.
    failed_steps: Vec<&'static str>,
}

/// Runs all steps.
///
/// # Errors
/// A message for wrong arguments. Failed steps end the process with exit code 1, after the summary.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) = arguments.first() {
        bail!("`test` takes no arguments, found {unknown:?}");
    }
    let began = Instant::now();
    let mut report = Report::default();
    let python = python::with_numpy_and_pandas();
    if let Err(why) = &python {
        report.skipped.push(format!("reading results from Python: {why}"));
    }
    let reader = python::for_the_reader();
    if let Err(why) = &reader {
        report.skipped.push(format!("reading .nik files from Python: {why}"));
    }
    let packages = python::client_packages();
    if let Err(why) = &packages {
        report.skipped.push(format!("a Python client of the spine: {why}"));
    }
    if let Err(why) = graphics::with_an_adapter() {
        report.skipped.push(format!("the tick on a GPU: {why}"));
    }
    report.step("format", &["fmt", "--all", "--check"], &[]);
    report.step(
        "lints",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            FEATURES[0],
            FEATURES[1],
            "--keep-going",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    );
    // The pure simulator: no warnings, no commands of a control plane that it does not have, and a scene runs.
    let bare =
        ["clippy", "-p", "nikola-engine", "--no-default-features", "--all-targets", "--", "-D", "warnings"];
    report.step("without the spine", &bare, &[]);
    let bare = ["test", "-p", "nikola-engine", "--no-default-features", "--lib", "--", "app::tests"];
    report.step("a scene without the spine", &bare, &[]);
    let documentation = [
        "doc",
        "--workspace",
        FEATURES[0],
        FEATURES[1],
        "--no-deps",
        "--document-private-items",
        "--keep-going",
    ];
    report.step("documentation", &documentation, &[("RUSTDOCFLAGS", "-D warnings")]);
    // The command-line tests drive the real binary.
    report.step("binary", &["build", "--workspace", "--bin", "nikola", FEATURES[0], FEATURES[1]], &[]);
    let found = [(PYTHON_VARIABLE, python), (READER_VARIABLE, reader), (PACKAGES_VARIABLE, packages)];
    report.tests(found.into_iter().filter_map(|(name, path)| Some((name, path.ok()?))).collect())?;
    report.print(began);
    if !report.failed_steps.is_empty() {
        std::process::exit(1);
    }
    Ok(())
}

impl Report {
    /// A step that is good when cargo says so.
    fn step(&mut self, name: &'static str, arguments: &[&str], environment: &[(&str, &str)]) {
        let began = begin(name);
        let mut process = command("cargo", arguments);
        let status = process.envs(environment.iter().copied()).status();
        self.end(name, began, status.is_ok_and(|status| status.success()));
    }

    fn end(&mut self, name: &'static str, began: Instant, is_good: bool) {
        let verdict = if is_good { "good" } else { "FAILED" };
        println!("── {name}: {verdict} in {:.0} s", began.elapsed().as_secs_f64());
        if !is_good {
            self.failed_steps.push(name);
        }
    }

    /// Every test of the workspace, documentation examples included.
    fn tests(&mut self, environment: Vec<(&str, String)>) -> anyhow::Result<()> {
        let began = begin("tests");
        let mut process = command(
            "cargo",
            &["test", "--workspace", FEATURES[0], FEATURES[1], "--no-fail-fast", "--", "--show-output"],
        );
        process.envs(environment);
        let mut child = process.stdout(Stdio::piped()).spawn().context("starting cargo test")?;
        let mut reader = Reader::default();
        for line in BufReader::new(child.stdout.take().context("cargo test has no output")?).lines() {
            let line = line.context("reading the output of cargo test")?;
            if reader.take(&line, self) {
                println!("{line}");
            }
        }
        let is_good = child.wait()?.success() && self.failed == 0 && self.passed > 0;
        self.end("tests", began, is_good);
        Ok(())
    }

    fn print(&self, began: Instant) {
        for skipped in &self.skipped {
            println!("{SKIPPED}{skipped}");
        }
        if !self.failed_steps.is_empty() {
            println!("failed: {}", self.failed_steps.join(", "));
        }
        println!("── everything: {:.0} s", began.elapsed().as_secs_f64());
        println!("{}", self.summary());
    }

    /// The last line. A failed step without failed tests (format, a compile error) counts as one failure.
    fn summary(&self) -> String {
        let n_other = self.failed_steps.iter().filter(|step| **step != "tests" || self.failed == 0).count();
        let mut line = format!("{} passed, {} failed", self.passed, self.failed + n_other as u64);
        let n_skipped = self.ignored + self.skipped.len() as u64;
        if n_skipped > 0 {
            line.push_str(&format!(", {n_skipped} skipped"));
        }
        line
    }
}

fn begin(name: &str) -> Instant {
    println!("── {name}");
    Instant::now()
}

/// Reads the output of test binaries line by line.
#[derive(Debug, Default)]
struct Reader {
    /// Inside the section that repeats the output of tests that passed.
    is_in_successes: bool,
    /// The test whose output is being repeated.
    test: String,
    /// Skips of the present binary; they count as passed until its result line.
    n_skipped: u64,
}

impl Reader {
    /// Adds a line to the report; says whether it is worth showing.
    fn take(&mut self, line: &str, report: &mut Report) -> bool {
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.is_in_successes = false;
            add(rest, report);
            report.passed = report.passed.saturating_sub(std::mem::take(&mut self.n_skipped));
            return true;
        }
        match line {
            "successes:" => self.is_in_successes = true,
            "failures:" => self.is_in_successes = false,
            _ => {}
        }
        if !self.is_in_successes {
            return true;
        }
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.test = name.to_string();
        } else if let Some(why) = line.strip_prefix(SKIPPED) {
            report.skipped.push(format!("{}: {why}", self.test));
            self.n_skipped += 1;
            return true;
        }
        false
    }
}

/// Adds what follows `test result: `, such as `ok. 12 passed; 0 failed; 0 ignored; …`.
fn add(rest: &str, report: &mut Report) {
    for part in rest.split(['.', ';']) {
        let mut words = part.split_whitespace();
        let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
            continue;
        };
        match what {
            "passed" => report.passed += count,
            "failed" => report.failed += count,
            "ignored" => report.ignored += count,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Report, Vec<&str>) {
        let mut report = Report::default();
        let mut reader = Reader::default();
        let shown = text.lines().filter(|line| reader.take(line, &mut report)).collect();
        (report, shown)
    }

    #[test]
    fn result_lines_add_up() {
        let (report, shown) = read(
            "running 13 tests\n\
             test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
             test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        );
        assert_eq!((report.passed, report.failed), (15, 2));
        assert_eq!(report.summary(), "15 passed, 2 failed, 1 skipped");
        assert_eq!(shown.len(), 3);
    }

    #[test]
    fn skips_are_named_and_do_not_count_as_passed() {
        let (report, shown) = read(
            "test a ... ok\n\nsuccesses:\n\n---- a stdout ----\nnoise\nskipped: no GPU here\n\nsuccesses:\n    a\n\n\
             test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
             test b ... ok\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        );
        assert_eq!(report.skipped, ["a: no GPU here"]);
        assert_eq!(report.summary(), "4 passed, 0 failed, 1 skipped");
        assert!(!shown.contains(&"noise") && shown.contains(&"test b ... ok"));
    }

    #[test]
    fn failures_after_successes_are_shown() {
        let (report, shown) = read(
            "successes:\n\n---- a stdout ----\nnoise\n\nfailures:\n\n---- b stdout ----\npanicked\n\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored",
        );
        assert_eq!(report.failed, 1);
        assert!(shown.contains(&"panicked") && !shown.contains(&"noise"));
    }

    #[test]
    fn a_failed_step_is_a_failure_in_the_last_line() {
        let steps = |failed_steps, failed| Report { passed: 5, failed, failed_steps, ..Report::default() };
        assert_eq!(steps(vec![], 0).summary(), "5 passed, 0 failed");
        assert_eq!(steps(vec!["format"], 0).summary(), "5 passed, 1 failed");
        assert_eq!(steps(vec!["tests"], 0).summary(), "5 passed, 1 failed");
        assert_eq!(steps(vec!["lints", "tests"], 2).summary(), "5 passed, 3 failed");
    }
}
