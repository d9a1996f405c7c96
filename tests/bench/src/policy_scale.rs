//! One node's agent in a large cluster: ten thousand policies, fifty thousand pods that are made up, but for those of the node itself.

use crate::places::Place;
use crate::policies::{self, APPS, OF_NAMESPACE};
use crate::policy_copies;
use crate::report::Section;
use crate::samples::percentile;
use crate::services;
use crate::startup::resident_mib;
use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, Patch, PatchParams, PostParams};
use orknet_abi::{Address, PodKey};
use orknet_dataplane::Reader;
use orknet_tests::{Cluster, eventually};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

const POLICIES: u32 = 10_000;
const PODS: u32 = 50_000;
const NAMESPACES: u32 = POLICIES / OF_NAMESPACE;
/// Nodes that are made up: they get as many pods as nodes may have.
const NODES: u32 = 455;
/// Pods of the node.
const OWN: u32 = 20;
const CHANGES: u32 = 200;
/// Between two looks into the map.
const LOOK: Duration = Duration::from_micros(100);

/// Measures.
pub fn measure() -> Result<Section> {
    let cluster = Cluster::up("ps", &["--bare", "--nodes", "1"])?;
    let runtime = tokio::runtime::Runtime::new()?;
    let client = runtime.block_on(services::client(&cluster))?;
    runtime.block_on(policies::make_namespaces(&client, NAMESPACES))?;
    for number in 0..OWN {
        own_pod(&cluster, number)?;
    }
    let start = Instant::now();
    runtime.block_on(make_samples(&client))?;
    end(&cluster, "server", "server")?;
    let copied = runtime.block_on(policy_copies::make(&cluster, copies_of))?;
    cluster.up_again(&["--bare"])?;
    let created = start.elapsed();
    let pins = cluster.run_dir().join("bpf/node1");
    let own = own_addresses(&cluster)?;
    eventually("the node's pods to have their rules", || is_full(&pins, &own))?;
    let reader = Reader::open(&pins)?;
    let labels = runtime.block_on(change_labels(&client, &reader))?;
    let changed = runtime.block_on(change_policies(&client, &reader, &own))?;
    let everywhere = runtime.block_on(change_blocks_around(&client, &reader, &own))?;
    let memory = resident_mib(cluster.process("node1", "agent")?)?;
    let image = reader.image()?;
    drop(reader);

    end(&cluster, "node1", "agent")?;
    std::fs::remove_dir_all(&pins).context("cannot remove the pins")?;
    let start = Instant::now();
    cluster.start_up(&["--bare"])?.wait()?;
    let started = eventually("the agent to be started", || cluster.process("node1", "agent"))?;
    let end = Instant::now() + Duration::from_secs(120);
    while is_full(&pins, &own).is_err() {
        ensure!(Instant::now() < end, "the maps are not full");
        std::thread::sleep(Duration::from_millis(10));
    }
    let programmed = start.elapsed();
    let fresh = resident_mib(started)?;

    let mut table = vec![["what", "measured", "aim"].map(str::to_owned).to_vec()];
    let ms = |seconds: f64| format!("{:.2} ms", seconds * 1000.0);
    let mut row = |what: &str, measured: String, aim: &str| table.push(vec![what.to_owned(), measured, aim.to_owned()]);
    row(
        "full programming from empty maps, `orknet up` and the agent's start included",
        format!("{:.2} s", programmed.as_secs_f64()),
        "5 s",
    );
    row("resident memory of the agent after full programming", format!("{fresh:.1} MiB"), "150 MiB");
    row("resident memory of the agent after the changes", format!("{memory:.1} MiB"), "150 MiB");
    let kinds = [
        ("a label of one pod changes", &labels),
        ("one policy changes", &changed),
        ("one with a block around all pods comes or changes", &everywhere),
    ];
    for (what, times) in kinds {
        for (since, found, aim) in [("API's answer", &times.from_answer, "20 ms"), ("client's request", &times.from_request, "-")] {
            row(&format!("{what}, from the {since} to the map: p50"), ms(percentile(found, 50.0)), "-");
            row(&format!("{what}, from the {since} to the map: p99"), ms(percentile(found, 99.0)), aim);
        }
    }
    row(
        "entries: peers, verdicts, ports, rules",
        format!("{}, {}, {}, {}", image.peers.len(), image.verdicts.len(), image.ports.len(), image.rules.len()),
        "-",
    );
    row(&format!("making the objects, {copied} of them copies in the store"), format!("{:.1} s", created.as_secs_f64()), "-");
    Ok(Section {
        title: "Programming policies at scale",
        command: "cargo xtask bench policy",
        method: format!(
            "{POLICIES} policies in {NAMESPACES} namespaces, {PODS} pods on {NODES} nodes that are made up, {OWN} real pods on the node whose agent is measured; {CHANGES} changes of each \
             kind, one at a time, each looked for in the pinned maps ten thousand times a second. Pods and policies of one namespace are made through the API; those of \
             the others are copies of what the API server has stored of these, with names, addresses and so on of their own, which are written into its store \
             while it is not there. All else is as in any cluster: the agent, the maps, the API server that it watches, and through which the changes come."
        ),
        table,
    })
}

