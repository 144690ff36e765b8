//! The state machine of the oracle, drawn in `nikola_components::oracle`.
//!
//! Invariant: a pure function of what was seen; it decides, the stage acts. Every path ends in a named state.

use crate::state::{StateError, StateReader, StateWriter};
use nikola_components::oracle::{Action, Alarm, Cause, Health, OracleSettings, Resume};

/// What the stage saw at the end of a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sight {
    /// Tick that ended.
    pub tick: u64,
    /// Residual of the balance, on ticks that check it.
    pub residual: Option<f64>,
    /// Largest |Ψ|, on ticks that sample it.
    pub max_abs_psi: Option<f64>,
    /// Nodes that are not finite.
    pub n_nonfinite: u64,
    /// A `Scram` command came.
    pub alarm: Option<Alarm>,
    /// A `Resume` command came.
    pub is_resume_asked: bool,
    /// A `Restore` command came: with the tick of the checkpoint, or with none because there is none.
    pub restored: Option<Option<u64>>,
}

/// What the stage has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Only the report.
    Report,
    /// Sources off, damping up.
    Freeze,
    /// Sources on, damping as the scene says.
    Thaw,
    /// Scale Ψ to the expected energy.
    Renormalise,
    /// Ask for the last checkpoint, blacklist what led here.
    Reset,
    /// Ψ = 0, sources off.
    Halt,
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// State before.
    pub from: Health,
    /// State after.
    pub to: Health,
    /// Why.
    pub cause: Cause,
    /// What to do.
    pub act: Act,
}

/// The machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guard {
    /// State now.
    pub health: Health,
    /// Checks in a row whose residual was critical.
    pub strikes: u32,
    since: u64,
    resets: u32,
    last_reset: u64,
}

impl Guard {
    /// Decides on what was seen; called until it has nothing to say.
    pub fn step(&mut self, sight: &mut Sight, settings: &OracleSettings) -> Option<Turn> {
        let from = self.health;
        let (to, cause, act) = self
            .obey(sight)
            .or_else(|| self.react(sight, settings))
            .or_else(|| self.judge(sight, settings))
            .or_else(|| self.wait(sight, settings))?;
        if to != from {
            self.since = sight.tick;
            self.health = to;
        }
        Some(Turn { from, to, cause, act })
    }

    /// Commands.
    fn obey(&mut self, sight: &mut Sight) -> Option<(Health, Cause, Act)> {
        if let Some(restored) = sight.restored.take() {
            return match restored {
                Some(tick) => Some((Health::Nominal, Cause::Restored(tick), Act::Thaw)),
                None if self.health == Health::Reset => {
                    Some((Health::Halted, Cause::NoCheckpoint, Act::Halt))
                }
                None => None,
            };
        }
        if let Some(alarm) = sight.alarm.take().filter(|_| !self.health.mutes_sources()) {
            let cause = match alarm {
                Alarm::Asked => Cause::Command,
                Alarm::Overload => Cause::Overload,
            };
            return Some((Health::SoftScram, cause, Act::Freeze));
        }
        if std::mem::take(&mut sight.is_resume_asked) && self.health.mutes_sources() && sight.n_nonfinite == 0
        {
            self.resets = 0;
            return Some((Health::Nominal, Cause::Command, Act::Thaw));
        }
        None
    }

    /// Out of bounds: acts at once.
    fn react(&mut self, sight: &Sight, settings: &OracleSettings) -> Option<(Health, Cause, Act)> {
        let largest = sight.max_abs_psi.unwrap_or(0.0);
        match self.health {
            Health::Nominal | Health::Warning if sight.n_nonfinite > 0 => {
                Some((Health::SoftScram, Cause::NotFinite(sight.n_nonfinite), Act::Freeze))
            }
            Health::Nominal | Health::Warning if largest > settings.psi_max => {
                Some((Health::SoftScram, Cause::Amplitude(largest), Act::Freeze))
            }
            Health::SoftScram if sight.n_nonfinite > 0 => {
                Some(self.reset(sight.tick, Cause::NotFinite(sight.n_nonfinite), settings))
            }
            _ => None,
        }
    }

    /// The balance.
    fn judge(&mut self, sight: &mut Sight, settings: &OracleSettings) -> Option<(Health, Cause, Act)> {
        if self.health.mutes_sources() {
            return None;
        }
        let residual = sight.residual.take()?;
        let cause = Cause::Residual(residual);
        if residual <= settings.warning {
            self.strikes = 0;
            let is_over = self.health == Health::Warning;
            return is_over.then_some((Health::Nominal, cause, Act::Report));
        }
        self.strikes = if residual > settings.critical { self.strikes + 1 } else { 0 };
        if self.strikes >= settings.strikes {
            self.strikes = 0;
            return match settings.action {
                Action::Renormalise => Some((Health::Warning, cause, Act::Renormalise)),
                Action::Scram => Some((Health::SoftScram, cause, Act::Freeze)),
                Action::Report => Some((Health::Warning, cause, Act::Report)),
            };
        }
        (self.health == Health::Nominal).then_some((Health::Warning, cause, Act::Report))
    }

    /// The end of a freeze, or of the patience for a checkpoint.
    fn wait(&mut self, sight: &Sight, settings: &OracleSettings) -> Option<(Health, Cause, Act)> {
        if sight.tick.saturating_sub(self.since) < settings.freeze_ticks {
            return None;
        }
        match self.health {
            Health::SoftScram => {
                let largest = sight.max_abs_psi?;
                if largest > settings.psi_max {
                    return Some(self.reset(sight.tick, Cause::Unstable(largest), settings));
                }
                let is_free = settings.resume == Resume::Automatic;
                is_free.then_some((Health::Nominal, Cause::Stable, Act::Thaw))
            }
            Health::Reset => Some((Health::Halted, Cause::NoCheckpoint, Act::Halt)),
            _ => None,
        }
    }

