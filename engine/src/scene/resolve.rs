//! A document to a setup: every value computed, bounded and surveyed.
//! Invariant: what leaves here can be built and run; nothing is simulated.

use super::check::memory_bytes;
use super::context::{Context, Names};
use super::document::{
    Document, EquationForm, EquationParameters, IntegratorForm, PageForm, PrecisionForm, TimeForm,
};
use super::error::SceneError;
use super::evaluate::{Grid, RealExpression};
use super::field::FieldBuilder;
use super::growth::{self, initial_pages};
use super::limits::NODES_MAX;
use super::metric::{self, Metric, metric};
use super::plan::{RunPlan, plan};
use super::potential::PotentialBuilder;
use super::quantity::{PerAxis, Quantity};
use super::read::Scene;
use super::remembered;
use super::scan::{self, Surroundings};
use super::strike::strike;
use super::survey;
use super::warning::{Figures, Warning, beyond_the_end, warnings};
use super::watch;
use crate::intake::{Order, Scheduled};
use nikola_components::fill::{ComplexFill, Profile, RealFill};
use nikola_components::geometry::axis::Axis;
use nikola_components::growth::GrowthRule;
use nikola_components::scan::ScanSetup;
use nikola_components::setup::{Equation, Integrator, Precision, Setup, TimeMode, WaveParameters};
use nikola_components::torus::{EXTENT_MAX, PageRule, Torus, TorusError};
use nikola_systems::propagators::{check_metric, longest_step};
use nikola_systems::world::BuildError;
use std::path::Path;
use std::sync::Arc;

/// A scene ready to be built.
#[derive(Debug)]
pub struct Resolved {
    /// The world.
    pub setup: Setup,
    /// The run.
    pub plan: RunPlan,
    /// What a person should know before starting it.
    pub warnings: Vec<Warning>,
    /// Figures of the profiles, from the survey.
    pub figures: Figures,
    /// Pages that the initial field of a sparse torus needs; all of a dense one.
    pub initial_pages: usize,
}

/// Computes and checks every value of `scene`. Paths in it are relative to `base_dir`.
///
/// # Errors
/// The first field that cannot be simulated.
pub fn resolve(scene: &Scene, base_dir: &Path) -> Result<Resolved, SceneError> {
    let document = &scene.document;
    let mut context = Context::new(&scene.source, document)?;
    let (torus, growth) = torus(&context, document)?;
    let dt = time_step(&context, document)?;
    context.define_torus(&torus, dt);
    let context = context;
    let precision = match document.precision {
        PrecisionForm::F32 => Precision::F32,
        PrecisionForm::F64 => Precision::F64,
    };
    let nodes = growth
        .as_ref()
        .map_or(torus.n_nodes(), |rule| rule.pages_max.min(torus.n_pages()) * torus.page_nodes());
    refuse_beyond_memory(&context, nodes as f64 * 2.0 * precision.bytes() as f64)?;
    let grid = Grid::new(torus.clone(), growth.clone());
    let EquationParameters { beta, alpha, .. } = document.equation.parameters();
    let beta = context.number(beta, "equation.beta")?;
    let Metric { diffusion, profile: metric, plasticity } = metric(&context, document, &grid)?;
    let wave = WaveParameters {
        dt,
        beta,
        diffusion,
        integrator: integrator(document.integrator),
        time: match document.time {
            TimeForm::Real => TimeMode::Real,
            TimeForm::Imaginary => TimeMode::Imaginary,
        },
    };
    let plan = plan(&context, document, scene.title(), &grid)?;
    let end = dt * document.ticks as f64;
    let fields = FieldBuilder {
        context: &context,
        grid: grid.clone(),
        diffusion,
        beta,
        seed: document.seed,
        base_dir,
    };
    let initial = remembered::complex(&grid, fields.build(&document.initial, "initial")?);
    if growth.is_some() {
        let _ = grid.initial_pages.set(initial_pages(&context, &grid, initial.as_ref())?);
    }
    let summary = survey::complex(&grid, initial.as_ref())
        .map_err(|bad| fields.blame(&document.initial, "initial", &bad))?;
    let potential = PotentialBuilder { context: &context, grid: grid.clone(), base_dir, end }
        .build(&document.potential)?;
    let alpha = context.bounded(alpha, "equation.alpha", 0.0, f64::INFINITY, "a number from 0 on")?;
    let (resonance, resonance_least) = resonance(&context, document, &grid)?;
    let damping = damping(alpha, &resonance);
    let damping_greatest = alpha * (1.0 - resonance_least);
    let equation = equation(&fields, document)?;
    let norm = norm(&context, document)?;
    let raw_norm = summary.sum * torus.cell_volume();
    if norm.is_some() && raw_norm <= 0.0 {
        return Err(context.value(
            "initial",
            "a field that is zero at every node",
            "a field that can be scaled to the norm asked for",
            "remove `normalise`, or give the field an amplitude",
        ));
    }
    let scale = norm.map_or(1.0, |norm| norm / raw_norm);
    let figures = Figures {
        density_greatest: summary.greatest * scale,
        norm: norm.unwrap_or(raw_norm),
        potential: potential.range,
        damping_greatest,
    };
    let emitters = fields.emitters(&document.emitters, end)?;
    let injections = fields.injections(&document.injections)?;
    let scan = scan(&context, document, resonance, &grid)?;
    let setup = Setup {
        torus,
        precision,
        seed: document.seed,
        equation,
        wave,
        metric,
        plasticity,
        potential: potential.profile,
        drive: potential.drive,
        damping,
        initial,
        norm,
        emitters,
        injections,
        growth,
        scan,
        oracle: watch::oracle(&context, document)?,
        engs: watch::engs(&context, document)?,
        sample_every: plan.series_every,
    };
    refuse_without_meaning(&context, &setup)?;
    refuse_unsupported(&context, &setup)?;
    refuse_beyond_memory(&context, memory_bytes(&setup))?;
    for (_, scheduled) in &plan.schedule {
        if let Scheduled::Order(Order::Inject(text)) = scheduled {
            strike(scene, &setup, text)?;
        }
    }
    let mut warnings = warnings(&setup, &figures);
    warnings.extend(beyond_the_end(document));
    let initial_pages = grid.initial_pages.get().map_or(setup.torus.n_pages(), Vec::len);
    Ok(Resolved { setup, plan, warnings, figures, initial_pages })
}

