//! How many threads share a pass over a small torus: measured, not assumed.
//!
//! Invariant: widths change no bit, only how long a tick takes; without a clock the width stays what it was. Half of a page's wave
//! changes cores in every sweep, so whether another thread helps depends on how near its core is, which only a trial tells.
//!
//! ```text
//! … ticks of the width that was best so far …│ as many threads, half or twice │ as before │ the better one, …
//!                                  median A ─┘                      median B ─┘ median C ─┘ B, where it beats A and C
//! ```
//!
//! Source: FFTW's measured plans (Frigo & Johnson, Proc. IEEE 93 (2005) 216), here while the program runs.

use nikola_components::telemetry::{Stage, StageTimes};

/// Ticks that are measured of each width.
const SAMPLES: usize = 15;
/// Ticks before them: caches follow the threads.
const SETTLING: usize = 5;
/// Ticks before the first trial, and between two where the last one changed the width.
const FIRST: usize = 128;
const NEXT: usize = 2_048;
/// A trial that changes nothing doubles the ticks until the next, up to so many.
const LAST: usize = 32_768;
/// What another width must save, as a share: less is not told from noise.
const GAIN: f64 = 0.05;

/// What the coming ticks are for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Work; the last of them are measured.
    Steady,
    /// Ticks of another width, after others took `before` nanoseconds.
    Trial { before: u64 },
    /// Ticks of the old width again; those of the other took `tried` nanoseconds.
    Again { before: u64, tried: u64 },
}

/// The search for the best width of a torus of one page.
#[derive(Debug)]
pub(super) struct Width {
    most: usize,
    best: usize,
    phase: Phase,
    left: usize,
    interval: usize,
    /// Whether the next trial is of fewer threads.
    is_down: bool,
    samples: [u64; SAMPLES],
}

impl Width {
    /// With up to `most` threads, of which all are tried first.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            best: most,
            phase: Phase::Steady,
            left: FIRST,
            interval: NEXT,
            is_down: true,
            samples: [0; SAMPLES],
        }
    }

    /// Whether there is anything to search.
    pub fn is_open(&self) -> bool {
        self.most > 1
    }

    /// A tick has ended; the width of the next one.
    pub fn after_tick(&mut self, times: &StageTimes) -> usize {
        let passes = [Stage::HalfPotential, Stage::Kinetic, Stage::Nonlinear, Stage::WaveForm];
        self.note(passes.iter().map(|&stage| times.nanos[stage as usize]).sum())
    }

    fn note(&mut self, nanos: u64) -> usize {
        self.left -= 1;
        if self.left < SAMPLES {
            self.samples[self.left] = nanos;
        }
        if self.left > 0 {
            return self.width();
        }
        self.samples.sort_unstable();
        let median = self.samples[SAMPLES / 2];
        (self.phase, self.left) = match self.phase {
            // Without a clock there is nothing to compare.
            Phase::Steady if median > 0 => (Phase::Trial { before: median }, SETTLING + SAMPLES),
            Phase::Steady => (Phase::Steady, LAST),
            Phase::Trial { before } => (Phase::Again { before, tried: median }, SETTLING + SAMPLES),
            Phase::Again { before, tried } => {
                let is_better = (tried as f64) < (1.0 - GAIN) * before.min(median) as f64;
                if is_better {
                    (self.best, self.interval) = (self.tried(), NEXT);
                } else {
                    (self.is_down, self.interval) = (!self.is_down, (2 * self.interval).min(LAST));
                }
                (Phase::Steady, self.interval)
            }
        };
        self.width()
    }

    fn width(&self) -> usize {
        if let Phase::Trial { .. } = self.phase { self.tried() } else { self.best }
    }

    /// The width of a trial: half of the best so far or twice as many, whichever there is.
    fn tried(&self) -> usize {
        let (fewer, more) = (self.best.div_ceil(2), (2 * self.best).min(self.most));
        let is_down = fewer < self.best && (self.is_down || more == self.best);
        if is_down { fewer } else { more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The widths of so many ticks, each of which takes what `nanos` says.
    fn widths(search: &mut Width, ticks: usize, nanos: impl Fn(usize) -> u64) -> Vec<usize> {
        let mut width = search.width();
        (0..ticks)
            .map(|_| {
                let ran = width;
                width = search.note(nanos(ran));
                ran
            })
            .collect()
    }

    fn share_of(widths: &[usize], width: usize) -> f64 {
        widths.iter().filter(|&&other| other == width).count() as f64 / widths.len() as f64
    }

    #[test]
    fn the_fastest_width_is_found_and_kept() {
        for most in [2, 3, 4, 6, 16] {
            for best in (0..).map(|k| most >> k).take_while(|&width| width > 0) {
                let mut search = Width::new(most);
                let nanos = |width: usize| 1_000 + 300 * width.abs_diff(best) as u64;
                let found = *widths(&mut search, 40_000, nanos).last().expect("ticks");
                assert!(nanos(found) <= nanos(best), "{found} of {most} where {best} is best");
                assert!(share_of(&widths(&mut search, 100_000, nanos), found) > 0.99, "{best} of {most}");
            }
        }
    }

    #[test]
    fn a_core_that_comes_near_or_goes_far_is_noticed() {
        let mut search = Width::new(2);
        let near = |width: usize| if width == 2 { 24_000 } else { 38_000 };
        let far = |width: usize| if width == 2 { 48_000 } else { 38_000 };
        for (nanos, best) in [(near as fn(usize) -> u64, 2), (far, 1), (near, 2)] {
            widths(&mut search, 2 * LAST, nanos);
            assert!(share_of(&widths(&mut search, LAST, nanos), best) > 0.99);
        }
    }

    #[test]
    fn a_burst_of_noise_during_a_trial_changes_nothing() {
        let mut search = Width::new(2);
        let ticks = FIRST - 1;
        widths(&mut search, ticks, |_| 100);
        // The last ticks before the trial were slow, those after it are not.
        search.samples = [300; SAMPLES];
        search.note(300);
        assert_eq!(search.width(), 1);
        widths(&mut search, 2 * (SETTLING + SAMPLES), |width| if width == 1 { 150 } else { 100 });
        assert_eq!((search.width(), search.phase), (2, Phase::Steady));
    }

    #[test]
    fn without_a_clock_the_width_stays() {
        let mut search = Width::new(4);
        assert_eq!(share_of(&widths(&mut search, 3 * LAST, |_| 0), 4), 1.0);
    }
}
