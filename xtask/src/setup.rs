//! `cargo xtask setup`: what must be on the machine, checked one by one, installed only where missing, announced before.

use crate::root;
use crate::run::{cargo, find, read, run_quietly};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How much is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Build, run, test.
    Everything,
    /// And what benchmarks compare with.
    Benchmarks,
}

/// Debian packages of the suite itself, each with a file that shows that it is there.
const PACKAGES: &[(&str, &str)] = &[
    ("gcc", "/usr/bin/gcc"),
    ("libc6-dev", "/usr/include/stdio.h"),
    ("make", "/usr/bin/make"),
    ("protobuf-compiler", "/usr/bin/protoc"),
    ("libprotobuf-dev", "/usr/include/google/protobuf/empty.proto"),
    ("containerd", "/usr/bin/containerd"),
    ("runc", "/usr/sbin/runc"),
    ("busybox-static", "/bin/busybox"),
    ("etcd-server", "/usr/bin/etcd"),
    ("etcd-client", "/usr/bin/etcdctl"),
    ("iproute2", "/bin/ip"),
    ("bpftool", "/usr/sbin/bpftool"),
];

/// What compiles BPF programs where rustup's nightly cannot: Debian's compiler with a prebuilt `core` for BPF, and LLVM for the linker.
const BPF_PACKAGES: &[(&str, &str)] = &[
    ("rustc-web", "/usr/bin/rustc"),
    ("cargo-web", "/usr/bin/cargo"),
    ("libstd-rust-web-dev-bpf", "/usr/share/doc/libstd-rust-web-dev-bpf"),
    ("llvm-22-dev", "/usr/lib/llvm-22/bin/llvm-config"),
    ("clang-22", "/usr/lib/llvm-22/bin/clang"),
    ("libclang-22-dev", "/usr/share/doc/libclang-22-dev"),
    ("libpolly-22-dev", "/usr/share/doc/libpolly-22-dev"),
    ("libzstd-dev", "/usr/include/zstd.h"),
    ("zlib1g-dev", "/usr/include/zlib.h"),
];

const BENCH_PACKAGES: &[(&str, &str)] = &[("nftables", "/usr/sbin/nft"), ("iptables", "/usr/sbin/iptables")];

/// Installs what is missing.
pub fn setup(purpose: Purpose) -> Result<()> {
    let mut wanted: Vec<(&str, &str)> = PACKAGES.to_vec();
    if !rustup_can_build_bpf() {
        wanted.extend(BPF_PACKAGES);
    }
    if purpose == Purpose::Benchmarks {
        wanted.extend(BENCH_PACKAGES);
    }
    let missing: Vec<&str> = wanted.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    if find("bpf-linker").is_none() && !cargo_bin("bpf-linker").exists() {
        println!("setup: building bpf-linker 0.13 (cargo install, about a minute)");
        let mut command = cargo();
        command.args(["install", "bpf-linker", "--version", "0.13.0", "--no-default-features", "--features", "llvm-22", "--target-dir"]);
        command.arg(root()?.join("target/bpf-linker")).env("LLVM_PREFIX", "/usr/lib/llvm-22").current_dir("/");
        run_quietly(&mut command).context("cannot build bpf-linker")?;
        let _ = fs::remove_dir_all(root()?.join("target/bpf-linker"));
    }
    if find("kubectl").is_none() {
        from_newer_debian("kubectl", "kubectl", "main")?;
    }
    for program in ["netperf", "netserver"] {
        if purpose == Purpose::Benchmarks && find(program).is_none() {
            from_component("netperf", program, "non-free")?;
        }
    }
    Ok(())
}

/// Tools that `setup` unpacked by itself; to be put at the end of PATH.
pub fn tools_dir() -> Result<PathBuf> {
    Ok(root()?.join("target/tools/bin"))
}

