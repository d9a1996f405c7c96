//! Tokens that another service knows: it is asked with a `TokenReview` (`authentication.k8s.io/v1`), and what it answers is kept for a while.
//! Source: `apiserver/plugin/pkg/authenticator/token/webhook` and `apiserver/pkg/util/webhook` of Kubernetes 1.33.

mod cache;
mod kubeconfig;

use super::Known;
use super::remote::Remote;
use crate::admission::webhooks::connect::{Connector, verifying};
use crate::admission::webhooks::destination::Destination;
use crate::cache::Caches;
use crate::object;
use crate::proxy::wire::trusting;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cache::Cache;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode};
use kubeconfig::{Authorization, Target, Trust};
use orknet_auth::Identity;
use orknet_auth::tokens::API_AUDIENCE;
use rand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the webhook is asked when it fails in a way that may pass.
const ATTEMPTS: u32 = 5;
/// The first pause between two attempts; each is half as long again as the one before it, and up to a fifth longer, by chance.
const PAUSE: Duration = Duration::from_millis(500);
/// Most bytes of an answer.
const LARGEST: usize = 3 << 20;
const VERSION: &str = "authentication.k8s.io/v1";

/// See the module.
pub struct TokenWebhook {
    remote: Remote,
    url: String,
    authorization: Option<Authorization>,
    answers: Cache<Option<Known>>,
}

/// Why there is no answer to one attempt.
struct Failure {
    why: String,
    /// Whether asking again may help.
    passes: bool,
}

impl TokenWebhook {
    /// The webhook that a kubeconfig leads to; answers are kept for `ttl`. Blocking. The error says what is wrong with the file.
    pub fn open(path: &Path, ttl: Duration, caches: Arc<Caches>) -> Result<Self, String> {
        let Target { url, server_name, trust, client, authorization } = Target::read(path)?;
        let client = client.as_ref().map(|client| &client.0);
        let tls = match &trust {
            Trust::System => verifying(None, client)?,
            Trust::Authority(pem) => verifying(Some(pem), client)?,
            Trust::Anybody => trusting(client).map_err(|error| error.to_string())?,
        };
        let destination = Destination::from_client_config(&json!({ "url": url }))?;
        let mut connector = Connector::with_tls(destination, caches, tls)?;
        if let Some(name) = server_name {
            connector = connector.for_name(&name)?;
        }
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}timeout={}s", PATIENCE.as_secs());
        Ok(Self { remote: Remote::new(connector), url, authorization, answers: Cache::new(ttl) })
    }

    /// Whose token this is, for one of `audiences`; `None`: nobody's, or the webhook does not answer, which is logged.
    pub async fn holder(&self, token: &str, audiences: &[String]) -> Option<Known> {
        self.answers.get(token, audiences, self.ask(token, audiences)).await.unwrap_or_else(|why| {
            tracing::warn!(url = self.url, why, "the token webhook does not tell whose a token is");
            None
        })
    }

    async fn ask(&self, token: &str, audiences: &[String]) -> Result<Option<Known>, String> {
        let review = json!({ "apiVersion": VERSION, "kind": "TokenReview", "spec": { "token": token, "audiences": audiences } });
        let review = Bytes::from(review.to_string());
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            match self.post(review.clone()).await {
                Ok(answer) => return understood(&answer, audiences),
                Err(Failure { passes: true, .. }) if attempt < ATTEMPTS => {
                    let jittered = pause.mul_f64(rand::rng().random_range(1.0..1.2));
                    tokio::time::sleep(jittered).await;
                    pause = pause.mul_f64(1.5);
                    attempt += 1;
                }
                Err(Failure { why, .. }) => return Err(why),
            }
        }
    }

    async fn post(&self, review: Bytes) -> Result<Bytes, Failure> {
        let lasts = |why: String| Failure { why, passes: false };
        let mut request = Request::post(&self.url).header(CONTENT_TYPE, "application/json").header(ACCEPT, "application/json, */*");
        let credentials = match &self.authorization {
            None => None,
            Some(Authorization::Bearer(token)) => Some(format!("Bearer {token}")),
            Some(Authorization::BearerFile(path)) => {
                let token = tokio::fs::read_to_string(path).await;
                let token = token.map_err(|error| lasts(format!("cannot read {}: {error}", path.display())))?;
                Some(format!("Bearer {}", token.trim()))
            }
            Some(Authorization::Basic { username, password }) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
            }
        };
        if let Some(credentials) = credentials {
            request = request.header(AUTHORIZATION, credentials);
        }
        let sent = self.remote.send(request, review, LARGEST, PATIENCE).await;
        let (status, body) = sent.map_err(|why| Failure { passes: why.contains("onnection reset"), why })?;
        if status.is_success() {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(1024)]).trim().to_owned();
        Err(Failure { why: format!("the webhook answers {status}: {text:?}"), passes: may_pass(status) })
    }
}

