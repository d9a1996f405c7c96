//! The nodes that can be looked into from here: those of a local cluster, or this host. Each has its pins, its network namespace and devices.

use super::packet::ANY_MAC;
use crate::cluster::layout::{Cluster, DEFAULT_NAME};
use crate::cluster::namespaces::{enter, netns_path};
use crate::inspect::pinned_nodes;
use anyhow::{Context, Result, bail};
use nix::sched::CloneFlags;
use orknet_abi::{Address, Node, Pod, PodKey};
use orknet_dataplane::{Arrival, Hook, Reader, Traced, Tracer, is_attached};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// A node that can be looked into.
pub struct Place {
    pub name: String,
    pin_dir: PathBuf,
    /// Of its network; `None` for this process's own.
    netns: Option<PathBuf>,
    pub pods: BTreeMap<PodKey, Pod>,
    pub node: Node,
    pub devices: Vec<Device>,
    tracer: Option<Tracer>,
}

/// A network device of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub index: u32,
    pub name: String,
    pub mac: [u8; 6],
    pub addresses: Vec<IpAddr>,
}

/// Where a node's routes lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub device: u32,
    /// The next machine; `None` where the destination itself is.
    pub next: Option<IpAddr>,
    /// The address that the node's own packets have, unless they say another.
    pub source: Option<IpAddr>,
}

/// What can be looked into from here.
pub struct Found {
    /// In the order of the nodes' numbers.
    pub places: Vec<Place>,
    /// The local cluster that they are of.
    pub cluster: Option<Cluster>,
    /// Why other nodes of it cannot be looked into.
    pub unread: Vec<String>,
}

/// The nodes that are here.
///
/// # Errors
/// When none of those that are meant can be looked into.
pub fn find(name: Option<&str>, pin_dir: Option<PathBuf>) -> Result<Found> {
    let host = |directory| Ok(Found { places: vec![Place::open(host_name(), directory, None)?], cluster: None, unread: Vec::new() });
    if let Some(directory) = pin_dir {
        return host(directory);
    }
    let cluster = Cluster::new(name.unwrap_or(DEFAULT_NAME))?;
    let nodes = pinned_nodes(&cluster.bpf_dir())?;
    if nodes.is_empty() && name.is_none() {
        return host(orknet_dataplane::Config::default().pin_dir);
    }
    if nodes.is_empty() {
        bail!("there is no local cluster {:?} on this host; remedy: orknet up --name {0}", cluster.name());
    }
    let open = |node: String| {
        let number = node.strip_prefix("node").and_then(|number| number.parse().ok()).unwrap_or_default();
        Place::open(node.clone(), cluster.bpf_dir().join(&node), Some(netns_path(&cluster.node(number).netns())))
    };
    let (places, unread) = readable(nodes.into_iter().map(open))?;
    Ok(Found { places, cluster: Some(cluster), unread })
}

/// What could be opened, and why the rest could not: a node that is just being made, or whose network is gone, is in nobody's way. Nothing
/// but failures is a failure.
fn readable<T>(opened: impl Iterator<Item = Result<T>>) -> Result<(Vec<T>, Vec<String>)> {
    let (mut places, mut unread) = (Vec::new(), Vec::new());
    for place in opened {
        match place {
            Ok(place) => places.push(place),
            Err(error) => unread.push(format!("{error:#}")),
        }
    }
    if places.is_empty() {
        bail!("{}", unread.join("\n        "));
    }
    Ok((places, unread))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "this host".to_owned() } else { name.trim().to_owned() }
}

impl Place {
    fn open(name: String, pin_dir: PathBuf, netns: Option<PathBuf>) -> Result<Self> {
        let reader = Reader::open(&pin_dir).with_context(|| format!("cannot look into {name}"))?;
        let read = reader.pods().and_then(|pods| Ok((pods, reader.node()?.unwrap_or_default())));
        let (pods, node) = read.with_context(|| format!("cannot look into {name}"))?;
        let mut place = Self { name, pin_dir, netns, pods, node, devices: Vec::new(), tracer: None };
        place.devices = place.inside(devices).flatten().with_context(|| format!("cannot look into {}", place.name))?;
        Ok(place)
    }

