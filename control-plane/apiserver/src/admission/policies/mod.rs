//! ValidatingAdmissionPolicy: rules for objects that are expressions, evaluated in the server itself. What a policy says is compiled once
//! ([`policy`]), where it holds its bindings say ([`bindings`]), what is asked and answered is pure ([`evaluate`]).
//! Source: `apiserver/pkg/admission/plugin/policy/validating`; the texts are kube-apiserver's.

mod evaluate;
mod params;
mod policy;
mod scope;

use super::chain::{Attributes, Plugin};
use super::expression::RequestAuthorizer;
use super::namespace;
use super::rules::is_exempt;
use super::webhooks::matching::{self, Told, namespace_of};
use super::webhooks::{call, hook::ReviewVersion, review};
use crate::audit;
use crate::error::ApiError;
use crate::in_place::in_place;
use crate::kinds::StoredAs;
use async_trait::async_trait;
use evaluate::{Decision, Outcome};
pub use policy::Policies;
use policy::{Binding, Bound, Matching, Policy};
use scope::Input;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NAMESPACES: StoredAs = ("", "namespaces");

/// Bytes of the value of an audit annotation.
const LONGEST_ANNOTATION: usize = 10 * 1024;

/// See the module.
pub struct ValidatingAdmissionPolicy;

/// Why a request is refused, and by whom.
struct Refusal {
    /// `'policy'`, or `'policy' with binding 'binding'`.
    by: String,
    decision: Decision,
}

#[async_trait]
impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        let names = what.kind.descriptor();
        !is_exempt(names.group, names.plural) && !is_question(names.group, names.plural)
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        let policies = what.server.policies.now();
        let mut refusals = Vec::new();
        for bound in policies.iter() {
            ask(bound, what, &mut refusals).await?;
        }
        // Of several, the first one is told.
        refusals.into_iter().next().map_or(Ok(()), |refusal| Err(told(what, &refusal)))
    }
}

/// Whether it is a question that is answered and not kept: who somebody is, and whether he may. Policies that judged these could break the cluster
/// (`pkg/kubeapiserver/admission/exclusion` of Kubernetes); webhooks are asked about them.
fn is_question(group: &str, plural: &str) -> bool {
    matches!(
        (group, plural),
        ("authentication.k8s.io", "tokenreviews" | "selfsubjectreviews")
            | (
                "authorization.k8s.io",
                "localsubjectaccessreviews" | "selfsubjectaccessreviews" | "selfsubjectrulesreviews" | "subjectaccessreviews"
            )
    )
}

/// Everything one policy has to say about the request.
async fn ask(bound: &Bound, what: &Attributes<'_>, refusals: &mut Vec<Refusal>) -> Result<(), ApiError> {
    let policy = &bound.policy;
    let mut misconfigured = |binding: Option<&Binding>, why: &dyn std::fmt::Display| {
        if !policy.ignores_failure {
            let part = if binding.is_some() { "binding" } else { "policy" };
            let decision = Decision::failed(format!("failed to configure {part}: {why}"));
            refusals.push(Refusal { by: by(policy, binding), decision });
        }
    };
    let told = match matches(&policy.matching, what).await {
        Ok(Some(told)) => told,
        Ok(None) => return Ok(()),
        Err(error) => {
            misconfigured(None, &error.message());
            return Ok(());
        }
    };
    let kind = match &policy.parameters {
        None => None,
        Some(reference) => match params::kind_of(reference, what.server) {
            Some(kind) => Some(kind),
            None => {
                misconfigured(None, &format!("failed to find resource referenced by paramKind: '{reference}'"));
                return Ok(());
            }
        },
    };
    let mut asked = Vec::new();
    for binding in &bound.bindings {
        match &binding.matching {
            None => {}
            Some(matching) => match matches(matching, what).await {
                Ok(Some(_)) => {}
                Ok(None) => continue,
                Err(error) => {
                    misconfigured(Some(binding), &error.message());
                    continue;
                }
            },
        }
        match params::of(kind.as_ref(), binding.parameters.as_ref(), what).await? {
            Ok(params) => asked.push((binding, params)),
            Err(why) => misconfigured(Some(binding), &why),
        }
    }
    if asked.is_empty() {
        return Ok(());
    }
    let prepared = Prepared::of(what, &told).await?;
    // Of all bindings, each value of a key once.
    let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (binding, params) in &asked {
        for params in params {
            let params = params.value();
            let outcome = in_place(|| prepared.evaluate(policy, &params, what));
            settle(policy, binding, outcome, what, (refusals, &mut annotations));
            // Each has a budget of its own: between them the request may be given up.
            tokio::task::yield_now().await;
        }
    }
    for (key, values) in annotations {
        audit::annotate(&format!("{}/{key}", policy.name), || values.join(", "));
    }
    Ok(())
}

