//! Expressions on a torus: positions from per-axis tables, blocks of nodes through the compiled program.
//! Invariant: the value at a node depends on the node only, not on page, block or thread.

use super::expression::{BLOCK, Inputs, Node, Program, Variable};
use nikola_components::fill::{ComplexFill, RealFill, TimePotential};
use nikola_components::geometry::axis::Axis;
use nikola_components::growth::GrowthRule;
use nikola_components::torus::Torus;
use std::sync::{Arc, OnceLock};

/// A torus with the position of every grid line: 8 bytes per node of each axis.
#[derive(Debug)]
pub struct Grid {
    /// The torus.
    pub torus: Torus,
    /// Positions along r…z.
    pub lines: [Vec<f64>; 9],
    /// Present on a sparse torus.
    pub growth: Option<GrowthRule>,
    /// Pages of a sparse torus that are active at the start: where real profiles are surveyed.
    pub initial_pages: OnceLock<Vec<usize>>,
}

impl Grid {
    /// Tabulates the positions.
    pub fn new(torus: Torus, growth: Option<GrowthRule>) -> Arc<Self> {
        let lines = Axis::ALL.map(|axis| {
            (0..torus.extents()[axis.index()]).map(|i| torus.coordinate(axis, i)).collect::<Vec<f64>>()
        });
        Arc::new(Self { torus, lines, growth, initial_pages: OnceLock::new() })
    }

    /// Position of a node along r…z.
    pub fn position(&self, node: &[usize; 9]) -> [f64; 9] {
        core::array::from_fn(|d| self.lines[d][node[d]])
    }
}

/// Columns of positions and field for one block; allocated once per call.
pub struct Columns {
    columns: [Vec<f64>; Variable::SLOTS],
    stack: Vec<f64>,
}

impl Columns {
    /// Scratch for `programs`: only variables that are read get a column.
    pub fn new<'a>(programs: impl IntoIterator<Item = &'a Program> + Clone) -> Self {
        let columns = core::array::from_fn(|slot| {
            let is_used = programs.clone().into_iter().any(|program| program.uses(slot));
            if is_used { vec![0.0; BLOCK] } else { Vec::new() }
        });
        Self { columns, stack: Vec::new() }
    }

    /// Fills the positions of `length` nodes from `start` on; `node` is the odometer, which is advanced.
    pub fn walk(&mut self, grid: &Grid, node: &mut [usize; 9], length: usize) {
        let storage = grid.torus.storage();
        for d in 0..9 {
            if grid.torus.extents()[d] == 1 && !self.columns[d].is_empty() {
                self.columns[d].fill(grid.lines[d][0]);
            }
        }
        let read = storage.iter().map(|axis| axis.index()).filter(|d| !self.columns[*d].is_empty());
        let (mut axes, mut n_axes) = ([0; 9], 0);
        for d in read {
            axes[n_axes] = d;
            n_axes += 1;
        }
        for i in 0..length {
            for &d in &axes[..n_axes] {
                self.columns[d][i] = grid.lines[d][node[d]];
            }
            grid.torus.step(node);
        }
    }

    /// Sets the same value on the whole block.
    pub fn set(&mut self, variable: Variable, value: f64) {
        self.columns[variable.slot()].fill(value);
    }

    /// Derives the columns of Ψ that are read from its two planes (at most [`BLOCK`] nodes).
    pub fn set_field(&mut self, re: &[f64], im: &[f64]) {
        let mut derive = |variable: Variable, f: &dyn Fn(f64, f64) -> f64| {
            let column = &mut self.columns[variable.slot()];
            for (slot, (re, im)) in column.iter_mut().zip(re.iter().zip(im)) {
                *slot = f(*re, *im);
            }
        };
        derive(Variable::Re, &|re, _| re);
        derive(Variable::Im, &|_, im| im);
        derive(Variable::Density, &|re, im| re * re + im * im);
        derive(Variable::Modulus, &|re, im| libm::sqrt(re * re + im * im));
        derive(Variable::Argument, &|re, im| libm::atan2(im, re));
    }

    /// Runs a program on the block.
    pub fn run(&mut self, program: &Program, out: &mut [f64]) {
        let inputs: Inputs<'_> = core::array::from_fn(|slot| self.columns[slot].as_slice());
        program.run(&inputs, &mut self.stack, out);
    }
}

/// A real expression of position.
pub struct RealExpression {
    grid: Arc<Grid>,
    program: Program,
}

impl RealExpression {
    /// Compiles a tree without time or field.
    pub fn new(grid: Arc<Grid>, node: &Node) -> Self {
        Self { grid, program: Program::new(node) }
    }
}

impl RealFill for RealExpression {
    fn fill(&self, page: usize, out: &mut [f64]) {
        evaluate(&self.grid, &self.program, page, out);
    }
}

fn evaluate(grid: &Grid, program: &Program, page: usize, out: &mut [f64]) {
    let mut columns = Columns::new([program]);
    let mut node = grid.torus.node(page, 0);
    for block in out.chunks_mut(BLOCK) {
        columns.walk(grid, &mut node, block.len());
        columns.run(program, block);
    }
}

/// Two real expressions as the parts of a complex field.
pub struct ComplexExpression {
    /// Positions.
    pub grid: Arc<Grid>,
    /// Real part, or modulus.
    pub first: Program,
    /// Imaginary part, or phase.
    pub second: Program,
    /// Whether the two are modulus and phase.
    pub is_polar: bool,
}

impl ComplexFill for ComplexExpression {
    fn fill(&self, page: usize, re: &mut [f64], im: &mut [f64]) {
        evaluate(&self.grid, &self.first, page, re);
        evaluate(&self.grid, &self.second, page, im);
        if self.is_polar {
            for (re, im) in re.iter_mut().zip(im) {
                let (modulus, phase) = (*re, *im);
                *re = modulus * libm::cos(phase);
                *im = modulus * libm::sin(phase);
            }
        }
    }
}

/// The time-dependent terms of a potential. What depends on time alone is folded anew at every tick, so that
/// `x*sin(w*t)` costs one product per node.
pub struct Drive {
    grid: Arc<Grid>,
    node: Node,
}

impl Drive {
    /// Keeps a tree of position and time.
    pub fn new(grid: Arc<Grid>, node: Node) -> Self {
        Self { grid, node }
    }
}

impl TimePotential for Drive {
    fn add(&self, t: f64, page: usize, v: &mut [f64]) {
        let program = Program::new(&self.node.fold(Some(t)));
        let mut columns = Columns::new([&program]);
        let mut node = self.grid.torus.node(page, 0);
        let mut values = [0.0; BLOCK];
        for block in v.chunks_mut(BLOCK) {
            let values = &mut values[..block.len()];
            columns.walk(&self.grid, &mut node, values.len());
            columns.run(&program, values);
            block.iter_mut().zip(values).for_each(|(v, value)| *v += *value);
        }
    }
}
