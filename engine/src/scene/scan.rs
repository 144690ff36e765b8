//! The scan over the torus and its readout: the forms of a scene and their values.
//! Invariant: what leaves here can be built: weights are finite, node counts fit the torus, every list has a bound.

use super::context::Context;
use super::error::SceneError;
use super::evaluate::Grid;
use super::quantity::Quantity;
use nikola_components::fill::{Profile, RealFill};
use nikola_components::geometry::traversal::Traversal;
use nikola_components::metric::MetricProfile;
use nikola_components::scan::{Feature, ReadoutSetup, STATE, ScanSetup};
use serde::Deserialize;
use std::sync::Arc;

/// Most features of a readout: learning one at a time keeps their square, 134 MB.
const FEATURES_MAX: usize = 4096;

/// Most targets of a readout.
const TARGETS_MAX: i64 = 1024;

/// Longest cadence in ticks.
const EVERY_MAX: u64 = 1_000_000;

/// The scan.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "scan")]
pub struct ScanForm {
    /// Δ₀.
    #[serde(default = "default_step")]
    pub step: Quantity,
    /// a of Δ = Δ₀/(1 + a·ρ·Tr G).
    #[serde(default = "default_density_weight")]
    pub density_weight: Quantity,
    /// B; ŝ where absent.
    #[serde(default)]
    pub input_weight: Option<Quantity>,
    /// Orders in which the torus is read; all four where absent.
    #[serde(default)]
    pub traversals: Option<Vec<TraversalForm>>,
    /// Ticks between scans.
    #[serde(default = "default_every")]
    pub every: u64,
    /// The trainable readout.
    #[serde(default)]
    pub readout: Option<ReadoutForm>,
}

/// One way through the torus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename = "traversal")]
pub enum TraversalForm {
    /// Row-major, slice by slice.
    Raster,
    /// Peano curve, x y z fastest.
    XyzFastest,
    /// Peano curve, u v w fastest.
    UvwFastest,
    /// The whole past of a position before the next.
    TimePure,
}

/// The readout.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "readout")]
pub struct ReadoutForm {
    /// Nodes that are read, drawn by the scene's seed.
    #[serde(default = "default_zero_nodes")]
    pub nodes: Quantity,
    /// What is read.
    #[serde(default = "default_features")]
    pub features: Vec<FeatureForm>,
    /// Values it gives.
    #[serde(default = "super::forms::default_one")]
    pub targets: Quantity,
    /// Weight of an example per later one, when learning one at a time.
    #[serde(default = "super::forms::default_one")]
    pub forgetting: Quantity,
    /// Penalty on the weights, when learning one at a time.
    #[serde(default = "default_ridge")]
    pub ridge: Quantity,
}

/// One kind of feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename = "feature")]
pub enum FeatureForm {
    /// Re Ψ at each node.
    Re,
    /// Im Ψ at each node.
    Im,
    /// |Ψ|² at each node.
    Density,
    /// y and h of every traversal.
    Scan,
}

fn default_step() -> Quantity {
    Quantity::Number(0.01)
}

fn default_density_weight() -> Quantity {
    Quantity::Number(10.0)
}

fn default_every() -> u64 {
    1
}

fn default_zero_nodes() -> Quantity {
    Quantity::Number(0.0)
}

fn default_features() -> Vec<FeatureForm> {
    vec![FeatureForm::Scan]
}

fn default_ridge() -> Quantity {
    Quantity::Number(1e-6)
}

/// What the scan takes from the rest of the scene.
pub struct Surroundings {
    /// ŝ.
    pub state: f64,
    /// r̂ at every node.
    pub resonance: Profile,
    /// Diagonal of the inverse metric along r…z, 1 where it varies.
    pub inverse_metric: [f64; STATE],
    /// The inverse metric, where it is no constant diagonal.
    pub varying: Option<MetricProfile>,
}

