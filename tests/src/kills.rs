//! The kill campaign: SIGKILL at random instants of a real process, and what must hold afterwards.
//!
//! Invariant: after every kill the state directory passes `verify`, and the state recovered from it is, bit for bit, the
//! state of an uninterrupted run at that tick. The run naps, compacts and takes orders all the time, so that kills fall
//! into flushes, footers, renames, compactions, blinks and restarts; in which of them is counted from what a kill leaves behind.

use crate::lab::{Led, go_on_from_every_tick};
use nikola_engine::backend::to_device;
use nikola_engine::edge::Edge;
use nikola_engine::incidents::Incidents;
use nikola_engine::intake::OrderBuilder;
use nikola_engine::intake::{Batch, Intake};
use nikola_engine::persist::capture::state_hash;
use nikola_engine::persist::disk::RealDisk;
use nikola_engine::persist::manifest::Manifest;
use nikola_engine::persist::open::{StateRequest, look_into};
use nikola_engine::persist::verify::verify_folder;
use nikola_engine::scene::{Resolved, Scene, load_str, resolve};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::oracle::Health;
use nikola_engine::systems::world::BuildOptions;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Ticks of the run; a killed run rarely gets there.
const TICKS: u64 = 40_000;

/// Longest time a run goes on after it has started, about.
const RUN_MICROS: u64 = 200_000;

/// Longest time that a program is given to start.
const STARTUP_MAX: Duration = Duration::from_secs(60);

/// Longest time between the request for a blink and the kill: the old program's last tick to the new one's first.
const BLINK_MICROS: u64 = 60_000;

/// A run that is busy with its state: 12 pages, a nap every 40 ticks, a compaction every third.
fn scene_text(precision: &str) -> String {
    let mut schedule = String::new();
    for i in 0..120 {
        let tick = 211 * i + 13;
        let order = match i % 4 {
            0 => format!("SetBeta({})", 0.5 + 0.001 * f64::from(i)),
            1 => "Degrade".to_string(),
            2 => "Inject(\"(amplitude: 1e-3, phase: 1, profile: Gaussian(width: {z: 2}))\")".to_string(),
            _ => "Nap".to_string(),
        };
        schedule += &format!("(tick: {tick}, order: {order}), ");
    }
    format!(
        "// What one should see: the same states, however often the run is killed.
        (version: 1, torus: (extents: {{y: 12, z: 27}}, page: Shape({{y: 12, z: 3}})), equation: Schrodinger(beta: 0.5),
         ticks: {TICKS}, precision: {precision}, initial: Gaussian(width: {{y: 2, z: 3}}, momentum: {{z: 0.5}}),
         naps: (every_ticks: 40, compact_every: 3, digest_every: 25, group_commit_millis: 2),
         schedule: [{schedule}])"
    )
}

/// A run whose oracle is kept busy: every 110 ticks a bomb, a freeze, and a return to one of the last checkpoints.
fn watched_scene_text(precision: &str) -> String {
    let mut schedule = String::new();
    for i in 0..360 {
        let (tick, phase) = (110 * i + 37, 0.01 * f64::from(i));
        let bomb = format!("(amplitude: 40, phase: {phase}, profile: Gaussian(width: {{y: 2, z: 3}}))");
        schedule += &format!("(tick: {tick}, order: Inject(\"{bomb}\")), ");
    }
    format!(
        "// What one should see: the same states, however often the run is killed.
        (version: 1, torus: (extents: {{y: 12, z: 27}}, page: Shape({{y: 12, z: 3}})), equation: Schrodinger(beta: 0.5),
         ticks: {TICKS}, precision: {precision}, initial: Gaussian(width: {{y: 2, z: 3}}, momentum: {{z: 0.5}}),
         oracle: (freeze_damping: 0.1, freeze_ticks: 20, checkpoint_every: 30, resets_max: 9, reset_window: 50),
         naps: (every_ticks: 40, compact_every: 3, digest_every: 25, group_commit_millis: 2),
         schedule: [{schedule}])"
    )
}

