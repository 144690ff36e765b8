//! What a scene says about keeping its state: when it naps, and the orders it gives itself.
//! Invariant: a scene that says nothing gets the defaults of [`NapPlan`]; limits are checked here.

use super::context::Context;
use super::document::{Document, EncodingForm, NapsForm, OrderForm};
use super::error::SceneError;
use super::limits::LIST_MAX;
use crate::intake::{Order, Scheduled};
use crate::persist::nap::NapPlan;
use crate::persist::writer::Encoding;

/// Longest time an entry of the journal may wait for its sync.
const GROUP_COMMIT_MILLIS_MAX: u64 = 10_000;

/// When naps begin.
///
/// # Errors
/// A threshold outside its range, by field.
pub fn naps(context: &Context<'_>, document: &Document) -> Result<NapPlan, SceneError> {
    let default = NapPlan::default();
    let Some(form) = &document.naps else { return Ok(default) };
    let NapsForm { dirty_megabytes, dopamine_below, atp_below, .. } = form;
    let level = |quantity: &Option<_>, field: &str, default| match quantity {
        None => Ok(default),
        Some(quantity) => context.bounded(quantity, field, 0.0, 1.0, "a number from 0 to 1").map(Some),
    };
    let dirty_bytes = match dirty_megabytes {
        None => default.dirty_bytes,
        Some(quantity) => Some((context.positive(quantity, "naps.dirty_megabytes")? * 1e6) as u64),
    };
    let group_commit_millis = form.group_commit_millis.unwrap_or(default.group_commit_millis);
    if group_commit_millis > GROUP_COMMIT_MILLIS_MAX {
        return Err(context.value(
            "naps.group_commit_millis",
            format!("{group_commit_millis} ms"),
            format!("at most {GROUP_COMMIT_MILLIS_MAX} ms"),
            "a power cut loses what arrived within this time: keep it short",
        ));
    }
    Ok(NapPlan {
        every_ticks: form.every_ticks.unwrap_or(default.every_ticks),
        dirty_bytes,
        dopamine_below: level(dopamine_below, "naps.dopamine_below", default.dopamine_below)?,
        dopamine_ticks: form.dopamine_ticks.unwrap_or(default.dopamine_ticks),
        atp_below: level(atp_below, "naps.atp_below", default.atp_below)?,
        rest_ticks: form.rest_ticks.unwrap_or(default.rest_ticks),
        compact_every: form.compact_every.unwrap_or(default.compact_every),
        digest_every: form.digest_every.unwrap_or(default.digest_every),
        group_commit_millis,
        encoding: match form.encoding {
            EncodingForm::Lossless => Encoding::Lossless,
            EncodingForm::Nonary => Encoding::Nonary,
        },
    })
}

/// The scheduled orders, earliest first.
///
/// # Errors
/// Too many, or a value that cannot be used, by field.
pub fn schedule(context: &Context<'_>, document: &Document) -> Result<Vec<(u64, Scheduled)>, SceneError> {
    if document.schedule.len() > LIST_MAX {
        let found = format!("{} entries", document.schedule.len());
        let expected = format!("at most {LIST_MAX}");
        return Err(context.value("schedule", found, expected, "split the run into several scenes"));
    }
    let mut schedule = Vec::with_capacity(document.schedule.len());
    for (i, form) in document.schedule.iter().enumerate() {
        let scheduled = match &form.order {
            OrderForm::Inject(text) => Scheduled::Order(Order::Inject(text.clone())),
            OrderForm::SetBeta(beta) => {
                let beta = context.number(beta, &format!("schedule[{i}].order"))?;
                Scheduled::Order(Order::SetBeta(beta))
            }
            OrderForm::Degrade => Scheduled::Order(Order::Degrade),
            OrderForm::Nap => Scheduled::Nap,
            OrderForm::Halt => Scheduled::Halt,
        };
        schedule.push((form.tick, scheduled));
    }
    schedule.sort_by_key(|(tick, _)| *tick);
    Ok(schedule)
}
