//! What a policy makes of a request. Pure.

use super::policy::{Expression, Policy, Validation};
use super::scope::{Input, Scope};
use orknet_cel::{Budget, EvalError, MATCH_CONDITIONS_LIMIT, OBJECT_LIMIT, Value};

/// Bytes of a message that an expression makes.
const LONGEST_MESSAGE: usize = 5 * 1024;

/// A validation that failed, or could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub message: String,
    /// As the policy gives it.
    pub reason: Option<String>,
}

/// Everything that one evaluation found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Failures, with the numbers of their validations.
    pub decisions: Vec<(usize, Decision)>,
    /// Values of audit annotations by key, or why one has none.
    pub annotations: Vec<(String, Result<String, String>)>,
}

impl Decision {
    pub fn failed(message: String) -> Self {
        Self { message, reason: None }
    }
}

impl Outcome {
    /// Nothing could be asked.
    fn failed(policy: &Policy, message: String) -> Self {
        let decisions = if policy.ignores_failure { Vec::new() } else { vec![(0, Decision::failed(message))] };
        Self { decisions, annotations: Vec::new() }
    }
}

/// Why an expression has no value.
enum Failure {
    /// This one has none.
    One(String),
    /// Nor will any other: the budget is spent.
    All(String),
}

/// Evaluates one expression.
fn value<'a>(expression: &'a Expression, scope: &Scope<'a>, budget: &mut Budget) -> Result<Value<'a>, Failure> {
    let program = expression.program.as_ref().map_err(|why| Failure::One(why.clone()))?;
    program.evaluate(scope, budget).map_err(|error| match error {
        EvalError::BudgetExceeded => Failure::All(error.to_string()),
        error => Failure::One(format!("expression '{}' resulted in error: {error}", expression.source)),
    })
}

/// Asks the policy.
pub fn evaluate(policy: &Policy, input: &Input<'_>) -> Outcome {
    let scope = Scope::new(policy, input);
    match conditions_hold(policy, &scope) {
        Ok(true) => {}
        Ok(false) => return Outcome::default(),
        Err(why) => return Outcome::failed(policy, why),
    }
    let mut outcome = Outcome::default();
    let mut budget = Budget::new(OBJECT_LIMIT);
    for (i, validation) in policy.validations.iter().enumerate() {
        match value(&validation.expression, &scope, &mut budget) {
            Ok(Value::Bool(true)) => {}
            Ok(_) => outcome.decisions.extend(refusal(policy, validation, &scope, &mut budget).map(|decision| (i, decision))),
            Err(Failure::One(_)) if policy.ignores_failure => {}
            Err(Failure::One(why)) => outcome.decisions.push((i, Decision::failed(why))),
            Err(Failure::All(why)) => return Outcome::failed(policy, why),
        }
    }
    let mut budget = Budget::new(OBJECT_LIMIT);
    for (key, expression) in &policy.annotations {
        match value(expression, &scope, &mut budget) {
            Ok(Value::String(text)) if !text.trim().is_empty() => outcome.annotations.push((key.clone(), Ok(text.trim().to_owned()))),
            Ok(_) => {}
            Err(Failure::One(why)) if !policy.ignores_failure => outcome.annotations.push((key.clone(), Err(why))),
            Err(Failure::One(_)) => {}
            Err(Failure::All(why)) => return Outcome::failed(policy, why),
        }
    }
    outcome
}

/// Whether all conditions hold. One that does not decides, whatever fails beside it.
fn conditions_hold<'a>(policy: &'a Policy, scope: &Scope<'a>) -> Result<bool, String> {
    let mut budget = Budget::new(MATCH_CONDITIONS_LIMIT);
    let mut failures = Vec::new();
    for condition in &policy.conditions {
        match value(condition, scope, &mut budget) {
            Ok(Value::Bool(false)) => return Ok(false),
            Ok(_) => {}
            Err(Failure::One(why)) => failures.push(why),
            Err(Failure::All(why)) => {
                failures = vec![why];
                break;
            }
        }
    }
    match &failures[..] {
        [] => Ok(true),
        _ if policy.ignores_failure => Ok(false),
        [only] => Err(only.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

/// What is told of a validation that is not true: the message's expression, the message, or the expression itself.
fn refusal<'a>(policy: &Policy, validation: &'a Validation, scope: &Scope<'a>, budget: &mut Budget) -> Option<Decision> {
    let made = match validation.message_expression.as_ref().map(|expression| value(expression, scope, budget)) {
        Some(Ok(Value::String(text))) => {
            let text = text.trim();
            (text.len() <= LONGEST_MESSAGE && !text.contains('\n')).then(|| text.to_owned())
        }
        Some(Err(Failure::All(why))) => {
            return (!policy.ignores_failure).then(|| Decision::failed(format!("failed messageExpression: {why}")));
        }
        _ => None,
    };
    let given = (!validation.message.is_empty()).then(|| validation.message.clone());
    let message = made
        .filter(|text| !text.is_empty())
        .or(given)
        .unwrap_or_else(|| format!("failed expression: {}", validation.expression.source.trim()));
    Some(Decision { message, reason: Some(validation.reason.clone().unwrap_or_else(|| "Invalid".to_owned())) })
}
