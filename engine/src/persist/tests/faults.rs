//! A run over the simulated disk: power cuts, a full disk, failed syncs, at every operation of its life.
//!
//! Invariant checked: an order that was acknowledged is in the recovered state; the recovered state is, bit for bit, that
//! of an uninterrupted run with the same orders; after a failed write nothing is acknowledged any more.

use super::super::capture::state_hash;
use super::super::keeper::Keeper;
use super::super::nap::NapPlan;
use super::super::replay::replay;
use super::super::store::Store;
use super::super::{Disk, Fault};
use super::simulated::{SimulatedDisk, Trouble};
use super::{random, scene, world};
use crate::edge::{Edge, Ending};
use crate::intake::{Batch, Intake, Order, OrderBuilder, Receipt};
use crate::run::RunError;
use crate::scene::{Resolved, Scene};
use nikola_systems::Simulation;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

const FOLDER: &str = "state";
const TICKS: u64 = 40;

fn plan() -> NapPlan {
    NapPlan {
        every_ticks: 9,
        compact_every: 3,
        digest_every: 4,
        group_commit_millis: 0,
        ..NapPlan::default()
    }
}

/// The order that enters at `tick`, if one does.
fn order_at(tick: u64) -> Option<Order> {
    match tick % 5 {
        1 => Some(Order::SetBeta(0.5 + tick as f64 * 1e-3)),
        3 => Some(Order::Inject(format!("(amplitude: 1e-2, phase: {tick}, profile: Uniform())"))),
        _ => None,
    }
}

struct Rig {
    scene: Scene,
    resolved: Resolved,
    builder: OrderBuilder,
}

impl Rig {
    fn new() -> Self {
        let (scene, resolved, builder) = scene();
        Self { scene, resolved, builder }
    }

    /// Runs on `disk` until the end or the first failure; returns the ticks of acknowledged orders.
    fn run(&self, disk: &SimulatedDisk, acknowledged: &mut Vec<u64>) -> Result<(), RunError> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut simulation = world(&self.resolved);
        let folder = Path::new(FOLDER);
        let (store, replayed) = if Store::is_in(&*disk, folder) {
            let store = Store::open(disk, folder, None, None, 0, &mut simulation)?;
            let replayed = replay(&mut simulation, &self.builder, &store.segments, None)?;
            (store, Some(replayed))
        } else {
            (Store::create(disk, folder, None, None, &self.scene, 0, &mut simulation)?, None)
        };
        let mut keeper = Keeper::start(store, &mut simulation, plan(), replayed)?;
        let (sender, mut intake) = Intake::new(self.builder.clone());
        let mut batch = Batch::default();
        while simulation.tick_count() < TICKS {
            let tick = simulation.tick_count();
            let (receipt, answers) = sync_channel(1);
            let order = order_at(tick);
            let waits = order.is_some();
            if let Some(order) = order {
                sender.send(order, Some(receipt)).expect("a good order");
            }
            intake.gather(&mut simulation, 0, &mut batch);
            keeper.before_tick(&simulation, &mut batch)?;
            if waits {
                match answers.recv() {
                    Ok(Receipt::Accepted { tick: accepted }) => {
                        assert_eq!(accepted, tick);
                        acknowledged.push(tick);
                    }
                    Ok(Receipt::Refused(_)) | Err(_) => {}
                }
            }
            simulation.tick();
            keeper.after_tick(&mut simulation)?;
            // In step with its threads, so that the same seed gives the same run.
            keeper.settle()?;
        }
        keeper.at_end(&mut simulation, Ending::Done)
    }

    /// The state of an uninterrupted run at `tick`.
    fn reference(&self, tick: u64) -> Simulation {
        let mut simulation = world(&self.resolved);
        while simulation.tick_count() < tick {
            if let Some(order) = order_at(simulation.tick_count()) {
                simulation.push(self.builder.build(&order).expect("a good order")).expect("room");
            }
            simulation.tick();
        }
        simulation
    }

    /// Recovers what `disk` holds and compares; nothing that was acknowledged may be missing.
    fn check(&self, disk: &SimulatedDisk, acknowledged: &[u64]) {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        if !Store::is_in(&*disk, Path::new(FOLDER)) {
            assert!(acknowledged.is_empty(), "acknowledged {acknowledged:?}, but there is no state");
            return;
        }
        let mut simulation = world(&self.resolved);
        let store = Store::open(disk, Path::new(FOLDER), None, None, 0, &mut simulation).expect("loads");
        replay(&mut simulation, &self.builder, &store.segments, None).expect("replays");
        let tick = simulation.tick_count();
        if let Some(last) = acknowledged.last() {
            assert!(*last < tick, "acknowledged at tick {last}, recovered at {tick}");
        }
        let mut reference = self.reference(tick);
        assert_eq!(state_hash(&mut simulation), state_hash(&mut reference), "tick {tick}");
    }
}

