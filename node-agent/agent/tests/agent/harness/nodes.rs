//! Three nodes on one wire, each with a pod, in network namespaces that go by drop; agents that run inside of them.
//!
//! ```text
//!   pod 1 ── node 1 (192.0.2.1, 2001:db8::1) ──┐
//!   pod 2 ── node 2 (192.0.2.2, 2001:db8::2) ──┤ wire
//!   pod 3 ── node 3 (192.0.2.3, 2001:db8::3) ──┘
//! ```

use super::{Agent, FakeApi, FakeDataplane, node};
use nix::sched::{CloneFlags, setns};
use orknet_agent::Config;
use orknet_cni::protocol::{Answer, Request};
use std::fs::File;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A network namespace with a unique name.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("orknet-agent-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &format!("netns add {name}"));
        let namespace = Self { name };
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `ip` inside; its output.
    pub fn ip(&self, arguments: &str) -> String {
        run("ip", &format!("-n {} {arguments}", self.name))
    }

    /// Sets a value below `/proc/sys/net`.
    fn set(&self, name: &str, value: &str) {
        self.enter(|| std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap());
    }

    /// Runs `work` on a thread inside.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.join();
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn join(&self) {
        setns(File::open(format!("/run/netns/{}", self.name)).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for what in [["-4", "route", "show", "table", "all"].as_slice(), &["-6", "route", "show", "table", "all"], &["-s", "link"]] {
                let shown = Command::new("ip").args(["-n", &self.name]).args(what).output();
                eprintln!("{}:\n{}", self.name, shown.map(|shown| String::from_utf8_lossy(&shown.stdout).into_owned()).unwrap_or_default());
            }
        }
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A node and its pod.
pub struct Node {
    pub namespace: Namespace,
    pub pod: Namespace,
    number: usize,
    agent: Option<RunningAgent>,
}

/// An agent on a thread of its own, whose runtime is inside of the node's namespace.
struct RunningAgent {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Node {
    /// Its addresses on the wire, and those of its pod: IPv4 first.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [format!("192.0.2.{}", self.number).parse().unwrap(), format!("2001:db8::{}", self.number).parse().unwrap()]
    }

    pub fn pod_addresses(&self) -> [IpAddr; 2] {
        [format!("10.244.{}.2", self.number).parse().unwrap(), format!("fd00:10:244:{}::2", self.number).parse().unwrap()]
    }

    fn new(number: usize, wire: &Namespace) -> Self {
        let node = Self { namespace: Namespace::new(), pod: Namespace::new(), number, agent: None };
        wire.ip(&format!("link add port{number} type veth peer name eth0 netns {}", node.namespace.name));
        wire.ip(&format!("link set port{number} master bridge0 up"));
        node.namespace.ip("link set eth0 up");
        let [v4, v6] = node.addresses();
        node.namespace.ip(&format!("address add {v4}/24 dev eth0"));
        node.namespace.ip(&format!("address add {v6}/64 dev eth0 nodad"));
        node.wire_pod();
        node
    }

    /// As the CNI plugin does.
    fn wire_pod(&self) {
        self.namespace.ip(&format!("link add pod type veth peer name eth0 netns {}", self.pod.name));
        for (namespace, device) in [(&self.namespace, "pod"), (&self.pod, "eth0")] {
            namespace.set(&format!("ipv6/conf/{device}/accept_dad"), "0");
            namespace.ip(&format!("link set {device} up"));
        }
        let mac = |namespace: &Namespace, device: &str| {
            let text = namespace.ip(&format!("-o link show {device}"));
            text.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
        };
        let (host_mac, pod_mac) = (mac(&self.namespace, "pod"), mac(&self.pod, "eth0"));
        for (address, gateway) in self.pod_addresses().into_iter().zip(["169.254.1.1", "fe80::1"]) {
            self.pod.ip(&format!("address add {address} dev eth0"));
            self.pod.ip(&format!("neigh add {gateway} lladdr {host_mac} dev eth0 nud permanent"));
            self.pod.ip(&format!("route add default via {gateway} dev eth0 onlink"));
            self.namespace.ip(&format!("neigh add {address} lladdr {pod_mac} dev pod nud permanent"));
            self.namespace.ip(&format!("route add {address} dev pod"));
        }
    }

    /// Starts an agent, or another in its place, and waits until it gives out addresses. The MTU of pods, in bytes.
    pub fn start_agent(&mut self, api: &FakeApi, set: impl FnOnce(&mut Config) + Send + 'static) -> u32 {
        self.stop_agent();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = channel();
        let (api, name, path) = (api.clone(), self.name(), Namespace { name: self.namespace.name.clone() });
        // A second handle on the namespace, which must not remove it.
        let path = std::mem::ManuallyDrop::new(path);
        let inside = async move {
            let folder = Arc::new(tempfile::tempdir().unwrap());
            let agent = Agent::start_with(folder, &api, &Arc::new(FakeDataplane::default()), |config| {
                config.node_name = name;
                set(config);
            });
            agent.configured().await;
            let Answer::Configuration(configuration) = agent.ask(&Request::Configuration).await else { panic!("no configuration") };
            tell.send(configuration.mtu).unwrap();
            let _ = stopped.await;
            agent.stop().await;
        };
        let thread = std::thread::spawn(move || {
            path.join();
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(inside);
        });
        let mtu = told.recv().unwrap();
        self.agent = Some(RunningAgent { stop, thread });
        mtu
    }

    /// Stops the agent, which leaves everything as it is.
    pub fn stop_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            let _ = agent.stop.send(());
            agent.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }

    fn name(&self) -> String {
        format!("node{}", self.number)
    }
}

/// Three nodes, known to an API.
pub struct Cluster {
    pub api: FakeApi,
    pub nodes: Vec<Node>,
    _wire: Namespace,
}

impl Cluster {
    /// `families` of the nodes' addresses, as their InternalIPs list them: 0 for IPv4, 1 for IPv6.
    pub fn new(families: &[usize]) -> Self {
        let wire = Namespace::new();
        wire.ip("link add bridge0 type bridge");
        wire.ip("link set bridge0 up");
        let nodes: Vec<_> = (1..=3).map(|number| Node::new(number, &wire)).collect();
        let api = FakeApi::new();
        for one in &nodes {
            let addresses: Vec<_> = families.iter().map(|family| one.addresses()[*family].to_string()).collect();
            let internal: Vec<&str> = addresses.iter().map(String::as_str).collect();
            let cidrs = [format!("10.244.{}.0/24", one.number), format!("fd00:10:244:{}::/64", one.number)];
            api.put(node(&one.name(), &[&cidrs[0], &cidrs[1]], &internal));
        }
        Self { api, nodes, _wire: wire }
    }

    /// Starts agents of the same settings on all nodes and gives pods the MTU that they say.
    pub fn start(&mut self, set: impl Fn(&mut Config) + Clone + Send + 'static) -> u32 {
        let mut mtus: Vec<u32> = self.nodes.iter_mut().map(|node| node.start_agent(&self.api, set.clone())).collect();
        mtus.dedup();
        assert_eq!(mtus.len(), 1, "all nodes are alike");
        for node in &self.nodes {
            node.namespace.ip(&format!("link set pod mtu {}", mtus[0]));
            node.pod.ip(&format!("link set eth0 mtu {}", mtus[0]));
        }
        mtus[0]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(Node::stop_agent);
    }
}
