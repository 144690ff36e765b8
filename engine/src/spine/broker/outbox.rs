//! Messages that a peer did not take at once.
//! Invariant: each is tried again after 10, 20 and 30 ms without anybody waiting, then given up; at most 1024 wait.

use super::super::clock::Moment;
use super::super::generated::nikola::NeuralSpike;
use super::super::socket::RETRY_AFTER;
use super::doors::Plane;
use std::collections::VecDeque;

/// Most messages that wait.
const WAITING_MAX: usize = 1024;

/// A message on its way.
pub(super) struct Parcel {
    pub(super) plane: Plane,
    pub(super) route: Vec<Vec<u8>>,
    pub(super) body: Vec<u8>,
    /// Name of the component it is handed to, where the broker chose one.
    pub(super) recipient: Option<String>,
    /// Who is told when it cannot be delivered: plane, route and question (its payload left out).
    pub(super) origin: Option<(Plane, Vec<Vec<u8>>, NeuralSpike)>,
}

/// What waits.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(Moment, usize, Parcel)>,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When the next try is due.
    pub(super) fn due(&self) -> Option<Moment> {
        self.waiting.iter().map(|waiting| waiting.0).min()
    }

    /// Keeps a parcel for attempt `attempt` (0 the first retry); gives it back when it was the last or none fits.
    pub(super) fn keep(&mut self, parcel: Parcel, attempt: usize, at: Moment) -> Option<Parcel> {
        match RETRY_AFTER.get(attempt) {
            Some(wait) if self.waiting.len() < WAITING_MAX => {
                self.waiting.push_back((at.after(*wait), attempt, parcel));
                None
            }
            _ => Some(parcel),
        }
    }

    /// Takes a parcel that is due, with the number of the attempt after this one.
    pub(super) fn take(&mut self, at: Moment) -> Option<(Parcel, usize)> {
        let i = self.waiting.iter().position(|waiting| waiting.0 <= at)?;
        self.waiting.remove(i).map(|(_, attempt, parcel)| (parcel, attempt + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn three_more_attempts_and_no_longer_queue_than_allowed() {
        let parcel = || Parcel {
            plane: Plane::Data,
            route: Vec::new(),
            body: Vec::new(),
            recipient: None,
            origin: None,
        };
        let at = |millis| Moment(Duration::from_millis(millis));
        let mut outbox = Outbox::default();
        let (mut attempt, mut clock, mut dues) = (0, 0, Vec::new());
        while outbox.keep(parcel(), attempt, at(clock)).is_none() {
            clock = outbox.due().expect("one waits").0.as_millis() as u64;
            dues.push(clock);
            assert!(outbox.take(at(clock - 1)).is_none());
            attempt = outbox.take(at(clock)).expect("due").1;
        }
        assert_eq!(dues, [10, 30, 60]);
        for _ in 0..WAITING_MAX {
            assert!(outbox.keep(parcel(), 0, at(0)).is_none());
        }
        assert!(outbox.keep(parcel(), 0, at(0)).is_some());
    }
}
