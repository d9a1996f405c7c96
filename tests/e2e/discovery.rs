//! Can a client find out what the server has: kinds, versions, fields, paths, health?

use anyhow::{Context, Result, ensure};
use orknet_tests::{Cluster, Kubectl, Lines, tests};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

tests![
    e2e_kinds_and_versions_are_listed,
    e2e_fields_are_explained_at_any_depth,
    e2e_versions_and_cluster_are_told,
    e2e_raw_paths_answer,
    e2e_a_proxy_serves_the_api,
    e2e_every_group_version_is_registered,
];

fn e2e_kinds_and_versions_are_listed(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let kinds = kubectl.run(&["api-resources", "--no-headers"])?;
    for (line, short) in
        [("pods", "po"), ("services", "svc"), ("deployments", "deploy"), ("networkpolicies", "netpol"), ("configmaps", "cm")]
    {
        let found = kinds.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|words| words[0] == line);
        ensure!(found.as_ref().is_some_and(|words| words[1] == short && words.contains(&"true")), "{line}: {found:?}");
    }
    let names = kubectl.run(&["api-resources", "--namespaced=false", "-o", "name", "--verbs=list"])?;
    for name in [
        "namespaces",
        "nodes",
        "clusterroles.rbac.authorization.k8s.io",
        "ingressclasses.networking.k8s.io",
        "storageclasses.storage.k8s.io",
    ] {
        ensure!(names.lines().any(|line| line == name), "{name} in {names}");
    }
    ensure!(!names.contains("reviews") && !names.lines().any(|line| line == "pods"), "{names}");
    let of_group = kubectl.run(&["api-resources", "--api-group=apps", "-o", "wide", "--no-headers"])?;
    ensure!(of_group.lines().count() == 5, "{of_group}");
    let deployments = of_group.lines().find(|line| line.starts_with("deployments")).context("no deployments")?;
    ensure!(
        deployments.contains("create,delete,deletecollection,get,list,patch,update,watch") && deployments.trim_end().ends_with("all"),
        "{deployments}"
    );
    let versions = kubectl.run(&["api-versions"])?;
    for version in
        ["v1", "apps/v1", "batch/v1", "discovery.k8s.io/v1", "events.k8s.io/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"]
    {
        ensure!(versions.lines().any(|line| line == version), "{version} in {versions}");
    }
    // Everything that can be listed can be listed.
    let all = kubectl.run(&["api-resources", "--verbs=list", "-o", "name"])?;
    let output = kubectl.output(&["get", &all.lines().collect::<Vec<_>>().join(","), "-A", "-o", "name"], None)?;
    let mut told: Vec<&str> = output.stderr.lines().collect();
    told.sort_unstable();
    let deprecated = [
        "Warning: v1 ComponentStatus is deprecated in v1.19+",
        "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ];
    ensure!(output.code == 0 && told == deprecated, "{output:?}");
    Ok(())
}

fn e2e_fields_are_explained_at_any_depth(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let explain = |what: &str| kubectl.run(&["explain", what]);
    let pod = explain("pod")?;
    ensure!(pod.starts_with("KIND:       Pod\nVERSION:    v1\n\nDESCRIPTION:\n"), "{pod}");
    ensure!(pod.contains("  spec\t<PodSpec>\n"), "{pod}");
    let deep = explain("deployment.spec.template.spec.containers.livenessProbe.httpGet.port")?;
    ensure!(deep.starts_with("GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n\nFIELD: port <IntOrString>"), "{deep}");
    let service = explain("svc.spec.type")?;
    ensure!(service.contains("FIELD: type <string>\n") && service.contains("type determines how the Service is exposed."), "{service}");
    ensure!(service.contains("ENUM:\n    ClusterIP\n    ExternalName\n    LoadBalancer\n    NodePort\n"), "{service}");
    let recursive = kubectl.run(&["explain", "networkpolicy.spec", "--recursive"])?;
    ensure!(recursive.contains("      ipBlock\t<IPBlock>\n        cidr\t<string> -required-\n        except\t<[]string>\n"), "{recursive}");
    // As older clients ask, in protobuf.
    let old = kubectl.run(&["explain", "--output=plaintext-openapiv2", "deployment.spec.strategy"])?;
    ensure!(old.starts_with("KIND:     Deployment\nVERSION:  apps/v1\n\nRESOURCE: strategy <Object>\n"), "{old}");
    ensure!(old.contains("   rollingUpdate\t<Object>\n") && old.contains("   type\t<string>\n"), "{old}");
    let said = kubectl.fails(&["explain", "pod.spec.nothing"], None)?;
    ensure!(said.contains("field \"nothing\" does not exist"), "{said}");
    let kinds = kubectl.run(&["api-resources", "--verbs=list", "-o", "name"])?;
    // kubectl takes another group of kinds of the same name for fields of the first.
    let misread = ["events.events.k8s.io", "nodes.metrics.k8s.io", "pods.metrics.k8s.io"];
    for kind in kinds.lines().filter(|kind| !misread.contains(kind)) {
        ensure!(explain(kind)?.contains("DESCRIPTION:"), "{kind}");
    }
    Ok(())
}

