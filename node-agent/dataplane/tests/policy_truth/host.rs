//! A node of the scene: the programs on maps of their own, filled by plans of a compiler, in a network namespace with its pods' devices.

use crate::cluster::{self, device, macs};
use crate::harness::{Node, command};
use aya::maps::{HashMap, Map, MapData, PerCpuHashMap};
use orknet_abi::{ABI_VERSION, DropReason};
use orknet_compiler::{MapImage, Plan, Step, compile};
use orknet_dataplane::{Arrival, Dataplane, Hook, Verdict};
use orknet_tests::policy::{NODES, Scene};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Of the node's device to the others.
pub const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xe0];

/// See above.
pub struct Host {
    pub name: &'static str,
    pub state: MapImage,
    node: Node,
    dataplane: Dataplane,
    eth0: u32,
}

/// A frame, and the program that gets it.
#[derive(Clone, Debug)]
pub struct Run {
    pub hook: Hook,
    /// Index of the device; 0 for the node's to the others.
    pub device: u32,
    pub frame: Vec<u8>,
}

impl Host {
    /// The node of that name, with no policies.
    pub fn new(tag: &str, scene: &Scene, name: &'static str) -> Self {
        let node = Node::new(&format!("{tag}-{name}"));
        let (_, [v4, v6]) = NODES.into_iter().find(|(known, _)| *known == name).unwrap();
        let mut batch = vec![
            "link add eth0 address 02:00:00:00:00:e0 type veth peer name wire0".to_owned(),
            "link set wire0 up".to_owned(),
            "link set eth0 up".to_owned(),
            format!("address add {v4}/24 dev eth0"),
            format!("address add {v6}/64 dev eth0 nodad"),
            "route add default via 192.0.2.254".to_owned(),
            "-6 route add default via 2001:db8::fe".to_owned(),
        ];
        for (index, (other, [v4, v6])) in NODES.into_iter().enumerate().filter(|(_, (other, _))| *other != name) {
            let pods = if index == 0 { "fd00:10:244::/64".to_owned() } else { format!("fd00:10:244:{index}::/64") };
            batch.extend([format!("route add 10.244.{index}.0/24 via {v4}"), format!("-6 route add {pods} via {v6}")]);
            for address in [v4, v6] {
                batch.push(format!("neighbour add {address} lladdr 02:00:00:00:00:02 dev eth0"));
            }
            assert_ne!(other, name);
        }
        for pod in scene.pods().filter(|pod| pod.node == Some(name)) {
            let index = device(scene, &pod.name);
            let mac = macs(index)[1].map(|byte| format!("{byte:02x}")).join(":");
            batch.push(format!("link add pod{index} index {index} address {mac} type veth peer name peer{index}"));
            batch.push(format!("link set pod{index} up"));
        }
        let eth0 = node.run(|| {
            batch.iter().for_each(|line| drop(command("ip", &line.split(' ').collect::<Vec<_>>())));
            for name in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/{name}"), "1").unwrap();
            }
            nix::net::if_::if_nametoindex("eth0").unwrap()
        });
        let dataplane = Dataplane::open(&node.config).unwrap();
        let mut host = Self { name, state: MapImage::default(), node, dataplane, eth0 };
        host.set_policies(scene, &[]);
        host
    }

    /// Replaces all policies there are.
    #[track_caller]
    pub fn set_policies(&mut self, scene: &Scene, policies: &[Value]) {
        let wanted = compile(&cluster::inputs(scene, self.name, policies));
        let plan = afresh(&self.state, &wanted);
        let applied = self.dataplane.apply(&plan);
        assert!(applied.failures.is_empty(), "{:?}", applied.failures);
        self.state = wanted;
    }

    /// What the kernel holds.
    pub fn image(&self) -> MapImage {
        self.dataplane.reader().image().unwrap()
    }

    /// Whether it holds what is wanted, and nothing else.
    #[track_caller]
    pub fn assert_programmed(&self) {
        let kernel = self.image();
        assert!(kernel == self.state, "{}: the kernel holds {kernel:#?}, wanted is {:#?}", self.name, self.state);
    }

    /// Runs programs on frames, one after the other: whether each was let through.
    pub fn run(&self, runs: &[Run]) -> Vec<bool> {
        let run = |run: &Run| {
            let device = if run.device == 0 { self.eth0 } else { run.device };
            let ran = self.dataplane.run_from(run.hook, &Arrival { device, ..Arrival::default() }, &run.frame, 1).unwrap();
            ran.verdict != Verdict::Drop
        };
        self.node.run(|| runs.iter().map(run).collect())
    }

    /// Packets by drop reason; those of which there were none are left out.
    pub fn drops(&self) -> BTreeMap<DropReason, u64> {
        let drops = self.dataplane.reader().drops().unwrap();
        drops.into_iter().filter(|(_, count)| count.packets > 0).map(|(reason, count)| (reason, count.packets)).collect()
    }

    /// Forgets all flows.
    pub fn forget_flows(&self) {
        let data = MapData::from_pin(self.pinned("FLOWS")).unwrap();
        let mut map: HashMap<_, [u8; 40], [u8; 96]> = Map::HashMap(data).try_into().unwrap();
        let keys: Vec<_> = map.keys().map(Result::unwrap).collect();
        keys.iter().for_each(|key| map.remove(key).unwrap());
    }

    /// Packets by rule since the rule was made; rules that had none are left out.
    pub fn rule_counts(&self) -> BTreeMap<u32, u64> {
        let data = MapData::from_pin(self.pinned("RULE_COUNTS")).unwrap();
        let map: PerCpuHashMap<_, u32, [u64; 2]> = Map::PerCpuHashMap(data).try_into().unwrap();
        let counts = map.iter().map(Result::unwrap).map(|(rule, each)| (rule, each.iter().map(|[packets, _]| packets).sum()));
        counts.filter(|(_, packets)| *packets > 0).collect()
    }

    fn pinned(&self, map: &str) -> PathBuf {
        self.node.pin_dir().join(format!("v{ABI_VERSION}/maps/{map}"))
    }
}

