//! Questions to the server's authorizer: Kubernetes' own library (`apiserver/pkg/cel/library/authz.go`, and its selectors). Who answers is a hook.

use super::{Evaluated, Library, text};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::Value;
use std::fmt;
use std::rc::Rc;

const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
const PATH: &str = "kubernetes.authorization.PathCheck";
const GROUP: &str = "kubernetes.authorization.GroupCheck";
const RESOURCE: &str = "kubernetes.authorization.ResourceCheck";
const DECISION: &str = "kubernetes.authorization.Decision";

pub const LIBRARY: Library = &[
    ("path", "kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.PathCheck", |budget, args| {
        let path = text(args, 1)?.to_owned();
        if path.is_empty() {
            return Err(EvalError::other("path must not be empty"));
        }
        next(budget, args, &[AUTHORIZER], PATH, |question| question.path = Some(path))
    }),
    ("serviceAccount", "kubernetes.authorization.Authorizer.(string, string) -> kubernetes.authorization.Authorizer", |budget, args| {
        let (namespace, name) = (text(args, 1)?.to_owned(), text(args, 2)?.to_owned());
        next(budget, args, &[AUTHORIZER], AUTHORIZER, |question| question.service_account = Some((namespace, name)))
    }),
    ("group", "kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.GroupCheck", |budget, args| {
        let group = text(args, 1)?.to_owned();
        next(budget, args, &[AUTHORIZER], GROUP, |question| question.group = group)
    }),
    ("resource", "kubernetes.authorization.GroupCheck.(string) -> kubernetes.authorization.ResourceCheck", |budget, args| {
        let resource = text(args, 1)?.to_owned();
        next(budget, args, &[GROUP], RESOURCE, |question| question.resource = resource)
    }),
    ("subresource", CHECK, |budget, args| {
        let subresource = text(args, 1)?.to_owned();
        next(budget, args, &[RESOURCE], RESOURCE, |question| question.subresource = subresource)
    }),
    ("namespace", CHECK, |budget, args| {
        let namespace = text(args, 1)?.to_owned();
        next(budget, args, &[RESOURCE], RESOURCE, |question| question.namespace = namespace)
    }),
    ("name", CHECK, |budget, args| {
        let name = text(args, 1)?.to_owned();
        next(budget, args, &[RESOURCE], RESOURCE, |question| question.name = name)
    }),
    ("fieldSelector", CHECK, |budget, args| {
        let selector = text(args, 1)?.to_owned();
        next(budget, args, &[RESOURCE], RESOURCE, |question| question.field_selector = selector)
    }),
    ("labelSelector", CHECK, |budget, args| {
        let selector = text(args, 1)?.to_owned();
        next(budget, args, &[RESOURCE], RESOURCE, |question| question.label_selector = selector)
    }),
    (
        "check",
        "kubernetes.authorization.PathCheck.(string) -> kubernetes.authorization.Decision; \
         kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.Decision",
        check,
    ),
    ("allowed", "kubernetes.authorization.Decision.() -> bool", |budget, args| decided(budget, args, |d| Value::Bool(d.allowed))),
    ("reason", "kubernetes.authorization.Decision.() -> string", |budget, args| {
        decided(budget, args, |d| Value::owned(if d.error.is_some() { "" } else { d.reason.as_str() }))
    }),
    ("errored", "kubernetes.authorization.Decision.() -> bool", |budget, args| decided(budget, args, |d| Value::Bool(d.error.is_some()))),
    ("error", "kubernetes.authorization.Decision.() -> string", |budget, args| {
        decided(budget, args, |d| Value::owned(d.error.as_deref().unwrap_or_default()))
    }),
];

const CHECK: &str = "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck";

/// What may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Namespace and name; `None`: the user who makes the request.
    pub service_account: Option<(String, String)>,
    /// A path outside of the API's resources; then only `verb` counts besides.
    pub path: Option<String>,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// As they are written; empty for none.
    pub field_selector: String,
    pub label_selector: String,
    pub verb: String,
}

impl Question {
    /// Bytes that a copy has.
    fn size(&self) -> usize {
        let account = self.service_account.as_ref().map_or(0, |(namespace, name)| namespace.len() + name.len());
        let texts = [
            &self.group,
            &self.resource,
            &self.subresource,
            &self.namespace,
            &self.name,
            &self.field_selector,
            &self.label_selector,
            &self.verb,
        ];
        texts.iter().map(|text| text.len()).sum::<usize>() + account + self.path.as_ref().map_or(0, String::len)
    }
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    pub error: Option<String>,
}

/// Who answers.
pub trait Authorizer {
    fn decide(&self, question: &Question) -> Decision;
}

/// A question that is being put together, or its answer.
#[derive(Clone)]
pub struct Authz<'a> {
    kind: &'static str,
    question: Question,
    decision: Decision,
    authorizer: &'a dyn Authorizer,
}

impl fmt::Debug for Authz<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.kind).field("question", &self.question).field("decision", &self.decision).finish_non_exhaustive()
    }
}

impl<'a> Authz<'a> {
    pub fn type_name(&self) -> &'static str {
        self.kind
    }

    /// The variable `authorizer`.
    pub fn variable(authorizer: &'a dyn Authorizer) -> Value<'a> {
        Value::Authz(Rc::new(Self { kind: AUTHORIZER, question: Question::default(), decision: Decision::default(), authorizer }))
    }

    /// The variable `authorizer.requestResource`: a check of this resource.
    pub fn resource(authorizer: &'a dyn Authorizer, question: Question) -> Value<'a> {
        Value::Authz(Rc::new(Self { kind: RESOURCE, question, decision: Decision::default(), authorizer }))
    }
}

fn of<'v, 'a>(args: &'v [Value<'a>], kinds: &[&str]) -> Result<&'v Authz<'a>, EvalError> {
    match args.first() {
        Some(Value::Authz(authz)) if kinds.contains(&authz.kind) => Ok(authz),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn next<'a>(
    budget: &mut Budget,
    args: &[Value<'a>],
    from: &[&str],
    kind: &'static str,
    change: impl FnOnce(&mut Question),
) -> Evaluated<'a> {
    budget.charge(1)?;
    let asked = of(args, from)?;
    budget.work((asked.question.size() + args.iter().skip(1).filter_map(Value::as_str).map(str::len).sum::<usize>()) / 16)?;
    let mut authz = asked.clone();
    authz.kind = kind;
    change(&mut authz.question);
    Ok(Value::Authz(Rc::new(authz)))
}

fn check<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let mut authz = of(args, &[PATH, RESOURCE])?.clone();
    authz.question.verb = text(args, 1)?.to_owned();
    // So that an expression can ask twice.
    budget.charge(350_000)?;
    authz.decision = authz.authorizer.decide(&authz.question);
    authz.kind = DECISION;
    Ok(Value::Authz(Rc::new(authz)))
}

fn decided<'a>(budget: &mut Budget, args: &[Value<'a>], part: impl FnOnce(&Decision) -> Value<'a>) -> Evaluated<'a> {
    budget.charge(1)?;
    of(args, &[DECISION]).map(|authz| part(&authz.decision))
}
