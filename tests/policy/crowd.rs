//! A crowd of pods on two nodes who ask each other, the nodes and somebody outside; and what a cluster holds, for the model.

use crate::scene::{NETTOOL, NODES};
use anyhow::{Context, Result, bail};
use orknet_tests::policy::{self, Answer, PORTS, Protocol, Question, World};
use orknet_tests::talk::{Client, How, Outcome, TOOLS, Target};
use orknet_tests::{Cluster, Kubectl, Outside, outside, programmed, talk};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where pods on the network of their hosts listen.
const HOST_PORT: u16 = 8_090;

/// Who asks and is asked.
pub struct End {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    ports: &'static [u16],
    node: Option<&'static str>,
}

/// All of them. Their namespaces go with this value, though nobody waits for that.
pub struct Crowd<'a> {
    cluster: &'a Cluster,
    pub kubectl: Kubectl,
    outer: Outside,
    pub ends: Vec<End>,
}

/// What came of a question.
pub struct Asked {
    pub about: String,
    pub question: Question,
    pub is_allowed: bool,
}

impl<'a> Crowd<'a> {
    /// Makes the scene's namespaces and pods, on both nodes in turns, and servers on the nodes' own network.
    pub fn make(cluster: &'a Cluster) -> Result<Self> {
        let kubectl = cluster.kubectl();
        make_pods(&kubectl)?;
        let outer = Outside::attach(cluster, NETTOOL)?;
        for node in NODES {
            let ranges = kubectl.json(&["get", "node", node])?["spec"]["podCIDRs"].take();
            for range in serde_json::from_value::<Vec<String>>(ranges)? {
                outer.route(&range, node)?;
            }
        }
        let ends = ends(&kubectl, &outer)?;
        Ok(Self { cluster, kubectl, outer, ends })
    }

    /// These policies and no others, in force.
    pub fn replace(&self, policies: &[Value]) -> Result<()> {
        self.replace_soon(policies)?;
        programmed::settle(&self.kubectl)
    }

    /// The same, not waited for. Those with the label `lasting` stay.
    pub fn replace_soon(&self, policies: &[Value]) -> Result<()> {
        const OTHERS: [&str; 2] = ["--selector", "!lasting"];
        for namespace in policy::NAMESPACES {
            self.kubectl.in_namespace(namespace).run(&[&["delete", "networkpolicies"], &OTHERS[..]].concat())?;
        }
        self.kubectl.run(&[&["delete", "clusternetworkpolicies"], &OTHERS[..]].concat())?;
        self.create(policies)
    }

    /// These policies, too.
    pub fn create(&self, policies: &[Value]) -> Result<()> {
        let mut fresh = policies.to_vec();
        fresh.iter_mut().filter_map(|policy| policy["metadata"].as_object_mut()).for_each(|meta| drop(meta.remove("uid")));
        if !fresh.is_empty() {
            self.kubectl.run_with(&["create", "-f", "-"], &programmed::list(&fresh))?;
        }
        Ok(())
    }

    /// What the cluster holds, with these policies as they were written.
    pub fn world(&self, policies: &[Value]) -> Result<World> {
        let mut objects = Vec::new();
        for (resource, kind) in [("namespaces", "Namespace"), ("nodes", "Node"), ("pods", "Pod")] {
            let list = self.kubectl.json(&["get", resource, "--all-namespaces"])?;
            for item in list["items"].as_array().context("there is no list")? {
                let mut item = item.clone();
                item["kind"] = json!(kind);
                objects.push(item);
            }
        }
        Ok(World::of(objects.iter().chain(policies)))
    }

    /// Everybody asks everybody, all at the same time, over TCP and UDP and both families.
    pub fn ask(&self) -> Result<Vec<Asked>> {
        std::thread::scope(|scope| {
            let asking: Vec<_> = self.ends.iter().map(|client| scope.spawn(move || self.ask_as(client))).collect();
            let answers = asking.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?);
            answers.collect::<Result<Vec<_>>>().map(|all| all.into_iter().flatten().collect())
        })
    }

    fn ask_as(&self, client: &End) -> Result<Vec<Asked>> {
        let servers: Vec<&End> =
            self.ends.iter().filter(|server| server.name != client.name && (server.is_pod() || client.is_pod())).collect();
        let questions = questions(client, &servers);
        // From pods' own addresses answers to datagrams do not come back to the outside (source NAT takes them for what a pod sends), but where
        // rules have the node remember who asked.
        let is_outside = client.node.is_none() && !client.is_pod();
        let questions: BTreeMap<_, _> = questions.into_iter().filter(|(target, _)| !is_outside || target.how == How::Tcp).collect();
        let targets = questions.keys().cloned();
        let found = match (client.name.split_once('/'), client.node) {
            (Some((namespace, pod)), _) => Client::of(&self.kubectl.in_namespace(namespace), pod).try_all(targets)?,
            (None, Some(node)) => Client::of_node(self.cluster, node, NETTOOL).try_all(targets)?,
            (None, None) => Client::outside(&self.outer).try_all(targets)?,
        };
        let asked = questions.into_iter().map(|(target, (server, question))| {
            let about = format!("{} to {server}", client.name);
            let is_allowed = match found.get(&target).map(|attempt| &attempt.outcome) {
                Some(Outcome::Answer { .. }) => true,
                Some(Outcome::Error(kind)) if kind == "TimedOut" => false,
                other => bail!("{about}, {question:?}: {other:?}"),
            };
            Ok(Asked { about, question, is_allowed })
        });
        asked.collect()
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        for namespace in policy::NAMESPACES {
            let _ = self.kubectl.run(&["delete", "namespace", namespace, "--wait=false"]);
        }
    }
}

impl End {
    fn is_pod(&self) -> bool {
        self.name.contains('/')
    }
}

impl Asked {
    /// Whether it can be so if each end judges by one of these answers.
    pub fn is_as(&self, answers: &[Answer]) -> bool {
        let (egress, ingress) = (answers.iter().map(|answer| answer.egress.allows()), answers.iter().map(|answer| answer.ingress.allows()));
        if self.is_allowed {
            egress.into_iter().any(|allows| allows) && ingress.into_iter().any(|allows| allows)
        } else {
            egress.chain(ingress).any(|allows| !allows)
        }
    }

    /// In words.
    pub fn told(&self, answers: &[Answer]) -> String {
        format!("{}, {:?}: {}, but {answers:?}", self.about, self.question, if self.is_allowed { "answered" } else { "not answered" })
    }
}

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
