//! One run: scene → world → ticks → files and a closing summary.
//! Invariant: what is observed never changes what is computed; a run that diverges still leaves its files and says at
//! which tick it happened.

mod tables;

use crate::backend::{BackendChoice, BackendFailure, Keeper};
use crate::edge::{Edge, Ending, Flow};
use crate::incidents::Incidents;
use crate::intake::{Batch, Bells, Intake, OrderBuilder};
use crate::observe::digest::state_digest;
use crate::observe::histogram::Histogram;
use crate::observe::moments::centres_and_widths;
use crate::observe::progress::{Figures, Progress};
use crate::observe::run_folder::RunFolder;
use crate::observe::series::SeriesWriter;
use crate::observe::snapshot::{cut, write_active, write_cut, write_psi};
use crate::observe::summary::{StageQuantiles, Summary};
use crate::observe::{OutputError, pictures, watch};
use crate::persist::keeper::KeepReport;
use crate::persist::open::{StateRequest, open};
use crate::persist::replay::Replay;
use crate::persist::{PersistError, blink};
use crate::runner::privileges::{self, Privileges};
use crate::runner::{self, Pace, PaceReport, Pacing, WatchdogPlan, counter, now_nanos};
use crate::scene::{self, Resolved, RunPlan, Scene, SceneError, SeriesFormat};
use crate::shm::ShmError;
use crate::shm::publish::{FrameRequest, Publisher};
use crate::{exit, memory, shm};
use nikola_systems::Simulation;
use nikola_systems::components::telemetry::{Sample, Stage};
use nikola_systems::kernels::simd::Level;
use nikola_systems::world::{BuildError, BuildOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tables::{Tables, columns, continued, scan_columns, versions};

/// Longest time without a tick under real-time scheduling, unless the scene says otherwise.
const WATCHDOG_MICROS: u64 = 2_000;

/// What to run and how.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The scene, overrides applied.
    pub scene: Scene,
    /// Run folder; `runs/<scene>-<n>` when absent.
    pub out: Option<PathBuf>,
    /// Write no files.
    pub no_files: bool,
    /// Worker threads.
    pub threads: usize,
    /// SIMD level; the best when absent.
    pub level: Option<Level>,
    /// Pacing.
    pub pace: Pace,
    /// What the system is asked for in real time.
    pub privileges: Privileges,
    /// No progress display.
    pub quiet: bool,
    /// Where ticks are computed.
    pub backend: BackendChoice,
    /// Name, or part of it, of the adapter to use.
    pub adapter: Option<String>,
    /// Where the state is kept, if it is.
    pub state: Option<StateRequest>,
    /// What signals ask for.
    pub bells: Bells,
    /// Longest time between a request to halt and the end of the process.
    pub end_limit: Duration,
    /// Frames in shared memory.
    pub frames: FrameRequest,
    /// The control plane; none for a run that nobody can reach.
    pub spine: Option<SpineRequest>,
}

/// How a run can be reached; without the feature `spine`, or without a run folder, it cannot.
#[derive(Debug, Clone, Default)]
pub struct SpineRequest {
    /// Network address, `tcp://ADDRESS:PORT`; this machine alone when absent.
    pub listen: Option<String>,
    /// Key store; the user's when absent.
    pub keys: Option<PathBuf>,
    /// Children to supervise, `NAME=PROGRAM ARGUMENTS…`.
    pub children: Vec<String>,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scene cannot run.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The world cannot be built.
    #[error("{scene}: cannot build the world: {reason}")]
    Build {
        /// Scene name.
        scene: String,
        /// Why.
        reason: Box<BuildError>,
    },
    /// The backend is not there, cannot run the scene, or failed.
    #[error(transparent)]
    Backend(#[from] BackendFailure),
    /// A result cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The state cannot be kept or continued.
    #[error(transparent)]
    Persist(#[from] PersistError),
    /// Frames were asked for and cannot be published.
    #[error(transparent)]
    Shm(#[from] ShmError),
    /// The control plane does not start.
    #[error("no spine: {reason}\n  remedy: as above, or run with --no-spine")]
    Spine {
        /// Why, with its remedy.
        reason: String,
    },
    /// The program could not be replaced by a new one.
    #[error(
        "blink: {reason}\n  expected: the program this run was started from\n  remedy:   the state is kept: the same command continues it"
    )]
    Blink {
        /// What the system says.
        reason: std::io::Error,
    },
    /// The system has no timer for the watchdog.
    #[error("cannot arm the watchdog: {0}; expected a free timer; leave realtime.watchdog_micros out")]
    Watchdog(std::io::Error),
    /// Ψ left the finite numbers.
    #[error(
        "{scene}: Ψ is not finite after tick {tick}\n  found:    {n_nodes} node(s) that are NaN or infinite\n  expected: finite amplitudes\n  \
         remedy:   lower dt, |beta| or the source amplitudes; `nikola check` shows the stability margin{folder}"
    )]
    Diverged {
        /// Scene name.
        scene: String,
        /// First tick at which it was seen.
        tick: u64,
        /// Nodes concerned.
        n_nodes: u64,
        /// Where the files are, as a clause.
        folder: String,
    },
    /// The oracle gave the world up.
    #[error(
        "{scene}: the oracle halted the world\n  found:    {incident}\n  expected: a state that a freeze or a checkpoint brings back\n  \
         remedy:   read the incident files; lower dt, |beta| or the source amplitudes, or raise oracle.psi_max{folder}"
    )]
    Halted {
        /// Scene name.
        scene: String,
        /// The last incident.
        incident: String,
        /// Where the files are, as a clause.
        folder: String,
    },
}

