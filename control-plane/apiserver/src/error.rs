//! Every failure that a client can see, as the `Status` object Kubernetes answers with. The one place that maps causes to HTTP codes, reasons and
//! messages; knows nothing of requests in flight.

use crate::http::accept::Offer;
use crate::storage::sealed;
use orknet_patch::PatchError;
use orknet_patch::apply::ApplyError;
use orknet_resources::{Cause, Descriptor, FieldError};
use orknet_store::StoreError;
use serde_json::{Value, json};
use std::borrow::Cow;

/// A request that fails. Source of codes and reasons: `metav1.StatusReason`.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Failure>);

#[derive(Clone, Debug)]
struct Failure {
    code: u16,
    reason: Cow<'static, str>,
    message: String,
    details: Option<Value>,
    retry_after_seconds: Option<u32>,
    warnings: Vec<String>,
    /// Where a list may go on nevertheless.
    continue_token: Option<String>,
}

/// One `metav1.StatusCause`.
#[derive(Clone, Debug)]
pub struct StatusCause {
    pub reason: String,
    pub message: String,
    pub field: String,
}

impl ApiError {
    fn new(code: u16, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (reason, message) = (reason.into(), message.into());
        Self(Box::new(Failure {
            code,
            reason,
            message,
            details: None,
            retry_after_seconds: None,
            warnings: Vec::new(),
            continue_token: None,
        }))
    }

