//! Γ_eff(x) = scale·Γ(x) + extra: what serotonin and a freeze do to the scene's damping.
//! Invariant: columns are filled anew from the profile, so nothing accumulates.

use crate::world::{Environment, fill_profile};
use bevy_ecs::prelude::*;
use nikola_components::column::Scalar;
use nikola_components::fill::Profile;
use nikola_components::wave::Damping;
use nikola_kernels::Real;

/// Γ_eff(x) = scale·Γ(x) + extra.
#[derive(Debug, Clone)]
pub struct DampingLaw {
    /// Γ(x).
    pub profile: Profile,
    /// Factor, by serotonin.
    pub scale: f64,
    /// Uniform addition, by a freeze.
    pub extra: f64,
    /// Whether the norm would be conserved without damping.
    pub is_closed_otherwise: bool,
}

/// Makes Γ_eff = scale·Γ + extra the damping from now on. Columns are filled anew from the profile, so nothing
/// accumulates; where Γ is uniform it is one number.
pub fn set_damping<'a, T: Real + Scalar>(
    columns: impl Iterator<Item = Option<Mut<'a, Damping<T>>>>,
    environment: &mut Environment,
    scale: f64,
    extra: f64,
) {
    let law = &mut environment.damping_law;
    (law.scale, law.extra) = (scale, extra);
    match &law.profile {
        Profile::Uniform(gamma) => environment.uniform_damping = Some(scale * gamma + extra),
        profile => {
            let mut values = Vec::new();
            for (&page, column) in environment.pages.iter().zip(columns) {
                let Some(mut column) = column else { continue };
                values.resize(column.0.len(), 0.0);
                fill_profile(profile, page, &mut values);
                for (slot, value) in column.0.iter_mut().zip(&values) {
                    *slot = T::from_f64(scale * value + extra);
                }
            }
        }
    }
    environment.is_closed =
        environment.uniform_damping == Some(0.0) && environment.damping_law.is_closed_otherwise;
}
