//! Does `kubectl apply` change what the manifest says and nothing else? Client-side with three-way merges, server-side with ownership.

use anyhow::{Context, Result, ensure};
use orknet_tests::{Cluster, Kubectl, tests};
use serde_json::{Value, json};

tests![
    e2e_apply_creates_changes_and_leaves_alone,
    e2e_apply_removes_what_left_the_manifest_and_keeps_what_is_of_others,
    e2e_lists_are_merged_by_their_keys,
    e2e_server_side_apply_owns_fields_and_tells_conflicts,
    e2e_fields_leave_with_their_last_owner,
    e2e_client_side_becomes_server_side_without_conflicts,
    e2e_pruning_removes_what_left_the_set,
    e2e_diff_and_dry_runs_show_and_write_nothing,
    e2e_controllers_do_not_fight_an_applied_manifest,
];

fn config_map(data: Value) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}).to_string()
}

fn apply_as(kubectl: &Kubectl, manager: &str, more: &[&str], manifest: &str) -> Result<orknet_tests::Output> {
    let arguments = [&["apply", "--server-side", "--field-manager", manager, "-f", "-"], more].concat();
    kubectl.output(&arguments, Some(manifest))
}

fn data(kubectl: &Kubectl) -> Result<Value> {
    Ok(kubectl.json(&["get", "configmap", "a"])?["data"].clone())
}

/// Who owns which fields, from `metadata.managedFields`.
fn owned(kubectl: &Kubectl, what: &[&str], manager: &str, operation: &str) -> Result<Value> {
    let object = kubectl.json(&[&["get"], what, &["--show-managed-fields"]].concat())?;
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let entry = entries.into_iter().find(|entry| entry["manager"] == manager && entry["operation"] == operation);
    entry.map(|entry| entry["fieldsV1"].clone()).with_context(|| format!("{manager} owns nothing: {}", object["metadata"]["managedFields"]))
}

fn e2e_apply_creates_changes_and_leaves_alone(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let version = || kubectl.run(&["get", "configmap", "a", "-o", "jsonpath={.metadata.resourceVersion}"]);
    ensure!(kubectl.apply(&config_map(json!({"x": "1"})))? == "configmap/a created\n");
    let first = version()?;
    ensure!(kubectl.apply(&config_map(json!({"x": "1"})))? == "configmap/a unchanged\n");
    ensure!(version()? == first, "applying the same again writes nothing");
    ensure!(kubectl.apply(&config_map(json!({"x": "2"})))? == "configmap/a configured\n");
    ensure!(version()? != first && data(kubectl)? == json!({"x": "2"}));
    let shown = kubectl.run(&["apply", "view-last-applied", "configmap", "a", "-o", "json"])?;
    ensure!(shown.contains("\"x\": \"2\""), "{shown}");
    let several = format!("{}\n---\n{}\n", config_map(json!({"x": "2"})), r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"b"}}"#);
    ensure!(kubectl.apply(&several)? == "configmap/a unchanged\nsecret/b created\n");
    Ok(())
}

fn e2e_apply_removes_what_left_the_manifest_and_keeps_what_is_of_others(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let deployment = |labels: Value, env: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "labels": labels}, "spec": {
            "selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [
                {"name": "c", "image": "registry.orknet.local/busybox:1", "command": ["sleep", "1"], "env": env}]}}}})
        .to_string()
    };
    kubectl.apply(&deployment(json!({"mine": "1", "gone": "1"}), json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])))?;
    kubectl.run(&["scale", "deployment", "a", "--replicas=0"])?;
    kubectl.run(&["label", "deployment", "a", "theirs=1"])?;
    kubectl.run(&["set", "env", "deployment/a", "C=3"])?;
    kubectl.apply(&deployment(json!({"mine": "2"}), json!([{"name": "B", "value": "3"}])))?;
    let found = kubectl.json(&["get", "deployment", "a"])?;
    ensure!(found["metadata"]["labels"] == json!({"mine": "2", "theirs": "1"}), "{}", found["metadata"]);
    ensure!(found["spec"]["replicas"] == 0, "what the manifest never had stays: {}", found["spec"]["replicas"]);
    let env = &found["spec"]["template"]["spec"]["containers"][0]["env"];
    ensure!(*env == json!([{"name": "B", "value": "3"}, {"name": "C", "value": "3"}]), "{env}");
    Ok(())
}

