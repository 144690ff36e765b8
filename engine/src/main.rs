//! The binary `nikola`: parses the command line and hands over to [`nikola_engine::app`].
//! Invariant: every failure ends in a message on standard error and a documented exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(nikola_engine::app::main())
}
