//! Tokens to a tree, by precedence climbing (Pratt 1973).
//! Invariant: nesting is bounded by [`EXPRESSION_DEPTH_MAX`] and length by [`EXPRESSION_CHARS_MAX`]; an error marks
//! the character at which the text stops making sense and lists what could stand there.

use super::ast::{Binary, Node, Variable};
use super::function::{CONSTANTS, FUNCTIONS, Function};
use super::lexer::{Token, tokens};
use crate::scene::error::{excerpt, suggestion};
use crate::scene::limits::{EXPRESSION_CHARS_MAX, EXPRESSION_DEPTH_MAX};
use nikola_components::geometry::axis::Axis;
use std::collections::BTreeMap;

/// What names an expression may use at its place in the scene.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Named constants of the scene.
    pub constants: &'a BTreeMap<String, f64>,
    /// Positions r, s, t_axis, u … z.
    pub has_coordinates: bool,
    /// Model time t.
    pub has_time: bool,
    /// Ψ: re, im, rho, abs, arg.
    pub has_field: bool,
}

/// Names of the coordinates. `t` is model time everywhere, so the position along axis t is `t_axis`.
const COORDINATES: [&str; 9] = ["r", "s", "t_axis", "u", "v", "w", "x", "y", "z"];

const FIELD: [(&str, Variable); 5] = [
    ("re", Variable::Re),
    ("im", Variable::Im),
    ("rho", Variable::Density),
    ("abs", Variable::Modulus),
    ("arg", Variable::Argument),
];

impl Scope<'_> {
    /// Every name that may stand here, in order of presentation.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        if self.has_coordinates {
            names.extend(COORDINATES.map(String::from));
        }
        if self.has_time {
            names.push("t".into());
        }
        if self.has_field {
            names.extend(FIELD.map(|(name, _)| name.to_string()));
        }
        names.extend(CONSTANTS.iter().take(3).map(|(name, _)| (*name).to_string()));
        names.extend(self.constants.keys().filter(|name| !is_automatic(name)).cloned());
        names
    }

    /// The names as an error lists them: those every scene has in short.
    fn listing(&self) -> String {
        let mut listing = self.names().join(" ");
        if self.constants.contains_key("dt") {
            listing.push_str(" dt L_r … L_z N_r … N_z");
        }
        listing
    }

    fn lookup(&self, name: &str) -> Option<Node> {
        if let Some(position) = COORDINATES.iter().position(|coordinate| *coordinate == name) {
            return self.has_coordinates.then(|| Node::Variable(Variable::Coordinate(Axis::ALL[position])));
        }
        if name == "t" {
            return self.has_time.then_some(Node::Variable(Variable::Time));
        }
        if let Some((_, variable)) = FIELD.iter().find(|(field, _)| *field == name) {
            return self.has_field.then_some(Node::Variable(*variable));
        }
        let built_in = CONSTANTS.iter().find(|(constant, _)| *constant == name).map(|(_, value)| *value);
        built_in.or_else(|| self.constants.get(name).copied()).map(Node::Number)
    }
}

/// Constants that every scene has: L_x (period) and N_x (nodes) per axis, and dt.
fn is_automatic(name: &str) -> bool {
    name == "dt" || name.starts_with("L_") || name.starts_with("N_")
}

/// Whether a scene may not define a constant of this name.
pub fn is_reserved(name: &str) -> bool {
    name == "t"
        || is_automatic(name)
        || COORDINATES.contains(&name)
        || FIELD.iter().any(|(field, _)| *field == name)
        || CONSTANTS.iter().any(|(constant, _)| *constant == name)
        || FUNCTIONS.iter().any(|function| function.name == name)
}

/// Why a text is not an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    /// The expression, one line.
    pub text: String,
    /// Character at which it stops making sense, from 0.
    pub column: usize,
    /// What is there.
    pub found: String,
    /// What could stand there.
    pub expected: String,
    /// What to do.
    pub remedy: String,
}

impl ExpressionError {
    pub(super) fn at(
        text: &str,
        column: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        // Long expressions are shown from a little before the mark.
        let first = if column > 80 { column - 40 } else { 0 };
        let shown: String = text.chars().skip(first).collect();
        let shown = excerpt(&shown, 160);
        let (text, column) =
            if first == 0 { (shown, column) } else { (format!("…{shown}"), column - first + 1) };
        Self { text, column, found: found.into(), expected: expected.into(), remedy: remedy.into() }
    }
}

