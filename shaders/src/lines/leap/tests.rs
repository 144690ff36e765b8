//! Kick, drift, kick on the device against the plan of the host, in f32: axes of every kind, coupled and not, Γ(x), D that changes.

use super::super::tests::{device, diffusion, number};
use super::*;
use nikola_kernels::backend::{Backend, LineFlows, LocalStep, WaveWorld};
use nikola_kernels::half_potential::Time;
use nikola_kernels::kinetic::varying::Diffusion;
use nikola_kernels::simd::Level;
use nikola_kernels::wave_form::Kick;
use nikola_kernels::wave_form::leapfrog::{self, Leapfrog};
use nikola_kernels::{PageMut, PageRef, Threads};

const STEP: LeapStep = LeapStep { dt: 0.01, beta: -0.3, gain: 1e-7, n_steps: 2 };

fn pairs(n: usize, streams: [u64; 2]) -> Vec<[f32; 2]> {
    (0..n).map(|i| streams.map(|stream| number(i, stream) as f32)).collect()
}

fn world(diffusion: &Diffusion, damping: Quantity) -> DeviceWorld {
    let shape = diffusion.grid.shape.clone();
    let n = shape.n_nodes();
    let cells = Some(leapfrog::lines::metric_world(diffusion, false));
    DeviceWorld {
        shape,
        axes: Vec::new(),
        durations: vec![STEP.dt],
        time: Time::Real,
        potential: Quantity::Uniform(0.0),
        damping,
        sources: Vec::new(),
        psi: pairs(n, [1, 2]),
        lines: Some(LineFlows { cells, ..LineFlows::default() }),
        wave: Some(WaveWorld { velocity: pairs(n, [3, 4]), alpha: 0.0, is_leaping: true }),
        watched: None,
    }
}

/// Damping, steps, damping, `ticks` times on the host; D is `other` after the first tick.
fn on_host(
    world: &DeviceWorld,
    [first, other]: [&Diffusion; 2],
    changed: &[usize],
    ticks: usize,
) -> Vec<[f32; 2]> {
    let planes = |pairs: &[[f32; 2]]| {
        (pairs.iter().map(|z| z[0]).collect::<Vec<_>>(), pairs.iter().map(|z| z[1]).collect::<Vec<_>>())
    };
    let (mut psi, mut velocity) =
        (planes(&world.psi), planes(&world.wave.as_ref().expect("a wave").velocity));
    let (gamma, damping) = match &world.damping {
        Quantity::PerNode(values) => (0.0, vec![&values[..]]),
        Quantity::Uniform(gamma) => (*gamma, Vec::new()),
    };
    let damping = (!damping.is_empty()).then_some(&damping[..]);
    let kick = Kick { duration: STEP.dt, beta: 0.0, damping };
    let mut plan = Leapfrog::<f32>::new(Level::detect(), first);
    let open = leapfrog::Leap { kick: 0.5 * STEP.dt, beta: STEP.beta, drift: Some(STEP.dt), gain: STEP.gain };
    for tick in 0..ticks {
        if tick == 1 {
            plan.renew(other, changed);
        }
        plan.weigh(Threads::Serial, &[PageRef { re: &psi.0, im: &psi.1 }]);
        let mut velocity = [PageMut { re: &mut velocity.0, im: &mut velocity.1 }];
        plan.damp(Threads::Serial, &mut velocity, gamma, &kick);
        for _ in 0..STEP.n_steps {
            plan.step(
                Threads::Serial,
                &mut [PageMut { re: &mut psi.0, im: &mut psi.1 }],
                &mut velocity,
                &open,
            );
            plan.weigh(Threads::Serial, &[PageRef { re: &psi.0, im: &psi.1 }]);
            let close = leapfrog::Leap { drift: None, ..open };
            plan.step(
                Threads::Serial,
                &mut [PageMut { re: &mut psi.0, im: &mut psi.1 }],
                &mut velocity,
                &close,
            );
        }
        plan.damp(Threads::Serial, &mut velocity, gamma, &kick);
    }
    let pairs = |(re, im): (Vec<f32>, Vec<f32>)| re.into_iter().zip(im).map(|(re, im)| [re, im]);
    pairs(psi).chain(pairs(velocity)).collect()
}

fn distance(a: &[[f32; 2]], b: &[[f32; 2]]) -> f64 {
    let square = |z: [f32; 2]| f64::from(z[0]).powi(2) + f64::from(z[1]).powi(2);
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| square([a[0] - b[0], a[1] - b[1]])).sum();
    (difference / b.iter().map(|&b| square(b)).sum::<f64>()).sqrt()
}

#[test]
fn a_wave_over_a_varying_metric_agrees_with_the_host() {
    let ticks = 4;
    for (extents, cell, constant) in [
        (&[27, 9, 3][..], &[1, 1, 1][..], &[][..]),
        (&[8, 6, 5], &[1, 1, 1], &[1]),
        (&[3; 6], &[1, 1, 1, 3, 3, 3], &[]),
        (&[6, 9], &[3, 3], &[]),
        (&[10], &[1], &[]),
        (&[45], &[1], &[]),
    ] {
        let first = diffusion(extents, cell, constant);
        // Every third cell has another D later.
        let mut other = first.clone();
        let changed: Vec<usize> = (0..first.grid.n_cells()).step_by(3).collect();
        for values in other.diagonal.iter_mut().filter(|values| values.len() > 1) {
            changed.iter().for_each(|&cell| values[cell] *= 1.3);
        }
        for pair in &mut other.off_diagonal {
            changed.iter().for_each(|&cell| pair.values[cell] *= 0.5);
        }
        let n = first.grid.shape.n_nodes();
        let column = (0..n).map(|i| 0.5 + 0.5 * number(i, 4) as f32).collect();
        for damping in [Quantity::Uniform(0.0), Quantity::Uniform(0.4), Quantity::PerNode(column)] {
            let Some(device) = device() else { return };
            let world = world(&first, damping);
            let mut backend = LineBackend::new(device, world.clone(), false).expect("fits");
            let rest = LocalStep { duration: STEP.dt, beta: 0.0, gain: 0.0, mu: 0.0 };
            for tick in 0..ticks {
                if tick == 1 {
                    backend.renew(&leapfrog::lines::renewed(&other, &changed)).expect("runs");
                }
                backend.local(&rest).expect("runs");
                backend.leap(&STEP).expect("runs");
                backend.local(&rest).expect("runs");
            }
            let mut fields = Vec::new();
            backend.read(&mut fields).expect("reads");
            let error = distance(&fields, &on_host(&world, [&first, &other], &changed, ticks));
            println!("{extents:?} {:?}: {} error {error:.1e}", cell, backend.describe());
            assert!(error < 2e-6, "{extents:?}: {error:.2e}");
        }
    }
}
