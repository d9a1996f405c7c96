//! Label selectors in their query form (`app=web,tier in (a, b),!canary`) and as `metav1.LabelSelector` objects.

use super::SelectorError;
use serde_json::Value;

/// A conjunction of requirements; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    Greater(i64),
    Less(i64),
}

impl LabelSelector {
    /// Reads the query form.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut tokens = Tokens { rest: text };
        let mut requirements = Vec::new();
        match tokens.peek() {
            None => return Ok(Self::default()),
            Some(sign) if is_sign(sign) && sign != "!" => {
                return Err(SelectorError(format!("found '{sign}', expected: !, identifier, or 'end of string'")));
            }
            Some(_) => {}
        }
        loop {
            requirements.push(requirement(&mut tokens).map_err(|why| SelectorError(format!("unable to parse requirement: {why}")))?);
            match tokens.next() {
                None => return Ok(Self(requirements)),
                Some(",") => match tokens.peek() {
                    Some(word) if word == "!" || !is_sign(word) => {}
                    other => {
                        let found = other.unwrap_or_default();
                        return Err(SelectorError(format!("found '{found}', expected: identifier after ','")));
                    }
                },
                Some(other) => return Err(SelectorError(format!("found '{other}', expected: ',' or 'end of string'"))),
            }
        }
    }

    /// Reads a `metav1.LabelSelector`; `None` selects nothing and is answered as `None`.
    pub fn from_object(selector: &Value) -> Option<Self> {
        let object = selector.as_object()?;
        let mut requirements = Vec::new();
        for (key, value) in object.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            let values = vec![value.as_str().unwrap_or_default().to_owned()];
            requirements.push(Requirement { key: key.clone(), operator: Operator::In(values) });
        }
        for expression in object.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let key = expression["key"].as_str()?.to_owned();
            let values = crate::object::strings(expression.get("values")).into_iter().map(str::to_owned).collect();
            let operator = match expression["operator"].as_str()? {
                "In" => Operator::In(values),
                "NotIn" => Operator::NotIn(values),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => return None,
            };
            requirements.push(Requirement { key, operator });
        }
        Some(Self(requirements))
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object with these labels is selected.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            let value = label(&requirement.key);
            match &requirement.operator {
                Operator::In(values) => value.is_some_and(|value| values.iter().any(|other| other == value)),
                Operator::NotIn(values) => value.is_none_or(|value| values.iter().all(|other| other != value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
                Operator::Greater(bound) => number(value).is_some_and(|value| value > *bound),
                Operator::Less(bound) => number(value).is_some_and(|value| value < *bound),
            }
        })
    }
}

fn number(value: Option<&str>) -> Option<i64> {
    value?.parse().ok()
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    /// The next token: one of the signs, or a word up to the next sign or blank.
    fn next(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let length = ["==", "!="]
            .iter()
            .find(|sign| self.rest.starts_with(**sign))
            .map(|sign| sign.len())
            .or_else(|| self.rest.starts_with(['=', '!', '(', ')', ',', '<', '>']).then_some(1))
            .unwrap_or_else(|| self.rest.find(['=', '!', '(', ')', ',', '<', '>', ' ', '\t', '\r', '\n']).unwrap_or(self.rest.len()));
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    fn peek(&self) -> Option<&'a str> {
        Tokens { rest: self.rest }.next()
    }
}