fn e2e_versions_and_cluster_are_told(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let version: Value = serde_json::from_str(&kubectl.run(&["version", "-o", "json"])?)?;
    let server = &version["serverVersion"];
    ensure!(server["major"] == "1" && server["minor"] == "33", "{server}");
    ensure!(server["gitVersion"].as_str().is_some_and(|version| version.starts_with("v1.33.")), "{server}");
    let info = kubectl.run(&["cluster-info"])?;
    ensure!(info.contains("Kubernetes control plane is running at https://"), "{info}");
    let directory = tempfile::tempdir()?;
    let target = directory.path().to_string_lossy().into_owned();
    kubectl.run(&["create", "configmap", "a"])?;
    kubectl.run(&["cluster-info", "dump", "--namespaces", kubectl.namespace(), "--output-directory", &target])?;
    let nodes: Value = serde_json::from_str(&std::fs::read_to_string(directory.path().join("nodes.json"))?)?;
    ensure!(nodes["items"].as_array().is_some_and(|nodes| nodes.len() >= 2), "{nodes}");
    ensure!(directory.path().join(kubectl.namespace()).join("pods.json").exists());
    Ok(())
}

fn e2e_raw_paths_answer(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let raw = |path: &str| kubectl.run(&["get", "--raw", path]);
    for path in ["/healthz", "/livez", "/readyz", "/livez/ping", "/readyz?exclude=ping"] {
        ensure!(raw(path)? == "ok", "{path}");
    }
    let verbose = raw("/readyz?verbose")?;
    ensure!(verbose.contains("[+]ping ok\n") && verbose.ends_with("readyz check passed\n"), "{verbose}");
    let value = |path: &str| -> Result<Value> { Ok(serde_json::from_str(&raw(path)?)?) };
    ensure!(value("/version")?["minor"] == "33");
    ensure!(
        value("/")?["paths"].as_array().is_some_and(|paths| paths.contains(&"/apis/apps/v1".into()) && paths.contains(&"/healthz".into()))
    );
    ensure!(value("/api")?["versions"] == serde_json::json!(["v1"]));
    ensure!(value("/apis")?["kind"] == "APIGroupList" && value("/apis/apps")?["preferredVersion"]["groupVersion"] == "apps/v1");
    ensure!(value("/apis/apps/v1")?["kind"] == "APIResourceList");
    let index = value("/openapi/v3")?;
    let path = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().context("no document of apps/v1")?.to_owned();
    let document = value(&path)?;
    ensure!(document["openapi"] == "3.0.0" && document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object(), "{path}");
    ensure!(value("/openapi/v2")?["swagger"] == "2.0");
    let metrics = raw("/metrics")?;
    ensure!(metrics.contains("apiserver_request_total{") && metrics.contains("# TYPE apiserver_request"), "{metrics}");
    ensure!(value("/.well-known/openid-configuration")?["jwks_uri"].is_string() && value("/openid/v1/jwks")?["keys"].is_array());
    Ok(())
}

fn e2e_a_proxy_serves_the_api(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let mut proxy = kubectl.start(&["proxy", "--port=0"])?;
    let line = Lines::of(proxy.stdout.take().context("no output")?).next()?.context("the proxy said nothing")?;
    let address = line.trim().strip_prefix("Starting to serve on ").with_context(|| format!("the proxy said {line:?}"))?;
    let get = |path: &str| -> Result<String> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(std::time::Duration::from_secs(60)))?;
        socket.write_all(format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes())?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        Ok(text)
    };
    let answers = || -> Result<()> {
        ensure!(get("/version")?.contains("\"minor\":\"33\""));
        let list = get(&format!("/api/v1/namespaces/{}/configmaps", kubectl.namespace()))?;
        ensure!(list.starts_with("HTTP/1.0 200 OK") && list.contains("\"kind\":\"ConfigMapList\""), "{list}");
        ensure!(get("/apis/apps/v1/deployments/nothing")?.contains(" 404 "));
        Ok(())
    };
    let result = answers();
    proxy.kill()?;
    proxy.wait()?;
    result
}

fn e2e_every_group_version_is_registered(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let table = kubectl.run(&["get", "apiservices"])?;
    let mut lines = table.lines();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    ensure!(words(lines.next().context("no table")?) == ["NAME", "SERVICE", "AVAILABLE", "AGE"], "{table}");
    for name in ["v1.", "v1.apps", "v1.apiextensions.k8s.io", "v2.autoscaling"] {
        ensure!(table.lines().any(|line| words(line).get(..3).is_some_and(|cells| cells == [name, "Local", "True"])), "{name}: {table}");
    }
    kubectl.run(&["wait", "--for=condition=Available", "apiservice/v1.apps", "--timeout=10s"])?;
    ensure!(kubectl.run(&["get", "api-extensions", "-o", "name"])?.contains("apiservice.apiregistration.k8s.io/v1.apps"));
    Ok(())
}
