//! Long runs: drift over a million ticks, and one digest for 1, 2 and 4 threads after ten thousand.
//! With `--gpu` the drift of the same scenes on the best GPU, printed only; with `--large` the digests of the largest shape
//! alone, whose row of the page is replaced.
//! Invariant: exits with 1 when a drift is beyond its bound or two digests differ.

use nikola_engine::systems::components::setup::Precision;
use nikola_tests::validation::Case;
use nikola_tests::validation::endurance::{digest, drift, drift_on_device};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Shapes whose digests are compared.
const SHAPES: [&[usize]; 5] = [&[3; 9], &[27, 27, 27], &[512, 512], &[27, 27, 27, 3, 3, 3], &[128, 128, 128]];

/// The shape of `--large`, which takes an hour on two cores.
const LARGE: &[usize] = &[27, 27, 27, 3, 3, 3, 3, 3, 3];

/// Ticks after which digests are compared.
const DIGEST_TICKS: u64 = 10_000;

/// Shapes whose drift is measured on a GPU: three-node axes, 27-point lines, power-of-two transforms.
const GPU_SHAPES: [&[usize]; 4] = [&[3; 9], &[27, 27, 27], &[128, 128], &[512, 512]];

/// The row of a case of a drift.
fn drift_row(case: &Case) -> String {
    let verdict = if case.passes() { "" } else { " **FAILED**" };
    format!("| {} | {:.2e}{verdict} | {:.0e} |", case.name, case.error, case.tolerance)
}

/// A million ticks of each of [`GPU_SHAPES`], or `ticks`.
fn on_gpu(ticks: u64) -> ExitCode {
    let mut is_within = true;
    println!("| case | found | allowed |\n|---|---|---|");
    for extents in GPU_SHAPES {
        eprintln!("drift on the GPU: {extents:?}, {ticks} ticks …");
        let cases = match drift_on_device(extents, ticks, 1e-6, 1e-5) {
            Ok(cases) => cases,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        for case in cases {
            is_within &= case.passes();
            println!("{}", drift_row(&case));
        }
    }
    if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The row of `extents` in the table of digests, and whether they are one.
fn digest_row(extents: &[usize]) -> (String, bool) {
    let shape = shape_name(extents);
    eprintln!("digests: {shape} …");
    let digests = [1, 2, 4].map(|threads| {
        let digest = digest(extents, Precision::F32, DIGEST_TICKS, threads);
        eprintln!("{shape}, {threads} thread(s): {}", &digest[..16]);
        digest
    });
    let is_one = digests.iter().all(|digest| *digest == digests[0]);
    let verdict = if is_one { "equal" } else { "**DIFFER**" };
    println!("{shape}: {} {verdict}", &digests[0][..16]);
    (format!("| {shape} | f32 | {} | {verdict} |", &digests[0][..16]), is_one)
}

fn shape_name(extents: &[usize]) -> String {
    extents.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

/// The row of the largest shape in the page at `path`, or none.
fn large_row(path: &str) -> Option<String> {
    let start = format!("| {} | f32 |", shape_name(LARGE));
    let page = std::fs::read_to_string(path).ok()?;
    page.lines().find(|line| line.starts_with(&start)).map(str::to_owned)
}

/// Replaces the row of the largest shape in the page at `path`.
fn large(path: &str) -> ExitCode {
    let (row, is_one) = digest_row(LARGE);
    let page = match std::fs::read_to_string(path) {
        Ok(page) => page,
        Err(error) => {
            eprintln!("cannot read {path}: {error}; run without --large first, which writes it");
            return ExitCode::FAILURE;
        }
    };
    let old = large_row(path);
    let kept = page.lines().filter(|line| Some(*line) != old.as_deref());
    let lines: Vec<&str> = kept.chain([&row[..]]).collect();
    if let Err(error) = std::fs::write(path, lines.join("\n") + "\n") {
        eprintln!("cannot write {path}: {error}; check the folder and its permissions");
        return ExitCode::FAILURE;
    }
    if is_one { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => everything(None),
        [path] if !path.starts_with('-') => everything(Some(path)),
        [path, "--large"] if !path.starts_with('-') => large(path),
        ["--gpu"] => on_gpu(1_000_000),
        ["--gpu", "--ticks", ticks] if ticks.parse::<u64>().is_ok_and(|ticks| ticks > 0) => {
            on_gpu(ticks.parse().unwrap_or_default())
        }
        _ => {
            eprintln!(
                "usage: endurance [PAGE [--large]] | --gpu [--ticks N], N a whole number above zero; found {arguments:?}"
            );
            ExitCode::from(2)
        }
    }
}

/// Every run but the largest; writes the page to `target`.
fn everything(target: Option<&str>) -> ExitCode {
    let mut page = String::from(
        "# Endurance\n\nWritten by `cargo xtask endurance`, which runs everything again (the largest shape's digests with `--large`). Closed scenes with potential \
         and nonlinearity, dt = 1e-3, Strang.\n\n## Drift\n\n| case | found | allowed |\n|---|---|---|\n",
    );
    let mut n_failed = 0;
    // In double precision the energy may wander by the scheme's own O(dt²), 1e-6, while a wave settles.
    let runs: [(&[usize], Precision, u64, f64, f64); 4] = [
        (&[3; 9], Precision::F32, 1_000_000, 1e-6, 1e-5),
        (&[27, 27, 27], Precision::F32, 1_000_000, 1e-6, 1e-5),
        (&[3; 9], Precision::F64, 10_000, 1e-12, 1e-6),
        (&[27, 27, 27], Precision::F64, 10_000, 1e-12, 1e-6),
    ];
    for (extents, precision, ticks, norm_allowed, energy_allowed) in runs {
        eprintln!("drift: {extents:?} {precision:?}, {ticks} ticks …");
        for case in drift(extents, precision, ticks, norm_allowed, energy_allowed) {
            n_failed += usize::from(!case.passes());
            let row = drift_row(&case);
            println!("{row}");
            let _ = writeln!(page, "{row}");
        }
    }
    let _ = write!(
        page,
        "\n## One digest for every thread count, after {DIGEST_TICKS} ticks\n\n| shape | precision | digest (first 16) | \
         1, 2 and 4 threads |\n|---|---|---|---|\n"
    );
    for extents in SHAPES {
        let (row, is_one) = digest_row(extents);
        n_failed += usize::from(!is_one);
        let _ = writeln!(page, "{row}");
    }
    if let Some(row) = target.and_then(large_row) {
        let _ = writeln!(page, "{row}");
    }
    if let Some(path) = target {
        if let Err(error) = std::fs::write(path, page) {
            eprintln!("cannot write {path}: {error}; check the folder and its permissions");
            return ExitCode::FAILURE;
        }
        eprintln!("wrote {path}");
    }
    if n_failed > 0 {
        eprintln!("{n_failed} run(s) out of bounds");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
