//! Whether a pod's constraints allow a node: node selectors, required node affinity, taints and tolerations. Shared by the scheduler
//! and by the controllers that place or evict pods themselves.

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration};

use crate::selector;

/// Whether the node satisfies the pod's `nodeSelector` and its required node affinity.
pub fn selects_node(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    if spec.node_selector.as_ref().is_some_and(|wanted| !selector::matches_map(wanted, labels)) {
        return false;
    }
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| node_selector_matches(required, node))
}

/// Terms are ORed; a selector without terms matches no node.
pub fn node_selector_matches(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

/// The requirements of a term are ANDed; a term without any matches no node.
pub fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let labels = node.metadata.labels.as_ref();
    expressions.iter().all(|requirement| holds(requirement, labels.and_then(|labels| labels.get(&requirement.key)).map(String::as_str)))
        && fields.iter().all(|requirement| {
            let value = if requirement.key == "metadata.name" { node.metadata.name.as_deref() } else { None };
            holds(requirement, value)
        })
}

/// Whether one of the tolerations tolerates the taint.
pub fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| tolerates_one(toleration, taint))
}

/// The rule of `Toleration` in core v1: an empty key with Exists tolerates every taint, an empty effect every effect.
pub fn tolerates_one(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    let key = toleration.key.as_deref().unwrap_or_default();
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default(),
        _ => false,
    }
}

/// The first taint with one of these effects that the pod does not tolerate.
pub fn untolerated_taint<'a>(taints: &'a [Taint], tolerations: &[Toleration], effects: &[&str]) -> Option<&'a Taint> {
    taints.iter().find(|taint| effects.contains(&taint.effect.as_str()) && !tolerates(tolerations, taint))
}

/// The node's taints.
pub fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

/// The pod's tolerations.
pub fn tolerations(pod: &Pod) -> &[Toleration] {
    pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
}

fn holds(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    selector::operator_holds(&requirement.operator, requirement.values.as_deref().unwrap_or_default(), actual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint { key: key.into(), value: Some(value.into()), effect: effect.into(), time_added: None }
    }

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        let text = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
        Toleration { key: text(key), operator: text(operator), value: text(value), effect: text(effect), toleration_seconds: None }
    }

    #[test]
    fn tolerations_follow_the_api() {
        let dedicated = taint("dedicated", "gpu", "NoSchedule");
        for (toleration, holds) in [
            (toleration("dedicated", "Equal", "gpu", "NoSchedule"), true),
            (toleration("dedicated", "", "gpu", ""), true),
            (toleration("dedicated", "Exists", "", ""), true),
            (toleration("", "Exists", "", ""), true),
            (toleration("dedicated", "Equal", "cpu", ""), false),
            (toleration("dedicated", "Exists", "", "NoExecute"), false),
            (toleration("other", "Exists", "", ""), false),
        ] {
            assert_eq!(tolerates_one(&toleration, &dedicated), holds, "{toleration:?}");
        }
    }

    #[test]
    fn a_node_selector_without_terms_matches_nothing() {
        let node = Node::default();
        assert!(!node_selector_matches(&NodeSelector::default(), &node));
        assert!(!term_matches(&NodeSelectorTerm::default(), &node));
    }

    #[test]
    fn the_name_field_selects_one_node() {
        let mut node = Node::default();
        node.metadata.name = Some("a".into());
        let requirement = NodeSelectorRequirement { key: "metadata.name".into(), operator: "In".into(), values: Some(vec!["a".into()]) };
        let term = NodeSelectorTerm { match_fields: Some(vec![requirement]), match_expressions: None };
        assert!(term_matches(&term, &node));
        node.metadata.name = Some("b".into());
        assert!(!term_matches(&term, &node));
    }
}
