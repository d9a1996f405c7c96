//! How messages quote a value that was refused: numbers and texts as they are, everything else as Go's `%#v` shows it, because that is what users of
//! the API read and search for (`field.Error`, in its form of 1.33). Types are told by their shape; a shape that is not known is shown as JSON.

use serde_json::{Map, Value};

/// The value as a message shows it.
pub fn shown(value: &Value) -> String {
    match value {
        // A pointer to nothing is shown as the text "null", quotes included.
        Value::Null => "\"null\"".to_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => texts(Some(value)),
        // Exit codes are the only numbers that come in lists.
        Value::Array(items) if items.iter().all(Value::is_i64) => {
            let numbers: Vec<String> = items.iter().map(Value::to_string).collect();
            format!("[]int32{{{}}}", numbers.join(", "))
        }
        Value::Object(map) => object(map).unwrap_or_else(|| value.to_string()),
        _ => value.to_string(),
    }
}

fn object(map: &Map<String, Value>) -> Option<String> {
    let has_only = |keys: &[&str]| !map.is_empty() && map.keys().all(|key| keys.contains(&&key[..]));
    let text = |key: &str| map.get(key).and_then(Value::as_str).map(|text| Value::from(text).to_string());
    if has_only(&["matchLabels", "matchExpressions"]) && map.values().all(|part| part.is_object() || part.is_array()) {
        return Some(label_selector(map));
    }
    if has_only(&["apiGroup", "kind", "name"]) && map.len() == 3 {
        return Some(format!("rbac.RoleRef{{APIGroup:{}, Kind:{}, Name:{}}}", text("apiGroup")?, text("kind")?, text("name")?));
    }
    if has_only(&["port", "protocol"]) && map.len() == 2 {
        return Some(format!(
            "core.ServicePort{{Name:\"\", Protocol:{}, AppProtocol:(*string)(nil), Port:{}, TargetPort:intstr.IntOrString{{Type:0, IntVal:0, StrVal:\"\"}}, NodePort:0}}",
            text("protocol")?,
            map.get("port")?
        ));
    }
    let optional = |key: &str| text(key).unwrap_or_else(|| "\"\"".to_owned());
    if has_only(&["key", "value", "effect"]) && map.contains_key("effect") {
        let (key, value, effect) = (optional("key"), optional("value"), optional("effect"));
        return Some(format!("core.Taint{{Key:{key}, Value:{value}, Effect:{effect}, TimeAdded:<nil>}}"));
    }
    if has_only(&["key", "operator", "value", "effect"]) && map.contains_key("operator") {
        let (key, operator, value, effect) = (optional("key"), optional("operator"), optional("value"), optional("effect"));
        return Some(format!(
            "core.Toleration{{Key:{key}, Operator:{operator}, Value:{value}, Effect:{effect}, TolerationSeconds:(*int64)(nil)}}"
        ));
    }
    (!map.is_empty() && map.values().all(Value::is_string)).then(|| text_map(Some(map)))
}

fn label_selector(map: &Map<String, Value>) -> String {
    let labels = text_map(map.get("matchLabels").and_then(Value::as_object));
    let requirement = |requirement: &Value| {
        let text = |key: &str| requirement.get(key).cloned().unwrap_or_else(|| "".into());
        let values = texts(requirement.get("values"));
        format!("v1.LabelSelectorRequirement{{Key:{}, Operator:{}, Values:{values}}}", text("key"), text("operator"))
    };
    let expressions = match map.get("matchExpressions").and_then(Value::as_array) {
        None => "(nil)".to_owned(),
        Some(list) => format!("{{{}}}", list.iter().map(requirement).collect::<Vec<_>>().join(", ")),
    };
    format!("v1.LabelSelector{{MatchLabels:{labels}, MatchExpressions:[]v1.LabelSelectorRequirement{expressions}}}")
}

fn text_map(map: Option<&Map<String, Value>>) -> String {
    let Some(map) = map else { return "map[string]string(nil)".to_owned() };
    let mut entries: Vec<(&String, &Value)> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{}:{value}", Value::from(key.as_str()))).collect();
    format!("map[string]string{{{}}}", entries.join(", "))
}

fn texts(list: Option<&Value>) -> String {
    let Some(list) = list.and_then(Value::as_array) else { return "[]string(nil)".to_owned() };
    format!("[]string{{{}}}", list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_quoted_as_go_shows_them() {
        for (value, expected) in [
            (json!(5), "5"),
            (json!("a\"b"), r#""a\"b""#),
            (json!(true), "true"),
            (Value::Null, "\"null\""),
            (json!(["10.0.0.1", "x"]), r#"[]string{"10.0.0.1", "x"}"#),
            (json!({"b": "2", "a": "1"}), r#"map[string]string{"a":"1", "b":"2"}"#),
            (
                json!({"matchLabels": {"app": "x"}}),
                r#"v1.LabelSelector{MatchLabels:map[string]string{"app":"x"}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}"#,
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x"]}, {"key": "b", "operator": "Exists"}]}),
                r#"v1.LabelSelector{MatchLabels:map[string]string(nil), MatchExpressions:[]v1.LabelSelectorRequirement{v1.LabelSelectorRequirement{Key:"a", Operator:"In", Values:[]string{"x"}}, v1.LabelSelectorRequirement{Key:"b", Operator:"Exists", Values:[]string(nil)}}}"#,
            ),
            (json!({"apiGroup": "g", "kind": "Role", "name": "n"}), r#"rbac.RoleRef{APIGroup:"g", Kind:"Role", Name:"n"}"#),
            (
                json!({"port": 80, "protocol": "TCP"}),
                r#"core.ServicePort{Name:"", Protocol:"TCP", AppProtocol:(*string)(nil), Port:80, TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:""}, NodePort:0}"#,
            ),
            (json!({"key": "k", "effect": "NoSchedule"}), r#"core.Taint{Key:"k", Value:"", Effect:"NoSchedule", TimeAdded:<nil>}"#),
            (
                json!({"key": "k", "operator": "Exists", "value": "v"}),
                r#"core.Toleration{Key:"k", Operator:"Exists", Value:"v", Effect:"", TolerationSeconds:(*int64)(nil)}"#,
            ),
            (json!({"a": {"b": 1}}), r#"{"a":{"b":1}}"#),
            (json!({}), "{}"),
            (json!([2, 1]), "[]int32{2, 1}"),
            (json!([true]), "[true]"),
        ] {
            assert_eq!(shown(&value), expected);
        }
    }
}
