//! Development automation: `cargo xtask <command>`.
//! Invariant: depends on nothing of ours, so it builds in a second and works while everything else is broken.

mod bench;
mod test;
mod validate;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// A command of the table: name, what it does, how to run it.
struct Task {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> anyhow::Result<()>,
}

const TASKS: [Task; 3] = [
    Task {
        name: "test",
        about: "format, lints, documentation and every test; installs what the real-part tests need",
        run: test::run,
    },
    Task {
        name: "bench",
        about: "tick times against the memory floor; with --peers also against C + FFTW, and docs/BENCHMARKS.md is written",
        run: bench::run,
    },
    Task {
        name: "validate",
        about: "runs every validation case and writes docs/VALIDATION.md",
        run: validate::run,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "--help".into());
    let rest: Vec<String> = arguments.collect();
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        help();
        return ExitCode::SUCCESS;
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("xtask: {name:?} is not a command\n");
        help();
        return ExitCode::from(2);
    };
    match (task.run)(&rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() {
    println!("cargo xtask <command>\n");
    for task in &TASKS {
        println!("  {:<10} {}", task.name, task.about);
    }
}

/// The workspace's top folder.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or(here.clone(), PathBuf::from)
}

/// A command that runs in the workspace's top folder.
fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// The folder cargo builds into.
fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Whether a program answers.
fn answers(program: &str, arguments: &[&str]) -> bool {
    let mut probe = command(program, arguments);
    probe.stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// Installs system packages where this user may; says what it does, and what is missing where it may not.
fn install(packages: &[&str], wanted_for: &str) -> bool {
    let list = packages.join(" ");
    if !answers("apt-get", &["--version"]) {
        println!("not installed: {list} (no apt-get here); {wanted_for} will be skipped");
        return false;
    }
    let is_root = command("id", &["-u"]).output().is_ok_and(|out| out.stdout.starts_with(b"0\n"));
    let prefix: &[&str] = if is_root {
        &[]
    } else if answers("sudo", &["-n", "true"]) {
        &["sudo", "-n"]
    } else {
        println!(
            "not installed: {list} (no permission); run `sudo apt-get install {list}`, or {wanted_for} is skipped"
        );
        return false;
    };
    println!("installing {list} for {wanted_for}");
    let apt = |arguments: &[&str]| {
        let words: Vec<&str> = prefix.iter().chain(&["apt-get"]).chain(arguments).copied().collect();
        let mut apt = command(words[0], &words[1..]);
        apt.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        apt.status().is_ok_and(|status| status.success())
    };
    let mut wanted = vec!["install", "-y", "--no-install-recommends"];
    wanted.extend(packages);
    let is_done = apt(&wanted) || (apt(&["update"]) && apt(&wanted));
    if !is_done {
        println!("installing {list} failed; {wanted_for} will be skipped");
    }
    is_done
}
