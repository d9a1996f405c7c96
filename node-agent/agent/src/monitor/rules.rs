//! The rules in this node's maps by name, for their counters.

use super::explain::policy;
use super::line::{Direction, Policy};
use orknet_abi::direction;
use orknet_compiler::State;
use orknet_compiler::facts::{Action, Uid};
use std::collections::BTreeMap;

/// A rule, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleName {
    pub policy: Policy,
    pub direction: Direction,
    /// Place in `spec.ingress` or `spec.egress`, from 0.
    pub index: u32,
    pub action: Action,
}

impl RuleName {
    /// Labels of its counters.
    pub fn labels(&self) -> Vec<(&'static str, String)> {
        let verdict = match self.action {
            Action::Accept => "allowed",
            Action::Deny => "dropped",
            // Decides nothing, and so counts nothing.
            Action::Pass => "passed",
        };
        vec![
            ("kind", self.policy.kind.clone()),
            ("namespace", self.policy.namespace.clone()),
            ("policy", self.policy.name.clone()),
            ("direction", self.direction.to_string()),
            ("rule", self.index.to_string()),
            ("verdict", verdict.to_owned()),
        ]
    }
}

/// By the rules' numbers. Those of policies that are not known (any more) are left out.
pub fn name_rules(state: &State) -> BTreeMap<u32, RuleName> {
    let rules = &state.image().rules;
    let policies = state.policies_with(&rules.values().map(|rule| Uid(rule.policy)).collect());
    let named = rules.iter().filter_map(|(number, rule)| {
        let name = policies.get(&Uid(rule.policy))?;
        let direction = if u32::from(rule.direction) == direction::EGRESS { Direction::Egress } else { Direction::Ingress };
        let action = state.action_of(rule, name)?;
        Some((*number, RuleName { policy: policy(name), direction, index: rule.index, action }))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::{Rule, policy_kind};
    use orknet_compiler::facts::{ClusterPolicyFacts, ClusterRuleFacts, NamespacedPods, ObjectName, PolicyFacts, RuleFacts, Tier};
    use orknet_compiler::{Change, MapImage};

    #[test]
    fn rules_have_the_labels_of_their_policies_and_none_once_these_are_gone() {
        let mut state = State::default();
        let name = ObjectName { namespace: "web".into(), name: "let-in".into() };
        let policy = PolicyFacts { uid: Uid::of("n"), ingress: Some(Box::new([RuleFacts::default()])), ..PolicyFacts::default() };
        let rule = |action| ClusterRuleFacts { name: "".into(), action, rule: RuleFacts::default() };
        let closed = ClusterPolicyFacts {
            uid: Uid::of("c"),
            tier: Tier::Admin,
            priority: 0,
            subject: NamespacedPods::default(),
            ingress: Box::default(),
            egress: Box::new([rule(Action::Accept), rule(Action::Deny)]),
            trouble: None,
        };
        state.note(Change::Policy(name.clone(), Some(policy)));
        state.note(Change::ClusterPolicy("closed".into(), Some(closed)));
        let rule = |uid, kind, way: u32, index| Rule { policy: Uid::of(uid).0, index, direction: way as u8, kind, reserved: 0 };
        let rules = [
            (1, rule("n", policy_kind::NETWORK_POLICY, direction::INGRESS, 0)),
            (2, rule("c", policy_kind::CLUSTER_NETWORK_POLICY, direction::EGRESS, 1)),
            (3, rule("gone", policy_kind::NETWORK_POLICY, direction::INGRESS, 0)),
            (4, rule("n", policy_kind::NETWORK_POLICY, direction::INGRESS, 7)),
        ];
        state.adopt(MapImage { rules: rules.into(), ..MapImage::default() });
        let values = |state: &State| -> BTreeMap<u32, String> {
            let joined = |rule: &RuleName| rule.labels().into_iter().map(|(_, value)| value).collect::<Vec<_>>().join(" ");
            name_rules(state).iter().map(|(number, rule)| (*number, joined(rule))).collect()
        };
        let cluster = (2, "ClusterNetworkPolicy  closed egress 1 dropped".to_owned());
        assert_eq!(values(&state), [(1, "NetworkPolicy web let-in ingress 0 allowed".to_owned()), cluster.clone()].into());
        state.note(Change::Policy(name, None));
        assert_eq!(values(&state), [cluster].into());
    }
}