/// Everything at once, on pages that come and go: what a checkpoint must hold, and a handover replace, is most here.
fn living_scene_text(precision: &str) -> String {
    let mut schedule = String::new();
    for i in 0..960 {
        let (tick, phase) = (41 * i + 31, 0.01 * f64::from(i));
        let order = match i % 8 {
            0 | 4 => {
                format!(
                    "Inject(\"(amplitude: 30, phase: {phase}, profile: Gaussian(width: {{x: 1, z: 2}}))\")"
                )
            }
            1 | 6 => format!("SetBeta({})", 0.2 + 0.0002 * f64::from(i)),
            2 | 5 => "Degrade".to_string(),
            _ => "Nap".to_string(),
        };
        schedule += &format!("(tick: {tick}, order: {order}), ");
    }
    format!(
        "// What one should see: the same states, however often the run is killed.
        (version: 1, torus: (extents: {{x: 9, z: 27}}, page: Shape({{x: 3, z: 3}})), state: 0.5, seed: 3, dt: 2e-3,
         growth: (threshold: 1e-2, vacuum: 2e-2, quiet_ticks: 20), equation: Schrodinger(beta: 0.2, alpha: 0.05),
         plasticity: (eta: 0.05, lambda: 0.02, gradient_floor: 1e-4, tolerance: 1e-3),
         ticks: {TICKS}, precision: {precision}, potential: Expr(\"0.2 + 0.02*cos(z)\"),
         resonance: \"exp(-x^2/8)\", initial: Gaussian(width: {{x: 2, z: 2}}, momentum: {{z: 2}}),
         emitters: [Custom(name: \"stimulus\", frequency_hz: 0.3, amplitude: 0.4,
                           profile: Gaussian(width: {{x: 1, z: 1.5}}), envelope: Constant)],
         scan: (input_weight: 1, every: 5, readout: (nodes: 6, features: [Density, Scan], targets: 1)),
         engs: (serotonin: 0.1, norepinephrine: 0.9, serotonin_decay_per_sec: 20),
         oracle: (freeze_damping: 0.1, freeze_ticks: 20, checkpoint_every: 30, resets_max: 9, reset_window: 50),
         naps: (every_ticks: 40, compact_every: 3, digest_every: 25, group_commit_millis: 2),
         schedule: [{schedule}])"
    )
}

/// The same of second order in time, every page there, with a metric that soon meets its limits.
fn wave_scene_text(precision: &str) -> String {
    living_scene_text(precision)
        .replace("Schrodinger(beta: 0.2", "Wave(beta: -0.2")
        .replace("eta: 0.05", "eta: 20")
        .replace("growth: (threshold: 1e-2, vacuum: 2e-2, quiet_ticks: 20), ", "")
        .replace("page: Shape({x: 3, z: 3})", "page: Auto")
        .replace("potential: Expr(\"0.2 + 0.02*cos(z)\")", "velocity: Noise(rms: 0.02)")
}

/// The binary beside this program, or two folders above a test.
pub fn binary() -> PathBuf {
    let name = format!("nikola{}", std::env::consts::EXE_SUFFIX);
    let own = std::env::current_exe().unwrap_or_default();
    let folders = own.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// A wave that takes orders.
    Plain,
    /// The same, watched by an oracle that resets it all the time.
    Watched,
    /// Growth, a metric that learns, chemistry, a scan with a readout and an oracle.
    Living,
    /// The same without growth, of second order in time.
    Wave,
}

impl World {
    /// All of them and their names.
    pub const ALL: [(&str, Self); 4] =
        [("plain", Self::Plain), ("watched", Self::Watched), ("living", Self::Living), ("wave", Self::Wave)];

    /// The world of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(own, _)| *own == name).map(|(_, world)| *world)
    }

    fn scene_text(self, precision: &str) -> String {
        match self {
            Self::Plain => scene_text(precision),
            Self::Watched => watched_scene_text(precision),
            Self::Living => living_scene_text(precision),
            Self::Wave => wave_scene_text(precision),
        }
    }

    /// Ticks before a state is begun anew: the second-order wave grows with its bombs until they leave nothing to go back to.
    fn ticks(self) -> u64 {
        if self == Self::Wave { TICKS / 4 } else { TICKS }
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, world)| *world == self).map_or("", |(name, _)| name)
    }
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// How many kills.
    pub kills: u64,
    /// Seed of the instants.
    pub seed: u64,
    /// The program that is killed.
    pub binary: PathBuf,
    /// Its worker threads.
    pub threads: u64,
    /// Whether ticks are computed by a GPU backend, in single precision.
    pub is_on_device: bool,
    /// What runs.
    pub world: World,
}

