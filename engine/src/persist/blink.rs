//! Blink: the process replaces itself by a new binary without its state touching the disk.
//!
//! Invariant: everything acknowledged is in the closed journal before the old program ends, so that whatever is wrong
//! with the handover costs time, not ticks: the new program then recovers from the disk as after a kill. The handover is
//! a `.nik` file in shared memory (checksums, version, Merkle root, the state's own key), read once and removed.
//!
//! ```text
//! SIGUSR2 → finish the tick → journal closed → handover in /dev/shm → execv → world built → handover checked → next tick
//!                                                                                     └ missing, stale, other version: journal
//! ```

use super::capture::{About, capture, restore};
use super::checkpoints::Slots;
use super::disk::RealDisk;
use super::error::{Fault, PersistError, Result};
use super::header::{CipherKind, Header};
use super::journal::Segment;
use super::reader::{Buffers, Log};
use super::replay::Replay;
use super::store::Shared;
use super::writer::{Encoding, LogWriter, random_salt, unix_secs};
use crate::shm;
use crate::shm::writer::wall_nanos;
use nikola_systems::Simulation;
use std::path::{Path, PathBuf};

/// Tells the new program when the last tick of the old one ended, nanoseconds since 1970. Its presence says that a
/// handover was left.
pub const VARIABLE: &str = "NIKOLA_BLINK";

/// Where this process leaves its state; the new program has the same process id.
pub fn path() -> PathBuf {
    shm::folder().join(format!("nikola-blink.{}.nik", std::process::id()))
}

/// When the old program's last tick ended, where this program follows one.
pub fn began_nanos() -> Option<u64> {
    std::env::var(VARIABLE).ok()?.parse().ok()
}

/// Leaves the state for the new program.
///
/// # Errors
/// When shared memory takes no more; the state on the disk is whole all the same.
pub fn hand_over(simulation: &mut Simulation, shared: &Shared) -> Result<()> {
    let path = path();
    let _ = std::fs::remove_file(&path);
    let header = Header {
        creation_secs: unix_secs(),
        baseline_secs: unix_secs(),
        cipher: if shared.key.is_some() { CipherKind::ChaCha20Poly1305 } else { CipherKind::None },
        precision: simulation.precision(),
        salt: random_salt(&path)?,
        scene_id: [0; 12],
        page_nodes: simulation.torus().page_nodes() as u32,
    };
    let mut state = capture(simulation, None, &mut Vec::new());
    state.complete(&mut Slots::default());
    let mut log = LogWriter::create(&RealDisk, &path, header, shared.key)?;
    log.append(state.tick, &state.contents, &[], Encoding::Lossless).map(|_| ())
}

/// Takes over what the old program left, if it is what the journal ends with. The world holds the checkpoint of the
/// directory before, and after a refusal.
pub fn take_over(simulation: &mut Simulation, shared: &Shared, segments: &[Segment]) -> Option<Replay> {
    began_nanos()?;
    let checkpoint_tick = simulation.tick_count();
    let path = path();
    let taken = read(simulation, &path, shared, segments);
    let _ = std::fs::remove_file(&path);
    match taken {
        Ok(tick) => Some(Replay { checkpoint_tick, tick, ..Replay::default() }),
        Err(error) => {
            eprintln!("warning: blink: {error}\n  the state is recovered from the disk instead");
            None
        }
    }
}

fn read(simulation: &mut Simulation, path: &Path, shared: &Shared, segments: &[Segment]) -> Result<u64> {
    let log = Log::open(&RealDisk, path, shared.key)?;
    let closed =
        segments.last().filter(|segment| segment.is_closed()).and_then(|segment| segment.frames.last());
    let (found, expected) = (log.last().tick, closed.map(|frame| frame.tick));
    if Some(found) != expected {
        let expected =
            expected.map_or_else(|| "a closed journal".into(), |tick| format!("tick {tick}, as the journal"));
        let (what, remedy) = ("the handover", "none is needed");
        return Err(PersistError::new(Fault::Input, path, what, format!("tick {found}"), expected, remedy));
    }
    // Everything is checked before the world is touched: `restore` reads columns as it goes.
    let about = About::read(&log, &mut Buffers::default())?;
    log.read_all(|key| about.shape(key), |_, _, _| {})?;
    restore(&log, simulation)?;
    Ok(found)
}

/// Milliseconds from the old program's last tick to now.
pub fn elapsed_millis() -> Option<f64> {
    began_nanos().map(|began| wall_nanos().saturating_sub(began) as f64 * 1e-6)
}

/// Replaces this program by the binary it was started from, as it now is on the disk, with the same arguments.
///
/// # Errors
/// What the system says; else it does not return.
#[cfg(unix)]
pub fn exec(ended_nanos: u64) -> std::io::Error {
    use std::os::unix::process::CommandExt;
    let mut arguments = std::env::args_os();
    // A name with a slash is a path; the file behind /proc/self/exe would be the old one.
    let named = arguments.next().map(PathBuf::from).filter(|name| name.components().count() > 1);
    let program = match named.map_or_else(std::env::current_exe, Ok) {
        Ok(program) => program,
        Err(error) => return error,
    };
    std::process::Command::new(program).args(arguments).env(VARIABLE, ended_nanos.to_string()).exec()
}
