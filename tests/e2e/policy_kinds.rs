//! The kinds about policies through kubectl: ClusterNetworkPolicy, and what is told of policies and Services on the nodes.

use anyhow::{Result, ensure};
use orknet_tests::columns::Columns;
use orknet_tests::server::Server;
use orknet_tests::talk::{self, Client, How, Outcome, Target};
use orknet_tests::{Cluster, Kubectl, eventually, tests};

tests![
    e2e_cluster_network_policies_are_written_shown_and_explained,
    e2e_what_was_applied_is_told_when_it_is_in_force_on_every_node,
    e2e_what_nodes_report_is_summed_up,
    e2e_whoever_has_waited_for_a_change_finds_it_in_force,
];

const CLUSTER_POLICY: &str = r#"
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: top}
spec:
  tier: Baseline
  priority: 10
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: nobody}}}
  ingress:
  - {name: probes, action: Accept, from: [{pods: {podSelector: {matchLabels: {app: probe}}}}], protocols: [{tcp: {destinationPort: {number: 80}}}]}
  - {action: Deny, from: [{namespaces: {}}]}
  egress:
  - {action: Accept, to: [{networks: [10.0.0.0/8, "fd00::/8"]}, {nodes: {}}]}
"#;

fn policy(name: &str, types: &str) -> String {
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}}}, spec: {{podSelector: {{}}, policyTypes: [{types}]}}}}"
    )
}

fn field(kubectl: &Kubectl, what: &str, path: &str) -> Result<String> {
    kubectl.run(&["get", what, "-o", &format!("jsonpath={{{path}}}")])
}

fn table(kubectl: &Kubectl, kind: &str, header: &str, row: &[&str]) -> Result<()> {
    Columns::parse(&kubectl.run(&["get", kind])?)?.has(header, row)
}

