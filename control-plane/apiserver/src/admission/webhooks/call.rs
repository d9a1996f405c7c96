//! One question to one webhook, and what its failure means for the request.

use super::annotations::{self, Place};
use super::destination::Destination;
use super::hook::Hook;
use super::review::{self, Answer};
use crate::admission::chain::Attributes;
use crate::custom::convert;
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::object;
use serde_json::Value;
use std::time::Duration;

/// Most bytes of an answer: a patch may bring a whole new object, in base64.
const MOST_BYTES: usize = 8 << 20;

/// Which stage a webhook is asked in, as metrics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Admit,
    Validating,
}

/// Why there is nothing to go on with.
#[derive(Debug)]
pub enum Failure {
    /// The call failed; whether the request does is the failure policy's to say. `code`: the HTTP status of that.
    Calling { code: u16, why: String },
    /// The webhook said no.
    Denied(ApiError),
    /// It asked for what cannot be done: the request fails, whatever the policy.
    Server(ApiError),
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validating => "validating",
        }
    }
}

/// Asks. `told`: the kind in whose form the webhook is told of `object` and `old`.
pub async fn ask(
    hook: &Hook,
    step: Step,
    what: &Attributes<'_>,
    told: &Kind,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<Answer, Failure> {
    if what.dry_run && !hook.is_for_dry_runs {
        let why = format!("admission webhook {:?} does not support dry run", hook.name);
        return Err(Failure::Server(ApiError::bad_request(why)));
    }
    let failed = |code, why| Err(Failure::Calling { code, why });
    let Some(version) = hook.review else {
        let why = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
        return failed(400, why.to_owned());
    };
    let uid = uuid::Uuid::new_v4().to_string();
    let review = review::request(version, &uid, what, told.descriptor(), object, old);
    // A value made of JSON always serialises.
    let body = serde_json::to_vec(&review).unwrap_or_default().into();
    let to: Result<&Destination, String> = hook.destination.as_ref().map_err(Clone::clone);
    let posted = match to {
        Ok(to) => what.server.webhooks.client.post(to, body, MOST_BYTES, hook.patience).await,
        Err(why) => Err(why),
    };
    let body = match posted {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return failed(error.code, format!("failed to call webhook: {error}")),
        Err(why) => return failed(500, format!("could not get REST client: {why}")),
    };
    let answer = match review::answer(version, &uid, step == Step::Admit, &body) {
        Ok(answer) => answer,
        Err(why) => return failed(503, why),
    };
    annotations::own(hook, &answer.annotations);
    what.warnings.lock().extend(answer.warnings.iter().cloned());
    if answer.allowed { Ok(answer) } else { Err(Failure::Denied(ApiError::of_webhook(&review::refusal(&hook.name, &answer.status)))) }
}

/// What an outcome means: `None` for a call that failed and may. Tells metrics and log.
pub fn settle<T>(
    hook: &Hook,
    step: Step,
    place: Place,
    what: &Attributes<'_>,
    took: Duration,
    outcome: Result<T, Failure>,
) -> Result<Option<T>, ApiError> {
    let (metrics, operation) = (&what.server.metrics.webhooks, what.operation);
    let asked = |code, rejected| metrics.asked(&hook.name, step, operation, took, code, rejected);
    let rejected = |kind, code| metrics.rejected(&hook.name, step, operation, kind, code);
    match outcome {
        Ok(value) => {
            asked(200, false);
            Ok(Some(value))
        }
        Err(Failure::Calling { code, why }) => {
            let error = format!("failed calling webhook {:?}: {why}", hook.name);
            let fails = if hook.ignores_failure { "open" } else { "closed" };
            let (webhook, configuration, plural) = (&hook.name, &hook.configuration, what.kind.descriptor().plural);
            let operation = operation.name();
            tracing::warn!(webhook, configuration, operation, plural, what.namespace, what.name, fails, why, "calling a webhook failed");
            asked(code, !hook.ignores_failure);
            if hook.ignores_failure {
                metrics.failed_open(&hook.name, step);
                annotations::failed_open(step, place, hook);
                return Ok(None);
            }
            rejected("calling_webhook_error", code);
            Err(ApiError::internal(error))
        }
        Err(Failure::Denied(error)) => {
            asked(error.code(), true);
            rejected("no_error", error.code());
            Err(error)
        }
        Err(Failure::Server(error)) => {
            asked(0, true);
            rejected("apiserver_internal_error", 0);
            Err(error)
        }
    }
}

/// The object and the one before in the form of a kind in which they are served too, with the version of what is stored.
pub async fn shown(what: &Attributes<'_>, kind: &Kind) -> Result<(Option<Value>, Option<Value>), ApiError> {
    let mut shown = [None, None];
    for (shown, object) in shown.iter_mut().zip([what.object.as_deref(), what.old]) {
        if let Some(object) = object {
            *shown = Some(versioned(convert::in_form_of(what.server, what.kind, kind, object.clone()).await?, what.revision));
        }
    }
    let [object, old] = shown;
    Ok((object, old))
}

/// With the version of what is stored.
fn versioned(mut object: Value, revision: u64) -> Value {
    if revision > 0 {
        object::set_meta(&mut object, "resourceVersion", revision.to_string());
    }
    object
}
