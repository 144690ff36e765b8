//! Dispatches that wait for submission, and submissions in flight.
//!
//! Invariant: dispatches run in the order they were put; with timing each has a pass of its own. The host never runs
//! further ahead of the device than a few submissions.

use crate::device::Device;
use crate::pipeline::Pipeline;
use crate::times::Times;
use nikola_kernels::backend::{BackendError, PassTime};
use std::collections::VecDeque;

/// Dispatches of one submission, at most.
const DISPATCHES_MAX: usize = 256;
/// Submissions in flight, at most.
const IN_FLIGHT_MAX: usize = 3;

/// One dispatch.
#[derive(Debug)]
struct Dispatch {
    pipeline: Pipeline,
    immediates: Vec<u8>,
    n_groups: u32,
    name: &'static str,
    bytes: u64,
}

/// A copy after the dispatches: from, to, bytes.
pub type Copying<'a> = (&'a wgpu::Buffer, &'a wgpu::Buffer, u64);

/// What waits, and what is under way.
#[derive(Debug)]
pub struct Recorder {
    waiting: Vec<Dispatch>,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    times: Option<Times>,
}

impl Recorder {
    /// With `is_timed`, each pass is timed where the device can.
    pub fn new(device: &Device, is_timed: bool) -> Self {
        let times = (is_timed && device.report.has_timestamps).then(|| Times::new(device, DISPATCHES_MAX));
        Self { waiting: Vec::new(), in_flight: VecDeque::new(), times }
    }

    /// Adds a dispatch of `n_groups` work groups that moves `bytes`; none of zero groups.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn put<I: bytemuck::Pod>(
        &mut self,
        device: &Device,
        pipeline: &Pipeline,
        immediates: &I,
        n_groups: usize,
        (name, bytes): (&'static str, u64),
    ) -> Result<(), BackendError> {
        if n_groups == 0 {
            return Ok(());
        }
        self.waiting.push(Dispatch {
            pipeline: pipeline.clone(),
            immediates: bytemuck::bytes_of(immediates).to_vec(),
            n_groups: n_groups as u32,
            name,
            bytes,
        });
        if self.waiting.len() >= DISPATCHES_MAX { self.submit(device, None) } else { Ok(()) }
    }

    /// Submits what waits, and then `copy`; holds back when the device is several submissions behind.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn submit(&mut self, device: &Device, copy: Option<Copying<'_>>) -> Result<(), BackendError> {
        if self.waiting.is_empty() && copy.is_none() {
            return device.failures.check();
        }
        let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let each = if self.times.is_some() { 1 } else { DISPATCHES_MAX };
        for dispatches in self.waiting.chunks(each) {
            let slot = self.times.as_mut().map(|times| {
                let Dispatch { name, bytes, .. } = dispatches[0];
                times.begin(name.to_owned(), bytes)
            });
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: slot.and_then(|slot| self.times.as_ref().map(|times| times.writes(slot))),
            });
            for Dispatch { pipeline, immediates, n_groups, .. } in dispatches {
                pipeline.dispatch(&mut pass, immediates, *n_groups);
            }
        }
        if let Some((from, to, bytes)) = copy {
            encoder.copy_buffer_to_buffer(from, 0, to, 0, Some(bytes));
        }
        if let Some(times) = &mut self.times {
            times.resolve(&mut encoder);
        }
        self.in_flight.push_back(device.queue.submit([encoder.finish()]));
        self.waiting.clear();
        if let Some(times) = &mut self.times {
            device.wait(None)?;
            self.in_flight.clear();
            times.collect(device)?;
        }
        if self.in_flight.len() > IN_FLIGHT_MAX
            && let Some(oldest) = self.in_flight.pop_front()
        {
            device.wait(Some(oldest))?;
        }
        device.failures.check()
    }

    /// Submits what waits, copies `from` to a mappable buffer and reads it into `out`; waits for the device.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn read(
        &mut self,
        device: &Device,
        (from, to, bytes): Copying<'_>,
        out: &mut Vec<[f32; 2]>,
    ) -> Result<(), BackendError> {
        self.submit(device, Some((from, to, bytes)))?;
        self.in_flight.clear();
        device.read_mapped(to, bytes, out)
    }

    /// Device time per kind of pass since the last call.
    pub fn take_times(&mut self) -> Vec<PassTime> {
        self.times.as_mut().map(Times::take).unwrap_or_default()
    }
}
