//! Are changes of a Deployment rolled out, followed, paused, taken back?

use anyhow::{Result, ensure};
use orknet_tests::{Cluster, Kubectl, eventually, pods, tests};

tests![
    e2e_rollouts_are_followed_kept_in_history_and_taken_back,
    e2e_paused_rollouts_wait_and_restarts_replace_every_pod,
    e2e_a_rollout_that_fails_is_told_and_keeps_the_old_pods,
];

/// A Deployment of two pods that end at once, with a value in their environment.
fn deploy(kubectl: &Kubectl, value: &str) -> Result<()> {
    kubectl.apply(&format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, annotations: {{kubernetes.io/change-cause: "to {value}"}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: c, image: "{}", command: [sleep, "3600"], env: [{{name: V, value: "{value}"}}]}}]
"#,
        pods::BUSYBOX
    ))?;
    Ok(())
}

fn value(kubectl: &Kubectl) -> Result<String> {
    kubectl.run(&["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].env[0].value}"])
}

fn follow(kubectl: &Kubectl) -> Result<String> {
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=180s"])
}

fn e2e_rollouts_are_followed_kept_in_history_and_taken_back(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    for step in ["one", "two", "three"] {
        deploy(kubectl, step)?;
        ensure!(follow(kubectl)?.ends_with("deployment \"web\" successfully rolled out\n"));
    }
    let history = kubectl.run(&["rollout", "history", "deployment/web"])?;
    let lines: Vec<Vec<&str>> = history.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(
        lines[1..5] == [vec!["REVISION", "CHANGE-CAUSE"], vec!["1", "to", "one"], vec!["2", "to", "two"], vec!["3", "to", "three"]],
        "{history}"
    );
    let second = kubectl.run(&["rollout", "history", "deployment/web", "--revision=2"])?;
    ensure!(second.starts_with("deployment.apps/web with revision #2\nPod Template:\n") && second.contains("V:\ttwo"), "{second}");
    ensure!(kubectl.run(&["rollout", "undo", "deployment/web"])? == "deployment.apps/web rolled back\n" && value(kubectl)? == "two");
    follow(kubectl)?;
    kubectl.run(&["rollout", "undo", "deployment/web", "--to-revision=1"])?;
    ensure!(value(kubectl)? == "one");
    follow(kubectl)?;
    // What was gone back to is the newest revision now.
    let history = kubectl.run(&["rollout", "history", "deployment/web"])?;
    let revisions: Vec<&str> = history.lines().skip(2).filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(revisions == ["3", "4", "5"], "{history}");
    ensure!(
        kubectl.fails(&["rollout", "undo", "deployment/web", "--to-revision=77"], None)?
            == "error: unable to find specified revision 77 in history\n"
    );
    let sets = kubectl.json(&["get", "replicasets"])?["items"].as_array().cloned().unwrap_or_default();
    let sizes: Vec<i64> = sets.iter().filter_map(|set| set["spec"]["replicas"].as_i64()).collect();
    ensure!(sets.len() == 3 && sizes.iter().sum::<i64>() == 2, "{sizes:?}");
    Ok(())
}

fn e2e_paused_rollouts_wait_and_restarts_replace_every_pod(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    deploy(kubectl, "one")?;
    follow(kubectl)?;
    let names = || kubectl.run(&["get", "pods", "-l", "app=web", "-o", "name", "--field-selector=status.phase=Running"]);
    let before = names()?;
    kubectl.run(&["rollout", "pause", "deployment/web"])?;
    kubectl.run(&["set", "env", "deployment/web", "V=two"])?;
    kubectl.run(&["wait", "deployment/web", "--for=jsonpath={.status.observedGeneration}=3", "--timeout=180s"])?;
    ensure!(names()? == before, "a paused rollout makes no pod");
    let said = kubectl.fails(&["rollout", "restart", "deployment/web"], None)?;
    ensure!(said.contains("can't restart paused deployment (run rollout resume first)"), "{said}");
    kubectl.run(&["rollout", "resume", "deployment/web"])?;
    follow(kubectl)?;
    let between = names()?;
    ensure!(between.lines().all(|name| !before.contains(name)), "{before} {between}");
    ensure!(kubectl.run(&["rollout", "restart", "deployment/web"])? == "deployment.apps/web restarted\n");
    follow(kubectl)?;
    eventually("the old pods to go", || {
        let after = names()?;
        ensure!(after.lines().count() == 2 && after.lines().all(|name| !between.contains(name)), "{between} {after}");
        Ok(())
    })
}

fn e2e_a_rollout_that_fails_is_told_and_keeps_the_old_pods(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    deploy(kubectl, "one")?;
    follow(kubectl)?;
    kubectl.run(&["patch", "deployment", "web", "-p", r#"{"spec":{"progressDeadlineSeconds":5}}"#])?;
    kubectl.run(&["set", "image", "deployment/web", "c=registry.orknet.local/none:1"])?;
    let said = kubectl.fails(&["rollout", "status", "deployment/web", "--timeout=180s"], None)?;
    ensure!(said == "error: deployment \"web\" exceeded its progress deadline\n", "{said}");
    let status = kubectl.json(&["get", "deployment", "web"])?["status"].clone();
    ensure!(status["availableReplicas"] == 2 && status["unavailableReplicas"] == 1, "{status}");
    let waits = kubectl.run(&["get", "pods", "-l", "app=web", "--no-headers"])?;
    ensure!(waits.contains("ImagePullBackOff") || waits.contains("ErrImagePull"), "{waits}");
    kubectl.run(&["patch", "deployment", "web", "-p", r#"{"spec":{"progressDeadlineSeconds":600}}"#])?;
    kubectl.run(&["rollout", "undo", "deployment/web"])?;
    follow(kubectl).map(drop)
}
