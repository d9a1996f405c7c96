//! How a webhook is reached: by URL, or through a Service.

use crate::field::{Errors, Path};
use crate::names;
use k8s_openapi::api::admissionregistration::v1::{ServiceReference, WebhookClientConfig};

/// The port of a Service that names none.
pub const DEFAULT_PORT: i32 = 443;
const FORM: &str = "; desired format: https://host[/path]";

pub fn validate(config: &WebhookClientConfig, at: &Path<'_>, errors: &mut Errors) {
    match (&config.url, &config.service) {
        (Some(address), None) => url(address, &at.field("url"), errors),
        (None, Some(reference)) => service(reference, &at.field("service"), errors),
        _ => errors.required(at, "exactly one of url or service is required"),
    }
}

/// `https://host[:port][/path]`, and nothing else.
fn url(text: &str, at: &Path<'_>, errors: &mut Errors) {
    if text.chars().any(char::is_control) {
        let why = format!("parse {text:?}: net/url: invalid control character in URL");
        errors.required(at, format!("url must be a valid URL: {why}{FORM}"));
        return;
    }
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once(':').filter(|(scheme, _)| is_scheme(scheme)).unwrap_or(("", rest));
    let authority = rest.strip_prefix("//").map(|rest| rest.split('/').next().unwrap_or_default()).unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if let Some(character) = host.chars().find(|c| matches!(c, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        let why = format!("parse {text:?}: invalid character {:?} in host name", character.to_string());
        errors.required(at, format!("url must be a valid URL: {why}{FORM}"));
        return;
    }
    if scheme != "https" {
        errors.invalid(at, scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        errors.invalid(at, host, format!("host must be provided{FORM}"));
    }
    for (part, what) in [(user.unwrap_or_default(), "user information is"), (fragment, "fragments are"), (query, "query parameters are")] {
        if !part.is_empty() {
            errors.invalid(at, part, format!("{what} not permitted in the URL"));
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn service(reference: &ServiceReference, at: &Path<'_>, errors: &mut Errors) {
    for (name, value) in [("name", &reference.name), ("namespace", &reference.namespace)] {
        if value.is_empty() {
            errors.required(&at.field(name), format!("service {name} is required"));
        }
    }
    if let Some(why) = names::port_number(reference.port.unwrap_or(DEFAULT_PORT)) {
        errors.invalid(&at.field("port"), reference.port.unwrap_or(DEFAULT_PORT), format!("port is not valid: {why}"));
    }
    let path = reference.path.as_deref().unwrap_or_default();
    let at = at.field("path");
    if matches!(path, "" | "/") {
        return;
    }
    if path == "//" {
        errors.invalid(&at, path, "segment[0] may not be empty");
        return;
    }
    if !path.starts_with('/') {
        errors.invalid(&at, path, "must start with a '/'");
    }
    let mut rest = path.chars();
    rest.next();
    let rest = rest.as_str();
    for (i, segment) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if segment.is_empty() {
            errors.invalid(&at, path, format!("segment[{i}] may not be empty"));
            continue;
        }
        for why in names::subdomain(segment) {
            errors.invalid(&at, path, format!("segment[{i}]: {why}"));
        }
    }
}
