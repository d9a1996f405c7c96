//! Does a cluster of three servers outlive each of them, for people and for nodes?

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::traffic::readiness;
use orknet_tests::{Cluster, eventually, faults};

faults![root_a_cluster_of_three_servers_outlives_each_of_them];

const UP: &[&str] = &["--nodes", "1", "--servers", "3", "--store", "etcd"];

fn root_a_cluster_of_three_servers_outlives_each_of_them() -> Result<()> {
    let cluster = Cluster::up("ts", UP)?;
    outlives(&cluster).map_err(|error| cluster.explain(error))?;
    cluster.down()?;
    let namespaces = std::fs::read_dir("/run/netns").map(|entries| entries.flatten().map(|entry| entry.file_name()).collect::<Vec<_>>());
    let left: Vec<_> = namespaces.unwrap_or_default().into_iter().filter(|name| name.to_string_lossy().contains(cluster.name())).collect();
    ensure!(left.is_empty() && !cluster.state_dir().exists(), "down left {left:?}");
    Ok(())
}

fn outlives(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    for (number, place) in ["server", "server3"].into_iter().enumerate() {
        for daemon in ["server", "etcd"] {
            cluster.signal(place, daemon, Signal::SIGKILL).with_context(|| format!("{daemon} of {place}"))?;
        }
        // Whoever had a connection to it comes anew and is led to another.
        eventually("people to be served", || kubectl.run(&["create", "configmap", &format!("without-{place}"), "--request-timeout=5s"]))?;
        let replicas = format!("--replicas={}", number + 3);
        eventually("people to be served", || kubectl.run(&["scale", "deployment", "hello", &replicas, "--request-timeout=5s"]))?;
        // The controllers lead elsewhere, and the node's programs speak to another server.
        eventually("the pods to be ready", || {
            let ready = kubectl.run(&["get", "deployment", "hello", "-o", "jsonpath={.status.readyReplicas}"])?;
            ensure!(ready == (number + 3).to_string(), "{ready:?} are ready");
            Ok(())
        })?;
        let (status, why) = readiness(&kubectl, "node1")?;
        ensure!(status == "True", "{why}");
        cluster.up_again(UP)?;
    }
    kubectl.run(&["get", "configmap", "without-server", "without-server3"]).map(drop)
}
