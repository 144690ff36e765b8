//! The data plane: who is there, and handing messages on, in a thread that steps back for every other.
//!
//! Invariant: an answer goes to whoever asked, whatever else has its component's name; maps are bounded; a component
//! that five messages in a row did not reach is not tried for 30 s, whatever restarts in between (S5).

use super::super::breaker::Breaker;
use super::super::clock::{Moment, now};
use super::super::envelope::{answer, error};
use super::super::generated::nikola::{ComponentId, NeuralSpike, error::Code, neural_spike::Payload};
use super::super::key_range::KeyRanges;
use super::super::priority;
use super::super::route::{self, Strategy};
use super::super::socket::readable;
use super::desk::{Desk, Outcome};
use super::doors::{Counters, Doors, Incoming, Plane};
use super::outbox::Parcel;
use super::questions::{Overdue, Questions};
use super::{Route, Shared};
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

/// Messages between two looks at what else is due.
const BURST: usize = 64;

/// Longest time between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

struct Member {
    name: String,
    route: Route,
}

/// Components on the data socket.
#[derive(Default)]
struct Members {
    by_component: BTreeMap<ComponentId, Vec<Member>>,
    turn: usize,
    ranges: BTreeMap<ComponentId, KeyRanges>,
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
    fn forget(&mut self, name: &str) {
        for members in self.by_component.values_mut() {
            members.retain(|member| member.name != name);
        }
    }

    /// The member that gets this message: its name and its address.
    fn choose(&mut self, strategy: Strategy, key: Option<[u8; 16]>) -> Option<(String, Route)> {
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
        Some((members[i].name.clone(), members[i].route.clone()))
    }
}

/// Everything the thread owns.
pub(super) struct DataPlane {
    desk: Desk,
    shared: Arc<Shared>,
    members: Members,
    questions: Questions,
    /// By the recipient's name, as far as they were needed.
    breakers: HashMap<String, Breaker>,
    /// Where their states are kept.
    folder: PathBuf,
    stopped: UnixStream,
}

