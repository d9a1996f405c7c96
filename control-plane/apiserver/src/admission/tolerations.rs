//! Pods stay for five minutes on a node that has become not ready or unreachable (DefaultTolerationSeconds). Pure.

use crate::object;
use serde_json::{Value, json};

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Adds the tolerations that the pod does not have in some form.
pub fn add_defaults(pod: &mut Value) {
    for taint in TAINTS {
        let tolerations = pod.pointer("/spec/tolerations").and_then(Value::as_array);
        let tolerated = tolerations.into_iter().flatten().any(|toleration| {
            let text = |field: &str| toleration.get(field).and_then(Value::as_str).unwrap_or_default();
            (text("key") == taint || text("key").is_empty()) && (text("effect") == "NoExecute" || text("effect").is_empty())
        });
        if tolerated {
            continue;
        }
        let added = json!({ "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS });
        let spec = object::map_at(pod, "spec");
        match spec.get_mut("tolerations").and_then(Value::as_array_mut) {
            Some(list) => list.push(added),
            None => {
                spec.insert("tolerations".into(), json!([added]));
            }
        }
    }
}

/// Both lists in one, without those that another says as much as or more.
pub fn merged(first: &[Value], second: &[Value]) -> Vec<Value> {
    let all: Vec<&Value> = first.iter().chain(second).collect();
    let mut kept: Vec<Value> = Vec::new();
    for (index, toleration) in all.iter().enumerate() {
        let said_before = kept.iter().any(|other| covers(other, toleration));
        // Of equal ones the first stays.
        let said_after = all[index + 1..].iter().any(|other| other != toleration && covers(other, toleration));
        if !said_before && !said_after {
            kept.push((*toleration).clone());
        }
    }
    kept
}

/// Whether `wide` tolerates all that `narrow` does.
fn covers(wide: &Value, narrow: &Value) -> bool {
    fn text<'a>(toleration: &'a Value, field: &str) -> &'a str {
        toleration.get(field).and_then(Value::as_str).unwrap_or_default()
    }
    if wide == narrow {
        return true;
    }
    let exists = text(wide, "operator") == "Exists";
    let every_key = exists && text(wide, "key").is_empty();
    if (text(wide, "key") != text(narrow, "key") && !every_key) || !["", text(narrow, "effect")].contains(&text(wide, "effect")) {
        return false;
    }
    let seconds = |toleration: &Value| toleration.get("tolerationSeconds").and_then(Value::as_i64);
    if let ("NoExecute", Some(most)) = (text(wide, "effect"), seconds(wide))
        && seconds(narrow).is_none_or(|wanted| wanted > most)
    {
        return false;
    }
    exists || (text(narrow, "operator") == "Equal" && text(wide, "value") == text(narrow, "value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_merged_tolerations_the_widest_stay() {
        let all = json!({ "operator": "Exists" });
        let key = json!({ "key": "a", "operator": "Exists" });
        let value = json!({ "key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule" });
        let brief = json!({ "key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5 });
        let long = json!({ "key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9 });
        let other = json!({ "key": "c", "operator": "Exists" });
        for (first, second, expected) in [
            (vec![&value], vec![&value], vec![&value]),
            (vec![&value], vec![&key], vec![&key]),
            (vec![&key], vec![&value], vec![&key]),
            (vec![&brief], vec![&long], vec![&long]),
            (vec![&long], vec![&brief], vec![&long]),
            (vec![&value, &brief], vec![&other], vec![&value, &brief, &other]),
            (vec![&value, &brief, &other], vec![&all], vec![&all]),
            (vec![&value], vec![], vec![&value]),
        ] {
            let owned = |list: &[&Value]| list.iter().map(|item| (*item).clone()).collect::<Vec<Value>>();
            assert_eq!(merged(&owned(&first), &owned(&second)), owned(&expected), "{first:?} {second:?}");
        }
    }

    #[test]
    fn only_what_is_missing_is_added() {
        let mut pod = json!({ "spec": {} });
        add_defaults(&mut pod);
        add_defaults(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
        let mut tolerant = json!({ "spec": { "tolerations": [{ "operator": "Exists" }] } });
        add_defaults(&mut tolerant);
        assert_eq!(tolerant["spec"]["tolerations"].as_array().map(Vec::len), Some(1));
    }
}
