//! Job: pods that run to an end, a given number of times.

use super::workload;
use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::selector;
use crate::table::{self, text, wide};
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::batch::v1;
use serde_json::Value;

pub struct Job;

/// Label with the job's uid; the generated selector selects by it.
const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
/// Older names of the same labels, still set.
const OLD_LABELS: [&str; 2] = ["controller-uid", "job-name"];
const RESTART_POLICIES: &[&str] = &["OnFailure", "Never"];

impl Kind for Job {
    type Object = v1::Job;

    const DESCRIPTOR: Descriptor =
        Descriptor { categories: &["all"], subresources: &["status"], has_generation: true, ..namespaced::<v1::Job>("jobs", "job") };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Status", "Whether the job runs, is complete or failed"),
        text("Completions", "Pods that ended well, and how many have to"),
        text("Duration", "Time from start to end"),
        table::AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
        wide("Selector", "Labels that select the pods"),
    ];

    fn default(object: &mut v1::Job) {
        let Some(spec) = &mut object.spec else { return };
        default_spec(spec);
        if object.metadata.labels.is_none() {
            object.metadata.labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone()).filter(|l| !l.is_empty());
        }
    }

    /// Selects its own pods by uid, unless the user took that over. Needs `metadata.uid`, which the server gives before.
    fn prepare_create(object: &mut Value) {
        let manual = json::get(object, &["spec", "manualSelector"]) == Some(&Value::Bool(true));
        let text = |path: &[&str]| json::get(object, path).cloned();
        if let (false, Some(uid), Some(name)) = (manual, text(&["metadata", "uid"]), text(&["metadata", "name"])) {
            let labels = ["spec", "template", "metadata", "labels"];
            for (label, value) in [(UID_LABEL, &uid), (NAME_LABEL, &name), (OLD_LABELS[0], &uid), (OLD_LABELS[1], &name)] {
                json::put(object, &[&labels[..], &[label]].concat(), value.clone());
            }
            json::put(object, &["spec", "selector", "matchLabels", UID_LABEL], uid);
        }
    }

    fn validate(object: &v1::Job, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        match &object.spec {
            None => errors.required(&at.field("template"), ""),
            Some(spec) => {
                validate_spec(spec, &at, errors);
                match &spec.selector {
                    None => errors.required(&at.field("selector"), ""),
                    Some(chosen) => workload::selects_template("job", chosen, &spec.template, &at, errors),
                }
            }
        }
    }

    fn validate_update(new: &v1::Job, old: &v1::Job, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            return;
        }
        Self::validate(new, errors);
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let at = Path::Root.field("spec");
        errors.immutable(&at.field("selector"), &new.selector, &old.selector);
        errors.immutable(&at.field("completionMode"), &new.completion_mode, &old.completion_mode);
        errors.immutable(&at.field("podFailurePolicy"), &new.pod_failure_policy, &old.pod_failure_policy);
        // An indexed job may be scaled with its parallelism.
        let elastic = new.completion_mode.as_deref() == Some("Indexed") && new.completions == new.parallelism;
        if !elastic {
            errors.immutable(&at.field("completions"), &new.completions, &old.completions);
        }
        // A suspended job's pods may still be directed to other nodes.
        if old.suspend != Some(true) {
            errors.immutable(&at.field("template"), &new.template, &old.template);
        }
    }

    fn warnings(object: &v1::Job) -> Vec<String> {
        workload::template_warnings(object.spec.as_ref().map(|s| &s.template))
    }

    fn cells(object: &v1::Job, now: i64) -> Vec<Value> {
        let spec = or_empty(&object.spec);
        let status = or_empty(&object.status);
        let done = status.succeeded.unwrap_or_default();
        let completions = match (spec.completions, spec.parallelism.unwrap_or_default()) {
            (Some(wanted), _) => format!("{done}/{wanted}"),
            (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}"),
            (None, _) => format!("{done}/1"),
        };
        let end = status.completion_time.as_ref().map_or(now, |t| t.0.as_second());
        let duration = status.start_time.as_ref().map(|t| table::duration(end.saturating_sub(t.0.as_second()))).unwrap_or_default();
        let [containers, images] = workload::containers_and_images(spec.template.spec.as_ref());
        vec![
            table::name(&object.metadata),
            progress(object).into(),
            completions.into(),
            duration.into(),
            table::age(&object.metadata, now),
            containers,
            images,
            selector::shown(spec.selector.as_ref()).into(),
        ]
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.successful", json::text_or(object, &["status", "succeeded"], "0"))]
    }
}

