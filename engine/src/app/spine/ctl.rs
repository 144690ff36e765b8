//! `nikola ctl`: one question, one answer.
//! Invariant: a command that changes something prints the tick at which the engine took it in.

use super::print::{print_answer, print_event, status_line};
use super::{Failure, Whom, failed};
use crate::app::print_line;
use crate::exit;
use crate::spine::client::Subscription;
use crate::spine::generated::nikola::{Control, Injection, control::Verb, neural_spike::Payload};
use crate::spine::socket;
use clap::{Args, Subcommand};
use std::time::{Duration, Instant};

/// Between two wishes for waves, which are granted for 30 s.
const RENEW_EVERY: Duration = Duration::from_secs(15);

#[derive(Args, Debug)]
pub(in crate::app) struct CtlArguments {
    #[command(flatten)]
    whom: Whom,
    #[command(subcommand)]
    verb: CtlVerb,
}

#[derive(Subcommand, Debug)]
enum CtlVerb {
    /// How the engine is.
    Status,
    /// The same, once a second.
    Watch {
        /// Stop after so many lines.
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// Freeze the world at once: by its oracle, or without one by holding it before the next tick.
    Scram {
        /// Why, for the record.
        reason: Option<String>,
    },
    /// Go on after scram.
    Resume,
    /// Consolidate: write a checkpoint and shorten the journal.
    Nap,
    /// End the run in good order.
    Halt,
    /// Write a checkpoint now.
    Snapshot,
    /// Add a wave: '(amplitude: 0.1, phase: 0, profile: Gaussian(width: {x: 1}))', as in a scene.
    Inject {
        /// The injection, without a tick.
        strike: String,
    },
    /// Change the running engine: beta=-2, emitter.0=0.5 (factor), reward=1 or stress=0.3 (neurochemistry).
    Set {
        /// NAME=VALUE.
        assignment: String,
    },
    /// Print events: status, waveform, health, scram, run, … ; one JSON object a line.
    Subscribe {
        /// Topic; every topic that begins so.
        topic: String,
        /// Stop after so many events.
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// Ticks between two waves.
        #[arg(long, value_name = "TICKS", default_value_t = 100)]
        every: u64,
        /// Threshold of a wave as a multiple of Ψ_rms.
        #[arg(long, value_name = "X", default_value_t = 0.1)]
        theta: f64,
    },
    /// Who is connected, and since when silent.
    Components,
    /// Whether it answers, and how fast.
    Ping {
        /// How many times.
        #[arg(long, value_name = "N", default_value_t = 1)]
        count: u64,
    },
}

pub(super) fn execute(arguments: &CtlArguments) -> Result<(), Failure> {
    let whom = &arguments.whom;
    let simple = |verb| ask(whom, Control { verb: i32::from(verb), ..Control::default() });
    match &arguments.verb {
        CtlVerb::Status => simple(Verb::Status),
        CtlVerb::Components => simple(Verb::Components),
        CtlVerb::Resume => simple(Verb::Resume),
        CtlVerb::Nap => simple(Verb::Nap),
        CtlVerb::Halt => simple(Verb::Halt),
        CtlVerb::Snapshot => simple(Verb::Snapshot),
        CtlVerb::Scram { reason } => {
            let target = reason.clone().unwrap_or_default();
            ask(whom, Control { verb: Verb::Scram.into(), target, ..Control::default() })
        }
        CtlVerb::Inject { strike } => {
            let injection = Some(Injection { strike: strike.clone(), ..Injection::default() });
            ask(whom, Control { verb: Verb::Inject.into(), injection, ..Control::default() })
        }
        CtlVerb::Set { assignment } => {
            let wrong = || {
                let text = format!("{assignment:?} is no assignment; expected NAME=VALUE, e.g. beta=-2");
                Failure::new(text, exit::USAGE)
            };
            let (target, value) = assignment.split_once('=').ok_or_else(wrong)?;
            let value = value.trim().parse().map_err(|_| wrong())?;
            let target = target.trim().to_string();
            ask(whom, Control { verb: Verb::SetParam.into(), target, value, ..Control::default() })
        }
        CtlVerb::Watch { count } => watch(whom, *count),
        CtlVerb::Ping { count } => ping(whom, *count),
        CtlVerb::Subscribe { topic, count, every, theta } => subscribe(whom, topic, *count, *every, *theta),
    }
}

fn ask(whom: &Whom, control: Control) -> Result<(), Failure> {
    let client = whom.connect(&whom.place()?)?;
    print_answer(&client.ask(control)?, whom.json)
}

fn watch(whom: &Whom, count: Option<u64>) -> Result<(), Failure> {
    let client = whom.connect(&whom.place()?)?;
    let mut n_lines = 0;
    loop {
        let answer = client.ask_verb(Verb::Status)?;
        match &answer {
            Payload::StatusReport(report) if !whom.json => print_line(&status_line(report))?,
            _ => print_answer(&answer, whom.json)?,
        }
        n_lines += 1;
        if count == Some(n_lines) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn ping(whom: &Whom, count: u64) -> Result<(), Failure> {
    let client = whom.connect(&whom.place()?)?;
    for _ in 0..count {
        let began = Instant::now();
        client.ask_verb(Verb::Ping)?;
        let micros = began.elapsed().as_secs_f64() * 1e6;
        if whom.json {
            print_line(&serde_json::json!({"round_trip_micros": micros}).to_string())?;
        } else {
            print_line(&format!("pong after {micros:.0} µs"))?;
        }
    }
    Ok(())
}

fn subscribe(whom: &Whom, topic: &str, count: Option<u64>, every: u64, theta: f64) -> Result<(), Failure> {
    let place = whom.place()?;
    let client = whom.connect(&place)?;
    let context = socket::context().map_err(failed(exit::SPINE))?;
    let key = whom.key(&place)?;
    let events = Subscription::connect(&context, &key, &place.server_key, &place.endpoints.events, topic);
    let events = events.map_err(failed(exit::SPINE))?;
    let wish = Control {
        verb: Verb::Subscribe.into(),
        target: topic.into(),
        value: theta,
        period_ticks: every,
        ..Control::default()
    };
    client.ask(wish.clone())?;
    let mut asked = Instant::now();
    let mut n_events = 0;
    while count != Some(n_events) {
        if asked.elapsed() > RENEW_EVERY {
            client.ask(wish.clone())?;
            asked = Instant::now();
        }
        let Some((topic, spike)) = events.receive(Duration::from_secs(1)) else {
            // Silence may be the end: the broker says whether it is.
            client.ask_verb(Verb::Ping)?;
            continue;
        };
        print_event(&topic, &spike)?;
        n_events += 1;
    }
    Ok(())
}
