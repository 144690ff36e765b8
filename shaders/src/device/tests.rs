//! A device whose memory runs out: the drill fills it with buffers in a process of its own, where the address space is
//! limited, because a software adapter takes its memory from it.

use super::*;
use crate::WgpuBackend;
use crate::backend::tests::{device, world};
use nikola_kernels::backend::{Backend, Quantity};
use nikola_kernels::half_potential::Time;
use std::process::Command;

/// Set in the process of the drill.
const IN_DRILL: &str = "NIKOLA_MEMORY_DRILL";

/// Kibibytes of address space for the drill, of which the program and the driver take about one million.
const ADDRESS_SPACE_KIB: u32 = 3_000_000;

/// Fills what memory there is, to less than a buffer's worth.
fn filled(device: &Device, chunk: u64) -> Vec<wgpu::Buffer> {
    let mut buffers = Vec::new();
    while device.failures.check().is_ok() {
        assert!(buffers.len() < 4_096, "memory has an end");
        buffers.push(device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("hog"),
            size: chunk,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        }));
    }
    buffers
}

fn drill() {
    let (Some(hog), Some(first), Some(second)) = (device(), device(), device()) else { return };
    // Twice a chunk, so that what is left over does not suffice. The numbers are made while there is room for them.
    let is_software = hog.report.kind == "Cpu";
    let chunk: u64 = if is_software { 64 << 20 } else { 256 << 20 };
    let mut big = world(&[1_024, 2 * chunk as usize / 8 / 1_024], Time::Real);
    big.potential = Quantity::Uniform(0.0);
    let mut small = WgpuBackend::new(first, world(&[27, 27], Time::Real), false).expect("there is room yet");
    let norm = small.norm2().expect("runs");
    let buffers = filled(&hog, chunk);
    println!("{} buffers of {} MiB until memory ran out", buffers.len() - 1, chunk >> 20);
    assert!(matches!(hog.failures.check(), Err(BackendError::OutOfMemory { .. })), "{:?}", hog.failures);
    let error = match WgpuBackend::new(second, big, false) {
        Ok(_) => panic!("it cannot fit"),
        Err(error) => error,
    };
    println!("{error}");
    assert!(matches!(error, DeviceError::Backend(BackendError::OutOfMemory { .. })), "{error:?}");
    assert_eq!(small.norm2().expect("what was there goes on"), norm);
}

#[test]
fn memory_that_runs_out_is_an_error_and_what_runs_goes_on() {
    if std::env::var_os(IN_DRILL).is_some() {
        return drill();
    }
    let me = std::env::current_exe().expect("this program");
    let name = "device::tests::memory_that_runs_out_is_an_error_and_what_runs_goes_on";
    let is_card = list().first().is_some_and(|adapter| adapter.kind != "Cpu");
    let limit = if is_card { String::new() } else { format!("ulimit -v {ADDRESS_SPACE_KIB}; ") };
    let script = format!("{limit}exec \"$0\" --exact {name} --nocapture");
    let output =
        Command::new("sh").arg("-c").arg(script).arg(me).env(IN_DRILL, "1").output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
}
