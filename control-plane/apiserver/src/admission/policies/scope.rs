//! The variables of one evaluation of a policy: what the request is, and the policy's own variables, each made when it is first asked for.

use super::policy::Policy;
use orknet_cel::{Authorizer, Authz, Budget, EvalError, Fields, Question, Value, Variables};
use orknet_resources::expressions::{namespace_type, request_type};
use serde_json::Value as Json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

/// What a policy is asked about; `null` for what is not there.
pub struct Input<'a> {
    pub object: &'a Json,
    pub old: &'a Json,
    pub request: &'a Json,
    pub namespace: &'a Json,
    pub params: &'a Json,
    pub authorizer: &'a dyn Authorizer,
    /// What `authorizer.requestResource` is about.
    pub resource: Question,
}

/// See the module.
pub struct Scope<'a> {
    input: &'a Input<'a>,
    policy: &'a Policy,
    /// The policy's variables that were asked for.
    found: RefCell<HashMap<String, Result<Value<'a>, EvalError>>>,
    itself: Weak<Self>,
}

impl<'a> Scope<'a> {
    pub fn new(policy: &'a Policy, input: &'a Input<'a>) -> Rc<Self> {
        Rc::new_cyclic(|itself| Self { input, policy, found: RefCell::default(), itself: itself.clone() })
    }
}

impl std::fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("policy", &self.policy.name).finish_non_exhaustive()
    }
}

impl<'a> Variables<'a> for Scope<'a> {
    fn variable(&self, name: &str) -> Option<Value<'a>> {
        let input = self.input;
        Some(match name {
            "object" => Value::of(input.object),
            "oldObject" => Value::of(input.old),
            "request" => Value::from_json(input.request, request_type()),
            "namespaceObject" => Value::from_json(input.namespace, namespace_type()),
            "params" => Value::of(input.params),
            "authorizer" => Authz::variable(input.authorizer),
            "authorizer.requestResource" => Authz::resource(input.authorizer, input.resource.clone()),
            "variables" => Value::lazy(self.itself.clone()),
            _ => return None,
        })
    }
}

impl<'a> Fields<'a> for Scope<'a> {
    fn field(&self, name: &str, budget: &mut Budget) -> Option<Result<Value<'a>, EvalError>> {
        if let Some(found) = self.found.borrow().get(name) {
            return Some(found.clone());
        }
        let value = match &self.policy.variables.get(name)?.program {
            Ok(program) => program.evaluate(self, budget).map_err(|error| {
                // What ends everything ends the expressions that asked, too.
                if error.is_final() { error } else { EvalError::other(format!("composited variable {name:?} fails to evaluate: {error}")) }
            }),
            Err(why) => Err(EvalError::other(format!("composited variable {name:?} fails to compile: {why}"))),
        };
        self.found.borrow_mut().insert(name.to_owned(), value.clone());
        Some(value)
    }
}
