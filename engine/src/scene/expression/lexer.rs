//! Characters to tokens.
//! Invariant: every token knows the character it starts at; any text gives tokens or one error with a column.

use super::parser::ExpressionError;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A number.
    Number(f64),
    /// A name.
    Name(String),
    /// An operator, bracket or comma.
    Symbol(&'static str),
    /// The end of the text.
    End,
}

impl Token {
    /// As an error message shows it.
    pub fn describe(&self) -> String {
        match self {
            Self::Number(value) => format!("the number {value}"),
            Self::Name(name) => format!("`{name}`"),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "the end of the expression".to_string(),
        }
    }
}

const SYMBOLS: [&str; 18] =
    ["<=", ">=", "==", "!=", "&&", "||", "**", "<", ">", "+", "-", "*", "/", "^", "(", ")", ",", "·"];

/// Tokens with the character index each starts at; the last is [`Token::End`].
pub fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ExpressionError> {
    let characters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut i = 0;
    while i < characters.len() {
        let c = characters[i];
        if c.is_whitespace() {
            i += 1;
        } else if c.is_ascii_digit() || (c == '.' && characters.get(i + 1).is_some_and(char::is_ascii_digit))
        {
            let end = number_end(&characters, i);
            let digits: String = characters[i..end].iter().collect();
            let value: f64 = digits.parse().unwrap_or(f64::INFINITY);
            if !value.is_finite() {
                return Err(ExpressionError::at(
                    text,
                    i,
                    format!("the number {digits}"),
                    "a number below 1.8e308",
                    "write a smaller number",
                ));
            }
            found.push((i, Token::Number(value)));
            i = end;
        } else if c.is_alphabetic() || c == '_' {
            let end =
                (i..characters.len()).find(|&k| !(characters[k].is_alphanumeric() || characters[k] == '_'));
            let end = end.unwrap_or(characters.len());
            found.push((i, Token::Name(characters[i..end].iter().collect())));
            i = end;
        } else {
            let symbol = symbol_at(&characters, i).ok_or_else(|| unknown(text, i, c))?;
            found.push((i, Token::Symbol(symbol)));
            i += symbol.chars().count();
        }
    }
    found.push((characters.len(), Token::End));
    Ok(found)
}

fn symbol_at(characters: &[char], i: usize) -> Option<&'static str> {
    SYMBOLS.into_iter().find(|symbol| {
        let mut k = i;
        symbol.chars().all(|expected| {
            k += 1;
            characters.get(k - 1) == Some(&expected)
        })
    })
}

fn unknown(text: &str, i: usize, c: char) -> ExpressionError {
    let remedy = match c {
        '=' => "compare with `==`",
        '|' => "write the modulus as abs(x), and |psi| as `abs`",
        '&' => "write `&&`",
        '!' => "write not(a) or `!=`",
        '[' | ']' | '{' | '}' => "group with ( and )",
        '%' => "write mod(a, b)",
        ';' | ':' => "an expression is one formula; remove this character",
        _ => "remove this character",
    };
    ExpressionError::at(
        text,
        i,
        format!("the character `{}`", c.escape_debug()),
        "a number, a name, an operator (+ - * / ^ < <= > >= == != && ||) or ( ) ,",
        remedy,
    )
}

/// End of the number that starts at `i`: digits, a point, digits, and an exponent if digits follow it.
fn number_end(characters: &[char], i: usize) -> usize {
    let digits_from = |mut k: usize| {
        while characters.get(k).is_some_and(char::is_ascii_digit) {
            k += 1;
        }
        k
    };
    let mut end = digits_from(i);
    if characters.get(end) == Some(&'.') {
        end = digits_from(end + 1);
    }
    if matches!(characters.get(end), Some('e' | 'E')) {
        let sign = usize::from(matches!(characters.get(end + 1), Some('+' | '-')));
        let exponent = digits_from(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}
