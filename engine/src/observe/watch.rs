//! Columns of the time series that only watched or neurochemical worlds have, and what the oracle tells in the end.
//! Invariant: names and values are of one length and order. What each means is in docs/FORMATS.md.

use super::summary::number;
use nikola_systems::Simulation;
use nikola_systems::components::ledger::Flow;
use nikola_systems::components::oracle::OracleReport;
use nikola_systems::kernels::engs as rules;
use serde_json::{Value, json};

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

/// What the oracle tells, as an object.
pub fn to_json(report: &OracleReport) -> Value {
    json!({
        "state": report.health.name(),
        "strikes": report.strikes,
        "renormalisations": report.n_renormalisations,
        "scrams": report.n_scrams,
        "resets": report.n_resets,
        "energy_drift_ratio": number(report.energy_drift_ratio),
        "energy_drift_worst": number(report.energy_drift_worst),
        "energy_drift_total": number(report.energy_drift_total),
        "max_abs_psi": number(report.max_abs_psi),
    })
}

/// The same as a line.
pub fn to_text(report: &OracleReport) -> String {
    format!(
        "{}; residual {:.2e}, worst {:.2e}; {} renormalisations, {} freezes, {} resets",
        report.health.name(),
        report.energy_drift_ratio,
        report.energy_drift_worst,
        report.n_renormalisations,
        report.n_scrams,
        report.n_resets
    )
}
