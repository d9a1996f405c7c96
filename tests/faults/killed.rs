//! Does traffic notice when a part of a node or the server is killed and started again?

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::traffic::{Traffic, readiness};
use orknet_tests::{Cluster, eventually, faults};
use serde_json::Value;

faults![
    root_an_agent_killed_under_traffic_is_not_noticed,
    root_a_kubelet_killed_under_traffic_is_not_noticed,
    root_a_containerd_killed_under_traffic_is_not_noticed_but_by_the_node,
    root_a_server_killed_under_traffic_is_not_noticed_and_loses_nothing,
];

/// Answers to wait for: more than a second's.
const SOME: usize = 60;

fn root_an_agent_killed_under_traffic_is_not_noticed() -> Result<()> {
    let (cluster, traffic) = start("ka")?;
    let kubectl = cluster.kubectl();
    for node in ["node1", "node2"] {
        cluster.signal(node, "agent", Signal::SIGKILL)?;
    }
    traffic.flows(SOME)?;
    // What is in the maps is shown from the maps.
    let front = traffic.address().parse::<std::net::SocketAddr>()?.ip().to_string();
    for node in ["node1", "node2"] {
        let services = cluster.orknet(&["services", "--node", node])?;
        ensure!(services.lines().any(|line| line.split_whitespace().next() == Some(&front)), "{front} is not in\n{services}");
        for subject in ["backends", "endpoints", "maps"] {
            ensure!(cluster.orknet(&[subject, "--node", node])?.lines().count() > 1, "{subject} of {node} are not shown");
        }
    }
    // The plugin cannot reach the agent, and the pod's events say so.
    kubectl.run(&["run", "waits", "--image", orknet_tests::talk::TOOLS, "--", "sleep", "600"])?;
    eventually("the pod's events to name the agent", || {
        let events = kubectl.run(&["get", "events", "--field-selector=involvedObject.name=waits,reason=FailedCreatePodSandBox"])?;
        ensure!(events.contains("agent"), "{events}");
        Ok(())
    })?;
    restart(&cluster, &traffic)?;
    kubectl.run(&["wait", "pod/waits", "--for=condition=Ready", "--timeout=180s"]).map_err(|error| cluster.explain(error))?;
    Ok(())
}

fn root_a_kubelet_killed_under_traffic_is_not_noticed() -> Result<()> {
    let (cluster, traffic) = start("kk")?;
    for node in ["node1", "node2"] {
        cluster.signal(node, "kubelet", Signal::SIGKILL)?;
    }
    traffic.flows(SOME)?;
    restart(&cluster, &traffic)
}

fn root_a_containerd_killed_under_traffic_is_not_noticed_but_by_the_node() -> Result<()> {
    let (cluster, traffic) = start("kc")?;
    let kubectl = cluster.kubectl();
    for node in ["node1", "node2"] {
        cluster.signal(node, "containerd", Signal::SIGKILL)?;
    }
    // What pods write waits for containerd, so that the traffic is looked at afterwards.
    eventually("the node to say what it lacks", || {
        let (status, why) = readiness(&kubectl, "node1")?;
        ensure!(status == "False" && why.contains("KubeletNotReady") && why.contains("container runtime is down"), "{status} {why}");
        Ok(())
    })?;
    restart(&cluster, &traffic)
}

fn root_a_server_killed_under_traffic_is_not_noticed_and_loses_nothing() -> Result<()> {
    let (cluster, traffic) = start("kv")?;
    let kubectl = cluster.kubectl();
    kubectl.run(&["create", "configmap", "kept", "--from-literal=key=value"])?;
    let before = objects(&cluster)?;
    cluster.signal("server", "server", Signal::SIGKILL)?;
    traffic.flows(SOME)?;
    let error = kubectl.fails(&["get", "pods"], None)?;
    ensure!(error.contains("refused"), "{error}");
    restart(&cluster, &traffic)?;
    let after = objects(&cluster)?;
    for object in &before {
        ensure!(after.contains(object), "{object} is lost; there is {after:?}");
    }
    Ok(())
}

fn start(tag: &str) -> Result<(Cluster, Traffic)> {
    let cluster = Cluster::up(tag, &["--nodes", "2", "--bare"])?;
    let traffic = Traffic::start(&cluster, env!("CARGO_BIN_EXE_nettool")).map_err(|error| cluster.explain(error))?;
    Ok((cluster, traffic))
}

/// `up` starts what was killed: traffic goes on, no container was touched, and new pods join.
fn restart(cluster: &Cluster, traffic: &Traffic) -> Result<()> {
    let checked = || -> Result<()> {
        cluster.up_again(&["--bare"])?;
        traffic.flows(SOME)?;
        traffic.new_pods_join()?;
        traffic.no_container_was_touched()?;
        traffic.flows(SOME)
    };
    checked().map_err(|error| cluster.explain(error))
}

/// Every lasting object, by kind, name and uid.
fn objects(cluster: &Cluster) -> Result<Vec<String>> {
    let kinds = "namespaces,nodes,pods,services,endpointslices,configmaps,serviceaccounts,leases,roles,rolebindings,clusterroles,clusterrolebindings";
    let list = cluster.kubectl().json(&["get", kinds, "--all-namespaces"])?;
    let name = |object: &Value| format!("{} {} {}", object["kind"], object["metadata"]["name"], object["metadata"]["uid"]);
    Ok(list["items"].as_array().context("there is no list")?.iter().map(name).collect())
}
