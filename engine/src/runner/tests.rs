//! Runs under a clock of their own: what real time decides, and that its decisions alone make the state.

use super::governor::Overrun;
use super::*;
use crate::intake::OrderBuilder;
use crate::observe::digest::state_digest;
use crate::scene::{load_str, resolve};
use nikola_systems::components::oracle::Health;
use nikola_systems::world::BuildOptions;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

const SCENE: &str =
    "(version: 1, torus: (extents: {x: 16, y: 9}), ticks: 200, equation: Schrodinger(beta: 3),
    initial: Gaussian(width: {x: 2, y: 2}))";

/// Time that passes only where a test says so.
#[derive(Clone, Default)]
struct ScriptedClock(Rc<Cell<u64>>);

impl Clock for ScriptedClock {
    fn now(&mut self) -> u64 {
        self.0.get()
    }

    fn sleep_until(&mut self, nanos: u64) {
        self.0.set(self.0.get().max(nanos));
    }

    fn spin_until(&mut self, nanos: u64) {
        self.sleep_until(nanos);
    }
}

/// Work that takes as long as `micros` says for the tick that begins when so many are done.
struct Work {
    clock: ScriptedClock,
    micros: fn(u64) -> u64,
}

impl Edge for Work {
    fn before_tick(&mut self, simulation: &Simulation, _batch: &mut Batch) -> Result<(), RunError> {
        self.clock.0.set(self.clock.0.get() + 1000 * (self.micros)(simulation.tick_count()));
        Ok(())
    }
}

fn world() -> (Simulation, Intake) {
    world_of(SCENE)
}

fn world_of(text: &str) -> (Simulation, Intake) {
    let scene = load_str("small.ron", text, &[]).expect("a scene");
    let setup = resolve(&scene, Path::new(".")).expect("resolves").setup;
    let (_, intake) = Intake::new(OrderBuilder::new(&scene, &setup));
    (Simulation::new(&setup, &BuildOptions::default()).expect("a world"), intake)
}

fn paced(overrun: Overrun, micros: fn(u64) -> u64) -> (Simulation, PaceReport, u64) {
    paced_in(SCENE, overrun, micros, &mut Notes::default())
}

/// Notes every order that a journal would.
#[derive(Default)]
struct Notes(Vec<(u64, Vec<Order>)>);

impl Edge for Notes {
    fn before_tick(&mut self, _simulation: &Simulation, batch: &mut Batch) -> Result<(), RunError> {
        if !batch.orders.is_empty() {
            self.0.push((batch.tick, std::mem::take(&mut batch.orders)));
        }
        Ok(())
    }
}

fn paced_in(
    text: &str,
    overrun: Overrun,
    micros: fn(u64) -> u64,
    notes: &mut Notes,
) -> (Simulation, PaceReport, u64) {
    let (mut simulation, mut intake) = world_of(text);
    let clock = ScriptedClock::default();
    let rules = RealtimeRules { overrun, ..RealtimeRules::default() };
    let pacing = Pacing { pace: Pace::Realtime, rules, watchdog: None, end_limit: None };
    let realtime = Realtime::new(clock.clone(), &pacing).expect("no watchdog to arm");
    let mut work = Work { clock: clock.clone(), micros };
    let edges: &mut [&mut dyn Edge] = &mut [&mut work, notes];
    let report =
        run_with(&mut simulation, 200, Some(realtime), Duration::MAX, &mut intake, edges).expect("runs");
    (simulation, report, clock.0.get())
}

/// A hard stretch in the middle.
fn overloaded(done: u64) -> u64 {
    if (50..120).contains(&done) { 1400 } else { 300 }
}

#[test]
fn replayed_decisions_give_the_same_digest() {
    let (simulation, report, _) = paced(Overrun::Degrade, overloaded);
    assert!(report.degraded_ticks > 10, "{}", report.degraded_ticks);
    let (mut again, _) = world();
    replay(&mut again, 200, &report.journal);
    assert_eq!(state_digest(&again), state_digest(&simulation));
    let (mut whole, _) = world();
    replay(&mut whole, 200, &TimingJournal::default());
    assert_ne!(state_digest(&whole), state_digest(&simulation), "degraded ticks leave a trace");
}

#[test]
fn dropped_frames_dilate_time_and_leave_no_trace() {
    let (simulation, report, nanos) = paced(Overrun::Drop, overloaded);
    assert!(report.dropped_periods > 10 && report.degraded_ticks == 0);
    assert_eq!(simulation.tick_count(), 200);
    assert!(nanos > 200 * PERIOD_NANOS + report.dropped_periods * PERIOD_NANOS / 2, "{nanos}");
    let (mut whole, _) = world();
    replay(&mut whole, 200, &report.journal);
    assert_eq!(state_digest(&whole), state_digest(&simulation));
}

#[test]
fn one_long_tick_is_not_caught_up_with() {
    let (_, report, nanos) = paced(Overrun::Degrade, |done| if done == 100 { 5000 } else { 100 });
    assert_eq!(report.late_ticks, 1);
    // 199 periods and the long tick; the four periods it overran are given up.
    assert_eq!(nanos, 199 * PERIOD_NANOS + 5_000_000);
    assert!(report.journal.decisions().is_empty(), "{:?}", report.journal);
}