    /// What the answer warns of besides.
    pub fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.0.warnings.extend(warnings);
        self
    }

    fn with_details(mut self, details: Value) -> Self {
        self.0.details = Some(details);
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        match &mut self.0.details {
            Some(Value::Object(details)) => {
                details.insert("retryAfterSeconds".into(), json!(seconds));
            }
            details => *details = Some(json!({ "retryAfterSeconds": seconds })),
        }
        self
    }

    /// 400 with the given words.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: no valid credentials.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 about one object: `pods "x" is forbidden: …`.
    pub fn forbidden(kind: &Descriptor, name: &str, why: impl std::fmt::Display) -> Self {
        Self::forbidden_resource(kind.group, kind.plural, name, why)
    }

    /// 403 where the resource may not be one that is served.
    pub fn forbidden_resource(group: &str, resource: &str, name: &str, why: impl std::fmt::Display) -> Self {
        let shown = if name.is_empty() { String::new() } else { format!(" {name:?}") };
        Self::new(403, "Forbidden", format!("{}{shown} is forbidden: {why}", qualified(resource, group)))
            .with_details(details(name, group, resource))
    }

    /// 403 for a path that is not a resource.
    pub fn forbidden_path(why: impl std::fmt::Display) -> Self {
        Self::new(403, "Forbidden", format!("forbidden: {why}")).with_details(json!({}))
    }

    /// 403 for content made in a namespace that is going away.
    pub fn namespace_terminating(kind: &Descriptor, name: &str, namespace: &str) -> Self {
        let mut details = details(name, kind.group, kind.plural);
        details["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        Self::forbidden(kind, name, why).with_details(details)
    }

    /// 404 for an object.
    pub fn not_found(kind: &Descriptor, name: &str) -> Self {
        Self::not_found_resource(kind.group, kind.plural, name)
    }

    /// 404 for an object of another resource than the one asked for.
    pub fn not_found_resource(group: &str, resource: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", qualified(resource, group)))
            .with_details(details(name, group, resource))
    }

    /// 404 for a path or resource that this server does not have.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_details(json!({}))
    }

    /// 405: the resource is there but does not do this.
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(405, "MethodNotAllowed", message)
    }

    /// 406: nothing in `Accept` can be given.
    pub fn not_acceptable(offer: Offer) -> Self {
        let (json, yaml, protobuf) = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf");
        let all = [(true, json), (!offer.stream, yaml), (offer.protobuf, protobuf)];
        let types: Vec<_> = all.iter().filter(|(given, _)| *given).map(|(_, media)| *media).collect();
        let types = if offer.stream { types.join(";stream=watch, ") + ";stream=watch" } else { types.join(", ") };
        Self::new(406, "NotAcceptable", format!("only the following media types are accepted: {types}"))
    }

    /// 406: the client asked for protobuf, and what it asked about has no such form.
    pub fn no_protobuf(kind: impl std::fmt::Display) -> Self {
        let why = "does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message";
        Self::new(406, "NotAcceptable", format!("object {kind} {why}"))
    }

    /// 409: the name is taken.
    pub fn already_exists(kind: &Descriptor, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", qualified(kind.plural, kind.group))).with_details(details(
            name,
            kind.group,
            kind.plural,
        ))
    }

    /// 409: generated names kept colliding.
    pub fn generated_name_taken(kind: &Descriptor, name: &str) -> Self {
        let mut error = Self::already_exists(kind, name);
        error.0.message.push_str(", the server was not able to generate a unique name for the object");
        error.retry_after(1)
    }

    /// 409 with a reason of its own.
    pub fn conflict(kind: &Descriptor, name: &str, why: impl std::fmt::Display) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(kind.plural, kind.group)))
            .with_details(details(name, kind.group, kind.plural))
    }

    /// 409: the object is not the one that the client has seen.
    pub fn stale(kind: &Descriptor, name: &str) -> Self {
        Self::conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again")
    }

    /// 410: the version asked for is no longer kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The same with a token to go on with.
    pub fn with_continue(mut self, token: String) -> Self {
        self.0.continue_token = Some(token);
        self
    }

    /// 410 for a watch or list at `requested` where `oldest` is the first version still known.
    pub fn too_old(requested: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {requested} ({oldest})"))
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}"),
        )
    }

    /// 422: the object breaks its kind's rules. All complaints in one answer.
    pub fn invalid(kind: &Descriptor, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_kind(kind.group, kind.kind, name, errors)
    }

    /// 422 for the body of a subresource, which is of a kind of its own.
    pub fn invalid_kind(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let causes: Vec<_> = errors
            .iter()
            .map(|error| StatusCause { reason: error.cause.reason().into(), message: error.message(), field: error.field.clone() })
            .collect();
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let shown = if let [line] = &lines[..] { line.clone() } else { format!("[{}]", lines.join(", ")) };
        let mut details = details(name, group, kind);
        details["causes"] = causes.iter().map(StatusCause::to_value).collect();
        Self::new(422, "Invalid", format!("{} {name:?} is invalid: {shown}", qualified(kind, group))).with_details(details)
    }

    /// 422: the object is of a kind whose replacements say what they replace.
    pub fn version_required(kind: &Descriptor, name: &str) -> Self {
        let error = FieldError {
            cause: Cause::Invalid,
            field: "metadata.resourceVersion".into(),
            value: None,
            detail: "0x0: must be specified for an update".into(),
        };
        Self::invalid_kind(kind.group, kind.plural, name, &[error])
    }

    /// A patch that is malformed (400), too large (413), or that the object cannot take (422).
    pub fn patch(error: &PatchError) -> Self {
        match error {
            PatchError::Malformed(why) => Self::bad_request(why.clone()),
            PatchError::TooLarge(why) => Self::new(413, "RequestEntityTooLarge", why.clone()),
            PatchError::Unapplicable { .. } => {
                // Without the object's name: kubectl prints the message only when there is none.
                Self::new(422, "Invalid", format!("the server rejected our request due to an error in our request: {error}"))
                    .with_details(json!({}))
            }
        }
    }

    /// An apply that was not done: fields that belong to others (409), a configuration that does not have the shape of its kind (500), or what [`ApiError::patch`] says.
    pub fn apply(error: &ApplyError) -> Self {
        let conflicts = match error {
            ApplyError::Patch(error) => return Self::patch(error),
            // kube-apiserver has no better code for these either.
            ApplyError::Untyped(why) | ApplyError::Conversion(why) => return Self::unexplained(why.clone()),
            // Is asked again before anybody sees it.
            ApplyError::Pending => return Self::internal(error),
            ApplyError::Conflicts(conflicts) => conflicts,
        };
        let causes: Vec<_> = (conflicts.0.iter())
            .map(|conflict| {
                let (field, message) = (conflict.path.to_string(), conflict.message());
                StatusCause { reason: "FieldManagerConflict".into(), message, field }.to_value()
            })
            .collect();
        Self::new(409, "Conflict", conflicts.to_string()).with_details(json!({ "causes": causes }))
    }

    /// 429 for an eviction that a disruption budget forbids for now. `retry_after_seconds`: when asking again is all that it takes; clients do so
    /// by themselves.
    pub fn disruption_budget(why: impl Into<String>, retry_after_seconds: Option<u32>) -> Self {
        let cause = StatusCause { reason: "DisruptionBudget".into(), message: why.into(), field: String::new() };
        let error = Self::new(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
            .with_details(json!({ "causes": [cause.to_value()] }));
        match retry_after_seconds {
            Some(seconds) => error.retry_after(seconds),
            None => error,
        }
    }

    /// 429: too many requests in flight.
    pub fn too_many_requests() -> Self {
        Self::new(429, "TooManyRequests", "too many requests, please try again later").retry_after(1)
    }

    /// 500 with the given words.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let message = message.to_string();
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
            .with_details(json!({ "causes": [{ "message": message }] }))
    }

    /// 500: a failure without a reason that clients could go by, in words of its own.
    pub fn unexplained(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// What a kubelet refused, in its words.
    pub fn of_kubelet(code: u16, message: &str) -> Self {
        match code {
            400 => Self::bad_request(message),
            404 => Self::new(404, "NotFound", message),
            503 => Self::unavailable(message),
            _ => Self::internal(message),
        }
    }

    /// What a webhook refused: a `Status` with the code of an error, in its words.
    pub fn of_webhook(status: &Value) -> Self {
        let text = |field: &str| status.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = status.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()).unwrap_or(400);
        let mut error = Self::new(code, text("reason"), text("message"));
        error.0.details = status.get("details").filter(|details| details.is_object()).cloned();
        error
    }

    /// 503: a part that the request needs is not there.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message).retry_after(1)
    }

    /// 504: the version asked for has not been reached in time.
    pub fn too_new(requested: u64, current: u64) -> Self {
        let mut error = Self::new(504, "Timeout", format!("Timeout: Too large resource version: {requested}, current: {current}"));
        error.0.details = Some(json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
        }));
        error.retry_after(1)
    }

    /// 504: the request took too long.
    pub fn timeout() -> Self {
        Self::new(504, "Timeout", "Timeout: request did not complete within the allotted timeout")
    }

    /// HTTP status code.
    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// `Status.reason`.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// `Status.message`.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// For `Warning` headers.
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// Seconds for the `Retry-After` header.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.0.retry_after_seconds
    }

    /// The `metav1.Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.0.message,
            "code": self.0.code,
        });
        // Webhooks need not give one.
        if !self.0.reason.is_empty() {
            status["reason"] = json!(self.0.reason);
        }
        if let Some(details) = &self.0.details {
            status["details"] = details.clone();
        }
        if let Some(token) = &self.0.continue_token {
            status["metadata"]["continue"] = json!(token);
        }
        status
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.0.code, self.0.reason, self.0.message)
    }
}