fn is_sign(token: &str) -> bool {
    token.starts_with(['=', '!', '(', ')', ',', '<', '>'])
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, String> {
    let first = tokens.next().unwrap_or_default();
    if first == "!" {
        let word = tokens.next().unwrap_or_default();
        if word.is_empty() || is_sign(word) {
            return Err(format!("found '{word}', expected: identifier"));
        }
        let key = label_key(word)?;
        return Ok(Requirement { key, operator: Operator::DoesNotExist });
    }
    let key = label_key(first)?;
    let operator = match tokens.peek() {
        None | Some(",") => Operator::Exists,
        Some("=" | "==") => {
            tokens.next();
            Operator::In(vec![single(tokens)?])
        }
        Some("!=") => {
            tokens.next();
            Operator::NotIn(vec![single(tokens)?])
        }
        Some("in") => {
            tokens.next();
            Operator::In(set(tokens)?)
        }
        Some("notin") => {
            tokens.next();
            Operator::NotIn(set(tokens)?)
        }
        Some(sign @ (">" | "<")) => {
            tokens.next();
            let text = single(tokens)?;
            let bound = text.parse().map_err(|_| {
                format!("values[0][{key}]: Invalid value: {text:?}: for 'Gt', 'Lt' operators, the value must be an integer")
            })?;
            if sign == ">" { Operator::Greater(bound) } else { Operator::Less(bound) }
        }
        Some(other) => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
    };
    Ok(Requirement { key, operator })
}

/// One value after a sign; may be empty (`app=`).
fn single(tokens: &mut Tokens<'_>) -> Result<String, String> {
    match tokens.peek() {
        None | Some(",") => Ok(String::new()),
        Some(word) => {
            tokens.next();
            label_value(word)
        }
    }
}

fn set(tokens: &mut Tokens<'_>) -> Result<Vec<String>, String> {
    match tokens.next() {
        Some("(") => {}
        // Worded without the comma that the others have.
        other => return Err(format!("found '{}' expected: '('", other.unwrap_or_default())),
    }
    let mut values = Vec::new();
    let mut after_comma = true;
    loop {
        match tokens.next() {
            Some(")") => {
                if after_comma {
                    values.push(String::new());
                }
                return Ok(values);
            }
            Some(",") => {
                if after_comma {
                    values.push(String::new());
                }
                after_comma = true;
            }
            Some(word) if after_comma => {
                values.push(label_value(word)?);
                after_comma = false;
            }
            Some(word) => return Err(format!("found '{word}', expected: ',' or ')'")),
            None => return Err("found '', expected: ',' or ')'".into()),
        }
    }
}

fn label_key(text: &str) -> Result<String, String> {
    let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    let prefix_fits = text.rsplit_once('/').is_none_or(|(prefix, _)| {
        !prefix.is_empty()
            && prefix.len() <= 253
            && prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
    });
    if prefix_fits && !name.is_empty() && is_label_text(name) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "<nil>: Invalid value: {text:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
        ))
    }
}

fn label_value(text: &str) -> Result<String, String> {
    if is_label_text(text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "<nil>: Invalid value: {text:?}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
        ))
    }
}

fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let at_ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && at_ends(bytes.first())
        && at_ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: Vec<_> = labels.to_vec();
        LabelSelector::parse(selector)
            .unwrap_or_else(|error| panic!("{selector}: {error}"))
            .matches(|key| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
    }

    #[test]
    fn every_operator_selects_as_documented() {
        let web = [("app", "web"), ("n", "5")];
        for selector in
            ["", "app", "app=web", "app==web", "app in (web, db)", "app notin (db)", "!tier", "tier!=x", "n>4", "n<6", "app=web,n"]
        {
            assert!(selects(selector, &web), "{selector}");
        }
        for selector in ["tier", "app=db", "app!=web", "app in (db)", "app notin (web,db)", "!app", "n>5", "n<5", "app=web,tier"] {
            assert!(!selects(selector, &web), "{selector}");
        }
    }

    #[test]
    fn an_empty_value_is_a_value() {
        assert!(selects("app=", &[("app", "")]));
        assert!(selects("app in (,x)", &[("app", "")]));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for selector in ["app=web,", "app in web", "=x", "app in (a b)", "app ! b", "-bad=x", "app=-bad", "n>x"] {
            assert!(LabelSelector::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn complaints_are_worded_as_the_api_words_them() {
        for (selector, complaint) in [
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a,,b", "found ',', expected: identifier after ','"),
            ("a,", "found '', expected: identifier after ','"),
            ("=x", "found '=', expected: !, identifier, or 'end of string'"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ] {
            let found = LabelSelector::parse(selector).map_err(|error| error.to_string());
            assert_eq!(found, Err(complaint.to_owned()), "{selector}");
        }
    }

    #[test]
    fn the_object_form_means_the_same() {
        let selector = json!({ "matchLabels": { "app": "web" }, "matchExpressions": [{ "key": "tier", "operator": "DoesNotExist" }] });
        assert_eq!(LabelSelector::from_object(&selector), LabelSelector::parse("app in (web),!tier").ok());
        assert_eq!(LabelSelector::from_object(&Value::Null), None);
    }
}
