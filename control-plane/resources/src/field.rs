//! Where in an object a complaint points, and the list of complaints. The rules themselves are the kinds'.

use crate::contract::{Cause, FieldError};
use serde_json::Value;
use std::fmt;

/// A place inside an object, built on the stack while a validator descends and rendered only when something is wrong.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// The object itself.
    Root,
    Field(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
    /// An entry of a map: `labels[app]`.
    Key(&'a Path<'a>, &'a str),
}

/// Complaints in the order found.
#[derive(Debug, Default)]
pub struct Errors(Vec<FieldError>);

/// What equals what in a message when a field of one of a few values is wrong.
const IMMUTABLE: &str = "field is immutable";

impl<'a> Path<'a> {
    pub fn field(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self, name)
    }

    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }

    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Path::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

impl Errors {
    pub fn into_list(self) -> Vec<FieldError> {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    pub fn required(&mut self, at: &Path<'_>, detail: impl Into<String>) {
        self.add(Cause::Required, at, None, detail);
    }

    pub fn invalid(&mut self, at: &Path<'_>, value: impl Into<Value>, detail: impl Into<String>) {
        self.add(Cause::Invalid, at, Some(value.into()), detail);
    }

    /// A map that is not there is refused: no JSON value would be shown as Go's map of texts that is nil.
    pub fn invalid_map(&mut self, at: &Path<'_>, detail: &str) {
        self.add(Cause::Invalid, at, None, format!("map[string]string(nil): {detail}"));
    }

    /// A value that says nothing to the reader is not shown.
    pub fn invalid_as_is(&mut self, at: &Path<'_>, detail: impl Into<String>) {
        self.add(Cause::Invalid, at, None, detail);
    }

    pub fn forbidden(&mut self, at: &Path<'_>, detail: impl Into<String>) {
        self.add(Cause::Forbidden, at, None, detail);
    }

    pub fn duplicate(&mut self, at: &Path<'_>, value: impl Into<Value>) {
        self.add(Cause::Duplicate, at, Some(value.into()), "");
    }

    pub fn not_found(&mut self, at: &Path<'_>, value: impl Into<Value>) {
        self.add(Cause::NotFound, at, Some(value.into()), "");
    }

    pub fn too_long(&mut self, at: &Path<'_>, max_bytes: usize) {
        self.add(Cause::TooLong, at, None, format!("may not be more than {max_bytes} bytes"));
    }

    pub fn too_many(&mut self, at: &Path<'_>, have: usize, max: usize) {
        self.add(Cause::TooMany, at, None, format!("{have}: must have at most {max} items"));
    }

    pub fn not_supported(&mut self, at: &Path<'_>, value: impl Into<Value>, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        self.add(Cause::NotSupported, at, Some(value.into()), format!("supported values: {}", list.join(", ")));
    }

    /// `value` must be one of `supported`; an empty one is missing.
    pub fn one_of(&mut self, at: &Path<'_>, value: Option<&str>, supported: &[&str]) {
        match value.unwrap_or_default() {
            "" => self.required(at, ""),
            value if supported.contains(&value) => {}
            value => self.not_supported(at, value, supported),
        }
    }

    /// `value`, when there is one, must be one of `supported`.
    pub fn one_of_if_set(&mut self, at: &Path<'_>, value: Option<&str>, supported: &[&str]) {
        if let Some(value) = value
            && !supported.contains(&value)
        {
            self.not_supported(at, value, supported);
        }
    }

    pub fn non_negative(&mut self, at: &Path<'_>, value: impl Into<i64>) {
        let value = value.into();
        if value < 0 {
            self.invalid(at, value, "must be greater than or equal to 0");
        }
    }

    pub fn immutable<T: PartialEq + serde::Serialize>(&mut self, at: &Path<'_>, new: &T, old: &T) {
        if new != old {
            let shown = serde_json::to_value(new).unwrap_or(Value::Null);
            self.invalid(at, shown, IMMUTABLE);
        }
    }

    /// Adds what a format check found (each text is one complaint about `value`).
    pub fn format(&mut self, at: &Path<'_>, value: &str, found: impl IntoIterator<Item = String>) {
        for detail in found {
            self.invalid(at, value, detail);
        }
    }

    fn add(&mut self, cause: Cause, at: &Path<'_>, value: Option<Value>, detail: impl Into<String>) {
        self.0.push(FieldError { cause, field: at.to_string(), value, detail: detail.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_the_api_names_fields() {
        let spec = Path::Root.field("spec");
        let ports = spec.field("ports");
        let port = ports.index(3);
        assert_eq!(port.field("port").to_string(), "spec.ports[3].port");
        assert_eq!(spec.field("selector").key("a/b").to_string(), "spec.selector[a/b]");
    }

    #[test]
    fn messages_read_as_the_api_words_them() {
        let mut errors = Errors::default();
        let at = Path::Root.field("spec");
        errors.invalid(&at.field("replicas"), -1, "must be greater than or equal to 0");
        errors.not_supported(&at.field("type"), "X", &["A", "B"]);
        errors.required(&at.field("name"), "");
        errors.too_long(&at.field("text"), 7);
        let shown: Vec<String> = errors.into_list().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.type: Unsupported value: \"X\": supported values: \"A\", \"B\"",
                "spec.name: Required value",
                "spec.text: Too long: may not be more than 7 bytes",
            ]
        );
    }
}
