//! Tests of the pictures of a run. Invariant: a folder as a run writes it is drawn whole; a broken one is refused
//! with its file and a remedy, and nothing panics.

use super::*;
use crate::observe::npy_write::{Dtype, write_header};
use crate::plots::plot;

/// A run folder in the temporary folder, removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, axes: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nikola-pictures-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("snapshots")).expect("temporary folder");
        let scratch = Self(path);
        scratch.write("resolved.json", format!("{{\"title\": \"T\", \"dt\": 0.5, \"axes\": [{axes}]}}"));
        scratch
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), bytes).expect("writable");
    }

    /// An array whose element k is (k, −k).
    fn array(&self, name: &str, dtype: Dtype, shape: &[usize]) {
        let mut file = Vec::new();
        write_header(&mut file, dtype, shape).expect("memory");
        for k in 0..shape.iter().product::<usize>() {
            let value = k as f64;
            match dtype {
                Dtype::C16 => file.extend([value.to_le_bytes(), (-value).to_le_bytes()].concat()),
                _ => file.extend(value.to_le_bytes()),
            }
        }
        self.write(name, file);
    }

    fn drawn(&self) -> Vec<String> {
        let written = draw_folder(&self.0, &self.0).expect("drawable");
        written.iter().map(|path| path.file_name().expect("a file").to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn one_axis_gives_a_line_a_course_in_time_and_series() {
    let run = Scratch::new("line", r#"{"axis": "x", "extent": 5, "length": 2.0}"#);
    for tick in [0, 10, 20, 23] {
        run.array(&format!("snapshots/psi-{tick:09}.npy"), Dtype::C16, &[5]);
    }
    run.write(
        "series.csv",
        "tick,time,norm_drift,energy,centre_x,<x>\n0.0,0.0,0.0,1.0,0.1,3\n1.0,0.5,NaN,1.0,0.1,3\n",
    );
    let expected =
        ["overview.png", "psi.png", "psi_over_time.png", "series.png", "motion.png", "observables.png"];
    assert_eq!(run.drawn(), expected);
    let png = std::fs::read(run.0.join("overview.png")).expect("written");
    assert!(png.starts_with(b"\x89PNG"));
}

#[test]
fn cuts_of_many_axes_are_drawn_and_psi_itself_is_not_read() {
    let axis = |name: &str| format!(r#"{{"axis": "{name}", "extent": 3, "length": 3.0}}"#);
    let run = Scratch::new("cuts", &["z", "r", "y"].map(axis).join(","));
    run.write("snapshots/psi-000000007.npy", "never read");
    run.array("snapshots/project_ry-000000003.npy", Dtype::F8, &[3, 3]);
    run.array("snapshots/project_ry-000000007.npy", Dtype::F8, &[3, 3]);
    run.array("snapshots/slice_z-000000007.npy", Dtype::C16, &[3]);
    assert_eq!(run.drawn(), ["overview.png", "project_ry.png", "slice_z.png"]);
}

#[test]
fn broken_folders_and_files_are_refused_with_a_remedy() {
    let run = Scratch::new("broken", r#"{"axis": "x", "extent": 4, "length": 2.0}"#);
    run.array("snapshots/psi-000000001.npy", Dtype::C16, &[5]);
    run.array("cube.npy", Dtype::F8, &[2, 2, 2]);
    run.array("empty.npy", Dtype::F8, &[0, 3]);
    run.write("text.npy", "no array");
    run.write("rows.csv", "a,b\n1,2\n3\n");
    let cases = [
        ("", "[5]"),
        ("snapshots", "resolved.json"),
        ("cube.npy", "[2, 2, 2]"),
        ("empty.npy", "[0, 3]"),
        ("text.npy", "magic"),
        ("rows.csv", "line 3"),
        ("nothing.npy", "nothing.npy"),
    ];
    for (name, found) in cases {
        let error = plot(&run.0.join(name), Some(&run.0)).expect_err(name);
        let text = error.to_string();
        assert!(
            text.contains(found) && text.contains("expected") && text.contains("remedy"),
            "{name}: {text}"
        );
        assert_eq!(error.exit_code(), crate::exit::INPUT, "{name}");
    }
    for broken in
        ["{", "[]", r#"{"title": "T", "dt": 1, "axes": [{"axis": "q", "extent": 0, "length": -1}]}"#]
    {
        run.write("resolved.json", broken);
        assert!(draw_folder(&run.0, &run.0).is_err(), "{broken}");
    }
}

#[test]
fn single_files_are_drawn_beside_themselves() {
    let run = Scratch::new("single", r#"{"axis": "x", "extent": 4, "length": 2.0}"#);
    run.array("plane.npy", Dtype::C16, &[1, 4, 3]);
    run.write("my.csv", "tick,norm_drift\n0,0\n1,1e-9\n");
    assert_eq!(plot(&run.0.join("plane.npy"), None).expect("drawable"), [run.0.join("plane.png")]);
    assert_eq!(plot(&run.0.join("my.csv"), None).expect("drawable"), [run.0.join("my-series.png")]);
}

#[test]
fn times_off_the_grid_are_left_out() {
    let files: Vec<ArrayFile> =
        [0u64, 10, 20, 23].map(|tick| ArrayFile { name: "psi".into(), tick, path: PathBuf::new() }).into();
    let all: Vec<&ArrayFile> = files.iter().collect();
    let ticks =
        |all: &[&ArrayFile]| evenly_spaced(all).map(|even| even.iter().map(|a| a.tick).collect::<Vec<_>>());
    assert_eq!(ticks(&all), Some(vec![0, 10, 20]));
    assert_eq!(ticks(&all[..2]), None);
    assert_eq!(ticks(&[all[0], all[1], all[3]]), None);
}

#[test]
fn zeros_of_a_drift_are_raised_and_gaps_stay() {
    let raised = magnitudes(&[0.0, -2.0, 1e-3, f64::NAN]);
    assert_eq!(raised[..3], [1e-3, 2.0, 1e-3]);
    assert!(raised[3].is_nan());
    assert_eq!(magnitudes(&[0.0, -0.0]), [0.0, 0.0]);
}
