//! What happens in a Nikola world, in order. [`tick`] is the pipeline; one file per stage.
//! Invariant: a tick is a pure function of (world, ingress batch). No I/O, no wall clock, no thread of its own: the
//! crew and the clock are lent by the caller, and neither changes a result.
//!
//! Reading order: [`tick`] → the stages [`ingress`], [`metric_update`], [`half_potential`], [`kinetic`], [`nonlinear`]
//! or [`wave_form`], [`boundary`], [`mamba_scan`], [`engs`], [`oracle`], [`egress`] → [`integrator`] (how a tick is composed) →
//! [`propagators`] (what moves the wave) → [`world`] (how it is built) → [`simulation`] (the handle) → [`state`]
//! (what survives).

pub mod tick;

pub mod ingress;

pub mod metric_update;

pub mod damping;
pub mod half_potential;
pub mod kinetic;
pub mod nonlinear;
pub mod wave_form;

pub mod boundary;
pub mod mamba_scan;

pub mod engs;
pub mod oracle;

pub mod egress;

pub mod device;
pub mod integrator;
pub mod observables;
pub mod propagators;
pub mod simulation;
pub mod state;
pub mod world;

pub use nikola_components as components;
pub use nikola_kernels as kernels;
pub use simulation::Simulation;
