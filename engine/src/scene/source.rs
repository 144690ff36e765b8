//! The text of a scene and where each field stands in it.
//!
//! Invariant: the outline always belongs to the text; it gives errors found after parsing their line and column, and
//! lets `--set` replace exactly the bytes of one value.

use super::error::{Fault, Place, SceneError, excerpt};
use super::outline::{Content, Outline, scan, steps};
use std::ops::Range;

/// The text of a scene, after overrides.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// File name as the person gave it.
    pub name: String,
    /// RON text.
    pub text: String,
    /// Values brought by overrides: bytes of `text`, and the override as typed.
    pub overrides: Vec<(Range<usize>, String)>,
    outline: Outline,
}

impl Source {
    /// Reads the outline of `text`.
    ///
    /// # Errors
    /// [`SceneError::Syntax`] for brackets or strings that do not close, and for nesting beyond
    /// [`NESTING_MAX`](super::limits::NESTING_MAX).
    pub fn new(name: &str, text: String) -> Result<Self, SceneError> {
        let mut source =
            Self { name: name.to_string(), text, overrides: Vec::new(), outline: Outline::default() };
        source.rescan()?;
        Ok(source)
    }

    /// Reads the outline again after `text` has changed.
    pub fn rescan(&mut self) -> Result<(), SceneError> {
        match scan(&self.text) {
            Ok(outline) => {
                self.outline = outline;
                Ok(())
            }
            Err((at, found, expected)) => Err(SceneError::Syntax {
                fault: Box::new(Fault {
                    place: self.place_at(at, ""),
                    found,
                    expected,
                    remedy: "mend the brackets, quotes or commas at this place".into(),
                }),
            }),
        }
    }

    /// The outermost value.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// Names of the outermost fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let entries = match &self.outline.content {
            Content::Named { entries, .. } => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|(name, ..)| name.as_str())
    }

    /// The text of the value at `path`, if it is there.
    pub fn value_text(&self, path: &str) -> Option<&str> {
        let outline = steps(path).iter().try_fold(&self.outline, |outline, step| outline.child(step))?;
        self.text.get(outline.span.clone())
    }

    /// Place of the field at `path`: its position, or that of the deepest part of the path that is written down.
    pub fn place(&self, path: &str) -> Place {
        let mut outline = &self.outline;
        let mut is_written = false;
        for step in steps(path) {
            match outline.child(&step) {
                Some(child) => {
                    outline = child;
                    is_written = true;
                }
                None => break,
            }
        }
        let mut place = self.place_at(outline.span.start, path);
        if !is_written {
            place.position = None;
        }
        place
    }

    /// Place of the byte `at`, which belongs to the field `field`.
    pub fn place_at(&self, at: usize, field: &str) -> Place {
        let field = field.to_string();
        if let Some((_, typed)) = self.overrides.iter().find(|(span, _)| span.contains(&at)) {
            return Place { file: format!("--set {typed}"), position: None, field };
        }
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let column = 1 + String::from_utf8_lossy(&before[line_start..]).chars().count();
        Place { file: self.name.clone(), position: Some((line, column)), field }
    }

    /// Path of the innermost field whose value or name covers the byte `at`.
    pub fn path_at(&self, at: usize) -> String {
        self.innermost(at).0
    }

    /// The whole number, text or name that covers the byte `at`, or else the token that begins there.
    pub fn value_at(&self, at: usize) -> String {
        let outline = self.innermost(at).1;
        match (&outline.content, self.text.get(outline.span.clone())) {
            (Content::Leaf, Some(text)) if outline.span.contains(&at) => format!("`{}`", excerpt(text, 60)),
            _ => self.token_at(at),
        }
    }

    /// Whether the byte `at` lies within a number, text or name, behind its beginning.
    pub fn is_inside_value(&self, at: usize) -> bool {
        let outline = self.innermost(at).1;
        matches!(outline.content, Content::Leaf) && outline.span.contains(&at) && at > outline.span.start
    }

    /// The byte of the last character before `at` that is no white space, comma or bracket, or `at` itself if a
    /// value begins there.
    pub fn last_before(&self, at: usize) -> usize {
        let is_gap = |c: char| c.is_whitespace() || matches!(c, ',' | ')' | ']' | '}');
        match self.text.get(at..).and_then(|rest| rest.chars().next()) {
            Some(c) if !is_gap(c) => at,
            _ => self
                .text
                .get(..at)
                .map_or(0, |before| before.trim_end_matches(is_gap).len().saturating_sub(1)),
        }
    }

    fn innermost(&self, at: usize) -> (String, &Outline) {
        let mut path = String::new();
        let mut outline = &self.outline;
        'inward: loop {
            match &outline.content {
                Content::Named { entries, .. } => {
                    for (key, key_span, value) in entries {
                        if (key_span.start..value.span.end.max(key_span.end)).contains(&at) {
                            if !path.is_empty() {
                                path.push('.');
                            }
                            path.push_str(key);
                            outline = value;
                            continue 'inward;
                        }
                    }
                    return (path, outline);
                }
                Content::List(items) | Content::Tuple(items) => {
                    let Some((index, item)) =
                        items.iter().enumerate().find(|(_, item)| item.span.contains(&at))
                    else {
                        return (path, outline);
                    };
                    if items.len() > 1 || matches!(outline.content, Content::List(_)) {
                        path.push_str(&format!("[{index}]"));
                    }
                    outline = item;
                }
                Content::Leaf => return (path, outline),
            }
        }
    }

    /// Byte of a line and column, both from 1.
    pub fn byte_at(&self, line: usize, column: usize) -> usize {
        let start: usize = self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let rest = self.text.get(start..).unwrap_or("");
        start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(byte, _)| byte)
    }

    /// The word, number, string or character at byte `at`, as an error shows it.
    pub fn token_at(&self, at: usize) -> String {
        let rest = self.text.get(at..).unwrap_or("").trim_start();
        let Some(first) = rest.chars().next() else { return "the end of the file".into() };
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
        let token: String = if first == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |end| end + 2);
            rest[..end].chars().take(40).collect()
        } else if is_word(first) {
            rest.chars().take_while(|&c| is_word(c)).take(40).collect()
        } else {
            first.to_string()
        };
        format!("`{}`", token.escape_debug().to_string().replace("\\\"", "\""))
    }
}
