//! What of a cluster is on this host: in the kernel, among the processes, among the files. Nothing may be left after `down`.

use crate::Cluster;
use crate::cluster::run;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Everything that names the cluster: a line each. Its name is part of no other.
pub fn of(cluster: &Cluster) -> Vec<String> {
    let name = cluster.name();
    let mut found = BTreeSet::new();
    for path in [cluster.run_dir(), cluster.state_dir()].into_iter().filter(|path| path.symlink_metadata().is_ok()) {
        found.insert(format!("files: {}", path.display()));
    }
    for hierarchy in entries("/sys/fs/cgroup") {
        // Pure cgroup2 hosts have the hierarchy itself there.
        for group in [hierarchy.join("orknet/clusters").join(name), Path::new("/sys/fs/cgroup/orknet/clusters").join(name)] {
            if group.exists() {
                found.insert(format!("cgroup: {}", group.display()));
            }
        }
    }
    for pin in entries("/run/netns").into_iter().filter(|pin| names(&pin.to_string_lossy(), name)) {
        found.insert(format!("network namespace: {}", pin.display()));
    }
    for line in lines("/proc/net/unix").iter().filter(|line| names(line, name)) {
        found.insert(format!("socket: {line}"));
    }
    let mut seen = BTreeSet::new();
    for process in processes() {
        if let Some(why) = belongs(&process, name) {
            found.insert(format!("process: {} {} ({why})", process.display(), text(&process.join("comm")).trim()));
        }
        // Namespaces of others may hold copies of this cluster's mounts.
        let namespace = fs::read_link(process.join("ns/mnt")).unwrap_or_default();
        if seen.insert(namespace.clone()) {
            for line in lines(process.join("mountinfo")).iter().filter(|line| names(line, name)) {
                found.insert(format!("mount in {} (of {}): {line}", namespace.display(), process.display()));
            }
        }
    }
    found.into_iter().collect()
}

/// Whether there is a process with all these words in its command line.
pub fn process_with(words: &[&str]) -> bool {
    !processes_with(words).is_empty()
}

/// The command lines of processes that have all these words in them.
pub fn processes_with(words: &[&str]) -> Vec<String> {
    let lines = processes().into_iter().map(|process| text(&process.join("cmdline")));
    lines.filter(|line| words.iter().all(|word| line.contains(word))).collect()
}

/// Kills the processes of a container with SIGKILL, by the cgroup that bears its id: how many there were.
pub fn kill_container(id: &str) -> Result<usize> {
    let own: Vec<PathBuf> = processes().into_iter().filter(|process| text(&process.join("cgroup")).contains(id)).collect();
    for process in &own {
        let number = process.file_name().and_then(|name| name.to_str()?.parse().ok()).context("a process has a number")?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(number), nix::sys::signal::Signal::SIGKILL).context("cannot kill")?;
    }
    Ok(own.len())
}

/// Mount points below a directory, in the order they were mounted.
pub fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let points = lines("/proc/self/mountinfo").into_iter().filter_map(|line| line.split(' ').nth(4).map(PathBuf::from));
    points.filter(|point| point.starts_with(directory)).collect()
}

/// Checks that nothing of the cluster is there, and that nothing comes: a process that was only begun would show within moments.
pub fn none(cluster: &Cluster) -> Result<()> {
    crate::eventually("all traces of the cluster to be gone", || {
        let left = of(cluster);
        ensure!(left.is_empty(), "still there:\n{}", left.join("\n"));
        Ok(())
    })?;
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        let left = of(cluster);
        ensure!(left.is_empty(), "came back:\n{}", left.join("\n"));
    }
    Ok(())
}

/// Kernel objects by kind and id.
#[derive(Debug, Default)]
pub struct BpfObjects(BTreeSet<(&'static str, u64)>);

impl BpfObjects {
    /// Those that the cluster has pinned now, with the programs of pinned links.
    pub fn pinned(cluster: &Cluster) -> Result<Self> {
        let mut objects = BTreeSet::new();
        for pin in files_below(&cluster.run_dir().join("bpf")) {
            let pin = pin.to_string_lossy().into_owned();
            if let Ok(map) = bpftool(&["map", "show", "pinned", &pin]) {
                objects.insert(("map", map["id"].as_u64().context("a map has an id")?));
            } else if let Ok(link) = bpftool(&["link", "show", "pinned", &pin]) {
                objects.insert(("link", link["id"].as_u64().context("a link has an id")?));
                objects.insert(("prog", link["prog_id"].as_u64().context("a link has a program")?));
            }
        }
        Ok(Self(objects))
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Waits until the kernel has none of them: it frees them a little later.
    pub fn gone(&self) -> Result<()> {
        crate::eventually("the kernel to free BPF objects", || {
            let left: Vec<_> = self.0.iter().filter(|(kind, id)| bpftool(&[kind, "show", "id", &id.to_string()]).is_ok()).collect();
            ensure!(left.is_empty(), "still there: {left:?}");
            Ok(())
        })
    }
}

/// Names of the links in this network namespace.
pub fn links() -> BTreeSet<PathBuf> {
    entries("/sys/class/net").into_iter().collect()
}

fn bpftool(arguments: &[&str]) -> Result<Value> {
    let output = run(Command::new("bpftool").arg("--json").args(arguments))?;
    let value: Value = serde_json::from_str(&output).context("bpftool printed no JSON")?;
    ensure!(value.get("id").is_some(), "bpftool {arguments:?}: {value}");
    Ok(value)
}

/// Why a process belongs to the cluster, if it does.
fn belongs(process: &Path, name: &str) -> Option<String> {
    for file in ["cmdline", "environ", "cgroup"] {
        if names(&text(&process.join(file)), name) {
            return Some(file.to_owned());
        }
    }
    let links = ["cwd".into(), "exe".into(), "root".into()].into_iter().map(|file: PathBuf| process.join(file));
    let open = entries(process.join("fd"));
    links.chain(open).find_map(|link| {
        let target = fs::read_link(link).ok()?;
        names(&target.to_string_lossy(), name).then(|| target.display().to_string())
    })
}

/// Names of tests' clusters end with digits: one may begin with another's.
fn names(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| !text[at + name.len()..].starts_with(|next: char| next.is_ascii_alphanumeric()))
}

fn processes() -> Vec<PathBuf> {
    let own = std::process::id().to_string();
    let number =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit) && *name != *own);
    entries("/proc").into_iter().filter(number).collect()
}

fn entries(directory: impl AsRef<Path>) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let (directories, mut files): (Vec<PathBuf>, Vec<PathBuf>) = entries(directory).into_iter().partition(|path| path.is_dir());
    files.extend(directories.iter().flat_map(|directory| files_below(directory)));
    files
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\0', " ")
}

fn lines(path: impl AsRef<Path>) -> Vec<String> {
    text(path.as_ref()).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_name_is_another_cluster() {
        assert!(names("/run/orknet/clusters/ta12/bpf", "ta12") && names("orknet-ta12-node1", "ta12") && names("--name ta12", "ta12"));
        assert!(!names("/run/orknet/clusters/ta123/bpf", "ta12"));
    }
}
