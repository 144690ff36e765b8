//! Who asked what, whom it was handed to, and until when an answer is expected.
//! Invariant: an answer finds its asker however late it comes; each expectation ends once, by an answer or by its time
//! running out; at most [`QUESTIONS_MAX`] questions are remembered, the oldest is forgotten first, without a verdict.

use super::super::clock::Moment;
use super::super::generated::nikola::NeuralSpike;
use super::Route;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Questions whose askers are remembered.
const QUESTIONS_MAX: usize = 16_384;

struct Question {
    asker: String,
    route: Route,
    expected: Option<Expected>,
}

/// An answer that has not come yet.
struct Expected {
    from: String,
    until: Moment,
    /// Without its payload.
    question: NeuralSpike,
}

/// A question whose time ran out.
pub(super) struct Overdue {
    /// Who should have answered.
    pub(super) from: String,
    /// Where the asker is.
    pub(super) route: Route,
    /// Without its payload.
    pub(super) question: NeuralSpike,
}

/// What was asked lately.
#[derive(Default)]
pub(super) struct Questions {
    by_id: HashMap<String, Question>,
    order: VecDeque<String>,
    dues: BTreeSet<(Moment, String)>,
}

impl Questions {
    /// Who asked is remembered.
    pub(super) fn remember(&mut self, id: &str, asker: &str, route: &Route) {
        let question = Question { asker: asker.into(), route: route.clone(), expected: None };
        match self.by_id.insert(id.into(), question) {
            None => self.order.push_back(id.into()),
            Some(Question { expected: Some(expected), .. }) => {
                self.dues.remove(&(expected.until, id.to_string()));
            }
            Some(_) => {}
        }
        if self.order.len() > QUESTIONS_MAX
            && let Some(oldest) = self.order.pop_front()
            && let Some(Question { expected: Some(expected), .. }) = self.by_id.remove(&oldest)
        {
            self.dues.remove(&(expected.until, oldest));
        }
    }

    /// Who asked what this answers.
    pub(super) fn asker(&self, id: &str, answerer: &str) -> Option<Route> {
        self.by_id
            .get(id)
            .filter(|question| question.asker != answerer)
            .map(|question| question.route.clone())
    }

    /// The question was handed to `from`, who should answer before `until`.
    pub(super) fn expect(&mut self, question: NeuralSpike, from: &str, until: Moment) {
        let id = question.request_id.clone();
        if let Some(asked) = self.by_id.get_mut(&id) {
            asked.expected = Some(Expected { from: from.into(), until, question });
            self.dues.insert((until, id));
        }
    }

    /// Whether an answer is still to come.
    pub(super) fn is_expected(&self, id: &str) -> bool {
        self.by_id.get(id).is_some_and(|question| question.expected.is_some())
    }

    /// Whether this is the answer that was expected from `answerer`; it is expected no longer.
    pub(super) fn is_answered(&mut self, id: &str, answerer: &str) -> bool {
        let Some(question) = self.by_id.get_mut(id) else { return false };
        let Some(expected) = question.expected.take_if(|expected| expected.from == answerer) else {
            return false;
        };
        self.dues.remove(&(expected.until, id.to_string()))
    }

    /// When the next expectation ends.
    pub(super) fn due(&self) -> Option<Moment> {
        self.dues.first().map(|due| due.0)
    }

    /// Takes an expectation whose time ran out. The asker stays known: an answer may still come.
    pub(super) fn overdue(&mut self, at: Moment) -> Option<Overdue> {
        let (_, id) = self.dues.first().filter(|due| due.0 <= at)?.clone();
        self.dues.pop_first();
        let asked = self.by_id.get_mut(&id)?;
        let Expected { from, question, .. } = asked.expected.take()?;
        Some(Overdue { from, route: asked.route.clone(), question })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn question(id: &str) -> NeuralSpike {
        NeuralSpike { request_id: id.into(), ..NeuralSpike::default() }
    }

    #[test]
    fn an_expectation_ends_once() {
        let mut questions = Questions::default();
        for (id, until) in [("a", 30), ("b", 10), ("c", 20)] {
            questions.remember(id, "asker", &vec![id.into()]);
            questions.expect(question(id), "worker", at(until));
        }
        assert!(!questions.is_answered("b", "somebody"), "from another");
        assert!(questions.is_answered("b", "worker"));
        assert!(!questions.is_answered("b", "worker"), "twice");
        assert_eq!(questions.due(), Some(at(20)));
        assert!(questions.overdue(at(19)).is_none());
        let late = questions.overdue(at(20)).expect("c");
        assert_eq!(
            (late.from.as_str(), late.question.request_id.as_str(), late.route),
            ("worker", "c", vec![b"c".to_vec()])
        );
        assert!(questions.overdue(at(20)).is_none());
        assert!(!questions.is_answered("c", "worker"), "too late to count");
        assert!(questions.asker("c", "worker").is_some(), "and not too late to be passed on");
        assert!(questions.asker("c", "asker").is_none());
        // Asked anew: the old expectation is gone.
        questions.remember("a", "asker", &Vec::new());
        assert_eq!(questions.due(), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut questions = Questions::default();
        for i in 0..2 * QUESTIONS_MAX {
            questions.remember(&i.to_string(), "asker", &Vec::new());
            questions.expect(question(&i.to_string()), "worker", at(i as u64));
        }
        assert_eq!(
            (questions.by_id.len(), questions.order.len(), questions.dues.len()),
            (QUESTIONS_MAX, QUESTIONS_MAX, QUESTIONS_MAX)
        );
        assert_eq!(questions.due(), Some(at(QUESTIONS_MAX as u64)));
    }
}
