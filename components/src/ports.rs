//! The two doors of the tick: what enters in its first stage and what leaves in its last.
//!
//! Invariant: both are bounded. Ingress refuses what does not fit (the sender is told); egress drops the oldest
//! entry and counts it, because a tick never waits for a reader.

use crate::chemistry::{NapCause, Stimulus};
use crate::growth::GrowthEvent;
use crate::oracle::{Alarm, Incident};
use crate::telemetry::Sample;
use bevy_ecs::prelude::Resource;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fill::ComplexFill;

/// Most commands one tick takes in.
pub const INGRESS_CAPACITY: usize = 1024;

/// Most samples that wait to be collected.
pub const EGRESS_CAPACITY: usize = 4096;

/// Most events that wait to be collected.
pub const EVENT_CAPACITY: usize = 1024;

/// A state to go back to.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Ticks completed when it was taken.
    pub tick: u64,
    /// Its pages, ascending: all of a dense torus, the active ones of a sparse one.
    pub pages: Vec<usize>,
    /// Real parts, page after page in storage order.
    pub re: Vec<f64>,
    /// Imaginary parts.
    pub im: Vec<f64>,
    /// Both parts of Ψ̇, where the equation is of second order in time.
    pub velocity: Option<[Vec<f64>; 2]>,
}

/// Something that enters a tick.
#[derive(Clone)]
pub enum Command {
    /// Ψ += (re + i·im) · profile before the tick.
    Inject {
        /// Complex factor.
        amplitude: (f64, f64),
        /// Where.
        profile: Arc<dyn ComplexFill>,
    },
    /// A new β from this tick on.
    SetBeta(f64),
    /// Run this tick without the nonlinear flow (both halves skipped).
    Degrade,
    /// Take a sample of the standard observables at the end of this tick.
    Sample,
    /// From this tick on, emitter `emitter` (in the order of the setup) acts `value` times as strongly.
    Drive {
        /// Which emitter.
        emitter: usize,
        /// Factor; 1 until the first such command.
        value: f64,
    },
    /// What the readout should have given for this tick's scan: it learns from it. Ignored on ticks without a scan.
    Teach(Arc<[f64]>),
    /// New weights of the readout: per target, the bias and one weight per feature.
    SetReadout(Arc<[f64]>),
    /// Freeze the world now: sources off, damping up. Only in worlds with an oracle.
    Scram(Alarm),
    /// End a freeze, a reset or a halt.
    Resume,
    /// Answer to [`Event::RestoreWanted`]: Ψ of a checkpoint, or nothing because there is none.
    Restore(Option<Arc<Checkpoint>>),
    /// Something for the chemistry.
    Stimulate(Stimulus),
    /// From this tick on no page of a sparse torus is born, or pages are again; nothing elsewhere.
    ThrottleGrowth(bool),
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inject { amplitude, .. } => write!(f, "Inject{amplitude:?}"),
            Self::SetBeta(beta) => write!(f, "SetBeta({beta})"),
            Self::Degrade => f.write_str("Degrade"),
            Self::Sample => f.write_str("Sample"),
            Self::Drive { emitter, value } => write!(f, "Drive({emitter}, {value})"),
            Self::Teach(targets) => write!(f, "Teach({targets:?})"),
            Self::SetReadout(weights) => write!(f, "SetReadout({} weights)", weights.len()),
            Self::Scram(alarm) => write!(f, "Scram({alarm:?})"),
            Self::Resume => f.write_str("Resume"),
            Self::Restore(checkpoint) => write!(f, "Restore({:?})", checkpoint.as_ref().map(|c| c.tick)),
            Self::Stimulate(stimulus) => write!(f, "Stimulate({stimulus:?})"),
            Self::ThrottleGrowth(is_throttled) => write!(f, "ThrottleGrowth({is_throttled})"),
        }
    }
}

