//! The nodes on which the entropy of the density is estimated. Invariant: drawn from the scene's seed, once; where pages come and
//! go, they are places in the list of active nodes. Source: definition.

use nikola_components::noise;
use nikola_components::setup::Setup;

/// Nodes the entropy is estimated on.
pub(super) const RESERVOIR_NODES: usize = 4096;

/// Random stream of the reservoir.
const RESERVOIR_STREAM: u32 = 0x656e_6773;

/// The nodes that the entropy is estimated on: one slice of them per tick.
pub(super) enum Reservoir {
    /// (page, node) of a dense torus, sorted.
    Fixed(Vec<(u32, u32)>),
    /// Of a sparse torus: places in the list of its active nodes, as parts of its length, ascending.
    Floating(Vec<f64>),
}

impl Reservoir {
    /// Those of a world.
    pub fn new(setup: &Setup) -> Self {
        let torus = &setup.torus;
        let draw = |i: usize| noise::uniform(setup.seed, RESERVOIR_STREAM, 0, i as u64);
        if setup.growth.is_some() {
            let mut places: Vec<f64> = (0..RESERVOIR_NODES).map(draw).collect();
            places.sort_unstable_by(f64::total_cmp);
            return Self::Floating(places);
        }
        let n = torus.n_nodes();
        let pick = |i: usize| {
            let drawn = if n <= RESERVOIR_NODES { i } else { ((draw(i) * n as f64) as usize).min(n - 1) };
            ((drawn / torus.page_nodes()) as u32, (drawn % torus.page_nodes()) as u32)
        };
        let mut reservoir: Vec<(u32, u32)> = (0..RESERVOIR_NODES.min(n)).map(pick).collect();
        reservoir.sort_unstable();
        Self::Fixed(reservoir)
    }

    /// Position of the page and node of the `k`-th of `n` samples, on `n_pages` pages of `page_nodes` nodes.
    pub fn node(&self, k: usize, n_pages: usize, page_nodes: usize) -> (usize, usize) {
        let drawn = match self {
            Self::Fixed(nodes) => return (nodes[k].0 as usize, nodes[k].1 as usize),
            Self::Floating(places) => {
                let n = n_pages * page_nodes;
                if n <= RESERVOIR_NODES { k } else { ((places[k] * n as f64) as usize).min(n - 1) }
            }
        };
        (drawn / page_nodes, drawn % page_nodes)
    }

    /// How many samples there are.
    pub fn len(&self, n_nodes: usize) -> usize {
        match self {
            Self::Fixed(nodes) => nodes.len(),
            Self::Floating(places) => places.len().min(n_nodes),
        }
    }
}
