//! The tick on a GPU: WGSL twins of the kernels, and the backend that runs them through wgpu.
//!
//! Invariant: a file `wgsl/<stem>.wgsl` is the twin of `systems/kernels/src/<stem>.rs`; it computes the same in single
//! precision, in fixed order, so that one adapter repeats its bits. Nothing that failed is read back as a result.
//!
//! Reading order: [`plan`] (which sweeps) → [`backend`] (when) → [`program`], [`pipeline`], [`layout`] (how) →
//! [`device`], [`times`]; [`ledger`] (the energy balance), [`frames`]; the wave form has a backend of its own,
//! [`wave_plan`] → [`wave_form`] → [`recorder`].

#[cfg(feature = "gpu")]
pub mod backend;
#[cfg(feature = "gpu")]
pub mod device;
#[cfg(feature = "gpu")]
pub mod frames;
pub mod layout;
#[cfg(feature = "gpu")]
pub mod ledger;
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
pub use wave_form::WaveBackend;
