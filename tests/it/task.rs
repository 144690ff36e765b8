//! The benchmarks of `nikola task` in their short form: the scenes of the house are good reservoirs, and results
//! depend on the seed alone.

use super::tidy::root;
use nikola_engine::scene::{Scene, load};
use nikola_engine::task::benchmark::{Benchmark, Lengths};
use nikola_engine::task::{TaskRequest, run};

fn request(benchmark: Benchmark, name: &str, threads: usize) -> TaskRequest {
    let scene: Scene = load(&root().join("scenes").join(name), &[]).unwrap_or_else(|error| panic!("{error}"));
    let lengths = Lengths { networks_max: 1, ..Lengths::QUICK };
    TaskRequest { benchmark, scene, seed: 7, lengths, threads }
}

#[test]
fn the_torus_follows_narma_better_than_any_linear_memory() {
    // A linear memory leaves 0.4 of the deviation; what is left below comes from products inside |Ψ|².
    let row = run(&request(Benchmark::Narma10, "reservoir_narma10.ron", 1))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(row.ours.test < 0.2, "{row:?}");
    assert_eq!(row.n_features, 300);
}

#[test]
fn the_torus_remembers_nearly_one_step_per_feature_and_threads_change_nothing() {
    let measure = |threads| {
        run(&request(Benchmark::MemoryCapacity, "reservoir_memory.ron", threads))
            .unwrap_or_else(|error| panic!("{error}"))
            .ours
    };
    let figure = measure(1);
    assert!(figure.test > 0.75 * 100.0, "{figure:?}");
    assert_eq!(measure(2), figure);
}
