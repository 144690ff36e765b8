//! Adapters and the device: what there is, what it allows, and how its failures are caught.
//!
//! Invariant: an error of the driver is never lost. The first one is kept and every later call returns it, so nothing
//! computed after it can pass for a result.

use nikola_kernels::backend::BackendError;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// One adapter, as `nikola gpu` lists it.
#[derive(Debug, Clone)]
pub struct AdapterReport {
    /// Name of the device.
    pub name: String,
    /// Driver and its version.
    pub driver: String,
    /// "DiscreteGpu", "Cpu", …
    pub kind: String,
    /// Bytes of memory of a work group.
    pub tile_bytes: u32,
    /// Threads of a work group.
    pub threads: u32,
    /// Bytes of one storage binding.
    pub binding_bytes: u64,
    /// What the tick needs and this adapter lacks; empty when it can run.
    pub missing: Vec<String>,
    /// Whether device time can be measured.
    pub has_timestamps: bool,
}

impl AdapterReport {
    /// Refuses what is larger than this device takes.
    ///
    /// # Errors
    /// [`DeviceError::TooLarge`].
    pub fn holds(&self, what: &'static str, bytes: u64, limit: u64) -> Result<(), DeviceError> {
        if bytes <= limit {
            return Ok(());
        }
        Err(DeviceError::TooLarge { what, bytes, name: self.name.clone(), limit })
    }
}

/// Why there is no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No adapter at all.
    #[error(
        "no Vulkan adapter was found; expected a graphics driver (or Mesa's software one: the packages libvulkan1 and \
         mesa-vulkan-drivers)"
    )]
    NoAdapter,
    /// No adapter of that name.
    #[error("no adapter's name contains {wanted:?}; found: {found}")]
    NoSuchAdapter {
        /// What was asked for.
        wanted: String,
        /// Names of those there are.
        found: String,
    },
    /// The adapter cannot run the tick.
    #[error("the adapter {name} lacks {missing}")]
    Unfit {
        /// Its name.
        name: String,
        /// What it lacks.
        missing: String,
    },
    /// The driver refused.
    #[error("the adapter {name} gave no device: {reason}")]
    Refused {
        /// Its name.
        name: String,
        /// What it said.
        reason: String,
    },
    /// The world does not fit.
    #[error("{what} takes {bytes} bytes; the adapter {name} allows {limit}: make the torus smaller")]
    TooLarge {
        /// Which buffer.
        what: &'static str,
        /// How much.
        bytes: u64,
        /// Adapter.
        name: String,
        /// How much is allowed.
        limit: u64,
    },
    /// Building the programs failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Features a tick cannot do without.
const REQUIRED: [(wgpu::Features, &str); 1] = [(wgpu::Features::IMMEDIATES, "immediates (push constants)")];

/// Bytes of immediates of the hungriest program.
pub const IMMEDIATE_BYTES: u32 = 128;

/// The first failure of a device, shared with its callbacks.
#[derive(Debug, Clone, Default)]
pub struct Failures(Arc<Mutex<Option<BackendError>>>);

impl Failures {
    /// Keeps the first one.
    pub fn note(&self, error: BackendError) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
    }

    /// The first one, if any.
    ///
    /// # Errors
    /// That failure.
    pub fn check(&self) -> Result<(), BackendError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}

/// An open device.
#[derive(Debug)]
pub struct Device {
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// What it is.
    pub report: AdapterReport,
    /// Its failures.
    pub failures: Failures,
}

/// The loader's instance: one for the whole program, so that drivers are loaded once.
fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::VULKAN,
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        })
    })
}

fn report(adapter: &wgpu::Adapter) -> AdapterReport {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let missing = REQUIRED.iter().filter(|(feature, _)| !features.contains(*feature));
    AdapterReport {
        name: info.name,
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        kind: format!("{:?}", info.device_type),
        tile_bytes: limits.max_compute_workgroup_storage_size,
        threads: limits.max_compute_invocations_per_workgroup,
        binding_bytes: limits.max_storage_buffer_binding_size,
        missing: missing.map(|(_, name)| (*name).to_owned()).collect(),
        has_timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
    }
}

