//! The Pod Security Standards (PodSecurity): what pods of a namespace may do, by the namespace's labels ([`policy`]) and the checks of their level and
//! version ([`checks`]). A pod that does more is refused, noted in the log or warned of; of workloads the template is warned of, since their pods are
//! what is refused. Labels that become stricter warn of pods that are there. Nobody and nothing is exempt.

mod baseline;
mod checks;
#[cfg(test)]
mod checks_tests;
mod existing;
mod policy;
mod restricted;
mod subject;

use super::chain::{Attributes, Operation, Plugin};
use super::namespace;
use crate::audit;
use crate::error::ApiError;
use crate::kinds::StoredAs;
use async_trait::async_trait;
use checks::{details, violations};
use policy::{Level, Policy};
use serde_json::Value;
use subject::Subject;

const NAMESPACES: StoredAs = ("", "namespaces");
const PODS: StoredAs = ("", "pods");
/// Where a pod's template is.
const TEMPLATES: [(StoredAs, &str); 8] = [
    (("", "podtemplates"), "/template"),
    (("", "replicationcontrollers"), "/spec/template"),
    (("apps", "replicasets"), "/spec/template"),
    (("apps", "deployments"), "/spec/template"),
    (("apps", "statefulsets"), "/spec/template"),
    (("apps", "daemonsets"), "/spec/template"),
    (("batch", "jobs"), "/spec/template"),
    (("batch", "cronjobs"), "/spec/jobTemplate/spec/template"),
];

/// See the module.
pub struct PodSecurity;

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        let writes_pod = what.is(PODS) && what.operation == Operation::Update && what.subresource == Some("ephemeralcontainers");
        writes_pod || (what.writes_whole() && (what.is(PODS) || what.is(NAMESPACES) || template_of(what).is_some()))
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        let Some(object) = what.object.as_deref() else { return Ok(()) };
        if what.is(NAMESPACES) {
            return validate_namespace(what, object);
        }
        let Some(namespace) = namespace::find(what.server, what.namespace).await? else { return Ok(()) };
        let (policy, complaints) = Policy::of(&namespace.value());
        if !complaints.is_empty() {
            tracing::debug!(namespace = what.namespace, ?complaints, "labels of Pod Security are not understood");
        }
        let enforces = what.is(PODS);
        if (!enforces || policy.enforce.level == Level::Privileged)
            && [policy.audit, policy.warn].iter().all(|s| s.level == Level::Privileged)
        {
            return Ok(());
        }
        let Some(subject) = template_of(what).map_or(Some(object), |pointer| object.pointer(pointer)).map(Subject::read) else {
            return Ok(());
        };
        if let Some(old) = what.old.filter(|_| enforces)
            && !subject.differs_from(&Subject::read(old))
        {
            return Ok(());
        }
        judge(what, &policy, &subject, enforces)
    }
}

/// Notes what is audited, whether the pod is refused or not; refuses what is enforced; warns of what is warned of and not refused.
fn judge(what: &Attributes<'_>, policy: &Policy, subject: &Subject, enforces: bool) -> Result<(), ApiError> {
    if enforces {
        audit::annotate("pod-security.kubernetes.io/enforce-policy", || policy.enforce.to_string());
    }
    let audited = violations(policy.audit, subject);
    if !audited.is_empty() {
        let told = || format!("would violate PodSecurity \"{}\": {}", policy.audit, details(&audited));
        audit::annotate("pod-security.kubernetes.io/audit-violations", told);
    }
    let found = if enforces { violations(policy.enforce, subject) } else { Vec::new() };
    if !found.is_empty() {
        return Err(what.refusal(format_args!("violates PodSecurity \"{}\": {}", policy.enforce, details(&found))));
    }
    let warned = violations(policy.warn, subject);
    if !warned.is_empty() {
        what.warnings.lock().push(format!("would violate PodSecurity \"{}\": {}", policy.warn, details(&warned)));
    }
    Ok(())
}

/// Labels must be understood, unless they were there before. Those that become stricter are held against the pods that are there.
fn validate_namespace(what: &Attributes<'_>, namespace: &Value) -> Result<(), ApiError> {
    let (policy, complaints) = Policy::of(namespace);
    let before = what.old.map(Policy::of);
    if !complaints.is_empty() && before.as_ref().is_none_or(|(_, before)| *before != complaints) {
        return Err(ApiError::invalid(what.kind.descriptor(), what.name, &complaints));
    }
    let Some((before, _)) = before else { return Ok(()) };
    if policy.tightens(&before)
        && let Some(cache) = what.server.storage.caches.of(PODS)
    {
        let pods = cache.snapshot(what.name).objects;
        what.warnings.lock().extend(existing::warnings(what.name, policy.enforce, &pods));
    }
    Ok(())
}

fn template_of(what: &Attributes<'_>) -> Option<&'static str> {
    TEMPLATES.iter().find(|(place, _)| what.is(*place)).map(|(_, pointer)| *pointer)
}

impl Subject {
    /// Of a pod or a template, which have been decoded as their kind before: their parts have their form.
    fn read(object: &Value) -> Self {
        let part = |name: &str| object.get(name).cloned().unwrap_or_default();
        Self {
            meta: serde_json::from_value(part("metadata")).unwrap_or_default(),
            spec: serde_json::from_value(part("spec")).unwrap_or_default(),
        }
    }
}
