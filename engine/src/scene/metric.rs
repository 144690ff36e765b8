//! The metric of a scene: constants, formulas of position, and the rules of a plastic one.
//!
//! Invariant: D^{ij} = c² g^{ij}, c = c0/(1 + ŝ), is symmetric and positive definite at every node when it leaves
//! here. A constant diagonal stays what it always was: nine numbers.

use super::context::{Context, Names};
use super::document::{CellForm, Document, EquationParameters, PlasticityForm};
use super::error::SceneError;
use super::evaluate::{Grid, RealExpression};
use super::expression::Node;
use super::survey::{self, describe};
use nikola_components::fill::{Profile, RealFill};
use nikola_components::geometry::axis::Axis;
use nikola_components::metric::{CellRule, MetricProfile, Plasticity};
use nikola_systems::kernels::metric_update::component;
use std::sync::Arc;

/// Ticks between updates of a cell, at most.
const EVERY_MAX: i64 = 1 << 20;

/// The metric of a scene.
pub struct Metric {
    /// D^{dd} along r…z; the greatest value where it varies.
    pub diffusion: [f64; 9],
    /// D^{ij}(x) where it is no constant diagonal.
    pub profile: Option<MetricProfile>,
    /// The learning rule.
    pub plasticity: Option<Plasticity>,
}

/// c0/(1 + ŝ), a number or a formula.
enum Speed {
    Constant(f64),
    Varying(f64, Arc<RealExpression>),
}

/// Computes and checks the metric.
///
/// # Errors
/// The first component that is no positive definite metric, by node.
pub fn metric(context: &Context<'_>, document: &Document, grid: &Arc<Grid>) -> Result<Metric, SceneError> {
    let EquationParameters { c0, .. } = document.equation.parameters();
    let speed = speed(context, document, context.positive(c0, "equation.c0")?, grid)?;
    let components = components(context, document, grid)?;
    let mut diffusion = [0.0; 9];
    let mut diagonal = [const { Profile::Uniform(0.0) }; 9];
    for (d, component) in components.diagonal.iter().enumerate() {
        (diagonal[d], diffusion[d]) = match &speed {
            Speed::Varying(c0, _) if grid.torus.extents()[d] == 1 => (Profile::Uniform(c0 * c0), c0 * c0),
            speed => profile(speed, component, grid),
        };
    }
    let pairs: Vec<_> =
        components.pairs.iter().map(|(a, b, node)| (*a, *b, profile(&speed, node, grid).0)).collect();
    let is_constant = pairs.is_empty() && diagonal.iter().all(|d| matches!(d, Profile::Uniform(_)));
    if !is_constant && grid.growth.is_some() && grid.torus.n_nodes() > survey::SPARSE_NODES_MAX {
        return Err(context.value(
            "equation.metric",
            format!("a metric that varies on a sparse torus of {} nodes", grid.torus.n_nodes()),
            format!("at most {} nodes, all of which are looked at", survey::SPARSE_NODES_MAX),
            "give the metric constants (a plastic one may be larger), or make the torus smaller",
        ));
    }
    let profile = (!is_constant).then_some(MetricProfile { diagonal, off_diagonal: pairs });
    if let Some(profile) = profile.as_ref().filter(|profile| !profile.off_diagonal.is_empty()) {
        refuse_indefinite(context, profile, grid)?;
    }
    let plasticity = match &document.plasticity {
        None => None,
        Some(form) => Some(plasticity(context, form, &speed)?),
    };
    Ok(Metric { diffusion, profile, plasticity })
}

/// g^{ij} as the scene writes it, without c: numbers where it is constant, 1 for what varies, and all of it where it is no
/// constant diagonal.
///
/// # Errors
/// As [`metric`].
pub fn inverse(
    context: &Context<'_>,
    document: &Document,
    grid: &Arc<Grid>,
) -> Result<([f64; 9], Option<MetricProfile>), SceneError> {
    let Components { diagonal, pairs } = components(context, document, grid)?;
    let constants = diagonal.each_ref().map(|node| node.number().unwrap_or(1.0));
    if pairs.is_empty() && diagonal.iter().all(|node| node.number().is_some()) {
        return Ok((constants, None));
    }
    let of = |node: &Node| profile(&Speed::Constant(1.0), node, grid).0;
    let off_diagonal = pairs.iter().map(|(a, b, node)| (*a, *b, of(node))).collect();
    Ok((constants, Some(MetricProfile { diagonal: diagonal.each_ref().map(of), off_diagonal })))
}

/// g^{ij} of a scene.
struct Components {
    /// g^{dd} along r…z; a number along axes of one node.
    diagonal: [Node; 9],
    /// g^{ij} of different axes.
    pairs: Vec<(Axis, Axis, Node)>,
}

