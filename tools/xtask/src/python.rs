//! A Python that can read results: one with numpy and pandas, installed when this user may.
//! Invariant: says what it installs; where it may not, it says why and what to do, and nothing is changed.

use crate::{answers, install, target_folder};

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

/// The environment variable with an interpreter that has what `tools/clients/nik_reader.py` needs.
pub const READER_VARIABLE: &str = "NIKOLA_READER_PYTHON";

/// What that is: names to import, and to install.
const READER_IMPORTS: &str = "import numpy, lz4.block, blake3, cryptography";
const READER_PACKAGES: [&str; 4] = ["numpy", "lz4", "blake3", "cryptography"];

/// An interpreter for the independent reader of `.nik` files: one that has the packages already, else a virtual
/// environment in the target folder.
///
/// # Errors
/// Why there is none and what to do, in one line.
pub fn for_the_reader() -> Result<String, String> {
    let folder = target_folder().join("reader-python");
    let own = folder.join("bin/python").display().to_string();
    let can_import = |python: &&str| answers(python, &["-c", READER_IMPORTS]);
    if let Some(python) = [own.as_str(), INTERPRETERS[0], INTERPRETERS[1]].into_iter().find(can_import) {
        return Ok(python.to_string());
    }
    println!(
        "installing {} into {} for reading .nik files from Python",
        READER_PACKAGES.join(" "),
        folder.display()
    );
    let place = folder.display().to_string();
    let make = |python: &str| answers(python, &["-m", "venv", "--clear", &place]);
    if !INTERPRETERS.iter().any(|python| make(python)) {
        install(&["python3", "python3-venv"], "reading .nik files from Python")?;
        if !make(INTERPRETERS[1]) {
            return Err(format!("{} -m venv {place} fails", INTERPRETERS[1]));
        }
    }
    let mut arguments = vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    arguments.extend(READER_PACKAGES);
    if answers(&own, &arguments) && can_import(&own.as_str()) {
        return Ok(own);
    }
    let list = READER_PACKAGES.join(" ");
    Err(format!("pip cannot install {list}; install them for python3 and run again"))
}

fn find() -> Option<String> {
    let can_import = |python: &&str| answers(python, &["-c", "import numpy, pandas"]);
    INTERPRETERS.into_iter().find(can_import).map(String::from)
}

/// The environment variable that names a folder with pyzmq and protobuf, for clients of the spine; unset without them.
pub const PACKAGES_VARIABLE: &str = "NIKOLA_PYTHON_PACKAGES";

/// What a client of the spine needs.
const CLIENT_PACKAGES: [&str; 2] = ["pyzmq==27.3.0", "protobuf==7.36.2"];

/// A folder below the target folder with [`CLIENT_PACKAGES`], for PYTHONPATH; nothing of the system changes.
///
/// # Errors
/// Why there is none and what to do, in one line.
pub fn client_packages() -> Result<String, String> {
    let folder = target_folder().join("python-packages").display().to_string();
    let can_import = || {
        let code = format!("import sys; sys.path.insert(0, {folder:?}); import zmq, google.protobuf");
        answers(INTERPRETERS[0], &["-c", &code])
    };
    if can_import() {
        return Ok(folder);
    }
    println!("installing {} into {folder} for clients of the spine", CLIENT_PACKAGES.join(" "));
    let mut arguments = vec!["-m", "pip", "install", "--quiet", "--target", &folder];
    arguments.extend(CLIENT_PACKAGES);
    let is_installed = answers(INTERPRETERS[0], &arguments);
    if is_installed && can_import() {
        return Ok(folder);
    }
    Err(format!("`{} {}` failed; run it by hand to see why", INTERPRETERS[0], arguments.join(" ")))
}
