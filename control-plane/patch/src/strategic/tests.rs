//! Known results of the API server and of kubectl's three-way patches, and laws over arbitrary values.

use super::*;
use crate::schema::tests::sample;
use serde_json::json;

fn pod(target: Value, patch: Value) -> Result<Value, PatchError> {
    apply(sample().root("", "v1", "Pod").unwrap(), &json!({ "spec": target }), &json!({ "spec": patch }))
        .map(|object| object["spec"].clone())
}

#[test]
fn containers_merge_by_name_and_env_by_name() {
    let target = json!({"containers": [{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}, {"name": "b", "image": "b:1"}]});
    let patch = json!({"containers": [{"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "3"}]}]});
    let expected = json!({"containers": [{"name": "a", "image": "a:2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "3"}]}, {"name": "b", "image": "b:1"}]});
    assert_eq!(pod(target, patch), Ok(expected));
}

#[test]
fn long_lists_take_time_by_their_length() {
    // Comparing each item with each would take hours.
    let items = |list: std::ops::Range<u32>| list.map(|at| json!({ "name": at.to_string() })).collect::<Vec<_>>();
    let (half, most, all) = (20_000, 30_000, 40_000);
    let started = std::time::Instant::now();
    let order: Vec<_> = items(0..half).into_iter().rev().chain(items(half..all).into_iter().rev()).collect();
    let gone = (most..all).map(|at| json!({ "name": at.to_string(), "$patch": "delete" }));
    let patch = items(half..most).into_iter().rev().chain(gone).collect::<Vec<_>>();
    let merged = pod(json!({ "containers": items(0..all) }), json!({ "containers": patch, "$setElementOrder/containers": order })).unwrap();
    let expected: Vec<_> = items(0..half).into_iter().rev().chain(items(half..most).into_iter().rev()).collect();
    assert_eq!(merged["containers"], json!(expected));
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn an_item_is_deleted_by_directive_and_a_list_replaced() {
    let target = || json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
    let deleted = pod(target(), json!({"containers": [{"$patch": "delete", "name": "b"}]}));
    assert_eq!(deleted, Ok(json!({"containers": [{"name": "a"}, {"name": "c"}]})));
    let replaced = pod(target(), json!({"containers": [{"name": "d"}, {"$patch": "replace"}]}));
    assert_eq!(replaced, Ok(json!({"containers": [{"name": "d"}]})));
}

#[test]
fn ports_merge_by_container_port_alone() {
    let target = json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81}]}]});
    let patch = json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "http"}]}]});
    let expected =
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}, {"containerPort": 81}]}]});
    assert_eq!(pod(target, patch), Ok(expected));
}

#[test]
fn atomic_lists_are_replaced() {
    let target = json!({"tolerations": [{"key": "a"}, {"key": "b"}]});
    assert_eq!(pod(target, json!({"tolerations": [{"key": "c"}]})), Ok(json!({"tolerations": [{"key": "c"}]})));
}

#[test]
fn null_deletes_and_is_no_value_where_there_is_nothing() {
    assert_eq!(pod(json!({"nodeName": "n", "hostNetwork": true}), json!({"nodeName": null})), Ok(json!({"hostNetwork": true})));
    let patch = json!({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": null}]});
    assert_eq!(pod(json!({}), patch), Ok(json!({"volumes": [{"name": "v", "emptyDir": {}}]})));
}

#[test]
fn maps_are_replaced_or_emptied_by_directive() {
    let labels = |patch: Value| {
        let target = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
        let patch = json!({"metadata": {"labels": patch}});
        apply(sample().root("", "v1", "Pod").unwrap(), &target, &patch).map(|object| object["metadata"]["labels"].clone())
    };
    assert_eq!(labels(json!({"c": "3"})), Ok(json!({"a": "1", "b": "2", "c": "3"})));
    assert_eq!(labels(json!({"$patch": "replace", "c": "3"})), Ok(json!({"c": "3"})));
    assert_eq!(labels(json!({"$patch": "delete"})), Ok(json!({})));
    let error = labels(json!({"$patch": "fly"})).unwrap_err();
    assert_eq!(error.to_string(), "metadata.labels: unknown patch type [fly]");
}

#[test]
fn retain_keys_drops_the_other_source_of_a_volume() {
    let target = json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "hostPath": {"path": "/"}}]});
    let patch = json!({"volumes": [{"name": "v", "configMap": {"name": "c"}, "$retainKeys": ["name", "configMap"]}]});
    let expected = json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}, {"name": "w", "hostPath": {"path": "/"}}]});
    assert_eq!(pod(target, patch), Ok(expected));
}

#[test]
fn a_patch_that_sets_what_it_does_not_retain_is_refused() {
    let patch = json!({"volumes": [{"name": "v", "configMap": {"name": "c"}, "$retainKeys": ["name"]}]});
    let error = pod(json!({"volumes": [{"name": "v", "emptyDir": {}}]}), patch).unwrap_err();
    assert!(matches!(&error, PatchError::Malformed(text) if text.contains("spec.volumes[name=\"v\"]")), "{error}");
}

