//! Builds libzmq from bundled source against the bundled libsodium, so that CURVE needs no system package.
//! Invariants: never falls back to a libzmq without CURVE (a missing libsodium stops the build); on Linux all of libzmq
//! is one translation unit, because reading the C++ headers a hundred times takes four times as long as compiling it.
//! Where `.cargo/config.toml` stands in for the build script of libsodium, libsodium is built here too.

#![allow(unsafe_code)] // setting an environment variable for the C++ compiler

mod sodium;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Where the headers of libsodium are, and its code: objects of this build or a library of somebody else's.
struct Sodium {
    include: PathBuf,
    objects: Vec<PathBuf>,
    library: Option<String>,
}

/// Sources for platforms and transports that the build does not use, by a part of their names.
const LEFT_OUT: [&str; 5] = ["wss_", "vmci", "norm_engine", "pgm_", "tipc_"];

/// What `zeromq-src` defines on Linux, and what libzmq's own configuration finds there besides: threads wake each other
/// through an eventfd instead of a pair of sockets, and children inherit no descriptor.
const DEFINED: [&str; 17] = [
    "ZMQ_USE_CV_IMPL_STL11",
    "ZMQ_STATIC",
    "ZMQ_USE_BUILTIN_SHA1",
    "ZMQ_HAVE_WS",
    "ZMQ_USE_LIBSODIUM",
    "ZMQ_HAVE_CURVE",
    "ZMQ_HAVE_LINUX",
    "ZMQ_IOTHREAD_POLLER_USE_EPOLL",
    "ZMQ_POLL_BASED_ON_POLL",
    "ZMQ_HAVE_IPC",
    "HAVE_STRNLEN",
    "ZMQ_HAVE_UIO",
    "ZMQ_HAVE_STRUCT_SOCKADDR_UN",
    "ZMQ_HAVE_EVENTFD",
    "ZMQ_HAVE_EVENTFD_CLOEXEC",
    "ZMQ_HAVE_SOCK_CLOEXEC",
    "ZMQ_HAVE_O_CLOEXEC",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=sodium.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"));
    let vendor = unpacked_crate("zeromq-src").map(|folder| folder.join("vendor"));
    let vendor = vendor.filter(|vendor| vendor.join("src/zmq.cpp").is_file());
    if env::var("DEP_SODIUM_BUILT_BY").is_ok_and(|name| name == "zmq-sys") {
        let (objects, include) = sodium::build(&out);
        let vendor = vendor.expect("the sources of libzmq are where those of libsodium are");
        return build_at_once(&vendor, &out, Sodium { include, objects, library: None });
    }
    let of_sodium = |key: &str| {
        env::var(key)
            .unwrap_or_else(|_| panic!("{key} is not set: libsodium-sys-stable must build from its source"))
    };
    let (lib, include) = (of_sodium("DEP_SODIUM_LIB"), of_sodium("DEP_SODIUM_INCLUDE"));
    match vendor {
        Some(vendor) if env::var("TARGET").is_ok_and(|target| target.contains("linux")) => {
            let sodium = Sodium { include: include.into(), objects: Vec::new(), library: Some(lib) };
            build_at_once(&vendor, &out, sodium);
        }
        _ => build_file_by_file(lib, include),
    }
}

/// Where Cargo unpacked a crate of the registry, at the locked version. `None` where crates come from elsewhere (a
/// vendored tree).
fn unpacked_crate(name: &str) -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")))?;
    let lock = Path::new(&env::var_os("CARGO_MANIFEST_DIR")?).join("../../Cargo.lock");
    println!("cargo:rerun-if-changed={}", lock.display());
    let lock = fs::read_to_string(lock).ok()?;
    let version = lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1)?.split('"').next()?;
    let registries = fs::read_dir(home.join("registry/src")).ok()?.flatten();
    registries
        .map(|registry| registry.path().join(format!("{name}-{version}")))
        .find(|folder| folder.is_dir())
}

fn build_at_once(vendor: &Path, out: &Path, sodium: Sodium) {
    let mut names: Vec<String> = fs::read_dir(vendor.join("src"))
        .expect("the sources are there")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".cpp") && !LEFT_OUT.iter().any(|part| name.contains(part)))
        .collect();
    names.sort();
    let unit = out.join("libzmq.cpp");
    let includes: String = names.iter().map(|name| format!("#include \"{name}\"\n")).collect();
    fs::write(&unit, includes).expect("OUT_DIR is writable");
    // libzmq asks for a file of its configure script; every define is given on the command line instead.
    fs::write(out.join("platform.hpp"), "").expect("OUT_DIR is writable");
    let mut build = cc::Build::new();
    for define in DEFINED {
        build.define(define, "1");
    }
    if has_strlcpy(out) {
        build.define("ZMQ_HAVE_STRLCPY", "1");
    }
    for folder in
        [vendor.join("include"), vendor.join("src"), vendor.join("external/sha1"), out.to_path_buf()]
    {
        build.include(folder);
    }
    build.include(sodium.include).warnings(false).flag("-w");
    let mut sha1 = build.clone();
    sha1.file(vendor.join("external/sha1/sha1.c")).cargo_metadata(false);
    let mut objects = sha1.compile_intermediates();
    objects.extend(sodium.objects);
    build.cpp(true).std("c++11").file(unit).objects(objects).compile("zmq");
    if let Some(library) = sodium.library {
        println!("cargo:rustc-link-search=native={library}");
        println!("cargo:rustc-link-lib=static=sodium");
    }
    println!("cargo:include={}", vendor.join("include").display());
}

/// Whether the C library has `strlcpy` (glibc since 2.38, musl): libzmq must not bring its own then.
fn has_strlcpy(out: &Path) -> bool {
    let source = out.join("strlcpy.c");
    let text = "#include <string.h>\nint main(void) { char to[2]; return (int)strlcpy(to, \"\", 2); }\n";
    fs::write(&source, text).expect("OUT_DIR is writable");
    let mut compiler = cc::Build::new().warnings(false).get_compiler().to_command();
    compiler.args(["-Werror=implicit-function-declaration", "-o"]).arg(out.join("strlcpy")).arg(&source);
    compiler.output().is_ok_and(|ran| ran.status.success())
}

fn build_file_by_file(sodium_lib: String, sodium_include: String) {
    // Warnings of somebody else's sources are nobody's concern here.
    let flags = env::var("CXXFLAGS").unwrap_or_default();
    // SAFETY: this build script has one thread.
    unsafe { env::set_var("CXXFLAGS", format!("{flags} -w")) };
    let location = zeromq_src::LibLocation::new(sodium_lib, sodium_include);
    zeromq_src::Build::new().with_libsodium(Some(location)).build();
}
