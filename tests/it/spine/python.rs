//! A client that nobody here shaped: Python with pyzmq, protobuf and the .proto file pairs, injects and draws.

use super::super::tidy::root;
use super::engine::Engine;
use std::ffi::OsString;
use std::process::{Command, Output, Stdio};

/// PYTHONPATH with the packages; a skip is said when there are none.
fn packages() -> Option<OsString> {
    let found = std::env::var_os("NIKOLA_PYTHON_PACKAGES");
    if found.is_none() {
        println!(
            "skipped: NIKOLA_PYTHON_PACKAGES names no folder with pyzmq and protobuf (`cargo xtask test` makes one)"
        );
    }
    found
}

fn client(packages: &OsString, engine: &Engine, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg(root().join("tools/clients/python/nikola_client.py")).arg("--run").arg(engine.run());
    command.arg("--keys").arg(engine.folder().join("python-keys")).args(arguments);
    command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_python_client_pairs_injects_subscribes_and_draws() {
    let Some(packages) = packages() else { return };
    let Some(engine) = Engine::start("python", &[]) else { return };
    let run = |arguments: &[&str]| client(&packages, &engine, arguments).output().expect("Python starts");
    let (mut operator, code) = engine.open_pairing("inject");
    let paired = said(&run(&["pair", &code]));
    assert!(paired.contains("fingerprint:") && paired.contains("admitted"), "{paired}");
    assert!(operator.wait().expect("it ends").success());

    assert!(said(&run(&["status"])).contains("\"state\": 1"));
    assert!(said(&run(&["packet", "0.5", "--width", "0,0,0,0,0,1,2,2,1"])).contains("taken in"));
    assert!(
        said(&run(&["inject", "(amplitude: 0.1, phase: 0, profile: Gaussian(width: {w: 1}))"]))
            .contains("tick")
    );
    let picture = engine.folder().join("density.png");
    let drawn = said(&run(&["plot", picture.to_str().expect("UTF-8"), "--theta", "0.2"]));
    assert!(drawn.contains("omitted_fraction"), "{drawn}");
    assert!(std::fs::read(&picture).expect("a picture").starts_with(b"\x89PNG"));
    let picture = engine.folder().join("dense.png");
    let drawn = said(&run(&["plot", picture.to_str().expect("UTF-8"), "--shm"]));
    let drawn: serde_json::Value = serde_json::from_str(drawn.trim()).expect("one JSON object");
    assert!(drawn["tick"].as_u64() >= drawn["described"].as_u64(), "{drawn}");
    assert!(drawn["nodes"].as_u64().is_some_and(|nodes| nodes > 1), "{drawn}");
    assert!(std::fs::read(&picture).expect("a picture").starts_with(b"\x89PNG"));
    let refused = run(&["halt"]);
    assert_eq!(refused.status.code(), Some(13), "{}", String::from_utf8_lossy(&refused.stderr));
}