/// The equation, with the velocity that a second-order one starts from.
fn equation(fields: &FieldBuilder<'_>, document: &Document) -> Result<Equation, SceneError> {
    match (&document.equation, &document.velocity) {
        (EquationForm::Schrodinger { .. }, None) => Ok(Equation::Schrodinger),
        (EquationForm::Schrodinger { .. }, Some(_)) => Err(fields.context.value(
            "velocity",
            "an initial velocity with equation Schrodinger, which is first order in time",
            "a velocity only with equation: Wave(…)",
            "remove `velocity`, or write equation: Wave(…)",
        )),
        (EquationForm::Wave { .. }, None) => {
            Ok(Equation::Wave { velocity: Arc::new(|_: usize, _: &mut [f64], _: &mut [f64]| {}) })
        }
        (EquationForm::Wave { .. }, Some(form)) => {
            let velocity = fields.build(form, "velocity")?;
            survey::complex(&fields.grid, velocity.as_ref())
                .map_err(|bad| fields.blame(form, "velocity", &bad))?;
            Ok(Equation::Wave { velocity: velocity as Arc<dyn ComplexFill> })
        }
    }
}

/// Combinations that the fields allow one by one but that describe no computation.
fn refuse_without_meaning(context: &Context<'_>, setup: &Setup) -> Result<(), SceneError> {
    growth::refuse_without_meaning(context, setup)?;
    if let Equation::Wave { .. } = setup.equation {
        return refuse_in_wave_form(context, setup);
    }
    if setup.wave.time == TimeMode::Real {
        return Ok(());
    }
    let is_damped = !matches!(setup.damping, Profile::Uniform(value) if value == 0.0);
    let refusals = [
        (
            setup.wave.integrator != Integrator::Strang,
            "integrator",
            setup.wave.integrator.name(),
            "use Strang",
        ),
        (is_damped, "equation.alpha", "damping", "set equation.alpha to 0"),
        (setup.drive.is_some(), "potential", "a potential that depends on t", "remove t from the potential"),
        (!setup.emitters.is_empty(), "emitters", "emitters", "remove the emitters"),
        (setup.oracle.is_some(), "oracle", "an energy balance", "remove `oracle`"),
        (setup.engs.is_some(), "engs", "neurochemistry", "remove `engs`"),
    ];
    match refusals.into_iter().find(|(is_refused, ..)| *is_refused) {
        None => Ok(()),
        Some((_, path, found, remedy)) => Err(context.value(
            path,
            format!("{found} in imaginary time"),
            "a closed scene with integrator Strang: imaginary time descends to a ground state",
            format!("{remedy}, or set time: Real"),
        )),
    }
}

