//! `nikola bench`: one tick, stage by stage, beside the memory floor.
//! Invariant: measures and prints; never judges.

use super::{
    DEFAULT_SCENE, Failure, LevelName, PrecisionName, RealtimeArguments, level, print_line, threads,
};
use crate::bench::{self, BenchRequest, parse_shape};
use crate::runner::{now_nanos, privileges};
use crate::{exit, memory, scene};
use clap::Args;
use nikola_systems::components::setup::Precision;
use nikola_systems::world::BuildOptions;

#[derive(Args, Debug)]
pub(super) struct BenchArguments {
    /// Extents, slowest axis first.
    #[arg(long, default_value = "3x3x3x3x3x3x3x3x3")]
    pub(super) shape: String,
    /// Worker threads.
    #[arg(long, default_value_t = 1, value_name = "T", allow_negative_numbers = true)]
    pub(super) threads: usize,
    /// Scalar type.
    #[arg(long, value_enum, default_value = "f32")]
    pub(super) precision: PrecisionName,
    /// Highest SIMD level to use.
    #[arg(long, value_enum)]
    pub(super) simd: Option<LevelName>,
    /// Seconds to measure for.
    #[arg(long, default_value_t = 2.0, allow_negative_numbers = true)]
    pub(super) secs: f64,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    /// Run the built-in scene at one thousand ticks per second instead, beside a loop that only sleeps.
    #[arg(long, conflicts_with_all = ["shape", "precision"])]
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
        memory_advice: Some(memory::advise_huge_pages),
    };
    if arguments.realtime {
        return realtime(arguments, &options);
    }
    let request = BenchRequest {
        shape: parse_shape(&arguments.shape).map_err(usage)?,
        precision: match arguments.precision {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::F64 => Precision::F64,
        },
        options,
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

fn realtime(arguments: &BenchArguments, options: &BuildOptions) -> Result<(), Failure> {
    for warning in privileges::request(arguments.granted.privileges()).warnings {
        eprintln!("{warning}");
    }
    let scene = scene::load_str("default.ron", DEFAULT_SCENE, &[])?;
    let report = bench::realtime::run(&scene, arguments.secs, options)
        .map_err(|error| Failure::new(&error, error.exit_code()))?;
    if arguments.json {
        let text = serde_json::to_string(&report).map_err(|error| Failure::new(error, exit::INTERNAL))?;
        print_line(&text)
    } else {
        print_line(bench::realtime::render(&report).trim_end())
    }
}
