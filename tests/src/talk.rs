//! Pods that answer with their names, Services in front of them, and those who ask, in pods, on nodes and outside of the cluster: all
//! run the tests' own `nettool`.

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::outside::Outside;
use crate::probes::Probe;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// The image with `nettool` and a shell; every cluster of [`crate::suite::shared`] that lists it has it.
pub const TOOLS: &str = "registry.orknet.local/nettool:1";

/// The port of every server, over TCP, UDP and SCTP, on both families.
pub const PORT: u16 = 8080;

/// Ports that [`Client::ask_all`] asks from.
const FIRST_PORT: u16 = 33_000;
const LAST_PORT: u16 = 60_999;

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    Tcp,
    /// A socket that names the destination with each datagram.
    Udp,
    /// A socket that is connected first.
    UdpConnected,
    /// Packets of [`crate::sctp`]: no socket hook sees them.
    Sctp,
}

/// What came of asking a number of times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// How often each server answered.
    pub by_server: BTreeMap<String, u32>,
    /// How often there was no answer, by kind of error.
    pub errors: BTreeMap<String, u32>,
}

/// What came of asking once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub outcome: Outcome,
    /// Until the answer or the error, as the client saw it.
    pub millis: u64,
}

/// An answer, or the kind of error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Answer {
        server: String,
        /// The address from which the server saw the question come.
        seen_from: String,
    },
    Error(String),
}

/// What came of asking many addresses a number of times each: for each who answered and whom it saw, or the kind of error.
pub type Tally = BTreeMap<Target, BTreeMap<Outcome, u32>>;

/// An address, and how to ask it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub how: How,
    /// `ADDRESS:PORT`.
    pub address: String,
}

/// Somebody who asks.
pub struct Client<'a> {
    place: Place<'a>,
}

enum Place<'a> {
    Pod { kubectl: &'a Kubectl, pod: String },
    Node { cluster: &'a Cluster, node: String, nettool: &'a str },
    Outside(&'a Outside),
}

impl Outcome {
    /// Whether somebody answered; an error if it failed in another way than by silence.
    pub fn is_answer(&self) -> Result<bool> {
        match self {
            Self::Answer { .. } => Ok(true),
            Self::Error(kind) if kind == "TimedOut" => Ok(false),
            Self::Error(kind) => bail!("neither an answer nor silence: {kind}"),
        }
    }
}

impl How {
    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpConnected => "udp-connected",
            Self::Sctp => "sctp",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::UdpConnected, Self::Sctp].into_iter().find(|how| how.word() == word)
    }
}

impl Target {
    pub fn new(how: How, address: &str, port: u16) -> Self {
        Self { how, address: at(address, port) }
    }

    /// The target at the beginning of a line, and the rest of the line.
    pub(crate) fn parse(line: &str) -> Result<(Self, &str)> {
        let (target, rest) = line.split_once(' ').with_context(|| format!("nettool said {line:?}"))?;
        let (how, address) = target.split_once('@').with_context(|| format!("nettool said {line:?}"))?;
        let how = How::of(how).with_context(|| format!("nettool said {line:?}"))?;
        Ok((Self { how, address: address.to_owned() }, rest))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.how.word(), self.address)
    }
}

impl<'a> Client<'a> {
    /// Starts one anywhere, and waits for it.
    pub fn start(kubectl: &'a Kubectl, pod: &str) -> Result<Self> {
        Self::start_with(kubectl, pod, "{}")
    }

    /// Starts one on a node, and waits for it.
    pub fn on_node(kubectl: &'a Kubectl, pod: &str, node: &str) -> Result<Self> {
        Self::start_with(kubectl, pod, &format!("{{kubernetes.io/hostname: {node}}}"))
    }

    /// One that runs already: any pod of the image.
    pub fn of(kubectl: &'a Kubectl, pod: &str) -> Self {
        Self { place: Place::Pod { kubectl, pod: pod.to_owned() } }
    }

