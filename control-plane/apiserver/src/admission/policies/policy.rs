//! Policies and bindings as they are stored, read and compiled; read again when one has changed, compiled once for each generation.

use crate::admission::rules::Rule;
use crate::cache::{Caches, KindCache};
use crate::in_place::in_place;
use crate::kinds::StoredAs;
use crate::object;
use crate::selector::LabelSelector;
use orknet_cel::{CompileError, Composer, Program, Type};
use orknet_resources::expressions::{PolicyEnvironments, words};
use orknet_store::Revision;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

const POLICIES: StoredAs = ("admissionregistration.k8s.io", "validatingadmissionpolicies");
const BINDINGS: StoredAs = ("admissionregistration.k8s.io", "validatingadmissionpolicybindings");

/// An expression with its program, or why it is none: those are stored only if another version of the server took them.
#[derive(Debug)]
pub struct Expression {
    pub source: String,
    pub program: Result<Program, String>,
}

/// A kind that a policy's parameters are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindReference {
    pub group: String,
    pub version: String,
    pub kind: String,
}

/// Which requests are meant.
#[derive(Debug)]
pub struct Matching {
    pub rules: Vec<Rule>,
    pub excluded: Vec<Rule>,
    pub equivalent: bool,
    pub namespaces: LabelSelector,
    pub objects: LabelSelector,
}

/// What must be true.
#[derive(Debug)]
pub struct Validation {
    pub expression: Expression,
    pub message: String,
    pub message_expression: Option<Expression>,
    pub reason: Option<String>,
}

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    pub name: String,
    pub matching: Matching,
    pub parameters: Option<KindReference>,
    /// Whether a request goes on when the policy cannot be evaluated (`failurePolicy: Ignore`).
    pub ignores_failure: bool,
    pub conditions: Vec<Expression>,
    /// By name.
    pub variables: HashMap<String, Expression>,
    pub validations: Vec<Validation>,
    /// Key and value.
    pub annotations: Vec<(String, Expression)>,
}

/// Where a binding's parameters are.
#[derive(Debug)]
pub struct ParamReference {
    pub name: String,
    /// Empty: that of the request.
    pub namespace: String,
    pub selector: Option<LabelSelector>,
    /// Whether the request fails when there are none.
    pub must_be_found: bool,
}

/// Where a policy holds.
#[derive(Debug)]
pub struct Binding {
    pub name: String,
    /// `None`: wherever the policy is about.
    pub matching: Option<Matching>,
    pub parameters: Option<ParamReference>,
    pub actions: Vec<String>,
}

/// A policy with its bindings, in the order of their names.
#[derive(Debug)]
pub struct Bound {
    pub policy: Arc<Policy>,
    pub bindings: Vec<Binding>,
}

/// As messages name a kind.
impl fmt::Display for KindReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, version, kind } = self;
        let slash = if group.is_empty() { "" } else { "/" };
        write!(f, "{group}{slash}{version}, Kind={kind}")
    }
}

impl Expression {
    fn new(source: &str, compiled: Result<Program, CompileError>) -> Self {
        let program = compiled.map_err(|error| format!("compilation error: {}", words(&error)));
        Self { source: source.to_owned(), program }
    }
}

