//! Raw declarations of libzmq, and the build of it: 4.3.5 with CURVE over libsodium, both from bundled source.
//! Invariant: what the crate `zmq` expects of `zmq-sys` is here under the same names (after erickt/rust-zmq, MIT or
//! Apache-2.0), and the library is never one without CURVE.

pub mod errno;
mod ffi;

pub use ffi::*;
pub use std::os::unix::io::RawFd;

// libsodium's archive is linked because the crate is named here.
use libsodium_sys as _;
