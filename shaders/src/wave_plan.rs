//! The sweeps of the wave form: stages that take both fields to modes on every axis, turn them, and bring them back.
//!
//! Invariant: axes commute, so they are grouped as in [`crate::plan`]; the first group's sweep joins the way back of the
//! tick that ends, the kicks and the way to modes of the tick that begins, the last group's sweep both ways around the
//! turn. With G groups a tick costs 2(G − 1) reads and writes of both fields, and one with a single group.
//! Source: systems/kernels/src/wave_form.rs; a mode's turn depends on ω² and its weight alone, so modes fall into
//! classes.

use crate::layout::WaveStage;
use crate::plan::{Shape, TileLimits, Tiles, group_axes, line_mode, mode, mode_of, names, tiles, twiddle};
use core::f64::consts::TAU;
use nikola_kernels::backend::DeviceWorld;
use nikola_kernels::kinetic::AxisTerm;
use nikola_kernels::wave_form::shears;
use std::collections::HashMap;

/// The largest power of two that is transformed in registers: 8, for they hold two fields.
const BITS_MAX: usize = 3;

/// Codes of `wave_form.wgsl`.
const FORWARD: u32 = 1;
const INVERSE: u32 = 2;
const RINGS_FORWARD: u32 = 3;
const RINGS_INVERSE: u32 = 4;
const PUSH: u32 = 5;
const TURN: u32 = 6;
const NO_TABLE: u32 = u32::MAX;
const FROM_MEMORY: u32 = 1;
const TO_MEMORY: u32 = 2;

/// First stage and number of stages of a sweep.
pub type List = (u32, u32);

/// The sweeps of one group.
#[derive(Debug, Clone)]
pub struct WaveGroup {
    /// "3·3·3" or "512 = 8·8·8", for reports.
    pub name: String,
    /// Geometry; a tile holds both fields.
    pub tiles: Tiles,
    /// Radices that occur.
    pub radices: Vec<usize>,
    /// Whether the group has axes at all.
    pub has_axes: bool,
    /// `around_push[back][forth]`: back to nodes, the kicks, forth to modes, either way absent or not.
    pub around_push: [[List; 2]; 2],
    /// Forth, the turn, back.
    pub around_turn: List,
    /// Only the turn.
    pub turn: List,
    /// Only forth, only back; empty without axes.
    pub forth: List,
    /// See [`Self::forth`].
    pub back: List,
}

/// An axis that no tile holds.
#[derive(Debug, Clone, Copy)]
pub struct WaveDirect {
    /// Nodes along it.
    pub extent: usize,
    /// Nodes from neighbour to neighbour.
    pub stride: usize,
    /// Where its roots of unity are.
    pub table: usize,
}

/// All sweeps of a world.
#[derive(Debug, Clone)]
pub struct WavePlan {
    /// Sweeps, fastest axes first.
    pub groups: Vec<WaveGroup>,
    /// Axes applied one by one.
    pub directs: Vec<WaveDirect>,
    /// Stages of all groups.
    pub stages: Vec<WaveStage>,
    /// Twiddles and roots.
    pub tables: Vec<[f32; 2]>,
    /// Class of each node as a mode, storage order.
    pub classes: Vec<u32>,
    /// (p, q, signed weight, what its rounding took) of each class.
    pub turns: Vec<[f32; 4]>,
}

/// One way of a group: stages forth, in order.
struct Way {
    stages: Vec<WaveStage>,
    is_rings: Vec<bool>,
}

