//! The tick on a GPU: parity with the processor on every scene of the house, ledger, residency and drills.
//!
//! Invariant: correctness only; a software adapter is enough. Each test says `skipped` where there is no adapter.

mod lines;

use super::tidy::root;
use nikola_engine::backend::{BackendChoice, Keeper, to_device};
use nikola_engine::edge::Edge;
use nikola_engine::gpu::{PARITY_MAX, distance};
use nikola_engine::scene::{load, resolve};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::emitter::{Emitter, Envelope, Injection};
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::setup::{Integrator, Precision, Setup, TimeMode, WaveParameters};
use nikola_engine::systems::device::unsupported;
use nikola_engine::systems::kernels::backend::{
    Backend, BackendError, DeviceWorld, LeapStep, LineStep, LocalStep, NodeList, PassTime, Quantity, Renewal,
    Residency, Watching,
};
use nikola_tests::lab::{advance, build, initial, profile, restore, save, setup, torus};

mod balance;
mod frames;
mod live;
mod wave_form;

/// Node-ticks spent per scene at most.
const NODE_TICKS: u64 = 600_000;

/// Moves a simulation to the device; false, said, where this machine has none.
fn moved(simulation: &mut Simulation, setup: &Setup) -> bool {
    match to_device(simulation, setup, "test", None) {
        Ok(()) => true,
        Err(error) => {
            println!("skipped: {error}");
            false
        }
    }
}

/// Why this machine runs nothing on a device, if it does not.
pub fn missing() -> Option<String> {
    let setup = rich(Integrator::Strang);
    to_device(&mut build(&setup), &setup, "test", None).err().map(|error| error.to_string())
}

/// Both residencies after `ticks` ticks, or none where this machine has no adapter.
fn both(setup: &Setup, ticks: u64) -> Option<(Simulation, Simulation)> {
    let mut device = build(setup);
    if !moved(&mut device, setup) {
        return None;
    }
    assert_eq!(device.residency(), Residency::Device);
    let mut host = build(setup);
    advance(&mut device, ticks);
    advance(&mut host, ticks);
    assert_eq!(device.device().and_then(|device| device.failure()), None);
    Some((device, host))
}

#[test]
fn every_scene_agrees_with_the_processor() {
    let mut scenes: Vec<_> =
        std::fs::read_dir(root().join("scenes")).expect("the folder of scenes").collect();
    scenes.sort_by_key(|entry| entry.as_ref().map(|entry| entry.path()).ok());
    for entry in scenes {
        let path = entry.expect("a folder entry").path();
        if path.extension().is_none_or(|extension| extension != "ron") {
            continue;
        }
        let scene = load(&path, &["precision=F32".into()]).unwrap_or_else(|error| panic!("{error}"));
        let resolved = resolve(&scene, &scene.base_dir).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(unsupported(&resolved.setup), None, "{}", scene.stem());
        let nodes = match resolved.setup.growth {
            Some(_) => build(&resolved.setup).active_pages().len() * resolved.setup.torus.page_nodes(),
            None => resolved.setup.torus.n_nodes(),
        };
        let nodes = nodes as u64;
        let ticks = (NODE_TICKS / nodes).clamp(2, 1_000).min(resolved.plan.ticks);
        let Some((device, host)) = both(&resolved.setup, ticks) else { return };
        let error = distance(&device, &host);
        println!("{}: {ticks} ticks, {error:.1e}", scene.stem());
        assert!(error <= PARITY_MAX, "{}: {error:.2e} after {ticks} ticks", scene.stem());
    }
}

/// A small open torus with everything the Schrödinger form has.
fn rich(integrator: Integrator) -> Setup {
    let torus = torus(&[(Axis::X, 16, 8.0), (Axis::Y, 9, 5.0), (Axis::Z, 3, 3.0)]);
    let lump = initial(&torus, |p| ((-p[6] * p[6]).exp(), 0.0));
    let base = setup(torus.clone(), 2e-3);
    Setup {
        precision: Precision::F32,
        wave: WaveParameters { beta: 1.0, integrator, ..base.wave },
        potential: profile(&torus, |p| 0.5 * p[6] * p[6] + p[8]),
        damping: profile(&torus, |p| 0.05 * (1.0 + p[7].sin())),
        initial: initial(&torus, |p| ((-0.3 * p[7] * p[7]).exp(), 0.1 * p[6])),
        emitters: vec![Emitter {
            name: "lump".into(),
            frequency_hz: 3.0,
            phase_turns: 0.1,
            amplitude: 0.5,
            profile: lump.clone(),
            envelope: Envelope::Constant,
        }],
        injections: vec![Injection { tick: 7, amplitude: (0.2, -0.1), profile: lump }],
        ..base
    }
}

