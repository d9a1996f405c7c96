//! Pure: the lowest free range of each family.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use k8s_openapi::api::core::v1::Node;

use crate::Config;

/// Whether the node has no pod range yet. A range once given is never changed (the API forbids it).
pub(super) fn needs_range(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    node.metadata.deletion_timestamp.is_none()
        && spec
            .is_none_or(|spec| spec.pod_cidr.as_deref().unwrap_or_default().is_empty() && spec.pod_cidrs.as_ref().is_none_or(Vec::is_empty))
}

/// Ranges that were written for nodes that do not show them yet. Where the answer to a write was lost it may have been carried out all the same: until
/// the node shows what it has, its range is nobody else's.
#[derive(Default)]
pub(super) struct Promises {
    by_uid: HashMap<String, Vec<IpNet>>,
}

impl Promises {
    /// The ranges to write for `node`, the same ones at every attempt; `None` when a family is used up.
    pub fn ranges_for(&mut self, config: &Config, node: &Node, nodes: &[Arc<Node>]) -> Option<Vec<IpNet>> {
        let waits = |uid: &str| nodes.iter().any(|node| node.metadata.uid.as_deref() == Some(uid) && needs_range(node));
        self.by_uid.retain(|uid, _| waits(uid));
        let uid = node.metadata.uid.clone().unwrap_or_default();
        if let Some(promised) = self.by_uid.get(&uid) {
            return Some(promised.clone());
        }
        let ranges = allocate(config, nodes.iter().map(|node| &**node), self.by_uid.values().flatten().copied())?;
        self.by_uid.insert(uid, ranges.clone());
        Some(ranges)
    }
}

/// One range per configured range, in the same order; `None` when a family is used up. `nodes` are all nodes with their ranges.
/// `promised` are taken as well.
pub(super) fn allocate<'a>(
    config: &Config,
    nodes: impl Iterator<Item = &'a Node>,
    promised: impl Iterator<Item = IpNet>,
) -> Option<Vec<IpNet>> {
    let used: Vec<IpNet> = nodes.flat_map(ranges_of).chain(promised).collect();
    config.pod_cidrs.iter().map(|range| lowest_free(*range, config.node_mask(range), &used)).collect()
}

/// The ranges that a node holds; text that is no range is skipped.
fn ranges_of(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr).filter_map(|range| range.parse().ok()).collect()
}

fn lowest_free(range: IpNet, mask: u8, used: &[IpNet]) -> Option<IpNet> {
    let bits = range.max_prefix_len() - mask;
    let base = number(range);
    // Ranges given by another configuration may be of another size: every block they touch is taken.
    let mut taken: Vec<(u128, u128)> = used
        .iter()
        .filter(|used| used.addr().is_ipv4() == range.addr().is_ipv4() && (range.contains(*used) || used.contains(&range)))
        .map(|used| {
            let (first, last) = (number(*used).max(base), last(*used).min(last(range)));
            ((first - base) >> bits, (last - base) >> bits)
        })
        .collect();
    taken.sort_unstable();
    let mut candidate = 0;
    for (first, last) in taken {
        if candidate < first {
            break;
        }
        candidate = candidate.max(last + 1);
    }
    if candidate >> (mask - range.prefix_len()) != 0 {
        return None;
    }
    let address = base + (candidate << bits);
    match range {
        IpNet::V4(_) => Ipv4Net::new(u32::try_from(address).ok()?.into(), mask).ok().map(IpNet::V4),
        IpNet::V6(_) => Ipv6Net::new(address.into(), mask).ok().map(IpNet::V6),
    }
}

fn number(range: IpNet) -> u128 {
    match range {
        IpNet::V4(range) => u128::from(u32::from(range.network())),
        IpNet::V6(range) => u128::from(range.network()),
    }
}

fn last(range: IpNet) -> u128 {
    match range {
        IpNet::V4(range) => u128::from(u32::from(range.broadcast())),
        IpNet::V6(range) => u128::from(range.broadcast()),
    }
}
