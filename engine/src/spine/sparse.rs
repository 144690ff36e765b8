//! Sparse waves: the nodes that matter, by key.
//!
//! Invariant: a node is listed when |Ψ| ≥ θ·Ψ_rms; what is left out is stated; keys grow, so the same state gives the
//! same bytes.

use super::generated::nikola::SparseWaveform;
use nikola_systems::Simulation;
use nikola_systems::components::geometry::morton::MortonKey;

/// The usual threshold as a multiple of Ψ_rms.
pub const THETA: f64 = 0.1;

/// Most nodes of one message: 24 bytes each, so that it fits an envelope.
pub const NODES_MAX: usize = 40_000;

/// Reads the wave twice: for Ψ_rms, then for the nodes. Rows beyond [`NODES_MAX`] raise the threshold: the largest
/// amplitudes stay, and `threshold` says from where.
pub fn sparse_waveform(simulation: &Simulation, theta: f64) -> SparseWaveform {
    let torus = simulation.torus();
    let (mut re, mut im) = (vec![0.0; torus.page_nodes()], vec![0.0; torus.page_nodes()]);
    let mut total = 0.0;
    for page in 0..torus.n_pages() {
        simulation.read_page(page, &mut re, &mut im);
        total += density(&re, &im).sum::<f64>();
    }
    let mut threshold = theta * (total / torus.n_nodes() as f64).sqrt();
    let mut nodes = Vec::new();
    for page in 0..torus.n_pages() {
        simulation.read_page(page, &mut re, &mut im);
        torus.for_each_node(page, |i, coordinates| {
            let density = re[i] * re[i] + im[i] * im[i];
            if density > 0.0 && density >= threshold * threshold {
                let key = MortonKey::encode(coordinates.map(|x| x as u16)).expect("an extent has 14 bits");
                nodes.push((key, re[i], im[i]));
            }
        });
        if nodes.len() > 2 * NODES_MAX {
            threshold = threshold.max(keep_largest(&mut nodes));
        }
    }
    if nodes.len() > NODES_MAX {
        threshold = threshold.max(keep_largest(&mut nodes));
    }
    nodes.sort_unstable_by_key(|node| node.0);
    let listed: f64 = nodes.iter().map(|(_, re, im)| re * re + im * im).sum();
    SparseWaveform {
        keys: nodes.iter().flat_map(|node| node.0.to_be_bytes()).collect(),
        re: nodes.iter().map(|node| node.1 as f32).collect(),
        im: nodes.iter().map(|node| node.2 as f32).collect(),
        threshold,
        total_energy: total * torus.cell_volume(),
        tick: simulation.tick_count(),
        omitted_fraction: if total > 0.0 { (1.0 - listed / total).max(0.0) } else { 0.0 },
    }
}

fn density<'a>(re: &'a [f64], im: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    re.iter().zip(im).map(|(re, im)| re * re + im * im)
}

/// Keeps [`NODES_MAX`] nodes; the smallest |Ψ| among them.
fn keep_largest(nodes: &mut Vec<(MortonKey, f64, f64)>) -> f64 {
    let density = |node: &(MortonKey, f64, f64)| node.1 * node.1 + node.2 * node.2;
    // Larger first; equal ones by key, so that the choice depends on the state alone.
    nodes.select_nth_unstable_by(NODES_MAX - 1, |a, b| density(b).total_cmp(&density(a)).then(a.0.cmp(&b.0)));
    nodes.truncate(NODES_MAX);
    nodes.last().map_or(0.0, density).sqrt()
}