    /// A process of the node itself, not of a pod: the tool at that path.
    pub fn of_node(cluster: &'a Cluster, node: &str, nettool: &'a str) -> Self {
        Self { place: Place::Node { cluster, node: node.to_owned(), nettool } }
    }

    /// Outside of the cluster.
    pub fn outside(outside: &'a Outside) -> Self {
        Self { place: Place::Outside(outside) }
    }

    fn start_with(kubectl: &'a Kubectl, pod: &str, node_selector: &str) -> Result<Self> {
        kubectl.apply(&format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {pod}}}
spec:
  nodeSelector: {node_selector}
  terminationGracePeriodSeconds: 1
  containers: [{{name: client, image: "{TOOLS}", command: [sleep, "3600"]}}]
"#
        ))?;
        kubectl.run(&["wait", &format!("pod/{pod}"), "--for=condition=Ready", "--timeout=180s"])?;
        Ok(Self::of(kubectl, pod))
    }

    /// Runs a command there: `nettool`, or what the place has beside it.
    pub fn run(&self, command: &[&str]) -> Result<String> {
        match &self.place {
            Place::Pod { kubectl, pod } => kubectl.run(&[&["exec", pod, "--"], command].concat()),
            Place::Node { cluster, node, nettool } => {
                let named: Vec<&str> = command.iter().map(|word| if *word == "nettool" { *nettool } else { *word }).collect();
                cluster.inside(node, &named)
            }
            Place::Outside(outside) => outside.run(command),
        }
    }

    /// One ping, answered within two seconds.
    pub fn ping(&self, address: &str) -> Result<()> {
        let once = ["ping", "-c", "1", "-W", "2", address];
        match &self.place {
            Place::Pod { .. } => self.run(&once),
            // This host's is the one that the image was made of.
            Place::Node { .. } | Place::Outside(_) => self.run(&[&["busybox"][..], &once].concat()),
        }
        .with_context(|| format!("{address} does not answer a ping"))
        .map(drop)
    }

    /// Asks all at the same time, each `tries` times one after the other; one that times out is not asked again. Every question comes from
    /// another port: what a node remembers of one is not taken for another.
    pub fn ask_all(&self, targets: impl IntoIterator<Item = Target>, tries: u16) -> Result<Tally> {
        let targets: Vec<Target> = targets.into_iter().collect();
        let first_port = ports(u16::try_from(targets.len())?.saturating_mul(tries)).to_string();
        parse_tally(&self.run_on(&["nettool", "ask-all", &first_port, &tries.to_string()], targets)?)
    }

    /// Asks all at the same time, each once.
    pub fn try_all(&self, targets: impl IntoIterator<Item = Target>) -> Result<BTreeMap<Target, Attempt>> {
        let said = self.run_on(&["nettool", "try-all"], targets)?;
        said.lines().map(|line| Target::parse(line).and_then(|(target, rest)| Ok((target, Attempt::parse(rest)?)))).collect()
    }

    /// The same, with the times of each.
    pub fn probe_all(&self, targets: impl IntoIterator<Item = Target>) -> Result<Vec<Probe>> {
        self.run_on(&["nettool", "probe", "1", "0"], targets)?.lines().map(Probe::parse).collect()
    }

    fn run_on(&self, command: &[&str], targets: impl IntoIterator<Item = Target>) -> Result<String> {
        let words: Vec<String> = targets.into_iter().map(|target| target.to_string()).collect();
        self.run(&command.iter().copied().chain(words.iter().map(String::as_str)).collect::<Vec<_>>())
    }

    /// Asks a number of times, one after the other.
    pub fn ask(&self, how: How, address: &str, tries: u32) -> Result<Answers> {
        Answers::parse(&self.run(&["nettool", &format!("ask-{}", how.word()), address, &tries.to_string()])?)
    }

    /// Asks once.
    pub fn attempt(&self, how: How, address: &str) -> Result<Attempt> {
        Attempt::parse(&self.run(&["nettool", &format!("try-{}", how.word()), address])?)
    }

    /// Asks once and expects an error of this kind, in less than a second.
    pub fn is_refused(&self, how: How, address: &str, kind: &str) -> Result<()> {
        let attempt = self.attempt(how, address)?;
        ensure!(attempt.outcome == Outcome::Error(kind.to_owned()), "{how:?} to {address}: {attempt:?}, expected {kind}");
        ensure!(attempt.millis < 1000, "{how:?} to {address} took {} ms to fail", attempt.millis);
        Ok(())
    }
}

