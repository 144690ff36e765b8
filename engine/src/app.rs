//! The command line.
//! Invariant: parses, calls one function of the library, prints its result or its error, and returns an exit code.

use crate::bench::{BenchRequest, parse_shape};
use crate::run::{RunRequest, run};
use crate::runner::{Pace, now_nanos};
use crate::scene::{self, Scene, SceneError};
use crate::{bench, exit, memory, plots};
use clap::{Args, Parser, Subcommand, ValueEnum};
use nikola_systems::components::setup::Precision;
use nikola_systems::kernels::simd::Level;
use nikola_systems::world::BuildOptions;
use std::path::{Path, PathBuf};

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
                  nikola plot runs/bright_soliton-1          draw its pictures again\n\n\
                  Exit codes: 0 done, 1 defect of the program, 2 command line, 3 scene or override, 4 unreadable \
                  input file,\n            5 result cannot be written, 6 the state left the finite numbers."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Subcommand, Debug)]
enum Task {
    /// Run a scene: progress while it runs, a summary and a run folder at the end.
    Run(RunArguments),
    /// Explain what a scene is and costs (nodes, memory, stability margins, floors) without running it.
    Check(CheckArguments),
    /// Draw pictures of a run folder or of a .npy file.
    Plot(PlotArguments),
    /// Measure a tick on this machine, stage by stage, beside the memory floor.
    Bench(BenchArguments),
}

#[derive(Args, Debug)]
struct SceneArguments {
    /// Scene file; the built-in nine-dimensional scene when absent.
    scene: Option<PathBuf>,
    /// Change a field of the scene, e.g. --set torus.extents.z=256 (may be repeated).
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
}

#[derive(Args, Debug)]
struct RunArguments {
    #[command(flatten)]
    scene: SceneArguments,
    /// Run this many ticks instead of the scene's.
    #[arg(long, value_name = "N")]
    ticks: Option<u64>,
    /// Run folder, new or empty; runs/<scene>-<n> when absent.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write no files.
    #[arg(long, conflicts_with = "out")]
    no_files: bool,
    /// Worker threads; all cores when absent. Never changes a result.
    #[arg(long, value_name = "T")]
    threads: Option<usize>,
    /// Scalar type of the state, instead of the scene's.
    #[arg(long, value_enum)]
    precision: Option<PrecisionName>,
    /// Highest SIMD level to use; the best available when absent. Never changes a result.
    #[arg(long, value_enum)]
    simd: Option<LevelName>,
    /// As fast as possible, or one thousand ticks per second. Never changes a result.
    #[arg(long, value_enum, default_value = "free")]
    pace: Pace,
    /// Print one JSON object instead of the table, and no progress.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct CheckArguments {
    #[command(flatten)]
    scene: SceneArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct PlotArguments {
    /// A run folder, or a .npy file of one or two dimensions.
    path: PathBuf,
    /// Where to write the pictures; beside the input when absent.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct BenchArguments {
    /// Extents, slowest axis first.
    #[arg(long, default_value = "3x3x3x3x3x3x3x3x3")]
    shape: String,
    /// Worker threads.
    #[arg(long, default_value_t = 1, value_name = "T")]
    threads: usize,
    /// Scalar type.
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionName,
    /// Highest SIMD level to use.
    #[arg(long, value_enum)]
    simd: Option<LevelName>,
    /// Seconds to measure for.
    #[arg(long, default_value_t = 2.0)]
    secs: f64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { exit::USAGE } else { exit::OK };
            let _ = error.print();
            return code;
        }
    };
    let nothing = RunArguments {
        scene: SceneArguments { scene: None, sets: Vec::new() },
        ticks: None,
        out: None,
        no_files: false,
        threads: None,
        precision: None,
        simd: None,
        pace: Pace::Free,
        json: false,
    };
    let outcome = match cli.command.unwrap_or(Task::Run(nothing)) {
        Task::Run(arguments) => run_scene(&arguments),
        Task::Check(arguments) => check_scene(&arguments),
        Task::Plot(arguments) => plot(&arguments),
        Task::Bench(arguments) => bench_tick(&arguments),
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

fn run_scene(arguments: &RunArguments) -> Result<(), Failure> {
    let mut sets = Vec::new();
    sets.extend(arguments.ticks.map(|ticks| format!("ticks={ticks}")));
    sets.extend(arguments.precision.map(|precision| match precision {
        PrecisionName::F32 => "precision=F32".to_string(),
        PrecisionName::F64 => "precision=F64".to_string(),
    }));
    let request = RunRequest {
        scene: load(&arguments.scene, &sets)?,
        out: arguments.out.clone(),
        no_files: arguments.no_files,
        threads: threads(arguments.threads)?,
        level: level(arguments.simd)?,
        pace: arguments.pace,
        quiet: arguments.json,
    };
    let summary = run(&request).map_err(|error| Failure::new(&error, error.exit_code()))?;
    if arguments.json {
        print_line(&summary.to_json().to_string())
    } else {
        print_line(summary.to_text().trim_end())
    }
}

fn check_scene(arguments: &CheckArguments) -> Result<(), Failure> {
    let scene = load(&arguments.scene, &[])?;
    let resolved = scene::resolve(&scene, &scene.base_dir)?;
    let bytes = resolved.setup.torus.n_nodes() * 2 * resolved.setup.precision.bytes();
    let bandwidth = bench::copy_bandwidth(bytes.min(256 << 20), 1);
    let report = scene::check(&resolved, Some(bandwidth));
    if arguments.json { print_line(&report.to_json().to_string()) } else { print_line(report.to_string().trim_end()) }
}

fn plot(arguments: &PlotArguments) -> Result<(), Failure> {
    let written = plots::plot(&arguments.path, arguments.out.as_deref())
        .map_err(|error| Failure::new(&error, error.exit_code()))?;
    written.iter().try_for_each(|path: &PathBuf| print_line(&Path::display(path).to_string()))
}

fn bench_tick(arguments: &BenchArguments) -> Result<(), Failure> {
    let usage = |error: bench::BenchError| Failure::new(&error, exit::USAGE);
    if !(arguments.secs > 0.0 && arguments.secs <= 3600.0) {
        let message = format!("--secs {}: expected a number of seconds above 0 and at most 3600", arguments.secs);
        return Err(Failure::new(message, exit::USAGE));
    }
    let request = BenchRequest {
        shape: parse_shape(&arguments.shape).map_err(usage)?,
        precision: match arguments.precision {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::F64 => Precision::F64,
        },
        options: BuildOptions {
            threads: threads(Some(arguments.threads))?,
            level: level(arguments.simd)?,
            now_nanos: Some(now_nanos),
            memory_advice: Some(memory::advise_huge_pages),
        },
        secs: arguments.secs,
    };
    let report = bench::run(&request).map_err(usage)?;
    if arguments.json {
        let text = serde_json::to_string(&report).map_err(|error| Failure::new(error, exit::INTERNAL))?;
        print_line(&text)
    } else {
        print_line(bench::render(&report).trim_end())
    }
}

fn threads(asked: Option<usize>) -> Result<usize, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    match asked {
        None => Ok(cores),
        Some(threads) if (1..=THREADS_MAX).contains(&threads) => Ok(threads),
        Some(threads) => {
            let message = format!("--threads {threads}: expected 1 to {THREADS_MAX}; leave it out to use all {cores} cores");
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
    let message = format!("--simd {level}: this processor has {}; leave it out to use the best", names.join(", "));
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