fn components(
    context: &Context<'_>,
    document: &Document,
    grid: &Arc<Grid>,
) -> Result<Components, SceneError> {
    let EquationParameters { metric, off_diagonal, .. } = document.equation.parameters();
    let mut diagonal = [const { Node::Number(1.0) }; 9];
    for axis in Axis::ALL {
        let Some(quantity) = metric.get(axis) else { continue };
        let field = format!("equation.metric.{}", metric.key(axis));
        let node = context.node(quantity, &field, Names::Space)?;
        if node.number().is_some() {
            context.positive(quantity, &field)?;
        } else {
            refuse_not_positive(context, &field, &node, grid)?;
        }
        // An axis of one node has no derivative: whatever stands there stays a number.
        let is_idle = grid.torus.extents()[axis.index()] == 1 && node.number().is_none();
        diagonal[axis.index()] = if is_idle { Node::Number(1.0) } else { node };
    }
    let mut pairs = Vec::new();
    for (name, quantity) in &off_diagonal.0 {
        let field = format!("equation.off_diagonal.{name}");
        let (a, b) = pair(context, &field, name, grid, &pairs)?;
        let node = context.node(quantity, &field, Names::Space)?;
        if node.number().is_none() {
            survey::real(grid, &RealExpression::new(grid.clone(), &node))
                .map_err(|bad| context.not_finite(&field, &bad))?;
        }
        pairs.push((a, b, node));
    }
    Ok(Components { diagonal, pairs })
}

fn speed(context: &Context<'_>, document: &Document, c0: f64, grid: &Arc<Grid>) -> Result<Speed, SceneError> {
    let state = context.node(&document.state, "state", Names::Space)?;
    let out_of_range = |found: String| {
        context.value("state", found, "values from 0 to 2 at every node", "ŝ = 0 leaves c at c0")
    };
    if let Some(state) = state.number() {
        if !(0.0..=2.0).contains(&state) {
            return Err(out_of_range(format!("{state}")));
        }
        return Ok(Speed::Constant(c0 / (1.0 + state)));
    }
    let state = RealExpression::new(grid.clone(), &state);
    let summary = survey::real(grid, &state).map_err(|bad| context.not_finite("state", &bad))?;
    if summary.least < 0.0 || summary.greatest > 2.0 {
        return Err(out_of_range(format!("values from {} to {}", summary.least, summary.greatest)));
    }
    Ok(Speed::Varying(c0, Arc::new(state)))
}

/// c²·`component`, and its greatest value.
fn profile(speed: &Speed, component: &Node, grid: &Arc<Grid>) -> (Profile, f64) {
    if let (Speed::Constant(speed), Some(value)) = (speed, component.number()) {
        let mut diffusion = speed * speed;
        diffusion *= value;
        return (Profile::Uniform(diffusion), diffusion);
    }
    let component = RealExpression::new(grid.clone(), component);
    let fill: Arc<dyn RealFill> = match speed {
        Speed::Constant(speed) => {
            let speed2 = speed * speed;
            Arc::new(move |page: usize, out: &mut [f64]| {
                component.fill(page, out);
                out.iter_mut().for_each(|d| *d *= speed2);
            })
        }
        Speed::Varying(c0, state) => {
            let (c0, state) = (*c0, state.clone());
            Arc::new(move |page: usize, out: &mut [f64]| {
                component.fill(page, out);
                let mut slow = vec![0.0; out.len()];
                state.fill(page, &mut slow);
                for (d, slow) in out.iter_mut().zip(slow) {
                    let speed = c0 / (1.0 + slow);
                    *d *= speed * speed;
                }
            })
        }
    };
    let greatest = survey::real(grid, fill.as_ref()).map_or(f64::NAN, |summary| summary.greatest);
    (Profile::PerNode(fill), greatest)
}

fn refuse_not_positive(
    context: &Context<'_>,
    field: &str,
    node: &Node,
    grid: &Arc<Grid>,
) -> Result<(), SceneError> {
    let fill = RealExpression::new(grid.clone(), node);
    let summary = survey::real(grid, &fill).map_err(|bad| context.not_finite(field, &bad))?;
    if summary.least > 0.0 {
        return Ok(());
    }
    Err(context.value(
        field,
        format!("values from {} to {}", summary.least, summary.greatest),
        "values above 0 at every node: a metric is positive definite",
        "add a constant, or use max(…, 0.01)",
    ))
}