impl Answers {
    /// The output of `nettool ask-…`: `NAME COUNT` and `error KIND COUNT` lines.
    pub fn parse(text: &str) -> Result<Self> {
        let mut answers = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["error", kind, count] => answers.errors.insert((*kind).to_owned(), count.parse()?),
                [server, count] => answers.by_server.insert((*server).to_owned(), count.parse()?),
                _ => bail!("nettool said {line:?}"),
            };
        }
        Ok(answers)
    }

    /// Who answered.
    pub fn servers(&self) -> BTreeSet<String> {
        self.by_server.keys().cloned().collect()
    }

    /// Checks that exactly these servers answered and nothing failed.
    pub fn are_from(&self, servers: &BTreeSet<String>) -> Result<()> {
        ensure!(self.errors.is_empty() && self.servers() == *servers, "{self:?}, expected answers from {servers:?}");
        Ok(())
    }
}

impl Attempt {
    /// The output of `nettool try-…`: `NAME PEER MILLIS` or `error KIND MILLIS`.
    pub fn parse(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [first, second, millis] = words.as_slice() else { bail!("nettool said {text:?}") };
        Ok(Self { outcome: Outcome::of(first, second), millis: millis.parse().context("nettool said no milliseconds")? })
    }

    /// Who answered, and whom the server saw.
    pub fn answer(&self) -> Result<(&str, &str)> {
        match &self.outcome {
            Outcome::Answer { server, seen_from } => Ok((server, seen_from)),
            Outcome::Error(kind) => bail!("no answer: {kind} after {} ms", self.millis),
        }
    }
}

/// So many ports, of which none was given for a long time: the first. They are among those that nodes connect from.
fn ports(count: u16) -> u16 {
    static NEXT: Mutex<u16> = Mutex::new(FIRST_PORT);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let first = if next.saturating_add(count) > LAST_PORT { FIRST_PORT } else { *next };
    *next = first.saturating_add(count);
    first
}

/// The output of `nettool ask-all`: `HOW@ADDRESS NAME PEER COUNT` and `HOW@ADDRESS error KIND COUNT` lines.
fn parse_tally(text: &str) -> Result<Tally> {
    let mut tally = Tally::new();
    for line in text.lines() {
        let (target, rest) = Target::parse(line)?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [first, second, count] = words.as_slice() else { bail!("nettool said {line:?}") };
        tally.entry(target).or_default().insert(Outcome::of(first, second), count.parse()?);
    }
    Ok(tally)
}

impl Outcome {
    pub(crate) fn of(first: &str, second: &str) -> Self {
        match first {
            "error" => Self::Error(second.to_owned()),
            server => Self::Answer { server: server.to_owned(), seen_from: second.to_owned() },
        }
    }
}

/// The container of a server, as a line of YAML: TCP, UDP and SCTP on [`PORT`], ready once it listens.
pub fn server_container() -> String {
    format!(
        r#"{{name: server, image: "{TOOLS}", command: [nettool, serve, "[::]:{PORT}"], ports: [{{name: echo, containerPort: {PORT}}}], readinessProbe: {{tcpSocket: {{port: {PORT}}}, periodSeconds: 1}}}}"#
    )
}

/// A Deployment of servers (label `app`), waited for.
pub fn deploy(kubectl: &Kubectl, name: &str, replicas: u32) -> Result<()> {
    kubectl.apply(&format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{container}]
"#,
        container = server_container()
    ))?;
    kubectl.run(&["rollout", "status", "deployment", name, "--timeout=180s"])?;
    Ok(())
}

