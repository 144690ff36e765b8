//! The sums of the device against those of the host, in f64, on every kind of axis.

use crate::WgpuBackend;
use crate::backend::tests::{device, number, world};
use nikola_kernels::backend::{
    Backend, DAMPING, DAMPING_KINETIC, DAMPING_POTENTIAL, DAMPING_QUARTIC, DRIVE, DeviceWorld, KINETIC,
    LogEntry, MAX_ABS2, N_NONFINITE, NORM2, POTENTIAL, QUARTIC, Quantity, Wanted, Watched, WorkList,
};
use nikola_kernels::energy::{KineticForm, local_form};
use nikola_kernels::half_potential::Time;
use nikola_kernels::kinetic::AxisTerm;
use nikola_kernels::reduce::totals;
use nikola_kernels::simd::Level;
use nikola_kernels::source::{Strengths, WorkNodes, work};
use nikola_kernels::{PageRef, Threads, Values};

const BETA: f64 = 0.7;

/// A watched world with columns of V and Γ and one source.
fn watched(extents: &[usize]) -> DeviceWorld {
    let mut world = world(extents, Time::Real);
    let n = world.psi.len();
    let column = |stream: u64, offset: f64| {
        Quantity::PerNode((0..n).map(|i| (number(i, stream) + offset) as f32).collect())
    };
    (world.potential, world.damping) = (column(3, 0.2), column(4, 1.0));
    let nodes: Vec<u32> = (0..n as u32).filter(|node| node % 3 != 1).collect();
    let weights = nodes.iter().map(|&node| [7, 8, 9, 10].map(|s| number(node as usize, s) as f32));
    let profile = WorkList { weights: weights.collect(), nodes };
    world.watched = Some(Watched {
        axes: world.axes.clone(),
        profiles: vec![profile],
        is_driven: true,
        reservoir: vec![0, n as u32 - 1],
    });
    world
}

/// The same sums on the host; the rate of V is V.
fn on_host(world: &DeviceWorld) -> LogEntry {
    let planes = [0, 1].map(|part| world.psi.iter().map(|z| z[part]).collect::<Vec<f32>>());
    let pages = [PageRef { re: &planes[0][..], im: &planes[1][..] }];
    let (Quantity::PerNode(v), Quantity::PerNode(gamma)) = (&world.potential, &world.damping) else {
        unreachable!("columns")
    };
    let (v, gamma) = ([&v[..]], [&gamma[..]]);
    let (v, gamma) = (Values::PerNode(&v), Values::PerNode(&gamma));
    let (level, threads, zero) = (Level::detect(), Threads::Serial, Values::Uniform(0.0));
    let sums = totals(level, threads, &pages, v, gamma);
    let form = KineticForm::new(&world.shape, &world.axes);
    let mut entry = LogEntry::default();
    entry[NORM2] = sums.norm2;
    entry[QUARTIC] = sums.quartic;
    entry[POTENTIAL] = sums.potential;
    entry[DAMPING] = sums.damping;
    entry[DAMPING_POTENTIAL] = local_form(level, threads, &pages, v, 0.0, gamma);
    entry[DAMPING_QUARTIC] = local_form(level, threads, &pages, zero, 1.0, gamma);
    entry[DRIVE] = sums.potential;
    entry[KINETIC] = form.value(level, threads, &pages, Values::Uniform(1.0));
    entry[DAMPING_KINETIC] = form.value(level, threads, &pages, gamma);
    entry[N_NONFINITE] = sums.n_nonfinite as f64;
    entry[MAX_ABS2] = sums.max_abs2;
    entry
}

fn assert_close(found: &[f64], expected: &[f64], scale: &[f64], name: &str) {
    for (i, ((found, expected), scale)) in found.iter().zip(expected).zip(scale).enumerate() {
        let error = (found - expected).abs() / scale.abs().max(1e-30);
        assert!(error < 1e-6, "{name}: entry {i} is {found}, on the host {expected}");
    }
}

