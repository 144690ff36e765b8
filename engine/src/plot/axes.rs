//! Axes: round tick numbers, their labels, and the frame that maps data to layout units.
//! Invariant: an axis always has `low < high`, both finite, whatever range it was asked for; ticks lie inside it.
//! Ticks are 1, 2 or 5 times a power of ten apart; on logarithmic axes they are powers of ten.

use super::canvas::{Align, Canvas, Letters, Line};
use super::colour::{FAINT_INK, GRID, INK};
use super::text::Weight;

/// Letters of tick labels.
pub(super) const TICK: Letters = Letters { size: 10.5, weight: Weight::Regular, colour: INK };
/// Letters of axis labels and legends.
pub(super) const LABEL: Letters = Letters { size: 11.5, weight: Weight::Regular, colour: INK };
/// Letters of titles.
pub(super) const TITLE: Letters = Letters { size: 13.5, weight: Weight::Bold, colour: INK };
/// Letters of notes.
pub(super) const NOTE: Letters = Letters { size: 9.5, weight: Weight::Regular, colour: FAINT_INK };
/// The frame's line.
const BORDER: Line = Line { width: 0.8, colour: INK, dash: &[] };
/// A grid line.
const RULE: Line = Line { width: 0.7, colour: GRID, dash: &[] };
/// Length of a tick mark; minor ones are half as long.
const TICK_LENGTH: f32 = 4.0;
/// Narrowest linear range relative to its values: a hundred thousand rounding errors of f64.
const SPAN_MIN: f64 = 1e-11;

/// A labelled place on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub at: f64,
    pub label: String,
}

/// A linear or logarithmic range with ticks.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub low: f64,
    pub high: f64,
    pub logarithmic: bool,
    pub ticks: Vec<Tick>,
    pub minor: Vec<f64>,
    /// Factor and offset that all labels share, such as "×10⁻⁶ + 1.25"; empty when there is none.
    pub note: String,
}

impl Axis {
    /// A linear axis from `low` to `high` with about `n_ticks` ticks.
    pub fn exact(low: f64, high: f64, n_ticks: usize) -> Axis {
        let (low, high) = widened(low, high);
        let at = linear_ticks(low, high, n_ticks);
        let (labels, note) = tick_labels(&at, low, high);
        let ticks = at.into_iter().zip(labels).map(|(at, label)| Tick { at, label }).collect();
        Axis { low, high, logarithmic: false, ticks, minor: Vec::new(), note }
    }

    /// A linear axis that shows the data range with a margin of 5 % where it doesn't end at 0.
    pub fn around(range: Option<(f64, f64)>, n_ticks: usize) -> Axis {
        let (low, high) = range.unwrap_or((0.0, 1.0));
        let (low, high) = widened(low, high);
        let margin = 0.05 * (high - low);
        let low = if low == 0.0 { low } else { low - margin };
        let high = if high == 0.0 { high } else { high + margin };
        Axis::exact(low, high, n_ticks)
    }