impl RunError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Scene(error) => error.exit_code(),
            Self::Build { .. } => exit::SCENE,
            Self::Backend(_) => exit::BACKEND,
            Self::Output(error) => error.exit_code(),
            Self::Persist(error) => error.exit_code(),
            Self::Shm(_) => exit::OUTPUT,
            Self::Spine { .. } => exit::SPINE,
            Self::Watchdog(_) | Self::Blink { .. } => exit::INTERNAL,
            Self::Diverged { .. } | Self::Halted { .. } => exit::DIVERGED,
        }
    }
}

/// Runs a scene to its end.
///
/// # Errors
/// [`RunError`]; files written until then stay.
pub fn run(request: &RunRequest) -> Result<Summary, RunError> {
    let resolved = scene::resolve(&request.scene, &request.scene.base_dir)?;
    if !request.quiet {
        for warning in &resolved.warnings {
            eprintln!("{warning}");
        }
    }
    let stem = request.scene.stem();
    let options = BuildOptions {
        threads: request.threads,
        level: request.level,
        now_nanos: Some(now_nanos),
        counter: Some(counter),
        memory_advice: Some(memory::advise_huge_pages),
    };
    let mut simulation = Simulation::new(&resolved.setup, &options)
        .map_err(|reason| RunError::Build { scene: stem.clone(), reason: Box::new(reason) })?;
    let adapter = request.adapter.as_deref();
    let mut keeper = Keeper::new(&mut simulation, &resolved.setup, request.backend, adapter, &stem)?;
    let plan = &resolved.plan;
    let mut kept = match &request.state {
        None => None,
        Some(state) => {
            let kept = open(state, &request.scene, &resolved.setup, plan.naps, &mut simulation)?;
            if let Some(replay) = kept.report.replay.filter(|_| !request.quiet) {
                eprintln!("{stem}: continues at tick {}", replay.tick);
            }
            Some(kept)
        }
    };
    let folder = folder(request, &stem, kept.as_ref().and_then(|kept| kept.report.replay))?;
    keeper.record_in(folder.as_ref(), request.quiet)?;
    #[cfg(feature = "spine")]
    let run_path = folder.as_ref().map(|folder| folder.path().to_path_buf());
    let pacing = pacing(request, &resolved, folder.as_ref());
    let mut recorder = Recorder::new(&simulation, &resolved, folder, request)?;
    let began = now_nanos();
    recorder.observe(&mut simulation)?;
    let mut bells = request.bells.clone();
    if kept.is_none() {
        // Without a kept state there is nothing that a new program could fall back to.
        bells.blink = Arc::default();
    }
    let (sender, intake) = Intake::new(OrderBuilder::new(&request.scene, &resolved.setup));
    let mut intake = intake.with_schedule(&plan.schedule).with_bells(bells);
    let span = (plan.ticks, resolved.setup.wave.dt);
    let mut frames = Publisher::start(&simulation, &shm::folder(), &stem, span, request.frames)?;
    #[cfg(feature = "spine")]
    let mut spine = match (&request.spine, &run_path) {
        (Some(spine), Some(path)) => crate::spine::attach::attach(spine, path, &stem, sender)?,
        _ => None,
    };
    #[cfg(feature = "spine")]
    if let Some(spine) = &mut spine {
        spine.announce(frames.as_ref().map(Publisher::newest));
    }
    #[cfg(not(feature = "spine"))]
    drop(sender);
    let mut incidents = Incidents::new(&mut simulation, recorder.folder.clone(), request.quiet)?;
    let mut edges: Vec<&mut dyn Edge> = vec![&mut keeper];
    edges.extend(frames.as_mut().map(|frames| -> &mut dyn Edge { frames }));
    // The oracle's edge goes before those that record and keep: both see a state whose events are answered. What is
    // recorded of a tick is written before that tick can be kept: no run is continued behind rows that a kill cost.
    edges.extend(incidents.iter_mut().map(|edge| edge as &mut dyn Edge));
    edges.push(&mut recorder);
    edges.extend(kept.as_mut().map(|kept| -> &mut dyn Edge { kept }));
    #[cfg(feature = "spine")]
    edges.extend(spine.as_mut().map(|spine| -> &mut dyn Edge { spine }));
    let outcome = runner::run(&mut simulation, plan.ticks, &pacing, &mut intake, &mut edges);
    drop(edges);
    recorder.progress.finish();
    let report = outcome?;
    if report.ending == Ending::Blink {
        #[cfg(feature = "spine")]
        drop(spine);
        return Err(recorder.blink(report.ended_nanos));
    }
    recorder.kept = kept.map(|kept| kept.report);
    let wall_secs = (now_nanos() - began) as f64 * 1e-9;
    let folder = recorder.folder_clause();
    let summary = recorder.finish(&mut simulation, request, &stem, wall_secs, report)?;
    match incidents.as_ref().and_then(|edge| edge.halting(&simulation)) {
        Some(incident) => Err(RunError::Halted { scene: stem, incident, folder }),
        None => Ok(summary),
    }
}

