//! `nikola check`: what a scene will cost and how it is discretised, without running a tick.
//!
//! Invariant: figures come from the setup and the survey only; the simulation is never built. Byte counts are those
//! of the floor: what the scheme must move if Ψ passes through the cores twice per kinetic sweep pair.

use super::resolve::Resolved;
use super::warning::{Figures, Warning, k_max, kinetic_phase, nonlinear_phase};
use nikola_components::fill::Profile;
use nikola_components::geometry::axis::Axis;
use nikola_components::setup::{Equation, Integrator, Setup};
use nikola_systems::propagators::describe;
use serde::Serialize;
use std::fmt;

/// Bandwidth assumed when the caller has measured none: a tenth of a current server's, as one core has it.
pub const BANDWIDTH_ASSUMED: f64 = 20e9;

/// One active axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AxisReport {
    /// Letter.
    pub axis: &'static str,
    /// Nodes.
    pub extent: usize,
    /// Period.
    pub length: f64,
    /// Distance of neighbours.
    pub spacing: f64,
    /// Largest wave number.
    pub k_max: f64,
    /// D^{dd}.
    pub diffusion: f64,
    /// How the kinetic flow along it is computed.
    pub scheme: String,
}

/// What one stage must move per tick.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageFloor {
    /// Stage.
    pub stage: &'static str,
    /// Bytes per tick.
    pub bytes: f64,
    /// Microseconds at the stated bandwidth.
    pub micros: f64,
}

/// One emitter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmitterReport {
    /// Name.
    pub name: String,
    /// Turns per unit of model time.
    pub frequency_hz: f64,
    /// Phase at t = 0, degrees.
    pub phase_deg: f64,
    /// Strength.
    pub amplitude: f64,
    /// Turns per tick.
    pub turns_per_tick: f64,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// Title.
    pub title: String,
    /// Nodes.
    pub nodes: usize,
    /// Pages.
    pub pages: usize,
    /// Nodes per page along r…z.
    pub page_shape: [usize; 9],
    /// Nodes per page.
    pub page_nodes: usize,
    /// Active axes, slowest first.
    pub axes: Vec<AxisReport>,
    /// `"f32"` or `"f64"`.
    pub precision: &'static str,
    /// Composition of the tick.
    pub integrator: &'static str,
    /// `"real"` or `"imaginary"`.
    pub time: &'static str,
    /// Model time per tick.
    pub dt: f64,
    /// Ticks.
    pub ticks: u64,
    /// Model time of the run.
    pub duration: f64,
    /// Columns of Ψ, V and Γ per node, in bytes.
    pub bytes_per_node: f64,
    /// Columns and node lists of emitters, in bytes, at most.
    pub memory_bytes: f64,
    /// dt·½ΣD k_max².
    pub kinetic_phase: f64,
    /// dt·|β||Ψ|²_max at tick 0.
    pub nonlinear_phase: f64,
    /// Figures of the profiles.
    pub figures: Figures,
    /// Bandwidth of the floors, bytes per second.
    pub bandwidth_bytes_per_sec: f64,
    /// Whether that bandwidth was measured.
    pub is_bandwidth_measured: bool,
    /// Floors.
    pub stages: Vec<StageFloor>,
    /// Sum of the floors.
    pub floor_micros: f64,
    /// Emitters.
    pub emitters: Vec<EmitterReport>,
    /// Injections.
    pub injections: usize,
    /// Pages of a sparse torus: active at the start, and at most.
    pub active_pages: Option<(usize, usize)>,
    /// Observables of the scene.
    pub observables: Vec<String>,
    /// Rows of the time series, snapshots and their size.
    pub outputs: OutputReport,
    /// Warnings.
    pub warnings: Vec<Warning>,
}

/// What a run writes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputReport {
    /// Rows of the time series.
    pub series_rows: u64,
    /// Snapshots of Ψ.
    pub snapshots: u64,
    /// Bytes of one snapshot.
    pub snapshot_bytes: f64,
    /// Cuts and projections at each snapshot.
    pub marginals: Vec<String>,
}

/// How the engine propagates along each active axis, in storage order, as its planner says.
fn schemes(setup: &Setup) -> Vec<String> {
    describe(setup).unwrap_or_default()
}

