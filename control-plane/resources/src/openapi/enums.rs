//! The table of enumerations (`enums.txt`): fields whose values are told with them. Kubernetes writes them into its documents since 1.24, and
//! `kubectl explain` shows them. They only describe: what is refused is the kinds' validation.

use serde_json::{Map, Value};

const TABLE: &str = include_str!("enums.txt");

/// A field and what it may be.
struct Enumeration {
    /// Definition, without `io.k8s.`.
    definition: &'static str,
    field: &'static str,
    values: Vec<&'static str>,
}

fn enumerations() -> impl Iterator<Item = Enumeration> {
    let mut values = Vec::new();
    TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(move |line| {
        if let Some((_, listed)) = line.split_once(" = ") {
            values = listed.split(" | ").map(|value| if value == "\"\"" { "" } else { value }).collect();
            return None;
        }
        let (definition, field) = line.trim().split_once(' ')?;
        Some(Enumeration { definition, field, values: values.clone() })
    })
}

/// Writes the values into definitions that are there. What has one of them says so in words as well; a list or a map says it of its items alone.
pub(super) fn add_to(definitions: &mut Map<String, Value>) {
    for Enumeration { definition, field, values } in enumerations() {
        let Some(definition) = definitions.get_mut(&format!("io.k8s.{definition}")) else { continue };
        let Some(place) = definition.get_mut("properties").and_then(|properties| properties.get_mut(field)) else { continue };
        let place = match place["type"].as_str() {
            Some("array") => &mut place["items"],
            Some("object") => &mut place["additionalProperties"],
            _ => {
                let described = place["description"].as_str().unwrap_or_default();
                let listed: Vec<String> = values.iter().map(|value| format!(" - `{value:?}`")).collect();
                place["description"] = format!("{described}\n\nPossible enum values:\n{}", listed.join("\n")).into();
                place
            }
        };
        place["enum"] = values.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::definitions;
    use crate::registry;

    #[test]
    fn every_enumeration_is_of_a_text_that_exists() {
        let definitions = definitions(registry());
        let mut known = 0;
        for Enumeration { definition, field, values } in enumerations() {
            let place = &definitions[format!("io.k8s.{definition}")]["properties"][field];
            let of = match place["type"].as_str() {
                Some("array") => &place["items"],
                Some("object") => &place["additionalProperties"],
                _ => place,
            };
            assert_eq!((&of["type"], &of["enum"]), (&"string".into(), &values.clone().into()), "{definition}.{field}");
            assert!(values.is_sorted() && values.len() > 1, "{definition}.{field}");
            known += 1;
        }
        assert!(known > 80, "{known}");
        let protocol = definitions["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]["description"].as_str().unwrap();
        assert!(protocol.ends_with("\n\nPossible enum values:\n - `\"SCTP\"`\n - `\"TCP\"`\n - `\"UDP\"`"), "{protocol}");
    }
}
