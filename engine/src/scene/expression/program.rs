//! The tree as a list of instructions, run over blocks of nodes.
//! Invariant: the result of a node does not depend on the block it falls into; nothing allocates per block.

use super::ast::{Binary, Node, Variable};
use super::function::Body;

/// Nodes per block: a column of 256 numbers is 2 kB, and a stack of them stays in the first-level cache.
pub const BLOCK: usize = 256;

/// Columns of the variables for one block, indexed by [`Variable::slot`]; those not used stay empty.
pub type Inputs<'a> = [&'a [f64]; Variable::SLOTS];

#[derive(Debug, Clone, Copy)]
enum Instruction {
    Number(f64),
    Load(usize),
    Negate,
    Binary(Binary),
    /// top ∘ constant.
    BinaryNumber(Binary, f64),
    /// constant ∘ top.
    NumberBinary(f64, Binary),
    One(fn(f64) -> f64),
    Two(fn(f64, f64) -> f64),
    Three(fn(f64, f64, f64) -> f64),
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Program {
    instructions: Vec<Instruction>,
    columns: usize,
    uses: [bool; Variable::SLOTS],
}

impl Program {
    /// Compiles a tree.
    pub fn new(node: &Node) -> Self {
        let mut program = Self { instructions: Vec::new(), columns: 0, uses: [false; Variable::SLOTS] };
        program.emit(node, 1);
        program
    }

    /// Whether the variable of this slot is read.
    pub fn uses(&self, slot: usize) -> bool {
        self.uses[slot]
    }

    fn emit(&mut self, node: &Node, depth: usize) {
        self.columns = self.columns.max(depth);
        match node {
            Node::Number(value) => self.instructions.push(Instruction::Number(*value)),
            Node::Variable(variable) => {
                self.uses[variable.slot()] = true;
                self.instructions.push(Instruction::Load(variable.slot()));
            }
            Node::Negate(a) => {
                self.emit(a, depth);
                self.instructions.push(Instruction::Negate);
            }
            Node::Binary(operator, a, b) => match (a.number(), b.number()) {
                (_, Some(value)) => {
                    self.emit(a, depth);
                    self.instructions.push(Instruction::BinaryNumber(*operator, value));
                }
                (Some(value), None) => {
                    self.emit(b, depth);
                    self.instructions.push(Instruction::NumberBinary(value, *operator));
                }
                (None, None) => {
                    self.emit(a, depth);
                    self.emit(b, depth + 1);
                    self.instructions.push(Instruction::Binary(*operator));
                }
            },
            Node::Call(function, arguments) => {
                for (i, argument) in arguments.iter().enumerate() {
                    self.emit(argument, depth + i);
                }
                self.instructions.push(match function.body {
                    Body::One(f) => Instruction::One(f),
                    Body::Two(f) => Instruction::Two(f),
                    Body::Three(f) => Instruction::Three(f),
                });
            }
        }
    }

    /// Evaluates `out.len()` ≤ [`BLOCK`] nodes. `stack` is scratch that grows once.
    pub fn run(&self, inputs: &Inputs<'_>, stack: &mut Vec<f64>, out: &mut [f64]) {
        let n = out.len();
        assert!(n <= BLOCK, "a block has at most {BLOCK} nodes");
        stack.resize(self.columns.max(1) * BLOCK, 0.0);
        let mut top = 0;
        for instruction in &self.instructions {
            match *instruction {
                Instruction::Number(value) => {
                    stack[top * BLOCK..][..n].fill(value);
                    top += 1;
                }
                Instruction::Load(slot) => {
                    stack[top * BLOCK..][..n].copy_from_slice(&inputs[slot][..n]);
                    top += 1;
                }
                Instruction::Negate => column(stack, top - 1, n).iter_mut().for_each(|a| *a = -*a),
                Instruction::BinaryNumber(operator, b) => {
                    combine(operator, column(stack, top - 1, n), |operator, a| operator.apply(a, b));
                }
                Instruction::NumberBinary(a, operator) => {
                    combine(operator, column(stack, top - 1, n), |operator, b| operator.apply(a, b));
                }
                Instruction::Binary(operator) => {
                    let (low, high) = stack.split_at_mut((top - 1) * BLOCK);
                    let a = &mut low[(top - 2) * BLOCK..][..n];
                    pairwise(operator, a, &high[..n]);
                    top -= 1;
                }
                Instruction::One(f) => column(stack, top - 1, n).iter_mut().for_each(|a| *a = f(*a)),
                Instruction::Two(f) => {
                    let (low, high) = stack.split_at_mut((top - 1) * BLOCK);
                    let a = &mut low[(top - 2) * BLOCK..][..n];
                    a.iter_mut().zip(&high[..n]).for_each(|(a, b)| *a = f(*a, *b));
                    top -= 1;
                }
                Instruction::Three(f) => {
                    let (low, high) = stack.split_at_mut((top - 2) * BLOCK);
                    let a = &mut low[(top - 3) * BLOCK..][..n];
                    for i in 0..n {
                        a[i] = f(a[i], high[i], high[BLOCK + i]);
                    }
                    top -= 2;
                }
            }
        }
        out.copy_from_slice(&stack[..n]);
    }
}

fn column(stack: &mut [f64], index: usize, n: usize) -> &mut [f64] {
    &mut stack[index * BLOCK..][..n]
}

/// One loop per operator, so that the arithmetic ones become vector code.
fn combine(operator: Binary, values: &mut [f64], apply: impl Fn(Binary, f64) -> f64) {
    match operator {
        Binary::Add => values.iter_mut().for_each(|a| *a = apply(Binary::Add, *a)),
        Binary::Subtract => values.iter_mut().for_each(|a| *a = apply(Binary::Subtract, *a)),
        Binary::Multiply => values.iter_mut().for_each(|a| *a = apply(Binary::Multiply, *a)),
        Binary::Divide => values.iter_mut().for_each(|a| *a = apply(Binary::Divide, *a)),
        other => values.iter_mut().for_each(|a| *a = apply(other, *a)),
    }
}

fn pairwise(operator: Binary, a: &mut [f64], b: &[f64]) {
    let pairs = a.iter_mut().zip(b);
    match operator {
        Binary::Add => pairs.for_each(|(a, b)| *a += b),
        Binary::Subtract => pairs.for_each(|(a, b)| *a -= b),
        Binary::Multiply => pairs.for_each(|(a, b)| *a *= b),
        Binary::Divide => pairs.for_each(|(a, b)| *a /= b),
        other => pairs.for_each(|(a, b)| *a = other.apply(*a, *b)),
    }
}
