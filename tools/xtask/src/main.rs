//! Development automation: `cargo xtask <command>`.
//! Invariant: depends on nothing of ours, so it builds in a second and works while everything else is broken.

mod bench;
mod kills;
mod test;
mod validate;

mod graphics;
mod install;
mod python;

use install::install;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// A command of the table: name, arguments it takes, what it does, how to run it.
struct Task {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[String]) -> anyhow::Result<()>,
}

const TASKS: [Task; 5] = [
    Task {
        name: "test",
        arguments: "",
        about: "format, lints, documentation and every test; installs numpy and pandas where it may",
        run: test::run,
    },
    Task {
        name: "bench",
        arguments: "[--peers | --gpu]",
        about: "tick times against the memory floor; --peers: beside C + FFTW, writes docs/BENCHMARKS.md; --gpu: device time, beside torch.fft",
        run: bench::run,
    },
    Task {
        name: "validate",
        arguments: "",
        about: "runs every validation case and writes docs/VALIDATION.md",
        run: validate::run,
    },
    Task {
        name: "kills",
        arguments: "[--kills N] [--seed S] [--threads T] [--world plain|watched|living|wave]",
        about: "kills a real run at random instants, a thousand times unless told otherwise, and compares what it recovers",
        run: kills::run,
    },
    Task {
        name: "endurance",
        arguments: "[--large | --gpu [--ticks N]]",
        about: "a million ticks of drift, ten thousand of equal digests for 1, 2 and 4 threads; writes docs/ENDURANCE.md; --gpu: the drift on a GPU",
        run: validate::endure,
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
    if rest.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("cargo xtask {} {}\n\n{}", task.name, task.arguments, task.about);
        return ExitCode::SUCCESS;
    }
    match (task.run)(&rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() {
    println!("Development automation of Nikola.\n\nUsage: cargo xtask <command>\n");
    for task in &TASKS {
        println!("  {:<18} {}", format!("{} {}", task.name, task.arguments), task.about);
    }
    println!(
        "\nBefore a change is good, `cargo xtask test` must end in `N passed, 0 failed`; continuous integration runs\n\
         the same. One crate alone: `cargo test -p nikola-kernels`; one test: `cargo test -p nikola-tests NAME`.\n\
         System packages (numpy and pandas for Python, FFTW for the peer) are installed when this user may."
    );
}

/// The workspace's top folder. Asked at run time: a target folder shared by two checkouts holds one binary.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(here).join("../..")
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
