//! `cargo xtask bench [--peers]`: whole ticks beside the memory floor and, in the same run, beside C + FFTW.
//!
//! Invariant: both programs are timed in turn, shape by shape, at the same thread count on the same machine; the
//! table quotes medians and their ratio. The peer is `benches/peers/fftw_ref.c`: planned transforms, fused pointwise
//! loops, OpenMP, compiled with `-O3 -march=native -ffast-math`.

mod gpu;

use crate::{answers, command, install, root, target_folder};
use anyhow::{Context, bail};
use std::fmt::Write as _;
use std::path::Path;

/// Shape, threads, ratio to reach in single precision.
const CASES: [(&str, u32, f64); 11] = [
    ("3x3x3x3x3x3x3x3x3", 1, 6.0),
    ("3x3x3x3x3x3x3x3x3", 2, 6.0),
    ("27x27x27", 1, 4.0),
    ("27x27x27", 2, 4.0),
    ("27x27x27x3x3x3", 1, 4.0),
    ("27x27x27x3x3x3", 2, 4.0),
    ("27x27x27x3x3x3x3x3x3", 2, 5.0),
    ("128x128x128", 1, 1.3),
    ("128x128x128", 2, 1.3),
    ("512x512", 1, 1.3),
    ("512x512", 2, 1.3),
];

/// In double precision 60 % of the single-precision ratio is asked for.
const DOUBLE_SHARE: f64 = 0.6;

/// Runs the table.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) =
        arguments.iter().find(|argument| !["--peers", "--gpu"].contains(&argument.as_str()))
    {
        bail!("`bench` takes only --peers or --gpu, found {unknown:?}");
    }
    if arguments.iter().any(|argument| argument == "--gpu") {
        return gpu::run();
    }
    if !arguments.iter().any(|argument| argument == "--peers") {
        if !command("cargo", &["bench", "--package", "nikola-benches"]).status()?.success() {
            bail!("a bench failed, see above");
        }
        return Ok(());
    }
    if !command("cargo", &["build", "--release"]).status()?.success() {
        bail!("the release build failed");
    }
    let peers = build_peers()?;
    let mut turns: Vec<Vec<Turn>> = (0..2 * CASES.len()).map(|_| Vec::new()).collect();
    for round in 1..=ROUNDS {
        for (at, turns) in turns.iter_mut().enumerate() {
            let (double, (shape, threads, _)) = (at >= CASES.len(), CASES[at % CASES.len()]);
            let turn = measure(&peers[usize::from(double)], shape, threads, double)?;
            println!("round {round} of {ROUNDS}: {}", line(shape, threads, double, &turn));
            turns.push(turn);
        }
    }
    println!("\nthe turns with the middle ratio:");
    let mut page = heading();
    let mut n_short = 0;
    let mut rows = turns.into_iter().map(middle);
    for (title, double) in [("Single precision", false), ("Double precision", true)] {
        let _ = write!(
            page,
            "\n## {title}\n\n| shape | threads | Nikola ms | C + FFTW ms | ratio | of all turns | asked | floor ms | ÷ floor | peak B/node |\n\
             |---|---|---|---|---|---|---|---|---|---|\n"
        );
        let mut stages = String::from(
            "\n| shape | threads | stage | p50 µs | p99 µs | floor µs | p50 ÷ floor |\n|---|---|---|---|---|---|---|\n",
        );
        for ((shape, threads, asked), (row, least, most)) in CASES.into_iter().zip(&mut rows) {
            let asked = if double { asked * DOUBLE_SHARE } else { asked };
            let ratio = row.ratio();
            let verdict = if ratio < asked { " **short**" } else { "" };
            n_short += usize::from(ratio < asked);
            println!("{} (asked {asked:.2}){verdict}", line(shape, threads, double, &row));
            let _ = writeln!(
                page,
                "| {} | {threads} | {:.4} | {:.4} | **{ratio:.2}**{verdict} | {least:.2} to {most:.2} | {asked:.2} | {:.4} | {:.2} | {:.1} |",
                shape.replace('x', "×"),
                row.ms,
                row.peer_ms,
                row.floor_ms,
                row.ms / row.floor_ms,
                row.peak_bytes_per_node
            );
            for (stage, p50, p99, floor) in &row.stages {
                let _ = writeln!(
                    stages,
                    "| {} | {threads} | {stage} | {p50:.2} | {p99:.2} | {floor:.2} | {:.2} |",
                    shape.replace('x', "×"),
                    p50 / floor
                );
            }
        }
        page.push_str(&stages);
    }
    let path = root().join("docs/BENCHMARKS.md");
    std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote docs/BENCHMARKS.md; {n_short} row(s) short of what is asked");
    Ok(())
}

