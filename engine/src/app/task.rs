//! `nikola task`: reservoir-computing benchmarks of the torus.
//! Invariant: measures and prints; the scenes of the house unless another is named.

use super::{Failure, print_line, threads};
use crate::observe::series::write_whole;
use crate::scene;
use crate::task::benchmark::{Benchmark, Lengths};
use crate::task::{self, TaskRequest, report};
use clap::{Args, ValueEnum};
use std::io::Write as _;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TaskName {
    Narma10,
    MackeyGlass,
    Lorenz63,
    MemoryCapacity,
    All,
}

#[derive(Args, Debug)]
pub(super) struct TaskArguments {
    /// Which benchmark.
    #[arg(value_enum)]
    pub(super) task: TaskName,
    /// Scene to use as reservoir instead of the built-in one of the task.
    #[arg(long, value_name = "SCENE")]
    pub(super) scene: Option<PathBuf>,
    /// Change a field of the scene (may be repeated).
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub(super) sets: Vec<String>,
    /// Seed of the samples and of the network.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    pub(super) seed: u64,
    /// Fewer samples and networks: seconds instead of minutes, and rougher figures.
    #[arg(long)]
    pub(super) quick: bool,
    /// Worker threads. Never changes a result.
    #[arg(long, default_value_t = 1, value_name = "T")]
    pub(super) threads: usize,
    /// Write the page of figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(super) write: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// The scene of a benchmark: name and text.
fn scene_of(benchmark: Benchmark) -> (&'static str, &'static str) {
    match benchmark {
        Benchmark::Narma10 => {
            ("reservoir_narma10.ron", include_str!("../../../scenes/reservoir_narma10.ron"))
        }
        Benchmark::MackeyGlass => {
            ("reservoir_mackey_glass.ron", include_str!("../../../scenes/reservoir_mackey_glass.ron"))
        }
        Benchmark::Lorenz63 => {
            ("reservoir_lorenz63.ron", include_str!("../../../scenes/reservoir_lorenz63.ron"))
        }
        Benchmark::MemoryCapacity => {
            ("reservoir_memory.ron", include_str!("../../../scenes/reservoir_memory.ron"))
        }
    }
}

pub(super) fn execute(arguments: &TaskArguments) -> Result<(), Failure> {
    let benchmarks: &[Benchmark] = match arguments.task {
        TaskName::Narma10 => &[Benchmark::Narma10],
        TaskName::MackeyGlass => &[Benchmark::MackeyGlass],
        TaskName::Lorenz63 => &[Benchmark::Lorenz63],
        TaskName::MemoryCapacity => &[Benchmark::MemoryCapacity],
        TaskName::All => &Benchmark::ALL,
    };
    let mut rows = Vec::new();
    for &benchmark in benchmarks {
        let (name, text) = scene_of(benchmark);
        let request = TaskRequest {
            benchmark,
            scene: match &arguments.scene {
                Some(path) => scene::load(path, &arguments.sets)?,
                None => scene::load_str(name, text, &arguments.sets)?,
            },
            seed: arguments.seed,
            lengths: if arguments.quick { Lengths::QUICK } else { Lengths::FULL },
            threads: threads(Some(arguments.threads))?,
        };
        rows.push(task::run(&request).map_err(|error| Failure::new(&error, error.exit_code()))?);
    }
    if let Some(path) = &arguments.write {
        let page = report::to_page(&rows, arguments.seed);
        write_whole(path, |sink| sink.write_all(page.as_bytes()))
            .map_err(|error| Failure::new(&error, error.exit_code()))?;
    }
    if arguments.json {
        print_line(&report::to_json(&rows, arguments.seed).to_string())
    } else {
        print_line(report::to_text(&rows).trim_end())
    }
}
