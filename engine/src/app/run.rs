//! `nikola run`: advances a scene and writes its run folder.
//! Invariant: flags choose what runs and where results go; none but --precision, --ticks and --set changes a result.

use super::{
    Failure, LevelName, PrecisionName, RealtimeArguments, SceneArguments, level, load, print_line, threads,
};
use crate::backend::BackendChoice;
use crate::persist::open::StateRequest;
use crate::run::{RunRequest, run};
use crate::runner::{END_LIMIT_SECS, Pace};
use crate::shm::publish::FrameRequest;
use crate::{exit, signals};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Frames per second unless somebody says otherwise: what eyes can follow.
const FRAMES_PER_SECOND: f64 = 30.0;

#[derive(Args, Debug)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) scene: SceneArguments,
    /// Run this many ticks instead of the scene's.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) ticks: Option<u64>,
    /// Run folder, new or empty; runs/SCENE-N when absent.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Write no files.
    #[arg(long, conflicts_with = "out")]
    pub(super) no_files: bool,
    /// Worker threads; all cores when absent. Never changes a result.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(super) threads: Option<usize>,
    /// Scalar type of the state, instead of the scene's.
    #[arg(long, value_enum)]
    pub(super) precision: Option<PrecisionName>,
    /// Highest SIMD level to use; the best available when absent. Never changes a result.
    #[arg(long, value_enum)]
    pub(super) simd: Option<LevelName>,
    /// As fast as possible, or one thousand ticks per second. Never changes a result.
    #[arg(long, value_enum, default_value = "free")]
    pub(super) pace: Pace,
    #[command(flatten)]
    pub(super) realtime: RealtimeArguments,
    /// Keep the state in this directory, and continue what it holds.
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// Encrypt the kept state with the key in this file (32 bytes, mode 0600).
    #[arg(long, value_name = "FILE", requires = "state")]
    pub(super) key_file: Option<PathBuf>,
    #[cfg(feature = "spine")]
    #[command(flatten)]
    pub(super) spine: SpineArguments,
    /// Publish this many frames per second in shared memory, for `nikola watch`; 0 for none. Without this option 30, if
    /// they take less than 64 MiB.
    #[arg(long, value_name = "N")]
    pub(super) frames: Option<f64>,
    /// Longest orderly end after SIGTERM, SIGINT or a halt; after it the program leaves at once (a kept state continues
    /// from its journal).
    #[arg(long, value_name = "SECS", default_value_t = END_LIMIT_SECS)]
    pub(super) end_secs: f64,
    /// Print one JSON object instead of the table, and no progress.
    #[arg(long)]
    pub(super) json: bool,
    /// Where ticks are computed: the processor, a GPU, or a GPU while one can.
    #[arg(long, value_enum, default_value = "cpu")]
    pub(super) backend: BackendChoice,
    /// Use the GPU whose name contains this; the best one when absent.
    #[arg(long, value_name = "NAME")]
    pub(super) adapter: Option<String>,
}

/// How the run can be reached.
#[cfg(feature = "spine")]
#[derive(Args, Debug, Default)]
pub(super) struct SpineArguments {
    /// Run without a control plane: `nikola ctl` cannot reach it.
    #[arg(long, conflicts_with_all = ["listen", "keys", "children"])]
    no_spine: bool,
    /// Let known keys in over the network too: tcp://ADDRESS:PORT, and the three ports after it.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Key store; NIKOLA_KEYS, /etc/nikola/keys or the user's state folder when absent.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Start and supervise a component (may be repeated).
    #[arg(long = "child", value_name = "NAME=COMMAND")]
    children: Vec<String>,
}

#[cfg(feature = "spine")]
impl SpineArguments {
    fn request(&self) -> Option<crate::run::SpineRequest> {
        (!self.no_spine).then(|| crate::run::SpineRequest {
            listen: self.listen.clone(),
            keys: self.keys.clone(),
            children: self.children.clone(),
        })
    }
}

pub(super) fn execute(arguments: &RunArguments) -> Result<(), Failure> {
    if arguments.state.is_some() && arguments.backend == BackendChoice::Auto {
        let message = "--state with --backend auto: a kept state goes on where it was computed, bit for bit; \
                       choose --backend cpu or gpu";
        return Err(Failure::new(message, exit::USAGE));
    }
    let frames = arguments.frames.unwrap_or(FRAMES_PER_SECOND);
    if !(0.0..=1000.0).contains(&frames) {
        return Err(Failure::new(format!("--frames: found {frames}, expected 0 to 1000"), exit::USAGE));
    }
    if !(0.1..=END_LIMIT_SECS).contains(&arguments.end_secs) {
        let message = format!("--end-secs: found {}, expected 0.1 to {END_LIMIT_SECS}", arguments.end_secs);
        return Err(Failure::new(message, exit::USAGE));
    }
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
        privileges: arguments.realtime.privileges(),
        quiet: arguments.json,
        backend: arguments.backend,
        adapter: arguments.adapter.clone(),
        state: arguments
            .state
            .clone()
            .map(|folder| StateRequest { folder, key_file: arguments.key_file.clone() }),
        bells: signals::listen()
            .map_err(|error| Failure::new(format!("cannot listen to signals: {error}"), exit::INTERNAL))?,
        end_limit: Duration::from_secs_f64(arguments.end_secs),
        frames: FrameRequest { per_second: frames, is_asked: arguments.frames.is_some() },
        #[cfg(feature = "spine")]
        spine: arguments.spine.request(),
        #[cfg(not(feature = "spine"))]
        spine: None,
    };
    let summary = run(&request).map_err(|error| Failure::new(&error, error.exit_code()))?;
    if arguments.json {
        print_line(&summary.to_json().to_string())
    } else {
        print_line(summary.to_text().trim_end())
    }
}
