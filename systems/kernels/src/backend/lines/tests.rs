//! Flows over lines, run by a plain interpreter, against the plans of the host that they were made from.

use super::*;
use crate::field::{PageMut, PageRef, Shape, Threads};
use crate::half_potential::Time;
use crate::kinetic::remainder::RemainderRule;
use crate::kinetic::sparse::{Blocks, SparseKinetic, SparseVarying};
use crate::kinetic::varying::{CellGrid, Diffusion, OffDiagonal, Varying};
use crate::kinetic::{AxisTerm, Probe};
use crate::simd::Level;

type Z = [f64; 2];

fn times(a: Z, b: Z) -> Z {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

fn plus(a: Z, b: Z) -> Z {
    [a[0] + b[0], a[1] + b[1]]
}

fn minus(a: Z, b: Z) -> Z {
    [a[0] - b[0], a[1] - b[1]]
}

fn number(i: usize, stream: u64) -> f64 {
    let mut x =
        (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// One pass, as its definition says.
fn pass(flows: &LineFlows, pass: &LinePass, psi: &mut [Z]) {
    let LinePass { kind, rows, side, stride, column_lines, first_slot, first_entry, entry_lines, .. } = *pass;
    let per_column = rows / side;
    for index in 0..pass.n_lines() {
        let (column, line) = (index / column_lines, index % column_lines);
        let node = |k: usize| {
            let slot = flows.slots[first_slot + column * per_column + k / side] as usize;
            slot + line / stride * side * stride + line % stride + k % side * stride
        };
        let at = flows.entries[first_entry + index / entry_lines] as usize;
        let table: Vec<Z> =
            flows.tables[at..at + kind.table_len(rows)].iter().map(|w| w.map(f64::from)).collect();
        let x: Vec<Z> = (0..rows).map(|k| psi[node(k)]).collect();
        let sum = |weight: &dyn Fn(usize, usize) -> Z, i: usize| {
            (0..rows).fold([0.0; 2], |sum, j| plus(sum, times(weight(i, j), x[j])))
        };
        let moved = |i: usize| match kind {
            LineKind::Matrix => sum(&|i, j| table[j * rows + i], i),
            LineKind::Circulant => sum(&|i, j| table[(i + rows - j) % rows], i),
            LineKind::Ring => {
                let (edge, before, next) = (table[i], (i + 2) % 3, (i + 1) % 3);
                plus(times(edge, minus(x[next], x[i])), times(table[before], minus(x[before], x[i])))
            }
            LineKind::Triple => {
                let [p, q, b, d] = [table[0], table[1], table[2], table[3]];
                let ends = [[plus(p, q), b, minus(p, q)], [b, d, b], [minus(p, q), b, plus(p, q)]];
                sum(&|i, j| ends[i][j], i)
            }
        };
        let increments: Vec<Z> = (0..rows).map(moved).collect();
        for (k, increment) in increments.into_iter().enumerate() {
            psi[node(k)] = plus(x[k], increment);
        }
    }
}

/// ∂ along `axis` at `node`, from the active nodes of its line.
fn slope(metric: &MetricWorld, field: &[Z], axis: usize, node: usize) -> Z {
    let MetricAxis { extent, side, stride, columns, column_of, .. } = &metric.axes[axis];
    let nodes = metric.page_nodes();
    let (page, inside) = (node / nodes, node % nodes);
    let j = inside / stride % side;
    let column = &columns[column_of[page]];
    let position = column.iter().find(|(slot, _)| *slot == page).expect("on its own line").1;
    column.iter().flat_map(|&(slot, other)| (0..*side).map(move |i| (slot, other, i))).fold(
        [0.0; 2],
        |sum, (slot, other, i)| {
            let offset = (position * side + j + extent - (other * side + i)) % extent;
            let from = field[slot * nodes + inside - j * stride + i * stride];
            plus(sum, from.map(|x| x * f64::from(metric.slopes[axis][offset])))
        },
    )
}

fn image(metric: &MetricWorld, psi: &[Z]) -> Vec<Z> {
    let all = |field: &[Z], axis: usize| -> Vec<Z> {
        (0..psi.len()).map(|node| slope(metric, field, axis, node)).collect()
    };
    let gradients: Vec<Vec<Z>> = metric.coupled.iter().map(|&axis| all(psi, axis)).collect();
    let n = metric.coupled.len();
    let mut out = vec![[0.0; 2]; psi.len()];
    for (i, &axis) in metric.coupled.iter().enumerate() {
        let flux: Vec<Z> = (0..psi.len())
            .map(|node| {
                let nodes = metric.page_nodes();
                let cell = node / nodes * metric.page_cells() + metric.cell_in_page(node % nodes);
                (0..n).filter(|&j| j != i).fold([0.0; 2], |sum, j| {
                    let (a, b) = (i.min(j), i.max(j));
                    let pair = cell * metric.n_pairs() + a * n - a * (a + 1) / 2 + b - a - 1;
                    plus(sum, gradients[j][node].map(|x| x * f64::from(metric.off_diagonal[pair])))
                })
            })
            .collect();
        for (out, x) in out.iter_mut().zip(all(&flux, axis)) {
            *out = plus(*out, x.map(|x| -0.5 * x));
        }
    }
    out
}

fn run(flows: &LineFlows, step: &LineStep, psi: &mut [Z]) {
    let program = &flows.programs[step.which][step.program];
    for at in 0..=program.passes.len() {
        if let Some(Expansion { n_steps, degree, factor }) = step.remainder.filter(|_| at == program.middle) {
            let metric = flows.cells.as_ref().expect("a metric");
            for _ in 0..n_steps {
                let mut term = psi.to_vec();
                for k in 1..=degree {
                    let factor = [factor.0 / k as f64, factor.1 / k as f64];
                    term = image(metric, &term).into_iter().map(|x| times(x, factor)).collect();
                    psi.iter_mut().zip(&term).for_each(|(x, term)| *x = plus(*x, *term));
                }
            }
        }
        if let Some(one) = program.passes.get(at) {
            pass(flows, one, psi);
        }
    }
}

struct Host {
    re: Vec<f32>,
    im: Vec<f32>,
    nodes: usize,
}

impl Host {
    fn new(n: usize, nodes: usize) -> Self {
        let plane = |stream| (0..n).map(|i| number(i, stream) as f32).collect();
        Self { re: plane(1), im: plane(2), nodes }
    }

    fn psi(&self) -> Vec<Z> {
        self.re.iter().zip(&self.im).map(|(&re, &im)| [f64::from(re), f64::from(im)]).collect()
    }

    fn pages(&mut self) -> Vec<PageMut<'_, f32>> {
        let pages = self.re.chunks_mut(self.nodes).zip(self.im.chunks_mut(self.nodes));
        pages.map(|(re, im)| PageMut { re, im }).collect()
    }

    fn error(&self, psi: &[Z]) -> f64 {
        let norm = |z: Z| z[0] * z[0] + z[1] * z[1];
        let apart: f64 = self.psi().iter().zip(psi).map(|(a, b)| norm(minus(*a, *b))).sum();
        (apart / self.psi().iter().map(|&z| norm(z)).sum::<f64>()).sqrt()
    }
}

fn diffusion(extents: &[usize], cell: &[usize], is_constant: bool) -> Diffusion {
    let shape = Shape { extents: extents.to_vec(), page_nodes: extents.iter().product() };
    let spacing = (0..extents.len()).map(|d| 0.5 + 0.1 * d as f64).collect();
    let grid = CellGrid { shape, spacing, cell: cell.to_vec() };
    let n = grid.n_cells();
    let axes = extents.len();
    let pairs = (0..axes).flat_map(|i| (i + 1..axes).map(move |j| (i, j)));
    let values = |base: f64, stream| (0..n).map(|cell| base + 0.2 * number(cell, stream)).collect();
    Diffusion {
        // The first axis is the same everywhere if asked for.
        diagonal: (0..axes)
            .map(|d| if is_constant && d == 0 { vec![0.8] } else { values(1.0, d as u64 + 5) })
            .collect(),
        off_diagonal: pairs
            .map(|axes| OffDiagonal { axes, values: values(0.0, 50 + (10 * axes.0 + axes.1) as u64) })
            .collect(),
        grid,
    }
}

const RULE: RemainderRule = RemainderRule { every: 3, vectors: 5 };

/// Extents, cells, and whether the first axis is constant.
const SHAPES: [(&[usize], &[usize], bool); 5] = [
    (&[8, 5, 3], &[1, 1, 1], false),
    (&[16, 3, 7], &[1, 1, 1], true),
    (&[3, 3, 3, 3], &[1, 3, 3, 3], false),
    (&[9, 9], &[3, 3], false),
    (&[3, 5, 3], &[1, 1, 3], true),
];

#[test]
fn a_varying_metric_as_lines_is_the_plan() {
    for (extents, cell, is_constant) in SHAPES {
        let diffusion = diffusion(extents, cell, is_constant);
        let n = diffusion.grid.shape.n_nodes();
        for (duration, time, is_plastic) in [
            (2e-2, Time::Real, false),
            (2e-2, Time::Real, true),
            (-1e-2, Time::Real, false),
            (1e-2, Time::Imaginary { mu: 0.0 }, false),
        ] {
            let plan = || Varying::<f32>::new(Level::detect(), &diffusion, duration, time, is_plastic, RULE);
            let (mut plan, mut twin) = (plan().expect("short lines"), plan().expect("short lines"));
            let mut flows = LineFlows::default();
            plan.add_lines(&mut flows);
            flows.cells = Some(plan.metric_world());
            let mut host = Host::new(n, n);
            let mut psi = host.psi();
            for tick in 0..6 {
                plan.sweep_inner(Threads::Serial, &mut host.pages(), None, tick, &Probe::default());
                let remainder = twin.due_remainder(tick);
                assert_eq!(remainder.is_some(), tick % 3 == 1, "the middle of three");
                let program = plan.program(tick, remainder.is_some());
                run(&flows, &LineStep { which: 0, program, remainder }, &mut psi);
            }
            let error = host.error(&psi);
            assert!(error < 2e-6, "{extents:?} in {cell:?}, {duration}, {time:?}: {error:.1e}");
        }
    }
}

#[test]
fn what_is_renewed_is_what_would_be_planned() {
    for (extents, cell, is_constant) in SHAPES {
        let is_odd = extents.iter().all(|extent| !extent.is_multiple_of(2));
        let mut diffusion = diffusion(extents, cell, is_constant);
        let plan = |diffusion: &Diffusion, duration| {
            Varying::<f32>::new(Level::detect(), diffusion, duration, Time::Real, true, RULE)
                .expect("short lines")
        };
        let mut plans = [1e-2, 3e-2].map(|duration| plan(&diffusion, duration));
        let told = |plans: &[Varying<f32>; 2]| {
            let mut flows = LineFlows::default();
            plans.iter().for_each(|plan| plan.add_lines(&mut flows));
            flows.cells = Some(plans[0].metric_world());
            flows
        };
        let mut flows = told(&plans);
        let n = diffusion.grid.n_cells();
        let changed: Vec<usize> = (0..n).filter(|cell| cell % 3 == 1 && *cell + 1 < n).collect();
        for values in diffusion.diagonal.iter_mut().filter(|values| values.len() > 1) {
            changed.iter().for_each(|&cell| values[cell] *= 1.1);
        }
        for pair in &mut diffusion.off_diagonal {
            changed.iter().for_each(|&cell| pair.values[cell] += 0.01);
        }
        let (mut renewal, mut base) = (Renewal::default(), 0);
        for plan in &mut plans {
            plan.renew(Threads::Serial, &diffusion, &changed);
            base = plan.renewed(&diffusion, &changed, base, &mut renewal);
        }
        assert_eq!(base, flows.tables.len(), "every table was passed");
        take_over(&mut flows, &renewal);
        let fresh = told(&[1e-2, 3e-2].map(|duration| plan(&diffusion, duration)));
        assert!(flows == fresh, "{extents:?}, odd: {is_odd}");
    }
}

fn take_over(flows: &mut LineFlows, renewal: &Renewal) {
    for (first, values) in &renewal.tables {
        flows.tables[*first..first + values.len()].copy_from_slice(values);
    }
    assert!(!renewal.off_diagonal.is_empty(), "a remainder");
    let off_diagonal = &mut flows.cells.as_mut().expect("a metric").off_diagonal;
    for (first, values) in &renewal.off_diagonal {
        off_diagonal[*first..first + values.len()].copy_from_slice(values);
    }
}

/// An active set of about two thirds of the pages, with a gap and with whole rings.
fn set(blocks: &Blocks) -> Vec<usize> {
    let n: usize = blocks.extents.iter().zip(&blocks.sides).map(|(extent, side)| extent / side).product();
    (0..n).filter(|&page| number(page, 9) < 0.4 || page < 4).collect()
}

#[test]
fn an_active_set_as_lines_is_the_plan() {
    let shapes: [(&[usize], &[usize]); 4] =
        [(&[12, 9], &[3, 3]), (&[9, 9, 9], &[3, 3, 3]), (&[16, 6], &[4, 3]), (&[6, 15], &[6, 3])];
    for (extents, sides) in shapes {
        let blocks = Blocks { extents: extents.to_vec(), sides: sides.to_vec() };
        let terms: Vec<AxisTerm> = extents
            .iter()
            .map(|&extent| AxisTerm { extent, wavenumber_unit: 1.5 / extent as f64, diffusion: 1.1 })
            .collect();
        for pages in
            [set(&blocks), (0..blocks.extents.iter().product::<usize>() / blocks.page_nodes()).collect()]
        {
            let mut plan = SparseKinetic::<f32>::new(Level::detect(), &blocks, &terms, 0.3);
            plan.activate(&pages);
            let mut flows = LineFlows::default();
            plan.add_lines(&mut flows);
            let nodes = blocks.page_nodes();
            let mut host = Host::new(pages.len() * nodes, nodes);
            let mut psi = host.psi();
            for program in [0, 1, 1, 0] {
                plan.sweep(Threads::Serial, &mut host.pages(), None, program == 1, &Probe::default());
                run(&flows, &LineStep { which: 0, program, remainder: None }, &mut psi);
            }
            let error = host.error(&psi);
            assert!(error < 2e-6, "{extents:?}, {} pages: {error:.1e}", pages.len());
            judge(&plan, &flows, &host);
        }
    }
}

/// Pages, cells and a metric on the cells of the active pages.
struct Learning {
    blocks: Blocks,
    pages: Vec<usize>,
    diffusion: Diffusion,
}

impl Learning {
    fn new(extents: &[usize], sides: &[usize], cell: &[usize]) -> Self {
        let blocks = Blocks { extents: extents.to_vec(), sides: sides.to_vec() };
        let pages = set(&blocks);
        // Only the number of cells is looked at: that of the active pages.
        let mut diffusion = diffusion(&[&[pages.len()], sides].concat(), &[&[1], cell].concat(), false);
        diffusion.diagonal.remove(0);
        diffusion.off_diagonal.retain(|pair| pair.axes.0 > 0);
        diffusion.off_diagonal.iter_mut().for_each(|pair| pair.axes = (pair.axes.0 - 1, pair.axes.1 - 1));
        let shape = Shape { extents: extents.to_vec(), page_nodes: blocks.page_nodes() };
        let spacing = (0..extents.len()).map(|d| 0.5 + 0.1 * d as f64).collect();
        diffusion.grid = CellGrid { shape, spacing, cell: cell.to_vec() };
        Self { blocks, pages, diffusion }
    }

    fn plan(&self, duration: f64, is_plastic: bool) -> SparseVarying<f32> {
        let grid = &self.diffusion.grid;
        let term = |(&extent, spacing): (&usize, &f64)| AxisTerm {
            extent,
            wavenumber_unit: core::f64::consts::TAU / (extent as f64 * spacing),
            diffusion: 1.1,
        };
        let terms: Vec<_> = self.blocks.extents.iter().zip(&grid.spacing).map(term).collect();
        let how = (RULE, is_plastic);
        let mut plan = SparseVarying::new(Level::detect(), &self.blocks, &grid.cell, &terms, duration, how);
        plan.activate(&self.pages, &self.diffusion);
        plan
    }
}

/// Extents, pages and cells.
const ACTIVE_SHAPES: [(&[usize], &[usize], &[usize]); 4] = [
    (&[12, 9], &[3, 3], &[1, 3]),
    (&[9, 9, 9], &[3, 3, 3], &[3, 1, 3]),
    (&[15, 6], &[5, 3], &[5, 1]),
    (&[6, 15], &[6, 3], &[2, 3]),
];

#[test]
fn a_varying_metric_on_an_active_set_as_lines_is_the_plan() {
    for (extents, sides, cell) in ACTIVE_SHAPES {
        let learning = Learning::new(extents, sides, cell);
        for is_plastic in [false, true] {
            let (mut plan, mut twin) = (learning.plan(2e-2, is_plastic), learning.plan(2e-2, is_plastic));
            let mut flows = LineFlows::default();
            plan.add_lines(&mut flows);
            flows.cells = Some(plan.metric_world());
            let nodes = learning.blocks.page_nodes();
            let mut host = Host::new(learning.pages.len() * nodes, nodes);
            let mut psi = host.psi();
            for tick in 0..6 {
                plan.sweep_inner(Threads::Serial, &mut host.pages(), None, tick, &Probe::default());
                let remainder = twin.due_remainder(tick);
                assert_eq!(remainder.is_some(), tick % 3 == 1, "the middle of three");
                let program = plan.program(tick);
                run(&flows, &LineStep { which: 0, program, remainder }, &mut psi);
            }
            let error = host.error(&psi);
            assert!(error < 2e-6, "{extents:?} in {cell:?}: {error:.1e}");
            judge(plan.view(), &flows, &host);
        }
    }
}

#[test]
fn what_is_renewed_on_an_active_set_is_what_would_be_planned() {
    for (extents, sides, cell) in ACTIVE_SHAPES {
        let mut learning = Learning::new(extents, sides, cell);
        let durations = [1e-2, 3e-2];
        let mut plans = durations.map(|duration| learning.plan(duration, true));
        let told = |plans: &[SparseVarying<f32>; 2]| {
            let mut flows = LineFlows::default();
            plans.iter().for_each(|plan| plan.add_lines(&mut flows));
            flows.cells = Some(plans[0].metric_world());
            flows
        };
        let mut flows = told(&plans);
        let n = learning.diffusion.diagonal[0].len();
        let changed: Vec<usize> = (0..n).filter(|cell| cell % 5 == 1).collect();
        let Diffusion { diagonal, off_diagonal, .. } = &mut learning.diffusion;
        changed.iter().for_each(|&cell| diagonal.iter_mut().for_each(|values| values[cell] *= 1.1));
        changed.iter().for_each(|&cell| off_diagonal.iter_mut().for_each(|pair| pair.values[cell] += 0.01));
        let (mut renewal, mut base) = (Renewal::default(), 0);
        for plan in &mut plans {
            plan.renew(Threads::Serial, &learning.diffusion, &changed);
            base = plan.renewed(&learning.diffusion, &changed, base, &mut renewal);
        }
        assert_eq!(base, flows.tables.len(), "every table was passed");
        take_over(&mut flows, &renewal);
        assert!(
            flows == told(&durations.map(|duration| learning.plan(duration, true))),
            "{extents:?} in {cell:?}"
        );
    }
}

/// The measures, summed plainly, against the Gram matrices.
fn judge(plan: &SparseKinetic<f32>, flows: &LineFlows, host: &Host) {
    let psi = host.psi();
    let pages = host.re.chunks(host.nodes).zip(host.im.chunks(host.nodes));
    let pages: Vec<_> = pages.map(|(re, im)| PageRef { re, im }).collect();
    for (axis, measures) in flows.measures.iter().enumerate() {
        let Measures { side, stride, column_lines, items, coefficients } = measures;
        let sum = |item: &Measure| {
            (0..*column_lines).fold(0.0, |sum, line| {
                let amplitude = (0..item.n_rows).fold([0.0; 2], |sum, j| {
                    let row = item.first_row + j;
                    let slot = flows.slots[item.first_slot + row / side] as usize;
                    let node = slot + line / stride * side * stride + line % stride + row % side * stride;
                    let coefficient = f64::from(coefficients[item.first_coefficient + j]);
                    plus(sum, psi[node].map(|x| coefficient * x))
                });
                sum + amplitude[0] * amplitude[0] + amplitude[1] * amplitude[1]
            })
        };
        let sums: Vec<f64> = items.iter().map(sum).collect();
        let grams = plan.grams(Threads::Serial, axis, &pages);
        let (layers, leaks) = plan.judged(axis, &sums);
        let expected = plan.leaks(axis, &grams);
        assert_eq!(leaks.len(), expected.len());
        for (found, expected) in leaks.iter().zip(&expected) {
            assert_eq!(
                (found.slot, found.is_upper, found.page),
                (expected.slot, expected.is_upper, expected.page)
            );
            let is_close = |a: f64, b: f64| (a - b).abs() <= 1e-5 * (1e-3 + b.abs());
            assert!(is_close(found.rate2, expected.rate2), "{found:?} {expected:?}");
            assert!(is_close(found.layer2, expected.layer2), "{found:?} {expected:?}");
        }
        for (found, gram) in layers.iter().zip(&grams) {
            let expected = gram.layers();
            assert_eq!((&found.slots, &found.positions), (&expected.slots, &expected.positions));
            let is_close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 * b.abs();
            assert!(found.layers.iter().zip(&expected.layers).all(is_close));
        }
    }
}
