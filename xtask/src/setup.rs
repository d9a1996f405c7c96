//! `cargo xtask setup`: what must be on the machine, checked one by one, installed only where missing, announced before.

use crate::root;
use crate::run::{cargo, find, read, run_quietly, run_step};
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
    ("ethtool", "/usr/sbin/ethtool"),
    ("bpftool", "/usr/sbin/bpftool"),
    ("nftables", "/usr/sbin/nft"),
    // For kube's own tests.
    ("libssl-dev", "/usr/include/openssl/ssl.h"),
    ("pkg-config", "/usr/bin/pkg-config"),
];

/// What compiles BPF programs where rustup's nightly cannot: Debian's compiler, which comes with a prebuilt `core` for BPF.
const BPF_COMPILER: &[(&str, &str)] =
    &[("rustc-web", "/usr/bin/rustc"), ("cargo-web", "/usr/bin/cargo"), ("libstd-rust-web-dev-bpf", "/usr/lib/rustlib/bpfel-unknown-none")];

/// What bpf-linker is built with.
const LLVM: &[(&str, &str)] = &[
    ("llvm-22-dev", "/usr/lib/llvm-22/bin/llvm-config"),
    ("clang-22", "/usr/lib/llvm-22/bin/clang"),
    ("libclang-22-dev", "/usr/lib/llvm-22/include/clang-c/Index.h"),
    ("libpolly-22-dev", "/usr/lib/llvm-22/lib/libPolly.a"),
    ("libzstd-dev", "/usr/include/zstd.h"),
    ("zlib1g-dev", "/usr/include/zlib.h"),
];

const BENCH_PACKAGES: &[(&str, &str)] = &[("iptables", "/usr/sbin/iptables")];

/// Installs what is missing.
pub fn setup(purpose: Purpose) -> Result<()> {
    let linker_missing = find("bpf-linker").is_none() && !cargo_bin("bpf-linker").exists();
    let missing = missing_packages(purpose, rustup_can_build_bpf(), !linker_missing, |file| Path::new(file).exists());
    finish_interrupted()?;
    if !missing.is_empty() {
        install(&missing)?;
    }
    if linker_missing {
        build_linker()?;
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

/// What tests need besides: an etcd 3.5, as Debian 13 has it, beside this Debian's own. The store is tested on both.
pub fn setup_tests() -> Result<()> {
    if find("etcd-3.5").is_some() {
        return Ok(());
    }
    unpack("etcd-server", "etcd", "etcd-3.5", "trixie", "main")
}

/// Tools that `setup` unpacked by itself; to be put at the end of PATH.
pub fn tools_dir() -> Result<PathBuf> {
    Ok(root()?.join("target/tools/bin"))
}

/// The packages to install, by what is `there` already.
fn missing_packages(purpose: Purpose, bpf_compiler: bool, linker: bool, there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut wanted: Vec<(&str, &str)> = PACKAGES.to_vec();
    if !bpf_compiler {
        wanted.extend(BPF_COMPILER);
    }
    if !linker {
        wanted.extend(LLVM);
    }
    if purpose == Purpose::Benchmarks {
        wanted.extend(BENCH_PACKAGES);
    }
    wanted.into_iter().filter(|(_, file)| !there(file)).map(|(package, _)| package).collect()
}

/// A set-up that was killed may have left packages unpacked but not configured; apt-get refuses to go on until they are.
fn finish_interrupted() -> Result<()> {
    let Some(dpkg) = find("dpkg") else { return Ok(()) };
    if read(Command::new(&dpkg).arg("--audit"))?.is_empty() {
        return Ok(());
    }
    println!("setup: an installation of Debian packages was interrupted");
    run_step("finishing it (dpkg --configure --pending)", non_interactive(Command::new(&dpkg).args(["--configure", "--pending"])))
}

/// Installs Debian packages.
pub fn install(packages: &[&str]) -> Result<()> {
    if find("apt-get").is_none() {
        bail!("these Debian packages, or your system's equivalents, must be installed: {}", packages.join(" "));
    }
    println!("setup: installing Debian packages: {}", packages.join(" "));
    run_step("package lists (apt-get update)", Command::new("apt-get").arg("update")).context("cannot update the package lists")?;
    let mut command = without_systemd("apt-get");
    // Nothing of the user's is taken away, and another apt-get is waited for.
    command.args(["install", "--yes", "--no-install-recommends", "--no-remove", "-o", "DPkg::Lock::Timeout=300"]).args(packages);
    run_step("packages (apt-get install)", non_interactive(&mut command)).context("cannot install packages")
}

/// A program that does not see systemd: packages then start no daemons, which the local cluster does itself. Hidden in a mount
/// namespace of the program's own, so that nothing is left however it ends.
fn without_systemd(program: &str) -> Command {
    if !Path::new("/run/systemd/system").exists() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount -t tmpfs none /run/systemd && exec \"$0\" \"$@\"", program]);
    command
}

