//! State that survives: `.nik` files, the journal, naps, recovery.
//!
//! Invariant: `kill -9` at any instant loses nothing that was acknowledged. A tick is a pure function of (world, ingress
//! batch), so durable state is the last checkpoint and the batches since; the awake engine writes no field data.
//!
//! Reading order: [`open`](mod@open) → [`store`] (a directory) → [`keeper`] (the edge of a run) → [`blink`] → [`nap`], [`capture`](mod@capture),
//! [`checkpoints`], [`tally`], [`scanned`], [`compact`](mod@compact),
//! [`journal`], [`journal_writer`], [`replay`](mod@replay), [`manifest`], [`lock`] → the `.nik` file: [`header`],
//! [`page`], [`footer`], [`codec`], [`nrle`], [`cipher`], [`merkle`], [`writer`], [`reader`] → [`disk`].

pub mod open;
pub mod store;

pub mod keeper;

pub mod blink;

pub mod capture;
pub mod checkpoints;
pub mod compact;
pub mod journal;
pub mod journal_writer;
pub mod lock;
pub mod manifest;
pub mod nap;
pub mod replay;
pub mod scanned;
pub mod tally;
pub mod verify;

pub mod cipher;
pub mod codec;
pub mod footer;
pub mod header;
pub mod merkle;
pub mod nrle;
pub mod page;
pub mod reader;
pub mod writer;

pub mod disk;
pub mod error;

pub use disk::{AppendFile, Disk};
pub use error::{Fault, PersistError, Result};

#[cfg(test)]
mod tests;
