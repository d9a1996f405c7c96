//! A node of the scene: the programs on maps of their own, filled by plans of a compiler, in a network namespace with its pods' devices.

use crate::cluster::{self, device, macs};
use crate::harness::{Node, command};
use aya::maps::{HashMap, Map, MapData, PerCpuHashMap};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};
use orknet_abi::{ABI_VERSION, DropReason};
use orknet_compiler::{Change, Inputs, MapImage, State, compile};
use orknet_dataplane::{Arrival, Dataplane, Hook, Verdict};
use orknet_tests::policy::{NODES, Scene};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Of the node's device to the others.
pub const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xe0];

/// See above.
pub struct Host {
    pub name: &'static str,
    pub state: State,
    /// The same objects, for who compiles everything at once.
    inputs: Inputs,
    node: Node,
    dataplane: Dataplane,
    eth0: u32,
    policies: Vec<Value>,
}

/// A frame, and the program that gets it.
#[derive(Clone, Debug)]
pub struct Run {
    pub hook: Hook,
    /// Index of the device; 0 for the node's to the others.
    pub device: u32,
    pub frame: Vec<u8>,
}

/// What was seen while a plan was written.
pub struct Seen<'a> {
    /// Whether each frame was let through, one after the other.
    pub passed: Vec<(&'a Run, bool)>,
    /// On how many frames programs ran from beginning to end while steps were written; `None` without steps or frames.
    pub within: Option<usize>,
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
            let index = device(scene, pod.addresses[0]);
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
        let (state, inputs) = (cluster::state(scene, name, &[]), cluster::inputs(scene, name, &[]));
        let mut host = Self { name, state, inputs, node, dataplane, eth0, policies: Vec::new() };
        host.note(Vec::new());
        host
    }

    /// Replaces all policies there are.
    #[track_caller]
    pub fn set_policies(&mut self, scene: &Scene, policies: &[Value]) {
        let mut changes = cluster::removals(scene, self.name, &self.policies);
        changes.extend(cluster::changes(scene, self.name, policies));
        self.policies = policies.to_vec();
        self.note(changes);
    }

    /// Brings the kernel to what is wanted after these changes.
    #[track_caller]
    pub fn note(&mut self, changes: Vec<Change>) {
        let plan = self.state.apply(changes.clone());
        changes.into_iter().for_each(|change| cluster::put(&mut self.inputs, change));
        let applied = self.dataplane.apply(&plan);
        assert!(applied.failures.is_empty(), "{:?}", applied.failures);
    }

    /// The same while programs run on these frames again and again: whether each was let through, at each time. The first time is over before the
    /// plan is written, so that they are at work; the last one began before that was done.
    pub fn note_under<'a>(&mut self, changes: Vec<Change>, runs: &[&'a Run]) -> Seen<'a> {
        let plan = self.state.apply(changes.clone());
        changes.into_iter().for_each(|change| cluster::put(&mut self.inputs, change));
        let (ran, is_done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let again_and_again = || {
            go_first(0);
            let mut passed = Vec::new();
            while !is_done.load(Ordering::Acquire) {
                for run in runs {
                    passed.push((*run, self.passes(run)));
                    ran.fetch_add(1, Ordering::AcqRel);
                }
            }
            passed
        };
        let write = |is_over: &dyn Fn() -> bool| {
            go_first(1);
            while ran.load(Ordering::Acquire) < runs.len() && !is_over() {
                std::thread::yield_now();
            }
            let before = ran.load(Ordering::Acquire);
            let applied = self.dataplane.apply(&plan);
            let within = ran.load(Ordering::Acquire) - before;
            // One of them may have begun before.
            (applied, within.saturating_sub(1))
        };
        std::thread::scope(|scope| {
            let running = scope.spawn(|| self.node.run(again_and_again));
            let written = std::thread::scope(|scope| scope.spawn(|| write(&|| running.is_finished())).join());
            is_done.store(true, Ordering::Release);
            let passed = running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (applied, within) = written.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            assert!(applied.failures.is_empty(), "{:?}", applied.failures);
            Seen { passed, within: (!plan.steps.is_empty() && !runs.is_empty()).then_some(within) }
        })
    }

    /// Whether the kernel holds what is wanted, and nothing else, and that is what everything compiled at once amounts to.
    #[track_caller]
    pub fn assert_programmed(&self) {
        let kernel = self.image();
        assert!(kernel == *self.state.image(), "{}: the kernel holds {kernel:#?}, wanted is {:#?}", self.name, self.state.image());
        let (canonical, fresh) = (kernel.canonical(), compile(&self.inputs));
        assert!(canonical == fresh, "{}: the kernel holds {canonical:#?}, from the beginning it would hold {fresh:#?}", self.name);
    }

    /// What the kernel holds.
    pub fn image(&self) -> MapImage {
        self.dataplane.reader().image().unwrap()
    }

    /// Runs programs on frames, one after the other: whether each was let through.
    pub fn run<'a>(&self, runs: impl Iterator<Item = &'a Run> + Send) -> Vec<bool> {
        self.node.run(|| runs.map(|run| self.passes(run)).collect())
    }

    /// The same of one, in the thread that calls, which is in the node.
    fn passes(&self, run: &Run) -> bool {
        let device = if run.device == 0 { self.eth0 } else { run.device };
        let ran = self.dataplane.run_from(run.hook, &Arrival { device, ..Arrival::default() }, &run.frame, 1).unwrap();
        ran.verdict != Verdict::Drop
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

/// The calling thread runs before those of others, however busy the machine is, and on that one of its processors, if there are so many: a plan is
/// written in less time than it would wait for its turn.
fn go_first(place: usize) {
    let thread = Pid::from_raw(0);
    let all = sched_getaffinity(thread).unwrap();
    let mut own = CpuSet::new();
    let numbers: Vec<usize> = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap()).collect();
    own.set(numbers[place % numbers.len()]).unwrap();
    sched_setaffinity(thread, &own).unwrap();
    command("renice", &["-n", "-20", "-p", &gettid().to_string()]);
}

/// All nodes that have pods.
pub fn hosts(tag: &str, scene: &Scene) -> Vec<Host> {
    let named = NODES.into_iter().filter(|(name, _)| scene.pods().any(|pod| pod.node == Some(*name)));
    named.map(|(name, _)| Host::new(tag, scene, name)).collect()
}
