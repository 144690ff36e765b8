//! The end of a run: one table for people, one JSON object for programs.
//! Invariant: both show the same numbers.

use super::watch;
use crate::persist::keeper::KeepReport;
use nikola_systems::components::oracle::OracleReport;
use nikola_systems::metric_update::MetricCounts;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Times of one stage in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StageQuantiles {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// What a run comes to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Scene name.
    pub scene: String,
    /// Ticks done, those before a continued run began included.
    pub ticks: u64,
    /// Ticks done when this run began: times, late ticks and stages count from there.
    pub began_at: u64,
    /// Wall time of the ticks and their outputs.
    pub wall_secs: f64,
    /// ∫|Ψ|².
    pub norm: f64,
    /// Relative to tick 0, minus one.
    pub norm_drift: f64,
    /// Total energy.
    pub energy: f64,
    /// Relative to tick 0, minus one.
    pub energy_drift: f64,
    /// Chemical potential.
    pub mu: f64,
    /// Largest |Ψ|.
    pub max_abs_psi: f64,
    /// Hex digest of the state.
    pub state_digest: String,
    /// By stage name, in execution order.
    pub stages: Vec<(&'static str, StageQuantiles)>,
    /// The scene's observables at the end.
    pub observables: Vec<(String, f64)>,
    /// What the plastic metric did, where there is one.
    pub metric: Option<MetricCounts>,
    /// What the oracle tells, where there is one.
    pub oracle: Option<OracleReport>,
    /// Nodes.
    pub n_nodes: usize,
    /// `"f32"` or `"f64"`.
    pub precision: &'static str,
    /// Worker threads.
    pub threads: usize,
    /// SIMD level.
    pub simd: String,
    /// Where the results are.
    pub folder: Option<String>,
    /// How the state was kept, if it was.
    pub kept: Option<KeepReport>,
    /// Late ticks in real-time pacing.
    pub late_ticks: Option<u64>,
}

/// JSON has no NaN: such a number becomes null.
pub(super) fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

impl Summary {
    /// Ticks per second of wall time.
    pub fn ticks_per_sec(&self) -> f64 {
        self.ticks.saturating_sub(self.began_at) as f64 / self.wall_secs.max(1e-9)
    }

    /// The JSON object.
    pub fn to_json(&self) -> Value {
        let stages: Map<String, Value> = self
            .stages
            .iter()
            .map(|(name, q)| {
                ((*name).to_string(), json!({"p50_micros": q.p50, "p99_micros": q.p99, "max_micros": q.max}))
            })
            .collect();
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_string(), value);
        put("scene", json!(self.scene));
        put("ticks", json!(self.ticks));
        put("began_at_tick", json!(self.began_at));
        put("wall_secs", number(self.wall_secs));
        put("ticks_per_sec", number(self.ticks_per_sec()));
        put("norm", number(self.norm));
        put("norm_drift", number(self.norm_drift));
        put("energy", number(self.energy));
        put("energy_drift", number(self.energy_drift));
        put("mu", number(self.mu));
        put("max_abs_psi", number(self.max_abs_psi));
        put("state_digest", json!(self.state_digest));
        put("stages", Value::Object(stages));
        let observables: Map<String, Value> =
            self.observables.iter().map(|(name, value)| (name.clone(), number(*value))).collect();
        put("observables", Value::Object(observables.clone()));
        let metric = self.metric.map(|counts| {
            json!({
                "updated": counts.n_updated,
                "factorised": counts.n_factorised,
                "hit_rate": number(counts.hit_rate()),
                "projected": counts.n_projected,
                "not_finite": counts.n_not_finite,
                "work": number(counts.work),
            })
        });
        put("metric", json!(metric));
        put("oracle", self.oracle.as_ref().map_or(Value::Null, watch::to_json));
        put("nodes", json!(self.n_nodes));
        put("precision", json!(self.precision));
        put("threads", json!(self.threads));
        put("simd", json!(self.simd));
        put("state", self.kept.as_ref().map_or(Value::Null, KeepReport::to_json));
        put("late_ticks", json!(self.late_ticks));
        put("folder", json!(self.folder));
        // Each observable also by its own name, where that name is free.
        for (name, value) in observables {
            object.entry(name).or_insert(value);
        }
        Value::Object(object)
    }

    /// The table.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{}: {} ticks of {} nodes in {:.2} s, {:.0} ticks/s ({}, {} thread{}, {})",
            self.scene,
            self.ticks,
            self.n_nodes,
            self.wall_secs,
            self.ticks_per_sec(),
            self.precision,
            self.threads,
            if self.threads == 1 { "" } else { "s" },
            self.simd
        );
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "  {name:<14} {value}");
        };
        line("norm", format!("{:.9}   drift {:+.2e}", self.norm, self.norm_drift));
        line("energy", format!("{:.9}   drift {:+.2e}", self.energy, self.energy_drift));
        line("mu", format!("{:.9}", self.mu));
        line("max |Ψ|", format!("{:.6}", self.max_abs_psi));
        for (name, value) in &self.observables {
            line(name, format!("{value:.9}"));
        }
        if let Some(metric) = &self.metric {
            let rate = 100.0 * metric.hit_rate();
            let mut text = format!(
                "{rate:.1} % of {} updates kept their factors, {} projected, work {:+.6e}",
                metric.n_updated, metric.n_projected, metric.work
            );
            if metric.n_not_finite > 0 {
                text += &format!(", {} refused (not finite)", metric.n_not_finite);
            }
            line("metric", text);
        }
        if let Some(report) = &self.oracle {
            line("oracle", watch::to_text(report));
        }
        if let Some(late) = self.late_ticks {
            let ticks = self.ticks.saturating_sub(self.began_at).max(1);
            line("late ticks", format!("{late} ({:.2} %)", 100.0 * late as f64 / ticks as f64));
        }
        if let Some(kept) = &self.kept {
            out.push_str(&kept.to_text());
        }
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "  {name:<14} {value}");
        };
        line("state digest", self.state_digest.chars().take(32).collect::<String>() + "…");
        if self.stages.iter().any(|(_, q)| q.max > 0.0) {
            let _ = writeln!(out, "  {:<14} {:>10} {:>10} {:>10}", "stage (µs)", "p50", "p99", "max");
            for (name, q) in &self.stages {
                let _ = writeln!(out, "  {name:<14} {:>10.2} {:>10.2} {:>10.2}", q.p50, q.p99, q.max);
            }
        }
        if let Some(folder) = &self.folder {
            let _ = writeln!(out, "results in {folder}");
        }
        out
    }
}
