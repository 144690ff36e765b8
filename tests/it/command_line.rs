//! The command line as a stranger meets it: wrong arguments, missing files and full disks end in a message with
//! place, found, expected and remedy, and in the documented exit code.
//!
//! Invariant: drives the real binary; every row was seen to fail in the way it says.

use super::tidy::root;
use nikola_engine::exit;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The binary, which cargo builds two folders above the test; a skip is said when it is not there.
pub(super) fn binary() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let path = test.parent()?.parent()?.join(format!("nikola{}", std::env::consts::EXE_SUFFIX));
    if !path.is_file() {
        println!("skipped: the binary is not built (`cargo build --bin nikola`, or `cargo xtask test`)");
        return None;
    }
    Some(path)
}

/// A folder of this test alone, removed when dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Where the folder of that name is.
    pub(super) fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("nikola-{name}-{}", std::process::id()))
    }

    pub(super) fn new(name: &str) -> Self {
        let path = Self::place(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a writable temporary folder");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn nikola(binary: &Path, folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary);
    command.current_dir(folder).args(arguments).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command.output().expect("the binary starts")
}

/// Arguments (`SCENE` stands for a scene of the house) · exit code · parts of the message.
const ROWS: [(&[&str], u8, &[&str]); 34] = [
    (&["frob"], exit::USAGE, &["frob", "Usage"]),
    (&["run", "--frob"], exit::USAGE, &["--frob", "Usage"]),
    (&["run", "a", "b"], exit::USAGE, &["'b'", "Usage"]),
    (&["run", "SCENE", "--threads", "0"], exit::USAGE, &["--threads 0", "1 to 1024", "leave it out"]),
    (&["run", "SCENE", "--threads", "4096"], exit::USAGE, &["--threads 4096", "1 to 1024"]),
    (&["run", "SCENE", "--threads", "two"], exit::USAGE, &["'two'", "--threads"]),
    (&["run", "SCENE", "--ticks", "-5"], exit::USAGE, &["'-5'", "--ticks"]),
    (&["run", "SCENE", "--ticks", "1e3"], exit::USAGE, &["'1e3'", "--ticks"]),
    (&["run", "SCENE", "--precision", "f16"], exit::USAGE, &["'f16'", "f32, f64"]),
    (&["run", "SCENE", "--simd", "sse2"], exit::USAGE, &["'sse2'", "scalar, avx2, avx512"]),
    (&["run", "SCENE", "--pace", "warp"], exit::USAGE, &["'warp'", "free, realtime"]),
    (&["run", "SCENE", "--no-files", "--out", "x"], exit::USAGE, &["--no-files", "--out", "cannot be used"]),
    (&["run", "nosuch.ron"], exit::INPUT, &["nosuch.ron", "found:", "expected:", "remedy:"]),
    (&["run", "."], exit::INPUT, &["found:", "directory", "expected:", "give the path of a file"]),
    (&["run", "SCENE", "--set", "dt"], exit::SCENE, &["--set dt", "no `=`", "path=value", "remedy:"]),
    (&["run", "SCENE", "--set", "foo=1"], exit::SCENE, &["`foo`", "one of version", "remedy:"]),
    (
        &["run", "SCENE", "--set", "torus.extents.z=0"],
        exit::SCENE,
        &["torus.extents.z", "1 to 16384", "remedy:"],
    ),
    (&["run", "SCENE", "--set", "initial=5"], exit::SCENE, &["initial", "found:", "expected:"]),
    (&["check", "SCENE", "--set", "dt=\"1/0\""], exit::SCENE, &["dt", "inf", "remedy:"]),
    (
        &["run", "SCENE", "--out", "full"],
        exit::OUTPUT,
        &["full", "not empty", "new or empty folder", "remedy:"],
    ),
    (&["run", "SCENE", "--out", "full/file/run"], exit::OUTPUT, &["full/file/run", "expected:", "remedy:"]),
    (&["plot", "nosuch"], exit::INPUT, &["nosuch", "found:", "expected:", "remedy:"]),
    (&["plot", "bad.npy"], exit::INPUT, &["bad.npy", "eight bytes", "np.save"]),
    (&["task"], exit::USAGE, &["<TASK>", "Usage"]),
    (
        &["task", "narma11"],
        exit::USAGE,
        &["'narma11'", "narma10, mackey-glass, lorenz63, memory-capacity, all"],
    ),
    (&["task", "narma10", "--seed", "-1"], exit::USAGE, &["'-1'", "--seed"]),
    (&["task", "narma10", "--threads", "0"], exit::USAGE, &["--threads 0", "1 to 1024"]),
    (&["task", "narma10", "--scene", "SCENE"], exit::SCENE, &["no scan with a readout", "reservoir_"]),
    (&["task", "lorenz63", "--quick", "--set", "emitters=[]"], exit::SCENE, &["0 emitter(s)", "expected: 3"]),
    (&["task", "narma10", "--set", "scan.every=0"], exit::SCENE, &["scan.every", "1 to 1000000"]),
    (&["task", "narma10", "--scene", "none.ron"], exit::INPUT, &["none.ron", "check the path"]),
    (&["bench", "--shape", "3xq"], exit::USAGE, &["3xq", "27x27x27"]),
    (&["bench", "--secs", "-1"], exit::USAGE, &["--secs -1", "above 0"]),
    (
        &["bench", "--shape", "3x3", "--secs", "0.01", "--ticks", "full/file/t.csv"],
        exit::OUTPUT,
        &["--ticks full/file/t.csv", "found:", "expected:", "remedy:"],
    ),
];

#[test]
fn wrong_arguments_and_files_say_what_to_do() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("arguments");
    std::fs::create_dir(scratch.path().join("full")).expect("writable");
    std::fs::write(scratch.path().join("full/file"), "x").expect("writable");
    std::fs::write(scratch.path().join("bad.npy"), "x").expect("writable");
    let scene =
        root().join("scenes/bright_soliton.ron").canonicalize().expect("a scene").display().to_string();
    let mut wrong = Vec::new();
    for (arguments, code, parts) in ROWS {
        let arguments: Vec<&str> =
            arguments.iter().map(|&word| if word == "SCENE" { scene.as_str() } else { word }).collect();
        let output = nikola(&binary, scratch.path(), &arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        let lacks: Vec<_> = parts.iter().filter(|part| !message.contains(**part)).collect();
        if output.status.code() != Some(i32::from(code))
            || !lacks.is_empty()
            || !message.starts_with("error: ")
        {
            wrong.push(format!("{arguments:?}: {:?}, lacks {lacks:?}\n{message}", output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A run whose files may not grow: what a full disk does, as an error the program can tell about.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_what_was_written_stays() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("disk");
    let scene = root().join("scenes/bright_soliton.ron").canonicalize().expect("a scene");
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 4; exec \"$0\" run \"$1\" --ticks 100 --out run"]).arg(&binary).arg(&scene);
    let output = shell.current_dir(scratch.path()).stdin(Stdio::null()).output().expect("a shell");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(exit::OUTPUT)), "{message}");
    for part in ["error: ", "run/", "found:", "expected:", "free space", "remedy:"] {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
    assert!(scratch.path().join("run/scene.ron").is_file(), "files written before stay");
}

/// A place where nobody may create anything, not even the superuser.
#[cfg(target_os = "linux")]
#[test]
fn a_read_only_place_is_told() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("readonly");
    let scene =
        root().join("scenes/bright_soliton.ron").canonicalize().expect("a scene").display().to_string();
    let output = nikola(&binary, scratch.path(), &["run", &scene, "--ticks", "1", "--out", "/proc/nikola"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(exit::OUTPUT)), "{message}");
    for part in ["/proc/nikola", "found:", "expected:", "writable folder", "remedy:"] {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

#[test]
fn a_diverging_run_says_when_and_exits_with_its_code() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("diverging");
    let text = "(version: 1, torus: (extents: {z: 8}), ticks: 9, precision: F32, equation: Schrodinger(beta: 1), \
                initial: Uniform(amplitude: 1), injections: [(tick: 3, amplitude: 1e12, profile: Uniform(amplitude: 1e12))])";
    std::fs::write(scratch.path().join("burst.ron"), text).expect("writable");
    let output = nikola(&binary, scratch.path(), &["run", "burst.ron"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(exit::DIVERGED)), "{message}");
    for part in ["not finite", "after tick", "remedy:", "burst-1"] {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

#[test]
fn a_bench_writes_its_ticks_as_rows_that_add_up() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("ticks");
    let scene = root().join("scenes/bright_soliton.ron").canonicalize().expect("a scene");
    let scene = scene.display().to_string();
    for (what, n_rows) in
        [(&["--shape", "9x9"][..], "/samples"), (&[&scene[..], "--realtime"], "/engine/periods")]
    {
        let arguments = [&["bench", "--secs", "0.05", "--ticks", "ticks.csv", "--json"], what].concat();
        let output = nikola(&binary, scratch.path(), &arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = std::fs::read_to_string(scratch.path().join("ticks.csv")).expect("a file");
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
        assert!(header.starts_with(&["tick", "whole_micros", "ingress_micros"]), "{header:?}");
        let rows: Vec<Vec<f64>> =
            lines.map(|line| line.split(',').map(|x| x.parse().expect("a number")).collect()).collect();
        assert_eq!(report.pointer(n_rows).expect("a count"), rows.len(), "{what:?}");
        for (tick, row) in rows.iter().enumerate() {
            let stages: f64 = row[2..].iter().sum();
            assert!(row.len() == header.len() && row[0] == tick as f64 && stages <= row[1], "{row:?}");
        }
    }
}

#[test]
fn json_is_one_object_with_the_promised_keys() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("json");
    let scene =
        root().join("scenes/bright_soliton.ron").canonicalize().expect("a scene").display().to_string();
    let output = nikola(&binary, scratch.path(), &["run", &scene, "--ticks", "20", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "one object, nothing else");
    let summary: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let keys = [
        "scene",
        "ticks",
        "wall_secs",
        "ticks_per_sec",
        "norm",
        "norm_drift",
        "energy",
        "energy_drift",
        "mu",
        "max_abs_psi",
        "state_digest",
        "stages",
        "observables",
    ];
    for key in keys {
        assert!(!summary[key].is_null(), "no {key} in {text}");
    }
    assert_eq!(summary["ticks"], 20);
    for stage in ["half_potential", "kinetic"] {
        for key in ["p50_micros", "p99_micros", "max_micros"] {
            assert!(summary["stages"][stage][key].is_number(), "no {stage}.{key} in {text}");
        }
    }
    let wrong: Vec<_> = std::fs::read_dir(scratch.path().join("runs")).expect("a run folder").collect();
    assert_eq!(wrong.len(), 1);
}
