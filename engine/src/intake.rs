//! The intake: how orders from other threads reach the tick.
//!
//! Invariant: an [`Order`] is data; with the scene it gives the same command again, so a journal of orders replays.
//! The queue is bounded and a full one refuses (the sender is told); orders are read and checked on the sender's
//! thread, so a bad one never costs a tick anything. The runner takes everything that waits at each tick border.

mod order;

pub use order::{Alarm, Order, OrderBuilder, Stimulus};

use crate::runner::governor::Decision;
use crate::runner::now_nanos;
use crate::scene::SceneError;
use nikola_systems::Simulation;
use nikola_systems::components::oracle::OracleSettings;
use nikola_systems::components::ports::Command;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

/// Most messages that wait between two ticks.
pub const INTAKE_CAPACITY: usize = 1024;

/// What happened to an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Receipt {
    /// It enters the tick that begins when `tick` ticks are done. Where a journal is kept, this is sent once the
    /// order is on the disk.
    Accepted {
        /// Ticks done before it.
        tick: u64,
    },
    /// It was not taken in.
    Refused(String),
}

/// Why an order was not queued.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The order's text is wrong.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// Too many wait already.
    #[error("{INTAKE_CAPACITY} messages wait for the next tick already; send again later")]
    Full,
    /// The run has ended.
    #[error("the run has ended; orders are no longer taken in")]
    Closed,
}

/// What goes through the queue.
enum Message {
    Order { order: Order, command: Command, receipt: Option<SyncSender<Receipt>>, sent_nanos: u64 },
    Nap,
    Halt,
}

/// The sending end; any number of threads may hold one.
#[derive(Clone)]
pub struct IntakeSender {
    builder: OrderBuilder,
    queue: SyncSender<Message>,
}

impl IntakeSender {
    /// Queues an order. `receipt`, a channel with room for one message, hears what became of it.
    ///
    /// # Errors
    /// [`IntakeError`]; nothing is queued then.
    pub fn send(&self, order: Order, receipt: Option<SyncSender<Receipt>>) -> Result<(), IntakeError> {
        let command = self.builder.build(&order)?;
        self.put(Message::Order { order, command, receipt, sent_nanos: now_nanos() })
    }

    /// How the scene's oracle is set, if it has one.
    pub fn oracle(&self) -> Option<OracleSettings> {
        self.builder.oracle()
    }

    /// Asks for a nap at the next tick border; without a state directory nothing happens.
    ///
    /// # Errors
    /// [`IntakeError`].
    pub fn nap(&self) -> Result<(), IntakeError> {
        self.put(Message::Nap)
    }

    /// Asks for an orderly end at the next tick border.
    ///
    /// # Errors
    /// [`IntakeError`].
    pub fn halt(&self) -> Result<(), IntakeError> {
        self.put(Message::Halt)
    }

    fn put(&self, message: Message) -> Result<(), IntakeError> {
        self.queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => IntakeError::Full,
            TrySendError::Disconnected(_) => IntakeError::Closed,
        })
    }
}

/// An order, or an action of the runner, that a scene schedules.
#[derive(Debug, Clone, PartialEq)]
pub enum Scheduled {
    /// To the world.
    Order(Order),
    /// A nap.
    Nap,
    /// An orderly end.
    Halt,
}

/// Requests that signals make, raised from anywhere and looked at between ticks.
#[derive(Debug, Clone, Default)]
pub struct Bells {
    /// An orderly end.
    pub halt: Arc<AtomicBool>,
    /// A nap.
    pub nap: Arc<AtomicBool>,
    /// A new program in place of this one; without effect where no state is kept.
    pub blink: Arc<AtomicBool>,
}

/// The receiving end, owned by the runner.
pub struct Intake {
    queue: Receiver<Message>,
    builder: OrderBuilder,
    schedule: VecDeque<(u64, Scheduled)>,
    bells: Bells,
}

impl Intake {
    /// Both ends of a new queue.
    pub fn new(builder: OrderBuilder) -> (IntakeSender, Self) {
        let (sender, queue) = sync_channel(INTAKE_CAPACITY);
        let intake =
            Self { queue, builder: builder.clone(), schedule: VecDeque::new(), bells: Bells::default() };
        (IntakeSender { builder, queue: sender }, intake)
    }

    /// Adds what the scene schedules, earliest first. Entries before the world's tick are over.
    pub fn with_schedule(mut self, schedule: &[(u64, Scheduled)]) -> Self {
        self.schedule = schedule.iter().cloned().collect();
        self
    }

    /// Listens to these bells too.
    pub fn with_bells(mut self, bells: Bells) -> Self {
        self.bells = bells;
        self
    }

