//! A scanner for the outline of a RON text: which value stands where.
//!
//! Invariant: it knows brackets, strings and comments of RON (ron-rs, docs/grammar.md) and nothing of scenes; its
//! depth is bounded by [`NESTING_MAX`], and it stops at the first thing that does not fit.

use super::limits::NESTING_MAX;
use std::ops::Range;

/// Where a value stands.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    /// Bytes of the whole value, its name included.
    pub span: Range<usize>,
    /// What it holds.
    pub content: Content,
}

/// What a value holds.
#[derive(Debug, Clone, Default)]
pub enum Content {
    /// Number, string, name.
    #[default]
    Leaf,
    /// `(key: value, …)` or `{key: value, …}`; `open` is the byte after the bracket.
    Named {
        /// Where a further entry can be inserted.
        open: usize,
        /// Keys and values in order.
        entries: Vec<(String, Range<usize>, Outline)>,
    },
    /// `[value, …]`.
    List(Vec<Outline>),
    /// `(value, …)`.
    Tuple(Vec<Outline>),
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `.name`.
    Name(String),
    /// `[index]`.
    Index(usize),
}

/// Splits `initial[1].width.z`. Empty names and bad indices become names that no field has.
pub fn steps(path: &str) -> Vec<Step> {
    let mut found = Vec::new();
    for part in path.split('.') {
        let (name, rest) = part.split_once('[').map_or((part, None), |(name, rest)| (name, Some(rest)));
        if !name.is_empty() || rest.is_none() {
            found.push(Step::Name(name.to_string()));
        }
        for index in rest.into_iter().flat_map(|rest| rest.split('[')) {
            match index.trim_end_matches(']').parse() {
                Ok(index) => found.push(Step::Index(index)),
                Err(_) => found.push(Step::Name(index.to_string())),
            }
        }
    }
    found
}

