//! Bootstrap tokens: `id.secret`, by which a machine that has nothing yet joins a cluster, kept as Secrets `kube-system/bootstrap-token-ID` (Kubernetes
//! "Authenticating with bootstrap tokens"). Pure: Secrets in; identities, signatures and times out.

use crate::Identity;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeSet;

/// Where their Secrets are.
pub const NAMESPACE: &str = "kube-system";
/// Type of their Secrets.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// Before the id in a Secret's name.
pub const NAME_PREFIX: &str = "bootstrap-token-";
/// Of which every holder of a token is one.
pub const GROUP: &str = "system:bootstrappers";
/// Before the id in the name of its holder.
pub const USER_PREFIX: &str = "system:bootstrap:";
/// Before the id in the keys of signatures in `kube-public/cluster-info`.
pub const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

/// Keys of a Secret's data.
pub const ID: &str = "token-id";
pub const SECRET: &str = "token-secret";
pub const EXPIRATION: &str = "expiration";
pub const DESCRIPTION: &str = "description";
pub const GROUPS: &str = "auth-extra-groups";
/// Before the name of a usage.
pub const USAGE_PREFIX: &str = "usage-bootstrap-";
/// What a token can be good for.
pub const USAGES: [&str; 2] = ["signing", "authentication"];

const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;
/// Most characters of a group's own part but its last one.
const MOST_OF_GROUP: usize = 255;

/// The two halves of a token, of the right form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// Known to everybody who can list Secrets or read `cluster-info`.
    pub id: &'a str,
    pub secret: &'a str,
}

impl<'a> Token<'a> {
    /// `[a-z0-9]{6}.[a-z0-9]{16}`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        (is_id(id) && is_plain(secret, SECRET_LENGTH)).then_some(Self { id, secret })
    }

    /// The name of its Secret.
    pub fn secret_name(&self) -> String {
        format!("{NAME_PREFIX}{}", self.id)
    }
}

/// A new token. Fails when the system has no randomness to give.
pub fn generate() -> Result<String, NoRandomness> {
    Ok(format!("{}.{}", random(ID_LENGTH)?, random(SECRET_LENGTH)?))
}

/// The system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

fn random(length: usize) -> Result<String, NoRandomness> {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::new();
    while text.len() < length {
        let mut byte = [0];
        aws_lc_rs::rand::fill(&mut byte).map_err(|_| NoRandomness)?;
        // Of the bytes that are left, each letter has as many.
        if usize::from(byte[0]) < 256 / LETTERS.len() * LETTERS.len() {
            text.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    Ok(text)
}

/// Whether this can be a token's id.
pub fn is_id(text: &str) -> bool {
    is_plain(text, ID_LENGTH)
}

/// Whether a token may bring its holder into this group: `system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]`.
pub fn is_group(text: &str) -> bool {
    let Some((last, before)) = text.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':')).and_then(|own| own.as_bytes().split_last())
    else {
        return false;
    };
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    is_plain(last) && before.len() <= MOST_OF_GROUP && before.iter().all(|byte| is_plain(byte) || matches!(byte, b':' | b'-'))
}

/// Who the holder of a token is, by the Secret of its name at `now`; `None`: nobody.
pub fn identity(token: &Token<'_>, secret: &Secret, now: Timestamp) -> Option<Identity> {
    let is_alive = secret.metadata.deletion_timestamp.is_none() && secret.type_.as_deref() == Some(SECRET_TYPE);
    // Compared in a time that tells nothing of where they differ.
    let is_known = verify_slices_are_equal(bytes(secret, SECRET), token.secret.as_bytes()).is_ok();
    let is_for_this = text(secret, ID) == token.id && is_for(secret, "authentication") && expiry(secret, now) != Expiry::Past;
    if !(is_alive && is_known && is_for_this) {
        return None;
    }
    let mut groups = BTreeSet::from([GROUP.to_owned()]);
    for group in text(secret, GROUPS).split(',').filter(|_| !text(secret, GROUPS).is_empty()) {
        if !is_group(group) {
            return None;
        }
        groups.insert(group.to_owned());
    }
    Some(Identity::authenticated(format!("{USER_PREFIX}{}", token.id), groups))
}

/// Until when a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Never,
    At(Timestamp),
    /// Or what is said of it is no time.
    Past,
}

/// See [`Expiry`].
pub fn expiry(secret: &Secret, now: Timestamp) -> Expiry {
    match text(secret, EXPIRATION) {
        "" => Expiry::Never,
        time => match time.parse::<Timestamp>() {
            Ok(time) if time > now => Expiry::At(time),
            _ => Expiry::Past,
        },
    }
}

/// Id and secret of a token that signs `cluster-info` at `now`; `None` for a Secret of which none does.
pub fn signer(secret: &Secret, now: Timestamp) -> Option<Token<'_>> {
    let id = text(secret, ID);
    let named = secret.metadata.name.as_deref().and_then(|name| name.strip_prefix(NAME_PREFIX)).filter(|id| is_id(id));
    let signs = secret.type_.as_deref() == Some(SECRET_TYPE)
        && named == Some(id)
        && !text(secret, SECRET).is_empty()
        && expiry(secret, now) != Expiry::Past
        && is_for(secret, "signing");
    signs.then(|| Token { id, secret: text(secret, SECRET) })
}

