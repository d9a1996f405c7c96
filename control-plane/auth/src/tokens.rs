//! Service-account tokens: JSON Web Tokens (RFC 7519) signed with the cluster's key, bound to an object, an audience and a time
//! (`authentication.k8s.io/v1 TokenRequest`, KEP-1205).

use crate::Identity;
use crate::account_keys::{PublicKey, ServiceAccountKey};
use crate::authn::{CREDENTIAL_ID, GROUP_SERVICE_ACCOUNTS};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The audience that the API server itself accepts.
pub const API_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// Shortest and default life of a requested token, in seconds (TokenRequestSpec.expirationSeconds).
pub const MIN_SECONDS: i64 = 600;
/// See [`MIN_SECONDS`].
pub const DEFAULT_SECONDS: i64 = 3600;

/// An object with the uid that it had when the token was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    pub uid: String,
}

/// What a token speaks of: the account, and the pod or node it is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub namespace: String,
    pub serviceaccount: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Subject,
}

/// The type of Secrets with tokens.
pub const SECRET_TYPE: &str = "kubernetes.io/service-account-token";
/// Annotations of such a Secret: whose token it holds.
pub const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
/// See [`ACCOUNT_NAME`].
pub const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// Labels of such a Secret: the date of the last use, and of when it was found to be unused, from which on its token is refused.
pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// See [`LAST_USED`].
pub const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// Who issues the tokens of Secrets, in them.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// What the token of a Secret speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    pub namespace: String,
    pub account: Reference,
    /// The Secret's name.
    pub secret: String,
}

impl Legacy {
    /// Whose it is.
    pub fn identity(&self) -> Identity {
        let name = format!("system:serviceaccount:{}:{}", self.namespace, self.account.name);
        Identity { uid: self.account.uid.clone(), ..Identity::authenticated(name, groups(&self.namespace)) }
    }
}

#[derive(Serialize, Deserialize)]
struct LegacyClaims {
    iss: String,
    sub: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: String,
}

fn groups(namespace: &str) -> [String; 2] {
    [GROUP_SERVICE_ACCOUNTS.to_owned(), format!("{GROUP_SERVICE_ACCOUNTS}:{namespace}")]
}

/// A token that verified. Whether its account and pod still exist is for the caller to check, by uid.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    pub identity: Identity,
    pub subject: Subject,
    pub audiences: Vec<String>,
}

/// Why a token is refused, or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not one of this cluster's service accounts, or has expired: {0}")]
    Invalid(jsonwebtoken::errors::Error),
    #[error("the service-account key cannot be used: {0}")]
    Key(jsonwebtoken::errors::Error),
}

/// Signs with one key, and verifies with that and others.
pub struct TokenIssuer {
    issuer: String,
    encoding: EncodingKey,
    /// The first is the one that signs.
    accepted: Vec<Accepted>,
}

struct Accepted {
    id: String,
    decoding: DecodingKey,
    jwk: serde_json::Value,
}

impl std::fmt::Debug for TokenIssuer {
    /// Nothing of its keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenIssuer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Accepted {
    fn new(key: &PublicKey) -> Result<Self, TokenError> {
        let decoding = DecodingKey::from_ec_pem(key.pem.as_bytes()).map_err(TokenError::Key)?;
        Ok(Self { id: key.id.clone(), decoding, jwk: key.jwk() })
    }
}

