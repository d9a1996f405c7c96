//! Does `orknet trace` say what becomes of a packet, and is it what a connection gets?

use anyhow::{Context, Result, ensure};
use orknet_tests::talk::{self, Client, How, at};
use orknet_tests::{Cluster, Kubectl, programmed, tests};
use serde_json::{Value, json};

tests![
    e2e_a_trace_follows_a_packet_through_a_service_to_another_node,
    e2e_a_trace_names_the_rule_that_lets_in_or_refuses,
    e2e_a_trace_says_why_a_packet_gets_nowhere,
];

/// What a trace printed, and its exit code.
fn trace(cluster: &Cluster, source: &str, destination: &str, more: &[&str]) -> Result<(Value, i32)> {
    let mut command = cluster.command(&["trace", source, destination, "-o", "json"]);
    let output = command.args(more).output().context("cannot run orknet trace")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = serde_json::from_str(&text)
        .with_context(|| format!("orknet trace {source} {destination}: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((told, output.status.code().unwrap_or(-1)))
}

/// The steps of a kind.
fn steps<'a>(told: &'a Value, kind: &str) -> Vec<&'a Value> {
    told["steps"].as_array().into_iter().flatten().filter(|step| step["step"] == kind).collect()
}

/// `namespace/name` of this test's namespace.
fn named(kubectl: &Kubectl, name: &str) -> String {
    format!("{}/{name}", kubectl.namespace())
}

/// Pods of these names on these nodes, ready.
fn pods(kubectl: &Kubectl, pods: &[(&str, &str)]) -> Result<()> {
    pods.iter().try_for_each(|(pod, node)| talk::pod(kubectl, pod, &format!("nodeName: {node}")))?;
    pods.iter().try_for_each(|(pod, _)| talk::wait_ready(kubectl, pod))
}

fn e2e_a_trace_follows_a_packet_through_a_service_to_another_node(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods(kubectl, &[("client", "node1"), ("server", "node2")])?;
    talk::serve(kubectl, "web", "server", "ipFamilyPolicy: RequireDualStack")?;
    let (client, service) = (named(kubectl, "client"), format!("service/{}", named(kubectl, "web")));
    programmed::of_object(kubectl, &kubectl.json(&["get", "service", "web"])?)?;
    for family in ["v4", "v6"] {
        let (told, code) = trace(cluster, &client, &service, &["--port", "80", "--family", family])?;
        ensure!(code == 0 && told["arrives"] == true && told["replies"] == true, "{told:#}");
        let chosen = steps(&told, "service");
        ensure!(chosen.len() == 1 && chosen[0]["pod"] == named(kubectl, "server"), "{told:#}");
        ensure!(steps(&told, "connect").len() == 1, "{told:#}");
        let way: Vec<_> = told["steps"].as_array().into_iter().flatten().filter_map(|step| step["node"].as_str()).collect();
        ensure!(way.first() == Some(&"node1") && way.last() == Some(&"node2"), "{way:?}");
        ensure!(steps(&told, "way").iter().any(|step| step["kind"] == "pod" && step["node"] == "node2"), "{told:#}");
    }
    // From a process of a node, and from outside.
    let (told, code) = trace(cluster, "node1", &service, &["--port", "80"])?;
    ensure!(code == 0 && told["end"].as_str().is_some_and(|end| end.contains("server")), "{told:#}");
    let (told, code) = trace(cluster, "198.51.100.7", &named(kubectl, "server"), &["--port", &talk::PORT.to_string()])?;
    ensure!(code == 0 && told["arrives"] == true, "{told:#}");
    // For people, in each of the ways to say it.
    let port = talk::PORT.to_string();
    for between in [&[][..], &["->"], &["to"]] {
        let said = [&["trace", "--namespace", kubectl.namespace(), "client"], between, &["server", "--port", &port]].concat();
        let text = cluster.orknet(&said)?;
        ensure!(text.contains("no policy isolates it") && text.contains("replies pass"), "{text}");
    }
    Ok(())
}