#[test]
fn sums_and_work_are_those_of_the_host() {
    for extents in [&[27, 9, 3][..], &[16, 5], &[2, 3], &[8, 7], &[512], &[3; 9]] {
        let Some(device) = device() else { return };
        let world = watched(extents);
        let name = format!("{extents:?}");
        let expected = on_host(&world);
        let mut backend = WgpuBackend::new(device, world.clone(), false).expect("fits");
        let Quantity::PerNode(v) = &world.potential else { unreachable!("a column") };
        let watching = backend.watching().expect("it is watched");
        watching.set_drive(v).expect("runs");
        let wanted = Wanted { kinetic: true, drive: true };
        let strengths = Strengths { kinetic: 1.3, beta: BETA };
        watching.log_work(0, &strengths).expect("runs");
        watching.log_sums(wanted).expect("runs");
        let now = watching.sums(wanted).expect("reads");
        let entries = watching.read_log().expect("reads");
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1], now, "the same sums through the log and past it");
        // Sums of either sign are judged by what they could be: |V| ≤ 1.2.
        let mut scale = expected;
        scale[POTENTIAL] = 1.2 * expected[NORM2];
        scale[DRIVE] = 1.2 * expected[NORM2];
        scale[DAMPING_POTENTIAL] = 2.4 * expected[NORM2];
        assert_close(&now, &expected, &scale, &name);

        let list = &world.watched.as_ref().expect("watched").profiles[0];
        let mut nodes = WorkNodes::<f32>::default();
        for (&node, w) in list.nodes.iter().zip(&list.weights) {
            let wide = w.map(f64::from);
            nodes.push(node, (wide[0], wide[1]), (wide[2], wide[3]));
        }
        let planes = [0, 1].map(|part| world.psi.iter().map(|z| z[part]).collect::<Vec<f32>>());
        let page = PageRef { re: &planes[0][..], im: &planes[1][..] };
        let slices = [&v[..]];
        let sums = work(page, &nodes, &Values::PerNode(&slices), 0, &strengths);
        let scale = [4.0 * expected[NORM2]; 4];
        assert_close(&entries[0][..4], &sums, &scale, &name);

        watching.collect(0, 1).expect("runs");
        watching.collect(1, 1).expect("runs");
        let (first, last) = (world.psi[0], world.psi[world.psi.len() - 1]);
        assert_eq!(watching.read_collected(2).expect("reads"), [first, last], "{name}");
    }
}

#[test]
fn what_is_not_finite_is_counted_and_the_rest_has_a_largest() {
    let Some(device) = device() else { return };
    let mut world = watched(&[27, 27]);
    world.psi[5] = [f32::NAN, 0.0];
    world.psi[77] = [0.0, f32::INFINITY];
    world.psi[300] = [3.0, 4.0];
    let mut backend = WgpuBackend::new(device, world, false).expect("fits");
    let sums = backend.watching().expect("it is watched").sums(Wanted::default()).expect("reads");
    assert_eq!((sums[N_NONFINITE], sums[MAX_ABS2]), (2.0, 25.0));
    assert!(!sums[NORM2].is_finite());
}

#[test]
fn other_kinetic_terms_and_damping_are_those_of_a_world_built_with_them() {
    let half = nikola_kernels::backend::LocalStep { duration: 5e-4, beta: BETA, gain: 0.0, mu: 0.0 };
    let tick = |backend: &mut WgpuBackend| {
        backend.local(&half).expect("runs");
        backend.kinetic(0).expect("runs");
        backend.local(&half).expect("runs");
    };
    let terms = |world: &DeviceWorld| -> Vec<AxisTerm> {
        world.axes.iter().map(|term| AxisTerm { diffusion: 1.7 * term.diffusion, ..*term }).collect()
    };
    let (Some(one), Some(other)) = (device(), device()) else { return };
    let before = watched(&[27, 9, 16]);
    let damping = Quantity::PerNode(vec![0.3; before.psi.len()]);
    let after = DeviceWorld { axes: terms(&before), damping: damping.clone(), ..before.clone() };
    let mut changed = WgpuBackend::new(one, before.clone(), false).expect("fits");
    let mut built = WgpuBackend::new(other, after, false).expect("fits");
    tick(&mut changed);
    changed.watching().expect("it is watched").set_axes(&terms(&before)).expect("runs");
    changed.set_damping(&damping).expect("runs");
    let mut psi = Vec::new();
    changed.read(&mut psi).expect("reads");
    built.write(&psi).expect("writes");
    for _ in 0..3 {
        tick(&mut changed);
        tick(&mut built);
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    changed.read(&mut a).expect("reads");
    built.read(&mut b).expect("reads");
    // The groups may come in another order, so only rounding may differ.
    let apart =
        a.iter().zip(&b).fold(0.0_f32, |most, (a, b)| most.max((a[0] - b[0]).abs()).max((a[1] - b[1]).abs()));
    assert!(apart < 2e-6, "{apart}");
}
