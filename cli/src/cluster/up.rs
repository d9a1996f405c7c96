//! `orknet up`: brings a local cluster to the state asked for. Every step finds what is there and makes what is missing, so that
//! `up` again repairs, also after a kill in the middle.

use super::cgroups::Hierarchies;
use super::layout::{Cluster, MAX_NODES, Place};
use super::progress::Progress;
use super::record::{self, Record, StoreKind};
use super::{containerd, hello, namespaces, network, node, server};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use nix::mount::{MsFlags, mount};
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

/// How long any one part may take to come up.
const DEADLINE: Duration = Duration::from_secs(90);

/// What to bring up; what is not said stays as it was, or takes its default.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub nodes: Option<u8>,
    pub store: Option<StoreKind>,
    /// Leaves the example out.
    pub bare: bool,
}

/// Brings the cluster up and tells what to try.
pub async fn up(cluster: &Cluster, wish: &Wish) -> Result<()> {
    preflight()?;
    let record = settle(cluster, wish)?;
    let mut progress = Progress::new(7 + u64::from(record.nodes));

    progress.step("namespaces, bridge and BPF file system");
    let places = places(cluster, &record);
    prepare_host(cluster)?;
    for place in &places {
        prepare_place(place)?;
    }
    network::prepare_server(&cluster.server())?;
    for node in &places[1..] {
        network::prepare_node(&cluster.server(), node)?;
    }

    progress.step(format!("control plane ({} store)", if record.store == StoreKind::Etcd { "etcd" } else { "embedded" }));
    server::prepare(cluster)?;
    server::start(cluster, &record)?;
    for node in &places[1..] {
        containerd::start(node)?;
    }
    server::write_kubeconfig(cluster, &record)?;
    let client = server::client(cluster).await?;
    server::wait_ready(cluster, &client, DEADLINE).await?;

    progress.step("images");
    let archives = containerd::archives(&cluster.state_dir().join("images"))?;
    for node in &places[1..] {
        progress.step(format!("{}: containerd, agent, kubelet", node.name));
        node::prepare(cluster, node)?;
        containerd::wait_ready(node, DEADLINE)?;
        containerd::import_images(node, &archives)?;
        node::start(node)?;
    }

    progress.step("nodes to be ready");
    wait_nodes(&client, &places[1..]).await?;

    let mut answer = None;
    if !wish.bare {
        progress.step("the example");
        hello::apply(&client).await?;
        let address = hello::wait_available(&client, DEADLINE).await?;
        progress.step("the example's ClusterIP");
        answer = Some((address, hello::ask(&places[1], address, DEADLINE)?));
    }
    let took = progress.finish();
    println!("Cluster {:?} is up ({:.1} s): {} nodes.", cluster.name(), took.as_secs_f64(), record.nodes);
    if let Some((address, answer)) = answer {
        println!("http://{address} answers: {answer}");
    }
    print_hints(cluster);
    Ok(())
}

fn print_hints(cluster: &Cluster) {
    let name = if cluster.name() == super::layout::DEFAULT_NAME { String::new() } else { format!(" --name {}", cluster.name()) };
    println!("\n  export KUBECONFIG={}\n", cluster.kubeconfig_path().display());
    println!("Try:\n  kubectl get nodes,pods,services -A -o wide\n  kubectl scale deployment hello --replicas 4");
    println!("  kubectl run -it --rm shell --image {} -- sh", super::images::BUSYBOX);
    println!(
        "  orknet services{name}      # what the kernel balances on node1\n  orknet enter{name} node1   # a shell in a node\n  orknet down{name}"
    );
}

/// What the host must have, each missing thing in a line.
fn preflight() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a local cluster makes network namespaces and loads BPF programs; remedy: run as root");
    }
    let mut missing = Vec::new();
    for (program, package) in [("containerd", "containerd"), ("runc", "runc"), ("busybox", "busybox-static")] {
        if let Err(error) = super::process::find_program(program, package) {
            missing.push(error.to_string());
        }
    }
    if let Err(error) = Hierarchies::find() {
        missing.push(error.to_string());
    }
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    Ok(())
}

/// Joins the wish with what the record says and writes it down before anything is made.
fn settle(cluster: &Cluster, wish: &Wish) -> Result<Record> {
    let before = record::read(cluster)?;
    if let (Some(before), Some(store)) = (&before, wish.store)
        && before.store != store
    {
        bail!("cluster {:?} has another store; remedy: orknet down --name {} first", cluster.name(), cluster.name());
    }
    let api_port = match &before {
        Some(before) => before.api_port,
        None => free_port()?,
    };
    let record = Record {
        nodes: wish.nodes.or(before.as_ref().map(|before| before.nodes)).unwrap_or(2),
        store: wish.store.or(before.as_ref().map(|before| before.store)).unwrap_or(StoreKind::Embedded),
        api_port,
    };
    if !(1..=MAX_NODES).contains(&record.nodes) {
        bail!("a local cluster has 1 to {MAX_NODES} nodes, not {}", record.nodes);
    }
    if let Some(before) = &before
        && record.nodes < before.nodes
    {
        bail!("cluster {:?} has {} nodes and nodes are not taken away; remedy: orknet down first", cluster.name(), before.nodes);
    }
    record::write(cluster, &record)?;
    Ok(record)
}

fn places(cluster: &Cluster, record: &Record) -> Vec<Place> {
    std::iter::once(cluster.server()).chain((1..=record.nodes).map(|number| cluster.node(number))).collect()
}

fn prepare_host(cluster: &Cluster) -> Result<()> {
    let directory = cluster.bpf_dir();
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    if !namespaces::is_mount(&directory) {
        mount(Some("bpf"), &directory, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .with_context(|| format!("cannot mount the BPF file system at {}", directory.display()))?;
    }
    Ok(())
}

fn prepare_place(place: &Place) -> Result<()> {
    Hierarchies::find()?.create(&place.daemon_cgroup())?;
    for directory in [place.state_dir(), place.run_dir()] {
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    namespaces::create_netns(&place.netns())?;
    let own = place.run_dir().join("containerd-sockets");
    namespaces::create_mount_ns(&place.mount_ns_path(), move || {
        // containerd's shims listen below this path whatever containerd's own settings say.
        let fixed = std::path::Path::new("/run/containerd");
        for directory in [&own, fixed] {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        namespaces::bind(&own, fixed, MsFlags::empty())
    })
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot find a free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

async fn wait_nodes(client: &kube::Client, nodes: &[Place]) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    for node in nodes {
        let what = format!("{} to be ready", node.name);
        let ready = hello::wait(&what, DEADLINE, async || {
            node::check(node)?;
            let Some(object) = api.get_opt(&node.name).await? else { return Ok(None) };
            let conditions = object.status.and_then(|status| status.conditions).unwrap_or_default();
            Ok(conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True").then_some(()))
        });
        ready.await?;
    }
    Ok(())
}
