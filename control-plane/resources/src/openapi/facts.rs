//! The table of extensions (`facts.txt`): the one home of list types, map types, merge keys and defaults. The types themselves do not carry them.

use serde_json::{Map, Value, json};

const TABLE: &str = include_str!("facts.txt");

/// Where a fact belongs.
#[derive(Debug, PartialEq)]
pub(super) struct Fact<'t> {
    /// Definition, without `io.k8s.`.
    pub definition: &'t str,
    /// `None`: the definition itself.
    pub field: Option<&'t str>,
    pub extensions: Vec<(&'static str, Value)>,
    /// Whether the field must be there, where the type says otherwise.
    pub required: Option<bool>,
    /// Whether it may be any JSON, of which the documents say no type.
    pub any: bool,
}

/// All facts, in the order of the table.
pub(super) fn facts() -> impl Iterator<Item = Fact<'static>> {
    let mut definition = "";
    TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(move |line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let field = line.starts_with(' ').then_some(name);
        if field.is_none() {
            definition = name;
        }
        let words: Vec<&str> = words.collect();
        let required = words.contains(&"required").then_some(true);
        // A field with a default need not be given.
        let required = required.or_else(|| words.iter().any(|word| word.starts_with("default:")).then_some(false));
        let any = words.contains(&"any");
        Some(Fact { definition, field, any, extensions: words.into_iter().flat_map(extensions).collect(), required })
    })
}

/// Writes the facts into definitions that are there; those of types that no kind uses have no place.
pub(super) fn add_to(definitions: &mut Map<String, Value>) {
    // The types cannot do without metadata; the API can.
    for definition in definitions.values_mut().filter(|definition| definition["properties"].get("kind").is_some()) {
        require(definition, "metadata", false);
    }
    for fact in facts() {
        let Some(definition) = definitions.get_mut(&format!("io.k8s.{}", fact.definition)) else { continue };
        if let Some((field, required)) = fact.field.zip(fact.required) {
            require(definition, field, required);
        }
        let place = match fact.field {
            Some(field) => definition.get_mut("properties").and_then(|properties| properties.get_mut(field)),
            None => Some(definition),
        };
        let Some(place) = place.and_then(Value::as_object_mut) else { continue };
        if fact.any {
            place.retain(|name, _| name != "type" && name != "oneOf");
        }
        for (name, value) in fact.extensions {
            place.insert(name.to_owned(), value);
        }
    }
}

fn require(definition: &mut Value, field: &str, required: bool) {
    let Some(definition) = definition.as_object_mut() else { return };
    let fields = definition.entry("required").or_insert_with(|| json!([]));
    if let Value::Array(names) = fields {
        names.retain(|name| name != field);
        if required {
            names.push(field.into());
        }
        if names.is_empty() {
            definition.remove("required");
        }
    }
}

fn extensions(word: &str) -> Vec<(&'static str, Value)> {
    let Some((what, rest)) = word.split_once(':') else { return Vec::new() };
    let (value, keys) = match rest.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
        Some((value, keys)) => (value, Some(keys)),
        None => (rest, None),
    };
    match what {
        "list" => {
            let keys = keys.map(|keys| ("x-kubernetes-list-map-keys", json!(keys.split(',').collect::<Vec<_>>())));
            [("x-kubernetes-list-type", value.into())].into_iter().chain(keys).collect()
        }
        "map" => vec![("x-kubernetes-map-type", value.into())],
        "patch" => {
            let key = keys.map(|key| ("x-kubernetes-patch-merge-key", key.into()));
            [("x-kubernetes-patch-strategy", value.replace('+', ",").into())].into_iter().chain(key).collect()
        }
        "union" => {
            let fields = keys.into_iter().flat_map(|keys| keys.split(',')).filter_map(|pair| pair.split_once('='));
            let fields: Map<String, Value> = fields.map(|(field, value)| (field.to_owned(), value.into())).collect();
            vec![("x-kubernetes-unions", json!([{ "discriminator": value, "fields-to-discriminateBy": fields }]))]
        }
        "default" => serde_json::from_str(rest).map(|default| vec![("default", default)]).unwrap_or_default(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_table_is_understood() {
        for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            for word in line.split_whitespace().skip(1) {
                assert!(["any", "required"].contains(&word) || !extensions(word).is_empty(), "{line}");
            }
        }
        assert!(facts().count() > 400);
    }

    #[test]
    fn a_line_reads_as_its_extensions() {
        let ports = facts().find(|fact| fact.definition == "api.core.v1.Container" && fact.field == Some("ports")).unwrap();
        let expected = vec![
            ("x-kubernetes-list-type", json!("map")),
            ("x-kubernetes-list-map-keys", json!(["containerPort", "protocol"])),
            ("x-kubernetes-patch-strategy", json!("merge")),
            ("x-kubernetes-patch-merge-key", json!("containerPort")),
        ];
        assert_eq!(ports.extensions, expected);
    }
}
