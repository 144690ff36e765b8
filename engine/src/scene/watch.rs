//! The scene's `oracle` and `engs`: how a world is watched, and its neurochemistry.
//! Invariant: every number is bounded here; what leaves is a setting the tick can run with.

use super::context::{Context, Names};
use super::document::Document;
use super::error::SceneError;
use super::quantity::Quantity;
use nikola_components::chemistry::{Chemistry, EngsSettings};
use nikola_components::oracle::{Action, OracleSettings, Resume};
use serde::Deserialize;

/// Longest interval, in ticks.
const TICKS_MAX: i64 = 1_000_000_000;

/// Ticks between samples of power, at most; and nothing longer divides well.
const SAMPLE_EVERY_MAX: u64 = 5;

/// The watch on the energy balance.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename = "oracle")]
#[allow(missing_docs)] // documented in OracleSettings, whose names these are
pub struct OracleForm {
    pub every: Option<Quantity>,
    pub warning: Option<Quantity>,
    pub critical: Option<Quantity>,
    pub strikes: Option<Quantity>,
    pub action: ActionForm,
    pub psi_max: Option<Quantity>,
    pub memory_ticks: Option<Quantity>,
    pub freeze_damping: Option<Quantity>,
    pub freeze_ticks: Option<Quantity>,
    pub resume: ResumeForm,
    pub resets_max: Option<Quantity>,
    pub reset_window: Option<Quantity>,
    pub checkpoint_every: Option<Quantity>,
}

/// What the oracle does when the strikes are used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "action")]
pub enum ActionForm {
    /// Scales Ψ to the expected energy.
    #[default]
    Renormalise,
    /// Freezes.
    Scram,
    /// Reports.
    Report,
}

/// Who ends a freeze.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "resume")]
pub enum ResumeForm {
    /// The oracle.
    #[default]
    Automatic,
    /// A command.
    Manual,
}

/// Neurochemistry.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename = "engs")]
#[allow(missing_docs)] // documented in EngsSettings, whose names these are
pub struct EngsForm {
    pub every: Option<Quantity>,
    pub dopamine: Option<Quantity>,
    pub serotonin: Option<Quantity>,
    pub norepinephrine: Option<Quantity>,
    pub boredom: Option<Quantity>,
    pub atp: Option<Quantity>,
    pub tau_secs: Option<Quantity>,
    pub serotonin_decay_per_sec: Option<Quantity>,
    pub norepinephrine_decay_per_sec: Option<Quantity>,
    pub boredom_growth: Option<Quantity>,
    pub boredom_sharpness: Option<Quantity>,
    pub boredom_relief: Option<Quantity>,
    pub curiosity_at: Option<Quantity>,
    pub atp_capacity: Option<Quantity>,
    pub atp_recharge_per_sec: Option<Quantity>,
}

/// Reads optional numbers of one group of fields.
struct Reader<'a, 'b> {
    context: &'a Context<'b>,
    group: &'static str,
}

impl Reader<'_, '_> {
    fn ticks(&self, value: Option<&Quantity>, name: &str, default: u64) -> Result<u64, SceneError> {
        self.whole(value, name, default, TICKS_MAX)
    }

    fn whole(
        &self,
        value: Option<&Quantity>,
        name: &str,
        default: u64,
        high: i64,
    ) -> Result<u64, SceneError> {
        let Some(quantity) = value else { return Ok(default) };
        Ok(self.context.whole(quantity, &format!("{}.{name}", self.group), 1, high)? as u64)
    }

    fn positive(&self, value: Option<&Quantity>, name: &str, default: f64) -> Result<f64, SceneError> {
        let Some(quantity) = value else { return Ok(default) };
        self.context.positive(quantity, &format!("{}.{name}", self.group))
    }

    fn bounded(
        &self,
        value: Option<&Quantity>,
        name: &str,
        default: f64,
        high: f64,
    ) -> Result<f64, SceneError> {
        let Some(quantity) = value else { return Ok(default) };
        let what = format!("a number from 0 to {high}");
        self.context.bounded(quantity, &format!("{}.{name}", self.group), 0.0, high, &what)
    }
}

