//! Kubernetes' own cases of the Node authorizer, and what a graph forgets.

use super::references::{of_pod, of_volume};
use super::*;
use serde_json::{Value, json};

/// Two nodes with two pods each in turn in two namespaces, named as in Kubernetes' test.
fn graph() -> Graph {
    let mut graph = Graph::default();
    for node in ["node0", "node1"] {
        for (index, namespace) in [(0, "ns0"), (1, "ns1")] {
            let name = format!("pod{index}-{node}");
            let pod = json!({
                "metadata": { "name": name, "namespace": namespace },
                "spec": {
                    "nodeName": node,
                    "serviceAccountName": format!("svcacct{index}-{node}"),
                    "imagePullSecrets": [{ "name": "secret0-shared" }],
                    "containers": [{
                        "env": [{ "name": "E", "valueFrom": { "secretKeyRef": { "name": format!("secret0-{name}"), "key": "k" } } }],
                        "envFrom": [{ "configMapRef": { "name": format!("configmap0-{name}") } }],
                    }],
                    "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": format!("pvc0-{name}") } }],
                },
            });
            graph.set_pod(&format!("{namespace}/{name}"), of_pod(&pod));
            let volume = json!({ "spec": {
                "claimRef": { "namespace": namespace, "name": format!("pvc0-{name}") },
                "rbd": { "secretRef": { "name": format!("secret-pv0-{name}") } },
            } });
            graph.set_volume(&format!("pv0-{name}"), of_volume(&volume));
        }
        graph.set_attachment(&format!("attachment0-{node}"), Some(node));
    }
    graph
}

fn node(name: &str) -> Identity {
    Identity::authenticated(format!("system:node:{name}"), [GROUP_NODES.to_owned()])
}

/// Verb, then `group/resource/subresource`, then `namespace/name`, either of which may be empty; and a field selector.
fn ask(graph: &Graph, verb: &str, kind: &str, object: &str, selector: Option<(&str, &str)>) -> Result<(), NoOpinion> {
    let mut parts = kind.split('/');
    let mut part = || parts.next().unwrap_or_default();
    let (group, resource, subresource) = (part(), part(), part());
    let (namespace, name) = object.split_once('/').unwrap_or(("", object));
    let target = Target::Resource { group, resource, subresource, namespace, name };
    let selected = |field: &str| selector.filter(|(own, _)| *own == field).map(|(_, value)| value.to_owned());
    authorize("node0", &node("node0"), &Attributes { verb, target }, selected, graph)
}

#[test]
fn objects_are_read_by_the_node_whose_pods_refer_to_them() {
    let graph = graph();
    for (verb, kind, object, allowed) in [
        ("get", "/configmaps", "ns0/configmap0-pod0-node0", true),
        ("get", "/secrets", "ns0/secret0-pod0-node0", true),
        ("list", "/secrets", "ns0/secret0-pod0-node0", true),
        ("watch", "/secrets", "ns0/secret0-pod0-node0", true),
        ("list", "/secrets", "ns0/", false),
        ("watch", "/secrets", "ns0/", false),
        ("list", "/secrets", "/", false),
        ("list", "/secrets", "/secret0-pod0-node0", false),
        ("get", "/secrets", "ns1/secret0-pod0-node0", false),
        ("get", "/secrets", "ns0/secret0-shared", true),
        ("get", "/secrets", "ns0/secret-pv0-pod0-node0", true),
        ("get", "/persistentvolumeclaims", "ns0/pvc0-pod0-node0", true),
        ("get", "/persistentvolumes", "pv0-pod0-node0", true),
        ("get", "/configmaps", "ns0/configmap0-pod0-node1", false),
        ("get", "/secrets", "ns0/secret0-pod0-node1", false),
        ("get", "/secrets", "ns0/secret-pv0-pod0-node1", false),
        ("get", "/persistentvolumeclaims", "ns0/pvc0-pod0-node1", false),
        ("get", "/persistentvolumes", "pv0-pod0-node1", false),
        ("list", "/persistentvolumeclaims", "ns0/pvc0-pod0-node0", false),
        ("list", "/persistentvolumes", "pv0-pod0-node0", false),
        ("update", "/persistentvolumeclaims/status", "ns0/pvc0-pod0-node0", true),
        ("get", "/persistentvolumeclaims/status", "ns0/pvc0-pod0-node0", false),
        ("patch", "/persistentvolumeclaims/status", "ns0/pvc0-pod0-node1", false),
        ("update", "/persistentvolumeclaims", "ns0/pvc0-pod0-node0", false),
        ("get", "storage.k8s.io/volumeattachments", "attachment0-node0", true),
        ("get", "storage.k8s.io/volumeattachments", "attachment0-node1", false),
        ("create", "/serviceaccounts/token", "ns0/svcacct0-node0", true),
        ("create", "/serviceaccounts/token", "ns0/svcacct0-node1", false),
        ("create", "/serviceaccounts", "ns0/svcacct0-node0", false),
        ("create", "/serviceaccounts/token", "ns0/", false),
        ("update", "/serviceaccounts/token", "ns0/svcacct0-node0", false),
        ("get", "/serviceaccounts", "ns0/svcacct0-node0", false),
        ("delete", "/secrets", "ns0/secret0-pod0-node0", false),
        ("deletecollection", "/secrets", "ns0/", false),
    ] {
        assert_eq!(ask(&graph, verb, kind, object, None).is_ok(), allowed, "{verb} {kind} {object}");
    }
}