/// What happened.
#[derive(Debug, Clone, Default)]
pub struct Report {
    kills: u64,
    runs: u64,
    states: u64,
    digests: u64,
    orders: u64,
    last_tick: u64,
    before_manifest: u64,
    in_flush: u64,
    in_footer: u64,
    in_compaction: u64,
    in_manifest: u64,
    torn_journals: u64,
    blinks: u64,
    in_blink: u64,
    resets: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills in {} runs up to tick {}: {} recovered states and {} digests equal the uninterrupted run's, {} \
             orders and {} resets replayed\nwhere the kills fell: {} before the first manifest, {} in a flush, {} between footer and \
             manifest, {} in a compaction, {} in a manifest's replacement, {} left a torn \
             journal, {} with a blink asked for, {} of them between its handover and the next program",
            self.kills,
            self.runs,
            self.last_tick,
            self.states,
            self.digests,
            self.orders,
            self.resets,
            self.before_manifest,
            self.in_flush,
            self.in_footer,
            self.in_compaction,
            self.in_manifest,
            self.torn_journals,
            self.blinks,
            self.in_blink
        )
    }
}

/// Numbers that depend on the seed alone (SplitMix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// [`go_on_from_every_tick`] of `world`; how many resets it had.
///
/// # Errors
/// As there.
pub fn go_on_in(world: World, ticks: usize, held: usize, ahead: usize) -> Result<usize, String> {
    let text = world.scene_text("F64");
    let scene = load_str("scene.ron", &text, &[]).map_err(|error| error.to_string())?;
    let resolved = resolve(&scene, Path::new(".")).map_err(|error| error.to_string())?;
    let begin = || {
        let built = Simulation::new(&resolved.setup, &BuildOptions::default());
        Uninterrupted::begin(built.map_err(|error| error.to_string())?, &scene, &resolved)
    };
    go_on_from_every_tick(begin, ticks, held, ahead).map(|whole| whole.resets.len())
}

/// The uninterrupted run, advanced as far as somebody asks.
struct Uninterrupted {
    simulation: Simulation,
    incidents: Option<Incidents>,
    intake: Intake,
    hashes: Vec<[u8; 32]>,
    /// Ticks after which it waited for a checkpoint.
    resets: Vec<u64>,
}

impl Uninterrupted {
    fn begin(mut simulation: Simulation, scene: &Scene, resolved: &Resolved) -> Result<Self, String> {
        let (_, intake) = Intake::new(OrderBuilder::new(scene, &resolved.setup));
        let hashes = vec![state_hash(&mut simulation)];
        let incidents = Incidents::new(&mut simulation, None, true).map_err(|error| error.to_string())?;
        let intake = intake.with_schedule(&resolved.plan.schedule);
        Ok(Self { simulation, incidents, intake, hashes, resets: Vec::new() })
    }

    fn hash_at(&mut self, tick: u64) -> Result<[u8; 32], String> {
        while self.hashes.len() as u64 <= tick {
            self.tick()?;
            self.hashes.push(state_hash(&mut self.simulation));
        }
        Ok(self.hashes[tick as usize])
    }
}

impl Led for Uninterrupted {
    fn simulation(&mut self) -> &mut Simulation {
        &mut self.simulation
    }

    fn tick(&mut self) -> Result<(), String> {
        self.intake.gather(&mut self.simulation, 0, &mut Batch::default());
        self.simulation.tick();
        if let Some(incidents) = &mut self.incidents {
            incidents.after_tick(&mut self.simulation).map_err(|error| error.to_string())?;
        }
        if self.simulation.oracle().is_some_and(|report| report.health == Health::Reset) {
            self.resets.push(self.simulation.tick_count());
        }
        Ok(())
    }
}

impl Campaign {
    /// The command that repeats this campaign.
    pub fn command(&self) -> String {
        format!(
            "cargo run --release -p nikola-tests{} --bin kill_campaign -- --kills {} --seed {} --threads {}{} --world {}",
            if self.is_on_device { " --features gpu" } else { "" },
            self.kills,
            self.seed,
            self.threads,
            if self.is_on_device { " --backend gpu" } else { "" },
            self.world.name(),
        )
    }

