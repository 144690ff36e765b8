//! The circuit breaker where it is used: a broker that does not try again what failed, whatever happens to itself.

use super::robust::Process;
use super::{PATIENCE, code};
use nikola_engine::spine::breaker::FAILURES_MAX;
use nikola_engine::spine::client::Client;
use nikola_engine::spine::envelope::{answer, error};
use nikola_engine::spine::generated::nikola::{
    CommandRequest, CommandResponse, ComponentId, control::Verb, error::Code, neural_spike::Payload,
};
use nikola_engine::spine::socket;
use std::time::{Duration, Instant};

fn request(asker: &Client) -> String {
    request_within(asker, 0)
}

fn request_within(asker: &Client, timeout_ms: u32) -> String {
    let request = CommandRequest { command: "true".into(), timeout_ms, ..CommandRequest::default() };
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

#[test]
fn what_the_recipient_answers_counts_and_not_that_it_took_the_message() {
    let Some(broker) = Process::start("answers", &["asker", "runner"]) else { return };
    let context = socket::context().expect("CURVE");
    let asker = broker.client(&context, "asker", false);
    let runner = executor(&broker, &context);
    let serve = |payload: Payload| {
        let id = request(&asker);
        let question = runner.receive(PATIENCE).expect("the request arrives");
        runner.send_spike(&answer(&question, payload)).expect("sent");
        asker.answer_to(&id)
    };
    let broken = || error(Code::Unreachable, "the guest does not start");
    let failed = || Payload::CommandResponse(CommandResponse { exit_code: 1, ..CommandResponse::default() });
    // A command that failed was executed; one that was refused, too, was looked at.
    for payload in [failed(), error(Code::Refused, "not this one")] {
        for _ in 1..FAILURES_MAX {
            assert_eq!(code(serve(broken())), Code::Unreachable);
        }
        let _ = serve(payload);
    }
    for _ in 0..FAILURES_MAX {
        assert_eq!(code(serve(broken())), Code::Unreachable);
    }
    assert_eq!(code(asker.answer_to(&request(&asker))), Code::OpenCircuit, "five failures in a row");
}

#[test]
fn silence_counts_as_failure_once_the_time_for_an_answer_is_over() {
    let Some(broker) = Process::start("silence", &["asker", "runner"]) else { return };
    let context = socket::context().expect("CURVE");
    let mut asker = broker.client(&context, "asker", false);
    asker.patience = 2 * PATIENCE;
    let runner = executor(&broker, &context);
    let asked: Vec<_> = (0..FAILURES_MAX).map(|_| request_within(&asker, 1)).collect();
    let questions: Vec<_> = asked.iter().map(|_| runner.receive(PATIENCE).expect("it arrives")).collect();
    for id in &asked {
        assert_eq!(code(asker.answer_to(id)), Code::TimedOut);
    }
    assert_eq!(code(asker.answer_to(&request(&asker))), Code::OpenCircuit);
    // An answer after all is handed on; the circuit stays open for its time.
    let late = Payload::CommandResponse(CommandResponse::default());
    runner.send_spike(&answer(&questions[0], late)).expect("sent");
    assert!(matches!(asker.answer_to(&asked[0]), Ok(Payload::CommandResponse(_))), "an answer");
    assert_eq!(code(asker.answer_to(&request(&asker))), Code::OpenCircuit);
}
