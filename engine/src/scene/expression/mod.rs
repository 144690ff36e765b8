//! Mathematical expressions of coordinates, time and field.
//!
//! Invariant: an expression that parses evaluates without panicking for every input, and gives the same bits on
//! every platform: arithmetic is IEEE, every transcendental function comes from the `libm` crate.
//!
//! Grammar, weakest first: `a || b`, `a && b`, comparisons (1 or 0), `a + b`, `a * b`, `-a`, `a ^ b` (to the
//! right), then numbers, names, `f(a, …)` and parentheses. `-x^2` is −(x²), as in print.
//!
//! Why an own parser. The crates that are kept up were weighed: `exmex` binds signs tighter than powers (its
//! `exp(-x^2)` grows), has no function of three arguments and reports no positions; `evalexpr` divides integers
//! (`1/2 = 0`) and boxes every value. Scenes need the caret under the offending character, the list of names that
//! are allowed at that place, and blocks of nodes evaluated per instruction.

mod ast;
mod function;
mod lexer;
mod parser;
mod program;

pub use ast::{Binary, Node, Variable};
pub use function::{CONSTANTS, FUNCTIONS, wrap};
pub use parser::{ExpressionError, Scope, is_reserved, parse};
pub use program::{BLOCK, Inputs, Program};

#[cfg(test)]
mod tests;
