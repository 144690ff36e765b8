//! The state as one number: BLAKE3 over geometry, precision, tick and Ψ; on a sparse torus over its active pages.
//!
//! Invariant: two states have the same digest exactly if they agree in every bit of Ψ, whatever the storage order,
//! page shape, thread count or SIMD level. Ψ enters in canonical order (row-major r…z), re then im per node, as
//! little-endian numbers of the state's own precision.

use super::canonical::for_each_block;
use nikola_systems::Simulation;
use nikola_systems::components::setup::Precision;
use nikola_systems::components::torus::Torus;

/// Nodes turned into bytes at a time.
const CHUNK: usize = 4096;

/// Separates the digests of sparse states from those of dense ones.
const SPARSE_DOMAIN: &[u8] = b"nikola sparse 1\n";

/// Separates these digests from any other use of the hash.
const DOMAIN: &[u8] = b"nikola state 1\n";

/// Hex digest of a simulation's Ψ now.
pub fn state_digest(simulation: &Simulation) -> String {
    if simulation.growth().is_some() {
        return sparse_digest(simulation);
    }
    let read = |page, re: &mut [f64], im: &mut [f64]| simulation.read_page(page, re, im);
    digest_of(simulation.torus(), simulation.precision(), simulation.tick_count(), read)
}

/// The active pages in the order of their Morton keys.
pub fn by_key(simulation: &Simulation) -> Vec<usize> {
    let mut pages: Vec<_> = simulation.pages().iter().map(|page| (page.key, page.index as usize)).collect();
    pages.sort_unstable();
    pages.into_iter().map(|(_, page)| page).collect()
}

/// A sparse state: which pages are active counts as well as what is on them.
fn sparse_digest(simulation: &Simulation) -> String {
    let (torus, precision) = (simulation.torus(), simulation.precision());
    let mut hasher = blake3::Hasher::new();
    hasher.update(SPARSE_DOMAIN);
    for size in torus.extents().iter().chain(&torus.page_shape()) {
        hasher.update(&(*size as u64).to_le_bytes());
    }
    hasher.update(precision.name().as_bytes());
    hasher.update(&simulation.tick_count().to_le_bytes());
    let pages = by_key(simulation);
    hasher.update(&(pages.len() as u64).to_le_bytes());
    let (mut re, mut im) = (vec![0.0; torus.page_nodes()], vec![0.0; torus.page_nodes()]);
    let mut bytes = Vec::new();
    for page in pages {
        simulation.read_page(page, &mut re, &mut im);
        bytes.clear();
        bytes.extend(nikola_systems::world::page(torus, page).key.to_be_bytes());
        append(&mut bytes, precision, &re, &im);
        hasher.update(&bytes);
    }
    hasher.finalize().to_hex().to_string()
}

/// Hex digest of the Ψ that `read` gives page by page in storage order, at `tick`, on `torus`.
pub fn digest_of(
    torus: &Torus,
    precision: Precision,
    tick: u64,
    read: impl FnMut(usize, &mut [f64], &mut [f64]),
) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOMAIN);
    for extent in torus.extents() {
        hasher.update(&(*extent as u64).to_le_bytes());
    }
    hasher.update(precision.name().as_bytes());
    hasher.update(&tick.to_le_bytes());
    let mut bytes = Vec::new();
    for_each_block(torus, read, |re, im| {
        for (re, im) in re.chunks(CHUNK).zip(im.chunks(CHUNK)) {
            bytes.clear();
            append(&mut bytes, precision, re, im);
            hasher.update(&bytes);
        }
        Ok::<(), std::convert::Infallible>(())
    })
    .unwrap_or_else(|never| match never {});
    hasher.finalize().to_hex().to_string()
}

/// Appends nodes, re then im each, in the state's own precision; narrowing undoes the widening exactly.
pub fn append(bytes: &mut Vec<u8>, precision: Precision, re: &[f64], im: &[f64]) {
    for (&re, &im) in re.iter().zip(im) {
        match precision {
            Precision::F32 => {
                bytes.extend_from_slice(&(re as f32).to_le_bytes());
                bytes.extend_from_slice(&(im as f32).to_le_bytes());
            }
            Precision::F64 => {
                bytes.extend_from_slice(&re.to_le_bytes());
                bytes.extend_from_slice(&im.to_le_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nikola_systems::components::torus::PageRule;

    fn value(node: &[usize; 9]) -> (f64, f64) {
        let k = node.iter().fold(0, |k, i| 10 * k + i) as f64;
        (k.sin() as f32 as f64, k.cos() as f32 as f64)
    }

    fn digest(page: [usize; 9], tick: u64, change: Option<[usize; 9]>) -> String {
        let torus = Torus::new([1, 1, 1, 1, 1, 1, 3, 4, 6], [1.0; 9], PageRule::Shape(page)).expect("valid");
        digest_of(&torus, Precision::F32, tick, |page, re, im| {
            torus.for_each_node(page, |i, node| {
                (re[i], im[i]) = value(node);
                if change == Some(*node) {
                    im[i] = f64::from(f32::from_bits((im[i] as f32).to_bits() ^ 1));
                }
            });
        })
    }

    #[test]
    fn a_digest_sees_every_bit_and_no_page_shape() {
        let (whole, cut) = ([1, 1, 1, 1, 1, 1, 3, 4, 6], [1, 1, 1, 1, 1, 1, 3, 2, 1]);
        let reference = digest(whole, 5, None);
        assert_eq!(reference, digest(cut, 5, None));
        assert_ne!(reference, digest(whole, 6, None));
        assert_ne!(reference, digest(whole, 5, Some([0, 0, 0, 0, 0, 0, 2, 1, 5])));
    }

    #[test]
    fn the_bytes_are_those_of_the_documented_layout() {
        let torus = Torus::new([1; 9], [1.0; 9], PageRule::Auto).expect("valid");
        let found = digest_of(&torus, Precision::F64, 7, |_, re, im| (re[0], im[0]) = (0.5, -0.0));
        let mut bytes = b"nikola state 1\n".to_vec();
        (0..9).for_each(|_| bytes.extend(1u64.to_le_bytes()));
        bytes.extend(b"f64");
        bytes.extend(7u64.to_le_bytes());
        bytes.extend(0.5f64.to_le_bytes());
        bytes.extend((-0.0f64).to_le_bytes());
        assert_eq!(found, blake3::hash(&bytes).to_hex().to_string());
    }
}
