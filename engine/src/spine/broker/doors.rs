//! The sockets of the broker and what goes through them.
//! Invariant: a message is at most three frames and its sender is the key its connection was authenticated with; what
//! is malformed is dropped whole and counted.

use super::super::envelope::{self, spike};
use super::super::generated::nikola::{ComponentId, NeuralSpike, StatusReport, neural_spike::Payload};
use super::super::keys::KeyPair;
use super::super::place::Endpoints;
use super::super::socket::{self, Lane, SocketError, bind};
use super::super::zap::{Admission, DOMAIN, Handler, PAIRING_DOMAIN};
use prost::Message as _;
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
            value("malformed", &self.malformed),
            value("unknown", &self.unknown),
            value("forbidden", &self.forbidden),
            value("replayed", &self.replayed),
            value("undelivered", &self.undelivered),
            value("revoked", &self.revoked),
        ]
        .into_iter()
    }
}

/// PUB in a context of its own: closing the context is the one way to know that the endpoint is free again.
struct Events {
    socket: zmq::Socket,
    context: zmq::Context,
    _zap: Handler,
}

/// All sockets, bound. Fields close in this order: the handler last.
pub(super) struct Doors {
    control: zmq::Socket,
    data: zmq::Socket,
    pairing: zmq::Socket,
    events: Option<Events>,
    keys: KeyPair,
    endpoints: Vec<Endpoints>,
    admission: Arc<Admission>,
    _zap: Handler,
    pub(super) counters: Arc<Counters>,
}

impl Doors {
    /// Binds the ZAP handler, then every socket.
    pub(super) fn open(
        keys: &KeyPair,
        admission: Arc<Admission>,
        local: &Endpoints,
        network: Option<&Endpoints>,
    ) -> Result<Self, SocketError> {
        let context = socket::context()?;
        let started = |reason| SocketError::Zmq { what: "the ZAP handler".into(), reason };
        let zap = Handler::start(&context, Arc::clone(&admission)).map_err(started)?;
        let router = |lane, domain| socket::server(&context, zmq::ROUTER, lane, keys, domain);
        let control = router(Lane::Control, DOMAIN)?;
        let data = router(Lane::Bulk, DOMAIN)?;
        let pairing = router(Lane::Control, PAIRING_DOMAIN)?;
        for small in [&control, &pairing] {
            let bounded = small.set_maxmsgsize(CONTROL_BYTES_MAX);
            bounded.map_err(|reason| SocketError::Zmq { what: "message size".into(), reason })?;
        }
        let endpoints: Vec<_> = std::iter::once(local).chain(network).cloned().collect();
        for at in &endpoints {
            bind(&control, &at.control)?;
            bind(&data, &at.data)?;
            bind(&pairing, &at.pairing)?;
        }
        let events = Some(open_events(keys, Arc::clone(&admission), &endpoints)?);
        let counters = Arc::default();
        let keys = keys.clone();
        Ok(Self { control, data, pairing, events, keys, endpoints, admission, _zap: zap, counters })
    }

    /// Ends every subscription; subscribers that are still admitted come back by themselves.
    pub(super) fn renew_events(&mut self) {
        close_events(self.events.take());
        self.events = open_events(&self.keys, Arc::clone(&self.admission), &self.endpoints).ok();
    }

    /// Closes what would otherwise be closed without waiting.
    pub(super) fn close(mut self) {
        close_events(self.events.take());
    }

    pub(super) fn poll_items(&self) -> [zmq::PollItem<'_>; 3] {
        [&self.control, &self.data, &self.pairing].map(|socket| socket.as_poll_item(zmq::POLLIN))
    }

    fn socket(&self, plane: Plane) -> &zmq::Socket {
        match plane {
            Plane::Control => &self.control,
            Plane::Data => &self.data,
            Plane::Pairing => &self.pairing,
        }
    }

    /// The next well-formed message; none when nothing waits.
    pub(super) fn receive(&self, plane: Plane) -> Option<Incoming> {
        loop {
            let mut frames = Vec::with_capacity(3);
            let mut is_more = true;
            while is_more {
                let frame = self.socket(plane).recv_msg(zmq::DONTWAIT).ok()?;
                is_more = frame.get_more();
                // Frames beyond the third are taken off the socket and forgotten.
                if frames.len() < 4 {
                    frames.push(frame);
                }
            }
            let counter = if plane == Plane::Data { &self.counters.data } else { &self.counters.control };
            Counters::add(counter, 1);
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
    pub(super) fn send(&self, plane: Plane, route: &[Vec<u8>], body: &[u8]) -> Result<(), zmq::Error> {
        let frames = route.iter().map(Vec::as_slice).chain([body]);
        self.socket(plane).send_multipart(frames, zmq::DONTWAIT)
    }

    /// Publishes an envelope as it is.
    pub(super) fn publish(&self, topic: &str, body: &[u8]) {
        if let Some(events) = &self.events {
            // PUB never blocks: a subscriber that does not keep up loses what does not fit.
            let _ = events.socket.send_multipart([topic.as_bytes(), body], zmq::DONTWAIT);
            Counters::add(&self.counters.published, 1);
        }
    }

    pub(super) fn publish_spike(&self, topic: &str, spike: &NeuralSpike) {
        self.publish(topic, &spike.encode_to_vec());
    }

    pub(super) fn publish_text(&self, topic: &str, text: &str) {
        let payload = Payload::Text(text.into());
        self.publish_spike(topic, &spike(ComponentId::Spine, ComponentId::Unknown, payload));
    }

    pub(super) fn publish_report(&self, report: StatusReport) {
        let payload = Payload::StatusReport(report);
        self.publish_spike("status", &spike(ComponentId::Spine, ComponentId::Unknown, payload));
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

fn open_events(
    keys: &KeyPair,
    admission: Arc<Admission>,
    endpoints: &[Endpoints],
) -> Result<Events, SocketError> {
    let context = socket::context()?;
    let started = |reason| SocketError::Zmq { what: "the ZAP handler of events".into(), reason };
    let zap = Handler::start(&context, admission).map_err(started)?;
    let socket = socket::server(&context, zmq::PUB, Lane::Bulk, keys, DOMAIN)?;
    let bounded = socket.set_sndhwm(EVENTS_HIGH_WATER);
    bounded.map_err(|reason| SocketError::Zmq { what: "high water of events".into(), reason })?;
    for at in endpoints {
        bind(&socket, &at.events)?;
    }
    Ok(Events { socket, context, _zap: zap })
}

fn close_events(events: Option<Events>) {
    if let Some(Events { socket, context, _zap }) = events {
        drop(socket);
        drop(_zap);
        // The last holder of a context waits until its sockets are closed and their endpoints free.
        drop(context);
    }
}