    /// Runs it.
    ///
    /// # Errors
    /// What went wrong after which kill.
    pub fn run(&self) -> Result<Report, String> {
        let root = std::env::temp_dir().join(format!("nikola-kills-{}-{}", self.seed, std::process::id()));
        std::fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        let outcome = self.run_in(&root);
        if outcome.is_ok() {
            let _ = std::fs::remove_dir_all(&root);
        }
        outcome.map_err(|failure| format!("{failure}\nthe state is left in {}", root.display()))
    }

    fn run_in(&self, root: &Path) -> Result<Report, String> {
        let path = root.join("scene.ron");
        let precision = if self.is_on_device { "F32" } else { "F64" };
        let text = self.world.scene_text(precision);
        std::fs::write(&path, &text).map_err(|error| error.to_string())?;
        let scene = load_str("scene.ron", &text, &[]).map_err(|error| error.to_string())?;
        let resolved = resolve(&scene, root).map_err(|error| error.to_string())?;
        let mut reference = Uninterrupted::begin(self.build(&resolved)?, &scene, &resolved)?;
        let mut report = Report::default();
        let mut seed = self.seed;
        let mut folder = root.join("state-0");
        std::fs::create_dir_all(root.join("shm")).map_err(|error| error.to_string())?;
        let first = self.startup(&path, &folder)?;
        let mut startup = first;
        while report.kills < self.kills {
            if report.last_tick + 2_000 > self.world.ticks() || random(&mut seed).is_multiple_of(40) {
                // A new directory now and then: the beginning is killed too.
                let _ = std::fs::remove_dir_all(&folder);
                folder = root.join(format!("state-{}", report.kills));
            }
            let too_early = report.before_manifest;
            self.kill_once(&path, &folder, startup, &mut seed, &mut report)?;
            self.check(&folder, &scene, &resolved, &mut reference, &mut report)
                .map_err(|failure| format!("after kill {} of seed {}: {failure}", report.kills, self.seed))?;
            // A machine that has become slower takes longer to start; one that has become faster, less.
            startup = match report.before_manifest > too_early {
                true => (startup + startup / 2).min(STARTUP_MAX),
                false => first.max(startup - startup / 8),
            };
        }
        // A campaign whose kills all fall before anything is kept shows nothing.
        if report.states * 2 < report.kills {
            return Err(format!("only {} of {} kills fell into a kept run", report.states, report.kills));
        }
        // That is what this world is for; the others are reset now and then.
        if self.world == World::Watched && report.resets == 0 {
            return Err("no reset was replayed".into());
        }
        Ok(report)
    }

    fn build(&self, resolved: &Resolved) -> Result<Simulation, String> {
        let built = Simulation::new(&resolved.setup, &BuildOptions::default());
        let mut simulation = built.map_err(|error| error.to_string())?;
        if self.is_on_device {
            to_device(&mut simulation, &resolved.setup, "scene", None).map_err(|error| error.to_string())?;
        }
        Ok(simulation)
    }

    fn start(&self, scene: &Path, folder: &Path) -> Result<Child, String> {
        let mut command = Command::new(&self.binary);
        command.arg("run").arg(scene).args(["--no-files", "--json", "--threads", &self.threads.to_string()]);
        command.args(["--backend", if self.is_on_device { "gpu" } else { "cpu" }]);
        command.env("NIKOLA_SHM", scene.with_file_name("shm"));
        command.arg("--state").arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().map_err(|error| format!("{}: {error}", self.binary.display()))
    }

    /// How long the program takes on this machine until its state is on the disk.
    fn startup(&self, scene: &Path, folder: &Path) -> Result<Duration, String> {
        let began = Instant::now();
        let mut child = self.start(scene, folder)?;
        while !folder.join("manifest.ron").is_file() {
            if child.try_wait().map_err(|error| error.to_string())?.is_some() {
                return Err("the program ended before it had written a state".into());
            }
            std::thread::yield_now();
        }
        let startup = began.elapsed();
        let _ = child.kill();
        child.wait().map_err(|error| error.to_string())?;
        Ok(startup)
    }

