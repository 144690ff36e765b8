//! The oracle's settings, its states, and what it reports when it acts.
//!
//! Invariant: a watched world is always in one of the named states; every change of state is an [`Incident`].
//!
//! ```text
//!               residual > warning               strikes used up: Ψ renormalised
//!   ┌─────────┐ ───────────────────► ┌─────────┐ ─┐
//!   │ NOMINAL │                      │ WARNING │  │ (stays, then falls back to NOMINAL)
//!   └─────────┘ ◄─────────────────── └─────────┘ ◄┘
//!     ▲   │ residual back below           │
//!     │   │                               │ |Ψ| > psi_max, not finite, an alarm (Command::Scram),
//!     │   └───────────────┬───────────────┘ or strikes used up with action Scram
//!     │                   ▼
//!     │ stable       ┌────────────┐  sources off, damping raised by γ for freeze_ticks
//!     ├◄─────────────│ SOFT_SCRAM │  (phase 1, Zeno freeze; held until RESUME where resume is Manual;
//!     │              └────────────┘   γ = 0.5 where ticks that take too long asked for it)
//!     │                   │ not finite, or still unstable after the freeze
//!     │                   ▼
//!     │ restored     ┌────────────┐  asks for the last checkpoint (phase 2); the input that led here is
//!     ├◄─────────────│   RESET    │  blacklisted; sources stay off until the state is back
//!     │              └────────────┘
//!     │ RESUME            │ more than resets_max times, or no checkpoint
//!     │                   ▼
//!     └◄─────────────┌────────────┐
//!                    │   HALTED   │  Ψ = 0 everywhere, sources off; the run ends unless RESUME comes
//!                    └────────────┘
//! ```

use bevy_ecs::prelude::Resource;

/// What the oracle does when the strikes on a critical residual are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Ψ ← Ψ·√(H_target/H).
    #[default]
    Renormalise,
    /// Soft SCRAM.
    Scram,
    /// Nothing but a report.
    Report,
}

/// Who ends a freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resume {
    /// The oracle, when the state is stable again.
    #[default]
    Automatic,
    /// A `Resume` command.
    Manual,
}

/// γ of a freeze that ticks which take too long ask for, in 1/model time: it calms the field, where the oracle's own
/// freezes stop it.
pub const OVERLOAD_DAMPING: f64 = 0.5;

/// What asks for a freeze from outside the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// Ticks take too long in real time: damping [`OVERLOAD_DAMPING`].
    Overload,
    /// Somebody asked: damping as the settings say.
    Asked,
}

/// How a world is watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OracleSettings {
    /// Ticks between checks of the balance.
    pub every: u64,
    /// Ticks between samples of the dissipated and driven power; divides `every`.
    pub sample_every: u64,
    /// Residual that warns, relative to |H|.
    pub warning: f64,
    /// Residual that counts a strike.
    pub critical: f64,
    /// Strikes before the oracle acts on drift.
    pub strikes: u32,
    /// What it does then.
    pub action: Action,
    /// Largest |Ψ| of a healthy node.
    pub psi_max: f64,
    /// Smallest |H| a residual is relative to, model units.
    pub energy_floor: f64,
    /// Ticks over which an unexplained change of energy is forgotten (time constant).
    pub memory_ticks: u64,
    /// γ of the freeze, in 1/model time.
    pub freeze_damping: f64,
    /// Ticks a freeze lasts.
    pub freeze_ticks: u64,
    /// Who ends a freeze.
    pub resume: Resume,
    /// Resets without `reset_window` quiet ticks between them before the world is halted.
    pub resets_max: u32,
    /// Ticks after which a reset no longer counts.
    pub reset_window: u64,
    /// Ticks between requests for a checkpoint, made only in a nominal state.
    pub checkpoint_every: u64,
}

impl Default for OracleSettings {
    fn default() -> Self {
        Self {
            every: 100,
            sample_every: 5,
            warning: 1e-4,
            critical: 1e-3,
            strikes: 3,
            action: Action::Renormalise,
            psi_max: 4.5,
            energy_floor: 1e-9,
            memory_ticks: 100_000,
            freeze_damping: 1.0,
            freeze_ticks: 1000,
            resume: Resume::Automatic,
            resets_max: 3,
            reset_window: 10_000,
            checkpoint_every: 1000,
        }
    }
}

/// The state of a watched world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// The balance holds.
    #[default]
    Nominal,
    /// The residual is above the warning level.
    Warning,
    /// Frozen by damping, sources off.
    SoftScram,
    /// Waiting for the last checkpoint.
    Reset,
    /// Given up: Ψ is zero and sources are off.
    Halted,
}

