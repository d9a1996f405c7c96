//! `orknet down`: removes everything a cluster ever made, whatever state `up` was killed in. Each step finds its work by the
//! cluster's names, so that it can be run again and again.

use super::cgroups::Hierarchies;
use super::layout::Cluster;
use super::namespaces::{mounts_below, netns_path, unpin};
use super::progress::Progress;
use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long processes may take to be gone after they were killed.
const DEADLINE: Duration = Duration::from_secs(20);

/// Removes the cluster. Nothing there is no error. Blocking.
pub fn down(cluster: &Cluster) -> Result<()> {
    let mut progress = Progress::new(4);
    progress.step("stopping pods, agents, kubelets, containerd and the server");
    Hierarchies::find()?.destroy(&cluster.cgroup(), DEADLINE)?;
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
        // The directory of all clusters, when this was the last.
        if let Some(parent) = directory.parent() {
            let _ = fs::remove_dir(parent);
        }
    }
    progress.finish();
    Ok(())
}

/// Pins of network and mount namespaces.
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
        rest.is_some_and(|rest| rest == "server" || rest.strip_prefix("node").is_some_and(|number| number.parse::<u8>().is_ok()))
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