/// The folder for the results, if there is to be one; of a continued run it says where that goes on.
fn folder(
    request: &RunRequest,
    stem: &str,
    replay: Option<Replay>,
) -> Result<Option<RunFolder>, OutputError> {
    let folder = match &request.out {
        _ if request.no_files => return Ok(None),
        Some(path) if blink::began_nanos().is_some() => RunFolder::claim(path, "blink")?,
        Some(path) => RunFolder::take(path)?,
        None => RunFolder::claim(&PathBuf::from("runs"), stem)?,
    };
    if let Some(replay) = replay {
        folder.write_json("continued.json", &continued(&replay))?;
    }
    Ok(Some(folder))
}

/// Asks the system for what real time needs, on this thread, and says what the runner does with it. Without
/// real-time scheduling a busy machine holds a healthy tick thread for longer than the watchdog's usual limit, so
/// the watchdog is armed only with it, or where the scene sets a limit.
fn pacing(request: &RunRequest, resolved: &Resolved, folder: Option<&RunFolder>) -> Pacing {
    let rules = resolved.plan.realtime;
    let granted = privileges::request(request.privileges);
    for warning in &granted.warnings {
        eprintln!("{warning}");
    }
    let limit = rules.watchdog_micros.or_else(|| granted.has_priority.then_some(WATCHDOG_MICROS));
    let watchdog = limit.map(|limit_micros| WatchdogPlan {
        limit_micros,
        path: folder.map_or_else(|| PathBuf::from("."), |folder| folder.path().into()).join("black-box.txt"),
    });
    Pacing { pace: request.pace, rules, watchdog, end_limit: Some(request.end_limit) }
}

/// What is written and remembered during a run.
struct Recorder<'a> {
    plan: &'a RunPlan,
    folder: Option<RunFolder>,
    series: Option<SeriesWriter>,
    stages: Vec<Histogram>,
    tables: Option<Tables>,
    /// Ticks done when this run began.
    began_at: u64,
    last: Sample,
    norm_now: f64,
    ticks_since_look: u32,
    diverged_at: Option<u64>,
    progress: Progress,
    kept: Option<KeepReport>,
}

