//! Nobody grants what he has not (RBAC's escalation check): which of the rules wanted are not covered by those held. Pure.

use k8s_openapi::api::rbac::v1::PolicyRule;
use std::fmt::Write;

/// One permission of a rule: one verb on one resource or path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece<'a> {
    verb: &'a str,
    target: Target<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target<'a> {
    Path(&'a str),
    /// `name`: `None` is any.
    Resource {
        group: &'a str,
        resource: &'a str,
        name: Option<&'a str>,
    },
}

/// What of `wanted` is not in `held`, as the API shows it: one rule a line, empty when everything is held.
pub fn not_held(held: &[PolicyRule], wanted: &[PolicyRule]) -> String {
    let mut missing: Vec<(Target<'_>, Vec<&str>)> = Vec::new();
    for piece in wanted.iter().flat_map(pieces).filter(|piece| !held.iter().any(|rule| covers(rule, piece))) {
        match missing.iter_mut().find(|(target, _)| *target == piece.target) {
            Some((_, verbs)) if verbs.contains(&piece.verb) => {}
            Some((_, verbs)) => verbs.push(piece.verb),
            None => missing.push((piece.target, vec![piece.verb])),
        }
    }
    let mut text = String::new();
    for (target, verbs) in missing {
        let separator = if text.is_empty() { "" } else { "\n" };
        let verbs: Vec<String> = verbs.iter().map(|verb| format!("{verb:?}")).collect();
        let shown = match target {
            Target::Path(path) => format!("NonResourceURLs:[{path:?}]"),
            Target::Resource { group, resource, name: None } => format!("APIGroups:[{group:?}], Resources:[{resource:?}]"),
            Target::Resource { group, resource, name: Some(name) } => {
                format!("APIGroups:[{group:?}], Resources:[{resource:?}], ResourceNames:[{name:?}]")
            }
        };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{{{shown}, Verbs:[{}]}}", verbs.join(" "));
    }
    text
}

fn pieces(rule: &PolicyRule) -> Vec<Piece<'_>> {
    let paths = rule.non_resource_urls.iter().flatten().map(|path| Target::Path(path));
    let names: Vec<Option<&str>> = match rule.resource_names.as_deref().unwrap_or_default() {
        [] => vec![None],
        names => names.iter().map(|name| Some(&name[..])).collect(),
    };
    let mut targets: Vec<Target<'_>> = paths.collect();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            targets.extend(names.iter().map(|name| Target::Resource { group, resource, name: *name }));
        }
    }
    targets.iter().flat_map(|target| rule.verbs.iter().map(|verb| Piece { verb, target: *target })).collect()
}

fn covers(rule: &PolicyRule, piece: &Piece<'_>) -> bool {
    let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
    if !has(&rule.verbs, piece.verb) {
        return false;
    }
    match piece.target {
        Target::Path(path) => rule.non_resource_urls.iter().flatten().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => pattern == path,
        }),
        Target::Resource { group, resource, name } => {
            let names = rule.resource_names.as_deref().unwrap_or_default();
            has(rule.api_groups.as_deref().unwrap_or_default(), group)
                && rule.resources.iter().flatten().any(|pattern| covers_resource(pattern, resource))
                && (names.is_empty() || name.is_some_and(|name| names.iter().any(|own| own == name)))
        }
    }
}

/// `*` is everything, `*/scale` that subresource of every resource.
fn covers_resource(pattern: &str, resource: &str) -> bool {
    let any_parent = || pattern.strip_prefix("*/").is_some_and(|child| resource.split_once('/').is_some_and(|(_, own)| own == child));
    pattern == "*" || pattern == resource || any_parent()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rules(rules: Value) -> Vec<PolicyRule> {
        serde_json::from_value(rules).unwrap()
    }

    #[test]
    fn what_is_held_may_be_given() {
        let held = rules(json!([
            {"apiGroups": ["", "apps"], "resources": ["pods", "deployments", "*/scale"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["*"]},
            {"nonResourceURLs": ["/metrics/*"], "verbs": ["get"]},
        ]));
        for wanted in [
            json!([{"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": ["list"]}]),
            json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["*", "get"]}]),
            json!([{"nonResourceURLs": ["/metrics/x", "/metrics/*"], "verbs": ["get"]}]),
            json!([]),
        ] {
            assert_eq!(not_held(&held, &rules(wanted.clone())), "", "{wanted}");
        }
    }

    #[test]
    fn what_is_not_held_is_named() {
        let held = rules(json!([{"apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"], "verbs": ["get"]}]));
        let wanted =
            json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "*"]}, {"nonResourceURLs": ["*"], "verbs": ["get"]}]);
        assert_eq!(
            not_held(&held, &rules(wanted)),
            "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\" \"*\"]}\n{NonResourceURLs:[\"*\"], Verbs:[\"get\"]}"
        );
        let named = json!([{"apiGroups": [""], "resources": ["pods"], "resourceNames": ["a", "b"], "verbs": ["get"]}]);
        assert_eq!(not_held(&held, &rules(named)), "{APIGroups:[\"\"], Resources:[\"pods\"], ResourceNames:[\"b\"], Verbs:[\"get\"]}");
        let all = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]}]);
        assert!(!not_held(&held, &rules(all)).is_empty());
    }
}
