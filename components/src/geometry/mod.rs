//! Addresses on the torus: axes, 128-bit Morton keys, the Peano curve, balanced nonary digits.
//! Invariant: every address has one inverse; what leaves the process is big-endian bytes or a checked number.

pub mod axis;

pub mod morton;
pub mod peano;
pub mod traversal;

pub mod nonary;
