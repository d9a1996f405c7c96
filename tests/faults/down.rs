//! Does `down` leave nothing, whatever `up` had come to when it was killed?

use crate::stages::{KilledUp, Stage};
use anyhow::{Result, ensure};
use orknet_tests::traces::{self, BpfObjects};
use orknet_tests::{Cluster, faults};

faults![
    root_down_leaves_nothing_of_a_whole_cluster,
    root_down_leaves_nothing_of_an_up_killed_at_its_record,
    root_down_leaves_nothing_of_an_up_killed_at_the_server,
    root_down_leaves_nothing_of_an_up_killed_at_containerd,
    root_down_leaves_nothing_of_an_up_killed_at_the_import_of_images,
    root_down_leaves_nothing_of_an_up_killed_at_the_kubelet,
    root_down_leaves_nothing_of_an_up_killed_at_the_first_pod,
    root_down_finds_nothing_to_do_where_nothing_is,
    root_down_works_without_the_run_directory,
];

fn root_down_leaves_nothing_of_a_whole_cluster() -> Result<()> {
    let before = traces::links();
    let cluster = Cluster::up("dw", &["--nodes", "2"])?;
    ensure!(traces::of(&cluster).len() > 10, "a cluster that runs leaves traces: {:?}", traces::of(&cluster));
    let objects = BpfObjects::pinned(&cluster)?;
    ensure!(objects.count() > 20, "two nodes have maps and programs: {objects:?}");
    cluster.down()?;
    traces::none(&cluster)?;
    objects.gone()?;
    let new: Vec<_> = traces::links().difference(&before).cloned().collect();
    ensure!(new.is_empty(), "links that were not there before: {new:?}");
    Ok(())
}

fn root_down_leaves_nothing_of_an_up_killed_at_its_record() -> Result<()> {
    leaves_nothing("da", Stage::Record)
}

fn root_down_leaves_nothing_of_an_up_killed_at_the_server() -> Result<()> {
    leaves_nothing("ds", Stage::Server)
}

fn root_down_leaves_nothing_of_an_up_killed_at_containerd() -> Result<()> {
    leaves_nothing("dc", Stage::Containerd)
}

fn root_down_leaves_nothing_of_an_up_killed_at_the_import_of_images() -> Result<()> {
    leaves_nothing("di", Stage::Import)
}

fn root_down_leaves_nothing_of_an_up_killed_at_the_kubelet() -> Result<()> {
    leaves_nothing("dk", Stage::Kubelet)
}

fn root_down_leaves_nothing_of_an_up_killed_at_the_first_pod() -> Result<()> {
    leaves_nothing("dp", Stage::FirstPod)
}

fn root_down_finds_nothing_to_do_where_nothing_is() -> Result<()> {
    let cluster = Cluster::named("dn");
    cluster.down()?;
    traces::none(&cluster)
}

fn root_down_works_without_the_run_directory() -> Result<()> {
    let cluster = Cluster::up("dr", &["--nodes", "1", "--bare"])?;
    let objects = BpfObjects::pinned(&cluster)?;
    // As a careless clean-up would: what is mounted below is let go of first.
    for mount in orknet_tests::traces::mounts_below(&cluster.run_dir()).into_iter().rev() {
        nix::mount::umount2(&mount, nix::mount::MntFlags::MNT_DETACH)?;
    }
    std::fs::remove_dir_all(cluster.run_dir())?;
    let error = cluster.up_again(&["--bare"]).err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(error.contains("remedy: orknet down"), "processes that nobody knows are not started twice: {error}");
    cluster.down()?;
    traces::none(&cluster)?;
    objects.gone()
}

/// Straight after the kill: what was only just begun must not come up later.
fn leaves_nothing(tag: &str, stage: Stage) -> Result<()> {
    let killed = KilledUp::at(tag, stage)?;
    let objects = BpfObjects::pinned(&killed.cluster)?;
    killed.cluster.down()?;
    traces::none(&killed.cluster)?;
    objects.gone()
}
