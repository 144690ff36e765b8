//! Scenes: a RON file to a validated setup and run plan.
//!
//! Invariant: nothing outside the process makes this folder panic; every refusal names place, found, expected and
//! remedy. A scene that resolves can be built and run.
//!
//! Reading order: [`document`] (the fields) → [`read`] (text, overrides, syntax) → [`resolve`](mod@resolve) (values)
//! → [`field`], [`potential`], [`emission`], [`mod@scan`], [`observable`] (forms) → [`expression`] → [`check`](mod@check).
//!
//! Conventions: the torus has axes r s t u v w x y z; positions run from −L/2 to L/2 − h. In expressions `t` is
//! model time, and the position along axis t is `t_axis`. Distances in named forms are to the nearest image.

pub mod document;
pub mod forms;
pub mod quantity;

pub mod error;
pub mod limits;
pub mod outline;
pub mod overrides;
pub mod read;
pub mod source;

pub mod context;
pub mod resolve;

pub mod emission;
pub mod field;
pub mod from_npy;
pub mod growth;
pub mod metric;
pub mod potential;
pub mod random;
mod remembered;
pub mod scan;
pub mod separable;
pub mod strike;

pub mod evaluate;
pub mod expression;
pub mod survey;
pub mod watch;

pub mod keeping;
pub mod observable;
pub mod plan;

pub mod check;
pub mod warning;

pub use check::{CheckReport, check, memory_bytes};
pub use error::SceneError;
pub use observable::Observable;
pub use plan::{Marginal, RunPlan, SeriesFormat, Snapshots};
pub use read::{Scene, load, load_str};
pub use resolve::{Resolved, resolve};
pub use strike::strike;
pub use warning::{Severity, Warning};

#[cfg(test)]
mod tests;
