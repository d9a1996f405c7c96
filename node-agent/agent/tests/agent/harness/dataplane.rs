//! A data plane of plain maps that remembers what was done to it and checks every step.

use futures::FutureExt;
use futures::future::BoxFuture;
use orknet_abi::{Address, Count, DropReason, LeftReason, Monitor, PodKey};
use orknet_agent::Dataplane;
use orknet_agent::dataplane::{Cause, EventSource, FailedStep, Failure};
use orknet_compiler::{MapImage, Plan, Step};
use orknet_dataplane::{AskGone, EndedSockets, FirstRules, MapUse, NamespacePaths, Pace, PodSockets, Swept, Told, Trouble, Use};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[derive(Default)]
pub struct FakeDataplane {
    pub maps: Mutex<MapImage>,
    pub steps: Mutex<Vec<Step>>,
    pub devices: Mutex<BTreeSet<u32>>,
    /// What is wrong with devices to the network; programs get onto none that is not served.
    pub troubles: Mutex<BTreeMap<u32, Trouble>>,
    /// What was done to devices to the network and to another version's programs, in its order.
    pub order: Mutex<Vec<String>>,
    /// Devices with the programs for the network.
    pub network: Mutex<BTreeSet<u32>>,
    /// The device with the program for the node's own packets.
    pub own: Mutex<Option<u32>>,
    /// What flows lead to.
    pub flows: Mutex<BTreeSet<Use>>,
    /// Passes over the flows.
    pub passes: AtomicUsize,
    /// What sockets lead to.
    pub sockets: Mutex<BTreeSet<Use>>,
    /// The pods' namespaces that sockets were last looked for in.
    pub namespaces: Mutex<Vec<PathBuf>>,
    /// Addresses whose flows were forgotten, a set for each time.
    pub purges: Mutex<Vec<BTreeSet<Address>>>,
    /// Forgetting flows fails.
    pub keeps_flows: Mutex<bool>,
    /// Pods whose open flows were taken note of, each with whether its rules were in the maps.
    pub noted: Mutex<Vec<(PodSockets, bool)>>,
    /// Looks at what pods have open once their rules are in the maps wait for their turns, if there are any.
    pub turns: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
    /// Pods whose datagrams were held, each with whether its rules were in the maps.
    pub held: Mutex<Vec<(PodSockets, bool)>>,
    /// Entries of clients and sockets that are no more.
    pub unused: Mutex<u64>,
    pub cgroup: Mutex<Option<PathBuf>>,
    /// So many of the next writes fail.
    pub failing: Mutex<usize>,
    /// For want of room in this map, if that is said.
    pub full: Mutex<Option<(&'static str, u32)>>,
    /// Attaching to a device fails.
    pub refuses_devices: Mutex<bool>,
    /// Reading the maps fails.
    pub unreadable: Mutex<bool>,
    /// How often they were read.
    pub reads: AtomicUsize,
    /// So many of the next attempts to retire another version fail.
    pub clinging: Mutex<usize>,
    pub retired: Mutex<bool>,
    /// The maps that were last asked for by their names.
    pub measured: Mutex<BTreeSet<String>>,
    /// What programs are to tell.
    pub monitor: Mutex<Monitor>,
    /// To who reads what they tell.
    told: Mutex<Option<UnboundedSender<Told>>>,
}

impl FakeDataplane {
    fn cause(&self) -> Cause {
        self.full.lock().unwrap().map_or(Cause::Refused, |(map, capacity)| Cause::Full(map, capacity))
    }

    /// Takes note of something whose place among others matters.
    fn note(&self, what: String) {
        self.order.lock().unwrap().push(what);
    }

    /// The maps as text, without what every node has: its own entry and the ranges.
    pub fn dump(&self) -> String {
        let canonical = self.maps.lock().unwrap().canonical();
        MapImage { node: None, ranges: BTreeMap::new(), ..canonical }.to_string()
    }

    /// Programs tell an event.
    pub fn tell(&self, event: Told) {
        self.told.lock().unwrap().as_ref().expect("nobody reads").send(event).unwrap();
    }

