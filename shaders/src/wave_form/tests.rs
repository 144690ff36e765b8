//! The backend of the wave form against the kernels of the host, in f32, on every kind of axis.

use super::*;
use crate::backend::tests::{device, number, world};
use nikola_kernels::backend::WaveWorld;
use nikola_kernels::half_potential::Time;
use nikola_kernels::simd::Level;
use nikola_kernels::wave_form::{Kick as HostKick, WaveForm};
use nikola_kernels::{PageMut, Threads};

const DT: f64 = 0.02;
const HALF: LocalStep = LocalStep { duration: 0.5 * DT, beta: -0.3, gain: 0.0, mu: 0.0 };

fn wave_world(extents: &[usize], alpha: f64) -> DeviceWorld {
    let mut world = world(extents, Time::Real);
    world.durations = vec![DT];
    let n = world.psi.len();
    let velocity = (0..n).map(|i| [number(i, 5) as f32, number(i, 6) as f32]).collect();
    world.wave = Some(WaveWorld { velocity, alpha, is_leaping: false });
    world
}

/// Both fields after `ticks` ticks on the host, Ψ first.
fn on_host(world: &DeviceWorld, ticks: usize) -> Vec<[f32; 2]> {
    let wave = world.wave.as_ref().expect("a wave");
    let plan = WaveForm::<f32>::new(Level::detect(), &world.shape, &world.axes, DT, wave.alpha);
    let planes = |pairs: &[[f32; 2]]| {
        (pairs.iter().map(|z| z[0]).collect::<Vec<_>>(), pairs.iter().map(|z| z[1]).collect::<Vec<_>>())
    };
    let (mut psi, mut velocity) = (planes(&world.psi), planes(&wave.velocity));
    let damping = match &world.damping {
        Quantity::PerNode(values) => vec![&values[..]],
        Quantity::Uniform(_) => Vec::new(),
    };
    let kick = HostKick {
        duration: HALF.duration,
        beta: HALF.beta,
        damping: (!damping.is_empty()).then_some(&damping[..]),
    };
    for _ in 0..ticks {
        let mut psi = [PageMut { re: &mut psi.0, im: &mut psi.1 }];
        let mut velocity = [PageMut { re: &mut velocity.0, im: &mut velocity.1 }];
        plan.forward(Threads::Serial, &mut psi, &mut velocity, &kick);
        plan.turn(Threads::Serial, &mut psi, &mut velocity, 1e-7);
        plan.backward(Threads::Serial, &mut psi, &mut velocity, &kick);
    }
    let pairs = |(re, im): (Vec<f32>, Vec<f32>)| re.into_iter().zip(im).map(|(re, im)| [re, im]);
    pairs(psi).chain(pairs(velocity)).collect()
}

fn advance(backend: &mut WaveBackend, ticks: usize) {
    for _ in 0..ticks {
        backend.local(&LocalStep { gain: 1e-7, ..HALF }).expect("runs");
        backend.kinetic(0).expect("runs");
        backend.local(&HALF).expect("runs");
    }
}

fn distance(a: &[[f32; 2]], b: &[[f32; 2]]) -> f64 {
    let square = |z: [f32; 2]| f64::from(z[0]).powi(2) + f64::from(z[1]).powi(2);
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| square([a[0] - b[0], a[1] - b[1]])).sum();
    (difference / b.iter().map(|&b| square(b)).sum::<f64>()).sqrt()
}

fn check(world: &DeviceWorld, ticks: usize) {
    let Some(device) = device() else { return };
    let name = format!("{:?}", world.shape.extents);
    let mut backend = WaveBackend::new(device, world.clone(), false).expect("fits");
    advance(&mut backend, ticks);
    let mut fields = Vec::new();
    backend.read(&mut fields).expect("reads");
    let error = distance(&fields, &on_host(world, ticks));
    println!("{name}: {} error {error:.2e}", backend.describe());
    assert!(error < 2e-6 * ticks as f64, "{name}: {} differs by {error:.2e}", backend.describe());
}

#[test]
fn every_kind_of_axis_agrees_with_the_host() {
    for extents in [
        &[3; 9][..],
        &[27, 9, 3],
        &[9, 9, 9],
        &[8, 5, 4, 2],
        &[1],
        &[27, 27],
        &[16, 3],
        &[128, 16],
        &[512],
        &[48, 20],
        &[32, 3, 3, 3],
        &[101],
        &[14, 3],
        &[22, 7],
    ] {
        check(&wave_world(extents, 0.7), 3);
    }
}

#[test]
fn damping_that_varies_agrees_with_the_host() {
    let mut world = wave_world(&[27, 9, 3], 0.0);
    let n = world.psi.len();
    world.damping = Quantity::PerNode((0..n).map(|i| 2.0 + 2.0 * number(i, 4) as f32).collect());
    check(&world, 4);
}

#[test]
fn looking_changes_no_bit_and_bits_repeat() {
    let run = |looks: bool| {
        let mut backend = WaveBackend::new(device()?, wave_world(&[27, 9, 9], 0.1), false).expect("fits");
        let mut fields = Vec::new();
        for i in 0..7 {
            advance(&mut backend, 1);
            if looks && i % 2 == 0 {
                backend.read(&mut fields).expect("reads");
                backend.norm2().expect("reads");
            }
        }
        backend.read(&mut fields).expect("reads");
        Some(fields)
    };
    let (Some(seen), Some(unseen)) = (run(true), run(false)) else { return };
    assert!(seen == unseen, "bits depend on looking");
    assert!(run(false).as_ref() == Some(&unseen), "bits do not repeat");
}
