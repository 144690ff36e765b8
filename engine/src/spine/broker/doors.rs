//! The sockets of the broker and what goes through them.
//! Invariant: a message is at most three frames and its sender is the key its connection was authenticated with; what
//! is malformed is dropped whole and counted. Control, data and events have a context each: no plane's bytes are ever
//! encrypted by the thread that another plane waits for.

use super::super::envelope::{self, spike};
use super::super::generated::nikola::{ComponentId, NeuralSpike, StatusReport, neural_spike::Payload};
use super::super::keys::KeyPair;
use super::super::place::Endpoints;
use super::super::socket::{self, SocketError, bind};
use super::super::zap::{Admission, DOMAIN, Handler, PAIRING_DOMAIN};
use prost::Message as _;
use std::cell::Cell;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Largest message on the control and pairing sockets: no control message needs more.
const CONTROL_BYTES_MAX: i64 = 64 << 10;

/// Events that wait for one subscriber: less than elsewhere, because a sparse wave may have a megabyte.
const EVENTS_HIGH_WATER: i32 = 256;

/// Which door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plane {
    Control,
    Data,
    Pairing,
}

/// A message as it came.
pub(super) struct Incoming {
    /// Routing id, and an empty delimiter when the sender used one.
    pub(super) route: Vec<Vec<u8>>,
    pub(super) body: zmq::Message,
    /// Public key in Z85 of the connection.
    pub(super) key: String,
}

/// What happened so far; shared with whoever asks.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages on the control socket.
    pub control: AtomicU64,
    /// Messages on the data socket.
    pub data: AtomicU64,
    /// Messages handed on to a component.
    pub forwarded: AtomicU64,
    /// Messages published.
    pub published: AtomicU64,
    /// Times a subscriber's queue filled up: from then until it reads it loses events, and nobody else does.
    pub behind: AtomicU64,
    /// Messages that were no envelope.
    pub malformed: AtomicU64,
    /// Messages from keys that are not, or no longer, on the white list.
    pub unknown: AtomicU64,
    /// Messages without the role they need.
    pub forbidden: AtomicU64,
    /// Messages repeated or stale.
    pub replayed: AtomicU64,
    /// Messages that no peer took.
    pub undelivered: AtomicU64,
    /// Messages refused at once because their recipient's circuit is open.
    pub circuit_refused: AtomicU64,
    /// Keys removed from the white list while running.
    pub revoked: AtomicU64,
}

impl Counters {
    /// Adds to a counter.
    pub(super) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// All of them by name.
    pub fn figures(&self) -> impl Iterator<Item = (String, f64)> {
        let value = |name: &str, counter: &AtomicU64| {
            (format!("spine.{name}"), counter.load(Ordering::Relaxed) as f64)
        };
        [
            value("control", &self.control),
            value("data", &self.data),
            value("forwarded", &self.forwarded),
            value("published", &self.published),
            value("subscribers_behind", &self.behind),
            value("malformed", &self.malformed),
            value("unknown", &self.unknown),
            value("forbidden", &self.forbidden),
            value("replayed", &self.replayed),
            value("undelivered", &self.undelivered),
            value("circuit_refused", &self.circuit_refused),
            value("revoked", &self.revoked),
        ]
        .into_iter()
    }
}

/// One ROUTER, bound.
pub(super) struct Door {
    pub(super) plane: Plane,
    socket: zmq::Socket,
    counters: Arc<Counters>,
    /// Readable when libzmq has news of the socket.
    descriptor: RawFd,
    /// Nothing has come, and nothing was sent, since the socket was found empty: only its descriptor can tell news.
    is_drained: Cell<bool>,
}