    /// Moves everything that waits into the world's ingress and `batch`: what is scheduled first. Orders sent before
    /// `oldest_nanos` of the runner's clock are refused, if they age: an old order is worse than none.
    pub fn gather(&mut self, simulation: &mut Simulation, oldest_nanos: u64, batch: &mut Batch) {
        batch.clear(simulation.tick_count());
        while self.schedule.front().is_some_and(|(tick, _)| *tick <= batch.tick) {
            match self.schedule.pop_front() {
                Some((tick, scheduled)) if tick == batch.tick => self.perform(scheduled, simulation, batch),
                _ => {}
            }
        }
        batch.wants_nap |= self.bells.nap.swap(false, Ordering::Relaxed);
        batch.wants_blink |= self.bells.blink.swap(false, Ordering::Relaxed);
        batch.wants_halt |= self.bells.halt.load(Ordering::Relaxed);
        loop {
            match self.queue.try_recv() {
                Ok(Message::Order { order, receipt, sent_nanos, .. })
                    if sent_nanos < oldest_nanos && order.ages() =>
                {
                    let waited_millis = now_nanos().saturating_sub(sent_nanos) / 1_000_000;
                    refuse(
                        receipt,
                        &format!(
                            "the order waited {waited_millis} ms, longer than realtime.order_age_millis_max; send it again"
                        ),
                    );
                }
                Ok(Message::Order { order, command, receipt, .. }) => {
                    enter(order, command, receipt, simulation, batch);
                }
                Ok(Message::Nap) => batch.wants_nap = true,
                Ok(Message::Halt) => batch.wants_halt = true,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
    }

    fn perform(&self, scheduled: Scheduled, simulation: &mut Simulation, batch: &mut Batch) {
        match scheduled {
            Scheduled::Nap => batch.wants_nap = true,
            Scheduled::Halt => batch.wants_halt = true,
            Scheduled::Order(order) => match self.builder.build(&order) {
                Ok(command) => enter(order, command, None, simulation, batch),
                Err(error) => eprintln!("{error}"),
            },
        }
    }
}

/// Puts an order into the coming tick, or tells its sender why not.
fn enter(
    order: Order,
    command: Command,
    receipt: Option<SyncSender<Receipt>>,
    simulation: &mut Simulation,
    batch: &mut Batch,
) {
    match simulation.push(command) {
        Ok(()) => {
            batch.orders.push(order);
            batch.receipts.extend(receipt);
        }
        Err(error) => refuse(receipt, &error.to_string()),
    }
}

fn refuse(receipt: Option<SyncSender<Receipt>>, reason: &str) {
    if let Some(receipt) = receipt {
        // Nobody waits for it any more: nothing to tell.
        let _ = receipt.try_send(Receipt::Refused(reason.to_string()));
    }
}

/// Everything that enters one tick from outside; final before the tick begins.
#[derive(Debug, Default)]
pub struct Batch {
    /// Ticks done before the tick it enters.
    pub tick: u64,
    /// Orders in the order they came; their commands are in the world's ingress already.
    pub orders: Vec<Order>,
    /// What real time decided since the last batch: ticks done then, and the decision. For the record only.
    pub decisions: Vec<(u64, Decision)>,
    /// Who waits for these orders to be accepted.
    pub receipts: Vec<SyncSender<Receipt>>,
    /// A nap was asked for.
    pub wants_nap: bool,
    /// An orderly end was asked for.
    pub wants_halt: bool,
    /// A new program goes on after this tick.
    pub wants_blink: bool,
}

impl Batch {
    fn clear(&mut self, tick: u64) {
        self.tick = tick;
        self.orders.clear();
        self.decisions.clear();
        self.receipts.clear();
        self.wants_nap = false;
        self.wants_halt = false;
        self.wants_blink = false;
    }

    /// Tells everybody who waits that the batch is accepted.
    pub fn acknowledge(&mut self) {
        for receipt in self.receipts.drain(..) {
            // Nobody waits for it any more: nothing to tell.
            let _ = receipt.try_send(Receipt::Accepted { tick: self.tick });
        }
    }
}

#[cfg(test)]
pub(crate) use order::tests::one_of_each;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::digest::state_digest;
    use crate::scene::{load_str, resolve};
    use nikola_systems::world::BuildOptions;

    const SCENE: &str = "(version: 1, constants: {k: 0.5}, torus: (extents: {x: 16, y: 9}), ticks: 10,
        initial: Uniform(amplitude: 1))";
    const STRIKE: &str = "(amplitude: \"k\", phase: 1, profile: Gaussian(width: {x: 2, y: 1}))";