    /// Runs `act` on a thread inside the node's network. Blocking.
    fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        let netns = self.netns.as_deref();
        std::thread::scope(|scope| {
            let entered = move || -> Result<T> {
                if let Some(netns) = netns {
                    enter(netns, CloneFlags::CLONE_NEWNET)?;
                }
                Ok(act())
            };
            scope.spawn(entered).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The maps of the node.
    pub fn reader(&self) -> Result<Reader> {
        Ok(Reader::open(&self.pin_dir)?)
    }

    /// Runs the program of a hook on a frame at one of the node's devices. Loads the programs the first time.
    /// `came_in` is where the packet came into the node; 0 for one that the node itself sends.
    pub fn run(&mut self, hook: Hook, device: u32, came_in: u32, mark: u32, frame: &[u8]) -> Result<Traced> {
        let mut tracer = match self.tracer.take() {
            Some(tracer) => tracer,
            None => Tracer::open(&self.pin_dir).with_context(|| format!("cannot trace on {}", self.name))?,
        };
        let arrival = Arrival { device, came_in, mark, ..Arrival::default() };
        let traced = self.inside(|| tracer.run(hook, &arrival, frame))?;
        self.tracer = Some(tracer);
        Ok(traced?)
    }

    /// Whether the program of a hook is on a device of the node.
    pub fn has_program(&self, hook: Hook, device: u32) -> Result<bool> {
        Ok(self.inside(|| is_attached(&self.pin_dir, hook, device))??)
    }

    /// Where the node's routes lead to an address; `None` for nowhere.
    pub fn route(&self, to: IpAddr) -> Result<Option<Route>> {
        self.inside(|| ask_route(to))?
    }

    /// The pod with an address.
    pub fn pod(&self, address: IpAddr) -> Option<&Pod> {
        self.pods.get(&PodKey { address: address.into() })
    }

    /// Whether an address is the node's own.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.devices.iter().any(|device| device.addresses.contains(&address)) || self.addresses().any(|own| own == address)
    }

    /// The node's addresses in the cluster.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        [self.node.v4, self.node.v6].into_iter().filter(|address| *address != Address::default()).map(IpAddr::from)
    }

    /// The device by which the network reaches the node.
    pub fn network_device(&self) -> Option<&Device> {
        self.devices.iter().find(|device| self.addresses().any(|address| device.addresses.contains(&address)))
    }

    /// The device of this index.
    pub fn device(&self, index: u32) -> Option<&Device> {
        self.devices.iter().find(|device| device.index == index)
    }

    /// Its name, for people.
    pub fn device_name(&self, index: u32) -> String {
        self.device(index).map_or_else(|| format!("device {index}"), |device| device.name.clone())
    }
}

/// The devices of the calling thread's network.
fn devices() -> Result<Vec<Device>> {
    let mut devices: BTreeMap<String, Device> = BTreeMap::new();
    for found in nix::ifaddrs::getifaddrs().context("cannot list the node's devices")? {
        let new = Device { index: 0, name: found.interface_name.clone(), mac: ANY_MAC, addresses: Vec::new() };
        let device = devices.entry(found.interface_name).or_insert(new);
        let Some(address) = found.address else { continue };
        if let Some(link) = address.as_link_addr() {
            device.index = u32::try_from(link.ifindex()).unwrap_or_default();
            device.mac = link.addr().unwrap_or(ANY_MAC);
        } else if let Some(v4) = address.as_sockaddr_in() {
            device.addresses.push(v4.ip().into());
        } else if let Some(v6) = address.as_sockaddr_in6() {
            device.addresses.push(v6.ip().into());
        }
    }
    Ok(devices.into_values().collect())
}

/// Asks the kernel, in the calling thread's network.
fn ask_route(to: IpAddr) -> Result<Option<Route>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().context("cannot ask for routes")?;
        tokio::spawn(connection);
        let bits = if to.is_ipv4() { 32 } else { 128 };
        let question = RouteMessageBuilder::<IpAddr>::new().destination_prefix(to, bits).context("no destination of a route")?.build();
        let mut answers = std::pin::pin!(handle.route().get(question).execute());
        match futures::TryStreamExt::try_next(&mut answers).await {
            Ok(answer) => Ok(answer.as_ref().and_then(read_route)),
            // ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL: what a route says that leads nowhere.
            Err(rtnetlink::Error::NetlinkError(_)) => Ok(None),
            Err(error) => Err(error).context("cannot ask for routes"),
        }
    })
}

fn read_route(message: &RouteMessage) -> Option<Route> {
    if !matches!(message.header.kind, RouteType::Unicast | RouteType::Local) {
        return None;
    }
    let mut route = Route::default();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => route.device = *index,
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => route.source = Some((*address).into()),
            RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => route.source = Some((*address).into()),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => route.next = Some((*address).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => route.next = Some((*address).into()),
            _ => {}
        }
    }
    Some(route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_cannot_be_looked_into_keeps_nobody_from_the_others() {
        let opened = [Ok(1), Err(anyhow::anyhow!("no such file").context("cannot look into node2")), Ok(3)];
        let (places, unread) = readable(opened.into_iter()).unwrap();
        assert_eq!((places, unread), (vec![1, 3], vec!["cannot look into node2: no such file".to_owned()]));
        let error = readable::<()>([Err(anyhow::anyhow!("one")), Err(anyhow::anyhow!("two"))].into_iter()).unwrap_err().to_string();
        assert!(error.contains("one") && error.contains("two"), "{error}");
    }

    #[test]
    fn pins_that_are_not_there_are_told_with_the_node() {
        let error = format!("{:#}", find(None, Some("/nonexistent".into())).err().unwrap());
        assert!(error.starts_with("cannot look into "), "{error}");
    }
}
