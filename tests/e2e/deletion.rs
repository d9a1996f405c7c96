//! What goes when something is deleted, in which order, and what holds it?

use anyhow::{Result, ensure};
use orknet_tests::https::Api;
use orknet_tests::{Cluster, Kubectl, eventually, pods, tests};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

tests![
    e2e_background_deletion_takes_the_whole_chain_of_owners,
    e2e_foreground_deletion_takes_dependants_first,
    e2e_orphans_stay_and_can_be_adopted,
    e2e_finalizers_hold_an_object,
    e2e_a_namespace_takes_everything_with_it,
    e2e_a_namespace_says_what_holds_it,
    e2e_pods_get_their_grace_and_can_be_forced,
    e2e_selections_are_deleted_together,
    e2e_preconditions_protect_from_mistakes,
];

const IMAGE: &str = pods::BUSYBOX;

fn deployment(kubectl: &Kubectl, name: &str) -> Result<()> {
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [pods::shell("c", "sleep 3600")]}});
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template});
    kubectl.apply(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}).to_string())?;
    kubectl.run(&["rollout", "status", "deployment", name, "--timeout=180s"]).map(drop)
}

fn is_empty(kubectl: &Kubectl, kinds: &str) -> Result<()> {
    let left = kubectl.run(&["get", kinds, "-o", "name"])?;
    ensure!(left.is_empty(), "still there: {left}");
    Ok(())
}

fn e2e_background_deletion_takes_the_whole_chain_of_owners(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    deployment(kubectl, "web")?;
    kubectl.run(&["create", "configmap", "child"])?;
    let pod = kubectl.json(&["get", "pods", "-l", "app=web"])?["items"][0].clone();
    let owner = json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}]}});
    kubectl.run(&["patch", "configmap", "child", "--type=merge", "-p", &owner.to_string()])?;
    let said = kubectl.run(&["delete", "deployment", "web"])?;
    ensure!(said.starts_with("deployment.apps \"web\" deleted"), "{said}");
    eventually("the chain to be collected", || is_empty(kubectl, "deployments,replicasets,pods"))?;
    eventually("the pod's dependant to be collected", || {
        let said = kubectl.fails(&["get", "configmap", "child"], None)?;
        ensure!(said.contains("NotFound"), "{said}");
        Ok(())
    })?;
    // An owner that never was counts as gone; one of another namespace too.
    let orphan = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "lost", "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "00000000-0000-0000-0000-000000000000"}]}});
    kubectl.run_with(&["create", "-f", "-"], &orphan.to_string())?;
    eventually("what nobody owns to be collected", || kubectl.fails(&["get", "configmap", "lost"], None)).map(drop)
}

