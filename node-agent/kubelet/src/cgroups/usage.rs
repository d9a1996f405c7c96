//! What a cgroup's processes used: read from v1 controllers or the v2 tree. Blocking reads, each short.

use std::path::Path;

use super::tree::Cgroups;

/// Use of one cgroup and all below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since the cgroup was made, in nanoseconds.
    pub cpu_nanoseconds: u64,
    /// Memory with the page cache, in bytes.
    pub memory_bytes: u64,
    /// Memory without what can be dropped at once (inactive page cache), in bytes: what Kubernetes goes by.
    pub working_set_bytes: u64,
    /// Anonymous memory, in bytes.
    pub rss_bytes: u64,
}

impl Cgroups {
    /// Use of a pod, by its uid; none when it has no cgroup.
    pub fn pod_usage(&self, uid: &str) -> Option<Usage> {
        self.usage(&self.relative(uid))
    }

    /// Use of a pod's container, by the runtime's id.
    pub fn container_usage(&self, uid: &str, container: &str) -> Option<Usage> {
        self.usage(&self.relative(uid).join(container))
    }

    /// Use of the whole machine.
    pub fn machine_usage(&self) -> Option<Usage> {
        self.usage(Path::new(""))
    }

    fn usage(&self, relative: &Path) -> Option<Usage> {
        if self.is_unified() {
            let directory = self.root().join(relative);
            let memory = match number(&directory.join("memory.current")) {
                Some(bytes) => bytes,
                // The root of the v2 tree counts no memory.
                None if relative.as_os_str().is_empty() => crate::node::machine::memory_used()?,
                None => return None,
            };
            let cpu = value(&read(&directory.join("cpu.stat"))?, "usage_usec")?;
            let stat = read(&directory.join("memory.stat"))?;
            return Some(usage(cpu.saturating_mul(1000), memory, value(&stat, "inactive_file"), value(&stat, "anon")));
        }
        let memory = self.root().join("memory").join(relative);
        let cpu = number(&self.root().join("cpuacct").join(relative).join("cpuacct.usage"))?;
        let stat = read(&memory.join("memory.stat"))?;
        Some(usage(cpu, number(&memory.join("memory.usage_in_bytes"))?, value(&stat, "total_inactive_file"), value(&stat, "total_rss")))
    }
}

fn usage(cpu_nanoseconds: u64, memory_bytes: u64, inactive: Option<u64>, anonymous: Option<u64>) -> Usage {
    Usage {
        cpu_nanoseconds,
        memory_bytes,
        working_set_bytes: memory_bytes.saturating_sub(inactive.unwrap_or_default()),
        rss_bytes: anonymous.unwrap_or_default(),
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn number(path: &Path) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// The number of a line `name number`.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text = "inactive_file 4\ntotal_inactive_file 9\ninactive_file_more 1\n";
        assert_eq!((value(text, "inactive_file"), value(text, "total_inactive_file"), value(text, "rss")), (Some(4), Some(9), None));
    }

    #[test]
    fn v1_controllers_are_read() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("cpuacct/o/podu/c/cpuacct.usage", "1234567\n");
        write("memory/o/podu/c/memory.usage_in_bytes", "1000\n");
        write("memory/o/podu/c/memory.stat", "inactive_file 1\ntotal_rss 300\ntotal_inactive_file 400\n");
        let cgroups = Cgroups::detect(root.path(), "/o");
        let used = Usage { cpu_nanoseconds: 1_234_567, memory_bytes: 1000, working_set_bytes: 600, rss_bytes: 300 };
        assert_eq!(cgroups.container_usage("u", "c"), Some(used));
        assert_eq!(cgroups.pod_usage("u"), None);
    }

    #[test]
    fn the_machine_uses_something() {
        let used = Cgroups::detect(Path::new("/sys/fs/cgroup"), "/nothing").machine_usage();
        let Some(used) = used else { return };
        assert!(used.cpu_nanoseconds > 0 && used.working_set_bytes > 0 && used.working_set_bytes <= used.memory_bytes, "{used:?}");
    }
}
