//! Values as Go prints them, in messages that clients see.

use serde_json::Value;

/// `%v` of a value that structured-merge-diff has wrapped: `&{[a b]}`.
pub(super) fn wrapped(value: &Value) -> String {
    format!("&{{{}}}", plain(value))
}

/// `%#v` of the same: `&value.valueUnstructured{Value:5}`.
pub(super) fn wrapped_syntax(value: &Value) -> String {
    format!("&value.valueUnstructured{{Value:{}}}", syntax(value))
}

/// `%T` of what JSON becomes.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// `%v`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(_) => format!("map[{}]", entries(value, |name| name.to_owned(), plain, " ")),
        other => other.to_string(),
    }
}

/// `%#v`.
fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => format!("[]interface {{}}{{{}}}", items.iter().map(syntax).collect::<Vec<_>>().join(", ")),
        Value::Object(_) => format!("map[string]interface {{}}{{{}}}", entries(value, |name| Value::from(name).to_string(), syntax, ", ")),
        other => other.to_string(),
    }
}

/// The entries of a map by name, as Go sorts them.
fn entries(value: &Value, name_of: fn(&str) -> String, value_of: fn(&Value) -> String, between: &str) -> String {
    let mut entries: Vec<(&String, &Value)> = value.as_object().into_iter().flatten().collect();
    entries.sort_by_key(|(name, _)| *name);
    entries.iter().map(|(name, value)| format!("{}:{}", name_of(name), value_of(value))).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_look_as_go_prints_them() {
        let value = json!({"b": [1, "x", null], "a": {"c": true}});
        assert_eq!(wrapped(&value), "&{map[a:map[c:true] b:[1 x <nil>]]}");
        assert_eq!(
            wrapped_syntax(&value),
            "&value.valueUnstructured{Value:map[string]interface {}{\"a\":map[string]interface {}{\"c\":true}, \"b\":[]interface {}{1, \"x\", interface {}(nil)}}}"
        );
        assert_eq!((type_of(&json!(1)), type_of(&json!(0.5)), type_of(&json!({}))), ("int64", "float64", "map[string]interface {}"));
    }
}