impl Matching {
    fn from_object(resources: &Value) -> Self {
        let rules = |field: &str| resources.get(field).and_then(Value::as_array).into_iter().flatten().map(Rule::from_object).collect();
        let selector = |field: &str| resources.get(field).and_then(LabelSelector::from_object).unwrap_or_default();
        Self {
            rules: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            equivalent: object::text(resources, "/matchPolicy") != "Exact",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }
}

impl Policy {
    fn from_object(policy: &Value) -> Self {
        let spec = &policy["spec"];
        let list = |field: &str| spec.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let parameters = spec.get("paramKind").filter(|kind| kind.is_object()).map(|kind| {
            let api_version = object::text(kind, "/apiVersion");
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            KindReference { group: group.to_owned(), version: version.to_owned(), kind: object::text(kind, "/kind").to_owned() }
        });
        let PolicyEnvironments { all, messages } = PolicyEnvironments::new(parameters.is_some());
        let conditions = list("matchConditions").iter().map(|condition| {
            let source = object::text(condition, "/expression").trim();
            Expression::new(source, all.compile(source, &[Type::Bool]))
        });
        let mut composer = Composer::default();
        let mut variables = HashMap::new();
        for variable in list("variables") {
            let (name, source) = (object::text(variable, "/name"), object::text(variable, "/expression"));
            variables.insert(name.to_owned(), Expression::new(source, composer.variable(&all, name, source)));
        }
        let validations = list("validations").iter().map(|validation| {
            let text = |field: &str| validation.get(field).and_then(Value::as_str).unwrap_or_default();
            let (source, message) = (text("expression"), text("messageExpression"));
            Validation {
                expression: Expression::new(source, composer.compile(&all, source, &[Type::Bool])),
                message: text("message").trim().to_owned(),
                message_expression: (!message.is_empty())
                    .then(|| Expression::new(message, composer.compile(&messages, message, &[Type::STRING]))),
                reason: validation.get("reason").and_then(Value::as_str).map(str::to_owned),
            }
        });
        let annotations = list("auditAnnotations").iter().map(|annotation| {
            let source = object::text(annotation, "/valueExpression").trim();
            let value = Expression::new(source, composer.compile(&all, source, &[Type::STRING, Type::Null]));
            (object::text(annotation, "/key").to_owned(), value)
        });
        Self {
            name: object::name(policy).to_owned(),
            matching: Matching::from_object(spec.get("matchConstraints").unwrap_or(&Value::Null)),
            ignores_failure: object::text(spec, "/failurePolicy") == "Ignore",
            conditions: conditions.collect(),
            validations: validations.collect(),
            annotations: annotations.collect(),
            variables,
            parameters,
        }
    }
}

impl Binding {
    fn from_object(binding: &Value) -> Self {
        let spec = &binding["spec"];
        let parameters = spec.get("paramRef").filter(|reference| reference.is_object()).map(|reference| ParamReference {
            name: object::text(reference, "/name").to_owned(),
            namespace: object::text(reference, "/namespace").to_owned(),
            selector: reference.get("selector").and_then(LabelSelector::from_object),
            must_be_found: object::text(reference, "/parameterNotFoundAction") == "Deny",
        });
        Self {
            name: object::name(binding).to_owned(),
            matching: spec.get("matchResources").filter(|resources| resources.is_object()).map(Matching::from_object),
            parameters,
            actions: object::strings(spec.get("validationActions")).into_iter().map(str::to_owned).collect(),
        }
    }
}

/// All policies that are bound.
pub struct Policies {
    caches: Arc<Caches>,
    read: Mutex<Read>,
    /// Whose turn it is to read anew.
    compiling: Mutex<()>,
}

/// What was read, and of which revisions.
struct Read {
    policies: Revision,
    bindings: Revision,
    bound: Arc<[Bound]>,
    /// By uid and generation.
    compiled: HashMap<(String, i64), Arc<Policy>>,
}

impl Policies {
    pub fn new(caches: Arc<Caches>) -> Self {
        let read = Read { policies: 0, bindings: 0, bound: Arc::new([]), compiled: HashMap::new() };
        Self { caches, read: Mutex::new(read), compiling: Mutex::new(()) }
    }

    /// Those that are bound now, in the order of their names.
    pub fn now(&self) -> Arc<[Bound]> {
        let (Some(policies), Some(bindings)) = (self.caches.of(POLICIES), self.caches.of(BINDINGS)) else { return Arc::new([]) };
        let known = || {
            let read = self.read.lock();
            ((read.policies, read.bindings) == (policies.revision(), bindings.revision())).then(|| read.bound.clone())
        };
        known().unwrap_or_else(|| {
            in_place(|| {
                // One compiles, for all who wait; who needs nothing new goes on.
                let _turn = self.compiling.lock();
                known().unwrap_or_else(|| self.read_anew(&policies, &bindings))
            })
        })
    }

    /// Reads what is stored. What was compiled before is taken over.
    fn read_anew(&self, policies: &Arc<KindCache>, bindings: &Arc<KindCache>) -> Arc<[Bound]> {
        let before = self.read.lock().compiled.clone();
        let (policies, bindings) = (policies.snapshot(""), bindings.snapshot(""));
        let values = |objects: &[Arc<crate::cache::CachedObject>]| objects.iter().map(|object| object.value()).collect::<Vec<Value>>();
        let mut compiled = HashMap::new();
        let mut bound: HashMap<String, Bound> = HashMap::new();
        for object in values(&policies.objects) {
            let key = (object::uid(&object).to_owned(), object::generation(&object).unwrap_or_default());
            let policy = before.get(&key).cloned().unwrap_or_else(|| Arc::new(Policy::from_object(&object)));
            bound.insert(policy.name.clone(), Bound { policy: policy.clone(), bindings: Vec::new() });
            compiled.insert(key, policy);
        }
        for object in values(&bindings.objects) {
            if let Some(bound) = bound.get_mut(object::text(&object, "/spec/policyName")) {
                bound.bindings.push(Binding::from_object(&object));
            }
        }
        let mut bound: Vec<Bound> = bound.into_values().filter(|bound| !bound.bindings.is_empty()).collect();
        bound.sort_by(|one, other| one.policy.name.cmp(&other.policy.name));
        bound.iter_mut().for_each(|bound| bound.bindings.sort_by(|one, other| one.name.cmp(&other.name)));
        let bound: Arc<[Bound]> = bound.into();
        *self.read.lock() = Read { policies: policies.revision, bindings: bindings.revision, bound: bound.clone(), compiled };
        bound
    }
}
