//! Progress of a run on standard error: a bar on a terminal, a plain line now and then elsewhere, nothing on request.
//! Invariant: costs one clock reading per look; never writes to standard output; colours only on a terminal and not
//! when `NO_COLOR` is set.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two drawings of the bar.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Width of the bar in characters.
const BAR_CELLS: usize = 28;

/// What the bar shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Ticks done.
    pub tick: u64,
    /// Norm relative to tick 0, minus one.
    pub norm_drift: f64,
    /// Energy relative to tick 0, minus one.
    pub energy_drift: f64,
}

/// The display.
#[derive(Debug)]
pub struct Progress {
    title: String,
    ticks: u64,
    mode: Mode,
    began: Instant,
    next: Instant,
    is_drawn: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Bar { colour: bool },
    Lines,
    Off,
}

impl Progress {
    /// For a run of `ticks`; `off` silences it.
    pub fn new(title: &str, ticks: u64, off: bool) -> Self {
        let mode = if off {
            Mode::Off
        } else if std::io::stderr().is_terminal() {
            Mode::Bar { colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
        } else {
            Mode::Lines
        };
        let now = Instant::now();
        let next = now + if mode == Mode::Lines { Duration::from_secs(2) } else { BAR_EVERY };
        Self { title: title.to_string(), ticks, mode, began: now, next, is_drawn: false }
    }

    /// Draws, if it is time to.
    pub fn show(&mut self, figures: Figures) {
        if self.mode == Mode::Off {
            return;
        }
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + if self.mode == Mode::Lines { LINE_EVERY } else { BAR_EVERY };
        let line = self.line(figures, now);
        let mut err = std::io::stderr().lock();
        // A display that cannot be written to is no reason to stop a run.
        let _ = match self.mode {
            Mode::Bar { .. } => write!(err, "\r\x1b[2K{line}").and_then(|()| err.flush()),
            Mode::Lines | Mode::Off => writeln!(err, "{line}"),
        };
        self.is_drawn = true;
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if self.is_drawn && matches!(self.mode, Mode::Bar { .. }) {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }

    fn line(&self, figures: Figures, now: Instant) -> String {
        let elapsed = (now - self.began).as_secs_f64();
        let rate = figures.tick as f64 / elapsed.max(1e-9);
        let left = (self.ticks.saturating_sub(figures.tick)) as f64 / rate.max(1e-9);
        let share = figures.tick as f64 / self.ticks.max(1) as f64;
        let text = format!(
            "{:>3.0} %  {} of {} ticks  {:.0}/s  {} left  norm {:+.1e}  energy {:+.1e}",
            100.0 * share,
            figures.tick,
            self.ticks,
            rate,
            duration(left),
            figures.norm_drift,
            figures.energy_drift
        );
        match self.mode {
            Mode::Bar { colour } => {
                let full = ((share * BAR_CELLS as f64) as usize).min(BAR_CELLS);
                let (on, off) = if colour { ("\x1b[36m", "\x1b[0m") } else { ("", "") };
                format!("{} {on}{}{}{off} {text}", self.title, "━".repeat(full), "─".repeat(BAR_CELLS - full))
            }
            Mode::Lines | Mode::Off => format!("{} {text}", self.title),
        }
    }
}

/// `75 s`, `12 min`, `3.4 h`.
pub fn duration(secs: f64) -> String {
    match secs {
        secs if secs < 120.0 => format!("{secs:.0} s"),
        secs if secs < 7_200.0 => format!("{:.0} min", secs / 60.0),
        secs => format!("{:.1} h", secs / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!([duration(3.2), duration(600.0), duration(12_240.0)], ["3 s", "10 min", "3.4 h"]);
    }
}
