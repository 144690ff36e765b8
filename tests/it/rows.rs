//! The rows of a run folder after SIGKILL: none is lost, whichever file it belongs to, and a continued run has the rest.
//! Invariant: drives the real binary; every row is compared with that of a run that nobody killed.

use super::command_line::{Scratch, binary};
use nikola_engine::exit;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A soliton that goes round and round: pages are born before it and pruned behind it, all the time.
const SCENE: &str = "// What one should see: the same rows, however often the run is killed.
(version: 1, torus: (extents: {z: 81, x: 3}, lengths: {z: 32.4, x: 1.2}, page: Shape({z: 3, x: 3})), ticks: 12000,
 precision: F32, equation: Schrodinger(beta: -1), dt: 1e-2, growth: (threshold: 1e-3, vacuum: 2e-3, quiet_ticks: 16),
 initial: BrightSoliton(axis: z, amplitude: 1, velocity: 1), oracle: (checkpoint_every: 50),
 naps: (every_ticks: 700, digest_every: 90, group_commit_millis: 2), outputs: (series_every: 10, snapshots: Every(200)),
 schedule: [(tick: 5003, order: SetBeta(-1.01)), (tick: 8001, order: SetBeta(-0.99))])";

fn command(binary: &Path, folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(folder).env("NIKOLA_SHM", folder).stdin(Stdio::null());
    command.args(["run", "scene.ron", "--json", "--no-spine", "--frames", "0"]).args(more);
    command
}

fn finished(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// Waits until `path` has so many lines, then ends the process as the system does when it must.
fn kill_after_lines(mut child: Child, path: &Path, n: usize) {
    let lines = || std::fs::read(path).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
    while lines() < n {
        assert!(child.try_wait().expect("a child").is_none(), "the run ended before it was killed");
        std::thread::yield_now();
    }
    child.kill().expect("a child");
    child.wait().expect("a child");
}

/// Header and rows; what no line end closes is no row.
fn rows(folder: &Path, name: &str) -> (String, Vec<String>) {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut lines = whole.lines().map(String::from);
    let header = lines.next().unwrap_or_else(|| panic!("{name} in {} has no header", folder.display()));
    (header, lines.collect())
}

/// The rows of a series without the times that no two runs share.
fn series(folder: &Path) -> (String, Vec<String>) {
    let (header, lines) = rows(folder, "series.csv");
    let is_kept: Vec<bool> =
        header.split(',').map(|name| !name.ends_with("_micros") && name != "lock_contention_count").collect();
    let keep = |line: &String| -> String {
        let fields = line.split(',').zip(&is_kept).filter(|(_, is_kept)| **is_kept);
        fields.map(|(field, _)| field).collect::<Vec<_>>().join(",")
    };
    (keep(&header), lines.iter().map(keep).collect())
}

fn read(folder: &Path, name: &str) -> (String, Vec<String>) {
    if name == "series.csv" { series(folder) } else { rows(folder, name) }
}

fn tick(row: &str) -> u64 {
    row.split(',').next().and_then(|tick| tick.parse::<f64>().ok()).expect("a row begins with its tick")
        as u64
}

/// Rows of both: of the older folder up to the tick at which the newer goes on, then the newer's; each once.
fn joined(older: Vec<String>, newer: Vec<String>, continued: u64) -> Vec<String> {
    let mut all: Vec<String> = older.into_iter().filter(|row| tick(row) <= continued).collect();
    let known: std::collections::HashSet<String> =
        all.iter().filter(|row| tick(row) == continued).cloned().collect();
    assert!(newer.iter().all(|row| tick(row) >= continued), "rows of ticks before {continued}");
    all.extend(newer.into_iter().filter(|row| !known.contains(row)));
    all
}

#[test]
fn a_killed_run_leaves_its_rows_and_a_continued_one_the_rest() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("rows");
    let at = |name: &str| scratch.path().join(name);
    std::fs::write(at("scene.ron"), SCENE).expect("writable");
    let run = |more: &[&str]| command(&binary, scratch.path(), more);
    let whole = finished(&run(&["--out", "whole"]).output().expect("the binary starts"));
    let parts = ["a", "b", "c"];
    let mut last = Value::Null;
    for (part, n_lines) in parts.into_iter().zip([Some(330), Some(650), None]) {
        let mut run = run(&["--state", "state", "--out", part]);
        match n_lines {
            Some(n) => {
                let child = run.stdout(Stdio::null()).spawn().expect("the binary starts");
                kill_after_lines(child, &at(part).join("series.csv"), n);
            }
            None => last = finished(&run.output().expect("the binary starts")),
        }
    }
    let files = ["growth.csv", "digests.csv", "series.csv"];
    for name in files {
        let (header, expected) = read(&at("whole"), name);
        let (_, sampled) = read(&at("a"), "series.csv");
        let reached = tick(sampled.last().expect("rows"));
        let mut found = Vec::new();
        for part in parts {
            let (own, rows) = read(&at(part), name);
            assert_eq!(own, header, "{name} of {part}");
            let lacking: Vec<_> =
                expected.iter().filter(|row| tick(row) <= reached && !rows.contains(row)).collect();
            assert!(part != "a" || lacking.is_empty(), "{name}: a kill lost {lacking:?}");
            let continued = std::fs::read_to_string(at(part).join("continued.json")).ok();
            let continued = continued.map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
            assert_eq!(continued.is_some(), part != "a");
            let from = continued.map_or(0, |value| value["tick"].as_u64().expect("a tick"));
            found = joined(found, rows, from);
        }
        assert!(expected.len() > 50, "{name}: {} rows", expected.len());
        let differing = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        assert_eq!(differing, None, "{name}");
        assert_eq!(found.len(), expected.len(), "{name}");
    }
    assert_eq!(last["state_digest"], whole["state_digest"]);
    assert!(whole["oracle"]["energy_drift_worst"].as_f64() > Some(0.0), "{}", whole["oracle"]);
    assert_eq!(last["oracle"], whole["oracle"]);
}