impl Door {
    fn open(
        context: &zmq::Context,
        plane: Plane,
        keys: &KeyPair,
        endpoints: &[&str],
        counters: &Arc<Counters>,
    ) -> Result<Self, SocketError> {
        let domain = if plane == Plane::Pairing { PAIRING_DOMAIN } else { DOMAIN };
        let socket = socket::server(context, zmq::ROUTER, keys, domain)?;
        let failed = |what: &str| {
            let what = what.to_string();
            move |reason| SocketError::Zmq { what, reason }
        };
        if plane != Plane::Data {
            socket.set_maxmsgsize(CONTROL_BYTES_MAX).map_err(failed("message size"))?;
        }
        for endpoint in endpoints {
            bind(&socket, endpoint)?;
        }
        let descriptor = socket.get_fd().map_err(failed("descriptor of a socket"))?;
        let counters = Arc::clone(counters);
        Ok(Self { plane, socket, counters, descriptor, is_drained: Cell::new(false) })
    }

    /// To be waited for once [`is_quiet`](Self::is_quiet).
    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    /// The descriptor became readable.
    pub(super) fn wake(&self) {
        self.is_drained.set(false);
    }

    /// Whether nothing waits. libzmq's descriptor tells each piece of news once, and sending may swallow it.
    pub(super) fn is_quiet(&self) -> bool {
        if !self.is_drained.get() {
            let has_message = self.socket.get_events().is_ok_and(|events| events.contains(zmq::POLLIN));
            self.is_drained.set(!has_message);
        }
        self.is_drained.get()
    }

    /// The next well-formed message; none when nothing waits.
    pub(super) fn receive(&self) -> Option<Incoming> {
        if self.is_drained.get() {
            return None;
        }
        loop {
            let mut frames = Vec::with_capacity(3);
            let mut is_more = true;
            while is_more {
                let Ok(frame) = self.socket.recv_msg(zmq::DONTWAIT) else {
                    self.is_drained.set(true);
                    return None;
                };
                is_more = frame.get_more();
                // Frames beyond the third are taken off the socket and forgotten.
                if frames.len() < 4 {
                    frames.push(frame);
                }
            }
            let is_data = self.plane == Plane::Data;
            Counters::add(if is_data { &self.counters.data } else { &self.counters.control }, 1);
            let is_delimited = frames.len() == 3 && frames[1].is_empty();
            if frames.len() != 2 && !is_delimited {
                Counters::add(&self.counters.malformed, 1);
                continue;
            }
            let mut body = frames.pop()?;
            let Some(key) = body.gets("User-Id").map(String::from) else {
                Counters::add(&self.counters.unknown, 1);
                continue;
            };
            return Some(Incoming { route: frames.iter().map(|frame| frame.to_vec()).collect(), body, key });
        }
    }

    /// Sends at once or not at all.
    pub(super) fn send(&self, route: &[Vec<u8>], body: &[u8]) -> Result<(), zmq::Error> {
        let frames = route.iter().map(Vec::as_slice).chain([body]);
        self.is_drained.set(false);
        self.socket.send_multipart(frames, zmq::DONTWAIT)
    }

    /// The envelope of an incoming message, or the error its sender deserves.
    pub(super) fn parse(&self, incoming: &Incoming) -> Result<NeuralSpike, envelope::EnvelopeError> {
        let parsed = envelope::parse(&incoming.body);
        if parsed.is_err() {
            Counters::add(&self.counters.malformed, 1);
        }
        parsed
    }
}

/// The doors of one thread in a context of their own. Fields close in this order: the handler last.
pub(super) struct Doors {
    pub(super) doors: Vec<Door>,
    _zap: Handler,
}

impl Doors {
    /// Binds the ZAP handler, then a door for each plane.
    pub(super) fn open(
        planes: &[Plane],
        keys: &KeyPair,
        admission: &Arc<Admission>,
        endpoints: &[Endpoints],
        counters: &Arc<Counters>,
    ) -> Result<Self, SocketError> {
        let context = socket::context()?;
        let started = |reason| SocketError::Zmq { what: "the ZAP handler".into(), reason };
        let _zap = Handler::start(&context, Arc::clone(admission)).map_err(started)?;
        let open = |&plane: &Plane| {
            let at: Vec<&str> = endpoints
                .iter()
                .map(|endpoints| match plane {
                    Plane::Control => endpoints.control.as_str(),
                    Plane::Data => endpoints.data.as_str(),
                    Plane::Pairing => endpoints.pairing.as_str(),
                })
                .collect();
            Door::open(&context, plane, keys, &at, counters)
        };
        Ok(Self { doors: planes.iter().map(open).collect::<Result<_, _>>()?, _zap })
    }
}