impl std::error::Error for ApiError {}

impl StatusCause {
    fn to_value(&self) -> Value {
        let mut cause = json!({ "reason": self.reason, "message": self.message });
        if !self.field.is_empty() {
            cause["field"] = json!(self.field);
        }
        cause
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Compacted { requested, oldest } => Self::too_old(requested, oldest),
            StoreError::FutureRevision { requested, newest } => Self::too_new(requested, newest),
            StoreError::NoSpace(why) => Self::new(507, "InternalError", format!("insufficient storage: {why}")),
            StoreError::TooLarge { size, limit, .. } => Self::new(
                413,
                "RequestEntityTooLarge",
                format!("Request entity too large: the object has {size} bytes, the limit is {limit}"),
            ),
            StoreError::Unavailable(why) => {
                Self::new(500, "ServerTimeout", format!("the server cannot reach its store: {why}")).retry_after(1)
            }
            // The server is about to end.
            error @ StoreError::Replaced => Self::new(503, "ServiceUnavailable", error.to_string()),
            // Which key of which object is not for clients.
            error if sealed::is_unreadable(&error) => {
                tracing::error!(%error, "a stored value cannot be read");
                Self::internal("a stored value does not open with the server's keys")
            }
            error @ StoreError::Failed { .. } => Self::internal(error),
        }
    }
}

/// `deployments.apps`, or `pods` for the core group.
pub fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

fn details(name: &str, group: &str, kind: &str) -> Value {
    let mut details = json!({ "kind": kind });
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !group.is_empty() {
        details["group"] = json!(group);
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_object_is_named_with_its_group() {
        let error = ApiError::not_found_resource("apps", "deployments", "web");
        assert_eq!(error.message(), r#"deployments.apps "web" not found"#);
        assert_eq!(error.to_status()["details"], json!({ "name": "web", "group": "apps", "kind": "deployments" }));
    }

    #[test]
    fn several_complaints_are_one_status_with_a_cause_each() {
        let kind = crate::kinds::tests::descriptor("apps", "Deployment", "deployments");
        let complaint = |field: &str| FieldError { cause: Cause::Required, field: field.into(), value: None, detail: String::new() };
        let error = ApiError::invalid(kind, "web", &[complaint("spec.selector"), complaint("spec.template")]);
        assert_eq!(error.code(), 422);
        assert_eq!(error.message(), r#"Deployment.apps "web" is invalid: [spec.selector: Required value, spec.template: Required value]"#);
        assert_eq!(error.to_status()["details"]["causes"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn a_full_store_is_insufficient_storage() {
        let error = ApiError::from(StoreError::NoSpace("disk".into()));
        assert_eq!((error.code(), error.reason()), (507, "InternalError"));
    }
}
