//! State that survives: checkpoint and load against a plain copy, compression, nap stalls, the journal's cost, recovery.
//! Invariant: every ratio comes from rounds that alternate in one run; medians are printed.

use nikola_benches::median;
use nikola_engine::edge::{Edge, Ending};
use nikola_engine::intake::{Batch, Intake, Order, OrderBuilder, Scheduled};
use nikola_engine::persist::capture::{capture, restore};
use nikola_engine::persist::disk::{Disk, RealDisk};
use nikola_engine::persist::header::{CipherKind, Header};
use nikola_engine::persist::keeper::Keeper;
use nikola_engine::persist::nap::NapPlan;
use nikola_engine::persist::reader::Log;
use nikola_engine::persist::replay::replay;
use nikola_engine::persist::store::Store;
use nikola_engine::persist::writer::{Encoding, LogWriter};
use nikola_engine::runner::now_nanos;
use nikola_engine::scene::{Resolved, Scene, load_str, resolve};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::world::BuildOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rounds of each comparison.
const ROUNDS: usize = 9;

struct Subject {
    scene: Scene,
    resolved: Resolved,
}

impl Subject {
    fn new(fields: &str) -> Self {
        let text = format!("(version: 1, ticks: 1000000000, {fields})");
        let scene = load_str("bench.ron", &text, &[]).expect("a scene");
        let resolved = resolve(&scene, Path::new(".")).expect("a scene that resolves");
        Self { scene, resolved }
    }

    fn world(&self) -> Simulation {
        Simulation::new(&self.resolved.setup, &BuildOptions::default()).expect("a world")
    }

    fn builder(&self) -> OrderBuilder {
        OrderBuilder::new(&self.scene, &self.resolved.setup)
    }
}

fn secs(call: impl FnOnce()) -> f64 {
    let began = now_nanos();
    call();
    (now_nanos() - began) as f64 * 1e-9
}

/// A nap's work: copy, encode, write, sync. `buffers` are reused, as a nap reuses its own.
fn checkpoint(
    simulation: &mut Simulation,
    path: &Path,
    encoding: Encoding,
    buffers: &mut Vec<Vec<u8>>,
) -> u64 {
    let header = Header {
        creation_secs: 0,
        baseline_secs: 0,
        cipher: CipherKind::None,
        precision: simulation.precision(),
        salt: [0; 16],
        scene_id: [0; 12],
        page_nodes: simulation.torus().page_nodes() as u32,
    };
    let copy = capture(simulation, None, buffers);
    let mut writer = LogWriter::create(&RealDisk, path, header, None).expect("a writable folder");
    let stored = writer.append(copy.tick, &copy.contents, &[], encoding).expect("room").stored_bytes;
    buffers.extend(copy.contents.into_iter().rev().map(|content| content.bytes));
    stored
}

fn copy_synced(from: &Path, to: &Path) {
    std::fs::copy(from, to).expect("room");
    std::fs::File::open(to).and_then(|file| file.sync_all()).expect("a sound disk");
}

/// Checkpoint and load against `cp` + `fsync` of the stored bytes.
fn throughput(folder: &Path) {
    let subject = Subject::new("torus: (extents: {x: 128, y: 256, z: 256}), initial: Noise(rms: 1)");
    let mut simulation = subject.world();
    let (path, copy) = (folder.join("a.nik"), folder.join("b.nik"));
    let mut buffers = Vec::new();
    let stored = checkpoint(&mut simulation, &path, Encoding::Lossless, &mut buffers) as f64;
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        times[0].push(secs(|| {
            checkpoint(&mut simulation, &path, Encoding::Lossless, &mut buffers);
        }));
        times[1].push(secs(|| {
            let log = Log::open(&RealDisk, &path, None).expect("whole");
            restore(&log, &mut simulation).expect("whole");
        }));
        times[2].push(secs(|| copy_synced(&path, &copy)));
    }
    let [write, read, plain] = times.map(|mut times| stored / median(&mut times) * 1e-6);
    println!(
        "{:.1} MB stored: checkpoint {write:.0} MB/s ({:.2} of cp + fsync), load {read:.0} MB/s ({:.2}), cp + fsync {plain:.0} MB/s",
        stored * 1e-6,
        write / plain,
        read / plain
    );
}

