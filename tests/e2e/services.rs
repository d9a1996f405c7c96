//! Does traffic to a Service reach its endpoints, and only those, while they come and go?

use anyhow::{Context, Result, ensure};
use orknet_tests::talk::{self, Client, How, at};
use orknet_tests::{Cluster, Kubectl, Lines, eventually, pods, tests, traces};
use std::collections::BTreeSet;

tests![
    e2e_services_are_balanced_and_follow_their_pods,
    e2e_services_pass_over_killed_servers,
    e2e_services_follow_readiness,
    e2e_services_fail_no_request_during_a_rolling_update,
    e2e_services_of_datagrams_follow_their_pods,
    e2e_services_without_endpoints_refuse_at_once,
    e2e_services_keep_their_clients,
    e2e_services_stay_on_the_node_if_asked_to,
];

/// Waits until asking gives answers from exactly the live pods of the app, and no errors.
pub fn follows(kubectl: &Kubectl, client: &Client<'_>, how: How, address: &str, app: &str, count: usize) -> Result<()> {
    eventually(&format!("{address} to follow the pods of {app}"), || {
        let live = talk::live_pods(kubectl, app)?;
        ensure!(live.len() == count, "{} pods live", live.len());
        client.ask(how, address, 30 * count as u32)?.are_from(&live)
    })
}

fn e2e_services_are_balanced_and_follow_their_pods(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::deploy(kubectl, "web", 3)?;
    let address = at(&talk::serve(kubectl, "web", "web", "")?, 80);
    let client = Client::start(kubectl, "client")?;
    follows(kubectl, &client, How::Tcp, &address, "web", 3)?;

    let answers = client.ask(How::Tcp, &address, 300)?;
    answers.are_from(&talk::live_pods(kubectl, "web")?)?;
    // With equal chances fewer than 50 of 300 for one of three happens once in 10^10 runs.
    ensure!(answers.by_server.values().all(|count| *count > 50), "not balanced: {answers:?}");

    kubectl.run(&["scale", "deployment", "web", "--replicas=5"])?;
    follows(kubectl, &client, How::Tcp, &address, "web", 5)?;
    kubectl.run(&["scale", "deployment", "web", "--replicas=2"])?;
    follows(kubectl, &client, How::Tcp, &address, "web", 2)?;

    for options in [&["--wait=false"][..], &["--wait=false", "--force", "--grace-period=0"]] {
        let before = talk::live_pods(kubectl, "web")?;
        let victim = before.first().context("there is no pod")?;
        kubectl.run(&[&["delete", "pod", victim], options].concat())?;
        follows(kubectl, &client, How::Tcp, &address, "web", 2)?;
        ensure!(!talk::live_pods(kubectl, "web")?.contains(victim), "{victim} is still there");
    }

    kubectl.run(&["delete", "service", "web"])?;
    eventually("the address of the deleted Service to lead nowhere", || {
        let answers = client.ask(How::Tcp, &address, 1)?;
        ensure!(answers.by_server.is_empty(), "{answers:?}");
        Ok(())
    })
}

/// What runs is killed from outside, as the kernel does when memory is short: no API call tells of it.
fn e2e_services_pass_over_killed_servers(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    for (name, more) in [("stays", ""), ("returns", "nodeName: node1"), ("ends", "nodeName: node2, restartPolicy: Never")] {
        talk::pod(kubectl, name, more)?;
        kubectl.run(&["label", "pod", name, "app=all", "--overwrite"])?;
        talk::wait_ready(kubectl, name)?;
    }
    let address = at(&talk::serve(kubectl, "all", "all", "")?, 80);
    let clients = [Client::on_node(kubectl, "client1", "node1")?, Client::on_node(kubectl, "client2", "node2")?];
    let are_reached = |names: &[&str]| {
        let expected: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let reached = |client: &Client<'_>| {
            eventually(&format!("{names:?} to be reached"), || client.ask(How::Tcp, &address, 30 * names.len() as u32)?.are_from(&expected))
        };
        clients.iter().try_for_each(reached)
    };
    are_reached(&["stays", "returns", "ends"])?;
    for name in ["returns", "ends"] {
        let pod = kubectl.json(&["get", "pod", name])?;
        let id = pods::container(&pod, "server")["containerID"].as_str().and_then(|id| id.strip_prefix("containerd://"));
        ensure!(traces::kill_container(id.context("there is no container")?)? > 0, "{name} has no process");
    }
    pods::phase(kubectl, "ends", "Failed")?;
    pods::when(kubectl, "returns", "the restart", |pod| {
        pods::container(pod, "server")["restartCount"] == 1 && pods::container(pod, "server")["ready"] == true
    })?;
    are_reached(&["stays", "returns"])
}

