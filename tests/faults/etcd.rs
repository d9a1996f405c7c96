//! What does a cluster on etcd do while etcd stands still for ten seconds?

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::traffic::readiness;
use orknet_tests::{Cluster, eventually, faults};
use std::time::{Duration, Instant};

faults![root_etcd_paused_for_ten_seconds_loses_nothing_and_hangs_nobody];

const PAUSE: Duration = Duration::from_secs(10);

fn root_etcd_paused_for_ten_seconds_loses_nothing_and_hangs_nobody() -> Result<()> {
    let cluster = Cluster::up("ep", &["--nodes", "1", "--store", "etcd"])?;
    let kubectl = cluster.kubectl();
    let create = |name: &str, timeout: &str| {
        let timeout = format!("--request-timeout={timeout}");
        kubectl.output(&["create", "configmap", name, "--from-literal=key=value", &timeout], None)
    };
    let mut acknowledged = Vec::new();
    let mut note = |name: String, timeout: &str| -> Result<String> {
        let output = create(&name, timeout)?;
        if output.code == 0 {
            acknowledged.push(name);
        }
        Ok(output.stderr)
    };
    note("before".to_owned(), "5s")?;
    cluster.signal("server", "etcd", Signal::SIGSTOP)?;
    let paused = Instant::now();
    let mut said = Vec::new();
    for number in 0.. {
        let started = Instant::now();
        said.push(note(format!("during{number}"), "2s")?);
        ensure!(started.elapsed() < Duration::from_secs(8), "kubectl hung for {:?}", started.elapsed());
        if paused.elapsed() >= PAUSE {
            break;
        }
    }
    // What is in memory is still told: lists and watches need no store.
    let listed = kubectl.output(&["get", "pods", "--request-timeout=3s"], None);
    // One that has more patience than the pause goes through or is told why not.
    let patient = kubectl.start(&["create", "configmap", "patient", "--from-literal=key=value", "--request-timeout=40s"]);
    cluster.signal("server", "etcd", Signal::SIGCONT)?;
    let patient = patient?.wait_with_output()?;
    listed?;
    let patient_said = String::from_utf8_lossy(&patient.stderr).into_owned();
    ensure!(patient.status.success() || !patient_said.is_empty(), "an error without a word");
    ensure!(said.iter().filter(|text| !text.is_empty()).all(|text| text.lines().count() <= 2), "{said:?}");

    eventually("writes to work again", 15, || {
        note("after".to_owned(), "5s")?;
        kubectl.run(&["get", "configmap", "after"]).map(drop)
    })
    .with_context(|| cluster.logs())?;
    for name in &acknowledged {
        let value =
            kubectl.run(&["get", "configmap", name, "-o", "jsonpath={.data.key}"]).with_context(|| format!("{name} was acknowledged"))?;
        ensure!(value == "value", "{name} holds {value:?}");
    }
    // The cluster works as before: controllers and nodes found back.
    kubectl.run(&["scale", "deployment", "hello", "--replicas=3"])?;
    kubectl.run(&["rollout", "status", "deployment", "hello", "--timeout=30s"]).with_context(|| cluster.logs())?;
    eventually("the node to be ready", 20, || {
        let (status, why) = readiness(&kubectl, "node1")?;
        ensure!(status == "True", "{why}");
        Ok(())
    })
}
