//! The seam to the kernel: what the agent needs of a data plane, so that it can be tested with one that is not there.

use crate::ring::Ring;
use futures::future::{BoxFuture, FutureExt, pending};
use orknet_abi::{Count, DropReason, LeftReason, Monitor};
use orknet_compiler::{MapImage, Plan, Step};
use orknet_dataplane::{
    AskGone, EndedSockets, FailureCause, FirstRules, MapUse, NamespacePaths, Pace, PodSockets, Swept, Told, Trouble, Untold,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A failed operation; the message names it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// A step that is not in the kernel, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStep {
    pub step: Step,
    pub why: String,
    pub cause: Cause,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The map has no room for it: its name, and the entries that it can hold.
    Full(&'static str, u32),
    /// It waits for a step that failed.
    Waits,
    /// The kernel said no.
    Refused,
}

/// The kernel's side of a node. Every call blocks for the duration of its system calls.
pub trait Dataplane: Send + Sync + 'static {
    /// What the maps hold.
    fn image(&self) -> Result<MapImage, Failure>;
    /// Whether the maps hold exactly this.
    fn holds(&self, image: &MapImage) -> Result<bool, Failure>;
    /// Writes a plan in its order; does what can be done and reports the rest.
    fn apply(&self, plan: &Plan) -> Vec<FailedStep>;
    /// Attaches the socket hooks to a cgroup v2 directory.
    fn attach_cgroup(&self, cgroup: &Path) -> Result<(), Failure>;
    /// Attaches the programs of a pod device; harmless to repeat.
    fn attach_pod(&self, ifindex: u32) -> Result<(), Failure>;
    /// Takes them away; a device that is gone is fine.
    fn detach_pod(&self, ifindex: u32) -> Result<(), Failure>;
    /// Devices with programs.
    fn pod_devices(&self) -> Result<BTreeSet<u32>, Failure>;
    /// Devices that had programs and are gone.
    fn stale_devices(&self) -> Result<BTreeSet<u32>, Failure>;
    /// Sees to it that the programs for the network are on these devices and on no others. Does what can be done; what is wrong, by device.
    fn keep_network_devices(&self, wanted: &BTreeSet<u32>) -> BTreeMap<u32, Trouble>;
    /// Sees to it that the program for the node's own packets to Services is on this device and on no other.
    fn keep_node_device(&self, wanted: Option<u32>) -> Result<(), Failure>;
    /// Ends sockets whose backend is gone; see [`orknet_dataplane::Dataplane::end_lost_sockets`].
    fn end_lost_sockets(
        &self,
        ask: &mut AskGone<'_>,
        namespaces: &NamespacePaths<'_>,
        pace: &mut Pace<'_>,
    ) -> Result<EndedSockets, Failure>;
    /// Removes what is remembered of clients and sockets that are no more; how many entries. See
    /// [`orknet_dataplane::Dataplane::forget_idle_clients`] and [`orknet_dataplane::Dataplane::forget_closed_sockets`].
    fn forget_unused(&self, namespaces: &NamespacePaths<'_>, pace: &mut Pace<'_>) -> Result<u64, Failure>;
    /// Removes flows that are over; see [`orknet_dataplane::Dataplane::sweep_flows`].
    fn sweep_flows(&self, ask: &mut AskGone<'_>, pace: &mut Pace<'_>) -> Result<Swept, Failure>;
    /// Forgets all flows of addresses that are another pod's now; see [`orknet_dataplane::Dataplane::forget_flows_of`].
    fn forget_flows_of(&self, addresses: &BTreeSet<orknet_abi::Address>) -> Result<u64, Failure>;
    /// Takes note of the flows that a pod has open; see [`orknet_dataplane::Dataplane::note_open_flows`].
    fn note_open_flows(&self, pod: &PodSockets, rules: FirstRules) -> Result<u64, Failure>;
    /// Has datagrams open no flow that may be answers; see [`orknet_dataplane::Dataplane::hold_datagrams`].
    fn hold_datagrams(&self, pods: &[PodSockets]) -> Result<(), Failure>;
    /// Maps of former versions are no longer needed.
    fn retire_other_versions(&self) -> Result<(), Failure>;
    /// Counters by drop reason.
    fn drops(&self) -> Result<Vec<(DropReason, Count)>, Failure>;
    /// Counters of frames that were left to the stack, by reason.
    fn left(&self) -> Result<Vec<(LeftReason, Count)>, Failure> {
        Ok(Vec::new())
    }
    /// Connections and bytes by the number of the rule that decided.
    fn rule_counts(&self) -> Result<BTreeMap<u32, Count>, Failure> {
        Ok(BTreeMap::new())
    }
    /// What programs tell from now on; there is one reader at a time.
    fn events(&self) -> Result<Box<dyn EventSource>, Failure> {
        Ok(Box::new(Silence))
    }
    /// Says what programs are to tell from now on.
    fn tell_events(&self, _: Monitor) -> Result<(), Failure> {
        Ok(())
    }
    /// How many events programs could not tell.
    fn untold_events(&self) -> Result<Untold, Failure> {
        Ok(Untold::default())
    }
    /// The kernel's numbers of the network namespaces at these paths, in their order; `None` for one that cannot be entered.
    fn namespace_cookies(&self, paths: &[PathBuf]) -> Vec<Option<u64>> {
        vec![None; paths.len()]
    }
    /// How full the maps are.
    fn maps(&self) -> Result<Vec<MapUse>, Failure>;
    /// The same of some, by their names.
    fn maps_named(&self, names: &[&str]) -> Result<Vec<MapUse>, Failure>;
}

