//! Installing system packages where this user may.
//! Invariant: every change of the machine is announced, and a refusal says why and what to do.

use crate::{answers, command};
use std::process::Stdio;

/// Installs packages with apt-get, directly or through a sudo that asks nothing.
///
/// # Errors
/// Why they are not installed and what to do, in one line.
pub fn install(packages: &[&str], wanted_for: &str) -> Result<(), String> {
    let list = packages.join(" ");
    if !answers("apt-get", &["--version"]) {
        return Err(format!("there is no apt-get here; install what your system calls {list}"));
    }
    let is_root = command("id", &["-u"]).output().is_ok_and(|out| out.stdout.starts_with(b"0\n"));
    let prefix: &[&str] = if is_root {
        &[]
    } else if answers("sudo", &["-n", "true"]) {
        &["sudo", "-n"]
    } else {
        return Err(format!("no permission to install; run `sudo apt-get install {list}`"));
    };
    println!("installing {list} for {wanted_for}");
    let apt = |arguments: &[&str]| {
        let words: Vec<&str> = prefix.iter().chain(&["apt-get"]).chain(arguments).copied().collect();
        let mut apt = command(words[0], &words[1..]);
        apt.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        apt.status().is_ok_and(|status| status.success())
    };
    let mut wanted = vec!["install", "-y", "--no-install-recommends"];
    wanted.extend(packages);
    if apt(&wanted) || (apt(&["update"]) && apt(&wanted)) {
        Ok(())
    } else {
        Err(format!("`apt-get install {list}` failed, see above"))
    }
}