    /// Whether a pod's rules are in the maps.
    fn are_ruled(&self, pod: &PodSockets) -> bool {
        let pods = &self.maps.lock().unwrap().pods;
        let has_rules = |address: &Address| pods.get(&PodKey { address: *address }).is_some_and(|pod| pod.ingress | pod.egress != 0);
        pod.addresses.iter().any(has_rules)
    }

    /// The steps since the last call.
    pub fn take_steps(&self) -> Vec<Step> {
        std::mem::take(&mut self.steps.lock().unwrap())
    }
}

/// What programs tell.
struct Telling(UnboundedReceiver<Told>);

impl EventSource for Telling {
    fn take(&mut self) -> BoxFuture<'_, Result<Vec<Told>, Failure>> {
        async { Ok(vec![self.0.recv().await.ok_or_else(|| Failure("the test ends".into()))?]) }.boxed()
    }
}

impl Dataplane for FakeDataplane {
    fn image(&self) -> Result<MapImage, Failure> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if *self.unreadable.lock().unwrap() {
            return Err(Failure("the test wants it".into()));
        }
        Ok(self.maps.lock().unwrap().clone())
    }

    fn holds(&self, image: &MapImage) -> Result<bool, Failure> {
        Ok(*self.maps.lock().unwrap() == *image)
    }

    fn apply(&self, plan: &Plan) -> Vec<FailedStep> {
        let mut maps = self.maps.lock().unwrap();
        let mut failing = self.failing.lock().unwrap();
        let mut failures = Vec::new();
        for step in &plan.steps {
            if *failing > 0 {
                *failing -= 1;
                failures.push(FailedStep { step: step.clone(), why: "the test wants it".into(), cause: self.cause() });
                continue;
            }
            if failures.is_empty() {
                maps.apply(step.clone());
                assert_eq!(maps.flaw(), None, "after {step:?}");
            }
            self.steps.lock().unwrap().push(step.clone());
        }
        failures
    }

    fn attach_cgroup(&self, cgroup: &Path) -> Result<(), Failure> {
        *self.cgroup.lock().unwrap() = Some(cgroup.to_owned());
        Ok(())
    }

    fn attach_pod(&self, ifindex: u32) -> Result<(), Failure> {
        if *self.refuses_devices.lock().unwrap() {
            return Err(Failure("the test wants it".into()));
        }
        self.devices.lock().unwrap().insert(ifindex);
        Ok(())
    }

    fn detach_pod(&self, ifindex: u32) -> Result<(), Failure> {
        self.devices.lock().unwrap().remove(&ifindex);
        Ok(())
    }

    fn pod_devices(&self) -> Result<BTreeSet<u32>, Failure> {
        Ok(self.devices.lock().unwrap().clone())
    }

    fn stale_devices(&self) -> Result<BTreeSet<u32>, Failure> {
        Ok(BTreeSet::new())
    }

    fn keep_network_devices(&self, wanted: &BTreeSet<u32>) -> BTreeMap<u32, Trouble> {
        let mut troubles = self.troubles.lock().unwrap().clone();
        troubles.retain(|device, _| wanted.contains(device));
        let is_on = |device: &u32| troubles.get(device).is_none_or(|trouble| !trouble.kind.is_failure());
        let served: BTreeSet<u32> = wanted.iter().copied().filter(is_on).collect();
        self.note(format!("programs on {served:?}"));
        *self.network.lock().unwrap() = served;
        troubles
    }

    fn keep_node_device(&self, wanted: Option<u32>) -> Result<(), Failure> {
        *self.own.lock().unwrap() = wanted;
        Ok(())
    }

    fn end_lost_sockets(
        &self,
        ask: &mut AskGone<'_>,
        namespaces: &NamespacePaths<'_>,
        pace: &mut Pace<'_>,
    ) -> Result<EndedSockets, Failure> {
        let _ = pace(Duration::from_micros(1));
        let known = self.sockets.lock().unwrap().clone();
        let gone = ask(&known);
        if !gone.is_empty() {
            *self.namespaces.lock().unwrap() = namespaces();
        }
        self.sockets.lock().unwrap().retain(|used| !gone.contains(used));
        Ok(EndedSockets { udp: gone.len() as u64, tcp: 0 })
    }

    fn forget_unused(&self, _: &NamespacePaths<'_>, pace: &mut Pace<'_>) -> Result<u64, Failure> {
        let _ = pace(Duration::from_micros(1));
        Ok(std::mem::take(&mut *self.unused.lock().unwrap()))
    }

    fn sweep_flows(&self, ask: &mut AskGone<'_>, pace: &mut Pace<'_>) -> Result<Swept, Failure> {
        let known = self.flows.lock().unwrap().clone();
        let gone = ask(&known);
        let _ = pace(Duration::from_micros(1));
        self.passes.fetch_add(1, Ordering::Relaxed);
        let mut flows = self.flows.lock().unwrap();
        flows.retain(|used| !gone.contains(used));
        let by_protocol = flows.iter().fold(BTreeMap::new(), |mut sums: BTreeMap<u8, u64>, used| {
            *sums.entry(used.protocol).or_default() += 1;
            sums
        });
        Ok(Swept { flows: by_protocol, gone: gone.len() as u64, entries: 2 * known.len() as u32, capacity: 100, ..Swept::default() })
    }

    fn forget_flows_of(&self, addresses: &BTreeSet<Address>) -> Result<u64, Failure> {
        if *self.keeps_flows.lock().unwrap() {
            return Err(Failure("the test wants it".into()));
        }
        let pods = &self.maps.lock().unwrap().pods;
        assert!(addresses.iter().all(|address| pods.contains_key(&PodKey { address: *address })), "the maps say whose they are");
        self.purges.lock().unwrap().push(addresses.clone());
        Ok(0)
    }

    fn note_open_flows(&self, pod: &PodSockets, _: FirstRules) -> Result<u64, Failure> {
        let are_ruled = self.are_ruled(pod);
        if let Some(turns) = &*self.turns.lock().unwrap()
            && are_ruled
        {
            turns.recv().map_err(|_| Failure("the test ends".into()))?;
        }
        self.noted.lock().unwrap().push((pod.clone(), are_ruled));
        Ok(0)
    }

    fn hold_datagrams(&self, pods: &[PodSockets]) -> Result<(), Failure> {
        self.held.lock().unwrap().extend(pods.iter().map(|pod| (pod.clone(), self.are_ruled(pod))));
        Ok(())
    }

    fn retire_other_versions(&self) -> Result<(), Failure> {
        let mut clinging = self.clinging.lock().unwrap();
        if *clinging > 0 {
            *clinging -= 1;
            return Err(Failure("the test wants it".into()));
        }
        self.note("others retired".into());
        *self.retired.lock().unwrap() = true;
        Ok(())
    }

    fn drops(&self) -> Result<Vec<(DropReason, Count)>, Failure> {
        Ok(vec![(DropReason::NoEndpoints, Count { packets: 3, bytes: 0 })])
    }

    fn left(&self) -> Result<Vec<(LeftReason, Count)>, Failure> {
        Ok(vec![(LeftReason::OpenChecksum, Count { packets: 2, bytes: 0 })])
    }

    fn events(&self) -> Result<Box<dyn EventSource>, Failure> {
        let (sender, receiver) = unbounded_channel();
        *self.told.lock().unwrap() = Some(sender);
        Ok(Box::new(Telling(receiver)))
    }

    fn tell_events(&self, what: Monitor) -> Result<(), Failure> {
        *self.monitor.lock().unwrap() = what;
        Ok(())
    }

    fn maps_named(&self, names: &[&str]) -> Result<Vec<MapUse>, Failure> {
        *self.measured.lock().unwrap() = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(Vec::new())
    }

    fn maps(&self) -> Result<Vec<MapUse>, Failure> {
        let entries = self.maps.lock().unwrap().services.len() as u32;
        Ok(vec![MapUse { name: "SERVICES", entries, capacity: 100, forgets: false }])
    }
}