#[test]
fn sources_and_compositions_agree_with_the_processor() {
    for integrator in [Integrator::Strang, Integrator::Yoshida4, Integrator::BlanesMoan4] {
        let mut setup = rich(integrator);
        if integrator != Integrator::Strang {
            setup.damping = nikola_engine::systems::components::fill::Profile::Uniform(0.0);
        }
        let Some((device, host)) = both(&setup, 40) else { return };
        let error = distance(&device, &host);
        assert!(error < 1e-5, "{integrator:?}: {error:.2e}");
    }
}

#[test]
fn imaginary_time_finds_the_same_ground_state() {
    let torus = torus(&[(Axis::X, 27, 12.0), (Axis::Y, 9, 8.0)]);
    let base = setup(torus.clone(), 5e-3);
    let setup = Setup {
        precision: Precision::F32,
        wave: WaveParameters { beta: 10.0, time: TimeMode::Imaginary, ..base.wave },
        potential: profile(&torus, |p| 0.5 * (p[6] * p[6] + p[7] * p[7])),
        norm: Some(1.0),
        ..base
    };
    let Some((mut device, mut host)) = both(&setup, 150) else { return };
    let (found, expected) = (device.sample(), host.sample());
    assert!((found.mu / expected.mu - 1.0).abs() < 1e-5, "{} against {}", found.mu, expected.mu);
    assert!((found.norm - 1.0).abs() < 1e-6, "norm {}", found.norm);
}

#[test]
fn the_norm_does_not_drift() {
    let torus = torus(&Axis::ALL.map(|axis| (axis, 3, 3.0)));
    let base = setup(torus.clone(), 1e-3);
    let setup = Setup {
        precision: Precision::F32,
        wave: WaveParameters { beta: 1.0, ..base.wave },
        initial: initial(&torus, |p| ((-0.5 * p.iter().map(|x| x * x).sum::<f64>()).exp(), 0.2 * p[3])),
        ..base
    };
    let mut simulation = build(&setup);
    if !moved(&mut simulation, &setup) {
        return;
    }
    advance(&mut simulation, 3_000);
    let drift = simulation.sample().norm_drift;
    println!("norm drift {drift:.1e}, compensated {:.1e}", simulation.ledger().compensated);
    assert!(drift.abs() < 1e-6, "drift {drift:.2e}, the specification allows 1e-6");
}

/// The order of the sweeps alternates from flow to flow: states of even and of odd ticks continue alike.
#[test]
fn a_state_saved_on_a_device_continues_there() {
    for integrator in [Integrator::Strang, Integrator::Yoshida4] {
        let setup = rich(integrator);
        for ticks in [12, 13] {
            let (mut first, mut second) = (build(&setup), build(&setup));
            if !(moved(&mut first, &setup) && moved(&mut second, &setup)) {
                return;
            }
            advance(&mut first, ticks);
            restore(&mut second, &save(&mut first)).expect("the same setup");
            advance(&mut first, 10);
            advance(&mut second, 10);
            assert_eq!(distance(&first, &second), 0.0, "{integrator:?} after {ticks} ticks");
        }
    }
}

/// A backend whose device goes away after a number of calls.
struct Failing {
    inner: Box<dyn Backend>,
    calls_left: u32,
}

impl Failing {
    fn call<R>(
        &mut self,
        work: impl FnOnce(&mut dyn Backend) -> Result<R, BackendError>,
    ) -> Result<R, BackendError> {
        if self.calls_left == 0 {
            return Err(BackendError::Lost { reason: "pulled out in a drill".into() });
        }
        self.calls_left -= 1;
        work(self.inner.as_mut())
    }
}