impl Health {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Nominal, Self::Warning, Self::SoftScram, Self::Reset, Self::Halted];

    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nominal => "NOMINAL",
            Self::Warning => "WARNING",
            Self::SoftScram => "SOFT_SCRAM",
            Self::Reset => "RESET",
            Self::Halted => "HALTED",
        }
    }

    /// Whether emitters and injections are off.
    pub fn mutes_sources(self) -> bool {
        matches!(self, Self::SoftScram | Self::Reset | Self::Halted)
    }
}

/// Why the state changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// The balance residual rose above a level, or fell below it again.
    Residual(f64),
    /// Strikes were used up and Ψ was scaled by this factor.
    Renormalised(f64),
    /// The largest |Ψ| is out of bounds.
    Amplitude(f64),
    /// So many nodes are NaN or infinite.
    NotFinite(u64),
    /// A command asked for it.
    Command,
    /// Ticks took too long in real time.
    Overload,
    /// The freeze ended and the state is stable.
    Stable,
    /// The freeze ended and the state is not stable; the largest |Ψ|.
    Unstable(f64),
    /// The checkpoint of this tick was restored.
    Restored(u64),
    /// There is no checkpoint to go back to.
    NoCheckpoint,
    /// So many resets did not help.
    ResetsUsedUp(u32),
}

impl Cause {
    /// Name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Residual(_) => "residual",
            Self::Renormalised(_) => "renormalised",
            Self::Amplitude(_) => "amplitude",
            Self::NotFinite(_) => "not finite",
            Self::Command => "command",
            Self::Overload => "ticks too long",
            Self::Stable => "stable after the freeze",
            Self::Unstable(_) => "unstable after the freeze",
            Self::Restored(_) => "restored",
            Self::NoCheckpoint => "no checkpoint",
            Self::ResetsUsedUp(_) => "resets used up",
        }
    }

    /// The value the cause carries, as a number.
    pub fn value(&self) -> Option<f64> {
        match *self {
            Self::Residual(value) | Self::Renormalised(value) | Self::Amplitude(value) => Some(value),
            Self::Unstable(value) => Some(value),
            Self::NotFinite(n) | Self::Restored(n) => Some(n as f64),
            Self::ResetsUsedUp(n) => Some(f64::from(n)),
            Self::Command | Self::Overload | Self::Stable | Self::NoCheckpoint => None,
        }
    }
}

/// One change of state, with the figures that belong to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Tick that ended.
    pub tick: u64,
    /// State before.
    pub from: Health,
    /// State after.
    pub to: Health,
    /// Why.
    pub cause: Cause,
    /// Balance residual at the last check.
    pub residual: f64,
    /// ∫|Ψ|² when last measured.
    pub norm: f64,
    /// Energy when last measured.
    pub energy: f64,
    /// Largest |Ψ| when last measured.
    pub max_abs_psi: f64,
    /// Digests of inputs that are refused from now on.
    pub blacklisted: Vec<u64>,
}

/// What the oracle reports every tick; read by the runner and by the series.
#[derive(Debug, Clone, Copy, PartialEq, Default, Resource)]
pub struct OracleReport {
    /// State of the world.
    pub health: Health,
    /// Nanoseconds the last tick took; 0 without a clock.
    pub tick_duration_ns: u64,
    /// Residual of the energy balance, relative to max(|H|, floor), at the last check.
    pub energy_drift_ratio: f64,
    /// Largest |residual| of any check so far.
    pub energy_drift_worst: f64,
    /// Sum of all unexplained changes of H, relative to max(|H|, floor), nothing forgotten.
    pub energy_drift_total: f64,
    /// ∫|Ψ|² when last sampled.
    pub norm: f64,
    /// Largest |Ψ| when last sampled.
    pub max_abs_psi: f64,
    /// Strikes counted.
    pub strikes: u32,
    /// Times Ψ was renormalised.
    pub n_renormalisations: u64,
    /// Times the world was frozen.
    pub n_scrams: u64,
    /// Times the world was reset.
    pub n_resets: u64,
}

/// What the oracle counted since tick 0 and measured last: figures to be told, on which no later tick depends.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct OracleTally {
    /// Largest |residual| of any check so far.
    pub energy_drift_worst: f64,
    /// Times Ψ was renormalised.
    pub n_renormalisations: u64,
    /// Times the world was frozen.
    pub n_scrams: u64,
    /// Times the world was reset.
    pub n_resets: u64,
    /// ∫|Ψ|² when last measured.
    pub norm: f64,
    /// Energy when last measured.
    pub energy: f64,
    /// Largest |Ψ|² when last sampled.
    pub max_abs2: f64,
    /// Nodes that were not finite then.
    pub n_nonfinite: u64,
}
