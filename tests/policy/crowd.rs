//! A crowd of pods on two nodes who ask each other, the nodes and somebody outside; and what a cluster holds, for the model.

use crate::scene::{NETTOOL, NODES};
use anyhow::{Context, Result, ensure};
use orknet_tests::policy::{self, Answer, PORTS, Protocol, Question, World};
use orknet_tests::talk::{Client, How, TOOLS, Target};
use orknet_tests::{Cluster, Kubectl, Outside, outside, programmed, talk};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where pods on the network of their hosts listen.
const HOST_PORT: u16 = 8_090;

/// The node for which its pod on the host's network asks, which has the node's name; for others the node itself does.
const HOST_POD: &str = NODES[1];

/// Who asks and is asked.
#[derive(Clone)]
pub struct End {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    ports: &'static [u16],
    node: Option<&'static str>,
}

/// All of them. Their namespaces go with this value, though nobody waits for that, and so do policies of the cluster.
pub struct Crowd<'a> {
    cluster: &'a Cluster,
    pub kubectl: Kubectl,
    outer: Outside,
    pub ends: Vec<End>,
}

/// What came of a question.
pub struct Asked {
    pub client: String,
    pub server: String,
    pub question: Question,
    pub is_allowed: bool,
    /// Milliseconds of [`orknet_tests::probes::now`].
    pub began: u64,
    pub ended: u64,
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
        world(&self.kubectl, policies)
    }

    /// Everybody asks everybody, all at the same time, over TCP and UDP and both families.
    pub fn ask(&self) -> Result<Vec<Asked>> {
        self.ask_among(&self.ends, &|_| false)
    }

    /// The same among these. Whatever comes of it, those who are gone when it is over are passed over.
    pub fn ask_among(&self, ends: &[End], is_gone: &(dyn Fn(&str) -> bool + Sync)) -> Result<Vec<Asked>> {
        std::thread::scope(|scope| {
            let asking: Vec<_> = ends.iter().map(|client| (client, scope.spawn(move || self.ask_as(client, ends, is_gone)))).collect();
            let mut all = Vec::new();
            for (client, thread) in asking {
                match thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))? {
                    Ok(asked) => all.extend(asked.into_iter().filter(|asked| !is_gone(&asked.client) && !is_gone(&asked.server))),
                    Err(_) if is_gone(&client.name) => {}
                    Err(error) => return Err(error.context(format!("{} asks", client.name))),
                }
            }
            Ok(all)
        })
    }

    fn ask_as(&self, client: &End, ends: &[End], is_gone: &(dyn Fn(&str) -> bool + Sync)) -> Result<Vec<Asked>> {
        let servers: Vec<&End> = ends.iter().filter(|server| server.name != client.name && (server.is_pod() || client.is_pod())).collect();
        let questions = questions(client, &servers);
        // From pods' own addresses answers to datagrams do not come back to the outside (source NAT takes them for what a pod sends), but where
        // rules have the node remember who asked.
        let is_outside = client.node.is_none() && !client.is_pod();
        let questions: BTreeMap<_, _> = questions.into_iter().filter(|(target, _)| !is_outside || target.how == How::Tcp).collect();
        let targets = questions.keys().cloned();
        let found = match (client.name.split_once('/'), client.node) {
            (Some((namespace, pod)), _) => Client::of(&self.kubectl.in_namespace(namespace), pod).probe_all(targets)?,
            // A pod on its host's network asks as the host does.
            (None, Some(node)) if node == HOST_POD => {
                Client::of(&self.kubectl.in_namespace(policy::NAMESPACES[0]), node).probe_all(targets)?
            }
            (None, Some(node)) => Client::of_node(self.cluster, node, NETTOOL).probe_all(targets)?,
            (None, None) => Client::outside(&self.outer).probe_all(targets)?,
        };
        let mut asked = Vec::new();
        for probe in found {
            let (server, question) = *questions.get(&probe.target).context("nobody asked that")?;
            match probe.is_answered() {
                Ok(is_allowed) => {
                    let (client, server) = (client.name.clone(), server.to_owned());
                    asked.push(Asked { client, server, question, is_allowed, began: probe.began, ended: probe.ended });
                }
                Err(_) if is_gone(server) => {}
                Err(error) => return Err(error.context(format!("{} to {server}, {question:?}", client.name))),
            }
        }
        ensure!(
            asked.len() == questions.len() || ends.iter().any(|end| is_gone(&end.name)),
            "{} questions are missing",
            questions.len() - asked.len()
        );
        Ok(asked)
    }

    /// Makes a pod with the labels and ports of one of the scene, ready; it is none of the crowd's ends yet.
    pub fn start_pod(&self, namespace: &str, name: &str, like: &str, node: &'static str) -> Result<End> {
        self.kubectl.apply(&server_pod(namespace, name, like, node).to_string())?;
        let kubectl = self.kubectl.in_namespace(namespace);
        talk::wait_ready(&kubectl, name)?;
        End::of_pod(&kubectl, namespace, name)
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        for namespace in policy::NAMESPACES {
            let _ = self.kubectl.run(&["delete", "namespace", namespace, "--wait=false"]);
        }
        // They are about all pods, those of the tests that follow, too.
        let _ = self.kubectl.run(&["delete", "clusternetworkpolicies", "--all"]);
    }
}