/// The running thread; ends when dropped.
pub(super) struct Running {
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.write(&[1]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl DataPlane {
    /// Starts the thread. States of breakers are kept in `folder`.
    pub(super) fn start(
        doors: Doors,
        began: Moment,
        shared: &Arc<Shared>,
        folder: PathBuf,
    ) -> std::io::Result<Running> {
        let (stop, stopped) = UnixStream::pair()?;
        let plane = Self {
            desk: Desk::new(doors, began, Arc::clone(shared)),
            shared: Arc::clone(shared),
            members: Members::default(),
            questions: Questions::default(),
            breakers: HashMap::new(),
            folder,
            stopped,
        };
        let thread = std::thread::Builder::new().name("spine-data".into()).spawn(move || {
            priority::step_back();
            plane.run();
        })?;
        Ok(Running { stop, thread: Some(thread) })
    }

    fn run(mut self) {
        while !self.wait() {
            let at = now();
            self.resend(at);
            self.give_up(at);
            self.forget_withdrawn();
            for _ in 0..BURST {
                let Some(incoming) = self.desk.door(Plane::Data).receive() else { break };
                self.handle(incoming, now());
            }
            self.shared.n_parcels.store(self.desk.outbox.len() as u64, Ordering::Relaxed);
        }
    }

    /// Waits for something to do; whether to stop.
    fn wait(&self) -> bool {
        let door = self.desk.door(Plane::Data);
        let is_quiet = door.is_quiet();
        let dues = self.desk.outbox.due().into_iter().chain(self.questions.due());
        let due = dues.min().map_or(LOOK_EVERY, |due| due.since(now()).min(LOOK_EVERY));
        let wait = if is_quiet { due } else { Duration::ZERO };
        let descriptors = [Some(self.stopped.as_raw_fd()), Some(door.descriptor())];
        let Ok([is_stopped, has_news]) = readable(descriptors, wait) else { return true };
        if has_news {
            door.wake();
        }
        is_stopped
    }

    /// Names whose keys were withdrawn have no address any more.
    fn forget_withdrawn(&mut self) {
        let withdrawn = std::mem::take(&mut *self.shared.withdrawn());
        for (key, name) in withdrawn {
            self.desk.forget(&key);
            self.members.forget(&name);
        }
    }

    fn handle(&mut self, incoming: Incoming, at: Moment) {
        let Some((spike, name)) = self.desk.admit(Plane::Data, &incoming, at) else { return };
        self.members.seen(spike.sender(), &name, &incoming.route);
        if let Some(Payload::StatusReport(report)) = spike.payload {
            self.shared.health().report(&name, report, at);
            return;
        }
        self.shared.health().seen(&name, spike.sender(), at);
        let no = |code, text: &str| error(code, text);
        let refusal = match route::strategy(&spike) {
            None => Some(no(Code::UnknownPayload, "this version knows no such payload")),
            Some(Strategy::Priority) => {
                Some(no(Code::Refused, "send control messages to the control socket"))
            }
            Some(Strategy::Keep) => None,
            Some(Strategy::Broadcast(topic) | Strategy::FireAndForget(topic)) => {
                self.shared.events().publish(topic, &incoming.body);
                None
            }
            Some(strategy) => self.hand_on(strategy, &spike, &name, &incoming, at),
        };
        if let Some(payload) = refusal {
            let reply = answer(&spike, payload);
            self.desk.post(Plane::Data, incoming.route, &reply, at);
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
        let question = NeuralSpike { payload: None, ..spike.clone() };
        let (recipient, route) = match self.questions.asker(&spike.request_id, name) {
            Some(route) => {
                if self.questions.is_answered(&spike.request_id, name) {
                    self.learn(name, !route::is_failure(spike), at);
                }
                (None, route)
            }
            None => {
                self.questions.remember(&spike.request_id, name, &incoming.route);
                let Some((recipient, route)) = self.members.choose(strategy, route::key(spike)) else {
                    let to = spike.recipient().as_str_name();
                    let text = format!("nobody, or more than one, is there as {to}");
                    return Some(error(Code::Unreachable, text));
                };
                if let Some(refusal) = self.admit_to(&recipient, at) {
                    return Some(refusal);
                }
                if let Some(patience) = route::answer_within(spike) {
                    self.questions.expect(question.clone(), &recipient, at.after(patience));
                }
                (Some(recipient), route)
            }
        };
        Counters::add(&self.shared.counters.forwarded, 1);
        let origin = Some((Plane::Data, incoming.route.clone(), question));
        let body = incoming.body.to_vec();
        self.send(Parcel { plane: Plane::Data, route, body, origin, recipient }, 0, at);
        None
    }

    /// The refusal when the recipient failed too often to be tried now.
    fn admit_to(&mut self, recipient: &str, at: Moment) -> Option<Payload> {
        // A recipient whose state cannot be read is tried each time.
        let breaker = self.breaker(recipient)?;
        let open = match breaker.admit(at) {
            Ok(()) => return None,
            Err(open) => open,
        };
        Counters::add(&self.shared.counters.circuit_refused, 1);
        Some(error(Code::OpenCircuit, open))
    }

    /// The breaker of a recipient: as it was left, by this broker or the one before.
    fn breaker(&mut self, recipient: &str) -> Option<&mut Breaker> {
        if !self.breakers.contains_key(recipient) {
            let breaker = Breaker::open(&self.folder, recipient).ok()?;
            self.breakers.insert(recipient.into(), breaker);
        }
        self.breakers.get_mut(recipient)
    }

    /// The breaker of whoever was tried learns how it went.
    fn learn(&mut self, recipient: &str, is_success: bool, at: Moment) {
        if let Some(breaker) = self.breaker(recipient) {
            // A state that cannot be written is kept in memory all the same.
            let _ = if is_success { breaker.succeeded() } else { breaker.failed(at) };
        }
    }

    /// Sends, or keeps for later, or gives up and says so. The recipient's breaker learns of a loss, and of a delivery
    /// where nothing more is expected: an answer, or its absence, says more than that the message left.
    fn send(&mut self, parcel: Parcel, attempt: usize, at: Moment) {
        let Some(outcome) = self.desk.send(parcel, attempt, at) else { return };
        let (Outcome::Sent(parcel) | Outcome::Lost((parcel, ..))) = &outcome;
        if let Some(recipient) = parcel.recipient.clone() {
            let id = parcel.origin.as_ref().map_or("", |(_, _, question)| question.request_id.as_str());
            match &outcome {
                Outcome::Sent(_) if self.questions.is_expected(id) => {}
                Outcome::Sent(_) => self.learn(&recipient, true, at),
                Outcome::Lost(_) => {
                    self.questions.is_answered(id, &recipient);
                    self.learn(&recipient, false, at);
                }
            }
        }
        if let Outcome::Lost(loss) = outcome {
            self.desk.regret(loss, at);
        }
    }

    /// Tells the askers of what nobody answered in time, and the breakers of those who should have.
    fn give_up(&mut self, at: Moment) {
        while let Some(Overdue { from, route, question }) = self.questions.overdue(at) {
            self.learn(&from, false, at);
            let text = format!("{from} took the message and did not answer in time");
            self.desk.post(Plane::Data, route, &answer(&question, error(Code::TimedOut, text)), at);
        }
    }

    /// Tries again what is due.
    fn resend(&mut self, at: Moment) {
        while let Some((parcel, attempt)) = self.desk.outbox.take(at) {
            self.send(parcel, attempt, at);
        }
    }
}
