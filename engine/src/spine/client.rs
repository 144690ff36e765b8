//! The other end: what `nikola ctl`, `nikola pair` and tests use to speak with a broker.
//! Invariant: a question has a deadline and an answer with its id; anything else that arrives is passed over.

use super::envelope::{self, parse, spike};
use super::generated::nikola::{ComponentId, Control, Error, NeuralSpike, neural_spike::Payload};
use super::keys::KeyPair;
use super::socket::{self, SocketError, send_patiently};
use prost::Message as _;
use std::time::{Duration, Instant};

/// How long an answer is waited for unless said otherwise.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket refuses.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Nothing came in time.
    #[error(
        "no answer from {endpoint} within {} s\n  remedy: see that the engine runs and that this key is on its white \
         list; an unknown key gets no answer", patience.as_secs_f64()
    )]
    Silence {
        /// Whom was asked.
        endpoint: String,
        /// For how long.
        patience: Duration,
    },
    /// The broker said no.
    #[error("{}", error.message)]
    Refused {
        /// Code and words.
        error: Error,
    },
    /// The answer is not one to this question.
    #[error("the broker answered with something else than {expected}; it may be of another version")]
    Unexpected {
        /// What was expected.
        expected: &'static str,
    },
}

/// A connection of one component to one socket of a broker.
pub struct Client {
    socket: zmq::Socket,
    endpoint: String,
    component: ComponentId,
    /// How long [`ask`](Self::ask) waits.
    pub patience: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.endpoint)
    }
}

impl Client {
    /// Connects; nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Socket`].
    pub fn connect(
        context: &zmq::Context,
        component: ComponentId,
        keys: &KeyPair,
        server_key: &str,
        endpoint: &str,
    ) -> Result<Self, ClientError> {
        let socket = socket::client(context, zmq::DEALER, keys, server_key, endpoint)?;
        Ok(Self { socket, endpoint: endpoint.into(), component, patience: PATIENCE })
    }

    /// Sends a payload to a component and returns its id.
    ///
    /// # Errors
    /// [`ClientError::Socket`] when the queue stays full.
    pub fn send(&self, recipient: ComponentId, payload: Payload) -> Result<String, ClientError> {
        let spike = spike(self.component, recipient, payload);
        self.send_spike(&spike)?;
        Ok(spike.request_id)
    }

    /// Sends a payload at once, or says that the queue is full.
    ///
    /// # Errors
    /// [`SocketError::Full`].
    pub fn try_send(&self, recipient: ComponentId, payload: Payload) -> Result<(), SocketError> {
        let body = spike(self.component, recipient, payload).encode_to_vec();
        self.socket.send(body, zmq::DONTWAIT).map_err(|_| SocketError::Full)
    }

    /// Sends an envelope as it is.
    ///
    /// # Errors
    /// [`ClientError::Socket`] when the queue stays full.
    pub fn send_spike(&self, spike: &NeuralSpike) -> Result<(), ClientError> {
        Ok(send_patiently(&self.socket, &[&spike.encode_to_vec()])?)
    }

    /// Sends bytes that need not be an envelope.
    ///
    /// # Errors
    /// [`ClientError::Socket`] when the queue stays full.
    pub fn send_bytes(&self, frames: &[&[u8]]) -> Result<(), ClientError> {
        Ok(send_patiently(&self.socket, frames)?)
    }

    /// The next envelope; none when nothing came within `patience`.
    pub fn receive(&self, patience: Duration) -> Option<NeuralSpike> {
        let deadline = Instant::now() + patience;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            // Waiting in the call itself passes fewer hands than polling first.
            self.socket.set_rcvtimeo(i32::try_from(rest.as_millis()).unwrap_or(i32::MAX)).ok()?;
            let frame = match self.socket.recv_msg(0) {
                Ok(frame) => frame,
                Err(zmq::Error::EINTR) => continue,
                Err(_) => return None,
            };
            // An empty delimiter may come first; the envelope is the last frame.
            if !frame.get_more()
                && let Ok(spike) = parse(&frame)
            {
                return Some(spike);
            }
        }
    }

    /// The answer with that id.
    ///
    /// # Errors
    /// [`ClientError::Silence`], or [`ClientError::Refused`] when it is an error.
    pub fn answer_to(&self, request_id: &str) -> Result<Payload, ClientError> {
        let deadline = Instant::now() + self.patience;
        while let Some(spike) = self.receive(deadline.saturating_duration_since(Instant::now())) {
            // An error about bytes that could not be read carries no id.
            if spike.request_id == request_id {
                match spike.payload {
                    Some(Payload::Error(error)) => return Err(ClientError::Refused { error }),
                    Some(payload) => return Ok(payload),
                    None => return Err(ClientError::Unexpected { expected: "a payload" }),
                }
            }
        }
        Err(ClientError::Silence { endpoint: self.endpoint.clone(), patience: self.patience })
    }

    /// Asks and waits.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask(&self, control: Control) -> Result<Payload, ClientError> {
        let id = self.send(ComponentId::Spine, Payload::Control(control))?;
        self.answer_to(&id)
    }

    /// Asks a verb without arguments.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask_verb(&self, verb: super::generated::nikola::control::Verb) -> Result<Payload, ClientError> {
        let id = self.send(ComponentId::Spine, envelope::control(verb))?;
        self.answer_to(&id)
    }
}

/// A subscription to the events of a broker.
pub struct Subscription {
    socket: zmq::Socket,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscription")
    }
}

impl Subscription {
    /// Subscribes to topics that begin with `topic`.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn connect(
        context: &zmq::Context,
        keys: &KeyPair,
        server_key: &str,
        endpoint: &str,
        topic: &str,
    ) -> Result<Self, SocketError> {
        let socket = socket::client(context, zmq::SUB, keys, server_key, endpoint)?;
        let subscribed = socket.set_subscribe(topic.as_bytes());
        subscribed.map_err(|reason| SocketError::Zmq { what: format!("subscribing to {topic}"), reason })?;
        Ok(Self { socket })
    }

    /// The next event and its topic; none when nothing came in time.
    pub fn receive(&self, patience: Duration) -> Option<(String, NeuralSpike)> {
        if self.socket.poll(zmq::POLLIN, patience.as_millis() as i64).is_ok_and(|n| n > 0) {
            let frames = self.socket.recv_multipart(zmq::DONTWAIT).ok()?;
            let [topic, body] = frames.as_slice() else { return None };
            return Some((String::from_utf8_lossy(topic).into_owned(), parse(body).ok()?));
        }
        None
    }
}
