//! THE PIPELINE: one tick, top to bottom.
//!
//! Invariant: stages run in this order on one thread, without hidden synchronisation points; conflicting systems
//! without an order are an error when the schedule is built. Parallelism lives inside kernels.
//!
//! ```text
//! ingress ─ metric_update ─ half_potential ─ kinetic ─ nonlinear ─ half_potential ─ boundary ─ mamba_scan ─ engs ─ oracle ─ egress
//!           g yields and    V,Γ,E and half    T         closing β    V,Γ,E mirrored   pages      reads Ψ      D,S,N  norm,    samples
//!           returns         the β flow                  half                          come, go   in order     B,A    energy   leave
//! ```
//!
//! The second-order wave equation has a middle of its own, `ingress ─ metric_update ─ wave_form ─ … ─ oracle ─ egress`;
//! `mamba_scan`, `metric_update`, `engs` and the oracle's energy balance exist only in worlds whose setup asks for a
//! scan, for plasticity, for neurochemistry or for the balance.
//!
//! The two half steps and the kinetic step share memory sweeps: `half_potential::open` arms the opening local flow
//! and the kinetic stage applies it page by page just before the axes inside the page; `nonlinear` arms the closing
//! β half and `half_potential::close` applies it with V and Γ right after the axes that cross pages. A full Strang
//! tick reads and writes Ψ twice. `boundary` exists only in sparse worlds.

use crate::{
    boundary, device, egress, engs, half_potential, ingress, kinetic, mamba_scan, metric_update, nonlinear,
    oracle, wave_form,
};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::ScheduleConfigs;
use bevy_ecs::schedule::{LogLevel, ScheduleBuildSettings, ScheduleLabel, SingleThreadedExecutor};
use bevy_ecs::system::ScheduleSystem;
use nikola_components::column::Scalar;
use nikola_components::setup::{Equation, Setup};
use nikola_kernels::Real;

/// Label of the schedule that advances the world by one tick.
#[derive(ScheduleLabel, Debug, Clone, PartialEq, Eq, Hash)]
pub struct TickSchedule;

/// A schedule that runs its systems one by one, and takes an ambiguous order for an error.
fn empty() -> Schedule {
    let mut schedule = Schedule::new(TickSchedule);
    schedule.set_executor(SingleThreadedExecutor::new());
    schedule.set_build_settings(ScheduleBuildSettings {
        ambiguity_detection: LogLevel::Error,
        hierarchy_detection: LogLevel::Error,
        auto_insert_apply_deferred: false,
        ..ScheduleBuildSettings::default()
    });
    schedule
}

/// The schedule of one tick for a state of scalar type `T` in the columns of the pages, with the stages that `setup`
/// asks for.
pub fn schedule<T: Real + Scalar>(setup: &Setup) -> Schedule {
    let mut schedule = empty();
    let enter = match setup.engs {
        Some(_) => (ingress::take_in::<T>, engs::broadcast::<T>).chain(),
        None => ingress::take_in::<T>.into_configs(),
    };
    schedule.add_systems((enter, step::<T>(setup), look::<T>(setup), egress::report::<T>).chain());
    schedule
}

/// The stages that advance the wave by dt.
fn step<T: Real + Scalar>(setup: &Setup) -> ScheduleConfigs<ScheduleSystem> {
    match setup.equation {
        Equation::Schrodinger => {
            let wave = (
                half_potential::open::<T>,
                kinetic::propagate::<T>,
                nonlinear::close,
                half_potential::close::<T>,
            )
                .chain();
            match setup.plasticity {
                Some(_) => (metric_update::update::<T>, wave).chain(),
                None => wave,
            }
        }
        Equation::Wave { .. } => {
            let wave = (wave_form::keep_energy::<T>, wave_form::advance::<T>).chain();
            match setup.plasticity {
                Some(_) => (metric_update::update::<T>, wave).chain(),
                None => wave,
            }
        }
    }
}

/// The stages that read the wave when it has advanced.
fn look<T: Real + Scalar>(setup: &Setup) -> ScheduleConfigs<ScheduleSystem> {
    let mut stages = oracle::watch::<T>.into_configs();
    if setup.engs.is_some() {
        stages = (engs::update::<T>, stages).chain();
    }
    if setup.scan.is_some() {
        stages = (mamba_scan::advance::<T>, stages).chain();
    }
    if setup.growth.is_some() {
        stages = (boundary::grow::<T>, stages).chain();
    }
    if setup.oracle.is_some() {
        stages = (stages, oracle::balance::balance::<T>).chain();
    }
    stages
}

/// The schedule of one tick whose Ψ is on a device: the same stages, told to the backend.
pub fn device_schedule(setup: &Setup) -> Schedule {
    let mut schedule = empty();
    // Where T can change, these stages are the host's, on columns that are fetched in every tick.
    let is_live = device::live::is_watched(setup);
    let mut look = device::watch.into_configs();
    if setup.engs.is_some() {
        look = match is_live {
            true => (device::fetch_columns, engs::update::<f32>, look).chain(),
            false => (device::engs::update, look).chain(),
        };
    }
    // The scan reads the columns too.
    if setup.scan.is_some() {
        look = (device::fetch_columns, mamba_scan::advance::<f32>, look).chain();
    }
    if setup.growth.is_some() {
        look = (boundary::grow::<f32>, look).chain();
    }
    if setup.oracle.is_some() {
        look = match is_live {
            true => {
                let balance = (device::fetch_columns, oracle::balance::balance::<f32>).chain();
                (look, balance, device::live::send_damping, device::live::send_psi).chain()
            }
            false => (look, device::balance::balance).chain(),
        };
    }
    let mut enter = (device::fetch, ingress::take_in::<f32>, device::send, device::keep).chain();
    if setup.engs.is_some() {
        enter = match is_live {
            true => {
                let broadcast = (device::fetch_columns, engs::broadcast::<f32>).chain();
                (enter, broadcast, device::live::adopt_changes, device::live::send_damping).chain()
            }
            false => (enter, device::engs::broadcast).chain(),
        };
    }
    if setup.plasticity.is_some() {
        enter = (enter, device::update_metric).chain();
    }
    let step = match setup.equation {
        Equation::Schrodinger => (device::open, device::propagate, nonlinear::close, device::close).chain(),
        Equation::Wave { .. } => {
            let keep = (device::wave_form::fetch_for_energy, wave_form::keep_energy::<f32>).chain();
            match is_live {
                true => {
                    let advance = (
                        device::fetch_columns,
                        device::wave_form::advance_watched,
                        device::wave_form::keep_copy,
                    );
                    (keep, advance.chain()).chain()
                }
                false => (keep, device::wave_form::advance).chain(),
            }
        }
    };
    schedule.add_systems((enter, step, look, (device::bring_back, egress::report::<f32>).chain()).chain());
    schedule
}