impl Edge for Recorder<'_> {
    fn before_tick(&mut self, _simulation: &Simulation, batch: &mut Batch) -> Result<(), RunError> {
        match &mut self.tables {
            Some(tables) if !batch.decisions.is_empty() => Ok(tables.note_decisions(&batch.decisions)?),
            _ => Ok(()),
        }
    }

    /// Stage times, finiteness, and whatever is due.
    fn after_tick(&mut self, simulation: &mut Simulation) -> Result<Flow, RunError> {
        for (histogram, nanos) in self.stages.iter_mut().zip(simulation.stage_times().nanos) {
            histogram.add(nanos);
        }
        // A watched world that leaves the finite numbers is the oracle's to bring back.
        if simulation.ledger().n_nonfinite_ticks > 0 && simulation.oracle().is_none() {
            self.diverged_at = Some(simulation.tick_count());
        }
        self.observe(simulation)?;
        if self.shows_progress() {
            let figures = self.figures(simulation);
            self.progress.show(figures);
        }
        Ok(if self.diverged_at.is_none() { Flow::Continue } else { Flow::Stop })
    }

    /// A run that was asked to end early is summed up where it ends.
    fn at_end(&mut self, simulation: &mut Simulation, ending: Ending) -> Result<(), RunError> {
        match ending {
            Ending::Halted => self.last = simulation.sample(),
            Ending::Done | Ending::Stopped | Ending::Blink => {}
        }
        Ok(())
    }
}

impl<'a> Recorder<'a> {
    fn new(
        simulation: &Simulation,
        resolved: &'a Resolved,
        folder: Option<RunFolder>,
        request: &RunRequest,
    ) -> Result<Self, RunError> {
        let plan = &resolved.plan;
        let (mut series, mut tables) = (None, None);
        if let Some(folder) = &folder {
            folder.write_text("scene.ron", request.scene.text())?;
            folder.write_json("resolved.json", &scene::check(resolved, None).to_json())?;
            folder.write_json("versions.json", &versions(simulation))?;
            let has = |format| plan.formats.contains(&format);
            let columns = columns(simulation, plan);
            series = Some(SeriesWriter::create(
                folder.path(),
                &columns,
                has(SeriesFormat::Csv),
                has(SeriesFormat::Npy),
            )?);
            tables = Some(Tables::create(folder.path(), simulation, request.pace)?);
        }
        Ok(Self {
            plan,
            folder,
            series,
            stages: vec![Histogram::default(); Stage::ALL.len()],
            tables,
            began_at: simulation.tick_count(),
            last: Sample::default(),
            norm_now: f64::NAN,
            ticks_since_look: 0,
            diverged_at: None,
            progress: Progress::new(&request.scene.stem(), plan.ticks, request.quiet),
            kept: None,
        })
    }

    /// Rows, snapshots and marginals that are due now.
    fn observe(&mut self, simulation: &mut Simulation) -> Result<(), RunError> {
        match &mut self.tables {
            Some(tables) => tables.note_growth(simulation)?,
            None => while simulation.pop_growth().is_some() {},
        }
        let (tick, ticks) = (simulation.tick_count(), self.plan.ticks);
        let is_end = tick == ticks || self.diverged_at.is_some();
        let is_row = tick.is_multiple_of(self.plan.series_every);
        let is_snapshot = self.plan.snapshots.is_due(tick, ticks);
        if !(is_end || is_row || is_snapshot) {
            return Ok(());
        }
        self.last = simulation.sample();
        self.norm_now = self.last.norm;
        let is_lost = self.last.n_nonfinite > 0 && simulation.oracle().is_none();
        if is_lost && self.diverged_at.is_none() {
            self.diverged_at = Some(tick);
        }
        if is_row || is_end {
            let row = self.row(simulation);
            if let Some(series) = &mut self.series {
                series.push(&row)?;
            }
        }
        if is_snapshot {
            self.snapshot(simulation)?;
        }
        Ok(())
    }

    fn row(&self, simulation: &Simulation) -> Vec<f64> {
        let s = &self.last;
        let mut row = vec![
            s.tick as f64,
            s.time,
            s.norm,
            s.norm_drift,
            s.energy,
            s.energy_kinetic,
            s.energy_potential,
            s.energy_interaction,
            s.energy_drift,
            s.mu,
            s.max_abs_psi,
        ];
        if let Some(growth) = simulation.growth() {
            row.extend([simulation.active_pages().len() as f64, growth.n_births as f64]);
            row.extend([growth.n_prunings as f64, growth.pruned_norm, growth.leaked]);
        }
        for (axis, centre, width) in centres_and_widths(simulation) {
            row.extend([s.momentum[axis.index()], centre, width]);
        }
        row.extend(scan_columns(simulation).into_iter().map(|(_, value)| value));
        row.extend(self.stages.iter().map(|histogram| histogram.quantile_micros(0.5)));
        row.extend(watch::values(simulation));
        row.extend(self.observables(simulation).into_iter().map(|(_, value)| value));
        row
    }

