//! Physics and signal mathematics as pure functions on slices: no ECS, no I/O, no clock, no threads of its own
//! (a caller lends a [`Crew`]). Invariant: every result is a function of the arguments alone. The same bits
//! come out for 1, 2 or N threads and for every SIMD level, because work is cut by the data's shape, never by
//! the crew's.
//!
//! Reading order: [`field`] (what a wave looks like in memory) → [`half_potential`] → [`kinetic`] → [`wave_form`] →
//! [`reduce`].

pub mod backend;
pub mod crew;
pub mod energy;
pub mod engs;
pub mod field;
pub mod half_potential;
pub mod kinetic;
pub mod mamba_scan;
pub mod metric_update;
pub mod nonlinear;
pub mod readout;
pub mod reduce;
pub mod simd;
pub mod source;
mod threads;
pub mod transcendental;
pub mod wave_form;

pub use crew::Crew;
pub use field::{PageMut, PageRef, Real, Shape, Threads, Values};
