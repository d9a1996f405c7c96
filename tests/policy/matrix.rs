//! Every pod to every other, to nodes and to the outside, over TCP and UDP and both families, under a sample of the sets of policies that were written
//! and of some that are made up: each answer is what the model says.

use crate::scene::{NETTOOL, NODES};
use anyhow::{Context, Result, bail, ensure};
use orknet_tests::policy::{self, PORTS, Protocol, Question, World};
use orknet_tests::talk::{Client, How, Outcome, TOOLS, Target};
use orknet_tests::{Cluster, Kubectl, Outside, outside, programmed, talk, tests};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

tests![e2e_policy_lets_every_pod_reach_whom_it_may_and_nobody_else];

/// Of the written sets, every fifth.
const STEP: usize = 5;
const MADE_UP: usize = 6;
/// Where pods on the network of their hosts listen.
const HOST_PORT: u16 = 8_090;

/// Who asks and is asked.
struct End {
    name: String,
    addresses: Vec<IpAddr>,
    ports: &'static [u16],
    node: Option<&'static str>,
}

fn e2e_policy_lets_every_pod_reach_whom_it_may_and_nobody_else(cluster: &Cluster, _: &Kubectl) -> Result<()> {
    let kubectl = cluster.kubectl();
    make_pods(&kubectl)?;
    let outer = Outside::attach(cluster, NETTOOL)?;
    let ends = ends(&kubectl, &outer)?;
    let sets = policy::sets();
    let written = sets.iter().filter(|set| !set.stored).step_by(STEP).map(|set| (set.name.clone(), set.objects()));
    let mut runner = TestRunner::deterministic();
    let made_up = (1..=MADE_UP).map(|number| {
        let tree = policy::any_set().prop_filter("says something", |set| set.len() > 2).new_tree(&mut runner);
        (format!("made up, number {number}"), tree.map(|tree| tree.current()).unwrap_or_default())
    });
    let mut wrong = Vec::new();
    for (name, policies) in written.chain(made_up.collect::<Vec<_>>()) {
        replace(&kubectl, &policies).with_context(|| name.clone())?;
        let found = mistakes(cluster, &kubectl, &outer, &ends, &policies).with_context(|| name.clone())?;
        if !found.is_empty() {
            wrong.push(format!("{name}: {} mistakes\n  {}\n{}", found.len(), found[..found.len().min(8)].join("\n  "), json!(policies)));
        }
    }
    replace(&kubectl, &[])?;
    for namespace in policy::NAMESPACES {
        kubectl.run(&["delete", "namespace", namespace, "--wait=false"])?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The scene's namespaces and pods, on both nodes in turns, and servers on the nodes' own network.
fn make_pods(kubectl: &Kubectl) -> Result<()> {
    let mut objects: Vec<Value> = policy::NAMESPACES.iter().map(|name| policy::namespace(name)).collect();
    for (row, namespace) in policy::NAMESPACES.iter().enumerate() {
        for (column, name) in policy::PODS.iter().enumerate() {
            let servers = format!("nettool serve [::]:{} & exec nettool serve [::]:{}", PORTS[0], PORTS[1]);
            let mut pod = pod(namespace, name, NODES[(row + column) % 2], &servers, PORTS[1]);
            pod["metadata"]["labels"] = policy::labels_of_pod(name);
            pod["spec"]["containers"][0]["ports"] = policy::ports_of_pod(name);
            objects.push(pod);
        }
    }
    for node in NODES {
        let mut host = pod("x", node, node, &format!("exec nettool serve [::]:{HOST_PORT}"), HOST_PORT);
        host["metadata"]["labels"] = policy::labels_of_pod("a");
        host["spec"]["hostNetwork"] = json!(true);
        objects.push(host);
    }
    kubectl.apply(&programmed::list(&objects))?;
    for namespace in policy::NAMESPACES {
        kubectl.in_namespace(namespace).run(&["wait", "pod", "--all", "--for=condition=Ready", "--timeout=180s"])?;
    }
    Ok(())
}

fn pod(namespace: &str, name: &str, node: &str, script: &str, port: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name}, "spec": {
        "nodeName": node, "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "server", "image": TOOLS, "command": ["sh", "-c", script],
            "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1}}]}})
}

fn ends(kubectl: &Kubectl, outer: &Outside) -> Result<Vec<End>> {
    let mut ends = Vec::new();
    for namespace in policy::NAMESPACES {
        for name in policy::PODS {
            let pod = kubectl.in_namespace(namespace).json(&["get", "pod", name])?;
            let listed = pod["status"]["podIPs"].as_array().context("the pod has no addresses")?;
            let addresses = listed.iter().filter_map(|one| one["ip"].as_str()?.parse().ok()).collect();
            ends.push(End { name: format!("{namespace}/{name}"), addresses, ports: &PORTS, node: None });
        }
    }
    for node in NODES {
        ends.push(End { name: node.to_owned(), addresses: outside::node_addresses(node)?.into(), ports: &[HOST_PORT], node: Some(node) });
    }
    ends.push(End { name: "outside".to_owned(), addresses: outer.addresses().into(), ports: &[talk::PORT], node: None });
    Ok(ends)
}

/// These policies and no others, in force.
fn replace(kubectl: &Kubectl, policies: &[Value]) -> Result<()> {
    for namespace in policy::NAMESPACES {
        kubectl.in_namespace(namespace).run(&["delete", "networkpolicies", "--all"])?;
    }
    kubectl.run(&["delete", "clusternetworkpolicies", "--all"])?;
    let mut fresh = policies.to_vec();
    fresh.iter_mut().filter_map(|policy| policy["metadata"].as_object_mut()).for_each(|meta| drop(meta.remove("uid")));
    if !fresh.is_empty() {
        kubectl.run_with(&["create", "-f", "-"], &programmed::list(&fresh))?;
    }
    programmed::settle(kubectl)
}

/// What is otherwise than the model says of what the cluster holds.
fn mistakes(cluster: &Cluster, kubectl: &Kubectl, outer: &Outside, ends: &[End], policies: &[Value]) -> Result<Vec<String>> {
    let world = world(kubectl, policies)?;
    let ask = |client: &End| -> Result<Vec<String>> {
        let servers: Vec<&End> = ends.iter().filter(|server| server.name != client.name && (is_pod(server) || is_pod(client))).collect();
        let questions = questions(client, &servers);
        let found = whoever(cluster, kubectl, outer, client, |asker| asker.try_all(questions.keys().cloned()))?;
        let mut wrong = Vec::new();
        for (target, (server, question)) in &questions {
            let answer = world.answer(question);
            let is_allowed = match found.get(target).map(|attempt| &attempt.outcome) {
                Some(Outcome::Answer { .. }) => true,
                Some(Outcome::Error(kind)) if kind == "TimedOut" => false,
                other => bail!("{} to {server}: {other:?}", client.name),
            };
            if is_allowed != answer.allowed() {
                wrong.push(format!("{} to {server}, {question:?}: {answer:?}", client.name));
            }
        }
        Ok(wrong)
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = ends.iter().map(|client| scope.spawn(move || ask(client))).collect();
        let answers = asking.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?);
        answers.collect::<Result<Vec<_>>>().map(|all| all.concat())
    })
}

