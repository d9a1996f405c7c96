//! Named formats: Kubernetes' own library (`apiserver/pkg/cel/library/format.go`): `format.dns1123Label().validate(x)` answers what is wrong, if anything.

use super::{Evaluated, Library, text};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::Value;

pub const LIBRARY: Library = &[
    ("format.dns1123Label", NAMED, |budget, _| named(budget, "dns1123Label")),
    ("format.dns1123Subdomain", NAMED, |budget, _| named(budget, "dns1123Subdomain")),
    ("format.dns1035Label", NAMED, |budget, _| named(budget, "dns1035Label")),
    ("format.dns1123LabelPrefix", NAMED, |budget, _| named(budget, "dns1123LabelPrefix")),
    ("format.dns1123SubdomainPrefix", NAMED, |budget, _| named(budget, "dns1123SubdomainPrefix")),
    ("format.dns1035LabelPrefix", NAMED, |budget, _| named(budget, "dns1035LabelPrefix")),
    ("format.qualifiedName", NAMED, |budget, _| named(budget, "qualifiedName")),
    ("format.labelValue", NAMED, |budget, _| named(budget, "labelValue")),
    ("format.uri", NAMED, |budget, _| named(budget, "uri")),
    ("format.uuid", NAMED, |budget, _| named(budget, "uuid")),
    ("format.byte", NAMED, |budget, _| named(budget, "byte")),
    ("format.date", NAMED, |budget, _| named(budget, "date")),
    ("format.datetime", NAMED, |budget, _| named(budget, "datetime")),
    ("format.named", "(string) -> optional<kubernetes.NamedFormat>", |budget, args| {
        budget.charge(1)?;
        let of = text(args, 0)?;
        match NAMES.iter().find(|name| **name == of) {
            Some(name) => Value::some(Value::Format(name)),
            None => Ok(Value::Optional(None)),
        }
    }),
    ("validate", "kubernetes.NamedFormat.(string) -> optional<list<string>>", validate),
];

const NAMED: &str = "() -> kubernetes.NamedFormat";

const NAMES: &[&str] = &[
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

fn named<'a>(budget: &mut Budget, name: &'static str) -> Evaluated<'a> {
    budget.charge(1)?;
    Ok(Value::Format(name))
}

fn validate<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let [Value::Format(name), Value::String(of)] = args else { return Err(EvalError::NoSuchOverload) };
    budget.traverse(of.len().saturating_mul(2))?;
    let errors = faults(name, of);
    if errors.is_empty() {
        return Ok(Value::Optional(None));
    }
    Value::some(Value::list(errors.into_iter().map(Value::owned).collect())?)
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
     alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with \
     an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with \
     an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
     (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
     an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// What is wrong with the text, in apimachinery's words (`util/validation`).
fn faults(name: &str, of: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut longest = |most: usize| {
        if of.len() > most {
            faults.push(format!("must be no more than {most} bytes"));
        }
    };
    // A prefix may end with a dash: something follows.
    let unfinished = name.strip_suffix("Prefix");
    let whole = match unfinished {
        Some(_) if of.len() > 1 && of.ends_with('-') => format!("{}a", &of[..of.len() - 1]),
        _ => of.to_owned(),
    };
    let kind = unfinished.unwrap_or(name);
    let fault = match kind {
        "dns1123Label" => {
            longest(63);
            (!label(&whole, false)).then_some(LABEL)
        }
        "dns1123Subdomain" => {
            longest(253);
            (!whole.split('.').all(|part| label(part, false))).then_some(SUBDOMAIN)
        }
        "dns1035Label" => {
            longest(63);
            (!label(&whole, true)).then_some(LABEL_1035)
        }
        "labelValue" => {
            longest(63);
            (!of.is_empty() && !name_part(of)).then_some(LABEL_VALUE)
        }
        "qualifiedName" => return qualified(of),
        "uri" => (!super::url::is_url(of)).then_some("invalid URI"),
        "uuid" => (!uuid(of)).then_some("does not match the UUID format"),
        "byte" => (super::convert::base64(of).is_none()).then_some("invalid base64"),
        "date" => (of.len() != 10 || of.parse::<jiff::civil::Date>().is_err()).then_some("invalid date"),
        "datetime" => super::time::parse_timestamp(of).is_none().then_some("invalid datetime"),
        _ => None,
    };
    faults.extend(fault.map(str::to_owned));
    faults
}

fn label(of: &str, alphabetic: bool) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = of.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    (if alphabetic { first.is_ascii_lowercase() } else { alnum(*first) }) && alnum(*last) && bytes.iter().all(|b| alnum(*b) || *b == b'-')
}

fn name_part(of: &str) -> bool {
    let bytes = of.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

fn qualified(of: &str) -> Vec<String> {
    let mut out = Vec::new();
    let (prefix, name) = match of.split_once('/') {
        Some((_, name)) if name.contains('/') => {
            return vec![format!("a qualified name {NAME_PART}").replacen("name part ", "", 1)];
        }
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, of),
    };
    match prefix {
        Some("") => out.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => out.extend(faults("dns1123Subdomain", prefix).into_iter().map(|fault| format!("prefix part {fault}"))),
        None => {}
    }
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 bytes".to_owned());
    }
    if !name_part(name) {
        out.push(NAME_PART.to_owned());
    }
    out
}

fn uuid(of: &str) -> bool {
    let parts: Vec<&str> = of.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let hex = parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()));
    hex && (lengths == [8, 4, 4, 4, 12] || lengths == [32])
}
