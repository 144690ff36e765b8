//! How the axes of a torus are grouped into sweeps, and each sweep into stages.
//!
//! Invariant: every axis belongs to one group or is direct; a sweep of a group applies its axes once per duration.
//! Axes commute, so a tick visits the groups in any order: each tick begins with the group the last one ended with,
//! and the two share one sweep. With G groups a tick costs G − 1 reads and writes of Ψ, and one with a single group.
//! Source: systems/kernels/src/kinetic.rs for the splitting; Cooley & Tukey 1965 for the stages of longer axes.

use crate::layout::Stage;
use core::f64::consts::TAU;
use nikola_kernels::backend::DeviceWorld;
use nikola_kernels::half_potential::Prefactor;
use nikola_kernels::kinetic::order::{centred, lifting, mode_at};

/// Codes of `kinetic.wgsl`.
pub const NOTHING: u32 = 0;
const RINGS: u32 = 1;
const MIDDLE: u32 = 2;
const FORWARD: u32 = 3;
const INVERSE: u32 = 4;
const FLOWS: u32 = 1;
const FROM_MEMORY: u32 = 2;
const TO_MEMORY: u32 = 4;

/// Bytes of one node of Ψ.
const NODE_BYTES: usize = 8;
/// The largest power of two that is transformed in registers: 16.
const BITS_MAX: usize = 4;
/// Rows of a tile that lies in one piece of memory: two stages of 27.
const ROWS_MAX: usize = 729;
/// Lanes a strided tile needs, so that each row fills two memory sectors.
const LANES_MIN: usize = 8;
/// Threads of a work group, at most: groups that wait for each other's memory at different times fill a card better than
/// large ones (27³·3⁶ on an H200: 0.39 ms a tick with 256, 0.36 ms with 128, 0.41 ms with 64).
const THREADS_AIM: usize = 128;
/// The same where a stage has sixteen rows, whose registers leave room for fewer threads at a time (128³ on an H200: 0.097 ms a
/// tick with 64, 0.100 with 128, 0.104 with 256).
const THREADS_AIM_SIXTEEN: usize = 64;
/// Threads of a work group come in whole subgroups (32 threads, or a divisor of it): the rest would idle anyway, and
/// software drivers have been seen to lose a barrier where the last subgroup is not full.
const SUBGROUP: usize = 32;
/// Tiles below which lanes are given up for more tiles: two for each of the processors of a large card.
const TILES_AIM: usize = 264;

/// What a device allows.
#[derive(Debug, Clone, Copy)]
pub struct TileLimits {
    /// Bytes of memory of a work group.
    pub tile_bytes: usize,
    /// Threads of a work group.
    pub threads: usize,
}

/// Geometry of the tiles of a sweep; the names are those of the overrides in `kinetic.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Tiles {
    pub threads: usize,
    pub rows: usize,
    pub lanes: usize,
    pub row_stride: usize,
    pub lane_stride: usize,
    pub row_pitch: usize,
    pub lane_pitch: usize,
    pub pad_shift: u32,
    pub tile_len: usize,
    pub lane_count: usize,
    pub chunks: usize,
    pub outer_stride: usize,
    pub n_tiles: usize,
    pub is_lanes_first: bool,
}

/// One sweep: a tile geometry and its stages with and without the axes before and after the flows.
#[derive(Debug, Clone)]
pub struct Group {
    /// "3·3·3·3·3·3" or "512 = 8·8·8", for reports.
    pub name: String,
    /// Geometry.
    pub tiles: Tiles,
    /// Radices that occur.
    pub radices: Vec<usize>,
    /// Whether the group has axes at all.
    pub has_axes: bool,
    /// `lists[before][after]`: first stage and number of stages.
    lists: [[(u32, u32); 2]; 2],
}

impl Group {
    /// First stage and number of stages of a sweep with or without axes before and after its flows.
    pub fn stages(&self, before: bool, after: bool) -> (u32, u32) {
        self.lists[usize::from(before)][usize::from(after)]
    }
}

/// An axis that no tile holds.
#[derive(Debug, Clone, Copy)]
pub struct DirectAxis {
    /// Nodes along it.
    pub extent: usize,
    /// Nodes from neighbour to neighbour.
    pub stride: usize,
    /// Where its coefficients are, from the base of a duration.
    pub table: usize,
}

