//! What is told of pods that a namespace's new labels would not let in.

use super::checks::{reasons, violations};
use super::policy::Standard;
use super::subject::Subject;
use crate::cache::CachedObject;
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many are looked at (as in Kubernetes).
const MOST: usize = 3000;

/// Nothing, or one line for all and one for each set of reasons with the first pod by name that has them.
pub fn warnings(namespace: &str, enforce: Standard, pods: &[Arc<CachedObject>]) -> Vec<String> {
    let looked_at = &pods[..pods.len().min(MOST)];
    // First pod by name, and how many there are: the cache is ordered by name.
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in looked_at {
        let violations = violations(enforce, &Subject::read(&pod.value()));
        if !violations.is_empty() {
            found.entry(reasons(&violations)).or_insert_with(|| (pod.place().1.to_owned(), 0)).1 += 1;
        }
    }
    let mut warnings = Vec::new();
    if looked_at.len() < pods.len() {
        let (some, all) = (looked_at.len(), pods.len());
        warnings.push(format!("new PodSecurity enforce level only checked against the first {some} of {all} existing pods"));
    }
    if !found.is_empty() {
        warnings.push(format!("existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{enforce}\""));
    }
    let mut lines: Vec<String> = found.into_iter().map(|(reasons, (name, count))| told(&name, count - 1, &reasons)).collect();
    lines.sort();
    warnings.extend(lines);
    warnings
}

fn told(name: &str, others: usize, reasons: &str) -> String {
    match others {
        0 => format!("{name}: {reasons}"),
        1 => format!("{name} (and 1 other pod): {reasons}"),
        others => format!("{name} (and {others} other pods): {reasons}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::pod_security::policy::Policy;
    use serde_json::json;

    #[test]
    fn pods_are_told_of_by_what_is_wrong_with_them() {
        let pod = |name: &str, host: bool, privileged: bool| {
            let pod = json!({ "metadata": { "name": name, "namespace": "n" }, "spec": { "hostNetwork": host,
                "containers": [{ "name": "c", "securityContext": { "privileged": privileged } }] } });
            Arc::new(CachedObject::new(&[], pod, 1))
        };
        let labels = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "baseline" } } });
        let enforce = Policy::of(&labels).0.enforce;
        let pods = [pod("a", false, true), pod("b", true, true), pod("c", false, true), pod("d", false, false), pod("e", false, true)];
        assert_eq!(
            warnings("n", enforce, &pods),
            [
                "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"",
                "a (and 2 other pods): privileged",
                "b: host namespaces, privileged",
            ]
        );
        assert_eq!(warnings("n", enforce, &pods[3..4]), Vec::<String>::new());
        let many: Vec<_> = (0..=MOST).map(|_| pod("x", false, false)).collect();
        assert_eq!(
            warnings("n", enforce, &many),
            ["new PodSecurity enforce level only checked against the first 3000 of 3001 existing pods"]
        );
        assert_eq!(told("a", 1, "privileged"), "a (and 1 other pod): privileged");
    }
}