    /// Starts the program and kills it after a random time: most times while it runs, now and then as it starts.
    fn kill_once(
        &self,
        scene: &Path,
        folder: &Path,
        startup: Duration,
        seed: &mut u64,
        report: &mut Report,
    ) -> Result<(), String> {
        let mut child = self.start(scene, folder)?;
        let startup = startup.as_micros() as u64;
        let (least, span) =
            if random(seed).is_multiple_of(8) { (0, startup) } else { (startup / 2, startup + RUN_MICROS) };
        let (_open, never) = channel::<()>();
        let _ = never.recv_timeout(Duration::from_micros(least + random(seed) % span));
        if cfg!(unix) && random(seed).is_multiple_of(4) {
            report.blinks += 1;
            let _ = Command::new("kill").args(["-USR2", &child.id().to_string()]).status();
            let _ = never.recv_timeout(Duration::from_micros(random(seed) % BLINK_MICROS));
        }
        let _ = child.kill();
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        report.runs += 1;
        if output.status.code().is_some_and(|code| code != 0) {
            return Err(format!("the run ended by itself: {}", String::from_utf8_lossy(&output.stderr)));
        }
        report.kills += u64::from(output.status.code().is_none());
        report.in_blink += clear(&scene.with_file_name("shm"))?;
        Ok(())
    }

    /// What must hold after a kill.
    fn check(
        &self,
        folder: &Path,
        scene: &Scene,
        resolved: &Resolved,
        reference: &mut Uninterrupted,
        report: &mut Report,
    ) -> Result<(), String> {
        let Ok(manifest) = Manifest::read(&RealDisk, folder) else {
            if folder.join("manifest.ron").exists() {
                return Err("the manifest is broken".into());
            }
            report.before_manifest += 1;
            return Ok(());
        };
        classify(folder, &manifest, report);
        let findings = verify_folder(&RealDisk, folder, None).map_err(|error| error.to_string())?;
        report.torn_journals += u64::from(findings.torn_bytes > 0);
        let request = StateRequest { folder: folder.to_path_buf(), key_file: None };
        let mut recovered = self.build(resolved)?;
        let replay = look_into(&request, scene, &resolved.setup, None, &mut recovered)
            .map_err(|error| error.to_string())?;
        report.digests += replay.n_digests;
        report.orders += replay.n_orders;
        report.last_tick = replay.tick;
        if state_hash(&mut recovered) != reference.hash_at(replay.tick)? {
            return Err(format!("the state at tick {} differs from the uninterrupted run's", replay.tick));
        }
        let replayed = replay.checkpoint_tick + 1..=replay.tick;
        report.resets += reference.resets.iter().filter(|tick| replayed.contains(tick)).count() as u64;
        report.states += 1;
        Ok(())
    }
}

/// Removes what a killed run has left in shared memory; how many handovers nobody took was among it.
fn clear(shm: &Path) -> Result<u64, String> {
    let mut n_handovers = 0;
    for entry in std::fs::read_dir(shm).map_err(|error| error.to_string())?.flatten() {
        n_handovers += u64::from(entry.file_name().to_string_lossy().starts_with("nikola-blink."));
        std::fs::remove_file(entry.path()).map_err(|error| error.to_string())?;
    }
    Ok(n_handovers)
}

/// In which step a kill fell, from the files it left.
fn classify(folder: &Path, manifest: &Manifest, report: &mut Report) {
    let names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    let len = std::fs::metadata(folder.join(&manifest.log)).map_or(0, |about| about.len());
    let behind = len.saturating_sub(manifest.footer + 128);
    let is_whole = behind > 0
        && nikola_engine::persist::reader::Log::open(&RealDisk, &folder.join(&manifest.log), None)
            .is_ok_and(|log| log.last().snapshot > manifest.snapshot);
    let has = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
    report.in_flush += u64::from(behind > 0 && !is_whole);
    report.in_footer += u64::from(is_whole);
    report.in_compaction +=
        u64::from(has(&|name| name.starts_with("log-") && name.trim_end_matches(".partial") != manifest.log));
    report.in_manifest += u64::from(has(&|name| name == "manifest.ron.partial"));
}
