//! Which way a message goes.
//!
//! | payload | recipient | strategy |
//! |---|---|---|
//! | control | any | priority queue: the control socket, answered before any data is looked at |
//! | command_request, command_response | executor and whoever asked it | secure channel: to one, by its own key, never broadcast |
//! | neurogenesis, neurochemistry, waveform_shm | any | broadcast |
//! | status_report | spine | kept by the watchdog |
//! | sparse_waveform, retrieve_request | memory | key range, else round-robin over equals |
//! | any other | named component | round-robin over equals (one: unicast) |
//! | any other | unknown | fire and forget: broadcast, no answer |
//!
//! Invariant: pure functions of the message.

use super::generated::nikola::{ComponentId, NeuralSpike, error::Code, neural_spike::Payload};
use std::time::Duration;

/// A way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Answered by the broker or the tick, ahead of everything.
    Priority,
    /// To one of the equals, in turn.
    RoundRobin(ComponentId),
    /// To the worker that holds the key's range.
    KeyRange(ComponentId),
    /// To exactly one, named by component; refused when several have that name.
    Secure(ComponentId),
    /// To every subscriber, under this topic.
    Broadcast(&'static str),
    /// To every subscriber; the sender hears nothing of it.
    FireAndForget(&'static str),
    /// The broker keeps it.
    Keep,
}

/// The strategy for a message; none for a payload this version does not know.
pub fn strategy(spike: &NeuralSpike) -> Option<Strategy> {
    let to = spike.recipient();
    Some(match spike.payload.as_ref()? {
        Payload::Control(_) => Strategy::Priority,
        Payload::StatusReport(_) => Strategy::Keep,
        Payload::CommandRequest(_) => Strategy::Secure(ComponentId::Executor),
        Payload::CommandResponse(_) => Strategy::Secure(to),
        Payload::Neurogenesis(_) => Strategy::Broadcast("neurogenesis"),
        Payload::Neurochemistry(_) => Strategy::Broadcast("neurochemistry"),
        Payload::WaveformShm(_) => Strategy::Broadcast("waveform_shm"),
        Payload::SparseWaveform(_) | Payload::RetrieveRequest(_) if to == ComponentId::Memory => {
            Strategy::KeyRange(to)
        }
        _ if to == ComponentId::Unknown => Strategy::FireAndForget("text"),
        _ => Strategy::RoundRobin(to),
    })
}

/// Time beyond a command's own limit in which its executor has to answer.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// How long an answer may take where the question does not say it.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long whoever gets this message may take to answer it; none where no answer is expected.
pub fn answer_within(spike: &NeuralSpike) -> Option<Duration> {
    match spike.payload.as_ref()? {
        Payload::CommandRequest(request) => {
            let own = Some(request.timeout_ms).filter(|&millis| millis > 0);
            let limit = own.map_or(ANSWER_WITHIN, |millis| Duration::from_millis(millis.into()));
            Some(limit + ANSWER_GRACE)
        }
        Payload::RetrieveRequest(_) => Some(ANSWER_WITHIN),
        _ => None,
    }
}

/// Whether an answer says that its sender could not do its work. One that says no, or that a command failed, is at
/// work.
pub fn is_failure(answer: &NeuralSpike) -> bool {
    let Some(Payload::Error(error)) = &answer.payload else { return false };
    matches!(
        error.code(),
        Code::Unknown
            | Code::Full
            | Code::Unreachable
            | Code::TimedOut
            | Code::RateLimited
            | Code::OpenCircuit
    )
}

/// The first key of a message that is routed by key.
pub fn key(spike: &NeuralSpike) -> Option<[u8; 16]> {
    let keys = match spike.payload.as_ref()? {
        Payload::SparseWaveform(wave) => &wave.keys,
        Payload::RetrieveRequest(request) => &request.keys,
        _ => return None,
    };
    keys.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spine::envelope::{control, spike};
    use crate::spine::generated::nikola::{
        CommandRequest, Neurochemistry, SparseWaveform, StatusReport, control::Verb,
    };

    #[test]
    fn the_table() {
        let to = |recipient, payload| strategy(&spike(ComponentId::Agent, recipient, payload));
        let sparse = || Payload::SparseWaveform(SparseWaveform::default());
        let memory = ComponentId::Memory;
        assert_eq!(to(memory, control(Verb::Ping)), Some(Strategy::Priority));
        assert_eq!(to(memory, sparse()), Some(Strategy::KeyRange(memory)));
        assert_eq!(to(ComponentId::Agent, sparse()), Some(Strategy::RoundRobin(ComponentId::Agent)));
        assert_eq!(
            to(memory, Payload::CommandRequest(CommandRequest::default())),
            Some(Strategy::Secure(ComponentId::Executor))
        );
        let chemistry = Payload::Neurochemistry(Neurochemistry::default());
        assert_eq!(to(memory, chemistry), Some(Strategy::Broadcast("neurochemistry")));
        assert_eq!(to(memory, Payload::StatusReport(StatusReport::default())), Some(Strategy::Keep));
        let text = || Payload::Text("x".into());
        assert_eq!(to(ComponentId::Ingest, text()), Some(Strategy::RoundRobin(ComponentId::Ingest)));
        assert_eq!(to(ComponentId::Unknown, text()), Some(Strategy::FireAndForget("text")));
        let mut unknown = spike(ComponentId::Agent, memory, text());
        unknown.payload = None;
        assert_eq!(strategy(&unknown), None);
    }
}