#[test]
fn a_node_has_its_own_lease_csi_node_and_node() {
    let graph = graph();
    for verb in ["get", "create", "update", "patch", "delete"] {
        let makes = verb == "create";
        for (kind, own, other) in [
            ("coordination.k8s.io/leases", "kube-node-lease/node0", "kube-node-lease/node1"),
            ("storage.k8s.io/csinodes", "node0", "node1"),
        ] {
            assert_eq!(ask(&graph, verb, kind, own, None), Ok(()), "{verb} {own}");
            // Whose it is, is known when it is made, but not here.
            assert_eq!(ask(&graph, verb, kind, other, None).is_ok(), makes, "{verb} {other}");
        }
        assert!(ask(&graph, verb, "coordination.k8s.io/leases", "foo/node0", None).is_err(), "{verb}");
        assert!(ask(&graph, verb, "storage.k8s.io/csinodes/csiDrivers", "node0", None).is_err(), "{verb}");
    }
    for (verb, kind, object, allowed) in [
        ("list", "coordination.k8s.io/leases", "kube-node-lease/", false),
        ("watch", "coordination.k8s.io/leases", "kube-node-lease/", false),
        ("list", "storage.k8s.io/csinodes", "", false),
        ("get", "/nodes", "node0", true),
        ("list", "/nodes", "node0", true),
        ("watch", "/nodes", "node0", true),
        ("get", "/nodes", "node1", false),
        ("list", "/nodes", "", false),
        ("watch", "/nodes", "node1", false),
        ("create", "/nodes", "", true),
        ("update", "/nodes", "node1", true),
        ("patch", "/nodes/status", "node1", true),
        ("get", "/nodes/status", "node0", false),
        ("delete", "/nodes", "node0", false),
        ("create", "/nodes/proxy", "node0", false),
    ] {
        assert_eq!(ask(&graph, verb, kind, object, None).is_ok(), allowed, "{verb} {kind} {object}");
    }
}

#[test]
fn pods_are_read_by_their_node_and_written_as_the_admission_checks() {
    let graph = graph();
    let (own, other) = (Some(("spec.nodeName", "node0")), Some(("spec.nodeName", "node1")));
    for (verb, kind, object, selector, allowed) in [
        ("get", "/pods", "ns0/pod0-node0", None, true),
        ("get", "/pods", "ns0/pod0-node1", None, false),
        ("list", "/pods", "", own, true),
        ("watch", "/pods", "", own, true),
        ("list", "/pods", "", other, false),
        ("list", "/pods", "", Some(("status.phase", "node0")), false),
        ("list", "/pods", "ns0/pod0-node0", None, true),
        ("watch", "/pods", "ns0/pod0-node1", None, false),
        ("list", "/pods", "", None, false),
        ("watch", "/pods", "ns0/", None, false),
        ("create", "/pods", "ns0/", None, true),
        ("create", "/pods/proxy", "ns0/", None, false),
        ("delete", "/pods", "ns0/pod0-node1", None, true),
        ("delete", "/pods/proxy", "ns0/pod0-node0", None, false),
        ("deletecollection", "/pods", "ns0/", own, false),
        ("update", "/pods", "ns0/pod0-node0", None, false),
        ("update", "/pods/status", "ns0/pod0-node1", None, true),
        ("patch", "/pods/status", "ns0/pod0-node0", None, true),
        ("get", "/pods/status", "ns0/pod0-node0", None, false),
        ("get", "/pods/log", "ns0/pod0-node0", None, false),
        ("create", "/pods/exec", "ns0/pod0-node0", None, false),
        ("create", "/pods/eviction", "ns0/pod0-node1", None, true),
    ] {
        assert_eq!(ask(&graph, verb, kind, object, selector).is_ok(), allowed, "{verb} {kind} {object} {selector:?}");
    }
}

