//! `SelfSubjectRulesReview`: everything that I may do in a namespace.

use crate::access::Access;
use orknet_auth::Identity;
use orknet_auth::node::node_of;
use serde_json::{Value, json};

/// `SubjectRulesReviewStatus`.
pub fn review(access: &Access, who: &Identity, namespace: &str) -> Value {
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in access.rules.current().rules_for(who, namespace) {
        if let Some(urls) = rule.non_resource_urls.filter(|urls| !urls.is_empty()) {
            paths.push(json!({ "verbs": rule.verbs, "nonResourceURLs": urls }));
            continue;
        }
        let mut shown = json!({ "verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources });
        if let Some(names) = rule.resource_names.filter(|names| !names.is_empty()) {
            shown["resourceNames"] = json!(names);
        }
        resources.push(shown);
    }
    let mut status = json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": false });
    if node_of(who).is_some() {
        status["incomplete"] = true.into();
        status["evaluationError"] = "node authorizer does not support user rule resolution".into();
    }
    status
}
