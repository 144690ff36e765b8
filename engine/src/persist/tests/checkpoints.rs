//! The oracle's checkpoints come back as they were, with the answer that was on its way; what does not fit is refused.

use super::super::capture::{capture, restore};
use super::super::checkpoints::Slots;
use super::super::cipher::MasterKey;
use super::super::compact::rewrite;
use super::super::disk::RealDisk;
use super::super::header::{CipherKind, Header};
use super::super::page::{ABOUT, NO_PAGE};
use super::super::reader::Log;
use super::super::verify::verify_file;
use super::super::writer::{Encoding, LogWriter};
use super::{SCENE, folder};
use crate::scene::{Resolved, load_str, resolve};
use nikola_systems::Simulation;
use nikola_systems::components::ports::Event;
use nikola_systems::world::BuildOptions;
use serde_json::{Value, json};
use std::path::Path;

/// Small worlds that are watched: dense, in single precision, sparse, of second order in time, with a metric that learns and a scan.
fn worlds() -> [Resolved; 5] {
    let watched = SCENE.replace("ticks:", "oracle: (), ticks:");
    let growth = "growth: (threshold: 1e-3, vacuum: 1e-2, quiet_ticks: 2), dt: 0.05, equation";
    let scan = "scan: (input_weight: 1, readout: (nodes: 4, features: [Scan], targets: 1))";
    let learning = format!("plasticity: (eta: 0.4, lambda: 0.02), {scan}");
    let texts = [
        watched.clone(),
        watched.replace("F64", "F32"),
        watched.replace("{x: 12, z: 3}", "{x: 27, z: 9}").replace("equation", growth),
        watched.replace("Schrodinger", "Wave"),
        watched.replace("x: 12", "x: 9").replace("equation", &format!("{learning}, equation")),
    ];
    texts.map(|text| {
        let scene = load_str("small.ron", &text, &[]).expect("a scene");
        resolve(&scene, Path::new(".")).expect("a scene that resolves")
    })
}

fn build(resolved: &Resolved) -> Simulation {
    Simulation::new(&resolved.setup, &BuildOptions::default()).expect("a world")
}

/// A file with two snapshots of a world that has three checkpoints, the second of which is to be taken in next; what
/// `change` does to the description is in the second.
fn write(
    path: &Path,
    resolved: &Resolved,
    key: Option<MasterKey>,
    change: impl Fn(&mut Value),
) -> Simulation {
    let mut world = build(resolved);
    let header = Header {
        creation_secs: 1,
        baseline_secs: 1,
        cipher: if key.is_some() { CipherKind::ChaCha20Poly1305 } else { CipherKind::None },
        precision: world.precision(),
        salt: [7; 16],
        scene_id: [9; 12],
        page_nodes: world.torus().page_nodes() as u32,
    };
    let mut writer = LogWriter::create(&RealDisk, path, header, key).expect("writable");
    let mut slots = Slots::default();
    for i in 0..3 {
        world.keep_checkpoint();
        (0..20).for_each(|_| world.tick());
        if i == 1 {
            let mut copy = capture(&mut world, None, &mut Vec::new());
            copy.complete(&mut slots);
            writer.append(copy.tick, &copy.contents, &copy.untouched, Encoding::Lossless).expect("writable");
        }
    }
    while world.pop_event().is_some() {}
    world.answer(&Event::RestoreWanted { skip: 1 }).expect("room");
    let mut copy = capture(&mut world, None, &mut Vec::new());
    copy.complete(&mut slots);
    let about = copy
        .contents
        .iter_mut()
        .find(|content| content.key.page_id == NO_PAGE && content.key.column == ABOUT);
    let about = about.expect("a description");
    let mut value = serde_json::from_slice(&about.bytes).expect("JSON");
    change(&mut value);
    about.bytes = value.to_string().into_bytes();
    writer.append(copy.tick, &copy.contents, &copy.untouched, Encoding::Lossless).expect("writable");
    world
}

#[test]
fn checkpoints_come_back_and_with_them_the_answer_on_its_way() {
    let folder = folder("checkpoints");
    let path = folder.join("a.nik");
    for resolved in worlds() {
        for key in [None, Some(MasterKey::new([1; 32]))] {
            let mut written = write(&path, &resolved, key, |_| {});
            let log = Log::open(&RealDisk, &path, key).expect("whole");
            let mut read = build(&resolved);
            restore(&log, &mut read).expect("whole");
            assert_eq!(read.checkpoints(), written.checkpoints());
            assert_eq!(read.oracle_tally(), written.oracle_tally());
            assert_eq!(read.scan(), written.scan());
            assert!(read.scan().is_none_or(|output| output.tick == 60), "the last scan");
            assert!(read.oracle_tally().is_some_and(|tally| tally.energy != 0.0 && tally.max_abs2 > 0.0));
            let own = read.checkpoints().expect("watched");
            assert_eq!(
                own.iter().map(|(slot, kept)| (slot, kept.tick)).collect::<Vec<_>>(),
                [(0, 0), (1, 20), (2, 40)]
            );
            let is_other = |pages: &[usize]| pages != read.active_pages();
            assert_eq!(own.iter().any(|(_, kept)| is_other(&kept.pages)), resolved.setup.growth.is_some());
            let waiting = read.waiting_restore().expect("an answer").map(|kept| kept.tick);
            assert_eq!(waiting, Some(20));
            verify_file(&RealDisk, &path, key).expect("whole");
            for world in [&mut written, &mut read] {
                world.tick();
            }
            assert_eq!(read.save_scalars(), written.save_scalars());
        }
    }
    std::fs::remove_dir_all(&folder).expect("removable");
}

