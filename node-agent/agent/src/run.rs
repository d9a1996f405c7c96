//! The agent's life, from top to bottom.

use crate::collector::{self, Collector, Ear};
use crate::config::Config;
use crate::dataplane::{Dataplane, Failure};
use crate::degraded::Troubles;
use crate::error::Error;
use crate::health_check::Health;
use crate::metrics::Metrics;
use crate::own_keeper::keep_own_way;
use crate::programmer::{Listeners, Message, Programmer};
use crate::room::Room;
use crate::route_keeper::{Pods, Wires, keep_network};
use crate::routes::Router;
use crate::settings_keeper::keep_settings;
use crate::socket::{PATIENCE, Server};
use crate::watch::NodesView;
use crate::{attachments, health_check, http, monitor, notice, proxy_health, report, socket, sysctl, watch};
use kube::Client;
use orknet_abi::{RangeKey, TABLES};
use orknet_compiler::Options;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch as latest};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Messages that may wait for the programmer; then the watches wait.
const QUEUE: usize = 8192;
/// Name of the part that writes the maps.
const PROGRAMMER: &str = "programmer";

/// Runs the agent of this node until the shutdown. Must be called in the node's network namespace (all of the runtime's threads), as
/// root. Maps, programs and routes stay when it returns; [`crate::cleanup`] removes them.
///
/// # Errors
/// What keeps the agent from starting. Once started, it logs and retries.
pub async fn run(config: Config, client: Client, shutdown: CancellationToken) -> Result<(), Error> {
    let settings = config.dataplane.clone();
    let open = async move {
        let opened = blocking(move || orknet_dataplane::Dataplane::open(&settings)).await?;
        Ok(Arc::new(opened.map_err(Failure::from)?) as Arc<dyn Dataplane>)
    };
    run_once_open(config, client, open, shutdown).await
}

/// The same over any data plane.
pub async fn run_with(config: Config, client: Client, dataplane: Arc<dyn Dataplane>, shutdown: CancellationToken) -> Result<(), Error> {
    run_once_open(config, client, async { Ok(dataplane) }, shutdown).await
}

