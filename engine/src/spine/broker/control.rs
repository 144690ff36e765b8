//! The control plane: verbs, pairing.
//! Invariant: each message that its desk admitted gets exactly one answer; what changes the run becomes an order of the
//! intake wherever the scene knows how to take it, and is answered once it is on the record.

use super::super::clock::{Moment, now};
use super::super::envelope::{answer, done, error, spike};
use super::super::generated::nikola::{
    self, ComponentId, Control, NeuralSpike, StatusReport, control::Verb, error::Code, neural_spike::Payload,
    status_report,
};
use super::super::health::state_after;
use super::super::keys::{is_name, is_public_key};
use super::super::order;
use super::super::pairing::{Candidate, State, TOKEN_LIFE, fingerprint};
use super::super::port::Event;
use super::super::roles::Roles;
use super::super::sparse::THETA;
use super::doors::{Incoming, Plane};
use super::{Broker, Engine};
use crate::intake::{Alarm, IntakeError, Order, Receipt};
use nikola_systems::components::oracle::{OracleSettings, Resume};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{TryRecvError, sync_channel};
use std::time::Duration;

/// Ticks between two published waves unless said otherwise.
const WAVE_PERIOD_TICKS: u64 = 100;

/// How long waves are published after they were asked for last.
pub(super) const WAVE_LEASE: Duration = Duration::from_secs(30);

/// A question that waits for its answer.
pub(super) struct Pending {
    pub(super) route: Vec<Vec<u8>>,
    pub(super) question: NeuralSpike,
    /// What is answered when the order was taken in.
    pub(super) words: String,
}

/// What a freeze will be.
fn frozen(oracle: &OracleSettings) -> String {
    let end = match oracle.resume {
        Resume::Automatic => "then the oracle goes on by itself if the state is stable",
        Resume::Manual => "and until `resume`",
    };
    format!(
        "frozen by the oracle: sources off, damping raised by {} for {} ticks {end}",
        oracle.freeze_damping, oracle.freeze_ticks
    )
}

impl Engine {
    /// What needs no receipt: it takes effect at the next tick border.
    fn steer(&self, verb: Verb, control: &Control) -> Payload {
        let tick = self.port.status().tick;
        let wishes = &self.port.wishes;
        let queued = match verb {
            // Where there is an oracle these are orders.
            Verb::Scram => {
                wishes.is_held.store(true, Ordering::Release);
                return done(
                    tick,
                    "held before the next tick: this scene has no `oracle` that could freeze it; `resume` goes on",
                );
            }
            Verb::Resume => {
                wishes.is_held.store(false, Ordering::Release);
                return done(tick, "goes on");
            }
            Verb::Subscribe => {
                let theta = if control.value == 0.0 { THETA } else { control.value };
                if !(theta.is_finite() && theta > 0.0) {
                    return error(Code::Refused, format!("value is {theta}; expected a threshold above 0"));
                }
                let period = if control.period_ticks == 0 { WAVE_PERIOD_TICKS } else { control.period_ticks };
                wishes.publish_wave(period, theta);
                return done(tick, self.events.clone());
            }
            Verb::Halt => {
                let queued = self.intake.halt();
                // A held run ends too.
                wishes.is_held.store(false, Ordering::Release);
                queued
            }
            // A nap begins with a checkpoint, which is all that a snapshot is.
            Verb::Nap | Verb::Snapshot => self.intake.nap(),
            _ => return error(Code::Unsupported, format!("this engine does not {}", verb.as_str_name())),
        };
        match queued {
            Ok(()) => done(tick, "at the next tick border"),
            Err(full @ IntakeError::Full) => error(Code::Full, full),
            Err(closed) => error(Code::Refused, closed),
        }
    }
}

impl Broker {
    pub(super) fn handle_control(&mut self, incoming: Incoming, at: Moment) {
        let Some((question, name)) = self.desk.admit(Plane::Control, &incoming, at) else { return };
        let payload = match &question.payload {
            Some(Payload::Control(control)) => {
                self.announce(control, &name);
                self.obey(control, &question, &incoming, at)
            }
            Some(Payload::StatusReport(report)) => {
                self.shared.health().report(&name, report.clone(), at);
                return;
            }
            None => Some(error(Code::UnknownPayload, "this version knows no such payload")),
            Some(_) => Some(error(Code::Refused, "send data to the data socket")),
        };
        if let Some(payload) = payload {
            self.desk.post(Plane::Control, incoming.route, &answer(&question, payload), at);
        }
    }

