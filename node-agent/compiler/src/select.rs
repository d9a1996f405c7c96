//! Which endpoints of one Service port may take traffic: readiness first, then topology. The rules are those of the API documents:
//! EndpointConditions, `internalTrafficPolicy`, `trafficDistribution` and hints.

use crate::facts::{Endpoint, NodeFacts, Readiness};
use orknet_abi::Backend;
use std::collections::BTreeMap;

/// An endpoint and the port that it answers on.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub backend: Backend,
    pub endpoint: &'a Endpoint,
}

/// The backends for traffic to a cluster address from `node`, each once, in ascending order.
///
/// With `local_only` (internalTrafficPolicy Local) only endpoints on the node count, and hints do not matter. Whether
/// terminating endpoints must step in is decided within the set that counts.
pub fn select(candidates: Vec<Candidate<'_>>, node: &NodeFacts, local_only: bool) -> Vec<Backend> {
    let mut candidates = deduplicated(candidates, node);
    if local_only {
        candidates.retain(|candidate| is_local(candidate, node));
    }
    let ready: Vec<_> = candidates.iter().filter(|candidate| candidate.endpoint.readiness == Readiness::Ready).copied().collect();
    if ready.is_empty() {
        candidates.retain(|candidate| candidate.endpoint.readiness == Readiness::ServingTerminating);
        return candidates.into_iter().map(|candidate| candidate.backend).collect();
    }
    let preferred = if local_only { None } else { preferred(&ready, node) };
    preferred.unwrap_or_else(|| ready.into_iter().map(|candidate| candidate.backend).collect())
}

/// Slices may overlap while they are being rewritten: the best state of an endpoint wins.
fn deduplicated<'a>(candidates: Vec<Candidate<'a>>, node: &NodeFacts) -> Vec<Candidate<'a>> {
    // Every field decides, so that the order of the slices cannot.
    let rank = |candidate: &Candidate<'a>| (candidate.endpoint.readiness, is_local(candidate, node), &candidate.endpoint.hints);
    let mut best: BTreeMap<Backend, Candidate<'a>> = BTreeMap::new();
    for candidate in candidates {
        let known = best.entry(candidate.backend).or_insert(candidate);
        if rank(&candidate) > rank(known) {
            *known = candidate;
        }
    }
    best.into_values().collect()
}

/// The backends that hints give to this node, or `None` when hints do not apply: they do only if every ready endpoint carries
/// one and at least one names this node or, failing that, this zone. Node hints are the narrower ones and go first (KEP-3015).
fn preferred(ready: &[Candidate<'_>], node: &NodeFacts) -> Option<Vec<Backend>> {
    let chosen = |hinted: &dyn Fn(&Candidate<'_>) -> (bool, bool)| {
        let mut backends = Vec::new();
        for candidate in ready {
            let (carries, names_us) = hinted(candidate);
            if !carries {
                return None;
            }
            if names_us {
                backends.push(candidate.backend);
            }
        }
        (!backends.is_empty()).then_some(backends)
    };
    let by_node = |candidate: &Candidate<'_>| match &candidate.endpoint.hints {
        Some(hints) => (!hints.nodes.is_empty(), hints.nodes.contains(&node.name)),
        None => (false, false),
    };
    let by_zone = |candidate: &Candidate<'_>| match (&candidate.endpoint.hints, &node.zone) {
        (Some(hints), Some(zone)) => (!hints.zones.is_empty(), hints.zones.contains(zone)),
        _ => (false, false),
    };
    chosen(&by_node).or_else(|| chosen(&by_zone))
}

fn is_local(candidate: &Candidate<'_>, node: &NodeFacts) -> bool {
    candidate.endpoint.node.as_ref() == Some(&node.name)
}
