//! What happens to flows that are there when what they lead to changes?

use crate::expected::{FAR, NEAR};
use crate::scene::{self, FAMILIES, NETTOOL};
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, Client, How, Outcome, Target, at};
use orknet_tests::{Cluster, Kubectl, Outside, Stream, eventually, tests};
use serde_json::json;

tests![
    e2e_datagrams_move_when_their_backend_goes,
    e2e_connections_to_a_removed_endpoint_are_reset,
    e2e_a_terminating_endpoint_keeps_its_connections,
    e2e_ports_that_swap_names_keep_their_backends,
    e2e_a_type_changes_under_traffic_that_goes_on,
    e2e_a_port_changes_beside_traffic_on_the_port_that_stays,
];

/// Of backends: nobody listens there.
const CLOSED: u16 = 9;

/// The pod is behind no Service any more, and lives on: only the data plane can end what leads to it.
fn remove(kubectl: &Kubectl, pod: &str) -> Result<()> {
    kubectl.run(&["label", "pod", pod, "app-"]).map(drop)
}

fn e2e_datagrams_move_when_their_backend_goes(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::backends(kubectl)?;
    let client = Client::on_node(kubectl, "client", NEAR)?;
    let service = scene::service(kubectl, "moved", "type: NodePort")?;
    scene::endpoints(kubectl, "moved", 2)?;
    let outer = node_addresses(NEAR)?.map(|address| at(&address.to_string(), scene::node_port(&service).unwrap_or(0)));
    let inner = scene::cluster_addresses(&service)?.map(|address| at(&address, 80));
    let mut streams = Vec::new();
    for (outer, inner) in outer.iter().zip(&inner) {
        for (asker, address) in [(&Client::outside(&outside), outer), (&client, inner)] {
            eventually("the Service to answer", || asker.attempt(How::Udp, address)?.answer().map(drop))?;
        }
        streams.push(Stream::outside(&outside, "ask-connected-socket", outer)?);
        streams.push(Stream::pod(kubectl, "client", "ask-connected-socket", inner)?);
        streams.push(Stream::pod(kubectl, "client", "ask-one-socket", inner)?);
    }
    for gone in ["near", "middle"] {
        for stream in &streams {
            let said = stream.hear(20)?;
            ensure!(said.iter().all(|line| *line == said[0]), "{} moved though nothing changed: {said:?}", stream.name());
        }
        let other = if gone == "near" { "middle" } else { "near" };
        remove(kubectl, gone)?;
        for stream in &streams {
            stream.until(other)?;
        }
        // Back, so that there is one to move to.
        kubectl.run(&["label", "pod", gone, "app=all"])?;
        scene::endpoints(kubectl, "moved", 2)?;
    }
    Ok(())
}

fn e2e_connections_to_a_removed_endpoint_are_reset(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::server(kubectl, "only", NEAR)?;
    let client = Client::on_node(kubectl, "client", FAR)?;
    talk::wait_ready(kubectl, "only")?;
    let service = scene::service(kubectl, "cut", "type: NodePort")?;
    scene::endpoints(kubectl, "cut", 1)?;
    let [inner, _] = scene::cluster_addresses(&service)?;
    let mut fronts: Vec<String> = Vec::new();
    for node in [NEAR, FAR] {
        fronts.extend(node_addresses(node)?.map(|address| at(&address.to_string(), scene::node_port(&service).unwrap_or(0))));
    }
    let outer = Client::outside(&outside);
    for front in &fronts {
        eventually("the node port to answer", || outer.attempt(How::Tcp, front)?.answer().map(drop))?;
    }
    eventually("the Service to answer", || client.attempt(How::Tcp, &at(&inner, 80))?.answer().map(drop))?;
    // Some speak all the time. Others wait for something to be said, with nothing of theirs on its way.
    let mut streams = Vec::new();
    for mode in ["hold-tcp", "await-tcp"] {
        streams.push(Stream::pod(kubectl, "client", mode, &at(&inner, 80))?);
        for front in &fronts {
            streams.push(Stream::outside(&outside, mode, front)?);
        }
    }
    streams.iter().try_for_each(|stream| stream.next().map(drop))?;
    remove(kubectl, "only")?;
    for stream in &mut streams {
        let why = stream.fails()?;
        ensure!(why.contains("reset") || why.contains("abort"), "{}: {why}", stream.name());
    }
    // The server was waiting, too.
    let server = Client::of(kubectl, "only");
    eventually("the server to be rid of its connections", || {
        let connections = server.run(&["netstat", "-tn"])?;
        ensure!(!connections.contains("ESTABLISHED"), "{connections}");
        Ok(())
    })
}

