//! Sockets of the spine and their options.
//!
//! Invariant: every socket is CURVE, bounded in every direction and closes at once; a server socket that could come up
//! without its ZAP handler refuses everybody (libzmq alone would let everybody in).

#![allow(unsafe_code)] // two socket options that the crate `zmq` has no name for, and poll(2)

use super::envelope::ENVELOPE_BYTES_MAX;
use super::keys::KeyPair;
use std::os::fd::RawFd;
use std::time::Duration;

/// Messages that wait per connection and direction before a sender is told.
pub const HIGH_WATER: i32 = 10_000;

/// Waiting times between attempts of one send.
pub const RETRY_AFTER: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(20), Duration::from_millis(30)];

/// `ZMQ_XPUB_NODROP` of zmq.h.
const XPUB_NODROP: u32 = 69;

/// A handshake that takes longer is ended.
const HANDSHAKE_MILLIS: i32 = 5_000;

/// Longest and shortest wait between attempts to reconnect.
const RECONNECT_MILLIS: (i32, i32) = (10, 1_000);

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// libzmq was built without CURVE.
    #[error(
        "this libzmq has no CURVE, so the spine does not start\n  remedy: build with the bundled tools/zmq-sys"
    )]
    NoCurve,
    /// libzmq refuses.
    #[error("{what}: {reason}")]
    Zmq {
        /// What was tried, with the endpoint.
        what: String,
        /// Why not.
        reason: zmq::Error,
    },
    /// The message was not taken after all attempts.
    #[error("the peer took no message within 60 ms (4 attempts)")]
    Full,
}

impl SocketError {
    fn new(what: impl Into<String>) -> impl FnOnce(zmq::Error) -> Self {
        let what = what.into();
        move |reason| Self::Zmq { what, reason }
    }
}

/// A context: one I/O thread, which moves and encrypts the bytes of its sockets alone.
///
/// # Errors
/// [`SocketError::NoCurve`].
pub fn context() -> Result<zmq::Context, SocketError> {
    if zmq::has("curve") != Some(true) {
        return Err(SocketError::NoCurve);
    }
    Ok(zmq::Context::new())
}

/// A server socket of a ZAP domain, not bound yet.
///
/// # Errors
/// [`SocketError::Zmq`].
pub fn server(
    context: &zmq::Context,
    kind: zmq::SocketType,
    keys: &KeyPair,
    domain: &str,
) -> Result<zmq::Socket, SocketError> {
    let build = || {
        let mut socket = bounded(context, kind)?;
        socket.set_curve_server(true)?;
        set_secret(&socket, keys)?;
        socket.set_zap_domain(domain)?;
        enforce_domain(&mut socket)?;
        if kind == zmq::ROUTER {
            // An answer to somebody who is gone is an error, not silence.
            socket.set_router_mandatory(true)?;
        }
        Ok(socket)
    };
    build().map_err(SocketError::new("server socket"))
}

/// A client socket connected to a server whose public key is known.
///
/// # Errors
/// [`SocketError::Zmq`].
pub fn client(
    context: &zmq::Context,
    kind: zmq::SocketType,
    keys: &KeyPair,
    server_key: &str,
    endpoint: &str,
) -> Result<zmq::Socket, SocketError> {
    let build = || {
        let socket = bounded(context, kind)?;
        set_secret(&socket, keys)?;
        socket.set_curve_serverkey(&decoded(server_key)?)?;
        socket.connect(endpoint)?;
        Ok(socket)
    };
    build().map_err(SocketError::new(format!("connecting to {endpoint}")))
}

/// Binds to an endpoint.
///
/// # Errors
/// [`SocketError::Zmq`] names it.
pub fn bind(socket: &zmq::Socket, endpoint: &str) -> Result<(), SocketError> {
    socket.bind(endpoint).map_err(SocketError::new(format!("binding {endpoint}")))
}

