//! Does `kubectl logs` show what was asked for, all of it, and nothing else?

use anyhow::{Result, ensure};
use orknet_tests::pods::{self, container, shell};
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use serde_json::json;
use std::collections::BTreeSet;

tests![
    e2e_logs_select_lines_by_number_time_and_size,
    e2e_logs_follow_a_container_to_its_end,
    e2e_logs_of_several_containers_and_pods,
    e2e_logs_of_the_run_before,
    e2e_logs_that_cannot_be_had_say_why,
];

fn e2e_logs_select_lines_by_number_time_and_size(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let script = "for i in 1 2 3; do echo line $i; done; echo to stderr >&2; sleep 2; printf 'late, and without an end'";
    let all = pods::run(kubectl, "talker", json!({"containers": [shell("main", script)]}))?;
    // Both outputs are one log; which is first between them is not said.
    ensure!(
        all.contains("line 1\nline 2\nline 3\n") && all.contains("to stderr\n") && all.ends_with("late, and without an end"),
        "{all:?}"
    );
    ensure!(kubectl.run(&["logs", "talker", "--tail=1"])? == "late, and without an end");
    ensure!(kubectl.run(&["logs", "talker", "--tail=0"])?.is_empty());
    ensure!(kubectl.run(&["logs", "talker", "--tail=100"])? == all);
    ensure!(kubectl.run(&["logs", "talker", "--limit-bytes=5"])? == all[..5]);
    let stamped = kubectl.run(&["logs", "talker", "--timestamps", "--tail=1"])?;
    let (time, text) = stamped.split_once(' ').unwrap_or_default();
    ensure!(text == "late, and without an end" && time.ends_with('Z') && time.len() >= "2006-01-02T15:04:05Z".len(), "{stamped:?}");
    ensure!(kubectl.run(&["logs", "talker", &format!("--since-time={time}")])? == "late, and without an end");
    ensure!(kubectl.run(&["logs", "talker", "--since=1h"])? == all);
    ensure!(kubectl.run(&["logs", "talker", "--since-time=2100-01-01T00:00:00Z"])?.is_empty());
    let refused = kubectl.fails(&["logs", "talker", "--tail=-5"], None)?;
    ensure!(refused.contains("--tail must be greater than or equal to -1"), "{refused}");
    // Long lines come in pieces from the runtime and are whole for the reader.
    let long = "i=0; while [ $i -lt 400 ]; do printf '%0100d' $i; i=$((i+1)); done; echo; echo after";
    let output = pods::run(kubectl, "long", json!({"containers": [shell("main", long)]}))?;
    let lengths: Vec<usize> = output.lines().map(str::len).collect();
    ensure!(lengths == [40_000, 5], "{lengths:?}");
    ensure!(kubectl.run(&["logs", "long", "--tail=2"])? == output);
    Ok(())
}

fn e2e_logs_follow_a_container_to_its_end(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let script = "i=0; while [ ! -e /end ]; do echo $i; i=$((i+1)); sleep 0.05; done; echo last";
    pods::start(kubectl, "counter", json!({"restartPolicy": "Never", "containers": [shell("main", script)]}))?;
    let follow = kubectl.start(&["logs", "-f", "counter"])?;
    let tail = kubectl.start(&["logs", "-f", "--tail=1", "counter"])?;
    eventually("some lines", || {
        ensure!(kubectl.run(&["logs", "counter"])?.lines().count() > 20, "too few");
        Ok(())
    })?;
    pods::sh_last(kubectl, "counter", "touch /end")?;
    let (followed, tailed) = (follow.wait_with_output()?, tail.wait_with_output()?);
    let (followed_text, tailed) = (String::from_utf8_lossy(&followed.stdout), String::from_utf8_lossy(&tailed.stdout));
    ensure!(followed.status.success() && followed_text == kubectl.run(&["logs", "counter"])?, "{followed:?}");
    let mut lines: Vec<&str> = followed_text.lines().collect();
    ensure!(lines.pop() == Some("last"), "{followed_text}");
    ensure!(lines.iter().enumerate().all(|(at, line)| line.parse() == Ok(at)), "no line is missing or double: {followed_text}");
    ensure!(followed_text.ends_with(tailed.as_ref()) && tailed.lines().count() > 1, "{tailed}");
    Ok(())
}