/// A real pod of a made-up namespace.
fn own_pod(cluster: &Cluster, number: u32) -> Result<()> {
    let kubectl = cluster.kubectl().in_namespace(&policies::namespace(number));
    Place::pod(&kubectl, &format!("own-{number}"), "node1")?;
    kubectl.run(&["label", "pod", &format!("own-{number}"), "--overwrite", &format!("app=a{}", number % APPS)]).map(drop)
}

fn own_addresses(cluster: &Cluster) -> Result<Vec<IpAddr>> {
    let of = |number: u32| {
        let kubectl = cluster.kubectl().in_namespace(&policies::namespace(number));
        let text = kubectl.run(&["get", "pod", &format!("own-{number}"), "-o", "jsonpath={.status.podIP}"])?;
        text.parse().with_context(|| text.clone())
    };
    (0..OWN).map(of).collect()
}

/// Every pod of the node has rules, and the last made-up pod that they ask about is known. (Peers are written before pods have new rules.)
fn is_full(pins: &Path, own: &[IpAddr]) -> Result<()> {
    let reader = Reader::open(pins)?;
    for address in own {
        let pod = reader.pod(&PodKey { address: Address::from(*address) })?;
        ensure!(pod.is_some_and(|pod| pod.ingress != 0), "{address}: {pod:?}");
    }
    let last = reader.peer(Address::from(IpAddr::from(address(asked_pods().last().unwrap_or(0)))))?;
    ensure!(last.is_some(), "the last pod is not known");
    Ok(())
}

/// Made-up pods that the rules of the node's own ask about: those that the policies of their own namespaces' pods of the node let in first (`app(1)`
/// in [`policies::spec`]).
fn asked_pods() -> impl DoubleEndedIterator<Item = u32> {
    let of_namespace =
        |own: u32| (0..PODS / NAMESPACES).filter(move |place| place % APPS == (own + 1) % APPS).map(move |place| place * NAMESPACES + own);
    (0..OWN).flat_map(of_namespace)
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0b00_0000 + number + 1)
}

fn pod_name(number: u32) -> String {
    format!("m{number:05}")
}

fn place_of(number: u32) -> String {
    policies::namespace(number % NAMESPACES)
}

/// Ends a daemon as a crash does.
fn end(cluster: &Cluster, place: &str, daemon: &str) -> Result<()> {
    let id = cluster.process(place, daemon)?;
    cluster.signal(place, daemon, nix::sys::signal::Signal::SIGKILL)?;
    eventually("the process to be gone", || {
        ensure!(!Path::new(&format!("/proc/{id}/exe")).exists(), "{daemon} is still there");
        Ok(())
    })
}

/// The nodes that are made up, and pods and policies of the first namespace.
async fn make_samples(client: &kube::Client) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = |number: u32| {
        let nodes = nodes.clone();
        async move {
            let object = policies::read(json!({"metadata": {"name": node_name(number)}}))?;
            nodes.create(&PostParams::default(), &object).await.with_context(|| format!("cannot create node {number}"))?;
            anyhow::Ok(())
        }
    };
    policies::each((0..NODES).map(node)).await?;
    let place = policies::namespace(0);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &place);
    let pod = |number: u32| {
        let pods = pods.clone();
        async move {
            let container = json!({"name": "c", "image": "made-up", "ports": [{"name": "web", "containerPort": 8080}]});
            let object = json!({"metadata": {"name": pod_name(number), "labels": {"app": app(number, 0)}},
                "spec": {"nodeName": node_name(number % NODES), "containers": [container]}});
            pods.create(&PostParams::default(), &policies::read(object)?).await.with_context(|| format!("cannot create pod {number}"))?;
            let ip = address(number).to_string();
            let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
            pods.patch_status(&pod_name(number), &PatchParams::default(), &Patch::Merge(status)).await?;
            anyhow::Ok(())
        }
    };
    policies::each((0..PODS).step_by(NAMESPACES as usize).map(pod)).await?;
    let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), &place);
    let policy = |number: u32| {
        let api = api.clone();
        async move {
            // Fifty of each namespace, of which two are about each app.
            let object = json!({"metadata": {"name": policies::name(number)}, "spec": policies::spec(number / NAMESPACES, 0)});
            api.create(&PostParams::default(), &policies::read(object)?).await.with_context(|| format!("cannot create policy {number}"))?;
            anyhow::Ok(())
        }
    };
    policies::each((0..POLICIES).step_by(NAMESPACES as usize).map(policy)).await
}