/// All sweeps of a world.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Sweeps, fastest axes first.
    pub groups: Vec<Group>,
    /// Axes applied one by one.
    pub directs: Vec<DirectAxis>,
    /// Stages of all groups.
    pub stages: Vec<Stage>,
    /// Tables of all durations, one after the other.
    pub tables: Vec<[f32; 2]>,
    /// Entries of one duration.
    pub table_len: usize,
    /// What the rings of each duration leave to the next local flow.
    pub prefactors: Vec<Prefactor>,
}

/// A step of a group's sequence before stages are laid out.
#[derive(Debug, Clone, Copy)]
struct Op {
    radix: usize,
    step: usize,
    code: u32,
    table: usize,
    table_step: usize,
}

/// Axes that one tile holds.
pub(crate) enum Shape {
    /// Axes that fit the registers one at a time, slowest first (indices into the world's axes).
    Short(Vec<usize>),
    /// One longer axis.
    Line(usize, Vec<usize>),
    /// No axis.
    Point,
}

impl Plan {
    /// Plans the sweeps of `world` within `limits`.
    pub fn new(world: &DeviceWorld, limits: TileLimits) -> Self {
        let mut plan = Self {
            groups: Vec::new(),
            directs: Vec::new(),
            stages: Vec::new(),
            tables: Vec::new(),
            table_len: 0,
            prefactors: vec![Prefactor::NONE; world.durations.len()],
        };
        let mut tables = vec![Vec::new(); world.durations.len()];
        let (shapes, directs) = group_axes(world, limits, BITS_MAX);
        for axis in directs {
            plan.add_direct(world, axis, &mut tables);
        }
        for shape in shapes {
            plan.add_group(world, &shape, limits, &mut tables);
        }
        if plan.groups.is_empty() {
            plan.add_group(world, &Shape::Point, limits, &mut tables);
        }
        plan.table_len = tables.first().map_or(0, Vec::len);
        plan.tables = tables.concat();
        if plan.tables.is_empty() {
            plan.tables.push([0.0; 2]);
        }
        plan
    }

    fn add_direct(&mut self, world: &DeviceWorld, axis: usize, tables: &mut [Vec<[f32; 2]>]) {
        let term = &world.axes[axis];
        let table = tables[0].len();
        for (table, &duration) in tables.iter_mut().zip(&world.durations) {
            let increments = term.circulant(duration, world.time);
            table.extend(increments.into_iter().map(|(re, im)| [re as f32, im as f32]));
        }
        self.directs.push(DirectAxis { extent: term.extent, stride: world.shape.stride(axis), table });
    }

    fn add_group(
        &mut self,
        world: &DeviceWorld,
        shape: &Shape,
        limits: TileLimits,
        tables: &mut [Vec<[f32; 2]>],
    ) {
        let (sequence, is_line, name) = match shape {
            Shape::Short(axes) => (self.short(world, axes, tables), false, names(world, axes)),
            Shape::Line(axis, radices) => {
                let radix_names: Vec<String> = radices.iter().map(ToString::to_string).collect();
                let name = format!("{} = {}", world.axes[*axis].extent, radix_names.join("·"));
                (line(world, *axis, radices, tables), true, name)
            }
            Shape::Point => (Vec::new(), false, "none".to_owned()),
        };
        let axes: Vec<usize> = match shape {
            Shape::Short(axes) => axes.clone(),
            Shape::Line(axis, _) => vec![*axis],
            Shape::Point => Vec::new(),
        };
        let mut radices: Vec<usize> = sequence.iter().map(|op| op.radix).collect();
        radices.sort_unstable();
        radices.dedup();
        let tiles = tiles(world, &axes, radices.last().copied().unwrap_or(1), sequence.len() > 1, limits);
        let lists = self.lay_out(&sequence, is_line);
        self.groups.push(Group { name, tiles, radices, has_axes: !sequence.is_empty(), lists });
    }

