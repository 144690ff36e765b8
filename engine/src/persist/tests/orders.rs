//! Orders in the journal: each kind survives the file, and its replay gives the state that was.

use super::super::capture::state_hash;
use super::super::header::CipherKind;
use super::super::journal::{Frame, Record, Segment, SegmentHeader, encode};
use super::super::replay::replay;
use super::random;
use crate::intake::{Alarm, Order, OrderBuilder, Stimulus, one_of_each};
use crate::scene::{Resolved, load_str, resolve};
use nikola_systems::Simulation;
use nikola_systems::components::oracle::Health;
use nikola_systems::world::BuildOptions;
use std::path::Path;

/// A world in which every order has something to act on.
const SCENE: &str = "(version: 1, torus: (extents: {x: 13, y: 13}), ticks: 1000, precision: F64, dt: 0.02,
    equation: Schrodinger(beta: 0.3, alpha: 0.04), initial: Gaussian(width: {x: 3, y: 3}),
    emitters: [Custom(name: \"input\", frequency_hz: 0.5, amplitude: 0.3, profile: Gaussian(width: {x: 2, y: 2}))],
    scan: (traversals: [], every: 4, readout: (nodes: 8, features: [Re, Im])),
    oracle: (freeze_ticks: 30, resume: Manual), engs: (serotonin_decay_per_sec: 0.2))";

fn world() -> (Simulation, OrderBuilder, Resolved) {
    let scene = load_str("rich.ron", SCENE, &[]).expect("a scene");
    let resolved = resolve(&scene, Path::new(".")).expect("resolves");
    let builder = OrderBuilder::new(&scene, &resolved.setup);
    let simulation = Simulation::new(&resolved.setup, &BuildOptions::default()).expect("a world");
    (simulation, builder, resolved)
}

const HEADER: SegmentHeader = SegmentHeader {
    index: 1,
    tick: 0,
    creation_secs: 1,
    salt: [5; 16],
    previous_bytes: 0,
    cipher: CipherKind::None,
};

fn through_a_file(frames: &[Frame]) -> Segment {
    let mut bytes = HEADER.to_bytes().to_vec();
    for (i, frame) in frames.iter().enumerate() {
        let durable = bytes.len() as u64;
        encode(frame, &HEADER, None, i as u32, durable, &mut bytes);
    }
    Segment::parse(Path::new("journal-000001.nkj"), &bytes, None).expect("whole")
}

#[test]
fn every_kind_of_order_survives_the_file() {
    let frames = [Frame { tick: 3, record: Record::Orders(one_of_each()) }];
    let read = through_a_file(&frames);
    assert_eq!(format!("{:?}", read.frames), format!("{frames:?}"));
}

/// What enters a world over 200 ticks, at ticks that a seed chooses.
fn plan(n_weights: usize) -> Vec<(u64, Vec<Order>)> {
    let mut seed = 11;
    let goal = |id| Stimulus::MidGoal { id, reward: 0.3 };
    let orders = [
        Order::SetReadout((0..n_weights).map(|i| (i as f64 * 0.7).sin()).collect()),
        Order::Drive { emitter: 0, value: 1.0 / 3.0 },
        Order::Stimulate(goal(7)),
        Order::Teach(vec![0.1 + 0.2]),
        Order::Stimulate(Stimulus::ReachGoal(7)),
        Order::Stimulate(Stimulus::Stress(0.4)),
        Order::Scram(Alarm::Asked),
        Order::Resume,
        Order::Stimulate(Stimulus::Reward(-0.6)),
        Order::Inject("(amplitude: 0.2, phase: 1, profile: Gaussian(width: {x: 2, y: 1}))".into()),
        Order::Scram(Alarm::Overload),
        Order::Resume,
        Order::Sample,
        Order::SetBeta(0.1),
    ];
    let mut tick = 0;
    orders
        .into_iter()
        .map(|order| {
            tick += 2 + random(&mut seed, 12);
            // The scan reads every fourth tick, and is taught only then.
            let at = if matches!(order, Order::Teach(_)) { tick.next_multiple_of(4) + 3 } else { tick };
            tick = at;
            (at, vec![order])
        })
        .collect()
}

#[test]
fn a_journal_with_every_kind_of_order_replays_to_the_same_bits() {
    let (mut first, builder, _) = world();
    let n_weights = first.readout_weights().expect("a readout").len();
    let mut frames = Vec::new();
    let (mut frozen, mut untouched) = (Vec::new(), world().0);
    let mut plan = plan(n_weights).into_iter().peekable();
    while first.tick_count() < 200 {
        let tick = first.tick_count();
        if let Some((_, orders)) = plan.next_if(|(at, _)| *at == tick) {
            for order in &orders {
                let command = builder.build(order).expect("understood");
                first.push(command).unwrap_or_else(|error| panic!("{order:?}: {error}"));
            }
            frames.push(Frame { tick, record: Record::Orders(orders) });
        }
        first.tick();
        untouched.tick();
        frozen.push(first.oracle().expect("watched").health == Health::SoftScram);
        if first.tick_count().is_multiple_of(40) {
            frames.push(Frame { tick: tick + 1, record: Record::Digest(state_hash(&mut first)) });
        }
    }
    assert!(plan.peek().is_none(), "all of them entered");
    assert_eq!(frozen.windows(2).filter(|pair| pair == &[false, true]).count(), 2, "two freezes");
    assert_ne!(state_hash(&mut untouched), state_hash(&mut first));

    let (mut second, builder, _) = world();
    let report = replay(&mut second, &builder, &[through_a_file(&frames)], None).expect("the same digests");
    assert_eq!((report.n_orders, report.n_digests, report.tick), (14, 5, 200));
    assert_eq!(state_hash(&mut second), state_hash(&mut first));
    // Without one of its orders the journal's next digest differs, and says at which tick.
    let lost = frames.iter().position(|frame| matches!(&frame.record, Record::Orders(_))).expect("one");
    let mut short = frames.clone();
    short.remove(lost);
    let (mut third, builder, _) = world();
    let error = replay(&mut third, &builder, &[through_a_file(&short)], None).expect_err("another state");
    assert!(error.to_string().contains("tick 40"), "{error}");
}