fn e2e_a_trace_names_the_rule_that_lets_in_or_refuses(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods(kubectl, &[("friend", "node2"), ("stranger", "node2"), ("enemy", "node1"), ("server", "node1")])?;
    let namespace = kubectl.namespace();
    let app = |name: &str| json!({"matchLabels": {"app": name}});
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let allows = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "friends"},
        "spec": {"podSelector": app("server"), "ingress": [
            {"from": [{"podSelector": app("nobody")}]},
            {"from": [{"podSelector": app("friend")}, {"podSelector": app("enemy")}], "ports": [{"port": talk::PORT}]}]}});
    let denies = json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": format!("{namespace}-enemies")},
        "spec": {"tier": "Admin", "priority": 10, "subject": {"pods": {"namespaceSelector": here, "podSelector": app("server")}},
            "ingress": [{"action": "Deny", "from": [{"pods": {"namespaceSelector": here, "podSelector": app("enemy")}}]}]}});
    programmed::apply(kubectl, &programmed::list(&[allows, denies]))?;
    let port = talk::PORT.to_string();
    let to_server = |from: &str, port: &str| trace(cluster, &named(kubectl, from), &named(kubectl, "server"), &["--port", port]);
    let address = kubectl.run(&["get", "pod", "server", "-o", "jsonpath={.status.podIP}"])?;
    let cases = [
        ("friend", true, json!(format!("NetworkPolicy {namespace}/friends ingress[1]"))),
        ("stranger", false, Value::Null),
        ("enemy", false, json!(format!("ClusterNetworkPolicy {namespace}-enemies ingress[0]"))),
    ];
    for (from, is_let_in, by) in cases {
        let (told, code) = to_server(from, &port)?;
        let judged = steps(&told, "judged");
        let judged = judged.iter().find(|step| step["direction"] == "ingress").with_context(|| format!("{from}: {told:#}"))?;
        ensure!((code == 0) == is_let_in && told["arrives"] == is_let_in, "{from}: {code} {told:#}");
        ensure!(judged["by"] == by && (judged["action"] == "allow") == is_let_in, "{from}: {told:#}");
        ensure!(is_let_in || told["reason"] == "policy-ingress", "{from}: {told:#}");
        // A connection fares the same.
        let attempt = Client::of(kubectl, from).attempt(How::Tcp, &at(&address, talk::PORT))?;
        ensure!(attempt.answer().is_ok() == is_let_in, "{from}: {attempt:?}");
    }
    let (told, code) = to_server("friend", "1")?;
    ensure!(code == 1 && told["reason"] == "policy-ingress", "the rule is about another port: {told:#}");
    kubectl.run(&["delete", "clusternetworkpolicy", &format!("{namespace}-enemies")])?;
    programmed::settle(kubectl)?;
    let (told, code) = to_server("enemy", &port)?;
    ensure!(code == 0, "{told:#}");
    Ok(())
}

fn e2e_a_trace_says_why_a_packet_gets_nowhere(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods(kubectl, &[("client", "node1")])?;
    talk::serve(kubectl, "empty", "nobody", "")?;
    programmed::of_object(kubectl, &kubectl.json(&["get", "service", "empty"])?)?;
    let (client, empty) = (named(kubectl, "client"), format!("service/{}", named(kubectl, "empty")));
    for (to, port, reason) in [("10.96.255.254", "80", "no-such-service"), (&empty, "80", "no-endpoints"), (&empty, "81", "no-such-port")] {
        let (told, code) = trace(cluster, &client, to, &["--port", port])?;
        ensure!(code == 1 && told["arrives"] == false && told["reason"] == reason, "{to}: {told:#}");
        ensure!(steps(&told, "connect")[0]["reason"] == reason, "{to}: {told:#}");
    }
    // What can't be traced is no answer, and says what it is.
    kubectl.apply(&format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: done}}
spec:
  restartPolicy: Never
  nodeName: node1
  containers: [{{name: tool, image: {}, command: ["true"]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: headless}}
spec: {{clusterIP: None, selector: {{app: nobody}}, ports: [{{port: 80}}]}}
"#,
        talk::TOOLS
    ))?;
    kubectl.run(&["wait", "pod/done", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=180s"])?;
    let (done, headless) = (named(kubectl, "done"), format!("service/{}", named(kubectl, "headless")));
    let as_pod = named(kubectl, "empty");
    for (source, destination, why) in [
        ("nobody", "10.96.0.1", "not found"),
        (&client, "service/nothing", "not found"),
        (&client, &as_pod, "there is a Service of that name: say service/"),
        (&client, &done, "has ended (Succeeded)"),
        (&client, &headless, "has no address of its own"),
        (&client, "-", "the shell took the arrow for itself"),
    ] {
        let output = cluster.command(&["trace", source, destination, "--port", "80"]).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2) && said.contains(why), "{destination}: {said}");
    }
    let output = cluster.command(&["policy", "show", &done]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains("has ended (Succeeded)"), "{said}");
    Ok(())
}