/// The wave form has one scheme, and no potential.
fn refuse_in_wave_form(context: &Context<'_>, setup: &Setup) -> Result<(), SceneError> {
    let has_potential =
        setup.drive.is_some() || !matches!(setup.potential, Profile::Uniform(value) if value == 0.0);
    let refusals = [
        (setup.wave.time == TimeMode::Imaginary, "time", "Imaginary", "set time: Real"),
        (
            setup.wave.integrator != Integrator::Strang,
            "integrator",
            setup.wave.integrator.name(),
            "use Strang",
        ),
        (has_potential, "potential", "a potential", "remove the potential"),
    ];
    match refusals.into_iter().find(|(is_refused, ..)| *is_refused) {
        None => Ok(()),
        Some((_, path, found, remedy)) => Err(context.value(
            path,
            format!("{found} with equation Wave"),
            "real time, integrator Strang and no potential: the wave form has a step of its own",
            format!("{remedy}, or write equation: Schrodinger(…)"),
        )),
    }
}

/// What the fields describe but no propagator computes.
fn refuse_unsupported(context: &Context<'_>, setup: &Setup) -> Result<(), SceneError> {
    let field = if setup.plasticity.is_some() { "plasticity" } else { "equation.metric" };
    match check_metric(setup) {
        Err(BuildError::Unsupported { what, remedy }) => {
            Err(context.value(field, what, "a metric that the kinetic step can propagate", remedy))
        }
        _ => refuse_unstable(context, setup),
    }
}

/// Where the metric varies the wave form takes kicks and drifts, which need a short enough step.
fn refuse_unstable(context: &Context<'_>, setup: &Setup) -> Result<(), SceneError> {
    let (dt, Ok(Some(longest))) = (setup.wave.dt, longest_step(setup)) else { return Ok(()) };
    if dt < longest {
        return Ok(());
    }
    Err(context.value(
        "dt",
        format!("{dt} with equation Wave and a metric that varies"),
        format!("a step below {longest:.4e} = 2/ω, ω the bound of the lattice's highest frequency"),
        format!(
            "write dt: {:.2e}, or use fewer nodes per length, or make the metric constant",
            0.5 * longest
        ),
    ))
}

/// Refuses what would not fit the memory that the system has free, where it says how much that is.
fn refuse_beyond_memory(context: &Context<'_>, bytes: f64) -> Result<(), SceneError> {
    match memory_available() {
        Some(available) if bytes > available => Err(SceneError::Limit {
            fault: Box::new(context.fault(
                "torus.extents",
                format!("{:.2} GB of state", bytes * 1e-9),
                format!("at most {:.2} GB, the memory that is free", available * 1e-9),
                "make some extents (or growth.pages_max) smaller, or use precision: F32",
            )),
        }),
        _ => Ok(()),
    }
}

fn memory_available() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn integrator(form: IntegratorForm) -> Integrator {
    match form {
        IntegratorForm::Strang => Integrator::Strang,
        IntegratorForm::Yoshida4 => Integrator::Yoshida4,
        IntegratorForm::BlanesMoan4 => Integrator::BlanesMoan4,
    }
}

fn whole_per_axis(
    context: &Context<'_>,
    values: &PerAxis<Quantity>,
    path: &str,
) -> Result<[usize; 9], SceneError> {
    let mut wholes = [1; 9];
    for axis in Axis::ALL {
        if let Some(quantity) = values.get(axis) {
            let field = format!("{path}.{}", values.key(axis));
            wholes[axis.index()] = context.whole(quantity, &field, 1, EXTENT_MAX as i64)? as usize;
        }
    }
    Ok(wholes)
}

/// The torus, and the rule of its growth where it is sparse.
fn torus(context: &Context<'_>, document: &Document) -> Result<(Torus, Option<GrowthRule>), SceneError> {
    let form = &document.torus;
    let extents = whole_per_axis(context, &form.extents, "torus.extents")?;
    let nodes = extents.iter().fold(1usize, |nodes, extent| nodes.saturating_mul(*extent));
    if nodes > NODES_MAX && document.growth.is_none() {
        return Err(SceneError::Limit {
            fault: Box::new(context.fault(
                "torus.extents",
                format!("{nodes} nodes"),
                format!("at most {NODES_MAX} nodes"),
                "make some extents smaller, or let only active pages exist with `growth`",
            )),
        });
    }
    let mut lengths = extents.map(|extent| extent as f64);
    for axis in Axis::ALL {
        if let Some(quantity) = form.lengths.get(axis) {
            let field = format!("torus.lengths.{}", form.lengths.key(axis));
            lengths[axis.index()] = context.positive(quantity, &field)?;
        }
    }
    let is_sparse = document.growth.is_some();
    let page = match &form.page {
        PageForm::Auto if is_sparse => PageRule::AutoBlocks,
        PageForm::Auto => PageRule::Auto,
        PageForm::Shape(shape) => {
            let shape = whole_per_axis(context, shape, "torus.page")?;
            if is_sparse { PageRule::Blocks(shape) } else { PageRule::Shape(shape) }
        }
    };
    let torus = Torus::new(extents, lengths, page).map_err(|error| refused(context, &error))?;
    let growth = document.growth.as_ref().map(|form| growth::rule(context, form, &torus)).transpose()?;
    Ok((torus, growth))
}