/// One server pod (label `app`) with more of a Pod's spec in YAML's flow form, such as `nodeSelector: {…}`; not waited for.
pub fn pod(kubectl: &Kubectl, name: &str, more: &str) -> Result<()> {
    let comma = if more.is_empty() { "" } else { ", " };
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec: {{terminationGracePeriodSeconds: 1, containers: [{}]{comma}{more}}}\n",
        server_container()
    ))?;
    Ok(())
}

/// Waits for a pod to be ready.
pub fn wait_ready(kubectl: &Kubectl, pod: &str) -> Result<()> {
    kubectl.run(&["wait", &format!("pod/{pod}"), "--for=condition=Ready", "--timeout=180s"]).map(drop)
}

/// A Service for the servers with the label `app: APP`, on port 80 (TCP `tcp`, UDP `udp`), with more of its spec in YAML's flow form.
/// Its cluster address of the first family.
pub fn serve(kubectl: &Kubectl, name: &str, app: &str, more: &str) -> Result<String> {
    serve_over(kubectl, name, app, &["TCP", "UDP"], more)
}

/// The same over these protocols, for each a port with its name in lower case.
pub fn serve_over(kubectl: &Kubectl, name: &str, app: &str, protocols: &[&str], more: &str) -> Result<String> {
    let port = |protocol: &&str| format!("{{name: {}, protocol: {protocol}, port: 80, targetPort: {PORT}}}", protocol.to_lowercase());
    let ports: Vec<String> = protocols.iter().map(port).collect();
    let comma = if more.is_empty() { "" } else { ", " };
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: {app}}}, ports: [{}]{comma}{more}}}\n",
        ports.join(", ")
    ))?;
    cluster_address(kubectl, name)
}

/// `spec.clusterIP`.
pub fn cluster_address(kubectl: &Kubectl, service: &str) -> Result<String> {
    kubectl.run(&["get", "service", service, "-o", "jsonpath={.spec.clusterIP}"])
}

/// The pods with the label `app: APP` that are neither ending nor over.
pub fn live_pods(kubectl: &Kubectl, app: &str) -> Result<BTreeSet<String>> {
    let list = kubectl.json(&["get", "pods", "-l", &format!("app={app}")])?;
    let pods = list["items"].as_array().context("there is no list of pods")?;
    let live = pods.iter().filter(|pod| pod["metadata"].get("deletionTimestamp").is_none() && pod["status"]["phase"] == "Running");
    Ok(live.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

/// `ADDRESS:PORT`, with brackets where the family needs them.
pub fn at(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_errors_are_told_apart() {
        let answers = Answers::parse("web-1 3\nerror ConnectionRefused 2\n").unwrap();
        assert_eq!(answers.servers(), BTreeSet::from(["web-1".to_owned()]));
        assert_eq!(answers.errors["ConnectionRefused"], 2);
        assert!(answers.are_from(&answers.servers()).is_err());
        assert!(Answers::parse("what is this line").is_err());
        assert_eq!(Attempt::parse("error TimedOut 2000").unwrap().outcome, Outcome::Error("TimedOut".into()));
        let tally = parse_tally("udp@[fd00::1]:80 web-1 fd00::2 3\ntcp@10.0.0.1:80 error TimedOut 1\n").unwrap();
        let answered = Outcome::Answer { server: "web-1".into(), seen_from: "fd00::2".into() };
        assert_eq!(tally[&Target::new(How::Udp, "fd00::1", 80)], BTreeMap::from([(answered, 3)]));
        assert_eq!(tally[&Target::new(How::Tcp, "10.0.0.1", 80)], BTreeMap::from([(Outcome::Error("TimedOut".into()), 1)]));
        assert!(parse_tally("udp@[fd00::1]:80 what").is_err());
        assert_eq!(Attempt::parse("web-1 10.0.0.1 3").unwrap().answer().unwrap(), ("web-1", "10.0.0.1"));
    }
}
