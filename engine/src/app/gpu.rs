//! `nikola gpu`: what adapters there are, whether they compute what the processor does, and how fast.
//! Invariant: measures and prints; the self-test fails the command when device and processor differ.

use super::Failure;
#[cfg(feature = "gpu")]
use super::print_line;
use crate::exit;
use clap::Args;

#[derive(Args, Debug)]
#[cfg_attr(not(feature = "gpu"), allow(dead_code))] // Parsed all the same, so that the error is about the build.
pub(super) struct GpuArguments {
    /// Use the adapter whose name contains this; the best one when absent.
    #[arg(long, value_name = "NAME")]
    pub(super) adapter: Option<String>,
    /// Measure device time of a tick.
    #[arg(long)]
    pub(super) bench: bool,
    /// Shape to measure (may be repeated); four standard ones when absent.
    #[arg(long, value_name = "SHAPE", requires = "bench")]
    pub(super) shape: Vec<String>,
    /// Seconds to measure each shape for.
    #[arg(long, default_value_t = 2.0, requires = "bench")]
    pub(super) secs: f64,
    /// Compare the device with the processor after this many ticks of the scenes given.
    #[arg(long, value_name = "TICKS")]
    pub(super) parity: Option<u64>,
    /// Scenes for --parity.
    #[arg(value_name = "SCENE", requires = "parity")]
    pub(super) scenes: Vec<std::path::PathBuf>,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub(super) json: bool,
}

#[cfg(not(feature = "gpu"))]
pub(super) fn execute(_: &GpuArguments) -> Result<(), Failure> {
    Err(Failure::new(crate::backend::BackendFailure::NotBuilt, exit::BACKEND))
}

#[cfg(feature = "gpu")]
pub(super) fn execute(arguments: &GpuArguments) -> Result<(), Failure> {
    use crate::gpu;
    let failed = |reason: String| Failure::new(reason, exit::BACKEND);
    let adapter = arguments.adapter.as_deref();
    if arguments.bench {
        let standard = gpu::CASES.map(str::to_owned);
        let shapes = if arguments.shape.is_empty() { &standard[..] } else { &arguments.shape };
        for shape in shapes {
            let report = gpu::bench(shape, adapter, arguments.secs).map_err(failed)?;
            if arguments.json {
                let text =
                    serde_json::to_string(&report).map_err(|error| Failure::new(error, exit::INTERNAL))?;
                print_line(&text)?;
            } else {
                print_line(gpu::render(&report).trim_end())?;
            }
        }
        return Ok(());
    }
    if let Some(ticks) = arguments.parity {
        return parity(arguments, ticks);
    }
    let adapters = nikola_shaders::device::list();
    if adapters.is_empty() {
        return Err(failed(nikola_shaders::DeviceError::NoAdapter.to_string()));
    }
    print_line(gpu::render_adapters(&adapters).trim_end())?;
    let error = gpu::self_test(adapter).map_err(failed)?;
    verdict("self-test (default scene, 20 ticks)", error)
}

/// Prints a distance and judges it.
#[cfg(feature = "gpu")]
fn verdict(what: &str, error: f64) -> Result<(), Failure> {
    let limit = crate::gpu::PARITY_MAX;
    print_line(&format!("{what}: relative L2 distance from the processor {error:.2e} (limit {limit:.0e})"))?;
    if error <= limit {
        return Ok(());
    }
    Err(Failure::new(
        format!("{what}: device and processor differ by {error:.2e}; expected {limit:.0e}"),
        exit::BACKEND,
    ))
}

/// The parity table of the scenes given.
#[cfg(feature = "gpu")]
fn parity(arguments: &GpuArguments, ticks: u64) -> Result<(), Failure> {
    for path in &arguments.scenes {
        let scene = crate::scene::load(path, &[])?;
        let resolved = crate::scene::resolve(&scene, &scene.base_dir)?;
        let error = crate::gpu::parity(&resolved.setup, arguments.adapter.as_deref(), ticks)
            .map_err(|reason| Failure::new(format!("{}: {reason}", path.display()), exit::BACKEND))?;
        verdict(&format!("{}, {ticks} ticks", scene.stem()), error)?;
    }
    Ok(())
}
