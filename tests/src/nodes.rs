//! What nodes say of themselves, for a failing test's output: a node that takes no pods makes every test wait, and only it knows why.

use crate::Kubectl;
use serde_json::Value;

/// Each node's conditions, taints and whether it takes pods at all, and the newest events about nodes; or why nobody can tell.
pub fn state(kubectl: &Kubectl) -> String {
    let nodes = match kubectl.json(&["get", "nodes"]) {
        Ok(list) => describe(&list),
        Err(error) => format!("cannot ask for the nodes: {error:#}\n"),
    };
    let about_nodes = ["get", "events", "--namespace=default", "--field-selector=involvedObject.kind=Node", "--sort-by=.lastTimestamp"];
    let events = kubectl.run(&about_nodes).unwrap_or_default();
    let lines: Vec<&str> = events.lines().collect();
    format!("{nodes}{}\n", lines[lines.len().saturating_sub(20)..].join("\n"))
}

/// A line for each node, condition and taint of a list of nodes.
fn describe(list: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let mut said = String::new();
    for node in list["items"].as_array().into_iter().flatten() {
        let closed = if node["spec"]["unschedulable"] == true { ", cordoned" } else { "" };
        said.push_str(&format!("node {}{closed}\n", text(&node["metadata"]["name"])));
        for condition in node["status"]["conditions"].as_array().into_iter().flatten() {
            let [kind, status, reason, message] = ["type", "status", "reason", "message"].map(|field| text(&condition[field]));
            said.push_str(&format!("  {kind} {status}: {reason}: {message}\n"));
        }
        for taint in node["spec"]["taints"].as_array().into_iter().flatten() {
            let value = taint["value"].as_str().map(|value| format!("={value}")).unwrap_or_default();
            said.push_str(&format!("  taint {}{value}:{}\n", text(&taint["key"]), text(&taint["effect"])));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_tells_its_conditions_and_what_keeps_pods_away() {
        let list = json!({"items": [
            {
                "metadata": {"name": "node1"},
                "spec": {"unschedulable": true, "taints": [{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}, {"key": "a", "value": "b", "effect": "NoExecute"}]},
                "status": {"conditions": [{"type": "DiskPressure", "status": "True", "reason": "KubeletHasDiskPressure", "message": "4 % is free"}]},
            },
            {"metadata": {"name": "node2"}},
        ]});
        let expected = "node node1, cordoned\n  DiskPressure True: KubeletHasDiskPressure: 4 % is free\n  taint node.kubernetes.io/disk-pressure:NoSchedule\n  taint a=b:NoExecute\nnode node2\n";
        assert_eq!(describe(&list), expected);
    }
}
