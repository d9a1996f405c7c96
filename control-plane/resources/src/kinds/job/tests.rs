//! Jobs, changes of Jobs and of their status that are accepted and refused, with the words of the refusal.

use super::{Job, NAME_LABEL, UID_LABEL};
use crate::contract::Resource;
use crate::typed::Typed;
use serde_json::{Value, json};

const KIND: Typed<Job> = Typed::NEW;

/// A right Job with `change` in its spec; `null` takes a field away.
fn created(change: Value) -> Value {
    let mut body = json!({"metadata": {"name": "j", "namespace": "d", "uid": "u"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x"}]}}}});
    for (key, value) in change.as_object().unwrap() {
        body["spec"][key] = value.clone();
    }
    let mut object = KIND.decode(body).unwrap().object;
    KIND.prepare_create(&mut object);
    object
}

fn indexed(change: Value) -> Value {
    let mut spec = json!({"completionMode": "Indexed", "completions": 10, "parallelism": 2});
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

fn refused(change: Value) -> Vec<String> {
    KIND.validate_create(&created(change)).iter().map(ToString::to_string).collect()
}

fn refused_change(new: &Value, old: &Value, subresource: Option<&str>) -> Vec<String> {
    KIND.validate_update(new, old, subresource).iter().map(ToString::to_string).collect()
}

#[test]
fn a_job_runs_once_and_selects_its_own_pods() {
    let job = created(json!({}));
    let spec = &job["spec"];
    assert_eq!((&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]), (&json!(1), &json!(1), &json!(6)));
    assert_eq!(spec["selector"], json!({"matchLabels": {UID_LABEL: "u"}}));
    assert_eq!(spec["template"]["metadata"]["labels"], json!({UID_LABEL: "u", NAME_LABEL: "j", "controller-uid": "u", "job-name": "j"}));
    assert_eq!(KIND.validate_create(&job), []);
    assert_eq!(created(json!({"parallelism": 3}))["spec"].get("completions"), None);
}

#[test]
fn the_selector_is_the_jobs_own_unless_taken_over() {
    let template =
        json!({"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x"}]}});
    let chosen = json!({"matchLabels": {"app": "x"}});
    let found = refused(json!({"selector": chosen, "template": template}));
    assert!(found.len() == 1 && found[0].ends_with("`selector` not auto-generated"), "{found:?}");
    assert_eq!(refused(json!({"selector": chosen, "template": template, "manualSelector": true})), Vec::<String>::new());
}

#[test]
fn pods_of_a_job_come_to_an_end() {
    let template = |policy: Option<&str>| json!({"spec": {"restartPolicy": policy, "containers": [{"name": "a", "image": "x"}]}});
    for policy in [None, Some("Always")] {
        assert_eq!(
            refused(json!({"template": template(policy)})),
            ["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""]
        );
    }
    let failing = json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]});
    assert_eq!(
        refused(json!({"template": template(Some("OnFailure")), "podFailurePolicy": failing})),
        ["spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified"]
    );
}

