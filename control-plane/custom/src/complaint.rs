//! Complaints about values whose type nobody knows when the program is built: how they are shown, and what is said when there is too much.

use orknet_resources::{Cause, FieldError};
use serde_json::Value;

/// A complaint that quotes the value as Go shows one of no known type.
pub fn about(cause: Cause, field: String, value: &Value, detail: impl Into<String>) -> FieldError {
    let detail = detail.into();
    match own_text(value) {
        // The value is part of the text: the contract's quoting is that of built-in kinds.
        Some(shown) => {
            let detail = if detail.is_empty() { shown } else { format!("{shown}: {detail}") };
            FieldError { cause, field, value: None, detail }
        }
        None => FieldError { cause, field, value: Some(value.clone()), detail },
    }
}

pub fn invalid(field: String, value: &Value, detail: impl Into<String>) -> FieldError {
    about(Cause::Invalid, field, value, detail)
}

pub fn required(field: String, detail: impl Into<String>) -> FieldError {
    FieldError { cause: Cause::Required, field, value: None, detail: detail.into() }
}

pub fn forbidden(field: String, detail: impl Into<String>) -> FieldError {
    FieldError { cause: Cause::Forbidden, field, value: None, detail: detail.into() }
}

pub fn duplicate(field: String, value: &Value) -> FieldError {
    about(Cause::Duplicate, field, value, "")
}

/// `supported`: in the order in which they are named.
pub fn not_supported<T: AsRef<str>>(field: String, value: &Value, supported: &[T]) -> FieldError {
    let list: Vec<String> = supported.iter().map(|text| quoted(text.as_ref())).collect();
    about(Cause::NotSupported, field, value, format!("supported values: {}", list.join(", ")))
}

pub fn too_long(field: String, max: i64) -> FieldError {
    let unit = if max == 1 { "byte" } else { "bytes" };
    FieldError { cause: Cause::TooLong, field, value: None, detail: format!("may not be more than {max} {unit}") }
}

pub fn too_many(field: String, have: usize, max: i64) -> FieldError {
    let unit = if max == 1 { "item" } else { "items" };
    FieldError { cause: Cause::TooMany, field, value: None, detail: format!("{have}: must have at most {max} {unit}") }
}

/// A text in double quotes.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A number as Go's `%v` prints a float64: the shortest that says it, with an exponent where there would be many zeros.
pub fn float(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        return match text.split_once('e') {
            Some((digits, exponent)) => {
                let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
                format!("{digits}e{sign}{exponent:0>2}")
            }
            None => text,
        };
    }
    number.to_string()
}

/// What is not shown as the contract shows it.
fn own_text(value: &Value) -> Option<String> {
    match value {
        Value::Object(_) | Value::Array(_) => Some(go_syntax(value)),
        Value::Number(number) if number.as_i64().is_none() => Some(go_syntax(value)),
        _ => None,
    }
}

/// Go's `%#v` of decoded JSON.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_unstable_by_key(|(name, _)| *name);
            let entries: Vec<String> = entries.into_iter().map(|(name, value)| format!("{}:{}", quoted(name), go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Number(number) => number.as_i64().map_or_else(|| float(number.as_f64().unwrap_or_default()), |number| number.to_string()),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_quoted_as_go_shows_them() {
        for (value, shown) in [
            (json!("a\"b"), r#"Invalid value: "a\"b": no"#),
            (json!(3), "Invalid value: 3: no"),
            (json!(1.0), "Invalid value: 1: no"),
            (json!(1e21), "Invalid value: 1e+21: no"),
            (json!(0.00001), "Invalid value: 1e-05: no"),
            (json!(true), "Invalid value: true: no"),
            (json!(null), r#"Invalid value: "null": no"#),
            (
                json!({"b": [1, "x", null], "a": {}}),
                r#"Invalid value: map[string]interface {}{"a":map[string]interface {}{}, "b":[]interface {}{1, "x", interface {}(nil)}}: no"#,
            ),
        ] {
            assert_eq!(invalid("f".into(), &value, "no").message(), shown);
        }
        assert_eq!(duplicate("f[1]".into(), &json!({"k": 1})).to_string(), r#"f[1]: Duplicate value: map[string]interface {}{"k":1}"#);
        assert_eq!(
            not_supported("f".into(), &json!("c"), &["a", "b"]).to_string(),
            r#"f: Unsupported value: "c": supported values: "a", "b""#
        );
        assert_eq!(too_long("f".into(), 1).to_string(), "f: Too long: may not be more than 1 byte");
        assert_eq!(too_many("f".into(), 3, 2).to_string(), "f: Too many: 3: must have at most 2 items");
    }
}