fn non_interactive(command: &mut Command) -> &mut Command {
    command.env("DEBIAN_FRONTEND", "noninteractive")
}

fn build_linker() -> Result<()> {
    println!("setup: building bpf-linker 0.13 with cargo install, into cargo's own folder of programs");
    let mut command = cargo();
    command.args(["install", "bpf-linker", "--version", "0.13.0", "--no-default-features", "--features", "llvm-22", "--target-dir"]);
    command.arg(root()?.join("target/bpf-linker")).env("LLVM_PREFIX", "/usr/lib/llvm-22").current_dir("/");
    run_step("bpf-linker (about a minute)", &mut command).context("cannot build bpf-linker")?;
    let _ = fs::remove_dir_all(root()?.join("target/bpf-linker"));
    Ok(())
}

/// Debian 13's build of a program that Debian 12 does not have: unpacked beside the tree, the system left alone.
fn from_newer_debian(package: &str, program: &str, component: &str) -> Result<()> {
    unpack(package, program, program, "trixie", component)
}

/// A package of this Debian's, from a component that is not switched on.
fn from_component(package: &str, program: &str, component: &str) -> Result<()> {
    unpack(package, program, program, "bookworm", component)
}

/// `name`: what the program is called among the tools.
fn unpack(package: &str, program: &str, name: &str, suite: &str, component: &str) -> Result<()> {
    let target = tools_dir()?.join(name);
    if target.exists() {
        return Ok(());
    }
    println!("setup: unpacking {name} from Debian's package {package} ({suite}/{component})");
    let work = root()?.join("target/tools/apt");
    let unpacked = work.join("unpacked").join(package);
    unpack_from(package, suite, component, &unpacked)?;
    let found =
        ["usr/bin", "usr/sbin", "bin"].map(|directory| unpacked.join(directory).join(program)).into_iter().find(|path| path.exists());
    let found = found.with_context(|| format!("the package {package} holds no {program}"))?;
    fs::create_dir_all(tools_dir()?)?;
    // Whole or not at all: what is in its place counts as done.
    let fresh = work.join(name);
    fs::copy(&found, &fresh).and_then(|_| fs::rename(&fresh, &target)).with_context(|| format!("cannot put {name} into place"))
}

/// Unpacks a package of a Debian suite into `target`, the system left alone.
pub fn unpack_from(package: &str, suite: &str, component: &str, target: &Path) -> Result<()> {
    let work = root()?.join("target/tools/apt");
    for directory in ["lists/partial", "cache/archives/partial"] {
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
    run_step(&format!("package list of {suite}"), apt().arg("update"))
        .with_context(|| format!("cannot read the package list of {suite}"))?;
    // With its suite: a version that is installed from elsewhere, and newer, would win otherwise.
    run_step(&format!("download of {package}"), apt().arg("download").arg(format!("{package}/{suite}")))
        .with_context(|| format!("cannot download {package}"))?;
    let archive = fs::read_dir(&work)?.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(&format!("{package}_")) && name.ends_with(".deb")
    });
    let archive = archive.with_context(|| format!("apt-get download left no {package}_*.deb"))?;
    fs::create_dir_all(target).with_context(|| format!("cannot make {}", target.display()))?;
    run_quietly(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(target))
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
    // What it says of a nightly that is not there is no news: Debian's compiler is taken then.
    let answer = Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]).output();
    let Ok(answer) = answer else { return false };
    let root = String::from_utf8_lossy(&answer.stdout);
    answer.status.success() && Path::new(root.trim()).join("lib/rustlib/src/rust/library/core").exists()
}

fn cargo_bin(name: &str) -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    home.unwrap_or_default().join("bin").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_and_missing_is_installed() {
        let all = |purpose, compiler, linker| missing_packages(purpose, compiler, linker, |_| false);
        assert!(all(Purpose::Everything, false, false).contains(&"rustc-web"));
        let rustup_and_linker = all(Purpose::Everything, true, true);
        assert!(!rustup_and_linker.contains(&"rustc-web") && !rustup_and_linker.contains(&"llvm-22-dev"), "{rustup_and_linker:?}");
        assert!(all(Purpose::Everything, true, false).contains(&"llvm-22-dev"), "the linker is built with it");
        assert!(
            !all(Purpose::Everything, false, false).contains(&"iptables") && all(Purpose::Benchmarks, true, true).contains(&"iptables")
        );
        let without_runc = missing_packages(Purpose::Everything, false, false, |file| file != "/usr/sbin/runc");
        assert_eq!(without_runc, ["runc"]);
        assert!(missing_packages(Purpose::Benchmarks, false, false, |_| true).is_empty(), "nothing to do the second time");
    }
}
