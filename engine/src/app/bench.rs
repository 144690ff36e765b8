//! `nikola bench`: one tick, stage by stage, beside the memory floor.
//! Invariant: measures and prints; never judges.

use super::{
    Failure, LevelName, PrecisionName, RealtimeArguments, SceneArguments, level, load, print_line, threads,
};
use crate::bench::{self, BenchRequest, parse_shape};
use crate::runner::{counter, now_nanos, privileges};
use crate::scene::{self, Scene};
use crate::{exit, memory};
use clap::Args;
use nikola_systems::components::setup::Precision;
use nikola_systems::world::BuildOptions;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct BenchArguments {
    /// Measure the ticks of this scene, instead of a rough field on a shape.
    pub(super) scene: Option<PathBuf>,
    /// Change a field of the scene, e.g. --set torus.extents.z=9 (may be repeated).
    #[arg(long = "set", value_name = "PATH=VALUE", conflicts_with = "shape")]
    pub(super) sets: Vec<String>,
    /// Extents, slowest axis first.
    #[arg(long, default_value = "3x3x3x3x3x3x3x3x3", conflicts_with = "scene")]
    pub(super) shape: String,
    /// Worker threads.
    #[arg(long, default_value_t = 1, value_name = "T", allow_negative_numbers = true)]
    pub(super) threads: usize,
    /// Scalar type; f32 or the scene's when absent.
    #[arg(long, value_enum)]
    pub(super) precision: Option<PrecisionName>,
    /// Highest SIMD level to use.
    #[arg(long, value_enum)]
    pub(super) simd: Option<LevelName>,
    /// Seconds to measure for.
    #[arg(long, default_value_t = 2.0, allow_negative_numbers = true)]
    pub(super) secs: f64,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    /// Write every measured tick, stage by stage, to this file as CSV: what is rare and slow shows there.
    #[arg(long, value_name = "FILE")]
    pub(super) ticks: Option<PathBuf>,
    /// Run the scene, or the built-in one, at one thousand ticks per second, beside a loop that only sleeps.
    #[arg(long, conflicts_with = "shape")]
    pub(super) realtime: bool,
    #[command(flatten)]
    pub(super) granted: RealtimeArguments,
}

pub(super) fn execute(arguments: &BenchArguments) -> Result<(), Failure> {
    let usage = |error: bench::BenchError| Failure::new(&error, exit::USAGE);
    if !(arguments.secs > 0.0 && arguments.secs <= 3600.0) {
        let message =
            format!("--secs {}: expected a number of seconds above 0 and at most 3600", arguments.secs);
        return Err(Failure::new(message, exit::USAGE));
    }
    let options = BuildOptions {
        threads: threads(Some(arguments.threads))?,
        level: level(arguments.simd)?,
        now_nanos: Some(now_nanos),
        counter: Some(counter),
        memory_advice: Some(memory::advise_huge_pages),
    };
    if arguments.realtime {
        return realtime(arguments, &options);
    }
    let report = if arguments.scene.is_some() || !arguments.sets.is_empty() {
        let scene = scene_of(arguments)?;
        let resolved = scene::resolve(&scene, &scene.base_dir)?;
        bench::run_scene(scene.stem(), &resolved.setup, &options, arguments.secs)
    } else {
        bench::run(&BenchRequest {
            shape: parse_shape(&arguments.shape).map_err(usage)?,
            precision: match arguments.precision {
                None | Some(PrecisionName::F32) => Precision::F32,
                Some(PrecisionName::F64) => Precision::F64,
            },
            options,
            secs: arguments.secs,
        })
    };
    let report = report.map_err(usage)?;
    write_ticks(arguments, &report.ticks)?;
    if arguments.json {
        let text = serde_json::to_string(&report).map_err(|error| Failure::new(error, exit::INTERNAL))?;
        print_line(&text)
    } else {
        print_line(bench::render(&report).trim_end())
    }
}

/// The file of `--ticks`, where it is asked for.
fn write_ticks(arguments: &BenchArguments, rows: &[bench::TickRow]) -> Result<(), Failure> {
    let Some(path) = &arguments.ticks else { return Ok(()) };
    std::fs::write(path, bench::ticks_csv(rows)).map_err(|error| {
        let message = format!(
            "--ticks {}\n  found:    {error}\n  expected: a file in a folder that can be written to\n  remedy:   give \
             another path",
            path.display()
        );
        Failure::new(message, exit::OUTPUT)
    })
}

/// The scene to measure.
fn scene_of(arguments: &BenchArguments) -> Result<Scene, Failure> {
    let precision = arguments.precision.map(|precision| match precision {
        PrecisionName::F32 => "precision=F32".to_string(),
        PrecisionName::F64 => "precision=F64".to_string(),
    });
    let of_scene = SceneArguments { scene: arguments.scene.clone(), sets: arguments.sets.clone() };
    load(&of_scene, precision.as_slice())
}

fn realtime(arguments: &BenchArguments, options: &BuildOptions) -> Result<(), Failure> {
    for warning in privileges::request(arguments.granted.privileges()).warnings {
        eprintln!("{warning}");
    }
    let scene = scene_of(arguments)?;
    let report = bench::realtime::run(&scene, arguments.secs, options)
        .map_err(|error| Failure::new(&error, error.exit_code()))?;
    write_ticks(arguments, &report.ticks)?;
    if arguments.json {
        let text = serde_json::to_string(&report).map_err(|error| Failure::new(error, exit::INTERNAL))?;
        print_line(&text)
    } else {
        print_line(bench::realtime::render(&report).trim_end())
    }
}
