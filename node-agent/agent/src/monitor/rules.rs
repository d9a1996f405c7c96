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