fn refused(context: &Context<'_>, error: &TorusError) -> SceneError {
    let path = match error {
        TorusError::Extent { axis, .. } => format!("torus.extents.{}", axis.name()),
        TorusError::Length { axis, .. } => format!("torus.lengths.{}", axis.name()),
        TorusError::Page { axis, .. } | TorusError::Block { axis, .. } => {
            format!("torus.page.{}", axis.name())
        }
        TorusError::TooManyPages { .. } => "torus.page".to_string(),
        TorusError::TooLarge => "torus.extents".to_string(),
    };
    let remedy = match error {
        TorusError::Page { .. } | TorusError::Block { .. } => "leave `page` out, or write page: Auto",
        _ => "choose a value within the bounds",
    };
    context.value(&path, error.to_string(), "a torus that can be cut into equal pages", remedy)
}

fn time_step(context: &Context<'_>, document: &Document) -> Result<f64, SceneError> {
    let dt = context.number(&document.dt, "dt")?;
    if dt > 0.0 {
        return Ok(dt);
    }
    Err(context.value(
        "dt",
        format!("{dt}"),
        "a time step above 0",
        "write a small positive number, e.g. 1e-3",
    ))
}

/// r̂ and its least value.
fn resonance(
    context: &Context<'_>,
    document: &Document,
    grid: &Arc<Grid>,
) -> Result<(Profile, f64), SceneError> {
    let resonance = context.node(&document.resonance, "resonance", Names::Space)?;
    let out_of_range = |found: String| {
        context.value(
            "resonance",
            found,
            "values from 0 (full damping α) to 1 (none) at every node",
            "clamp it: clamp(…, 0, 1)",
        )
    };
    if let Some(resonance) = resonance.number() {
        if !(0.0..=1.0).contains(&resonance) {
            return Err(out_of_range(format!("{resonance}")));
        }
        return Ok((Profile::Uniform(resonance), resonance));
    }
    let fill = remembered::real(grid, Arc::new(RealExpression::new(grid.clone(), &resonance)));
    let summary = survey::real(grid, fill.as_ref()).map_err(|bad| context.not_finite("resonance", &bad))?;
    if summary.least < 0.0 || summary.greatest > 1.0 {
        return Err(out_of_range(format!("values from {} to {}", summary.least, summary.greatest)));
    }
    Ok((Profile::PerNode(fill), summary.least))
}

/// Γ = α(1 − r̂).
fn damping(alpha: f64, resonance: &Profile) -> Profile {
    match resonance {
        Profile::Uniform(resonance) => Profile::Uniform(alpha * (1.0 - resonance)),
        Profile::PerNode(_) if alpha == 0.0 => Profile::Uniform(0.0),
        Profile::PerNode(fill) => {
            let fill = fill.clone();
            Profile::PerNode(Arc::new(move |page: usize, out: &mut [f64]| {
                RealFill::fill(fill.as_ref(), page, out);
                out.iter_mut().for_each(|value| *value = alpha * (1.0 - *value));
            }))
        }
    }
}

/// The scan, where the scene has one.
fn scan(
    context: &Context<'_>,
    document: &Document,
    resonance: Profile,
    grid: &Arc<Grid>,
) -> Result<Option<ScanSetup>, SceneError> {
    let Some(form) = &document.scan else { return Ok(None) };
    let state = context.node(&document.state, "state", Names::Space)?.number().unwrap_or(0.0);
    let (inverse_metric, varying) = metric::inverse(context, document, grid)?;
    let surroundings = Surroundings { state, resonance, inverse_metric, varying };
    scan::scan(context, form, surroundings, grid).map(Some)
}

/// The norm to scale to; descent in imaginary time always keeps one, 1 unless the scene says otherwise.
fn norm(context: &Context<'_>, document: &Document) -> Result<Option<f64>, SceneError> {
    match &document.normalise {
        None if document.time == TimeForm::Imaginary => Ok(Some(1.0)),
        None => Ok(None),
        Some(quantity) => context.positive(quantity, "normalise").map(Some),
    }
}
