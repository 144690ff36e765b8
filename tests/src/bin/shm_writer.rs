//! Publishes frames of a uniform wave as fast as it can, until its input ends: the other process of the tests of shared
//! memory. Invariant: in a whole frame all nodes hold the same number, in two frames never the same.
//!
//! Usage: `shm_writer FOLDER`; prints the segment's path when the first frame is there.

use nikola_engine::shm::publish::{FrameRequest, Publisher};
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_tests::lab::{build, setup, torus};
use std::io::{Read, Write};
use std::path::PathBuf;

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("usage: shm_writer FOLDER"));
    let mut setup = setup(torus(&[(Axis::X, 9, 9.0), (Axis::Y, 27, 27.0)]), 1e-2);
    setup.wave.beta = 1.0;
    let mut simulation = build(&setup);
    let request = FrameRequest { per_second: 1000.0, is_asked: true };
    let started = Publisher::start(&simulation, &folder, "uniform", (u64::MAX, 1e-2), request);
    let mut publisher = started.expect("a segment").expect("frames");
    publisher.publish(&mut simulation);
    let (path, _) = publisher.newest().get().expect("published");
    println!("{path}");
    std::io::stdout().flush().expect("a reader");
    let end = std::thread::spawn(|| std::io::stdin().read(&mut [0]));
    while !end.is_finished() {
        simulation.tick();
        publisher.publish(&mut simulation);
    }
}
