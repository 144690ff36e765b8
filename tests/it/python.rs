//! Results read from Python: numpy and pandas alone are enough, and the files of a run agree with each other.
//! Invariant: the whole way of a user is taken: the binary writes a run folder, a script of a few lines reads it.

use std::process::{Command, Stdio};

fn check(name: &str, scene: &str, ticks: &str, precision: &str) {
    let Some(python) = std::env::var_os("NIKOLA_PYTHON") else {
        println!(
            "skipped: NIKOLA_PYTHON names no interpreter with numpy and pandas (`cargo xtask test` finds one)"
        );
        return;
    };
    let Some(binary) = super::command_line::binary() else { return };
    let root = super::tidy::root();
    let folder = std::env::temp_dir().join(format!("nikola-python-{name}-{}", std::process::id()));
    let mut run = Command::new(binary);
    run.current_dir(&root).args(["run", scene, "--json", "--ticks", ticks, "--precision", precision]);
    let run = run.arg("--out").arg(&folder).stdin(Stdio::null()).output().expect("the binary starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut script = Command::new(python);
    script.current_dir(&root).arg("tests/fixtures/read_run.py").arg(&folder).stdin(Stdio::null());
    let script = script.output().expect("Python starts");
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    std::fs::remove_dir_all(&folder).expect("a removable run folder");
}

#[test]
fn a_double_precision_run_reads_back() {
    check("f64", "scenes/bright_soliton.ron", "100", "f64");
}

#[test]
fn a_single_precision_run_on_eight_axes_reads_back() {
    check("f32", "scenes/packet_8d.ron", "20", "f32");
}
