//! What makes a schema structural. So far: that it can be compiled.

use super::Node;
use crate::complaint;
use orknet_resources::FieldError;
use serde_json::Value;

/// What is wrong with a schema. `at`: its field (`spec.versions[0].schema.openAPIV3Schema`).
pub fn problems(schema: &Value, at: &str) -> Vec<FieldError> {
    match Node::compile(schema) {
        Ok(_) => Vec::new(),
        Err(error) => vec![complaint::invalid(at.to_owned(), &"".into(), error.to_string())],
    }
}
