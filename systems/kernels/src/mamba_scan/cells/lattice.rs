//! Traversals of a torus whose cells are runs of its nodes: where the numbers of each cell stand, and how each traversal goes
//! through the cells.
//!
//! Invariant: cells whose nodes all traversals visit in the same order stand side by side, sixteen at a time, the slices of a
//! position one after the other; what one cell does to h in one go does not depend on its place. A lattice is planned from the
//! traversals alone. Source: the traversals of `components/src/geometry/traversal.rs`, of which two orders of a cell's nodes come, a
//! Peano curve and its reverse.

mod across;
mod chain;
mod units;

pub use chain::LatticeWalk;
pub use units::UnitPass;
pub(super) use {chain::Chain, units::Unit};

use super::super::Order;
use super::WIDTH;
use super::aligned::Aligned;
use super::blocks::{CELLS_MAX, SUMS_MAX};
use crate::field::Real;
use std::collections::BTreeMap;

/// Cells side by side.
pub(super) const SIDE: usize = 16;

/// Room for a number of each node of a cell, and the nodes there may be: at least a vector, at most two or four that overlap.
pub(super) const ROOM: usize = 32;
const NODES_MIN: usize = 16;

/// Numbers of a cell's nodes: t, B·Re Ψ and B·Im Ψ of each.
pub(super) const NODES: usize = 3 * ROOM;

/// Cells that a traversal across cells takes at a time.
pub(super) const NINE: usize = 9;

/// Most cells between which a traversal goes to and fro.
const ACROSS_MAX: usize = 81;

/// Most orders of the nodes of a cell, over all traversals.
const CLASSES_MAX: usize = 4;

/// A visit of all cells of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visit {
    /// Which node of each cell.
    pub node: usize,
    /// Whether the last cell comes first.
    pub is_reversed: bool,
}

/// The order in which cells' nodes are visited: for each unit of cells side by side, the nodes one after the other.
type Places = Vec<u32>;

/// How a traversal goes through the cells; slots are those of the first slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// Cell after cell on one slice, then the next slice.
    Cells { slots: Vec<u32>, places: Places },
    /// Position after position of a cell, on every slice before the next position.
    Pasts { slots: Vec<u32>, places: Places },
    /// Group after group of cells: one node of each cell, then another of each, as `visits` of every group say.
    Across { slots: Vec<u32>, n_cells: usize, visits: Vec<Visit> },
}

/// The plan.
#[derive(Debug, Clone)]
pub(super) struct Lattice {
    /// Nodes of a cell.
    pub nodes: usize,
    pub n_slices: usize,
    /// Units of [`SIDE`] cells of a slice. Slots count the cells of a unit, the units' slices, the units.
    pub n_units: usize,
    /// The cell of each slot. Slots that are left over repeat a cell of their unit and are not looked at.
    pub cells: Vec<u32>,
    pub ways: Vec<Way>,
    /// What each slice adds to a node's index.
    pub slices: Vec<u32>,
}

/// Cells in their order, and the order of their nodes.
struct Runs {
    cells: Vec<u32>,
    nodes: Vec<Vec<u32>>,
}

impl Lattice {
    /// The plan of these traversals; none where cells are no runs of nodes, or a traversal goes through them in another way.
    pub fn new(orders: &[Order], slices: &[u32], of_node: &[u32]) -> Option<Self> {
        let nodes = of_node.iter().take_while(|cell| **cell == of_node[0]).count();
        let is_run = |(node, cell): (usize, &u32)| node / nodes == *cell as usize;
        let fits = (NODES_MIN..=ROOM).contains(&nodes) && of_node.len().is_multiple_of(nodes);
        if !(fits && of_node.iter().enumerate().all(is_run)) || orders.is_empty() {
            return None;
        }
        if slices.iter().any(|slice| !(*slice as usize).is_multiple_of(nodes)) {
            return None;
        }
        let n = nodes as u32;
        let runs: Vec<Option<Runs>> = orders.iter().map(|order| runs(order, n)).collect();
        // The cells of slice 0 by how their nodes are visited.
        let mut orders_of: BTreeMap<u32, Vec<&[u32]>> =
            orders[0].positions.iter().map(|position| (position / n, Vec::new())).collect();
        for runs in runs.iter().flatten() {
            for (cell, nodes) in runs.cells.iter().zip(&runs.nodes) {
                orders_of.get_mut(cell)?.push(nodes);
            }
        }
        let mut classes: BTreeMap<Vec<&[u32]>, Vec<u32>> = BTreeMap::new();
        for (cell, orders) in orders_of {
            classes.entry(orders).or_default().push(cell);
        }
        if classes.len() > CLASSES_MAX {
            return None;
        }
        let units: Vec<Vec<u32>> =
            classes.values().flat_map(|cells| cells.chunks(SIDE).map(<[u32]>::to_vec)).collect();
        let n_slots = units.len() * slices.len() * SIDE;
        let n_cells = of_node.len() / nodes;
        let (mut cells, mut slots) = (Vec::with_capacity(n_slots), vec![u32::MAX; n_cells]);
        for unit in &units {
            for slice in slices {
                for lane in 0..SIDE {
                    let cell = unit[lane.min(unit.len() - 1)] + slice / n;
                    let slot = slots.get_mut(cell as usize)?;
                    *slot = (*slot).min(cells.len() as u32);
                    cells.push(cell);
                }
            }
        }
        if slots.contains(&u32::MAX) {
            return None;
        }
        let ways = orders.iter().zip(&runs).map(|(order, runs)| {
            let Some(runs) = runs else { return across(order, n, &slots) };
            let of_unit = |unit: &Vec<u32>| {
                let at = runs.cells.iter().position(|cell| *cell == unit[0])?;
                Some(&runs.nodes[at][..])
            };
            let places = units.iter().map(of_unit).collect::<Option<Vec<_>>>()?.concat();
            let slots = runs.cells.iter().map(|cell| slots[*cell as usize]).collect();
            match order.is_time_fastest {
                false => Some(Way::Cells { slots, places }),
                true => (slices.len() <= CELLS_MAX).then_some(Way::Pasts { slots, places }),
            }
        });
        let ways = ways.collect::<Option<Vec<_>>>()?;
        let (n_slices, n_units, slices) = (slices.len(), units.len(), slices.to_vec());
        Some(Lattice { nodes, n_slices, n_units, cells, ways, slices })
    }

