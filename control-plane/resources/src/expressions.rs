//! The variables that expressions of admission may name (match conditions of webhooks, admission policies), with their types. Pure.
//! Source: `apiserver/pkg/admission/plugin/cel/compile.go` of Kubernetes 1.33.

use crate::field::{Errors, Path};
use orknet_cel::{CompileError, Env, Program, Type};
use std::sync::LazyLock;

/// `object`, `oldObject`, `namespaceObject`, `request` and `authorizer`.
pub fn environment() -> Env {
    Env::new(&[
        ("object", Type::Dyn),
        ("oldObject", Type::Dyn),
        ("namespaceObject", namespace_type().clone()),
        ("request", request_type().clone()),
        ("authorizer", Type::Opaque("kubernetes.authorization.Authorizer")),
        ("authorizer.requestResource", Type::Opaque("kubernetes.authorization.ResourceCheck")),
    ])
}

/// The type of `request`, an AdmissionRequest without its objects.
pub fn request_type() -> &'static Type {
    static TYPE: LazyLock<Type> = LazyLock::new(request);
    &TYPE
}

/// The type of `namespaceObject`.
pub fn namespace_type() -> &'static Type {
    static TYPE: LazyLock<Type> = LazyLock::new(namespace);
    &TYPE
}

/// A program that says yes or no. The error is what clients read.
pub fn condition(environment: &Env, expression: &str) -> Result<Program, String> {
    environment.compile(expression, &[Type::Bool]).map_err(|error| words(&error))
}

/// A fault as clients read it.
pub fn words(error: &CompileError) -> String {
    match error {
        CompileError::Issues(_) => format!("compilation failed: {error}"),
        CompileError::Result { .. } => error.to_string(),
    }
}

/// What the expressions of one policy may name besides its variables.
pub struct PolicyEnvironments {
    pub all: Env,
    /// Of expressions that make messages: they may not ask the authorizer.
    pub messages: Env,
}

impl PolicyEnvironments {
    /// `params`: whether the policy has a kind of parameters.
    pub fn new(params: bool) -> Self {
        let all = if params { environment().with("params", Type::Dyn) } else { environment() };
        let messages = all.clone().without("authorizer").without("authorizer.requestResource");
        Self { all, messages }
    }
}

/// Complains of an expression that is none, or none that says yes or no.
pub fn validate_condition(environment: &Env, expression: &str, at: &Path<'_>, errors: &mut Errors) {
    if let Err(why) = condition(environment, expression) {
        errors.invalid(at, expression, why);
    }
}

fn object(name: &str, fields: impl IntoIterator<Item = (&'static str, Type)>) -> Type {
    Type::native(name, fields.into_iter().map(|(name, type_)| (name.to_owned(), type_)))
}

fn texts(name: &str, fields: &[&'static str]) -> Type {
    object(name, fields.iter().map(|field| (*field, Type::STRING)))
}

fn request() -> Type {
    let kind = texts("kubernetes.GroupVersionKind", &["group", "version", "kind"]);
    let resource = texts("kubernetes.GroupVersionResource", &["group", "version", "resource"]);
    let user = object(
        "kubernetes.UserInfo",
        [
            ("username", Type::STRING),
            ("uid", Type::STRING),
            ("groups", Type::list(Type::STRING)),
            ("extra", Type::map(Type::STRING, Type::list(Type::STRING))),
        ],
    );
    object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", Type::STRING),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", Type::STRING),
            ("name", Type::STRING),
            ("namespace", Type::STRING),
            ("operation", Type::STRING),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

fn namespace() -> Type {
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", Type::STRING),
            ("generateName", Type::STRING),
            ("namespace", Type::STRING),
            ("labels", Type::map(Type::STRING, Type::STRING)),
            ("annotations", Type::map(Type::STRING, Type::STRING)),
            ("UID", Type::STRING),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::STRING),
            ("finalizers", Type::list(Type::STRING)),
        ],
    );
    let condition = object(
        "kubernetes.NamespaceCondition",
        [
            ("status", Type::STRING),
            ("type", Type::STRING),
            ("lastTransitionTime", Type::Timestamp),
            ("message", Type::STRING),
            ("reason", Type::STRING),
        ],
    );
    let spec = object("kubernetes.NamespaceSpec", [("finalizers", Type::list(Type::STRING))]);
    let status = object("kubernetes.NamespaceStatus", [("conditions", Type::list(condition)), ("phase", Type::STRING)]);
    object("kubernetes.Namespace", [("metadata", metadata), ("spec", spec), ("status", status)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_has_may_be_asked() {
        let environment = environment();
        for right in [
            "request.kind.group == 'apps' && request.requestResource.resource == 'pods'",
            "has(object.metadata.labels) || oldObject == null",
            "'admins' in request.userInfo.groups && request.userInfo.extra['scope'][0] == 'a'",
            "authorizer.group('').resource('pods').namespace('default').check('create').allowed()",
            "authorizer.requestResource.check('update').allowed()",
            "namespaceObject.metadata.labels['a'] == 'b' && !request.dryRun",
            "has(request.options.fieldManager) ? request.options.fieldManager == 'm' : false",
        ] {
            assert!(condition(&environment, right).is_ok(), "{right}: {:?}", condition(&environment, right));
        }
        for (wrong, expected) in [
            ("request.unknown == ''", "compilation failed: ERROR: <input>:1:8: undefined field 'unknown'"),
            ("other == 1", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'other'"),
            ("request.name", "must evaluate to bool but got string"),
            ("object.", "compilation failed: ERROR: <input>:1:8: Syntax error: "),
        ] {
            let error = condition(&environment, wrong).expect_err(wrong);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
