//! Builds libzmq from bundled source against the bundled libsodium, so that CURVE needs no system package.
//! Invariant: never falls back to a libzmq without CURVE; a missing libsodium stops the build.

#![allow(unsafe_code)] // setting an environment variable for the C++ compiler

use std::env;

fn main() {
    let sodium = |key: &str| {
        env::var(key)
            .unwrap_or_else(|_| panic!("{key} is not set: libsodium-sys-stable must build from its source"))
    };
    println!("cargo:rerun-if-changed=build.rs");
    // Warnings of somebody else's sources are nobody's concern here.
    let flags = env::var("CXXFLAGS").unwrap_or_default();
    // SAFETY: this build script has one thread.
    unsafe { env::set_var("CXXFLAGS", format!("{flags} -w")) };
    let location = zeromq_src::LibLocation::new(sodium("DEP_SODIUM_LIB"), sodium("DEP_SODIUM_INCLUDE"));
    zeromq_src::Build::new().with_libsodium(Some(location)).build();
}