/// What an object of the first namespace is in the others.
fn copies_of(sample: &Value) -> Vec<Value> {
    let name = sample["metadata"]["name"].as_str().unwrap_or_default();
    let Some(first) = name.get(1..).and_then(|number| number.parse::<u32>().ok()) else { return Vec::new() };
    let copy = |offset: u32| {
        let number = first + offset;
        let mut copy = sample.clone();
        copy["metadata"]["namespace"] = json!(place_of(number));
        if sample["status"]["podIP"].is_string() {
            copy["metadata"]["name"] = json!(pod_name(number));
            copy["spec"]["nodeName"] = json!(node_name(number % NODES));
            let ip = address(number).to_string();
            copy["status"]["podIPs"] = json!([{"ip": ip}]);
            copy["status"]["podIP"] = json!(ip);
        } else {
            copy["metadata"]["name"] = json!(policies::name(number));
        }
        copy
    };
    (1..NAMESPACES).map(copy).collect()
}

fn node_name(number: u32) -> String {
    format!("elsewhere-{number}")
}

fn app(number: u32, variant: u32) -> String {
    format!("a{}", (number / NAMESPACES + variant) % APPS)
}

/// Seconds until the map showed each change: since the request was sent, and since the API answered (about 0 where the map was first).
#[derive(Default)]
struct Times {
    from_request: Vec<f64>,
    from_answer: Vec<f64>,
}

impl Times {
    /// Makes a change, and waits until it is seen.
    async fn note(&mut self, change: impl Future<Output = kube::Result<()>>, is_other: impl FnMut() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        change.await?;
        let answered = start.elapsed().as_secs_f64();
        let after = until_other(is_other)?;
        self.from_request.push(answered + after);
        self.from_answer.push(after);
        Ok(())
    }
}

/// Of changes of a pod's label.
async fn change_labels(client: &kube::Client, reader: &Reader) -> Result<Times> {
    let mut times = Times::default();
    for number in asked_pods().take(CHANGES as usize) {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &place_of(number));
        let place = Address::from(IpAddr::from(address(number)));
        let before = reader.peer(place)?;
        // The next app is let in by the same policies, as other pods.
        let patch = json!({"metadata": {"labels": {"app": app(number, 1)}}});
        let change = async { pods.patch(&pod_name(number), &PatchParams::default(), &Patch::Merge(patch)).await.map(drop) };
        times.note(change, || Ok(reader.peer(place)? != before)).await.with_context(|| format!("pod {number}"))?;
    }
    Ok(times)
}

/// The same of policies that select a pod of the node.
async fn change_policies(client: &kube::Client, reader: &Reader, own: &[IpAddr]) -> Result<Times> {
    let mut times = Times::default();
    for turn in 0..CHANGES {
        let number = turn % OWN;
        let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), &policies::namespace(number));
        // It selects what the namespace's own pod is labelled.
        let place = number % APPS;
        let key = PodKey { address: Address::from(own[number as usize]) };
        let before = reader.pod(&key)?;
        let patch = json!({"spec": policies::spec(place, 1 + turn / OWN)});
        let name = policies::name(place * NAMESPACES + number);
        let change = async { api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop) };
        times.note(change, || Ok(reader.pod(&key)? != before)).await.with_context(|| format!("policy {place} of {number}"))?;
    }
    Ok(times)
}

/// The same of policies for a pod of the node that let out to everywhere but some networks, which change; they come first.
async fn change_blocks_around(client: &kube::Client, reader: &Reader, own: &[IpAddr]) -> Result<Times> {
    let mut times = Times::default();
    for turn in 0..CHANGES {
        let number = turn % OWN;
        let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), &policies::namespace(number));
        let key = PodKey { address: Address::from(own[number as usize]) };
        let before = reader.pod(&key)?;
        let object = json!({"metadata": {"name": "everywhere"}, "spec": policies::everywhere_spec(turn)});
        let new: NetworkPolicy = policies::read(object.clone())?;
        let change = async {
            match turn / OWN {
                0 => api.create(&PostParams::default(), &new).await.map(drop),
                _ => api.patch("everywhere", &PatchParams::default(), &Patch::Merge(object)).await.map(drop),
            }
        };
        times.note(change, || Ok(reader.pod(&key)? != before)).await.with_context(|| format!("everywhere of {number}"))?;
    }
    Ok(times)
}

/// Seconds until it is so.
fn until_other(mut is_other: impl FnMut() -> Result<bool>) -> Result<f64> {
    let start = Instant::now();
    while !is_other()? {
        if start.elapsed() > Duration::from_secs(10) {
            bail!("the change did not reach the map");
        }
        // Not a spin: on two cores it would take one of them from what it measures.
        std::thread::sleep(LOOK);
    }
    Ok(start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_that_is_changed_is_one_that_a_policy_of_a_pod_of_the_node_asks_for_before_and_after() {
        assert!(asked_pods().count() >= CHANGES as usize);
        for number in asked_pods() {
            let own = number % NAMESPACES;
            assert!(own < OWN, "{number}");
            let asked = policies::spec(own % APPS, 0)["ingress"][0]["from"].to_string();
            let [before, after] = [0, 1].map(|variant| json!({"matchLabels": {"app": app(number, variant)}}).to_string());
            assert!(before != after && asked.contains(&before) && asked.contains(&after), "{number}: {asked}");
        }
    }
}
