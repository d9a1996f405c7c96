//! What the host has: CPUs, memory, disk, identity. Read from /proc, /sys and /etc.

use std::path::Path;

use k8s_openapi::api::core::v1::NodeSystemInfo;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use nix::sys::statvfs::statvfs;

use crate::config::Config;
use crate::error::Error;
use crate::quantity;

/// The version of Kubernetes whose kubelet this one behaves like.
pub const KUBELET_VERSION: &str = "v1.33.0";

/// Amounts and identity of the host.
#[derive(Clone, Debug)]
pub struct Machine {
    /// CPUs in thousandths.
    pub cpu_milli: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Size of the file system of the root directory, in bytes.
    pub storage_bytes: i64,
    /// Identity, without the container runtime's version.
    pub info: NodeSystemInfo,
}

impl Machine {
    /// Reads the host; amounts in the configuration win.
    ///
    /// # Errors
    /// An amount in the configuration is malformed, or memory cannot be read.
    pub fn read(config: &Config) -> Result<Self, Error> {
        let set = |text: &Option<String>, of: fn(&Quantity) -> Option<i64>| -> Result<Option<i64>, Error> {
            let Some(text) = text else { return Ok(None) };
            of(&Quantity(text.clone())).map(Some).ok_or_else(|| Error::Invalid(format!("capacity \"{text}\" is not a quantity")))
        };
        let cpus = std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1));
        let meminfo = Path::new("/proc/meminfo");
        let text = std::fs::read_to_string(meminfo).map_err(Error::file("read", meminfo))?;
        Ok(Self {
            cpu_milli: set(&config.cpu_capacity, quantity::milli)?.unwrap_or(cpus * 1000),
            memory_bytes: set(&config.memory_capacity, quantity::value)?.unwrap_or_else(|| field(&text, "MemTotal").unwrap_or(0)),
            storage_bytes: disk(&config.root_dir).map_or(0, |d| d.size),
            info: info(),
        })
    }
}

/// Size and free space of a file system, in bytes and inodes.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// Size in bytes.
    pub size: i64,
    /// Bytes that unprivileged users can still take.
    pub available: i64,
    /// All inodes; 0 where the file system does not count them.
    pub inodes: i64,
    /// Free inodes.
    pub inodes_free: i64,
}

/// The file system of a path, or of the nearest parent that exists.
pub fn disk(path: &Path) -> Option<Disk> {
    let found = path.ancestors().find(|p| p.exists())?;
    let stats = statvfs(found).ok()?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stats.fragment_size())).unwrap_or(i64::MAX);
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Some(Disk {
        size: bytes(stats.blocks()),
        available: bytes(stats.blocks_available()),
        inodes: count(stats.files()),
        inodes_free: count(stats.files_free()),
    })
}

/// Memory that can still be taken, and all memory, in bytes.
pub fn memory() -> Option<(i64, i64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some((field(&text, "MemAvailable")?, field(&text, "MemTotal")?))
}

/// Memory in use, page cache and all, in bytes.
pub fn memory_used() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    u64::try_from(field(&text, "MemTotal")? - field(&text, "MemFree")?).ok()
}

/// When the machine was started, in seconds since 1970.
pub fn boot_time() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Process ids that can still be taken, and all.
pub fn process_ids() -> Option<(i64, i64)> {
    let all: i64 = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()?;
    // The fourth field is "running/all".
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let taken: i64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some((all - taken, all))
}

/// A field of /proc/meminfo, in bytes.
fn field(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn info() -> NodeSystemInfo {
    let read = |path: &str| std::fs::read_to_string(path).map(|t| t.trim().to_owned()).unwrap_or_default();
    let machine_id = read("/etc/machine-id");
    let uuid = read("/sys/class/dmi/id/product_uuid");
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: String::new(),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kube_proxy_version: String::new(),
        kubelet_version: KUBELET_VERSION.to_owned(),
        system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
        machine_id,
        operating_system: "linux".to_owned(),
        os_image: os_image(&read("/etc/os-release")),
        swap: None,
    }
}

/// The architecture as Go and Kubernetes name it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn os_image(release: &str) -> String {
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |n| n.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_meminfo_are_bytes() {
        let text = "MemTotal:       1000 kB\nMemFree: 5 kB\nMemAvailable:    7 kB\n";
        assert_eq!((field(text, "MemTotal"), field(text, "MemAvailable"), field(text, "Mem")), (Some(1_024_000), Some(7168), None));
    }

    #[test]
    fn the_systems_name_is_unquoted() {
        assert_eq!(os_image("ID=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
        assert_eq!(os_image(""), "Linux");
    }

    #[test]
    fn configured_amounts_win() {
        let config = Config { cpu_capacity: Some("1500m".into()), memory_capacity: Some("1Gi".into()), ..Config::default() };
        let machine = Machine::read(&config).unwrap();
        assert_eq!((machine.cpu_milli, machine.memory_bytes), (1500, 1 << 30));
        assert!(Machine::read(&Config { cpu_capacity: Some("x".into()), ..Config::default() }).is_err());
    }
}
