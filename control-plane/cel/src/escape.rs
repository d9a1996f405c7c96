//! Names of properties as expressions write them (`apiserver/pkg/cel/escaping.go`).

/// Words that are no identifiers of the language.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether the word may be no identifier of an expression.
pub fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Whether expressions can call something so.
pub fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !is_reserved(name)
}

/// The name by which expressions select the property, or `None` where they cannot.
pub fn escape(property: &str) -> Option<String> {
    if is_reserved(property) {
        return Some(format!("__{property}__"));
    }
    if !property.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        || !property.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'))
    {
        return None;
    }
    let escaped = property.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__");
    Some(escaped)
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn properties_have_names_that_expressions_can_write() {
        for (property, expected) in [
            ("replicas", Some("replicas")),
            ("namespace", Some("__namespace__")),
            ("x-prop", Some("x__dash__prop")),
            ("redact__d", Some("redact__underscores__d")),
            ("a.b/c", Some("a__dot__b__slash__c")),
            ("9lives", None),
            ("-a", None),
            ("a b", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(escape(property).as_deref(), expected, "{property}");
        }
    }
}