    /// Which of the plan's slices these are.
    pub fn turned(&self, slices: &[u32]) -> Vec<usize> {
        let place = |slice: &u32| self.slices.iter().position(|s| s == slice).unwrap_or(0);
        slices.iter().map(place).collect()
    }

    /// Traversals that go cell after cell, counted before `way`.
    pub fn n_before(&self, way: usize) -> usize {
        self.ways[..way].iter().filter(|way| matches!(way, Way::Cells { .. })).count()
    }

    /// Whether a traversal goes from cell to cell at every node.
    pub fn is_across(&self, way: usize) -> bool {
        matches!(self.ways[way], Way::Across { .. })
    }

    /// Where a number of a node is in the room for a cell's nodes, in vectors of `lanes` numbers.
    pub fn place(&self, node: usize, lanes: usize) -> usize {
        let last = (self.nodes - 1) / lanes * lanes;
        if node < last { node } else { last + node - (self.nodes - lanes) }
    }

    /// Scalars of scratch of a traversal.
    pub fn scratch(&self) -> usize {
        let of_way = |way: &Way| match way {
            Way::Across { n_cells, .. } => across::scratch(n_cells / NINE, self.nodes),
            Way::Cells { .. } | Way::Pasts { .. } => 0,
        };
        self.ways.iter().map(of_way).max().unwrap_or(0)
    }

    /// Scalars of scratch of a unit.
    pub fn unit_scratch(&self) -> usize {
        self.n_slices * 3 * self.nodes * SIDE
    }
}

/// The cells that an order on the first slice takes one after the other, and the order of their nodes.
fn runs(order: &Order, n: u32) -> Option<Runs> {
    let chunks = order.positions.chunks(n as usize);
    let is_cell = |run: &[u32]| run.len() == n as usize && run.iter().all(|p| p / n == run[0] / n);
    chunks.clone().all(is_cell).then(|| Runs {
        cells: chunks.clone().map(|run| run[0] / n).collect(),
        nodes: chunks.map(|run| run.iter().map(|p| p % n).collect()).collect(),
    })
}

/// The way of an order that visits a group of cells once per node.
fn across(order: &Order, n: u32, slots: &[u32]) -> Option<Way> {
    let positions = &order.positions[..];
    let n_cells = positions.iter().take_while(|p| *p % n == positions[0] % n).count();
    let is_possible = !order.is_time_fastest && n_cells <= ACROSS_MAX && n_cells.is_multiple_of(NINE);
    if !is_possible || !positions.len().is_multiple_of(n_cells * n as usize) {
        return None;
    }
    let (mut of_groups, mut visits) = (Vec::new(), Vec::new());
    for group in positions.chunks(n_cells * n as usize) {
        let cells: Vec<u32> = group[..n_cells].iter().map(|p| p / n).collect();
        for visit in group.chunks(n_cells) {
            let node = visit[0] % n;
            let is_of = |(p, cell): (&u32, &u32)| *p == cell * n + node;
            let is_reversed = !visit.iter().zip(&cells).all(is_of);
            if is_reversed && !visit.iter().zip(cells.iter().rev()).all(is_of) {
                return None;
            }
            visits.push(Visit { node: node as usize, is_reversed });
        }
        of_groups.extend(cells.iter().map(|cell| slots[*cell as usize]));
    }
    Some(Way::Across { slots: of_groups, n_cells, visits })
}

/// What is kept of the cells, by slot.
#[derive(Debug, Clone)]
pub(super) struct Numbers<T> {
    /// [`NODES`] of each slot.
    pub nodes: Aligned<T>,
    /// Where a whole cell is a block, what it comes to for each traversal that goes cell after cell: [`WIDTH`] numbers, 1/Π(1/(1 −
    /// sγ)), X, (T, R) and those of second order. The first is no number where the cell goes node by node.
    pub cells: Aligned<T>,
    /// The sums of pasts, [`SUMS_MAX`] vectors of a unit.
    pub pasts: Aligned<T>,
}

impl<T: Real> Numbers<T> {
    /// For this plan.
    pub fn new(lattice: &Lattice) -> Self {
        let n_slots = lattice.cells.len();
        let n_ways = lattice.n_before(lattice.ways.len());
        Numbers {
            nodes: Aligned::zeros(n_slots * NODES),
            cells: Aligned::zeros(n_slots * (n_ways * WIDTH).max(1)),
            pasts: Aligned::zeros(lattice.n_units * SUMS_MAX * SIDE),
        }
    }
}
