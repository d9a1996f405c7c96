//! What policies depend on is watched: what is told while a watch fails.

use crate::harness::{
    Agent, CLUSTER_POLICIES, FakeApi, FakeDataplane, NAMESPACES, NODES, PODS, SERVICES, eventually, in_namespace, node, service,
};
use crate::policies::{UID, attachment, behind, closes, cluster, entry, version, web};
use orknet_abi::{Address, RangeKey};
use orknet_cni::protocol::{Answer, Request};
use serde_json::{Value, json};
use std::sync::Arc;

#[test]
fn root_while_a_watch_fails_that_policies_depend_on_none_that_is_new_is_told_as_programmed() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.serve_cluster_policies();
        api.put(web(UID, "web"));
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Attach(attachment())).await, Answer::Done);
        let reported = |kind: &str| api.reports().pop().and_then(|report| version(&report.1, kind));
        let watched = [(NAMESPACES, "Namespace"), (CLUSTER_POLICIES, "ClusterNetworkPolicy"), (PODS, "Pod"), (NODES, "Node")];
        for (number, (path, kind)) in watched.into_iter().enumerate() {
            let before = reported("NetworkPolicy");
            api.refused(path);
            api.hide(path);
            for _ in 0..2 {
                // What is asked for once more has been told of.
                eventually("watching fails", || api.refused(path).then_some(())).await;
            }
            api.put(closes("a", "web"));
            let closed = api.version_of(&closes("a", "web"));
            eventually("the policy is in the maps", || entry(&dataplane).filter(|pod| pod.ingress != 0)).await;
            api.put(service("web", &format!("10.96.0.{}", number + 1)));
            let served = api.version_of(&service("web", ""));
            eventually("something else is told", || (reported("Service") == Some(served)).then_some(())).await;
            assert_eq!(reported("NetworkPolicy"), before, "{path} is not seen");
            let why = api.reports().pop().and_then(|report| behind(&report.1, "NetworkPolicy"));
            assert_eq!(why, Some(format!("watching kind {kind} fails")));
            api.withhold(None);
            // Pods and nodes are not listed again: something new is seen of the one, and of the other nothing fails any more.
            if path == PODS {
                api.put(web(UID, "web"));
            }
            eventually("all is seen again", || (reported("NetworkPolicy") == Some(closed)).then_some(())).await;
            assert_eq!(api.reports().pop().and_then(|report| behind(&report.1, "NetworkPolicy")), None);
            api.delete(&closes("a", "web"));
            let opened = api.version();
            eventually("the policy is gone", || (reported("NetworkPolicy") == Some(opened)).then_some(())).await;
        }
    });
}

/// A pod of another node.
fn far(namespace: &str, name: &str, label: (&str, &str), address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "uid": format!("of-{name}"), "labels": { label.0: label.1 } },
        "spec": { "nodeName": "there", "containers": [{ "name": "a" }] },
        "status": { "phase": "Running", "podIPs": [{ "ip": address }] },
    })
}

/// Whether rules can tell this address from others.
fn knows(dataplane: &FakeDataplane, address: [u8; 4]) -> bool {
    dataplane.maps.lock().unwrap().peers.contains_key(&RangeKey { prefix_bits: 128, address: Address::from_v4(address) })
}

#[test]
fn root_deletions_of_whatever_policies_depend_on_are_found_by_the_next_list() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.serve_cluster_policies();
        api.put(web(UID, "web"));
        let mut opens = closes("opens", "web");
        opens["spec"]["ingress"] = json!([{ "from": [
            { "podSelector": { "matchLabels": { "role": "far" } } }, { "namespaceSelector": { "matchLabels": { "team": "red" } } },
        ] }]);
        api.put(opens.clone());
        let cluster_policy = json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": { "name": "nodes", "uid": UID },
            "spec": {
                "tier": "Admin", "priority": 1, "subject": { "namespaces": {} },
                "egress": [{ "action": "Deny", "to": [{ "nodes": { "matchLabels": { "role": "db" } } }] }],
            },
        });
        api.put(cluster_policy.clone());
        let pod = far("shop", "far", ("role", "far"), "10.244.2.9");
        let red = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "red", "labels": { "team": "red" } } });
        let mut there = node("there", &["10.244.2.0/24"], &["192.0.2.2"]);
        there["metadata"]["labels"] = json!({ "role": "db" });
        [pod.clone(), red.clone(), far("red", "one", ("a", "b"), "10.244.2.10"), there.clone()]
            .into_iter()
            .for_each(|object| api.put(object));
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Attach(attachment())).await, Answer::Done);
        for (object, address) in [(&pod, [10, 244, 2, 9]), (&red, [10, 244, 2, 10]), (&there, [192, 0, 2, 2])] {
            eventually("who is meant is known", || knows(&dataplane, address).then_some(())).await;
            api.delete_unseen(object);
            eventually("who is gone is not", || (!knows(&dataplane, address)).then_some(())).await;
        }
        // Another of the same name is told by its uid.
        let rules = || dataplane.maps.lock().unwrap().rules.values().map(|rule| rule.policy).collect::<std::collections::BTreeSet<_>>();
        let before = rules();
        assert_eq!(before.len(), 2);
        api.delete_unseen(&opens);
        opens["metadata"]["uid"] = "99999999-0000-0000-0000-000000000000".into();
        api.put(opens.clone());
        eventually("the new one's rules", || (rules().len() == 2 && rules() != before).then_some(())).await;
        assert_ne!(entry(&dataplane).unwrap().egress, 0);
        api.delete_unseen(&cluster_policy);
        eventually("its rules are gone", || entry(&dataplane).filter(|pod| pod.egress == 0 && pod.ingress != 0)).await;
        api.delete_unseen(&opens);
        eventually("the pod has no rules", || entry(&dataplane).filter(|pod| pod.egress | pod.ingress == 0)).await;
    });
}

#[test]
fn root_a_streamed_list_with_an_object_that_cannot_be_read_is_none() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::with_streaming_lists(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        [service("good", "10.96.0.1"), service("odd", "10.96.0.2"), service("gone", "10.96.0.3")].into_iter().for_each(|it| api.put(it));
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let served = || {
            let maps = dataplane.maps.lock().unwrap();
            [1, 2, 3].map(|last| maps.services.keys().any(|key| key.address == Address::from_v4([10, 96, 0, last])))
        };
        assert_eq!(served(), [true; 3]);
        let mut odd = service("odd", "10.96.0.2");
        odd["spec"]["ports"] = "none".into();
        api.put(odd);
        let before = api.streamed(SERVICES);
        api.delete_unseen(&service("gone", "10.96.0.3"));
        // The second begins because the first was no list.
        eventually("all are listed again", || (api.streamed(SERVICES) > before + 1).then_some(())).await;
        assert_eq!(served(), [true; 3], "what could not be read is not gone");
        api.put(service("odd", "10.96.0.2"));
        eventually("what is gone is found", || (served() == [true, true, false]).then_some(())).await;
    });
}