fn afresh(from: &MapImage, to: &MapImage) -> Plan {
    let mut steps = Vec::new();
    steps.extend(from.ranges.keys().map(|key| Step::DeleteRange(*key)));
    steps.extend(from.services.keys().map(|key| Step::DeleteService(*key)));
    steps.extend(from.pods.keys().map(|key| Step::DeletePod(*key)));
    steps.extend(from.peers.keys().map(|key| Step::DeletePeer(*key)));
    steps.extend(from.verdicts.keys().map(|key| Step::DeleteVerdict(*key)));
    steps.extend(from.ports.keys().map(|key| Step::DeletePort(*key)));
    steps.extend(from.rules.keys().map(|key| Step::DeleteRule(*key)));
    steps.extend(from.backends.keys().map(|key| Step::DeleteBackend(*key)));
    steps.extend(to.node.map(Step::PutNode));
    steps.extend(to.backends.iter().map(|(key, value)| Step::PutBackend(*key, *value)));
    steps.extend(to.rules.iter().map(|(key, value)| Step::PutRule(*key, *value)));
    steps.extend(to.ports.iter().map(|(key, value)| Step::PutPort(*key, *value)));
    steps.extend(to.verdicts.iter().map(|(key, value)| Step::PutVerdict(*key, *value)));
    steps.extend(to.peers.iter().map(|(key, value)| Step::PutPeer(*key, *value)));
    steps.extend(to.pods.iter().map(|(key, value)| Step::PutPod(*key, *value)));
    steps.extend(to.services.iter().map(|(key, value)| Step::PutService(*key, *value)));
    steps.extend(to.ranges.iter().map(|(key, value)| Step::PutRange(*key, *value)));
    Plan { steps }
}

/// All nodes that have pods.
pub fn hosts(tag: &str, scene: &Scene) -> Vec<Host> {
    let named = NODES.into_iter().filter(|(name, _)| scene.pods().any(|pod| pod.node == Some(*name)));
    named.map(|(name, _)| Host::new(tag, scene, name)).collect()
}
