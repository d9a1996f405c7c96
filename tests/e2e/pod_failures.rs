//! Is a pod that cannot start told why, and does it start once the cause is gone?

use anyhow::{Result, ensure};
use orknet_tests::pods::{self, container, shell, with};
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use serde_json::{Value, json};

tests![
    e2e_images_that_cannot_be_had_are_named_with_the_reason,
    e2e_a_missing_configuration_is_named_and_heals_when_it_appears,
    e2e_one_container_that_cannot_start_does_not_hold_the_others,
    e2e_a_pod_bound_by_hand_to_a_node_that_cannot_take_it_fails_with_the_reason,
];

fn waiting<'a>(pod: &'a Value, name: &str) -> (&'a str, &'a str) {
    let waiting = &container(pod, name)["state"]["waiting"];
    (waiting["reason"].as_str().unwrap_or_default(), waiting["message"].as_str().unwrap_or_default())
}

fn e2e_images_that_cannot_be_had_are_named_with_the_reason(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let image = |image: &str, policy: &str| json!({"containers": [{"name": "main", "image": image, "imagePullPolicy": policy}]});
    pods::create(kubectl, "nowhere", image("registry.invalid/none:1", "IfNotPresent"))?;
    pods::create(kubectl, "never", image("registry.invalid/none:1", "Never"))?;
    pods::create(kubectl, "malformed", image("NOT//an image", "IfNotPresent"))?;

    let pod = pods::when(kubectl, "nowhere", "the failed pull", |pod| {
        waiting(pod, "main").0 == "ErrImagePull" || waiting(pod, "main").0 == "ImagePullBackOff"
    })?;
    ensure!(pod["status"]["phase"] == "Pending" && container(&pod, "main")["restartCount"] == 0, "{}", pod["status"]);
    let pod = pods::when(kubectl, "nowhere", "the back-off", |pod| waiting(pod, "main").0 == "ImagePullBackOff")?;
    let held = "Back-off pulling image \"registry.invalid/none:1\"";
    ensure!(waiting(&pod, "main").1.starts_with(&format!("{held}: ErrImagePull: rpc error: code = ")), "{}", pod["status"]);
    ensure!(pods::event(kubectl, "nowhere", "Pulling")? == "Pulling image \"registry.invalid/none:1\"");
    ensure!(pods::event(kubectl, "nowhere", "BackOff")? == held);
    let failed = kubectl.json(&["get", "events", "--field-selector", "involvedObject.name=nowhere,reason=Failed"])?.to_string();
    ensure!(
        failed.contains("Failed to pull image \\\"registry.invalid/none:1\\\": rpc error: code = ")
            && failed.contains("Error: ErrImagePull"),
        "{failed}"
    );
    ensure!(pods::row(kubectl, "nowhere")?.contains("ImagePullBackOff"));

    let pod = pods::when(kubectl, "never", "the reason", |pod| waiting(pod, "main").0 == "ErrImageNeverPull")?;
    ensure!(
        waiting(&pod, "main").1 == "Container image \"registry.invalid/none:1\" is not present with pull policy of Never",
        "{}",
        pod["status"]
    );
    let pod = pods::when(kubectl, "malformed", "the reason", |pod| waiting(pod, "main").0 == "InvalidImageName")?;
    ensure!(waiting(&pod, "main").1.contains("couldn't parse image name"), "{}", pod["status"]);
    // A right image heals the pod.
    kubectl.run(&["set", "image", "pod/nowhere", &format!("main={}", pods::BUSYBOX)])?;
    pods::when(kubectl, "nowhere", "a start", |pod| !container(pod, "main")["containerID"].is_null()).map(drop)
}

