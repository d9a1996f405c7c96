//! Steps that are not in the kernel, and how they are told to people.

use orknet_abi::PortKey;
use orknet_compiler::{
    Step,
    rows::{range_text, scope_name},
};
use std::{fmt, io, net::IpAddr};

/// A step that is not in the kernel.
#[derive(Debug)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// The map that it meant.
    pub map: &'static str,
    /// Why not.
    pub cause: FailureCause,
}

/// Why a step is not in the kernel.
#[derive(Debug)]
pub enum FailureCause {
    /// The map has no room left; its capacity is named.
    Full(u32),
    /// The kernel said no.
    Kernel(io::Error),
    /// What it leads to is incomplete, so what it is about keeps what it had: a Service, an address, a pod.
    Incomplete,
    /// Something could not be switched away from what was to be removed, so it stays.
    InUse,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: ", self.map, Entry(&self.step))?;
        match &self.cause {
            FailureCause::Full(capacity) => write!(formatter, "the map is full ({capacity} entries); raise capacities.{}", self.map),
            FailureCause::Kernel(error) => write!(formatter, "{error}"),
            FailureCause::Incomplete => formatter.write_str(waits_for(&self.step)),
            FailureCause::InUse => formatter.write_str(used_by(&self.step)),
        }
    }
}

/// What holds a step back.
fn waits_for(step: &Step) -> &'static str {
    match step {
        Step::PutVerdict(..) => "not written: its table of ports is incomplete",
        Step::PutPeer(..) => "not switched: what rules say about such addresses is incomplete",
        Step::PutPod(..) => "not switched: its rules, or the addresses that they are about, are incomplete",
        _ => "not switched: its backends or sources are incomplete",
    }
}

/// Who keeps a step from removing, or changing, something.
fn used_by(step: &Step) -> &'static str {
    match step {
        Step::PutPeer(..) => "not switched: a pod keeps former rules, which do not know it so",
        Step::DeletePeer(_) | Step::DeleteVerdict(_) | Step::DeletePort(_) | Step::DeleteRule(_) => {
            "not removed: a pod's rules or an address still use it"
        }
        Step::DeleteBackend(_) | Step::DeleteTable(_) | Step::DeleteSource(_) => "not removed: a Service still uses it",
        // Nobody holds back these.
        _ => "held back: something that was not switched still uses it",
    }
}

/// The entry that a step means, as a person would name it.
struct Entry<'a>(&'a Step);

impl fmt::Display for Entry<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Step::PutBackend(key, _) | Step::DeleteBackend(key) => write!(formatter, "list {} slot {}", key.list, key.slot),
            Step::PutPod(key, _) | Step::DeletePod(key) => write!(formatter, "{}", IpAddr::from(key.address)),
            Step::PutNode(_) => formatter.write_str("of this node"),
            Step::PutTable(key, _) | Step::DeleteTable(key) => write!(formatter, "table {} chunk {}", key.table, key.chunk),
            Step::PutSource(key) | Step::DeleteSource(key) => {
                write!(formatter, "set {} range {}", key.set, range_text(&key.range()))
            }
            Step::PutRule(rule, _) | Step::DeleteRule(rule) => write!(formatter, "rule {rule}"),
            Step::PutPort(key, _) | Step::DeletePort(key) => {
                let bits = key.prefix_bits.saturating_sub(PortKey::PROTOCOL_BITS);
                write!(formatter, "table {} protocol {} port {}/{bits}", key.table, key.protocol, u16::from_be(key.port_be))
            }
            Step::PutVerdict(key, _) | Step::DeleteVerdict(key) => write!(formatter, "set {} peers {}", key.set, key.peers),
            Step::PutRange(key, _) | Step::DeleteRange(key) | Step::PutPeer(key, _) | Step::DeletePeer(key) => {
                formatter.write_str(&range_text(key))
            }
            Step::PutService(key, _) | Step::DeleteService(key) => {
                let (address, port) = (IpAddr::from(key.address), u16::from_be(key.port_be));
                write!(formatter, "{address} port {port} protocol {} {}", key.protocol, scope_name(key.scope))
            }
        }
    }
}