fn heading() -> String {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        processor.lines().find(|line| line.starts_with("model name")).unwrap_or("model name : unknown");
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    format!(
        "# Benchmarks\n\nWritten by `cargo xtask bench --peers`, which measures everything again. One Strang tick of \
         the cubic Schrödinger equation with a potential on every node; medians over a second and more. The table is gone \
         through {ROUNDS} times, minutes apart, and of each row's turns that with the middle ratio is quoted. *Floor* is the time to move the bytes \
         the scheme must move (two sweeps over Ψ, V read twice) at the copy bandwidth measured in the same run, with \
         the same threads, on a buffer of the same size. Our tick includes the norm ledger and the schedule; the \
         peer's step is the bare transforms and pointwise loops.\n\nMachine: {} ({cores} cores).\n",
        model.split(':').nth(1).unwrap_or("unknown").trim()
    )
}

/// Compiles the peer in both precisions.
fn build_peers() -> anyhow::Result<[std::path::PathBuf; 2]> {
    let folder = target_folder().join("peers");
    std::fs::create_dir_all(&folder)?;
    let build = |name: &str, flags: &[&str], libraries: &[&str]| -> anyhow::Result<std::path::PathBuf> {
        let binary = folder.join(name);
        let mut compiler = command("cc", &["-O3", "-march=native", "-ffast-math", "-fopenmp"]);
        compiler
            .args(flags)
            .arg("benches/peers/fftw_ref.c")
            .arg("-o")
            .arg(&binary)
            .args(libraries)
            .arg("-lm");
        if !compiler.status()?.success() {
            bail!("compiling benches/peers/fftw_ref.c failed: it needs a C compiler and FFTW (libfftw3-dev)");
        }
        Ok(binary)
    };
    if !answers("sh", &["-c", "echo '#include <fftw3.h>' | cc -E - >/dev/null"]) {
        install(&["libfftw3-dev"], "the peer comparison").map_err(anyhow::Error::msg)?;
    }
    Ok([
        build("fftw_single", &[], &["-lfftw3f", "-lfftw3f_omp"])?,
        build("fftw_double", &["-DDBL"], &["-lfftw3", "-lfftw3_omp"])?,
    ])
}

/// How often the table is gone through: other users of a machine, and where it puts two threads, change within minutes.
const ROUNDS: usize = 3;

/// Ours and the peer's, one after the other.
struct Turn {
    ms: f64,
    peer_ms: f64,
    floor_ms: f64,
    peak_bytes_per_node: f64,
    stages: Vec<(String, f64, f64, f64)>,
}

impl Turn {
    fn ratio(&self) -> f64 {
        self.peer_ms / self.ms
    }
}

fn line(shape: &str, threads: u32, double: bool, turn: &Turn) -> String {
    let precision = if double { "f64" } else { "f32" };
    let Turn { ms, peer_ms, .. } = turn;
    let ratio = turn.ratio();
    format!(
        "{shape:<22} {threads} thread(s) {precision}: {ms:>9.4} ms, peer {peer_ms:>9.4} ms, ratio {ratio:>5.2}"
    )
}

/// The turn with the middle ratio, the least and the greatest ratio of all: ours and the peer's of a turn were measured within
/// seconds, and a machine that others slow down for a while does not favour either.
fn middle(mut turns: Vec<Turn>) -> (Turn, f64, f64) {
    turns.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let (least, most) = (turns[0].ratio(), turns[turns.len() - 1].ratio());
    (turns.swap_remove(ROUNDS / 2), least, most)
}

/// A turn of one row.
fn measure(peer: &Path, shape: &str, threads: u32, double: bool) -> anyhow::Result<Turn> {
    let threads = threads.to_string();
    let nikola = target_folder().join("release/nikola");
    let precision = if double { "f64" } else { "f32" };
    let shared = ["bench", "--shape", shape, "--threads", &threads];
    let ours = ["--precision", precision, "--secs", "1.5", "--json"];
    let text = output(command(&nikola.to_string_lossy(), &[&shared[..], &ours].concat()))?;
    let peer_ms = number(&output(command(&peer.to_string_lossy(), &[shape, &threads]))?, "ms")?;
    let mut stages = Vec::new();
    for part in text.split("\"stage\"").skip(1) {
        let name = part.split('"').nth(1).unwrap_or("?").to_string();
        let floor = number(part, "floor_micros")?;
        if floor > 0.0 {
            stages.push((name, number(part, "p50_micros")?, number(part, "p99_micros")?, floor));
        }
    }
    Ok(Turn {
        ms: number(&text, "ms")?,
        peer_ms,
        floor_ms: number(&text, "floor_ms")?,
        peak_bytes_per_node: number(&text, "peak_bytes_per_node")?,
        stages,
    })
}

fn output(mut process: std::process::Command) -> anyhow::Result<String> {
    let out = process.output().with_context(|| format!("cannot run {process:?}"))?;
    if !out.status.success() {
        bail!("{process:?} failed: {}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The first number behind `"key":`.
fn number(text: &str, key: &str) -> anyhow::Result<f64> {
    let behind = text.split(&format!("\"{key}\":")).nth(1).with_context(|| format!("no {key} in {text}"))?;
    let end = behind.find([',', '}', ']', '\n']).unwrap_or(behind.len());
    behind[..end].trim().parse().with_context(|| format!("{key} is not a number in {text}"))
}
