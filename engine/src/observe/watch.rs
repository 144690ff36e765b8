//! Columns of the time series that only watched or neurochemical worlds have.
//! Invariant: names and values are of one length and order. What each means is in docs/FORMATS.md.

use nikola_systems::Simulation;
use nikola_systems::components::ledger::Flow;
use nikola_systems::kernels::engs as rules;

/// Columns of the oracle and of the chemistry, where the scene has them.
pub fn columns(simulation: &Simulation) -> Vec<String> {
    let mut columns = Vec::new();
    if simulation.oracle().is_some() {
        columns.extend(["oracle_state", "energy_drift_ratio", "energy_drift_total", "lock_contention_count"]);
    }
    if simulation.chemistry().is_some() {
        columns.extend(["dopamine", "serotonin", "norepinephrine", "boredom", "atp"]);
        columns.extend(["plasticity_factor", "elasticity_factor"]);
        columns.extend(["damping_scale", "diffusion_scale", "firing_threshold"]);
    }
    let flows = simulation.energy_flows().is_some().then_some(Flow::ALL).into_iter().flatten();
    columns.into_iter().map(String::from).chain(flows.map(|flow| format!("work_{}", flow.name()))).collect()
}

/// Their values now, in the same order.
pub fn values(simulation: &Simulation) -> Vec<f64> {
    let mut values = Vec::new();
    if let Some(report) = simulation.oracle() {
        let contention = simulation.lock_contention_count() as f64;
        let state = f64::from(report.health as u8);
        values.extend([state, report.energy_drift_ratio, report.energy_drift_total, contention]);
    }
    if let (Some(chemistry), Some(effects)) = (simulation.chemistry(), simulation.effects()) {
        values.extend(chemistry.scalars());
        values.push(rules::plasticity_rate(1.0, chemistry.dopamine));
        values.push(rules::elasticity_rate(1.0, chemistry.serotonin));
        values.extend([effects.damping_scale, effects.diffusion_scale, effects.firing_threshold]);
    }
    values.extend(simulation.energy_flows().iter().flat_map(|flows| Flow::ALL.map(|flow| flows.of(flow))));
    values
}
