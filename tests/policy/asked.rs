//! A server and pods that ask it all the time, in two worlds of policies that change into each other: some may in both, some in none, some in one.
//! Each question has its times, so that what came of it can be compared with what the model says of that time.

use crate::crowd::{all_of, world};
use crate::scene::{NODES, addresses, server};
use anyhow::{Context, Result, ensure};
use orknet_tests::policy::{Protocol, Question, World};
use orknet_tests::probes::{Probe, Prober, now};
use orknet_tests::talk::{self, How, Target};
use orknet_tests::{Cluster, Kubectl, eventually, programmed};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Who asks: name, node, role, whether it may in the first world and in the second.
const ASKING: [(&str, usize, &str, [bool; 2]); 6] = [
    ("always", 1, "always", [true, true]),
    ("never", 0, "never", [false, false]),
    ("first", 1, "first", [true, false]),
    ("second", 0, "second", [false, true]),
    // Its own label changes.
    (TURNS, 1, "never", [false, true]),
    // What it may send changes, and not what the server takes.
    ("leaves", 1, "always", [true, false]),
];
const TURNS: &str = "turns";

pub struct Scene<'a> {
    cluster: &'a Cluster,
    kubectl: &'a Kubectl,
    targets: Vec<Target>,
    probers: Vec<Prober>,
    /// The one that was in force last; of two, by its number.
    world: World,
    number: usize,
    /// From when on it was.
    since: Times,
}

/// What was changed, as kubectl printed it.
pub struct Change {
    policies: Vec<Value>,
    pod: Value,
}

/// Milliseconds of [`now`] from which on what has changed was told to be in force.
#[derive(Clone, Copy)]
pub struct Times {
    pub policies: u64,
    /// Of their labels and addresses.
    pub pods: u64,
}

/// Two pods that are made between a change and its being in force: one may ask afterwards, one may not.
pub struct Late {
    names: [String; 2],
}

impl<'a> Scene<'a> {
    /// Starts all of them in the first world.
    pub fn start(cluster: &'a Cluster, kubectl: &'a Kubectl) -> Result<Self> {
        server(kubectl, "web", NODES[0])?;
        let targets: Vec<Target> = addresses(kubectl, "web")?
            .iter()
            .flat_map(|address| [How::Tcp, How::Udp].map(|how| Target::new(how, address, talk::PORT)))
            .collect();
        programmed::apply(kubectl, &policies(0))?;
        kubectl.apply(&programmed::list(&ASKING.map(|(name, node, role, _)| prober(name, node, role, &targets))))?;
        kubectl.run(&["wait", "pod", "--all", "--for=condition=Ready", "--timeout=180s"])?;
        programmed::settle(kubectl)?;
        for (name, ..) in ASKING {
            programmed::of_object(kubectl, &kubectl.json(&["get", "pod", name])?)?;
        }
        let probers = ASKING.iter().map(|(name, ..)| Prober::find(cluster, kubectl, name)).collect::<Result<_>>()?;
        let since = Times { policies: now(), pods: now() };
        let world = current(kubectl)?;
        Ok(Self { cluster, kubectl, targets, probers, world, number: 0, since })
    }

    /// Waits until everybody has asked every target so often since then.
    pub fn asks_on(&self, since: u64, times: usize) -> Result<()> {
        self.probers.iter().try_for_each(|prober| prober.asks_on(&self.targets, since, times))
    }

    /// Changes policies and a label into those of the other world; not waited for.
    pub fn change(&mut self) -> Result<Change> {
        self.number = 1 - self.number;
        let text = self.kubectl.run_with(&["apply", "-f", "-", "-o", "json"], &policies(self.number))?;
        let mut applied: Value = serde_json::from_str(&text).context("kubectl printed no JSON")?;
        let role = ["role=never", "role=always"][self.number];
        self.kubectl.run(&["label", "pod", TURNS, role, "--overwrite"])?;
        // What `kubectl label` prints has the version that was before.
        let pod = self.kubectl.json(&["get", "pod", TURNS])?;
        Ok(Change { policies: serde_json::from_value(applied["items"].take())?, pod })
    }

