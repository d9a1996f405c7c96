//! Label selectors: rules, matching, how a table shows them. Field selectors are the server's.

use crate::field::{Errors, Path};
use crate::{meta, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

/// The rules for a selector.
pub fn validate(selector: &LabelSelector, at: &Path<'_>, errors: &mut Errors) {
    if let Some(labels) = &selector.match_labels {
        meta::labels(labels, &at.field("matchLabels"), errors);
    }
    let expressions = at.field("matchExpressions");
    for (i, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let at = expressions.index(i);
        let values = expression.values.as_deref().unwrap_or_default();
        match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&at.field("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.forbidden(&at.field("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&at.field("operator"), other, "not a valid selector operator"),
        }
        errors.format(&at.field("key"), &expression.key, names::qualified_name(&expression.key));
        for (i, value) in values.iter().enumerate() {
            errors.format(&at.field("values").index(i), value, names::label_value(value));
        }
    }
}

/// Whether the selector selects everything.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty) && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// Whether the selector selects `labels`. An unknown operator selects nothing.
pub fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let value = |key: &str| labels.and_then(|l| l.get(key));
    selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted))
        && selector.match_expressions.iter().flatten().all(|expression| {
            let value = value(&expression.key);
            let listed = |value: &String| expression.values.iter().flatten().any(|v| v == value);
            match expression.operator.as_str() {
                "In" => value.is_some_and(listed),
                "NotIn" => !value.is_some_and(listed),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// `a=b,c in (x,y)`, `<none>` when it selects everything or is missing.
pub fn shown(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "<none>".to_owned() };
    let mut parts: Vec<(&str, String)> =
        selector.match_labels.iter().flatten().map(|(key, value)| (key.as_str(), format!("{key}={value}"))).collect();
    parts.extend(selector.match_expressions.iter().flatten().map(|e| (e.key.as_str(), expression_shown(e))));
    parts.sort_by(|a, b| a.0.cmp(b.0));
    crate::table::joined(parts.into_iter().map(|(_, text)| text))
}

/// `a=b,c=d`, `<none>` without labels.
pub fn labels_shown(labels: Option<&Labels>) -> String {
    crate::table::joined(labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")))
}

fn expression_shown(expression: &LabelSelectorRequirement) -> String {
    let key = &expression.key;
    let mut values = expression.values.clone().unwrap_or_default();
    values.sort();
    match expression.operator.as_str() {
        "In" => format!("{key} in ({})", values.join(",")),
        "NotIn" => format!("{key} notin ({})", values.join(",")),
        "DoesNotExist" => format!("!{key}"),
        _ => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn selector(value: Value) -> LabelSelector {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_selector_matches_by_all_its_parts() {
        let s = selector(json!({"matchLabels": {"a": "1"}, "matchExpressions": [
            {"key": "b", "operator": "In", "values": ["x", "y"]}, {"key": "c", "operator": "DoesNotExist"}]}));
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Labels>();
        assert!(matches(&s, Some(&labels(&[("a", "1"), ("b", "y")]))));
        assert!(!matches(&s, Some(&labels(&[("a", "1"), ("b", "z")]))));
        assert!(!matches(&s, Some(&labels(&[("a", "1"), ("b", "x"), ("c", "")]))));
        assert!(!matches(&s, None));
        assert!(matches(&LabelSelector::default(), None));
        assert_eq!(shown(Some(&s)), "a=1,b in (x,y),!c");
    }

    #[test]
    fn operators_and_values_must_fit() {
        let s = selector(json!({"matchExpressions": [
            {"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]}, {"key": "a", "operator": "Like"}]}));
        let mut errors = Errors::default();
        validate(&s, &Path::Root.field("selector"), &mut errors);
        let fields: Vec<String> = errors.into_list().into_iter().map(|e| e.field).collect();
        assert_eq!(
            fields,
            ["selector.matchExpressions[0].values", "selector.matchExpressions[1].values", "selector.matchExpressions[2].operator"]
        );
    }
}