impl End {
    fn of_pod(kubectl: &Kubectl, namespace: &str, name: &str) -> Result<Self> {
        let pod = kubectl.json(&["get", "pod", name])?;
        let listed = pod["status"]["podIPs"].as_array().context("the pod has no addresses")?;
        let addresses = listed.iter().filter_map(|one| one["ip"].as_str()?.parse().ok()).collect();
        Ok(Self { name: format!("{namespace}/{name}"), addresses, ports: &PORTS, node: None })
    }

    pub fn is_pod(&self) -> bool {
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
        let (Self { client, server, question, began, ended, .. }, said) = (self, if self.is_allowed { "answered" } else { "not answered" });
        format!("{client} to {server}, {question:?}, from {began} to {ended}: {said}, but {answers:?}")
    }
}

/// What a cluster holds, with these policies.
pub fn world(kubectl: &Kubectl, policies: &[Value]) -> Result<World> {
    let mut objects = Vec::new();
    for (resource, kind) in [("namespaces", "Namespace"), ("nodes", "Node"), ("pods", "Pod")] {
        objects.extend(all_of(kubectl, resource, kind)?);
    }
    Ok(World::of(objects.iter().chain(policies)))
}

/// All objects of a kind.
pub fn all_of(kubectl: &Kubectl, resource: &str, kind: &str) -> Result<Vec<Value>> {
    let mut list = kubectl.json(&["get", resource, "--all-namespaces"])?;
    let mut items: Vec<Value> = serde_json::from_value(list["items"].take()).context("there is no list")?;
    items.iter_mut().for_each(|item| item["kind"] = json!(kind));
    Ok(items)
}

fn make_pods(kubectl: &Kubectl) -> Result<()> {
    let mut objects: Vec<Value> = policy::NAMESPACES.iter().map(|name| policy::namespace(name)).collect();
    for (row, namespace) in policy::NAMESPACES.iter().enumerate() {
        for (column, name) in policy::PODS.iter().enumerate() {
            objects.push(server_pod(namespace, name, name, NODES[(row + column) % 2]));
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

/// A pod with the labels and ports of one of the scene.
fn server_pod(namespace: &str, name: &str, like: &str, node: &str) -> Value {
    let servers = format!("nettool serve [::]:{} & exec nettool serve [::]:{}", PORTS[0], PORTS[1]);
    let mut pod = pod(namespace, name, node, &servers, PORTS[1]);
    pod["metadata"]["labels"] = policy::labels_of_pod(like);
    pod["spec"]["containers"][0]["ports"] = policy::ports_of_pod(like);
    pod
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
            ends.push(End::of_pod(&kubectl.in_namespace(namespace), namespace, name)?);
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
