//! What happens when a container ends: restart policies, back-off, what is told about the end?

use anyhow::{Result, ensure};
use orknet_tests::pods::{self, container, shell, with};
use orknet_tests::{Cluster, Kubectl, tests};
use serde_json::{Value, json};

tests![
    e2e_each_restart_policy_restarts_what_it_says,
    e2e_a_crashing_container_backs_off_and_keeps_its_last_end,
    e2e_a_killed_process_is_replaced_and_the_pod_keeps_its_address,
    e2e_a_container_leaves_a_message,
    e2e_too_much_memory_ends_as_oom_killed,
    e2e_a_command_that_does_not_exist_is_a_start_error,
];

fn e2e_each_restart_policy_restarts_what_it_says(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let once = |script: &str| shell("main", script);
    pods::create(kubectl, "never-bad", json!({"restartPolicy": "Never", "containers": [once("exit 7")]}))?;
    pods::create(kubectl, "failure-good", json!({"restartPolicy": "OnFailure", "containers": [once("exit 0")]}))?;
    let volume = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let second_time = with(once("test -e /v/x || { touch /v/x; exit 1; }"), volume);
    let spec = json!({"restartPolicy": "OnFailure", "volumes": [{"name": "v", "emptyDir": {}}], "containers": [second_time]});
    pods::create(kubectl, "failure-bad", spec)?;
    pods::create(kubectl, "always-good", json!({"containers": [once("exit 0")]}))?;

    let pod = pods::phase(kubectl, "never-bad", "Failed")?;
    let end = &container(&pod, "main")["state"]["terminated"];
    ensure!(end["exitCode"] == 7 && end["reason"] == "Error" && container(&pod, "main")["restartCount"] == 0, "{}", pod["status"]);
    ensure!(pods::row(kubectl, "never-bad")?.contains("Error"));
    let pod = pods::phase(kubectl, "failure-good", "Succeeded")?;
    ensure!(container(&pod, "main")["restartCount"] == 0, "{}", pod["status"]);
    let pod = pods::phase(kubectl, "failure-bad", "Succeeded")?;
    ensure!(container(&pod, "main")["restartCount"] == 1, "{}", pod["status"]);
    let pod = pods::when(kubectl, "always-good", "a restart after success", |pod| container(pod, "main")["restartCount"] == 1)?;
    ensure!(container(&pod, "main")["lastState"]["terminated"]["reason"] == "Completed", "{}", pod["status"]);
    ensure!(pod["status"]["phase"] == "Running", "{}", pod["status"]);
    Ok(())
}

