//! What a pass is called in reports, and the constants a program is built with. Invariant: the names of the constants
//! are those of `kinetic.wgsl` and `half_potential.wgsl`.

use super::Work;
use crate::plan::{Plan, radix_constants};
use nikola_kernels::backend::{DeviceWorld, Quantity};
use nikola_kernels::half_potential::Time;

/// Name of a pass in reports, and the bytes it must move.
pub(super) fn describe(work: &Work, world: &DeviceWorld, plan: &Plan) -> (String, u64) {
    let n_nodes = world.shape.n_nodes() as u64;
    match work {
        Work::Sweep { group, immediates, axes } => {
            let name = &plan.groups[*group].name;
            let has_flows = immediates.n_flows > 0;
            let per_node = |quantity: &Quantity| match quantity {
                Quantity::PerNode(_) if has_flows => 4,
                _ => 0,
            };
            let bytes = n_nodes * (16 + per_node(&world.potential) + per_node(&world.damping));
            let title = match (*axes, has_flows) {
                ((false, false), _) => "half_potential".to_owned(),
                ((true, true), _) => format!("kinetic {name} + half_potential ×2 + kinetic {name}"),
                (_, true) => format!("half_potential + kinetic {name}"),
                (_, false) => format!("kinetic {name}"),
            };
            (title, bytes)
        }
        Work::Direct { axis, .. } => (format!("kinetic direct {}", plan.directs[*axis].extent), 32 * n_nodes),
        Work::Kick { immediates } => ("source".to_owned(), 28 * u64::from(immediates.count)),
        Work::Norm => ("oracle (norm)".to_owned(), 8 * n_nodes),
        Work::Step(step) => (step.name.0.to_owned(), step.name.1),
    }
}

/// The constants of a group's program.
pub(super) fn sweep_constants(world: &DeviceWorld, plan: &Plan, group: usize) -> Vec<(&'static str, f64)> {
    // A tick begins and ends with the first group or the last; those between never have local flows, whoever looks.
    let has_flows = group == 0 || group + 1 == plan.groups.len();
    let group = &plan.groups[group];
    let tiles = &group.tiles;
    let flag = |condition: bool| f64::from(u8::from(condition));
    let is_column = |quantity: &Quantity| matches!(quantity, Quantity::PerNode(_));
    let is_imaginary = matches!(world.time, Time::Imaginary { .. });
    let mut constants = vec![
        ("HAS_FLOWS", flag(has_flows)),
        ("HAS_POTENTIAL", flag(is_column(&world.potential))),
        ("HAS_DAMPING", flag(is_column(&world.damping))),
        // A freeze may damp any watched world.
        ("IS_DAMPED", flag(world.damping != Quantity::Uniform(0.0) || world.watched.is_some())),
        ("IS_IMAGINARY", flag(is_imaginary)),
        ("THREADS", tiles.threads as f64),
        ("ROWS", tiles.rows as f64),
        ("LANES", tiles.lanes as f64),
        ("ROW_STRIDE", tiles.row_stride as f64),
        ("LANE_STRIDE", tiles.lane_stride as f64),
        ("ROW_PITCH", tiles.row_pitch as f64),
        ("LANE_PITCH", tiles.lane_pitch as f64),
        ("PAD_SHIFT", f64::from(tiles.pad_shift)),
        ("TILE_LEN", tiles.tile_len as f64),
        ("LANE_COUNT", tiles.lane_count as f64),
        ("CHUNKS", tiles.chunks as f64),
        ("OUTER_STRIDE", tiles.outer_stride as f64),
        ("N_TILES", tiles.n_tiles as f64),
        ("LANES_FIRST", flag(tiles.is_lanes_first)),
    ];
    constants.extend(radix_constants(&group.radices));
    constants
}
