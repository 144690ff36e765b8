//! What the scalars do to the tick: Γ follows serotonin, D follows norepinephrine, the firing threshold follows arousal.
//! Invariant: a column or a kinetic plan is renewed only where a step of `DAMPING_STEPS` or `DIFFUSION_STEPS` was crossed;
//! what a change of Γ or D does to the energy balance is booked here.

use super::*;

/// Shows the scalars to other threads, and sets the effects that need no column.
pub(crate) fn publish<T: Real + Scalar>(
    targets: &mut Targets<'_, T>,
    chemistry: &Chemistry,
    board: &ChemistryBoard,
) {
    board.publish(chemistry);
    if let Some(effects) = &mut targets.effects {
        effects.firing_threshold = rules::firing_threshold(chemistry.norepinephrine);
    }
}

/// Serotonin's effect: Γ, where a step was crossed. Says whether it was.
pub(crate) fn soothe<'a, T: Real + Scalar>(
    targets: &mut Targets<'_, T>,
    chemistry: &Chemistry,
    damping: impl Iterator<Item = Option<Mut<'a, Damping<T>>>>,
) -> bool {
    let Targets { engs: Some(engs), effects: Some(effects), flows, environment, .. } = targets else {
        return false;
    };
    let step = (rules::damping_scale(chemistry.serotonin) * DAMPING_STEPS).round() as i64;
    if step == engs.damping_step {
        return false;
    }
    let ratio = step as f64 / engs.damping_step as f64;
    engs.damping_step = step;
    effects.damping_scale = step as f64 / DAMPING_STEPS;
    let extra = environment.damping_law.extra;
    set_damping(damping, environment, effects.damping_scale, extra);
    if let Some(flows) = flows {
        flows.scale_damping(ratio);
    }
    true
}

/// Norepinephrine's effect: D, where a step was crossed. `kinetic` gives the kinetic energy with the scene's D for the
/// balance, from T as it was where it is known, or from T now and its scale. Says whether a step was crossed.
pub(crate) fn hasten<'a, T: Real + Scalar>(
    targets: &mut Targets<'_, T>,
    chemistry: &Chemistry,
    (compute, cells): (&Compute, impl Iterator<Item = &'a MetricCells>),
    kinetic: impl FnOnce(Option<&KineticForm>, &Propagators<T>, f64) -> f64,
) -> bool {
    let Targets { engs: Some(engs), effects: Some(effects), flows, propagators, metric, wave, .. } = targets
    else {
        return false;
    };
    let step = if engs.settings.state == 0.0 {
        0
    } else {
        (chemistry.norepinephrine * DIFFUSION_STEPS).round() as i64
    };
    if step == engs.diffusion_step {
        return false;
    }
    engs.diffusion_step = step;
    let arousal = step as f64 / DIFFUSION_STEPS;
    let before = effects.diffusion_scale;
    effects.diffusion_scale = rules::diffusion_scale(engs.settings.state, arousal);
    wave.diffusion = engs.diffusion.map(|d| d * effects.diffusion_scale);
    let scale = effects.diffusion_scale;
    let means = (compute.level, compute.long_threads());
    rescale(propagators, metric.as_deref_mut(), cells, means, &engs.terms, scale);
    if let Some(flows) = flows {
        let kinetic = kinetic(engs.form.as_ref(), propagators, scale);
        flows.add(Flow::Parameters, (scale - before) * kinetic);
        flows.scale_kinetic(effects.diffusion_scale / before);
    }
    true
}

/// D becomes `scale` times the scene's, by the scene's `terms`.
pub(super) fn rescale<'a, T: Real + Scalar>(
    propagators: &mut Propagators<T>,
    metric: Option<&mut PlasticMetric>,
    cells: impl Iterator<Item = &'a MetricCells>,
    means: (Level, Threads<'_>),
    terms: &[AxisTerm],
    scale: f64,
) {
    if let (Some(metric), Some(diffusion)) = (metric, &mut propagators.diffusion) {
        metric.set_scale(scale);
        fill_diffusion(metric, means.0, cells.enumerate(), diffusion);
    }
    propagators.rescale(means, terms, scale);
}
