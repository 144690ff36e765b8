//! A Python that can read results: one with numpy and pandas, installed when this user may.
//! Invariant: says what it installs; where it may not, it says why and what to do, and nothing is changed.

use crate::{answers, install};

/// The environment variable that tells tests which interpreter to use; unset when there is none.
pub const PYTHON_VARIABLE: &str = "NIKOLA_PYTHON";

/// System packages the Python tests need.
const PACKAGES: [&str; 3] = ["python3", "python3-numpy", "python3-pandas"];

/// Interpreters in the order they are asked. The system's own is where the packages land.
const INTERPRETERS: [&str; 2] = ["python3", "/usr/bin/python3"];

/// An interpreter with numpy and pandas.
///
/// # Errors
/// Why there is none and what to do, in one line.
pub fn with_numpy_and_pandas() -> Result<String, String> {
    if let Some(python) = find() {
        return Ok(python);
    }
    install(&PACKAGES, "reading results from Python")?;
    find().ok_or_else(|| {
        format!("{} are installed, but {} cannot import them", PACKAGES.join(" "), INTERPRETERS[1])
    })
}

fn find() -> Option<String> {
    let can_import = |python: &&str| answers(python, &["-c", "import numpy, pandas"]);
    INTERPRETERS.into_iter().find(can_import).map(String::from)
}
