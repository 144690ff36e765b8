//! Who may depend on whom, against `cargo metadata` and the lock file.
//! Invariant: arrows point one way, and the crates that must be absent are absent even transitively.

use super::{nothing_found, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

/// Our crates and what of ours each one needs: exactly this.
const ARROWS: [(&str, &[&str]); 10] = [
    ("nikola-kernels", &[]),
    ("nikola-components", &[]),
    ("nikola-systems", &["nikola-components", "nikola-kernels"]),
    ("nikola-shaders", &["nikola-kernels"]),
    ("nikola-engine", &["nikola-components", "nikola-shaders", "nikola-systems", "zmq-sys"]),
    ("nikola-tests", &["nikola-engine"]),
    ("nikola-benches", &["nikola-engine"]),
    ("xtask", &[]),
    // A protobuf compiler is heavy, and only its output is needed.
    ("nikola-proto", &[]),
    // A native library, and the name under which the crate `zmq` looks for it.
    ("zmq-sys", &[]),
];

/// Crates that belong to the edges of the engine: windows, devices, sockets, files.
const EDGES: [&str; 7] = ["wgpu", "wgpu-core", "zmq", "virt", "notify", "prost", "memmap2"];

/// Dependencies of each of our crates by kind of arrow: ours and foreign, direct.
fn direct() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(cargo).args(arguments).current_dir(root()).stdin(Stdio::null()).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_string();
    let packages = metadata["packages"].as_array().expect("packages");
    let needs =
        |package: &Value| package["dependencies"].as_array().expect("a list").iter().map(name).collect();
    packages.iter().map(|package| (name(package), needs(package))).collect()
}

/// The lock file as a graph by name (versions of one name taken together).
fn locked() -> BTreeMap<String, BTreeSet<String>> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("the lock file");
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut package = String::new();
    for line in lock.lines() {
        if let Some(name) = line.strip_prefix("name = ") {
            package = name.trim_matches('"').to_string();
            graph.entry(package.clone()).or_default();
        } else if let Some(entry) = line.strip_prefix(" \"") {
            let name = entry.split(['"', ' ']).next().expect("split yields one part");
            graph.entry(package.clone()).or_default().insert(name.to_string());
        }
    }
    graph
}

/// Everything that `of` needs, directly or not.
fn closure(graph: &BTreeMap<String, BTreeSet<String>>, of: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![of.to_string()];
    while let Some(name) = open.pop() {
        let needs = graph.get(&name).unwrap_or_else(|| panic!("{name} is not in Cargo.lock"));
        open.extend(needs.iter().filter(|need| seen.insert((*need).clone())).cloned());
    }
    seen
}

#[test]
fn arrows_point_one_way() {
    let direct = direct();
    let ours: BTreeSet<_> = direct.keys().cloned().collect();
    let table: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let known: BTreeSet<_> = table.keys().map(|name| (*name).to_string()).collect();
    assert_eq!(ours, known, "a new crate needs a reason and a row in this table");
    for (name, needs) in &direct {
        let found: Vec<_> = needs.intersection(&ours).map(String::as_str).collect();
        assert_eq!(found, table[name.as_str()], "what {name} needs of ours");
    }
}

#[test]
fn architecture_draws_the_same_arrows() {
    let text = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md");
    let (_, after) = text.split_once("Dependencies point one way:").expect("the sentence about dependencies");
    let sentence = after.split("\n\n").next().expect("split yields one part");
    let crate_name = |short: &str| match short.trim() {
        own @ ("xtask" | "zmq-sys") => own.to_string(),
        short => format!("nikola-{short}"),
    };
    let mut drawn: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for quote in sentence.split('`').skip(1).step_by(2).filter(|quote| quote.contains('→')) {
        // `a ← b → c, d`: b needs a, c and d.
        let (left, needs) = quote.split_once('→').expect("filtered");
        let (back, from) = left.split_once('←').unwrap_or(("", left));
        let needs = needs.split(',').chain(back.split(',')).filter(|word| !word.trim().is_empty());
        let needs: BTreeSet<_> = needs.filter(|word| word.trim() != "none").map(crate_name).collect();
        for from in from.split(',') {
            drawn.entry(crate_name(from)).or_default().extend(needs.clone());
        }
    }
    for (name, needs) in ARROWS {
        let found = drawn.get(name).cloned().unwrap_or_default();
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), needs, "{name} in ARCHITECTURE.md");
    }
}

#[test]
fn absent_crates_are_absent() {
    let graph = locked();
    let mut found = Vec::new();
    for name in ["nikola-kernels", "nikola-components", "nikola-systems", "xtask"] {
        for need in closure(&graph, name) {
            let is_edge = EDGES.contains(&need.as_str());
            let is_foreign_world = name == "nikola-kernels" && need.starts_with("bevy");
            if is_edge || is_foreign_world {
                found.push(format!("{name} → {need}"));
            }
        }
    }
    for (name, _) in ARROWS {
        let windows =
            closure(&graph, name).into_iter().filter(|need| need == "eframe" || need.starts_with("egui"));
        found.extend(windows.map(|need| format!("{name} → {need}")));
    }
    nothing_found("must not be reachable:", found);
    assert_eq!(Vec::from_iter(closure(&graph, "xtask")), ["anyhow"], "xtask builds in a second");
}

#[test]
fn crates_come_from_the_public_registry() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("the lock file");
    let strange =
        lock.lines().filter(|line| line.starts_with("source = ") && !line.contains("crates.io-index\""));
    nothing_found("not from crates.io:", strange.map(String::from).collect());
}
