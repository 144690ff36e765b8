//! Answers and events as a table or as JSON.
//! Invariant: both show the same fields; large arrays are shown by their length.

use super::Failure;
use crate::app::print_line;
use crate::spine::generated::nikola::{NeuralSpike, StatusReport, neural_spike::Payload};
use serde_json::{Value, json};

/// Prints the answer to a question.
pub(super) fn print_answer(payload: &Payload, is_json: bool) -> Result<(), Failure> {
    if is_json {
        return print_line(&value(payload).to_string());
    }
    match payload {
        Payload::StatusReport(report) => print_line(&table(report)),
        Payload::CommandResponse(response) => {
            let text = String::from_utf8_lossy(&response.stdout);
            print_line(&format!("{text} (tick {})", response.tick))
        }
        other => print_line(&value(other).to_string()),
    }
}

/// Prints an event as one line of JSON.
pub(super) fn print_event(topic: &str, spike: &NeuralSpike) -> Result<(), Failure> {
    let payload = spike.payload.as_ref().map_or(Value::Null, value);
    print_line(&json!({"topic": topic, "timestamp_ms": spike.timestamp_ms, "payload": payload}).to_string())
}

/// One line for `watch`.
pub(super) fn status_line(report: &StatusReport) -> String {
    let figure =
        |name: &str| report.figures.get(name).map_or("–".to_string(), |value| format!("{value:.6}"));
    format!(
        "{:<8} tick {:>10}  {:>10.1} ticks/s  norm {}  energy {}",
        state(report),
        report.tick,
        report.ticks_per_second,
        figure("norm"),
        figure("energy")
    )
}

fn state(report: &StatusReport) -> &'static str {
    report.state().as_str_name().trim_start_matches("STATE_")
}

fn component(report: &StatusReport) -> &'static str {
    report.component().as_str_name().trim_start_matches("COMPONENT_ID_")
}

fn table(report: &StatusReport) -> String {
    let mut lines = vec![format!("{} is {}", report.name, state(report))];
    let mut row = |name: &str, value: String| lines.push(format!("  {name:<28} {value}"));
    if !report.detail.is_empty() {
        row("scene", report.detail.clone());
    }
    if !report.health.is_empty() {
        row("oracle", report.health.clone());
    }
    row("process", report.pid.to_string());
    row("tick", report.tick.to_string());
    row("ticks per second", format!("{:.1}", report.ticks_per_second));
    row("orders waiting", report.control_queue_depth.to_string());
    row("messages waiting", report.data_queue_depth.to_string());
    for (name, value) in &report.figures {
        row(name, format!("{value}"));
    }
    for member in &report.components {
        let silence = format!("{} ms silent", member.silence_ms);
        row(&member.name, format!("{:<12} {:<10} {silence}", component(member), state(member)));
    }
    lines.join("\n")
}

fn value(payload: &Payload) -> Value {
    match payload {
        Payload::StatusReport(report) => status_value(report),
        Payload::CommandResponse(response) => json!({
            "exit_code": response.exit_code,
            "text": String::from_utf8_lossy(&response.stdout),
            "tick": response.tick,
        }),
        Payload::SparseWaveform(wave) => json!({
            "tick": wave.tick,
            "n_nodes": wave.re.len(),
            "threshold": wave.threshold,
            "total_energy": wave.total_energy,
            "omitted_fraction": wave.omitted_fraction,
            "bytes": wave.keys.len() + 4 * (wave.re.len() + wave.im.len()),
        }),
        Payload::Text(text) => json!({"text": text}),
        Payload::WaveformShm(shm) => json!({
            "segment": shm.segment, "slot": shm.slot, "sequence": shm.sequence, "shape": shm.shape, "tick": shm.tick,
        }),
        Payload::Error(error) => json!({"error": error.code().as_str_name(), "message": error.message}),
        other => json!({"text": format!("{other:?}")}),
    }
}

fn status_value(report: &StatusReport) -> Value {
    json!({
        "name": report.name,
        "component": component(report),
        "state": state(report),
        "scene": report.detail,
        "oracle": report.health,
        "pid": report.pid,
        "tick": report.tick,
        "ticks_per_second": report.ticks_per_second,
        "control_queue_depth": report.control_queue_depth,
        "data_queue_depth": report.data_queue_depth,
        "silence_ms": report.silence_ms,
        "figures": report.figures,
        "components": report.components.iter().map(status_value).collect::<Vec<_>>(),
    })
}
