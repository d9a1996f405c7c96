//! A new node takes no pods until its conditions have been seen (TaintNodesByCondition). Who watches nodes takes the taint away. Pure.

use crate::object;
use serde_json::{Value, json};

const KEY: &str = "node.kubernetes.io/not-ready";
const EFFECT: &str = "NoSchedule";

/// Adds the taint, if the node does not have it.
pub fn taint(node: &mut Value) {
    let spec = object::map_at(node, "spec");
    let taints = spec.entry("taints").or_insert_with(|| json!([]));
    if !taints.is_array() {
        *taints = json!([]);
    }
    if let Value::Array(taints) = taints
        && !taints.iter().any(|taint| taint["key"] == KEY && taint["effect"] == EFFECT)
    {
        taints.push(json!({ "key": KEY, "effect": EFFECT }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_taint_is_there_once_beside_others() {
        let own = json!({ "key": KEY, "effect": EFFECT });
        let strong = json!({ "key": KEY, "effect": "NoExecute" });
        for (spec, expected) in [
            (json!({}), json!([own])),
            (json!({ "taints": null }), json!([own])),
            (json!({ "taints": [strong] }), json!([strong, own])),
            (json!({ "taints": [own, strong] }), json!([own, strong])),
        ] {
            let mut node = json!({ "spec": spec });
            taint(&mut node);
            assert_eq!(node["spec"]["taints"], expected, "{spec}");
        }
    }
}
