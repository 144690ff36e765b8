//! The command line.
//! Invariant: parses, calls one function of the library, prints its result or its error, and returns an exit code.
//! One file per command in `app/`.

mod bench;
mod check;
mod compact;
mod export;
mod gpu;
mod info;
mod plot;
mod replay;
mod run;
#[cfg(feature = "spine")]
mod spine;
mod task;
mod verify;
mod watch;

use crate::backend::BackendChoice;
use crate::runner::Pace;
use crate::runner::privileges::Privileges;
use crate::scene::{self, Scene, SceneError};
use crate::{exit, memory};
use clap::{Args, Parser, Subcommand, ValueEnum};
use nikola_systems::kernels::simd::Level;
use std::path::PathBuf;

/// The scene that runs when none is named.
const DEFAULT_SCENE: &str = include_str!("../../scenes/default.ron");

/// Most worker threads.
const THREADS_MAX: usize = 1024;

#[derive(Parser, Debug)]
#[command(
    name = "nikola",
    version,
    about = "Nonlinear waves on a nine-dimensional torus",
    long_about = "Nonlinear waves on a nine-dimensional torus.\n\nA scene (a RON file) describes a torus of one to nine \
                  axes, a Schrödinger equation with potential, damping, nonlinearity and sources, and what to record. \
                  `nikola run` advances it by an exact-per-axis split-step scheme and writes figures, arrays and \
                  pictures into a run folder. Without a command the default nine-dimensional scene runs.",
    after_help = "Start here:\n  nikola run                                 the default scene\n  \
                  nikola check scenes/bright_soliton.ron     what a scene costs, without running it\n  \
                  nikola run scenes/bright_soliton.ron       run it\n  \
                  nikola run SCENE --set equation.beta=-2    change a field\n  \
                  nikola plot runs/bright_soliton-1          draw its pictures again\n  \
                  nikola run SCENE --state DIR               keep the state; the same command continues it\n  \
                  nikola watch                               look at what runs, from another terminal\n\n\
                  Exit codes: 0 done, 1 defect of the program, 2 command line, 3 scene or override, 4 unreadable \
                  input file,\n            5 result cannot be written, 6 the state left the finite numbers, 7 damaged \
                  state file,\n            8 state directory in use, 9 key missing or wrong, 10 replay differs from its \
                  digests,\n            11 no GPU backend, or it failed, 12 no control plane, or no answer from it, 13 it \
                  said no,\n            14 watchdog (real time)."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a scene: progress while it runs, a summary and a run folder at the end.
    Run(run::RunArguments),
    /// Explain what a scene is and costs (nodes, memory, stability margins, floors) without running it.
    Check(check::CheckArguments),
    /// Draw pictures of a run folder or of a .npy file.
    Plot(plot::PlotArguments),
    /// Describe a .nik file or a state directory.
    Info(info::StoredArguments),
    /// Check a .nik file or a state directory: checksums, encryption, Merkle root, journal.
    Verify(info::StoredArguments),
    /// Merge the snapshots of a .nik file or a state directory into one.
    Compact(info::StoredArguments),
    /// Run a state directory's journal again and compare every digest; changes nothing.
    Replay(replay::ReplayArguments),
    /// Write the last snapshot in another format.
    Export(export::ExportArguments),
    /// Show live figures and a small picture of a running torus, from shared memory.
    Watch(watch::WatchArguments),
    /// Measure a tick on this machine, stage by stage, beside the memory floor.
    Bench(bench::BenchArguments),
    /// Use the torus as a reservoir: NARMA-10, Mackey-Glass, Lorenz-63, memory, beside an echo-state network.
    Task(task::TaskArguments),
    /// List the GPUs and test them; with --bench, measure a tick on one.
    Gpu(gpu::GpuArguments),
    #[cfg(feature = "spine")]
    #[command(flatten)]
    Spine(spine::SpineTask),
}

#[derive(Args, Debug)]
struct SceneArguments {
    /// Scene file; the built-in nine-dimensional scene when absent.
    scene: Option<PathBuf>,
    /// Change a field of the scene, e.g. --set torus.extents.z=256 (may be repeated).
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
}

/// What the system is asked for in real time. Each refusal is one warning; none ends a run or changes a result.
#[derive(Args, Debug, Clone, Default)]
struct RealtimeArguments {
    /// SCHED_FIFO priority of the tick thread, 1 to 99; arms the watchdog.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=99))]
    realtime_priority: Option<i32>,
    /// Run the tick thread on this processor only.
    #[arg(long, value_name = "CPU")]
    pin: Option<usize>,
    /// Keep the whole process in memory (mlockall).
    #[arg(long)]
    lock_memory: bool,
}

