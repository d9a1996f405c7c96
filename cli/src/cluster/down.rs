//! `orknet down`: removes everything a cluster ever made, whatever state `up` was killed in. Each step finds its work by the
//! cluster's names, so that it can be run again and again.

use super::cgroups::Hierarchies;
use super::layout::{CGROUP, Cluster, RUN_DIR, SHIMS_DIR, STATE_DIR};
use super::lock::Lock;
use super::namespaces::{NETNS_DIR, is_mount, mounts_below, netns_path, unpin};
use super::progress::Progress;
use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long processes may take to be gone after they were killed.
const DEADLINE: Duration = Duration::from_secs(20);
/// An `up` that was killed is gone in moments; one that is at work is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Directories of ours that the clusters' are in, and cgroups: `orknet/clusters`, `orknet`.
const OURS: usize = 2;

/// Removes the cluster. Nothing there is no error. Blocking.
pub fn down(cluster: &Cluster) -> Result<()> {
    let _lock = Lock::cluster(cluster.name(), PATIENCE)?;
    let mut progress = Progress::new(4);
    progress.step("stopping pods, agents, kubelets, containerd and the server");
    let hierarchies = Hierarchies::find()?;
    hierarchies.destroy(&cluster.cgroup(), DEADLINE)?;
    progress.step("removing namespaces");
    for pin in pins(cluster)? {
        unpin(&pin)?;
    }
    progress.step("removing mounts");
    for directory in [cluster.run_dir(), cluster.state_dir()] {
        for point in mounts_below(&directory).into_iter().rev() {
            umount2(&point, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {}", point.display()))?;
        }
    }
    progress.step("removing files");
    for directory in [cluster.run_dir(), cluster.state_dir()] {
        remove(&directory)?;
    }
    leave_host(&hierarchies)?;
    progress.finish();
    Ok(())
}

/// Removes what all clusters share, when this was the last. Whatever others put there stays.
fn leave_host(hierarchies: &Hierarchies) -> Result<()> {
    let _lock = Lock::host()?;
    for directory in [RUN_DIR, STATE_DIR].iter().flat_map(|directory| Path::new(directory).ancestors().take(OURS)) {
        let _ = fs::remove_dir(directory);
    }
    if Path::new(RUN_DIR).exists() {
        return Ok(());
    }
    for group in Path::new(CGROUP).ancestors().take(OURS) {
        hierarchies.remove_if_empty(group);
    }
    let netns = Path::new(NETNS_DIR);
    if fs::read_dir(netns).is_ok_and(|mut entries| entries.next().is_none()) {
        // Refused by the kernel when a namespace came in the meantime.
        if is_mount(netns) {
            let _ = umount2(netns, MntFlags::empty());
        }
        let _ = fs::remove_dir(netns);
    }
    let _ = fs::remove_dir(SHIMS_DIR);
    Ok(())
}

/// Pins of network namespaces.
fn pins(cluster: &Cluster) -> Result<Vec<PathBuf>> {
    let prefix = format!("orknet-{}-", cluster.name());
    let directory = netns_path("");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", directory.display())),
    };
    let named = entries.flatten().filter(|entry| {
        // Another cluster's name may begin with ours and a dash.
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        rest.is_some_and(|rest| {
            let is_numbered = |kind| rest.strip_prefix(kind).is_some_and(|number| number.parse::<u8>().is_ok());
            rest == "server" || is_numbered("server") || is_numbered("node")
        })
    });
    Ok(named.map(|entry| entry.path()).collect())
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
