//! The machine code of the kernels: a vector operation is an instruction.
//!
//! Invariant: an operation that the compiler could not inline, because it stands in a closure or a function without the
//! vectors' features, is a call of a function that holds one instruction; the kernel is then ten times slower and every
//! result right. Such functions have names, and the binary must have none of them.

use super::command_line::binary;
use std::process::Command;

#[test]
#[cfg(target_arch = "x86_64")]
fn no_operation_of_a_kernel_is_a_call() {
    let Some(binary) = binary() else { return };
    let Ok(listed) = Command::new("nm").arg(&binary).output() else {
        println!("skipped: nm is not installed (binutils, which every C compiler brings)");
        return;
    };
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8_lossy(&listed.stdout);
    assert!(names.contains("nikola_kernels"), "the binary has its symbols");
    // `_mm256_add_ps` and its kin, of single and double precision.
    let is_operation = |name: &&str| {
        name.contains("core_arch")
            && (name.contains("_mm256_") || name.contains("_mm512_"))
            && ["_ps", "_pd"].iter().any(|kind| name.contains(kind))
    };
    let called: Vec<&str> = names.lines().filter(is_operation).collect();
    assert!(called.is_empty(), "called, not inlined:\n{}", called.join("\n"));
}
