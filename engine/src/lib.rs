//! Nikola's engine: everything with a file descriptor or a clock.
//! Invariant: the tick itself lives in `nikola_systems`; this crate only feeds it, paces it and looks at it.
//!
//! Reading order: [`app`] (commands) → [`run`] (one run, start to summary) → [`runner`] (pacing) → [`intake`] and [`edge`]
//! (what enters and surrounds a tick) → [`scene`] (RON to
//! a world) → [`observe`] (what is written, drawn and printed) → [`shm`]
//! (frames for other processes) → [`bench`](mod@bench) → [`task`]
//! (the torus as a reservoir).

pub mod app;
pub mod backend;
pub mod bench;
pub mod edge;
pub mod exit;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod incidents;
pub mod intake;
pub mod memory;
pub mod observe;
pub mod persist;
pub mod plot;
pub mod plots;
pub mod run;
pub mod runner;
pub mod scene;
pub mod shm;
pub mod signals;
#[cfg(feature = "spine")]
pub mod spine;
pub mod task;

pub use nikola_systems as systems;
