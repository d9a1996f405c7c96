//! Whether a configuration has the shape of its kind: the fields that it has, lists and maps where they belong, items that can be told apart. In the words
//! of structured-merge-diff v4.6 (`typed/validate.go`), which kube-apiserver answers with 500 and no reason.

use super::{ApplyError, Gvk, go, items};
use crate::fields::{FieldPath, Segment};
use crate::schema::{ScalarType, Shape};
use crate::{Place, schema::ListType};
use serde_json::Value;
use std::collections::HashSet;

/// Complaints of one configuration: nobody reads more.
const MOST: usize = 100;

/// Refuses a configuration that does not have the shape of its kind.
pub(super) fn check(place: Place<'_>, gvk: Gvk<'_>, config: &Value) -> Result<(), ApplyError> {
    let mut walk = Walk::default();
    walk.visit(place, config);
    let found = match &walk.complaints[..] {
        [] => return Ok(()),
        [only] => only.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    };
    let meta = |field: &str| config.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).unwrap_or_default();
    // Go prints a kind of the core group as `/v1, Kind=Pod`.
    let (namespace, name, kind) = (meta("namespace"), meta("name"), gvk.kind);
    let version = format!("{}/{}", gvk.group, gvk.version);
    Err(ApplyError::Untyped(format!("failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): {found}")))
}

#[derive(Default)]
struct Walk {
    path: Vec<Segment>,
    complaints: Vec<String>,
}

impl Walk {
    fn complain(&mut self, what: &str) {
        if self.complaints.len() < MOST {
            let at = FieldPath(self.path.clone()).to_string();
            self.complaints.push(if at.is_empty() { what.to_owned() } else { format!("{at}: {what}") });
        }
    }

    fn visit(&mut self, place: Place<'_>, value: &Value) {
        match (place.shape(), value) {
            (_, Value::Null) => {}
            (Shape::Granular | Shape::AtomicMap, Value::Object(fields)) => {
                for (name, value) in fields {
                    self.path.push(Segment::field(name));
                    if place.refuses(name) {
                        self.complain("field not declared in schema");
                    } else {
                        self.visit(place.field(name), value);
                    }
                    self.path.pop();
                }
            }
            (Shape::Granular | Shape::AtomicMap, other) => self.complain(&format!("expected map, got {}", go::wrapped(other))),
            (Shape::List(list_type), Value::Array(values)) => self.list(place, list_type, values),
            (Shape::List(_), other) => self.complain(&format!("expected list, got {}", go::wrapped(other))),
            (Shape::Scalar, value) => {
                let wrong = match place.scalar_type() {
                    Some(ScalarType::Numeric) if !value.is_number() => {
                        format!("expected numeric (int or float), got {}", go::type_of(value))
                    }
                    Some(ScalarType::String) if !value.is_string() => format!("expected string, got {}", go::wrapped_syntax(value)),
                    Some(ScalarType::Boolean) if !value.is_boolean() => format!("expected boolean, got {}", go::wrapped(value)),
                    None if value.is_object() || value.is_array() => format!("expected any scalar, got {}", go::wrapped(value)),
                    _ => return,
                };
                self.complain(&wrong);
            }
            (Shape::Deduced | Shape::Opaque, _) => {}
        }
    }

    fn list(&mut self, place: Place<'_>, list_type: ListType<'_>, values: &[Value]) {
        let mut seen = HashSet::new();
        for (index, value) in values.iter().enumerate() {
            let segment = match list_type {
                ListType::Atomic => Segment::Index(index as u64),
                _ => match items::segment(place, list_type, value) {
                    Ok(segment) => segment,
                    Err(why) => {
                        self.complain(&format!("element {index}: {why}"));
                        // Nothing below it could be named.
                        return;
                    }
                },
            };
            if !seen.insert(segment.clone()) {
                self.complain(&format!("duplicate entries for key {}", FieldPath(vec![segment.clone()])));
            }
            self.path.push(segment);
            self.visit(place.item(), value);
            self.path.pop();
        }
    }
}