impl Outline {
    /// The value one step further in. A form with a single argument, such as `Sum([…])`, is looked through.
    pub fn child(&self, step: &Step) -> Option<&Outline> {
        match (&self.content, step) {
            (Content::Named { entries, .. }, Step::Name(name)) => {
                entries.iter().find(|(key, _, _)| key == name).map(|(_, _, value)| value)
            }
            (Content::List(items), Step::Index(index)) => items.get(*index),
            (Content::Tuple(items), _) => match (items.as_slice(), step) {
                ([only], _) => only.child(step),
                (_, Step::Index(index)) => items.get(*index),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A result, or the byte that does not fit, what is there and what was expected.
pub type ScanResult<T> = Result<T, (usize, String, String)>;

/// Reads the outline of a whole text.
///
/// # Errors
/// The first bracket, string or comma that does not fit.
pub fn scan(text: &str) -> ScanResult<Outline> {
    Scanner { text: text.as_bytes(), at: 0, depth: 0 }.document()
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl Scanner<'_> {
    fn document(&mut self) -> ScanResult<Outline> {
        self.blank()?;
        while self.text[self.at..].starts_with(b"#!") {
            while self.peek().is_some_and(|byte| byte != b']') {
                self.at += 1;
            }
            self.at = (self.at + 1).min(self.text.len());
            self.blank()?;
        }
        if self.peek().is_none() {
            return self.fault("an empty file", "a scene: ( version: 1, torus: (…), … )");
        }
        let outline = self.value()?;
        self.blank()?;
        match self.peek() {
            None => Ok(outline),
            Some(_) => self.fault("further text after the scene", "the end of the file"),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fault<T>(&self, found: impl Into<String>, expected: impl Into<String>) -> ScanResult<T> {
        Err((self.at, found.into(), expected.into()))
    }

    /// Skips white space and comments.
    fn blank(&mut self) -> ScanResult<()> {
        loop {
            match self.peek() {
                Some(byte) if byte.is_ascii_whitespace() => self.at += 1,
                Some(b'/') if self.text.get(self.at + 1) == Some(&b'/') => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                Some(b'/') if self.text.get(self.at + 1) == Some(&b'*') => self.block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn block_comment(&mut self) -> ScanResult<()> {
        let start = self.at;
        let mut open = 0usize;
        loop {
            match self.text.get(self.at..self.at + 2) {
                Some(b"/*") => {
                    open += 1;
                    self.at += 2;
                }
                Some(b"*/") => {
                    open -= 1;
                    self.at += 2;
                    if open == 0 {
                        return Ok(());
                    }
                }
                Some(_) => self.at += 1,
                None => return Err((start, "a comment that does not end".into(), "`*/`".into())),
            }
        }
    }

    fn value(&mut self) -> ScanResult<Outline> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return self.fault("deeper nesting", format!("at most {NESTING_MAX} levels of brackets"));
        }
        let start = self.at;
        let content = match self.peek() {
            Some(b'(' | b'[' | b'{') => self.bracket()?,
            Some(b'"') => self.string()?,
            Some(b'r') if matches!(self.text.get(self.at + 1), Some(b'"' | b'#')) => self.raw_string()?,
            Some(b'\'') => self.character()?,
            Some(byte) if is_word(byte) => {
                while self.peek().is_some_and(is_word) {
                    self.at += 1;
                }
                let end = self.at;
                self.blank()?;
                if self.peek() == Some(b'(') {
                    self.bracket()?
                } else {
                    self.at = end;
                    Content::Leaf
                }
            }
            Some(byte) => return self.fault(format!("`{}`", char::from(byte).escape_default()), "a value"),
            None => return self.fault("the end of the file", "a value"),
        };
        self.depth -= 1;
        Ok(Outline { span: start..self.at, content })
    }

    fn bracket(&mut self) -> ScanResult<Content> {
        let opening = self.at;
        let close = match self.peek() {
            Some(b'(') => b')',
            Some(b'[') => b']',
            _ => b'}',
        };
        self.at += 1;
        let open = self.at;
        let mut entries = Vec::new();
        let mut items = Vec::new();
        loop {
            self.blank()?;
            match self.peek() {
                Some(byte) if byte == close => {
                    self.at += 1;
                    break;
                }
                None => {
                    let place = (opening, "a bracket that does not close".to_string());
                    return Err((place.0, place.1, format!("`{}`", char::from(close))));
                }
                Some(_) => {}
            }
            let value = self.value()?;
            self.blank()?;
            if self.peek() == Some(b':') {
                self.at += 1;
                self.blank()?;
                let key =
                    String::from_utf8_lossy(&self.text[value.span.clone()]).trim_matches('"').to_string();
                let entry = self.value()?;
                entries.push((key, value.span, entry));
                self.blank()?;
            } else {
                items.push(value);
            }
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {}
                Some(byte) => {
                    let found = format!("`{}`", String::from_utf8_lossy(&[byte]).escape_debug());
                    return self.fault(found, format!("`,` or `{}`", char::from(close)));
                }
                None => {}
            }
        }
        Ok(match close {
            b']' => Content::List(items),
            b')' if !items.is_empty() => Content::Tuple(items),
            _ => Content::Named { open, entries },
        })
    }

    fn string(&mut self) -> ScanResult<Content> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Content::Leaf);
                }
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err((start, "a string that does not end".into(), "a closing `\"`".into())),
            }
        }
    }

    fn raw_string(&mut self) -> ScanResult<Content> {
        let start = self.at;
        self.at += 1;
        let mut hashes = 0;
        while self.peek() == Some(b'#') {
            hashes += 1;
            self.at += 1;
        }
        if self.peek() != Some(b'"') {
            // A raw identifier, r#name.
            while self.peek().is_some_and(is_word) {
                self.at += 1;
            }
            return Ok(Content::Leaf);
        }
        self.at += 1;
        while self.at < self.text.len() {
            let tail = &self.text[self.at..];
            let closes = tail[0] == b'"'
                && tail[1..].iter().take(hashes).filter(|byte| **byte == b'#').count() == hashes;
            self.at += 1;
            if closes {
                self.at += hashes;
                return Ok(Content::Leaf);
            }
        }
        Err((start, "a raw string that does not end".into(), "a closing quote".into()))
    }

    fn character(&mut self) -> ScanResult<Content> {
        self.at += if self.text.get(self.at + 1) == Some(&b'\\') { 3 } else { 2 };
        while self.peek().is_some_and(|byte| byte != b'\'' && byte != b'\n') {
            self.at += 1;
        }
        self.at = (self.at + 1).min(self.text.len());
        Ok(Content::Leaf)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'+' | b'-') || byte >= 0x80
}
