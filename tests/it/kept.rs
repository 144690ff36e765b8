//! A kept run as its user meets it: continued, read from Python, refused where it must be, ended by signals.
//! Invariant: drives the real binary; the independent reader shares no code with it.

use super::command_line::{Scratch, binary};
use super::tidy::root;
use nikola_engine::exit;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Unequal extents, several pages, several snapshots.
const SCENE: &str = "// What one should see: a packet that moves along z.
(version: 1, torus: (extents: {x: 4, y: 6, z: 27}, page: Shape({x: 4, y: 6, z: 9})), ticks: 60, precision: F32,
 equation: Schrodinger(beta: 0.3), initial: Gaussian(width: {x: 1, y: 2, z: 3}, momentum: {z: 0.5}),
 naps: (every_ticks: 20, digest_every: 10), schedule: [(tick: 33, order: SetBeta(0.9))])";

/// The same with a metric that learns, whose columns have other lengths than those of the wave.
fn learning() -> String {
    let odd = SCENE.replace("x: 4, y: 6", "x: 3, y: 9");
    odd.replace("equation:", "plasticity: (eta: 0.2, lambda: 0.02, gradient_floor: 1e-4), equation:")
}

fn start(binary: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn nikola(binary: &Path, folder: &Path, arguments: &[&str]) -> Output {
    start(binary, folder, arguments).output().expect("the binary starts")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn setting(name: &str) -> Option<(PathBuf, Scratch)> {
    let binary = binary()?;
    let scratch = Scratch::new(name);
    std::fs::write(scratch.path().join("scene.ron"), SCENE).expect("writable");
    std::fs::write(scratch.path().join("key"), [7; 32]).expect("writable");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(scratch.path().join("key"), mode).expect("own file");
    }
    Some((binary, scratch))
}

const RUN: [&str; 4] = ["run", "scene.ron", "--no-files", "--json"];

#[test]
fn a_run_in_parts_is_the_run_in_one() {
    for scene in [SCENE.into(), learning()] {
        let Some((binary, scratch)) = setting("parts") else { return };
        std::fs::write(scratch.path().join("scene.ron"), scene).expect("writable");
        run_in_parts(&binary, &scratch);
    }
}

fn run_in_parts(binary: &Path, scratch: &Scratch) {
    let run = |more: &[&str]| json(&nikola(binary, scratch.path(), &[&RUN[..], more].concat()));
    let whole = run(&[]);
    for ticks in ["17", "34", "60"] {
        let part = run(&["--state", "state", "--ticks", ticks]);
        assert_eq!(part["ticks"].to_string(), ticks);
        if ticks == "60" {
            assert_eq!(part["state_digest"], whole["state_digest"]);
            assert_eq!(part["state"]["continued_from_tick"], 34);
        }
    }
    let replay = json(&nikola(binary, scratch.path(), &["replay", "state", "--json"]));
    assert_eq!(replay["state_digest"], whole["state_digest"]);
    json(&nikola(binary, scratch.path(), &["verify", "state", "--json"]));
    let compact = json(&nikola(binary, scratch.path(), &["compact", "state", "--json"]));
    assert!(compact["bytes_after"].as_u64() < compact["bytes_before"].as_u64(), "{compact}");
    let info = json(&nikola(binary, scratch.path(), &["info", "state", "--json"]));
    assert_eq!(
        (info["snapshots"].as_array().map(Vec::len), &info["snapshots"][0]["tick"]),
        (Some(1), &60.into())
    );
    assert_eq!(run(&["--state", "state", "--ticks", "60"])["state_digest"], whole["state_digest"]);
}

#[test]
fn an_independent_reader_loads_the_same_field() {
    let Some(python) = std::env::var_os("NIKOLA_READER_PYTHON") else {
        println!("skipped: NIKOLA_READER_PYTHON names no interpreter (`cargo xtask test` makes one)");
        return;
    };
    let Some((binary, scratch)) = setting("reader") else { return };
    for (state, key) in [("plain", false), ("sealed", true), ("learning", false)] {
        let scene = if state == "learning" { learning() } else { SCENE.into() };
        std::fs::write(scratch.path().join("scene.ron"), scene).expect("writable");
        let with_key: &[&str] = if key { &["--key-file", "key"] } else { &[] };
        json(&nikola(&binary, scratch.path(), &[&RUN[..], &["--state", state], with_key].concat()));
        for (format, out) in [("npy", "ours.npy"), ("nonary", "nonary.nik")] {
            let export = ["export", state, "--format", format, "--out", out, "--json"];
            json(&nikola(&binary, scratch.path(), &[&export[..], with_key].concat()));
        }
        let log = std::fs::read_dir(scratch.path().join(state)).expect("a state").flatten();
        let log = log.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "nik"));
        let log = log.expect("a log");
        let read = |file: &Path, more: &[&str]| {
            let mut script = Command::new(&python);
            script.arg(root().join("tools/clients/nik_reader.py")).arg(file).args(more).args(with_key);
            script.current_dir(scratch.path()).stdin(Stdio::null()).output().expect("Python starts")
        };
        let found = json(&read(&log, &["--npy", "theirs.npy"]));
        assert_eq!(found["tick"], 60);
        let field =
            |name: &str| nikola_engine::observe::npy::read(&scratch.path().join(name)).expect("an array");
        let (ours, theirs) = (field("ours.npy"), field("theirs.npy"));
        assert_eq!(ours.shape(), if state == "learning" { [3, 9, 27] } else { [4, 6, 27] });
        assert!(ours == theirs, "{state}: the fields differ");
        json(&read(&scratch.path().join("nonary.nik"), &[]));
        // It notices damage too.
        let mut bytes = std::fs::read(&log).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(scratch.path().join("broken.nik"), bytes).expect("writable");
        let refused = read(&scratch.path().join("broken.nik"), &[]);
        assert!(!refused.status.success());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("not as the format says"));
    }
}

