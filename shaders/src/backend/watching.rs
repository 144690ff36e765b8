//! The calls of the energy balance and the neurochemistry, on the backend of the Schrödinger form.
//! Invariant: a sum is of Ψ as a reader would find it, so the open sweep is closed first; that changes no bit.

use super::{WgpuBackend, Work};
use crate::ledger::{Ledger, Step};
use crate::plan::Plan;
use nikola_kernels::backend::{BackendError, LogEntry, Quantity, Wanted, Watching};
use nikola_kernels::kinetic::AxisTerm;
use nikola_kernels::source::Strengths;

impl WgpuBackend {
    pub(super) fn ledger(&mut self) -> Result<&mut Ledger, BackendError> {
        let reason = "nothing of this world is watched on the device";
        self.ledger.as_mut().ok_or_else(|| BackendError::Refused { reason: reason.into() })
    }

    fn put_steps(&mut self, steps: [Step; 2]) -> Result<(), BackendError> {
        steps.into_iter().try_for_each(|step| self.put(Work::Step(step)))
    }

    /// Submits what waits and a copy to a buffer that can be mapped.
    fn fetch(
        &mut self,
        (from, at, to, bytes): &(wgpu::Buffer, u64, wgpu::Buffer, u64),
    ) -> Result<(), BackendError> {
        self.submit_from(Some((from, *at, to, *bytes)))?;
        self.in_flight.clear();
        Ok(())
    }
}

impl Watching for WgpuBackend {
    fn log_sums(&mut self, wanted: Wanted) -> Result<(), BackendError> {
        self.settle()?;
        let steps = self.ledger()?.log_sums(wanted);
        self.put_steps(steps)
    }

    fn log_work(&mut self, profile: usize, strengths: &Strengths) -> Result<(), BackendError> {
        self.settle()?;
        let potential = match self.world.potential {
            Quantity::Uniform(value) => value,
            Quantity::PerNode(_) => 0.0,
        };
        let steps = self.ledger()?.log_work(profile, strengths, potential);
        self.put_steps(steps)
    }

    fn read_log(&mut self) -> Result<Vec<LogEntry>, BackendError> {
        let copy = self.ledger()?.log_copy();
        self.fetch(&copy)?;
        let Some(ledger) = &mut self.ledger else { return Ok(Vec::new()) };
        ledger.take(&self.device)
    }

    fn sums(&mut self, wanted: Wanted) -> Result<LogEntry, BackendError> {
        self.settle()?;
        let ledger = self.ledger()?;
        let (steps, copy) = (ledger.sums(wanted), ledger.sums_copy());
        self.put_steps(steps)?;
        self.fetch(&copy)?;
        let device = &self.device;
        self.ledger.as_ref().map_or(Ok(LogEntry::default()), |ledger| ledger.take_sums(device))
    }

    fn set_drive(&mut self, rate: &[f32]) -> Result<(), BackendError> {
        // What was recorded with the rate before is submitted with it.
        self.submit(None)?;
        let rate_buffer = self.ledger()?.rate.clone();
        self.device.queue.write_buffer(&rate_buffer, 0, bytemuck::cast_slice(rate));
        Ok(())
    }

    fn collect(&mut self, first: usize, count: usize) -> Result<(), BackendError> {
        if count == 0 {
            return Ok(());
        }
        self.settle()?;
        let step = self.ledger()?.collect(first, count);
        self.put(Work::Step(step))
    }

    fn read_collected(&mut self, count: usize) -> Result<Vec<[f32; 2]>, BackendError> {
        let copy = self.ledger()?.collected_copy(count);
        self.fetch(&copy)?;
        let mut pairs = Vec::new();
        self.device.read_mapped(&copy.2, copy.3, &mut pairs)?;
        Ok(pairs)
    }

    fn set_axes(&mut self, axes: &[AxisTerm]) -> Result<(), BackendError> {
        self.ledger()?;
        self.settle()?;
        self.submit(None)?;
        self.world.axes = axes.to_vec();
        self.plan = Plan::new(&self.world, self.limits);
        self.device.queue.write_buffer(&self.buffers.tables, 0, bytemuck::cast_slice(&self.plan.tables));
        Ok(())
    }
}
