//! `nikola verify`: every checksum, encryption, Merkle root and journal frame of a stored state.
//! Invariant: reads only. Exit code 0 means whole; a torn tail of a `.nik` file, which loading leaves out, is reported as
//! damage, because the file alone cannot tell it from a lost snapshot.

use super::Failure;
use super::info::StoredArguments;
use crate::exit;
use crate::persist::disk::RealDisk;
use crate::persist::verify::{verify_file, verify_folder};

pub(super) fn execute(arguments: &StoredArguments) -> Result<(), Failure> {
    let key = arguments.request().key()?;
    let is_folder = arguments.path.is_dir();
    let findings = if is_folder {
        verify_folder(&RealDisk, &arguments.path, key)?
    } else {
        verify_file(&RealDisk, &arguments.path, key)?
    };
    arguments.print(&findings.value)?;
    if findings.torn_bytes > 0 && !is_folder {
        let message = format!(
            "{}: the tail is torn\n  found:    {} bytes behind the last whole snapshot\n  expected: none\n  \
             remedy:   nothing to do if a write was cut short: loading leaves them out; else restore a copy",
            arguments.path.display(),
            findings.torn_bytes
        );
        return Err(Failure::new(message, exit::DAMAGED));
    }
    Ok(())
}
