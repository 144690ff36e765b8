//! Orders: commands from outside as data, and the commands they become.
//!
//! Invariant: an [`Order`] and the scene give the same command again, to the last bit, so a journal of orders replays.
//! Written as RON (docs/FORMATS.md, "Journal segment"); the types here mirror those of the tick, which know no format.

use crate::scene::{Scene, SceneError, strike};
use nikola_systems::components::chemistry::{self, Horizon};
use nikola_systems::components::oracle;
use nikola_systems::components::ports::Command;
use nikola_systems::components::setup::Setup;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A command from outside, as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// A strike as RON text: `(amplitude: 0.1, phase: 0, profile: Gaussian(width: {x: 1}))`.
    Inject(String),
    /// A new β.
    SetBeta(f64),
    /// The next tick runs without the nonlinear flow.
    Degrade,
    /// A sample at the end of the next tick.
    Sample,
    /// From the next tick on, an emitter acts so many times as strongly as the scene says.
    Drive {
        /// Which, in the scene's order from 0.
        emitter: usize,
        /// Factor.
        value: f64,
    },
    /// What the readout should have given for the next tick's scan.
    Teach(Vec<f64>),
    /// New weights of the readout: per target, the bias and one weight per feature.
    SetReadout(Vec<f64>),
    /// The oracle freezes the world.
    Scram(Alarm),
    /// The oracle ends a freeze.
    Resume,
    /// Something for the chemistry.
    Stimulate(Stimulus),
    /// No page of a sparse torus is born from the next tick on, or pages are again.
    ThrottleGrowth(bool),
}

impl Order {
    /// Whether it is worth nothing when it comes late. A freeze is worth most when ticks are slow.
    pub fn ages(&self) -> bool {
        !matches!(self, Self::Scram(_) | Self::Resume)
    }
}

/// Why a world is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Alarm {
    /// Ticks take too long in real time.
    Overload,
    /// Somebody asked.
    Asked,
}

/// Something that acts on the chemistry.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Stimulus {
    /// Reward in [−1, 1], for the next update.
    Reward(f64),
    /// A security alert.
    Alert,
    /// Stress in [0, 1].
    Stress(f64),
    /// Work done elsewhere, in node-steps.
    Work(f64),
    /// A goal that is reached in seconds.
    ShortGoal {
        /// Its number.
        id: u64,
        /// Reward when it is reached.
        reward: f64,
    },
    /// A goal that is reached in minutes.
    MidGoal {
        /// Its number.
        id: u64,
        /// Reward when it is reached.
        reward: f64,
    },
    /// A goal that takes longer.
    LongGoal {
        /// Its number.
        id: u64,
        /// Reward when it is reached.
        reward: f64,
    },
    /// The goal of this number is reached.
    ReachGoal(u64),
    /// Go to rest.
    Nap,
}

impl From<Alarm> for oracle::Alarm {
    fn from(alarm: Alarm) -> Self {
        match alarm {
            Alarm::Overload => Self::Overload,
            Alarm::Asked => Self::Asked,
        }
    }
}

impl From<Stimulus> for chemistry::Stimulus {
    fn from(stimulus: Stimulus) -> Self {
        let goal = |id, reward, horizon| Self::AddGoal(chemistry::Goal { id, horizon, reward });
        match stimulus {
            Stimulus::Reward(reward) => Self::Reward(reward),
            Stimulus::Alert => Self::Alert,
            Stimulus::Stress(stress) => Self::Stress(stress),
            Stimulus::Work(work) => Self::Work(work),
            Stimulus::ShortGoal { id, reward } => goal(id, reward, Horizon::Short),
            Stimulus::MidGoal { id, reward } => goal(id, reward, Horizon::Mid),
            Stimulus::LongGoal { id, reward } => goal(id, reward, Horizon::Long),
            Stimulus::ReachGoal(id) => Self::ReachGoal(id),
            Stimulus::Nap => Self::Nap,
        }
    }
}

/// Builds the command of an order.
#[derive(Debug, Clone)]
pub struct OrderBuilder {
    scene: Arc<Scene>,
    setup: Arc<Setup>,
}

impl OrderBuilder {
    /// For the orders to one scene.
    pub fn new(scene: &Scene, setup: &Setup) -> Self {
        Self { scene: Arc::new(scene.clone()), setup: Arc::new(setup.clone()) }
    }

