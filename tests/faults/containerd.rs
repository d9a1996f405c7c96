//! What does a node do whose containerd is paused, or stopped and started again?

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::traffic::{Traffic, readiness};
use orknet_tests::{Cluster, eventually, faults};

faults![root_a_paused_containerd_makes_its_node_not_ready_until_it_goes_on, root_a_stopped_containerd_is_started_again_without_harm];

fn root_a_paused_containerd_makes_its_node_not_ready_until_it_goes_on() -> Result<()> {
    let cluster = Cluster::up("cp", &["--nodes", "1"])?;
    let kubectl = cluster.kubectl();
    cluster.signal("node1", "containerd", Signal::SIGSTOP)?;
    let not_ready = becomes(&cluster, "False", "container runtime is down");
    // Asked for while the node cannot: done when it can.
    let scaled = kubectl.run(&["scale", "deployment", "hello", "--replicas=3"]);
    cluster.signal("node1", "containerd", Signal::SIGCONT)?;
    not_ready.and(scaled.map(drop))?;
    becomes(&cluster, "True", "KubeletReady")?;
    kubectl.run(&["rollout", "status", "deployment", "hello", "--timeout=180s"]).map_err(|error| cluster.explain(error))?;
    Ok(())
}

fn root_a_stopped_containerd_is_started_again_without_harm() -> Result<()> {
    let cluster = Cluster::up("cs", &["--nodes", "2", "--bare"])?;
    let traffic = Traffic::start(&cluster, env!("CARGO_BIN_EXE_nettool")).map_err(|error| cluster.explain(error))?;
    cluster.signal("node1", "containerd", Signal::SIGTERM)?;
    becomes(&cluster, "False", "container runtime is down")?;
    cluster.up_again(&["--bare"])?;
    becomes(&cluster, "True", "KubeletReady")?;
    traffic.new_pods_join().map_err(|error| cluster.explain(error))?;
    traffic.no_container_was_touched()?;
    traffic.flows(10)
}

fn becomes(cluster: &Cluster, status: &str, why: &str) -> Result<()> {
    eventually("node1 to say how it is", || {
        let (now, said) = readiness(&cluster.kubectl(), "node1")?;
        ensure!(now == status && said.contains(why), "Ready is {now}: {said}");
        Ok(())
    })
}
