//! The one integration test binary of the workspace.

mod command_line;
mod determinism;
mod engs;
mod golden;
#[cfg(feature = "gpu")]
mod gpu;
mod kept;
mod kills;
mod living;
mod mamba_scan;
mod metric;
mod oracle;
mod precision;
mod python;
mod realtime;
mod resets;
mod rows;
mod shm;
mod shm_model;
mod sources;
mod sparse;
mod spine;
mod state;
mod task;
mod tidy;
mod validation;
mod vectors;
mod wave_form;
