//! Service-account tokens for projected volumes: requested once, kept, and requested again when most of their life is over.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, VolumeProjection};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::error::Error;
use crate::pods::{Context, PodKey};

/// Life of a token unless the volume says otherwise, in seconds.
const DEFAULT_SECONDS: i64 = 3600;
/// A token is replaced when it is older than this at the latest.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);

/// Tokens by pod uid and request.
#[derive(Debug, Default)]
pub struct Tokens {
    entries: Mutex<HashMap<(String, String, i64), Token>>,
}

#[derive(Clone, Debug)]
struct Token {
    text: String,
    issued: Timestamp,
    expires: Timestamp,
}

impl Tokens {
    /// The tokens that the sources want, by index of the source. Asks the API server for those that are missing or old; while it is away
    /// an old token serves until it expires.
    ///
    /// # Errors
    /// A token is needed and the server gives none.
    pub async fn for_sources(&self, context: &Context, pod: &Pod, sources: &[VolumeProjection]) -> Result<BTreeMap<usize, String>, Error> {
        let mut tokens = BTreeMap::new();
        for (index, source) in sources.iter().enumerate() {
            let Some(source) = &source.service_account_token else { continue };
            let seconds = source.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
            let audience = source.audience.clone().unwrap_or_default();
            tokens.insert(index, self.one(context, pod, audience, seconds).await?);
        }
        Ok(tokens)
    }

    /// Forgets the tokens of a pod.
    pub fn forget(&self, uid: &str) {
        self.entries.lock().retain(|(of, _, _), _| of != uid);
    }

    async fn one(&self, context: &Context, pod: &Pod, audience: String, seconds: i64) -> Result<String, Error> {
        let key = PodKey::of(pod);
        let entry = (key.uid.clone(), audience.clone(), seconds);
        let known = self.entries.lock().get(&entry).cloned();
        let now = Timestamp::now();
        if let Some(token) = known.as_ref().filter(|t| !is_old(t.issued, t.expires, now)) {
            return Ok(token.text.clone());
        }
        let account = pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).unwrap_or_else(|| "default".to_owned());
        let spec = TokenRequestSpec {
            audiences: Some(audience).filter(|a| !a.is_empty()).into_iter().collect(),
            expiration_seconds: Some(seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(key.name.clone()),
                uid: Some(key.uid.clone()),
            }),
        };
        match context.cluster.token(&key.namespace, &account, spec).await {
            Ok(status) => {
                let token = Token { text: status.token, issued: now, expires: status.expiration_timestamp.0 };
                self.entries.lock().insert(entry, token.clone());
                Ok(token.text)
            }
            Err(error) => match known.filter(|t| t.expires > now) {
                Some(token) => {
                    tracing::warn!(pod = %key, %error, "token not renewed");
                    Ok(token.text)
                }
                None => Err(error),
            },
        }
    }
}

/// A token is replaced after 80 % of its life, or after a day.
fn is_old(issued: Timestamp, expires: Timestamp, now: Timestamp) -> bool {
    let life = expires.duration_since(issued);
    let age = now.duration_since(issued);
    age > OLDEST || age.as_secs() * 10 > life.as_secs() * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_old_after_most_of_its_life_or_a_day() {
        let at = |s| Timestamp::from_second(s).unwrap();
        for (life, age, want) in
            [(3600, 0, false), (3600, 2879, false), (3600, 2890, true), (1_000_000, 80_000, false), (1_000_000, 90_000, true)]
        {
            assert_eq!(is_old(at(0), at(life), at(age)), want, "{life} {age}");
        }
    }
}
