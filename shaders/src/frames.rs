//! Frames on their way to the host: three staging buffers, so that looking never stalls a tick.
//!
//! Invariant: a buffer is free, or holds a copy that was submitted and not yet taken; copies are taken in the order they
//! were made, each once, and only when the device says that it is there.

use crate::backend::buffer;
use crate::device::Device;
use nikola_kernels::backend::BackendError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use wgpu::BufferUsages;

/// Copies under way, at most.
const STAGES: usize = 3;

const WAITING: u8 = 0;
const READY: u8 = 1;
const FAILED: u8 = 2;

/// The staging buffers.
#[derive(Debug, Default)]
pub struct Frames {
    free: Vec<wgpu::Buffer>,
    under_way: VecDeque<(wgpu::Buffer, Arc<AtomicU8>)>,
}

impl Frames {
    /// A free buffer of `bytes`; none while all are under way.
    pub fn next(&mut self, device: &Device, bytes: u64) -> Option<wgpu::Buffer> {
        if let Some(free) = self.free.pop() {
            return Some(free);
        }
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        (self.under_way.len() < STAGES).then(|| buffer(device, "frame", bytes, usage))
    }

    /// The copy into `staging` was submitted: it is taken when it is there.
    pub fn expect(&mut self, staging: wgpu::Buffer) {
        let state = Arc::new(AtomicU8::new(WAITING));
        let told = state.clone();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |mapped| {
            told.store(if mapped.is_ok() { READY } else { FAILED }, Ordering::Release);
        });
        self.under_way.push_back((staging, state));
    }

    /// The oldest copy, if it is there; waits for nothing.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn take(&mut self, device: &Device, psi: &mut Vec<[f32; 2]>) -> Result<bool, BackendError> {
        if self.under_way.is_empty() {
            return Ok(false);
        }
        device.glance()?;
        let state = self.under_way.front().map_or(WAITING, |(_, state)| state.load(Ordering::Acquire));
        let refused = |error: String| BackendError::Refused { reason: format!("mapping failed: {error}") };
        match state {
            WAITING => return Ok(false),
            READY => {}
            _ => return Err(refused("a frame".into())),
        }
        let Some((staging, _)) = self.under_way.pop_front() else { return Ok(false) };
        let range = staging.slice(..).get_mapped_range().map_err(|error| refused(error.to_string()))?;
        psi.clear();
        psi.extend_from_slice(bytemuck::cast_slice(&range));
        drop(range);
        staging.unmap();
        self.free.push(staging);
        Ok(true)
    }
}