/// Where events come from.
pub trait EventSource: Send {
    /// Waits for events; some, the oldest first. Cancelling it loses none.
    fn take(&mut self) -> BoxFuture<'_, Result<Vec<Told>, Failure>>;
    /// How many that were told before this reader began it has left out.
    fn left_out(&self) -> u64 {
        0
    }
}

/// No events, ever.
struct Silence;

impl EventSource for Silence {
    fn take(&mut self) -> BoxFuture<'_, Result<Vec<Told>, Failure>> {
        pending().boxed()
    }
}

impl From<orknet_dataplane::Error> for Failure {
    fn from(error: orknet_dataplane::Error) -> Self {
        Self(error.to_string())
    }
}

impl Dataplane for orknet_dataplane::Dataplane {
    fn image(&self) -> Result<MapImage, Failure> {
        Ok(self.reader().image()?)
    }

    fn holds(&self, image: &MapImage) -> Result<bool, Failure> {
        Ok(self.reader().holds(image)?)
    }

    fn apply(&self, plan: &Plan) -> Vec<FailedStep> {
        let failed = |failure: orknet_dataplane::Failure| FailedStep {
            why: failure.to_string(),
            cause: match failure.cause {
                FailureCause::Full(capacity) => Cause::Full(failure.map, capacity),
                FailureCause::Incomplete | FailureCause::InUse => Cause::Waits,
                FailureCause::Kernel(_) => Cause::Refused,
            },
            step: failure.step,
        };
        orknet_dataplane::Dataplane::apply(self, plan).failures.into_iter().map(failed).collect()
    }

    fn attach_cgroup(&self, cgroup: &Path) -> Result<(), Failure> {
        Ok(orknet_dataplane::Dataplane::attach_cgroup(self, cgroup)?)
    }

    fn attach_pod(&self, ifindex: u32) -> Result<(), Failure> {
        let attachment = orknet_dataplane::Dataplane::attach_pod(self, ifindex)?;
        tracing::debug!(ifindex, ?attachment, "attached a pod device");
        Ok(())
    }

    fn detach_pod(&self, ifindex: u32) -> Result<(), Failure> {
        Ok(orknet_dataplane::Dataplane::detach_pod(self, ifindex)?)
    }