impl RealtimeArguments {
    fn privileges(&self) -> Privileges {
        Privileges { priority: self.realtime_priority, cpu: self.pin, lock_memory: self.lock_memory }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionName {
    F32,
    F64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LevelName {
    Scalar,
    Avx2,
    Avx512,
}

/// A failure: what to print and what to exit with.
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn new(message: impl ToString, code: u8) -> Self {
        Self { message: message.to_string(), code }
    }
}

impl From<SceneError> for Failure {
    fn from(error: SceneError) -> Self {
        Self::new(&error, error.exit_code())
    }
}

/// Runs the command line of this process and returns its exit code.
pub fn main() -> u8 {
    memory::report_file_size_limits_as_errors();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { exit::USAGE } else { exit::OK };
            let _ = error.print();
            return code;
        }
    };
    let nothing = run::RunArguments {
        scene: SceneArguments { scene: None, sets: Vec::new() },
        ticks: None,
        out: None,
        no_files: false,
        threads: None,
        precision: None,
        simd: None,
        pace: Pace::Free,
        state: None,
        key_file: None,
        #[cfg(feature = "spine")]
        spine: run::SpineArguments::default(),
        realtime: RealtimeArguments::default(),
        json: false,
        backend: BackendChoice::Cpu,
        adapter: None,
        frames: None,
        end_secs: crate::runner::END_LIMIT_SECS,
    };
    let outcome = match cli.command.unwrap_or(Command::Run(nothing)) {
        Command::Run(arguments) => run::execute(&arguments),
        Command::Check(arguments) => check::execute(&arguments),
        Command::Plot(arguments) => plot::execute(&arguments),
        Command::Watch(arguments) => watch::execute(&arguments),
        Command::Bench(arguments) => bench::execute(&arguments),
        Command::Task(arguments) => task::execute(&arguments),
        Command::Gpu(arguments) => gpu::execute(&arguments),
        Command::Info(arguments) => info::execute(&arguments),
        Command::Verify(arguments) => verify::execute(&arguments),
        Command::Compact(arguments) => compact::execute(&arguments),
        Command::Replay(arguments) => replay::execute(&arguments),
        Command::Export(arguments) => export::execute(&arguments),
        #[cfg(feature = "spine")]
        Command::Spine(task) => spine::execute(&task),
    };
    match outcome {
        Ok(()) => exit::OK,
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            failure.code
        }
    }
}

fn load(arguments: &SceneArguments, more: &[String]) -> Result<Scene, Failure> {
    let mut sets = arguments.sets.clone();
    sets.extend_from_slice(more);
    Ok(match &arguments.scene {
        Some(path) => scene::load(path, &sets)?,
        None => scene::load_str("default.ron", DEFAULT_SCENE, &sets)?,
    })
}

fn threads(asked: Option<usize>) -> Result<usize, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    match asked {
        None => Ok(cores),
        Some(threads) if (1..=THREADS_MAX).contains(&threads) => Ok(threads),
        Some(threads) => {
            let message = format!(
                "--threads {threads}: expected 1 to {THREADS_MAX}; leave it out to use all {cores} cores"
            );
            Err(Failure::new(message, exit::USAGE))
        }
    }
}

fn level(asked: Option<LevelName>) -> Result<Option<Level>, Failure> {
    let Some(name) = asked else { return Ok(None) };
    let level = match name {
        LevelName::Scalar => Level::Scalar,
        LevelName::Avx2 => Level::Avx2,
        LevelName::Avx512 => Level::Avx512,
    };
    if Level::available().contains(&level) {
        return Ok(Some(level));
    }
    let names: Vec<String> = Level::available().iter().map(ToString::to_string).collect();
    let message =
        format!("--simd {level}: this processor has {}; leave it out to use the best", names.join(", "));
    Err(Failure::new(message, exit::USAGE))
}

/// Prints to standard output; a reader that went away is no failure.
fn print_line(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {error}"), exit::OUTPUT))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::Bells;
    use crate::run::{RunRequest, run};
    use crate::shm::publish::FrameRequest;
    use clap::CommandFactory as _;

    /// Every word of the help that belongs to the control plane.
    const SPINE: [&str; 4] = ["ctl", "pair", "keys", "spine"];

    #[test]
    fn the_spines_commands_are_there_with_the_spine_alone() {
        let command = Cli::command();
        let has = |name: &str| command.get_subcommands().any(|command| command.get_name() == name);
        for name in SPINE {
            assert_eq!(has(name), cfg!(feature = "spine"), "{name}");
        }
        let run = command.find_subcommand("run").expect("there in any build").clone();
        let help = run.clone().render_long_help().to_string();
        for flag in ["--listen", "--child", "--no-spine"] {
            assert_eq!(help.contains(flag), cfg!(feature = "spine"), "{flag}: {help}");
        }
    }

    #[test]
    fn a_scene_runs_with_and_without_the_spine() {
        let text =
            "(version: 1, torus: (extents: {x: 9, y: 9}), ticks: 7, initial: Gaussian(width: {x: 2, y: 2}))";
        let request = RunRequest {
            scene: scene::load_str("small.ron", text, &[]).expect("a scene"),
            out: None,
            no_files: true,
            threads: 1,
            level: None,
            pace: Pace::Free,
            privileges: Privileges::default(),
            quiet: true,
            backend: BackendChoice::Cpu,
            adapter: None,
            state: None,
            bells: Bells::default(),
            end_limit: std::time::Duration::from_secs(60),
            frames: FrameRequest { per_second: 0.0, is_asked: false },
            spine: None,
        };
        let summary = run(&request).expect("it runs");
        assert!(summary.ticks == 7 && summary.norm_drift.abs() < 1e-6, "{summary:?}");
    }
}
