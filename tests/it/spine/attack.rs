//! Attacks: who is not on the white list is nobody, and who is may do what its roles say, once.

use super::{Bench, PATIENCE, SILENCE, code, is_silent};
use nikola_engine::spine::client::{Client, ClientError};
use nikola_engine::spine::clock::now;
use nikola_engine::spine::envelope::{self, control, spike};
use nikola_engine::spine::generated::nikola::{
    ComponentId, Control, Pairing, control::Verb, error::Code, neural_spike::Payload, pairing::State,
};
use nikola_engine::spine::keys::KeyPair;
use nikola_engine::spine::socket;
use nikola_engine::spine::sodium::sha256;
use nikola_engine::spine::zap::DOMAIN;
use std::time::{Duration, Instant};

#[test]
fn an_unknown_key_gets_no_answer_and_is_counted() {
    let bench = Bench::new("unknown", &[]);
    let endpoint = &bench.broker().place().endpoints.control;
    let mut stranger = bench.connect(&KeyPair::generate(), ComponentId::Agent, endpoint);
    assert!(is_silent(&mut stranger));
    let status = bench.control("cli").ask_verb(Verb::Status).expect("a known key is answered");
    let Payload::StatusReport(report) = status else { panic!("{status:?}") };
    assert!(report.figures["spine.handshakes_refused"] >= 1.0, "{:?}", report.figures);
}

#[test]
fn a_wrong_server_key_connects_to_nothing() {
    let bench = Bench::new("server", &[]);
    let place = bench.broker().place();
    let wrong = KeyPair::generate().public;
    let client = Client::connect(
        &bench.context,
        ComponentId::Cli,
        &bench.key("cli"),
        &wrong,
        &place.endpoints.control,
    );
    assert!(is_silent(&mut client.expect("a socket")));
}

#[test]
fn plain_sockets_are_not_heard() {
    let bench = Bench::new("plain", &[]);
    let endpoints = &bench.broker().place().endpoints;
    for endpoint in [&endpoints.control, &endpoints.data, &endpoints.pairing] {
        for has_password in [false, true] {
            let socket = bench.context.socket(zmq::DEALER).expect("a socket");
            socket.set_linger(0).expect("linger");
            if has_password {
                socket.set_plain_username(Some("admin")).expect("PLAIN");
                socket.set_plain_password(Some("admin")).expect("PLAIN");
            }
            socket.connect(endpoint).expect("connects");
            let body = prost::Message::encode_to_vec(&spike(
                ComponentId::Cli,
                ComponentId::Spine,
                control(Verb::Ping),
            ));
            socket.send(body, zmq::DONTWAIT).expect("queued");
            assert_eq!(socket.poll(zmq::POLLIN, SILENCE.as_millis() as i64), Ok(0), "{endpoint}");
        }
    }
    assert!(bench.control("cli").ask_verb(Verb::Ping).is_ok());
}

#[test]
fn without_its_handler_a_socket_lets_nobody_in() {
    let bench = Bench::new("handler", &[]);
    let context = socket::context().expect("CURVE");
    let server = KeyPair::generate();
    let router = socket::server(&context, zmq::ROUTER, &server, DOMAIN).expect("a socket");
    let endpoint = format!("ipc://{}/bare.ipc", bench.scratch.path().display());
    socket::bind(&router, &endpoint).expect("bound");
    let client = socket::client(&context, zmq::DEALER, &KeyPair::generate(), &server.public, &endpoint);
    let client = client.expect("a socket");
    client.send("hello", zmq::DONTWAIT).expect("queued");
    assert_eq!(router.poll(zmq::POLLIN, SILENCE.as_millis() as i64), Ok(0));
}

#[test]
fn a_message_counts_once_and_only_while_fresh() {
    let bench = Bench::new("replay", &[]);
    let client = bench.control("cli");
    let first = spike(ComponentId::Cli, ComponentId::Spine, control(Verb::Ping));
    client.send_spike(&first).expect("sent");
    assert!(client.answer_to(&first.request_id).is_ok());
    client.send_spike(&first).expect("sent");
    assert_eq!(code(client.answer_to(&first.request_id)), Code::Replayed);
    // The same key over another connection replays nothing either.
    let other = bench.control("cli");
    other.send_spike(&first).expect("sent");
    assert_eq!(code(other.answer_to(&first.request_id)), Code::Replayed);
    for millis in [-31_000, 31_000] {
        let mut stale = spike(ComponentId::Cli, ComponentId::Spine, control(Verb::Ping));
        stale.timestamp_ms = now().millis() + millis;
        client.send_spike(&stale).expect("sent");
        assert_eq!(code(client.answer_to(&stale.request_id)), Code::Stale);
    }
}

