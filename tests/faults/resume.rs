//! Does `up` again bring a cluster to what it should be: one half made, one that is whole, one after a crash of the machine?

use crate::stages::{KilledUp, Stage};
use anyhow::{Result, ensure};
use orknet_tests::{Cluster, eventually, faults, traces};

faults![
    root_up_finishes_what_an_up_killed_at_the_server_began,
    root_up_finishes_what_an_up_killed_at_the_import_of_images_began,
    root_up_finishes_what_an_up_killed_at_the_first_pod_began,
    root_up_of_a_whole_cluster_changes_nothing,
    root_two_ups_at_once_are_refused_in_a_line,
    root_up_after_a_crash_of_the_machine_brings_objects_and_pods_back,
];

fn root_up_finishes_what_an_up_killed_at_the_server_began() -> Result<()> {
    is_finished("rs", Stage::Server)
}

fn root_up_finishes_what_an_up_killed_at_the_import_of_images_began() -> Result<()> {
    is_finished("ri", Stage::Import)
}

fn root_up_finishes_what_an_up_killed_at_the_first_pod_began() -> Result<()> {
    is_finished("rp", Stage::FirstPod)
}

fn root_up_of_a_whole_cluster_changes_nothing() -> Result<()> {
    let cluster = Cluster::up("rw", &["--nodes", "1"])?;
    let state = || Ok::<_, anyhow::Error>((identities(&cluster)?, containers(&cluster)?, uids(&cluster)?));
    let before = state()?;
    cluster.up_again(&[])?;
    ensure!(state()? == before, "{:?}, before {before:?}", state()?);
    Ok(())
}

fn root_two_ups_at_once_are_refused_in_a_line() -> Result<()> {
    let cluster = Cluster::named("r2");
    let mut first = cluster.start_up(&["--nodes", "1", "--bare"])?;
    eventually("the first to begin", || {
        ensure!(cluster.state_dir().join("cluster.json").exists());
        Ok(())
    })?;
    let second = cluster.command(&["up", "--bare"]).output()?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(!second.status.success() && said.lines().count() == 1 && said.contains("at work on cluster"), "{said}");
    ensure!(first.wait()?.success(), "the first is not disturbed\n{}", cluster.logs());
    Ok(())
}

fn root_up_after_a_crash_of_the_machine_brings_objects_and_pods_back() -> Result<()> {
    let cluster = Cluster::up("rc", &["--nodes", "2"])?;
    let kubectl = cluster.kubectl();
    kubectl.run(&["create", "configmap", "kept", "--from-literal=key=value"])?;
    let (objects, before) = (uids(&cluster)?, containers(&cluster)?);
    cluster.crash()?;
    cluster.up_again(&[]).map_err(|error| cluster.explain(error))?;
    ensure!(kubectl.run(&["get", "configmap", "kept", "-o", "jsonpath={.data.key}"])? == "value");
    eventually("the pods to run again", || {
        kubectl.run(&["wait", "pod", "--all", "--for=condition=Ready", "--timeout=180s"])?;
        let now = containers(&cluster)?;
        ensure!(now.len() == before.len(), "{now:?}, before {before:?}");
        ensure!(now.iter().all(|container| !before.contains(container)), "containers of before the crash are not there any more: {now:?}");
        Ok(())
    })
    .map_err(|error| cluster.explain(error))?;
    ensure!(uids(&cluster)? == objects, "the same pods, not others in their place");
    cluster.down()?;
    traces::none(&cluster)
}

fn is_finished(tag: &str, stage: Stage) -> Result<()> {
    let killed = KilledUp::at(tag, stage)?;
    let cluster = &killed.cluster;
    // It ends only when the node is ready and the example answers.
    cluster.up_again(&["--nodes", "1"]).map_err(|error| cluster.explain(error))?;
    for daemon in ["containerd", "agent", "kubelet"] {
        let path = format!("{}/node1", cluster.state_dir().display());
        let line = traces::processes_with(&[daemon, &path]);
        ensure!(line.iter().filter(|line| !line.contains("shim")).count() == 1, "one {daemon}, not {line:?}");
    }
    ensure!(traces::processes_with(&["server", "--config", cluster.name()]).len() == 1, "one server");
    ensure!(containers(cluster)?.len() == 2, "the example's two pods");
    Ok(())
}

/// Process ids of all daemons.
fn identities(cluster: &Cluster) -> Result<Vec<i32>> {
    [("server", "server"), ("node1", "containerd"), ("node1", "agent"), ("node1", "kubelet")]
        .into_iter()
        .map(|(place, daemon)| cluster.process(place, daemon))
        .collect()
}

fn containers(cluster: &Cluster) -> Result<Vec<String>> {
    let path = "jsonpath={range .items[*]}{.status.containerStatuses[0].containerID}{\"\\n\"}{end}";
    Ok(cluster.kubectl().run(&["get", "pods", "-o", path])?.lines().map(str::to_owned).collect())
}

fn uids(cluster: &Cluster) -> Result<Vec<String>> {
    let path = "jsonpath={range .items[*]}{.metadata.uid}{\"\\n\"}{end}";
    Ok(cluster.kubectl().run(&["get", "pods,deployments,services,nodes", "-o", path])?.lines().map(str::to_owned).collect())
}
