//! `orknet enter`: become another program inside a place of a local cluster: its namespaces and its cgroup.

use crate::cluster::cgroups::Hierarchies;
use crate::cluster::identity;
use crate::cluster::layout::{Cluster, DEFAULT_NAME};
use crate::cluster::namespaces::{enter, netns_path};
use anyhow::{Context, Result, bail};
use nix::sched::CloneFlags;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Runs a command inside a node of a local cluster (its network, mounts and cgroup); a shell by default.
#[derive(clap::Args)]
pub struct Enter {
    /// `server` or `node1`, `node2`, …
    #[arg(required_unless_present = "netns")]
    place: Option<String>,
    /// The cluster's name.
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
    /// A network namespace by name, instead of a place.
    #[arg(long, hide = true)]
    netns: Option<String>,
    /// A cgroup in the cgroup2 hierarchy.
    #[arg(long, hide = true, requires = "netns")]
    cgroup: Option<String>,
    /// The pin of a mount namespace.
    #[arg(long, hide = true, requires = "netns")]
    mounts: Option<PathBuf>,
    /// A file that the command holds locked as long as it lives.
    #[arg(long, hide = true, requires = "netns")]
    hold: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(last = true)]
    command: Vec<String>,
}

/// Returns only when it fails. Must run while the process has one thread.
pub fn run(options: Enter) -> Result<()> {
    let (netns, cgroup, mounts) = match (&options.place, options.netns) {
        (Some(place), _) => {
            let cluster = Cluster::new(&options.name)?;
            let numbered = |kind| place.strip_prefix(kind).and_then(|number| number.parse::<u8>().ok());
            let place = match (place.as_str(), numbered("server"), numbered("node")) {
                ("server", ..) => cluster.server(),
                (_, Some(number @ 2..=5), _) => cluster.servers(number).remove(usize::from(number) - 1),
                (_, _, Some(number)) => cluster.node(number),
                _ => bail!("{place:?} is not a place of a cluster; places are server, node1, node2, … (and server2, server3, …)"),
            };
            if !netns_path(&place.netns()).exists() {
                bail!("cluster {:?} has no {}; `orknet status` shows what is there", options.name, place.name);
            }
            (place.netns(), Some(place.daemon_cgroup()), Some(place.mount_ns_path()))
        }
        (None, Some(netns)) => (netns, options.cgroup, options.mounts),
        (None, None) => bail!("say where to: server, node1, node2, …"),
    };
    if let Some(cgroup) = cgroup {
        // Joined first and never made here: after `down` there is nothing to join, and nothing is started.
        let procs = Hierarchies::find()?.unified(&cgroup).join("cgroup.procs");
        std::fs::write(&procs, "0").with_context(|| format!("cannot join {}", procs.display()))?;
    }
    if let Some(path) = options.hold {
        identity::take(&path)?;
    }
    enter(&netns_path(&netns), CloneFlags::CLONE_NEWNET)?;
    if let Some(mounts) = mounts {
        let directory = std::env::current_dir();
        enter(&mounts, CloneFlags::CLONE_NEWNS)?;
        if let Ok(directory) = directory {
            let _ = std::env::set_current_dir(directory);
        }
    }
    let (program, arguments) = match options.command.split_first() {
        Some((program, arguments)) => (program.clone(), arguments.to_vec()),
        None => (std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned()), Vec::new()),
    };
    let error = Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {program}"))
}