async fn run_once_open(
    config: Config,
    client: Client,
    open: impl Future<Output = Result<Arc<dyn Dataplane>, Error>>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    config.check().map_err(Error::Config)?;
    let resync = Duration::from_secs(config.resync_seconds);
    // A stop of any part stops the others.
    let shutdown = shutdown.child_token();
    let _stop_all = shutdown.clone().drop_guard();
    // The socket is also what keeps two agents from working on the same maps.
    let listener = socket::bind(&config.socket)?;
    let monitors = monitor::bind(&config)?;
    let pages = config.http_address.map(|address| http::listen(address, "metrics and health")).transpose()?;
    let proxy_pages = config.proxy_health_address.map(|address| http::listen(address, "health to balancers")).transpose()?;
    // The programs take the kernel a while. Meanwhile the API is read and the CNI plugin comes in; both wait in the queue.
    let (messages, queue) = mpsc::channel(QUEUE);
    let (view, views) = latest::channel(Arc::new(NodesView::default()));
    let (configure, configuration) = latest::channel(None);
    let (synced, is_synced) = latest::channel(false);
    let mut parts = JoinSet::new();
    parts.spawn(named("Service watch", watch::services(client.clone(), messages.clone())));
    parts.spawn(named("EndpointSlice watch", watch::slices(client.clone(), messages.clone())));
    let (of_nodes, own, sender) = (client.clone(), config.node_name.clone(), messages.clone());
    let has_policies = config.policy.is_on();
    let (held, in_maps) = oneshot::channel();
    parts.spawn(async move {
        watch::nodes(of_nodes, &own, sender, view, has_policies).await;
        "Node watch"
    });
    // Where no range is for Services alone, none of ServiceCIDRs is, either.
    let views = if config.service_cidrs.is_empty() {
        views
    } else {
        let (further, ranges) = latest::channel(Arc::default());
        let (both, joined) = latest::channel(Arc::new(NodesView::default()));
        parts.spawn(named("ServiceCIDR watch", watch::service_cidrs(client.clone(), further)));
        parts.spawn(named("ranges of Services", watch::with_ranges(views, ranges, both)));
        joined
    };
    if has_policies {
        parts.spawn(named("NetworkPolicy watch", watch::policies(client.clone(), messages.clone())));
        parts.spawn(named("ClusterNetworkPolicy watch", watch::cluster_policies(client.clone(), messages.clone(), in_maps)));
        parts.spawn(named("Namespace watch", watch::namespaces(client.clone(), messages.clone())));
        parts.spawn(named("Pod watch", watch::pods(client.clone(), messages.clone())));
    }
    let server = Server { messages: messages.clone(), configuration, is_synced, patience: PATIENCE };
    parts.spawn(named("socket server", socket::serve(listener, server)));
    let dataplane = open.await?;
    sysctl::apply()?;
    let router = Router::connect()?;
    let metrics = Arc::new(Metrics::default());
    let (alarm, ear) = collector::alarm();
    let (health, healths) = latest::channel(Health::default());
    let (room, rooms) = latest::channel(Room::default());
    let (fronts, known_fronts) = latest::channel(None);
    let (troubles, known_troubles) = latest::channel(None);
    let (progress, made) = latest::channel(None);
    let listeners = Listeners { alarm, health, room: room.clone(), troubles, fronts, progress, synced };
    let programmer = start_programmer(&config, &dataplane, &metrics, listeners, resync).await?;
    // Without policies nobody asks.
    let _ = held.send(programmer.holds_cluster_policies());
    collect_on_own_thread(&config, &dataplane, &metrics, messages.clone(), room, ear);
    let programmed = on_own_thread(programmer, queue, shutdown.clone());
    parts.spawn(async move {
        let _ = programmed.await;
        PROGRAMMER
    });
    let (of_room, of_devices, node) = (client.clone(), client.clone(), config.node_name.clone());
    parts.spawn(named("reports of full maps", notice::report(of_room, node.clone(), rooms, Room::full)));
    parts.spawn(named("reports of progress", report::report(client.clone(), config.node_name.clone(), made, views.clone())));
    parts.spawn(named("reports of devices", notice::report(of_devices, node, known_troubles, Option::<Troubles>::clone)));
    let hub = monitor::Hub::default();
    let (drops, refused) = mpsc::channel(monitor::REFUSED);
    let feed = monitor::Feed {
        dataplane: Arc::clone(&dataplane),
        messages: messages.clone(),
        hub: hub.clone(),
        drops,
        node: config.node_name.as_str().into(),
        rate: config.event_rate,
    };
    parts.spawn(named("feed of events", monitor::feed(feed)));
    parts.spawn(named("monitors' socket", monitor::serve(monitors, hub)));
    let of_pods = monitor::report(client.clone(), config.node_name.clone(), refused, shutdown.clone());
    parts.spawn(named("events about pods", of_pods));
    let (overlay, overlays) = latest::channel(0);
    let of_pages = messages.clone();
    let settings = keep_settings(config.clone(), views.clone(), overlays, messages, resync);
    parts.spawn(named("settings keeper", settings));
    let own_way = keep_own_way(router.clone(), Arc::clone(&dataplane), config.service_cidrs.clone(), views.clone(), known_fronts, resync);
    parts.spawn(named("keeper of the node's own way", own_way));
    let of_balancers = views.clone();
    let pods = Some(Pods { configure, mtu: config.mtu, overlay });
    let service_cidrs = config.service_cidrs.clone();
    let wires = Wires { routing: config.routing, vxlan_port: config.vxlan_port, service_cidrs, ..Wires::default() };
    parts.spawn(named("route keeper", keep_network(router, views, pods, wires, resync)));
    if let Some(pages) = proxy_pages {
        let served = proxy_health::serve(pages, healths.clone(), of_balancers, shutdown.clone());
        parts.spawn(named("health of the node for balancers", served));
    }
    parts.spawn(named("health checks", health_check::serve(healths)));
    if let Some(pages) = pages {
        parts.spawn(named("metrics server", http::serve(pages, metrics, dataplane, of_pages, shutdown.clone())));
    }
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        ended = parts.join_next() => return Err(Error::Ended(ended.and_then(Result::ok).unwrap_or("task"))),
    }
    // A plan that is being written is finished: the next agent must find nobody else at work on the maps.
    while let Some(ended) = parts.join_next().await {
        if ended.is_ok_and(|name| name == PROGRAMMER) {
            break;
        }
    }
    // Aborting takes effect later; until then the socket would still answer.
    parts.shutdown().await;
    Ok(())
}

