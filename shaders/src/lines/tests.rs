//! The backend over lines against the plans of the host, in f32: lines of many lengths, remainder, structure tensors.

use super::*;
use nikola_kernels::backend::LineFlows;
use nikola_kernels::kinetic::Probe;
use nikola_kernels::kinetic::remainder::RemainderRule;
use nikola_kernels::kinetic::varying::{CellGrid, Diffusion, OffDiagonal, Varying};
use nikola_kernels::metric_update::{CellStencil, n_components, structure};
use nikola_kernels::simd::Level;
use nikola_kernels::{PageMut, PageRef, Shape, Threads};

/// The adapter, or none where this machine has none.
pub(super) fn device() -> Option<Device> {
    match Device::open(None) {
        Ok(device) => Some(device),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// A repeatable number in [−1, 1).
pub(super) fn number(i: usize, stream: u64) -> f64 {
    let mut x =
        (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// A metric on cells of the given shape; D of the axes in `constant` is one number.
pub(super) fn diffusion(extents: &[usize], cell: &[usize], constant: &[usize]) -> Diffusion {
    let shape = Shape { extents: extents.to_vec(), page_nodes: extents.iter().product() };
    let spacing = (0..extents.len()).map(|d| 0.5 + 0.1 * d as f64).collect();
    let grid = CellGrid { shape, spacing, cell: cell.to_vec() };
    let n = grid.n_cells();
    let values = |base: f64, stream| (0..n).map(|cell| base + 0.2 * number(cell, stream)).collect();
    let pair = |axes| OffDiagonal { axes, values: values(0.0, 50) };
    Diffusion {
        diagonal: (0..extents.len())
            .map(|d| if constant.contains(&d) { vec![0.8] } else { values(1.0, d as u64 + 5) })
            .collect(),
        off_diagonal: if extents.len() > 1 { vec![pair((0, extents.len() - 1))] } else { Vec::new() },
        grid,
    }
}

const RULE: RemainderRule = RemainderRule { every: 1, vectors: 5 };
const DURATION: f64 = 4e-3;

struct Pair {
    plan: Varying<f32>,
    backend: LineBackend,
    re: Vec<f32>,
    im: Vec<f32>,
}

fn pair(diffusion: &Diffusion, is_plastic: bool) -> Option<Pair> {
    let plan = Varying::<f32>::new(Level::detect(), diffusion, DURATION, Time::Real, is_plastic, RULE);
    let plan = plan.expect("short lines");
    let n = diffusion.grid.shape.n_nodes();
    let (re, im): (Vec<f32>, Vec<f32>) = (0..n).map(|i| (number(i, 1) as f32, number(i, 2) as f32)).unzip();
    let mut flows = LineFlows::default();
    plan.add_lines(&mut flows);
    flows.cells = Some(plan.metric_world());
    let world = DeviceWorld {
        shape: diffusion.grid.shape.clone(),
        axes: Vec::new(),
        durations: vec![DURATION],
        time: Time::Real,
        potential: Quantity::Uniform(0.0),
        damping: Quantity::Uniform(0.0),
        sources: Vec::new(),
        psi: re.iter().zip(&im).map(|(&re, &im)| [re, im]).collect(),
        lines: Some(flows),
        wave: None,
        watched: None,
    };
    let backend = LineBackend::new(device()?, world, false).expect("fits");
    Some(Pair { plan, backend, re, im })
}

#[test]
fn lines_of_any_length_agree_with_the_host() {
    let cases: [(&[usize], &[usize], &[usize]); 8] = [
        (&[81, 45], &[1, 1], &[]),
        (&[243, 3, 5], &[1, 1, 1], &[0]),
        (&[3, 5, 600], &[1, 1, 1], &[2]),
        (&[64, 7], &[1, 1], &[0, 1]),
        (&[3, 3, 3, 3, 3], &[1, 1, 3, 3, 3], &[]),
        (&[27, 9], &[3, 3], &[]),
        (&[2, 4], &[1, 1], &[]),
        (&[11], &[1], &[]),
    ];
    for ((extents, cell, constant), is_plastic) in cases.into_iter().flat_map(|c| [(c, false), (c, true)]) {
        let Some(mut pair) = pair(&diffusion(extents, cell, constant), is_plastic) else { return };
        for tick in 0..3 {
            let remainder = pair.plan.due_remainder(tick);
            let program = pair.plan.program(tick, remainder.is_some());
            let step = LineStep { which: 0, program, remainder };
            pair.backend.propagate(&step).expect("runs");
            let mut pages = [PageMut { re: &mut pair.re, im: &mut pair.im }];
            pair.plan.sweep_inner(Threads::Serial, &mut pages, None, tick, &Probe::default());
        }
        let mut psi = Vec::new();
        pair.backend.read(&mut psi).expect("reads");
        let (mut apart, mut norm) = (0.0, 0.0);
        for ((z, &re), &im) in psi.iter().zip(&pair.re).zip(&pair.im) {
            apart += f64::from(z[0] - re).powi(2) + f64::from(z[1] - im).powi(2);
            norm += f64::from(re).powi(2) + f64::from(im).powi(2);
        }
        let error = (apart / norm).sqrt();
        println!("{extents:?}: {} error {error:.1e}", pair.backend.describe());
        assert!(error < 3e-6, "{extents:?} in {cell:?}: {error:.2e}");
    }
}

#[test]
fn structure_tensors_agree_with_the_host() {
    for (extents, cell) in [(&[3; 5][..], &[1, 1, 3, 3, 3][..]), (&[9, 27], &[3, 3]), (&[5, 3], &[1, 1])] {
        let diffusion = diffusion(extents, cell, &[]);
        let Some(mut pair) = pair(&diffusion, true) else { return };
        let n_cells = diffusion.grid.n_cells();
        for cells in [0..n_cells, 1..n_cells - 2] {
            let mut expected = vec![0.0; n_components(extents.len()) * cells.len()];
            let pages = [PageRef { re: &pair.re, im: &pair.im }];
            let stencil = CellStencil::new(&diffusion.grid);
            structure(Level::detect(), Threads::Serial, &stencil, &pages, cells.clone(), &mut expected);
            let mut found = Vec::new();
            pair.backend.structure(&[cells], &mut found).expect("reads");
            let size = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            assert_eq!(found.len(), expected.len());
            let apart = found.iter().zip(&expected).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs()));
            assert!(apart < 1e-6 * size, "{extents:?}: {apart:.1e} of {size:.1e}");
        }
    }
}

#[test]
fn a_line_beyond_a_work_group_is_refused_by_size() {
    let Some(device) = device() else { return };
    let n = device.report.tile_bytes as usize / 8 + 1;
    let long = diffusion(&[n], &[1], &[0]);
    let plan = Varying::<f32>::new(Level::detect(), &long, DURATION, Time::Real, false, RULE);
    let mut flows = LineFlows::default();
    plan.expect("one number").add_lines(&mut flows);
    let world = DeviceWorld {
        shape: long.grid.shape.clone(),
        axes: Vec::new(),
        durations: vec![DURATION],
        time: Time::Real,
        potential: Quantity::Uniform(0.0),
        damping: Quantity::Uniform(0.0),
        sources: Vec::new(),
        psi: vec![[0.0; 2]; n],
        lines: Some(flows),
        wave: None,
        watched: None,
    };
    let message = LineBackend::new(device, world, false).expect_err("too long").to_string();
    assert!(message.contains("a line of nodes takes"), "{message}");
}
