//! Tests that police the repository itself: layout, documents, dependencies, words.
//! Invariant: what the documents promise about the tree is read from the tree, not remembered.

mod dependencies;
mod documents;
mod layout;
mod words;

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The workspace's top folder. Asked at run time: a target folder shared by two checkouts holds one binary.
pub(super) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(here).join("..")
}

/// A file of the repository: path from the top with `/`, and its text (none for binary files).
struct Entry {
    path: String,
    text: Option<String>,
}

/// Every file that belongs to the repository, tracked or about to be.
fn files() -> Vec<Entry> {
    let mut paths = listed_by_git().unwrap_or_else(walked);
    paths.sort();
    let read = |path: String| {
        let bytes = std::fs::read(root().join(&path)).ok()?;
        Some(Entry { path, text: String::from_utf8(bytes).ok() })
    };
    let files: Vec<_> = paths.into_iter().filter_map(read).collect();
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "the walk did not find the workspace");
    files
}

/// What git tracks or would track; none without git (an unpacked archive).
fn listed_by_git() -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let git = Command::new("git").args(arguments).current_dir(root()).stdin(Stdio::null()).output().ok()?;
    let list = String::from_utf8(git.stdout).ok().filter(|_| git.status.success())?;
    Some(list.split_terminator('\0').map(String::from).collect())
}

/// The same by walking, leaving out what `.gitignore` leaves out.
fn walked() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("a readable folder") {
            let entry = entry.expect("a readable entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let is_output =
                folder.is_empty() && (name.starts_with("target") || name == "runs" || name == ".git");
            match entry.file_type().expect("a file type") {
                kind if kind.is_dir() && !is_output => folders.push(path),
                kind if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// The Rust sources with their text.
fn sources() -> Vec<(String, String)> {
    let rust = files().into_iter().filter(|file| file.path.ends_with(".rs"));
    rust.map(|file| (file.path, file.text.expect("Rust sources are UTF-8"))).collect()
}

/// Fails with all findings at once.
fn nothing_found(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}\n  {}", findings.join("\n  "));
}

#[test]
fn walking_finds_what_git_lists() {
    let Some(mut listed) = listed_by_git() else { return };
    listed.retain(|path| root().join(path).is_file() && path.ends_with(".rs"));
    let walked = walked();
    nothing_found("missed by the walk:", listed.into_iter().filter(|path| !walked.contains(path)).collect());
}
