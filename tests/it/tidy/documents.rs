//! The documents: every path they quote exists, every link leads to a host we know.

use super::{files, nothing_found};

/// Endings that make a quoted word a path.
const ENDINGS: [&str; 9] = [".rs", ".md", ".ron", ".toml", ".c", ".h", ".py", ".wgsl", ".proto"];

/// Names of files that a run writes: they exist in a run folder, not in the tree.
const WRITTEN: [&str; 2] = ["scene.ron", "manifest.ron"];

/// Where links may lead: public places that a reader can reach.
const HOSTS: [&str; 9] = [
    "apache.org",
    "arxiv.org",
    "crates.io",
    "creativecommons.org",
    "doc.rust-lang.org",
    "docs.rs",
    "doi.org",
    "github.com",
    "rustup.rs",
];

/// Whether a word between backticks claims that a file or folder of the repository exists.
fn is_path(word: &str) -> bool {
    let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    let is_output = word.starts_with("runs/") || word.starts_with("target/") || word.starts_with('/');
    is_plain
        && !is_output
        && !WRITTEN.contains(&word)
        && (word.ends_with('/') || ENDINGS.iter().any(|ending| word.ends_with(ending)))
}

/// The words between single backticks on one line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn quoted_paths_exist() {
    let files = files();
    let exists = |word: &str| match word.strip_suffix('/') {
        Some(folder) => files.iter().any(|file| file.path.starts_with(&format!("{folder}/"))),
        None if word.contains('/') => files.iter().any(|file| file.path == word),
        // A bare name such as `tick.rs` is good when some file bears it.
        None => files.iter().any(|file| file.path.rsplit('/').next() == Some(word)),
    };
    let mut stale = Vec::new();
    for file in &files {
        // The change log speaks of the past.
        let is_document = file.path == "README.md" || file.path.starts_with("docs/");
        let Some(text) = file.text.as_ref().filter(|_| is_document && file.path != "docs/CHANGELOG.md")
        else {
            continue;
        };
        for (i, line) in text.lines().enumerate() {
            let missing = quoted(line).filter(|word| is_path(word) && !exists(word));
            stale.extend(missing.map(|word| format!("{}:{}: `{word}`", file.path, i + 1)));
        }
    }
    nothing_found("quoted in a document, but not in the tree:", stale);
}

#[test]
fn words_are_told_from_paths() {
    for path in ["tests/", "systems/src/tick.rs", "tick.rs", "docs/FORMATS.md"] {
        assert!(is_path(path), "{path}");
    }
    for word in ["dt·k²", "cargo xtask test", "runs/a/", "ticks/s", "scenes/*.ron", "nikola", "/dev/full"] {
        assert!(!is_path(word), "{word}");
    }
    assert_eq!(quoted("a `b` c `d/`").collect::<Vec<_>>(), ["b", "d/"]);
}

#[test]
fn links_lead_to_public_hosts() {
    let mut strange = Vec::new();
    for file in files() {
        let Some(text) = file.text else { continue };
        for (i, line) in text.lines().enumerate() {
            for link in line.split("://").skip(1) {
                let host: String =
                    link.chars().take_while(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect();
                let is_known =
                    HOSTS.iter().any(|known| host == *known || host.ends_with(&format!(".{known}")));
                if host.contains('.') && !is_known {
                    strange.push(format!("{}:{}: {host}", file.path, i + 1));
                }
            }
        }
    }
    nothing_found("not among the known public hosts:", strange);
}
