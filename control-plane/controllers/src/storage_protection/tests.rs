//! Who uses a claim, and which finalizers follow.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use super::plan::{self, OF_CLAIMS};

fn claim(name: &str, owner: Option<&str>) -> PersistentVolumeClaim {
    let owners = owner.map(|uid| json!([{ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": true }]));
    serde_json::from_value(json!({ "metadata": { "name": name, "ownerReferences": owners } })).unwrap()
}

fn pod(node: &str, volume: Value, meta: Value) -> Pod {
    let mut metadata = json!({ "name": "p", "namespace": "n", "uid": "u" });
    metadata.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
    serde_json::from_value(json!({ "metadata": metadata, "spec": { "nodeName": node, "containers": [], "volumes": [volume] } })).unwrap()
}

#[test]
fn a_pod_with_a_node_uses_what_it_names_and_what_was_made_for_it() {
    let named = json!({ "name": "v", "persistentVolumeClaim": { "claimName": "c" } });
    let made = json!({ "name": "v", "ephemeral": {} });
    let going = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30 });
    let over = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0 });
    for (pod, claim, expected) in [
        (pod("a", named.clone(), json!({})), claim("c", None), true),
        (pod("a", named.clone(), json!({})), claim("d", None), false),
        (pod("", named.clone(), json!({})), claim("c", None), false),
        (pod("a", named.clone(), over.clone()), claim("c", None), true),
        (pod("a", made.clone(), json!({})), claim("p-v", Some("u")), true),
        // Another's that happens to have the name.
        (pod("a", made.clone(), json!({})), claim("p-v", Some("other")), false),
        (pod("a", made.clone(), going), claim("p-v", Some("u")), true),
        (pod("a", made.clone(), over), claim("p-v", Some("u")), false),
        (pod("a", json!({ "name": "v", "emptyDir": {} }), json!({})), claim("p-v", None), false),
    ] {
        assert_eq!(plan::uses(&pod, &claim), expected, "{pod:?} {claim:?}");
    }
    let keys = |volume: Value| plan::claims_of(&pod("a", volume, json!({}))).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((keys(named), keys(made)), (vec!["n/c".to_owned()], vec!["n/p-v".to_owned()]));
}

#[test]
fn what_stays_is_held_and_what_goes_is_let_go_when_it_is_unused() {
    let meta = |finalizers: &[&str], going: bool| {
        let at = going.then_some("2026-01-01T00:00:00Z");
        let claim: PersistentVolumeClaim =
            serde_json::from_value(json!({ "metadata": { "finalizers": finalizers, "deletionTimestamp": at } })).unwrap();
        claim.metadata
    };
    for (meta, used, expected) in [
        (meta(&[OF_CLAIMS], false), false, None),
        (meta(&["a.b/c"], false), false, Some(vec!["a.b/c", OF_CLAIMS])),
        (meta(&[OF_CLAIMS, "a.b/c"], true), true, None),
        (meta(&[OF_CLAIMS, "a.b/c"], true), false, Some(vec!["a.b/c"])),
        (meta(&["a.b/c"], true), false, None),
    ] {
        let expected = expected.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(plan::finalizers(&meta, OF_CLAIMS, used), expected, "{meta:?}");
    }
    let volume = |phase: &str| -> PersistentVolume { serde_json::from_value(json!({ "status": { "phase": phase } })).unwrap() };
    assert!(plan::is_bound(&volume("Bound")) && !plan::is_bound(&volume("Released")));
}
