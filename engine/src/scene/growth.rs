//! `growth`: the rule by which a sparse torus grows and shrinks.
//! Invariant: a rule that leaves here can be followed: bounds are kept, axes get time to be looked at.

use super::context::Context;
use super::document::GrowthForm;
use super::error::SceneError;
use super::evaluate::Grid;
use super::limits::{LIST_MAX, PAGES_MAX};
use super::quantity::Quantity;
use nikola_components::fill::ComplexFill;
use nikola_components::growth::GrowthRule;
use nikola_components::setup::{Equation, Integrator, Setup, TimeMode};
use nikola_components::torus::Torus;
use nikola_systems::boundary::{TooManyPages, support};
use nikola_systems::world::{BuildError, check_scan};

/// Below this fraction of the norm lies nothing but the rounding of single precision.
const THRESHOLD_MIN: f64 = 1e-6;

/// Longest waiting time in ticks.
const WAIT_MAX: i64 = 1_000_000;

/// Checks the rule of a scene.
///
/// # Errors
/// Values that cannot be used, by field.
pub fn rule(context: &Context<'_>, form: &GrowthForm, torus: &Torus) -> Result<GrowthRule, SceneError> {
    let given = GrowthRule::default();
    if torus.n_pages() < 2 {
        return Err(context.value(
            "growth",
            "a torus of one page",
            "a torus of at least two pages, of which only active ones exist",
            "give it smaller pages with torus.page, or remove `growth`",
        ));
    }
    let fraction = |quantity: &Option<Quantity>, name: &str, given: f64| match quantity {
        None => Ok(given),
        Some(quantity) => {
            let what = "a fraction of the norm from 1e-6, the floor of rounding, to 0.5";
            context.bounded(quantity, &format!("growth.{name}"), THRESHOLD_MIN, 0.5, what)
        }
    };
    let threshold = fraction(&form.threshold, "threshold", given.threshold)?;
    let vacuum = fraction(&form.vacuum, "vacuum", threshold)?;
    let whole = |quantity: &Option<Quantity>, name: &str, given: u64, high: i64| match quantity {
        None => Ok(given),
        Some(quantity) => {
            context.whole(quantity, &format!("growth.{name}"), 1, high).map(|value| value as u64)
        }
    };
    let every = whole(&form.every, "every", given.every, WAIT_MAX)?;
    // Every axis is looked at before a page counts as quiet.
    let round = every * torus.storage().len() as u64;
    let quiet_ticks = whole(&form.quiet_ticks, "quiet_ticks", given.quiet_ticks.max(round), WAIT_MAX)?;
    if quiet_ticks < round {
        return Err(context.value(
            "growth.quiet_ticks",
            format!("{quiet_ticks} ticks"),
            format!(
                "at least {round} ticks: a look takes one axis, so that every axis is seen once in that time"
            ),
            "raise quiet_ticks, or lower growth.every",
        ));
    }
    if form.seeds.len() > LIST_MAX {
        let found = format!("{} seeds", form.seeds.len());
        return Err(context.value("growth.seeds", found, format!("at most {LIST_MAX}"), "remove some"));
    }
    let mut seeds = Vec::with_capacity(form.seeds.len());
    for (i, position) in form.seeds.iter().enumerate() {
        let path = format!("growth.seeds[{i}]");
        context.active(position, &path, torus)?;
        seeds.push(context.node_at(position, &path, torus)?);
    }
    Ok(GrowthRule {
        threshold,
        vacuum,
        births_max: whole(&form.births_max, "births_max", given.births_max as u64, PAGES_MAX)? as usize,
        pages_max: whole(&form.pages_max, "pages_max", given.pages_max as u64, PAGES_MAX)? as usize,
        quiet_ticks,
        every,
        seeds,
    })
}

/// Pages that the initial field of a sparse torus needs.
///
/// # Errors
/// [`SceneError::Limit`] beyond the memory cap.
pub fn initial_pages(
    context: &Context<'_>,
    grid: &Grid,
    initial: &dyn ComplexFill,
) -> Result<Vec<usize>, SceneError> {
    let Some(rule) = &grid.growth else { return Ok(Vec::new()) };
    let fraction = rule.initial_fraction();
    support(initial, &grid.torus, &rule.seeds, fraction, rule.pages_max).map_err(|TooManyPages| {
        SceneError::Limit {
            fault: Box::new(context.fault(
                "initial",
                format!(
                    "a field that needs more than {} pages of {} nodes",
                    rule.pages_max,
                    grid.torus.page_nodes()
                ),
                "a field whose support fits growth.pages_max",
                "make it narrower, or raise growth.pages_max or growth.threshold",
            )),
        }
    })
}

/// Combinations for which there is no sparse scheme.
///
/// # Errors
/// [`SceneError::Value`] naming the field.
pub fn refuse_without_meaning(context: &Context<'_>, setup: &Setup) -> Result<(), SceneError> {
    if setup.growth.is_none() {
        return Ok(());
    }
    let is_wave_form = matches!(setup.equation, Equation::Wave { .. });
    let refusals = [
        (is_wave_form, "equation", "the wave form", "use equation: Schrodinger(…)"),
        (setup.wave.time == TimeMode::Imaginary, "time", "imaginary time", "use time: Real"),
        (
            setup.wave.integrator != Integrator::Strang,
            "integrator",
            setup.wave.integrator.name(),
            "use integrator: Strang",
        ),
    ];
    match refusals.into_iter().find(|(is_refused, ..)| *is_refused) {
        None => refuse_cut_slices(context, setup),
        Some((_, path, found, remedy)) => Err(context.value(
            path,
            format!("{found} on a sparse torus"),
            "the Schrodinger form in real time with integrator Strang where `growth` is given",
            format!("{remedy}, or remove `growth`"),
        )),
    }
}

/// A scan needs pages that hold the whole of axis t, and few enough nodes for its indices.
fn refuse_cut_slices(context: &Context<'_>, setup: &Setup) -> Result<(), SceneError> {
    match check_scan(setup) {
        Err(BuildError::Unsupported { what, remedy }) => {
            Err(context.value("scan", what, "pages between which a scan needs no time to pass", remedy))
        }
        _ => Ok(()),
    }
}
