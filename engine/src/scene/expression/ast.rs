//! The tree of an expression, folding of constants, and the split into static and time-dependent terms.
//! Invariant: folding changes no value: a folded node is what the program would have computed.

use super::function::{Function, power};
use nikola_components::geometry::axis::Axis;

/// What an expression may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// Position along an axis, model units.
    Coordinate(Axis),
    /// Model time.
    Time,
    /// Re Ψ.
    Re,
    /// Im Ψ.
    Im,
    /// ρ = |Ψ|².
    Density,
    /// |Ψ|.
    Modulus,
    /// arg Ψ in (−π, π].
    Argument,
}

impl Variable {
    /// Index into the table of inputs.
    pub fn slot(self) -> usize {
        match self {
            Self::Coordinate(axis) => axis.index(),
            Self::Time => 9,
            Self::Re => 10,
            Self::Im => 11,
            Self::Density => 12,
            Self::Modulus => 13,
            Self::Argument => 14,
        }
    }

    /// Number of slots.
    pub const SLOTS: usize = 15;
}

/// Operators of two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// a + b.
    Add,
    /// a − b.
    Subtract,
    /// a·b.
    Multiply,
    /// a/b.
    Divide,
    /// a^b.
    Power,
    /// a < b.
    Less,
    /// a ≤ b.
    LessEqual,
    /// a > b.
    Greater,
    /// a ≥ b.
    GreaterEqual,
    /// a = b.
    Equal,
    /// a ≠ b.
    NotEqual,
    /// Both non-zero.
    And,
    /// Either non-zero.
    Or,
}

impl Binary {
    /// Value on two numbers.
    pub fn apply(self, a: f64, b: f64) -> f64 {
        let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::Power => power(a, b),
            _ if a.is_nan() || b.is_nan() => f64::NAN,
            Self::Less => truth(a < b),
            Self::LessEqual => truth(a <= b),
            Self::Greater => truth(a > b),
            Self::GreaterEqual => truth(a >= b),
            Self::Equal => truth(a == b),
            Self::NotEqual => truth(a != b),
            Self::And => truth(a != 0.0 && b != 0.0),
            Self::Or => truth(a != 0.0 || b != 0.0),
        }
    }
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A number.
    Number(f64),
    /// A variable.
    Variable(Variable),
    /// −a.
    Negate(Box<Node>),
    /// a ∘ b.
    Binary(Binary, Box<Node>, Box<Node>),
    /// f(a, …).
    Call(&'static Function, Vec<Node>),
}

impl Node {
    /// Whether `predicate` holds for some variable of the tree.
    pub fn any(&self, predicate: &dyn Fn(Variable) -> bool) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Variable(variable) => predicate(*variable),
            Self::Negate(a) => a.any(predicate),
            Self::Binary(_, a, b) => a.any(predicate) || b.any(predicate),
            Self::Call(_, arguments) => arguments.iter().any(|argument| argument.any(predicate)),
        }
    }

    /// Whether the value changes with model time.
    pub fn depends_on_time(&self) -> bool {
        self.any(&|variable| variable == Variable::Time)
    }

    /// Whether the value is one number.
    pub fn is_constant(&self) -> bool {
        !self.any(&|_| true)
    }

    /// The same expression with constants folded, and time replaced by `time` if given.
    pub fn fold(&self, time: Option<f64>) -> Node {
        match self {
            Self::Number(value) => Self::Number(*value),
            Self::Variable(Variable::Time) => time.map_or(Self::Variable(Variable::Time), Self::Number),
            Self::Variable(variable) => Self::Variable(*variable),
            Self::Negate(a) => match a.fold(time) {
                Self::Number(value) => Self::Number(-value),
                folded => Self::Negate(Box::new(folded)),
            },
            Self::Binary(operator, a, b) => match (a.fold(time), b.fold(time)) {
                (Self::Number(a), Self::Number(b)) => Self::Number(operator.apply(a, b)),
                (a, b) => Self::Binary(*operator, Box::new(a), Box::new(b)),
            },
            Self::Call(function, arguments) => {
                let folded: Vec<Node> = arguments.iter().map(|argument| argument.fold(time)).collect();
                let numbers: Option<Vec<f64>> = folded.iter().map(Node::number).collect();
                match numbers {
                    Some(numbers) => Self::Number(function.apply(&numbers)),
                    None => Self::Call(function, folded),
                }
            }
        }
    }

    /// The value of a folded constant.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// Splits the top-level sum into the terms without time and those with it.
    pub fn split_time(&self) -> (Option<Node>, Option<Node>) {
        let (mut fixed, mut moving) = (None, None);
        self.scatter(false, &mut fixed, &mut moving);
        (fixed, moving)
    }

    fn scatter(&self, is_negative: bool, fixed: &mut Option<Node>, moving: &mut Option<Node>) {
        match self {
            Self::Binary(Binary::Add, a, b) => {
                a.scatter(is_negative, fixed, moving);
                b.scatter(is_negative, fixed, moving);
            }
            Self::Binary(Binary::Subtract, a, b) => {
                a.scatter(is_negative, fixed, moving);
                b.scatter(!is_negative, fixed, moving);
            }
            Self::Negate(a) => a.scatter(!is_negative, fixed, moving),
            term => {
                let target = if term.depends_on_time() { moving } else { fixed };
                *target = Some(match (target.take(), is_negative) {
                    (None, false) => term.clone(),
                    (None, true) => Self::Negate(Box::new(term.clone())),
                    (Some(sum), negative) => {
                        let operator = if negative { Binary::Subtract } else { Binary::Add };
                        Self::Binary(operator, Box::new(sum), Box::new(term.clone()))
                    }
                });
            }
        }
    }
}