/// Why a command was not taken in.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IngressError {
    /// The batch of this tick is full.
    #[error("the ingress batch holds {INGRESS_CAPACITY} commands already; send again after the next tick")]
    Full,
    /// A number is not finite.
    #[error("{what} is {found}; expected a finite number")]
    NotFinite {
        /// Which argument.
        what: &'static str,
        /// What was sent.
        found: f64,
    },
    /// The world has no such emitter.
    #[error("emitter {found} does not exist: the world has {n_emitters}, counted from 0")]
    NoEmitter {
        /// Which was asked for.
        found: usize,
        /// How many there are.
        n_emitters: usize,
    },
    /// A list does not fit the readout.
    #[error("{what}: {found} number(s); expected {expected} (a world without a readout takes none)")]
    Length {
        /// Which list.
        what: &'static str,
        /// Its length.
        found: usize,
        /// What fits.
        expected: usize,
    },
    /// The world lacks the part that a command is for.
    #[error("this world has no {part}; add `{field}: ()` to the scene")]
    NoPart {
        /// What it lacks.
        part: &'static str,
        /// The scene's field for it.
        field: &'static str,
    },
    /// A number is out of range.
    #[error("{what} is {found}; expected a number from {least} to {greatest}")]
    OutOfRange {
        /// Which argument.
        what: &'static str,
        /// What was sent.
        found: f64,
        /// Smallest accepted.
        least: f64,
        /// Largest accepted.
        greatest: f64,
    },
    /// The world takes no input now.
    #[error("the world takes no input now: {reason}; send again later")]
    Closed {
        /// Why.
        reason: &'static str,
    },
}

/// What a world has, as far as commands name it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IngressLimits {
    /// Emitters.
    pub n_emitters: usize,
    /// Targets of the readout.
    pub n_targets: usize,
    /// Weights of the readout.
    pub n_weights: usize,
    /// An oracle.
    pub has_oracle: bool,
    /// Neurochemistry.
    pub has_chemistry: bool,
}

/// Commands for the next tick, in the order they came.
#[derive(Debug, Default, Resource)]
pub struct Ingress {
    batch: Vec<Command>,
    limits: IngressLimits,
    closed: Option<&'static str>,
}