    /// Tells everybody who stops or continues the world, and why.
    fn announce(&self, control: &Control, name: &str) {
        let text = match control.verb() {
            Verb::Scram if control.target.is_empty() => format!("{name} asks to scram"),
            Verb::Scram => format!("{name} asks to scram: {}", control.target),
            Verb::Resume => format!("{name} asks to resume"),
            _ => return,
        };
        self.shared.events().publish_text("scram", &text);
    }

    /// The answer, unless it comes later.
    fn obey(
        &mut self,
        control: &Control,
        question: &NeuralSpike,
        incoming: &Incoming,
        at: Moment,
    ) -> Option<Payload> {
        match control.verb() {
            Verb::Unspecified => Some(error(Code::UnknownPayload, "this version knows no such verb")),
            Verb::Ping => Some(done(0, "pong")),
            Verb::Status => Some(Payload::StatusReport(self.engine_report(at))),
            Verb::Components => Some(Payload::StatusReport(self.components_report(at))),
            Verb::Subscribe if control.target != "waveform" => {
                Some(done(0, self.place.endpoints.events.clone()))
            }
            Verb::PairOpen | Verb::PairState | Verb::PairConfirm => Some(self.steer_pairing(control, at)),
            Verb::PairRequest => Some(error(Code::Refused, "ask for pairing on the pairing socket")),
            Verb::Halt if self.engine.is_none() => {
                self.is_halted = true;
                Some(done(0, "the broker ends"))
            }
            _ => self.pass_on(control, question, incoming),
        }
    }

    /// Hands an order to the tick; its receipt is the answer.
    fn pass_on(&mut self, control: &Control, question: &NeuralSpike, incoming: &Incoming) -> Option<Payload> {
        let Some(engine) = &self.engine else {
            return Some(error(Code::Unreachable, "no engine runs with this broker"));
        };
        let mut words = "taken in".to_string();
        let sent = match (control.verb(), engine.intake.oracle()) {
            (Verb::Inject, _) => order::injection(control.injection.as_ref()),
            (Verb::SetParam, _) => order::parameter(&control.target, control.value),
            (Verb::Scram, Some(oracle)) => {
                words = frozen(&oracle);
                Ok(Order::Scram(Alarm::Asked))
            }
            (Verb::Resume, Some(_)) => {
                words = "the oracle ends the freeze".into();
                Ok(Order::Resume)
            }
            (verb, _) => {
                if verb == Verb::Subscribe {
                    self.wave_until = now().after(WAVE_LEASE);
                }
                return Some(engine.steer(verb, control));
            }
        };
        let order = match sent {
            Ok(order) => order,
            Err(wrong) => return Some(error(Code::Refused, wrong)),
        };
        let (receipt, outcome) = sync_channel(1);
        match engine.intake.send(order, Some(receipt)) {
            Ok(()) => {
                let question = NeuralSpike { payload: None, ..question.clone() };
                let waiting = Pending { route: incoming.route.clone(), question, words };
                self.pending.push((outcome, waiting));
                None
            }
            Err(full @ IntakeError::Full) => Some(error(Code::Full, full)),
            Err(wrong) => Some(error(Code::Refused, wrong)),
        }
    }

