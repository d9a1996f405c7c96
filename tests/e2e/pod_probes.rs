//! Do probes and hooks do what they are there for: restart, take out of service, hold back?

use anyhow::{Result, ensure};
use orknet_tests::pods::{self, condition, container, shell, with};
use orknet_tests::{Cluster, Kubectl, eventually, talk, tests};
use serde_json::{Value, json};

tests![
    e2e_a_failing_liveness_probe_restarts_its_container,
    e2e_readiness_takes_a_pod_out_of_its_service_and_back,
    e2e_a_startup_probe_holds_the_others_back,
    e2e_readiness_gates_wait_for_their_conditions,
    e2e_a_failing_post_start_hook_restarts_its_container,
];

const WEB: &str = "mkdir /www; echo ok > /www/healthz; exec httpd -f -p 8080 -h /www";

fn e2e_a_failing_liveness_probe_restarts_its_container(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let probes = [
        ("exec", shell("main", "touch /healthz; exec sleep 3600"), json!({"exec": {"command": ["test", "-e", "/healthz"]}}), "rm /healthz"),
        ("http", shell("main", WEB), json!({"httpGet": {"path": "/healthz", "port": 8080}}), "rm /www/healthz"),
        ("tcp", shell("main", "httpd -p 8080; exec sleep 3600"), json!({"tcpSocket": {"port": 8080}}), "killall httpd"),
        (
            "grpc",
            with(talk_container(), json!({"command": ["healthd", "[::]:8080", "/unhealthy"]})),
            json!({"grpc": {"port": 8080}}),
            "touch /unhealthy",
        ),
    ];
    for (name, main, probe, _) in &probes {
        let probe = with(probe.clone(), json!({"periodSeconds": 1, "failureThreshold": 2, "terminationGracePeriodSeconds": 1}));
        pods::create(kubectl, name, json!({"containers": [with(main.clone(), json!({"livenessProbe": probe}))]}))?;
    }
    for (name, _, _, harm) in &probes {
        pods::ready(kubectl, name)?;
        let pod = kubectl.json(&["get", "pod", name])?;
        ensure!(container(&pod, "main")["restartCount"] == 0, "{name}: {}", pod["status"]);
        pods::sh_last(kubectl, name, harm)?;
    }
    for (name, ..) in &probes {
        pods::when(kubectl, name, "the restart", |pod| {
            container(pod, "main")["restartCount"] == 1 && container(pod, "main")["state"]["running"].is_object()
        })?;
        ensure!(pods::event(kubectl, name, "Unhealthy")?.starts_with("Liveness probe failed: "));
        ensure!(pods::event(kubectl, name, "Killing")? == "Container main failed liveness probe, will be restarted");
    }
    Ok(())
}

fn talk_container() -> Value {
    json!({"name": "main", "image": talk::TOOLS})
}

fn e2e_readiness_takes_a_pod_out_of_its_service_and_back(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let main = with(
        shell("main", "touch /ready; exec sleep 3600"),
        json!({"ports": [{"containerPort": 8080}], "readinessProbe": {"exec": {"command": ["test", "-e", "/ready"]}, "periodSeconds": 1, "failureThreshold": 1}}),
    );
    pods::start(kubectl, "door", json!({"containers": [main]}))?;
    kubectl.run(&["expose", "pod", "door", "--port=80", "--target-port=8080"])?;
    let is_ready = |ready: bool| {
        eventually("the endpoint to follow", || {
            let slices = kubectl.json(&["get", "endpointslices", "-l", "kubernetes.io/service-name=door"])?;
            let conditions = &slices["items"][0]["endpoints"][0]["conditions"];
            ensure!(conditions["ready"] == ready && conditions["serving"] == ready, "{slices}");
            Ok(())
        })
    };
    is_ready(true)?;
    pods::sh(kubectl, "door", "rm /ready")?;
    kubectl.run(&["wait", "pod/door", "--for=condition=Ready=False", "--timeout=180s"])?;
    is_ready(false)?;
    let pod = kubectl.json(&["get", "pod", "door"])?;
    ensure!(condition(&pod, "Ready")["reason"] == "ContainersNotReady" && container(&pod, "main")["started"] == true, "{}", pod["status"]);
    ensure!(pods::event(kubectl, "door", "Unhealthy")?.starts_with("Readiness probe failed"));
    pods::sh(kubectl, "door", "touch /ready")?;
    pods::ready(kubectl, "door")?;
    is_ready(true)?;
    ensure!(container(&kubectl.json(&["get", "pod", "door"])?, "main")["restartCount"] == 0);
    Ok(())
}