#[test]
fn numbers_and_names_have_bounds() {
    let index = "requires indexed completion mode";
    for (change, expected) in [
        (json!({"backoffLimit": -1}), vec!["spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0".to_owned()]),
        (
            json!({"completionMode": "Other"}),
            vec!["spec.completionMode: Unsupported value: \"Other\": supported values: \"NonIndexed\", \"Indexed\"".to_owned()],
        ),
        (json!({"backoffLimitPerIndex": 1}), vec![format!("spec.backoffLimitPerIndex: Invalid value: 1: {index}")]),
        (
            json!({"maxFailedIndexes": 1}),
            vec![
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified".to_owned(),
                format!("spec.maxFailedIndexes: Invalid value: 1: {index}"),
            ],
        ),
        (indexed(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 10})), vec![]),
        (
            indexed(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 11})),
            vec!["spec.maxFailedIndexes: Invalid value: 11: must be less than or equal to completions".to_owned()],
        ),
        (indexed(json!({"completions": null})), vec!["spec.completions: Required value: when completion mode is Indexed".to_owned()]),
        (
            indexed(json!({"parallelism": 100_001})),
            vec![
                "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed"
                    .to_owned(),
            ],
        ),
        (
            indexed(json!({"completions": 100_001, "parallelism": 10_001, "backoffLimitPerIndex": 1})),
            vec![
                "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000".to_owned(),
                "spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index".to_owned(),
            ],
        ),
        (json!({"managedBy": "example.com/own"}), vec![]),
        (
            json!({"managedBy": "own"}),
            vec!["spec.managedBy: Invalid value: \"own\": must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()],
        ),
        (
            json!({"managedBy": format!("example.com/{}", "x".repeat(60))}),
            vec!["spec.managedBy: Too long: may not be more than 63 bytes".to_owned()],
        ),
        (
            json!({"podReplacementPolicy": "Never"}),
            vec![
                "spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\"".to_owned(),
            ],
        ),
    ] {
        assert_eq!(refused(change.clone()), expected, "{change}");
    }
    let mut long = created(indexed(json!({"completions": 100})));
    let name = "x".repeat(61);
    long["metadata"]["name"] = name.clone().into();
    long["spec"]["template"]["metadata"]["labels"][NAME_LABEL] = name.clone().into();
    let found: Vec<String> = KIND.validate_create(&long).iter().map(ToString::to_string).collect();
    assert_eq!(found, [format!("metadata.name: Invalid value: {name:?}: will not able to create pod with invalid DNS label: {name}-99")]);
}

#[test]
fn what_is_done_about_failures_is_said_by_rules() {
    let at = "spec.podFailurePolicy.rules[0]";
    let codes = |change: Value| {
        let mut codes = json!({"operator": "In", "values": [1, 2]});
        for (key, value) in change.as_object().unwrap() {
            codes[key] = value.clone();
        }
        json!({"action": "FailJob", "onExitCodes": codes})
    };
    let conditions = |pattern: Value| json!({"action": "Ignore", "onPodConditions": [pattern]});
    for (rule, expected) in [
        (codes(json!({"containerName": "a"})), vec![]),
        (conditions(json!({"type": "DisruptionTarget"})), vec![]),
        (codes(json!({"operator": "NotIn", "values": [0]})), vec![]),
        (codes(json!({"operator": ""})), vec![".onExitCodes.operator: Required value: valid values: [\"In\" \"NotIn\"]"]),
        (codes(json!({"operator": "Is"})), vec![".onExitCodes.operator: Unsupported value: \"Is\": supported values: \"In\", \"NotIn\""]),
        (codes(json!({"values": [0]})), vec![".onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"]),
        (codes(json!({"values": [1, 1]})), vec![".onExitCodes.values[1]: Duplicate value: 1"]),
        (codes(json!({"values": [2, 1]})), vec![".onExitCodes.values: Invalid value: []int32{2, 1}: must be ordered"]),
        (
            codes(json!({"containerName": "b"})),
            vec![
                ".onExitCodes.containerName: Invalid value: \"b\": must be one of the container or initContainer names in the pod template",
            ],
        ),
        (
            conditions(json!({"type": "DisruptionTarget", "status": "Maybe"})),
            vec![".onPodConditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\""],
        ),
        (
            json!({"action": "Foo", "onPodConditions": [{"type": "A"}]}),
            vec![".action: Unsupported value: \"Foo\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\""],
        ),
        (
            json!({"onPodConditions": [{"type": "A"}]}),
            vec![".action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"],
        ),
        (
            json!({"action": "FailIndex", "onPodConditions": [{"type": "A"}]}),
            vec![".action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"],
        ),
        (json!({"action": "Count"}), vec![": Invalid value: specifying one of OnExitCodes and OnPodConditions is required"]),
        (
            json!({"action": "Count", "onExitCodes": {"operator": "In", "values": [1]}, "onPodConditions": [{"type": "A"}]}),
            vec![": Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"],
        ),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|e| format!("{at}{e}")).collect();
        assert_eq!(refused(json!({"podFailurePolicy": {"rules": [rule]}})), expected, "{rule}");
    }
    let many = vec![codes(json!({})); 21];
    assert_eq!(
        refused(json!({"podFailurePolicy": {"rules": many}})),
        ["spec.podFailurePolicy.rules: Too many: 21: must have at most 20 items"]
    );
    assert_eq!(
        refused(json!({"podFailurePolicy": {"rules": []}, "podReplacementPolicy": "TerminatingOrFailed"})),
        ["spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\""]
    );
    let job = created(json!({"podFailurePolicy": {"rules": [conditions(json!({"type": "A"}))]}}));
    assert_eq!(job["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"], "True");
}

