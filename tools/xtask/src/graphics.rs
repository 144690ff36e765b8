//! A Vulkan adapter to test on: Mesa's software one, installed when this user may.
//! Invariant: says what it installs; where it may not, it says why and what to do, and nothing is changed.

use crate::install;
use std::path::Path;

/// System packages: the loader and the drivers.
const PACKAGES: [&str; 2] = ["libvulkan1", "mesa-vulkan-drivers"];

/// Where drivers say that they are there.
const MANIFESTS: [&str; 3] =
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

/// Makes sure that there is a Vulkan driver.
///
/// # Errors
/// Why there is none and what to do, in one line.
pub fn with_an_adapter() -> Result<(), String> {
    if has_driver() {
        return Ok(());
    }
    install(&PACKAGES, "the tick on a GPU (Mesa's software Vulkan)")?;
    if has_driver() {
        Ok(())
    } else {
        Err(format!("{} are installed, but bring no driver", PACKAGES.join(" ")))
    }
}

fn has_driver() -> bool {
    let has_entries =
        |folder: &Path| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    std::env::var_os("VK_DRIVER_FILES").is_some()
        || MANIFESTS.iter().any(|folder| has_entries(Path::new(folder)))
}
