//! Acting as somebody else (`kubectl --as`): each name taken on must be allowed by the verb `impersonate`.

use crate::access::Access;
use crate::error::ApiError;
use http::HeaderMap;
use orknet_auth::Identity;
use orknet_auth::authn::{GROUP_AUTHENTICATED, GROUP_UNAUTHENTICATED};
use orknet_auth::authz::{Attributes, Target};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// The identity to go on with: `who`, or the one in the headers if `who` may take it on.
pub fn impersonate(access: &Access, headers: &HeaderMap, who: Identity) -> Result<Identity, ApiError> {
    let texts =
        |name: &str| -> Vec<String> { headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect() };
    let (user, groups, uid) = (texts(USER).into_iter().next(), texts(GROUP), texts(UID).into_iter().next());
    let extras: Vec<(String, String)> = (headers.iter())
        .filter_map(|(name, value)| {
            let key = name.as_str().strip_prefix(EXTRA)?;
            let key = percent_encoding::percent_decode_str(key).decode_utf8().ok()?.into_owned();
            Some((key, value.to_str().ok()?.to_owned()))
        })
        .collect();
    let Some(user) = user.filter(|user| !user.is_empty()) else {
        if groups.is_empty() && uid.is_none() && extras.is_empty() {
            return Ok(who);
        }
        return Err(ApiError::bad_request("requested impersonation without impersonating a user"));
    };
    let check = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let target = Target::Resource { group, resource, subresource, namespace, name };
        if access.allows(&who, &Attributes { verb: "impersonate", target }) {
            return Ok(());
        }
        let shown = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
        let why = format!("User {:?} cannot impersonate resource {shown:?} in API group {group:?} at the cluster scope", who.username);
        Err(ApiError::forbidden_resource(group, resource, name, why))
    };
    let account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, name)) => check("", "serviceaccounts", "", namespace, name)?,
        None => check("", "users", "", "", &user)?,
    }
    for group in &groups {
        check("", "groups", "", "", group)?;
    }
    if let Some(uid) = &uid {
        check("authentication.k8s.io", "uids", "", "", uid)?;
    }
    for (key, value) in &extras {
        check("authentication.k8s.io", "userextras", key, "", value)?;
    }
    let mut groups = groups;
    if let (Some((namespace, _)), true) = (account, groups.is_empty()) {
        groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
    }
    let mut identity = if user == "system:anonymous" || groups.iter().any(|group| group == GROUP_UNAUTHENTICATED) {
        Identity { username: user, groups, ..Identity::anonymous() }
    } else {
        groups.retain(|group| group != GROUP_AUTHENTICATED);
        Identity::authenticated(user, groups)
    };
    identity.uid = uid.unwrap_or_default();
    for (key, value) in extras {
        identity.extra.entry(key).or_default().push(value);
    }
    Ok(identity)
}