#[test]
fn when_there_is_enough_is_said_by_rules() {
    let at = "spec.successPolicy.rules[0]";
    for (rule, expected) in [
        (json!({"succeededIndexes": "0,2-4", "succeededCount": 4}), None),
        (json!({}), Some(": Required value: at least one of succeededCount or succeededIndexes must be specified")),
        (
            json!({"succeededIndexes": "3-1"}),
            Some(
                ".succeededIndexes: Invalid value: \"3-1\": error parsing succeededIndexes: non-increasing order, previous: 3, current: 1",
            ),
        ),
        (
            json!({"succeededIndexes": "10"}),
            Some(".succeededIndexes: Invalid value: \"10\": error parsing succeededIndexes: too large index: \"10\""),
        ),
        (json!({"succeededCount": -1}), Some(".succeededCount: Invalid value: -1: must be greater than or equal to 0")),
        (
            json!({"succeededCount": 11}),
            Some(".succeededCount: Invalid value: 11: must be less than or equal to 10 (the number of specified completions)"),
        ),
        (
            json!({"succeededIndexes": "1,2", "succeededCount": 3}),
            Some(
                ".succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
            ),
        ),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|e| format!("{at}{e}")).collect();
        assert_eq!(refused(indexed(json!({"successPolicy": {"rules": [rule]}}))), expected, "{rule}");
    }
    assert_eq!(
        refused(indexed(json!({"successPolicy": {"rules": []}}))),
        ["spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified"]
    );
    let found = refused(json!({"successPolicy": {"rules": [{"succeededCount": 1}]}}));
    assert!(found.len() == 1 && found[0].ends_with("requires indexed completion mode"), "{found:?}");
}

#[test]
fn a_job_stays_what_it_is() {
    let fixed = |field: &str| format!("spec.{field}: ");
    let per_index = |limit: i32| indexed(json!({"backoffLimitPerIndex": limit}));
    for (new, old, field) in [
        (json!({"parallelism": 5, "completions": 1, "backoffLimit": 3}), json!({}), None),
        (json!({"completions": 2}), json!({}), Some("completions")),
        (indexed(json!({"completions": 3, "parallelism": 3})), indexed(json!({})), None),
        (indexed(json!({})), json!({"completions": 10, "parallelism": 2}), Some("completionMode")),
        (per_index(2), per_index(1), Some("backoffLimitPerIndex")),
        (json!({"managedBy": "a.b/c"}), json!({}), Some("managedBy")),
        (indexed(json!({"successPolicy": {"rules": [{"succeededCount": 1}]}})), indexed(json!({})), Some("successPolicy")),
    ] {
        let found = refused_change(&created(new.clone()), &created(old), None);
        let expected = field.map(fixed);
        assert_eq!(found.len(), usize::from(field.is_some()), "{new}: {found:?}");
        assert!(expected.is_none_or(|start| found[0].starts_with(&start) && found[0].ends_with("field is immutable")), "{found:?}");
    }
    assert_eq!(
        refused_change(&created(indexed(json!({"completions": 3}))), &created(indexed(json!({}))), None),
        ["spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"]
    );
}