/// Pods whose readiness is a file.
fn pods_ready_by_file(kubectl: &Kubectl, names: &[&str]) -> Result<()> {
    for name in names {
        kubectl.apply(&format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: flip}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: server
    image: {image}
    command: [sh, -c, "touch /tmp/ready; exec nettool serve [::]:{port}"]
    readinessProbe: {{exec: {{command: [test, -f, /tmp/ready]}}, periodSeconds: 1, failureThreshold: 1}}
"#,
            image = talk::TOOLS,
            port = talk::PORT,
        ))?;
    }
    names.iter().try_for_each(|name| talk::wait_ready(kubectl, name))
}

fn e2e_services_follow_readiness(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods_ready_by_file(kubectl, &["one", "two"])?;
    let ready = at(&talk::serve(kubectl, "ready", "flip", "")?, 80);
    let all = at(&talk::serve(kubectl, "all", "flip", "publishNotReadyAddresses: true")?, 80);
    let client = Client::start(kubectl, "client")?;
    let reaches = |address: &str, pods: &[&str]| {
        let expected: BTreeSet<String> = pods.iter().map(|pod| (*pod).to_owned()).collect();
        eventually(&format!("{address} to reach {pods:?}"), || client.ask(How::Tcp, address, 40)?.are_from(&expected))
    };
    reaches(&ready, &["one", "two"])?;

    Client::of(kubectl, "one").run(&["rm", "/tmp/ready"])?;
    reaches(&ready, &["two"])?;
    reaches(&all, &["one", "two"])?;

    Client::of(kubectl, "two").run(&["rm", "/tmp/ready"])?;
    eventually("nobody to be ready", || client.is_refused(How::Tcp, &ready, "ConnectionRefused"))?;
    reaches(&all, &["one", "two"])?;

    Client::of(kubectl, "one").run(&["touch", "/tmp/ready"])?;
    reaches(&ready, &["one"])?;
    Client::of(kubectl, "two").run(&["touch", "/tmp/ready"])?;
    reaches(&ready, &["one", "two"])
}

fn e2e_services_fail_no_request_during_a_rolling_update(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    // As the API documents advise: a pod goes on serving for a moment, until every node knows that it ends.
    kubectl.apply(&format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: web}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 1, maxSurge: 1}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 3
      containers:
      - name: server
        image: {image}
        command: [nettool, serve, "[::]:{port}"]
        readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}
        lifecycle: {{preStop: {{exec: {{command: [sleep, "2"]}}}}}}
