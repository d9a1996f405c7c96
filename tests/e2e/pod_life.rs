//! What happens to a pod from its creation to its end?

use anyhow::{Context, Result, ensure};
use orknet_tests::pods::{self, BUSYBOX, condition, container, shell, with};
use orknet_tests::{Cluster, Kubectl, eventually, talk, tests};
use serde_json::json;
use std::time::{Duration, Instant};

tests![
    e2e_a_pod_tells_its_life_in_phases_and_conditions,
    e2e_init_containers_run_one_after_the_other_and_stop_at_a_failure,
    e2e_a_sidecar_starts_first_and_does_not_keep_a_finished_pod,
    e2e_a_stopping_pod_gets_hook_then_signal_then_time,
    e2e_a_pod_that_ignores_the_signal_is_killed_when_its_time_is_over,
    e2e_a_forced_deletion_waits_for_nobody,
    e2e_a_new_image_restarts_only_its_container,
    e2e_an_ephemeral_container_joins_a_running_pod,
    e2e_a_pod_past_its_deadline_fails,
];

fn e2e_a_pod_tells_its_life_in_phases_and_conditions(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let watch = kubectl.start(&["get", "pods", "-w", "-o", "jsonpath={.status.phase}{\"\\n\"}"])?;
    pods::start(
        kubectl,
        "life",
        json!({"restartPolicy": "Never", "containers": [shell("main", "while [ ! -e /end ]; do sleep 0.1; done")]}),
    )?;
    let pod = kubectl.json(&["get", "pod", "life"])?;
    for kind in ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"] {
        ensure!(condition(&pod, kind)["status"] == "True", "{kind}: {}", pod["status"]);
    }
    let (status, main) = (&pod["status"], container(&pod, "main"));
    ensure!(status["phase"] == "Running" && status["qosClass"] == "BestEffort" && status["startTime"].is_string(), "{status}");
    ensure!(status["podIP"] == status["podIPs"][0]["ip"] && status["hostIP"] == status["hostIPs"][0]["ip"], "{status}");
    ensure!(main["ready"] == true && main["started"] == true && main["restartCount"] == 0 && main["image"] == BUSYBOX, "{main}");
    ensure!(main["containerID"].as_str().is_some_and(|id| id.starts_with("containerd://")), "{main}");
    ensure!(main["imageID"].as_str().is_some_and(|id| id.contains("sha256:")), "{main}");
    let row = pods::row(kubectl, "life")?;
    ensure!(row.starts_with("life 1/1 Running 0 "), "{row}");

    pods::sh_last(kubectl, "life", "touch /end")?;
    let pod = pods::phase(kubectl, "life", "Succeeded")?;
    let end = &container(&pod, "main")["state"]["terminated"];
    ensure!(end["exitCode"] == 0 && end["reason"] == "Completed" && end["finishedAt"].is_string(), "{end}");
    for kind in ["Ready", "ContainersReady"] {
        ensure!(condition(&pod, kind)["status"] == "False" && condition(&pod, kind)["reason"] == "PodCompleted", "{}", pod["status"]);
    }
    ensure!(pods::row(kubectl, "life")?.starts_with("life 0/1 Completed 0 "));
    for reason in ["Scheduled", "Pulled", "Created", "Started"] {
        pods::event(kubectl, "life", reason)?;
    }
    kubectl.run(&["delete", "pod", "life"])?;
    let phases = ended(watch)?;
    let mut order: Vec<&str> = phases.lines().collect();
    order.dedup();
    ensure!(order == ["Pending", "Running", "Succeeded"], "{phases}");
    Ok(())
}

/// Ends a kubectl that would go on; what it said until then.
fn ended(mut child: std::process::Child) -> Result<String> {
    child.kill().context("cannot end kubectl")?;
    Ok(String::from_utf8_lossy(&child.wait_with_output().context("cannot wait for kubectl")?.stdout).into_owned())
}

