//! Copy bandwidth of the device: the measure of what a pass over Ψ achieves.
//!
//! Invariant: measured as a pass is run, by a program that reads and writes storage buffers, many dispatches in one
//! compute pass, timed by the device itself where it can. The driver's copy commands are no measure: they may run on
//! an engine of their own, far below what the processors of the card reach.

use crate::device::Device;
use crate::layout::Copied;
use crate::pipeline::{Access, Pipeline, module};
use crate::program::COPY;
use crate::times::Times;
use nikola_kernels::backend::BackendError;
use wgpu::BufferUsages;

/// Rounds, of which the best counts.
const ROUNDS: usize = 8;
/// Bytes copied in a round.
const ROUND_BYTES: u64 = 8 << 30;
/// Dispatches of a round, at least and at most.
const DISPATCHES: (u64, u64) = (4, 2_000);
/// Bytes of one element.
const ELEMENT_BYTES: u64 = 16;
/// Elements of a work group: 256 threads with four each.
const GROUP_ELEMENTS: u64 = 1_024;

impl Device {
    /// Bytes per second, read plus written, of copying a buffer of `bytes` to another on the device. A copy that fits
    /// the caches is judged by them, and a small one by what a dispatch costs.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn copy_bandwidth(&self, bytes: u64) -> Result<f64, BackendError> {
        let count = (bytes / ELEMENT_BYTES).max(1);
        let made = |label| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: count * ELEMENT_BYTES,
                usage: BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        let buffers = [made("copied"), made("copy")];
        let module = module(self, &COPY);
        let pipelines = [0, 1].map(|from: usize| {
            let bound = [(&buffers[from], Access::Read), (&buffers[1 - from], Access::ReadWrite)];
            Pipeline::new(self, &module, &COPY, size_of::<Copied>() as u32, &[], &bound)
        });
        // A software device copies less in the same time.
        let share = if self.report.kind == "Cpu" { 64 } else { 1 };
        let copies = (ROUND_BYTES / share / bytes.max(1)).clamp(DISPATCHES.0, DISPATCHES.1);
        let mut times = self.report.has_timestamps.then(|| Times::new(self, 1));
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            best = best.min(self.round(&pipelines, count, copies, times.as_mut())?);
        }
        Ok(2.0 * (count * ELEMENT_BYTES) as f64 * copies as f64 / best)
    }

    /// Seconds of `copies` copies to and fro.
    fn round(
        &self,
        pipelines: &[Pipeline; 2],
        count: u64,
        copies: u64,
        mut times: Option<&mut Times>,
    ) -> Result<f64, BackendError> {
        let slot = times.as_mut().map(|times| times.begin("copy".to_owned(), 0));
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: slot.and_then(|slot| times.as_ref().map(|times| times.writes(slot))),
        });
        let immediates = Copied { count: count as u32 };
        for i in 0..copies {
            let groups = count.div_ceil(GROUP_ELEMENTS) as u32;
            pipelines[(i % 2) as usize].dispatch(&mut pass, bytemuck::bytes_of(&immediates), groups);
        }
        drop(pass);
        if let Some(times) = &mut times {
            times.resolve(&mut encoder);
        }
        let commands = encoder.finish();
        self.wait(None)?;
        let began = std::time::Instant::now();
        self.queue.submit([commands]);
        self.wait(None)?;
        let elapsed = began.elapsed().as_secs_f64();
        let Some(times) = times else { return Ok(elapsed) };
        times.collect(self)?;
        let nanos: u64 = times.take().iter().map(|pass| pass.nanos).sum();
        Ok(if nanos > 0 { nanos as f64 * 1e-9 } else { elapsed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_arrives_whole() {
        let device = match Device::open(None) {
            Ok(device) => device,
            Err(error) => return println!("skipped: {error}"),
        };
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        for elements in [1_u64, 255, 1_024, 5_000, 70_001] {
            let made = |usage| {
                let size = elements * ELEMENT_BYTES;
                let descriptor =
                    wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
                device.device.create_buffer(&descriptor)
            };
            let (from, to) = (made(usage), made(usage));
            let back = made(BufferUsages::MAP_READ | BufferUsages::COPY_DST);
            let words: Vec<[f32; 2]> = (0..2 * elements).map(|i| [i as f32, -(i as f32)]).collect();
            device.queue.write_buffer(&from, 0, bytemuck::cast_slice(&words));
            let bound = [(&from, Access::Read), (&to, Access::ReadWrite)];
            let immediates = Copied { count: elements as u32 };
            let size = size_of::<Copied>() as u32;
            let pipeline = Pipeline::new(&device, &module(&device, &COPY), &COPY, size, &[], &bound);
            // Fewer groups than elements: the loop of four, the rest, and both together.
            for groups in [1, elements.div_ceil(GROUP_ELEMENTS) as u32] {
                let mut encoder =
                    device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                pipeline.dispatch(&mut pass, bytemuck::bytes_of(&immediates), groups);
                drop(pass);
                encoder.copy_buffer_to_buffer(&to, 0, &back, 0, None);
                encoder.clear_buffer(&to, 0, None);
                device.queue.submit([encoder.finish()]);
                let mut found = Vec::new();
                device.read_mapped(&back, elements * ELEMENT_BYTES, &mut found).expect("reads");
                assert!(found == words, "{elements} elements by {groups} groups");
            }
        }
    }

    #[test]
    fn a_bandwidth_is_measured() {
        let device = match Device::open(None) {
            Ok(device) => device,
            Err(error) => return println!("skipped: {error}"),
        };
        let found = device.copy_bandwidth(1 << 20).expect("a working device");
        assert!(found.is_finite() && found > 0.0, "{found} bytes per second");
    }
}
