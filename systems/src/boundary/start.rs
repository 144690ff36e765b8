//! The pages with which a world begins.
//! Invariant: every page that an emitter acts on is among them.

use super::support::{TooManyPages, support};
use crate::world::{BuildError, RunningEmitter};
use nikola_components::growth::GrowthRule;
use nikola_components::setup::Setup;
use nikola_kernels::Real;

/// All pages of a dense torus; on a sparse one those that the initial field, the emitters and the injections at tick 0
/// need.
///
/// # Errors
/// [`BuildError::TooManyPages`] beyond the memory cap.
pub fn initial_pages<T: Real>(
    setup: &Setup,
    emitters: &[RunningEmitter<T>],
) -> Result<Vec<usize>, BuildError> {
    let Some(rule) = &setup.growth else { return Ok((0..setup.torus.n_pages()).collect()) };
    let mut pages = initial_support(setup, rule)?;
    for emitter in emitters {
        pages.extend(emitter.pages.iter().map(|part| part.page));
    }
    for injection in setup.injections.iter().filter(|injection| injection.tick == 0) {
        let profile = injection.profile.as_ref();
        let more = support(profile, &setup.torus, &rule.seeds, rule.threshold, rule.pages_max);
        pages.extend(more.map_err(|TooManyPages| too_many("an injection", rule))?);
    }
    pages.sort_unstable();
    pages.dedup();
    if pages.len() > rule.pages_max { Err(too_many("the start", rule)) } else { Ok(pages) }
}

/// Pages that the initial field of a sparse torus needs, ascending.
///
/// # Errors
/// [`BuildError::TooManyPages`] beyond the memory cap.
fn initial_support(setup: &Setup, rule: &GrowthRule) -> Result<Vec<usize>, BuildError> {
    support(setup.initial.as_ref(), &setup.torus, &rule.seeds, rule.initial_fraction(), rule.pages_max)
        .map_err(|TooManyPages| too_many("the initial field", rule))
}

/// The refusal of a field that covers too much.
pub fn too_many(what: &str, rule: &GrowthRule) -> BuildError {
    BuildError::TooManyPages {
        what: what.into(),
        pages_max: rule.pages_max,
        remedy: "raise growth.pages_max or growth.threshold, or make the field narrower",
    }
}