    /// Every number that later ticks depend on.
    pub fn save(&self, out: &mut StateWriter) {
        for word in [self.health as u64, self.strikes.into(), self.since, self.resets.into(), self.last_reset]
        {
            out.put_u64(word);
        }
    }

    /// Takes them back.
    ///
    /// # Errors
    /// [`StateError`] when the blob ends early or names a state that does not exist.
    pub fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let found = from.take_u64()?;
        self.health =
            Health::ALL.into_iter().find(|health| *health as u64 == found).ok_or(StateError::Mismatch {
                what: "an oracle in state",
                found: found.to_string(),
                expected: format!("one of {}", Health::ALL.len()),
            })?;
        self.strikes = from.take_u64()? as u32;
        self.since = from.take_u64()?;
        self.resets = from.take_u64()? as u32;
        self.last_reset = from.take_u64()?;
        Ok(())
    }

    fn reset(&mut self, tick: u64, cause: Cause, settings: &OracleSettings) -> (Health, Cause, Act) {
        if tick.saturating_sub(self.last_reset) > settings.reset_window {
            self.resets = 0;
        }
        self.last_reset = tick;
        self.resets += 1;
        if self.resets > settings.resets_max {
            return (Health::Halted, Cause::ResetsUsedUp(settings.resets_max), Act::Halt);
        }
        (Health::Reset, cause, Act::Reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> OracleSettings {
        OracleSettings { freeze_ticks: 10, resets_max: 1, ..OracleSettings::default() }
    }

    fn turn(guard: &mut Guard, sight: Sight) -> Vec<(Health, Act)> {
        let mut sight = sight;
        std::iter::from_fn(|| guard.step(&mut sight, &settings())).map(|turn| (turn.to, turn.act)).collect()
    }

    fn at(tick: u64) -> Sight {
        Sight { tick, max_abs_psi: Some(1.0), ..Sight::default() }
    }

    #[test]
    fn drift_takes_three_strikes_and_a_scaled_field_is_nominal_again() {
        let mut guard = Guard::default();
        let bad = |tick| Sight { residual: Some(0.01), ..at(tick) };
        assert_eq!(turn(&mut guard, bad(100)), [(Health::Warning, Act::Report)]);
        assert_eq!(turn(&mut guard, bad(200)), []);
        assert_eq!(turn(&mut guard, bad(300)), [(Health::Warning, Act::Renormalise)]);
        let good = Sight { residual: Some(1e-6), ..at(400) };
        assert_eq!(turn(&mut guard, good), [(Health::Nominal, Act::Report)]);
    }

    #[test]
    fn a_large_amplitude_freezes_and_thaws() {
        let mut guard = Guard::default();
        let large = |tick| Sight { max_abs_psi: Some(9.0), ..at(tick) };
        assert_eq!(turn(&mut guard, large(7)), [(Health::SoftScram, Act::Freeze)]);
        assert_eq!(turn(&mut guard, large(8)), []);
        assert_eq!(turn(&mut guard, at(17)), [(Health::Nominal, Act::Thaw)]);
        // Still too large when the freeze is over: reset, and the second time halt.
        assert_eq!(turn(&mut guard, large(20)), [(Health::SoftScram, Act::Freeze)]);
        assert_eq!(turn(&mut guard, large(30)), [(Health::Reset, Act::Reset)]);
        assert_eq!(
            turn(&mut guard, Sight { restored: Some(Some(0)), ..at(31) }),
            [(Health::Nominal, Act::Thaw)]
        );
        assert_eq!(turn(&mut guard, large(32)), [(Health::SoftScram, Act::Freeze)]);
        assert_eq!(turn(&mut guard, large(42)), [(Health::Halted, Act::Halt)]);
        assert_eq!(
            turn(&mut guard, Sight { is_resume_asked: true, ..at(50) }),
            [(Health::Nominal, Act::Thaw)]
        );
    }

    #[test]
    fn what_is_not_finite_resets_at_once_and_waits_for_a_checkpoint_only_so_long() {
        let mut guard = Guard::default();
        let broken = Sight { n_nonfinite: 3, ..at(5) };
        assert_eq!(turn(&mut guard, broken), [(Health::SoftScram, Act::Freeze), (Health::Reset, Act::Reset)]);
        assert_eq!(turn(&mut guard, Sight { is_resume_asked: true, n_nonfinite: 3, ..at(6) }), []);
        assert_eq!(turn(&mut guard, Sight { n_nonfinite: 3, ..at(15) }), [(Health::Halted, Act::Halt)]);
    }

    #[test]
    fn a_manual_resume_waits_for_the_command() {
        let mut guard = Guard::default();
        let settings = OracleSettings { resume: Resume::Manual, ..settings() };
        let mut asked = Sight { alarm: Some(Alarm::Asked), ..at(1) };
        assert_eq!(guard.step(&mut asked, &settings).map(|turn| turn.to), Some(Health::SoftScram));
        assert_eq!(guard.step(&mut at(1000), &settings), None);
        let mut resumed = Sight { is_resume_asked: true, ..at(1001) };
        assert_eq!(guard.step(&mut resumed, &settings).map(|turn| turn.to), Some(Health::Nominal));
    }
}