#[test]
fn a_metric_is_exact_in_a_lossy_file() {
    let folder = folder("lossy-metric");
    let [whole, lossy] = ["whole.nik", "lossy.nik"].map(|name| folder.join(name));
    let [.., learning] = worlds();
    let mut written = write(&whole, &learning, None, |_| {});
    let log = Log::open(&RealDisk, &whole, None).expect("whole");
    rewrite(&RealDisk, &log, &lossy, None, Encoding::Nonary).expect("writable");
    verify_file(&RealDisk, &lossy, None).expect("whole");
    let mut read = build(&learning);
    restore(&Log::open(&RealDisk, &lossy, None).expect("whole"), &mut read).expect("whole");
    let columns = |world: &mut Simulation| {
        let mut columns = Vec::new();
        world.save_columns(None, &mut |column| columns.push((column.kind, column.bytes.to_vec())));
        columns
    };
    for ((kind, read), (_, written)) in columns(&mut read).iter().zip(&columns(&mut written)) {
        assert_eq!(read == written, kind.name.starts_with("metric"), "{}", kind.name);
    }
    std::fs::remove_dir_all(&folder).expect("removable");
}

#[test]
fn the_answer_that_there_is_no_checkpoint_comes_back_too() {
    let folder = folder("no-checkpoint");
    let path = folder.join("a.nik");
    let [resolved, ..] = worlds();
    write(&path, &resolved, None, |about| about["restore"]["slot"] = Value::Null);
    let mut read = build(&resolved);
    restore(&Log::open(&RealDisk, &path, None).expect("whole"), &mut read).expect("whole");
    assert_eq!(read.waiting_restore(), Some(None));
    std::fs::remove_dir_all(&folder).expect("removable");
}

#[test]
fn a_description_that_does_not_fit_is_refused_with_its_place() {
    let folder = folder("strange-checkpoints");
    let path = folder.join("a.nik");
    let [dense, _, sparse, wave, learning] = worlds();
    type Change = fn(&mut Value);
    let cases: [(&Resolved, Change, &str); 15] = [
        (&dense, |about| about["about"] = 4.into(), "version 4"),
        (&dense, |about| about["oracle"]["resets"] = (-1).into(), "resets of the oracle: -1"),
        (&dense, |about| about["oracle"]["energy"] = "much".into(), "energy of the oracle: much"),
        (&dense, |about| about["checkpoints"] = 1.into(), "no list"),
        (&dense, |about| about["checkpoints"][0]["slot"] = 4.into(), "slot 4 of 4"),
        (&dense, |about| about["checkpoints"][0]["slot"] = u64::MAX.into(), "of 4"),
        (&dense, |about| about["checkpoints"][0]["slot"] = 1.into(), "two checkpoints in slot 1"),
        (&dense, |about| about["checkpoints"][1]["tick"] = 0.into(), "of tick 0"),
        (&dense, |about| about["checkpoints"][1]["tick"] = (-1).into(), "-1"),
        (&dense, |about| about["restore"]["slot"] = 3.into(), "restore of slot 3"),
        (&dense, |about| about["restore"] = json!([]), "without a slot"),
        (&dense, |about| about["checkpoints"][0]["pages"] = json!([]), "the checkpoint of tick 0"),
        (
            &sparse,
            |about| about["checkpoints"][0]["pages"] = json!([[0, 99, 0, 0, 0, 0, 0, 0, 0, 0]]),
            "beyond the torus",
        ),
        (&wave, |about| about["checkpoints"][0]["velocity"] = false.into(), "no velocity"),
        (&dense, |about| about["checkpoints"][0]["velocity"] = true.into(), "a velocity"),
    ];
    for (resolved, change, words) in cases {
        write(&path, resolved, None, change);
        let mut world = build(resolved);
        let log = Log::open(&RealDisk, &path, None).expect("whole");
        let error = restore(&log, &mut world).expect_err(words).to_string();
        for word in [words, "a.nik", "found", "expected", "remedy"] {
            assert!(error.contains(word), "{word} in {error}");
        }
    }
    // Lengths of a metric's columns: no number of them is believed before what is stored can hold it.
    for (numbers, words) in
        [(1_u64 << 40, "1099511627776 a page"), (1 << 29, "that they can hold"), (1, "column")]
    {
        write(&path, &learning, None, |about| {
            let columns = about["columns"].as_array_mut().expect("a list").iter_mut();
            columns
                .filter(|column| column["name"] == "metric")
                .for_each(|column| column["numbers"] = numbers.into());
        });
        let error = verify_file(&RealDisk, &path, None).expect_err(words).to_string();
        for word in [words, "a.nik", "found", "expected", "remedy"] {
            assert!(error.contains(word), "{word} in {error}");
        }
    }
    // A slot that the description does not name leaves payloads behind that the root counts.
    write(&path, &dense, None, |about| {
        about["checkpoints"].as_array_mut().expect("a list").pop();
    });
    let log = Log::open(&RealDisk, &path, None).expect("whole");
    let error = restore(&log, &mut build(&dense)).expect_err("a root").to_string();
    assert!(error.contains("Merkle root"), "{error}");
    std::fs::remove_dir_all(&folder).expect("removable");
}