    /// Ends what this program recorded and lets the new one take its place; returns only if there is none.
    fn blink(&mut self, ended_nanos: u64) -> RunError {
        if let Some(series) = &mut self.series
            && let Err(error) = series.finish()
        {
            return error.into();
        }
        if let Some(tables) = &mut self.tables
            && let Err(error) = tables.finish()
        {
            return error.into();
        }
        RunError::Blink { reason: blink::exec(ended_nanos) }
    }

    fn folder_clause(&self) -> String {
        self.folder.as_ref().map_or_else(String::new, |f| format!("; files are in {}", f.path().display()))
    }

    fn observables(&self, simulation: &Simulation) -> Vec<(String, f64)> {
        let t = simulation.time();
        let value = |observable: &scene::Observable| {
            let read = |page, re: &mut [f64], im: &mut [f64]| simulation.read_page(page, re, im);
            observable.evaluate(t, simulation.active_pages(), read)
        };
        self.plan.observables.iter().map(|observable| (observable.name.clone(), value(observable))).collect()
    }

    fn snapshot(&mut self, simulation: &Simulation) -> Result<(), RunError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let snapshots = folder.subfolder("snapshots")?;
        let tick = simulation.tick_count();
        if simulation.growth().is_some() {
            let pages = snapshots.join(format!("pages-{tick:09}.npy"));
            write_active(simulation, &pages, &snapshots.join(format!("active-{tick:09}.npy")))?;
        } else {
            write_psi(simulation, &snapshots.join(format!("psi-{tick:09}.npy")))?;
        }
        for marginal in &self.plan.marginals {
            let name = format!("{}-{tick:09}.npy", marginal.name());
            write_cut(&cut(simulation, marginal), &snapshots.join(name))?;
        }
        if let Some(tables) = &mut self.tables {
            tables.note_digest(tick, &state_digest(simulation))?;
        }
        Ok(())
    }

    /// The clock is looked at every so many ticks, so that small scenes are not slowed down by it.
    fn shows_progress(&mut self) -> bool {
        self.ticks_since_look += 1;
        let is_due = self.ticks_since_look >= 16;
        if is_due {
            self.ticks_since_look = 0;
        }
        is_due
    }

    fn figures(&self, simulation: &Simulation) -> Figures {
        Figures {
            tick: simulation.tick_count(),
            norm_drift: self.last.norm_drift,
            energy_drift: self.last.energy_drift,
        }
    }

    fn finish(
        mut self,
        simulation: &mut Simulation,
        request: &RunRequest,
        stem: &str,
        wall_secs: f64,
        pace: PaceReport,
    ) -> Result<Summary, RunError> {
        let tick = simulation.tick_count();
        let quantiles = |histogram: &Histogram| StageQuantiles {
            p50: histogram.quantile_micros(0.5),
            p99: histogram.quantile_micros(0.99),
            max: histogram.max_micros(),
        };
        let stages =
            Stage::ALL.iter().zip(&self.stages).map(|(stage, h)| (stage.name(), quantiles(h))).collect();
        let summary = Summary {
            scene: stem.to_string(),
            ticks: tick,
            began_at: self.began_at,
            wall_secs,
            norm: self.last.norm,
            norm_drift: self.last.norm_drift,
            energy: self.last.energy,
            energy_drift: self.last.energy_drift,
            mu: self.last.mu,
            max_abs_psi: self.last.max_abs_psi,
            state_digest: state_digest(simulation),
            stages,
            observables: self.observables(simulation),
            metric: simulation.metric_counts(),
            oracle: simulation.oracle().copied(),
            n_nodes: simulation.torus().n_nodes(),
            precision: simulation.precision().name(),
            threads: simulation.compute().n_threads,
            simd: simulation.compute().level.to_string(),
            folder: self.folder.as_ref().map(|folder| folder.path().display().to_string()),
            kept: self.kept.clone(),
            late_ticks: (request.pace == Pace::Realtime).then_some(pace.late_ticks),
        };
        if let Some(series) = &mut self.series {
            series.finish()?;
        }
        if let Some(tables) = &mut self.tables {
            tables.note_digest(tick, &summary.state_digest)?;
            tables.note_decisions(&pace.last_decisions)?;
            tables.finish()?;
        }
        if let Some(folder) = &self.folder {
            folder.write_json("summary.json", &summary.to_json())?;
            pictures::draw_run(folder, simulation, self.plan)?;
        }
        match self.diverged_at {
            Some(tick) => Err(RunError::Diverged {
                scene: stem.to_string(),
                tick,
                n_nodes: self.last.n_nonfinite,
                folder: summary.folder.map_or_else(String::new, |folder| format!("; files are in {folder}")),
            }),
            None => Ok(summary),
        }
    }
}