/// Kinetic and local flows per tick: (local, kinetic).
fn flows(integrator: Integrator) -> (f64, f64) {
    match integrator {
        Integrator::Strang => (2.0, 1.0),
        Integrator::Yoshida4 => (4.0, 3.0),
        Integrator::BlanesMoan4 => (7.0, 6.0),
    }
}

fn per_node(profile: &Profile) -> f64 {
    match profile {
        Profile::Uniform(_) => 0.0,
        Profile::PerNode(_) => 1.0,
    }
}

/// Scalars on every node: both parts of Ψ and, in the wave form, of Ψ̇; V, Γ.
fn scalars_per_node(setup: &Setup) -> f64 {
    let potential = if setup.drive.is_some() { 1.0 } else { per_node(&setup.potential) };
    fields(setup) + potential + per_node(&setup.damping)
}

/// Scalars of the state on every node.
fn fields(setup: &Setup) -> f64 {
    match setup.equation {
        Equation::Schrodinger => 2.0,
        Equation::Wave { .. } => 4.0,
    }
}

/// Bytes that the columns and the emitters' node lists of a setup take, at most: an emitter keeps an index and a
/// complex weight for each node on which its profile acts. A sparse torus has at most as many pages as it may.
pub fn memory_bytes(setup: &Setup) -> f64 {
    let scalar = setup.precision.bytes() as f64;
    let emitters = setup.emitters.len() as f64 * (4.0 + 2.0 * scalar);
    let scalars = scalars_per_node(setup) + leapfrog_scalars(setup);
    active_nodes(setup) as f64 * (scalar * scalars + emitters) + scan_bytes(setup)
}

/// Scalars per node of the wave form's fields between passes where the metric varies: ∂D∂Ψ, a copy, and D and the slope of
/// each axis whose D varies.
fn leapfrog_scalars(setup: &Setup) -> f64 {
    leaping_axes(setup).map_or(0.0, |axes| {
        let pairs = setup.metric.as_ref().map_or(0, |metric| metric.off_diagonal.len());
        4.0 + 3.0 * axes as f64 + pairs as f64
    })
}

/// Axes with slopes of their own in the wave form's leapfrog; none where the metric is constant or the equation another.
fn leaping_axes(setup: &Setup) -> Option<usize> {
    if !matches!(setup.equation, Equation::Wave { .. }) {
        return None;
    }
    let storage = setup.torus.storage();
    let metric = match &setup.metric {
        None => return setup.plasticity.map(|_| storage.len()),
        Some(metric) => metric,
    };
    let varies = |axis: &&Axis| {
        matches!(metric.diagonal[axis.index()], Profile::PerNode(_))
            || metric.off_diagonal.iter().any(|(a, b, _)| a == *axis || b == *axis)
    };
    Some(storage.iter().filter(varies).count())
}

/// Nodes of a torus; of a sparse one those of as many pages as it may have.
fn active_nodes(setup: &Setup) -> usize {
    match &setup.growth {
        None => setup.torus.n_nodes(),
        Some(rule) => rule.pages_max.min(setup.torus.n_pages()) * setup.torus.page_nodes(),
    }
}

/// Bytes of a scan's records and orders, and of what its readout remembers.
fn scan_bytes(setup: &Setup) -> f64 {
    let Some(scan) = &setup.scan else { return 0.0 };
    let (torus, n_traversals) = (&setup.torus, scan.traversals.len());
    let n_nodes = active_nodes(setup);
    let n_positions = n_nodes / torus.extents()[Axis::T.index()];
    let record = setup.precision.bytes() as f64 * (4.0 + per_node(&scan.openness));
    let width = scan.readout.as_ref().map_or(0, |readout| readout.n_features(n_traversals) + 1) as f64;
    n_nodes as f64 * record + (4 * n_traversals * n_positions) as f64 + 8.0 * width * width
}