/// Stored bytes against the columns' bytes.
fn compression(folder: &Path) {
    let scenes = [
        (
            "soliton",
            "torus: (extents: {z: 16384}, lengths: {z: 200}), equation: Schrodinger(beta: -1), initial: BrightSoliton(axis: z, velocity: 1)",
        ),
        ("thermal noise", "torus: (extents: {x: 64, y: 64, z: 64}), initial: Noise(rms: 1)"),
        (
            "sparse",
            "torus: (extents: {x: 27, y: 27, z: 27, u: 3, v: 3, w: 3}), initial: Expr(re: \"if(x^2+y^2+z^2 < 16, exp(-(x^2+y^2+z^2)/8), 0)\", im: \"0\")",
        ),
    ];
    for (name, fields) in scenes {
        let subject = Subject::new(fields);
        let mut simulation = subject.world();
        // The sparse one is taken as it begins: a tick of a dense torus leaves no node exactly zero.
        let ticks = if name == "sparse" { 0 } else { 100 };
        (0..ticks).for_each(|_| simulation.tick());
        let raw = (simulation.torus().n_nodes() * 2 * simulation.precision().bytes()) as f64;
        let path = folder.join("c.nik");
        let buffers = &mut Vec::new();
        let lossless = checkpoint(&mut simulation, &path, Encoding::Lossless, buffers) as f64;
        let nonary = checkpoint(&mut simulation, &path, Encoding::Nonary, buffers) as f64;
        println!(
            "{name:<14} {:>10.0} kB of columns: lossless {:>8.2} : 1, nonary {:>8.2} : 1",
            raw * 1e-3,
            raw / lossless,
            raw / nonary
        );
    }
}

/// A kept run of a closed nonlinear packet, driven tick by tick.
struct Kept {
    simulation: Simulation,
    keeper: Keeper,
    intake: Intake,
    batch: Batch,
}

impl Kept {
    fn new(subject: &Subject, folder: &Path, plan: NapPlan, schedule: &[(u64, Scheduled)]) -> Self {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).expect("a writable folder");
        let mut simulation = subject.world();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let store =
            Store::create(disk, folder, None, None, &subject.scene, 0, &mut simulation).expect("room");
        let keeper = Keeper::start(store, &mut simulation, plan, None).expect("room");
        let (_, intake) = Intake::new(subject.builder());
        Self { simulation, keeper, intake: intake.with_schedule(schedule), batch: Batch::default() }
    }

    fn tick(&mut self) {
        self.intake.gather(&mut self.simulation, 0, &mut self.batch);
        self.keeper.before_tick(&self.simulation, &mut self.batch).expect("a sound disk");
        self.simulation.tick();
        self.keeper.after_tick(&mut self.simulation).expect("a sound disk");
    }
}

const NINE: &str = "torus: (extents: {all: 3}), equation: Schrodinger(beta: 1), initial: Noise(rms: 1)";
const TWENTY_PAGES: &str = "torus: (extents: {x: 60, r: 3, s: 3, t: 3, u: 3, v: 3, w: 3, y: 3, z: 3}, page: Shape({x: 3, r: 3, s: 3, t: 3, u: 3, v: 3, w: 3, y: 3, z: 3})), equation: Schrodinger(beta: 1), initial: Noise(rms: 1)";

fn without_naps() -> NapPlan {
    NapPlan { every_ticks: 0, ..NapPlan::default() }
}

