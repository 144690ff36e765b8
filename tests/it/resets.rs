//! Resets of a kept run: whenever it is killed, and however it is continued, the oracle goes back to the same states.
//! Invariant: every state reached is compared, bit for bit, with that of a run that was never interrupted.

use super::command_line::{Scratch, binary};
use super::tidy::root;
use nikola_engine::edge::Edge;
use nikola_engine::exit;
use nikola_engine::incidents::Incidents;
use nikola_engine::intake::{Batch, Intake, OrderBuilder};
use nikola_engine::persist::capture::state_hash;
use nikola_engine::persist::disk::RealDisk;
use nikola_engine::persist::open::{StateRequest, look_into, open};
use nikola_engine::persist::reader::Log;
use nikola_engine::persist::verify::verify_folder;
use nikola_engine::scene::{Resolved, Scene, load_str, resolve};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::oracle::{Health, OracleReport};
use nikola_engine::systems::world::BuildOptions;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Ticks of a run.
const TICKS: u64 = 130;

/// Four pages; four bombs, of which the second and third follow so soon that older checkpoints are asked for.
const DENSE: &str = "// What one should see: bombs that are taken back, however often the run is cut.
(version: 1, torus: (extents: {x: 12, z: 3}, page: Shape({x: 3, z: 3})), ticks: 130, precision: F32,
 equation: Schrodinger(beta: 0.7), initial: Gaussian(width: {x: 2}, momentum: {x: 0.5}),
 oracle: (freeze_damping: 0.1, freeze_ticks: 6, checkpoint_every: 5, resets_max: 9), naps: (NAPS), schedule: [
  (tick: 31, order: Inject(\"(amplitude: 40, phase: 1, profile: Gaussian(width: {x: 2}))\")),
  (tick: 42, order: Inject(\"(amplitude: 40, phase: 2, profile: Gaussian(width: {x: 1}))\")),
  (tick: 53, order: Inject(\"(amplitude: 50, phase: 3, profile: Gaussian(width: {x: 2}))\")),
  (tick: 60, order: SetBeta(0.6)),
  (tick: 97, order: Inject(\"(amplitude: 45, phase: 1, profile: Gaussian(width: {x: 3}))\"))])";

/// A packet for whose sake pages come and go: checkpoints have others than the state.
fn sparse() -> String {
    DENSE
        .replace("{x: 12, z: 3}, page: Shape({x: 3, z: 3})", "{x: 27, y: 9}, page: Shape({x: 3, y: 3})")
        .replace(
            "(beta: 0.7), initial",
            "(beta: 0.7), dt: 2e-2, growth: (threshold: 1e-2, vacuum: 2e-2, quiet_ticks: 8), initial",
        )
        .replace("momentum: {x: 0.5}", "momentum: {x: 3}")
}

fn scenes() -> [(&'static str, String); 4] {
    let naps = |text: &str| text.replace("NAPS", "every_ticks: 9, compact_every: 3, digest_every: 4");
    [
        ("single", naps(DENSE)),
        ("double", naps(&DENSE.replace("F32", "F64"))),
        ("sparse", naps(&sparse())),
        // Two columns more: a checkpoint has a velocity.
        ("wave", naps(&DENSE.replace("Schrodinger(beta: 0.7)", "Wave(beta: -0.7)"))),
    ]
}

struct Setting {
    scene: Scene,
    resolved: Resolved,
    /// Whether ticks are computed by a GPU backend.
    is_on_device: bool,
}

/// A world and what asks of it.
struct Driven {
    world: Simulation,
    incidents: Incidents,
    intake: Intake,
}

impl Setting {
    fn new(text: &str) -> Self {
        let scene = load_str("bombs.ron", text, &[]).expect("a scene");
        let resolved = resolve(&scene, &scene.base_dir).expect("a scene that resolves");
        Self { scene, resolved, is_on_device: false }
    }

    fn world(&self) -> Simulation {
        let mut world = Simulation::new(&self.resolved.setup, &BuildOptions::default()).expect("builds");
        #[cfg(feature = "gpu")]
        if self.is_on_device {
            let moved = nikola_engine::backend::to_device(&mut world, &self.resolved.setup, "bombs", None);
            moved.expect("a device");
        }
        assert!(!self.is_on_device || world.device().is_some());
        world
    }

    fn drive(&self, mut world: Simulation) -> Driven {
        let incidents = Incidents::new(&mut world, None, true).expect("nothing is written").expect("watched");
        let (_, intake) = Intake::new(OrderBuilder::new(&self.scene, &self.resolved.setup));
        Driven { world, incidents, intake: intake.with_schedule(&self.resolved.plan.schedule) }
    }

    fn request(folder: &Path) -> StateRequest {
        StateRequest { folder: folder.to_path_buf(), key_file: None }
    }

    /// The state after every tick of a run that nobody interrupts, and the ticks after which it waited for a checkpoint.
    fn uninterrupted(&self) -> (Vec<[u8; 32]>, Vec<u64>) {
        let (hashes, resets, _) = self.uninterrupted_with_reports();
        (hashes, resets)
    }

    /// The same, and what the oracle reported after every tick.
    fn uninterrupted_with_reports(&self) -> (Vec<[u8; 32]>, Vec<u64>, Vec<OracleReport>) {
        let Driven { mut world, mut incidents, mut intake } = self.drive(self.world());
        let (mut hashes, mut resets) = (vec![state_hash(&mut world)], Vec::new());
        let mut reports = vec![report(&world)];
        let mut batch = Batch::default();
        while world.tick_count() < TICKS {
            intake.gather(&mut world, 0, &mut batch);
            world.tick();
            incidents.after_tick(&mut world).expect("nothing is written");
            hashes.push(state_hash(&mut world));
            reports.push(report(&world));
            if world.oracle().is_some_and(|report| report.health == Health::Reset) {
                resets.push(world.tick_count());
            }
        }
        assert_eq!(world.oracle().expect("watched").n_resets, 4);
        (hashes, resets, reports)
    }

    /// Continues what `folder` holds until so many ticks are done, and leaves as a killed process does.
    fn run_until(&self, folder: &Path, until: u64) -> Simulation {
        let mut world = self.world();
        let plan = self.resolved.plan.naps;
        let mut keeper =
            open(&Self::request(folder), &self.scene, &self.resolved.setup, plan, &mut world).expect("opens");
        let Driven { mut world, mut incidents, mut intake } = self.drive(world);
        let mut batch = Batch::default();
        while world.tick_count() < until {
            intake.gather(&mut world, 0, &mut batch);
            keeper.before_tick(&world, &mut batch).expect("a sound disk");
            world.tick();
            incidents.after_tick(&mut world).expect("nothing is written");
            keeper.after_tick(&mut world).expect("a sound disk");
            keeper.settle().expect("a sound disk");
        }
        world
    }

    /// The state that `replay` finds.
    fn replayed(&self, folder: &Path) -> Simulation {
        let mut world = self.world();
        let request = Self::request(folder);
        look_into(&request, &self.scene, &self.resolved.setup, None, &mut world).expect("replays");
        world
    }
}

/// What the oracle tells, but for the time that the last tick took.
fn report(world: &Simulation) -> OracleReport {
    OracleReport { tick_duration_ns: 0, ..*world.oracle().expect("watched") }
}

/// Kills a run after each of these ticks and continues it each time.
fn kill_after(ticks: impl Fn(&[u64]) -> Vec<u64>, setting: &Setting, scratch: &Scratch) {
    let (hashes, resets, reports) = setting.uninterrupted_with_reports();
    let folder = scratch.path().join("chain");
    for until in ticks(&resets) {
        let mut world = setting.run_until(&folder, until);
        assert_eq!(state_hash(&mut world), hashes[until as usize], "continued to tick {until}");
        assert_eq!(report(&world), reports[until as usize], "continued to tick {until}");
        let mut replayed = setting.replayed(&folder);
        let tick = replayed.tick_count();
        assert_eq!(state_hash(&mut replayed), hashes[tick as usize], "replayed to tick {tick}");
        assert_eq!(report(&replayed), reports[tick as usize], "replayed to tick {tick}");
        verify_folder(&RealDisk, &folder, None).expect("whole");
    }
}

#[test]
fn a_run_killed_after_any_tick_goes_back_to_the_same_checkpoints() {
    for (name, text) in scenes() {
        let scratch = Scratch::new(&format!("resets-{name}"));
        kill_after(|_| (1..=TICKS).collect(), &Setting::new(&text), &scratch);
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_run_on_a_device_killed_around_its_resets_goes_back_to_the_same_checkpoints() {
    if let Some(why) = super::gpu::missing() {
        println!("skipped: {why}");
        return;
    }
    // A software adapter takes a second to start. Tick 45 lies in a freeze.
    let ticks = |resets: &[u64]| vec![20, 45, resets[1], resets[1] + 1, TICKS];
    for (name, text) in scenes().into_iter().filter(|(name, _)| !["double", "wave"].contains(name)) {
        let setting = Setting { is_on_device: true, ..Setting::new(&text) };
        kill_after(ticks, &setting, &Scratch::new(&format!("resets-device-{name}")));
    }
}

#[test]
fn a_run_killed_once_ends_as_if_it_had_not_been() {
    for (name, text) in scenes() {
        // Without digests a replay has nothing to stop at; naps so rare that resets lie in the journal.
        let setting =
            Setting::new(&text.replace("9, compact_every: 3, digest_every: 4", "45, digest_every: 0"));
        let (hashes, resets) = setting.uninterrupted();
        let around = resets.iter().flat_map(|tick| tick - 3..=tick + 2);
        for killed in around.chain([5, 14, 15, 16, 44, 45, 46, 90]) {
            let scratch = Scratch::new(&format!("resets-once-{name}-{killed}"));
            setting.run_until(scratch.path(), killed);
            let mut world = setting.run_until(scratch.path(), TICKS);
            assert_eq!(state_hash(&mut world), hashes[TICKS as usize], "{name}: killed after tick {killed}");
        }
    }
}

fn run(binary: &Path, folder: &Path, more: &[&str]) -> std::process::Output {
    let mut command = Command::new(binary);
    command.current_dir(folder).args(["run", "bombs.ron", "--json", "--no-spine"]).args(more);
    command.output().expect("the binary starts")
}

fn digest(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).expect("one JSON object")["state_digest"].take()
}

#[test]
fn a_run_in_parts_resets_as_the_run_in_one() {
    let Some(binary) = binary() else { return };
    for (name, text) in scenes() {
        let scratch = Scratch::new(&format!("resets-parts-{name}"));
        std::fs::write(scratch.path().join("bombs.ron"), &text).expect("writable");
        let whole = digest(&run(&binary, scratch.path(), &["--no-files"]));
        let (_, resets) = Setting::new(&text).uninterrupted();
        for end in resets.iter().flat_map(|tick| [tick - 1, *tick, tick + 1]).chain([33, 130]) {
            let (state, ticks) = (format!("state-{end}"), end.to_string());
            let part = |more: &[&str]| {
                run(&binary, scratch.path(), &[&["--no-files", "--state", &state], more].concat())
            };
            part(&["--ticks", &ticks]);
            assert_eq!(digest(&part(&[])), whole, "{name}: ended after tick {end}, then continued");
        }
    }
}

#[test]
fn a_checkpoint_is_written_once() {
    // Nothing but the oracle's wishes and naps between them.
    let setting = Setting::new(&DENSE.replace("NAPS", "every_ticks: 0, compact_every: 0"));
    let scratch = Scratch::new("resets-once-written");
    let mut world = setting.world();
    let plan = setting.resolved.plan.naps;
    let request = Setting::request(scratch.path());
    let mut keeper =
        open(&request, &setting.scene, &setting.resolved.setup, plan, &mut world).expect("opens");
    let Driven { mut world, mut incidents, .. } = setting.drive(world);
    for tick in 1..=32 {
        let mut batch = Batch { tick, wants_nap: tick >= 28, ..Batch::default() };
        keeper.before_tick(&world, &mut batch).expect("a sound disk");
        world.tick();
        incidents.after_tick(&mut world).expect("nothing is written");
        keeper.after_tick(&mut world).expect("a sound disk");
        keeper.settle().expect("a sound disk");
    }
    let log = Log::open(&RealDisk, &scratch.path().join("log-000001.nik"), None).expect("whole");
    let n_payloads: Vec<u32> = log.snapshots.iter().map(|footer| footer.n_payloads).collect();
    // Four pages of two columns, the scalars, the description where it changed; likewise four pages of two columns for
    // each checkpoint: four of them at tick 28, one more at tick 30.
    assert_eq!(n_payloads, [10, 10 + 4 * 8, 9, 10 + 8, 9, 9]);
    assert_eq!(log.last().n_live, 10 + 4 * 8);
}

/// A state directory of an earlier version of the description: the first knows no checkpoints, the second no tally.
fn of_version(version: u32, scratch: &Scratch) -> PathBuf {
    let from = root().join(format!("tests/fixtures/watched_state_v{version}"));
    let to = scratch.path().join("state");
    std::fs::create_dir_all(&to).expect("writable");
    for entry in std::fs::read_dir(&from).expect("the fixture").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("writable");
    }
    std::fs::copy(from.join("scene.ron"), scratch.path().join("bombs.ron")).expect("writable");
    to
}

#[test]
fn a_state_without_checkpoints_is_continued_from_itself() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("resets-v1");
    // Another bomb, before the next checkpoint: the reset can only go back to what was loaded.
    let bombed = || {
        let state = of_version(1, &scratch);
        let path = scratch.path().join("bombs.ron");
        let text = std::fs::read_to_string(&path)
            .expect("the scene")
            .replace("tick: 50", "tick: 101")
            .replace("amplitude: 40", "amplitude: 41");
        std::fs::write(&path, text).expect("writable");
        state
    };
    let state = bombed();
    verify_folder(&RealDisk, &state, None).expect("whole");
    let whole = run(&binary, scratch.path(), &["--state", "state", "--out", "out", "--ticks", "130"]);
    let whole = digest(&whole);
    let incident = std::fs::read_to_string(scratch.path().join("out/incident-000000116.json"));
    let incident: Value = serde_json::from_str(&incident.expect("a reset")).expect("JSON");
    assert_eq!((&incident["cause"], incident["value"].as_f64()), (&"restored".into(), Some(100.0)));
    // And so it does from the state in between, which knows its checkpoints.
    std::fs::remove_dir_all(&state).expect("a state");
    bombed();
    for end in ["108", "130"] {
        let part = digest(&run(&binary, scratch.path(), &["--state", "state", "--no-files", "--ticks", end]));
        assert_eq!(part == whole, end == "130", "ended after tick {end}");
    }
}

#[test]
fn a_state_without_a_tally_is_continued_and_counts_from_there() {
    let Some(binary) = binary() else { return };
    for version in [1, 2] {
        let scratch = Scratch::new(&format!("resets-tally-v{version}"));
        verify_folder(&RealDisk, &of_version(version, &scratch), None).expect("whole");
        // The bomb of tick 50 led to a reset, of which nothing is known; then the state is of this version.
        for (end, counts) in [("100", [0, 0]), ("140", [0, 0]), ("160", [0, 0])] {
            let part = run(&binary, scratch.path(), &["--state", "state", "--no-files", "--ticks", end]);
            assert!(part.status.success(), "{}", String::from_utf8_lossy(&part.stderr));
            let summary: Value = serde_json::from_slice(&part.stdout).expect("one JSON object");
            let own = &summary["oracle"];
            assert_eq!(
                (&own["state"], &own["scrams"], &own["resets"]),
                (&"NOMINAL".into(), &counts[0].into(), &counts[1].into())
            );
            // H is known before the next check: a floor in its place would make the residual large, and the worst for good.
            assert!(own["energy_drift_worst"].as_f64() < Some(1e-6), "version {version}: {own}");
        }
    }
}

#[test]
fn a_broken_checkpoint_is_named_and_not_loaded() {
    let Some(binary) = binary() else { return };
    let scratch = Scratch::new("resets-broken");
    let text = DENSE.replace("NAPS", "every_ticks: 0");
    std::fs::write(scratch.path().join("bombs.ron"), &text).expect("writable");
    let arguments = ["--no-files", "--state", "state", "--ticks", "28"];
    digest(&run(&binary, scratch.path(), &arguments));
    let path = scratch.path().join("state/log-000001.nik");
    let whole = std::fs::read(&path).expect("a log");
    let header = |column: u8| {
        let is_it = |at: &usize| {
            let head = &whole[*at..*at + 24];
            head[17] == column
                && head[0..8] == 0_u64.to_le_bytes()
                && head[18] <= 1
                && head[20..24] == 2_u32.to_le_bytes()
        };
        (64..whole.len() - 24).find(is_it).expect("a payload of this column")
    };
    for column in 32..40 {
        let mut bytes = whole.clone();
        bytes[header(column) + 24 + 3] ^= 1;
        std::fs::write(&path, &bytes).expect("writable");
        let output = run(&binary, scratch.path(), &["--no-files", "--state", "state"]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(i32::from(exit::DAMAGED)), "{message}");
        let place = format!("page 0, column {column}");
        for word in ["log-000001.nik", &place, "found", "expected", "remedy"] {
            assert!(message.contains(word), "{word} in {message}");
        }
    }
    std::fs::write(&path, &whole).expect("writable");
    digest(&run(&binary, scratch.path(), &["--no-files", "--state", "state"]));
}
