//! Every field and item that a value validation judges is part of the structure.

use super::view::{LISTS, items, list, properties, there};
use crate::complaint::required;
use orknet_resources::FieldError;
use orknet_resources::field::Path;
use serde_json::Value;

/// The rule for a whole schema. As in Kubernetes, it is asked of the validations of the root, and of what they say of places below.
pub fn check(schema: &Value, at: &Path<'_>, found: &mut Vec<FieldError>) {
    validations(schema, schema, at, at, found);
}

/// `judge`, at `judge_at`, has validations for what `schema`, at `at`, describes.
fn validations(judge: &Value, schema: &Value, at: &Path<'_>, judge_at: &Path<'_>, found: &mut Vec<FieldError>) {
    if let Some(not) = there(judge, "not") {
        nested(not, Some(schema), at, &judge_at.field("not"), found);
    }
    for name in LISTS {
        for (index, judge) in list(judge, name).iter().enumerate() {
            nested(judge, Some(schema), at, &judge_at.field(name).index(index), found);
        }
    }
}

fn nested(judge: &Value, schema: Option<&Value>, at: &Path<'_>, judge_at: &Path<'_>, found: &mut Vec<FieldError>) {
    let Some(schema) = schema else {
        found.push(required(at.to_string(), format!("because it is defined in {judge_at}")));
        return;
    };
    validations(judge, schema, at, judge_at, found);
    if let Some(judge) = items(judge) {
        nested(judge, items(schema), &at.field("items"), &judge_at.field("items"), found);
    }
    for (name, judge) in properties(judge) {
        let (at, judge_at) = (at.field("properties"), judge_at.field("properties"));
        nested(judge, schema["properties"].get(name), &at.key(name), &judge_at.key(name), found);
    }
}