    /// Makes late pods with that in their names; not waited for.
    pub fn start_late(&self, name: &str) -> Result<Late> {
        let roles = if self.number == 0 { ["first", "second"] } else { ["second", "first"] };
        let names = ["may", "may-not"].map(|kind| format!("{name}-late-{kind}"));
        let pods: Vec<Value> = (0..2).map(|index| prober(&names[index], index, roles[index], &self.targets)).collect();
        self.kubectl.apply(&programmed::list(&pods))?;
        Ok(Late { names })
    }

    /// What ended before `changing` is as the model says of the world that was; what began once the change was told to be in force, as it says of
    /// the world that is; what was in between, as either. The next change starts from there.
    pub fn judge(&mut self, changing: u64, times: &Times) -> Result<()> {
        let worlds = [std::mem::take(&mut self.world), current(self.kubectl)?];
        for (prober, (name, _, _, may)) in self.probers.iter().zip(ASKING) {
            let wanted = if self.number == 1 { may } else { [may[1], may[0]] };
            let of = |times: &Times| if name == TURNS { times.pods } else { times.policies };
            let (since, in_force) = (of(&self.since), of(times));
            let own = own_addresses(self.kubectl, name)?;
            let mut seen = [0, 0];
            for probe in prober.probes()?.into_iter().filter(|probe| probe.began >= since) {
                let question = question(&probe, &own)?;
                let allowed = [&worlds[0], &worlds[1]].map(|world| world.answer(&question).allowed());
                ensure!(allowed == wanted, "{name}: the model says {allowed:?}, not {wanted:?}");
                let (is_before, is_after) = (probe.ended < changing, probe.began >= in_force);
                seen[0] += usize::from(is_before);
                seen[1] += usize::from(is_after);
                let answers = if is_before { &allowed[..1] } else { &allowed[usize::from(is_after)..] };
                ensure!(
                    answers.contains(&probe.is_answered()?),
                    "{name}: {probe:?}, expected one of {answers:?}: a change may count from {changing} on and must from {in_force} on"
                );
            }
            ensure!(seen.iter().all(|count| *count >= self.targets.len()), "{name} asked {seen:?} times before and after");
        }
        let [_, world] = worlds;
        (self.world, self.since) = (world, *times);
        Ok(())
    }
}

impl Change {
    /// Waits until each policy's status and each node's report say that it is in force.
    pub fn in_force(&self, scene: &Scene<'_>) -> Result<Times> {
        for policy in &self.policies {
            eventually("the status to say so", || {
                ensure!(is_told(scene.kubectl, policy)?);
                Ok(())
            })?;
        }
        let policies = now();
        // Of pods alone agents report seldom.
        programmed::settle(scene.kubectl)?;
        programmed::of_object(scene.kubectl, &self.pod)?;
        Ok(Times { policies, pods: now() })
    }

    /// Nobody says that it is in force.
    pub fn is_not_told(&self, scene: &Scene<'_>) -> Result<()> {
        for policy in &self.policies {
            ensure!(!is_told(scene.kubectl, policy)?, "{} is told to be in force while nobody can know of it", policy["metadata"]["name"]);
        }
        let wanted = version(&self.policies[0]["metadata"]["resourceVersion"])?;
        for report in all_of(scene.kubectl, "nodeprogrammings", "NodeProgramming")? {
            for entry in report["status"]["programmed"].as_array().into_iter().flatten().filter(|entry| entry["kind"] == "NetworkPolicy") {
                ensure!(version(&entry["resourceVersion"])? < wanted, "{wanted} is told to be in force: {report}");
            }
        }
        Ok(())
    }
}

impl Late {
    /// They have no network yet.
    pub fn waits(&self, scene: &Scene<'_>) -> Result<()> {
        for name in &self.names {
            let pod = scene.kubectl.json(&["get", "pod", name])?;
            ensure!(pod["status"]["podIPs"].is_null() && pod["status"]["phase"] == "Pending", "{name}: {}", pod["status"]);
        }
        Ok(())
    }