/// How long naps hold the tick up.
fn stalls(folder: &Path) {
    for (name, fields, ticks, limit) in
        [("3^9", NINE, 12_000, 1.0), ("20 pages of 3^9", TWENTY_PAGES, 1_200, 3.0)]
    {
        let subject = Subject::new(fields);
        let plan = NapPlan { every_ticks: ticks / 60, rest_ticks: 0, ..NapPlan::default() };
        let mut kept = Kept::new(&subject, folder, plan, &[]);
        (0..ticks).for_each(|_| kept.tick());
        kept.keeper.at_end(&mut kept.simulation, Ending::Done).expect("a sound disk");
        let report = &kept.keeper.report;
        println!(
            "{name}: {} naps hold the tick up for {:.0} µs in the median, {:.0} µs at p99, {:.0} µs at most (limit {limit} ms); \
             a nap takes {:.1} ms of its thread at most; {} bytes of {} in full",
            report.stalls.count(),
            report.stalls.quantile_micros(0.5),
            report.stalls.quantile_micros(0.99),
            report.stalls.max_micros(),
            report.nap_secs_max * 1e3,
            report.last_nap_bytes,
            report.full_bytes
        );
    }
}

/// Ticks with the journal against ticks without, in alternating blocks; an order enters every tenth tick.
fn journal_cost(folder: &Path) {
    const BLOCK: u64 = 400;
    let subject = Subject::new(NINE);
    let n = (2 * ROUNDS as u64 + 1) * BLOCK;
    let schedule: Vec<(u64, Scheduled)> =
        (0..n / 10).map(|i| (10 * i, Scheduled::Order(Order::SetBeta(1.0 + i as f64 * 1e-9)))).collect();
    let mut kept = Kept::new(&subject, folder, without_naps(), &schedule);
    let (_, intake) = Intake::new(subject.builder());
    let mut intake = intake.with_schedule(&schedule);
    let (mut plain, mut batch) = (subject.world(), Batch::default());
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..2 * ROUNDS {
        times[0].push(secs(|| (0..BLOCK).for_each(|_| kept.tick())));
        times[1].push(secs(|| {
            for _ in 0..BLOCK {
                intake.gather(&mut plain, 0, &mut batch);
                plain.tick();
            }
        }));
    }
    let [with, without] = times.map(|mut times| median(&mut times) / BLOCK as f64 * 1e6);
    println!(
        "journal: {with:.2} µs per tick of 3^9 with it, {without:.2} µs without, {:+.1} % (limit 3 %)",
        100.0 * (with / without - 1.0)
    );
}

/// Replay of a journal with an order every hundredth tick.
fn recovery(folder: &Path) {
    const TICKS: u64 = 20_000;
    let subject = Subject::new(NINE);
    let schedule: Vec<(u64, Scheduled)> =
        (0..TICKS / 100).map(|i| (100 * i, Scheduled::Order(Order::SetBeta(1.0)))).collect();
    let mut kept = Kept::new(&subject, folder, without_naps(), &schedule);
    let live = secs(|| (0..TICKS).for_each(|_| kept.tick()));
    drop(kept);
    let mut simulation = subject.world();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut ticks = 0;
    let took = secs(|| {
        let store = Store::open(disk, folder, None, None, 0, &mut simulation).expect("whole");
        ticks = replay(&mut simulation, &subject.builder(), &store.segments, None).expect("replays").tick;
    });
    println!(
        "recovery of 3^9: {took:.2} s for {ticks} journaled ticks ({:.2} of running them), {:.0} s per 10^6",
        took / live * TICKS as f64 / ticks as f64,
        took / ticks as f64 * 1e6
    );
}

fn main() {
    let folder: PathBuf = std::env::temp_dir().join(format!("nikola-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a writable folder");
    throughput(&folder);
    compression(&folder);
    stalls(&folder.join("state"));
    journal_cost(&folder.join("state"));
    recovery(&folder.join("state"));
    std::fs::remove_dir_all(&folder).expect("removable");
}