    /// Answers those whose orders were taken in, and publishes what the tick said.
    pub(super) fn take_outcomes(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        engine.port.silence();
        let tick = engine.port.status().tick;
        while let Some(event) = engine.port.event() {
            match event {
                Event::Wave(wave) => {
                    let payload = Payload::SparseWaveform(*wave);
                    let spike = spike(ComponentId::Physics, ComponentId::Unknown, payload);
                    self.shared.events().publish_spike("waveform", &spike);
                }
                Event::Frame(frame) => {
                    let spike =
                        spike(ComponentId::Physics, ComponentId::Unknown, Payload::WaveformShm(frame));
                    self.shared.events().publish_spike("frame", &spike);
                }
                Event::Text { topic, text } => self.shared.events().publish_text(topic, &text),
            }
        }
        for (outcome, waiting) in std::mem::take(&mut self.pending) {
            let payload = match outcome.try_recv() {
                Ok(Receipt::Accepted { tick }) => done(tick, waiting.words.as_str()),
                Ok(Receipt::Refused(why)) => error(Code::Refused, why),
                Err(TryRecvError::Empty) => {
                    self.pending.push((outcome, waiting));
                    continue;
                }
                Err(TryRecvError::Disconnected) => error(
                    Code::Refused,
                    format!("the run ended at tick {tick} before the order was taken in"),
                ),
            };
            self.desk.post(Plane::Control, waiting.route, &answer(&waiting.question, payload), now());
        }
    }

    pub(super) fn engine_report(&self, at: Moment) -> StatusReport {
        let mut report = StatusReport {
            component: ComponentId::Spine.into(),
            name: "spine".into(),
            state: status_report::State::Running.into(),
            pid: u64::from(self.place.pid),
            control_queue_depth: self.pending.len() as u32,
            data_queue_depth: self.shared.n_parcels.load(Ordering::Relaxed) as u32,
            ..StatusReport::default()
        };
        if let Some(engine) = &self.engine {
            engine.port.wishes.wants_figures.store(true, Ordering::Relaxed);
            let status = engine.port.status();
            report.component = ComponentId::Physics.into();
            report.name = "engine".into();
            // A tick that hangs says nothing any more.
            let silence = at.since(status.said_at);
            let is_running = status.state == status_report::State::Running;
            report.state = if is_running { state_after(silence) } else { status.state }.into();
            report.silence_ms = silence.as_millis() as u64;
            report.tick = status.tick;
            report.ticks_per_second = status.ticks_per_second;
            report.figures.extend(status.figures);
            report.detail = status.scene;
            report.health = status.health.map_or_else(String::new, |health| health.name().into());
        }
        report.figures.extend(self.shared.counters.figures());
        let refused = self.shared.admission.refused.load(Ordering::Relaxed);
        report.figures.insert("spine.handshakes_refused".into(), refused as f64);
        report
    }

    fn components_report(&self, at: Moment) -> StatusReport {
        let mut report = self.engine_report(at);
        report.components = self.shared.health().reports(at);
        report
    }

    /// PAIR_OPEN, PAIR_STATE, PAIR_CONFIRM: the operator's side.
    fn steer_pairing(&mut self, control: &Control, at: Moment) -> Payload {
        let asked = control.pairing.clone().unwrap_or_default();
        match control.verb() {
            Verb::PairOpen => {
                let Ok(token_sha256) = asked.token_sha256.as_slice().try_into() else {
                    return error(Code::Refused, "token_sha256 must have 32 bytes");
                };
                let life = match asked.valid_seconds {
                    0 => TOKEN_LIFE,
                    secs => Duration::from_secs(u64::from(secs)),
                };
                let roles = match Roles::parse(&asked.roles) {
                    Ok(roles) => roles,
                    Err(wrong) => return error(Code::Refused, wrong),
                };
                if let Err(busy) = self.pairing.open(token_sha256, life, roles, at) {
                    return error(Code::Refused, busy);
                }
            }
            Verb::PairConfirm => {
                let (candidate, roles) = match self.pairing.confirm(asked.confirmed, at) {
                    Ok(outcome) => outcome,
                    Err(wrong) => return error(Code::Refused, wrong),
                };
                let kept = match roles {
                    Some(roles) => self.store.admit(&candidate.name, &candidate.public_key, &roles),
                    None => Ok(()),
                };
                self.reload_whitelist();
                let outcome = match (&kept, asked.confirmed) {
                    (Err(_), _) => "failed",
                    (_, true) => "admitted",
                    (_, false) => "refused",
                };
                self.tell_candidate(outcome, at);
                if let Err(failed) = kept {
                    return error(Code::Refused, failed);
                }
            }
            _ => {}
        }
        self.set_pairing_door(at);
        Payload::Control(Control {
            verb: control.verb,
            pairing: Some(self.pairing_report(at)),
            ..Control::default()
        })
    }

