//! Frames in shared memory: what publishing costs a tick, and what a read costs a reader, at the reference shapes.

use nikola_benches::{SHAPES, median_secs};
use nikola_engine::shm::publish::{FrameRequest, Publisher};
use nikola_engine::shm::reader::{Frame, Reader};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_engine::systems::components::torus::{PageRule, Torus};
use nikola_engine::systems::world::BuildOptions;
use std::path::Path;

fn main() {
    let folder = nikola_engine::shm::folder();
    for extents in SHAPES {
        let mut all = [1; 9];
        all[..extents.len()].copy_from_slice(extents);
        let torus = Torus::new(all, [1.0; 9], PageRule::Auto).expect("bench shapes are valid");
        let mut setup = Setup::free(torus, 1e-3);
        setup.precision = Precision::F32;
        let mut simulation = Simulation::new(&setup, &BuildOptions::default()).expect("a world");
        let request = FrameRequest { per_second: 30.0, is_asked: true };
        let started = Publisher::start(&simulation, &folder, "bench", (1, 1e-3), request);
        let mut publisher = started.expect("a segment").expect("frames");
        let publish = median_secs(|| publisher.publish(&mut simulation));
        let (path, _) = publisher.newest().get().expect("published");
        let mut reader = Reader::attach(Path::new(&path)).expect("attached");
        let mut frame = Frame::default();
        let read = median_secs(|| assert!(reader.latest(&mut frame)));
        let bytes = 8.0 * simulation.torus().n_nodes() as f64;
        println!(
            "{extents:?}: publish {:.1} µs ({:.1} GB/s), read {:.1} µs{}",
            publish * 1e6,
            bytes / publish * 1e-9,
            read * 1e6,
            if *extents == [3; 9] { " (publish at most 20 µs)" } else { "" }
        );
    }
}
