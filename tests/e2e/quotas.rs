//! Do quotas, limits and Pod Security hold for people with kubectl and for what controllers make in their name?

use anyhow::{Result, ensure};
use orknet_tests::server::Server;
use orknet_tests::{Cluster, Kubectl, eventually, tests};

tests![e2e_a_team_stays_within_its_quota, e2e_a_namespace_is_made_stricter];

const LIMITS: &str = "{apiVersion: v1, kind: LimitRange, metadata: {name: l, namespace: team}, spec: {limits: [{type: Container,
    defaultRequest: {cpu: 100m}, default: {cpu: 200m}}]}}";

fn is(kubectl: &Kubectl, what: &str, path: &str, wanted: &str) -> Result<()> {
    eventually(&format!("{path} of {what} to be {wanted}"), || {
        let found = kubectl.output(&["get", "-n", "team", what, "-o", &format!("jsonpath={{{path}}}")], None)?;
        ensure!(found.stdout == wanted, "{found:?}");
        Ok(())
    })
}

/// On a server without nodes: pods are only made.
fn e2e_a_team_stays_within_its_quota(_: &Cluster, _: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(directory.path())?;
    let kubectl = &server.kubectl();
    kubectl.run(&["create", "namespace", "team"])?;
    kubectl.run(&["create", "quota", "q", "-n", "team", "--hard=pods=2,requests.cpu=1,count/deployments.apps=1"])?;
    kubectl.apply(LIMITS)?;
    is(kubectl, "quota/q", ".status.used.pods", "0")?;
    kubectl.run(&["create", "deployment", "web", "-n", "team", "--image=i", "--replicas=4"])?;
    is(kubectl, "deployment/web", ".status.replicas", "2")?;
    is(kubectl, "quota/q", ".status.used", r#"{"count/deployments.apps":"1","pods":"2","requests.cpu":"200m"}"#)?;
    let said = kubectl.fails(&["create", "deployment", "more", "-n", "team", "--image=i"], None)?;
    let why = r#"deployments.apps "more" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=1, limited: count/deployments.apps=1"#;
    ensure!(said.contains(why), "{said}");
    eventually("an event that tells why there are no more pods", || {
        let events = kubectl.run(&["get", "events", "-n", "team", "--field-selector=reason=FailedCreate"])?;
        ensure!(events.contains("is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"), "{events}");
        Ok(())
    })?;
    // More is allowed, and comes; what goes is free again.
    kubectl.run(&["patch", "quota", "q", "-n", "team", "--type=merge", "-p", r#"{"spec":{"hard":{"pods":"4"}}}"#])?;
    is(kubectl, "deployment/web", ".status.replicas", "4")?;
    kubectl.run(&["scale", "deployment", "web", "-n", "team", "--replicas=1"])?;
    is(kubectl, "quota/q", ".status.used.pods", "1")?;
    let described = kubectl.run(&["describe", "quota", "q", "-n", "team"])?;
    ensure!(described.contains("requests.cpu            100m  1\n"), "{described}");
    Ok(())
}

fn e2e_a_namespace_is_made_stricter(_: &Cluster, _: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(directory.path())?;
    let kubectl = &server.kubectl();
    kubectl.run(&["create", "namespace", "team"])?;
    let run = |name: &str| vec!["run".to_owned(), name.to_owned(), "-n=team".into(), "--image=i".into(), "--privileged".into()];
    let arguments = run("a");
    kubectl.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    let label = "pod-security.kubernetes.io/enforce=baseline";
    let tried = kubectl.output(&["label", "--dry-run=server", "namespace", "team", label], None)?;
    let told = "Warning: existing pods in namespace \"team\" violate the new PodSecurity enforce level \"baseline:latest\"\nWarning: a: privileged\n";
    ensure!(tried.code == 0 && tried.stderr == told, "{tried:?}");
    kubectl.run(&["label", "namespace", "team", label])?;
    let arguments = run("b");
    let said = kubectl.fails(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), None)?;
    let why = r#"pods "b" is forbidden: violates PodSecurity "baseline:latest": privileged (container "b" must not set securityContext.privileged=true)"#;
    ensure!(said.contains(why), "{said}");
    Ok(())
}