fn is_pod(end: &End) -> bool {
    end.name.contains('/')
}

fn questions<'a>(client: &End, servers: &[&'a End]) -> BTreeMap<Target, (&'a str, Question)> {
    let mut questions = BTreeMap::new();
    for server in servers {
        for (from, to) in client.addresses.iter().zip(&server.addresses) {
            for port in server.ports {
                for (how, protocol) in [(How::Tcp, Protocol::Tcp), (How::Udp, Protocol::Udp)] {
                    let target = Target::new(how, &to.to_string(), *port);
                    questions.insert(target, (server.name.as_str(), Question::new(*from, *to, protocol, *port)));
                }
            }
        }
    }
    questions
}

/// Lets the end ask.
fn whoever<T>(cluster: &Cluster, kubectl: &Kubectl, outer: &Outside, end: &End, ask: impl FnOnce(&Client<'_>) -> Result<T>) -> Result<T> {
    match (end.name.split_once('/'), end.node) {
        (Some((namespace, pod)), _) => ask(&Client::of(&kubectl.in_namespace(namespace), pod)),
        (None, Some(node)) => ask(&Client::of_node(cluster, node, NETTOOL)),
        (None, None) => ask(&Client::outside(outer)),
    }
}

/// What the cluster holds, with the policies as they were written.
fn world(kubectl: &Kubectl, policies: &[Value]) -> Result<World> {
    let mut objects = Vec::new();
    for kind in ["namespaces", "nodes", "pods"] {
        let list = kubectl.json(&["get", kind, "--all-namespaces"])?;
        let singular = kind.trim_end_matches('s');
        for item in list["items"].as_array().context("there is no list")? {
            let mut item = item.clone();
            item["kind"] = json!(format!("{}{}", singular[..1].to_uppercase(), &singular[1..]));
            objects.push(item);
        }
    }
    Ok(World::of(objects.iter().chain(policies)))
}