/// Checks a scan.
///
/// # Errors
/// The field that cannot be used.
pub fn scan(
    context: &Context<'_>,
    form: &ScanForm,
    surroundings: Surroundings,
    grid: &Arc<Grid>,
) -> Result<ScanSetup, SceneError> {
    let traversals = match &form.traversals {
        None => Traversal::ALL.to_vec(),
        Some(forms) => traversals(context, forms)?,
    };
    if form.every == 0 || form.every > EVERY_MAX {
        let expected = format!("a number of ticks from 1 to {EVERY_MAX}");
        return Err(context.value("scan.every", form.every.to_string(), expected, "write 1 for every tick"));
    }
    let input_weight = match &form.input_weight {
        None => surroundings.state,
        Some(quantity) => context.number(quantity, "scan.input_weight")?,
    };
    if input_weight == 0.0 && !traversals.is_empty() {
        return Err(context.value(
            if form.input_weight.is_some() { "scan.input_weight" } else { "scan" },
            "an input weight of 0: the scan reads nothing",
            "a weight other than 0 (without `input_weight` it is ŝ, the scene's `state`)",
            "write input_weight: 1, or give the scene a `state`, or traversals: [] for a readout of nodes alone",
        ));
    }
    let readout = match &form.readout {
        None if traversals.is_empty() => {
            return Err(context.value(
                "scan",
                "no traversal and no readout",
                "at least one of the two",
                "remove `scan`, or leave `traversals` out to have all four",
            ));
        }
        None => None,
        Some(readout) => Some(self::readout(context, readout, traversals.len(), grid)?),
    };
    let at_least_zero = "a number from 0 on";
    Ok(ScanSetup {
        step: context.positive(&form.step, "scan.step")?,
        density_weight: context.bounded(
            &form.density_weight,
            "scan.density_weight",
            0.0,
            f64::INFINITY,
            at_least_zero,
        )?,
        input_weight,
        openness: complement(surroundings.resonance),
        metric: surroundings.inverse_metric.map(|inverse| 1.0 / inverse),
        inverse_metric: surroundings.varying,
        traversals,
        every: form.every,
        readout,
    })
}

fn traversals(context: &Context<'_>, forms: &[TraversalForm]) -> Result<Vec<Traversal>, SceneError> {
    let mut traversals = Vec::new();
    for (i, form) in forms.iter().enumerate() {
        let traversal = match form {
            TraversalForm::Raster => Traversal::Raster,
            TraversalForm::XyzFastest => Traversal::XyzFastest,
            TraversalForm::UvwFastest => Traversal::UvwFastest,
            TraversalForm::TimePure => Traversal::TimePure,
        };
        if traversals.contains(&traversal) {
            return Err(context.value(
                &format!("scan.traversals[{i}]"),
                format!("{form:?} a second time"),
                "each traversal once: Raster, XyzFastest, UvwFastest, TimePure",
                "remove one",
            ));
        }
        traversals.push(traversal);
    }
    Ok(traversals)
}

fn readout(
    context: &Context<'_>,
    form: &ReadoutForm,
    n_traversals: usize,
    grid: &Arc<Grid>,
) -> Result<ReadoutSetup, SceneError> {
    let mut features: Vec<Feature> = Vec::new();
    for (i, feature) in form.features.iter().enumerate() {
        let feature = match feature {
            FeatureForm::Re => Feature::Re,
            FeatureForm::Im => Feature::Im,
            FeatureForm::Density => Feature::Density,
            FeatureForm::Scan => Feature::Scan,
        };
        if features.contains(&feature) {
            return Err(context.value(
                &format!("scan.readout.features[{i}]"),
                format!("{feature:?} a second time"),
                "each feature once: Re, Im, Density, Scan",
                "remove one",
            ));
        }
        features.push(feature);
    }
    let n_nodes_max = grid.torus.n_nodes().min(FEATURES_MAX) as i64;
    let n_nodes = context.whole(&form.nodes, "scan.readout.nodes", 0, n_nodes_max)? as usize;
    let setup = ReadoutSetup {
        n_nodes,
        features,
        n_targets: context.whole(&form.targets, "scan.readout.targets", 1, TARGETS_MAX)? as usize,
        forgetting: forgetting(context, &form.forgetting)?,
        ridge: context.positive(&form.ridge, "scan.readout.ridge")?,
    };
    let n_features = setup.n_features(n_traversals);
    if n_features == 0 || n_features > FEATURES_MAX {
        return Err(context.value(
            "scan.readout",
            format!("{n_features} features ({n_nodes} nodes, {n_traversals} traversals)"),
            format!("1 to {FEATURES_MAX} features"),
            "choose `nodes` for Re, Im, Density, or traversals for Scan",
        ));
    }
    Ok(setup)
}

fn forgetting(context: &Context<'_>, quantity: &Quantity) -> Result<f64, SceneError> {
    let value = context.number(quantity, "scan.readout.forgetting")?;
    if value > 0.0 && value <= 1.0 {
        return Ok(value);
    }
    Err(context.value(
        "scan.readout.forgetting",
        format!("{value}"),
        "a number above 0 and at most 1",
        "write 1 to forget nothing, 0.999 to remember about 1,000 examples",
    ))
}

/// 1 − r̂.
fn complement(resonance: Profile) -> Profile {
    match resonance {
        Profile::Uniform(value) => Profile::Uniform(1.0 - value),
        Profile::PerNode(fill) => Profile::PerNode(Arc::new(move |page: usize, out: &mut [f64]| {
            RealFill::fill(fill.as_ref(), page, out);
            out.iter_mut().for_each(|value| *value = 1.0 - *value);
        })),
    }
}