/// Whether a policy or binding is about the request, and in which form. The namespace is looked at last: that it is not there is no fault of a policy
/// about something else.
async fn matches(matching: &Matching, what: &Attributes<'_>) -> Result<Option<Told>, ApiError> {
    if !matching::objects_match(&matching.objects, what) || matching::resource(&matching.excluded, matching.equivalent, what).is_some() {
        return Ok(None);
    }
    let told = if matching.rules.is_empty() { Some(Told::Own) } else { matching::resource(&matching.rules, matching.equivalent, what) };
    let Some(told) = told else { return Ok(None) };
    Ok(matching::namespace_matches(&matching.namespaces, what).await?.then_some(told))
}

/// What expressions are told, as JSON.
struct Prepared {
    object: Value,
    old: Value,
    request: Value,
    namespace: Value,
}

impl Prepared {
    async fn of(what: &Attributes<'_>, told: &Told) -> Result<Self, ApiError> {
        let kind = match told {
            Told::Own => what.kind,
            Told::As(kind) => kind,
        };
        let (object, old) = call::shown(what, kind).await?;
        let mut review = review::request(ReviewVersion::V1, "", what, kind.descriptor(), None, None);
        let mut request = review.get_mut("request").map(Value::take).unwrap_or_default();
        if let Some(request) = request.as_object_mut() {
            request.retain(|field, _| !matches!(field.as_str(), "uid" | "object" | "oldObject"));
        }
        let name = if what.is(NAMESPACES) { "" } else { namespace_of(what) };
        let namespace = match name {
            "" => Value::Null,
            name => match namespace::find(what.server, name).await? {
                Some(namespace) => namespace.value(),
                None => return Err(ApiError::not_found_resource("", "namespaces", name)),
            },
        };
        Ok(Self { object: object.unwrap_or_default(), old: old.unwrap_or_default(), request, namespace })
    }

    fn evaluate(&self, policy: &Policy, params: &Value, what: &Attributes<'_>) -> Outcome {
        let authorizer = RequestAuthorizer { server: what.server, who: what.who };
        let input = Input {
            object: &self.object,
            old: &self.old,
            request: &self.request,
            namespace: &self.namespace,
            params,
            authorizer: &authorizer,
            resource: RequestAuthorizer::question_of(what),
        };
        evaluate::evaluate(policy, &input)
    }
}

fn by(policy: &Policy, binding: Option<&Binding>) -> String {
    match binding {
        Some(binding) => format!("'{}' with binding '{}'", policy.name, binding.name),
        None => format!("'{}'", policy.name),
    }
}

/// Does what the binding says of each failure.
fn settle(
    policy: &Policy,
    binding: &Binding,
    outcome: Outcome,
    what: &Attributes<'_>,
    (refusals, annotations): (&mut Vec<Refusal>, &mut BTreeMap<String, Vec<String>>),
) {
    let by = by(policy, Some(binding));
    for (expression, decision) in outcome.decisions {
        for action in &binding.actions {
            match action.as_str() {
                "Deny" => refusals.push(Refusal { by: by.clone(), decision: decision.clone() }),
                "Warn" => {
                    let warning = format!("Validation failed for ValidatingAdmissionPolicy {by}: {}", decision.message);
                    what.warnings.lock().push(warning);
                }
                _ => audit::annotate("validation.policy.admission.k8s.io/validation_failure", || {
                    let failure = json!({
                        "message": decision.message,
                        "policy": policy.name,
                        "binding": binding.name,
                        "expressionIndex": expression,
                        "validationActions": binding.actions,
                    });
                    json!([failure]).to_string()
                }),
            }
        }
    }
    for (key, value) in outcome.annotations {
        match value {
            Ok(value) => {
                let end = (0..=value.len().min(LONGEST_ANNOTATION)).rev().find(|&end| value.is_char_boundary(end)).unwrap_or(0);
                let values = annotations.entry(key).or_default();
                if !values.iter().any(|known| *known == value[..end]) {
                    values.push(value[..end].to_owned());
                }
            }
            Err(why) => refusals.push(Refusal { by: by.clone(), decision: Decision::failed(why) }),
        }
    }
}

/// The answer: 422 unless the validation gives another reason.
fn told(what: &Attributes<'_>, refusal: &Refusal) -> ApiError {
    let message = format!("ValidatingAdmissionPolicy {} denied request: {}", refusal.by, refusal.decision.message);
    let (code, reason) = match refusal.decision.reason.as_deref().unwrap_or("Invalid") {
        "Forbidden" => (403, "Forbidden"),
        "Unauthorized" => (401, "Unauthorized"),
        "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    let mut status = what.refusal(&message).to_status();
    status["code"] = json!(code);
    status["reason"] = json!(reason);
    status["details"]["causes"] = json!([{ "message": message }]);
    ApiError::of_webhook(&status)
}
