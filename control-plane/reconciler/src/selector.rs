//! Label selectors: matching labels against `LabelSelector` and plain maps. Parsing selector strings is the API server's affair.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Labels as objects carry them.
pub type Labels = BTreeMap<String, String>;

/// Whether `labels` satisfy `selector`. An empty selector matches everything; an unknown operator matches nothing.
pub fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    selector.match_labels.iter().flatten().all(|(key, value)| get(labels, key) == Some(value.as_str()))
        && selector.match_expressions.iter().flatten().all(|requirement| requirement_holds(requirement, labels))
}

/// Whether `labels` carry every pair of `wanted`. An empty map matches everything.
pub fn matches_map(wanted: &Labels, labels: Option<&Labels>) -> bool {
    wanted.iter().all(|(key, value)| get(labels, key) == Some(value.as_str()))
}

/// Whether the selector has no requirement at all.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty) && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// One requirement in the vocabulary shared by label and node selectors. `Gt` and `Lt` compare whole numbers.
pub fn operator_holds(operator: &str, values: &[String], actual: Option<&str>) -> bool {
    match operator {
        "In" => actual.is_some_and(|actual| values.iter().any(|value| value == actual)),
        "NotIn" => actual.is_none_or(|actual| values.iter().all(|value| value != actual)),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" | "Lt" => {
            let actual = actual.and_then(|actual| actual.parse::<i64>().ok());
            let bound = values.first().and_then(|value| value.parse::<i64>().ok());
            match (actual, bound) {
                (Some(actual), Some(bound)) if operator == "Gt" => actual > bound,
                (Some(actual), Some(bound)) => actual < bound,
                _ => false,
            }
        }
        _ => false,
    }
}

fn requirement_holds(requirement: &LabelSelectorRequirement, labels: Option<&Labels>) -> bool {
    operator_holds(&requirement.operator, requirement.values.as_deref().unwrap_or_default(), get(labels, &requirement.key))
}

fn get<'a>(labels: Option<&'a Labels>, key: &str) -> Option<&'a str> {
    labels?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn operators_follow_the_api() {
        let values = ["a".to_string(), "b".to_string()];
        for (operator, actual, holds) in [
            ("In", Some("a"), true),
            ("In", Some("c"), false),
            ("In", None, false),
            ("NotIn", Some("a"), false),
            ("NotIn", Some("c"), true),
            ("NotIn", None, true),
            ("Exists", Some(""), true),
            ("Exists", None, false),
            ("DoesNotExist", None, true),
            ("DoesNotExist", Some("a"), false),
            ("Nonsense", Some("a"), false),
        ] {
            assert_eq!(operator_holds(operator, &values, actual), holds, "{operator} {actual:?}");
        }
        assert!(operator_holds("Gt", &["3".into()], Some("4")));
        assert!(!operator_holds("Gt", &["3".into()], Some("x")));
        assert!(operator_holds("Lt", &["3".into()], Some("2")));
    }

    #[test]
    fn labels_and_expressions_are_anded() {
        let selector = LabelSelector {
            match_labels: Some(labels(&[("app", "web")])),
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "tier".into(),
                operator: "NotIn".into(),
                values: Some(vec!["canary".into()]),
            }]),
        };
        assert!(matches(&selector, Some(&labels(&[("app", "web")]))));
        assert!(!matches(&selector, Some(&labels(&[("app", "web"), ("tier", "canary")]))));
        assert!(!matches(&selector, None));
        assert!(matches(&LabelSelector::default(), None));
        assert!(is_empty(&LabelSelector::default()) && !is_empty(&selector));
    }
}
