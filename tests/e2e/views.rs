//! Does kubectl show what there is, in every form of output, selection and order?

use anyhow::{Context, Result, ensure};
use orknet_tests::columns::Columns;
use orknet_tests::{Cluster, Kubectl, Lines, eventually, tests};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

tests![
    e2e_objects_are_printed_in_every_form,
    e2e_labels_and_fields_select,
    e2e_lists_are_sorted_and_carry_labels,
    e2e_watches_tell_what_happens,
    e2e_long_lists_come_in_chunks,
    e2e_several_kinds_and_namespaces_are_listed_together,
    e2e_events_are_listed_by_object_and_time,
];

fn config_map(kubectl: &Kubectl, name: &str, labels: &str, value: &str) -> Result<()> {
    kubectl.run(&["create", "configmap", name, &format!("--from-literal=k={value}")])?;
    kubectl.run(&["label", "configmap", name, labels]).map(drop)
}

fn e2e_objects_are_printed_in_every_form(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    config_map(kubectl, "a", "x=1", "one")?;
    config_map(kubectl, "b", "x=1", "two")?;
    let get = |output: &str| kubectl.run(&["get", "configmaps", "-l", "x", "-o", output]);
    ensure!(get("name")? == "configmap/a\nconfigmap/b\n");
    ensure!(get("jsonpath={.items[*].data.k}")? == "one two");
    ensure!(get("jsonpath={range .items[?(@.data.k==\"two\")]}{.metadata.name}{\"\\n\"}{end}")? == "b\n");
    ensure!(get("jsonpath-as-json={.items[0].data}")?.contains("\"k\": \"one\""));
    ensure!(get("go-template={{range .items}}{{.metadata.name}}={{.data.k}};{{end}}")? == "a=one;b=two;");
    ensure!(
        get("custom-columns=WHO:.metadata.name,K:.data.k,NONE:.data.none")? == "WHO   K     NONE\na     one   <none>\nb     two   <none>\n"
    );
    let list: Value = serde_json::from_str(&get("json")?)?;
    ensure!(list["kind"] == "List" && list["apiVersion"] == "v1" && list["items"].as_array().map(Vec::len) == Some(2), "{list}");
    ensure!(list["items"][0]["kind"] == "ConfigMap" && list["items"][0]["apiVersion"] == "v1", "{list}");
    let yaml = kubectl.run(&["get", "configmap", "a", "-o", "yaml"])?;
    ensure!(yaml.starts_with("apiVersion: v1\ndata:\n  k: one\nkind: ConfigMap\nmetadata:\n  creationTimestamp: \""), "{yaml}");
    // What is shown can be put back as it is.
    ensure!(kubectl.run_with(&["replace", "-f", "-"], &yaml)? == "configmap/a replaced\n");
    let wide = Columns::parse(&kubectl.run(&["get", "configmaps", "-l", "x", "-o", "wide"])?)?;
    wide.has("NAME|DATA|AGE", &["a", "1", "AGE"])?;
    ensure!(kubectl.run(&["get", "configmaps", "-l", "x", "--no-headers"])?.lines().count() == 2);
    let none = kubectl.output(&["get", "configmap", "none", "--ignore-not-found"], None)?;
    ensure!(none.code == 0 && none.stdout.is_empty() && none.stderr.is_empty(), "{none:?}");
    let none = kubectl.output(&["get", "pods"], None)?;
    ensure!(none.stderr == format!("No resources found in {} namespace.\n", kubectl.namespace()), "{none:?}");
    let raw: Value =
        serde_json::from_str(&kubectl.run(&["get", "--raw", &format!("/api/v1/namespaces/{}/configmaps/a", kubectl.namespace())])?)?;
    ensure!(raw["data"]["k"] == "one", "{raw}");
    let described = kubectl.run(&["describe", "configmap", "a"])?;
    ensure!(described.contains("Data\n====\nk:\n----\none\n") && described.contains("Labels:       x=1\n"), "{described}");
    Ok(())
}

