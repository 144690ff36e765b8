//! Harness of the integration tests, and the validation cases that both the tests and the validation report run.
//! Invariant: a case compares with an exact solution, a published value or an identity; never with an earlier run.

pub mod kills;
pub mod lab;
pub mod validation;
