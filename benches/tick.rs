//! The whole tick, and what the schedule itself costs: a torus of one node has nothing else to do.

use nikola_engine::bench::{BenchRequest, render, run};
use nikola_engine::runner::now_nanos;
use nikola_engine::systems::components::setup::Precision;
use nikola_engine::systems::world::BuildOptions;

fn main() {
    let request = |shape: &[usize], precision| BenchRequest {
        shape: shape.to_vec(),
        precision,
        options: BuildOptions { threads: 1, now_nanos: Some(now_nanos), ..BuildOptions::default() },
        secs: 1.0,
    };
    for shape in nikola_benches::SHAPES {
        for precision in [Precision::F32, Precision::F64] {
            match run(&request(shape, precision)) {
                Ok(report) => println!("{}", render(&report)),
                Err(error) => println!("{shape:?}: {error}"),
            }
        }
    }
    match run(&request(&[1], Precision::F32)) {
        Ok(report) => {
            println!("schedule: {:.2} µs per tick on a torus of one node (limit 5 µs)", report.ms * 1e3)
        }
        Err(error) => println!("schedule: {error}"),
    }
}