fn e2e_lists_are_merged_by_their_keys(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let service = |ports: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": ports}})
            .to_string()
    };
    kubectl.apply(&service(json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "protocol": "UDP"}])))?;
    let address = kubectl.run(&["get", "service", "s", "-o", "jsonpath={.spec.clusterIP}"])?;
    kubectl.apply(&service(json!([{"name": "b", "port": 81, "protocol": "UDP", "targetPort": 9}, {"name": "c", "port": 82}])))?;
    let spec = kubectl.json(&["get", "service", "s"])?["spec"].clone();
    let mut ports: Vec<String> = spec["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| format!("{} {} {} {}", port["name"], port["port"], port["protocol"], port["targetPort"]))
        .collect();
    ports.sort();
    ensure!(ports == [r#""b" 81 "UDP" 9"#, r#""c" 82 "TCP" 82"#], "{ports:?}");
    ensure!(spec["clusterIP"] == address.as_str(), "what the server allocated stays");
    Ok(())
}

fn e2e_server_side_apply_owns_fields_and_tells_conflicts(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let done = apply_as(kubectl, "one", &[], &config_map(json!({"x": "1", "y": "1"})))?;
    ensure!(done.stdout == "configmap/a serverside-applied\n", "{done:?}");
    ensure!(owned(kubectl, &["configmap", "a"], "one", "Apply")? == json!({"f:data": {"f:x": {}, "f:y": {}}}));
    let version = kubectl.run(&["get", "configmap", "a", "-o", "jsonpath={.metadata.resourceVersion}"])?;
    apply_as(kubectl, "one", &[], &config_map(json!({"x": "1", "y": "1"})))?;
    ensure!(kubectl.run(&["get", "configmap", "a", "-o", "jsonpath={.metadata.resourceVersion}"])? == version, "no change is no write");
    let refused = apply_as(kubectl, "two", &[], &config_map(json!({"x": "2", "y": "2", "z": "2"})))?;
    let expected = "error: Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.x\n- .data.y\nPlease review the fields above";
    ensure!(refused.code == 1 && refused.stderr.starts_with(expected), "{refused:?}");
    ensure!(data(kubectl)? == json!({"x": "1", "y": "1"}), "a refused apply writes nothing");
    let forced = apply_as(kubectl, "two", &["--force-conflicts"], &config_map(json!({"x": "2", "z": "2"})))?;
    ensure!(forced.code == 0 && data(kubectl)? == json!({"x": "2", "y": "1", "z": "2"}), "{forced:?}");
    ensure!(owned(kubectl, &["configmap", "a"], "one", "Apply")? == json!({"f:data": {"f:y": {}}}));
    ensure!(owned(kubectl, &["configmap", "a"], "two", "Apply")? == json!({"f:data": {"f:x": {}, "f:z": {}}}));
    kubectl.run(&["patch", "configmap", "a", "--field-manager=three", "-p", r#"{"data":{"y":"3"}}"#])?;
    ensure!(owned(kubectl, &["configmap", "a"], "three", "Update")? == json!({"f:data": {"f:y": {}}}));
    let refused = apply_as(kubectl, "one", &[], &config_map(json!({"y": "1"})))?;
    ensure!(refused.stderr.starts_with("error: Apply failed with 1 conflict: conflict with \"three\" using v1: .data.y\n"), "{refused:?}");
    let shown = kubectl.run(&["get", "configmap", "a", "-o", "yaml"])?;
    ensure!(!shown.contains("managedFields"), "shown only when asked for");
    Ok(())
}

fn e2e_fields_leave_with_their_last_owner(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    apply_as(kubectl, "one", &[], &config_map(json!({"x": "1", "y": "1"})))?;
    let shared = apply_as(kubectl, "two", &[], &config_map(json!({"x": "1"})))?;
    ensure!(shared.code == 0, "the same value is no conflict: {shared:?}");
    apply_as(kubectl, "one", &[], &config_map(json!({})))?;
    ensure!(data(kubectl)? == json!({"x": "1"}), "the other still wants it");
    apply_as(kubectl, "two", &[], r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}"#)?;
    ensure!(data(kubectl)?.as_object().is_none_or(|data| data.is_empty()), "nobody wants it any more");
    Ok(())
}

fn e2e_client_side_becomes_server_side_without_conflicts(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(&config_map(json!({"x": "1", "y": "1"})))?;
    let applied = kubectl.run_with(&["apply", "--server-side", "-f", "-"], &config_map(json!({"x": "2"})))?;
    ensure!(applied == "configmap/a serverside-applied\n", "{applied}");
    ensure!(data(kubectl)? == json!({"x": "2"}), "what left the manifest leaves the object");
    ensure!(owned(kubectl, &["configmap", "a"], "kubectl", "Apply")? == json!({"f:data": {"f:x": {}}}));
    ensure!(owned(kubectl, &["configmap", "a"], "kubectl-client-side-apply", "Update").is_err(), "the former manager is gone");
    // And back: the annotation has followed.
    ensure!(kubectl.apply(&config_map(json!({"x": "3"})))? == "configmap/a configured\n" && data(kubectl)? == json!({"x": "3"}));
    Ok(())
}

fn e2e_pruning_removes_what_left_the_set(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let item = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"set": "p"}}});
    let list = |names: &[&str]| {
        json!({"apiVersion": "v1", "kind": "List", "items": names.iter().map(|name| item(name)).collect::<Vec<_>>()}).to_string()
    };
    let prune = ["apply", "--prune", "-l", "set=p", "--prune-allowlist=core/v1/ConfigMap", "-f", "-"];
    kubectl.run_with(&prune, &list(&["a", "b"]))?;
    kubectl.run(&["create", "configmap", "bystander"])?;
    let said = kubectl.run_with(&prune, &list(&["b"]))?;
    ensure!(said == "configmap/b unchanged\nconfigmap/a pruned\n", "{said}");
    let left = kubectl.run(&["get", "configmaps", "-o", "name"])?;
    ensure!(left == "configmap/b\nconfigmap/bystander\nconfigmap/kube-root-ca.crt\n", "{left}");
    Ok(())
}