    /// The sequence of a group of short axes, slowest rows first; neighbouring rings of three share a stage.
    fn short(&mut self, world: &DeviceWorld, axes: &[usize], tables: &mut [Vec<[f32; 2]>]) -> Vec<Op> {
        let mut sequence = Vec::new();
        let mut step = 1;
        let mut end = axes.len();
        while end > 0 {
            let is_ring = |axis: usize| world.axes[axis].extent == 3;
            let mut start = end - 1;
            while is_ring(axes[end - 1]) && start > 0 && end - start < 3 && is_ring(axes[start - 1]) {
                start -= 1;
            }
            let slot = &axes[start..end];
            let radix: usize = slot.iter().map(|&axis| world.axes[axis].extent).product();
            let table = tables[0].len() + usize::from(!is_ring(slot[0]));
            for (w, &duration) in world.durations.iter().enumerate() {
                if is_ring(slot[0]) {
                    for &axis in slot.iter().rev() {
                        let b = world.axes[axis].ring(duration, world.time, &mut self.prefactors[w]);
                        tables[w].push([b.0 as f32, b.1 as f32]);
                    }
                } else {
                    let term = &world.axes[slot[0]];
                    let phase = |slot| term.phase(mode(slot, radix), duration, world.time);
                    add_phases(&mut tables[w], radix, phase);
                }
            }
            let code = if is_ring(slot[0]) { RINGS } else { MIDDLE };
            sequence.push(Op { radix, step, code, table, table_step: 0 });
            step *= radix;
            end = start;
        }
        sequence.reverse();
        sequence
    }

    /// Writes the four stage lists of a group.
    fn lay_out(&mut self, sequence: &[Op], is_line: bool) -> [[(u32, u32); 2]; 2] {
        let mirrored: Vec<Op> =
            if is_line { sequence.to_vec() } else { sequence.iter().rev().copied().collect() };
        let point = Op { radix: 1, step: 1, code: NOTHING, table: 0, table_step: 0 };
        let hinge = mirrored.first().copied().unwrap_or(point);
        let mut lists = [[(0, 0); 2]; 2];
        for (before, row) in lists.iter_mut().enumerate() {
            for (after, list) in row.iter_mut().enumerate() {
                let first = self.stages.len();
                if before == 1 {
                    let leading = sequence.split_last().map_or(&[][..], |(_, leading)| leading);
                    self.stages.extend(leading.iter().map(|op| stage(op, op.code, NOTHING, 0)));
                }
                let code = |present: usize, op: Option<&Op>| match op {
                    Some(op) if present == 1 => op.code,
                    _ => NOTHING,
                };
                let mut turn =
                    stage(&hinge, code(before, sequence.last()), code(after, mirrored.first()), FLOWS);
                turn.table_before = sequence.last().map_or(0, |op| op.table) as u32;
                self.stages.push(turn);
                if after == 1 {
                    let trailing = mirrored.get(1..).unwrap_or(&[]);
                    self.stages.extend(trailing.iter().map(|op| stage(op, NOTHING, op.code, 0)));
                }
                let last = self.stages.len() - 1;
                self.stages[first].flags |= FROM_MEMORY;
                self.stages[last].flags |= TO_MEMORY;
                *list = (first as u32, (last + 1 - first) as u32);
            }
        }
        lists
    }
}

fn stage(op: &Op, before: u32, after: u32, flags: u32) -> Stage {
    Stage {
        radix: op.radix as u32,
        step: op.step as u32,
        before,
        after,
        table_before: op.table as u32,
        table_after: op.table as u32,
        table_step: op.table_step as u32,
        flags,
    }
}

pub(crate) fn names(world: &DeviceWorld, axes: &[usize]) -> String {
    axes.iter().map(|&axis| world.axes[axis].extent.to_string()).collect::<Vec<_>>().join("×")
}