/// Whether kube-apiserver asks again after this answer.
fn may_pass(status: StatusCode) -> bool {
    let is_named = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT);
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() && !is_named
}

/// What a review says; `wanted`: for whom the token must be. `None`: it is nobody's, or not for these.
fn understood(answer: &[u8], wanted: &[String]) -> Result<Option<Known>, String> {
    let review: Value = serde_json::from_slice(answer).map_err(|error| format!("the answer is no TokenReview: {error}"))?;
    let (version, kind) = (object::text(&review, "/apiVersion"), object::text(&review, "/kind"));
    if (version, kind) != (VERSION, "TokenReview") {
        return Err(format!("the answer is a {kind:?} of {version:?}; expected a TokenReview of {VERSION}"));
    }
    let status = &review["status"];
    let texts = |value: Option<&Value>| object::strings(value).into_iter().map(str::to_owned).collect::<Vec<_>>();
    if status["authenticated"] != true {
        return match object::text(status, "/error") {
            "" => Ok(None),
            why => Err(why.to_owned()),
        };
    }
    // Who says nothing of audiences knows of none but this server.
    let mut told = texts(status.get("audiences"));
    if told.is_empty() {
        told.push(API_AUDIENCE.to_owned());
    }
    let audiences: Vec<String> = wanted.iter().filter(|audience| told.contains(audience)).cloned().collect();
    if audiences.is_empty() {
        return Ok(None);
    }
    let user = &status["user"];
    let username = object::text(user, "/username");
    if username.is_empty() {
        return Err("the webhook knows the token and names nobody".to_owned());
    }
    let extra = user.get("extra").and_then(Value::as_object).into_iter().flatten();
    let extra: BTreeMap<String, Vec<String>> = extra.map(|(key, values)| (key.clone(), texts(Some(values)))).collect();
    let uid = object::text(user, "/uid").to_owned();
    let identity = Identity { uid, extra, ..Identity::authenticated(username, texts(user.get("groups"))) };
    Ok(Some(Known { identity, audiences }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Value) -> Vec<u8> {
        json!({ "apiVersion": VERSION, "kind": "TokenReview", "status": status }).to_string().into_bytes()
    }

    #[test]
    fn an_answer_names_the_holder_and_whom_the_token_is_for() {
        let own = [API_AUDIENCE.to_owned()];
        let user = json!({ "username": "ann", "uid": "7", "groups": ["dev"], "extra": { "a": ["b", "c"] } });
        let known = understood(&answer(json!({ "authenticated": true, "user": user })), &own).expect("an answer").expect("somebody");
        assert_eq!((&known.identity.username[..], &known.identity.uid[..], &known.audiences[..]), ("ann", "7", &own[..]));
        assert_eq!(known.identity.groups, ["dev", "system:authenticated"]);
        assert_eq!(known.identity.extra["a"], ["b", "c"]);
        let for_vault = answer(json!({ "authenticated": true, "user": user, "audiences": ["vault", "x"] }));
        assert_eq!(understood(&for_vault, &own), Ok(None));
        let wanted = ["y".to_owned(), "vault".to_owned()];
        assert_eq!(understood(&for_vault, &wanted).expect("an answer").expect("somebody").audiences, ["vault"]);
        let for_nobody_in_particular = answer(json!({ "authenticated": true, "user": user }));
        assert_eq!(understood(&for_nobody_in_particular, &wanted), Ok(None));
    }

    #[test]
    fn what_is_no_answer_lets_nobody_in() {
        let own = [API_AUDIENCE.to_owned()];
        let user = json!({ "username": "ann" });
        assert_eq!(understood(&answer(json!({ "authenticated": false, "user": user })), &own), Ok(None));
        assert_eq!(understood(&answer(json!({ "user": user })), &own), Ok(None));
        assert_eq!(understood(&answer(json!({ "authenticated": "true", "user": user })), &own), Ok(None));
        assert_eq!(understood(&answer(json!({ "error": "expired" })), &own), Err("expired".to_owned()));
        assert!(understood(&answer(json!({ "authenticated": true, "user": {} })), &own).is_err());
        let older = String::from_utf8(answer(json!({ "authenticated": true, "user": user }))).expect("text").replace("/v1", "/v1beta1");
        assert!(understood(older.as_bytes(), &own).is_err());
        assert!(understood(b"true", &own).is_err());
    }

    #[test]
    fn only_what_may_pass_is_asked_again() {
        for (code, again) in [(500, true), (502, true), (429, true), (503, false), (504, false), (400, false), (401, false), (404, false)] {
            assert_eq!(may_pass(StatusCode::from_u16(code).expect("a code")), again, "{code}");
        }
    }
}