#[test]
fn what_belongs_to_no_pod_follows_fixed_rules() {
    let graph = graph();
    for (verb, kind, allowed) in [
        ("watch", "/services", true),
        ("create", "/events", true),
        ("list", "/events", false),
        ("get", "/endpoints", true),
        ("watch", "node.k8s.io/runtimeclasses", true),
        ("create", "authentication.k8s.io/tokenreviews", true),
        ("create", "authorization.k8s.io/subjectaccessreviews", true),
        ("create", "certificates.k8s.io/certificatesigningrequests", true),
        ("list", "/namespaces", false),
        ("get", "apps/deployments", false),
        ("create", "rbac.authorization.k8s.io/clusterroles", false),
    ] {
        assert_eq!(ask(&graph, verb, kind, "ns0/x", None).is_ok(), allowed, "{verb} {kind}");
    }
    let path = Attributes { verb: "get", target: Target::Path("/metrics") };
    assert_eq!(authorize("node0", &node("node0"), &path, |_| None, &graph), Err(NoOpinion::default()));
    assert_eq!(RULES.len(), bootstrap::node_rules().len(), "every rule is read");
}

#[test]
fn a_refusal_says_why() {
    let graph = graph();
    let reason = |verb, kind, object| ask(&graph, verb, kind, object, None).unwrap_err();
    let unrelated = reason("get", "/secrets", "ns0/secret0-pod0-node1");
    assert_eq!(unrelated.reason, "no relationship found between node 'node0' and this object");
    assert!(unrelated.unrelated);
    for (verb, kind, object, expected) in [
        ("list", "/secrets", "ns0/", "No Object name found"),
        ("list", "/secrets", "/x", "can only read namespaced object of this type"),
        ("update", "/configmaps", "ns0/x", "can only read resources of this type"),
        ("list", "/persistentvolumes", "", "can only get individual resources of this type"),
        ("list", "/pods", "", "can only list/watch pods with spec.nodeName field selector"),
        ("list", "/nodes", "", "node 'node0' cannot read all nodes, only its own Node object"),
        ("get", "coordination.k8s.io/leases", "a/node0", "can only access leases in the \"kube-node-lease\" system namespace"),
    ] {
        let none = reason(verb, kind, object);
        assert_eq!((&*none.reason, none.unrelated), (expected, false), "{verb} {kind}");
    }
    let what = Attributes { verb: "list", target: Target::Path("/") };
    let unknown = authorize("", &node(""), &what, |_| None, &graph).unwrap_err();
    assert_eq!(unknown.reason, "unknown node for user \"system:node:\"");
}

#[test]
fn only_members_of_the_group_with_such_a_name_are_nodes() {
    assert_eq!(node_of(&node("n")), Some("n"));
    assert_eq!(node_of(&Identity::authenticated("system:node:n", [])), None);
    assert_eq!(node_of(&Identity::authenticated("ann", [GROUP_NODES.to_owned()])), None);
}

fn reads(graph: &Graph, secret: &str) -> bool {
    ask(graph, "get", "/secrets", secret, None).is_ok()
}

fn bound(node: &str, part: Value) -> Option<Bound> {
    let mut pod = json!({ "metadata": { "name": "p", "namespace": "a" }, "spec": part });
    pod["spec"]["nodeName"] = node.into();
    of_pod(&pod)
}

#[test]
fn an_object_is_open_while_one_pod_refers_to_it() {
    let mut graph = Graph::default();
    let part = || json!({ "volumes": [{ "secret": { "secretName": "s" } }] });
    assert_eq!(bound("", part()), None, "not bound yet");
    graph.set_pod("a/p", bound("node0", part()));
    graph.set_pod("a/q", bound("node0", part()));
    graph.set_pod("a/p", bound("node0", part()));
    graph.set_pod("a/p", None);
    assert!(reads(&graph, "a/s"), "the other pod is there");
    graph.set_pod("a/q", bound("node1", part()));
    assert!(!reads(&graph, "a/s"), "another of its name is elsewhere");
    graph.set_pod("a/q", bound("node0", json!({ "containers": [] })));
    assert!(!reads(&graph, "a/s"), "and one that does not refer to it");
    graph.set_pod("a/q", None);
    assert!(graph.is_empty(), "{graph:?}");
}