/// Examines a resolved scene. `bandwidth` is a measured copy bandwidth in bytes per second, if the caller has one.
pub fn check(resolved: &Resolved, bandwidth: Option<f64>) -> CheckReport {
    let setup = &resolved.setup;
    let torus = &setup.torus;
    let active_pages = setup.growth.as_ref().map(|rule| (resolved.initial_pages, rule.pages_max));
    let pages = active_pages.map_or(torus.n_pages(), |(initial, _)| initial);
    let nodes = (pages * torus.page_nodes()) as f64;
    let scalar = setup.precision.bytes() as f64;
    let bytes_per_node = scalar * scalars_per_node(setup);
    let bandwidth_bytes_per_sec = bandwidth.filter(|value| *value > 0.0).unwrap_or(BANDWIDTH_ASSUMED);
    let stages = floors(setup, nodes, scalar, bandwidth_bytes_per_sec);
    let emitters = setup.emitters.iter().map(|emitter| EmitterReport {
        name: emitter.name.clone(),
        frequency_hz: emitter.frequency_hz,
        phase_deg: emitter.phase_turns * 360.0,
        amplitude: emitter.amplitude,
        turns_per_tick: emitter.frequency_hz * setup.wave.dt,
    });
    let plan = &resolved.plan;
    CheckReport {
        title: plan.title.clone(),
        nodes: torus.n_nodes(),
        pages: torus.n_pages(),
        page_shape: torus.page_shape(),
        page_nodes: torus.page_nodes(),
        axes: torus
            .storage()
            .iter()
            .zip(schemes(setup))
            .map(|(axis, scheme)| axis_report(setup, *axis, scheme))
            .collect(),
        precision: setup.precision.name(),
        integrator: setup.wave.integrator.name(),
        time: match setup.wave.time {
            nikola_components::setup::TimeMode::Real => "real",
            nikola_components::setup::TimeMode::Imaginary => "imaginary",
        },
        dt: setup.wave.dt,
        ticks: plan.ticks,
        duration: setup.wave.dt * plan.ticks as f64,
        bytes_per_node,
        memory_bytes: memory_bytes(setup),
        kinetic_phase: kinetic_phase(setup),
        nonlinear_phase: nonlinear_phase(setup, &resolved.figures),
        figures: resolved.figures,
        bandwidth_bytes_per_sec,
        is_bandwidth_measured: bandwidth.is_some(),
        floor_micros: stages.iter().map(|stage| stage.micros).sum(),
        stages,
        emitters: emitters.collect(),
        injections: setup.injections.len(),
        active_pages,
        observables: plan.observables.iter().map(|observable| observable.name.clone()).collect(),
        outputs: OutputReport {
            series_rows: 1 + plan.ticks.div_ceil(plan.series_every),
            snapshots: plan.snapshots.count(plan.ticks),
            snapshot_bytes: 2.0 * scalar * nodes,
            marginals: plan.marginals.iter().map(super::plan::Marginal::name).collect(),
        },
        warnings: resolved.warnings.clone(),
    }
}

fn axis_report(setup: &Setup, axis: Axis, scheme: String) -> AxisReport {
    let d = axis.index();
    AxisReport {
        axis: axis.name(),
        extent: setup.torus.extents()[d],
        length: setup.torus.lengths()[d],
        spacing: setup.torus.spacing(axis),
        k_max: k_max(&setup.torus, axis),
        diffusion: setup.wave.diffusion[d],
        scheme,
    }
}

/// Bytes each stage must move per tick: two sweeps over Ψ (in and out) per kinetic flow, on which the local flows
/// ride, adding the reads of V and Γ; in the wave form three sweeps over Ψ and Ψ̇. Emitters, which touch only the nodes of their profiles, are not included.
/// A scan reads Ψ once, writes a record of four scalars per node and reads records and indices once per traversal.
fn floors(setup: &Setup, nodes: f64, scalar: f64, bandwidth: f64) -> Vec<StageFloor> {
    let (local, kinetic) = flows(setup.wave.integrator);
    let coefficients = scalars_per_node(setup) - fields(setup);
    let floor = |stage, scalars: f64| {
        let bytes = scalars * scalar * nodes;
        StageFloor { stage, bytes, micros: bytes / bandwidth * 1e6 }
    };
    let mut stages = Vec::new();
    if let Equation::Wave { .. } = setup.equation {
        let scalars = match leaping_axes(setup) {
            None => 3.0 * 2.0 * fields(setup) + 2.0 * coefficients,
            // Two kicks and a drift, and for each axis gradient, flux and divergence of Ψ.
            Some(axes) => {
                18.0 + 2.0 * coefficients + 8.0 * setup.torus.storage().len() as f64 + 4.0 * axes as f64
            }
        };
        stages.push(floor("wave_form", scalars));
    } else {
        stages.push(floor("half_potential", local * coefficients));
        stages.push(floor("kinetic", 8.0 * kinetic));
    }
    if let Some(scan) = setup.scan.as_ref().filter(|scan| !scan.traversals.is_empty()) {
        let per_traversal = 4.0 + 4.0 / scalar;
        let scalars = 2.0 + per_node(&scan.openness) + 4.0 + per_traversal * scan.traversals.len() as f64;
        stages.push(floor("mamba_scan", scalars / scan.every as f64));
    }
    stages
}