fn e2e_a_crashing_container_backs_off_and_keeps_its_last_end(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods::create(kubectl, "crash", json!({"containers": [shell("main", "echo run; exit 5"), shell("calm", "exec sleep 3600")]}))?;
    let backs_off = |pod: &Value| {
        let main = container(pod, "main");
        main["restartCount"] == 1 && main["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    };
    let pod = pods::when(kubectl, "crash", "the back-off", backs_off)?;
    let main = container(&pod, "main");
    let (message, uid) =
        (main["state"]["waiting"]["message"].as_str().unwrap_or_default(), pod["metadata"]["uid"].as_str().unwrap_or_default());
    let wanted = format!("back-off 10s restarting failed container=main pod=crash_{}({uid})", kubectl.namespace());
    ensure!(message == wanted, "{message:?}, expected {wanted:?}");
    ensure!(main["lastState"]["terminated"]["exitCode"] == 5 && main["ready"] == false && main["started"] == false, "{main}");
    ensure!(pod["status"]["phase"] == "Running" && container(&pod, "calm")["restartCount"] == 0, "{}", pod["status"]);
    ensure!(pods::row(kubectl, "crash")?.starts_with("crash 1/2 CrashLoopBackOff 1 ("));
    ensure!(pods::event(kubectl, "crash", "BackOff")?.starts_with("Back-off restarting failed container main in pod crash_"));
    ensure!(kubectl.run(&["logs", "crash", "-c", "main", "--previous"])? == "run\n");
    // The third run comes after ten seconds, and the next delay is twice as long.
    let pod = pods::when(kubectl, "crash", "the longer back-off", |pod| {
        let main = container(pod, "main");
        main["restartCount"] == 2 && main["state"]["waiting"]["message"].as_str().is_some_and(|m| m.starts_with("back-off 20s"))
    })?;
    let ends = container(&pod, "main")["lastState"]["terminated"]["finishedAt"].is_string();
    ensure!(ends, "{}", pod["status"]);
    Ok(())
}

fn e2e_a_killed_process_is_replaced_and_the_pod_keeps_its_address(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods::start(kubectl, "killed", json!({"containers": [shell("main", "trap 'exit 9' USR1; while :; do sleep 0.1; done")]}))?;
    let before = kubectl.json(&["get", "pod", "killed"])?;
    pods::sh_last(kubectl, "killed", "kill -USR1 1")?;
    let after = pods::when(kubectl, "killed", "the restart", |pod| {
        container(pod, "main")["restartCount"] == 1 && container(pod, "main")["state"]["running"].is_object()
    })?;
    ensure!(container(&after, "main")["lastState"]["terminated"]["exitCode"] == 9, "{}", after["status"]);
    ensure!(container(&after, "main")["containerID"] != container(&before, "main")["containerID"], "{}", after["status"]);
    ensure!(after["status"]["podIP"] == before["status"]["podIP"] && after["metadata"]["uid"] == before["metadata"]["uid"]);
    Ok(())
}

fn e2e_a_container_leaves_a_message(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let logs = json!({"terminationMessagePolicy": "FallbackToLogsOnError"});
    let spec = json!({"restartPolicy": "Never", "containers": [
        shell("default", "printf DONE > /dev/termination-log"),
        with(shell("elsewhere", "printf HERE > /tmp-message"), json!({"terminationMessagePath": "/tmp-message"})),
        with(shell("fails", "echo last words; exit 1"), logs.clone()),
        with(shell("succeeds", "echo nothing of this"), logs.clone()),
        with(shell("both", "echo log; printf file > /dev/termination-log; exit 1"), logs),
        shell("silent", "echo log; exit 1"),
    ]});
    pods::create(kubectl, "words", spec)?;
    let pod = pods::phase(kubectl, "words", "Failed")?;
    let message = |name: &str| container(&pod, name)["state"]["terminated"]["message"].clone();
    for (name, want) in
        [("default", json!("DONE")), ("elsewhere", json!("HERE")), ("fails", json!("last words\n")), ("both", json!("file"))]
    {
        ensure!(message(name) == want, "{name}: {}, expected {want}", message(name));
    }
    ensure!(message("succeeds").is_null() && message("silent").is_null(), "{}", pod["status"]);
    Ok(())
}

fn e2e_too_much_memory_ends_as_oom_killed(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    // It keeps the last line in memory, and the line has no end.
    let eats = json!({"command": ["tail", "/dev/zero"], "resources": {"limits": {"memory": "24Mi"}}});
    pods::create(kubectl, "eater", json!({"restartPolicy": "Never", "containers": [with(shell("main", ""), eats)]}))?;
    let pod = pods::phase(kubectl, "eater", "Failed")?;
    let end = &container(&pod, "main")["state"]["terminated"];
    ensure!(end["reason"] == "OOMKilled" && end["exitCode"] == 137, "{end}");
    ensure!(pods::row(kubectl, "eater")?.contains("OOMKilled"));
    Ok(())
}

fn e2e_a_command_that_does_not_exist_is_a_start_error(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let missing = with(shell("main", ""), json!({"command": ["/no/such/program"]}));
    pods::create(kubectl, "missing", json!({"restartPolicy": "Never", "containers": [missing.clone()]}))?;
    pods::create(kubectl, "again", json!({"containers": [missing]}))?;
    let pod = pods::phase(kubectl, "missing", "Failed")?;
    let end = &container(&pod, "main")["state"]["terminated"];
    ensure!(end["reason"] == "StartError" && end["exitCode"] == 128, "{end}");
    ensure!(end["message"].as_str().is_some_and(|m| m.contains("/no/such/program")), "{end}");
    let pod = pods::when(kubectl, "again", "a reason", |pod| {
        let main = container(pod, "main");
        let reason = &main["state"]["waiting"]["reason"];
        (reason == "RunContainerError" || reason == "CrashLoopBackOff") && main["lastState"]["terminated"]["reason"] == "StartError"
    })?;
    ensure!(pod["status"]["phase"] == "Running" || pod["status"]["phase"] == "Pending", "{}", pod["status"]);
    ensure!(pods::event(kubectl, "again", "Failed")?.contains("/no/such/program"));
    Ok(())
}