fn e2e_diff_and_dry_runs_show_and_write_nothing(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(&config_map(json!({"x": "1"})))?;
    let same = kubectl.output(&["diff", "-f", "-"], Some(&config_map(json!({"x": "1"}))))?;
    ensure!(same.code == 0 && same.stdout.is_empty(), "{same:?}");
    for more in [&[][..], &["--server-side", "--force-conflicts"]] {
        let differs = kubectl.output(&[&["diff", "-f", "-"], more].concat(), Some(&config_map(json!({"x": "2"}))))?;
        ensure!(differs.code == 1 && differs.stdout.contains("\n-  x: \"1\"\n+  x: \"2\"\n"), "{differs:?}");
    }
    let created = kubectl.output(
        &["diff", "-f", "-"],
        Some(r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}}"#),
    )?;
    ensure!(created.code == 1 && created.stdout.contains("+  sessionAffinity: None"), "the server's defaults are shown: {created:?}");
    ensure!(kubectl.fails(&["get", "service", "s"], None)?.contains("NotFound"));
    for mode in ["client", "server"] {
        let flag = format!("--dry-run={mode}");
        let said = kubectl.run_with(&["apply", &flag, "-f", "-"], &config_map(json!({"x": "2"})))?;
        ensure!(said == format!("configmap/a configured ({} dry run)\n", mode).replace("client dry", "dry"), "{said}");
        let said = kubectl.run(&["create", "deployment", "d", "--image=i", &flag, "-o", "name"])?;
        ensure!(said == "deployment.apps/d\n", "{said}");
        kubectl.run(&["delete", "configmap", "a", &flag])?;
        kubectl.run(&["label", "configmap", "a", "dry=run", &flag])?;
    }
    let shown = kubectl.run(&["run", "p", "--image=i", "--dry-run=server", "-o", "json"])?;
    let pod: Value = serde_json::from_str(&shown)?;
    ensure!(pod["metadata"]["uid"].is_string() && pod["spec"]["serviceAccountName"] == "default", "everything runs but the write: {pod}");
    ensure!(data(kubectl)? == json!({"x": "1"}) && kubectl.run(&["get", "deployments,pods", "-o", "name"])?.is_empty());
    Ok(())
}

fn e2e_controllers_do_not_fight_an_applied_manifest(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": 1,
        "selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "a"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "registry.orknet.local/busybox:1", "command": ["sleep", "3600"]}]}}}})
    .to_string();
    let apply = || kubectl.run_with(&["apply", "--server-side", "-f", "-"], &deployment);
    apply()?;
    kubectl.run(&["rollout", "status", "deployment/a", "--timeout=180s"])?;
    let generation = || kubectl.run(&["get", "deployment", "a", "-o", "jsonpath={.metadata.generation} {.status.observedGeneration}"]);
    apply()?;
    ensure!(generation()? == "1 1", "{}", generation()?);
    let object = kubectl.json(&["get", "deployment", "a", "--show-managed-fields"])?;
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let of_status: Vec<&Value> = entries.iter().filter(|entry| entry["subresource"] == "status").collect();
    ensure!(
        matches!(of_status[..], [entry] if entry["manager"] == "orknet-server" && entry["fieldsV1"]["f:status"].is_object()),
        "the status is the controller's: {entries:?}"
    );
    ensure!(owned(kubectl, &["deployment", "a"], "kubectl", "Apply")?["f:spec"].is_object(), "the rest is the user's: {entries:?}");
    Ok(())
}
