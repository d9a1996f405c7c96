//! Pure: what holds a range, what its condition says, and what is wrong between a Service and its IPAddresses.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, ParentReference, ServiceCIDR, ServiceCIDRStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use orknet_reconciler::ObjectKey;
use orknet_resources::kinds::ip_address::{self, ALLOCATOR, FAMILY, MANAGED_BY};
use orknet_resources::kinds::service_cidr::{FINALIZER, IS_READY, READY, ranges};

/// Seconds that an IPAddress may be without its Service: as long as the Service may take to be made, by others than our servers.
pub(super) const GRACE_SECONDS: i64 = 60;
const IS_HELD: &str = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";

/// What a ServiceCIDR needs next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Nothing,
    /// The finalizers that it is to have.
    Finalizers(Vec<String>),
    /// The condition that it is to have.
    Status(ServiceCIDRStatus),
}

/// `is_held`: whether addresses are used that would be in no range without it; asked only of one that is being deleted.
pub(super) fn step(range: &ServiceCIDR, is_held: impl FnOnce() -> bool, now: &Time) -> Step {
    let present = range.metadata.finalizers.clone().unwrap_or_default();
    let has = present.iter().any(|finalizer| finalizer == FINALIZER);
    let is_going = range.metadata.deletion_timestamp.is_some();
    match (is_going, has) {
        // Others hold it.
        (true, false) => Step::Nothing,
        (true, true) if is_held() => condition(range, "False", "Terminating", IS_HELD, now),
        (true, true) => Step::Finalizers(present.into_iter().filter(|finalizer| finalizer != FINALIZER).collect()),
        // Before it gives addresses.
        (false, false) => Step::Finalizers(present.into_iter().chain([FINALIZER.to_owned()]).collect()),
        (false, true) => condition(range, "True", "", IS_READY, now),
    }
}

fn condition(range: &ServiceCIDR, status: &str, reason: &str, message: &str, now: &Time) -> Step {
    let mut conditions = range.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let found = conditions.iter().position(|condition| condition.type_ == READY);
    let before = found.map(|index| conditions.remove(index));
    if before.as_ref().is_some_and(|found| found.status == status && found.reason == reason && found.message == message) {
        return Step::Nothing;
    }
    conditions.push(Condition {
        type_: READY.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: before.filter(|found| found.status == status).map_or_else(|| now.clone(), |found| found.last_transition_time),
        observed_generation: None,
    });
    Step::Status(ServiceCIDRStatus { conditions: Some(conditions) })
}

/// Whether addresses of Services are in the range and in no other one that stays. Two that go do not let each other go.
pub(super) fn is_held<'a>(
    range: &ServiceCIDR,
    all: impl IntoIterator<Item = &'a ServiceCIDR>,
    mut addresses: impl Iterator<Item = &'a IPAddress>,
) -> bool {
    let own = ranges(range);
    let stays = |other: &&ServiceCIDR| other.metadata.deletion_timestamp.is_none() && other.metadata.uid != range.metadata.uid;
    let others: Vec<IpNet> = all.into_iter().filter(stays).flat_map(ranges).collect();
    if own.iter().all(|cidr| others.iter().any(|other| other.contains(cidr))) {
        return false;
    }
    addresses.any(|address| {
        let Some(ip) = ip_of(&address.metadata).filter(|_| is_allocators(&address.metadata)) else { return false };
        own.iter().any(|cidr| cidr.contains(&ip)) && !others.iter().any(|cidr| cidr.contains(&ip))
    })
}

fn ip_of(meta: &ObjectMeta) -> Option<IpAddr> {
    meta.name.as_deref()?.parse().ok()
}

/// Whether the object is the allocator's to make and remove.
pub(super) fn is_allocators(meta: &ObjectMeta) -> bool {
    label(meta, MANAGED_BY) == Some(ALLOCATOR)
}

fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// The parent of an IPAddress, where it has a name.
fn parent(address: &IPAddress) -> ParentReference {
    address.spec.clone().unwrap_or_default().parent_ref
}

/// The Service that an IPAddress names.
pub(super) fn service_of(address: &IPAddress) -> Option<ObjectKey> {
    let parent = parent(address);
    let is_service = parent.group.as_deref().unwrap_or_default().is_empty() && parent.resource == "services";
    is_service.then(|| ObjectKey::new(parent.namespace.as_deref().unwrap_or_default(), &parent.name))
}

/// `spec.clusterIPs`, without the word that there is none.
pub(super) fn cluster_ips(service: &Service) -> Vec<String> {
    let Some(spec) = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName")) else { return Vec::new() };
    let listed = spec.cluster_ips.clone().unwrap_or_default();
    let all = if listed.is_empty() { spec.cluster_ip.clone().into_iter().collect() } else { listed };
    all.into_iter().filter(|address| !address.is_empty() && address != "None").collect()
}

