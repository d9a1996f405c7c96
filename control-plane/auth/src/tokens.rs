//! Service-account tokens: JSON Web Tokens (RFC 7519) signed with the cluster's key, bound to an object, an audience and a time
//! (`authentication.k8s.io/v1 TokenRequest`, KEP-1205).

use crate::Identity;
use crate::authn::GROUP_SERVICE_ACCOUNTS;
use crate::pki::ServiceAccountKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
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

/// Signs and verifies with one key.
pub struct TokenIssuer {
    issuer: String,
    key_id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    jwk: serde_json::Value,
}

impl TokenIssuer {
    /// `issuer` is the URL in the tokens and in the discovery document (usually [`API_AUDIENCE`]).
    pub fn new(key: &ServiceAccountKey, issuer: impl Into<String>) -> Result<Self, TokenError> {
        let encoding = EncodingKey::from_ec_pem(key.private_pem.as_bytes()).map_err(TokenError::Key)?;
        let decoding = DecodingKey::from_ec_pem(key.public_pem.as_bytes()).map_err(TokenError::Key)?;
        Ok(Self { issuer: issuer.into(), key_id: key.id.clone(), encoding, decoding, jwk: key.jwk() })
    }

    /// A token for `subject` that `audiences` accept from `now` for `seconds` (Unix time). `id` makes it unique.
    pub fn issue(&self, subject: &Subject, audiences: &[String], now: i64, seconds: i64, id: &str) -> Result<String, TokenError> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
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
        jsonwebtoken::encode(&header, &claims, &self.encoding).map_err(TokenError::Key)
    }

    /// Checks signature, issuer, time, and that one of `audiences` is meant.
    pub fn verify(&self, token: &str, audiences: &[String]) -> Result<Verified, TokenError> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(audiences);
        validation.set_issuer(&[&self.issuer]);
        validation.validate_nbf = true;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).map_err(TokenError::Invalid)?.claims;
        let subject = claims.kubernetes;
        let groups = [GROUP_SERVICE_ACCOUNTS.to_owned(), format!("system:serviceaccounts:{}", subject.namespace)];
        let mut extra = BTreeMap::from([("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("JTI={}", claims.jti)])]);
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

    /// The public keys as a JSON Web Key Set (`/openid/v1/jwks`).
    pub fn jwks(&self) -> serde_json::Value {
        serde_json::json!({"keys": [self.jwk]})
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
        TokenIssuer::new(&ServiceAccountKey::generate().unwrap(), API_AUDIENCE).unwrap()
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
}
