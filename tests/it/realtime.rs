//! Real time as a stranger meets it: the watchdog's exit and black box, refusals, decisions on the record.
//!
//! Invariant: drives the real binary; nothing depends on how fast it is. A watchdog limit far below the period of a
//! tick expires in the first wait, however fast the machine.

use super::command_line::{Scratch, binary};
use super::tidy::root;
use nikola_engine::exit;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn realtime(binary: &Path, folder: &Path, more: &[&str]) -> Output {
    let scene = root().join("scenes/bright_soliton.ron").canonicalize().expect("a scene");
    let mut command = Command::new(binary);
    command.current_dir(folder).arg("run").arg(scene).args(["--pace", "realtime", "--out", "run"]).args(more);
    command.stdin(Stdio::null()).output().expect("the binary starts")
}

#[cfg(target_os = "linux")]
#[test]
fn a_tick_thread_that_stands_still_leaves_a_black_box() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("watchdog");
    let output = realtime(&binary, scratch.path(), &["--set", "realtime.watchdog_micros=50"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(exit::WATCHDOG)), "{message}");
    assert!(message.contains("watchdog: the tick thread stood still"), "{message}");
    let text = std::fs::read_to_string(scratch.path().join("run/black-box.txt")).expect("a black box");
    for part in ["black box 1\n", "no tick for (micros) 50\n", "stack of the tick thread", "tick,work_nanos,"]
    {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
    if cfg!(target_env = "gnu") {
        assert!(text.lines().filter(|line| line.contains("[0x")).count() > 3, "no stack in: {text}");
    }
}

#[test]
fn a_fed_watchdog_is_silent_and_decisions_are_on_the_record() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("fed");
    let more = ["--ticks", "30", "--set", "realtime.watchdog_micros=60000000"];
    let output = realtime(&binary, scratch.path(), &more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!scratch.path().join("run/black-box.txt").exists());
    let timing = std::fs::read_to_string(scratch.path().join("run/timing.csv")).expect("the record");
    assert!(timing.starts_with("tick,decision\n"), "{timing}");
}

#[test]
fn a_processor_that_is_not_there_is_one_warning_and_no_failure() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("pin");
    let output = realtime(&binary, scratch.path(), &["--ticks", "5", "--pin", "1000000"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    let warnings: Vec<_> = message.lines().filter(|line| line.contains("warning [real-time]")).collect();
    assert_eq!(warnings.len(), 1, "{message}");
    assert!(warnings[0].contains("pinning to processor 1000000") && warnings[0].contains("taskset"));
}
