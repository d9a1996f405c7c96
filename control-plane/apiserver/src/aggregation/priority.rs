//! In which order groups and versions stand in discovery: what their APIServices say, and what the server's own APIServices say. Pure.

use crate::kinds::{group_version, version_order};
use std::cmp::Reverse;

/// `groupPriorityMinimum` and `versionPriority` of an APIService.
pub type Priority = (i32, i32);

/// Of what CustomResourceDefinitions define.
pub const CUSTOM: Priority = (1000, 100);

/// Of Kubernetes' own groups, as kube-apiserver 1.33 registers them.
const OWN: &[(&str, i32)] = &[
    ("v1", 18_000),
    ("apps/v1", 17_800),
    ("events.k8s.io/v1", 17_750),
    ("authentication.k8s.io/v1", 17_700),
    ("authorization.k8s.io/v1", 17_600),
    ("autoscaling/v2", 17_500),
    ("autoscaling/v1", 17_500),
    ("batch/v1", 17_400),
    ("certificates.k8s.io/v1", 17_300),
    ("networking.k8s.io/v1", 17_200),
    ("policy/v1", 17_100),
    ("rbac.authorization.k8s.io/v1", 17_000),
    ("storage.k8s.io/v1", 16_800),
    ("apiextensions.k8s.io/v1", 16_700),
    ("admissionregistration.k8s.io/v1", 16_700),
    ("scheduling.k8s.io/v1", 16_600),
    ("coordination.k8s.io/v1", 16_500),
    ("node.k8s.io/v1", 16_300),
    ("discovery.k8s.io/v1", 16_200),
    ("flowcontrol.apiserver.k8s.io/v1", 16_100),
    // Which is registered by nobody, and stands first.
    ("apiregistration.k8s.io/v1", 20_000),
    // As its usual server registers it.
    ("metrics.k8s.io/v1beta1", 100),
];

/// The priority of a group version that this server has of itself.
pub fn own(group: &str, version: &str) -> Priority {
    let name = group_version(group, version);
    let group = OWN.iter().find(|(known, _)| *known == name).map_or(CUSTOM.0, |(_, priority)| *priority);
    match &name[..] {
        "v1" => (group, 1),
        "autoscaling/v2" => (group, 30),
        "flowcontrol.apiserver.k8s.io/v1" => (group, 21),
        "metrics.k8s.io/v1beta1" => (group, 100),
        _ => (group, 15),
    }
}

/// Puts the versions of groups in the order of discovery: groups by their greatest priority, then by name; versions by theirs, then as Kubernetes orders
/// versions.
pub fn sort<T>(groups: &mut [(String, Vec<(String, T)>)], of: impl Fn(&str, &str) -> Priority) {
    for (group, versions) in groups.iter_mut() {
        versions.sort_by_cached_key(|(version, _)| (Reverse(of(group, version).1), version_order(version)));
    }
    groups.sort_by_cached_key(|(group, versions)| {
        let greatest = versions.iter().map(|(version, _)| of(group, version).0).max().unwrap_or_default();
        (Reverse(greatest), group.clone())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_versions_stand_as_their_priorities_say() {
        let version = |name: &str| (name.to_owned(), ());
        let mut groups = vec![
            ("b.example".to_owned(), vec![version("v1beta1"), version("v1"), version("v2")]),
            ("a.example".to_owned(), vec![version("v1")]),
            ("batch".to_owned(), vec![version("v1")]),
            ("apps".to_owned(), vec![version("v1")]),
        ];
        sort(&mut groups, |group, version| match (group, version) {
            ("b.example", "v1beta1") => (1000, 200),
            ("apps" | "batch", _) => own(group, version),
            _ => CUSTOM,
        });
        let names: Vec<&str> = groups.iter().map(|(group, _)| &group[..]).collect();
        assert_eq!(names, ["apps", "batch", "a.example", "b.example"]);
        let versions: Vec<&str> = groups[3].1.iter().map(|(version, ())| &version[..]).collect();
        assert_eq!(versions, ["v1beta1", "v2", "v1"]);
    }
}
