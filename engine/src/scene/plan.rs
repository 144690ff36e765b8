//! What a run writes and when.
//! Invariant: every tick asked for lies within the run, every axis asked for exists on the torus.

use super::context::{Context, axis_of};
use super::document::{Document, FormatForm, MarginalForm, OverrunForm, SnapshotsForm};
use super::error::SceneError;
use super::evaluate::Grid;
use super::forms::AxisForm;
use super::keeping;
use super::limits::{LIST_MAX, TICKS_MAX};
use super::observable::Observable;
use super::quantity::Quantity;
use crate::intake::Scheduled;
use crate::persist::nap::NapPlan;
use crate::runner::governor::{Overrun, RealtimeRules, WINDOW_MAX};
use nikola_components::geometry::axis::Axis;
use std::sync::Arc;

/// Rows a time series has when the scene doesn't say.
const SERIES_ROWS: u64 = 200;

/// A validated plan of outputs.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// Title of the scene.
    pub title: String,
    /// Ticks of the run.
    pub ticks: u64,
    /// Ticks between rows of the time series; the first row is tick 0, the last the end.
    pub series_every: u64,
    /// When Ψ and the marginals are written.
    pub snapshots: Snapshots,
    /// Cuts and projections.
    pub marginals: Vec<Marginal>,
    /// Observables of the scene, in its order.
    pub observables: Vec<Observable>,
    /// Formats of the time series.
    pub formats: Vec<SeriesFormat>,
    /// When the state is flushed, where it is kept.
    pub naps: NapPlan,
    /// Orders that the run gives itself, earliest first.
    pub schedule: Vec<(u64, Scheduled)>,
    /// What real time does to a tick.
    pub realtime: RealtimeRules,
}

/// When Ψ is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshots {
    /// After the last tick.
    Last,
    /// Never.
    Never,
    /// Every n ticks, and after the last.
    Every(u64),
    /// At these ticks, ascending.
    At(Vec<u64>),
}

impl Snapshots {
    /// Whether Ψ is written after `tick` of `ticks`.
    pub fn is_due(&self, tick: u64, ticks: u64) -> bool {
        match self {
            Self::Last => tick == ticks,
            Self::Never => false,
            Self::Every(every) => tick == ticks || tick.is_multiple_of(*every),
            Self::At(list) => list.binary_search(&tick).is_ok(),
        }
    }

    /// How many are written in a run.
    pub fn count(&self, ticks: u64) -> u64 {
        match self {
            Self::Last => 1,
            Self::Never => 0,
            Self::Every(every) => 1 + ticks.div_ceil(*every),
            Self::At(list) => list.len() as u64,
        }
    }
}

/// A cut or projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marginal {
    /// ∫|Ψ|² over every axis that is not kept. Kept axes are in r…z order.
    Project {
        /// Axes kept.
        keep: Vec<Axis>,
    },
    /// Ψ on the nodes that agree with `at` outside the kept axes.
    Slice {
        /// Axes kept.
        keep: Vec<Axis>,
        /// Grid index per axis; those of kept axes don't matter.
        at: [usize; 9],
    },
}

impl Marginal {
    /// Axes kept, in r…z order.
    pub fn keep(&self) -> &[Axis] {
        match self {
            Self::Project { keep } | Self::Slice { keep, .. } => keep,
        }
    }

    /// A name for files: `project_xy`, `slice_xy`.
    pub fn name(&self) -> String {
        let kind = match self {
            Self::Project { .. } => "project",
            Self::Slice { .. } => "slice",
        };
        let axes: String = self.keep().iter().map(|axis| axis.name()).collect();
        format!("{kind}_{axes}")
    }
}

/// Format of the time series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesFormat {
    /// Comma-separated values.
    Csv,
    /// One structured NumPy array.
    Npy,
}