    /// A logarithmic axis around positive data; `None` (no positive data) gives 0.1 … 1.
    pub fn logarithmic(range: Option<(f64, f64)>, n_ticks: usize) -> Axis {
        let (low, high) = range.filter(|(low, _)| *low > 0.0).unwrap_or((0.1, 1.0));
        let (low, high) = (low.log10(), high.log10());
        let (low, high) = if high - low < 0.2 { (low - 0.1, high + 0.1) } else { (low, high) };
        let margin = 0.05 * (high - low);
        let (low, high) = (low - margin, high + margin);
        let (first, last) = (low.ceil() as i32, high.floor() as i32);
        let n_decades = (last - first + 1).max(0) as usize;
        let (low, high) = (10f64.powf(low), 10f64.powf(high));
        let axis = |ticks, minor, note| Axis { low, high, logarithmic: true, ticks, minor, note };
        if n_decades < 2 {
            let round = (first - 1..=last).flat_map(|k| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(k)));
            let round: Vec<f64> = round.filter(|at| *at >= low && *at <= high).collect();
            if round.len() >= 3 {
                let ticks = round.into_iter().map(|at| Tick { at, label: number(at) });
                return axis(ticks.collect(), Vec::new(), String::new());
            }
            let linear = Axis::exact(low, high, n_ticks);
            return axis(linear.ticks, Vec::new(), linear.note);
        }
        let stride = n_decades.div_ceil(n_ticks.max(2)) as i32;
        let decades = (first - 1..=last).filter(|k| k.rem_euclid(stride) == 0);
        let ticks = decades.map(|k| Tick { at: 10f64.powi(k), label: power_of_ten(k) });
        let inside = |at: &f64| *at >= low && *at <= high;
        let ticks = ticks.filter(|tick| inside(&tick.at)).collect();
        let minor = (first - 1..=last).flat_map(|k| {
            let multiples = if stride == 1 { 2..=9 } else { 1..=1 };
            multiples.map(move |m| f64::from(m) * 10f64.powi(k))
        });
        axis(ticks, minor.filter(inside).collect(), String::new())
    }

    /// Place of `value`, 0 at the low and 1 at the high end, clamped a little outside; `None` if it has none.
    pub fn place(&self, value: f64) -> Option<f32> {
        let place = if self.logarithmic {
            if value <= 0.0 {
                return None;
            }
            (value.log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        (!place.is_nan()).then(|| place.clamp(-1.0, 2.0) as f32)
    }
}

/// A range with `low < high`, both finite and far enough apart for ticks to differ.
fn widened(low: f64, high: f64) -> (f64, f64) {
    let finite = |value: f64| if value.is_nan() { 0.0 } else { value.clamp(-1e300, 1e300) };
    let (low, high) = (finite(low.min(high)), finite(high.max(low)));
    let size = low.abs().max(high.abs());
    if size < 1e-290 {
        return (-1.0, 1.0);
    }
    if low == high {
        return (low - 0.1 * size, high + 0.1 * size);
    }
    let lacking = SPAN_MIN * size - (high - low);
    if lacking > 0.0 { (low - lacking / 2.0, high + lacking / 2.0) } else { (low, high) }
}

/// Multiples of a step of 1, 2 or 5 times a power of ten inside `low … high`, about `n` of them.
pub(super) fn linear_ticks(low: f64, high: f64, n: usize) -> Vec<f64> {
    let raw = (high - low) / n.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    // The candidate nearest to the raw step on a logarithmic scale: the limits are geometric means.
    let step = power
        * match raw / power {
            mantissa if mantissa < 2f64.sqrt() => 1.0,
            mantissa if mantissa < 10f64.sqrt() => 2.0,
            mantissa if mantissa < 50f64.sqrt() => 5.0,
            _ => 10.0,
        };
    let first = (low / step - 1e-6).ceil();
    let ticks = (0..64).map(|k| (first + f64::from(k)) * step);
    ticks.take_while(|at| *at <= high + 1e-6 * step).map(|at| if at == 0.0 { 0.0 } else { at }).collect()
}

/// Labels of linear ticks, and the factor and offset they share.
fn tick_labels(ticks: &[f64], low: f64, high: f64) -> (Vec<String>, String) {
    let (size, span) = (low.abs().max(high.abs()), high - low);
    let mut note = String::new();
    let mut offset = 0.0;
    if span < 1e-3 * size {
        let power = span.log10().ceil();
        offset = (low.min(high) / 10f64.powf(power)).floor() * 10f64.powf(power);
        let n_digits = (size.log10().floor() - power).clamp(0.0, 17.0) as usize;
        note = format!(" + {}", number_with(offset, n_digits));
    }
    let size = ticks.iter().map(|at| (at - offset).abs()).fold(0.0, f64::max);
    let exponent = if size > 0.0 { (size * 1.000_001).log10().floor() as i32 } else { 0 };
    let exponent = if (-3..=4).contains(&exponent) { 0 } else { exponent };
    if exponent != 0 {
        note = format!("×{}{note}", power_of_ten(exponent));
    }
    let scaled = |at: f64| (at - offset) / 10f64.powi(exponent.clamp(-300, 300));
    let step = ticks.windows(2).map(|pair| scaled(pair[1]) - scaled(pair[0])).fold(f64::INFINITY, f64::min);
    let step = if step.is_finite() && step > 0.0 { step } else { span / 10f64.powi(exponent) / 10.0 };
    let n_decimals = (-(step * 1.000_001).log10().floor()).clamp(0.0, 9.0) as usize;
    let labels = ticks.iter().map(|at| fixed(scaled(*at), n_decimals)).collect();
    (labels, note.trim_start().to_owned())
}

/// `value` with fixed decimals and a true minus sign; never "−0".
fn fixed(value: f64, n_decimals: usize) -> String {
    let text = format!("{value:.n_decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|c| matches!(c, b'0' | b'.')) => digits.to_owned(),
        Some(digits) => format!("−{digits}"),
        None => text,
    }
}

/// `value` for reading, with about four significant digits: 0.1235, 12.35, 1.235×10⁷.
pub(super) fn number(value: f64) -> String {
    number_with(value, 3)
}

/// `value` with `n_digits` digits after the leading one; powers of ten outside 10⁻³ … 10⁶.
fn number_with(value: f64, n_digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    let scientific = format!("{value:.n_digits$e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let text = if (-3..6).contains(&exponent) {
        fixed(value, (n_digits as i32 - exponent).max(0) as usize)
    } else {
        mantissa.replace('-', "−")
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if (-3..6).contains(&exponent) { text.to_owned() } else { format!("{text}×{}", power_of_ten(exponent)) }
}

/// "10⁻³" and the like.
fn power_of_ten(exponent: i32) -> String {
    const SUPERSCRIPTS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raised = |c: char| c.to_digit(10).map_or('⁻', |digit| SUPERSCRIPTS[digit as usize]);
    "10".chars().chain(exponent.to_string().chars().map(raised)).collect()
}

/// Smallest and largest drawable value that passes `keep`.
pub(super) fn range_of(values: impl Iterator<Item = f64>, keep: impl Fn(f64) -> bool) -> Option<(f64, f64)> {
    let kept = values.filter(|value| super::drawable(*value) && keep(*value));
    kept.fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// A rectangle of layout units with two axes.
pub(super) struct Frame {
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
    pub across: Axis,
    pub up: Axis,
}

impl Frame {
    /// Layout place of a data point; `None` if it has none.
    pub fn point(&self, x: f64, y: f64) -> Option<(f32, f32)> {
        let (across, up) = (self.across.place(x)?, self.up.place(y)?);
        Some((self.x + across * self.width, self.y + (1.0 - up) * self.height))
    }

    /// Faint lines at all ticks.
    pub fn draw_grid(&self, canvas: &mut Canvas) {
        for x in self.tick_places(&self.across) {
            canvas.line(
                &[(self.x + x * self.width, self.y), (self.x + x * self.width, self.y + self.height)],
                RULE,
            );
        }
        for y in self.tick_places(&self.up) {
            let y = self.y + (1.0 - y) * self.height;
            canvas.line(&[(self.x, y), (self.x + self.width, y)], RULE);
        }
    }

    /// Border, tick marks and tick labels; those of the horizontal axis only `with_x_labels`.
    pub fn draw_axes(&self, canvas: &mut Canvas, with_x_labels: bool) {
        let (right, bottom) = (self.x + self.width, self.y + self.height);
        canvas.line(
            &[(self.x, self.y), (right, self.y), (right, bottom), (self.x, bottom), (self.x, self.y)],
            BORDER,
        );
        let mut free = 0.0;
        for tick in &self.across.ticks {
            let Some(place) = self.across.place(tick.at) else { continue };
            let x = self.x + place * self.width;
            canvas.line(&[(x, bottom), (x, bottom + TICK_LENGTH)], BORDER);
            let half = super::text::width(&tick.label, TICK.size, TICK.weight) / 2.0;
            if with_x_labels && x - half > free {
                canvas.text(x, bottom + 16.0, &tick.label, Align::Centre, TICK);
                free = x + half + 6.0;
            }
        }
        if with_x_labels && !self.across.note.is_empty() {
            canvas.text(right, bottom + 31.0, &self.across.note, Align::Right, TICK);
        }
        self.draw_up_ticks(canvas);
    }

    fn draw_up_ticks(&self, canvas: &mut Canvas) {
        for tick in &self.up.ticks {
            let Some(place) = self.up.place(tick.at) else { continue };
            let y = self.y + (1.0 - place) * self.height;
            canvas.line(&[(self.x - TICK_LENGTH, y), (self.x, y)], BORDER);
            canvas.text(self.x - TICK_LENGTH - 3.0, y + 3.8, &tick.label, Align::Right, TICK);
        }
        for place in self.up.minor.iter().filter_map(|at| self.up.place(*at)) {
            let y = self.y + (1.0 - place) * self.height;
            canvas.line(&[(self.x - TICK_LENGTH / 2.0, y), (self.x, y)], BORDER);
        }
    }

    /// Label below the horizontal axis.
    pub fn draw_x_label(&self, canvas: &mut Canvas, label: &str) {
        let label = super::text::fit(label, LABEL.size, LABEL.weight, self.width);
        let y = self.y + self.height + 34.0;
        canvas.text(self.x + self.width / 2.0, y, &label, Align::Centre, LABEL);
    }

    /// Label left of the vertical axis, reading upwards, with its baseline at `x`.
    pub fn draw_y_label(&self, canvas: &mut Canvas, x: f32, label: &str) {
        let label = super::text::fit(label, LABEL.size, LABEL.weight, self.height);
        canvas.text_upwards(x, self.y + self.height / 2.0, &label, LABEL);
    }

    /// A sentence in the middle of the frame, in place of data.
    pub fn draw_message(&self, canvas: &mut Canvas, message: &str) {
        let letters = Letters { size: 12.0, ..NOTE };
        canvas.text(self.x + self.width / 2.0, self.y + self.height / 2.0, message, Align::Centre, letters);
    }

    fn tick_places(&self, axis: &Axis) -> Vec<f32> {
        axis.ticks.iter().filter_map(|tick| axis.place(tick.at)).collect()
    }
}
