//! The plastic metric on 3^9 nodes: its stage, and the kinetic step with the metric it makes, on one core.
//!
//! Two cases: every cell yields all the time, so that no factorisation is kept and the remainder runs; the metric is
//! at rest, so that all are kept and the remainder is skipped. The remainder is due every fifth tick and shows in p99. Floors: the share of Ψ and of g that an update reads and writes; Ψ in and out twice for the step.

use nikola_benches::row;
use nikola_engine::runner::now_nanos;
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::metric::Plasticity;
use nikola_engine::systems::components::noise;
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_engine::systems::components::telemetry::Stage;
use nikola_engine::systems::components::torus::{PageRule, Torus};
use nikola_engine::systems::world::BuildOptions;
use std::sync::Arc;

const TICKS: usize = 3_000;
const NODES: f64 = 19_683.0;
const CELLS: f64 = 729.0;

fn scene(plasticity: Plasticity) -> Setup {
    let torus = Torus::new([3; 9], [3.0; 9], PageRule::Auto).expect("nine axes of three");
    let mut scene = Setup::free(torus, 1e-3);
    scene.precision = Precision::F32;
    scene.plasticity = Some(plasticity);
    scene.wave.beta = 0.5;
    scene.initial = Arc::new(move |page: usize, re: &mut [f64], im: &mut [f64]| {
        for (i, (re, im)) in re.iter_mut().zip(im).enumerate() {
            let noise = |stream| noise::uniform(1, stream, page as u64, i as u64) - 0.5;
            (*re, *im) = (noise(0), noise(1));
        }
    });
    scene
}

fn quantile(samples: &mut [u64], share: f64) -> f64 {
    samples.sort_unstable();
    samples[((samples.len() - 1) as f64 * share) as usize] as f64 * 1e-9
}

fn measure(name: &str, plasticity: Plasticity) {
    let options = BuildOptions { threads: 1, now_nanos: Some(now_nanos), ..BuildOptions::default() };
    let mut world = Simulation::new(&scene(plasticity), &options).expect("a world");
    let mut times = [Vec::with_capacity(TICKS), Vec::with_capacity(TICKS)];
    for _ in 0..TICKS {
        world.tick();
        let stages = world.stage_times();
        times[0].push(stages.nanos[Stage::MetricUpdate as usize]);
        times[1].push(stages.nanos[Stage::Kinetic as usize]);
    }
    let counts = world.metric_counts().expect("a plastic metric");
    println!(
        "{name}: hit rate {:.3}, remainder {:?}, norm drift {:.1e}",
        counts.hit_rate(),
        world.remainder_counts(),
        world.sample().norm_drift
    );
    let share = 1.0 / plasticity.every as f64;
    let update_bytes = share * (8.0 * NODES + 4.0 * 45.0 * 8.0 * CELLS);
    for ((stage, bytes), times) in
        [("metric_update", update_bytes), ("kinetic", 32.0 * NODES)].into_iter().zip(&mut times)
    {
        row(&format!("{stage} p50"), &[3; 9], quantile(times, 0.5), bytes);
        row(&format!("{stage} p99"), &[3; 9], quantile(times, 0.99), bytes);
    }
}

fn main() {
    // η < λ keeps g positive definite: no eigenvalue has to be projected.
    let yielding = Plasticity { eta: 5.0, lambda: 10.0, tolerance: 1e-12, ..Plasticity::default() };
    measure("every cell yields", yielding);
    let settled = Plasticity { eta: 0.0, lambda: 0.0, ..Plasticity::default() };
    measure("at rest", settled);
}
