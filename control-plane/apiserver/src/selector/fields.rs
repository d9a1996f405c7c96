//! Field selectors (`spec.nodeName=a,status.phase!=Running`). Which fields a kind has is the kind's business.

use super::SelectorError;

/// A conjunction of equalities; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Reads the query form; `\` escapes `\`, `,` and `=` in values.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in split_unescaped(text) {
            if part.is_empty() {
                continue;
            }
            let invalid = || SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'"));
            let at = part.find(['=', '!']).ok_or_else(invalid)?;
            let (field, rest) = part.split_at(at);
            let (equal, value) = match rest {
                rest if rest.starts_with("!=") => (false, &rest[2..]),
                rest if rest.starts_with("==") => (true, &rest[2..]),
                rest if rest.starts_with('=') => (true, &rest[1..]),
                _ => return Err(invalid()),
            };
            terms.push(Term { field: field.to_owned(), value: unescape(value).ok_or_else(invalid)?, equal });
        }
        Ok(Self(terms))
    }

    /// Selects the one object of this name, as requests for one object do.
    pub fn for_name(name: &str) -> Self {
        Self(vec![Term { field: "metadata.name".into(), value: name.into(), equal: true }])
    }

    /// The value that `field` must have, if there is one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|term| term.equal && term.field == field).map(|term| &term.value[..])
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first field that is not among those the kind has.
    pub fn unknown_field(&self, known: impl Fn(&str) -> bool) -> Option<&str> {
        self.0.iter().map(|term| &term.field[..]).find(|field| !known(field))
    }

    /// Whether an object with these field values is selected. A field the object lacks is empty.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|term| (field(&term.field).unwrap_or_default() == term.value) == term.equal)
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, sign) in text.char_indices() {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut signs = value.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => out.push(signs.next().filter(|next| ['\\', ',', '='].contains(next))?),
            '=' => return None,
            _ => out.push(sign),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str) -> bool {
        let fields = [("metadata.name", "a"), ("status.phase", "Running"), ("x", "1,2")];
        FieldSelector::parse(selector)
            .unwrap_or_else(|error| panic!("{selector}: {error}"))
            .matches(|name| fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value))
    }

    #[test]
    fn terms_are_equalities_joined_by_and() {
        assert!(selects(""));
        assert!(selects("metadata.name=a,status.phase==Running,spec.nodeName="));
        assert!(selects("status.phase!=Pending"));
        assert!(selects(r"x=1\,2"));
        assert!(!selects("metadata.name=a,status.phase=Pending"));
    }

    #[test]
    fn what_is_no_term_is_refused() {
        for selector in ["name", "a!b", "a=b=c", r"a=\x"] {
            assert!(FieldSelector::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn unknown_fields_are_told() {
        let selector = FieldSelector::parse("metadata.name=a,spec.foo=b").expect("parses");
        assert_eq!(selector.unknown_field(|field| field == "metadata.name"), Some("spec.foo"));
    }
}