/// The two axes that `xy` names.
fn pair(
    context: &Context<'_>,
    field: &str,
    name: &str,
    grid: &Grid,
    known: &[(Axis, Axis, Node)],
) -> Result<(Axis, Axis), SceneError> {
    let axis = |letter: char| Axis::ALL.into_iter().find(|axis| axis.name().starts_with(letter));
    let letters: Vec<Option<Axis>> = name.chars().map(axis).collect();
    let [Some(a), Some(b)] = letters[..] else {
        let remedy = "name two axes, e.g. {xy: \"0.1*sin(x)\"}";
        return Err(context.value(field, format!("`{name}`"), "two letters of r s t u v w x y z", remedy));
    };
    if a == b {
        let remedy = format!("put it under equation.metric.{a}");
        return Err(context.value(field, format!("`{name}`"), "two different axes", remedy));
    }
    for axis in [a, b] {
        if grid.torus.extents()[axis.index()] == 1 {
            return Err(context.inactive(field, axis, &grid.torus));
        }
    }
    if known.iter().any(|(c, d, _)| (*c, *d) == (a, b) || (*d, *c) == (a, b)) {
        let found = format!("the pair {a}, {b} a second time");
        return Err(context.value(field, found, "each pair once: the metric is symmetric", "remove one"));
    }
    Ok((a, b))
}

/// Refuses a tensor with an eigenvalue that is not above 0, at the first such node.
fn refuse_indefinite(
    context: &Context<'_>,
    profile: &MetricProfile,
    grid: &Arc<Grid>,
) -> Result<(), SceneError> {
    let storage = grid.torus.storage();
    let n = storage.len();
    let nodes = grid.torus.page_nodes();
    let position = |axis: Axis| storage.iter().position(|other| *other == axis).unwrap_or(0);
    let mut columns = vec![vec![0.0; nodes]; n * (n + 1) / 2];
    for page in 0..grid.torus.n_pages() {
        let mut fill = |i: usize, j: usize, profile: &Profile| {
            nikola_systems::world::fill_profile(
                profile,
                page,
                &mut columns[component(n, i.min(j), i.max(j))],
            );
        };
        for (i, axis) in storage.iter().enumerate() {
            fill(i, i, &profile.diagonal[axis.index()]);
        }
        for (a, b, profile) in &profile.off_diagonal {
            fill(position(*a), position(*b), profile);
        }
        let at = |node: usize, i: usize, j: usize| columns[component(n, i.min(j), i.max(j))][node];
        if let Some(node) = (0..nodes).find(|&node| !is_positive_definite(n, |i, j| at(node, i, j))) {
            return Err(context.value(
                "equation.off_diagonal",
                format!("a metric that is not positive definite at {}", describe(grid, page, node)),
                "g^{ij} with all eigenvalues above 0 at every node, e.g. |g^{xy}|² < g^{xx} g^{yy}",
                "make the off-diagonal components smaller",
            ));
        }
    }
    Ok(())
}

/// Cholesky's test.
fn is_positive_definite(n: usize, at: impl Fn(usize, usize) -> f64) -> bool {
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let sum = (0..j).fold(at(i, j), |sum, k| sum - l[i * n + k] * l[j * n + k]);
            if i == j && sum <= 0.0 {
                return false;
            }
            l[i * n + j] = if i == j { sum.sqrt() } else { sum / l[j * n + j] };
        }
    }
    true
}

fn plasticity(context: &Context<'_>, form: &PlasticityForm, speed: &Speed) -> Result<Plasticity, SceneError> {
    let Speed::Constant(speed) = speed else {
        return Err(context.value(
            "state",
            "an expression that varies in space",
            "one number where the metric is plastic",
            "write a number, or remove `plasticity`",
        ));
    };
    let rate = |quantity, field: &str| {
        context.bounded(quantity, field, 0.0, f64::INFINITY, "a rate from 0 on, per unit of model time")
    };
    let defaults = Plasticity::default();
    let whole = |value: &Option<_>, field: &str, default: u64| match value {
        None => Ok(default),
        Some(quantity) => context.whole(quantity, field, 1, EVERY_MAX).map(|every| every as u64),
    };
    let remainder_every =
        whole(&form.remainder_every, "plasticity.remainder_every", defaults.remainder_every)?;
    if remainder_every.is_multiple_of(2) {
        return Err(context.value(
            "plasticity.remainder_every",
            format!("{remainder_every}"),
            "an odd number of ticks, so that the remainder sits in the middle of its interval",
            format!("use {}", remainder_every + 1),
        ));
    }
    Ok(Plasticity {
        speed: *speed,
        eta: rate(&form.eta, "plasticity.eta")?,
        lambda: rate(&form.lambda, "plasticity.lambda")?,
        cell: match form.cell {
            CellForm::Block => CellRule::Block,
            CellForm::Node => CellRule::Node,
        },
        every: whole(&form.every, "plasticity.every", defaults.every)?,
        tolerance: match &form.tolerance {
            None => defaults.tolerance,
            Some(quantity) => context.positive(quantity, "plasticity.tolerance")?,
        },
        gradient_floor: match &form.gradient_floor {
            None => defaults.gradient_floor,
            Some(quantity) => context.positive(quantity, "plasticity.gradient_floor")?,
        },
        remainder_every,
    })
}
