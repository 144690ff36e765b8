//! Builds the part of libsodium that CURVE and the key store call: X25519, XSalsa20, Poly1305, SHA-256, random bytes.
//!
//! Invariant: the sources are those of the locked `libsodium-sys-stable`, unchanged. Its own build script configures and
//! compiles all of libsodium (with tools to download and verify newer ones), a sixth of a cold build of Nikola; so
//! `.cargo/config.toml` stands in for that script on the targets named there, and this module does its work.

use std::io::Read;
use std::path::{Path, PathBuf};

/// Folders under `src/libsodium` whose C files are compiled. Assembler and what is chosen for wider vectors only by a
/// configured build are left out; salsa20 and poly1305 keep their SSE2 and AVX2 versions, chosen at run time.
const FOLDERS: [&str; 27] = [
    "crypto_box",
    "crypto_box/curve25519xsalsa20poly1305",
    "crypto_core/ed25519/ref10",
    "crypto_core/hsalsa20",
    "crypto_core/hsalsa20/ref2",
    "crypto_core/salsa/ref",
    "crypto_hash/sha256",
    "crypto_hash/sha256/cp",
    "crypto_hash/sha512",
    "crypto_hash/sha512/cp",
    "crypto_onetimeauth",
    "crypto_onetimeauth/poly1305",
    "crypto_onetimeauth/poly1305/donna",
    "crypto_onetimeauth/poly1305/sse2",
    "crypto_scalarmult",
    "crypto_scalarmult/curve25519",
    "crypto_scalarmult/curve25519/ref10",
    "crypto_secretbox",
    "crypto_secretbox/xsalsa20poly1305",
    "crypto_stream/salsa20",
    "crypto_stream/salsa20/ref",
    "crypto_stream/salsa20/xmm6int",
    "crypto_stream/xsalsa20",
    "crypto_verify",
    "randombytes",
    "randombytes/sysrandom",
    "sodium",
];

/// Files of those folders that belong to primitives which are not built.
const LEFT_OUT: [&str; 2] = ["crypto_box_seal.c", "codecs.c"];

/// What libsodium's configure script finds on x86-64 Linux with GCC or Clang and any C library of the last ten years.
const DEFINED: [&str; 34] = [
    "CONFIGURED",
    "SODIUM_STATIC",
    "NATIVE_LITTLE_ENDIAN",
    "HAVE_PTHREAD",
    "HAVE_C_VARARRAYS",
    "HAVE_CATCHABLE_SEGV",
    "HAVE_CATCHABLE_ABRT",
    "HAVE_MMINTRIN_H",
    "HAVE_EMMINTRIN_H",
    "HAVE_PMMINTRIN_H",
    "HAVE_TMMINTRIN_H",
    "HAVE_SMMINTRIN_H",
    "HAVE_AVXINTRIN_H",
    "HAVE_AVX2INTRIN_H",
    "HAVE_INLINE_ASM",
    "HAVE_TI_MODE",
    "HAVE_CPUID",
    "HAVE_XGETBV_ASM",
    "HAVE_WEAK_SYMBOLS",
    "HAVE_ATOMIC_OPS",
    "HAVE_C11_MEMORY_FENCES",
    "HAVE_GCC_MEMORY_FENCES",
    "HAVE_SYS_MMAN_H",
    "HAVE_SYS_PARAM_H",
    "HAVE_SYS_RANDOM_H",
    "HAVE_MMAP",
    "HAVE_MLOCK",
    "HAVE_MADVISE",
    "HAVE_MPROTECT",
    "HAVE_SYSCONF",
    "HAVE_GETRANDOM",
    "HAVE_GETPID",
    "HAVE_POSIX_MEMALIGN",
    "HAVE_EXPLICIT_BZERO",
];

/// `sodium_init` chooses implementations of these too; they are not built and nothing calls them.
const ABSENT: [&str; 5] =
    ["pwhash_argon2", "generichash_blake2b", "stream_chacha20", "aead_aegis128l", "aead_aegis256"];

/// Unpacks and compiles libsodium in `out`; returns the objects and the folder of the headers.
pub fn build(out: &Path) -> (Vec<PathBuf>, PathBuf) {
    let archive = super::unpacked_crate("libsodium-sys-stable").map(|folder| folder.join("LATEST.tar.gz"));
    let archive = archive.filter(|archive| archive.is_file()).unwrap_or_else(|| {
        panic!(
            "the sources of libsodium are not where Cargo unpacks crates (CARGO_HOME/registry/src).\n\
             Remove the table [target.….sodium] from .cargo/config.toml: libsodium is then built by the script of \
             libsodium-sys-stable, which needs make and a minute more."
        )
    });
    let source = unpack(&archive, out);
    let mut build = cc::Build::new();
    for define in DEFINED {
        build.define(define, "1");
    }
    build.define("TLS", "_Thread_local").define("_GNU_SOURCE", "1").define("ASM_HIDE_SYMBOL", ".hidden");
    for flag in ["-pthread", "-fvisibility=hidden", "-fno-strict-aliasing", "-fno-strict-overflow"] {
        build.flag(flag);
    }
    build.include(source.join("include/sodium")).include(source.join("include"));
    for folder in FOLDERS {
        build.files(sources(&source.join(folder)));
    }
    let absent = out.join("sodium_absent.c");
    let stand_ins =
        ABSENT.map(|name| format!("int _crypto_{name}_pick_best_implementation(void) {{ return 0; }}\n"));
    std::fs::write(&absent, stand_ins.concat()).expect("OUT_DIR is writable");
    build.file(absent).cargo_metadata(false).warnings(false).flag("-w");
    (build.compile_intermediates(), source.join("include"))
}

/// The C files directly in a folder, sorted.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let is_wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(".c") && !LEFT_OUT.contains(&name.as_str())
    };
    let entries = std::fs::read_dir(folder).expect("the archive has the folder");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_wanted).collect();
    files.sort();
    files
}

/// Unpacks `src/libsodium` of the archive and the header that a configured build would have written.
fn unpack(archive: &Path, out: &Path) -> PathBuf {
    let packed = std::fs::read(archive).expect("readable");
    let bytes =
        miniz_oxide::inflate::decompress_to_vec(&packed[gzip_head(&packed)..]).expect("a whole archive");
    let mut tar = tar::Archive::new(bytes.as_slice());
    let target = out.join("libsodium");
    for entry in tar.entries().expect("an archive") {
        let mut entry = entry.expect("a whole archive");
        let path = entry.path().expect("a name").into_owned();
        let inside: PathBuf = path.components().skip(1).collect();
        let place = match inside.strip_prefix("src/libsodium") {
            Ok(place) => place.to_path_buf(),
            Err(_) if inside == Path::new("builds/msvc/version.h") => "include/sodium/version.h".into(),
            Err(_) => continue,
        };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("a whole archive");
        let place = target.join(place);
        std::fs::create_dir_all(place.parent().expect("inside OUT_DIR")).expect("OUT_DIR is writable");
        std::fs::write(place, bytes).expect("OUT_DIR is writable");
    }
    target
}

/// Length of the header of a gzip file (RFC 1952): ten bytes, then a name where flag 8 is set.
fn gzip_head(packed: &[u8]) -> usize {
    assert!(packed.starts_with(&[0x1F, 0x8B, 8]) && packed[3] & !8 == 0, "a gzip file with at most a name");
    let name =
        if packed[3] & 8 == 0 { 0 } else { packed[10..].iter().take_while(|byte| **byte != 0).count() + 1 };
    10 + name
}
