//! The rules for a Job's spec and its changes (`ValidateJob`, `ValidateJobSpecUpdate` of Kubernetes 1.33).

use super::policy;
use crate::field::{Errors, Path};
use crate::kinds::{pod, workload};
use crate::names;
use k8s_openapi::api::batch::v1;
use k8s_openapi::api::core::v1::{Affinity, PodTemplateSpec};

/// Most pods at once, and most indexes that fail, of an indexed Job: lists of indexes stay of a bounded length.
const MAX_INDEXES: i32 = 100_000;
/// The same for a Job of more completions than that which gives each index tries of its own.
const MAX_INDEXES_OF_MANY: i32 = 10_000;
const MAX_MANAGER_BYTES: usize = 63;

/// The rules that also hold inside of a CronJob.
pub fn spec(spec: &v1::JobSpec, at: &Path<'_>, errors: &mut Errors) {
    for (name, value) in [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ] {
        errors.non_negative(&at.field(name), value.unwrap_or_default());
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.required(&at.field("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if let Some(manager) = spec.managed_by.as_deref() {
        let at = at.field("managedBy");
        domain_prefixed(manager, &at, errors);
        if manager.len() > MAX_MANAGER_BYTES {
            errors.too_long(&at, MAX_MANAGER_BYTES);
        }
    }
    errors.one_of_if_set(&at.field("completionMode"), spec.completion_mode.as_deref(), &["NonIndexed", "Indexed"]);
    match spec.completion_mode.as_deref().unwrap_or("NonIndexed") {
        "Indexed" => indexed(spec, at, errors),
        "NonIndexed" => {
            for (name, value) in [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)] {
                if let Some(value) = value {
                    errors.invalid(&at.field(name), value, "requires indexed completion mode");
                }
            }
        }
        _ => {}
    }
    let mut replacements: &[&str] = &["Failed", "TerminatingOrFailed"];
    if let Some(failure) = &spec.pod_failure_policy {
        policy::on_failure(spec, failure, &at.field("podFailurePolicy"), errors);
        replacements = &["Failed"];
    }
    if let Some(success) = &spec.success_policy {
        policy::on_success(spec, success, &at.field("successPolicy"), errors);
    }
    errors.one_of_if_set(&at.field("podReplacementPolicy"), spec.pod_replacement_policy.as_deref(), replacements);
    template(spec, &at.field("template"), errors);
}

/// Bounds of Jobs whose pods have an index each.
fn indexed(spec: &v1::JobSpec, at: &Path<'_>, errors: &mut Errors) {
    let (at_pods, at_failed) = (at.field("parallelism"), at.field("maxFailedIndexes"));
    let (pods, failed) = (spec.parallelism.unwrap_or_default(), spec.max_failed_indexes.unwrap_or_default());
    if pods > MAX_INDEXES {
        let detail = format!("must be less than or equal to {MAX_INDEXES} when completion mode is Indexed");
        errors.invalid(&at_pods, pods, detail);
    }
    match spec.completions {
        None => errors.required(&at.field("completions"), "when completion mode is Indexed"),
        Some(completions) if failed > completions => errors.invalid(&at_failed, failed, "must be less than or equal to completions"),
        Some(_) => {}
    }
    if failed > MAX_INDEXES {
        errors.invalid(&at_failed, failed, format!("must be less than or equal to {MAX_INDEXES}"));
    }
    if spec.completions.is_some_and(|c| c > MAX_INDEXES) && spec.backoff_limit_per_index.is_some() {
        if spec.max_failed_indexes.is_none() {
            errors.required(&at_failed, format!("must be specified when completions is above {MAX_INDEXES}"));
        }
        for (at, value) in [(&at_pods, pods), (&at_failed, failed)] {
            if value > MAX_INDEXES_OF_MANY {
                let most = format!("must be less than or equal to {MAX_INDEXES_OF_MANY}");
                let detail = format!("{most} when completions are above {MAX_INDEXES} and used with backoff limit per index");
                errors.invalid(at, value, detail);
            }
        }
    }
}

/// Pods that come to an end.
fn template(spec: &v1::JobSpec, at: &Path<'_>, errors: &mut Errors) {
    workload::template(&spec.template, pod::validate::RESTART_POLICIES, at, errors);
    let at = at.field("spec");
    let at = at.field("restartPolicy");
    let policy = spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref()).unwrap_or_default();
    match policy {
        "" | "Always" => errors.required(&at, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            errors.invalid(&at, policy, "only \"Never\" is supported when podFailurePolicy is specified");
        }
        "OnFailure" | "Never" => {}
        other => errors.not_supported(&at, other, &["OnFailure", "Never"]),
    }
}

