//! The cluster's part of every cgroup hierarchy: made, emptied, removed. Everything a cluster runs is in it, so that what a
//! killed `up` left behind can be found.

use anyhow::{Context, Result, bail};
use orknet_kubelet::cgroups::remove_tree;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Mount points of the hierarchies: cgroup2 first.
pub struct Hierarchies {
    unified: PathBuf,
    controllers: Vec<PathBuf>,
}

impl Hierarchies {
    /// Reads them from the mount table.
    pub fn find() -> Result<Self> {
        let (mut unified, mut controllers) = (None, Vec::new());
        for mount in mounts(&mount_table()?) {
            match mount.kind {
                "cgroup2" => unified = unified.or(Some(PathBuf::from(mount.point))),
                _ => controllers.push(PathBuf::from(mount.point)),
            }
        }
        let unified = unified.context("no cgroup2 hierarchy is mounted; remedy: mount -t cgroup2 none /sys/fs/cgroup/unified")?;
        Ok(Self { unified, controllers })
    }

    /// The directory of `group` (with a leading slash) in cgroup2.
    pub fn unified(&self, group: &str) -> PathBuf {
        below(&self.unified, group)
    }

    /// Makes `group` in cgroup2. Blocking.
    pub fn create(&self, group: &str) -> Result<PathBuf> {
        let directory = self.unified(group);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make cgroup {}", directory.display()))?;
        Ok(directory)
    }

    /// Kills every process in `group` and removes it everywhere. Blocking, up to `deadline`.
    pub fn destroy(&self, group: &str, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        let trees: Vec<PathBuf> = std::iter::once(&self.unified).chain(&self.controllers).map(|root| below(root, group)).collect();
        loop {
            for tree in trees.iter().filter(|tree| tree.exists()) {
                kill_all(tree);
                // What still has processes stays for the next round.
                let _ = remove_tree(tree);
            }
            let left: Vec<&PathBuf> = trees.iter().filter(|tree| tree.exists()).collect();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                bail!(
                    "these cgroups still have processes after {deadline:?}: {left:?} ({:?})",
                    left.iter().flat_map(|tree| processes(tree)).collect::<Vec<_>>()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Removes `group` where it holds nothing; where it does, it stays.
    pub fn remove_if_empty(&self, group: &Path) {
        for root in std::iter::once(&self.unified).chain(&self.controllers) {
            let _ = fs::remove_dir(below(root, &group.to_string_lossy()));
        }
    }

    /// Processes in `group` and below, in any hierarchy.
    pub fn processes(&self, group: &str) -> Vec<i32> {
        let mut all: Vec<i32> =
            std::iter::once(&self.unified).chain(&self.controllers).flat_map(|root| processes(&below(root, group))).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The controllers of every mounted hierarchy.
pub fn controllers() -> BTreeSet<String> {
    available(&mount_table().unwrap_or_default(), |point| fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default())
}

/// Hierarchies of version 1 have their controllers among their options, that of version 2 in the file that `read` reads.
fn available(table: &str, read: impl Fn(&Path) -> String) -> BTreeSet<String> {
    let names = mounts(table).flat_map(|mount| match mount.kind {
        "cgroup2" => read(Path::new(mount.point)).split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
        _ => mount.options.split(',').map(str::to_owned).collect(),
    });
    names.collect()
}

/// A mounted hierarchy.
struct Mount<'a> {
    kind: &'a str,
    point: &'a str,
    options: &'a str,
}

/// The hierarchies in a mount table, proc_pid_mountinfo(5).
fn mounts(table: &str) -> impl Iterator<Item = Mount<'_>> {
    table.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        matches!(kind, "cgroup" | "cgroup2").then_some(Mount { kind, point: left.split(' ').nth(4)?, options })
    })
}

fn mount_table() -> Result<String> {
    fs::read_to_string("/proc/self/mountinfo").context("cannot read the mount table")
}

fn below(root: &Path, group: &str) -> PathBuf {
    root.join(group.trim_start_matches('/'))
}

/// Whole trees at once where the kernel can (cgroup.kill, Linux 5.14), else one by one; thaws what is frozen.
fn kill_all(tree: &Path) {
    if fs::write(tree.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for directory in directories(tree) {
        let _ = fs::write(directory.join("freezer.state"), "THAWED");
    }
    for process in processes(tree) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), nix::sys::signal::Signal::SIGKILL);
    }
}

fn processes(tree: &Path) -> Vec<i32> {
    let read = |directory: PathBuf| fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    directories(tree)
        .into_iter()
        .map(read)
        .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>())
        .collect()
}

/// `tree` and all directories below, parents first.
fn directories(tree: &Path) -> Vec<PathBuf> {
    let mut found = vec![tree.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        found.extend(entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_found_in_both_versions() {
        let table = "20 1 0:19 / / rw - ext4 /dev/vda rw\n\
                     30 1 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                     31 1 0:30 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        let found = available(table, |point| if point.ends_with("unified") { "memory pids\n".into() } else { String::new() });
        for controller in ["cpu", "cpuacct", "memory", "pids"] {
            assert!(found.contains(controller), "{controller} in {found:?}");
        }
        assert!(!found.contains("io"));
    }
}