impl Ingress {
    /// An empty batch for a world that has what `limits` says.
    pub fn new(limits: IngressLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Checks and queues a command.
    ///
    /// # Errors
    /// [`IngressError`] when the batch is full, an argument is not finite or does not fit; nothing is queued then.
    pub fn push(&mut self, command: Command) -> Result<(), IngressError> {
        let finite = |what, found: f64| {
            if found.is_finite() { Ok(()) } else { Err(IngressError::NotFinite { what, found }) }
        };
        match &command {
            Command::Inject { amplitude, .. } => {
                finite("the injected amplitude's real part", amplitude.0)?;
                finite("the injected amplitude's imaginary part", amplitude.1)?;
            }
            Command::SetBeta(beta) => finite("beta", *beta)?,
            Command::Drive { emitter, value } => {
                let n_emitters = self.limits.n_emitters;
                if *emitter >= n_emitters {
                    return Err(IngressError::NoEmitter { found: *emitter, n_emitters });
                }
                finite("the emitter's factor", *value)?;
            }
            Command::Teach(targets) => {
                self.fits("targets of the readout", targets, self.limits.n_targets)?;
            }
            Command::SetReadout(weights) => {
                self.fits("weights of the readout", weights, self.limits.n_weights)?;
            }
            Command::Stimulate(stimulus) => {
                self.has(self.limits.has_chemistry, "neurochemistry", "engs")?;
                in_range(stimulus)?;
            }
            Command::Scram(_) | Command::Resume => self.has(self.limits.has_oracle, "oracle", "oracle")?,
            Command::Degrade | Command::Sample | Command::Restore(_) | Command::ThrottleGrowth(_) => {}
        }
        let is_outside_input = matches!(
            command,
            Command::Inject { .. } | Command::SetBeta(_) | Command::Drive { .. } | Command::Stimulate(_)
        );
        if let Some(reason) = self.closed.filter(|_| is_outside_input) {
            return Err(IngressError::Closed { reason });
        }
        if self.batch.len() == INGRESS_CAPACITY {
            return Err(IngressError::Full);
        }
        self.batch.push(command);
        Ok(())
    }

    fn has(&self, is_there: bool, part: &'static str, field: &'static str) -> Result<(), IngressError> {
        if is_there { Ok(()) } else { Err(IngressError::NoPart { part, field }) }
    }

    fn fits(&self, what: &'static str, values: &[f64], expected: usize) -> Result<(), IngressError> {
        if expected == 0 || values.len() != expected {
            return Err(IngressError::Length { what, found: values.len(), expected });
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(&found) => Err(IngressError::NotFinite { what, found }),
            None => Ok(()),
        }
    }

    /// Whether a waiting command changes Ψ.
    pub fn strikes(&self) -> bool {
        let is_strike =
            |command: &Command| matches!(command, Command::Inject { .. } | Command::Restore(Some(_)));
        self.batch.iter().any(is_strike)
    }

    /// The checkpoint that waits to be taken in: `Some(None)` is the answer that there is none.
    pub fn restore(&self) -> Option<Option<&Arc<Checkpoint>>> {
        self.batch.iter().find_map(|command| match command {
            Command::Restore(checkpoint) => Some(checkpoint.as_ref()),
            _ => None,
        })
    }

    /// Whether the batch has a command whose effect on the energy is measured before the tick.
    pub fn looks(&self) -> bool {
        self.batch.iter().any(|command| matches!(command, Command::Degrade))
    }

    /// Refuses injections, parameters and stimuli from now on, or takes them again.
    pub fn set_closed(&mut self, reason: Option<&'static str>) {
        self.closed = reason;
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.batch.clear();
    }

    /// Takes the whole batch, keeping the allocation.
    pub fn take(&mut self, into: &mut Vec<Command>) {
        into.clear();
        into.append(&mut self.batch);
    }
}

/// Refuses a stimulus whose number is out of range or no number.
fn in_range(stimulus: &Stimulus) -> Result<(), IngressError> {
    let (what, found, least, greatest) = match *stimulus {
        Stimulus::Reward(reward) => ("the reward", reward, -1.0, 1.0),
        Stimulus::AddGoal(goal) => ("the goal's reward", goal.reward, -1.0, 1.0),
        Stimulus::Stress(stress) => ("the stress", stress, 0.0, 1.0),
        Stimulus::Work(work) => ("the work in node-steps", work, 0.0, 1e18),
        Stimulus::Alert | Stimulus::ReachGoal(_) | Stimulus::Nap => return Ok(()),
    };
    if (least..=greatest).contains(&found) {
        return Ok(());
    }
    Err(IngressError::OutOfRange { what, found, least, greatest })
}

/// Something that left a tick and wants an answer or a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The oracle changed its state.
    Incident(Incident),
    /// The state is healthy: a good time to keep a copy of it.
    CheckpointWanted,
    /// Answer with [`Command::Restore`]: the newest checkpoint but `skip`.
    RestoreWanted {
        /// Checkpoints to pass over, because they did not help.
        skip: usize,
    },
    /// An injection was refused because it once led to a reset.
    Refused {
        /// Tick.
        tick: u64,
        /// Digest of the input.
        digest: u64,
    },
    /// A nap begins: a good time to write the state down.
    NapWanted {
        /// Tick.
        tick: u64,
        /// Why.
        cause: NapCause,
    },
    /// The nap is over.
    Woke {
        /// Tick.
        tick: u64,
    },
    /// ATP fell below 15 %.
    AtpLow {
        /// Tick.
        tick: u64,
        /// What is left.
        atp: f64,
    },
    /// Boredom rose above its threshold: a goal to explore was set.
    Curiosity {
        /// Tick.
        tick: u64,
        /// The goal's id.
        goal: u64,
    },
}

/// How often a thread found a port's lock taken and had to wait: edges that guard a port with a lock count here. The
/// tick itself holds no lock, so it never waits.
#[derive(Debug, Clone, Default, Resource)]
pub struct LockContention(Arc<AtomicU64>);

impl LockContention {
    /// One wait more.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits so far.
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Samples and events that wait for the observer.
#[derive(Debug, Default, Resource)]
pub struct Egress {
    samples: VecDeque<Sample>,
    growth: VecDeque<GrowthEvent>,
    events: VecDeque<Event>,
    dropped: u64,
}

impl Egress {
    /// Queues a sample; the oldest is dropped, and counted, when nobody collected for long.
    pub fn push(&mut self, sample: Sample) {
        if self.samples.len() == EGRESS_CAPACITY {
            self.samples.pop_front();
            self.dropped += 1;
        }
        self.samples.push_back(sample);
    }

    /// Removes the oldest sample.
    pub fn pop(&mut self) -> Option<Sample> {
        self.samples.pop_front()
    }

