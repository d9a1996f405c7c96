//! Match conditions: expressions that a request must fulfil. Shared by webhooks and admission policies.

use crate::field::{Errors, Path};
use crate::names;
use k8s_openapi::api::admissionregistration::v1::MatchCondition;

const MOST: usize = 64;

/// The rules for a list of conditions, whose names are its keys.
pub fn validate(list: &[MatchCondition], at: &Path<'_>, errors: &mut Errors) {
    if list.len() > MOST {
        errors.too_many(at, list.len(), MOST);
    }
    for (i, condition) in list.iter().enumerate() {
        let at = at.index(i);
        if condition.expression.trim().is_empty() {
            errors.required(&at.field("expression"), "");
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
