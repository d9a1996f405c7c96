//! What does a cluster on etcd do while etcd is away for ten seconds?

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::traffic::readiness;
use orknet_tests::{Cluster, Kubectl, Output, eventually, faults};
use std::time::{Duration, Instant};

faults![
    root_etcd_paused_for_ten_seconds_loses_nothing_and_hangs_nobody,
    root_etcd_killed_and_started_again_after_ten_seconds_loses_nothing_and_hangs_nobody,
];

const UP: &[&str] = &["--nodes", "1", "--store", "etcd"];
const OUTAGE: Duration = Duration::from_secs(10);
/// kubectl gives up after two seconds each time; what takes longer than this is a hang.
const HANG: Duration = Duration::from_secs(30);

fn root_etcd_paused_for_ten_seconds_loses_nothing_and_hangs_nobody() -> Result<()> {
    let cluster = Cluster::up("ep", UP)?;
    let stop = || cluster.signal("server", "etcd", Signal::SIGSTOP);
    let go_on = || cluster.signal("server", "etcd", Signal::SIGCONT);
    outage(&cluster.kubectl(), stop, go_on).map_err(|error| cluster.explain(error))
}

fn root_etcd_killed_and_started_again_after_ten_seconds_loses_nothing_and_hangs_nobody() -> Result<()> {
    let cluster = Cluster::up("ek", UP)?;
    let stop = || cluster.signal("server", "etcd", Signal::SIGKILL);
    let start = || cluster.up_again(UP);
    outage(&cluster.kubectl(), stop, start).map_err(|error| cluster.explain(error))
}

fn create(kubectl: &Kubectl, name: &str, timeout: &str) -> Result<Output> {
    kubectl.output(&["create", "configmap", name, "--from-literal=key=value", &format!("--request-timeout={timeout}")], None)
}

fn outage(kubectl: &Kubectl, stop: impl FnOnce() -> Result<()>, end: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = create(kubectl, "before", "60s")?;
    ensure!(before.code == 0, "{before:?}");
    let mut acknowledged = vec!["before".to_owned()];
    stop()?;
    let began = Instant::now();
    for number in 0.. {
        let asked = Instant::now();
        let refused = create(kubectl, &format!("during{number}"), "2s")?;
        ensure!(refused.code != 0 && (1..=2).contains(&refused.stderr.lines().count()), "without a store: {refused:?}");
        // A read may be refused too, but it ends.
        kubectl.output(&["get", "pods", "--request-timeout=2s"], None)?;
        ensure!(asked.elapsed() < HANG, "kubectl hung for {:?}", asked.elapsed());
        if began.elapsed() >= OUTAGE {
            break;
        }
    }
    // One that has more patience than the outage lasts goes through or is told why not.
    let patient = kubectl.start(&["create", "configmap", "patient", "--from-literal=key=value", "--request-timeout=60s"])?;
    end()?;
    let patient = patient.wait_with_output()?;
    if patient.status.success() {
        acknowledged.push("patient".to_owned());
    } else {
        ensure!(!patient.stderr.is_empty(), "an error without a word");
    }
    eventually("writes to work again", || {
        let after = create(kubectl, "after", "60s")?;
        ensure!(after.code == 0 || after.stderr.contains("already exists"), "{after:?}");
        Ok(())
    })?;
    acknowledged.push("after".to_owned());
    for name in &acknowledged {
        let value =
            kubectl.run(&["get", "configmap", name, "-o", "jsonpath={.data.key}"]).with_context(|| format!("{name} was acknowledged"))?;
        ensure!(value == "value", "{name} holds {value:?}");
    }
    // The cluster works as before: controllers and nodes found back.
    kubectl.run(&["scale", "deployment", "hello", "--replicas=3"])?;
    kubectl.run(&["rollout", "status", "deployment", "hello", "--timeout=180s"])?;
    eventually("the node to be ready", || {
        let (status, why) = readiness(kubectl, "node1")?;
        ensure!(status == "True", "{why}");
        Ok(())
    })
}
