//! The circuit breaker where it is used: a broker that does not try again what failed, whatever happens to itself.

use super::robust::Process;
use super::{PATIENCE, code};
use nikola_engine::spine::breaker::FAILURES_MAX;
use nikola_engine::spine::client::Client;
use nikola_engine::spine::generated::nikola::{
    CommandRequest, ComponentId, control::Verb, error::Code, neural_spike::Payload,
};
use nikola_engine::spine::socket;
use std::time::{Duration, Instant};

fn request(asker: &Client) -> String {
    let request = CommandRequest { command: "true".into(), ..CommandRequest::default() };
    asker.send(ComponentId::Executor, Payload::CommandRequest(request)).expect("sent")
}

fn refusals(control: &Client) -> f64 {
    match control.ask_verb(Verb::Status) {
        Ok(Payload::StatusReport(report)) => report.figures["spine.circuit_refused"],
        other => panic!("{other:?}"),
    }
}

/// An executor that makes itself known; as a real one speaks for itself, so does this.
fn executor(broker: &Process, context: &zmq::Context) -> Client {
    let executor = broker.client_as(context, "runner", ComponentId::Executor);
    let id = executor.send(ComponentId::Ingest, Payload::Text("here".into())).expect("sent");
    assert_eq!(code(executor.answer_to(&id)), Code::Unreachable);
    executor
}

#[test]
fn a_dead_executor_is_not_hammered_even_after_the_broker_was_killed() {
    let Some(mut broker) = Process::start("circuit", &["asker", "runner"]) else { return };
    let context = socket::context().expect("CURVE");
    let asker = broker.client(&context, "asker", false);
    let runner = executor(&broker, &context);
    let id = request(&asker);
    let question = runner.receive(PATIENCE).expect("the request arrives");
    assert_eq!(question.request_id, id);
    drop(runner);

    // Until libzmq has noticed, what is sent still goes into the connection of the one that is gone.
    let began = Instant::now();
    let mut n_failures = 0;
    while n_failures < FAILURES_MAX {
        assert!(began.elapsed() < PATIENCE, "the broker still sends");
        request(&asker);
        n_failures += u32::from(asker.receive(Duration::from_millis(100)).is_some_and(|answer| {
            matches!(answer.payload, Some(Payload::Error(error)) if error.code() == Code::Unreachable)
        }));
    }
    assert_eq!(code(asker.answer_to(&request(&asker))), Code::OpenCircuit, "not tried any more");
    assert!(refusals(&broker.client(&context, "cli", true)) >= 1.0);

    broker.kill_and_restart();
    let asker = broker.client(&context, "asker", false);
    let runner = executor(&broker, &context);
    assert_eq!(code(asker.answer_to(&request(&asker))), Code::OpenCircuit, "as the killed broker left it");
    assert!(runner.receive(Duration::from_millis(200)).is_none(), "the executor hears nothing");
    assert_eq!(refusals(&broker.client(&context, "cli", true)), 1.0);
}
