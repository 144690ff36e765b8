//! The backend against the kernels of the host, in f32, on every kind of axis.

use super::*;
use nikola_kernels::kinetic::{AxisTerm, Kinetic, Probe};
use nikola_kernels::simd::Level;
use nikola_kernels::{PageMut, Shape, Threads, half_potential, reduce};

/// The adapter, or none where this machine has none.
pub(crate) fn device() -> Option<Device> {
    match Device::open(None) {
        Ok(device) => Some(device),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// A repeatable number in [−1, 1).
pub(crate) fn number(i: usize, stream: u64) -> f64 {
    let mut x =
        (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

pub(crate) fn world(extents: &[usize], time: Time) -> DeviceWorld {
    let n: usize = extents.iter().product();
    let axes = extents
        .iter()
        .enumerate()
        .map(|(d, &extent)| AxisTerm {
            extent,
            wavenumber_unit: 0.9 + 0.1 * d as f64,
            diffusion: 1.0 + 0.2 * d as f64,
        })
        .collect();
    DeviceWorld {
        shape: Shape { extents: extents.to_vec(), page_nodes: n },
        axes,
        durations: vec![1e-3, -4e-4],
        time,
        potential: Quantity::Uniform(0.3),
        damping: Quantity::Uniform(0.0),
        sources: Vec::new(),
        psi: (0..n).map(|i| [number(i, 1) as f32, number(i, 2) as f32]).collect(),
        lines: None,
        wave: None,
        watched: None,
    }
}

/// The same world on the host.
struct Host {
    world: DeviceWorld,
    re: Vec<f32>,
    im: Vec<f32>,
    plans: Vec<Kinetic<f32>>,
}

impl Host {
    fn new(world: &DeviceWorld) -> Self {
        let plans = world
            .durations
            .iter()
            .map(|&duration| Kinetic::new(Level::detect(), &world.shape, &world.axes, duration, world.time))
            .collect();
        Self {
            re: world.psi.iter().map(|z| z[0]).collect(),
            im: world.psi.iter().map(|z| z[1]).collect(),
            world: world.clone(),
            plans,
        }
    }

    fn local(&mut self, step: &LocalStep) {
        let (v, g) = (&self.world.potential, &self.world.damping);
        let (vs, gs) = (slices(v), slices(g));
        let flow = LocalFlow {
            duration: step.duration,
            potential: values(v, &vs),
            damping: values(g, &gs),
            beta: step.beta,
            time: match self.world.time {
                Time::Real => Time::Real,
                Time::Imaginary { .. } => Time::Imaginary { mu: step.mu },
            },
            gain: step.gain,
        };
        let mut pages = [PageMut { re: &mut self.re, im: &mut self.im }];
        half_potential::apply(Level::detect(), Threads::Serial, &mut pages, &flow);
    }

    fn kinetic(&mut self, which: usize) {
        let mut pages = [PageMut { re: &mut self.re, im: &mut self.im }];
        let probe = Probe::default();
        self.plans[which].sweep_inner(Threads::Serial, &mut pages, None, &probe);
        self.plans[which].sweep_outer(Threads::Serial, &mut pages, None, &probe);
    }

    fn error(&self, psi: &[[f32; 2]]) -> f64 {
        let (mut difference, mut norm) = (0.0, 0.0);
        for ((z, &re), &im) in psi.iter().zip(&self.re).zip(&self.im) {
            difference += f64::from(z[0] - re).powi(2) + f64::from(z[1] - im).powi(2);
            norm += f64::from(re).powi(2) + f64::from(im).powi(2);
        }
        (difference / norm).sqrt()
    }
}

fn slices(quantity: &Quantity) -> Vec<&[f32]> {
    match quantity {
        Quantity::PerNode(values) => vec![values],
        Quantity::Uniform(_) => Vec::new(),
    }
}

fn values<'a>(quantity: &Quantity, slices: &'a [&'a [f32]]) -> Values<'a, f32> {
    match quantity {
        Quantity::Uniform(value) => Values::Uniform(*value as f32),
        Quantity::PerNode(_) => Values::PerNode(slices),
    }
}

const HALF: LocalStep = LocalStep { duration: 5e-4, beta: 0.7, gain: 0.0, mu: 0.2 };

fn tick(backend: &mut WgpuBackend, host: &mut Host, which: usize) {
    for _ in 0..1 {
        backend.local(&HALF).expect("runs");
        backend.kinetic(which).expect("runs");
        backend.local(&HALF).expect("runs");
        host.local(&HALF);
        host.kinetic(which);
        host.local(&HALF);
    }
}

fn check(world: DeviceWorld, ticks: usize) {
    let Some(device) = device() else { return };
    let mut host = Host::new(&world);
    let name = format!("{:?}", world.shape.extents);
    let mut backend = WgpuBackend::new(device, world, false).expect("fits");
    let mut psi = Vec::new();
    for i in 0..ticks {
        tick(&mut backend, &mut host, i % 2);
    }
    backend.read(&mut psi).expect("reads");
    let error = host.error(&psi);
    println!("{name}: {} error {error:.2e}", backend.describe());
    assert!(error < 1e-6 * ticks as f64, "{name}: {} differs by {error:.2e}", backend.describe());
}

#[test]
fn short_axes_agree_with_the_host() {
    for extents in
        [&[3; 9][..], &[27, 27, 3, 3], &[9, 9, 9], &[8, 5, 4, 2], &[27, 9, 3], &[2], &[1], &[27, 27, 27]]
    {
        check(world(extents, Time::Real), 3);
    }
}

#[test]
fn longer_axes_agree_with_the_host() {
    let mixed = [&[81, 6][..], &[48, 20], &[144, 3], &[80, 2]];
    let powers = [&[16, 3][..], &[64, 3], &[3, 16], &[128, 16], &[512], &[32, 3, 3, 3], &[2, 256], &[2_048]];
    for extents in mixed.into_iter().chain(powers) {
        check(world(extents, Time::Real), 3);
    }
}

#[test]
fn any_length_agrees_with_the_host() {
    for extents in [&[101][..], &[14, 3], &[22, 7]] {
        check(world(extents, Time::Real), 3);
    }
}

#[test]
fn potential_and_damping_columns_agree_with_the_host() {
    for time in [Time::Real, Time::Imaginary { mu: 0.0 }] {
        for is_damped in [false, true] {
            let mut world = world(&[27, 9, 3], time);
            let n = world.shape.n_nodes();
            world.potential = Quantity::PerNode((0..n).map(|i| 40.0 * number(i, 3) as f32).collect());
            if is_damped && time == Time::Real {
                world.damping = Quantity::PerNode((0..n).map(|i| 2.0 + 2.0 * number(i, 4) as f32).collect());
            }
            world.durations = vec![1e-3, 4e-4];
            check(world, 4);
        }
    }
}

#[test]
fn looking_changes_no_bit() {
    let run = |looks: bool| {
        let mut backend = WgpuBackend::new(device()?, world(&[27, 9, 9], Time::Real), false).expect("fits");
        let mut psi = Vec::new();
        for i in 0..7 {
            backend.local(&HALF).expect("runs");
            backend.kinetic(i % 2).expect("runs");
            backend.local(&HALF).expect("runs");
            if looks && i % 2 == 0 {
                backend.read(&mut psi).expect("reads");
                backend.norm2().expect("reads");
            }
        }
        backend.read(&mut psi).expect("reads");
        Some(psi)
    };
    let (Some(seen), Some(unseen)) = (run(true), run(false)) else { return };
    assert!(seen == unseen, "bits depend on looking");
    assert!(run(false).as_ref() == Some(&unseen), "bits do not repeat");
}

#[test]
fn norm_is_summed_far_below_single_precision() {
    let Some(device) = device() else { return };
    let world = world(&[3; 9], Time::Real);
    let host = Host::new(&world);
    let mut backend = WgpuBackend::new(device, world, false).expect("fits");
    let pages = [nikola_kernels::PageRef { re: &host.re, im: &host.im }];
    let expected = reduce::norm2(Level::detect(), Threads::Serial, &pages);
    let found = backend.norm2().expect("reads");
    assert!((found / expected - 1.0).abs() < 3e-9, "{found} against {expected}");
}

#[test]
fn a_destroyed_device_is_an_error_and_stays_one() {
    let Some(device) = device() else { return };
    let mut backend = WgpuBackend::new(device, world(&[9, 9], Time::Real), false).expect("fits");
    backend.device().device.destroy();
    let outcome = backend.norm2();
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(backend.norm2().err(), outcome.err());
}

#[test]
fn a_world_that_does_not_fit_is_refused_with_its_size() {
    let Some(mut device) = device() else { return };
    device.report.binding_bytes = 1_000;
    let message = match WgpuBackend::new(device, world(&[27, 27], Time::Real), false) {
        Ok(_) => panic!("5,832 bytes fit into 1,000"),
        Err(error) => error.to_string(),
    };
    assert!(message.contains("5832") && message.contains("make the torus smaller"), "{message}");
}
