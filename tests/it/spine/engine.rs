//! A running engine, steered by its own command line and by a client that pairs first.

use super::super::command_line::{Scratch, binary};
use super::super::tidy::root;
use super::PATIENCE;
use nikola_engine::exit;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Instant;

/// `nikola run` in a process of its own, ended with the test.
pub(super) struct Engine {
    binary: PathBuf,
    scratch: Scratch,
    child: Child,
}

impl Engine {
    pub(super) fn start(name: &str, more: &[&str]) -> Option<Self> {
        Self::start_in(name, "run", &[&["--pace", "realtime"], more].concat())
    }

    /// At its own pace, with its state kept in `state` of the test's folder.
    pub(super) fn start_kept(name: &str, more: &[&str]) -> Option<Self> {
        let state = Scratch::place(&format!("engine-{name}")).join("state").display().to_string();
        Self::start_in(name, "run", &[&["--state", &state], more].concat())
    }

    fn start_in(name: &str, run: &str, more: &[&str]) -> Option<Self> {
        let binary = binary()?;
        let scratch = Scratch::new(&format!("engine-{name}"));
        let child = start(&binary, &scratch, run, more);
        let engine = Self { binary, scratch, child };
        engine.wait("run");
        Some(engine)
    }

    /// SIGKILL: nothing is closed, nothing is written any more.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// `spine.json` appears once the sockets are bound.
    fn wait(&self, run: &str) {
        let began = Instant::now();
        while !self.scratch.path().join(run).join("spine.json").exists() {
            assert!(began.elapsed() < PATIENCE, "no spine.json");
            std::thread::yield_now();
        }
    }

    /// Any command of the binary, in the repository's folder.
    pub(super) fn nikola(&self, arguments: &[&str]) -> Output {
        nikola(&self.binary, &self.scratch).args(arguments).output().expect("the binary starts")
    }

    pub(super) fn run(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    pub(super) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Opens pairing as an operator would; the process that waits for a candidate, and the code it printed.
    pub(super) fn open_pairing(&self, roles: &str) -> (Child, String) {
        let mut command = nikola(&self.binary, &self.scratch);
        command.args(["pair", "--open", "--roles", roles, "--run"]).arg(self.run());
        let mut operator = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("pair starts");
        // What the operator types when the fingerprints agree.
        operator.stdin.take().expect("piped").write_all(b"y\n").expect("taken");
        let mut words = BufReader::new(operator.stdout.as_mut().expect("piped"));
        let mut line = String::new();
        // What is typed stands on one line, quotes and all.
        while !line.contains("nikola pair '") {
            line.clear();
            assert!(words.read_line(&mut line).expect("readable") > 0, "no code");
        }
        let code = line.split('\'').nth(1).expect("a quoted code").to_string();
        (operator, code)
    }

    pub(super) fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = nikola(&self.binary, &self.scratch);
        command.args(["ctl", "--timeout", "30", "--run"]).arg(self.run());
        command.args(arguments).output().expect("ctl starts")
    }

