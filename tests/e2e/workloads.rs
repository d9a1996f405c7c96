//! Do DaemonSets, StatefulSets, Jobs and CronJobs do what they are for, and do replicas spread?

use anyhow::{Context, Result, ensure};
use orknet_tests::pods::{self, shell};
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use serde_json::{Value, json};
use std::collections::BTreeSet;

tests![
    e2e_a_daemon_set_is_on_every_node_and_follows_labels,
    e2e_a_daemon_set_rolls_out_and_back,
    e2e_a_job_runs_its_completions_and_is_complete,
    e2e_a_job_that_fails_too_often_has_failed,
    e2e_an_indexed_job_tells_each_pod_its_index,
    e2e_a_job_is_suspended_resumed_and_forgotten,
    e2e_a_job_past_its_deadline_is_ended,
    e2e_a_stateful_set_makes_and_removes_pods_in_order_under_stable_names,
    e2e_a_stateful_set_updates_down_to_its_partition,
    e2e_a_cron_job_is_run_by_hand_and_by_the_clock,
    e2e_replicas_stand_on_different_nodes_without_being_asked_to,
];

/// A workload of one of the kinds in `apps/v1`, whose pods sleep and are labelled with its name.
fn sleeping(kind: &str, name: &str, more: Value) -> Value {
    let pod = json!({"terminationGracePeriodSeconds": 1, "containers": [shell("main", "trap 'exit 0' TERM; sleep 3600 & wait")]});
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": pod});
    let mut spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template});
    merge(&mut spec, more);
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn job(name: &str, script: &str, more: Value) -> Value {
    let pod = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [shell("main", script)]});
    let mut spec = json!({"template": {"spec": pod}});
    merge(&mut spec, more);
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            more.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, more) => *into = more,
    }
}

fn jsonpath(kubectl: &Kubectl, object: &str, path: &str) -> Result<String> {
    kubectl.run(&["get", object, "-o", &format!("jsonpath={{{path}}}")])
}

/// Waits until a path of an object has this value.
fn shows(kubectl: &Kubectl, object: &str, path: &str, wanted: &str) -> Result<()> {
    eventually(&format!("{path} of {object} to be {wanted}"), || {
        let found = jsonpath(kubectl, object, path)?;
        ensure!(found == wanted, "it is {found:?}");
        Ok(())
    })
}

fn finished(kubectl: &Kubectl, name: &str, condition: &str) -> Result<Value> {
    kubectl.run(&["wait", &format!("job/{name}"), &format!("--for=condition={condition}"), "--timeout=180s"])?;
    kubectl.json(&["get", "job", name])
}

/// The pods with a label, whatever their state.
fn pods_of(kubectl: &Kubectl, selector: &str) -> Result<Vec<Value>> {
    let list = kubectl.json(&["get", "pods", "-l", selector])?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn names(pods: &[Value]) -> BTreeSet<String> {
    pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).map(str::to_owned).collect()
}

fn nodes(pods: &[Value]) -> BTreeSet<String> {
    pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).map(str::to_owned).collect()
}

/// Waits until the pods with a label are on these nodes, one each.
fn stand_on(kubectl: &Kubectl, selector: &str, wanted: &[&str]) -> Result<()> {
    eventually(&format!("pods on {wanted:?}"), || {
        let pods = pods_of(kubectl, selector)?;
        let found = nodes(&pods);
        ensure!(pods.len() == wanted.len() && found.iter().eq(wanted), "{} pods on {found:?}", pods.len());
        Ok(())
    })
}

fn e2e_a_daemon_set_is_on_every_node_and_follows_labels(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(&sleeping("DaemonSet", "all", json!({})).to_string())?;
    kubectl.run(&["rollout", "status", "daemonset/all", "--timeout=180s"])?;
    stand_on(kubectl, "app=all", &["node1", "node2"])?;
    // One that wants a label has nowhere to go until a node has it.
    let wants = json!({"template": {"spec": {"nodeSelector": {"e2e-daemon": "yes"}}}});
    kubectl.apply(&sleeping("DaemonSet", "some", wants).to_string())?;
    shows(kubectl, "daemonset/some", ".status.observedGeneration", "1")?;
    ensure!(jsonpath(kubectl, "daemonset/some", ".status.desiredNumberScheduled")? == "0");
    kubectl.run(&["label", "node", "node2", "e2e-daemon=yes"])?;
    stand_on(kubectl, "app=some", &["node2"])?;
    kubectl.run(&["label", "node", "node2", "e2e-daemon-"])?;
    stand_on(kubectl, "app=some", &[])
}

