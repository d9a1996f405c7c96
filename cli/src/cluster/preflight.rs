//! What a host must have for a local cluster, looked at before anything is made: each missing thing is a line that names it and
//! the remedy, and all of them are told at once.

use super::cgroups::{self, Hierarchies};
use super::network;
use super::process::find_program;
use super::record::{Record, StoreKind};
use anyhow::{Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use orknet_dataplane::{DeviceAttach, try_host};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Programs, with the Debian package that brings them.
const PROGRAMS: [(&str, &str); 5] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("runc", "runc"),
    ("busybox", "busybox-static"),
];
const ETCD: (&str, &str) = ("etcd", "etcd-server");

/// Kernel file systems, what needs them, and the kernel's option.
const FILE_SYSTEMS: [(&str, &str, &str); 2] =
    [("bpf", "pinned BPF maps and programs", "CONFIG_BPF_SYSCALL"), ("overlay", "containers' root file systems", "CONFIG_OVERLAY_FS")];

/// cgroup controllers that enforce what pods ask for, with the kernel's option.
const CONTROLLERS: [(&str, &str); 3] = [("cpu", "CONFIG_CGROUP_SCHED"), ("memory", "CONFIG_MEMCG"), ("pids", "CONFIG_CGROUP_PIDS")];

/// Fails with every missing thing. Makes nothing that stays. Blocking for tens of milliseconds.
pub fn preflight(record: &Record) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a local cluster makes network namespaces and loads BPF programs; remedy: run as root");
    }
    let missing = Host::look(record).missing();
    match missing.as_slice() {
        [] => Ok(()),
        [one] => bail!("{one}"),
        several => bail!("this host lacks {} things:\n{}", several.len(), several.join("\n")),
    }
}

/// What there is, as far as a cluster needs it.
#[derive(Clone, Debug)]
struct Host {
    /// Programs that were not found, with their packages.
    absent: Vec<(&'static str, &'static str)>,
    /// /proc/filesystems: one a line, `nodev` before those without a device.
    file_systems: String,
    /// The cgroup controllers, or why there is no cgroup2.
    controllers: Result<BTreeSet<String>, String>,
    ipv6: bool,
    /// /etc/hosts, which containerd copies for every pod.
    hosts_file: bool,
    /// Why devices could not be made.
    devices: Vec<String>,
    /// Why the data plane could not work.
    data_plane: Option<String>,
}

impl Host {
    fn look(record: &Record) -> Self {
        let programs = PROGRAMS.into_iter().chain((record.store == StoreKind::Etcd).then_some(ETCD));
        load_overlay();
        Self {
            absent: programs.filter(|(program, package)| find_program(program, package).is_err()).collect(),
            file_systems: fs::read_to_string("/proc/filesystems").unwrap_or_default(),
            controllers: Hierarchies::find().map(|_| cgroups::controllers()).map_err(|error| error.to_string()),
            ipv6: Path::new("/proc/net/if_inet6").exists(),
            hosts_file: Path::new("/etc/hosts").exists(),
            devices: network::try_devices(record.has_overlay()),
            data_plane: try_host(DeviceAttach::Auto).err().map(|error| error.to_string()),
        }
    }

    /// A line for each missing thing.
    fn missing(&self) -> Vec<String> {
        let mut lines = self.missing_packages();
        lines.extend(self.missing_file_systems());
        match &self.controllers {
            Ok(present) => lines.extend(missing_controllers(present)),
            Err(why) => lines.push(why.clone()),
        }
        if !self.ipv6 {
            lines.push(
                "the kernel has no IPv6, and every node and Service has an address of it; remedy: boot without ipv6.disable=1".into(),
            );
        }
        if !self.hosts_file {
            lines.push("there is no /etc/hosts, which containerd copies for pods; remedy: echo 127.0.0.1 localhost >/etc/hosts".into());
        }
        lines.extend(self.devices.iter().cloned());
        // Without its file system nothing of BPF works, which is said already.
        lines.extend(self.data_plane.clone().filter(|_| self.has_file_system("bpf")));
        lines
    }