fn e2e_labels_and_fields_select(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    for (name, labels) in [("a", "x=1"), ("b", "x=2"), ("c", "y=1")] {
        config_map(kubectl, name, labels, "v")?;
    }
    for (selector, expected) in [
        ("x", "a b"),
        ("x=1", "a"),
        ("x==2", "b"),
        ("x!=1", "b c kube-root-ca.crt"),
        ("x in (1,2)", "a b"),
        ("x in (1, 3),x", "a"),
        ("x notin (1)", "b c kube-root-ca.crt"),
        ("!x", "c kube-root-ca.crt"),
        ("!x,y", "c"),
        ("x,y", ""),
        ("x>1", "b"),
        ("x<2", "a"),
    ] {
        let names = kubectl.run(&["get", "configmaps", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}"])?;
        ensure!(names == expected, "{selector}: {names}, expected {expected}");
    }
    let fields =
        |kind: &str, selector: &str| kubectl.run(&["get", kind, "--field-selector", selector, "-o", "jsonpath={.items[*].metadata.name}"]);
    ensure!(fields("configmaps", "metadata.name=b")? == "b");
    ensure!(fields("configmaps", "metadata.name!=b,metadata.name!=a")? == "c kube-root-ca.crt");
    ensure!(fields("configmaps", &format!("metadata.namespace={}", kubectl.namespace()))? == "a b c kube-root-ca.crt");
    kubectl.run(&["create", "secret", "generic", "plain"])?;
    ensure!(fields("secrets", "type=Opaque")? == "plain" && fields("secrets", "type!=Opaque")?.is_empty());
    let pod = |name: &str, spec: Value| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        kubectl.run_with(&["create", "-f", "-"], &pod.to_string())
    };
    let nowhere = json!({"nodeSelector": {"no": "where"}, "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
    pod("p", nowhere)?;
    for selector in [
        "status.phase=Pending",
        "spec.nodeName=",
        "spec.restartPolicy=Never",
        "spec.schedulerName=default-scheduler",
        "spec.serviceAccountName=default",
    ] {
        ensure!(fields("pods", selector)? == "p", "{selector}");
    }
    ensure!(fields("pods", "status.phase=Running,spec.nodeName=node1")?.is_empty());
    ensure!(
        kubectl.run(&["get", "nodes", "--field-selector", "spec.unschedulable=false", "-o", "jsonpath={.items[*].metadata.name}"])?
            == "node1 node2"
    );
    Ok(())
}

fn e2e_lists_are_sorted_and_carry_labels(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    for (name, labels, value) in [("a", "x=3", "2"), ("b", "x=1", "3"), ("c", "x=2", "1")] {
        config_map(kubectl, name, labels, value)?;
    }
    let sorted = |by: &str| kubectl.run(&["get", "configmaps", "-l", "x", "--sort-by", by, "-o", "name"]);
    ensure!(sorted("{.data.k}")? == "configmap/c\nconfigmap/a\nconfigmap/b\n");
    ensure!(sorted(".metadata.labels.x")? == "configmap/b\nconfigmap/c\nconfigmap/a\n");
    ensure!(sorted(".metadata.creationTimestamp")?.lines().count() == 3);
    let shown = Columns::parse(&kubectl.run(&["get", "configmaps", "-l", "x", "--sort-by=.data.k", "--show-labels", "-L", "x"])?)?;
    shown.has("NAME|DATA|AGE|X|LABELS", &["b", "1", "AGE", "1", "x=1"])?;
    ensure!(shown.rows[0][0] == "c", "{shown:?}");
    Ok(())
}

fn e2e_watches_tell_what_happens(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    config_map(kubectl, "old", "w=1", "v")?;
    let mut all = kubectl.start(&["get", "configmaps", "-l", "w", "-w", "--output-watch-events"])?;
    let mut later = kubectl.start(&["get", "configmaps", "-l", "w", "--watch-only", "-o", "jsonpath={.metadata.name}={.data.k} "])?;
    let lines = Lines::of(all.stdout.take().context("no output")?);
    let next = || -> Result<Vec<String>> {
        let line = lines.next()?.context("the watch ended")?;
        Ok(line.split_whitespace().map(str::to_owned).collect())
    };
    ensure!(next()? == ["EVENT", "NAME", "DATA", "AGE"]);
    ensure!(next()?[..3] == ["ADDED", "old", "1"]);
    // The other has nothing to show when it has begun: it is given changes until it shows one.
    let mut shown = BufReader::new(later.stdout.take().context("no output")?);
    let reader = std::thread::spawn(move || -> std::io::Result<String> {
        let mut text = Vec::new();
        while !text.ends_with(b"=end ") && shown.read_until(b' ', &mut text)? > 0 {}
        Ok(String::from_utf8_lossy(&text).into_owned())
    });
    eventually("the second watch to begin", || {
        kubectl.run(&["patch", "configmap", "old", "-p", r#"{"data":{"k":"end"}}"#])?;
        kubectl.run(&["patch", "configmap", "old", "-p", r#"{"data":{"k":"begin"}}"#])?;
        ensure!(reader.is_finished(), "nothing was shown");
        Ok(())
    })?;
    let text = reader.join().map_err(|_| anyhow::anyhow!("the reader failed"))??;
    ensure!(text.split_whitespace().all(|word| word == "old=begin" || word == "old=end"), "{text}");
    config_map(kubectl, "new", "w=2", "v")?;
    let mut event = next()?;
    while event[1] == "old" {
        ensure!(event[0] == "MODIFIED", "{event:?}");
        event = next()?;
    }
    // Created without the label, it comes into the selection with it.
    ensure!(event[..2] == ["ADDED", "new"], "{event:?}");
    kubectl.run(&["label", "configmap", "new", "w-"])?;
    ensure!(next()?[..2] == ["DELETED", "new"], "leaving the selection is a deletion");
    kubectl.run(&["delete", "configmap", "old"])?;
    ensure!(next()?[..2] == ["DELETED", "old"]);
    for watch in [&mut all, &mut later] {
        watch.kill()?;
        watch.wait()?;
    }
    Ok(())
}

fn e2e_long_lists_come_in_chunks(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let items: Vec<Value> = (0..600)
        .map(|index| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{index:03}"), "labels": {"n": "1"}}}))
        .collect();
    kubectl.run_with(&["create", "-f", "-"], &json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    for size in ["500", "7", "0"] {
        let chunk = format!("--chunk-size={size}");
        let output = kubectl.output(&["get", "configmaps", "-l", "n=1", &chunk, "-o", "name", "-v=6"], None)?;
        let names: BTreeSet<&str> = output.stdout.lines().collect();
        ensure!(names.len() == 600 && output.stdout.lines().count() == 600, "{size}: {} names", names.len());
        let requests = output.stderr.lines().filter(|line| line.contains("/configmaps?") && line.contains("200 OK")).count();
        let expected = match size {
            "500" => 2,
            "7" => 86,
            _ => 1,
        };
        ensure!(requests == expected, "{size}: {requests} requests");
    }
    let path = format!("/api/v1/namespaces/{}/configmaps", kubectl.namespace());
    let list: Value = serde_json::from_str(&kubectl.run(&["get", "--raw", &format!("{path}?limit=10")])?)?;
    ensure!(list["metadata"]["remainingItemCount"] == 591 && list["metadata"]["continue"].is_string(), "{}", list["metadata"]);
    kubectl.run(&["delete", "configmaps", "-l", "n=1", "--wait=false"])?;
    ensure!(kubectl.run(&["get", "configmaps", "-o", "name"])? == "configmap/kube-root-ca.crt\n");
    Ok(())
}

fn e2e_several_kinds_and_namespaces_are_listed_together(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "deployment", "web", "--image=i", "--replicas=0"])?;
    kubectl.run(&["create", "service", "clusterip", "web", "--tcp=80"])?;
    kubectl.run(&["create", "configmap", "web"])?;
    eventually("the ReplicaSet", || {
        ensure!(!kubectl.run(&["get", "replicasets", "-o", "name"])?.is_empty());
        Ok(())
    })?;
    let all = kubectl.run(&["get", "all"])?;
    let kinds: Vec<&str> = all.lines().filter_map(|line| line.split_once('/').map(|(kind, _)| kind)).collect();
    ensure!(kinds == ["service", "deployment.apps", "replicaset.apps"], "{all}");
    let two = kubectl.run(&["get", "deployment/web", "service/web", "-o", "name"])?;
    ensure!(two == "deployment.apps/web\nservice/web\n", "{two}");
    let short = kubectl.run(&["get", "deploy,svc,cm", "-o", "name"])?;
    ensure!(short.contains("deployment.apps/web\n") && short.contains("configmap/web\n"), "{short}");
    let everywhere = Columns::parse(&kubectl.run(&["get", "configmaps", "-A"])?)?;
    ensure!(everywhere.header[0] == "NAMESPACE");
    let mine = everywhere.rows.iter().find(|row| row[0] == kubectl.namespace() && row[1] == "web");
    ensure!(mine.is_some(), "{everywhere:?}");
    let api = kubectl.run(&["get", "events.events.k8s.io,events.v1."]);
    ensure!(api.is_ok(), "both groups of events are there: {api:?}");
    Ok(())
}

fn e2e_events_are_listed_by_object_and_time(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeSelector": {"no": "where"}, "containers": [{"name": "c", "image": "i"}]}});
    kubectl.apply(&pod.to_string())?;
    let shown = eventually("the scheduler's event", || {
        let shown = kubectl.run(&["get", "events", "--field-selector", "involvedObject.name=p,reason=FailedScheduling"])?;
        ensure!(shown.lines().count() == 2, "{shown}");
        Ok(shown)
    })?;
    let table = Columns::parse(&shown)?;
    ensure!(table.header == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"], "{shown}");
    ensure!(
        table.rows[0][1..4] == ["Warning", "FailedScheduling", "pod/p"] && table.rows[0][4].starts_with("0/2 nodes are available: "),
        "{shown}"
    );
    kubectl.run(&["create", "deployment", "web", "--image=i", "--replicas=1"])?;
    eventually("the controllers' events", || {
        let events = kubectl.run(&["events"])?;
        ensure!(events.contains("ScalingReplicaSet") && events.contains("SuccessfulCreate"), "{events}");
        Ok(())
    })?;
    let of_one = kubectl.run(&["events", "--for", "deployment/web", "--no-headers"])?;
    ensure!(of_one.lines().count() == 1 && of_one.contains("Scaled up replica set web-"), "{of_one}");
    ensure!(kubectl.run(&["events", "--types=Warning", "--no-headers"])?.lines().all(|line| line.contains("Warning")));
    ensure!(kubectl.run(&["get", "events", "--sort-by=.lastTimestamp", "-o", "name"])?.lines().count() >= 3);
    let newer = kubectl.json(&["get", "events.events.k8s.io", "--field-selector", "reason=FailedScheduling"])?;
    ensure!(
        newer["items"][0]["regarding"]["name"] == "p"
            && newer["items"][0]["note"].as_str().is_some_and(|note| note.starts_with("0/2 nodes")),
        "{newer}"
    );
    Ok(())
}
