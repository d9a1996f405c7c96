//! The rules for `spec.conversion`, with the names that upstream's internal form has for its fields.

use super::names::label;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceConversion, ServiceReference, WebhookClientConfig};
use orknet_resources::field::{Errors, Path};
use orknet_resources::names::{label_1035, port_number, subdomain};
use std::collections::HashSet;

/// The forms of a ConversionReview that there are.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

pub fn rules(conversion: &CustomResourceConversion, at: &Path<'_>, errors: &mut Errors) {
    errors.one_of(&at.field("strategy"), Some(&conversion.strategy), &["None", "Webhook"]);
    let config = conversion.webhook.as_ref().and_then(|webhook| webhook.client_config.as_ref());
    let reviews = conversion.webhook.as_ref().map(|webhook| &webhook.conversion_review_versions[..]).unwrap_or_default();
    let (config_at, reviews_at) = (at.field("webhookClientConfig"), at.field("conversionReviewVersions"));
    if conversion.strategy != "Webhook" {
        let refused = "should not be set when strategy is not set to Webhook";
        if config.is_some() {
            errors.forbidden(&config_at, refused);
        }
        if !reviews.is_empty() {
            errors.forbidden(&reviews_at, refused);
        }
        return;
    }
    match config {
        None => errors.required(&config_at, "required when strategy is set to Webhook"),
        Some(config) => client(config, &config_at, errors),
    }
    review_versions(reviews, &reviews_at, errors);
}

fn client(config: &WebhookClientConfig, at: &Path<'_>, errors: &mut Errors) {
    match (&config.url, &config.service) {
        (Some(url), None) => address(url, &at.field("url"), errors),
        (None, Some(reference)) => service(reference, &at.field("service"), errors),
        _ => errors.required(at, "exactly one of url or service is required"),
    }
}

fn review_versions(reviews: &[String], at: &Path<'_>, errors: &mut Errors) {
    if reviews.is_empty() {
        return errors.required(at, "");
    }
    let mut seen = HashSet::new();
    for (i, version) in reviews.iter().enumerate() {
        if seen.insert(version) {
            errors.format(&at.index(i), version, label_1035(version));
        } else {
            errors.invalid(&at.index(i), version.as_str(), "duplicate version");
        }
    }
    if !reviews.iter().any(|version| REVIEWS.contains(&&version[..])) {
        errors.invalid(at, reviews.to_vec(), format!("must include at least one of {}", REVIEWS.join(", ")));
    }
}

/// The address of a webhook.
fn address(url: &str, at: &Path<'_>, errors: &mut Errors) {
    const FORM: &str = "; desired format: https://host[/path]";
    let Some(url) = orknet_cel::Url::parse_reference(url) else {
        return errors.required(at, "url must be a valid URL; desired format: https://host[/path]");
    };
    if url.scheme != "https" {
        errors.invalid(at, url.scheme.as_str(), format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if url.host.is_empty() {
        errors.invalid(at, url.host.as_str(), format!("host must be specified{FORM}"));
    }
    if let Some(user) = &url.user {
        errors.invalid(at, user.as_str(), "user information is not permitted in the URL");
    }
    if !url.fragment.is_empty() {
        errors.invalid(at, url.fragment.as_str(), "fragments are not permitted in the URL");
    }
    if !url.query.is_empty() {
        errors.invalid(at, url.query.as_str(), "query parameters are not permitted in the URL");
    }
}

/// The Service of a webhook.
fn service(reference: &ServiceReference, at: &Path<'_>, errors: &mut Errors) {
    if reference.name.is_empty() {
        errors.required(&at.field("name"), "service name is required");
    }
    if reference.namespace.is_empty() {
        errors.required(&at.field("namespace"), "service namespace is required");
    }
    if let Some(detail) = reference.port.and_then(port_number) {
        errors.invalid(&at.field("port"), reference.port.unwrap_or_default(), format!("port is not valid: {detail}"));
    }
    let path = reference.path.as_deref().unwrap_or_default();
    let at = at.field("path");
    match path {
        "" | "/" => return,
        "//" => return errors.invalid(&at, path, "segment[0] may not be empty"),
        path if !path.starts_with('/') => errors.invalid(&at, path, "must start with a '/'"),
        _ => {}
    }
    let inner = path.get(1..).unwrap_or_default();
    for (i, segment) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if segment.is_empty() {
            errors.invalid(&at, path, format!("segment[{i}] may not be empty"));
        }
        for detail in subdomain(segment).into_iter().filter(|_| !segment.is_empty()) {
            errors.invalid(&at, path, format!("segment[{i}]: {detail}"));
        }
    }
}

/// A version's name.
pub fn version_name(name: &str, at: &Path<'_>, errors: &mut Errors) {
    label(at, name, name, "", errors);
}