#[test]
fn only_a_job_that_waits_may_be_sent_elsewhere() {
    let job = |suspended: bool, change: Value| {
        let mut job = created(json!({"suspend": suspended}));
        for (key, value) in change.as_object().unwrap() {
            job["spec"]["template"]["spec"][key] = value.clone();
        }
        job
    };
    let affinity = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}});
    for change in [json!({"nodeSelector": {"a": "b"}}), json!({"tolerations": [{"operator": "Exists"}]}), affinity] {
        let waiting = job(true, json!({}));
        assert_eq!(refused_change(&job(true, change.clone()), &waiting, None), Vec::<String>::new(), "{change}");
        assert_eq!(refused_change(&waiting, &job(true, change.clone()), None), Vec::<String>::new(), "{change} taken back");
        assert_eq!(refused_change(&job(false, change.clone()), &job(false, json!({})), None).len(), 1, "{change}");
        let mut once_started = waiting;
        once_started["status"] = json!({"startTime": "2024-01-01T00:00:00Z"});
        assert_eq!(refused_change(&job(true, change.clone()), &once_started, None).len(), 1, "{change} after a start");
    }
    let found = refused_change(&job(true, json!({"hostNetwork": true})), &job(true, json!({})), None);
    assert!(found.len() == 1 && found[0].starts_with("spec.template: "), "{found:?}");
}

