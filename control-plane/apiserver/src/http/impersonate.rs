//! Acting as somebody else (`kubectl --as`): each name taken on must be allowed by the verb `impersonate`.

use crate::access::Access;
use crate::error::ApiError;
use http::{HeaderMap, HeaderValue};
use orknet_auth::Identity;
use orknet_auth::authn::{GROUP_AUTHENTICATED, GROUP_UNAUTHENTICATED};
use orknet_auth::authz::{Attributes, Target};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// Whom the headers ask to be taken for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    user: String,
    groups: Vec<String>,
    uid: Option<String>,
    extras: Vec<(String, String)>,
}

/// The identity to go on with: `who`, or the one in the headers if `who` may take it on.
pub fn impersonate(access: &Access, headers: &HeaderMap, who: Identity) -> Result<Identity, ApiError> {
    let Some(Wanted { user, groups, uid, extras }) = wanted(headers)? else { return Ok(who) };
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
    let account = account.filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains(':'));
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

/// Reads the headers; `None`: nobody else is asked for. 400 when one of them cannot be read: the request would go on with more rights, or others,
/// than were asked for.
fn wanted(headers: &HeaderMap) -> Result<Option<Wanted>, ApiError> {
    let texts = |name: &str| headers.get_all(name).iter().map(|value| text(name, value)).collect::<Result<Vec<_>, _>>();
    let (user, groups, uid) = (texts(USER)?.into_iter().next(), texts(GROUP)?, texts(UID)?.into_iter().next());
    let mut extras = Vec::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else { continue };
        let key = percent_encoding::percent_decode_str(key).decode_utf8().map_err(|_| unreadable(name.as_str()))?;
        extras.push((key.into_owned(), text(name.as_str(), value)?));
    }
    match user.filter(|user| !user.is_empty()) {
        Some(user) => Ok(Some(Wanted { user, groups, uid, extras })),
        None if groups.is_empty() && uid.is_none() && extras.is_empty() => Ok(None),
        None => Err(ApiError::bad_request("requested impersonation without impersonating a user")),
    }
}

fn text(name: &str, value: &HeaderValue) -> Result<String, ApiError> {
    std::str::from_utf8(value.as_bytes()).map(str::to_owned).map_err(|_| unreadable(name))
}

fn unreadable(name: &str) -> ApiError {
    ApiError::bad_request(format!("the header {name} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn read(headers: &[(&'static str, &[u8])]) -> Result<Option<Wanted>, u16> {
        let headers: HeaderMap = (headers.iter())
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value")))
            .collect();
        wanted(&headers).map_err(|error| error.code())
    }

    #[test]
    fn names_are_any_text() {
        let found = read(&[(USER, "andré".as_bytes()), (GROUP, "gäste".as_bytes()), ("impersonate-extra-caf%c3%a9", b"x")]);
        let extras = vec![("café".to_owned(), "x".to_owned())];
        assert_eq!(found, Ok(Some(Wanted { user: "andré".into(), groups: vec!["gäste".into()], uid: None, extras })));
        assert_eq!(read(&[("host", b"x")]), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_never_passed_over() {
        for name in [USER, GROUP, UID, "impersonate-extra-a"] {
            assert_eq!(read(&[(USER, b"ann"), (name, &[0xff, b'a'])]), Err(400), "{name}");
        }
        assert_eq!(read(&[(USER, b"ann"), ("impersonate-extra-%ff", b"a")]), Err(400));
        for name in [GROUP, UID, "impersonate-extra-a"] {
            assert_eq!(read(&[(name, b"x")]), Err(400), "{name} without a user");
        }
    }
}
