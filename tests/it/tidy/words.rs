//! Words that must not occur: clocks and files inside the tick, sleeping tests, paths of somebody's machine.
//! The searched words are put together here, so that this file does not find itself.

use super::{files, nothing_found, sources};

/// Folders whose code is the tick: no file, socket, thread or wall clock.
const SANS_IO: [&str; 2] = ["components/", "systems/"];

/// Whether `word` occurs in `text` with no identifier character at either side.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().expect("split yields one part")
}

/// Lines of the sources for which `is_wrong` holds, as `path:line: text`.
fn find(is_searched: impl Fn(&str) -> bool, is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| is_searched(path)) {
        let wrong = text.lines().enumerate().filter(|(_, line)| is_wrong(code(line)));
        found.extend(wrong.map(|(i, line)| format!("{path}:{}: {}", i + 1, line.trim())));
    }
    found
}

/// The part of a source that is tests: all of a test file, else what follows `#[cfg(test)]` on a module with a body.
fn test_part<'a>(path: &str, text: &'a str) -> &'a str {
    let is_test_file = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs");
    let at = if is_test_file { Some(0) } else { text.find("#[cfg(test)]\nmod tests {") };
    at.map_or("", |at| &text[at..])
}

#[test]
fn no_file_socket_thread_or_clock_inside_the_tick() {
    let is_wrong = |code: &str| {
        let modules = ["fs", "net", "thread"];
        let named = modules.iter().any(|module| has_word(code, &format!("std::{module}")));
        let grouped =
            code.split_once("std::{").is_some_and(|(_, rest)| modules.iter().any(|m| has_word(rest, m)));
        named || grouped || has_word(code, "Instant") || has_word(code, "SystemTime")
    };
    let is_searched = |path: &str| SANS_IO.iter().any(|folder| path.starts_with(folder));
    nothing_found("files, sockets, threads and clocks belong to engine/:", find(is_searched, is_wrong));
}

#[test]
fn no_test_is_left_out_and_nothing_is_left_to_do() {
    let words = [["#[", "ignore"].concat(), ["to", "do!"].concat(), ["unimple", "mented!"].concat()];
    let is_wrong = |code: &str| words.iter().any(|word| code.contains(word));
    nothing_found("finish it or leave it out:", find(|_| true, is_wrong));
}

#[test]
fn no_test_sleeps_or_asserts_nothing() {
    let sleep = ["sle", "ep("].concat();
    let unused = ["match", "es!("].concat();
    let mut found = Vec::new();
    for (path, text) in sources() {
        for line in test_part(&path, &text).lines().map(|line| code(line).trim()) {
            let asserts_nothing = line.starts_with(&unused) && line.ends_with(';');
            if line.contains(&sleep) || asserts_nothing {
                found.push(format!("{path}: {line}"));
            }
        }
    }
    nothing_found("a test waits for events, not for time, and asserts what it finds:", found);
}

#[test]
fn no_path_of_somebodys_machine() {
    let words = ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/"));
    let mut found = Vec::new();
    for file in files() {
        for (i, line) in file.text.as_deref().unwrap_or_default().lines().enumerate() {
            // A name before the first slash makes it a path inside something else.
            let is_absolute = |word: &String| {
                let starts = line.match_indices(word.as_str());
                let is_inner = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                starts.into_iter().any(|(at, _)| !line[..at].chars().next_back().is_some_and(is_inner))
            };
            if words.iter().any(is_absolute) {
                found.push(format!("{}:{}: {}", file.path, i + 1, line.trim()));
            }
        }
    }
    nothing_found("paths that exist on one machine only:", found);
}