async fn named(name: &'static str, part: impl Future<Output = ()>) -> &'static str {
    part.await;
    name
}

/// Everything that is already there comes first: the maps, the pods, then the hooks.
async fn start_programmer(
    config: &Config,
    dataplane: &Arc<dyn Dataplane>,
    metrics: &Arc<Metrics>,
    listeners: Listeners,
    resync: Duration,
) -> Result<Programmer, Error> {
    let cgroup = match &config.cgroup {
        Some(cgroup) => cgroup.clone(),
        None => cgroup2_mount(Path::new("/proc/self/mounts"))?,
    };
    let table_room = config.dataplane.capacities.get(TABLES.name).copied().unwrap_or(TABLES.capacity);
    let node_port_ranges = config.node_port_addresses.iter().map(|prefix| RangeKey::new(prefix.addr(), prefix.prefix_len())).collect();
    let options = Options { loopback_ports: config.node_port_loopback, node_port_ranges, table_room };
    let (state_dir, dataplane, metrics) = (config.state_dir.clone(), Arc::clone(dataplane), Arc::clone(metrics));
    let has_policies = config.policy.is_on();
    blocking(move || {
        let records = attachments::restore(&state_dir, attachments::device_index).map_err(Error::Records)?;
        tracing::info!(pods = records.len(), "restored the pods of this node");
        let programmer = Programmer::new(Arc::clone(&dataplane), metrics, &records, options, has_policies, listeners, resync)?;
        dataplane.attach_cgroup(&cgroup)?;
        tracing::info!(cgroup = %cgroup.display(), "the socket hooks are attached");
        Ok(programmer)
    })
    .await?
}

/// The programmer blocks while it writes, so it does not share a thread with anybody. Resolves when it has ended.
fn on_own_thread(programmer: Programmer, queue: mpsc::Receiver<Message>, shutdown: CancellationToken) -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        runtime.block_on(programmer.run(queue, shutdown));
        let _ = ended.send(());
    });
    end
}

/// The collector blocks, too. It ends with the programmer, which rings its alarm; nobody waits for it, since what it does to the maps is
/// right whoever else is at work on them.
fn collect_on_own_thread(
    config: &Config,
    dataplane: &Arc<dyn Dataplane>,
    metrics: &Arc<Metrics>,
    messages: mpsc::Sender<Message>,
    room: latest::Sender<Room>,
    ear: Ear,
) {
    let (dataplane, metrics, state_dir) = (Arc::clone(dataplane), Arc::clone(metrics), config.state_dir.clone());
    std::thread::spawn(move || Collector { dataplane, metrics, messages, state_dir, room }.run(&ear));
}

/// Where cgroup v2 is mounted: the only one on modern hosts, beside the v1 controllers on hybrid ones.
fn cgroup2_mount(mounts: &Path) -> Result<PathBuf, Error> {
    let text = std::fs::read_to_string(mounts).map_err(|source| Error::Read { path: mounts.to_owned(), source })?;
    let mut fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = fields.find(|fields| fields.get(2) == Some(&"cgroup2")).and_then(|fields| fields.get(1).map(PathBuf::from));
    mount.ok_or(Error::NoCgroup)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Ended("start"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup2_mount_is_found_beside_others() {
        let folder = tempfile::tempdir().unwrap();
        let mounts = folder.path().join("mounts");
        std::fs::write(
            &mounts,
            "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
        )
        .unwrap();
        assert_eq!(cgroup2_mount(&mounts).unwrap(), Path::new("/sys/fs/cgroup/unified"));
        std::fs::write(&mounts, "tmpfs /tmp tmpfs rw 0 0\n").unwrap();
        assert!(matches!(cgroup2_mount(&mounts), Err(Error::NoCgroup)));
    }
}