fn e2e_init_containers_run_one_after_the_other_and_stop_at_a_failure(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let step = |name: &str, script: &str| with(shell(name, script), json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}));
    let output = pods::run(
        kubectl,
        "order",
        json!({
            "volumes": [{"name": "v", "emptyDir": {}}],
            "initContainers": [step("first", "sleep 0.3; echo first >> /v/log"), step("second", "echo second >> /v/log")],
            "containers": [step("main", "echo main >> /v/log; cat /v/log")],
        }),
    )?;
    ensure!(output == "first\nsecond\nmain\n", "{output}");
    let pod = kubectl.json(&["get", "pod", "order"])?;
    ensure!(container(&pod, "first")["ready"] == true && container(&pod, "second")["state"]["terminated"]["exitCode"] == 0, "{pod}");

    pods::create(
        kubectl,
        "broken",
        json!({"restartPolicy": "Never", "initContainers": [shell("bad", "exit 3"), shell("never", "true")], "containers": [shell("main", "true")]}),
    )?;
    let pod = pods::phase(kubectl, "broken", "Failed")?;
    ensure!(container(&pod, "bad")["state"]["terminated"]["exitCode"] == 3, "{}", pod["status"]);
    ensure!(container(&pod, "never")["state"]["waiting"]["reason"] == "PodInitializing", "{}", pod["status"]);
    ensure!(container(&pod, "main")["state"]["waiting"]["reason"] == "PodInitializing", "{}", pod["status"]);
    ensure!(condition(&pod, "Initialized")["message"] == "containers with incomplete status: [bad never]", "{}", pod["status"]);
    ensure!(pods::row(kubectl, "broken")?.contains("Init:Error"));

    // With restarts the failed step is tried again, and what follows it waits.
    let retried = json!({
        "volumes": [{"name": "v", "emptyDir": {}}],
        "restartPolicy": "OnFailure",
        "initContainers": [step("twice", "test -e /v/second || { touch /v/second; exit 1; }")],
        "containers": [shell("main", "true")],
    });
    pods::create(kubectl, "retried", retried)?;
    let pod = pods::phase(kubectl, "retried", "Succeeded")?;
    ensure!(container(&pod, "twice")["restartCount"] == 1, "{}", pod["status"]);
    Ok(())
}