    fn world() -> (Simulation, IntakeSender, Intake) {
        let scene = load_str("small.ron", SCENE, &[]).expect("a scene");
        let setup = resolve(&scene, &scene.base_dir).expect("resolves").setup;
        let simulation = Simulation::new(&setup, &BuildOptions::default()).expect("builds");
        let (sender, intake) = Intake::new(OrderBuilder::new(&scene, &setup));
        (simulation, sender, intake)
    }

    #[test]
    fn orders_are_data_and_replay_to_the_same_bits() {
        let (mut first, sender, mut intake) = world();
        sender.send(Order::Inject(STRIKE.into()), None).expect("queued");
        sender.send(Order::SetBeta(0.1 + 0.2), None).expect("queued");
        let mut batch = Batch::default();
        intake.gather(&mut first, 0, &mut batch);
        let text = ron::to_string(&batch.orders).expect("orders are data");
        let read: Vec<Order> = ron::from_str(&text).expect("as written");
        assert_eq!(read, batch.orders);
        let (mut second, sender, mut intake) = world();
        read.into_iter().for_each(|order| sender.send(order, None).expect("queued"));
        intake.gather(&mut second, 0, &mut batch);
        for _ in 0..5 {
            first.tick();
            second.tick();
        }
        assert_eq!(state_digest(&first), state_digest(&second));
        assert_ne!(state_digest(&first), state_digest(&world().0));
    }

    #[test]
    fn a_bad_strike_is_refused_on_the_senders_side_with_its_place() {
        let (_, sender, _intake) = world();
        let bad = |text: &str| match sender.send(Order::Inject(text.into()), None) {
            Err(IntakeError::Scene(error)) => error.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert!(bad("(profile: Gaussian(width: {x: 0}))").contains("width"));
        assert!(bad("(profil: Uniform())").contains("profil"));
        assert!(bad("(profile: Expr(re: \"1/0\", im: \"0\"))").contains("injection"));
    }

    #[test]
    fn receipts_say_what_became_of_an_order_and_a_full_queue_refuses() {
        let (mut simulation, sender, mut intake) = world();
        let (receipt, answers) = sync_channel(1);
        sender.send(Order::SetBeta(f64::NAN), Some(receipt.clone())).expect("queued");
        let mut batch = Batch::default();
        intake.gather(&mut simulation, 0, &mut batch);
        assert!(matches!(answers.try_recv(), Ok(Receipt::Refused(why)) if why.contains("finite")));
        sender.send(Order::SetBeta(1.0), Some(receipt)).expect("queued");
        intake.gather(&mut simulation, 0, &mut batch);
        batch.acknowledge();
        assert_eq!(answers.try_recv(), Ok(Receipt::Accepted { tick: 0 }));
        let full = (0..=INTAKE_CAPACITY).map(|_| sender.nap()).find(Result::is_err);
        assert!(matches!(full, Some(Err(IntakeError::Full))));
        drop(intake);
        assert!(matches!(sender.halt(), Err(IntakeError::Closed)));
    }

    #[test]
    fn a_freeze_comes_never_too_late() {
        let scene =
            load_str("small.ron", &SCENE.replace("ticks", "oracle: (), ticks"), &[]).expect("a scene");
        let setup = resolve(&scene, &scene.base_dir).expect("resolves").setup;
        let mut simulation = Simulation::new(&setup, &BuildOptions::default()).expect("builds");
        let (sender, mut intake) = Intake::new(OrderBuilder::new(&scene, &setup));
        assert!(sender.oracle().is_some());
        let freeze = Order::Scram(Alarm::Asked);
        let late = [Order::SetBeta(1.0), freeze.clone(), Order::Resume];
        late.into_iter().for_each(|order| sender.send(order, None).expect("queued"));
        let mut batch = Batch::default();
        intake.gather(&mut simulation, u64::MAX, &mut batch);
        assert_eq!(batch.orders, [freeze, Order::Resume]);
        let (mut simulation, sender, mut intake) = world();
        let (receipt, answers) = sync_channel(1);
        sender.send(Order::Scram(Alarm::Asked), Some(receipt)).expect("queued");
        intake.gather(&mut simulation, 0, &mut batch);
        assert!(matches!(answers.try_recv(), Ok(Receipt::Refused(why)) if why.contains("no oracle")));
    }

    #[test]
    fn orders_that_waited_too_long_are_refused_not_queued() {
        let (mut simulation, sender, mut intake) = world();
        let (receipt, answers) = sync_channel(1);
        sender.send(Order::SetBeta(1.0), Some(receipt)).expect("queued");
        let mut batch = Batch::default();
        intake.gather(&mut simulation, u64::MAX, &mut batch);
        assert!(batch.orders.is_empty());
        assert!(
            matches!(answers.try_recv(), Ok(Receipt::Refused(why)) if why.contains("order_age_millis_max"))
        );
    }
}