#[test]
fn a_volume_leads_from_its_claim_to_its_secrets_in_any_order() {
    let mut graph = Graph::default();
    let claim = bound("node0", json!({ "volumes": [{ "persistentVolumeClaim": { "claimName": "c" } }] }));
    let csi = |claim: &str| {
        let secret = |name: &str| json!({ "name": name, "namespace": "storage" });
        of_volume(&json!({ "spec": { "claimRef": { "namespace": "a", "name": claim }, "csi": {
            "nodePublishSecretRef": secret("publish"), "nodeStageSecretRef": secret("stage"), "nodeExpandSecretRef": secret("expand"),
            "controllerPublishSecretRef": secret("controller"), "controllerExpandSecretRef": secret("controller") } } }))
    };
    graph.set_volume("v", csi("c"));
    graph.set_volume("w", csi("other"));
    assert!(!reads(&graph, "storage/stage"));
    graph.set_pod("a/p", claim);
    for (secret, allowed) in [("publish", true), ("stage", true), ("expand", true), ("controller", false)] {
        assert_eq!(reads(&graph, &format!("storage/{secret}")), allowed, "{secret}");
    }
    let volume = |graph: &Graph, name: &str| ask(graph, "get", "/persistentvolumes", name, None).is_ok();
    assert!(volume(&graph, "v") && !volume(&graph, "w"));
    graph.set_volume("v", csi("other"));
    assert!(!reads(&graph, "storage/stage") && !volume(&graph, "v"));
    graph.set_volume("v", None);
    graph.set_volume("w", None);
    graph.set_pod("a/p", None);
    assert!(graph.is_empty(), "{graph:?}");
}

#[test]
fn every_way_to_refer_to_a_secret_or_config_map_is_known() {
    let container = |list: &str, part: Value| json!({ list: [part] });
    let volume = |part: Value| json!({ "volumes": [part] });
    for (part, secret) in [
        (json!({ "imagePullSecrets": [{ "name": "x" }] }), true),
        (container("initContainers", json!({ "envFrom": [{ "secretRef": { "name": "x" } }] })), true),
        (container("ephemeralContainers", json!({ "env": [{ "valueFrom": { "secretKeyRef": { "name": "x" } } }] })), true),
        (container("containers", json!({ "env": [{ "valueFrom": { "configMapKeyRef": { "name": "x" } } }] })), false),
        (volume(json!({ "secret": { "secretName": "x" } })), true),
        (volume(json!({ "projected": { "sources": [{ "secret": { "name": "x" } }] } })), true),
        (volume(json!({ "projected": { "sources": [{ "configMap": { "name": "x" } }] } })), false),
        (volume(json!({ "configMap": { "name": "x" } })), false),
        (volume(json!({ "csi": { "nodePublishSecretRef": { "name": "x" } } })), true),
        (volume(json!({ "azureFile": { "secretName": "x" } })), true),
        (volume(json!({ "cephfs": { "secretRef": { "name": "x" } } })), true),
        (volume(json!({ "iscsi": { "secretRef": { "name": "x" } } })), true),
    ] {
        let mut graph = Graph::default();
        graph.set_pod("a/p", bound("node0", part.clone()));
        assert_eq!(reads(&graph, "a/x"), secret, "{part}");
        assert_eq!(ask(&graph, "get", "/configmaps", "a/x", None).is_ok(), !secret, "{part}");
    }
    let mut graph = Graph::default();
    graph.set_pod("a/p", bound("node0", volume(json!({ "name": "v", "ephemeral": { "volumeClaimTemplate": {} } }))));
    assert_eq!(ask(&graph, "get", "/persistentvolumeclaims", "a/p-v", None), Ok(()));
}

#[test]
fn a_mirror_pod_opens_nothing() {
    let mirror = json!({ "metadata": { "name": "p", "namespace": "a", "annotations": { "kubernetes.io/config.mirror": "x" } },
        "spec": { "nodeName": "node0", "serviceAccountName": "s", "volumes": [{ "secret": { "secretName": "x" } }] } });
    let mut graph = Graph::default();
    graph.set_pod("a/p", of_pod(&mirror));
    assert!(!reads(&graph, "a/x"));
    assert_eq!(ask(&graph, "get", "/pods", "a/p", None), Ok(()));
    graph.set_pod("a/p", None);
    assert!(graph.is_empty());
}