fn e2e_a_daemon_set_rolls_out_and_back(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(&sleeping("DaemonSet", "agent", json!({})).to_string())?;
    kubectl.run(&["rollout", "status", "daemonset/agent", "--timeout=180s"])?;
    let first = names(&pods_of(kubectl, "app=agent")?);
    kubectl.run(&["set", "env", "daemonset/agent", "COLOUR=blue"])?;
    kubectl.run(&["rollout", "status", "daemonset/agent", "--timeout=180s"])?;
    let second = pods_of(kubectl, "app=agent")?;
    ensure!(first.is_disjoint(&names(&second)), "every pod is new: {first:?}, {:?}", names(&second));
    ensure!(second.iter().all(|pod| pod["spec"]["containers"][0]["env"][0]["value"] == "blue"));
    let history = kubectl.run(&["rollout", "history", "daemonset/agent"])?;
    ensure!(history.lines().filter(|line| line.starts_with(['1', '2'])).count() == 2, "{history}");
    kubectl.run(&["rollout", "undo", "daemonset/agent"])?;
    kubectl.run(&["rollout", "status", "daemonset/agent", "--timeout=180s"])?;
    let third = pods_of(kubectl, "app=agent")?;
    ensure!(third.iter().all(|pod| pod["spec"]["containers"][0]["env"].is_null()), "{:?}", names(&third));
    let revisions = kubectl.run(&["get", "controllerrevisions", "-o", "jsonpath={.items[*].revision}"])?;
    ensure!(revisions.split(' ').collect::<BTreeSet<_>>() == BTreeSet::from(["2", "3"]), "{revisions}");
    // Without rolling update the new template waits for a deletion.
    kubectl.run(&["patch", "daemonset", "agent", "-p", r#"{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}"#])?;
    kubectl.run(&["set", "env", "daemonset/agent", "COLOUR=green"])?;
    shows(kubectl, "daemonset/agent", ".status.updatedNumberScheduled", "")?;
    let victim = third[0]["metadata"]["name"].as_str().context("a name")?;
    kubectl.run(&["delete", "pod", victim])?;
    shows(kubectl, "daemonset/agent", ".status.updatedNumberScheduled", "1")
}

fn e2e_a_job_runs_its_completions_and_is_complete(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "job", "one", "--image", pods::BUSYBOX, "--", "echo", "done"])?;
    let one = finished(kubectl, "one", "Complete")?;
    ensure!(one["status"]["succeeded"] == 1 && one["status"]["completionTime"].is_string(), "{}", one["status"]);
    let conditions = one["status"]["conditions"].as_array().context("conditions")?;
    ensure!(conditions.iter().any(|condition| condition["type"] == "SuccessCriteriaMet" && condition["status"] == "True"));
    ensure!(kubectl.run(&["logs", "job/one"])? == "done\n");
    kubectl.apply(&job("many", "sleep 1", json!({"completions": 4, "parallelism": 2})).to_string())?;
    shows(kubectl, "job/many", ".status.active", "2")?;
    let many = finished(kubectl, "many", "Complete")?;
    ensure!(many["status"]["succeeded"] == 4 && many["status"]["uncountedTerminatedPods"] == json!({}), "{}", many["status"]);
    let ran = pods_of(kubectl, "job-name=many")?;
    ensure!(ran.len() == 4 && ran.iter().all(|pod| pod["metadata"]["finalizers"].is_null()), "counted pods are let go");
    let row = kubectl.run(&["get", "job", "many", "--no-headers"])?;
    ensure!(row.contains("Complete") && row.contains("4/4"), "{row}");
    ensure!(pods::event(kubectl, "many", "Completed")? == "Job completed");
    // The pods go with their Job.
    kubectl.run(&["delete", "job", "many"])?;
    eventually("the pods to be gone", || {
        let left = names(&pods_of(kubectl, "job-name=many")?);
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}

fn e2e_a_job_that_fails_too_often_has_failed(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(&job("bad", "exit 3", json!({"backoffLimit": 0})).to_string())?;
    let bad = finished(kubectl, "bad", "Failed")?;
    let conditions = bad["status"]["conditions"].as_array().context("conditions")?;
    let failed = conditions.iter().find(|condition| condition["type"] == "Failed").context("there is no such condition")?;
    ensure!(failed["reason"] == "BackoffLimitExceeded", "{failed}");
    ensure!(failed["message"] == "Job has reached the specified backoff limit", "{failed}");
    ensure!(bad["status"]["failed"] == 1 && bad["status"]["active"].is_null(), "{}", bad["status"]);
    ensure!(pods::event(kubectl, "bad", "BackoffLimitExceeded")?.contains("backoff limit"));
    // Restarts in place count as well.
    let in_place = json!({"backoffLimit": 1, "template": {"spec": {"restartPolicy": "OnFailure"}}});
    kubectl.apply(&job("again", "exit 3", in_place).to_string())?;
    finished(kubectl, "again", "Failed").map(drop)
}

fn e2e_an_indexed_job_tells_each_pod_its_index(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"});
    kubectl.apply(&job("parts", "echo $JOB_COMPLETION_INDEX $(hostname)", spec).to_string())?;
    let parts = finished(kubectl, "parts", "Complete")?;
    ensure!(parts["status"]["completedIndexes"] == "0-2", "{}", parts["status"]);
    for index in 0..3 {
        let selector = format!("batch.kubernetes.io/job-completion-index={index}");
        let said = kubectl.run(&["logs", "-l", &selector])?;
        ensure!(said == format!("{index} parts-{index}\n"), "{said}");
    }
    Ok(())
}

fn e2e_a_job_is_suspended_resumed_and_forgotten(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(&job("later", "true", json!({"suspend": true, "ttlSecondsAfterFinished": 1})).to_string())?;
    kubectl.run(&["wait", "job/later", "--for=condition=Suspended", "--timeout=180s"])?;
    ensure!(pods_of(kubectl, "job-name=later")?.is_empty(), "a suspended job has no pods");
    kubectl.run(&["patch", "job", "later", "-p", r#"{"spec":{"suspend":false}}"#])?;
    kubectl.run(&["wait", "job/later", "--for=delete", "--timeout=180s"])?;
    eventually("the pods to be gone", || {
        ensure!(pods_of(kubectl, "job-name=later")?.is_empty());
        Ok(())
    })?;
    // A running job that is suspended loses its pod, which is no failure.
    kubectl.apply(&job("paused", "sleep 3600", json!({})).to_string())?;
    shows(kubectl, "job/paused", ".status.ready", "1")?;
    kubectl.run(&["patch", "job", "paused", "-p", r#"{"spec":{"suspend":true}}"#])?;
    eventually("the pod to be gone", || {
        ensure!(pods_of(kubectl, "job-name=paused")?.is_empty());
        Ok(())
    })?;
    shows(kubectl, "job/paused", ".status.active", "")?;
    ensure!(jsonpath(kubectl, "job/paused", ".status.failed")?.is_empty(), "a pod given up is no failure");
    Ok(())
}

fn e2e_a_job_past_its_deadline_is_ended(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(&job("slow", "sleep 3600", json!({"activeDeadlineSeconds": 2})).to_string())?;
    let slow = finished(kubectl, "slow", "Failed")?;
    let conditions = slow["status"]["conditions"].as_array().context("conditions")?;
    ensure!(conditions.iter().any(|condition| condition["type"] == "Failed" && condition["reason"] == "DeadlineExceeded"), "{slow}");
    ensure!(slow["status"]["active"].is_null(), "{}", slow["status"]);
    Ok(())
}

fn e2e_a_stateful_set_makes_and_removes_pods_in_order_under_stable_names(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(&sleeping("StatefulSet", "db", json!({"replicas": 3, "serviceName": "db"})).to_string())?;
    kubectl.run(&["rollout", "status", "statefulset/db", "--timeout=180s"])?;
    let made = pods_of(kubectl, "app=db")?;
    ensure!(names(&made) == ["db-0", "db-1", "db-2"].map(str::to_owned).into());
    let at = |name: &str, condition: &str| -> Result<String> {
        let pod = made.iter().find(|pod| pod["metadata"]["name"] == name).context("the pod")?;
        Ok(pods::condition(pod, condition)["lastTransitionTime"].as_str().context("a time")?.to_owned())
    };
    for (before, after) in [("db-0", "db-1"), ("db-1", "db-2")] {
        ensure!(at(before, "Ready")? <= at(after, "PodScheduled")?, "{after} waits for {before}");
    }
    ensure!(pods::sh(kubectl, "db-1", "hostname")?.trim() == "db-1");
    // A deleted pod comes back under its name, as another pod.
    let uid = jsonpath(kubectl, "pod/db-1", ".metadata.uid")?;
    kubectl.run(&["delete", "pod", "db-1"])?;
    eventually("another pod of the same name", || {
        let pod = kubectl.json(&["get", "pod", "db-1"])?;
        ensure!(pod["metadata"]["uid"] != uid.as_str());
        ensure!(pods::condition(&pod, "Ready")["status"] == "True");
        Ok(())
    })?;
    kubectl.run(&["scale", "statefulset", "db", "--replicas=1"])?;
    eventually("one pod to be left", || {
        let left = names(&pods_of(kubectl, "app=db")?);
        ensure!(!left.contains("db-2") || left.contains("db-1"), "the highest goes first: {left:?}");
        ensure!(left == ["db-0".to_owned()].into(), "{left:?}");
        Ok(())
    })?;
    shows(kubectl, "statefulset/db", ".status.replicas", "1")?;
    // The first never gets ready: the second is not made. In parallel it is.
    let stuck = |policy: &str| {
        let probe = json!({"exec": {"command": ["false"]}});
        let mut set =
            sleeping("StatefulSet", &policy.to_lowercase(), json!({"replicas": 2, "serviceName": "x", "podManagementPolicy": policy}));
        set["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = probe;
        set
    };
    kubectl.apply(&stuck("OrderedReady").to_string())?;
    kubectl.apply(&stuck("Parallel").to_string())?;
    pods::phase(kubectl, "parallel-1", "Running")?;
    pods::phase(kubectl, "orderedready-0", "Running")?;
    ensure!(names(&pods_of(kubectl, "app=orderedready")?) == ["orderedready-0".to_owned()].into());
    Ok(())
}

fn e2e_a_stateful_set_updates_down_to_its_partition(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    let set = sleeping("StatefulSet", "web", json!({"replicas": 2, "serviceName": "web", "updateStrategy": strategy}));
    kubectl.apply(&set.to_string())?;
    kubectl.run(&["rollout", "status", "statefulset/web", "--timeout=180s"])?;
    kubectl.run(&["set", "env", "statefulset/web", "COLOUR=blue"])?;
    kubectl.run(&["rollout", "status", "statefulset/web", "--timeout=180s"])?;
    let colour = |name: &str| jsonpath(kubectl, &format!("pod/{name}"), ".spec.containers[0].env[0].value");
    ensure!((colour("web-0")?.as_str(), colour("web-1")?.as_str()) == ("", "blue"));
    // Below the partition a lost pod comes back with the old template.
    kubectl.run(&["delete", "pod", "web-0"])?;
    eventually("web-0 to be back", || pods::ready(kubectl, "web-0"))?;
    ensure!(colour("web-0")?.is_empty());
    kubectl.run(&["patch", "statefulset", "web", "-p", r#"{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}"#])?;
    kubectl.run(&["rollout", "status", "statefulset/web", "--timeout=180s"])?;
    ensure!(colour("web-0")? == "blue");
    shows(kubectl, "statefulset/web", ".status.updatedReplicas", "2")?;
    let status = &kubectl.json(&["get", "statefulset", "web"])?["status"];
    ensure!(status["currentRevision"] == status["updateRevision"], "{status}");
    kubectl.run(&["rollout", "undo", "statefulset/web"])?;
    kubectl.run(&["rollout", "status", "statefulset/web", "--timeout=180s"])?;
    eventually("the old template", || {
        ensure!(colour("web-0")?.is_empty() && colour("web-1")?.is_empty());
        Ok(())
    })
}

fn e2e_a_cron_job_is_run_by_hand_and_by_the_clock(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "cronjob", "yearly", "--schedule=@yearly", "--image", pods::BUSYBOX, "--", "echo", "happy"])?;
    kubectl.run(&["create", "job", "now", "--from=cronjob/yearly"])?;
    finished(kubectl, "now", "Complete")?;
    ensure!(kubectl.run(&["logs", "job/now"])? == "happy\n");
    // A time that went by while it was suspended is made up for at once: no test waits for a minute's end.
    let made = kubectl.json(&["get", "cronjob", "yearly"])?;
    ensure!(made["status"]["lastScheduleTime"].is_null(), "{}", made["status"]);
    kubectl.run(&["patch", "cronjob", "yearly", "-p", r#"{"spec":{"schedule":"* * * * *"}}"#])?;
    let past = json!({"status": {"lastScheduleTime": "2020-01-01T00:00:00Z"}}).to_string();
    kubectl.run(&["patch", "cronjob", "yearly", "--subresource=status", "--type=merge", "-p", &past])?;
    let name = eventually("a scheduled job", || {
        let jobs = kubectl.run(&["get", "jobs", "-o", "jsonpath={.items[*].metadata.name}"])?;
        let name = jobs.split(' ').find(|name| name.starts_with("yearly-")).context("there is none yet")?;
        Ok(name.to_owned())
    })?;
    finished(kubectl, &name, "Complete")?;
    eventually("the success to be noted", || {
        ensure!(!jsonpath(kubectl, "cronjob/yearly", ".status.lastSuccessfulTime")?.is_empty());
        Ok(())
    })?;
    kubectl.run(&["patch", "cronjob", "yearly", "-p", r#"{"spec":{"suspend":true,"successfulJobsHistoryLimit":0}}"#])?;
    kubectl.run(&["wait", &format!("job/{name}"), "--for=delete", "--timeout=180s"]).map(drop)
}

fn e2e_replicas_stand_on_different_nodes_without_being_asked_to(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(&sleeping("Deployment", "web", json!({"replicas": 4})).to_string())?;
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=180s"])?;
    let stand = pods_of(kubectl, "app=web")?;
    let on = |node: &str| stand.iter().filter(|pod| pod["spec"]["nodeName"] == node).count();
    ensure!((on("node1"), on("node2")) == (2, 2), "{} on node1, {} on node2", on("node1"), on("node2"));
    Ok(())
}
