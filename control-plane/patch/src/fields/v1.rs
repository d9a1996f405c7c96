//! The `FieldsV1` form of a set: objects in objects whose names begin with `f:` (field), `k:` (key), `v:` (value) or `i:` (index);
//! `.` marks a path that is a member and has members below.

use super::{Entry, FieldSet, Segment, canonical};
use serde_json::{Map, Value};

/// Not in the `FieldsV1` form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    #[error("fieldsV1: expected an object at {at}")]
    NotAnObject { at: String },
    #[error("fieldsV1: {name:?} is no path element")]
    BadElement { name: String },
}

impl FieldSet {
    /// Reads `fieldsV1`.
    pub fn from_fields_v1(fields: &Value) -> Result<Self, FieldsError> {
        let fields = fields.as_object().ok_or_else(|| FieldsError::NotAnObject { at: ".".to_owned() })?;
        let mut set = Self::new();
        for (name, below) in fields {
            if name == "." {
                continue;
            }
            let below = below.as_object().ok_or_else(|| FieldsError::NotAnObject { at: name.clone() })?;
            let member = below.is_empty() || below.contains_key(".");
            let entry = Entry { member, below: Self::from_fields_v1(&Value::Object(below.clone()))? };
            if entry.member || !entry.below.is_empty() {
                set.entries.insert(parse(name)?, entry);
            }
        }
        Ok(set)
    }

    /// Writes `fieldsV1`.
    pub fn to_fields_v1(&self) -> Value {
        let mut fields = Map::new();
        for (segment, entry) in &self.entries {
            let mut below = entry.below.to_fields_v1();
            if let (true, Value::Object(inner)) = (entry.member && !entry.below.is_empty(), &mut below) {
                inner.insert(".".to_owned(), Value::Object(Map::new()));
            }
            fields.insert(print(segment), below);
        }
        Value::Object(fields)
    }
}

fn parse(name: &str) -> Result<Segment, FieldsError> {
    let bad = || FieldsError::BadElement { name: name.to_owned() };
    let (kind, rest) = name.split_once(':').ok_or_else(bad)?;
    let json = || serde_json::from_str::<Value>(rest).map_err(|_| bad());
    match kind {
        "f" => Ok(Segment::field(rest)),
        "k" => match json()? {
            key @ Value::Object(_) => Ok(Segment::Key(canonical(&key).into())),
            _ => Err(bad()),
        },
        "v" => Ok(Segment::value(&json()?)),
        "i" => rest.parse().map(Segment::Index).map_err(|_| bad()),
        _ => Err(bad()),
    }
}

fn print(segment: &Segment) -> String {
    match segment {
        Segment::Field(name) => format!("f:{name}"),
        Segment::Key(key) => format!("k:{key}"),
        Segment::Value(value) => format!("v:{value}"),
        Segment::Index(index) => format!("i:{index}"),
    }
}
