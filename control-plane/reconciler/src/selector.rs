//! Selectors as reconcilers need them: `LabelSelector` (whose home is orknet-resources), plain maps of labels, and the operators of node
//! selectors. Parsing selector strings is the API server's affair.

pub use orknet_resources::selector::{Labels, is_empty, matches};

/// Whether `labels` carry every pair of `wanted`. An empty map matches everything.
pub fn matches_map(wanted: &Labels, labels: Option<&Labels>) -> bool {
    wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// One requirement of a node selector: the operators of label selectors, and two more. `Gt` and `Lt` compare whole numbers.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