"#,
        image = talk::TOOLS,
        port = talk::PORT,
    ))?;
    kubectl.run(&["rollout", "status", "deployment", "web", "--timeout=180s"])?;
    let address = at(&talk::serve(kubectl, "web", "web", "")?, 80);
    let before = talk::live_pods(kubectl, "web")?;
    let client = Client::start(kubectl, "probe")?;
    follows(kubectl, &client, How::Tcp, &address, "web", 3)?;
    kubectl.run(&[
        "run",
        "client",
        &format!("--image={}", talk::TOOLS),
        "--restart=Never",
        "--grace-period=1",
        "--",
        "nettool",
        "log-tcp",
        &address,
        "100000",
        "10",
    ])?;
    talk::wait_ready(kubectl, "client")?;
    let answers = || kubectl.run(&["logs", "client"]);
    eventually("the first answers", || {
        ensure!(answers()?.lines().count() > 10, "too few");
        Ok(())
    })?;

    kubectl.run(&["rollout", "restart", "deployment", "web"])?;
    kubectl.run(&["rollout", "status", "deployment", "web", "--timeout=180s"])?;
    eventually("the old pods to be gone and the new ones to answer", || {
        let pods = kubectl.json(&["get", "pods", "-l", "app=web"])?;
        ensure!(pods["items"].as_array().is_some_and(|pods| pods.len() == 3), "old pods are left");
        let now = talk::live_pods(kubectl, "web")?;
        ensure!(now.len() == 3 && now.is_disjoint(&before), "{now:?} after {before:?}");
        let answered: BTreeSet<String> = answers()?.lines().rev().take(60).map(str::to_owned).collect();
        ensure!(answered == now, "{answered:?}, expected {now:?}");
        Ok(())
    })?;
    let log = answers()?;
    let failed: Vec<&str> = log.lines().filter(|line| line.starts_with("error")).collect();
    ensure!(failed.is_empty(), "{} of {} requests failed: {failed:?}", failed.len(), log.lines().count());
    Ok(())
}

fn e2e_services_of_datagrams_follow_their_pods(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::deploy(kubectl, "dns", 2)?;
    let address = at(&talk::serve(kubectl, "dns", "dns", "")?, 80);
    let client = Client::start(kubectl, "client")?;
    // The tool refuses an answer that comes from any other address than the one it asked.
    follows(kubectl, &client, How::Udp, &address, "dns", 2)?;
    follows(kubectl, &client, How::UdpConnected, &address, "dns", 2)?;

    // One socket stays with one server as long as it is there, and then moves.
    let one_socket = |count: &str| -> Result<BTreeSet<String>> {
        Ok(client.run(&["nettool", "ask-one-socket", &address, count, "1"])?.lines().map(str::to_owned).collect())
    };
    let kept = one_socket("30")?;
    ensure!(kept.len() == 1 && kept.is_subset(&talk::live_pods(kubectl, "dns")?), "one socket was answered by {kept:?}");
    let mut long = kubectl.start(&["exec", "client", "--", "nettool", "ask-one-socket", &address, "400", "10"])?;
    let lines = Lines::of(long.stdout.take().context("there is no output")?);
    let first = lines.next()?.context("there is no answer")?;
    kubectl.run(&["delete", "pod", &first, "--wait=false"])?;
    let last = lines.rest()?.pop().context("there is no further answer")?;
    ensure!(long.wait()?.success(), "the client failed");
    ensure!(last != first && !last.starts_with("error"), "after {first} came {last}");
    follows(kubectl, &client, How::Udp, &address, "dns", 2)
}

fn e2e_services_without_endpoints_refuse_at_once(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let empty = talk::serve(kubectl, "empty", "nobody", "ipFamilyPolicy: PreferDualStack")?;
    let addresses = kubectl.json(&["get", "service", "empty"])?["spec"]["clusterIPs"].clone();
    let addresses: Vec<String> = serde_json::from_value(addresses)?;
    ensure!(addresses.len() == 2 && addresses[0] == empty, "{addresses:?}");
    talk::pod(kubectl, "one", "")?;
    let live = talk::serve(kubectl, "live", "one", "")?;
    let client = Client::start(kubectl, "client")?;
    talk::wait_ready(kubectl, "one")?;
    for address in &addresses {
        for how in [How::Tcp, How::Udp, How::UdpConnected] {
            eventually("the empty Service to be known", || client.is_refused(how, &at(address, 80), "ConnectionRefused"))?;
        }
    }
    let one = BTreeSet::from(["one".to_owned()]);
    eventually("the live Service to answer", || client.ask(How::Tcp, &at(&live, 80), 1)?.are_from(&one))?;
    for how in [How::Tcp, How::Udp, How::UdpConnected] {
        client.is_refused(how, &at(&live, 81), "ConnectionRefused").context("an undefined port of a live address")?;
    }
    // A socket that began to ask before there was anybody is served once there is.
    talk::pod(kubectl, "late", "")?;
    talk::wait_ready(kubectl, "late")?;
    let mut early = kubectl.start(&["exec", "client", "--", "nettool", "ask-one-socket", &at(&empty, 80), "200", "20"])?;
    let lines = Lines::of(early.stdout.take().context("there is no output")?);
    let first = lines.next()?.context("nothing was said")?;
    ensure!(first == "error ConnectionRefused", "{first}");
    kubectl.run(&["label", "pod", "late", "app=nobody", "--overwrite"])?;
    let last = lines.rest()?.pop().context("nothing more was said")?;
    ensure!(early.wait()?.success() && last == "late", "after the first endpoint came: {last}");
    let late = BTreeSet::from(["late".to_owned()]);
    client.ask(How::Tcp, &at(&empty, 80), 3)?.are_from(&late)?;
    client.ask(How::Udp, &at(&empty, 80), 3)?.are_from(&late)
}