#[test]
fn decisions_of_real_time_are_there_after_a_kill() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("rows-timing");
    let scene = SCENE.replace(
        "schedule",
        "realtime: (warning_micros: 1e-3, critical_micros: 2e-3, n_of: (1, 10), watchdog_micros: 600000000), schedule",
    );
    std::fs::write(scratch.path().join("scene.ron"), scene).expect("writable");
    let mut run = command(&binary, scratch.path(), &["--pace", "realtime", "--out", "run"]);
    let child = run.stdout(Stdio::null()).spawn().expect("the binary starts");
    kill_after_lines(child, &scratch.path().join("run/series.csv"), 12);
    let (header, rows) = rows(&scratch.path().join("run"), "timing.csv");
    assert_eq!(header, "tick,decision");
    assert!(rows.contains(&"1,Throttle(true)".to_string()), "{rows:?}");
    assert!(rows.contains(&"1,SoftScram".to_string()), "{rows:?}");
    assert!(rows.is_sorted_by_key(|row| tick(row)), "{rows:?}");
}

#[test]
fn a_run_without_such_rows_has_no_such_files() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("rows-none");
    let dense = SCENE.replace("growth: (threshold: 1e-3, vacuum: 2e-3, quiet_ticks: 16),", "");
    std::fs::write(scratch.path().join("scene.ron"), dense).expect("writable");
    let mut run = command(&binary, scratch.path(), &["--out", "run", "--ticks", "100000"]);
    let child = run.stdout(Stdio::null()).spawn().expect("the binary starts");
    kill_after_lines(child, &scratch.path().join("run/digests.csv"), 3);
    for name in ["growth.csv", "timing.csv", "continued.json", "summary.json"] {
        assert!(!scratch.path().join("run").join(name).exists(), "{name}");
    }
}

#[test]
fn a_halted_state_that_is_continued_ends_as_it_did() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("rows-halted");
    // Two bombs, and a return for the first alone.
    let bomb = |amplitude: u32| {
        format!("Inject(\"(amplitude: {amplitude}, phase: 1, profile: Gaussian(width: {{x: 2}}))\")")
    };
    let scene = "(version: 1, torus: (extents: {x: 12, z: 3}), ticks: 200, precision: F64,
        equation: Schrodinger(beta: 0.7), initial: Gaussian(width: {x: 2}, momentum: {x: 0.5}),
        oracle: (freeze_damping: 0.1, freeze_ticks: 6, checkpoint_every: 5, resets_max: 1), naps: (NAPS),
        schedule: [(tick: 31, order: FIRST), (tick: 42, order: SECOND)])";
    for (name, naps) in [("journal", "every_ticks: 0"), ("checkpoint", "every_ticks: 50")] {
        let scene = scene.replace("NAPS", naps).replace("FIRST", &bomb(40)).replace("SECOND", &bomb(41));
        std::fs::write(scratch.path().join("scene.ron"), scene).expect("writable");
        let run = |more: &[&str]| {
            let mut run =
                command(&binary, scratch.path(), &[&["--no-files", "--state", name], more].concat());
            let output = run.output().expect("the binary starts");
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let halted = |(code, message): (Option<i32>, String)| {
            assert_eq!(code, Some(i32::from(exit::DIVERGED)), "{name}: {message}");
            for word in ["the oracle halted the world", "found", "expected", "remedy"] {
                assert!(message.contains(word), "{name}: {word} in {message}");
            }
        };
        halted(run(&[]));
        let info =
            Command::new(&binary).current_dir(scratch.path()).args(["replay", name, "--json"]).output();
        let info = finished(&info.expect("the binary starts"));
        let end = info["tick"].as_u64().expect("a tick");
        // The halted state is what the journal leads to, or it is the checkpoint itself.
        assert_eq!((end, info["checkpoint_tick"].as_u64() == Some(end)), (50, name == "checkpoint"));
        // To go on is refused however long the run was to be.
        halted(run(&["--ticks", &end.to_string()]));
        halted(run(&[]));
        halted(run(&["--ticks", "100000"]));
    }
}