#[test]
fn what_must_be_refused_is_refused_with_its_code() {
    let Some((binary, scratch)) = setting("refused") else { return };
    let run = |arguments: &[&str]| nikola(&binary, scratch.path(), arguments);
    let refused = |arguments: &[&str], code: u8, words: &[&str]| {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(i32::from(code)), "{arguments:?}: {text}");
        for word in words.iter().chain(&["found", "expected", "remedy"]) {
            assert!(text.contains(word), "{arguments:?}: {word} in {text}");
        }
    };
    json(&run(&[&RUN[..], &["--state", "state", "--key-file", "key"]].concat()));
    let files = std::fs::read_dir(scratch.path().join("state")).expect("a state").flatten();
    let journals: Vec<Vec<u8>> = files
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".nkj"))
        .map(|entry| std::fs::read(entry.path()).expect("readable"))
        .collect();
    assert!(!journals.is_empty() && journals.iter().all(|bytes| bytes[10] == 1), "encrypted like the log");
    json(&run(&["verify", "state", "--key-file", "key", "--json"]));
    refused(&[&RUN[..], &["--state", "state"]].concat(), exit::KEY, &["--key-file"]);
    refused(&["verify", "state"], exit::KEY, &["encrypted"]);
    let other = [&RUN[..], &["--state", "state", "--key-file", "key", "--set", "equation.beta=2"]].concat();
    refused(&other, exit::SCENE, &["`equation` differs"]);
    refused(&["info", "scene.ron"], exit::DAMAGED, &["magic"]);
    refused(&["info", "nothing.nik"], exit::INPUT, &["nothing.nik"]);
    refused(&["replay", "nothing"], exit::INPUT, &["nothing"]);
    std::fs::create_dir(scratch.path().join("full")).expect("writable");
    std::fs::write(scratch.path().join("full/letter.txt"), "dear").expect("writable");
    refused(&[&RUN[..], &["--state", "full"]].concat(), exit::INPUT, &["letter.txt"]);
}

#[cfg(unix)]
#[test]
fn a_second_writer_is_refused_and_sigterm_ends_in_order() {
    let Some((binary, scratch)) = setting("signals") else { return };
    let long = [&RUN[..], &["--state", "state", "--ticks", "100000000"]].concat();
    let child = start(&binary, scratch.path(), &long).spawn().expect("the binary starts");
    let manifest = scratch.path().join("state/manifest.ron");
    // The first process has the lock before it writes the manifest.
    while !manifest.is_file() {
        std::thread::yield_now();
    }
    let second = nikola(&binary, scratch.path(), &long);
    assert_eq!(second.status.code(), Some(i32::from(exit::BUSY)));
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(message.contains(&child.id().to_string()), "{message}");
    signal("-TERM", child.id());
    let ended = json(&child.wait_with_output().expect("it ends"));
    assert!(ended["ticks"].as_u64() < Some(100_000_000));
    assert_eq!(ended["state"]["naps"]["end"], 1);
    let replay = json(&nikola(&binary, scratch.path(), &["replay", "state", "--json"]));
    assert_eq!((&replay["tick"], &replay["state_digest"]), (&ended["ticks"], &ended["state_digest"]));
    assert_eq!(replay["checkpoint_tick"], ended["ticks"], "the end was napped");
}

