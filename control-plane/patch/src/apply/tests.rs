//! Known behaviour of kube-apiserver, request by request.

use super::*;
use crate::schema::tests::sample;

const POD: Gvk<'_> = Gvk { group: "", version: "v1", kind: "Pod" };
const DEPLOYMENT: Gvk<'_> = Gvk { group: "apps", version: "v1", kind: "Deployment" };

fn manager(name: &str) -> Manager<'_> {
    Manager { name, subresource: "", time: "2026-01-01T00:00:00Z", ignored: &["status"] }
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec})
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
}

fn go(gvk: Gvk<'_>, live: Option<&Value>, config: &Value, name: &str) -> Result<Value, ApplyError> {
    apply(sample(), gvk, live, config, &manager(name), false)
}

fn owned(object: &Value, name: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries.filter(|entry| entry["manager"] == name).map(|entry| entry["fieldsV1"].clone()).next().unwrap_or(Value::Null)
}

#[test]
fn applying_to_nothing_creates_the_object_and_owns_its_fields() {
    let config = pod(json!({"containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 80}]}], "tolerations": [{"key": "k"}]}));
    let object = go(POD, None, &config, "me").unwrap();
    let entry = json!({"manager": "me", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {},
            "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}, "f:tolerations": {}}}});
    assert_eq!(object["metadata"]["managedFields"], json!([entry]));
    assert_eq!(object["spec"], config["spec"]);
}

#[test]
fn a_conflict_names_the_owner_and_the_field() {
    let mut live = deployment(json!({"replicas": 1}));
    track_update(sample(), DEPLOYMENT, None, &mut live, &manager("kubectl-client-side-apply"));
    let error = go(DEPLOYMENT, Some(&live), &deployment(json!({"replicas": 2})), "me").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    let ApplyError::Conflicts(conflicts) = error else { panic!("{error}") };
    assert_eq!(conflicts.0[0].message(), "conflict with \"kubectl-client-side-apply\" using apps/v1");
    assert_eq!(conflicts.0[0].path.to_string(), ".spec.replicas");
}

#[test]
fn several_conflicts_are_listed_by_owner() {
    let first = go(DEPLOYMENT, None, &deployment(json!({"replicas": 1, "minReadySeconds": 1})), "one").unwrap();
    let error = go(DEPLOYMENT, Some(&first), &deployment(json!({"replicas": 2, "minReadySeconds": 2})), "two").unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.minReadySeconds\n- .spec.replicas");
}

#[test]
fn force_takes_the_field_over() {
    let first = go(DEPLOYMENT, None, &deployment(json!({"replicas": 1, "minReadySeconds": 5})), "one").unwrap();
    let forced = apply(sample(), DEPLOYMENT, Some(&first), &deployment(json!({"replicas": 2})), &manager("two"), true).unwrap();
    assert_eq!(forced["spec"], json!({"replicas": 2, "minReadySeconds": 5}));
    assert_eq!(owned(&forced, "one"), json!({"f:spec": {"f:minReadySeconds": {}}}));
    assert_eq!(owned(&forced, "two"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn the_same_value_is_shared_and_stays_until_the_last_owner_lets_go() {
    let config = deployment(json!({"replicas": 1}));
    let one = go(DEPLOYMENT, None, &config, "one").unwrap();
    let both = go(DEPLOYMENT, Some(&one), &config, "two").unwrap();
    assert_eq!(owned(&both, "one"), owned(&both, "two"));
    let kept = go(DEPLOYMENT, Some(&both), &deployment(json!({"minReadySeconds": 1})), "one").unwrap();
    assert_eq!(kept["spec"], json!({"replicas": 1, "minReadySeconds": 1}));
    let gone = go(DEPLOYMENT, Some(&kept), &deployment(json!({"minReadySeconds": 1})), "two").unwrap();
    assert_eq!(gone["spec"], json!({"minReadySeconds": 1}));
}

#[test]
fn what_is_no_longer_applied_is_removed_with_what_the_server_filled_in_below() {
    let with = pod(json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j", "env": [{"name": "X", "value": "1"}]}]}));
    let mut live = go(POD, None, &with, "me").unwrap();
    live["spec"]["containers"][1]["args"] = json!(["defaulted"]);
    let now = go(POD, Some(&live), &pod(json!({"containers": [{"name": "a", "image": "i"}]})), "me").unwrap();
    assert_eq!(now["spec"], json!({"containers": [{"name": "a", "image": "i"}]}));
    let mut live = go(DEPLOYMENT, None, &deployment(json!({"replicas": 1, "strategy": {"rollingUpdate": {"maxSurge": 1}}})), "me").unwrap();
    live["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!(1);
    let now = go(DEPLOYMENT, Some(&live), &deployment(json!({"replicas": 1})), "me").unwrap();
    assert_eq!(now["spec"], json!({"replicas": 1}));
}

#[test]
fn an_empty_struct_that_is_still_applied_stays() {
    let live = go(POD, None, &pod(json!({"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]})), "me").unwrap();
    let now = go(POD, Some(&live), &pod(json!({"volumes": [{"name": "v", "emptyDir": {}}]})), "me").unwrap();
    assert_eq!(now["spec"]["volumes"], json!([{"name": "v", "emptyDir": {}}]));
}

#[test]
fn keyed_lists_merge_by_all_keys_with_their_defaults() {
    let live =
        go(POD, None, &pod(json!({"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "TCP"}]}]})), "one").unwrap();
    let config = pod(
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "name": "dns"}]}]}),
    );
    let now = go(POD, Some(&live), &config, "two").unwrap();
    let expected = json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP", "name": "dns"}]);
    assert_eq!(now["spec"]["containers"][0]["ports"], expected);
}

#[test]
fn sets_hold_each_value_once_and_lose_only_what_nobody_applies() {
    let config = |finalizers: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": finalizers}});
    let one = go(POD, None, &config(json!(["a", "b"])), "one").unwrap();
    let two = go(POD, Some(&one), &config(json!(["b", "c"])), "two").unwrap();
    assert_eq!(two["metadata"]["finalizers"], json!(["a", "b", "c"]));
    assert_eq!(owned(&two, "two"), json!({"f:metadata": {"f:finalizers": {"v:\"b\"": {}, "v:\"c\"": {}}}}));
    let less = go(POD, Some(&two), &config(json!(["a"])), "one").unwrap();
    assert_eq!(less["metadata"]["finalizers"], json!(["a", "b", "c"]));
    let error = go(POD, Some(&less), &config(json!(["x", "x"])), "one").unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to create typed patch object (/p; /v1, Kind=Pod): .metadata.finalizers: duplicate entries for key [=\"x\"]"
    );
}

#[test]
fn items_of_others_keep_their_place() {
    let live = go(POD, None, &pod(json!({"containers": [{"name": "mesh"}, {"name": "a"}, {"name": "b"}]})), "one").unwrap();
    let now = go(POD, Some(&live), &pod(json!({"containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}]})), "two").unwrap();
    let names: Vec<&str> = now["spec"]["containers"].as_array().unwrap().iter().filter_map(|item| item["name"].as_str()).collect();
    assert_eq!(names, ["mesh", "b", "new", "a"]);
}

#[test]
fn atomic_values_are_owned_and_replaced_whole() {
    let one = go(POD, None, &pod(json!({"tolerations": [{"key": "a"}], "nodeSelector": {"x": "1"}})), "one").unwrap();
    let error = go(POD, Some(&one), &pod(json!({"tolerations": [{"key": "b"}], "nodeSelector": {"y": "2"}})), "two").unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.nodeSelector\n- .spec.tolerations");
    let forced = apply(sample(), POD, Some(&one), &pod(json!({"nodeSelector": {"y": "2"}})), &manager("two"), true).unwrap();
    assert_eq!(forced["spec"]["nodeSelector"], json!({"y": "2"}));
}

#[test]
fn a_missing_key_is_refused_with_its_place() {
    let service = Gvk { group: "", version: "v1", kind: "Pod" };
    let config = pod(json!({"containers": ["text"]}));
    let error = go(service, None, &config, "me").unwrap_err();
    let place = ".spec.containers: element 0: associative list with keys may not have non-map elements";
    assert_eq!(error.to_string(), format!("failed to create typed patch object (/p; /v1, Kind=Pod): {place}"));
}

#[test]
fn applying_the_same_again_changes_nothing_not_even_the_time() {
    let config = deployment(json!({"replicas": 1, "template": {"metadata": {"labels": {"a": "b"}}}}));
    let first = go(DEPLOYMENT, None, &config, "me").unwrap();
    let later = Manager { time: "2027-01-01T00:00:00Z", ..manager("me") };
    assert_eq!(apply(sample(), DEPLOYMENT, Some(&first), &config, &later, false), Ok(first));
}

#[test]
fn what_was_never_tracked_belongs_to_nobody_in_particular() {
    let live = deployment(json!({"replicas": 1}));
    let now = go(DEPLOYMENT, Some(&live), &deployment(json!({"replicas": 1, "minReadySeconds": 1})), "me").unwrap();
    assert_eq!(owned(&now, "before-first-apply"), json!({"f:spec": {"f:replicas": {}}}));
    let error = go(DEPLOYMENT, Some(&live), &deployment(json!({"replicas": 2})), "me").unwrap_err();
    assert!(error.to_string().contains("\"before-first-apply\" using apps/v1: .spec.replicas"), "{error}");
}

#[test]
fn kubectl_takes_over_from_its_own_client_side_apply() {
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": deployment(json!({"replicas": 1})).to_string()});
    let mut live = deployment(json!({"replicas": 1, "minReadySeconds": 3}));
    live["metadata"]["annotations"] = annotations;
    track_update(sample(), DEPLOYMENT, None, &mut live, &manager("kubectl-client-side-apply"));
    let config = deployment(json!({"replicas": 2}));
    assert!(matches!(go(DEPLOYMENT, Some(&live), &config, "other"), Err(ApplyError::Conflicts(_))));
    let now = go(DEPLOYMENT, Some(&live), &config, "kubectl").unwrap();
    assert_eq!(now["spec"], json!({"replicas": 2, "minReadySeconds": 3}));
    let annotation = now["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(annotation).unwrap(), config);
    let error = go(DEPLOYMENT, Some(&live), &deployment(json!({"minReadySeconds": 4})), "kubectl").unwrap_err();
    assert!(error.to_string().ends_with(": .spec.minReadySeconds"), "{error}");
}

#[test]
fn updates_move_ownership_and_keep_one_entry_per_manager() {
    let mut first = deployment(json!({"replicas": 1, "template": {"metadata": {"labels": {"a": "1"}}}}));
    track_update(sample(), DEPLOYMENT, None, &mut first, &manager("creator"));
    assert_eq!(
        owned(&first, "creator"),
        json!({"f:spec": {"f:replicas": {}, "f:template": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}}})
    );
    let mut second = first.clone();
    second["spec"]["replicas"] = json!(2);
    second["metadata"]["generation"] = json!(2);
    track_update(sample(), DEPLOYMENT, Some(&first), &mut second, &manager("scaler"));
    assert_eq!(owned(&second, "scaler"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(owned(&second, "creator"), json!({"f:spec": {"f:template": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}}}));
    let mut third = second.clone();
    third["spec"]["minReadySeconds"] = json!(1);
    third["metadata"].as_object_mut().unwrap().remove("managedFields");
    track_update(sample(), DEPLOYMENT, Some(&second), &mut third, &manager("scaler"));
    assert_eq!(owned(&third, "scaler"), json!({"f:spec": {"f:minReadySeconds": {}, "f:replicas": {}}}));
    assert_eq!(third["metadata"]["managedFields"].as_array().map(Vec::len), Some(2));
}

#[test]
fn status_has_an_entry_of_its_own() {
    let mut first = deployment(json!({"replicas": 1}));
    track_update(sample(), DEPLOYMENT, None, &mut first, &manager("c"));
    let mut second = first.clone();
    second["status"] = json!({"replicas": 1});
    let through_status = Manager { subresource: "status", ignored: &["spec"], ..manager("c") };
    track_update(sample(), DEPLOYMENT, Some(&first), &mut second, &through_status);
    let entries = second["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(entries[1]["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
}

#[test]
fn a_write_that_changes_nothing_leaves_managed_fields_alone() {
    let mut first = deployment(json!({"replicas": 1}));
    track_update(sample(), DEPLOYMENT, None, &mut first, &manager("c"));
    let mut same = first.clone();
    track_update(sample(), DEPLOYMENT, Some(&first), &mut same, &Manager { time: "2027-01-01T00:00:00Z", ..manager("d") });
    assert_eq!(same, first);
}

#[test]
fn clearing_managed_fields_ends_the_tracking() {
    let mut first = deployment(json!({"replicas": 1}));
    track_update(sample(), DEPLOYMENT, None, &mut first, &manager("c"));
    for reset in [json!([]), json!([{}])] {
        let mut second = first.clone();
        second["metadata"]["managedFields"] = reset;
        track_update(sample(), DEPLOYMENT, Some(&first), &mut second, &manager("c"));
        assert_eq!(second["metadata"], json!({"name": "d"}));
    }
}

#[test]
fn more_than_ten_updaters_are_merged_oldest_first() {
    let mut object = deployment(json!({}));
    object["metadata"]["labels"] = json!({"l0": "v"});
    let time = |n: usize| format!("2026-01-01T00:00:{n:02}Z");
    let name = |n: usize| format!("m{n}");
    track_update(sample(), DEPLOYMENT, None, &mut object, &Manager { time: &time(0), ..manager(&name(0)) });
    for n in 1..15 {
        let old = object.clone();
        object["metadata"]["labels"][format!("l{n}")] = json!("v");
        track_update(sample(), DEPLOYMENT, Some(&old), &mut object, &Manager { time: &time(n), ..manager(&name(n)) });
    }
    assert_eq!(object["metadata"]["managedFields"].as_array().map(Vec::len), Some(10));
    assert!(owned(&object, "ancient-changes")["f:metadata"]["f:labels"]["f:l3"].is_object());
    assert!(owned(&object, "m14").is_object());
    assert_eq!(owned(&object, "m0"), Value::Null);
}

#[test]
fn what_is_no_configuration_is_refused() {
    let wrong_version = json!({"apiVersion": "apps/v2", "kind": "Deployment"});
    let managed = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"managedFields": [{}]}});
    for config in
        [json!(null), json!([]), json!({}), wrong_version, managed, json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": 1})]
    {
        let refused = go(DEPLOYMENT, None, &config, "me");
        assert!(matches!(refused, Err(ApplyError::Patch(PatchError::Malformed(_)))), "{config}");
    }
}

#[test]
fn a_live_item_that_cannot_be_told_apart_is_not_lost_silently() {
    let live = pod(json!({"containers": ["text"]}));
    let error = go(POD, Some(&live), &pod(json!({"containers": [{"name": "a"}]})), "me").unwrap_err();
    assert_eq!(error.to_string(), ".spec.containers: live element 0: associative list with keys may not have non-map elements");
}

#[test]
fn what_this_door_does_not_write_is_neither_taken_nor_owned() {
    let mut config = deployment(json!({"replicas": 1}));
    config["status"] = json!({"replicas": 7});
    let object = go(DEPLOYMENT, None, &config, "me").unwrap();
    assert_eq!(object.get("status"), None);
    assert_eq!(owned(&object, "me"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn unreadable_managed_fields_of_a_client_do_not_replace_the_stored_ones() {
    let mut first = deployment(json!({"replicas": 1}));
    track_update(sample(), DEPLOYMENT, None, &mut first, &manager("c"));
    for nonsense in [
        json!("text"),
        json!([1]),
        json!([{"operation": "Fly"}]),
        json!([{"operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"x": 1}}]),
    ] {
        let mut second = first.clone();
        second["metadata"]["managedFields"] = nonsense;
        track_update(sample(), DEPLOYMENT, Some(&first), &mut second, &manager("c"));
        assert_eq!(second, first);
    }
}

#[test]
fn a_removed_field_is_nobodys() {
    let mut first = deployment(json!({"replicas": 1, "minReadySeconds": 1}));
    track_update(sample(), DEPLOYMENT, None, &mut first, &manager("c"));
    let mut second = first.clone();
    second["spec"].as_object_mut().unwrap().remove("replicas");
    track_update(sample(), DEPLOYMENT, Some(&first), &mut second, &manager("other"));
    assert_eq!(owned(&second, "c"), json!({"f:spec": {"f:minReadySeconds": {}}}));
    assert_eq!(owned(&second, "other"), Value::Null);
}

#[test]
fn kinds_without_a_schema_are_owned_by_what_their_values_are() {
    let gvk = Gvk { group: "example.org", version: "v1", kind: "Thing" };
    let thing = |spec: Value| json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec});
    let one = go(gvk, None, &thing(json!({"a": {"b": 1}, "list": [{"name": "x"}]})), "one").unwrap();
    assert_eq!(owned(&one, "one"), json!({"f:spec": {".": {}, "f:a": {".": {}, "f:b": {}}, "f:list": {}}}));
    let two = go(gvk, Some(&one), &thing(json!({"a": {"c": 2}})), "two").unwrap();
    assert_eq!(two["spec"], json!({"a": {"b": 1, "c": 2}, "list": [{"name": "x"}]}));
    let error = go(gvk, Some(&two), &thing(json!({"list": []})), "two").unwrap_err();
    assert!(error.to_string().ends_with(": .spec.list"), "{error}");
}

#[test]
fn a_configuration_that_does_not_have_the_shape_of_its_kind_is_refused_in_known_words() {
    let container = |fields: Value| json!({"containers": [fields]});
    for (spec, words) in [
        (json!({"containers": "x"}), ".spec.containers: expected list, got &{x}"),
        (json!({"containers": {"name": "a"}}), ".spec.containers: expected list, got &{map[name:a]}"),
        (json!([1, "a"]), ".spec: expected map, got &{[1 a]}"),
        (json!({"nodeSelector": 3}), ".spec.nodeSelector: expected map, got &{3}"),
        (json!({"nodeName": 3}), ".spec.nodeName: expected string, got &value.valueUnstructured{Value:3}"),
        (json!({"hostNetwork": "yes"}), ".spec.hostNetwork: expected boolean, got &{yes}"),
        (
            container(json!({"name": "a", "ports": [{"containerPort": "80"}]})),
            ".spec.containers[name=\"a\"].ports[containerPort=\"80\",protocol=\"TCP\"].containerPort: expected numeric (int or float), got string",
        ),
        (container(json!({"name": "a", "nonsense": 1})), ".spec.containers[name=\"a\"].nonsense: field not declared in schema"),
        (json!({"containers": ["a"]}), ".spec.containers: element 0: associative list with keys may not have non-map elements"),
        (json!({"containers": [{"name": "a"}, {"name": "a"}]}), ".spec.containers: duplicate entries for key [name=\"a\"]"),
        (
            container(json!({"name": "a", "resources": {"limits": {"cpu": {}}}})),
            ".spec.containers[name=\"a\"].resources.limits.cpu: expected any scalar, got &{map[]}",
        ),
    ] {
        let error = go(POD, None, &pod(spec), "me").unwrap_err();
        assert!(matches!(error, ApplyError::Untyped(_)), "{error:?}");
        assert_eq!(error.to_string(), format!("failed to create typed patch object (/p; /v1, Kind=Pod): {words}"));
    }
    let right = json!({"containers": [{"name": "a", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}], "nodeName": null});
    go(POD, None, &pod(right), "me").unwrap();
}

#[test]
fn fields_that_a_door_does_not_write_are_left_to_their_owners() {
    let status = Manager { subresource: "status", ignored: &["spec", "metadata.labels"], ..manager("kubelet") };
    let mut live = deployment(json!({"replicas": 1}));
    live["metadata"]["labels"] = json!({"a": "b"});
    track_update(sample(), DEPLOYMENT, None, &mut live, &manager("creator"));
    let old = live.clone();
    live["status"] = json!({"replicas": 1});
    live.as_object_mut().unwrap().remove("spec");
    live["metadata"]["labels"] = json!({});
    track_update(sample(), DEPLOYMENT, Some(&old), &mut live, &status);
    assert_eq!(owned(&live, "creator"), owned(&old, "creator"));
    assert_eq!(owned(&live, "kubelet"), json!({"f:status": {"f:replicas": {}}}));
    // Nor does a write of the rest take the status from whoever tells it.
    let old = live.clone();
    live["spec"] = json!({"replicas": 2});
    live.as_object_mut().unwrap().remove("status");
    track_update(sample(), DEPLOYMENT, Some(&old), &mut live, &manager("creator"));
    assert_eq!(owned(&live, "kubelet"), json!({"f:status": {"f:replicas": {}}}));
}