/// The oracle's settings, where the scene has one.
pub(super) fn oracle(
    context: &Context<'_>,
    document: &Document,
) -> Result<Option<OracleSettings>, SceneError> {
    let Some(form) = &document.oracle else { return Ok(None) };
    let read = Reader { context, group: "oracle" };
    let default = OracleSettings::default();
    let every = read.ticks(form.every.as_ref(), "every", default.every)?;
    let settings = OracleSettings {
        every,
        sample_every: (1..=SAMPLE_EVERY_MAX).rev().find(|n| every.is_multiple_of(*n)).unwrap_or(1),
        warning: read.positive(form.warning.as_ref(), "warning", default.warning)?,
        critical: read.positive(form.critical.as_ref(), "critical", default.critical)?,
        strikes: read.whole(form.strikes.as_ref(), "strikes", default.strikes.into(), 1000)? as u32,
        action: match form.action {
            ActionForm::Renormalise => Action::Renormalise,
            ActionForm::Scram => Action::Scram,
            ActionForm::Report => Action::Report,
        },
        psi_max: read.positive(form.psi_max.as_ref(), "psi_max", default.psi_max)?,
        energy_floor: default.energy_floor,
        memory_ticks: read.ticks(form.memory_ticks.as_ref(), "memory_ticks", default.memory_ticks)?,
        freeze_damping: read.positive(
            form.freeze_damping.as_ref(),
            "freeze_damping",
            default.freeze_damping,
        )?,
        freeze_ticks: read.ticks(form.freeze_ticks.as_ref(), "freeze_ticks", default.freeze_ticks)?,
        resume: match form.resume {
            ResumeForm::Automatic => Resume::Automatic,
            ResumeForm::Manual => Resume::Manual,
        },
        resets_max: read.whole(form.resets_max.as_ref(), "resets_max", default.resets_max.into(), 1000)?
            as u32,
        reset_window: read.ticks(form.reset_window.as_ref(), "reset_window", default.reset_window)?,
        checkpoint_every: read.ticks(
            form.checkpoint_every.as_ref(),
            "checkpoint_every",
            default.checkpoint_every,
        )?,
    };
    if settings.critical < settings.warning {
        return Err(context.value(
            "oracle.critical",
            format!("{}", settings.critical),
            format!("at least the warning level, {}", settings.warning),
            "raise `critical`, or lower `warning`",
        ));
    }
    Ok(Some(settings))
}

/// The neurochemistry's settings, where the scene has any.
pub(super) fn engs(context: &Context<'_>, document: &Document) -> Result<Option<EngsSettings>, SceneError> {
    let Some(form) = &document.engs else { return Ok(None) };
    let Some(state) = context.node(&document.state, "state", Names::Space)?.number() else {
        return Err(context.value(
            "state",
            "an expression that varies in space, with engs",
            "one number: arousal lowers it everywhere alike",
            "write a number, or remove `engs`",
        ));
    };
    let read = Reader { context, group: "engs" };
    let default = EngsSettings::default();
    let scalar =
        |value: &Option<Quantity>, name: &str, default| read.bounded(value.as_ref(), name, default, 1.0);
    let rate =
        |value: &Option<Quantity>, name: &str, default| read.bounded(value.as_ref(), name, default, 1e3);
    let rest = Chemistry::default();
    Ok(Some(EngsSettings {
        every: read.whole(form.every.as_ref(), "every", default.every, 10_000)?,
        initial: Chemistry {
            dopamine: scalar(&form.dopamine, "dopamine", rest.dopamine)?,
            serotonin: scalar(&form.serotonin, "serotonin", rest.serotonin)?,
            norepinephrine: scalar(&form.norepinephrine, "norepinephrine", rest.norepinephrine)?,
            boredom: scalar(&form.boredom, "boredom", rest.boredom)?,
            atp: scalar(&form.atp, "atp", rest.atp)?,
        },
        state,
        tau_secs: read.positive(form.tau_secs.as_ref(), "tau_secs", default.tau_secs)?,
        energy_floor: default.energy_floor,
        serotonin_decay_per_sec: rate(
            &form.serotonin_decay_per_sec,
            "serotonin_decay_per_sec",
            default.serotonin_decay_per_sec,
        )?,
        norepinephrine_decay_per_sec: rate(
            &form.norepinephrine_decay_per_sec,
            "norepinephrine_decay_per_sec",
            default.norepinephrine_decay_per_sec,
        )?,
        boredom_growth: rate(&form.boredom_growth, "boredom_growth", default.boredom_growth)?,
        boredom_sharpness: rate(&form.boredom_sharpness, "boredom_sharpness", default.boredom_sharpness)?,
        boredom_relief: rate(&form.boredom_relief, "boredom_relief", default.boredom_relief)?,
        curiosity_at: scalar(&form.curiosity_at, "curiosity_at", default.curiosity_at)?,
        atp_capacity: read.positive(form.atp_capacity.as_ref(), "atp_capacity", default.atp_capacity)?,
        atp_recharge_per_sec: rate(
            &form.atp_recharge_per_sec,
            "atp_recharge_per_sec",
            default.atp_recharge_per_sec,
        )?,
    }))
}