fn install(packages: &[&str]) -> Result<()> {
    if find("apt-get").is_none() {
        bail!("these Debian packages, or your system's equivalents, must be installed: {}", packages.join(" "));
    }
    println!("setup: installing Debian packages: {}", packages.join(" "));
    run_quietly(Command::new("apt-get").arg("update")).context("cannot update the package lists")?;
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // No daemon is started by a package: the local cluster starts its own.
    command.env("RUNLEVEL", "1");
    run_quietly(&mut command).context("cannot install packages")
}

/// Debian 13's build of a program that Debian 12 does not have: unpacked beside the tree, the system left alone.
fn from_newer_debian(package: &str, program: &str, component: &str) -> Result<()> {
    unpack(package, program, "trixie", component)
}

/// A package of this Debian's, from a component that is not switched on.
fn from_component(package: &str, program: &str, component: &str) -> Result<()> {
    unpack(package, program, "bookworm", component)
}

fn unpack(package: &str, program: &str, suite: &str, component: &str) -> Result<()> {
    let target = tools_dir()?.join(program);
    if target.exists() {
        return Ok(());
    }
    println!("setup: unpacking {program} from Debian's package {package} ({suite}/{component})");
    let work = root()?.join("target/tools/apt");
    for directory in ["lists/partial", "cache/archives/partial", "unpacked"] {
        fs::create_dir_all(work.join(directory)).context("cannot make a folder for packages")?;
    }
    let sources = work.join(format!("{suite}-{component}.list"));
    fs::write(&sources, format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {} {suite} {component}\n", mirror()))?;
    let apt = || {
        let mut command = Command::new("apt-get");
        for (option, value) in [
            ("Dir::Etc::sourcelist", sources.clone()),
            ("Dir::Etc::sourceparts", PathBuf::from("/dev/null")),
            ("Dir::State::lists", work.join("lists")),
            ("Dir::Cache", work.join("cache")),
        ] {
            command.arg("-o").arg(format!("{option}={}", value.display()));
        }
        // Run as root throughout: the folder may be closed to apt's own user.
        command.args(["-o", "APT::Sandbox::User=root"]).current_dir(&work);
        command
    };
    run_quietly(apt().arg("update")).with_context(|| format!("cannot read the package list of {suite}"))?;
    // With its suite: a version that is installed from elsewhere, and newer, would win otherwise.
    run_quietly(apt().arg("download").arg(format!("{package}/{suite}"))).with_context(|| format!("cannot download {package}"))?;
    let archive = fs::read_dir(&work)?.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(&format!("{package}_")) && name.ends_with(".deb")
    });
    let archive = archive.with_context(|| format!("apt-get download left no {package}_*.deb"))?;
    let unpacked = work.join("unpacked").join(package);
    run_quietly(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&unpacked))?;
    let found =
        ["usr/bin", "usr/sbin", "bin"].map(|directory| unpacked.join(directory).join(program)).into_iter().find(|path| path.exists());
    let found = found.with_context(|| format!("the package {package} holds no {program}"))?;
    fs::create_dir_all(tools_dir()?)?;
    fs::copy(&found, &target).with_context(|| format!("cannot put {program} into place"))?;
    Ok(())
}

/// The mirror that the system itself uses.
fn mirror() -> String {
    let files = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let texts = files.chain([PathBuf::from("/etc/apt/sources.list")]).filter_map(|path| fs::read_to_string(path).ok());
    for text in texts {
        for word in text.split_whitespace() {
            if word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian") {
                return word.to_owned();
            }
        }
    }
    "http://deb.debian.org/debian".to_owned()
}

/// Nightly with its own sources can build `core` for BPF by itself.
fn rustup_can_build_bpf() -> bool {
    let Ok(root) = read(Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]).stderr(std::process::Stdio::null()))
    else {
        return false;
    };
    Path::new(root.trim()).join("lib/rustlib/src/rust/library/core").exists()
}

fn cargo_bin(name: &str) -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    home.unwrap_or_default().join("bin").join(name)
}