fn e2e_a_sidecar_starts_first_and_does_not_keep_a_finished_pod(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let volume = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let sidecar = with(
        with(shell("side", "trap 'echo side ends; exit 0' TERM; sleep 0.3; touch /v/up; while :; do sleep 0.1; done"), volume.clone()),
        json!({"restartPolicy": "Always", "startupProbe": {"exec": {"command": ["test", "-e", "/v/up"]}, "periodSeconds": 1}}),
    );
    let main = with(shell("main", "test -e /v/up && echo main saw it; while [ ! -e /v/end ]; do sleep 0.1; done"), volume);
    let spec =
        json!({"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}], "initContainers": [sidecar], "containers": [main]});
    pods::start(kubectl, "pair", spec)?;
    ensure!(pods::row(kubectl, "pair")?.contains("2/2"), "both count");
    ensure!(kubectl.run(&["logs", "pair", "-c", "main"])? == "main saw it\n");
    pods::sh_last(kubectl, "pair", "touch /v/end")?;
    let pod = pods::phase(kubectl, "pair", "Succeeded")?;
    ensure!(container(&pod, "side")["state"]["terminated"]["exitCode"] == 0, "{}", pod["status"]);
    ensure!(kubectl.run(&["logs", "pair", "-c", "side"])? == "side ends\n");
    Ok(())
}

fn e2e_a_stopping_pod_gets_hook_then_signal_then_time(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let script = "trap 'echo signalled; until [ -e /go ]; do sleep 0.1; done; echo clean; exit 0' TERM; while [ ! -e /hooked ]; do sleep 0.1; done; echo started; while :; do sleep 0.1; done";
    let hooks = json!({"lifecycle": {
        "postStart": {"exec": {"command": ["touch", "/hooked"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo hook > /proc/1/fd/1"]}},
    }});
    pods::start(kubectl, "polite", json!({"terminationGracePeriodSeconds": 600, "containers": [with(shell("main", script), hooks)]}))?;
    let follow = kubectl.start(&["logs", "-f", "polite"])?;
    eventually("the log to begin", || {
        ensure!(kubectl.run(&["logs", "polite"])?.contains("started"), "not started");
        Ok(())
    })?;
    kubectl.run(&["delete", "pod", "polite", "--wait=false"])?;
    let pod = kubectl.json(&["get", "pod", "polite"])?;
    ensure!(pod["metadata"]["deletionGracePeriodSeconds"] == 600 && pod["metadata"]["deletionTimestamp"].is_string(), "{pod}");
    ensure!(pods::row(kubectl, "polite")?.contains("Terminating"));
    pods::sh(kubectl, "polite", "touch /go")?;
    let said = follow.wait_with_output()?;
    ensure!(String::from_utf8_lossy(&said.stdout) == "started\nhook\nsignalled\nclean\n", "{said:?}");
    // A clean end needs no whole grace period.
    kubectl.run(&["wait", "pod/polite", "--for=delete", "--timeout=180s"])?;
    pods::event(kubectl, "polite", "Killing").map(drop)
}

fn e2e_a_pod_that_ignores_the_signal_is_killed_when_its_time_is_over(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let spec = json!({"terminationGracePeriodSeconds": 3, "containers": [shell("main", "trap '' TERM; while :; do sleep 0.1; done")]});
    pods::start(kubectl, "stubborn", spec)?;
    let begun = Instant::now();
    kubectl.run(&["delete", "pod", "stubborn", "--timeout=180s"])?;
    ensure!(begun.elapsed() >= Duration::from_secs(3), "the grace period is 3 s, it took {:?}", begun.elapsed());
    Ok(())
}

fn e2e_a_forced_deletion_waits_for_nobody(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let spec = json!({"terminationGracePeriodSeconds": 600, "containers": [shell("main", "trap '' TERM; while :; do sleep 0.1; done")]});
    pods::start(kubectl, "forced", spec.clone())?;
    let output = kubectl.output(&["delete", "pod", "forced", "--grace-period=0", "--force", "--timeout=180s"], None)?;
    ensure!(output.code == 0 && output.stderr.contains("Immediate deletion does not wait"), "{output:?}");
    // A shorter period shortens a deletion that is under way.
    pods::start(kubectl, "shortened", spec)?;
    kubectl.run(&["delete", "pod", "shortened", "--wait=false"])?;
    kubectl.run(&["delete", "pod", "shortened", "--grace-period=1", "--timeout=180s"]).map(drop)
}

fn e2e_a_new_image_restarts_only_its_container(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods::start(kubectl, "changing", json!({"containers": [shell("a", "exec sleep 3600"), shell("b", "exec sleep 3600")]}))?;
    let before = kubectl.json(&["get", "pod", "changing"])?;
    kubectl.run(&["set", "image", "pod/changing", &format!("a={}", talk::TOOLS)])?;
    let after = pods::when(kubectl, "changing", "the new image to run", |pod| {
        let a = container(pod, "a");
        a["image"] == talk::TOOLS && a["state"]["running"].is_object() && a["restartCount"] == 1
    })?;
    ensure!(container(&after, "a")["imageID"] != container(&before, "a")["imageID"], "{}", after["status"]);
    ensure!(container(&after, "b")["containerID"] == container(&before, "b")["containerID"], "{}", after["status"]);
    ensure!(after["status"]["podIP"] == before["status"]["podIP"], "the pod keeps its address");
    ensure!(pods::event(kubectl, "changing", "Killing")? == "Container a definition changed, will be restarted");
    Ok(())
}

fn e2e_an_ephemeral_container_joins_a_running_pod(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods::start(kubectl, "plain", json!({"containers": [shell("main", "exec sleep 3601")]}))?;
    let script = "tr '\\0' ' ' < /proc/1/cmdline; echo; hostname";
    kubectl.run(&[
        "debug",
        "plain",
        "--image",
        BUSYBOX,
        "--container=look",
        "--target=main",
        "--profile=general",
        "--",
        "sh",
        "-c",
        script,
    ])?;
    let pod =
        pods::when(kubectl, "plain", "the ephemeral container to end", |pod| container(pod, "look")["state"]["terminated"].is_object())?;
    ensure!(container(&pod, "look")["state"]["terminated"]["exitCode"] == 0, "{}", pod["status"]);
    ensure!(pod["status"]["phase"] == "Running" && condition(&pod, "Ready")["status"] == "True", "{}", pod["status"]);
    let said = kubectl.run(&["logs", "plain", "-c", "look"])?;
    ensure!(said == "sleep 3601 \nplain\n", "it sees the target's processes: {said:?}");
    Ok(())
}

fn e2e_a_pod_past_its_deadline_fails(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods::create(kubectl, "late", json!({"activeDeadlineSeconds": 2, "containers": [shell("main", "exec sleep 3600")]}))?;
    let pod = pods::phase(kubectl, "late", "Failed")?;
    ensure!(pod["status"]["reason"] == "DeadlineExceeded", "{}", pod["status"]);
    ensure!(pod["status"]["message"].as_str().is_some_and(|m| m.contains("longer than the specified deadline")), "{}", pod["status"]);
    pods::event(kubectl, "late", "DeadlineExceeded").map(drop)
}