fn e2e_cluster_network_policies_are_written_shown_and_explained(_: &Cluster, _: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(directory.path())?;
    let kubectl = &server.kubectl();
    kubectl.run_with(&["create", "-f", "-"], CLUSTER_POLICY)?;
    table(kubectl, "cnp", "NAME|TIER|PRIORITY|AGE", &["top", "Baseline", "10", "AGE"])?;
    let changed = CLUSTER_POLICY.replace("priority: 10", "priority: 20");
    kubectl.run_with(&["apply", "-f", "-"], &changed)?;
    let changed = changed.replace("priority: 20", "priority: 30");
    kubectl.run_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &changed)?;
    kubectl.run(&["label", "cnp", "top", "a=b"])?;
    ensure!(field(kubectl, "cnp/top", ".metadata.generation")? == "3");
    let described = kubectl.run(&["describe", "cnp", "top"])?;
    ensure!(described.contains("  Tier: ") && described.contains("Baseline\n") && described.contains("fd00::/8\n"), "{described}");
    let explained = kubectl.run(&["explain", "cnp.spec.egress.to", "--recursive"])?;
    ensure!(
        explained.contains("  networks\t<[]string>\n") && explained.contains("    podSelector\t<LabelSelector> -required-\n"),
        "{explained}"
    );
    let explained = kubectl.run(&["explain", "clusternetworkpolicy.spec.tier"])?;
    ensure!(explained.contains("FIELD: tier <string>\n") && explained.contains("Admin before every NetworkPolicy"), "{explained}");
    let said = kubectl.fails(&["apply", "-f", "-"], Some(&changed.replace("priority: 30", "priority: 1001")))?;
    ensure!(said.contains("spec.priority: Invalid value: 1001: spec.priority in body should be less than or equal to 1000"), "{said}");
    let said = kubectl.fails(&["apply", "-f", "-"], Some(&changed.replace("action: Deny", "action: Allow")))?;
    ensure!(said.contains(r#"spec.ingress[1].action: Unsupported value: "Allow""#), "{said}");
    let said = kubectl.fails(&["apply", "-f", "-"], Some(&changed.replace("nodes:", "hosts:")))?;
    ensure!(said.contains(r#"unknown field "spec.egress[0].to[1].hosts""#), "{said}");
    // Who may view may see it; who may edit a namespace may not change it.
    kubectl.run(&["create", "clusterrolebinding", "viewer", "--clusterrole=view", "--user=viewer"])?;
    kubectl.run(&["create", "clusterrolebinding", "editor", "--clusterrole=edit", "--user=editor"])?;
    for (who, verb, kind, may) in [
        ("viewer", "get", "clusternetworkpolicies", "yes"),
        ("viewer", "list", "networkpolicystatuses", "yes"),
        ("editor", "watch", "servicestatuses", "yes"),
        ("editor", "update", "clusternetworkpolicies", "no"),
        ("editor", "update", "networkpolicystatuses", "no"),
        ("editor", "patch", "nodeprogrammings", "no"),
    ] {
        eventually(&format!("{who} may {verb} {kind}: {may}"), || {
            let said = kubectl.output(&["auth", "can-i", verb, kind, "--as", who], None)?;
            ensure!(said.stdout.trim() == may, "{said:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// On a server without agents the test reports in their place.
fn e2e_what_nodes_report_is_summed_up(_: &Cluster, _: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(directory.path())?;
    let kubectl = &server.kubectl();
    for node in ["n1", "n2"] {
        kubectl.apply(&format!("{{apiVersion: v1, kind: Node, metadata: {{name: {node}}}}}"))?;
    }
    let report = |node: &str, version: &str, failed: &str| {
        let kinds = ["NetworkPolicy", "ClusterNetworkPolicy"].map(|kind| format!("{{kind: {kind}, resourceVersion: '{version}'}}"));
        let status = format!("{{programmed: [{}], failed: [{failed}]}}", kinds.join(", "));
        let object =
            format!("{{apiVersion: networking.orknet.io/v1alpha1, kind: NodeProgramming, metadata: {{name: {node}}}, status: {status}}}");
        kubectl.run_with(&["apply", "--server-side", "-f", "-"], &object)
    };
    let message = ".status.conditions[0].message";
    let is = |what: &str, path: &str, wanted: &str| {
        eventually(&format!("{path} of {what} to be {wanted}"), || {
            let found = kubectl.output(&["get", what, "-o", &format!("jsonpath={{{path}}}")], None)?;
            ensure!(found.stdout == wanted, "{found:?}");
            Ok(())
        })
    };
    kubectl.apply(&policy("web", "Ingress"))?;
    kubectl.apply(CLUSTER_POLICY)?;
    for what in ["networkpolicystatus/web", "cnp/top"] {
        is(what, message, "in force on 0 of 2 nodes; waiting for n1, n2")?;
    }
    let version = field(kubectl, "cnp/top", ".metadata.resourceVersion")?;
    report("n1", &version, "{kind: NetworkPolicy, namespace: default, name: web, message: no room}")?;
    report("n2", &version, "")?;
    kubectl.run(&["wait", "cnp/top", "--for=condition=Programmed", "--timeout=60s"])?;
    is("networkpolicystatus/web", message, "in force on 1 of 2 nodes; failed on n1 (no room)")?;
    table(kubectl, "nodeprogrammings", "NAME|NETWORKPOLICIES|SERVICES|FAILED|AGE", &["n1", &version, "", "1", "AGE"])?;
    report("n1", &version, "")?;
    kubectl.run(&["wait", "networkpolicystatus/web", "--for=condition=Programmed", "--timeout=60s"])?;
    table(kubectl, "netpolstatus", "NAME|PROGRAMMED|NODES|GENERATION|AGE", &["web", "True", "2/2", "1", "AGE"])?;
    // Another generation is not in force before the nodes have come to it; other metadata is no other generation.
    kubectl.run(&["label", "networkpolicy", "web", "a=b"])?;
    kubectl.apply(&policy("web", "Egress"))?;
    is("networkpolicystatus/web", ".status.observedGeneration", "2")?;
    is("networkpolicystatus/web", ".status.conditions[0].status", "False")?;
    let version = field(kubectl, "networkpolicy/web", ".metadata.resourceVersion")?;
    ensure!(field(kubectl, "networkpolicystatus/web", ".status.observedResourceVersion")? == version);
    report("n1", &version, "")?;
    is("networkpolicystatus/web", message, "in force on 1 of 2 nodes; waiting for n2")?;
    // However soon somebody looks after a change, the former generation's is not taken for it, and by nobody who lists or watches.
    let far = (version.parse::<u64>()? + 1_000_000).to_string();
    report("n1", &version, "")?;
    report("n2", &version, "")?;
    kubectl.run(&["wait", "networkpolicystatus/web", "--for=condition=Programmed", "--timeout=60s"])?;
    for round in 0..20 {
        kubectl.apply(&policy("web", ["Ingress", "Egress"][round % 2]))?;
        let said = kubectl.fails(&["wait", "networkpolicystatus/web", "--for=condition=Programmed", "--timeout=0s"], None)?;
        ensure!(said.contains("condition not met"), "{said}");
        let version = field(kubectl, "networkpolicy/web", ".metadata.resourceVersion")?;
        report("n1", &version, "")?;
        report("n2", &version, "")?;
        kubectl.run(&["wait", "networkpolicystatus/web", "--for=condition=Programmed", "--timeout=60s"])?;
    }
    // A node that goes does not count any more.
    report("n2", &version, "")?;
    kubectl.run(&["delete", "node", "n2"])?;
    is("networkpolicystatus/web", message, "in force on the only node")?;
    // What somebody else writes is put right, and what is right is left alone.
    kubectl.run(&["patch", "netpolstatus", "web", "--type=merge", "-p", r#"{"status": {"nodes": "7/7"}}"#])?;
    is("networkpolicystatus/web", ".status.nodes", "1/1")?;
    let written = field(kubectl, "networkpolicystatus/web", ".metadata.resourceVersion")?;
    report("n1", &far, "")?;
    // A policy that comes later is told of later: by then all that there was to write is written.
    kubectl.apply(&policy("other", "Ingress"))?;
    kubectl.run(&["wait", "networkpolicystatus/other", "--for=condition=Programmed", "--timeout=60s"])?;
    ensure!(field(kubectl, "networkpolicystatus/web", ".metadata.resourceVersion")? == written, "the status is written without need");
    kubectl.run(&["delete", "networkpolicy", "web"])?;
    kubectl.run(&["wait", "networkpolicystatus/web", "--for=delete", "--timeout=60s"])?;
    Ok(())
}

fn e2e_what_was_applied_is_told_when_it_is_in_force_on_every_node(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(&policy("deny", "Ingress"))?;
    kubectl.run(&["create", "service", "clusterip", "web", "--tcp=80"])?;
    for what in ["networkpolicystatus/deny", "servicestatus/web"] {
        kubectl.run(&["wait", what, "--for=condition=Programmed", "--timeout=60s"])?;
        ensure!(field(kubectl, what, ".status.nodes")? == "2/2", "{what}: {}", field(kubectl, what, ".status")?);
    }
    kubectl.apply(&policy("deny", "Egress"))?;
    kubectl.run(&["wait", "networkpolicystatus/deny", "--for=condition=Programmed", "--timeout=60s"])?;
    table(kubectl, "netpolstatus", "NAME|PROGRAMMED|NODES|GENERATION|AGE", &["deny", "True", "2/2", "2", "AGE"])?;
    kubectl.apply(&CLUSTER_POLICY.replace("name: top", &format!("name: {}", kubectl.namespace())))?;
    let result = kubectl.run(&["wait", &format!("cnp/{}", kubectl.namespace()), "--for=condition=Programmed", "--timeout=60s"]);
    kubectl.run(&["delete", "cnp", kubectl.namespace()])?;
    result.map(drop)
}

/// Twenty changes of one policy, each waited for as people do, right after it: from then on packets are judged by it.
fn e2e_whoever_has_waited_for_a_change_finds_it_in_force(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::pod(kubectl, "web", "nodeName: node1")?;
    let client = Client::on_node(kubectl, "client", "node2")?;
    talk::wait_ready(kubectl, "web")?;
    let address = field(kubectl, "pod/web", ".status.podIP")?;
    let asked = [How::Tcp, How::Udp].map(|how| Target::new(how, &address, talk::PORT));
    for round in 0..20 {
        let is_open = round % 2 == 1;
        let rules = if is_open { "[{}]" } else { "[]" };
        let spec = format!("{{podSelector: {{matchLabels: {{app: web}}}}, ingress: {rules}}}");
        kubectl.apply(&format!("{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: web}}, spec: {spec}}}"))?;
        kubectl.run(&["wait", "networkpolicystatus/web", "--for=condition=Programmed", "--timeout=60s"])?;
        for (target, attempt) in client.try_all(asked.clone())? {
            let is_answered = matches!(attempt.outcome, Outcome::Answer { .. });
            ensure!(is_answered == is_open, "round {round}: {target:?}: {attempt:?}");
        }
    }
    Ok(())
}