impl CheckReport {
    /// The report as one JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or(serde_json::Value::Null)
    }
}

/// 1234567 → "1.23 MB".
fn bytes(count: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let step = (0..4).find(|&step| count < 1000f64.powi(step + 1)).unwrap_or(4);
    format!("{:.3} {}", count / 1000f64.powi(step), units[step as usize])
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let page: Vec<String> = self.page_shape.iter().map(ToString::to_string).collect();
        writeln!(
            f,
            "  torus       {} nodes in {} page(s) of {} ({})",
            self.nodes,
            self.pages,
            self.page_nodes,
            page.join("×")
        )?;
        if let Some((initial, most)) = self.active_pages {
            writeln!(f, "  sparse      {initial} page(s) active at the start · at most {most}")?;
        }
        writeln!(f, "  axis   extent       length      spacing        k_max            D  kinetic scheme")?;
        for axis in &self.axes {
            writeln!(
                f,
                "  {:<4}{:>9}{:>13.5}{:>13.5}{:>13.5}{:>13.5}  {}",
                axis.axis, axis.extent, axis.length, axis.spacing, axis.k_max, axis.diffusion, axis.scheme
            )?;
        }
        writeln!(
            f,
            "  time        {} · {} · dt = {} · {} ticks = {} model time",
            self.time, self.integrator, self.dt, self.ticks, self.duration
        )?;
        writeln!(
            f,
            "  memory      {} · {} bytes per node · {}",
            self.precision,
            self.bytes_per_node,
            bytes(self.memory_bytes)
        )?;
        writeln!(
            f,
            "  phases      dt·½ΣD k_max² = {:.4} · dt·|β||Ψ|²_max = {:.4} (their sum should stay below π)",
            self.kinetic_phase, self.nonlinear_phase
        )?;
        writeln!(
            f,
            "  profiles    ∫|Ψ|² = {:.6} · |Ψ|²_max = {:.6} · V from {:.6} to {:.6} · Γ up to {:.6}",
            self.figures.norm,
            self.figures.density_greatest,
            self.figures.potential.0,
            self.figures.potential.1,
            self.figures.damping_greatest
        )?;
        let origin = if self.is_bandwidth_measured { "measured" } else { "assumed" };
        writeln!(f, "  floors      at {:.1} GB/s ({origin})", self.bandwidth_bytes_per_sec * 1e-9)?;
        for stage in &self.stages {
            writeln!(
                f,
                "    {:<16}{:>12} per tick {:>12.2} µs",
                stage.stage,
                bytes(stage.bytes),
                stage.micros
            )?;
        }
        for emitter in &self.emitters {
            writeln!(
                f,
                "  emitter     {:<16} {:>12.6} Hz at {:>8.3}° · amplitude {} · {:.6} turns per tick",
                emitter.name,
                emitter.frequency_hz,
                emitter.phase_deg,
                emitter.amplitude,
                emitter.turns_per_tick
            )?;
        }
        let outputs = &self.outputs;
        writeln!(
            f,
            "  outputs     {} rows · {} snapshot(s) of {} · marginals: {}",
            outputs.series_rows,
            outputs.snapshots,
            bytes(outputs.snapshot_bytes),
            if outputs.marginals.is_empty() { "none".into() } else { outputs.marginals.join(" ") }
        )?;
        writeln!(f, "  observables {}", self.observables.join(" · "))?;
        for warning in &self.warnings {
            writeln!(f, "  {warning}")?;
        }
        Ok(())
    }
}
