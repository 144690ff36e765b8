//! One thread's desk: its doors, who may say what there, and what it owes to whom.
//! Invariant: a message is looked at only after its key, its freshness and its role were checked, in this order; each
//! gets exactly one answer, except those of unknown keys, which get none.

use super::super::clock::Moment;
use super::super::envelope::{answer, error};
use super::super::generated::nikola::{NeuralSpike, error::Code, neural_spike::Payload};
use super::super::replay::{ReplayError, ReplayGuard};
use super::super::roles::needed;
use super::doors::{Counters, Door, Doors, Incoming, Plane};
use super::outbox::{Outbox, Parcel};
use super::{Route, Shared};
use prost::Message as _;
use std::sync::Arc;

/// Everything about messages that one thread owns.
pub(super) struct Desk {
    doors: Doors,
    replay: ReplayGuard,
    pub(super) outbox: Outbox,
    shared: Arc<Shared>,
}

impl Desk {
    /// Nothing has come yet; what was sent before `began` is refused.
    pub(super) fn new(doors: Doors, began: Moment, shared: Arc<Shared>) -> Self {
        Self { doors, replay: ReplayGuard::new(began), outbox: Outbox::default(), shared }
    }

    pub(super) fn doors(&self) -> &[Door] {
        &self.doors.doors
    }

    /// The door of a plane. Panics for one that this desk does not have (a bug).
    pub(super) fn door(&self, plane: Plane) -> &Door {
        self.doors().iter().find(|door| door.plane == plane).expect("a plane of this desk")
    }

    /// Forgets what a withdrawn key sent.
    pub(super) fn forget(&mut self, key: &str) {
        self.replay.forget(key.as_bytes());
    }

    /// The envelope and the name of its sender when the sender may say this now.
    pub(super) fn admit(
        &mut self,
        plane: Plane,
        incoming: &Incoming,
        at: Moment,
    ) -> Option<(NeuralSpike, String)> {
        let counters = &self.shared.counters;
        let whitelist = self.shared.admission.whitelist.read().ok()?;
        let Some(peer) = whitelist.peers.get(&incoming.key).map(Arc::clone) else {
            // Not, or no longer, on the white list: no answer.
            Counters::add(&counters.unknown, 1);
            return None;
        };
        drop(whitelist);
        let spike = match self.door(plane).parse(incoming) {
            Ok(spike) => spike,
            Err(malformed) => {
                let reply = answer(&NeuralSpike::default(), error(Code::Malformed, malformed));
                self.post(plane, incoming.route.clone(), &reply, at);
                return None;
            }
        };
        let sender = incoming.key.as_bytes();
        let refusal = match self.replay.accept(sender, spike.sequence, spike.timestamp_ms, at) {
            Err(repeated @ ReplayError::Repeated { .. }) => Some((Code::Replayed, repeated.to_string())),
            Err(stale) => Some((Code::Stale, stale.to_string())),
            Ok(()) => {
                let role = needed(&spike);
                let text = || {
                    format!(
                        "{} has the roles {}; this needs {role}: add it to the white list",
                        peer.name, peer.roles
                    )
                };
                (!peer.roles.allow(role)).then(|| (Code::Forbidden, text()))
            }
        };
        let Some((code, text)) = refusal else { return Some((spike, peer.name.clone())) };
        let counter = if code == Code::Forbidden { &counters.forbidden } else { &counters.replayed };
        Counters::add(counter, 1);
        let reply = answer(&spike, error(code, text));
        self.post(plane, incoming.route.clone(), &reply, at);
        None
    }

    /// Sends an envelope of the broker's own.
    pub(super) fn post(&mut self, plane: Plane, route: Route, spike: &NeuralSpike, at: Moment) {
        let parcel = Parcel { plane, route, body: spike.encode_to_vec(), recipient: None, origin: None };
        if let Some(Outcome::Lost(_)) = self.send(parcel, 0, at) {
            Counters::add(&self.shared.counters.undelivered, 1);
        }
    }

    /// Sends; what became of it unless it waits for another attempt.
    pub(super) fn send(&mut self, parcel: Parcel, attempt: usize, at: Moment) -> Option<Outcome> {
        match self.door(parcel.plane).send(&parcel.route, &parcel.body) {
            Ok(()) => Some(Outcome::Sent(parcel)),
            Err(zmq::Error::EAGAIN) => {
                let given_up = self.outbox.keep(parcel, attempt, at)?;
                Some(Outcome::Lost((given_up, Code::TimedOut, "the recipient takes no messages")))
            }
            Err(_) => Some(Outcome::Lost((parcel, Code::Unreachable, "the recipient is gone"))),
        }
    }

    /// Tells whoever sent a lost parcel why it was lost.
    pub(super) fn regret(&mut self, (parcel, code, text): Loss, at: Moment) {
        Counters::add(&self.shared.counters.undelivered, 1);
        if let Some((plane, route, question)) = parcel.origin {
            let payload: Payload = error(code, text);
            self.post(plane, route, &answer(&question, payload), at);
        }
    }
}

/// A parcel that no peer took, and why.
pub(super) type Loss = (Parcel, Code, &'static str);

/// What became of a parcel.
pub(super) enum Outcome {
    /// Its peer has it.
    Sent(Parcel),
    /// Nobody will.
    Lost(Loss),
}