fn e2e_a_terminating_endpoint_keeps_its_connections(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    // A shell as the first process does not end when it is told to, and neither does the server.
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: slow, labels: {{app: all}}}}\nspec: {{nodeName: {NEAR}, terminationGracePeriodSeconds: 600, containers: [{{name: server, image: {image}, command: [sh, -c, \"trap '' TERM; nettool serve [::]:{port}; :\"], readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}}}]}}\n",
        image = talk::TOOLS,
        port = talk::PORT,
    ))?;
    talk::wait_ready(kubectl, "slow")?;
    let service = scene::service(kubectl, "ending", "type: NodePort")?;
    scene::endpoints(kubectl, "ending", 1)?;
    let fronts = node_addresses(FAR)?.map(|address| at(&address.to_string(), scene::node_port(&service).unwrap_or(0)));
    let outer = Client::outside(&outside);
    let mut held = Vec::new();
    for front in &fronts {
        eventually("the node port to answer", || outer.attempt(How::Tcp, front)?.answer().map(drop))?;
        held.push(Stream::outside(&outside, "hold-tcp", front)?);
    }
    held.iter().try_for_each(|stream| stream.flows(1))?;
    scene::server(kubectl, "next", NEAR)?;
    talk::wait_ready(kubectl, "next")?;
    kubectl.run(&["delete", "pod", "slow", "--wait=false"])?;
    for front in &fronts {
        eventually("new connections to go to the next one", || {
            let servers = outer.ask(How::Tcp, front, 20)?.servers();
            ensure!(servers.len() == 1 && servers.contains("next"), "{servers:?}");
            Ok(())
        })?;
    }
    held.iter().try_for_each(|stream| stream.flows(50)).context("the connections to the ending pod")?;
    kubectl.run(&["delete", "pod", "slow", "--now", "--wait=false"]).map(drop)
}

fn e2e_ports_that_swap_names_keep_their_backends(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    for (pod, node, port) in [("one", NEAR, "first"), ("two", FAR, "second")] {
        kubectl.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, labels: {{app: named}}}}\nspec: {{nodeName: {node}, terminationGracePeriodSeconds: 1, containers: [{{name: server, image: {image}, command: [nettool, serve, \"[::]:{number}\"], ports: [{{name: {port}, containerPort: {number}}}], readinessProbe: {{tcpSocket: {{port: {number}}}, periodSeconds: 1}}}}]}}\n",
            image = talk::TOOLS,
            number = talk::PORT,
        ))?;
    }
    ["one", "two"].iter().try_for_each(|pod| talk::wait_ready(kubectl, pod))?;
    kubectl.apply("apiVersion: v1\nkind: Service\nmetadata: {name: swapped}\nspec: {type: NodePort, selector: {app: named}, ports: [{name: a, port: 81, targetPort: first}, {name: b, port: 82, targetPort: second}]}\n")?;
    let service = kubectl.json(&["get", "service", "swapped"])?;
    let address = node_addresses(NEAR)?[0].to_string();
    let node_ports: Vec<u16> =
        service["spec"]["ports"].as_array().into_iter().flatten().filter_map(|port| port["nodePort"].as_u64()?.try_into().ok()).collect();
    let client = Client::outside(&outside);
    let are_as_before = || {
        eventually("each port to lead where it led", || {
            for (port, server) in node_ports.iter().zip(["one", "two"]) {
                for (outcome, _) in client.ask_all([Target::new(How::Tcp, &address, *port)], 20)?.into_values().flatten() {
                    ensure!(matches!(&outcome, Outcome::Answer { server: found, .. } if found == server), "{port}: {outcome:?}");
                }
            }
            Ok(())
        })
    };
    are_as_before()?;
    let swap = json!([{"op": "replace", "path": "/spec/ports/0/name", "value": "b"}, {"op": "replace", "path": "/spec/ports/1/name", "value": "a"}]);
    kubectl.run(&["patch", "service", "swapped", "--type=json", "-p", &swap.to_string()])?;
    // Until the slices have followed, the old ones count for the other port.
    eventually("the slices to follow", || {
        let slices = kubectl.json(&["get", "endpointslices", "-l", "kubernetes.io/service-name=swapped"])?;
        for slice in slices["items"].as_array().into_iter().flatten() {
            let (port, pod) = (&slice["ports"][0]["name"], &slice["endpoints"][0]["targetRef"]["name"]);
            ensure!(pod.is_null() || (*port == "b") == (*pod == "one"), "{pod} at {port}");
        }
        Ok(())
    })?;
    are_as_before()
}

fn e2e_a_type_changes_under_traffic_that_goes_on(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::backends(kubectl)?;
    let client = Client::on_node(kubectl, "client", FAR)?;
    let service = scene::service(kubectl, "changing", "type: ClusterIP")?;
    scene::endpoints(kubectl, "changing", 2)?;
    let mut streams = Vec::new();
    for inner in scene::cluster_addresses(&service)?.map(|address| at(&address, 80)) {
        eventually("the Service to answer", || client.attempt(How::Tcp, &inner)?.answer().map(drop))?;
        // A connection that was there before, and new ones.
        for mode in ["hold-tcp", "log-tcp"] {
            streams.push(Stream::pod(kubectl, "client", mode, &inner)?);
        }
    }
    let outer = Client::outside(&outside);
    let balanced = FAMILIES.map(|family| scene::free_address(family, 95));
    balanced.iter().try_for_each(|address| outside.route(address, FAR))?;
    let answer = |addresses: &[String], port: u16, wanted: bool| {
        eventually(&format!("{addresses:?} at {port} to answer: {wanted}"), || {
            for (target, attempt) in outer.try_all(addresses.iter().map(|address| Target::new(How::Tcp, address, port)))? {
                ensure!(attempt.answer().is_ok() == wanted, "{target:?}: {attempt:?}");
            }
            Ok(())
        })
    };
    let node = node_addresses(FAR)?.map(|address| address.to_string());
    let mut old_port = None;
    for kind in ["NodePort", "LoadBalancer", "NodePort", "ClusterIP", "LoadBalancer", "ClusterIP"] {
        kubectl.run(&["patch", "service", "changing", "--type=merge", "-p", &json!({"spec": {"type": kind}}).to_string()])?;
        if kind == "LoadBalancer" {
            scene::balance(kubectl, "changing", &balanced)?;
        }
        if kind == "ClusterIP" {
            answer(&node, old_port.take().context("there was a node port")?, false)?;
        } else {
            let port = scene::node_port(&kubectl.json(&["get", "service", "changing"])?)?;
            answer(&node, port, true)?;
            old_port = Some(port);
        }
        answer(&balanced, 80, kind == "LoadBalancer")?;
        streams.iter().try_for_each(|stream| stream.flows(20)).with_context(|| format!("when the type was {kind}"))?;
    }
    streams.iter_mut().try_for_each(Stream::is_unharmed)
}

/// A number, a target, a node port: whatever changes at one port, the other goes on.
fn e2e_a_port_changes_beside_traffic_on_the_port_that_stays(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::backends(kubectl)?;
    let client = Client::on_node(kubectl, "client", FAR)?;
    // Nobody listens at the port that `other` leads to.
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: ports}}\nspec: {{type: NodePort, selector: {{app: all}}, ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6], ports: [{{name: stays, port: 80, targetPort: {open}}}, {{name: datagrams, protocol: UDP, port: 80, targetPort: {open}}}, {{name: moves, port: 81, targetPort: {open}}}, {{name: other, port: 90, targetPort: {CLOSED}}}]}}\n",
        open = talk::PORT,
    ))?;
    scene::endpoints(kubectl, "ports", 2)?;
    let service = kubectl.json(&["get", "service", "ports"])?;
    let node_port = |index: usize| -> Result<u16> {
        let port = service["spec"]["ports"][index]["nodePort"].as_u64().with_context(|| format!("port {index} has no node port"))?;
        Ok(port.try_into()?)
    };
    let (inner, node) = (scene::cluster_addresses(&service)?, node_addresses(NEAR)?.map(|address| address.to_string()));
    let outer = Client::outside(&outside);
    let are = |client: &Client<'_>, addresses: &[String], port: u16, wanted: bool| {
        eventually(&format!("{addresses:?} at {port} to answer: {wanted}"), || {
            for (target, attempt) in client.try_all(addresses.iter().map(|address| Target::new(How::Tcp, address, port)))? {
                let is_refused = attempt.outcome == Outcome::Error("ConnectionRefused".into());
                ensure!(if wanted { attempt.answer().is_ok() } else { is_refused }, "{target:?}: {attempt:?}");
            }
            Ok(())
        })
    };
    let (first, second) = (node_port(2)?, node_port(3)?);
    for (port, node_port, wanted) in [(80, node_port(0)?, true), (81, first, true), (90, second, false)] {
        are(&client, &inner, port, wanted)?;
        are(&outer, &node, node_port, wanted)?;
    }
    let mut streams = Vec::new();
    for (mode, port) in [("hold-tcp", node_port(0)?), ("log-tcp", node_port(0)?), ("hold-udp", node_port(1)?), ("log-udp", node_port(1)?)] {
        for (inner, node) in inner.iter().zip(&node) {
            streams.push(Stream::pod(kubectl, "client", mode, &at(inner, 80))?);
            streams.push(Stream::outside(&outside, mode, &at(node, port))?);
        }
    }
    let change = |changes: &[(usize, &str, u16)]| {
        let one = |(index, field, value): &(usize, &str, u16)| json!({"op": "replace", "path": format!("/spec/ports/{index}/{field}"), "value": value});
        let patch: Vec<serde_json::Value> = changes.iter().map(one).collect();
        kubectl.run(&["patch", "service", "ports", "--type=json", "-p", &json!(patch).to_string()]).map(drop)
    };
    let flow = |what: &str| streams.iter().try_for_each(|stream| stream.flows(10)).with_context(|| what.to_owned());
    flow("before anything changed")?;

    change(&[(2, "port", 82)])?;
    are(&client, &inner, 82, true)?;
    are(&client, &inner, 81, false)?;
    flow("when a port had another number")?;

    change(&[(2, "targetPort", CLOSED), (3, "targetPort", talk::PORT)])?;
    for (port, node_port, wanted) in [(82, first, false), (90, second, true)] {
        are(&client, &inner, port, wanted)?;
        are(&outer, &node, node_port, wanted)?;
    }
    flow("when ports led elsewhere")?;

    change(&[(2, "nodePort", second), (3, "nodePort", first)])?;
    for (port, node_port, wanted) in [(82, second, false), (90, first, true)] {
        are(&client, &inner, port, wanted)?;
        are(&outer, &node, node_port, wanted)?;
    }
    flow("when node ports had changed places")?;
    streams.iter_mut().try_for_each(Stream::is_unharmed)
}