fn default_spec(spec: &mut v1::JobSpec) {
    // Both left out: a single run. Only parallelism given: a work queue without a fixed number of completions.
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    let limit = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
    spec.backoff_limit.get_or_insert(limit);
    spec.completion_mode.get_or_insert_with(|| "NonIndexed".to_owned());
    spec.suspend.get_or_insert(false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    spec.pod_replacement_policy.get_or_insert_with(|| replacement.to_owned());
    workload::default_template(&mut spec.template);
}

/// The rules that also hold inside of a CronJob.
pub fn validate_spec(spec: &v1::JobSpec, at: &Path<'_>, errors: &mut Errors) {
    for (name, value) in [
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("backoffLimit", spec.backoff_limit),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
        ("maxFailedIndexes", spec.max_failed_indexes),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
    ] {
        errors.non_negative(&at.field(name), value.unwrap_or_default());
    }
    errors.non_negative(&at.field("activeDeadlineSeconds"), spec.active_deadline_seconds.unwrap_or_default());
    errors.one_of_if_set(&at.field("completionMode"), spec.completion_mode.as_deref(), &["Indexed", "NonIndexed"]);
    if spec.completion_mode.as_deref() == Some("Indexed") && spec.completions.is_none() {
        errors.required(&at.field("completions"), "when completion mode is Indexed");
    }
    let policies = &["Failed", "TerminatingOrFailed"];
    errors.one_of_if_set(&at.field("podReplacementPolicy"), spec.pod_replacement_policy.as_deref(), policies);
    let template = at.field("template");
    workload::template(&spec.template, RESTART_POLICIES, &template, errors);
    let policy = spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
    if spec.pod_failure_policy.is_some() && policy != Some("Never") {
        let at = template.field("spec");
        let detail = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.invalid(&at.field("restartPolicy"), policy.unwrap_or_default(), detail);
    }
}

fn progress(object: &v1::Job) -> &'static str {
    let conditions = object.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let holds: Vec<&str> = conditions.filter(|c| c.status == "True").map(|c| c.type_.as_str()).collect();
    let is = |kind: &str| holds.contains(&kind);
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if object.metadata.deletion_timestamp.is_some() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<Job> = Typed::NEW;

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

    #[test]
    fn a_job_runs_once_and_selects_its_own_pods() {
        let job = created(json!({}));
        let spec = &job["spec"];
        assert_eq!((&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]), (&json!(1), &json!(1), &json!(6)));
        assert_eq!(spec["selector"], json!({"matchLabels": {UID_LABEL: "u"}}));
        assert_eq!(
            spec["template"]["metadata"]["labels"],
            json!({UID_LABEL: "u", NAME_LABEL: "j", "controller-uid": "u", "job-name": "j"})
        );
        assert_eq!(KIND.validate_create(&job), []);
        assert_eq!(created(json!({"parallelism": 3}))["spec"].get("completions"), None);
    }

    #[test]
    fn pods_of_a_job_come_to_an_end() {
        let template = json!({"spec": {"containers": [{"name": "a", "image": "x"}]}});
        let found = KIND.validate_create(&created(json!({"template": template})));
        assert_eq!(
            found[0].to_string(),
            "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"OnFailure\", \"Never\""
        );
        let found = KIND.validate_update(&created(json!({"completions": 2})), &created(json!({})), None);
        assert_eq!((found[0].field.as_str(), found[0].detail.as_str()), ("spec.completions", "field is immutable"));
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
}
