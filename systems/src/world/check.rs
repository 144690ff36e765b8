//! Combinations that cannot be built. Invariant: a scene is refused for the same reasons when it is read, by field.

use super::BuildError;
use crate::integrator::Composition;
use crate::propagators::{check_metric, longest_step};
use nikola_components::fill::Profile;
use nikola_components::geometry::axis::Axis;
use nikola_components::setup::{Equation, Integrator, Setup, TimeMode};

/// Refuses what has no meaning or no scheme.
///
/// # Errors
/// [`BuildError::Unsupported`] names the combination and the remedy.
pub(super) fn check(setup: &Setup, composition: &Composition) -> Result<(), BuildError> {
    let is_damped = !matches!(setup.damping, Profile::Uniform(value) if value == 0.0);
    let name = setup.wave.integrator.name();
    let unsupported = |what: String, remedy: &str| BuildError::Unsupported { what, remedy: remedy.into() };
    if setup.growth.is_some() {
        if setup.wave.integrator != Integrator::Strang {
            return Err(unsupported(format!("a sparse torus with {name}"), "use integrator: Strang"));
        }
        if setup.wave.time == TimeMode::Imaginary {
            let what = "imaginary time on a sparse torus".to_string();
            return Err(unsupported(what, "run it dense, or in real time"));
        }
        if setup.torus.storage().is_empty() {
            return Err(unsupported("a sparse torus of one node".into(), "give an axis more nodes"));
        }
        if let Equation::Wave { .. } = setup.equation {
            return Err(unsupported("the wave form on a sparse torus".into(), "run it dense"));
        }
        check_scan(setup)?;
    }
    if let Equation::Wave { .. } = setup.equation {
        if setup.wave.time == TimeMode::Imaginary {
            let what = "the wave form in imaginary time has no ground state to descend to".to_string();
            return Err(unsupported(what, "run in real time"));
        }
        if setup.wave.integrator != Integrator::Strang {
            let what = format!("the wave form with {name} is not a scheme of fourth order");
            return Err(unsupported(what, "use integrator: Strang"));
        }
        if !matches!(setup.potential, Profile::Uniform(value) if value == 0.0) || setup.drive.is_some() {
            let what = "the wave form has no potential".to_string();
            return Err(unsupported(what, "remove the potential"));
        }
    }
    if setup.wave.time == TimeMode::Imaginary {
        if composition.has_negative_steps() {
            let what = format!("imaginary time with {name}, which steps backwards, is unstable");
            return Err(unsupported(what, "use integrator: Strang"));
        }
        if is_damped {
            let what = "imaginary time with damping has no meaning".to_string();
            return Err(unsupported(what, "set equation.alpha to 0, or run in real time"));
        }
        if setup.oracle.is_some() || setup.engs.is_some() {
            let part = if setup.oracle.is_some() { "an energy balance" } else { "neurochemistry" };
            return Err(unsupported(format!("{part} in imaginary time"), "remove it, or run in real time"));
        }
        if !setup.emitters.is_empty() || setup.drive.is_some() {
            let what =
                "imaginary time with emitters or a time-dependent potential has no ground state".to_string();
            return Err(unsupported(what, "remove them, or run in real time"));
        }
    }
    check_metric(setup)?;
    let dt = setup.wave.dt;
    match longest_step(setup)? {
        Some(longest) if dt >= longest => Err(unsupported(
            format!("the wave form with a metric that varies in space and dt = {dt}"),
            &format!("use a dt below {longest:.4e} = 2/ω, ω the bound of the lattice's frequencies"),
        )),
        _ => Ok(()),
    }
}

/// A scan of a sparse torus goes from slice to slice of whole pages: each must hold the whole of axis t.
///
/// # Errors
/// [`BuildError::Unsupported`] where it does not, or where there may be more nodes than an index can count.
pub fn check_scan(setup: &Setup) -> Result<(), BuildError> {
    let (Some(_), Some(rule)) = (&setup.scan, &setup.growth) else { return Ok(()) };
    let (torus, t) = (&setup.torus, Axis::T.index());
    let (extent, side) = (torus.extents()[t], torus.page_shape()[t]);
    let unsupported = |what: String, remedy: String| Err(BuildError::Unsupported { what, remedy });
    if extent != side {
        return unsupported(
            format!("a scan of a sparse torus whose pages hold {side} of the {extent} slices of axis t"),
            format!("write torus.page with t: {extent}, or give axis t at most 3 nodes, or remove `scan`"),
        );
    }
    let nodes = rule.pages_max.min(torus.n_pages()).saturating_mul(torus.page_nodes());
    if nodes > u32::MAX as usize {
        return unsupported(
            format!("a scan of up to {nodes} active nodes"),
            format!("lower growth.pages_max to {}", u32::MAX as usize / torus.page_nodes()),
        );
    }
    Ok(())
}