    /// Waits until they ask, and every node knows of them: since when.
    pub fn known(&self, scene: &Scene<'_>) -> Result<u64> {
        self.names.iter().try_for_each(|name| talk::wait_ready(scene.kubectl, name))?;
        programmed::settle(scene.kubectl)?;
        for name in &self.names {
            programmed::of_object(scene.kubectl, &scene.kubectl.json(&["get", "pod", name])?)?;
        }
        Ok(now())
    }

    /// Who may not ask was never answered, from its first question on; who may, once everybody knew of it. They go then.
    pub fn judge(&self, scene: &Scene<'_>, times: &Times) -> Result<()> {
        for (index, name) in self.names.iter().enumerate() {
            let own = own_addresses(scene.kubectl, name)?;
            let probes = Prober::find(scene.cluster, scene.kubectl, name)?.probes()?;
            ensure!(probes.iter().any(|probe| probe.began >= times.pods), "{name} does not ask");
            for probe in probes {
                let may = scene.world.answer(&question(&probe, &own)?).allowed();
                ensure!(may == (index == 0), "{name}: the model says {may}");
                let is_answered = probe.is_answered()?;
                let is_right = if probe.began >= times.pods { is_answered == may } else { may || !is_answered };
                ensure!(is_right, "{name}: {probe:?}, known since {}", times.pods);
            }
        }
        let [one, other] = &self.names;
        scene.kubectl.run(&["delete", "pod", one, other, "--now", "--wait=false"]).map(drop)
    }
}

fn version(value: &Value) -> Result<u64> {
    value.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("{value} is no version"))
}

/// What the cluster holds now.
fn current(kubectl: &Kubectl) -> Result<World> {
    let policies = all_of(kubectl, "networkpolicies", "NetworkPolicy")?;
    world(kubectl, &[policies, all_of(kubectl, "clusternetworkpolicies", "ClusterNetworkPolicy")?].concat())
}

/// Whether the policy's status says that this generation of it is in force.
fn is_told(kubectl: &Kubectl, policy: &Value) -> Result<bool> {
    let name = policy["metadata"]["name"].as_str().unwrap_or_default();
    let status = kubectl.json(&["get", "networkpolicystatus", name])?["status"].take();
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    let is_programmed = conditions.any(|condition| condition["type"] == "Programmed" && condition["status"] == "True");
    Ok(is_programmed && status["observedGeneration"] == policy["metadata"]["generation"])
}

fn own_addresses(kubectl: &Kubectl, pod: &str) -> Result<Vec<IpAddr>> {
    addresses(kubectl, pod)?.iter().map(|address| Ok(address.parse()?)).collect()
}

fn question(probe: &Probe, own: &[IpAddr]) -> Result<Question> {
    let server: std::net::SocketAddr = probe.target.address.parse()?;
    let client = own.iter().find(|own| own.is_ipv4() == server.is_ipv4()).context("the client has no address of the family")?;
    let protocol = if probe.target.how == How::Tcp { Protocol::Tcp } else { Protocol::Udp };
    Ok(Question::new(*client, server.ip(), protocol, server.port()))
}

fn prober(name: &str, node: usize, role: &str, targets: &[Target]) -> Value {
    let labels = json!({"role": role, "leaves": if name == "leaves" { "yes" } else { "no" }});
    Prober::manifest(name, NODES[node], labels, targets)
}

/// Those of a world.
fn policies(world: usize) -> String {
    let (other, server) = [("first", "web"), ("second", "nobody")][world];
    let roles = json!(["always", other]);
    let from = json!({"podSelector": {"matchExpressions": [{"key": "role", "operator": "In", "values": roles}]}});
    let to = json!({"podSelector": {"matchLabels": {"app": server}}});
    let policy = |name: &str, spec: Value| json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec});
    programmed::list(&[
        policy("web", json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": [from]}]})),
        policy("leaves", json!({"podSelector": {"matchLabels": {"leaves": "yes"}}, "policyTypes": ["Egress"], "egress": [{"to": [to]}]})),
    ])
}