fn e2e_a_startup_probe_holds_the_others_back(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let test = |file: &str, limit: u32| json!({"exec": {"command": ["test", "-e", file]}, "periodSeconds": 1, "failureThreshold": limit});
    let main = with(
        shell("main", "exec sleep 3600"),
        json!({"startupProbe": test("/up", 60), "livenessProbe": test("/up", 1), "readinessProbe": test("/up", 1)}),
    );
    pods::create(kubectl, "slow", json!({"containers": [main]}))?;
    pods::event(kubectl, "slow", "Unhealthy")?;
    let pod = kubectl.json(&["get", "pod", "slow"])?;
    let status = container(&pod, "main");
    ensure!(status["started"] == false && status["ready"] == false && status["restartCount"] == 0, "{status}");
    pods::sh(kubectl, "slow", "touch /up")?;
    pods::ready(kubectl, "slow")?;
    let pod = kubectl.json(&["get", "pod", "slow"])?;
    ensure!(container(&pod, "main")["started"] == true && container(&pod, "main")["restartCount"] == 0, "{}", pod["status"]);
    ensure!(pods::event(kubectl, "slow", "Unhealthy")?.starts_with("Startup probe failed"));

    let never = with(shell("main", "exec sleep 3600"), json!({"startupProbe": test("/up", 2)}));
    pods::create(kubectl, "never-up", json!({"containers": [never]}))?;
    pods::when(kubectl, "never-up", "the restart", |pod| container(pod, "main")["restartCount"] == 1)?;
    ensure!(pods::event(kubectl, "never-up", "Killing")? == "Container main failed startup probe, will be restarted");
    Ok(())
}

fn e2e_readiness_gates_wait_for_their_conditions(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let spec = json!({"readinessGates": [{"conditionType": "example.com/open"}], "containers": [shell("main", "exec sleep 3600")]});
    pods::create(kubectl, "gated", spec)?;
    kubectl.run(&["wait", "pod/gated", "--for=condition=ContainersReady", "--timeout=180s"])?;
    let pod = kubectl.json(&["get", "pod", "gated"])?;
    ensure!(condition(&pod, "Ready")["reason"] == "ReadinessGatesNotReady", "{}", pod["status"]);
    ensure!(kubectl.run(&["get", "pod", "gated", "-o", "wide", "--no-headers"])?.trim_end().ends_with("0/1"));
    let patch = json!({"status": {"conditions": [{"type": "example.com/open", "status": "True"}]}}).to_string();
    kubectl.run(&["patch", "pod", "gated", "--subresource=status", "-p", &patch])?;
    pods::ready(kubectl, "gated")?;
    let pod = kubectl.json(&["get", "pod", "gated"])?;
    ensure!(condition(&pod, "example.com/open")["status"] == "True", "the kubelet keeps others' conditions: {}", pod["status"]);
    Ok(())
}

fn e2e_a_failing_post_start_hook_restarts_its_container(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let hook = json!({"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "echo no luck >&2; exit 4"]}}}});
    pods::create(kubectl, "hooked", json!({"containers": [with(shell("main", "exec sleep 3600"), hook)]}))?;
    let message = pods::event(kubectl, "hooked", "FailedPostStartHook")?;
    ensure!(message.contains("no luck") && message.contains('4'), "{message}");
    pods::when(kubectl, "hooked", "the restart", |pod| container(pod, "main")["restartCount"] == 1)?;
    Ok(())
}
