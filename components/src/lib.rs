//! What exists in a Nikola world: geometry, columns of physical quantities, parameters, clock, ports.
//! Invariant: plain data. Nothing here acts on a tick, opens a file, reads a clock or starts a thread.
//!
//! Reading order: [`geometry`] (axes, keys, curves) → [`torus`] (extents, lengths, pages) → [`mod@column`] and
//! [`wave`] (what a page carries) → [`setup`] (what a world is built from) → [`ports`] and [`telemetry`].

pub mod geometry;
pub mod torus;

pub mod column;
pub mod fill;
pub mod noise;
pub mod wave;

pub mod emitter;
pub mod growth;
pub mod metric;
pub mod scan;
pub mod setup;

pub mod checkpoints;
pub mod chemistry;
pub mod clock;
pub mod ledger;
pub mod oracle;
pub mod ports;
pub mod telemetry;