fn e2e_foreground_deletion_takes_dependants_first(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    deployment(kubectl, "web")?;
    let set = kubectl.run(&["get", "replicasets", "-o", "name"])?;
    // Something below holds the deletion up.
    kubectl.run(&["patch", set.trim(), "--type=merge", "-p", r#"{"metadata":{"finalizers":["orknet.test/hold"]}}"#])?;
    kubectl.run(&["delete", "deployment", "web", "--cascade=foreground", "--wait=false"])?;
    eventually("the pods to go", || is_empty(kubectl, "pods"))?;
    let owner = kubectl.json(&["get", "deployment", "web"])?;
    ensure!(
        owner["metadata"]["finalizers"] == json!(["foregroundDeletion"]) && owner["metadata"]["deletionTimestamp"].is_string(),
        "{}",
        owner["metadata"]
    );
    kubectl.run(&["patch", set.trim(), "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#])?;
    eventually("the owner to go last", || is_empty(kubectl, "deployments,replicasets"))
}

fn e2e_orphans_stay_and_can_be_adopted(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    deployment(kubectl, "web")?;
    let names = || kubectl.run(&["get", "replicasets,pods", "-o", "name", "--sort-by=.metadata.name"]);
    let before = names()?;
    kubectl.run(&["delete", "deployment", "web", "--cascade=orphan"])?;
    let set = kubectl.json(&["get", "replicasets"])?["items"][0].clone();
    ensure!(set["metadata"].get("ownerReferences").is_none(), "{}", set["metadata"]);
    ensure!(names()? == before, "{} instead of {before}", names()?);
    deployment(kubectl, "web")?;
    let set = kubectl.json(&["get", "replicasets", set["metadata"]["name"].as_str().unwrap_or_default()])?;
    ensure!(set["metadata"]["ownerReferences"][0]["kind"] == "Deployment", "the orphan is adopted: {}", set["metadata"]);
    Ok(())
}

fn e2e_finalizers_hold_an_object(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": ["orknet.test/one", "orknet.test/two"]}, "data": {"k": "v"}});
    kubectl.apply(&object.to_string())?;
    kubectl.run(&["delete", "configmap", "a", "--wait=false"])?;
    let held = kubectl.json(&["get", "configmap", "a"])?;
    ensure!(
        held["metadata"]["deletionTimestamp"].is_string() && held["metadata"]["deletionGracePeriodSeconds"] == 0,
        "{}",
        held["metadata"]
    );
    let said =
        kubectl.fails(&["patch", "configmap", "a", "--type=merge", "-p", r#"{"metadata":{"finalizers":["orknet.test/three"]}}"#], None)?;
    ensure!(said.contains("Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "), "{said}");
    kubectl.run(&[
        "patch",
        "configmap",
        "a",
        "--type=merge",
        "-p",
        r#"{"data":{"k":"w"},"metadata":{"finalizers":["orknet.test/two"]}}"#,
    ])?;
    ensure!(kubectl.json(&["get", "configmap", "a"])?["data"]["k"] == "w", "it can be changed while it is held");
    kubectl.run(&["patch", "configmap", "a", "--type=json", "-p", r#"[{"op":"remove","path":"/metadata/finalizers"}]"#])?;
    ensure!(kubectl.fails(&["get", "configmap", "a"], None)?.contains("NotFound"), "gone with its last finalizer");
    Ok(())
}

/// A namespace of the test's own beside the one it runs in.
fn make_namespace(kubectl: &Kubectl, suffix: &str) -> Result<Kubectl> {
    let name = format!("{}-{suffix}", &kubectl.namespace()[..kubectl.namespace().len().min(40)]);
    kubectl.run(&["create", "namespace", &name])?;
    eventually("the namespace's service account", || kubectl.in_namespace(&name).run(&["get", "serviceaccount", "default"]))?;
    Ok(kubectl.in_namespace(&name))
}

fn e2e_a_namespace_takes_everything_with_it(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let inner = make_namespace(kubectl, "x")?;
    deployment(&inner, "web")?;
    inner.run(&["expose", "deployment", "web", "--port=80"])?;
    inner.run(&["create", "configmap", "a"])?;
    inner.run(&["create", "role", "r", "--verb=get", "--resource=pods"])?;
    inner.run(&["run", "alone", &format!("--image={IMAGE}"), "--restart=Never", "--", "sleep", "3600"])?;
    kubectl.run(&["delete", "namespace", inner.namespace(), "--timeout=180s"])?;
    for kinds in ["pods,deployments,replicasets,services,endpoints,endpointslices", "configmaps,secrets,serviceaccounts,roles,events"] {
        is_empty(&inner, kinds)?;
    }
    // The name can be had again, empty.
    kubectl.run(&["create", "namespace", inner.namespace()])?;
    eventually("the new namespace's own objects", || inner.run(&["get", "serviceaccount", "default"]))?;
    is_empty(&inner, "pods,deployments,services")?;
    kubectl.run(&["delete", "namespace", inner.namespace(), "--wait=false"]).map(drop)
}

fn e2e_a_namespace_says_what_holds_it(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let inner = make_namespace(kubectl, "x")?;
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["orknet.test/hold"]}});
    inner.apply(&held.to_string())?;
    kubectl.run(&["delete", "namespace", inner.namespace(), "--wait=false"])?;
    let namespace = eventually("the conditions", || {
        let namespace = kubectl.json(&["get", "namespace", inner.namespace()])?;
        let conditions = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let remaining =
            conditions.iter().find(|condition| condition["type"] == "NamespaceFinalizersRemaining" && condition["status"] == "True");
        ensure!(remaining.is_some_and(|condition| condition["reason"] == "SomeFinalizersRemain"), "{namespace}");
        Ok(namespace)
    })?;
    let conditions = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let message = |kind: &str| {
        let condition = conditions.iter().find(|condition| condition["type"] == kind);
        condition.and_then(|condition| condition["message"].as_str()).unwrap_or_default().to_owned()
    };
    ensure!(
        message("NamespaceFinalizersRemaining")
            == "Some content in the namespace has finalizers remaining: orknet.test/hold in 1 resource instances",
        "{conditions:?}"
    );
    let remaining = message("NamespaceContentRemaining");
    ensure!(
        remaining.starts_with("Some resources are remaining: configmaps") && remaining.ends_with(" has 1 resource instances"),
        "{remaining}"
    );
    ensure!(namespace["status"]["phase"] == "Terminating", "{namespace}");
    let said = inner.fails(&["create", "configmap", "late"], None)?;
    let expected = format!("is forbidden: unable to create new content in namespace {} because it is being terminated", inner.namespace());
    ensure!(said.contains(&expected), "{said}");
    inner.run(&["patch", "configmap", "held", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#])?;
    kubectl.run(&["wait", "--for=delete", "namespace", inner.namespace(), "--timeout=180s"]).map(drop)
}

/// Whether some process of this host has the text in its arguments; pods are such processes.
fn is_running(text: &str) -> bool {
    let arguments = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let mut processes = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(arguments);
    processes.any(|arguments| String::from_utf8_lossy(&arguments).contains(text))
}

fn e2e_pods_get_their_grace_and_can_be_forced(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let stubborn = |seconds: u32| json!({"terminationGracePeriodSeconds": seconds, "containers": [pods::shell("c", "trap '' TERM; while true; do sleep 1; done")]});
    pods::start(kubectl, "slow", stubborn(3))?;
    // Other clusters of this host run the same test.
    let marker = format!("forced-in-{}", cluster.name());
    let mut forced = stubborn(600);
    forced["containers"][0]["command"][2] = format!("trap '' TERM; : {marker}; while true; do sleep 1; done").into();
    pods::start(kubectl, "forced", forced)?;
    ensure!(is_running(&marker), "the marker is seen from outside");
    pods::start(kubectl, "now", stubborn(600))?;
    let began = Instant::now();
    kubectl.run(&["delete", "pod", "slow", "--timeout=180s"])?;
    ensure!(began.elapsed() >= Duration::from_secs(3), "gone after {:?}", began.elapsed());
    kubectl.run(&["delete", "pod", "now", "--wait=false"])?;
    let ending = kubectl.json(&["get", "pod", "now"])?;
    ensure!(
        ending["metadata"]["deletionGracePeriodSeconds"] == 600 && ending["metadata"]["deletionTimestamp"].is_string(),
        "{}",
        ending["metadata"]
    );
    let shown = kubectl.run(&["get", "pod", "now", "--no-headers"])?;
    ensure!(shown.contains("Terminating"), "{shown}");
    kubectl.run(&["delete", "pod", "now", "--now", "--timeout=180s"])?;
    let forced = kubectl.output(&["delete", "pod", "forced", "--force", "--grace-period=0"], None)?;
    ensure!(forced.code == 0 && forced.stderr.starts_with("Warning: Immediate deletion does not wait for confirmation"), "{forced:?}");
    ensure!(kubectl.fails(&["get", "pod", "forced"], None)?.contains("NotFound"));
    // Its processes get the least time that there is, not the ten minutes of their specification.
    eventually("the forced pod's processes to end", || {
        ensure!(!is_running(&marker), "they still run");
        Ok(())
    })?;
    // One that no node has goes at once, whatever its grace.
    let nowhere = pods::pod(
        "nowhere",
        json!({"nodeSelector": {"no": "where"}, "terminationGracePeriodSeconds": 600, "containers": [pods::shell("c", "true")]}),
    );
    kubectl.apply(&nowhere.to_string())?;
    kubectl.run(&["delete", "pod", "nowhere", "--timeout=180s"]).map(drop)
}

fn e2e_selections_are_deleted_together(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    for (name, labels) in [("a", "x=1"), ("b", "x=1"), ("c", "x=2"), ("d", "y=1")] {
        kubectl.run(&["create", "configmap", name])?;
        kubectl.run(&["label", "configmap", name, labels])?;
    }
    let said = kubectl.run(&["delete", "configmaps", "-l", "x=1"])?;
    ensure!(
        said.lines().map(|line| line.split(" deleted").next().unwrap_or_default()).eq(["configmap \"a\"", "configmap \"b\""]),
        "{said}"
    );
    kubectl.run(&["delete", "configmaps", "--field-selector=metadata.name=c"])?;
    let left = kubectl.run(&["get", "configmaps", "-o", "name"])?;
    ensure!(left == "configmap/d\nconfigmap/kube-root-ca.crt\n", "{left}");
    let api = Api::of(kubectl)?;
    let path = format!("/api/v1/namespaces/{}/configmaps", kubectl.namespace());
    let list = api.send("DELETE", &format!("{path}?labelSelector=y%3D1"), &[], &[])?.expect(200)?;
    ensure!(list["kind"] == "ConfigMapList" && list["items"][0]["metadata"]["name"] == "d", "{list}");
    kubectl.run(&["create", "secret", "generic", "s"])?;
    kubectl.run(&["delete", "secrets,configmaps", "--all"])?;
    is_empty(kubectl, "secrets")?;
    let said = kubectl.run(&["delete", "configmap", "none", "--ignore-not-found"])?;
    ensure!(said.is_empty(), "{said}");
    let said = kubectl.fails(&["delete", "configmap", "none"], None)?;
    ensure!(said == "Error from server (NotFound): configmaps \"none\" not found\n", "{said}");
    Ok(())
}

fn e2e_preconditions_protect_from_mistakes(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "a"])?;
    let object = kubectl.json(&["get", "configmap", "a"])?;
    kubectl.run(&["label", "configmap", "a", "x=y"])?;
    let api = Api::of(kubectl)?;
    let path = format!("/api/v1/namespaces/{}/configmaps/a", kubectl.namespace());
    let delete = |preconditions: Value| {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}).to_string();
        api.send("DELETE", &path, &[("content-type", "application/json")], options.as_bytes())
    };
    let said = delete(json!({"resourceVersion": object["metadata"]["resourceVersion"]}))?.refused(409, "Conflict")?;
    ensure!(
        said.starts_with("Operation cannot be fulfilled on configmaps \"a\": Precondition failed: ResourceVersion in precondition: "),
        "{said}"
    );
    let said = delete(json!({"uid": "00000000-0000-0000-0000-000000000000"}))?.refused(409, "Conflict")?;
    ensure!(
        said.contains("Precondition failed: UID in precondition: 00000000-0000-0000-0000-000000000000, UID in object meta: "),
        "{said}"
    );
    let both = api.send("DELETE", &format!("{path}?propagationPolicy=Orphan&orphanDependents=true"), &[], &[])?;
    ensure!(matches!(both.code, 400 | 422), "{}", both.text());
    let status = delete(json!({"uid": object["metadata"]["uid"]}))?.expect(200)?;
    ensure!(
        status["kind"] == "Status" && status["status"] == "Success" && status["details"]["uid"] == object["metadata"]["uid"],
        "{status}"
    );
    Ok(())
}
