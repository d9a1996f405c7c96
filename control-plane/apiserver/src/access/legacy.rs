//! Tokens of Secrets (`kubernetes.io/service-account-token`): good while the Secret is there and holds them. When one was used last is written to its Secret
//! as a label, once a day (Kubernetes, LegacyServiceAccountTokenTracking), by which who cleans up knows those that nobody uses.

use crate::admission::Asked;
use crate::bootstrap::ensure_all;
use crate::error::ApiError;
use crate::object;
use crate::ownership::{SERVER, server_identity};
use crate::server::Server;
use crate::verbs::write::{Admission, Update, update};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orknet_auth::tokens::{INVALID_SINCE, LAST_USED, Legacy};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Since when uses are written down: a ConfigMap of `kube-system`, which clean-up asks for.
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
/// Between two looks whether the ConfigMap is there.
const INTERVAL: Duration = Duration::from_secs(300);

/// Why a Secret's token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The Secret is being deleted, or holds another token.
    Gone,
    /// Nobody had used it for long, and it was marked so.
    Invalid,
}

/// Whether the Secret makes the token good.
pub fn check(secret: &Value, token: &str) -> Result<(), Refused> {
    let held = STANDARD.decode(object::text(secret, "/data/token")).unwrap_or_default();
    if object::is_deleting(secret) || held != token.as_bytes() {
        return Err(Refused::Gone);
    }
    if !label(secret, INVALID_SINCE).is_empty() {
        return Err(Refused::Invalid);
    }
    Ok(())
}

/// Uses that are to be written down.
#[derive(Default)]
pub struct Uses {
    /// Namespace and name of Secrets.
    waiting: Mutex<BTreeSet<(String, String)>>,
    woken: Notify,
}

impl Uses {
    /// A token was used: to be written down unless it was today already.
    pub fn note(&self, token: &Legacy, secret: &Value) {
        if label(secret, LAST_USED) != today() {
            self.waiting.lock().insert((token.namespace.clone(), token.secret.clone()));
            self.woken.notify_one();
        }
    }
}

/// Writes uses down, and since when that is done, until shutdown.
pub async fn keep(server: Arc<Server>) {
    let uses = async {
        loop {
            server.access.tokens.uses().woken.notified().await;
            let waiting = std::mem::take(&mut *server.access.tokens.uses().waiting.lock());
            for (namespace, name) in waiting {
                // What could not be written is noted again at the next use.
                if let Err(error) = write(&server, &namespace, &name).await {
                    tracing::warn!(%error, namespace, name, "the use of a token was not written down");
                }
            }
        }
    };
    let tracking = async {
        server.storage.caches.filled().await;
        loop {
            let since = json!({ "metadata": { "name": TRACKING, "namespace": "kube-system" }, "data": { "since": today() } });
            if let Err(error) = ensure_all(&server, "", "configmaps", vec![since]).await {
                tracing::debug!(%error, "since when uses of tokens are written down is not told yet");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    server.shutdown.run_until_cancelled(async { tokio::join!(uses, tracking) }).await;
}

async fn write(server: &Server, namespace: &str, name: &str) -> Result<(), ApiError> {
    let Some(kind) = server.kinds().find_any_version("", "secrets") else { return Ok(()) };
    let what = Update {
        kind: &kind,
        namespace,
        name,
        subresource: None,
        dry_run: false,
        manager: Some(SERVER),
        validate: false,
        admission: Admission::Asked,
        options: Asked::Nothing,
    };
    let change = |old: &Value, _: u64| {
        let mut new = old.clone();
        if let Some(labels) = object::meta_mut(&mut new).entry("labels").or_insert_with(|| json!({})).as_object_mut() {
            labels.insert(LAST_USED.to_owned(), today().into());
        }
        Ok(new)
    };
    match update(server, &server_identity(), &what, change).await {
        Err(error) if error.code() == 404 => Ok(()),
        done => done.map(drop),
    }
}

fn label<'a>(secret: &'a Value, key: &str) -> &'a str {
    secret.pointer("/metadata/labels").and_then(|labels| labels.get(key)).and_then(Value::as_str).unwrap_or_default()
}

/// The date (UTC), as labels carry it.
fn today() -> String {
    object::timestamp(0).chars().take("2006-01-02".len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_auth::tokens::Reference;

    fn secret(labels: Value) -> Value {
        json!({ "metadata": { "labels": labels }, "data": { "token": STANDARD.encode("t") } })
    }

    #[test]
    fn a_token_is_good_while_its_secret_holds_it_and_is_not_marked() {
        assert_eq!(check(&secret(json!({})), "t"), Ok(()));
        assert_eq!(check(&secret(json!({})), "other"), Err(Refused::Gone));
        assert_eq!(check(&json!({}), "t"), Err(Refused::Gone));
        assert_eq!(check(&secret(json!({ INVALID_SINCE: "2026-01-01" })), "t"), Err(Refused::Invalid));
        assert_eq!(check(&secret(json!({ INVALID_SINCE: "" })), "t"), Ok(()));
        let mut going = secret(json!({}));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(check(&going, "t"), Err(Refused::Gone));
    }

    #[test]
    fn a_use_is_written_down_once_a_day() {
        let uses = Uses::default();
        let token = Legacy { namespace: "n".into(), account: Reference { name: "a".into(), uid: "u".into() }, secret: "s".into() };
        uses.note(&token, &secret(json!({ LAST_USED: today() })));
        assert!(uses.waiting.lock().is_empty());
        for _ in 0..2 {
            uses.note(&token, &secret(json!({ LAST_USED: "2020-01-01" })));
        }
        assert_eq!(uses.waiting.lock().len(), 1);
    }
}
