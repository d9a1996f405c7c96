//! Reviews: questions about identity and permission. Created, answered in the same breath, never stored; the answers are the server's.

use crate::contract::{Descriptor, Scope};
use crate::field::{Errors, Path};
use crate::typed::{Kind, review};
use k8s_openapi::api::authentication::v1 as authentication;
use k8s_openapi::api::authorization::v1 as authorization;

pub struct TokenReview;
pub struct SelfSubjectReview;
pub struct SubjectAccessReview;
pub struct SelfSubjectAccessReview;
pub struct LocalSubjectAccessReview;
pub struct SelfSubjectRulesReview;

impl Kind for TokenReview {
    type Object = authentication::TokenReview;
    const DESCRIPTOR: Descriptor = review::<authentication::TokenReview>("tokenreviews", "tokenreview", Scope::Cluster);

    fn validate(object: &Self::Object, errors: &mut Errors) {
        if object.spec.token.as_deref().unwrap_or_default().is_empty() {
            errors.required(&Path::Root.field("spec").field("token"), "token is required for TokenReview in authentication");
        }
    }
}

impl Kind for SelfSubjectReview {
    type Object = authentication::SelfSubjectReview;
    const DESCRIPTOR: Descriptor = review::<authentication::SelfSubjectReview>("selfsubjectreviews", "selfsubjectreview", Scope::Cluster);
}

impl Kind for SubjectAccessReview {
    type Object = authorization::SubjectAccessReview;
    const DESCRIPTOR: Descriptor =
        review::<authorization::SubjectAccessReview>("subjectaccessreviews", "subjectaccessreview", Scope::Cluster);

    fn validate(object: &Self::Object, errors: &mut Errors) {
        subject(&object.spec, errors);
    }
}

impl Kind for LocalSubjectAccessReview {
    type Object = authorization::LocalSubjectAccessReview;
    const DESCRIPTOR: Descriptor =
        review::<authorization::LocalSubjectAccessReview>("localsubjectaccessreviews", "localsubjectaccessreview", Scope::Namespaced);

    fn validate(object: &Self::Object, errors: &mut Errors) {
        subject(&object.spec, errors);
        let at = Path::Root.field("spec");
        if object.spec.non_resource_attributes.is_some() {
            errors.invalid(&at.field("nonResourceAttributes"), "", "disallowed on this kind of request");
        }
        if let Some(asked) = &object.spec.resource_attributes
            && asked.namespace != object.metadata.namespace
        {
            let detail = "must match metadata.namespace";
            errors.invalid(&at.field("resourceAttributes").field("namespace"), asked.namespace.clone().unwrap_or_default(), detail);
        }
    }
}

impl Kind for SelfSubjectAccessReview {
    type Object = authorization::SelfSubjectAccessReview;
    const DESCRIPTOR: Descriptor =
        review::<authorization::SelfSubjectAccessReview>("selfsubjectaccessreviews", "selfsubjectaccessreview", Scope::Cluster);

    fn validate(object: &Self::Object, errors: &mut Errors) {
        attributes(object.spec.resource_attributes.is_some(), object.spec.non_resource_attributes.is_some(), errors);
    }
}

impl Kind for SelfSubjectRulesReview {
    type Object = authorization::SelfSubjectRulesReview;
    const DESCRIPTOR: Descriptor =
        review::<authorization::SelfSubjectRulesReview>("selfsubjectrulesreviews", "selfsubjectrulesreview", Scope::Cluster);
}

fn subject(spec: &authorization::SubjectAccessReviewSpec, errors: &mut Errors) {
    attributes(spec.resource_attributes.is_some(), spec.non_resource_attributes.is_some(), errors);
    if spec.user.as_deref().unwrap_or_default().is_empty() && spec.groups.as_ref().is_none_or(Vec::is_empty) {
        errors.invalid(&Path::Root.field("spec").field("user"), "", "at least one of user or group must be specified");
    }
}

fn attributes(resource: bool, non_resource: bool, errors: &mut Errors) {
    let at = Path::Root.field("spec");
    match (resource, non_resource) {
        (true, true) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            errors.invalid(&at.field("nonResourceAttributes"), "", detail);
        }
        (false, false) => {
            errors.invalid(
                &at.field("resourceAttributes"),
                "",
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            );
        }
        _ => {}
    }
}