/// What is wrong with one address of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no address.
    Invalid,
    /// No ServiceCIDR has it.
    OutOfRange(IpAddr),
    /// There is no IPAddress, which is to be made.
    Missing(IpAddr),
    /// There is one that names nobody who is there, or does not say whose it is: it is to be made anew.
    Wrong(IpAddr),
    /// It lacks a label: it is to be made anew, which is worth no Event.
    Unlabelled(IpAddr),
    /// It is another Service's as well.
    Shared(IpAddr),
}

/// Looks at one address of a Service. `has`: whether a Service has an address.
pub(super) fn fault(
    text: &str,
    service: &ObjectKey,
    ranges: &[IpNet],
    object: Option<&IPAddress>,
    has: impl FnOnce(&ObjectKey) -> bool,
) -> Option<Fault> {
    let Ok(ip) = text.parse::<IpAddr>() else { return Some(Fault::Invalid) };
    if !ranges.iter().any(|cidr| cidr.contains(&ip)) {
        return Some(Fault::OutOfRange(ip));
    }
    let Some(object) = object else { return Some(Fault::Missing(ip)) };
    match service_of(object) {
        None => Some(Fault::Wrong(ip)),
        Some(named) if named != *service => Some(if has(&named) { Fault::Shared(ip) } else { Fault::Wrong(ip) }),
        Some(_) => {
            let right = is_allocators(&object.metadata) && label(&object.metadata, FAMILY) == Some(ip_address::family(ip));
            (!right).then_some(Fault::Unlabelled(ip))
        }
    }
}

impl Fault {
    /// Reason, action and message of the Event that is recorded on the Service.
    pub fn event(&self, service: &ObjectKey) -> Option<(&'static str, &'static str, String)> {
        let family = |ip: &IpAddr| ip_address::family(*ip);
        let (reason, message) = match self {
            // As Go prints an address that is none.
            Self::Invalid => {
                let message = "Cluster IP <nil> is not a valid IP; please recreate Service".to_owned();
                return Some(("ClusterIPNotValid", "ClusterIPValidation", message));
            }
            Self::OutOfRange(ip) => (
                "ClusterIPOutOfRange",
                format!("Cluster IP [{}]: {ip} is not within any configured Service CIDR; please recreate service", family(ip)),
            ),
            Self::Missing(ip) => ("ClusterIPNotAllocated", format!("Cluster IP [{}]: {ip} is not allocated; repairing", family(ip))),
            Self::Wrong(ip) => (
                "ClusterIPNotAllocated",
                format!("the ClusterIP [{}]: {ip} for Service {service} has a wrong reference; repairing", family(ip)),
            ),
            Self::Shared(ip) => (
                "ClusterIPAlreadyAllocated",
                format!("Cluster IP [{}]:{ip} was assigned to multiple services; please recreate service", family(ip)),
            ),
            Self::Unlabelled(_) => return None,
        };
        Some((reason, "ClusterIPAllocation", message))
    }

    /// The address whose object is to be made, and whether one that is there must go first.
    pub fn remedy(&self) -> Option<(IpAddr, bool)> {
        match self {
            Self::Missing(ip) => Some((*ip, false)),
            Self::Wrong(ip) | Self::Unlabelled(ip) => Some((*ip, true)),
            Self::Invalid | Self::OutOfRange(_) | Self::Shared(_) => None,
        }
    }
}

/// What becomes of an IPAddress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// It may still get its Service: for so many seconds.
    Waits(i64),
    /// It goes, with this reason and message.
    Goes(&'static str, String),
}

/// `addresses`: those of the Service that it names, `None` where there is no such Service.
pub(super) fn fate(address: &IPAddress, addresses: Option<&[String]>, now_seconds: i64) -> Fate {
    let name = address.metadata.name.as_deref().unwrap_or_default();
    if !is_allocators(&address.metadata) {
        return Fate::Stays;
    }
    let Some(service) = service_of(address) else {
        let parent = parent(address);
        let shown = format!(
            "&ParentReference{{Group:{},Resource:{},Namespace:{},Name:{},}}",
            parent.group.unwrap_or_default(),
            parent.resource,
            parent.namespace.unwrap_or_default(),
            parent.name
        );
        let message = format!("IPAddress {name} appears to have been modified, not referencing a Service {shown}: cleaning up");
        return Fate::Goes("IPAddressNotAllocated", message);
    };
    match addresses {
        Some(addresses) if addresses.iter().any(|address| address == name) => Fate::Stays,
        Some(_) => {
            let message = format!("IPAddress: {name} for Service {service} has a wrong reference; cleaning up");
            Fate::Goes("IPAddressWrongReference", message)
        }
        None => {
            let age = address.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |made| now_seconds.saturating_sub(made.0.as_second()));
            if age <= GRACE_SECONDS {
                return Fate::Waits(GRACE_SECONDS.saturating_sub(age).saturating_add(1));
            }
            Fate::Goes("IPAddressNotAllocated", format!("IPAddress: {name} for Service {service} appears to have leaked: cleaning up"))
        }
    }
}