impl WavePlan {
    /// Plans the sweeps of `world`, whose equation is the wave form, within `limits`; `duration` and `half_alpha` (as
    /// the device rounds it) are those of the linear flow.
    pub fn new(world: &DeviceWorld, limits: TileLimits, duration: f64, half_alpha: f64) -> Self {
        let limits = TileLimits { tile_bytes: limits.tile_bytes / 2, ..limits };
        let mut plan = Self {
            groups: Vec::new(),
            directs: Vec::new(),
            stages: Vec::new(),
            tables: vec![[1.0, 0.0]],
            classes: Vec::new(),
            turns: Vec::new(),
        };
        let mut modes = vec![Vec::new(); world.axes.len()];
        for (term, modes) in world.axes.iter().zip(&mut modes) {
            *modes = (0..term.extent).map(|mode| (mode, 1.0 / term.extent as f64)).collect();
        }
        let (mut shapes, directs) = group_axes(world, limits, BITS_MAX);
        if shapes.is_empty() {
            shapes.push(Shape::Point);
        }
        let root = |k: usize, n: usize| {
            let (sin, cos) = nikola_kernels::transcendental::sincos(TAU * k as f64 / n as f64);
            [cos as f32, -sin as f32]
        };
        for axis in directs {
            let (extent, stride, table) =
                (world.axes[axis].extent, world.shape.stride(axis), plan.tables.len());
            plan.tables.extend((0..extent).map(|k| root(k, extent)));
            plan.directs.push(WaveDirect { extent, stride, table });
        }
        for shape in shapes {
            plan.add_group(world, &shape, limits, &mut modes);
        }
        plan.classify(&world.axes, &modes, duration, half_alpha);
        plan
    }

    fn add_group(
        &mut self,
        world: &DeviceWorld,
        shape: &Shape,
        limits: TileLimits,
        modes: &mut [Vec<(usize, f64)>],
    ) {
        let (way, axes, name) = match shape {
            Shape::Short(axes) => (short(world, axes, modes), axes.clone(), names(world, axes)),
            Shape::Line(axis, radices) => {
                let factors: Vec<String> = radices.iter().map(ToString::to_string).collect();
                let extent = world.axes[*axis].extent;
                modes[*axis] = line_modes(extent, radices);
                (self.line(extent, radices), vec![*axis], format!("{extent} = {}", factors.join("·")))
            }
            Shape::Point => (Way { stages: Vec::new(), is_rings: Vec::new() }, Vec::new(), "none".to_owned()),
        };
        let mut radices: Vec<usize> = way.stages.iter().map(|stage| stage.radix as usize).collect();
        radices.sort_unstable();
        radices.dedup();
        let widest = radices.last().copied().unwrap_or(1);
        let tiles = tiles(world, &axes, widest, true, limits);
        let code = |is_back: bool, is_rings: bool| match (is_back, is_rings) {
            (false, false) => FORWARD,
            (true, false) => INVERSE,
            (false, true) => RINGS_FORWARD,
            (true, true) => RINGS_INVERSE,
        };
        let directed = |is_back: bool| {
            let stages = way.stages.iter().zip(&way.is_rings);
            let mut stages: Vec<WaveStage> =
                stages.map(|(stage, &rings)| WaveStage { code: code(is_back, rings), ..*stage }).collect();
            if is_back {
                stages.reverse();
            }
            stages
        };
        let (forth, back) = (directed(false), directed(true));
        let single = |code| vec![WaveStage { radix: 1, step: 1, code, table: NO_TABLE, flags: 0 }];
        let none = Vec::new();
        let mut around_push = [[(0, 0); 2]; 2];
        for (has_back, row) in around_push.iter_mut().enumerate() {
            for (has_forth, list) in row.iter_mut().enumerate() {
                let (before, after) =
                    (if has_back == 1 { &back } else { &none }, if has_forth == 1 { &forth } else { &none });
                *list = self.lay_out(&[before, &single(PUSH), after]);
            }
        }
        let group = WaveGroup {
            name,
            tiles,
            radices,
            has_axes: !forth.is_empty(),
            around_push,
            around_turn: self.lay_out(&[&forth, &single(TURN), &back]),
            turn: self.lay_out(&[&single(TURN)]),
            forth: self.lay_out(&[&forth]),
            back: self.lay_out(&[&back]),
        };
        self.groups.push(group);
    }

    fn lay_out(&mut self, parts: &[&Vec<WaveStage>]) -> List {
        let first = self.stages.len();
        self.stages.extend(parts.iter().copied().flatten());
        if let [head, ..] = &mut self.stages[first..] {
            head.flags |= FROM_MEMORY;
        }
        if let [.., tail] = &mut self.stages[first..] {
            tail.flags |= TO_MEMORY;
        }
        (first as u32, (self.stages.len() - first) as u32)
    }

