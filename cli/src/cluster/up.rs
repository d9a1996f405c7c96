//! `orknet up`: brings a local cluster to the state asked for. Every step finds what is there and makes what is missing, so that
//! `up` again repairs, also after a kill in the middle.

use super::cgroups::Hierarchies;
use super::layout::{Cluster, MAX_NODES, Place, RUN_DIR, SERVERS, SHIMS_DIR};
use super::lock::Lock;
use super::preflight::preflight;
use super::progress::Progress;
use super::record::{self, Record, StoreKind};
use super::{containerd, files, hello, namespaces, network, node, server};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Map, Value};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long any one part may take to come up.
const DEADLINE: Duration = Duration::from_secs(90);

/// What to bring up; what is not said stays as it was, or takes its default.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub nodes: Option<u8>,
    pub store: Option<StoreKind>,
    pub servers: Option<u8>,
    /// Settings of every node's agent.
    pub agent: Option<Map<String, Value>>,
    /// Leaves the example out.
    pub bare: bool,
}

/// Brings the cluster up and tells what to try. May be killed at any time: `up` again goes on, `down` removes.
pub async fn up(cluster: &Cluster, wish: &Wish) -> Result<()> {
    let _lock = Lock::cluster(cluster.name(), Duration::ZERO)?;
    let record = wanted(cluster, wish)?;
    preflight(&record)?;
    files::private_directory(&cluster.state_dir())?;
    record::write(cluster, &record)?;
    let mut progress = Progress::new(if wish.bare { 4 } else { 6 });

    progress.step("namespaces, bridge and BPF file system");
    let (control, nodes) = (cluster.server(), (1..=record.nodes).map(|number| cluster.node(number)).collect::<Vec<Place>>());
    let servers = cluster.servers(record.servers);
    prepare(cluster, &control, &servers[1..], &nodes)?;

    progress.step(format!("control plane ({}), containerd, images", server::describe(&record)));
    server::prepare(cluster)?;
    server::start(cluster, &record)?;
    nodes.iter().try_for_each(containerd::start)?;
    server::write_kubeconfig(cluster, &record)?;
    // Made while the others start.
    let archives = containerd::archives(&cluster.state_dir().join("images"))?;
    let client = server::client(cluster).await?;
    server::wait_ready(cluster, &record, &client, DEADLINE).await?;

    progress.step("images, agents and kubelets of the nodes");
    let started = Timestamp::now();
    let fresh = start_nodes(cluster, &record, &nodes, &archives)?;

    progress.step("nodes to be ready");
    for (node, fresh) in nodes.iter().zip(fresh) {
        wait_node(&client, &record, node, fresh.then_some(started)).await?;
    }

    let mut answer = None;
    if !wish.bare {
        progress.step("the example");
        hello::apply(&client).await?;
        let address = hello::wait_available(&client, DEADLINE).await?;
        progress.step("the example's ClusterIP");
        answer = Some((address, hello::ask(&nodes[0], address, DEADLINE)?));
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

/// Joins the wish with what the record says.
fn wanted(cluster: &Cluster, wish: &Wish) -> Result<Record> {
    let before = record::read(cluster)?;
    if let (Some(before), Some(store)) = (&before, wish.store)
        && before.store != store
    {
        bail!("cluster {:?} has another store; remedy: orknet down --name {} first", cluster.name(), cluster.name());
    }
    if let (Some(before), Some(agent)) = (&before, &wish.agent)
        && before.agent != *agent
    {
        bail!("cluster {:?} has agents with other settings; remedy: orknet down --name {} first", cluster.name(), cluster.name());
    }
    if let (Some(before), Some(servers)) = (&before, wish.servers)
        && before.servers != servers
    {
        bail!("cluster {:?} has {} servers; remedy: orknet down --name {} first", cluster.name(), before.servers, cluster.name());
    }
    let api_port = match &before {
        Some(before) => before.api_port,
        None => free_port()?,
    };
    let record = Record {
        nodes: wish.nodes.or(before.as_ref().map(|before| before.nodes)).unwrap_or(2),
        store: wish.store.or(before.as_ref().map(|before| before.store)).unwrap_or(StoreKind::Embedded),
        servers: wish.servers.or(before.as_ref().map(|before| before.servers)).unwrap_or(1),
        api_port,
        agent: wish.agent.clone().or(before.as_ref().map(|before| before.agent.clone())).unwrap_or_default(),
    };
    if !SERVERS.contains(&record.servers) {
        bail!("a local cluster has 1, 3 or 5 servers, not {}", record.servers);
    }
    if record.servers > 1 && record.store != StoreKind::Etcd {
        bail!("the embedded store serves one server; remedy: --store etcd");
    }
    if !(1..=MAX_NODES).contains(&record.nodes) {
        bail!("a local cluster has 1 to {MAX_NODES} nodes, not {}", record.nodes);
    }
    if let Some(before) = &before
        && record.nodes < before.nodes
    {
        bail!("cluster {:?} has {} nodes and nodes are not taken away; remedy: orknet down first", cluster.name(), before.nodes);
    }
    Ok(record)
}

/// Namespaces, cgroups, directories, wires.
fn prepare(cluster: &Cluster, control: &Place, servers: &[Place], nodes: &[Place]) -> Result<()> {
    let _lock = Lock::host()?;
    refuse_lost_processes(cluster)?;
    files::private_directory(&cluster.run_dir())?;
    let directory = cluster.bpf_dir();
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    if !namespaces::is_mount(&directory) {
        mount(Some("bpf"), &directory, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .with_context(|| format!("cannot mount the BPF file system at {}", directory.display()))?;
    }
    for place in std::iter::once(control).chain(servers).chain(nodes) {
        prepare_place(cluster, place)?;
    }
    network::prepare_server(control)?;
    servers.iter().chain(nodes).try_for_each(|place| network::prepare_node(control, place))
}

/// Somebody removed the files by which the processes are known: started again, they would run twice.
fn refuse_lost_processes(cluster: &Cluster) -> Result<()> {
    let lost = if cluster.run_dir().exists() { Vec::new() } else { Hierarchies::find()?.processes(&cluster.cgroup()) };
    if !lost.is_empty() {
        bail!(
            "{} is gone while {} processes of the cluster run; remedy: orknet down --name {}",
            cluster.run_dir().display(),
            lost.len(),
            cluster.name()
        );
    }
    Ok(())
}

fn prepare_place(cluster: &Cluster, place: &Place) -> Result<()> {
    Hierarchies::find()?.create(&place.daemon_cgroup())?;
    for directory in [place.state_dir(), place.run_dir()] {
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    namespaces::create_netns(&place.netns())?;
    let (own, cluster) = (place.run_dir().join("containerd-sockets"), cluster.run_dir());
    namespaces::create_mount_ns(&place.mount_ns_path(), move || {
        // Copies of other clusters' mounts would keep their maps and namespaces alive after their `down`.
        for point in namespaces::mounts_below(Path::new(RUN_DIR)).into_iter().rev().filter(|point| !point.starts_with(&cluster)) {
            umount2(&point, MntFlags::MNT_DETACH).with_context(|| format!("cannot let go of {}", point.display()))?;
        }
        let fixed = Path::new(SHIMS_DIR);
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

/// Which of the nodes have a kubelet that was started just now.
fn start_nodes(cluster: &Cluster, record: &Record, nodes: &[Place], archives: &[PathBuf]) -> Result<Vec<bool>> {
    node::on_each(nodes, |node| {
        node::prepare(cluster, record, node)?;
        containerd::wait_ready(node, DEADLINE)?;
        containerd::import_images(node, archives)?;
        node::start(cluster, record, node)
    })
}

/// Waits until the node is ready. What a kubelet said before `since` does not count: it may be from before a crash.
async fn wait_node(client: &kube::Client, record: &Record, node: &Place, since: Option<Timestamp>) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    hello::wait(
        &format!("{} to be ready", node.name),
        DEADLINE,
        || node::check(record, node),
        async || {
            let Some(object) = api.get_opt(&node.name).await? else { return Ok(None) };
            let conditions = object.status.and_then(|status| status.conditions).unwrap_or_default();
            Ok(conditions.iter().any(|condition| is_ready(condition, since)).then_some(()))
        },
    )
    .await
}

fn is_ready(condition: &NodeCondition, since: Option<Timestamp>) -> bool {
    // Heartbeats have whole seconds.
    let fresh = |since: Timestamp| condition.last_heartbeat_time.as_ref().is_some_and(|time| time.0.as_second() >= since.as_second());
    condition.type_ == "Ready" && condition.status == "True" && since.is_none_or(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn readiness_from_before_a_start_does_not_count() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let condition = |status: &str, heartbeat| NodeCondition {
            type_: "Ready".into(),
            status: status.into(),
            last_heartbeat_time: Some(Time(at(heartbeat))),
            ..NodeCondition::default()
        };
        assert!(is_ready(&condition("True", 99), None));
        assert!(!is_ready(&condition("True", 99), Some(at(100))));
        assert!(is_ready(&condition("True", 100), Some(at(100))));
        assert!(!is_ready(&condition("False", 100), Some(at(100))));
    }
}
