//! Potentials: named forms, formulas and their time-dependent terms.
//!
//! Invariant: V(x, t) = static part + drive; terms without `t` never enter the drive, so that a static potential
//! costs nothing per tick.

use super::context::{Context, Names};
use super::error::SceneError;
use super::evaluate::{Drive, Grid, RealExpression};
use super::expression::{Node, wrap};
use super::forms::PotentialForm;
use super::from_npy;
use super::limits::LIST_MAX;
use super::quantity::{PerAxis, Quantity};
use super::remembered;
use super::survey::{self, BadNode};
use core::f64::consts::PI;
use nikola_components::fill::{Profile, RealFill, TimePotential};
use nikola_components::geometry::axis::Axis;
use std::path::Path;
use std::sync::Arc;

/// A potential, ready for a setup.
pub struct Potential {
    /// The static part.
    pub profile: Profile,
    /// The rest.
    pub drive: Option<Arc<dyn TimePotential>>,
    /// Least and greatest value at t = 0 … of the static part.
    pub range: (f64, f64),
}

/// Σ_d table_d(x_d).
struct Additive {
    grid: Arc<Grid>,
    tables: [Option<Vec<f64>>; 9],
}

impl RealFill for Additive {
    fn fill(&self, page: usize, out: &mut [f64]) {
        self.grid.torus.for_each_node(page, |i, node| {
            out[i] =
                (0..9).fold(0.0, |sum, d| sum + self.tables[d].as_ref().map_or(0.0, |table| table[node[d]]));
        });
    }
}

struct RealSum(Vec<Arc<dyn RealFill>>);

impl RealFill for RealSum {
    fn fill(&self, page: usize, out: &mut [f64]) {
        out.fill(0.0);
        let mut part = vec![0.0; out.len()];
        for fill in &self.0 {
            fill.fill(page, &mut part);
            out.iter_mut().zip(&part).for_each(|(sum, value)| *sum += value);
        }
    }
}

/// Builder of one scene's potential.
pub struct PotentialBuilder<'a> {
    /// Constants and positions in the text.
    pub context: &'a Context<'a>,
    /// The torus.
    pub grid: Arc<Grid>,
    /// Folder of the scene.
    pub base_dir: &'a Path,
    /// Model time at the end of the run: drives are probed at its start, middle and end.
    pub end: f64,
}

/// The parts of a potential, by their nature.
#[derive(Default)]
struct Parts {
    constant: f64,
    fills: Vec<Arc<dyn RealFill>>,
    drives: Vec<Node>,
}