    /// Stages of a longer axis; decimation in frequency.
    fn line(&mut self, extent: usize, radices: &[usize]) -> Way {
        let mut stages = Vec::new();
        let mut length = extent;
        for &radix in radices {
            let step = length / radix;
            let table = if step == 1 { NO_TABLE } else { self.tables.len() as u32 };
            if step > 1 {
                for position in 0..step {
                    let steps = |slot| position as isize * mode_of(slot, radix);
                    self.tables.extend((0..radix).map(|slot| twiddle(steps(slot), length)));
                }
            }
            stages.push(WaveStage { radix: radix as u32, step: step as u32, code: FORWARD, table, flags: 0 });
            length = step;
        }
        let is_rings = vec![false; stages.len()];
        Way { stages, is_rings }
    }

    /// The class of every mode, axis by axis: classes so far times positions along the next axis.
    fn classify(&mut self, axes: &[AxisTerm], modes: &[Vec<(usize, f64)>], duration: f64, half_alpha: f64) {
        let (mut classes, mut values) = (vec![0_u32], vec![(0.0_f64, 1.0_f64)]);
        for (term, along) in axes.iter().zip(modes).filter(|(term, _)| term.extent > 1) {
            let mut known = HashMap::new();
            let mut next_values = Vec::new();
            let mut merged = Vec::with_capacity(values.len() * along.len());
            for &(omega2, weight) in &values {
                for &(mode, own) in along {
                    let k = mode.min(term.extent - mode) as f64 * term.wavenumber_unit;
                    let value = (omega2 + term.diffusion * k * k, weight * own);
                    let key = (value.0.to_bits(), value.1.to_bits());
                    merged.push(*known.entry(key).or_insert_with(|| {
                        next_values.push(value);
                        next_values.len() as u32 - 1
                    }));
                }
            }
            let n = along.len();
            classes = classes
                .iter()
                .flat_map(|&class| &merged[class as usize * n..(class as usize + 1) * n])
                .copied()
                .collect();
            values = next_values;
        }
        self.classes = classes;
        self.turns = values
            .into_iter()
            .map(|(omega2, weight)| {
                let (p, q, sign) = shears(omega2 - half_alpha * half_alpha, duration);
                let factor = weight as f32;
                let rest = weight / f64::from(factor) - 1.0;
                [p as f32, q as f32, sign as f32 * factor, rest as f32]
            })
            .collect();
    }
}

/// The stages of a group of short axes, fastest first; up to three neighbouring rings of three share one.
fn short(world: &DeviceWorld, axes: &[usize], modes: &mut [Vec<(usize, f64)>]) -> Way {
    let mut way = Way { stages: Vec::new(), is_rings: Vec::new() };
    let is_ring = |axis: usize| world.axes[axis].extent == 3;
    let (mut step, mut end) = (1, axes.len());
    while end > 0 {
        let mut start = end - 1;
        while is_ring(axes[end - 1]) && start > 0 && end - start < 3 && is_ring(axes[start - 1]) {
            start -= 1;
        }
        let slot = &axes[start..end];
        let radix: usize = slot.iter().map(|&axis| world.axes[axis].extent).product();
        let rings = is_ring(slot[0]);
        for &axis in slot {
            let extent = world.axes[axis].extent;
            modes[axis] = if rings {
                vec![(0, 1.0 / 3.0), (1, 2.0 / 3.0), (1, 0.5)]
            } else {
                (0..extent).map(|position| (mode(position, extent), 1.0 / extent as f64)).collect()
            };
        }
        way.stages.push(WaveStage {
            radix: radix as u32,
            step: step as u32,
            code: FORWARD,
            table: NO_TABLE,
            flags: 0,
        });
        way.is_rings.push(rings);
        step *= radix;
        end = start;
    }
    way
}

/// Mode and weight at each position of a longer axis after its forward stages.
fn line_modes(extent: usize, radices: &[usize]) -> Vec<(usize, f64)> {
    (0..extent).map(|position| (line_mode(position, radices), 1.0 / extent as f64)).collect()
}
