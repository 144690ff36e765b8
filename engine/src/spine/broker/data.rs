//! The data plane: who is there, and handing messages on.
//! Invariant: an answer goes to whoever asked, whatever else has its component's name; maps are bounded.

use super::super::clock::Moment;
use super::super::envelope::{answer, error};
use super::super::generated::nikola::{ComponentId, NeuralSpike, error::Code, neural_spike::Payload};
use super::super::key_range::KeyRanges;
use super::super::route::{self, Strategy};
use super::outbox::Parcel;
use super::{Broker, Counters, Incoming, Plane};
use prost::Message as _;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Questions whose askers are remembered.
const QUESTIONS_MAX: usize = 16_384;

type Route = Vec<Vec<u8>>;

struct Member {
    name: String,
    route: Route,
}

/// Components on the data socket.
#[derive(Default)]
pub(super) struct Members {
    by_component: BTreeMap<ComponentId, Vec<Member>>,
    turn: usize,
    ranges: BTreeMap<ComponentId, KeyRanges>,
    askers: HashMap<String, (String, Route)>,
    asked: VecDeque<String>,
}

impl Members {
    /// A component was heard of at that address.
    fn seen(&mut self, component: ComponentId, name: &str, route: &Route) {
        let members = self.by_component.entry(component).or_default();
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) if member.route == *route => {}
            Some(member) => member.route.clone_from(route),
            None => members.push(Member { name: name.into(), route: route.clone() }),
        }
    }

    /// A name has no address any more.
    pub(super) fn forget(&mut self, name: &str) {
        for members in self.by_component.values_mut() {
            members.retain(|member| member.name != name);
        }
    }

    fn remember_question(&mut self, id: &str, name: &str, route: &Route) {
        if self.askers.insert(id.into(), (name.into(), route.clone())).is_none() {
            self.asked.push_back(id.into());
        }
        if self.asked.len() > QUESTIONS_MAX
            && let Some(oldest) = self.asked.pop_front()
        {
            self.askers.remove(&oldest);
        }
    }

    /// Who asked what this answers.
    fn asker(&self, id: &str, answerer: &str) -> Option<Route> {
        self.askers.get(id).filter(|(name, _)| name != answerer).map(|(_, route)| route.clone())
    }

    /// The member that gets this message.
    fn choose(&mut self, strategy: Strategy, key: Option<[u8; 16]>) -> Option<Route> {
        let (Strategy::RoundRobin(to) | Strategy::KeyRange(to) | Strategy::Secure(to)) = strategy else {
            return None;
        };
        let members = self.by_component.get(&to).filter(|members| !members.is_empty())?;
        let i = match (strategy, key) {
            (Strategy::Secure(_), _) if members.len() > 1 => return None,
            (Strategy::KeyRange(_), Some(key)) => {
                let ranges = self.ranges.entry(to).or_insert_with(|| KeyRanges::new(members.len()));
                if ranges.n_workers() != members.len() {
                    *ranges = KeyRanges::new(members.len());
                }
                ranges.route(&key)
            }
            _ => {
                self.turn = self.turn.wrapping_add(1);
                self.turn % members.len()
            }
        };
        Some(members[i].route.clone())
    }
}

impl Broker {
    pub(super) fn handle_data(&mut self, incoming: Incoming, at: Moment) {
        let Some((spike, name)) = self.admit(Plane::Data, &incoming, at) else { return };
        self.members.seen(spike.sender(), &name, &incoming.route);
        if let Some(Payload::StatusReport(report)) = spike.payload {
            self.health.report(&name, report, at);
            return;
        }
        self.health.seen(&name, spike.sender(), at);
        let no = |code, text: &str| error(code, text);
        let refusal = match route::strategy(&spike) {
            None => Some(no(Code::UnknownPayload, "this version knows no such payload")),
            Some(Strategy::Priority) => {
                Some(no(Code::Refused, "send control messages to the control socket"))
            }
            Some(Strategy::Keep) => None,
            Some(Strategy::Broadcast(topic) | Strategy::FireAndForget(topic)) => {
                self.doors.publish(topic, &incoming.body);
                None
            }
            Some(strategy) => self.hand_on(strategy, &spike, &name, &incoming, at),
        };
        if let Some(payload) = refusal {
            let reply = answer(&spike, payload);
            self.post(Plane::Data, incoming.route, &reply, at);
        }
    }

    /// To the asker of what this answers, else to a member; the refusal when there is nobody.
    fn hand_on(
        &mut self,
        strategy: Strategy,
        spike: &NeuralSpike,
        name: &str,
        incoming: &Incoming,
        at: Moment,
    ) -> Option<Payload> {
        let route = match self.members.asker(&spike.request_id, name) {
            Some(route) => Some(route),
            None => {
                self.members.remember_question(&spike.request_id, name, &incoming.route);
                self.members.choose(strategy, route::key(spike))
            }
        };
        let Some(route) = route else {
            let text = format!("nobody, or more than one, is there as {}", spike.recipient().as_str_name());
            return Some(error(Code::Unreachable, text));
        };
        Counters::add(&self.doors.counters.forwarded, 1);
        let question = NeuralSpike { payload: None, ..spike.clone() };
        let origin = Some((Plane::Data, incoming.route.clone(), question));
        self.send(Parcel { plane: Plane::Data, route, body: incoming.body.to_vec(), origin }, 0, at);
        None
    }

    /// Sends an envelope of the broker's own.
    pub(super) fn post(&mut self, plane: Plane, route: Route, spike: &NeuralSpike, at: Moment) {
        self.send(Parcel { plane, route, body: spike.encode_to_vec(), origin: None }, 0, at);
    }

    /// Sends, or keeps for later, or gives up and says so.
    fn send(&mut self, parcel: Parcel, attempt: usize, at: Moment) {
        let lost = match self.doors.send(parcel.plane, &parcel.route, &parcel.body) {
            Ok(()) => return,
            Err(zmq::Error::EAGAIN) => match self.outbox.keep(parcel, attempt, at) {
                None => return,
                Some(parcel) => (parcel, Code::TimedOut, "the recipient takes no messages"),
            },
            Err(_) => (parcel, Code::Unreachable, "the recipient is gone"),
        };
        Counters::add(&self.doors.counters.undelivered, 1);
        if let (Parcel { origin: Some((plane, route, question)), .. }, code, text) = lost {
            let reply = answer(&question, error(code, text));
            self.post(plane, route, &reply, at);
        }
    }

    /// Tries again what is due.
    pub(super) fn resend(&mut self, at: Moment) {
        while let Some((parcel, attempt)) = self.outbox.take(at) {
            self.send(parcel, attempt, at);
        }
    }
}