fn e2e_a_missing_configuration_is_named_and_heals_when_it_appears(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let env = |source: Value| json!({"env": [{"name": "A", "valueFrom": source}]});
    let pod_with = |more: Value| json!({"containers": [with(shell("main", "echo A=$A; exec sleep 3600"), more)]});
    let key = json!({"configMapKeyRef": {"name": "later", "key": "k"}});
    pods::create(kubectl, "no-map", pod_with(env(key.clone())))?;
    pods::create(kubectl, "no-secret", pod_with(json!({"envFrom": [{"secretRef": {"name": "hidden"}}]})))?;
    for (name, want) in [("no-map", "configmap \"later\" not found"), ("no-secret", "secret \"hidden\" not found")] {
        let pod = pods::when(kubectl, name, "the reason", |pod| waiting(pod, "main").0 == "CreateContainerConfigError")?;
        ensure!(waiting(&pod, "main").1 == want && pod["status"]["phase"] == "Pending", "{}", pod["status"]);
        ensure!(pods::event(kubectl, name, "Failed")? == format!("Error: {want}"));
        ensure!(pods::row(kubectl, name)?.contains("CreateContainerConfigError"));
    }
    kubectl.run(&["create", "configmap", "later", "--from-literal=other=x"])?;
    let namespace = kubectl.namespace();
    pods::create(kubectl, "no-key", pod_with(env(key)))?;
    let pod = pods::when(kubectl, "no-key", "the reason", |pod| waiting(pod, "main").0 == "CreateContainerConfigError")?;
    ensure!(waiting(&pod, "main").1 == format!("couldn't find key k in ConfigMap {namespace}/later"), "{}", pod["status"]);

    kubectl.run(&["patch", "configmap", "later", "-p", r#"{"data":{"k":"now"}}"#])?;
    kubectl.run(&["create", "secret", "generic", "hidden", "--from-literal=A=found"])?;
    for (name, want) in [("no-map", "A=now\n"), ("no-key", "A=now\n"), ("no-secret", "A=found\n")] {
        pods::ready(kubectl, name)?;
        // It runs before it has said anything.
        eventually(name, || {
            let said = kubectl.run(&["logs", name])?;
            ensure!(said == want, "{said:?}");
            Ok(())
        })?;
        ensure!(container(&kubectl.json(&["get", "pod", name])?, "main")["restartCount"] == 0, "{name}");
    }
    Ok(())
}

fn e2e_one_container_that_cannot_start_does_not_hold_the_others(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let spec = json!({"containers": [{"name": "bad", "image": "registry.invalid/none:1"}, shell("good", "exec sleep 3600")]});
    pods::create(kubectl, "half", spec)?;
    let pod =
        pods::when(kubectl, "half", "the good half", |pod| container(pod, "good")["ready"] == true && !waiting(pod, "bad").0.is_empty())?;
    ensure!(pod["status"]["phase"] == "Pending" && pods::condition(&pod, "Ready")["status"] == "False", "{}", pod["status"]);
    Ok(())
}

fn e2e_a_pod_bound_by_hand_to_a_node_that_cannot_take_it_fails_with_the_reason(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let bound = |more: Value| with(json!({"nodeName": "node1", "containers": [shell("main", "exec sleep 3600")]}), more);
    pods::create(
        kubectl,
        "much",
        bound(json!({"containers": [with(shell("main", ""), json!({"resources": {"requests": {"cpu": "1k"}}}))]})),
    )?;
    pods::create(kubectl, "picky", bound(json!({"nodeSelector": {"no": "such"}})))?;
    for (name, reason, why) in [
        ("much", "OutOfcpu", "Node didn't have enough resource: cpu, requested: 1000000, used: "),
        ("picky", "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"),
    ] {
        let pod = pods::when(kubectl, name, "the refusal", |pod| pod["status"]["phase"] == "Failed")?;
        let message = pod["status"]["message"].as_str().unwrap_or_default();
        ensure!(pod["status"]["reason"] == reason && message.starts_with(&format!("Pod was rejected: {why}")), "{}", pod["status"]);
        ensure!(pods::event(kubectl, name, reason)?.starts_with(why));
        ensure!(pods::row(kubectl, name)?.contains(reason));
        // Who wrote the status is told by its manager.
        let fields = kubectl.json(&["get", "pod", name, "--show-managed-fields"])?["metadata"]["managedFields"].to_string();
        ensure!(fields.contains("\"manager\":\"orknet-kubelet\"") && !fields.contains("\"unknown\""), "{fields}");
    }
    let node = kubectl.run(&["describe", "node", "node1"])?;
    for news in ["Starting kubelet.", "Node node1 status is now: NodeHasSufficientMemory", "Node node1 status is now: NodeReady"] {
        ensure!(node.contains(news), "{news} is not in\n{node}");
    }
    Ok(())
}
