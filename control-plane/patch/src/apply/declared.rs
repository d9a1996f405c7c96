//! Fields of a configuration that its kind does not have: nobody could own them.

use super::{Gvk, items};
use crate::fields::{FieldPath, Segment};
use crate::{PatchError, Place, schema::Shape};
use serde_json::Value;

/// Complaints of one configuration: nobody reads more.
const MOST: usize = 100;

/// Refuses a configuration with fields that the schema does not declare, in the words of structured-merge-diff.
pub(super) fn check(place: Place<'_>, gvk: Gvk<'_>, config: &Value) -> Result<(), PatchError> {
    let mut undeclared = Vec::new();
    visit(place, config, &mut Vec::new(), &mut undeclared);
    let found = match &undeclared[..] {
        [] => return Ok(()),
        [only] => only.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    };
    let meta = |field: &str| config.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name, version, kind) = (meta("namespace"), meta("name"), gvk.api_version(), gvk.kind);
    Err(PatchError::Malformed(format!("failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): {found}")))
}

fn visit(place: Place<'_>, value: &Value, path: &mut Vec<Segment>, undeclared: &mut Vec<String>) {
    match (place.shape(), value) {
        (_, Value::Object(fields)) => {
            for (name, value) in fields {
                path.push(Segment::field(name));
                if place.refuses(name) {
                    if undeclared.len() < MOST {
                        undeclared.push(format!("{}: field not declared in schema", FieldPath(path.clone())));
                    }
                } else {
                    visit(place.field(name), value, path, undeclared);
                }
                path.pop();
            }
        }
        (Shape::List(list_type), Value::Array(values)) => {
            for (index, value) in values.iter().enumerate() {
                let segment = items::segment(place, list_type, value);
                path.push(segment.unwrap_or(Segment::Index(index as u64)));
                visit(place.item(), value, path, undeclared);
                path.pop();
            }
        }
        _ => {}
    }
}
