//! What expressions of admission ask the server's authorizer (`authorizer` of match conditions and policies).

use super::chain::{Attributes, Request};
use crate::selector::FieldSelector;
use crate::server::Server;
use orknet_auth::Identity;
use orknet_auth::authn::GROUP_SERVICE_ACCOUNTS;
use orknet_auth::authz::{self, Target};
use orknet_cel::{Authorizer, Decision, Question};

/// Answers for the user of a request, or for a service account.
pub struct RequestAuthorizer<'a> {
    pub server: &'a Server,
    pub who: &'a Identity,
}

impl RequestAuthorizer<'_> {
    /// The resource of a request, as `authorizer.requestResource` begins.
    pub fn question_of(what: &Attributes<'_>) -> Question {
        let Request { kind, subresource, namespace, name, .. } = **what;
        let names = kind.descriptor();
        Question {
            group: names.group.to_owned(),
            resource: names.plural.to_owned(),
            subresource: subresource.unwrap_or_default().to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Question::default()
        }
    }
}

impl Authorizer for RequestAuthorizer<'_> {
    fn decide(&self, question: &Question) -> Decision {
        let account = question.service_account.as_ref().map(|(namespace, name)| service_account(namespace, name));
        let who = account.as_ref().unwrap_or(self.who);
        let target = match &question.path {
            Some(path) => Target::Path(path),
            None => Target::Resource {
                group: &question.group,
                resource: &question.resource,
                subresource: &question.subresource,
                namespace: &question.namespace,
                name: &question.name,
            },
        };
        let selected = |field: &str| FieldSelector::parse(&question.field_selector).ok()?.exact(field).map(str::to_owned);
        let verdict = self.server.access.decide(who, &authz::Attributes { verb: &question.verb, target }, selected);
        Decision { allowed: verdict.allowed, reason: verdict.reason, error: None }
    }
}

fn service_account(namespace: &str, name: &str) -> Identity {
    let groups = [GROUP_SERVICE_ACCOUNTS.to_owned(), format!("{GROUP_SERVICE_ACCOUNTS}:{namespace}")];
    Identity::authenticated(format!("system:serviceaccount:{namespace}:{name}"), groups)
}
