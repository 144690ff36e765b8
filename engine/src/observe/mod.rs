//! What leaves the engine for people and programs: files, figures, progress.
//! Invariant: reads the simulation, never changes it; a file that could not be written is an error that names the
//! path and the remedy, and what was written before stays readable.
//!
//! Reading order: [`npy`], [`npy_write`] (array files) → [`rows`], [`series`],
//! [`snapshot`] (what is written) → [`run_folder`] (where) →
//! [`digest`] (the state as a number) → [`histogram`], [`progress`], [`summary`] (what a person sees) →
//! [`run_files`], [`pictures`] (a run drawn).

pub mod error;
pub mod npy;
pub mod npy_write;

pub mod canonical;
pub mod rows;
pub mod series;
pub mod snapshot;

pub mod run_folder;

pub mod digest;

pub mod histogram;
pub mod moments;
pub mod progress;
pub mod summary;
pub mod watch;

pub mod pictures;
pub mod run_files;

pub use error::OutputError;