impl TokenIssuer {
    /// `accepted`: by which tokens are verified as well. `issuer` is the URL in the tokens and in the discovery document (usually [`API_AUDIENCE`]).
    pub fn new<'a>(
        signing: &ServiceAccountKey,
        accepted: impl IntoIterator<Item = &'a PublicKey>,
        issuer: impl Into<String>,
    ) -> Result<Self, TokenError> {
        let encoding = EncodingKey::from_ec_pem(signing.private_pem.as_bytes()).map_err(TokenError::Key)?;
        let others = accepted.into_iter().map(Accepted::new);
        let accepted = std::iter::once(Accepted::new(&signing.public)).chain(others).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { issuer: issuer.into(), encoding, accepted })
    }

    /// A token for `subject` that `audiences` accept from `now` for `seconds` (Unix time). `id` makes it unique.
    pub fn issue(&self, subject: &Subject, audiences: &[String], now: i64, seconds: i64, id: &str) -> Result<String, TokenError> {
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: format!("system:serviceaccount:{}:{}", subject.namespace, subject.serviceaccount.name),
            aud: audiences.to_vec(),
            exp: now + seconds,
            iat: now,
            nbf: now,
            jti: id.to_owned(),
            kubernetes: subject.clone(),
        };
        self.sign(&claims)
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String, TokenError> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = self.accepted.first().map(|key| key.id.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(TokenError::Key)
    }

    /// The claims of a token that one of the keys has signed: the one that it names, if it names one.
    fn open<T: DeserializeOwned>(&self, token: &str, validation: &Validation) -> Result<T, TokenError> {
        let kid = jsonwebtoken::decode_header(token).map_err(TokenError::Invalid)?.kid;
        let mut why = ErrorKind::InvalidSignature.into();
        for key in self.accepted.iter().filter(|key| kid.as_ref().is_none_or(|kid| *kid == key.id)) {
            match jsonwebtoken::decode::<T>(token, &key.decoding, validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => why = error,
            }
        }
        Err(TokenError::Invalid(why))
    }

    /// The token of a Secret (`kubernetes.io/service-account-token`): it has no end but that of the Secret, and is for this server alone.
    pub fn issue_legacy(&self, token: &Legacy) -> Result<String, TokenError> {
        let Legacy { namespace, account, secret } = token;
        self.sign(&LegacyClaims {
            iss: LEGACY_ISSUER.to_owned(),
            sub: format!("system:serviceaccount:{namespace}:{}", account.name),
            namespace: namespace.clone(),
            secret: secret.clone(),
            account: account.name.clone(),
            uid: account.uid.clone(),
        })
    }

    /// Checks signature and issuer of such a token. That the Secret is there and holds it is for the caller to check.
    pub fn verify_legacy(&self, token: &str) -> Result<Legacy, TokenError> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[LEGACY_ISSUER]);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims: LegacyClaims = self.open(token, &validation)?;
        let account = Reference { name: claims.account, uid: claims.uid };
        let legacy = Legacy { namespace: claims.namespace, account, secret: claims.secret };
        // All of them are told, and nothing is told twice in different words.
        let names = [&legacy.namespace, &legacy.account.name, &legacy.account.uid, &legacy.secret];
        let subject = format!("system:serviceaccount:{}:{}", legacy.namespace, legacy.account.name);
        if claims.sub != subject || names.iter().any(|name| name.is_empty()) {
            return Err(TokenError::Invalid(ErrorKind::InvalidSubject.into()));
        }
        Ok(legacy)
    }

    /// Checks signature, issuer, time, and that one of `audiences` is meant.
    pub fn verify(&self, token: &str, audiences: &[String]) -> Result<Verified, TokenError> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(audiences);
        validation.set_issuer(&[&self.issuer]);
        validation.validate_nbf = true;
        let claims: Claims = self.open(token, &validation)?;
        let subject = claims.kubernetes;
        let groups = groups(&subject.namespace);
        let mut extra = BTreeMap::from([(CREDENTIAL_ID.to_owned(), vec![format!("JTI={}", claims.jti)])]);
        if let Some(pod) = &subject.pod {
            extra.insert("authentication.kubernetes.io/pod-name".to_owned(), vec![pod.name.clone()]);
            extra.insert("authentication.kubernetes.io/pod-uid".to_owned(), vec![pod.uid.clone()]);
        }
        if let Some(node) = &subject.node {
            extra.insert("authentication.kubernetes.io/node-name".to_owned(), vec![node.name.clone()]);
            extra.insert("authentication.kubernetes.io/node-uid".to_owned(), vec![node.uid.clone()]);
        }
        let identity = Identity { uid: subject.serviceaccount.uid.clone(), extra, ..Identity::authenticated(claims.sub, groups) };
        let meant = claims.aud.into_iter().filter(|audience| audiences.contains(audience)).collect();
        Ok(Verified { identity, subject, audiences: meant })
    }

    /// The public keys as a JSON Web Key Set (`/openid/v1/jwks`): all that tokens are verified by.
    pub fn jwks(&self) -> serde_json::Value {
        serde_json::json!({"keys": self.accepted.iter().map(|key| &key.jwk).collect::<Vec<_>>()})
    }

    /// The discovery document (`/.well-known/openid-configuration`).
    pub fn discovery(&self) -> serde_json::Value {
        serde_json::json!({"issuer": self.issuer, "jwks_uri": format!("{}/openid/v1/jwks", self.issuer), "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> TokenIssuer {
        TokenIssuer::new(&ServiceAccountKey::generate().unwrap(), [], API_AUDIENCE).unwrap()
    }

    fn subject() -> Subject {
        let reference = |name: &str| Reference { name: name.into(), uid: format!("{name}-uid") };
        Subject { namespace: "ns".into(), serviceaccount: reference("sa"), pod: Some(reference("pod")), node: None, secret: None }
    }

    fn now() -> i64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
    }

    #[test]
    fn a_token_names_its_account_and_pod() {
        let issuer = issuer();
        let audiences = [API_AUDIENCE.to_owned()];
        let token = issuer.issue(&subject(), &audiences, now(), 600, "1").unwrap();
        let verified = issuer.verify(&token, &audiences).unwrap();
        assert_eq!(verified.identity.username, "system:serviceaccount:ns:sa");
        assert!(verified.identity.is_in("system:serviceaccounts:ns"));
        assert_eq!(verified.subject, subject());
        assert_eq!(verified.audiences, audiences);
    }

    #[test]
    fn expired_foreign_and_misdirected_tokens_are_refused() {
        let (ours, theirs) = (issuer(), issuer());
        let audiences = [API_AUDIENCE.to_owned()];
        let expired = ours.issue(&subject(), &audiences, now() - 7200, 600, "1").unwrap();
        assert!(ours.verify(&expired, &audiences).is_err());
        let foreign = theirs.issue(&subject(), &audiences, now(), 600, "1").unwrap();
        assert!(ours.verify(&foreign, &audiences).is_err());
        let elsewhere = ours.issue(&subject(), &["vault".to_owned()], now(), 600, "1").unwrap();
        assert!(ours.verify(&elsewhere, &audiences).is_err());
        assert!(ours.verify("not.a.token", &audiences).is_err());
    }

    #[test]
    fn a_former_keys_tokens_are_good_while_it_is_accepted_and_all_keys_are_published() {
        let [old, new] = [(); 2].map(|()| ServiceAccountKey::generate().unwrap());
        let audiences = [API_AUDIENCE.to_owned()];
        let before = TokenIssuer::new(&old, [], API_AUDIENCE).unwrap();
        let token = before.issue(&subject(), &audiences, now(), 600, "1").unwrap();
        let after = TokenIssuer::new(&new, [&old.public], API_AUDIENCE).unwrap();
        assert!(after.verify(&token, &audiences).is_ok());
        assert_eq!(after.jwks()["keys"].as_array().map(Vec::len), Some(2));
        assert_eq!(after.jwks()["keys"][0]["kid"], new.public.id.as_str());
        // What is signed now is signed by the new key.
        let fresh = after.issue(&subject(), &audiences, now(), 600, "2").unwrap();
        assert!(before.verify(&fresh, &audiences).is_err());
        let later = TokenIssuer::new(&new, [], API_AUDIENCE).unwrap();
        assert!(later.verify(&token, &audiences).is_err() && later.verify(&fresh, &audiences).is_ok());
    }

    #[test]
    fn a_secrets_token_is_of_a_kind_of_its_own_and_has_no_end() {
        let issuer = issuer();
        let account = Reference { name: "sa".into(), uid: "u".into() };
        let legacy = Legacy { namespace: "ns".into(), account, secret: "s".into() };
        let token = issuer.issue_legacy(&legacy).unwrap();
        assert_eq!(issuer.verify_legacy(&token).unwrap(), legacy);
        assert_eq!(legacy.identity().username, "system:serviceaccount:ns:sa");
        let audiences = [API_AUDIENCE.to_owned()];
        assert!(issuer.verify(&token, &audiences).is_err());
        let bound = issuer.issue(&subject(), &audiences, now(), 600, "1").unwrap();
        assert!(issuer.verify_legacy(&bound).is_err());
        assert!(TokenIssuer::new(&ServiceAccountKey::generate().unwrap(), [], API_AUDIENCE).unwrap().verify_legacy(&token).is_err());
    }
}
