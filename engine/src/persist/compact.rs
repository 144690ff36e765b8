//! Compaction: a log of many snapshots becomes a new file with one full snapshot.
//!
//! Invariant: the new file is written beside the old one, synced, renamed and named by the manifest before the old one
//! goes; a crash at any point leaves a directory that loads. Snapshot number and tick stay.

use super::capture::About;
use super::cipher::MasterKey;
use super::disk::{Disk, partial};
use super::error::{PersistError, Result};
use super::header::Header;
use super::reader::{Buffers, Log};
use super::store::{Shared, log_name};
use super::writer::{Content, Encoding, LogWriter, random_salt, unix_secs};
use std::path::Path;

/// Writes the last snapshot of `log` as the only one of a new file at `path`, and returns the new file open for
/// appending.
///
/// # Errors
/// Damage in the old file; a failed write.
pub fn rewrite(
    disk: &dyn Disk,
    log: &Log,
    path: &Path,
    key: Option<MasterKey>,
    encoding: Encoding,
) -> Result<LogWriter> {
    let about = About::read(log, &mut Buffers::default())?;
    let mut contents = Vec::with_capacity(log.live.len());
    log.read_all(
        |key| about.shape(key),
        |key, width, bytes| contents.push(Content { key, width, bytes: bytes.to_vec() }),
    )?;
    let header = Header { baseline_secs: unix_secs(), salt: random_salt(path)?, ..log.header };
    let mut writer = LogWriter::create(disk, &partial(path), header, key)?;
    let last = log.last();
    writer.append_as(last.snapshot, last.tick, &contents, &[], encoding)?;
    writer.settle(disk, path)?;
    Ok(writer)
}

/// Compacts the log of a store, and makes the new file its log.
///
/// # Errors
/// As [`rewrite`]; when the manifest cannot be replaced.
pub fn compact(shared: &Shared, old: &LogWriter) -> Result<LogWriter> {
    let footer = old.last().map(|footer| footer.end);
    let log = Log::open_at(&*shared.disk, old.path(), shared.key, footer)?;
    let name = old.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let number: u32 = name.strip_prefix("log-").and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let path = shared.folder.join(log_name(number + 1));
    let encoding = if log.is_lossy() { Encoding::Nonary } else { Encoding::Lossless };
    let writer = rewrite(&*shared.disk, &log, &path, shared.key, encoding)?;
    shared.checkpoint(&writer, 0)?;
    shared.disk.remove(old.path()).map_err(PersistError::writing(old.path()))?;
    Ok(writer)
}