    /// How the scene's oracle is set, if it has one.
    pub fn oracle(&self) -> Option<oracle::OracleSettings> {
        self.setup.oracle
    }

    /// The command of `order`.
    ///
    /// # Errors
    /// [`SceneError`] pointing into the order's text.
    pub fn build(&self, order: &Order) -> Result<Command, SceneError> {
        Ok(match order {
            Order::Inject(text) => strike(&self.scene, &self.setup, text)?,
            Order::SetBeta(beta) => Command::SetBeta(*beta),
            Order::Degrade => Command::Degrade,
            Order::Sample => Command::Sample,
            Order::Drive { emitter, value } => Command::Drive { emitter: *emitter, value: *value },
            Order::Teach(targets) => Command::Teach(targets.as_slice().into()),
            Order::SetReadout(weights) => Command::SetReadout(weights.as_slice().into()),
            Order::Scram(alarm) => Command::Scram((*alarm).into()),
            Order::Resume => Command::Resume,
            Order::Stimulate(stimulus) => Command::Stimulate((*stimulus).into()),
            Order::ThrottleGrowth(is_throttled) => Command::ThrottleGrowth(*is_throttled),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::scene::{load_str, resolve};

    /// One order of each kind, with numbers that lose something in any careless text.
    pub(crate) fn one_of_each() -> Vec<Order> {
        let numbers = vec![0.1 + 0.2, -0.0, 5e-324, f64::MAX, f64::MIN_POSITIVE, 1.0 / 3.0, -1e-300];
        let (id, reward) = (u64::MAX, 0.1 + 0.2);
        let stimuli = [
            Stimulus::Reward(-1.0 / 3.0),
            Stimulus::Alert,
            Stimulus::Stress(0.7),
            Stimulus::Work(1e17),
            Stimulus::ShortGoal { id, reward },
            Stimulus::MidGoal { id, reward },
            Stimulus::LongGoal { id, reward },
            Stimulus::ReachGoal(id),
            Stimulus::Nap,
        ];
        let mut orders = vec![
            Order::Inject("(amplitude: \"k\", phase: 1, profile: Uniform())\n".into()),
            Order::SetBeta(0.1 + 0.2),
            Order::Degrade,
            Order::Sample,
            Order::Drive { emitter: 3, value: -1.0 / 3.0 },
            Order::Teach(numbers.clone()),
            Order::SetReadout(numbers),
            Order::Scram(Alarm::Asked),
            Order::Scram(Alarm::Overload),
            Order::Resume,
            Order::ThrottleGrowth(true),
        ];
        orders.extend(stimuli.map(Order::Stimulate));
        orders
    }

    #[test]
    fn every_order_is_data_to_the_last_bit() {
        let orders = one_of_each();
        let read: Vec<Order> =
            ron::from_str(&ron::to_string(&orders).expect("orders are data")).expect("as written");
        // `==` takes -0.0 for 0.0; their texts differ.
        assert_eq!(format!("{read:?}"), format!("{orders:?}"));
    }

    #[test]
    fn every_order_becomes_its_command() {
        let text = "(version: 1, torus: (extents: {x: 9}), ticks: 1, initial: Uniform(amplitude: 1))";
        let scene = load_str("small.ron", text, &[]).expect("a scene");
        let setup = resolve(&scene, &scene.base_dir).expect("resolves").setup;
        let builder = OrderBuilder::new(&scene, &setup);
        let built: Vec<String> = one_of_each()
            .iter()
            .filter(|order| !matches!(order, Order::Inject(_)))
            .map(|order| format!("{:?}", builder.build(order).expect("needs no scene")))
            .collect();
        for word in
            ["Drive(3, -0.333", "Teach([0.3", "SetReadout(7 weights)", "Scram(Asked)", "Scram(Overload)"]
        {
            assert!(built.iter().any(|command| command.starts_with(word)), "{word}: {built:?}");
        }
        assert!(built.contains(&"Resume".into()) && built.contains(&"Stimulate(Nap)".into()), "{built:?}");
        let horizons = ["Short", "Mid", "Long"].map(|word| format!("horizon: {word}"));
        assert!(horizons.iter().all(|word| built.iter().any(|command| command.contains(word))), "{built:?}");
    }
}
