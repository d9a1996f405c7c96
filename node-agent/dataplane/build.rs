//! Builds ebpf/programs into `OUT_DIR/programs.o`, or leaves that file empty where no BPF toolchain is found: the crate then
//! compiles all the same, and loading answers an error that says what is missing.

use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "bpfel-unknown-none";
/// Debian's packages rustc-web, cargo-web and libstd-rust-web-dev-bpf, whose compiler has the target's `core`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

fn main() {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let manifest_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let ebpf = manifest_dir.join("../../ebpf");
    for path in ["programs/src", "programs/Cargo.toml", "programs/Cargo.lock", "programs/.cargo/config.toml", "abi/src", "abi/Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", ebpf.join(path).display());
    }
    let object = out_dir.join("programs.o");
    let missing = match find_toolchain() {
        Ok(toolchain) => {
            build(toolchain, &ebpf.join("programs"), &target_dir(&out_dir), &object);
            String::new()
        }
        Err(missing) => {
            fs::write(&object, []).expect("OUT_DIR is writable");
            println!("cargo::warning=built without the BPF programs: {missing} is missing; `cargo xtask setup` installs it");
            missing
        }
    };
    println!("cargo::rustc-env=ORKNET_BPF_MISSING={missing}");
}

/// A compiler that can build for the BPF target, and how to start it.
struct Toolchain {
    cargo: Command,
    linker: PathBuf,
}

fn find_toolchain() -> Result<Toolchain, String> {
    let linker = find_linker().ok_or_else(|| absent("bpf-linker", "/usr/local/bin/bpf-linker"))?;
    println!("cargo::rerun-if-changed={}", linker.display());
    let cargo =
        debian_cargo().or_else(rustup_cargo).ok_or_else(|| absent("a Rust compiler with the target bpfel-unknown-none", DEBIAN_CARGO))?;
    Ok(Toolchain { cargo, linker })
}

/// Names what is missing, and has cargo look again at every build: a path that does not exist counts as changed.
fn absent(what: &str, watched: &str) -> String {
    println!("cargo::rerun-if-changed={watched}");
    what.to_owned()
}

fn find_linker() -> Option<PathBuf> {
    let cargo_home =
        env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(cargo_home.map(|home| home.join("bin")));
    places.map(|place| place.join("bpf-linker")).find(|file| file.is_file())
}

fn debian_cargo() -> Option<Command> {
    let libdir = Command::new(DEBIAN_RUSTC).args(["--print", "target-libdir", "--target", TARGET]).output().ok()?;
    let libdir = PathBuf::from(String::from_utf8(libdir.stdout).ok()?.trim());
    if !libdir.is_dir() || !Path::new(DEBIAN_CARGO).is_file() {
        return None;
    }
    let mut cargo = Command::new(DEBIAN_CARGO);
    isolate(&mut cargo);
    // The distribution's compiler is a stable one; the programs need features that are not stable yet.
    cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").arg("build");
    Some(cargo)
}

fn rustup_cargo() -> Option<Command> {
    let sysroot =
        Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]).env_remove("RUSTUP_TOOLCHAIN").output().ok()?;
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).ok()?.trim());
    if !sysroot.is_absolute() || !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        return None;
    }
    let mut cargo = Command::new("rustup");
    isolate(&mut cargo);
    cargo.args(["run", "nightly", "cargo", "build", "-Z", "build-std=core"]);
    Some(cargo)
}

/// Takes away what the outer cargo tells its own build (flags, target, compiler, toolchain), and keeps how to reach the registry.
fn isolate(cargo: &mut Command) {
    const KEPT: [&str; 6] = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "RUSTUP_HOME"];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let of_cargo = text.starts_with("CARGO") || text.starts_with("RUST") || text.starts_with("DEP_");
        if of_cargo && !KEPT.iter().any(|kept| text.starts_with(kept)) {
            cargo.env_remove(&name);
        }
    }
}

fn build(mut toolchain: Toolchain, programs: &Path, target_dir: &Path, object: &Path) {
    let built = toolchain
        .cargo
        .args(["--locked", "--quiet", "--release", "--target", TARGET])
        .env("CARGO_TARGET_DIR", target_dir)
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker)
        .current_dir(programs)
        .output()
        .expect("the toolchain was just asked and answered");
    assert!(built.status.success(), "building the BPF programs failed:\n{}", String::from_utf8_lossy(&built.stderr));
    let artifact = target_dir.join(TARGET).join("release/orknet-programs");
    let linked = fs::read(&artifact).unwrap_or_else(|error| panic!("can't read {}: {error}", artifact.display()));
    let stripped = strip(&linked).unwrap_or_else(|error| panic!("can't strip {}: {error}", artifact.display()));
    fs::write(object, stripped).expect("OUT_DIR is writable");
}

/// Takes out what only debuggers read: five sixths of the file, which every agent would carry and the loader go through. What the
/// kernel reads (`.BTF`, `.BTF.ext`) is made of it by the linker, so it can't be left out before.
fn strip(object: &[u8]) -> Result<Vec<u8>, object::build::Error> {
    let mut builder = Builder::read(object)?;
    for section in builder.sections.iter_mut() {
        section.delete = [".debug_", ".rel.debug_"].into_iter().any(|kind| section.name.starts_with(kind.as_bytes()));
    }
    // The linker keeps the names of sections among those of symbols; the builder writes two tables.
    let names = builder.sections.add();
    (names.name, names.sh_type, names.data) = (b".shstrtab".as_slice().into(), SHT_STRTAB, SectionData::SectionString);
    builder.delete_orphans();
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// A folder beside the other build results, shared by all profiles: the folder above `OUT_DIR` that cargo marks as a cache.
fn target_dir(out_dir: &Path) -> PathBuf {
    let root = out_dir.ancestors().skip(1).find(|folder| folder.join("CACHEDIR.TAG").is_file());
    root.unwrap_or(out_dir).join("bpf")
}
