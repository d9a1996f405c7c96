//! What the nodes' agents say is in their kernels: how tests know that a change holds everywhere, without asking the traffic that they test.

use crate::{Kubectl, eventually};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

/// Kinds that an agent tells of as soon as something is new. It tells of others besides.
const AWAITED: [&str; 3] = ["NetworkPolicy", "ClusterNetworkPolicy", "Service"];

/// Waits until every node has in its kernel what objects of the kind were at this version.
pub fn in_force(kubectl: &Kubectl, kind: &str, resource_version: &str) -> Result<()> {
    let wanted: u64 = resource_version.parse().with_context(|| format!("{resource_version:?} is no version"))?;
    let mut looks = 0;
    eventually(&format!("{kind} at {wanted} to be in force"), || {
        // With the next of these everybody tells of the others, too.
        if looks > 0 && !AWAITED.contains(&kind) {
            kubectl.in_namespace("default").run_with(&["apply", "-f", "-"], &says_nothing())?;
        }
        looks += 1;
        let nodes = names(&kubectl.json(&["get", "nodes"])?)?;
        let reports = versions(&kubectl.json(&["get", "nodeprogrammings"])?, kind)?;
        for node in &nodes {
            let has = reports.get(node).copied().unwrap_or(0);
            ensure!(has >= wanted, "{node} has {has}");
        }
        Ok(())
    })
}

/// Applies objects, and waits until those that policies consist of or depend on are in force on every node.
pub fn apply(kubectl: &Kubectl, manifest: &str) -> Result<()> {
    let text = kubectl.run_with(&["apply", "-f", "-", "-o", "json"], &format!("---\n{manifest}"))?;
    let applied: Value = serde_json::from_str(&text).context("kubectl printed no JSON")?;
    let objects = applied["items"].as_array().cloned().unwrap_or_else(|| vec![applied]);
    objects.iter().try_for_each(|object| of_object(kubectl, object))
}

/// Waits until this object, as kubectl printed it, is in force on every node.
pub fn of_object(kubectl: &Kubectl, object: &Value) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    in_force(kubectl, &text(&object["kind"]), &text(&object["metadata"]["resourceVersion"]))
}

/// Gives an object (`KIND/NAME`) labels, or takes them (`KEY-`), and waits until that is in force on every node.
pub fn label(kubectl: &Kubectl, object: &str, labels: &[&str]) -> Result<()> {
    kubectl.run(&[&["label", object, "--overwrite"], labels].concat())?;
    // What `kubectl label` itself prints has the version that was before.
    let labelled = kubectl.json(&["get", object])?;
    // Of pods alone agents report seldom; with policies, at once.
    settle(kubectl)?;
    of_object(kubectl, &labelled)
}

/// Waits until all that has happened to objects of these kinds (policies' own), deletions too, is in force on every node. An object that says
/// nothing is changed last, for each.
pub fn settle(kubectl: &Kubectl) -> Result<()> {
    apply(&kubectl.in_namespace("default"), &says_nothing())
}

/// Another version of policies that are nobody's.
fn says_nothing() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
    let meta = json!({"name": "says-nothing", "namespace": "default", "labels": {"count": count}});
    let nobody = json!({"matchLabels": {"nobody": "nobody"}});
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": {"podSelector": nobody}});
    let cluster_policy = json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "says-nothing", "labels": {"count": count}},
        "spec": {"tier": "Baseline", "priority": 1000, "subject": {"namespaces": nobody}}});
    list(&[policy, cluster_policy])
}

/// Objects as one that kubectl applies.
pub fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

fn names(list: &Value) -> Result<Vec<String>> {
    let items = list["items"].as_array().context("there is no list")?;
    Ok(items.iter().filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

/// By node, the version of the kind.
fn versions(reports: &Value, kind: &str) -> Result<BTreeMap<String, u64>> {
    let items = reports["items"].as_array().context("there is no list")?;
    let of = |report: &Value| {
        let entries = report["status"]["programmed"].as_array()?;
        let entry = entries.iter().find(|entry| entry["kind"] == kind)?;
        Some((report["metadata"]["name"].as_str()?.to_owned(), entry["resourceVersion"].as_str()?.parse().ok()?))
    };
    Ok(items.iter().filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_as_far_as_its_report_says_for_the_kind() {
        let reports = json!({"items": [
            {"metadata": {"name": "node1"}, "status": {"programmed": [{"kind": "Pod", "resourceVersion": "9"}, {"kind": "Service", "resourceVersion": "12"}]}},
            {"metadata": {"name": "node2"}, "status": {}},
        ]});
        assert_eq!(versions(&reports, "Service").unwrap(), BTreeMap::from([("node1".to_owned(), 12)]));
        assert!(versions(&json!({}), "Service").is_err());
    }
}
