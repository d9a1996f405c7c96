//! Match conditions: expressions that a request must fulfil. Shared by webhooks and admission policies.

use crate::expressions::validate_condition;
use crate::field::{Errors, Path};
use crate::names;
use k8s_openapi::api::admissionregistration::v1::MatchCondition;
use orknet_cel::Env;

const MOST: usize = 64;

/// The rules for a list of conditions, whose names are its keys. `environment`: what they may name.
pub fn validate(environment: &Env, list: &[MatchCondition], at: &Path<'_>, errors: &mut Errors) {
    if list.len() > MOST {
        errors.too_many(at, list.len(), MOST);
    }
    for (i, condition) in list.iter().enumerate() {
        let at = at.index(i);
        match condition.expression.trim() {
            "" => errors.required(&at.field("expression"), ""),
            expression => validate_condition(environment, expression, &at.field("expression"), errors),
        }
        match condition.name.as_str() {
            "" => errors.required(&at.field("name"), ""),
            name => {
                errors.format(&at.field("name"), name, names::qualified_name(name));
                if list[..i].iter().any(|before| before.name == name) {
                    errors.duplicate(&at.field("name"), name);
                }
            }
        }
    }
}
