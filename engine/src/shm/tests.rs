//! Headers, hostile segments and the arithmetic of slots.

use super::layout::{HEADER_WORDS, Header, ShmError, slot};
use super::picture::{Sides, caption, project};
use super::publish::{FrameRequest, Publisher};
use super::reader::{Frame, Reader};
use super::writer::Writer;
use nikola_systems::Simulation;
use nikola_systems::components::setup::{Precision, Setup};
use nikola_systems::components::torus::{PageRule, Torus};
use nikola_systems::world::BuildOptions;
use std::path::{Path, PathBuf};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nikola-shm-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("writable");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Odd node counts, several pages.
fn torus() -> Torus {
    let (mut extents, mut shape) = ([1; 9], [1; 9]);
    (extents[7], extents[8], shape[7], shape[8]) = (5, 3, 1, 3);
    Torus::new(extents, [2.0; 9], PageRule::Shape(shape)).expect("valid")
}

fn simulation(precision: Precision) -> Simulation {
    let mut setup = Setup::free(torus(), 1e-2);
    setup.precision = precision;
    Simulation::new(&setup, &BuildOptions::default()).expect("valid")
}

fn header(simulation: &Simulation) -> Header {
    let scalar_bytes = if simulation.precision() == Precision::F32 { 4 } else { 8 };
    let (torus, title) = (
        simulation.torus().clone(),
        "a title with an ä at the end of it, more than 64 bytes of it: äää".into(),
    );
    Header { slots: 2, capacity_pages: 5, scalar_bytes, pid: 7, epoch: 9, ticks: 11, dt: 0.5, torus, title }
}

#[test]
fn a_frame_is_what_the_world_holds() {
    let folder = Folder::new("frame");
    for precision in [Precision::F32, Precision::F64] {
        let mut simulation = simulation(precision);
        let mut writer = Writer::create(&folder.0, "nikola.frame", header(&simulation)).expect("made");
        let mut reader = Reader::attach(writer.path()).expect("attached");
        let mut frame = Frame::default();
        assert!(!reader.latest(&mut frame), "no frame yet");
        for tick in 1..=5 {
            simulation.tick();
            let place = writer.publish(&mut simulation);
            assert!(reader.latest(&mut frame));
            assert_eq!((frame.tick, frame.number, place.tick), (tick, tick, tick));
            assert_eq!(reader.read_slot(place.slot, &mut frame), Some(place.sequence));
            assert_eq!(frame.pages, [0, 1, 2, 3, 4]);
            for page in 0..5 {
                let (mut re, mut im) = ([0.0; 3], [0.0; 3]);
                simulation.read_page(page, &mut re, &mut im);
                assert_eq!((&frame.re[3 * page..][..3], &frame.im[3 * page..][..3]), (&re[..], &im[..]));
            }
        }
        assert_eq!(reader.header().title.len(), 63, "cut between characters: {:?}", reader.header().title);
    }
}

/// Whatever a file holds, attaching gives an error or a reader whose frames are inside the torus.
fn look(path: &Path) -> Result<(), ShmError> {
    let mut reader = Reader::attach(path)?;
    let mut frame = Frame::default();
    for slot in 0..reader.header().slots {
        if reader.read_slot(slot, &mut frame).is_some() {
            assert!(frame.pages.len() <= 5 && frame.pages.iter().all(|page| *page < 5));
            let sides = Sides::of(reader.header());
            let _ = (project(reader.header(), &frame, &sides), caption(reader.header(), &sides));
        }
    }
    Ok(())
}

#[test]
fn every_flipped_bit_of_a_header_is_found_and_no_length_is_believed() {
    let folder = Folder::new("hostile");
    let mut simulation = simulation(Precision::F32);
    let mut writer = Writer::create(&folder.0, "nikola.hostile", header(&simulation)).expect("made");
    writer.publish(&mut simulation);
    let whole = std::fs::read(writer.path()).expect("readable");
    let path = folder.0.join("copy");
    let try_bytes = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("writable");
        look(&path)
    };
    assert!(try_bytes(&whole).is_ok());
    for bit in 0..64 * 64 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let is_changing = (8..16).contains(&(bit / 64));
        assert_eq!(try_bytes(&bytes).is_ok(), is_changing, "bit {bit}");
    }
    for end in (0..whole.len()).step_by(61) {
        assert!(try_bytes(&whole[..end]).is_err(), "cut at {end}");
    }
    // Slots with numbers of bad faith: even sequences over page indices and counts that do not exist.
    let first = HEADER_WORDS * 8;
    for (word, value) in
        [(slot::PAGES, u64::MAX), (slot::ACTIVE, u64::MAX), (16, 1 << 40), (slot::SEQUENCE, 1)]
    {
        let mut bytes = whole.clone();
        bytes[first + 8 * word..][..8].copy_from_slice(&value.to_le_bytes());
        assert!(try_bytes(&bytes).is_ok(), "word {word}");
    }
}

#[test]
fn a_segment_that_cannot_be_made_names_the_folder_and_the_remedy() {
    let simulation = simulation(Precision::F64);
    let nowhere = Path::new("/proc/nikola-nowhere");
    let asked = |is_asked| FrameRequest { per_second: 30.0, is_asked };
    let error =
        Publisher::start(&simulation, nowhere, "x", (1, 1.0), asked(true)).expect_err("no such folder");
    let text = error.to_string();
    assert!(text.contains("/proc/nikola-nowhere") && text.contains("--frames 0"), "{text}");
    assert!(
        Publisher::start(&simulation, nowhere, "x", (1, 1.0), asked(false)).expect("a warning").is_none()
    );
    let none = FrameRequest { per_second: 0.0, is_asked: true };
    assert!(Publisher::start(&simulation, nowhere, "x", (1, 1.0), none).expect("nothing to do").is_none());
}