impl PotentialBuilder<'_> {
    /// Builds and surveys the form.
    ///
    /// # Errors
    /// Any value of the form that cannot be used, by field; any node where it is not finite.
    pub fn build(&self, form: &PotentialForm) -> Result<Potential, SceneError> {
        let mut parts = Parts::default();
        self.gather(form, "potential", &mut parts)?;
        let drive = parts
            .drives
            .into_iter()
            .reduce(|a, b| Node::Binary(super::expression::Binary::Add, Box::new(a), Box::new(b)));
        let drive = drive.map(|node| Arc::new(Drive::new(self.grid.clone(), node)) as Arc<dyn TimePotential>);
        if parts.fills.is_empty() {
            let range = (parts.constant, parts.constant);
            return Ok(Potential { profile: Profile::Uniform(parts.constant), drive, range });
        }
        let constant = parts.constant;
        if constant != 0.0 {
            parts.fills.push(Arc::new(move |_: usize, out: &mut [f64]| out.fill(constant)));
        }
        let fill: Arc<dyn RealFill> = match parts.fills.len() {
            1 => parts.fills.remove(0),
            _ => Arc::new(RealSum(parts.fills)),
        };
        let fill = remembered::real(&self.grid, fill);
        let summary =
            survey::real(&self.grid, fill.as_ref()).map_err(|bad| self.not_finite("potential", &bad))?;
        Ok(Potential { profile: Profile::PerNode(fill), drive, range: (summary.least, summary.greatest) })
    }

    fn not_finite(&self, path: &str, bad: &BadNode) -> SceneError {
        self.context.not_finite(path, bad)
    }

    fn gather(&self, form: &PotentialForm, path: &str, parts: &mut Parts) -> Result<(), SceneError> {
        match form {
            PotentialForm::Zero => {}
            PotentialForm::Harmonic { omega, centre } => {
                parts.fills.push(self.harmonic(omega, centre, path)?)
            }
            PotentialForm::Box { height, width, centre } => {
                parts.fills.push(self.walls(height, width, centre, path)?);
            }
            PotentialForm::Lattice { depth, periods } => {
                parts.fills.push(self.lattice(depth, periods, path)?)
            }
            PotentialForm::Expr(text) => self.formula(text, path, parts)?,
            PotentialForm::FromNpy(file) => {
                parts.fills.push(from_npy::real(self.context, &self.grid, self.base_dir, file, path)?);
            }
            PotentialForm::Sum(forms) => {
                if forms.is_empty() || forms.len() > LIST_MAX {
                    return Err(self.context.value(
                        path,
                        format!("{} parts", forms.len()),
                        format!("1 to {LIST_MAX} potentials"),
                        "put the potentials into the list, or write Zero",
                    ));
                }
                for (i, form) in forms.iter().enumerate() {
                    self.gather(form, &format!("{path}[{i}]"), parts)?;
                }
            }
        }
        Ok(())
    }

    fn formula(&self, text: &str, path: &str, parts: &mut Parts) -> Result<(), SceneError> {
        let node = self.context.expression(text, path, Names::SpaceTime)?;
        let (fixed, moving) = node.split_time();
        if let Some(fixed) = fixed.map(|node| node.fold(None)) {
            match fixed.number() {
                Some(value) if value.is_finite() => parts.constant += value,
                _ => {
                    let fill = RealExpression::new(self.grid.clone(), &fixed);
                    survey::real(&self.grid, &fill).map_err(|bad| self.not_finite(path, &bad))?;
                    parts.fills.push(Arc::new(fill));
                }
            }
        }
        if let Some(moving) = moving {
            for time in [0.0, 0.5 * self.end, self.end] {
                let probe = RealExpression::new(self.grid.clone(), &moving.fold(Some(time)));
                survey::real(&self.grid, &probe).map_err(|mut bad| {
                    bad.node.push_str(&format!(" at t = {time}"));
                    self.not_finite(path, &bad)
                })?;
            }
            parts.drives.push(moving);
        }
        Ok(())
    }

    /// Checks the axes of `values` and gives the centre per axis.
    fn centred(
        &self,
        values: &PerAxis<Quantity>,
        name: &str,
        centre: &PerAxis<Quantity>,
        path: &str,
    ) -> Result<[f64; 9], SceneError> {
        self.context.active(values, &format!("{path}.{name}"), &self.grid.torus)?;
        self.context.active(centre, &format!("{path}.centre"), &self.grid.torus)?;
        self.context.per_axis(centre, &format!("{path}.centre"), 0.0)
    }

    fn additive(&self, term: impl Fn(usize, f64) -> Option<f64>) -> Arc<dyn RealFill> {
        let tables = core::array::from_fn(|d| {
            let is_active = self.grid.torus.extents()[d] > 1;
            self.grid.lines[d].iter().map(|&x| if is_active { term(d, x) } else { None }).collect()
        });
        Arc::new(Additive { grid: self.grid.clone(), tables })
    }

    fn harmonic(
        &self,
        omega: &PerAxis<Quantity>,
        centre: &PerAxis<Quantity>,
        path: &str,
    ) -> Result<Arc<dyn RealFill>, SceneError> {
        let centres = self.centred(omega, "omega", centre, path)?;
        let omegas = self.context.per_axis(omega, &format!("{path}.omega"), 0.0)?;
        let lengths = *self.grid.torus.lengths();
        Ok(self.additive(|d, x| {
            let scaled = omegas[d] * wrap(x - centres[d], lengths[d]);
            (omegas[d] != 0.0).then_some(0.5 * scaled * scaled)
        }))
    }

    fn lattice(
        &self,
        depth: &Quantity,
        periods: &PerAxis<Quantity>,
        path: &str,
    ) -> Result<Arc<dyn RealFill>, SceneError> {
        self.context.active(periods, &format!("{path}.periods"), &self.grid.torus)?;
        let depth = self.context.number(depth, &format!("{path}.depth"))?;
        let mut counts = [0; 9];
        for axis in Axis::ALL {
            let extent = self.grid.torus.extents()[axis.index()];
            if let Some(quantity) = periods.get(axis).filter(|_| extent > 1) {
                let field = format!("{path}.periods.{}", periods.key(axis));
                counts[axis.index()] = self.context.whole(quantity, &field, 0, extent as i64 / 2)?;
            }
        }
        let lengths = *self.grid.torus.lengths();
        Ok(self.additive(|d, x| {
            let sine = libm::sin(PI * counts[d] as f64 * x / lengths[d]);
            (counts[d] != 0).then_some(depth * sine * sine)
        }))
    }

    fn walls(
        &self,
        height: &Quantity,
        width: &PerAxis<Quantity>,
        centre: &PerAxis<Quantity>,
        path: &str,
    ) -> Result<Arc<dyn RealFill>, SceneError> {
        let centres = self.centred(width, "width", centre, path)?;
        let height = self.context.number(height, &format!("{path}.height"))?;
        let mut halves = [f64::INFINITY; 9];
        for axis in Axis::ALL {
            if let Some(quantity) = width.get(axis) {
                let field = format!("{path}.width.{}", width.key(axis));
                halves[axis.index()] = 0.5 * self.context.positive(quantity, &field)?;
            }
        }
        let grid = self.grid.clone();
        Ok(Arc::new(move |page: usize, out: &mut [f64]| {
            let lengths = grid.torus.lengths();
            grid.torus.for_each_node(page, |i, node| {
                let is_outside = (0..9).any(|d| {
                    let distance = wrap(grid.lines[d][node[d]] - centres[d], lengths[d]);
                    grid.torus.extents()[d] > 1 && distance.abs() > halves[d]
                });
                out[i] = if is_outside { height } else { 0.0 };
            });
        }))
    }
}
