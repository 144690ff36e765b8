//! Frames of a running torus in shared memory: Ψ for every process on this machine that wants to look.
//!
//! Invariant: the tick never waits for a reader and no reader changes a segment; a frame that was overwritten while it
//! was copied is discarded, never shown. Format: docs/FORMATS.md, section "Shared memory".
//!
//! Reading order: [`seqlock`] (why a copy is whole) → [`layout`] (what lies where) → [`mapping`] (pages of memory) →
//! [`writer`], [`reader`] → [`publish`] (the edge of a run) → [`picture`] (a frame drawn with characters).
//!
//! ```text
//! tick ─ publish ─► slot k mod N ─► latest = k     reader: latest ─ copy ─ same sequence? ─ yes: a frame
//!                   odd … even                                          └ no: the next one
//! ```

pub mod layout;
pub mod mapping;
pub mod picture;
pub mod publish;
pub mod reader;
pub mod seqlock;
pub mod writer;

pub use layout::{Header, ShmError};

use std::path::PathBuf;

/// Begin of the names of all segments.
pub const PREFIX: &str = "nikola.";

/// Where segments lie: `NIKOLA_SHM`, or the system's folder for shared memory.
pub fn folder() -> PathBuf {
    let named = std::env::var_os("NIKOLA_SHM").filter(|value| !value.is_empty());
    named.map_or_else(|| PathBuf::from("/dev/shm"), PathBuf::from)
}

#[cfg(test)]
mod tests;
