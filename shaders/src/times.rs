//! Device time of each pass, by timestamp queries. Invariant: measuring changes no result; it only ends a submission
//! with a wait, so times are of the device alone.

use crate::device::Device;
use nikola_kernels::backend::{BackendError, PassTime};
use wgpu::BufferUsages;

/// Queries, and what they belong to.
#[derive(Debug)]
pub struct Times {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    read_back: wgpu::Buffer,
    nanos_per_unit: f64,
    /// Name and bytes of each pass of the present submission.
    open: Vec<(String, u64)>,
    totals: Vec<PassTime>,
}

impl Times {
    /// Room for `passes` passes a submission.
    pub fn new(device: &Device, passes: usize) -> Self {
        let count = 2 * passes as u32;
        let bytes = 8 * u64::from(count);
        let made = |label: &str, usage: BufferUsages| {
            device.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: bytes,
                usage,
                mapped_at_creation: false,
            })
        };
        Self {
            queries: device.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("passes"),
                ty: wgpu::QueryType::Timestamp,
                count,
            }),
            resolved: made("times", BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC),
            read_back: made("times read back", BufferUsages::MAP_READ | BufferUsages::COPY_DST),
            nanos_per_unit: f64::from(device.queue.get_timestamp_period()),
            open: Vec::new(),
            totals: Vec::new(),
        }
    }

    /// Notes a pass; returns its slot.
    pub fn begin(&mut self, name: String, bytes: u64) -> u32 {
        self.open.push((name, bytes));
        self.open.len() as u32 - 1
    }

    /// What the pass in `slot` writes.
    pub fn writes(&self, slot: u32) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(2 * slot),
            end_of_pass_write_index: Some(2 * slot + 1),
        }
    }

    /// Ends the submission's measurements.
    pub fn resolve(&mut self, encoder: &mut wgpu::CommandEncoder) {
        let count = 2 * self.open.len() as u32;
        if count > 0 {
            encoder.resolve_query_set(&self.queries, 0..count, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.read_back, 0, Some(8 * u64::from(count)));
        }
    }

    /// Adds the submission's measurements to the totals; the device has finished it.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn collect(&mut self, device: &Device) -> Result<(), BackendError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let mut words = Vec::new();
        device.read_mapped(&self.read_back, 16 * self.open.len() as u64, &mut words)?;
        let ticks: &[u64] = bytemuck::cast_slice(&words);
        for ((name, bytes), pair) in self.open.drain(..).zip(ticks.chunks_exact(2)) {
            let nanos = (pair[1].saturating_sub(pair[0]) as f64 * self.nanos_per_unit) as u64;
            let known = self.totals.iter_mut().find(|total| total.name == name);
            match known {
                Some(total) => {
                    total.count += 1;
                    total.nanos += nanos;
                    total.bytes += bytes;
                }
                None => self.totals.push(PassTime { name, count: 1, nanos, bytes }),
            }
        }
        Ok(())
    }

    /// The totals since the last call.
    pub fn take(&mut self) -> Vec<PassTime> {
        std::mem::take(&mut self.totals)
    }
}
