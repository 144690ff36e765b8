//! Frames of a run on the device: each is of the tick it says, and looking changes nothing.

use super::{moved, rich};
use crate::command_line::Scratch;
use nikola_engine::backend::{BackendChoice, Keeper};
use nikola_engine::edge::Edge;
use nikola_engine::gpu::distance;
use nikola_engine::shm::publish::{FrameRequest, Publisher};
use nikola_engine::shm::reader::{Frame, Reader};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::setup::{Equation, Integrator, Setup, WaveParameters};
use nikola_engine::systems::kernels::backend::Residency;
use nikola_tests::lab::{advance, build, initial};
use std::path::Path;

/// Frames that are looked at, and ticks after which there must have been as many.
const FRAMES: usize = 4;
const TICKS_MAX: u64 = 20_000;

#[test]
fn frames_are_of_their_tick_and_change_nothing() {
    let base = rich(Integrator::Strang);
    let velocity = initial(&base.torus, |_| (0.0, 0.0));
    let wave = Setup {
        equation: Equation::Wave { velocity },
        potential: Profile::Uniform(0.0),
        wave: WaveParameters { beta: -1.0, ..base.wave },
        ..base.clone()
    };
    for setup in [base, wave] {
        let (mut seen, mut unseen) = (build(&setup), build(&setup));
        if !(moved(&mut seen, &setup) && moved(&mut unseen, &setup)) {
            return;
        }
        let scratch = Scratch::new("gpu-frames");
        let request = FrameRequest { per_second: 1e9, is_asked: true };
        let publisher = Publisher::start(&seen, scratch.path(), "drill", (1_000, setup.wave.dt), request);
        let mut publisher = publisher.expect("a segment").expect("frames were asked for");
        let mut frames: Vec<Frame> = Vec::new();
        while frames.len() < FRAMES {
            seen.tick();
            publisher.after_tick(&mut seen).expect("goes on");
            assert!(seen.tick_count() < TICKS_MAX, "only {} frames in {TICKS_MAX} ticks", frames.len());
            let Some((path, _)) = publisher.newest().get() else { continue };
            let mut reader = Reader::attach(Path::new(&path)).expect("a segment");
            let mut frame = Frame::default();
            if reader.latest(&mut frame) && frames.last().is_none_or(|last| last.tick < frame.tick) {
                frames.push(frame);
            }
        }
        let nodes = setup.torus.page_nodes();
        let (mut re, mut im) = (vec![0.0; nodes], vec![0.0; nodes]);
        for frame in &frames {
            let ticks = frame.tick - unseen.tick_count();
            advance(&mut unseen, ticks);
            for page in 0..setup.torus.n_pages() {
                unseen.read_page(page, &mut re, &mut im);
                let range = page * nodes..(page + 1) * nodes;
                assert!(
                    frame.re[range.clone()] == re && frame.im[range] == im,
                    "the frame of {}",
                    frame.tick
                );
            }
        }
        let ticks = seen.tick_count() - unseen.tick_count();
        advance(&mut unseen, ticks);
        assert_eq!(distance(&seen, &unseen), 0.0, "bits depend on looking");
    }
}

#[test]
fn without_a_device_auto_runs_on_the_processor_and_says_why() {
    let setup = rich(Integrator::Strang);
    let adapter = Some("an adapter that nobody makes");
    let mut simulation = build(&setup);
    let failed = Keeper::new(&mut simulation, &setup, BackendChoice::Gpu, adapter, "drill");
    assert!(failed.err().is_some_and(|error| error.to_string().contains("--backend cpu")));
    let kept = Keeper::new(&mut simulation, &setup, BackendChoice::Auto, adapter, "drill");
    assert!(kept.is_ok());
    assert_eq!(simulation.residency(), Residency::Host);
}