#[test]
fn the_status_counts_up_and_ends_once() {
    let with = |spec: &Value, status: &Value| {
        let mut job = created(spec.clone());
        job["status"] = status.clone();
        job
    };
    let is = |kinds: &[&str]| kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect::<Vec<_>>();
    let (start, end) = ("2024-01-01T00:00:00Z", "2024-01-01T00:01:00Z");
    let complete =
        json!({"succeeded": 1, "startTime": start, "completionTime": end, "conditions": is(&["SuccessCriteriaMet", "Complete"])});
    let failed = json!({"failed": 7, "startTime": start, "conditions": is(&["FailureTarget", "Failed"])});
    let changed = |status: &Value, change: Value| {
        let mut status = status.clone();
        for (key, value) in change.as_object().unwrap() {
            status[key] = value.clone();
        }
        status
    };
    let running = json!({"active": 1, "ready": 1, "startTime": start});
    let plain = json!({});
    let many = indexed(json!({}));
    for (spec, old, new, expected) in [
        (&plain, &plain, &running, vec![]),
        (&plain, &running, &complete, vec![]),
        (&plain, &running, &failed, vec![]),
        (&plain, &complete, &complete, vec![]),
        (&many, &plain, &json!({"completedIndexes": "0,3-4"}), vec![]),
        (
            &plain,
            &plain,
            &json!({"succeeded": -4}),
            vec![
                "succeeded: Invalid value: -4: must be greater than or equal to 0",
                "succeeded: Invalid value: -4: cannot decrease the succeeded counter",
            ],
        ),
        (&plain, &json!({"failed": 3}), &json!({"failed": 2}), vec!["failed: Invalid value: 2: cannot decrease the failed counter"]),
        (
            &plain,
            &running,
            &changed(&failed, json!({"conditions": is(&["Failed"])})),
            vec!["conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition"],
        ),
        (
            &plain,
            &running,
            &changed(&complete, json!({"conditions": is(&["Complete"])})),
            vec!["conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition"],
        ),
        (
            &plain,
            &running,
            &changed(&complete, json!({"completionTime": null})),
            vec!["completionTime: Required value: completionTime is required for Complete jobs"],
        ),
        (
            &plain,
            &running,
            &changed(&running, json!({"completionTime": end})),
            vec![
                "completionTime: Invalid value: \"2024-01-01T00:01:00Z\": cannot set completionTime when there is no Complete=True condition",
            ],
        ),
        (
            &plain,
            &running,
            &changed(&complete, json!({"completionTime": "2023-12-31T00:00:00Z"})),
            vec!["completionTime: Invalid value: \"2023-12-31T00:00:00Z\": completionTime cannot be set before startTime"],
        ),
        (
            &plain,
            &complete,
            &changed(&complete, json!({"completionTime": "2024-01-02T00:00:00Z"})),
            vec!["completionTime: Invalid value: \"2024-01-02T00:00:00Z\": completionTime cannot be mutated"],
        ),
        (
            &plain,
            &failed,
            &changed(&failed, json!({"conditions": []})),
            vec![
                "conditions: Invalid value: cannot disable the terminal Failed=True condition",
                "conditions: Invalid value: cannot disable the terminal FailureTarget=True condition",
            ],
        ),
        (&plain, &running, &changed(&failed, json!({"active": 1})), vec!["active: Invalid value: 1: active>0 is invalid for finished job"]),
        (
            &plain,
            &running,
            &changed(&failed, json!({"terminating": 1})),
            vec!["terminating: Invalid value: 1: terminating>0 is invalid for finished job"],
        ),
        (
            &plain,
            &json!({}),
            &changed(&failed, json!({"startTime": null})),
            vec!["startTime: Required value: startTime is required for finished job"],
        ),
        (
            &plain,
            &running,
            &changed(&running, json!({"ready": 2})),
            vec!["ready: Invalid value: 2: cannot set more ready pods than active"],
        ),
        (
            &plain,
            &running,
            &changed(&running, json!({"startTime": null})),
            vec!["startTime: Required value: startTime cannot be removed for unsuspended job"],
        ),
        (
            &plain,
            &running,
            &changed(&running, json!({"uncountedTerminatedPods": {"succeeded": ["u", ""], "failed": ["u"]}})),
            vec![
                "uncountedTerminatedPods.succeeded[1]: Invalid value: \"\": must not be empty",
                "uncountedTerminatedPods.failed[0]: Duplicate value: \"u\"",
            ],
        ),
        (
            &plain,
            &plain,
            &json!({"completedIndexes": "0"}),
            vec!["completedIndexes: Invalid value: \"0\": cannot set non-empty completedIndexes when non-indexed completion mode"],
        ),
        (
            &many,
            &plain,
            &json!({"completedIndexes": "12"}),
            vec!["completedIndexes: Invalid value: \"12\": error parsing completedIndexes: too large index: \"12\""],
        ),
        (
            &many,
            &plain,
            &json!({"failedIndexes": "1"}),
            vec!["failedIndexes: Invalid value: \"1\": cannot set non-null failedIndexes when backoffLimitPerIndex is null"],
        ),
        (
            &indexed(json!({"backoffLimitPerIndex": 1})),
            &plain,
            &json!({"failedIndexes": "1-3", "completedIndexes": "0,2"}),
            vec!["failedIndexes: Invalid value: \"1-3\": failedIndexes and completedIndexes overlap at index: 2"],
        ),
        // Wrong before, and left alone.
        (&plain, &json!({"ready": 2}), &json!({"ready": 2, "failed": 1}), vec![]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|e| format!("status.{e}")).collect();
        assert_eq!(refused_change(&with(spec, new), &with(spec, old), Some("status")), expected, "{old} to {new}");
    }
}

#[test]
fn the_table_shows_progress_and_duration() {
    let mut job = created(json!({"completions": 3}));
    job["status"] = json!({"succeeded": 2, "startTime": "1970-01-01T00:00:10Z"});
    assert_eq!(KIND.cells(&job, 70)[1..4], ["Running", "2/3", "60s"]);
    job["status"]["conditions"] = json!([{"type": "Complete", "status": "True"}]);
    job["status"]["completionTime"] = "1970-01-01T00:00:15Z".into();
    assert_eq!(KIND.cells(&job, 70)[1..4], ["Complete", "2/3", "5s"]);
}