/// The signature of `content` by a token: JWS (RFC 7515) with HS256, its payload left out (appendix F).
pub fn signature(content: &str, token: &Token<'_>) -> String {
    // The order of the header's members is part of what others compare.
    let header = format!(r#"{{"alg":"HS256","kid":{}}}"#, json!(token.id));
    let header = URL_SAFE_NO_PAD.encode(header);
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.secret.as_bytes());
    let tag = hmac::sign(&key, format!("{header}.{}", URL_SAFE_NO_PAD.encode(content)).as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag))
}

/// The text of a member of the Secret's data; empty where there is none, or no text.
pub fn text<'a>(secret: &'a Secret, key: &str) -> &'a str {
    std::str::from_utf8(bytes(secret, key)).unwrap_or_default()
}

/// Whether a token may be used so.
pub fn is_for(secret: &Secret, usage: &str) -> bool {
    text(secret, &format!("{USAGE_PREFIX}{usage}")) == "true"
}

fn bytes<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|value| &value.0[..]).unwrap_or_default()
}

fn is_plain(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    const TOKEN: Token<'static> = Token { id: "abcdef", secret: "0123456789abcdef" };

    fn secret(changes: &[(&str, &str)]) -> Secret {
        let mut data = std::collections::BTreeMap::from([
            (ID, TOKEN.id),
            (SECRET, TOKEN.secret),
            ("usage-bootstrap-authentication", "true"),
            ("usage-bootstrap-signing", "true"),
            (EXPIRATION, "2026-01-02T00:00:00Z"),
        ]);
        data.extend(changes.iter().copied());
        let data: serde_json::Map<_, _> = data.into_iter().map(|(key, value)| (key.to_owned(), STANDARD.encode(value).into())).collect();
        serde_json::from_value(json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": SECRET_TYPE, "data": data})).unwrap()
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn tokens_have_one_form() {
        let new = generate().unwrap();
        assert!(Token::parse(&new).is_some() && new != generate().unwrap(), "{new}");
        assert_eq!(Token::parse("abcdef.0123456789abcdef"), Some(TOKEN));
        for wrong in
            ["abcdef", "abcde.0123456789abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde", "abcdef.0123456789abcdef.x", "a.b"]
        {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
        for (group, good) in [
            ("system:bootstrappers:a", true),
            ("system:bootstrappers:kubeadm:default-node-token", true),
            ("system:bootstrappers:a-", false),
            ("system:bootstrappers:", false),
            ("system:bootstrappers", false),
            ("system:bootstrappers:A", false),
            ("system:masters", false),
        ] {
            assert_eq!(is_group(group), good, "{group}");
        }
    }

    #[test]
    fn a_holder_is_who_the_secret_says_while_it_lasts() {
        let early = at("2026-01-01T00:00:00Z");
        let known = identity(&TOKEN, &secret(&[(GROUPS, "system:bootstrappers:b,system:bootstrappers:a")]), early).unwrap();
        assert_eq!(known.username, "system:bootstrap:abcdef");
        assert_eq!(known.groups, ["system:bootstrappers", "system:bootstrappers:a", "system:bootstrappers:b", "system:authenticated"]);
        assert!(identity(&TOKEN, &secret(&[(EXPIRATION, "")]), at("2030-01-01T00:00:00Z")).is_some());
        for (change, time) in [
            ((GROUPS, "system:masters"), early),
            ((GROUPS, "system:bootstrappers:a,"), early),
            ((SECRET, "0123456789abcdeg"), early),
            ((SECRET, "0123456789abcde"), early),
            ((ID, "abcdeg"), early),
            ((EXPIRATION, "soon"), early),
            (("usage-bootstrap-authentication", "yes"), early),
            (("", ""), at("2026-01-02T00:00:00Z")),
        ] {
            assert_eq!(identity(&TOKEN, &secret(&[change]), time), None, "{change:?}");
        }
        let mut other = secret(&[]);
        other.type_ = Some("Opaque".into());
        assert_eq!(identity(&TOKEN, &other, early), None);
    }

    #[test]
    fn signatures_are_those_of_kubeadm() {
        let joshua = Token { id: "joshua", secret: "my voice is my passcode" };
        let content = "Hello from the other side. I must have called a thousand times.";
        let expected = "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8";
        assert_eq!(signature(content, &joshua), expected);
        let early = at("2026-01-01T00:00:00Z");
        assert_eq!(signer(&secret(&[]), early), Some(TOKEN));
        assert_eq!(signer(&secret(&[("usage-bootstrap-signing", "false")]), early), None);
        assert_eq!(signer(&secret(&[(ID, "abcdeg")]), early), None);
        assert_eq!(signer(&secret(&[]), at("2026-01-03T00:00:00Z")), None);
    }
}
