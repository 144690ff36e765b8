//! The state as one number: BLAKE3 over geometry, precision, tick and Ψ.
//!
//! Invariant: two states have the same digest exactly if they agree in every bit of Ψ, whatever the storage order,
//! page shape, thread count or SIMD level. Ψ enters in canonical order (row-major r…z), re then im per node, as
//! little-endian numbers of the state's own precision.

use super::snapshot::for_each_canonical;
use nikola_systems::Simulation;
use nikola_systems::components::setup::Precision;

/// Separates these digests from any other use of the hash.
const DOMAIN: &[u8] = b"nikola state 1\n";

/// Hex digest of Ψ now.
pub fn state_digest(simulation: &Simulation) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOMAIN);
    for extent in simulation.torus().extents() {
        hasher.update(&(*extent as u64).to_le_bytes());
    }
    hasher.update(simulation.precision().name().as_bytes());
    hasher.update(&simulation.tick_count().to_le_bytes());
    let mut buffer = Vec::with_capacity(1 << 16);
    let precision = simulation.precision();
    for_each_canonical(simulation, |re, im| {
        append(&mut buffer, precision, re, im);
        if buffer.len() >= (1 << 16) - 16 {
            hasher.update(&buffer);
            buffer.clear();
        }
        Ok::<(), std::convert::Infallible>(())
    })
    .unwrap_or_else(|never| match never {});
    hasher.update(&buffer);
    hasher.finalize().to_hex().to_string()
}

/// Appends one node in the state's own precision; narrowing undoes the widening exactly.
pub fn append(buffer: &mut Vec<u8>, precision: Precision, re: f64, im: f64) {
    match precision {
        Precision::F32 => {
            buffer.extend_from_slice(&(re as f32).to_le_bytes());
            buffer.extend_from_slice(&(im as f32).to_le_bytes());
        }
        Precision::F64 => {
            buffer.extend_from_slice(&re.to_le_bytes());
            buffer.extend_from_slice(&im.to_le_bytes());
        }
    }
}