    /// Where pairing is; showing the candidate to the operator is what makes PAIRING into VERIFICATION.
    fn pairing_report(&mut self, at: Moment) -> nikola::Pairing {
        let mut report =
            nikola::Pairing { endpoint: self.place.endpoints.pairing.clone(), ..nikola::Pairing::default() };
        if let Some(candidate) = self.pairing.show(at) {
            report.name.clone_from(&candidate.name);
            report.public_key.clone_from(&candidate.public_key);
            report.fingerprint = fingerprint(&self.server_key, &candidate.public_key);
        }
        report.set_state(match self.pairing.state(at) {
            State::Locked => nikola::pairing::State::Locked,
            State::Bootstrap { .. } => nikola::pairing::State::Bootstrap,
            State::Pairing(_) => nikola::pairing::State::Pairing,
            State::Verification(_) => nikola::pairing::State::Verification,
        });
        report
    }

    /// PAIR_REQUEST: the candidate's side, on the one socket that unknown keys reach.
    pub(super) fn handle_pairing(&mut self, incoming: Incoming, at: Moment) {
        let Ok(question) = self.desk.door(Plane::Pairing).parse(&incoming) else { return };
        let Some(Payload::Control(Control { verb, pairing: Some(asked), .. })) = question.payload.clone()
        else {
            return;
        };
        if verb != i32::from(Verb::PairRequest) {
            return;
        }
        let candidate = Candidate { name: asked.name, public_key: asked.public_key };
        let payload = match self.request_pairing(&asked.token, candidate, &incoming.key, at) {
            Ok(report) => {
                let question = NeuralSpike { payload: None, ..question.clone() };
                self.pairing_waiter =
                    Some(Pending { route: incoming.route.clone(), question, words: String::new() });
                Payload::Control(Control { verb, pairing: Some(report), ..Control::default() })
            }
            Err((code, text)) => error(code, text),
        };
        self.set_pairing_door(at);
        self.desk.post(Plane::Pairing, incoming.route, &answer(&question, payload), at);
    }

    fn request_pairing(
        &mut self,
        token: &[u8],
        candidate: Candidate,
        key: &str,
        at: Moment,
    ) -> Result<nikola::Pairing, (Code, String)> {
        use super::super::pairing::PairingError;
        let refused = |text: &str| Err((Code::Refused, text.to_string()));
        if !is_name(&candidate.name) {
            return refused("the name must have 1 to 64 letters, digits, - and _");
        }
        if !is_public_key(&candidate.public_key) || candidate.public_key != key {
            return refused("public_key must be the key of this connection, in Z85");
        }
        let is_taken = |name: &str| {
            self.shared
                .admission
                .whitelist
                .read()
                .is_ok_and(|list| list.peers.values().any(|peer| peer.name == name))
        };
        if is_taken(&candidate.name) {
            return refused(
                "the name is on the white list already; choose another, or revoke it with `nikola keys`",
            );
        }
        let public_key = candidate.public_key.clone();
        match self.pairing.request(token, candidate, at) {
            Ok(()) => {
                let fingerprint = fingerprint(&self.server_key, &public_key);
                let mut report = nikola::Pairing { fingerprint, ..nikola::Pairing::default() };
                report.set_state(nikola::pairing::State::Pairing);
                Ok(report)
            }
            Err(limited @ PairingError::RateLimited) => Err((Code::RateLimited, limited.to_string())),
            Err(wrong) => refused(&wrong.to_string()),
        }
    }

    fn tell_candidate(&mut self, outcome: &str, at: Moment) {
        if let Some(Pending { route, question, .. }) = self.pairing_waiter.take() {
            let pairing = Some(nikola::Pairing { outcome: outcome.into(), ..nikola::Pairing::default() });
            let control = Control { verb: Verb::PairRequest.into(), pairing, ..Control::default() };
            self.desk.post(Plane::Pairing, route, &answer(&question, Payload::Control(control)), at);
        }
    }

    /// Pairing that took too long is locked, and its candidate told.
    pub(super) fn expire_pairing(&mut self, at: Moment) {
        if self.pairing_waiter.is_some() && *self.pairing.state(at) == State::Locked {
            self.tell_candidate("expired", at);
        }
        self.set_pairing_door(at);
    }
}
