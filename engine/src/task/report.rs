//! What the benchmarks print: a table for people, JSON for programs, a page for the documents.
//! Invariant: figures are printed as measured; who wins is decided by the test figure alone.

use super::benchmark::{Benchmark, Figure};
use super::esn::EsnParameters;
use serde::Serialize;
use std::fmt::Write as _;

/// One benchmark's result.
#[derive(Debug, Clone, Serialize)]
pub struct TaskRow {
    /// Which.
    pub benchmark: Benchmark,
    /// Features of either readout.
    pub n_features: usize,
    /// The torus.
    pub ours: Figure,
    /// The best network.
    pub theirs: Figure,
    /// Its parameters.
    pub network: EsnParameters,
}

impl TaskRow {
    /// `"torus"`, `"network"` or, on equal figures, `"tie"`.
    pub fn winner(&self) -> &'static str {
        if self.benchmark.is_better(self.ours.test, self.theirs.test) {
            "torus"
        } else if self.benchmark.is_better(self.theirs.test, self.ours.test) {
            "network"
        } else {
            "tie"
        }
    }

    fn cells(&self) -> [String; 6] {
        let figure = |figure: &Figure| match figure.valid_time {
            Some(time) => format!("{} (valid {time:.1})", significant(figure.test)),
            None => significant(figure.test),
        };
        [
            self.benchmark.name().to_string(),
            self.benchmark.metric().to_string(),
            self.n_features.to_string(),
            figure(&self.ours),
            figure(&self.theirs),
            self.winner().to_string(),
        ]
    }
}

/// Three significant digits.
fn significant(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.01 { format!("{value:.2e}") } else { format!("{value:.3}") }
}

const HEADINGS: [&str; 6] = ["task", "figure", "features", "torus", "echo-state network", "better"];

/// The table as a person reads it.
pub fn to_text(rows: &[TaskRow]) -> String {
    let mut lines = vec![HEADINGS.map(String::from)];
    lines.extend(rows.iter().map(TaskRow::cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = core::array::from_fn(width);
    let mut out = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(widths) {
            let _ = write!(out, "{cell:<width$}  ");
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

/// One JSON object.
pub fn to_json(rows: &[TaskRow], seed: u64) -> serde_json::Value {
    let row = |row: &TaskRow| {
        let mut value = serde_json::to_value(row).unwrap_or_default();
        value["metric"] = row.benchmark.metric().into();
        value["better"] = row.winner().into();
        value
    };
    serde_json::json!({ "seed": seed, "tasks": rows.iter().map(row).collect::<Vec<_>>() })
}

/// The page of figures, in Markdown.
pub fn to_page(rows: &[TaskRow], seed: u64) -> String {
    let wins = rows.iter().filter(|row| row.winner() == "torus").count();
    let mut out = format!(
        "# Benchmarks of the torus as a reservoir\n\nWritten by `nikola task all --seed {seed} --write`. The torus of \
         `scenes/reservoir_*.ron` against an echo-state\nnetwork with as many features, on the same samples: ridge \
         regression for both, the ridge chosen on validation data. The\nnetwork's spectral radius, input scale and \
         leak are chosen from a grid on the same validation data; the scenes were tuned\nby hand on other seeds. \
         Valid times are in model time. The torus is better in {wins} of {}.\n\n| {} |\n|{}\n",
        rows.len(),
        HEADINGS.join(" | "),
        "---|".repeat(HEADINGS.len()),
    );
    for row in rows {
        let _ = writeln!(out, "| {} |", row.cells().join(" | "));
    }
    out.push_str("\nNetworks chosen:\n\n");
    for row in rows {
        let network = &row.network;
        let _ = writeln!(
            out,
            "- {}: spectral radius {}, input scale {}, leak {}, bias {}; ridge {:e} (torus {:e})",
            row.benchmark.name(),
            network.spectral_radius,
            network.input_scale,
            network.leak,
            network.bias,
            row.theirs.ridge,
            row.ours.ridge
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(benchmark: Benchmark, ours: f64, theirs: f64) -> TaskRow {
        let figure = |test| Figure { validation: test, test, valid_time: None, ridge: 1e-6 };
        let network = EsnParameters { spectral_radius: 0.9, input_scale: 0.1, leak: 1.0, bias: 0.2 };
        TaskRow { benchmark, n_features: 9, ours: figure(ours), theirs: figure(theirs), network }
    }

    #[test]
    fn the_winner_follows_the_figure() {
        assert_eq!(row(Benchmark::Narma10, 0.1, 0.2).winner(), "torus");
        assert_eq!(row(Benchmark::Lorenz63, 0.1, 0.2).winner(), "network");
        assert_eq!(row(Benchmark::MackeyGlass, 0.2, 0.2).winner(), "tie");
        assert_eq!(row(Benchmark::MemoryCapacity, f64::NAN, 0.2).winner(), "network");
    }

    #[test]
    fn every_form_carries_both_figures() {
        let rows = [row(Benchmark::Narma10, 0.125, 0.25), row(Benchmark::MackeyGlass, 1.5e-3, 0.5)];
        for text in [to_text(&rows), to_page(&rows, 7)] {
            for figure in ["0.125", "0.250", "1.50e-3", "0.500", "narma10", "torus"] {
                assert!(text.contains(figure), "{figure}: {text}");
            }
        }
        let json = to_json(&rows, 7);
        assert_eq!(json["tasks"][0]["ours"]["test"], 0.125);
        assert_eq!(json["tasks"][1]["benchmark"], "mackey-glass");
        assert_eq!(json["tasks"][1]["better"], "torus");
    }
}
