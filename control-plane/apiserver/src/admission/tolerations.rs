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

#[cfg(test)]
mod tests {
    use super::*;

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
