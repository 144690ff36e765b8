//! What the spine has acknowledged survives the engine's death; SCRAM and RESUME are orders like any other.
//! Invariant: the engine is ended by SIGKILL right after the answer; what it wrote must say the same by itself.

use super::engine::Engine;
use serde_json::Value;

/// Frozen until somebody says otherwise, digests often, the whole journal kept.
const WATCHED: [&str; 4] = [
    "--set",
    "oracle=(freeze_ticks: 100000000, resume: Manual)",
    "--set",
    "naps=(every_ticks: 0, digest_every: 20)",
];

const STRIKE: &str = "(amplitude: 0.5, phase: 0, profile: Gaussian(width: {w: 1}))";

/// Replays the journal as a process of its own; every digest in it is compared.
fn replayed(engine: &Engine) -> Value {
    let state = engine.folder().join("state").display().to_string();
    let output = engine.nikola(&["replay", &state, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_was_acknowledged_survives_the_kill_of_the_engine() {
    let Some(mut engine) = Engine::start_kept("acknowledged", &WATCHED[2..]) else { return };
    engine.status_when(|status| status["tick"].as_u64() > Some(3));
    let injected = engine.json(&["inject", STRIKE]);
    engine.kill();
    let tick = injected["tick"].as_u64().expect("a tick");
    let replay = replayed(&engine);
    assert_eq!(replay["orders"], 1, "{replay}");
    assert!(
        replay["tick"].as_u64() > Some(tick),
        "the tick that took it in is part of what survived: {replay}"
    );
    // It entered there and nowhere before.
    let state = engine.folder().join("state").display().to_string();
    let before = engine.nikola(&["replay", &state, "--until", &tick.to_string(), "--json"]);
    let before: Value = serde_json::from_slice(&before.stdout).expect("JSON");
    assert_eq!(before["orders"], 0, "{before}");
}

#[test]
fn scram_and_resume_are_journaled_orders_of_the_oracle() {
    let Some(mut engine) = Engine::start_kept("scram", &WATCHED) else { return };
    let running = engine.status_when(|status| status["tick"].as_u64() > Some(3));
    assert_eq!(running["oracle"], "NOMINAL", "{running}");
    let scram = engine.json(&["scram", "drill"]);
    let text = scram["text"].as_str().unwrap_or_default();
    assert!(text.contains("frozen by the oracle") && text.contains("until `resume`"), "{scram}");
    let frozen = engine.status_when(|status| status["oracle"] == "SOFT_SCRAM");
    assert_eq!(frozen["state"], "RUNNING", "time goes on under damping: {frozen}");
    let later = engine.status_when(|status| status["tick"].as_u64() > frozen["tick"].as_u64());
    assert_eq!(later["oracle"], "SOFT_SCRAM");
    let resumed = engine.json(&["resume"]);
    assert!(resumed["tick"].as_u64() > scram["tick"].as_u64(), "{resumed}");
    let digested = engine.status_when(|status| status["oracle"] == "NOMINAL");
    let border = (digested["tick"].as_u64().expect("a tick") / 20 + 2) * 20;
    engine.status_when(|status| status["tick"].as_u64() > Some(border));
    // Answered, and therefore on the disk with everything before it.
    engine.json(&["set", "beta=0.2"]);
    engine.kill();
    let replay = replayed(&engine);
    assert_eq!(replay["orders"], 3, "{replay}");
    assert!(replay["tick"].as_u64() > resumed["tick"].as_u64(), "{replay}");
    let n_digests = replay["digests"].as_u64().expect("a number");
    assert!(n_digests > frozen["tick"].as_u64().expect("a tick") / 20, "digests across the freeze: {replay}");
}
