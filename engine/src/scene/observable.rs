//! Observables of a scene: expressions of Ψ, position and time reduced over the torus.
//!
//! Spelling: `"name = reduction(expression)"` with integral, mean, max or min; the name may be left out;
//! `"<x^2>"` is short for `"mean(x^2)"`. `mean(f)` is ∫ f ρ / ∫ ρ with ρ = |Ψ|². Invariant: f64, fixed order: pages
//! are summed from the first to the last, blocks of 256 nodes within a page likewise.

use super::context::{Context, Names};
use super::error::{SceneError, suggestion};
use super::evaluate::{Columns, Grid};
use super::expression::{BLOCK, Program, Variable};
use std::fmt;
use std::sync::Arc;

/// How an expression is reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// ∫ f = cell volume · Σ f.
    Integral,
    /// ∫ f ρ / ∫ ρ; NaN where ∫ρ = 0.
    Mean,
    /// Greatest value.
    Max,
    /// Least value.
    Min,
}

const REDUCTIONS: [(&str, Reduction); 4] = [
    ("integral", Reduction::Integral),
    ("mean", Reduction::Mean),
    ("max", Reduction::Max),
    ("min", Reduction::Min),
];

/// What one page contributes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Partial {
    value: f64,
    weight: f64,
}

/// A compiled observable.
#[derive(Clone)]
pub struct Observable {
    /// Name in files and summaries.
    pub name: String,
    /// Reduction.
    pub reduction: Reduction,
    /// The expression as written.
    pub expression: String,
    grid: Arc<Grid>,
    program: Program,
    needs_density: Program,
}

impl fmt::Debug for Observable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observable({} = {:?}({}))", self.name, self.reduction, self.expression)
    }
}

impl Observable {
    /// Reads `"name = reduction(expression)"`, found at `path`.
    ///
    /// # Errors
    /// [`SceneError::Value`] for the form, [`SceneError::Expression`] for the expression.
    pub fn new(context: &Context<'_>, grid: Arc<Grid>, text: &str, path: &str) -> Result<Self, SceneError> {
        let (name, body) = split_name(text);
        let (reduction, expression) = split_reduction(body).map_err(|found| {
            let names = REDUCTIONS.map(|(name, _)| name);
            context.value(
                path,
                format!("`{}`", super::error::excerpt(&found, 80)),
                "\"<expression>\" or \"name = reduction(expression)\" with integral, mean, max or min",
                suggestion(
                    &found,
                    names,
                    "e.g. \"<x^2>\", \"max(abs)\" or \"interaction = integral(rho^2)\"",
                ),
            )
        })?;
        let name = if name.is_empty() { body.to_string() } else { name.to_string() };
        let node = context.expression(expression, path, Names::Everything)?;
        let density = super::expression::Node::Variable(Variable::Density);
        Ok(Self {
            name,
            reduction,
            expression: expression.to_string(),
            grid,
            program: Program::new(&node),
            needs_density: Program::new(&density),
        })
    }

    /// The contribution of `page` at model time `t`; `re` and `im` hold Ψ in storage order.
    pub fn eval_page(&self, page: usize, t: f64, re: &[f64], im: &[f64]) -> Partial {
        let mut columns = match self.reduction {
            Reduction::Mean => Columns::new([&self.program, &self.needs_density]),
            _ => Columns::new([&self.program]),
        };
        let mut node = self.grid.torus.node(page, 0);
        let (mut values, mut density) = ([0.0; BLOCK], [0.0; BLOCK]);
        columns.set(Variable::Time, t);
        let mut total = self.empty();
        for (re, im) in re.chunks(BLOCK).zip(im.chunks(BLOCK)) {
            let (values, density) = (&mut values[..re.len()], &mut density[..re.len()]);
            columns.walk(&self.grid, &mut node, re.len());
            columns.set_field(re, im);
            columns.run(&self.program, values);
            if self.reduction == Reduction::Mean {
                columns.run(&self.needs_density, density);
            }
            total = self.combine(total, self.block(values, density));
        }
        total
    }

    fn block(&self, values: &[f64], density: &[f64]) -> Partial {
        match self.reduction {
            Reduction::Integral => Partial { value: values.iter().sum(), weight: 0.0 },
            Reduction::Mean => Partial {
                value: values.iter().zip(density).map(|(value, density)| value * density).sum(),
                weight: density.iter().sum(),
            },
            Reduction::Max | Reduction::Min => values
                .iter()
                .fold(self.empty(), |total, &value| self.combine(total, Partial { value, weight: 0.0 })),
        }
    }

    /// The contribution of no page.
    pub fn empty(&self) -> Partial {
        let value = match self.reduction {
            Reduction::Integral | Reduction::Mean => 0.0,
            Reduction::Max => f64::NEG_INFINITY,
            Reduction::Min => f64::INFINITY,
        };
        Partial { value, weight: 0.0 }
    }

    /// Joins two contributions; a NaN stays.
    pub fn combine(&self, a: Partial, b: Partial) -> Partial {
        let takes_b = match self.reduction {
            Reduction::Integral | Reduction::Mean => {
                return Partial { value: a.value + b.value, weight: a.weight + b.weight };
            }
            Reduction::Max => b.value.is_nan() || b.value > a.value,
            Reduction::Min => b.value.is_nan() || b.value < a.value,
        };
        if takes_b { b } else { a }
    }

    /// The observable's value once every page is in.
    pub fn finish(&self, total: Partial) -> f64 {
        match self.reduction {
            Reduction::Integral => total.value * self.grid.torus.cell_volume(),
            Reduction::Mean => total.value / total.weight,
            Reduction::Max | Reduction::Min => total.value,
        }
    }

    /// The value over `pages`, all of a dense torus or the active ones of a sparse one; `read` gives Ψ of a page in
    /// storage order.
    pub fn evaluate(
        &self,
        t: f64,
        pages: &[usize],
        mut read: impl FnMut(usize, &mut [f64], &mut [f64]),
    ) -> f64 {
        let nodes = self.grid.torus.page_nodes();
        let (mut re, mut im) = (vec![0.0; nodes], vec![0.0; nodes]);
        let total = pages.iter().fold(self.empty(), |total, &page| {
            read(page, &mut re, &mut im);
            self.combine(total, self.eval_page(page, t, &re, &im))
        });
        self.finish(total)
    }
}

/// Splits at the first `=` that is no comparison.
fn split_name(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let is_plain = |i: usize| {
        let before = i.checked_sub(1).and_then(|i| bytes.get(i));
        bytes[i] == b'='
            && bytes.get(i + 1) != Some(&b'=')
            && !matches!(before, Some(b'=' | b'<' | b'>' | b'!'))
    };
    match (0..bytes.len()).find(|&i| is_plain(i)) {
        Some(i) => (text[..i].trim(), text[i + 1..].trim()),
        None => ("", text.trim()),
    }
}

fn split_reduction(body: &str) -> Result<(Reduction, &str), String> {
    if let Some(inner) = body.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
        return Ok((Reduction::Mean, inner));
    }
    let (name, rest) = body.split_once('(').ok_or(body)?;
    let inner = rest.strip_suffix(')').ok_or(body)?;
    let reduction = REDUCTIONS.iter().find(|(known, _)| *known == name.trim()).ok_or(name.trim())?;
    Ok((reduction.1, inner))
}
