//! What a host must have for a local cluster: each missing thing is a line that names it and the remedy.

use super::cgroups::Hierarchies;
use super::process::find_program;
use super::record::StoreKind;
use anyhow::{Result, bail};
use std::fs;

/// Kernel file systems, what needs them, and the kernel's option.
const FILE_SYSTEMS: [(&str, &str, &str); 2] =
    [("bpf", "pinned BPF maps and programs", "CONFIG_BPF_SYSCALL"), ("overlay", "containers' root file systems", "CONFIG_OVERLAY_FS")];

/// Fails with every missing thing. Makes nothing.
pub fn preflight(store: StoreKind) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a local cluster makes network namespaces and loads BPF programs; remedy: run as root");
    }
    let mut programs = vec![("containerd", "containerd"), ("ctr", "containerd"), ("runc", "runc"), ("busybox", "busybox-static")];
    if store == StoreKind::Etcd {
        programs.push(("etcd", "etcd-server"));
    }
    let mut missing: Vec<String> = programs
        .into_iter()
        .filter_map(|(program, package)| find_program(program, package).err())
        .chain(Hierarchies::find().err())
        .map(|error| error.to_string())
        .collect();
    missing.extend(missing_file_systems(&fs::read_to_string("/proc/filesystems").unwrap_or_default()));
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    Ok(())
}

/// `known` is /proc/filesystems: one a line, `nodev` before those without a device.
fn missing_file_systems(known: &str) -> Vec<String> {
    let has = |name: &str| known.lines().any(|line| line.split_whitespace().next_back() == Some(name));
    let line = |(name, purpose, option): (&str, &str, &str)| {
        format!(
            "the kernel has no file system {name:?} for {purpose}; remedy: a kernel with {option}, or modprobe {name} where it is a module"
        )
    };
    FILE_SYSTEMS.into_iter().filter(|(name, ..)| !has(name)).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_file_system_is_a_line_with_a_remedy() {
        assert_eq!(missing_file_systems("nodev\tsysfs\nnodev\tbpf\nnodev\toverlay\n"), Vec::<String>::new());
        let lines = missing_file_systems("nodev\tbpf\n\text4\n");
        assert!(lines.len() == 1 && lines[0].contains("overlay") && lines[0].contains("remedy"), "{lines:?}");
    }
}