/// Assigns every axis longer than one node to a group (fastest first) or to the direct ones. Stages are of 2^`bits_max` at
/// most.
pub(crate) fn group_axes(
    world: &DeviceWorld,
    limits: TileLimits,
    bits_max: usize,
) -> (Vec<Shape>, Vec<usize>) {
    let rows_of_tile = limits.tile_bytes / NODE_BYTES;
    let (mut shapes, mut directs) = (Vec::new(), Vec::new());
    let mut open: Vec<usize> = Vec::new();
    let mut rows = 1;
    let mut close = |open: &mut Vec<usize>, rows: &mut usize| {
        if !open.is_empty() {
            open.reverse();
            shapes.push(Shape::Short(std::mem::take(open)));
        }
        *rows = 1;
    };
    let mut lines = Vec::new();
    for axis in (0..world.axes.len()).rev() {
        let extent = world.axes[axis].extent;
        if extent == 1 {
            continue;
        }
        if matches!(extent, 2 | 3 | 4 | 5 | 8 | 9 | 27) {
            let stride = open.first().map_or(world.shape.stride(axis), |&first| world.shape.stride(first));
            let rows_max = if stride == 1 { ROWS_MAX.min(rows_of_tile) } else { rows_of_tile / LANES_MIN };
            if rows > 1 && rows * extent > rows_max {
                close(&mut open, &mut rows);
            }
            open.push(axis);
            rows *= extent;
            continue;
        }
        close(&mut open, &mut rows);
        match factor(extent, bits_max) {
            // A row of padding after each second one at most.
            Some(radices) if extent + extent / 2 < rows_of_tile => lines.push((axis, radices)),
            _ => directs.push(axis),
        }
    }
    close(&mut open, &mut rows);
    shapes.extend(lines.into_iter().map(|(axis, radices)| Shape::Line(axis, radices)));
    shapes.sort_by_key(|shape| match shape {
        Shape::Short(axes) => std::cmp::Reverse(*axes.last().expect("a group has axes")),
        Shape::Line(axis, _) => std::cmp::Reverse(*axis),
        Shape::Point => std::cmp::Reverse(0),
    });
    (shapes, directs)
}

/// Radices of the stages of a longer axis; `None` where a prime factor is out of reach. As few powers of two as hold the
/// power of two, each 2^`bits_max` at most and all about alike: every stage is a trip through the work group's memory.
fn factor(n: usize, bits_max: usize) -> Option<Vec<usize>> {
    let bits = n.trailing_zeros() as usize;
    let n_stages = bits.div_ceil(bits_max);
    let mut radices: Vec<usize> =
        (0..n_stages).map(|stage| 1 << (bits / n_stages + usize::from(stage < bits % n_stages))).collect();
    let mut rest = n >> bits;
    for radix in [9, 5, 3] {
        while rest.is_multiple_of(radix) {
            rest /= radix;
            radices.push(radix);
        }
    }
    radices.sort_unstable_by_key(|&radix| std::cmp::Reverse(radix));
    (rest == 1).then_some(radices)
}

/// Which mode a register holds after a transform of `radix` in registers: its digits reversed and centred; itself centred.
pub(crate) fn mode_of(slot: usize, radix: usize) -> isize {
    let digits: &[usize] = match radix {
        4 => &[2, 2],
        8 => &[2, 2, 2],
        16 => &[2, 2, 2, 2],
        9 => &[3, 3],
        27 => &[3, 3, 3],
        _ => return centred(slot as isize, radix),
    };
    let (mut rest, mut mode) = (slot, 0);
    for &digit in digits {
        mode = mode * digit as isize + centred((rest % digit) as isize, digit);
        rest /= digit;
    }
    centred(mode, radix)
}

/// [`mode_of`], from 0 on.
pub(crate) fn mode(slot: usize, radix: usize) -> usize {
    mode_of(slot, radix).rem_euclid(radix as isize) as usize
}

/// The mode at a position of a longer axis after its forward stages.
pub(crate) fn line_mode(position: usize, radices: &[usize]) -> usize {
    mode_at(radices, position, mode_of)
}

/// The twiddle e^{−iθ}, θ = 2π·steps/length, as shaders take it: the lifting steps of the turn by θ; the last bit of the
/// sine tells whether half a turn is added.
pub(crate) fn twiddle(steps: isize, length: usize) -> [f32; 2] {
    let theta = TAU * centred(steps, length) as f64 / length as f64;
    let (tan, sin, is_half) = lifting(theta);
    let sine = (sin as f32).to_bits() & !1 | u32::from(is_half);
    [tan as f32, f32::from_bits(sine)]
}

/// Adds what is near all phases over `n`, then what is left of each.
fn add_phases(table: &mut Vec<[f32; 2]>, n: usize, phase: impl Fn(usize) -> (f64, f64)) {
    let near = (1.0 / n as f64) as f32;
    table.push([near, 0.0]);
    let left = |(re, im): (f64, f64)| [(re / n as f64 - f64::from(near)) as f32, (im / n as f64) as f32];
    table.extend((0..n).map(|slot| left(phase(slot))));
}