/// PUB in a context of its own: closing the context is the one way to know that the endpoint is free again.
struct Publisher {
    socket: zmq::Socket,
    context: zmq::Context,
    _zap: Handler,
}

/// The way out for events, used by whoever holds the lock around it.
pub(super) struct Events {
    publisher: Option<Publisher>,
    keys: KeyPair,
    endpoints: Vec<Endpoints>,
    admission: Arc<Admission>,
    counters: Arc<Counters>,
}

impl Events {
    /// Bound.
    pub(super) fn open(
        keys: &KeyPair,
        admission: &Arc<Admission>,
        endpoints: &[Endpoints],
        counters: &Arc<Counters>,
    ) -> Result<Self, SocketError> {
        let mut events = Self {
            publisher: None,
            keys: keys.clone(),
            endpoints: endpoints.to_vec(),
            admission: Arc::clone(admission),
            counters: Arc::clone(counters),
        };
        events.publisher = Some(events.publisher()?);
        Ok(events)
    }

    fn publisher(&self) -> Result<Publisher, SocketError> {
        let context = socket::context()?;
        let started = |reason| SocketError::Zmq { what: "the ZAP handler of events".into(), reason };
        let _zap = Handler::start(&context, Arc::clone(&self.admission)).map_err(started)?;
        let mut socket = socket::server(&context, zmq::PUB, &self.keys, DOMAIN)?;
        let bounded =
            socket.set_sndhwm(EVENTS_HIGH_WATER).and_then(|()| socket::set_lossy(&mut socket, false));
        bounded.map_err(|reason| SocketError::Zmq { what: "high water of events".into(), reason })?;
        for at in &self.endpoints {
            bind(&socket, &at.events)?;
        }
        Ok(Publisher { socket, context, _zap })
    }

    /// Ends every subscription; subscribers that are still admitted come back by themselves.
    pub(super) fn renew(&mut self) {
        self.close();
        self.publisher = self.publisher().ok();
    }

    /// Closes what would otherwise be closed without waiting.
    pub(super) fn close(&mut self) {
        if let Some(Publisher { socket, context, _zap }) = self.publisher.take() {
            drop(socket);
            drop(_zap);
            // The last holder of a context waits until its sockets are closed and their endpoints free.
            drop(context);
        }
    }

    /// Publishes an envelope as it is. Never waits: a subscriber whose queue is full loses what does not fit.
    pub(super) fn publish(&mut self, topic: &str, body: &[u8]) {
        let Some(Publisher { socket, .. }) = &mut self.publisher else { return };
        let frames = [topic.as_bytes(), body];
        if socket.send_multipart(frames, zmq::DONTWAIT) == Err(zmq::Error::EAGAIN) {
            // Told that a queue is full; from now until it is read libzmq passes it over. All others get the event.
            Counters::add(&self.counters.behind, 1);
            if socket::set_lossy(socket, true).is_ok() {
                let _ = socket.send_multipart(frames, zmq::DONTWAIT);
                let _ = socket::set_lossy(socket, false);
            }
        }
        Counters::add(&self.counters.published, 1);
    }

    pub(super) fn publish_spike(&mut self, topic: &str, spike: &NeuralSpike) {
        self.publish(topic, &spike.encode_to_vec());
    }

    pub(super) fn publish_text(&mut self, topic: &str, text: &str) {
        let payload = Payload::Text(text.into());
        self.publish_spike(topic, &spike(ComponentId::Spine, ComponentId::Unknown, payload));
    }

    pub(super) fn publish_report(&mut self, report: StatusReport) {
        let payload = Payload::StatusReport(report);
        self.publish_spike("status", &spike(ComponentId::Spine, ComponentId::Unknown, payload));
    }
}
