//! `nikola watch`: live figures and a small picture of a running torus, from shared memory.
//! Invariant: looks only; the run cannot tell whether it is watched.

use super::{Failure, print_line};
use crate::exit;
use crate::shm::layout::ShmError;
use crate::shm::picture::{Sides, caption, draw, norm_and_peak};
use crate::shm::reader::{Frame, Reader, WriterState};
use crate::shm::writer::wall_nanos;
use crate::shm::{self, Header};
use clap::Args;
use nikola_systems::components::geometry::axis::Axis;
use serde_json::json;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A writer that has shown no sign for so long is said to stand still.
const STILL_AFTER: Duration = Duration::from_secs(2);

#[derive(Args, Debug)]
pub(super) struct WatchArguments {
    /// Segment to read; that of the newest run when absent.
    segment: Option<PathBuf>,
    /// Print one frame and end.
    #[arg(long)]
    once: bool,
    /// End after this many seconds; when the run ends, if absent.
    #[arg(long, value_name = "S")]
    secs: Option<f64>,
    /// Looks per second.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    rate: f64,
    /// Axes down the picture, slowest first, e.g. uvw; chosen by their extents when absent.
    #[arg(long, value_name = "AXES", requires = "columns")]
    rows: Option<String>,
    /// Axes across the picture, slowest first, e.g. xyz.
    #[arg(long, value_name = "AXES")]
    columns: Option<String>,
    /// Print one JSON object per frame, without the picture.
    #[arg(long)]
    json: bool,
}

impl From<ShmError> for Failure {
    fn from(error: ShmError) -> Self {
        Self::new(&error, exit::INPUT)
    }
}

pub(super) fn execute(arguments: &WatchArguments) -> Result<(), Failure> {
    let mut reader = match &arguments.segment {
        Some(path) => Reader::attach(path)?,
        None => Reader::newest(&shm::folder())?,
    };
    let usage = |message: String| Failure::new(message, exit::USAGE);
    if !(arguments.rate > 0.0 && arguments.rate <= 1000.0) {
        return Err(usage(format!("--rate: found {}, expected more than 0, at most 1000", arguments.rate)));
    }
    let sides = sides(arguments, reader.header()).map_err(usage)?;
    let is_live = !arguments.json && !arguments.once && stdout().is_terminal();
    let has_colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let began = Instant::now();
    let pause = Duration::from_secs_f64(1.0 / arguments.rate);
    let (mut frame, mut shown) = (Frame::default(), None::<(Instant, u64, u64)>);
    loop {
        // Looked at before the frame: an ended writer's last frame is still shown.
        let state = reader.state();
        let has_frame = reader.latest(&mut frame);
        if has_frame && shown.is_none_or(|(_, number, _)| number != frame.number) {
            let now = Instant::now();
            let rate = shown
                .filter(|(_, _, tick)| *tick <= frame.tick)
                .map(|(at, _, tick)| (frame.tick - tick) as f64 / (now - at).as_secs_f64().max(1e-9));
            shown = Some((now, frame.number, frame.tick));
            let text = if arguments.json {
                line(&reader, &frame).to_string()
            } else {
                let text = page(&reader, &frame, &sides, rate, has_colour);
                if is_live { format!("\x1b[H\x1b[2J{text}") } else { text }
            };
            print_line(text.trim_end())?;
            let _ = stdout().flush();
        }
        let is_over = arguments.secs.is_some_and(|secs| began.elapsed().as_secs_f64() >= secs);
        if is_over || (arguments.once && has_frame) {
            return Ok(());
        }
        match state {
            WriterState::Alive => std::thread::sleep(pause),
            WriterState::Ended => return say(arguments.json, "the run has ended"),
            WriterState::Crashed if reader.is_replaced() => {
                reader = Reader::attach(reader.path())?;
            }
            WriterState::Crashed => {
                let message = format!(
                    "{}: the run ended without a word at tick {}\n  expected: a live writer\n  remedy:   `nikola run SCENE --state DIR` continues a kept state; `nikola watch` attaches again",
                    reader.path().display(),
                    frame.tick
                );
                return Err(Failure::new(message, exit::INPUT));
            }
        }
    }
}

fn say(is_json: bool, message: &str) -> Result<(), Failure> {
    if is_json { Ok(()) } else { print_line(message) }
}

fn sides(arguments: &WatchArguments, header: &Header) -> Result<Sides, String> {
    let Some(columns) = &arguments.columns else { return Ok(Sides::of(header)) };
    let read = |name: &str, text: &str| -> Result<Vec<Axis>, String> {
        let axis = |c: char| Axis::ALL.into_iter().find(|axis| axis.name() == c.to_string());
        let unknown = || format!("--{name}: found {text:?}, expected letters of r s t u v w x y z");
        text.chars().map(axis).collect::<Option<Vec<_>>>().ok_or_else(unknown)
    };
    let rows = arguments.rows.as_ref().map_or(Ok(Vec::new()), |rows| read("rows", rows))?;
    let columns = read("columns", columns)?;
    let mut all: Vec<_> = rows.iter().chain(&columns).collect();
    all.sort();
    if all.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("--rows and --columns: an axis is named twice; expected each at most once".into());
    }
    Ok(Sides { rows, columns })
}

fn line(reader: &Reader, frame: &Frame) -> serde_json::Value {
    let header = reader.header();
    let (norm, peak) = norm_and_peak(header, frame);
    json!({
        "scene": header.title, "segment": reader.path().display().to_string(), "frame": frame.number,
        "tick": frame.tick, "ticks": header.ticks, "time": frame.time, "norm": norm, "max_abs_psi": peak,
        "pages": frame.pages.len(), "active_pages": frame.active_pages,
        "stage_micros": frame.stage_nanos as f64 * 1e-3,
    })
}

fn page(reader: &Reader, frame: &Frame, sides: &Sides, rate: Option<f64>, has_colour: bool) -> String {
    let header = reader.header();
    let (norm, peak) = norm_and_peak(header, frame);
    let mut text = String::new();
    let _ =
        writeln!(text, "{}  tick {} of {}  t = {:.4}", header.title, frame.tick, header.ticks, frame.time);
    let shown =
        if frame.pages.len() as u64 == frame.active_pages { "" } else { " (of the pages in the frame)" };
    let _ = writeln!(text, "  norm {norm:.9}  max |Ψ| {peak:.6}{shown}");
    let rate = rate.map_or(String::new(), |rate| format!("{rate:.0} ticks/s, "));
    let _ =
        writeln!(text, "  {rate}{:.0} µs in the stages of the last tick", frame.stage_nanos as f64 * 1e-3);
    if frame.chemistry[0].is_finite() {
        let [d, s, n, b, a] = frame.chemistry;
        let _ = writeln!(text, "  D {d:.3}  S {s:.3}  N {n:.3}  boredom {b:.3}  ATP {a:.3}");
    }
    let age = wall_nanos().saturating_sub(reader.heartbeat());
    if age > STILL_AFTER.as_nanos() as u64 && reader.state() == WriterState::Alive {
        let _ = writeln!(text, "  no sign of the writer for {:.1} s", age as f64 * 1e-9);
    }
    let _ = writeln!(text, "{}", caption(header, sides));
    text.push_str(&draw(header, frame, sides, has_colour));
    text
}
