//! A pod with what decisions need of it, computed once.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Affinity, Pod, PodAffinityTerm, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use orknet_reconciler::selector::{self, Labels};

use crate::requests::{self, Amounts};

/// A host port that a pod binds: address (empty for all), protocol, port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Two ports conflict when number and protocol are the same and one covers the other's address.
    pub fn conflicts(&self, other: &Self) -> bool {
        let all = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
        self.port == other.port && self.protocol == other.protocol && (self.ip == other.ip || all(&self.ip) || all(&other.ip))
    }
}

/// A pod affinity or anti-affinity term, resolved for the pod that carries it.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    pub topology_key: String,
    namespaces: Vec<String>,
    namespace_selector: Option<LabelSelector>,
    selector: Option<LabelSelector>,
}

impl Term {
    /// Whether `pod` is among those the term speaks of. `namespace_labels` are those of the pod's namespace.
    pub fn matches(&self, pod: &PodInfo, namespace_labels: Option<&Labels>) -> bool {
        let in_namespace = self.namespaces.iter().any(|namespace| namespace == pod.namespace())
            || self.namespace_selector.as_ref().is_some_and(|wanted| selector::matches(wanted, namespace_labels));
        // A missing selector matches no pod.
        in_namespace && self.selector.as_ref().is_some_and(|wanted| selector::matches(wanted, pod.labels()))
    }
}

/// A pod as decisions see it.
#[derive(Debug, Clone)]
pub(crate) struct PodInfo {
    pub pod: Arc<Pod>,
    pub requests: Amounts,
    pub scored: Amounts,
    pub ports: Vec<HostPort>,
    pub affinity: Vec<Term>,
    pub anti_affinity: Vec<Term>,
    /// Preferred terms with their weights; those of anti-affinity are negative.
    pub preferred: Vec<(Term, i64)>,
}

impl PodInfo {
    pub fn new(pod: Arc<Pod>) -> Self {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let affinity = spec.affinity.as_ref();
        Self {
            requests: requests::of_pod(spec),
            scored: requests::for_scoring(spec),
            ports: host_ports(spec),
            affinity: required_affinity(affinity).iter().map(|term| resolved(&pod, term)).collect(),
            anti_affinity: required_anti_affinity(affinity).iter().map(|term| resolved(&pod, term)).collect(),
            preferred: preferred(affinity).map(|(term, weight)| (resolved(&pod, term), weight)).collect(),
            pod,
        }
    }

    pub fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn labels(&self) -> Option<&Labels> {
        self.pod.metadata.labels.as_ref()
    }

    pub fn priority(&self) -> i32 {
        self.spec().and_then(|spec| spec.priority).unwrap_or(0)
    }
}

/// The selector with `matchLabelKeys` (and their opposite) taken from the pod's own labels (KEP-3633).
pub(crate) fn with_label_keys(
    selector: Option<&LabelSelector>,
    labels: Option<&Labels>,
    same: Option<&Vec<String>>,
    different: Option<&Vec<String>>,
) -> Option<LabelSelector> {
    let mut selector = selector?.clone();
    for (keys, operator) in [(same, "In"), (different, "NotIn")] {
        for key in keys.into_iter().flatten() {
            if let Some(value) = labels.and_then(|labels| labels.get(key)) {
                let requirement =
                    LabelSelectorRequirement { key: key.clone(), operator: operator.into(), values: Some(vec![value.clone()]) };
                selector.match_expressions.get_or_insert_default().push(requirement);
            }
        }
    }
    Some(selector)
}

fn required_affinity(affinity: Option<&Affinity>) -> &[PodAffinityTerm] {
    let terms = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    terms.and_then(|terms| terms.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default()
}

fn required_anti_affinity(affinity: Option<&Affinity>) -> &[PodAffinityTerm] {
    let terms = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    terms.and_then(|terms| terms.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default()
}

fn preferred(affinity: Option<&Affinity>) -> impl Iterator<Item = (&PodAffinityTerm, i64)> {
    let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let near = near.and_then(|near| near.preferred_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default();
    let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let apart = apart.and_then(|apart| apart.preferred_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default();
    let near = near.iter().map(|term| (&term.pod_affinity_term, i64::from(term.weight)));
    near.chain(apart.iter().map(|term| (&term.pod_affinity_term, -i64::from(term.weight))))
}

fn resolved(pod: &Pod, term: &PodAffinityTerm) -> Term {
    let mut namespaces = term.namespaces.clone().unwrap_or_default();
    if namespaces.is_empty() && term.namespace_selector.is_none() {
        namespaces.extend(pod.metadata.namespace.clone());
    }
    let (same, different) = (term.match_label_keys.as_ref(), term.mismatch_label_keys.as_ref());
    Term {
        topology_key: term.topology_key.clone(),
        namespaces,
        namespace_selector: term.namespace_selector.clone(),
        selector: with_label_keys(term.label_selector.as_ref(), pod.metadata.labels.as_ref(), same, different),
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let host_network = spec.host_network == Some(true);
    let sidecars = spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|port| *port > 0).or_else(|| host_network.then_some(port.container_port))?;
            Some(HostPort {
                ip: port.host_ip.clone().unwrap_or_default(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                port: number,
            })
        })
        .collect()
}
