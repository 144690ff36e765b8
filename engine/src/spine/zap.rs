//! The ZAP handler (ZeroMQ RFC 27): asked at every handshake whether a key is admitted.
//!
//! Invariant: deny by default. It is bound before any socket of its context; sockets set a domain and
//! ZMQ_ZAP_ENFORCE_DOMAIN, so that without it nobody comes in. The user id of an admitted connection is its public
//! key in Z85, and libzmq attaches it to every message.

use super::keys::Whitelist;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

/// Domain of the sockets for known keys.
pub const DOMAIN: &str = "nikola";

/// Domain of the pairing socket, which admits unknown keys while pairing is open.
pub const PAIRING_DOMAIN: &str = "nikola-pairing";

/// Put together, because it only looks like a link.
const ENDPOINT: &str = concat!("inproc:", "//zeromq.zap.01");

/// One frame that no handshake can produce ends the handler.
const STOP: &str = "STOP";

/// Who is admitted; shared by the broker, which changes it, and the handlers.
#[derive(Debug, Default)]
pub struct Admission {
    /// Known keys.
    pub whitelist: RwLock<Whitelist>,
    /// Whether unknown keys may speak to the pairing socket.
    pub is_pairing_open: AtomicBool,
    /// Handshakes refused.
    pub refused: AtomicU64,
    /// Handshakes admitted.
    pub admitted: AtomicU64,
}

impl Admission {
    /// Whether a key may connect to sockets of `domain`.
    pub fn admits(&self, domain: &str, public_key: &str) -> bool {
        let is_known = self.whitelist.read().is_ok_and(|whitelist| whitelist.peers.contains_key(public_key));
        match domain {
            DOMAIN => is_known,
            PAIRING_DOMAIN => self.is_pairing_open.load(Ordering::Acquire),
            _ => false,
        }
    }
}

/// A running handler; stops when dropped.
pub struct Handler {
    context: zmq::Context,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handler")
    }
}

impl Handler {
    /// Binds the handler of a context, before any other socket of it.
    ///
    /// # Errors
    /// When the context has one already.
    pub fn start(context: &zmq::Context, admission: Arc<Admission>) -> Result<Self, zmq::Error> {
        let socket = context.socket(zmq::REP)?;
        socket.set_linger(0)?;
        socket.bind(ENDPOINT)?;
        let thread = std::thread::Builder::new()
            .name("spine-zap".into())
            .spawn(move || serve(&socket, &admission))
            .map_err(|_| zmq::Error::ENOMEM)?;
        Ok(Self { context: context.clone(), thread: Some(thread) })
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        let stop = || -> Result<(), zmq::Error> {
            let socket = self.context.socket(zmq::REQ)?;
            socket.set_linger(0)?;
            socket.connect(ENDPOINT)?;
            socket.send(STOP, 0)?;
            socket.recv_bytes(0).map(drop)
        };
        if stop().is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &zmq::Socket, admission: &Admission) {
    loop {
        let frames = match socket.recv_multipart(0) {
            Ok(frames) => frames,
            Err(zmq::Error::EINTR) => continue,
            Err(_) => return,
        };
        if frames == [STOP.as_bytes()] {
            let _ = socket.send("", 0);
            return;
        }
        let reply = reply(&frames, admission);
        if socket.send_multipart(reply, 0).is_err() {
            return;
        }
    }
}

/// The answer to one request: version, request id, status code, status text, user id, metadata.
fn reply(frames: &[Vec<u8>], admission: &Admission) -> [Vec<u8>; 6] {
    let id = frames.get(1).cloned().unwrap_or_default();
    let user = match frames {
        // version, request id, domain, address, routing id, mechanism, key
        [version, _, domain, _, _, mechanism, key]
            if version == b"1.0" && mechanism == b"CURVE" && key.len() == 32 =>
        {
            let key = zmq::z85_encode(key).expect("32 bytes are a multiple of four");
            let domain = String::from_utf8_lossy(domain);
            admission.admits(&domain, &key).then_some(key)
        }
        _ => None,
    };
    let counter = if user.is_some() { &admission.admitted } else { &admission.refused };
    counter.fetch_add(1, Ordering::Relaxed);
    let (code, text) = if user.is_some() { ("200", "OK") } else { ("400", "not admitted") };
    [b"1.0".to_vec(), id, code.into(), text.into(), user.unwrap_or_default().into_bytes(), Vec::new()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spine::keys::KeyPair;

    fn request(domain: &str, mechanism: &str, key: &str) -> Vec<Vec<u8>> {
        let key = zmq::z85_decode(key).expect("a key");
        let words: [&[u8]; 7] = [b"1.0", b"7", domain.as_bytes(), b"", b"", mechanism.as_bytes(), &key];
        words.iter().map(|word| word.to_vec()).collect()
    }

    fn code(admission: &Admission, frames: &[Vec<u8>]) -> String {
        String::from_utf8(reply(frames, admission)[2].clone()).expect("digits")
    }

    #[test]
    fn only_known_keys_by_curve_in_the_right_domain() {
        let (known, unknown) = (KeyPair::generate().public, KeyPair::generate().public);
        let admission = Admission::default();
        *admission.whitelist.write().expect("a lock") = Whitelist::parse(&format!("a {known}"));
        assert_eq!(code(&admission, &request(DOMAIN, "CURVE", &known)), "200");
        assert_eq!(code(&admission, &request(DOMAIN, "CURVE", &unknown)), "400");
        assert_eq!(code(&admission, &request(DOMAIN, "PLAIN", &known)), "400");
        assert_eq!(code(&admission, &request("other", "CURVE", &known)), "400");
        assert_eq!(code(&admission, &request(DOMAIN, "CURVE", &known)[..6]), "400");
        assert_eq!(code(&admission, &request(PAIRING_DOMAIN, "CURVE", &unknown)), "400");
        admission.is_pairing_open.store(true, Ordering::Release);
        assert_eq!(code(&admission, &request(PAIRING_DOMAIN, "CURVE", &unknown)), "200");
        assert_eq!(code(&admission, &request(DOMAIN, "CURVE", &unknown)), "400");
        assert_eq!(admission.refused.load(Ordering::Relaxed), 6);
    }
}