fn e2e_services_keep_their_clients(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::deploy(kubectl, "web", 3)?;
    let address = at(&talk::serve(kubectl, "web", "web", "sessionAffinity: ClientIP")?, 80);
    let timeout = "jsonpath={.spec.sessionAffinityConfig.clientIP.timeoutSeconds}";
    ensure!(kubectl.run(&["get", "service", "web", "-o", timeout])? == "10800", "the default of three hours");
    let clients = [Client::start(kubectl, "client-a")?, Client::start(kubectl, "client-b")?, Client::start(kubectl, "client-c")?];
    for client in &clients {
        let kept = eventually("the Service to be known", || {
            let answers = client.ask(How::Tcp, &address, 30)?;
            ensure!(answers.errors.is_empty(), "{answers:?}");
            Ok(answers.servers())
        })?;
        ensure!(kept.len() == 1, "one client was answered by {kept:?}");
        // Also after a while, and over another connection of another process.
        ensure!(client.ask(How::Tcp, &address, 10)?.servers() == kept, "the client was moved");
        // The server that is kept goes: another one is chosen, and kept.
        let server = kept.first().context("nobody")?;
        kubectl.run(&["delete", "pod", server])?;
        let next = eventually("another server to be chosen", || {
            let answers = client.ask(How::Tcp, &address, 10)?;
            ensure!(answers.errors.is_empty() && answers.servers() != kept, "{answers:?}");
            Ok(answers.servers())
        })?;
        ensure!(next.len() == 1, "one client was answered by {next:?}");
    }
    Ok(())
}

fn e2e_services_stay_on_the_node_if_asked_to(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    for node in ["node1", "node2"] {
        let name = format!("on-{node}");
        talk::pod(kubectl, &name, &format!("nodeName: {node}"))?;
        kubectl.run(&["label", "pod", &name, "app=local", "--overwrite"])?;
    }
    let address = at(&talk::serve(kubectl, "local", "local", "internalTrafficPolicy: Local")?, 80);
    let clients = [Client::on_node(kubectl, "client1", "node1")?, Client::on_node(kubectl, "client2", "node2")?];
    for (client, server) in clients.iter().zip(["on-node1", "on-node2"]) {
        talk::wait_ready(kubectl, server)?;
        let own = BTreeSet::from([server.to_owned()]);
        eventually("the endpoint on the node to answer", || client.ask(How::Tcp, &address, 30)?.are_from(&own))?;
        client.ask(How::Udp, &address, 30)?.are_from(&own)?;
    }
    kubectl.run(&["delete", "pod", "on-node2"])?;
    // Kubernetes asks for a drop; at a socket that is an error at once, and nothing is sent.
    eventually("node2 to have no endpoint", || clients[1].is_refused(How::Tcp, &address, "PermissionDenied"))?;
    clients[1].is_refused(How::Udp, &address, "PermissionDenied")?;
    clients[0].ask(How::Tcp, &address, 10)?.are_from(&BTreeSet::from(["on-node1".to_owned()]))
}
