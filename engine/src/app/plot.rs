//! `nikola plot`: pictures of a run folder or an array.
//! Invariant: prints one line per picture it wrote.

use super::{Failure, print_line};
use crate::plots;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(super) struct PlotArguments {
    /// A run folder, or a .npy file of one or two dimensions.
    pub(super) path: PathBuf,
    /// Where to write the pictures; beside the input when absent.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

pub(super) fn execute(arguments: &PlotArguments) -> Result<(), Failure> {
    let written = plots::plot(&arguments.path, arguments.out.as_deref())
        .map_err(|error| Failure::new(&error, error.exit_code()))?;
    written.iter().try_for_each(|path: &PathBuf| print_line(&Path::display(path).to_string()))
}
