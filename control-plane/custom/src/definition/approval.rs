//! Groups that belong to Kubernetes (`*.k8s.io`, `*.kubernetes.io`) are defined by others only with an annotation that says where that was agreed
//! (kubernetes/enhancements#1111).

use super::conditions::Condition;
use std::collections::BTreeMap;

/// The annotation.
pub const ANNOTATION: &str = "api-approved.kubernetes.io";

/// What a definition says of its approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    Missing,
    Invalid,
    /// `unapproved…`: it says itself that it has none.
    Bypassed,
    Approved,
}

/// Whether a group belongs to Kubernetes.
pub fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|owner| group.strip_suffix(owner).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// What the annotations say, with the words for it.
pub fn approval(annotations: Option<&BTreeMap<String, String>>) -> (Approval, String) {
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    match annotations.and_then(|annotations| annotations.get(ANNOTATION)).map(String::as_str).unwrap_or_default() {
        "" => (Approval::Missing, format!("protected groups must have approval annotation {ANNOTATION:?}, {SEE}")),
        text if text.starts_with("unapproved") => (Approval::Bypassed, format!("not approved: {text:?}")),
        text if is_url(text) => (Approval::Approved, format!("approved in {text}")),
        _ => {
            let rule = "with either a URL or a reason starting with \"unapproved\"";
            (Approval::Invalid, format!("protected groups must have approval annotation {ANNOTATION:?} {rule}, {SEE}"))
        }
    }
}

/// The condition that tells of it; `None` for groups that need none.
pub fn condition(group: &str, annotations: Option<&BTreeMap<String, String>>) -> Option<Condition> {
    let (approval, words) = is_protected(group).then(|| approval(annotations))?;
    let reason = match approval {
        Approval::Missing => "MissingAnnotation",
        Approval::Invalid => "InvalidAnnotation",
        Approval::Bypassed => "UnapprovedAnnotation",
        Approval::Approved => "ApprovedAnnotation",
    };
    Some(Condition::new("KubernetesAPIApprovalPolicyConformant", approval == Approval::Approved, reason, words))
}

/// With a scheme and a host.
fn is_url(text: &str) -> bool {
    orknet_cel::Url::parse_reference(text).is_some_and(|url| !url.scheme.is_empty() && !url.host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kubernetes_own_groups_are_protected() {
        for (group, protected) in
            [("k8s.io", true), ("x.k8s.io", true), ("a.kubernetes.io", true), ("notk8s.io", false), ("k8s.io.example.org", false)]
        {
            assert_eq!(is_protected(group), protected, "{group}");
        }
    }

    #[test]
    fn an_approval_is_a_url_or_says_that_there_is_none() {
        for (text, expected) in [
            ("", Approval::Missing),
            ("https://github.com/kubernetes/kubernetes/pull/1", Approval::Approved),
            ("unapproved, experimental", Approval::Bypassed),
            ("yes", Approval::Invalid),
            ("https://", Approval::Invalid),
        ] {
            let annotations = BTreeMap::from([(ANNOTATION.to_owned(), text.to_owned())]);
            assert_eq!(approval(Some(&annotations)).0, expected, "{text}");
        }
    }
}
