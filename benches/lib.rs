//! What the benches share: fields, a timer that reports medians, and the floor they are judged by.
//! Invariant: achieved ÷ floor, with the floor's bandwidth measured in the same process on a buffer of the same size.

use nikola_engine::bench::copy_bandwidth;
use nikola_engine::runner::now_nanos;
use nikola_engine::scene::{load_str, resolve};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::column::{Column, zeroed};
use nikola_engine::systems::components::noise;
use nikola_engine::systems::components::telemetry::Stage;
use nikola_engine::systems::kernels::{PageMut, Shape};
use nikola_engine::systems::world::BuildOptions;

/// The reference shapes of the benches: slowest axis first.
pub const SHAPES: [&[usize]; 4] = [&[3; 9], &[27, 27, 27], &[128, 128, 128], &[512, 512]];

/// A storage shape cut into pages as the engine cuts it.
pub fn shape(extents: &[usize]) -> Shape {
    let (mut all, count) = ([1; 9], extents.len());
    all[..count].copy_from_slice(extents);
    let rule = nikola_engine::systems::components::torus::PageRule::Auto;
    let torus = nikola_engine::systems::components::torus::Torus::new(all, all.map(|n| n as f64), rule)
        .expect("bench shapes are valid");
    Shape { extents: torus.storage_extents(), page_nodes: torus.page_nodes() }
}

/// Columns of one field filled with noise in [−0.5, 0.5).
pub struct Columns(pub Vec<Column<f32>>);

impl Columns {
    /// `n_columns` columns of one page each.
    pub fn noise(n_columns: usize, page_nodes: usize, stream: u32) -> Self {
        let mut columns = zeroed::<f32>(n_columns, page_nodes, None).expect("bench fields fit in memory");
        for (page, column) in columns.iter_mut().enumerate() {
            for (i, slot) in column.iter_mut().enumerate() {
                *slot = noise::uniform(1, stream, page as u64, i as u64) as f32 - 0.5;
            }
        }
        Self(columns)
    }

    /// Pairs of columns as pages of Ψ.
    pub fn pages(&mut self) -> Vec<PageMut<'_, f32>> {
        self.0
            .chunks_exact_mut(2)
            .map(|pair| {
                let (re, im) = pair.split_at_mut(1);
                PageMut { re: &mut re[0], im: &mut im[0] }
            })
            .collect()
    }

    /// Each column as a slice.
    pub fn slices(&self) -> Vec<&[f32]> {
        self.0.iter().map(|column| &column[..]).collect()
    }
}

/// Median seconds per call over about half a second.
pub fn median_secs(mut call: impl FnMut()) -> f64 {
    call();
    let began = now_nanos();
    let mut samples = Vec::new();
    while samples.len() < 5 || (now_nanos() - began < 500_000_000 && samples.len() < 5_000) {
        let start = now_nanos();
        call();
        samples.push((now_nanos() - start) as f64 * 1e-9);
    }
    median(&mut samples)
}

/// The median of some samples, at least one.
pub fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Prints one row: microseconds, the floor, and their ratio.
pub fn row(name: &str, extents: &[usize], secs: f64, bytes: f64) {
    let floor = bytes / copy_bandwidth(bytes as usize / 2, 1);
    let shape = extents.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
    println!(
        "{name:<28}{shape:<24}{:>12.2} µs   floor {:>10.2} µs   achieved ÷ floor {:>6.2}",
        secs * 1e6,
        floor * 1e6,
        secs / floor
    );
}

/// Prints what a stage costs on the default scene with `fields` added, tick by tick, and what the whole tick costs with
/// and without them, interleaved.
pub fn watched(name: &str, stage: Stage, fields: &str) {
    let build = |fields: &str| {
        let text =
            include_str!("../scenes/default.ron").replacen("seed: 1,", &format!("{fields} seed: 1,"), 1);
        let scene = load_str("bench.ron", &text, &[]).unwrap_or_else(|error| panic!("{error}"));
        let setup = resolve(&scene, &scene.base_dir).unwrap_or_else(|error| panic!("{error}")).setup;
        let options = BuildOptions { threads: 1, now_nanos: Some(now_nanos), ..BuildOptions::default() };
        Simulation::new(&setup, &options).unwrap_or_else(|error| panic!("{error}"))
    };
    let (mut with, mut without) = (build(fields), build(""));
    let (mut stages, mut ticks) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..4_000 {
        for (world, samples) in [&mut without, &mut with].into_iter().zip(&mut ticks) {
            let start = now_nanos();
            world.tick();
            samples.push((now_nanos() - start) as f64 * 1e-3);
        }
        stages.push(with.stage_times().nanos[stage as usize] as f64 * 1e-3);
    }
    let mean = stages.iter().sum::<f64>() / stages.len() as f64;
    let at = |samples: &mut Vec<f64>, quantile: f64| {
        samples.sort_by(f64::total_cmp);
        samples[(samples.len() as f64 * quantile) as usize]
    };
    let (p50, p99) = (at(&mut stages, 0.5), at(&mut stages, 0.99));
    let [without, with] = &mut ticks;
    println!(
        "{name:<28}stage p50 {p50:.2} µs, mean {mean:.2} µs, p99 {p99:.2} µs; tick p50 {:.2} µs with, {:.2} µs without",
        at(with, 0.5),
        at(without, 0.5)
    );
}