    /// Queues an event of a page; the oldest is dropped, and counted, when nobody collected for long. Those of one tick
    /// stay together, however many pages it concerns.
    pub fn push_growth(&mut self, event: GrowthEvent) {
        while self.growth.len() >= EGRESS_CAPACITY
            && self.growth.front().is_some_and(|oldest| oldest.tick != event.tick)
        {
            self.growth.pop_front();
            self.dropped += 1;
        }
        self.growth.push_back(event);
    }

    /// Removes the oldest event of a page.
    pub fn pop_growth(&mut self) -> Option<GrowthEvent> {
        self.growth.pop_front()
    }

    /// Queues an event; the oldest is dropped, and counted, when nobody collected for long.
    pub fn push_event(&mut self, event: Event) {
        if self.events.len() == EVENT_CAPACITY {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back(event);
    }

    /// Removes the oldest event.
    pub fn pop_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Samples and events lost because nobody collected them.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::morton::MortonKey;
    use crate::growth::Change;

    #[test]
    fn events_of_one_tick_stay_together_and_old_ones_go() {
        let mut egress = Egress::default();
        let key = MortonKey::from_be_bytes([0; 16]).expect("node 0");
        let push = |egress: &mut Egress, tick: u64, n: usize| {
            (0..n).for_each(|_| egress.push_growth(GrowthEvent { tick, key, change: Change::Capped }));
        };
        push(&mut egress, 1, EGRESS_CAPACITY + 900);
        let ticks: Vec<u64> = std::iter::from_fn(|| egress.pop_growth()).map(|event| event.tick).collect();
        assert_eq!(ticks, vec![1; EGRESS_CAPACITY + 900]);
        push(&mut egress, 2, EGRESS_CAPACITY + 900);
        push(&mut egress, 3, 10);
        let ticks: Vec<u64> = std::iter::from_fn(|| egress.pop_growth()).map(|event| event.tick).collect();
        assert_eq!(ticks, [vec![2; EGRESS_CAPACITY - 10], vec![3; 10]].concat());
    }

    #[test]
    fn a_full_batch_refuses_and_says_so() {
        let mut ingress = Ingress::default();
        for _ in 0..INGRESS_CAPACITY {
            assert_eq!(ingress.push(Command::Sample), Ok(()));
        }
        assert_eq!(ingress.push(Command::Sample), Err(IngressError::Full));
    }

    #[test]
    fn numbers_that_are_not_finite_never_enter() {
        let mut ingress = Ingress::default();
        assert!(ingress.push(Command::SetBeta(f64::NAN)).is_err());
        let profile = Arc::new(|_: usize, _: &mut [f64], _: &mut [f64]| {});
        assert!(ingress.push(Command::Inject { amplitude: (0.0, f64::INFINITY), profile }).is_err());
        let mut batch = Vec::new();
        ingress.take(&mut batch);
        assert!(batch.is_empty());
    }

    #[test]
    fn commands_fit_what_the_world_has() {
        let limits = IngressLimits { n_emitters: 2, n_targets: 1, n_weights: 3, ..IngressLimits::default() };
        let mut ingress = Ingress::new(limits);
        let list = |values: &[f64]| Arc::<[f64]>::from(values);
        let refused = [
            Command::Drive { emitter: 2, value: 1.0 },
            Command::Drive { emitter: 0, value: f64::NAN },
            Command::Teach(list(&[1.0, 2.0])),
            Command::Teach(list(&[f64::INFINITY])),
            Command::SetReadout(list(&[1.0])),
            Command::Scram(Alarm::Asked),
            Command::Resume,
            Command::Stimulate(Stimulus::Alert),
        ];
        for command in refused {
            assert!(ingress.push(command.clone()).is_err(), "{command:?}");
        }
        assert!(Ingress::default().push(Command::Teach(list(&[]))).is_err(), "a world without a readout");
        let taken = [
            Command::Drive { emitter: 1, value: -0.5 },
            Command::Teach(list(&[1.0])),
            Command::SetReadout(list(&[0.0; 3])),
        ];
        for command in taken {
            assert_eq!(ingress.push(command.clone()), Ok(()), "{command:?}");
        }
    }

    #[test]
    fn a_full_egress_drops_the_oldest_and_counts_it() {
        let mut egress = Egress::default();
        for tick in 0..EGRESS_CAPACITY as u64 + 3 {
            egress.push(Sample { tick, ..Sample::default() });
        }
        assert_eq!(egress.dropped(), 3);
        assert_eq!(egress.pop().map(|sample| sample.tick), Some(3));
    }
}
