//! Dispatches on their way to the device: recorded, submitted in batches, timed if asked.
//!
//! Invariant: order is kept; few submissions are in flight, so that a failure shows soon and memory stays bounded.

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
pub struct Work {
    /// Program, constants and bindings.
    pub pipeline: Pipeline,
    /// Its immediates.
    pub immediates: Vec<u8>,
    /// Work groups.
    pub n_groups: u32,
    /// Name in reports and bytes it must move.
    pub name: (&'static str, u64),
    /// A copy of the first whole buffer to the second afterwards.
    pub copy: Option<(wgpu::Buffer, wgpu::Buffer)>,
}

/// A copy between buffers.
pub struct Transfer {
    /// Buffer and place it is copied from.
    pub from: (wgpu::Buffer, u64),
    /// Buffer and place it is copied to.
    pub to: (wgpu::Buffer, u64),
    /// How much.
    pub bytes: u64,
}

/// The queue of dispatches.
#[derive(Debug)]
pub struct Recorder {
    waiting: Vec<Work>,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    times: Option<Times>,
}

impl Recorder {
    /// An empty queue; with `is_timed`, each pass is timed where the device can.
    pub fn new(device: &Device, is_timed: bool) -> Self {
        let times = (is_timed && device.report.has_timestamps).then(|| Times::new(device, DISPATCHES_MAX));
        Self { waiting: Vec::new(), in_flight: VecDeque::new(), times }
    }

    /// Adds a dispatch.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn put(&mut self, device: &Device, work: Work) -> Result<(), BackendError> {
        self.waiting.push(work);
        if self.waiting.len() >= DISPATCHES_MAX { self.submit(device, &[]) } else { Ok(()) }
    }

    /// Adds a dispatch of `n_groups` work groups that moves `bytes`; none of zero groups.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn dispatch<I: bytemuck::Pod>(
        &mut self,
        device: &Device,
        pipeline: &Pipeline,
        immediates: &I,
        n_groups: usize,
        name: (&'static str, u64),
    ) -> Result<(), BackendError> {
        if n_groups == 0 {
            return Ok(());
        }
        let immediates = bytemuck::bytes_of(immediates).to_vec();
        let work =
            Work { pipeline: pipeline.clone(), immediates, n_groups: n_groups as u32, name, copy: None };
        self.put(device, work)
    }

    /// Submits what waits, and then copies; holds back when the device is several submissions behind.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn submit(&mut self, device: &Device, copies: &[Transfer]) -> Result<(), BackendError> {
        if self.waiting.is_empty() && copies.is_empty() {
            return device.failures.check();
        }
        let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.encode(&mut encoder);
        for Transfer { from, to, bytes } in copies {
            encoder.copy_buffer_to_buffer(&from.0, from.1, &to.0, to.1, Some(*bytes));
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

    /// One compute pass for all dispatches, broken by copies; with timing, one pass each.
    fn encode(&mut self, encoder: &mut wgpu::CommandEncoder) {
        let mut at = 0;
        while at < self.waiting.len() {
            let rest = &self.waiting[at..];
            let run = rest.iter().position(|work| work.copy.is_some()).map_or(rest.len(), |copy| copy + 1);
            let end = if self.times.is_some() { at + 1 } else { at + run };
            let slot = self.times.as_mut().map(|times| {
                let (name, bytes) = self.waiting[at].name;
                times.begin(name.to_owned(), bytes)
            });
            let writes = slot.and_then(|slot| self.times.as_ref().map(|times| times.writes(slot)));
            let mut pass = encoder
                .begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes: writes });
            for work in &self.waiting[at..end] {
                work.pipeline.dispatch(&mut pass, &work.immediates, work.n_groups);
            }
            drop(pass);
            if let Some((from, to)) = &self.waiting[end - 1].copy {
                encoder.copy_buffer_to_buffer(from, 0, to, 0, None);
            }
            at = end;
        }
    }

    /// Submits what waits, copies the first `bytes` of `from` to the mappable buffer `to` and reads them into `out`; waits
    /// for the device.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn read(
        &mut self,
        device: &Device,
        (from, to, bytes): (&wgpu::Buffer, &wgpu::Buffer, u64),
        out: &mut Vec<[f32; 2]>,
    ) -> Result<(), BackendError> {
        self.submit(device, &[Transfer { from: (from.clone(), 0), to: (to.clone(), 0), bytes }])?;
        self.in_flight.clear();
        device.read_mapped(to, bytes, out)
    }

    /// Everything submitted is done: the caller has waited for it.
    pub fn forget_submissions(&mut self) {
        self.in_flight.clear();
    }

    /// Device time per kind of pass since the last call.
    pub fn take_times(&mut self) -> Vec<PassTime> {
        self.times.as_mut().map(Times::take).unwrap_or_default()
    }
}