/// Sends all frames, or waits and tries again, three times.
///
/// # Errors
/// [`SocketError::Full`] after the last attempt.
pub fn send_patiently(socket: &zmq::Socket, frames: &[&[u8]]) -> Result<(), SocketError> {
    let mut waits = RETRY_AFTER.iter();
    loop {
        match socket.send_multipart(frames, zmq::DONTWAIT) {
            Ok(()) => return Ok(()),
            Err(zmq::Error::EAGAIN) => match waits.next() {
                Some(wait) => std::thread::sleep(*wait),
                None => return Err(SocketError::Full),
            },
            Err(reason) => return Err(SocketError::new("sending")(reason)),
        }
    }
}

/// Waits until one of the descriptors is readable or the time is over; which are. A closed peer counts as readable, and
/// a signal ends the wait early. `zmq_poll` would look first and wait in a second system call.
///
/// # Errors
/// What poll(2) says.
pub fn readable<const N: usize>(
    descriptors: [Option<RawFd>; N],
    wait: Duration,
) -> Result<[bool; N], std::io::Error> {
    let item = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // A negative descriptor is passed over.
    let mut items = descriptors.map(|descriptor| item(descriptor.unwrap_or(-1)));
    // Rounded up: a timeout of zero before the time has come would spin.
    let millis = i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    // SAFETY: the pointer and the length describe the array, which outlives the call.
    let code = unsafe { libc::poll(items.as_mut_ptr(), N as libc::nfds_t, millis) };
    if code < 0 {
        let failed = std::io::Error::last_os_error();
        if failed.kind() != std::io::ErrorKind::Interrupted {
            return Err(failed);
        }
        return Ok([false; N]);
    }
    Ok(items.map(|item| item.revents != 0))
}

fn bounded(context: &zmq::Context, kind: zmq::SocketType) -> Result<zmq::Socket, zmq::Error> {
    let socket = context.socket(kind)?;
    socket.set_linger(0)?;
    socket.set_sndhwm(HIGH_WATER)?;
    socket.set_rcvhwm(HIGH_WATER)?;
    socket.set_maxmsgsize(ENVELOPE_BYTES_MAX as i64)?;
    socket.set_handshake_ivl(HANDSHAKE_MILLIS)?;
    socket.set_tcp_keepalive(1)?;
    socket.set_reconnect_ivl(RECONNECT_MILLIS.0)?;
    socket.set_reconnect_ivl_max(RECONNECT_MILLIS.1)?;
    Ok(socket)
}

fn set_secret(socket: &zmq::Socket, keys: &KeyPair) -> Result<(), zmq::Error> {
    socket.set_curve_publickey(&decoded(&keys.public)?)?;
    socket.set_curve_secretkey(&decoded(&keys.secret)?)
}

fn decoded(key: &str) -> Result<Vec<u8>, zmq::Error> {
    zmq::z85_decode(key).map_err(|_| zmq::Error::EINVAL)
}

/// Without a ZAP handler, refuse: libzmq's own default is to accept.
fn enforce_domain(socket: &mut zmq::Socket) -> Result<(), zmq::Error> {
    set_option(socket, zmq_sys::ZMQ_ZAP_ENFORCE_DOMAIN, 1)
}

/// Whether a PUB socket passes over a subscriber whose queue is full (libzmq's own default), or says EAGAIN and sends
/// to nobody.
pub(super) fn set_lossy(socket: &mut zmq::Socket, is_lossy: bool) -> Result<(), zmq::Error> {
    set_option(socket, XPUB_NODROP, libc::c_int::from(!is_lossy))
}

fn set_option(socket: &mut zmq::Socket, option: u32, value: libc::c_int) -> Result<(), zmq::Error> {
    // SAFETY: the socket is open, and the pointer and the length describe an integer that outlives the call.
    let code = unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            option as libc::c_int,
            (&raw const value).cast(),
            size_of::<libc::c_int>(),
        )
    };
    if code == 0 { Ok(()) } else { Err(zmq::Error::EINVAL) }
}