    pub(super) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ctl(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Asks for the status until it is as wanted.
    pub(super) fn status_when(&self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.json(&["status"]);
            if is_wanted(&status) {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "{status}");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(binary: &Path, scratch: &Scratch, run: &str, more: &[&str]) -> Child {
    let mut command = nikola(binary, scratch);
    command.args(["run", "scenes/packet_4d.ron", "--ticks", "100000000"]);
    command.args(["--set", "outputs.series_every=1000000"]);
    command.args(more).arg("--out").arg(scratch.path().join(run));
    command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("the engine starts")
}

/// The binary with a key store of this test alone.
fn nikola(binary: &Path, scratch: &Scratch) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(root()).env("NIKOLA_KEYS", scratch.path().join("keys")).stdin(Stdio::null());
    command
}

#[test]
fn a_running_engine_is_steered_by_ctl() {
    let Some(mut engine) = Engine::start("ctl", &[]) else { return };
    let status = engine
        .status_when(|status| status["tick"].as_u64() > Some(10) && !status["figures"]["norm"].is_null());
    assert_eq!((&status["state"], &status["scene"]), (&"RUNNING".into(), &"packet_4d".into()));
    let norm = status["figures"]["norm"].as_f64().expect("a norm");
    let injected = engine.json(&["inject", "(amplitude: 0.5, phase: 0, profile: Gaussian(width: {w: 1}))"]);
    assert!(injected["tick"].as_u64() > Some(0), "{injected}");
    engine.status_when(|status| {
        let figures = &status["figures"];
        figures["sampled_at"].as_f64() > injected["tick"].as_f64()
            && figures["norm"].as_f64().is_some_and(|after| (after - norm).abs() > 1e-3 * norm)
    });
    assert!(engine.json(&["set", "beta=0.25"])["tick"].as_u64() > injected["tick"].as_u64());
    let wave = engine.json(&["subscribe", "waveform", "--count", "1", "--every", "10", "--theta", "0.2"]);
    assert!(wave["payload"]["n_nodes"].as_u64() > Some(0), "{wave}");

    let scram = engine.json(&["scram", "drill"]);
    assert!(scram["text"].as_str().is_some_and(|text| text.contains("no `oracle`")), "{scram}");
    let held = engine.status_when(|status| status["state"] == "HELD");
    assert_eq!(engine.json(&["status"])["tick"], held["tick"], "no tick while held");
    engine.json(&["resume"]);
    engine.status_when(|status| status["tick"].as_u64() > held["tick"].as_u64());

    let refused = engine.ctl(&["set", "gamma=1"]);
    assert_eq!(refused.status.code(), Some(exit::REFUSED.into()));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("expected beta"));
    let refused = engine.ctl(&["inject", "(profile: Gaussian(width: {w: 0}))"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("width"), "the place in the text is named");
    assert_eq!(engine.json(&["components"])["name"], "engine");
    assert!(engine.json(&["ping"])["round_trip_micros"].as_f64() > Some(0.0));
    let table = engine.ctl(&["status"]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("ticks per second"));

    engine.json(&["halt"]);
    assert!(engine.child.wait().expect("it ends").success());
    assert!(engine.run().join("summary.json").exists(), "in good order");
    let gone = nikola(&engine.binary, &engine.scratch)
        .args(["ctl", "--timeout", "0.5", "--run"])
        .arg(engine.run())
        .arg("status")
        .output();
    assert_eq!(gone.expect("ctl starts").status.code(), Some(exit::SPINE.into()));
}

/// Reads lines until one contains `word`.
fn line_with(lines: &mut std::io::Lines<BufReader<ChildStdout>>, word: &str) -> String {
    let found = lines.map(|line| line.expect("readable")).find(|line| line.contains(word));
    found.unwrap_or_else(|| panic!("no line with {word}"))
}

#[test]
fn a_first_time_user_pairs_by_following_the_words() {
    let Some(engine) = Engine::start("pair", &[]) else { return };
    let began = Instant::now();
    let (mut operator, code) = engine.open_pairing("inject");
    let store = engine.scratch.path().join("client");
    let join = || {
        let mut command = nikola(&engine.binary, &engine.scratch);
        command.args(["pair", &code, "--name", "python", "--timeout", "30", "--client-keys"]).arg(&store);
        command.output().expect("pair starts")
    };
    let joined = join();
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
    let mut words = String::new();
    operator.stdout.take().expect("piped").read_to_string(&mut words).expect("readable");
    let fingerprint = words.lines().map(str::trim).find(|line| line.len() == 29 && line.contains(' '));
    let joined = String::from_utf8_lossy(&joined.stdout).into_owned();
    assert!(joined.contains(fingerprint.expect("six groups")), "the same on both sides:\n{words}\n{joined}");
    assert!(operator.wait().expect("it ends").success());
    // What the new client was told to type works as it stands.
    let line = joined.lines().find_map(|line| line.split_once("Use it with: ")).expect("what to type").1;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{line} --run {}", engine.run().display())).stdin(Stdio::null());
    let folder = engine.binary.parent().expect("a folder").display();
    shell.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
    let shown = shell.current_dir(root()).output().expect("a shell");
    assert!(shown.status.success(), "{line}: {}", String::from_utf8_lossy(&shown.stderr));
    let secs = began.elapsed().as_secs_f64();
    println!("paired, and first status shown, after {secs:.1} s without the reading (asked: under a minute)");

    let as_python = |arguments: &[&str]| {
        let keys = store.display().to_string();
        engine.ctl(&[&["--as", "python", "--keys", &keys], arguments].concat())
    };
    assert!(as_python(&["ping"]).status.success());
    let strike = "(amplitude: 0.1, phase: 0, profile: Gaussian(width: {w: 1}))";
    assert!(as_python(&["inject", strike]).status.success());
    let refused = as_python(&["halt"]);
    assert_eq!(refused.status.code(), Some(exit::REFUSED.into()));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("admin"));

    // The code worked once: the door is shut, and nobody answers there.
    let again = nikola(&engine.binary, &engine.scratch)
        .args(["pair", &code, "--name", "other", "--timeout", "0.7", "--client-keys"])
        .arg(engine.scratch.path().join("other"))
        .output()
        .expect("pair starts");
    assert_eq!(again.status.code(), Some(exit::SPINE.into()));
}

#[test]
fn a_silent_child_is_restarted_under_its_own_name() {
    // `tail` lives and says nothing: DEGRADED after 3 s, DEAD after 10 s, SIGTERM, and one second later a new one.
    let Some(engine) = Engine::start("child", &["--child", "worker=tail -f /dev/null"]) else { return };
    let mut command = nikola(&engine.binary, &engine.scratch);
    command.args(["ctl", "--run"]).arg(engine.run()).args(["subscribe", "health"]);
    let mut watcher = command.stdout(Stdio::piped()).spawn().expect("ctl starts");
    let mut events = BufReader::new(watcher.stdout.take().expect("piped")).lines();
    for state in ["worker STATE_DEGRADED", "worker STATE_DEAD", "worker started"] {
        line_with(&mut events, state);
    }
    let list = nikola(&engine.binary, &engine.scratch).args(["keys", "list"]).output().expect("keys starts");
    let list = String::from_utf8_lossy(&list.stdout);
    assert_eq!(list.matches("worker").count(), 2, "one key, one line of the white list:\n{list}");
    let _ = watcher.kill();
    let _ = watcher.wait();
}
