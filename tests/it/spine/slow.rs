//! A subscriber that never reads: the broker stays small, others miss nothing, and the loss is counted.

use super::PATIENCE;
use super::robust::Process;
use nikola_engine::spine::client::{Client, Subscription};
use nikola_engine::spine::generated::nikola::{
    ComponentId, StatusReport, control::Verb, neural_spike::Payload,
};
use nikola_engine::spine::socket;
use std::time::{Duration, Instant};

/// Bytes of one event: some hundred fill the queue, the kernel's buffers and what the subscriber takes in by itself.
const EVENT_BYTES: usize = 16 << 10;

/// Events in all: 64 MiB, sixteen times what may wait for one subscriber.
const N_EVENTS: usize = 4096;

/// Between two looks whether the reader has everything.
const BATCH: usize = 64;

/// What a broker may grow by: the queue of the silent subscriber (256 events), and as much again in buffers.
const GROWTH_KIB_MAX: u64 = 16 << 10;

fn status(control: &Client) -> StatusReport {
    match control.ask_verb(Verb::Status) {
        Ok(Payload::StatusReport(report)) => report,
        other => panic!("{other:?}"),
    }
}

/// A subscriber that is connected and reads nothing; its own library takes in two messages.
fn silent(broker: &Process, context: &zmq::Context) -> zmq::Socket {
    let place = broker.place();
    let decoded = |key: &str| zmq::z85_decode(key).expect("a key");
    let build = || {
        let key = broker.key("silent");
        let socket = context.socket(zmq::SUB)?;
        socket.set_linger(0)?;
        socket.set_rcvhwm(2)?;
        socket.set_curve_publickey(&decoded(&key.public))?;
        socket.set_curve_secretkey(&decoded(&key.secret))?;
        socket.set_curve_serverkey(&decoded(&place.server_key))?;
        socket.set_subscribe(b"text")?;
        socket.connect(&place.endpoints.events)?;
        Ok::<_, zmq::Error>(socket)
    };
    build().expect("a subscriber")
}

#[test]
fn a_subscriber_that_never_reads_harms_nobody_and_is_counted() {
    let Some(broker) = Process::start("slow", &["voice", "silent", "reader"]) else { return };
    let context = socket::context().expect("CURVE");
    let control = broker.client(&context, "cli", true);
    let voice = broker.client(&context, "voice", false);
    let place = broker.place();
    let reader = broker.key("reader");
    let reader = Subscription::connect(&context, &reader, &place.server_key, &place.endpoints.events, "text")
        .expect("a subscription");
    let silent = silent(&broker, &context);
    let speak = |text: String| {
        let began = Instant::now();
        while voice.try_send(ComponentId::Unknown, Payload::Text(text.clone())).is_err() {
            assert!(began.elapsed() < PATIENCE, "the broker takes nothing");
            std::thread::yield_now();
        }
    };
    // Both subscriptions are there once both have heard something; the silent one has one place left then.
    let began = Instant::now();
    let heard_by =
        |socket: &zmq::Socket| socket.get_events().is_ok_and(|events| events.contains(zmq::POLLIN));
    let mut is_read = false;
    while !(is_read && heard_by(&silent)) {
        assert!(began.elapsed() < PATIENCE, "no subscription");
        speak("anybody?".into());
        is_read |= reader.receive(Duration::from_millis(50)).is_some();
    }
    // Whatever is on its way still.
    while reader.receive(Duration::from_millis(300)).is_some() {}
    let (descriptors, memory) = (broker.descriptors(), broker.memory_kib());
    assert_eq!(status(&control).figures["spine.subscribers_behind"], 0.0);

    for batch in 0..N_EVENTS / BATCH {
        for i in 0..BATCH {
            let number = batch * BATCH + i;
            speak(format!("{number:06}{}", "x".repeat(EVENT_BYTES)));
        }
        for i in 0..BATCH {
            let (_, spike) = reader.receive(PATIENCE).expect("nothing is lost on the way to the reader");
            let Some(Payload::Text(text)) = spike.payload else { panic!("a text") };
            assert_eq!(text[..6].parse(), Ok(batch * BATCH + i), "in order");
        }
    }
    let figures = status(&control).figures;
    assert!(figures["spine.subscribers_behind"] >= 1.0, "{figures:?}");
    let after = broker.memory_kib();
    println!(
        "{} MiB published past a silent subscriber: memory {memory} → {after} kB, fell behind {} time(s)",
        (N_EVENTS * EVENT_BYTES) >> 20,
        figures["spine.subscribers_behind"]
    );
    assert!(after < memory + GROWTH_KIB_MAX, "{memory} kB before, {after} kB after");
    assert!(broker.descriptors() <= descriptors);
    assert!(control.ask_verb(Verb::Ping).is_ok());
}