impl Backend for Failing {
    fn describe(&self) -> String {
        self.inner.describe()
    }
    fn local(&mut self, step: &LocalStep) -> Result<(), BackendError> {
        self.call(|inner| inner.local(step))
    }
    fn kinetic(&mut self, which: usize) -> Result<(), BackendError> {
        self.call(|inner| inner.kinetic(which))
    }
    fn propagate(&mut self, step: &LineStep) -> Result<(), BackendError> {
        self.call(|inner| inner.propagate(step))
    }
    fn leap(&mut self, step: &LeapStep) -> Result<(), BackendError> {
        self.call(|inner| inner.leap(step))
    }
    fn renew(&mut self, renewal: &Renewal) -> Result<(), BackendError> {
        self.call(|inner| inner.renew(renewal))
    }
    fn structure(
        &mut self,
        cells: &[std::ops::Range<usize>],
        sums: &mut Vec<f64>,
    ) -> Result<(), BackendError> {
        self.call(|inner| inner.structure(cells, sums))
    }
    fn measure(&mut self, axis: usize, sums: &mut Vec<f64>) -> Result<(), BackendError> {
        self.call(|inner| inner.measure(axis, sums))
    }
    fn adopt(&mut self, world: DeviceWorld) -> Result<(), BackendError> {
        self.call(|inner| inner.adopt(world))
    }
    fn kick(&mut self, index: usize, phasor: (f64, f64)) -> Result<(), BackendError> {
        self.call(|inner| inner.kick(index, phasor))
    }
    fn inject(&mut self, list: &NodeList) -> Result<(), BackendError> {
        self.call(|inner| inner.inject(list))
    }
    fn set_potential(&mut self, values: &[f32]) -> Result<(), BackendError> {
        self.call(|inner| inner.set_potential(values))
    }
    fn set_damping(&mut self, damping: &Quantity) -> Result<(), BackendError> {
        self.call(|inner| inner.set_damping(damping))
    }
    fn norm2(&mut self) -> Result<f64, BackendError> {
        self.call(|inner| inner.norm2())
    }
    fn read(&mut self, psi: &mut Vec<[f32; 2]>) -> Result<(), BackendError> {
        self.call(|inner| inner.read(psi))
    }
    fn write(&mut self, psi: &[[f32; 2]]) -> Result<(), BackendError> {
        self.call(|inner| inner.write(psi))
    }
    fn watching(&mut self) -> Result<&mut dyn Watching, BackendError> {
        self.call(|inner| inner.watching().map(|_| ()))?;
        self.inner.watching()
    }
    fn take_times(&mut self) -> Vec<PassTime> {
        self.inner.take_times()
    }
}

/// A simulation whose device fails after a number of calls; none where this machine has no adapter.
fn failing(setup: &Setup, calls_left: u32) -> Option<Simulation> {
    let mut simulation = build(setup);
    let world = simulation.device_world().expect("single precision");
    match nikola_engine::backend::start(world, None) {
        Ok(inner) => {
            simulation.move_to(setup, Box::new(Failing { inner, calls_left })).expect("a sound schedule");
            Some(simulation)
        }
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// Ticks until `until`, watched by `keeper` as a run is.
fn run(simulation: &mut Simulation, keeper: &mut Keeper<'_>, until: u64) -> Result<(), String> {
    while simulation.tick_count() < until {
        simulation.tick();
        keeper.after_tick(simulation).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[test]
fn with_auto_a_lost_device_is_replaced_by_the_processor() {
    let setup = rich(Integrator::Strang);
    let mut host = build(&setup);
    advance(&mut host, 30);
    for calls_left in [3, 41, 100] {
        let Some(mut simulation) = failing(&setup, calls_left) else { return };
        let mut keeper = Keeper::watching(&setup, BackendChoice::Auto, "drill");
        run(&mut simulation, &mut keeper, 30).expect("auto goes on");
        assert_eq!(simulation.residency(), Residency::Host);
        let error = distance(&simulation, &host);
        assert!(error < 1e-5, "lost after {calls_left} calls: {error:.2e}");
    }
}

#[test]
fn with_gpu_a_lost_device_ends_the_run() {
    let setup = rich(Integrator::Strang);
    let Some(mut simulation) = failing(&setup, 20) else { return };
    let mut keeper = Keeper::watching(&setup, BackendChoice::Gpu, "drill");
    let message = run(&mut simulation, &mut keeper, 30).expect_err("the device is gone");
    assert!(message.contains("pulled out in a drill") && message.contains("--backend auto"), "{message}");
}

#[test]
fn double_precision_is_refused_by_name() {
    let setup = Setup { precision: Precision::F64, ..rich(Integrator::Strang) };
    let mut simulation = build(&setup);
    let message = to_device(&mut simulation, &setup, "test", None).expect_err("refused").to_string();
    assert!(message.contains("precision: F64") && message.contains("--backend cpu"), "{message}");
}