    fn pod_devices(&self) -> Result<BTreeSet<u32>, Failure> {
        Ok(orknet_dataplane::Dataplane::pod_devices(self)?)
    }

    fn stale_devices(&self) -> Result<BTreeSet<u32>, Failure> {
        Ok(orknet_dataplane::Dataplane::stale_devices(self)?)
    }

    fn keep_network_devices(&self, wanted: &BTreeSet<u32>) -> BTreeMap<u32, Trouble> {
        orknet_dataplane::Dataplane::keep_network_devices(self, wanted)
    }

    fn keep_node_device(&self, wanted: Option<u32>) -> Result<(), Failure> {
        Ok(orknet_dataplane::Dataplane::keep_node_device(self, wanted)?)
    }

    fn end_lost_sockets(
        &self,
        ask: &mut AskGone<'_>,
        namespaces: &NamespacePaths<'_>,
        pace: &mut Pace<'_>,
    ) -> Result<EndedSockets, Failure> {
        Ok(orknet_dataplane::Dataplane::end_lost_sockets(self, ask, namespaces, pace)?)
    }

    fn forget_unused(&self, namespaces: &NamespacePaths<'_>, pace: &mut Pace<'_>) -> Result<u64, Failure> {
        Ok(self.forget_idle_clients(pace)? + self.forget_closed_sockets(namespaces, pace)?)
    }

    fn sweep_flows(&self, ask: &mut AskGone<'_>, pace: &mut Pace<'_>) -> Result<Swept, Failure> {
        Ok(orknet_dataplane::Dataplane::sweep_flows(self, ask, pace)?)
    }

    fn forget_flows_of(&self, addresses: &BTreeSet<orknet_abi::Address>) -> Result<u64, Failure> {
        Ok(orknet_dataplane::Dataplane::forget_flows_of(self, addresses)?)
    }

    fn note_open_flows(&self, pod: &PodSockets, rules: FirstRules) -> Result<u64, Failure> {
        Ok(orknet_dataplane::Dataplane::note_open_flows(self, pod, rules)?)
    }

    fn hold_datagrams(&self, pods: &[PodSockets]) -> Result<(), Failure> {
        Ok(orknet_dataplane::Dataplane::hold_datagrams(self, pods)?)
    }

    fn retire_other_versions(&self) -> Result<(), Failure> {
        Ok(orknet_dataplane::Dataplane::retire_other_versions(self)?)
    }

    fn drops(&self) -> Result<Vec<(DropReason, Count)>, Failure> {
        Ok(self.reader().drops()?)
    }

    fn left(&self) -> Result<Vec<(LeftReason, Count)>, Failure> {
        Ok(self.reader().left()?)
    }

    fn rule_counts(&self) -> Result<BTreeMap<u32, Count>, Failure> {
        Ok(self.reader().rule_counts()?)
    }

    fn events(&self) -> Result<Box<dyn EventSource>, Failure> {
        let events = orknet_dataplane::Dataplane::events(self)?;
        let ring = Ring::read(events).map_err(|error| Failure(format!("cannot begin to read events: {error}")))?;
        Ok(Box::new(ring))
    }

    fn tell_events(&self, what: Monitor) -> Result<(), Failure> {
        Ok(orknet_dataplane::Dataplane::tell_events(self, what)?)
    }

    fn untold_events(&self) -> Result<Untold, Failure> {
        Ok(self.reader().untold_events()?)
    }

    fn namespace_cookies(&self, paths: &[PathBuf]) -> Vec<Option<u64>> {
        orknet_dataplane::namespace_cookies_at(paths).into_iter().map(Result::ok).collect()
    }

    fn maps(&self) -> Result<Vec<MapUse>, Failure> {
        Ok(self.reader().maps()?)
    }

    fn maps_named(&self, names: &[&str]) -> Result<Vec<MapUse>, Failure> {
        Ok(self.reader().maps_named(|name| names.contains(&name))?)
    }
}
