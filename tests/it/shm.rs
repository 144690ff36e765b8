//! Frames in shared memory, between processes.
//! Invariant: what a reader accepts is one frame as it was published; an ended or killed writer is told from a slow one.

use super::command_line::{Scratch, binary};
use nikola_engine::shm::layout::ShmError;
use nikola_engine::shm::reader::{Frame, Reader, WriterState};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Reads beside a writer that never stops.
const READS: u64 = 1_000_000;

fn writer(folder: &Path) -> (Child, Reader) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shm_writer"));
    let mut child = command.arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    let mut path = String::new();
    let stdout = child.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut path).expect("a path");
    let reader = Reader::attach(Path::new(path.trim())).expect("a segment");
    (child, reader)
}

#[test]
fn a_million_reads_beside_a_writing_process_are_whole() {
    let scratch = Scratch::new("shm-reads");
    let (mut child, mut reader) = writer(scratch.path());
    let mut frame = Frame::default();
    let (mut n_whole, mut n_frames, mut last) = (0u64, 0u64, 0);
    for i in 0..READS {
        // The slot that is written next, in one of four reads: there most writes are met.
        let next = (reader.published() % reader.header().slots as u64) as usize;
        let is_read = match i % 4 {
            0 => reader.read_slot(next, &mut frame).is_some(),
            _ => reader.latest(&mut frame),
        };
        if !is_read {
            continue;
        }
        n_whole += 1;
        n_frames += u64::from(frame.number != last);
        last = frame.number;
        let first = (frame.re[0], frame.im[0]);
        let is_uniform = frame.re.iter().zip(&frame.im).all(|(re, im)| (*re, *im) == first);
        assert!(is_uniform && frame.re.len() == 243, "frame {} at read {i} is torn", frame.number);
        let at = f64::atan2(first.1, first.0);
        let expected = -frame.time;
        let apart = (at - expected).rem_euclid(std::f64::consts::TAU);
        let apart = apart.min(std::f64::consts::TAU - apart);
        assert!(apart < 1e-6 * (1.0 + frame.tick as f64 * 1e-3), "tick {} with the phase {at}", frame.tick);
    }
    assert!(n_frames > 1_000, "the writer stood still: {n_frames} frames in {READS} reads");
    assert!(n_whole < READS, "no read met a write: the campaign proves nothing");
    assert_eq!(reader.state(), WriterState::Alive);
    drop(child.stdin.take());
    assert!(child.wait().expect("ends").success());
    assert_eq!(reader.state(), WriterState::Ended);
    assert!(!reader.path().exists(), "an orderly end removes the segment");
    assert!(reader.latest(&mut frame), "the last frame stays readable for who is attached");
}

#[test]
fn a_killed_writer_is_noticed_and_its_segment_is_not_used_again() {
    let scratch = Scratch::new("shm-kill");
    let (mut child, reader) = writer(scratch.path());
    let old = reader.header().clone();
    assert_eq!(reader.state(), WriterState::Alive);
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert_eq!(reader.state(), WriterState::Crashed);
    assert!(matches!(Reader::newest(scratch.path()), Err(ShmError::Nobody { .. })), "nobody is alive");
    let (mut child, new) = writer(scratch.path());
    assert_ne!(new.header().epoch, old.epoch);
    assert!(!reader.path().exists(), "a new writer removes what a killed one left");
    assert_eq!(Reader::newest(scratch.path()).expect("alive").path(), new.path());
    drop(child.stdin.take());
    child.wait().expect("ends");
}

#[test]
fn watch_shows_what_runs() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("shm-watch");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command.current_dir(scratch.path()).env("NIKOLA_SHM", scratch.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    };
    let nobody = run(&["watch", "--once"]).wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert_eq!(nobody.status.code(), Some(4), "{said}");
    assert!(said.contains("no running simulation publishes frames") && said.contains("remedy"), "{said}");
    let running = ["run", "--no-files", "--no-spine", "--json", "--ticks", "1000000000", "--frames", "200"];
    let mut child = run(&running);
    // Its first frame is there when the segment is listed and read; until then the command says "nobody".
    let watched = loop {
        let output = run(&["watch", "--json", "--secs", "0.5"]).wait_with_output().expect("ends");
        if output.status.success() && !output.stdout.is_empty() {
            break output;
        }
        assert!(child.try_wait().expect("a child").is_none(), "the run ended early");
    };
    let lines = String::from_utf8(watched.stdout).expect("text");
    let frames: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("one object per line")).collect();
    assert!(frames.iter().all(|frame| frame["norm"].as_f64().is_some_and(|norm| norm > 100.0)), "{lines}");
    let ticks: Vec<_> = frames.iter().filter_map(|frame| frame["tick"].as_u64()).collect();
    assert!(ticks.len() == frames.len() && ticks.is_sorted(), "{lines}");
    let picture = run(&["watch", "--once", "--rows", "uvw", "--columns", "xyz"]);
    let picture = String::from_utf8(picture.wait_with_output().expect("ends").stdout).expect("text");
    assert!(picture.contains("|Ψ|² down uvw across xyz, summed over the other 3"), "{picture}");
    let rows = picture.lines().skip_while(|line| !line.starts_with("|Ψ|²")).skip(1);
    assert!(rows.clone().count() >= 20 && rows.clone().any(|row| row.contains('@')), "{picture}");
    child.kill().expect("killed");
    let mut rest = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut rest).expect("text");
    child.wait().expect("gone");
}