#[test]
fn changing_a_deployment_strategy_as_kubectl_does_drops_the_rolling_update() {
    let target = json!({"spec": {"replicas": 2, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": null, "type": "Recreate"}}});
    let result = apply(sample().root("apps", "v1", "Deployment").unwrap(), &target, &patch);
    assert_eq!(result, Ok(json!({"spec": {"replicas": 2, "strategy": {"type": "Recreate"}}})));
}

#[test]
fn element_order_sorts_and_keeps_items_of_others_in_place() {
    let target = json!({"containers": [{"name": "sidecar"}, {"name": "a", "image": "1"}, {"name": "b", "image": "1"}]});
    let patch = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "image": "2"}]});
    let expected = json!({"containers": [{"name": "sidecar"}, {"name": "b", "image": "1"}, {"name": "a", "image": "2"}]});
    assert_eq!(pod(target.clone(), patch), Ok(expected));
    let only_order = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]});
    let expected = json!({"containers": [{"name": "sidecar"}, {"name": "b", "image": "1"}, {"name": "a", "image": "1"}]});
    assert_eq!(pod(target, only_order), Ok(expected));
}

#[test]
fn a_patch_out_of_its_own_order_is_refused() {
    let patch = json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b"}, {"name": "a"}]});
    assert!(matches!(pod(json!({"containers": [{"name": "a"}]}), patch), Err(PatchError::Malformed(_))));
}

#[test]
fn lists_of_scalars_merge_and_lose_values() {
    let meta = |patch: Value| {
        let target = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
        apply(sample().root("", "v1", "Pod").unwrap(), &target, &json!({ "metadata": patch }))
            .map(|object| object["metadata"]["finalizers"].clone())
    };
    assert_eq!(meta(json!({"finalizers": ["d", "b"]})), Ok(json!(["d", "a", "b", "c"])));
    assert_eq!(meta(json!({"$deleteFromPrimitiveList/finalizers": ["b"]})), Ok(json!(["a", "c"])));
    let both = json!({"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["d", "a"], "finalizers": ["d"]});
    assert_eq!(meta(both), Ok(json!(["d", "a", "c"])));
}

#[test]
fn directives_do_not_survive_in_new_items() {
    let patch = json!({"$setElementOrder/containers": [{"name": "a"}],
        "containers": [{"name": "a", "$setElementOrder/env": [{"name": "X"}], "env": [{"name": "X", "value": "1"}, {"name": "Y", "$patch": "delete"}]}]});
    assert_eq!(pod(json!({}), patch), Ok(json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]})));
}

#[test]
fn an_item_without_its_key_is_refused_with_its_path() {
    let error = pod(json!({"containers": [{"name": "a"}]}), json!({"containers": [{"image": "x"}]})).unwrap_err();
    assert_eq!(error.to_string(), "spec.containers: map: {\"image\":\"x\"} does not contain declared merge key: name");
}

#[test]
fn a_patch_that_is_no_object_is_malformed() {
    for patch in [json!([]), json!(null), json!("x")] {
        assert!(matches!(apply(sample().root("", "v1", "Pod").unwrap(), &json!({}), &patch), Err(PatchError::Malformed(_))));
    }
}

/// What kubectl 1.32 sends for a change of a deployment's manifest, and what becomes of the live object, a sidecar and defaults in it included.
#[test]
fn a_three_way_patch_of_kubectl_apply_gives_the_new_manifest_and_keeps_what_others_added() {
    let live = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 2,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
        "template": {"spec": {
            "containers": [{"name": "mesh", "image": "mesh:1"},
                {"name": "one", "image": "one:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "ports": [{"containerPort": 80, "protocol": "TCP"}], "terminationMessagePath": "/dev/termination-log"},
                {"name": "two", "image": "two:1"}],
            "volumes": [{"name": "v", "emptyDir": {}}]}}}});
    let patch = json!({"metadata": {"labels": {"a": null, "b": "2"}}, "spec": {"replicas": 3,
        "strategy": {"$retainKeys": ["type"], "rollingUpdate": null, "type": "Recreate"},
        "template": {"spec": {
            "$setElementOrder/containers": [{"name": "three"}, {"name": "one"}],
            "$setElementOrder/volumes": [{"name": "v"}],
            "containers": [{"image": "three:1", "name": "three"},
                {"$setElementOrder/env": [{"name": "C"}, {"name": "A"}], "$setElementOrder/ports": [{"containerPort": 80}, {"containerPort": 81}],
                    "env": [{"name": "C", "value": "3"}, {"$patch": "delete", "name": "B"}], "image": "one:2", "name": "one",
                    "ports": [{"containerPort": 81}]},
                {"$patch": "delete", "name": "two"}],
            "tolerations": [{"key": "k", "operator": "Exists"}],
            "volumes": [{"$retainKeys": ["configMap", "name"], "configMap": {"name": "c"}, "emptyDir": null, "name": "v"}]}}}});
    let expected = json!({"metadata": {"labels": {"b": "2"}}, "spec": {"replicas": 3, "strategy": {"type": "Recreate"},
        "template": {"spec": {
            "containers": [{"name": "three", "image": "three:1"}, {"name": "mesh", "image": "mesh:1"},
                {"name": "one", "image": "one:2", "env": [{"name": "C", "value": "3"}, {"name": "A", "value": "1"}],
                    "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81}], "terminationMessagePath": "/dev/termination-log"}],
            "tolerations": [{"key": "k", "operator": "Exists"}],
            "volumes": [{"name": "v", "configMap": {"name": "c"}}]}}}});
    assert_eq!(apply(sample().root("apps", "v1", "Deployment").unwrap(), &live, &patch), Ok(expected));
}