/// All Vulkan adapters, real cards first.
fn adapters() -> Vec<wgpu::Adapter> {
    let mut adapters = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::VULKAN));
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        _ => 3,
    });
    adapters
}

/// What adapters there are.
pub fn list() -> Vec<AdapterReport> {
    adapters().iter().map(report).collect()
}

impl Device {
    /// Opens the first adapter whose name contains `name`, or the best one.
    ///
    /// # Errors
    /// [`DeviceError`] when there is none, or it cannot run the tick.
    pub fn open(name: Option<&str>) -> Result<Self, DeviceError> {
        let adapters = adapters();
        if adapters.is_empty() {
            return Err(DeviceError::NoAdapter);
        }
        let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
        let wanted = name.unwrap_or_default();
        let adapter = adapters
            .into_iter()
            .find(|adapter| adapter.get_info().name.contains(wanted))
            .ok_or_else(|| DeviceError::NoSuchAdapter { wanted: wanted.into(), found: names.join(", ") })?;
        let report = report(&adapter);
        if !report.missing.is_empty() {
            return Err(DeviceError::Unfit { name: report.name, missing: report.missing.join(", ") });
        }
        let optional = wgpu::Features::TIMESTAMP_QUERY & adapter.features();
        let required = REQUIRED.iter().fold(optional, |all, (feature, _)| all | *feature);
        let mut required_limits = adapter.limits();
        required_limits.max_immediate_size = IMMEDIATE_BYTES.min(required_limits.max_immediate_size);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("nikola"),
            required_features: required,
            required_limits,
            memory_hints: wgpu::MemoryHints::Performance,
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| DeviceError::Refused { name: report.name.clone(), reason: error.to_string() })?;
        let failures = Failures::default();
        let caught = failures.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            caught.note(match error {
                wgpu::Error::OutOfMemory { .. } => BackendError::OutOfMemory { reason: error.to_string() },
                _ => BackendError::Refused { reason: error.to_string() },
            });
        }));
        let lost = failures.clone();
        device.set_device_lost_callback(move |reason, message| {
            lost.note(BackendError::Lost { reason: format!("{reason:?} {message}").trim().to_owned() });
        });
        Ok(Self { device, queue, report, failures })
    }

    /// Waits until everything submitted up to `index` (all of it when absent) is done.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn wait(&self, index: Option<wgpu::SubmissionIndex>) -> Result<(), BackendError> {
        let waited = self.device.poll(wgpu::PollType::Wait { submission_index: index, timeout: None });
        self.failures.check()?;
        waited.map(|_| ()).map_err(|error| BackendError::Lost { reason: error.to_string() })
    }

    /// Lets what is done be told, without waiting.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn glance(&self) -> Result<(), BackendError> {
        let polled = self.device.poll(wgpu::PollType::Poll);
        self.failures.check()?;
        polled.map(|_| ()).map_err(|error| BackendError::Lost { reason: error.to_string() })
    }

    /// Copies a buffer that can be mapped into `out`; waits for the device.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn read_mapped(
        &self,
        buffer: &wgpu::Buffer,
        bytes: u64,
        out: &mut Vec<[f32; 2]>,
    ) -> Result<(), BackendError> {
        let failures = self.failures.clone();
        let slice = buffer.slice(..bytes);
        slice.map_async(wgpu::MapMode::Read, move |mapped| {
            if let Err(error) = mapped {
                failures.note(BackendError::Refused { reason: format!("mapping failed: {error}") });
            }
        });
        self.wait(None)?;
        let range = slice
            .get_mapped_range()
            .map_err(|error| BackendError::Refused { reason: format!("mapping failed: {error}") })?;
        out.clear();
        out.extend_from_slice(bytemuck::cast_slice(&range));
        drop(range);
        buffer.unmap();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