    fn missing_packages(&self) -> Vec<String> {
        let packages: BTreeSet<&str> = self.absent.iter().map(|(_, package)| *package).collect();
        let line = |package: &str| {
            let programs: Vec<&str> = self.absent.iter().filter(|(_, of)| *of == package).map(|(program, _)| *program).collect();
            let are = if programs.len() == 1 { "is" } else { "are" };
            format!("{} {are} not installed; remedy: apt-get install {package}", programs.join(", "))
        };
        packages.into_iter().map(line).collect()
    }

    fn missing_file_systems(&self) -> Vec<String> {
        let line = |(name, purpose, option): (&str, &str, &str)| {
            format!("the kernel has no file system {name:?} for {purpose}; remedy: a kernel with {option}")
        };
        FILE_SYSTEMS.into_iter().filter(|(name, ..)| !self.has_file_system(name)).map(line).collect()
    }

    fn has_file_system(&self, name: &str) -> bool {
        self.file_systems.lines().any(|line| line.split_whitespace().next_back() == Some(name))
    }
}

fn missing_controllers(present: &BTreeSet<String>) -> Vec<String> {
    let line = |(name, option): (&str, &str)| {
        format!(
            "there is no cgroup controller {name:?}; remedy: mount it where it is not, or a kernel with {option} and without cgroup_disable={name}"
        )
    };
    CONTROLLERS.into_iter().filter(|(name, _)| !present.contains(*name)).map(line).collect()
}

/// Where overlayfs is a module, the kernel loads it at the first mount: an attempt that fails for want of directories, and would be
/// gone with its namespace if it did not.
fn load_overlay() {
    let attempt = std::thread::spawn(|| -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        mount(None::<&str>, "/", Some("overlay"), MsFlags::empty(), None::<&str>)
    });
    // Whatever came of it, /proc/filesystems tells.
    let _ = attempt.join();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Host {
        Host {
            absent: Vec::new(),
            file_systems: "nodev\tsysfs\nnodev\tbpf\nnodev\toverlay\n\text4\n".into(),
            controllers: Ok(["cpu", "memory", "pids", "io"].map(String::from).into()),
            ipv6: true,
            hosts_file: true,
            devices: Vec::new(),
            data_plane: None,
        }
    }

    #[test]
    fn a_host_that_has_everything_lacks_nothing() {
        assert_eq!(complete().missing(), Vec::<String>::new());
    }

    #[test]
    fn everything_missing_is_told_at_once_a_line_and_a_remedy_each() {
        let host = Host {
            absent: vec![("containerd", "containerd"), ("ctr", "containerd"), ("runc", "runc")],
            file_systems: "nodev\tbpf\n".into(),
            controllers: Ok(["cpu", "pids"].map(String::from).into()),
            ipv6: false,
            hosts_file: false,
            devices: vec!["the kernel makes no bridge; remedy: b".into()],
            data_plane: Some("the kernel lacks tc programs; remedy: c".into()),
        };
        let lines = host.missing();
        let about = ["containerd, ctr are not", "runc is not", "overlay", "memory", "IPv6", "/etc/hosts", "bridge", "tc programs"];
        assert_eq!(lines.len(), about.len(), "{lines:#?}");
        for (line, about) in lines.iter().zip(about) {
            assert!(line.contains(about) && line.contains("remedy: ") && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn what_follows_from_another_lack_is_not_told_beside_it() {
        let host = Host {
            file_systems: "nodev\toverlay\n".into(),
            controllers: Err("no cgroup2 hierarchy is mounted; remedy: mount".into()),
            data_plane: Some("no BPF at all".into()),
            ..complete()
        };
        let lines = host.missing();
        assert!(lines.len() == 2 && lines[0].contains("\"bpf\"") && lines[1].contains("cgroup2"), "{lines:#?}");
    }
}