#[test]
fn sustained_overload_throttles_and_scrams_once() {
    let (_, report, _) = paced(Overrun::Degrade, overloaded);
    let of = |what: Decision| report.journal.decisions().iter().filter(|(_, d)| *d == what).count();
    assert_eq!(of(Decision::Throttle(true)), 1);
    assert_eq!(of(Decision::SoftScram), 1);
    assert_eq!(of(Decision::Throttle(false)), 1);
}

#[test]
fn sustained_overload_damps_a_watched_world_and_replays() {
    let text = SCENE.replace("ticks: 200,", "ticks: 200, oracle: (freeze_ticks: 20),");
    let mut notes = Notes::default();
    let (mut simulation, report, _) = paced_in(&text, Overrun::Degrade, overloaded, &mut notes);
    let scram = Order::Scram(Alarm::Overload);
    let tick = notes.0.iter().find(|(_, orders)| orders.contains(&scram)).map(|(tick, _)| *tick);
    let tick = tick.expect("what damps is on the record");
    let decided = report.journal.decisions().iter().find(|(_, what)| *what == Decision::SoftScram);
    assert_eq!(Some(tick), decided.map(|(tick, _)| *tick));
    let watched = simulation.oracle().expect("watched");
    assert_eq!((watched.n_scrams, watched.health), (1, Health::Nominal), "damped, and let go");
    // |Ψ|² fell by exp(−2γ·n·dt), γ = 0.5, over the n ticks until the first look after 20; the oracle looks every 5.
    let dt = simulation.time() / 200.0;
    let (mut free, _) = world_of(&text);
    replay(&mut free, 200, &TimingJournal::default());
    let n_damped = -(simulation.sample().norm / free.sample().norm).ln() / dt;
    assert!((19.9..25.1).contains(&n_damped), "{n_damped} ticks at γ = 0.5");
    // By the decisions alone, and by the journal's orders alone.
    let (mut again, _) = world_of(&text);
    replay(&mut again, 200, &report.journal);
    assert_eq!(state_digest(&again), state_digest(&simulation));
    assert_eq!(state_digest(&ordered(&text, notes)), state_digest(&simulation));
}

/// A world after 200 ticks with the orders that were noted, and nothing else.
fn ordered(text: &str, notes: Notes) -> Simulation {
    let scene = load_str("small.ron", text, &[]).expect("a scene");
    let setup = resolve(&scene, Path::new(".")).expect("resolves").setup;
    let builder = OrderBuilder::new(&scene, &setup);
    let (mut simulation, _) = world_of(text);
    let mut notes = notes.0.into_iter().peekable();
    while simulation.tick_count() < 200 {
        if let Some((_, orders)) = notes.next_if(|(tick, _)| *tick == simulation.tick_count()) {
            let commands = orders.iter().map(|order| builder.build(order).expect("as ordered"));
            commands.for_each(|command| simulation.push(command).expect("room"));
        }
        simulation.tick();
    }
    simulation
}

#[test]
fn throttled_growth_is_on_record_and_replays() {
    let text = "(version: 1, torus: (extents: {z: 243}), ticks: 200, dt: 0.05, growth: (),
        initial: Gaussian(width: {z: 3}, momentum: {z: 1}))";
    let mut notes = Notes::default();
    let (simulation, _, _) = paced_in(text, Overrun::Degrade, overloaded, &mut notes);
    for is_throttled in [true, false] {
        let order = Order::ThrottleGrowth(is_throttled);
        assert_eq!(notes.0.iter().filter(|(_, orders)| orders.contains(&order)).count(), 1, "{order:?}");
    }
    let growth = simulation.growth().expect("sparse");
    assert!(!growth.is_throttled && growth.n_refusals > 0, "{growth:?}");
    assert_eq!(state_digest(&ordered(text, notes)), state_digest(&simulation));
}

#[test]
fn helpers_are_roused_before_the_deadline_and_not_in_a_period_that_is_late() {
    let mut clock = ScriptedClock::default();
    let mut pacer = Pacer::new(&mut clock, PERIOD_NANOS);
    let mut roused = Vec::new();
    for late in [0, 5] {
        let seen = clock.clone();
        clock.0.set(clock.0.get() + if late > 0 { PERIOD_NANOS + late } else { 300_000 });
        assert_eq!(pacer.next(&mut clock, || roused.push(seen.0.get())), late);
    }
    assert!(matches!(roused[..], [at] if at < PERIOD_NANOS && at > PERIOD_NANOS / 2), "{roused:?}");
    assert_eq!(clock.0.get(), 2 * PERIOD_NANOS + 5);
}

#[test]
fn the_system_clock_keeps_absolute_deadlines() {
    let mut clock = SystemClock::of_this_thread();
    let mut pacer = Pacer::new(&mut clock, 200_000);
    let began = pacer.began();
    let mut late = 0;
    for _ in 0..20 {
        late += pacer.next(&mut clock, || ());
    }
    assert!(clock.now() >= began + 20 * 200_000 && late < u64::MAX / 2);
    assert_eq!(pacer.began() - began, 20 * 200_000 + late);
}
