//! `nikola compact`: the last snapshot of a `.nik` file or of a state directory as the only one.
//! Invariant: the old file is there until the new one is durable.

use super::Failure;
use super::info::StoredArguments;
use crate::persist::PersistError;
use crate::persist::compact::rewrite;
use crate::persist::disk::{Disk, RealDisk};
use crate::persist::lock::Lock;
use crate::persist::manifest::Manifest;
use crate::persist::reader::hex;
use crate::persist::store::log_name;
use crate::persist::writer::Encoding;
use serde_json::json;

pub(super) fn execute(arguments: &StoredArguments) -> Result<(), Failure> {
    let is_folder = arguments.path.is_dir();
    let _lock = is_folder.then(|| Lock::take(&arguments.path)).transpose()?;
    let key = arguments.request().key()?;
    let log = arguments.open()?;
    let encoding = if log.is_lossy() { Encoding::Nonary } else { Encoding::Lossless };
    let path = if is_folder {
        let stem = log.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let number: u32 = stem.strip_prefix("log-").and_then(|digits| digits.parse().ok()).unwrap_or(0);
        arguments.path.join(log_name(number + 1))
    } else {
        arguments.path.clone()
    };
    let writer = rewrite(&RealDisk, &log, &path, key, encoding)?;
    if is_folder {
        let footer =
            writer.last().ok_or_else(|| Failure::new("no snapshot was written", crate::exit::INTERNAL))?;
        let mut manifest = Manifest::read(&RealDisk, &arguments.path)?;
        manifest.log = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (manifest.footer, manifest.root) = (footer.end, hex(&footer.root));
        manifest.write(&RealDisk, &arguments.path)?;
        RealDisk.remove(log.path()).map_err(PersistError::writing(log.path()))?;
    }
    arguments.print(&json!({
        "file": path.display().to_string(),
        "snapshot": log.last().snapshot,
        "tick": log.last().tick,
        "bytes_before": log.file_len(),
        "bytes_after": writer.n_bytes(),
    }))
}