/// Parses and folds `text`.
///
/// # Errors
/// [`ExpressionError`] marks the first character that does not fit.
pub fn parse(text: &str, scope: Scope<'_>) -> Result<Node, ExpressionError> {
    let length = text.chars().take(EXPRESSION_CHARS_MAX + 1).count();
    if length > EXPRESSION_CHARS_MAX {
        return Err(ExpressionError::at(
            text,
            0,
            "a longer text",
            format!("at most {EXPRESSION_CHARS_MAX} characters"),
            "split it into a Sum, or name parts of it under `constants`",
        ));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { text, tokens, next: 0, depth: 0, scope };
    let node = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(node.fold(None)),
        Token::Symbol(")") => {
            Err(parser.fault("an operator or the end", "remove this `)` or open it earlier"))
        }
        Token::Name(_) | Token::Number(_) | Token::Symbol("(") => {
            Err(parser.fault("an operator or the end", "write products with `*`, e.g. 2*x"))
        }
        _ => Err(parser.fault("an operator or the end", "remove the rest of the expression")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    scope: Scope<'a>,
}

/// Binding strength of signs: above products, below powers.
const SIGN_STRENGTH: u8 = 6;

fn binary(symbol: &str) -> Option<(u8, Binary)> {
    Some(match symbol {
        "||" => (1, Binary::Or),
        "&&" => (2, Binary::And),
        "<" => (3, Binary::Less),
        "<=" => (3, Binary::LessEqual),
        ">" => (3, Binary::Greater),
        ">=" => (3, Binary::GreaterEqual),
        "==" => (3, Binary::Equal),
        "!=" => (3, Binary::NotEqual),
        "+" => (4, Binary::Add),
        "-" => (4, Binary::Subtract),
        "*" | "·" => (5, Binary::Multiply),
        "/" => (5, Binary::Divide),
        "^" | "**" => (7, Binary::Power),
        _ => return None,
    })
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // `next` stops at the last token, which is End.
        &self.tokens[self.next].1
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.next].1.clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn fault(&self, expected: impl Into<String>, remedy: impl Into<String>) -> ExpressionError {
        let (column, token) = &self.tokens[self.next];
        ExpressionError::at(self.text, *column, token.describe(), expected, remedy)
    }

    fn expression(&mut self, strength_min: u8) -> Result<Node, ExpressionError> {
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            return Err(self.fault(
                format!("at most {EXPRESSION_DEPTH_MAX} levels of nesting"),
                "name parts of the expression under `constants`, or use a Sum",
            ));
        }
        let mut left = self.operand()?;
        while let Token::Symbol(symbol) = self.peek() {
            let Some((strength, operator)) = binary(symbol) else { break };
            if strength < strength_min {
                break;
            }
            self.advance();
            // Powers group to the right and their exponent may carry a sign.
            let right = if operator == Binary::Power {
                self.expression(SIGN_STRENGTH)?
            } else {
                self.expression(strength + 1)?
            };
            left = Node::Binary(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operand(&mut self) -> Result<Node, ExpressionError> {
        match self.peek().clone() {
            Token::Number(value) => {
                self.advance();
                Ok(Node::Number(value))
            }
            Token::Symbol("-") => {
                self.advance();
                Ok(Node::Negate(Box::new(self.expression(SIGN_STRENGTH)?)))
            }
            Token::Symbol("+") => {
                self.advance();
                self.expression(SIGN_STRENGTH)
            }
            Token::Symbol("(") => {
                self.advance();
                let inner = self.expression(0)?;
                self.close("`)` or an operator")?;
                Ok(inner)
            }
            Token::Name(name) => self.name(&name),
            Token::End => Err(self.fault("a number, a name or `(`", "complete the expression")),
            Token::Symbol(_) => {
                Err(self.fault("a number, a name or `(`", "remove it, or put an operand before it"))
            }
        }
    }

    fn close(&mut self, expected: &str) -> Result<(), ExpressionError> {
        if *self.peek() == Token::Symbol(")") {
            self.advance();
            return Ok(());
        }
        let remedy = match self.peek() {
            Token::End => "close the bracket with `)`",
            Token::Symbol(",") => "remove the comma; decimals are written with a point",
            _ => "write products with `*`, e.g. 2*x, or close the bracket",
        };
        Err(self.fault(expected, remedy))
    }

    fn name(&mut self, name: &str) -> Result<Node, ExpressionError> {
        let is_call = matches!(self.tokens.get(self.next + 1), Some((_, Token::Symbol("("))));
        if is_call {
            return match FUNCTIONS.iter().find(|function| function.name == name) {
                Some(function) => self.call(function),
                None => Err(self.unknown_function(name)),
            };
        }
        match self.scope.lookup(name) {
            Some(node) => {
                self.advance();
                Ok(node)
            }
            None => Err(self.unknown_name(name)),
        }
    }

    fn call(&mut self, function: &'static Function) -> Result<Node, ExpressionError> {
        let start = self.next;
        self.advance();
        self.advance();
        let mut arguments = Vec::new();
        if *self.peek() != Token::Symbol(")") {
            arguments.push(self.expression(0)?);
            while *self.peek() == Token::Symbol(",") {
                self.advance();
                arguments.push(self.expression(0)?);
            }
        }
        self.close("`,` or `)`")?;
        if arguments.len() != function.arity() {
            let column = self.tokens[start].0;
            return Err(ExpressionError::at(
                self.text,
                column,
                format!("`{}` with {} argument(s)", function.name, arguments.len()),
                function.signature,
                format!("give it {} argument(s)", function.arity()),
            ));
        }
        Ok(Node::Call(function, arguments))
    }

    fn unknown_function(&self, name: &str) -> ExpressionError {
        let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
        let remedy = if self.scope.lookup(name).is_some() {
            format!("`{name}` is not a function; write products with `*`, e.g. {name}*(…)")
        } else {
            suggestion(name, names.iter().copied(), "use one of the functions listed")
        };
        let mut fault = self.fault(format!("one of {}", names.join(" ")), remedy);
        fault.found = format!("the function `{name}`");
        fault
    }

    fn unknown_name(&self, name: &str) -> ExpressionError {
        let names = self.scope.names();
        let is_field = FIELD.iter().any(|(field, _)| *field == name);
        let remedy = if name == "t" {
            "model time does not exist here; the position along axis t is written `t_axis`".to_string()
        } else if COORDINATES.contains(&name) {
            "this value is one number for the whole torus; remove the coordinate".to_string()
        } else if FUNCTIONS.iter().any(|function| function.name == name) {
            format!("`{name}` is a function: write {name}(…)")
        } else if is_field {
            "the field Ψ is known to observables only".to_string()
        } else {
            {
                let automatic = self.scope.constants.keys().filter(|name| is_automatic(name));
                let known = names.iter().chain(automatic).map(String::as_str);
                suggestion(name, known, "define it under `constants`")
            }
        };
        let mut fault = self.fault(format!("one of {}", self.scope.listing()), remedy);
        fault.found = format!("the name `{name}`");
        fault
    }
}
