//! Which endpoints of one Service port may take traffic: readiness first, then topology. The rules are those of the API documents:
//! EndpointConditions, `internalTrafficPolicy`, `externalTrafficPolicy`, `trafficDistribution` and hints.

use crate::facts::{Endpoint, NodeFacts, Readiness};
use orknet_abi::Backend;
use std::cmp::Reverse;
use std::sync::Arc;

/// An endpoint and the port that it answers on.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub backend: Backend,
    pub endpoint: &'a Endpoint,
}

/// The endpoints of one port and family, seen from one node.
pub struct Candidates<'a> {
    /// By backend, each once.
    candidates: Vec<Candidate<'a>>,
    node: &'a NodeFacts,
}

impl<'a> Candidates<'a> {
    /// Slices may overlap while they are being rewritten: the best state of an endpoint wins.
    pub fn new(mut candidates: Vec<Candidate<'a>>, node: &'a NodeFacts) -> Self {
        // Every field decides, so that the order of the slices cannot.
        let rank = |candidate: &Candidate<'a>| (candidate.endpoint.readiness, is_local(candidate, node), &candidate.endpoint.hints);
        candidates.sort_unstable_by(|one, other| (one.backend, Reverse(rank(one))).cmp(&(other.backend, Reverse(rank(other)))));
        candidates.dedup_by_key(|candidate| candidate.backend);
        Self { candidates, node }
    }

    /// The backends for traffic from this node to wherever (traffic policy `Cluster`), in ascending order: ready ones, as far as hints
    /// give them to this node. If none is ready, those that serve while they terminate.
    pub fn cluster_wide(&self) -> Arc<[Backend]> {
        let ready: Vec<_> = self.of(Readiness::Ready).collect();
        if ready.is_empty() {
            return self.of(Readiness::ServingTerminating).map(|candidate| candidate.backend).collect();
        }
        preferred(&ready, self.node).unwrap_or_else(|| ready.iter().map(|candidate| candidate.backend).collect())
    }

    /// The backends on this node (traffic policy `Local`), in ascending order. Whether terminating endpoints must step in is decided
    /// among them, and hints do not matter.
    pub fn local(&self) -> Arc<[Backend]> {
        let of = |readiness| self.of(readiness).filter(|candidate| is_local(candidate, self.node)).map(|candidate| candidate.backend);
        let ready: Arc<[Backend]> = of(Readiness::Ready).collect();
        if ready.is_empty() { of(Readiness::ServingTerminating).collect() } else { ready }
    }

    fn of(&self, readiness: Readiness) -> impl Iterator<Item = &Candidate<'a>> {
        self.candidates.iter().filter(move |candidate| candidate.endpoint.readiness == readiness)
    }
}

/// The backends that hints give to this node, or `None` when hints do not apply: they do only if every ready endpoint carries
/// one and at least one names this node or, failing that, this zone. Node hints are the narrower ones and go first (KEP-3015).
fn preferred(ready: &[&Candidate<'_>], node: &NodeFacts) -> Option<Arc<[Backend]>> {
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
        (!backends.is_empty()).then(|| backends.into())
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