#[test]
fn roles_bound_what_a_key_may_do() {
    let bench = Bench::new("roles", &[("eye", "observe"), ("hand", "inject"), ("part", "component")]);
    let eye = bench.control("eye");
    assert!(eye.ask_verb(Verb::Status).is_ok());
    for verb in [Verb::Scram, Verb::Inject, Verb::SetParam, Verb::Halt, Verb::PairOpen, Verb::PairConfirm] {
        assert_eq!(code(eye.ask_verb(verb)), Code::Forbidden, "{verb:?}");
    }
    let hand = bench.control("hand");
    assert_eq!(code(hand.ask_verb(Verb::Halt)), Code::Forbidden);
    assert_eq!(code(hand.ask_verb(Verb::Inject)), Code::Unreachable, "allowed, but no engine is there");
    let data = bench.data("eye", ComponentId::Agent);
    let id = data.send(ComponentId::Memory, Payload::Text("hello".into())).expect("sent");
    assert_eq!(code(data.answer_to(&id)), Code::Forbidden);
    let part = bench.data("part", ComponentId::Agent);
    let id = part.send(ComponentId::Memory, Payload::Text("hello".into())).expect("sent");
    assert_eq!(code(part.answer_to(&id)), Code::Unreachable);
}

#[test]
fn revoking_a_key_cuts_its_live_connections_and_nobody_elses() {
    let bench = Bench::new("revoke", &[("spy", "observe"), ("friend", "observe"), ("voice", "component")]);
    let (mut spy, friend) = (bench.control("spy"), bench.control("friend"));
    let voice = bench.data("voice", ComponentId::Agent);
    let (spy_events, friend_events) = (bench.events("spy", "text"), bench.events("friend", "text"));
    let speak = || voice.send(ComponentId::Unknown, Payload::Text("news".into())).expect("sent");
    assert!(spy.ask_verb(Verb::Ping).is_ok() && friend.ask_verb(Verb::Ping).is_ok());
    let hears = |events: &nikola_engine::spine::client::Subscription| {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            speak();
            if events.receive(Duration::from_millis(50)).is_some() {
                return true;
            }
        }
        false
    };
    assert!(hears(&spy_events) && hears(&friend_events));

    assert!(bench.store.revoke("spy").expect("revoked"));
    let counters = bench.broker().counters();
    let began = Instant::now();
    while counters.figures().all(|(name, value)| name != "spine.revoked" || value < 1.0) {
        assert!(began.elapsed() < PATIENCE, "the white list is not read again");
        std::thread::yield_now();
    }
    assert!(is_silent(&mut spy), "the connection is still up, its messages are not looked at");
    assert!(friend.ask_verb(Verb::Ping).is_ok());
    // What was published before the cut may still lie in the spy's own queue.
    while spy_events.receive(Duration::ZERO).is_some() {}
    assert!(hears(&friend_events), "a friend's subscription comes back by itself");
    assert!(spy_events.receive(SILENCE).is_none(), "the spy hears nothing more");
}

