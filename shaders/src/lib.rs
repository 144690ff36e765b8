//! The tick on a GPU: WGSL twins of the kernels, and the backend that runs them through wgpu.
//!
//! Invariant: a file `wgsl/<stem>.wgsl` is the twin of `systems/kernels/src/<stem>.rs`; it computes the same in single
//! precision, in fixed order, so that one adapter repeats its bits. Nothing that failed is read back as a result.
//!
//! Three backends: [`backend`] where every axis is a constant, in sweeps of several axes; [`lines`] where the metric
//! varies or only some pages are active, line by line; [`wave_form`] for the equation of second order in time.
//!
//! Reading order: [`plan`] (which sweeps) → [`backend`], [`lines`] (when) → [`program`], [`pipeline`], [`layout`] (how) →
//! [`device`], [`times`], bandwidth; [`wave_plan`] → [`wave_form`] → [`recorder`]; [`ledger`] (the energy balance),
//! [`frames`].

#[cfg(feature = "gpu")]
pub mod backend;
#[cfg(feature = "gpu")]
mod bandwidth;
#[cfg(feature = "gpu")]
pub mod device;
#[cfg(feature = "gpu")]
pub mod frames;
pub mod layout;
#[cfg(feature = "gpu")]
pub mod ledger;
#[cfg(feature = "gpu")]
pub mod lines;
#[cfg(feature = "gpu")]
pub mod pipeline;
pub mod plan;
pub mod program;
#[cfg(feature = "gpu")]
pub mod recorder;
#[cfg(feature = "gpu")]
pub mod times;
#[cfg(feature = "gpu")]
pub mod wave_form;
pub mod wave_plan;

#[cfg(feature = "gpu")]
pub use backend::WgpuBackend;
#[cfg(feature = "gpu")]
pub use device::{AdapterReport, Device, DeviceError};
#[cfg(feature = "gpu")]
pub use lines::{LineBackend, start};
#[cfg(feature = "gpu")]
pub use wave_form::WaveBackend;
