//! Exit codes of `nikola`. Invariant: one code per class of failure, documented in `--help` and in docs/FORMATS.md.

/// Everything went well.
pub const OK: u8 = 0;
/// A defect of the program.
pub const INTERNAL: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The scene or one of its overrides is wrong.
pub const SCENE: u8 = 3;
/// A file that the command reads is missing or malformed.
pub const INPUT: u8 = 4;
/// A result could not be written (disk full, read-only, …).
pub const OUTPUT: u8 = 5;
/// The state left the finite numbers.
pub const DIVERGED: u8 = 6;
/// A stored state is damaged, torn or of another version.
pub const DAMAGED: u8 = 7;
/// Another engine writes to the state directory.
pub const BUSY: u8 = 8;
/// The key of a stored state is missing, exposed or another one.
pub const KEY: u8 = 9;
/// A replay does not reach the recorded digests.
pub const REPLAY: u8 = 10;
/// The backend that was asked for is not there, cannot run the scene, or failed.
pub const BACKEND: u8 = 11;
/// The control plane does not start, or does not answer.
pub const SPINE: u8 = 12;
/// The control plane answered no.
pub const REFUSED: u8 = 13;
/// In real time the tick thread stood still and the watchdog ended the process; a black box is in the run folder.
pub const WATCHDOG: u8 = 14;
