//! Checks everything that can be checked about a `.nik` file or a state directory, without changing it.
//! Invariant: reads only; what it calls whole can be loaded.

use super::capture::About;
use super::cipher::MasterKey;
use super::disk::Disk;
use super::error::Result;
use super::header::CipherKind;
use super::journal::{Record, read_segments};
use super::manifest::Manifest;
use super::reader::{Buffers, Log, hex};
use super::store::{open_log, scene_id, stored_scene};
use serde_json::{Value, json};
use std::path::Path;

/// What was found.
#[derive(Debug, Clone)]
pub struct Findings {
    /// The JSON object.
    pub value: Value,
    /// Bytes of torn tails.
    pub torn_bytes: u64,
}

/// Describes a `.nik` file without reading its payloads.
///
/// # Errors
/// Not a `.nik` file, or damage in what holds it together.
pub fn describe(log: &Log) -> Value {
    let header = &log.header;
    let snapshots: Vec<Value> = log
        .snapshots
        .iter()
        .map(|footer| {
            json!({
                "snapshot": footer.snapshot,
                "tick": footer.tick,
                "time_secs": footer.time_secs,
                "payloads": footer.n_payloads,
                "live": footer.n_live,
                "bytes": footer.end - footer.begin,
                "is_full": footer.is_full,
                "root": hex(&footer.root),
            })
        })
        .collect();
    json!({
        "file": log.path().display().to_string(),
        "version": "0.4",
        "bytes": log.file_len(),
        "creation_secs": header.creation_secs,
        "last_snap_secs": header.baseline_secs,
        "cipher": if header.cipher == CipherKind::None { "none" } else { "ChaCha20-Poly1305" },
        "precision": header.precision.name(),
        "page_nodes": header.page_nodes,
        "scene_id": hex(&header.scene_id),
        "torn_bytes": log.torn_bytes,
        "is_lossy": log.is_lossy(),
        "snapshots": snapshots,
    })
}

/// Reads every live payload of a log and checks its root.
///
/// # Errors
/// The first damage.
pub fn check_log(log: &Log) -> Result<()> {
    let about = About::read(log, &mut Buffers::default())?;
    log.read_all(|key| about.shape(key), |_, _, _| {}).map(|_| ())
}

/// Checks a `.nik` file: headers, checksums, authentication, encodings, Merkle root of the last snapshot, and every
/// payload of earlier snapshots.
///
/// # Errors
/// The first damage.
pub fn verify_file(disk: &dyn Disk, path: &Path, key: Option<MasterKey>) -> Result<Findings> {
    let log = Log::open(disk, path, key)?;
    for footer in &log.snapshots {
        let earlier = Log::open_at(disk, path, key, Some(footer.end))?;
        check_log(&earlier)?;
    }
    Ok(Findings { value: describe(&log), torn_bytes: log.torn_bytes })
}

/// Checks a state directory: manifest, scene, log, journal.
///
/// # Errors
/// The first damage.
pub fn verify_folder(disk: &dyn Disk, folder: &Path, key: Option<MasterKey>) -> Result<Findings> {
    let manifest = Manifest::read(disk, folder)?;
    let log = open_log(disk, folder, &manifest, key)?;
    check_log(&log)?;
    let id = scene_id(&stored_scene(disk, folder)?);
    if id != log.header.scene_id {
        let path = folder.join(super::store::SCENE_NAME);
        let expected = hex(&log.header.scene_id);
        return Err(super::PersistError::damaged(&path, "the stored scene", hex(&id), expected));
    }
    let segments = read_segments(disk, folder, &manifest.segments, key.as_ref())?;
    let journal: Vec<Value> = segments
        .iter()
        .map(|segment| {
            let count =
                |is: fn(&Record) -> bool| segment.frames.iter().filter(|frame| is(&frame.record)).count();
            json!({
                "file": segment.path.display().to_string(),
                "tick": segment.header.tick,
                "frames": segment.frames.len(),
                "orders": count(|record| matches!(record, Record::Orders(_))),
                "digests": count(|record| matches!(record, Record::Digest(_))),
                "bytes": segment.whole_bytes,
                "torn_bytes": segment.torn_bytes,
                "is_closed": segment.is_closed(),
            })
        })
        .collect();
    let value = json!({
        "scene": manifest.scene_name,
        "checkpoint_tick": manifest.tick,
        "root": manifest.root,
        "log": describe(&log),
        "journal": journal,
    });
    Ok(Findings { value, torn_bytes: segments.iter().map(|segment| segment.torn_bytes).sum() })
}