/// The constants of `kinetic/sweep.wgsl` that say which radices occur.
pub(crate) fn radix_constants(radices: &[usize]) -> impl Iterator<Item = (&'static str, f64)> {
    let names = [
        (2, "HAS_2"),
        (3, "HAS_3"),
        (4, "HAS_4"),
        (5, "HAS_5"),
        (8, "HAS_8"),
        (9, "HAS_9"),
        (16, "HAS_16"),
        (27, "HAS_27"),
    ];
    names.into_iter().map(|(radix, name)| (name, f64::from(u8::from(radices.contains(&radix)))))
}

/// The sequence of a longer axis: forward stages, the middle, inverse stages.
fn line(world: &DeviceWorld, axis: usize, radices: &[usize], tables: &mut [Vec<[f32; 2]>]) -> Vec<Op> {
    let term = &world.axes[axis];
    let n = term.extent;
    let mut forward = Vec::new();
    let mut length = n;
    let (last, leading) = radices.split_last().expect("a longer axis has factors");
    for &radix in leading {
        let step = length / radix;
        let table = tables[0].len();
        for table in tables.iter_mut() {
            for position in 0..step {
                table
                    .extend((0..radix).map(|slot| twiddle(position as isize * mode_of(slot, radix), length)));
            }
        }
        forward.push(Op { radix, step, code: FORWARD, table, table_step: 0 });
        length = step;
    }
    let table = tables[0].len() + 1;
    for (table, &duration) in tables.iter_mut().zip(&world.durations) {
        add_phases(table, n, |position| term.phase(line_mode(position, radices), duration, world.time));
    }
    let middle = Op { radix: *last, step: 1, code: MIDDLE, table, table_step: *last };
    let inverse = forward.iter().rev().map(|op| Op { code: INVERSE, ..*op });
    let tail: Vec<Op> = inverse.collect();
    forward.into_iter().chain([middle]).chain(tail).collect()
}

/// The tiles of a group that holds `axes` (neighbours in storage order).
pub(crate) fn tiles(
    world: &DeviceWorld,
    axes: &[usize],
    radix_max: usize,
    exchanges: bool,
    limits: TileLimits,
) -> Tiles {
    let n_nodes = world.shape.n_nodes();
    let rows: usize = axes.iter().map(|&axis| world.axes[axis].extent).product();
    let stride = axes.last().map_or(1, |&axis| world.shape.stride(axis));
    let is_strided = stride > 1;
    let (lane_count, n_outer) =
        if is_strided { (stride, n_nodes / (rows * stride)) } else { (n_nodes / rows, 1) };
    let pad_shift = match radix_max {
        2 => 1,
        4 => 2,
        8 => 3,
        16 => 4,
        _ => 31,
    };
    let padded = rows + if pad_shift < 31 { rows >> pad_shift } else { 0 };
    let per_lane = rows / radix_max;
    let threads_aim = if radix_max == 16 { THREADS_AIM_SIXTEEN } else { THREADS_AIM };
    let fits = |lanes: usize| {
        lanes * per_lane <= threads_aim.min(limits.threads)
            && (!exchanges || lanes * padded * NODE_BYTES <= limits.tile_bytes)
    };
    let lanes_min = if is_strided { LANES_MIN } else { 1 };
    let mut lanes = 1;
    while fits(2 * lanes) && lanes < lane_count {
        lanes *= 2;
    }
    while lanes > lanes_min && n_outer * lane_count.div_ceil(lanes) < TILES_AIM {
        lanes /= 2;
    }
    let chunks = lane_count.div_ceil(lanes);
    let (row_pitch, lane_pitch) = if is_strided { (lanes, 1) } else { (1, padded) };
    Tiles {
        threads: (per_lane * lanes).next_multiple_of(SUBGROUP).min(limits.threads),
        rows,
        lanes,
        row_stride: stride,
        lane_stride: if is_strided { 1 } else { rows },
        row_pitch,
        lane_pitch,
        pad_shift,
        tile_len: if exchanges { padded * lanes } else { 1 },
        lane_count,
        chunks,
        outer_stride: if is_strided { rows * stride } else { 0 },
        n_tiles: n_outer * chunks,
        is_lanes_first: is_strided || rows == 1,
    }
}
