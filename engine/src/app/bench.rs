//! `nikola bench`: one tick, stage by stage, beside the memory floor.
//! Invariant: measures and prints; never judges.

use super::{Failure, LevelName, PrecisionName, level, print_line, threads};
use crate::bench::{self, BenchRequest, parse_shape};
use crate::runner::now_nanos;
use crate::{exit, memory};
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
}

pub(super) fn execute(arguments: &BenchArguments) -> Result<(), Failure> {
    let usage = |error: bench::BenchError| Failure::new(&error, exit::USAGE);
    if !(arguments.secs > 0.0 && arguments.secs <= 3600.0) {
        let message =
            format!("--secs {}: expected a number of seconds above 0 and at most 3600", arguments.secs);
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
