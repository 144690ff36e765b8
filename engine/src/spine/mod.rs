//! The spine: how everything outside the tick speaks with the engine, over ZeroMQ with CURVE and protobuf.
//!
//! Invariant: nobody comes in whose key is not on the white list; control never waits behind data; the tick waits for
//! nobody. The how-to is docs/SPINE.md.
//!
//! Reading order: [`envelope`], [`mod@order`] and [`port`] (what is said) → [`keys`], [`roles`], [`zap`], [`pairing`], [`replay`]
//! (who may say it) → [`broker`] (the thread in the middle) → [`route`], [`health`], [`supervisor`], [`breaker`] →
//! [`priority`] (which of the threads goes first) → [`attach`] and [`tick_side`] (the runner's end) and [`client`] (everybody else's).

pub mod attach;
pub mod breaker;
pub mod broker;
pub mod client;
pub mod clock;
pub mod envelope;
pub mod health;
pub mod key_range;
pub mod keys;
pub mod notify;
pub mod order;
pub mod pairing;
pub mod place;
pub mod port;
pub mod priority;
pub mod replay;
pub mod roles;
pub mod route;
mod signal;
pub mod socket;
pub mod sodium;
pub mod sparse;
pub mod supervisor;
pub mod tick_side;
pub mod zap;

/// Code written by `tools/proto/`.
pub mod generated {
    #[rustfmt::skip]
    pub mod nikola;
}