/// The name that pods of the last index get must be a host name.
pub fn name(job: &str, spec: &v1::JobSpec, errors: &mut Errors) {
    let Some(completions) = spec.completions.filter(|c| *c > 0 && spec.completion_mode.as_deref() == Some("Indexed")) else { return };
    let last = format!("{job}-{}", completions - 1);
    if !names::label(&last).is_empty() {
        let at = Path::Root.field("metadata");
        errors.invalid(&at.field("name"), job, format!("will not able to create pod with invalid DNS label: {last}"));
    }
}

/// What stays as it is once the Job is there. `started`: whether it ever had pods.
pub fn change(new: &v1::JobSpec, old: &v1::JobSpec, started: bool, at: &Path<'_>, errors: &mut Errors) {
    let at_completions = at.field("completions");
    if new.completion_mode.as_deref() != Some("Indexed") {
        errors.immutable(&at_completions, &new.completions, &old.completions);
    } else if let Some(completions) = new.completions.filter(|_| new.completions != old.completions)
        && new.completions != new.parallelism
    {
        errors.invalid(&at_completions, completions, "can only be modified in tandem with spec.parallelism");
    }
    errors.immutable(&at.field("selector"), &new.selector, &old.selector);
    let mut allowed = old.template.clone();
    if old.suspend == Some(true) && !started {
        direct_elsewhere(&mut allowed, &new.template);
    }
    errors.immutable(&at.field("template"), &new.template, &allowed);
    errors.immutable(&at.field("completionMode"), &new.completion_mode, &old.completion_mode);
    errors.immutable(&at.field("podFailurePolicy"), &new.pod_failure_policy, &old.pod_failure_policy);
    errors.immutable(&at.field("backoffLimitPerIndex"), &new.backoff_limit_per_index, &old.backoff_limit_per_index);
    errors.immutable(&at.field("managedBy"), &new.managed_by, &old.managed_by);
    errors.immutable(&at.field("successPolicy"), &new.success_policy, &old.success_policy);
}

/// Takes over where the pods may run, and what they are labelled with: a Job that waits may still be told.
fn direct_elsewhere(template: &mut PodTemplateSpec, new: &PodTemplateSpec) {
    if let Some(meta) = &new.metadata {
        let to = template.metadata.get_or_insert_default();
        to.labels.clone_from(&meta.labels);
        to.annotations.clone_from(&meta.annotations);
    } else if let Some(meta) = &mut template.metadata {
        (meta.labels, meta.annotations) = (None, None);
    }
    let (Some(to), Some(from)) = (&mut template.spec, &new.spec) else { return };
    to.node_selector.clone_from(&from.node_selector);
    to.tolerations.clone_from(&from.tolerations);
    to.scheduling_gates.clone_from(&from.scheduling_gates);
    let nodes = from.affinity.as_ref().and_then(|a| a.node_affinity.clone());
    if from.affinity.is_some() || to.affinity.is_some() {
        to.affinity.get_or_insert_default().node_affinity = nodes;
    }
    if from.affinity.is_none() && to.affinity == Some(Affinity::default()) {
        to.affinity = None;
    }
}

/// `example.com/name`
fn domain_prefixed(value: &str, at: &Path<'_>, errors: &mut Errors) {
    match value.split_once('/') {
        _ if value.is_empty() => errors.required(at, ""),
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            errors.format(at, host, names::subdomain(host));
            if !path.bytes().all(|c| c.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&c)) {
                errors.invalid(at, path, names::form("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+", &[]));
            }
        }
        _ => errors.invalid(at, value, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}