/// A kept run whose end never comes: the next segment of its journal is a pipe that nobody reads.
#[cfg(unix)]
fn without_end(binary: &Path, scratch: &Scratch, more: &[&str]) -> std::process::Child {
    let naps = ["--set", "naps.every_ticks=0", "--no-spine", "--ticks", "100000000", "--state", "state"];
    let arguments = [&RUN[..], &naps, more].concat();
    let mut child = start(binary, scratch.path(), &arguments).spawn().expect("the binary starts");
    let segment = |n: u32| scratch.path().join(format!("state/journal-{n:06}.nkj"));
    while !segment(1).is_file() {
        assert!(child.try_wait().expect("a child").is_none(), "the run ended early");
        std::thread::yield_now();
    }
    assert!(Command::new("mkfifo").arg(segment(2)).status().expect("mkfifo").success());
    child
}

#[cfg(unix)]
fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().expect("kill").success());
}

#[cfg(unix)]
#[test]
fn an_end_that_hangs_is_bounded_and_what_ran_is_kept() {
    let Some((binary, scratch)) = setting("end-bound") else { return };
    let child = without_end(&binary, &scratch, &["--end-secs", "0.5"]);
    signal("-TERM", child.id());
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(i32::from(exit::OUTPUT)), "{said}");
    assert!(said.contains("took longer than 0.5 s"), "{said}");
    json(&nikola(&binary, scratch.path(), &["verify", "state", "--json"]));
    let refused = nikola(&binary, scratch.path(), &[&RUN[..], &["--end-secs", "61"]].concat());
    assert_eq!(refused.status.code(), Some(i32::from(exit::USAGE)));
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_leaves_at_once() {
    let Some((binary, scratch)) = setting("interrupts") else { return };
    let mut child = without_end(&binary, &scratch, &[]);
    // Pending signals of one kind are one signal: more may be needed before two have arrived.
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        signal("-INT", child.id());
    };
    assert_eq!(status.code(), Some(130));
    json(&nikola(&binary, scratch.path(), &["verify", "state", "--json"]));
}

/// Ticks of the run that blinks; it does not end by itself before.
#[cfg(unix)]
fn blink(scratch: &Scratch, binary: &Path, name: &str, spoil: impl Fn(&Path)) -> (Value, String) {
    let folder = scratch.path();
    let shm = folder.join(format!("shm-{name}"));
    std::fs::create_dir_all(&shm).expect("writable");
    let state = format!("state-{name}");
    let mut command =
        start(binary, folder, &[&RUN[..], &["--no-spine", "--state", &state, "--ticks", "20000"]].concat());
    command.env("NIKOLA_SHM", &shm);
    let mut child = command.spawn().expect("the binary starts");
    // A frame in shared memory says that ticks are running and signals are heard.
    let published = || {
        std::fs::read_dir(&shm).expect("there").flatten().any(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("nikola.") && !name.to_string_lossy().ends_with(".draft")
        })
    };
    while !published() {
        assert!(child.try_wait().expect("a child").is_none(), "the run ended early");
    }
    spoil(&shm);
    signal("-USR2", child.id());
    let output = child.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let left: Vec<_> = std::fs::read_dir(&shm).expect("there").flatten().map(|entry| entry.path()).collect();
    assert!(left.iter().all(|path| path.is_dir()), "left behind: {left:?}");
    (serde_json::from_slice(&output.stdout).expect("one JSON object, of the new program"), said)
}

#[cfg(unix)]
#[test]
fn a_new_program_takes_the_place_of_a_running_one_and_no_bit_changes() {
    let Some((binary, scratch)) = setting("blink") else { return };
    let whole = json(&nikola(&binary, scratch.path(), &[&RUN[..], &["--ticks", "20000"]].concat()));
    let (taken, said) = blink(&scratch, &binary, "whole", |_| {});
    assert_eq!(taken["state_digest"], whole["state_digest"], "{said}");
    let kept = &taken["state"];
    assert!(kept["blink_millis"].as_f64().is_some_and(|millis| millis > 0.0), "{kept}");
    assert_eq!(kept["replayed_orders"], 0, "the state came from shared memory: {kept}");
    // A folder in the handover's place: it cannot be written, and the new program falls back to the journal.
    let (taken, said) = blink(&scratch, &binary, "spoiled", |shm| {
        for pid in std::fs::read_dir(shm).expect("there").flatten() {
            if let Some(pid) = pid.file_name().to_string_lossy().rsplit('.').next().map(String::from) {
                std::fs::create_dir_all(shm.join(format!("nikola-blink.{pid}.nik"))).expect("writable");
            }
        }
    });
    assert!(said.contains("warning: blink"), "{said}");
    assert!(said.contains("recovered from the disk instead"), "{said}");
    assert_eq!(taken["state_digest"], whole["state_digest"], "{said}");
}