fn pair(client: &Client, verb: Verb, pairing: Pairing) -> Result<Pairing, ClientError> {
    match client.ask(Control { verb: verb.into(), pairing: Some(pairing), ..Control::default() })? {
        Payload::Control(Control { pairing: Some(pairing), .. }) => Ok(pairing),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pairing_withstands_guessing_borrowed_keys_and_second_uses() {
    let bench = Bench::new("pairing", &[("eye", "observe")]);
    let operator = bench.control("cli");
    let endpoint = bench.broker().place().endpoints.pairing.clone();
    let token = [7u8; 32];
    let open =
        Pairing { token_sha256: sha256(&token).to_vec(), roles: "inject".into(), ..Pairing::default() };
    let opened = pair(&operator, Verb::PairOpen, open.clone()).expect("opens");
    assert_eq!(opened.state(), State::Bootstrap);

    let new_key = KeyPair::generate();
    let newcomer = bench.connect(&new_key, ComponentId::Agent, &endpoint);
    let request = |token: &[u8], name: &str, key: &str| Pairing {
        token: token.to_vec(),
        name: name.into(),
        public_key: key.into(),
        ..Pairing::default()
    };
    let ask = |fields| pair(&newcomer, Verb::PairRequest, fields);
    assert_eq!(
        code(ask(request(&token, "new", &bench.key("eye").public))),
        Code::Refused,
        "somebody else's key"
    );
    assert_eq!(code(ask(request(&token, "eye", &new_key.public))), Code::Refused, "a name that is taken");
    assert_eq!(code(ask(request(&token, "../x", &new_key.public))), Code::Refused, "no name");
    let guesses: Vec<_> = (0..20).map(|_| code(ask(request(&[8; 32], "new", &new_key.public)))).collect();
    assert!(guesses.contains(&Code::Refused) && guesses.contains(&Code::RateLimited), "{guesses:?}");
    let began = Instant::now();
    let shown = loop {
        match ask(request(&token, "new", &new_key.public)) {
            Ok(shown) => break shown,
            Err(ClientError::Refused { error }) if error.code() == Code::RateLimited => {}
            Err(other) => panic!("{other}"),
        }
        assert!(began.elapsed() < PATIENCE, "still rate limited");
    };
    let state = pair(&operator, Verb::PairState, Pairing::default()).expect("a state");
    assert_eq!(
        (state.state(), &state.name, &state.fingerprint),
        (State::Verification, &"new".into(), &shown.fingerprint)
    );
    let confirmed = Pairing { confirmed: true, ..Pairing::default() };
    pair(&operator, Verb::PairConfirm, confirmed.clone()).expect("confirmed");
    let outcome = newcomer.receive(PATIENCE).and_then(|spike| spike.payload);
    assert!(
        matches!(outcome, Some(Payload::Control(Control { pairing: Some(p), .. })) if p.outcome == "admitted")
    );

    let control = bench.connect(&new_key, ComponentId::Agent, &bench.broker().place().endpoints.control);
    assert!(control.ask_verb(Verb::Ping).is_ok());
    assert_eq!(code(pair(&operator, Verb::PairConfirm, confirmed)), Code::Refused, "nobody waits");
    let mut late = bench.connect(&KeyPair::generate(), ComponentId::Agent, &endpoint);
    late.patience = SILENCE;
    let second = pair(&late, Verb::PairRequest, request(&token, "second", "x"));
    assert!(matches!(second, Err(ClientError::Silence { .. })), "the door is shut: {second:?}");
}

#[test]
fn key_files_that_others_can_read_stop_the_broker() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut bench = Bench::new("modes", &[]);
    bench.broker = None;
    let path = bench.keys().join("server.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
    let config = nikola_engine::spine::broker::Config {
        folder: bench.scratch.path().into(),
        listen: None,
        keys: bench.keys(),
        children: Vec::new(),
    };
    let error = nikola_engine::spine::broker::Running::start(config, None).expect_err("readable by others");
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[test]
fn a_newer_peer_is_understood_or_told() {
    let bench = Bench::new("newer", &[]);
    let client = bench.control("cli");
    let mut newer = spike(ComponentId::Cli, ComponentId::Spine, control(Verb::Ping));
    newer.protocol_version = envelope::PROTOCOL_VERSION + 1;
    let mut bytes = prost::Message::encode_to_vec(&newer);
    // Field 999, two bytes: what a newer version may add.
    bytes.extend([0xba, 0x3e, 2, b'h', b'i']);
    client.send_bytes(&[&bytes]).expect("sent");
    assert!(client.answer_to(&newer.request_id).is_ok());
    let mut unknown = spike(ComponentId::Cli, ComponentId::Spine, control(Verb::Ping));
    unknown.payload = None;
    let mut bytes = prost::Message::encode_to_vec(&unknown);
    // Field 21: a payload of a later version.
    bytes.extend([0xaa, 1, 2, b'h', b'i']);
    client.send_bytes(&[&bytes]).expect("sent");
    assert_eq!(code(client.answer_to(&unknown.request_id)), Code::UnknownPayload);
    assert_eq!(code(client.ask(Control { verb: 63, ..Control::default() })), Code::UnknownPayload);
}