/// Operations of a run without troubles.
fn n_operations(rig: &Rig) -> u64 {
    let disk = SimulatedDisk::new(1, None);
    let mut acknowledged = Vec::new();
    rig.run(&disk, &mut acknowledged).expect("no trouble");
    assert_eq!(acknowledged.len(), (0..TICKS).filter(|tick| order_at(*tick).is_some()).count());
    rig.check(&disk, &acknowledged);
    disk.n_operations()
}

fn say(seed: u64, trouble: Trouble) {
    println!("seed {seed}, {trouble:?}; to repeat: cargo test -p nikola-engine --lib persist::tests::faults");
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    let rig = Rig::new();
    let n = n_operations(&rig);
    for at in 0..n {
        let trouble = Trouble::PowerCut(at);
        let mut seed = at + 1;
        say(seed, trouble);
        let disk = SimulatedDisk::new(seed, Some(trouble));
        let mut acknowledged = Vec::new();
        // A cut while a stale segment is removed goes unnoticed: it is removed by the next start.
        let _ = rig.run(&disk, &mut acknowledged);
        let disk = disk.after_power_cut();
        rig.check(&disk, &acknowledged);
        // It goes on, is cut again, and goes on once more.
        if random(&mut seed, 4) == 0 {
            rig.run(&disk, &mut acknowledged).expect("a sound disk");
            rig.check(&disk.after_power_cut(), &acknowledged);
        }
    }
}

#[test]
fn a_full_disk_and_a_failed_sync_poison_the_store_and_lose_nothing_acknowledged() {
    let rig = Rig::new();
    let n = n_operations(&rig);
    let mut seed = 5;
    for round in 0..n / 2 {
        let at = random(&mut seed, n - 8);
        let trouble = if round % 2 == 0 { Trouble::Full(at) } else { Trouble::FailedSync(at) };
        say(round, trouble);
        let disk = SimulatedDisk::new(round, Some(trouble));
        let mut acknowledged = Vec::new();
        match rig.run(&disk, &mut acknowledged) {
            Err(RunError::Persist(error)) => assert_eq!(error.fault, Fault::Output, "{error}"),
            other => panic!("{other:?}"),
        }
        rig.check(&disk.after_power_cut(), &acknowledged);
    }
}

#[test]
fn a_poisoned_store_says_so() {
    let rig = Rig::new();
    let disk = SimulatedDisk::new(3, None);
    let mut simulation = world(&rig.resolved);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let store = Store::create(shared, Path::new(FOLDER), None, None, &rig.scene, 0, &mut simulation);
    let mut keeper = Keeper::start(store.expect("room"), &mut simulation, plan(), None).expect("room");
    disk.fail_from_now(Trouble::FailedSync(disk.n_operations()));
    let mut outcome = Ok(());
    for _ in 0..TICKS {
        simulation.tick();
        outcome = keeper.after_tick(&mut simulation).map(|_| ()).and_then(|()| Ok(keeper.settle()?));
        if outcome.is_err() {
            break;
        }
    }
    let message = outcome.expect_err("the sync failed").to_string();
    assert!(message.contains("poisoned") && message.contains("Input/output error"), "{message}");
}