/// Checks the outputs of a document.
///
/// # Errors
/// The field that asks for what the run doesn't have.
pub fn plan(
    context: &Context<'_>,
    document: &Document,
    title: String,
    grid: &Arc<Grid>,
) -> Result<RunPlan, SceneError> {
    let ticks = document.ticks;
    if ticks > TICKS_MAX {
        let expected = format!("at most {TICKS_MAX} ticks");
        return Err(context.value("ticks", format!("{ticks}"), expected, "run the scene in parts"));
    }
    let outputs = &document.outputs;
    let series_every = match outputs.series_every {
        None => ticks.div_ceil(SERIES_ROWS).max(1),
        Some(0) => return Err(zero(context, "outputs.series_every")),
        Some(every) => every,
    };
    let marginals = outputs.marginals.iter().enumerate();
    let mut formats: Vec<SeriesFormat> = Vec::new();
    for format in &outputs.formats {
        let format = match format {
            FormatForm::Csv => SeriesFormat::Csv,
            FormatForm::Npy => SeriesFormat::Npy,
        };
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    if formats.is_empty() {
        formats.push(SeriesFormat::Csv);
    }
    Ok(RunPlan {
        title,
        ticks,
        series_every,
        snapshots: snapshots(context, &outputs.snapshots)?,
        marginals: marginals.map(|(i, form)| marginal(context, form, i, grid)).collect::<Result<_, _>>()?,
        observables: observables(context, &document.observables, grid)?,
        formats,
        naps: keeping::naps(context, document)?,
        schedule: keeping::schedule(context, document)?,
        realtime: realtime(context, document)?,
    })
}

fn realtime(context: &Context<'_>, document: &Document) -> Result<RealtimeRules, SceneError> {
    let (form, usual) = (&document.realtime, RealtimeRules::default());
    let positive = |quantity: &Option<Quantity>, path: &str, usual: f64| {
        quantity.as_ref().map_or(Ok(usual), |quantity| context.positive(quantity, path))
    };
    let warning_micros = positive(&form.warning_micros, "realtime.warning_micros", usual.warning_micros)?;
    let critical_micros = positive(&form.critical_micros, "realtime.critical_micros", usual.critical_micros)?;
    if critical_micros < warning_micros {
        return Err(context.value(
            "realtime.critical_micros",
            format!("{critical_micros}, below the warning at {warning_micros}"),
            "at least realtime.warning_micros",
            "raise it, or lower the warning",
        ));
    }
    let n_of = form.n_of.unwrap_or(usual.n_of);
    if !(1 <= n_of.0 && n_of.0 <= n_of.1 && n_of.1 <= WINDOW_MAX) {
        return Err(context.value(
            "realtime.n_of",
            format!("({}, {})", n_of.0, n_of.1),
            format!("(n, m) with 1 <= n <= m <= {WINDOW_MAX}"),
            "e.g. (3, 10): three of the last ten ticks",
        ));
    }
    if form.watchdog_micros == Some(0) {
        return Err(context.value(
            "realtime.watchdog_micros",
            "0",
            "at least 1 microsecond",
            "e.g. 2000, or remove the field",
        ));
    }
    Ok(RealtimeRules {
        overrun: match form.overrun {
            OverrunForm::Degrade => Overrun::Degrade,
            OverrunForm::Drop => Overrun::Drop,
        },
        warning_micros,
        critical_micros,
        n_of,
        order_age_millis_max: positive(
            &form.order_age_millis_max,
            "realtime.order_age_millis_max",
            usual.order_age_millis_max,
        )?,
        watchdog_micros: form.watchdog_micros,
    })
}

fn zero(context: &Context<'_>, path: &str) -> SceneError {
    context.value(path, "0", "a number of ticks from 1 on", "write at least 1, or remove the field")
}

fn snapshots(context: &Context<'_>, form: &SnapshotsForm) -> Result<Snapshots, SceneError> {
    Ok(match form {
        SnapshotsForm::Last => Snapshots::Last,
        SnapshotsForm::Never => Snapshots::Never,
        SnapshotsForm::Every(0) => return Err(zero(context, "outputs.snapshots")),
        SnapshotsForm::Every(every) => Snapshots::Every(*every),
        SnapshotsForm::At(list) => {
            let mut list = list.clone();
            list.sort_unstable();
            list.dedup();
            Snapshots::At(list)
        }
    })
}

fn marginal(
    context: &Context<'_>,
    form: &MarginalForm,
    i: usize,
    grid: &Arc<Grid>,
) -> Result<Marginal, SceneError> {
    let path = format!("outputs.marginals[{i}]");
    let torus = &grid.torus;
    let kept = |forms: &[AxisForm], path: &str| -> Result<Vec<Axis>, SceneError> {
        let mut keep: Vec<Axis> = Vec::new();
        for form in forms {
            let axis = axis_of(*form);
            if torus.extents()[axis.index()] == 1 {
                return Err(context.inactive(path, axis, torus));
            }
            if !keep.contains(&axis) {
                keep.push(axis);
            }
        }
        if keep.is_empty() {
            return Err(context.value(path, "no axis", "at least one axis to keep", "e.g. [x, y]"));
        }
        keep.sort_by_key(|axis| axis.index());
        Ok(keep)
    };
    match form {
        MarginalForm::Project(forms) => Ok(Marginal::Project { keep: kept(forms, &path)? }),
        MarginalForm::Slice { keep, at } => {
            let keep = kept(keep, &format!("{path}.keep"))?;
            context.active(at, &format!("{path}.at"), torus)?;
            let at = context.node_at(at, &format!("{path}.at"), torus)?;
            Ok(Marginal::Slice { keep, at })
        }
    }
}

fn observables(
    context: &Context<'_>,
    texts: &[String],
    grid: &Arc<Grid>,
) -> Result<Vec<Observable>, SceneError> {
    let mut observables: Vec<Observable> = Vec::new();
    if texts.len() > LIST_MAX {
        let found = format!("{} observables", texts.len());
        return Err(context.value("observables", found, format!("at most {LIST_MAX}"), "remove some"));
    }
    for (i, text) in texts.iter().enumerate() {
        let path = format!("observables[{i}]");
        let observable = Observable::new(context, grid.clone(), text, &path)?;
        if observables.iter().any(|other| other.name == observable.name) {
            return Err(context.value(
                &path,
                format!("the name `{}` a second time", observable.name),
                "a name of its own for every observable",
                "name it: \"other = mean(x)\"",
            ));
        }
        observables.push(observable);
    }
    Ok(observables)
}