fn e2e_logs_of_several_containers_and_pods(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let spec = |text: &str| json!({"restartPolicy": "Never", "initContainers": [shell("zero", &format!("echo {text} zero"))], "containers": [shell("one", &format!("echo {text} one")), shell("two", &format!("echo {text} two"))]});
    for name in ["first", "second"] {
        let mut pod = pods::pod(name, spec(name));
        pod["metadata"]["labels"]["group"] = json!("talkers");
        kubectl.apply(&pod.to_string())?;
        pods::phase(kubectl, name, "Succeeded")?;
    }
    ensure!(kubectl.run(&["logs", "first", "-c", "two"])? == "first two\n");
    ensure!(kubectl.run(&["logs", "first", "-c", "zero"])? == "first zero\n");
    let defaulted = kubectl.output(&["logs", "first"], None)?;
    ensure!(
        defaulted.stdout == "first one\n" && defaulted.stderr.contains("Defaulted container \"one\" out of: one, two, zero (init)"),
        "{defaulted:?}"
    );
    // kubectl asks for the containers in no order.
    let all = kubectl.run(&["logs", "first", "--all-containers"])?;
    ensure!(all.lines().collect::<BTreeSet<_>>() == BTreeSet::from(["first zero", "first one", "first two"]), "{all}");
    let prefixed = kubectl.run(&["logs", "-l", "group=talkers", "--all-containers", "--prefix"])?;
    let mut lines: Vec<&str> = prefixed.lines().collect();
    lines.sort_unstable();
    let wanted: Vec<String> =
        ["first", "second"].iter().flat_map(|pod| ["one", "two", "zero"].map(|c| format!("[pod/{pod}/{c}] {pod} {c}"))).collect();
    ensure!(lines == wanted, "{prefixed}");
    // A workload stands for one of its pods.
    kubectl.run(&["create", "deployment", "web", "--image", pods::BUSYBOX, "--", "sh", "-c", "echo from a deployment; exec sleep 3600"])?;
    kubectl.run(&["rollout", "status", "deployment", "web", "--timeout=180s"])?;
    eventually("the deployment's log", || {
        ensure!(kubectl.run(&["logs", "deployment/web"])? == "from a deployment\n", "nothing yet");
        Ok(())
    })
}

fn e2e_logs_of_the_run_before(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods::start(
        kubectl,
        "again",
        json!({"containers": [shell("main", "echo run $(cat /proc/sys/kernel/random/uuid); trap 'exit 1' USR1; while :; do sleep 0.1; done")]}),
    )?;
    let refused = kubectl.fails(&["logs", "again", "--previous"], None)?;
    ensure!(refused.contains("previous terminated container \"main\" in pod \"again\" not found"), "{refused}");
    let first = eventually("the first log", || {
        let text = kubectl.run(&["logs", "again"])?;
        ensure!(text.starts_with("run "), "{text:?}");
        Ok(text)
    })?;
    pods::sh_last(kubectl, "again", "kill -USR1 1")?;
    pods::when(kubectl, "again", "the restart", |pod| {
        container(pod, "main")["restartCount"] == 1 && container(pod, "main")["ready"] == true
    })?;
    ensure!(kubectl.run(&["logs", "again", "--previous"])? == first);
    let second = eventually("the second log", || {
        let text = kubectl.run(&["logs", "again"])?;
        ensure!(text.starts_with("run "), "{text:?}");
        Ok(text)
    })?;
    ensure!(second != first);
    Ok(())
}

fn e2e_logs_that_cannot_be_had_say_why(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let missing = kubectl.fails(&["logs", "nobody"], None)?;
    ensure!(missing.contains("(NotFound): pods \"nobody\" not found"), "{missing}");
    pods::create(kubectl, "waits", json!({"containers": [{"name": "main", "image": "registry.invalid/none:1"}]}))?;
    pods::when(kubectl, "waits", "the failed pull", |pod| container(pod, "main")["state"]["waiting"]["reason"] == "ImagePullBackOff")?;
    let waits = kubectl.fails(&["logs", "waits"], None)?;
    ensure!(
        waits.contains("(BadRequest)")
            && waits.contains("container \"main\" in pod \"waits\" is waiting to start: trying and failing to pull image"),
        "{waits}"
    );
    let wrong = kubectl.fails(&["logs", "waits", "-c", "other"], None)?;
    ensure!(wrong.contains("container other is not valid for pod waits"), "{wrong}");
    Ok(())
}
