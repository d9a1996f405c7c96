//! The keys that an issuer publishes: found by its discovery document, fetched in the background, again from time to time, and at once when a token
//! is signed by a key that is not among them.

use super::config::Issuer;
use crate::access::remote::Remote;
use crate::admission::webhooks::connect::{Connector, verifying};
use crate::admission::webhooks::destination::Destination;
use crate::cache::Caches;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode};
use orknet_auth::jws::KeySet;
use parking_lot::RwLock;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long an issuer may take to answer, all told.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a request waits for keys that are being fetched.
const WAIT: Duration = Duration::from_secs(5);
/// Keys are fetched anew after this long.
const REFRESH: Duration = Duration::from_secs(15 * 60);
/// Tokens of keys that are not known have them fetched once in this time, however many there are.
const GAP: Duration = Duration::from_secs(2);
/// First and longest pause after a fetch that failed; each is twice as long as the one before it.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// Most bytes of a discovery document, or of a set of keys.
const LARGEST: usize = 1 << 20;

/// See the module. Fetching ends when this is dropped.
pub struct Keys {
    state: Arc<State>,
    _end: DropGuard,
}

struct State {
    source: Source,
    caches: Arc<Caches>,
    known: RwLock<Option<Arc<KeySet>>>,
    /// Somebody needs keys that are not known.
    wanted: Notify,
    /// When the last fetch ended.
    fetched: watch::Sender<Option<Instant>>,
}

/// Where keys are from, and whom to trust about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    url: String,
    discovery_url: String,
    ca_pem: String,
}

impl Source {
    fn of(issuer: &Issuer) -> Self {
        let discovery_url = match &issuer.discovery_url[..] {
            "" => format!("{}/.well-known/openid-configuration", issuer.url.strip_suffix('/').unwrap_or(&issuer.url)),
            elsewhere => elsewhere.to_owned(),
        };
        Self { url: issuer.url.clone(), discovery_url, ca_pem: issuer.certificate_authority.clone() }
    }
}

impl Keys {
    /// Begins to fetch those of an issuer, until `shutdown`. Within a runtime.
    pub fn fetch(issuer: &Issuer, caches: Arc<Caches>, shutdown: &CancellationToken) -> Self {
        let end = shutdown.child_token();
        let (fetched, _) = watch::channel(None);
        let state = State { source: Source::of(issuer), caches, known: RwLock::default(), wanted: Notify::new(), fetched };
        let state = Arc::new(state);
        tokio::spawn(state.clone().keep(end.clone()));
        Self { state, _end: end.drop_guard() }
    }

    /// Whether they are where this issuer's are, and fetched in the same way.
    pub fn are_of(&self, issuer: &Issuer) -> bool {
        self.state.source == Source::of(issuer)
    }

    /// Those that are known now; `None`: the issuer has not been reached yet.
    pub fn known(&self) -> Option<Arc<KeySet>> {
        self.state.known.read().clone()
    }

    /// Has them fetched, and waits for it; not if they have just been. Those that are known then.
    pub async fn renewed(&self) -> Option<Arc<KeySet>> {
        let mut fetched = self.state.fetched.subscribe();
        let last = *fetched.borrow_and_update();
        if last.is_none_or(|at| at.elapsed() >= GAP) {
            self.state.wanted.notify_one();
            // Late keys are none: the next request may find them.
            let _ = timeout(WAIT, fetched.changed()).await;
        }
        self.known()
    }
}

impl State {
    async fn keep(self: Arc<Self>, end: CancellationToken) {
        let mut pause = PAUSES[0];
        loop {
            let Some(found) = end.run_until_cancelled(get(&self.source, &self.caches)).await else { return };
            let wait = match found {
                Ok(keys) => {
                    tracing::debug!(issuer = self.source.url, keys = keys.len(), "the keys of an issuer are known");
                    *self.known.write() = Some(Arc::new(keys));
                    pause = PAUSES[0];
                    REFRESH
                }
                Err(why) => {
                    tracing::warn!(issuer = self.source.url, why, "the keys of an issuer cannot be fetched");
                    let wait = pause;
                    pause = (pause * 2).min(PAUSES[1]);
                    wait
                }
            };
            self.fetched.send_replace(Some(Instant::now()));
            tokio::select! {
                () = end.cancelled() => return,
                () = sleep(wait) => {}
                () = self.wanted.notified() => {}
            }
        }
    }
}

/// The keys that the discovery document leads to.
async fn get(source: &Source, caches: &Arc<Caches>) -> Result<KeySet, String> {
    let document = get_json(&source.discovery_url, &source.ca_pem, caches).await?;
    let jwks_uri = jwks_uri(&document, &source.url)?;
    let keys = get_json(&jwks_uri, &source.ca_pem, caches).await?;
    KeySet::parse(&keys).map_err(|error| format!("{jwks_uri}: {error}"))
}

async fn get_json(url: &str, ca_pem: &str, caches: &Arc<Caches>) -> Result<Bytes, String> {
    let fail = |why: &dyn std::fmt::Display| format!("Get {url:?}: {why}");
    let destination = Destination::from_client_config(&json!({ "url": url })).map_err(|why| fail(&why))?;
    let tls = verifying(Some(ca_pem).filter(|pem| !pem.is_empty()).map(str::as_bytes), None).map_err(|why| fail(&why))?;
    let connector = Connector::with_tls(destination, caches.clone(), tls).map_err(|why| fail(&why))?;
    let request = Request::get(url).header(ACCEPT, "application/json");
    let (status, body) = Remote::new(connector).send(request, Bytes::new(), LARGEST, PATIENCE).await.map_err(|why| fail(&why))?;
    if status == StatusCode::OK { Ok(body) } else { Err(fail(&status)) }
}

/// Where a discovery document says that the keys are. It must be that of the issuer: another's may be at a URL that is written wrongly.
fn jwks_uri(document: &[u8], issuer: &str) -> Result<String, String> {
    let document: Value =
        serde_json::from_slice(document).map_err(|error| format!("oidc: failed to decode provider discovery object: {error}"))?;
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    if text("issuer") != issuer {
        return Err(format!("oidc: issuer did not match the issuer returned by provider, expected {issuer:?} got {:?}", text("issuer")));
    }
    match text("jwks_uri") {
        "" => Err("oidc: the discovery document has no jwks_uri".to_owned()),
        uri => Ok(uri.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discovery_document_is_believed_of_its_own_issuer() {
        let document = json!({ "issuer": "https://i", "jwks_uri": "https://i/keys" }).to_string();
        assert_eq!(jwks_uri(document.as_bytes(), "https://i"), Ok("https://i/keys".to_owned()));
        assert!(jwks_uri(document.as_bytes(), "https://j").expect_err("another").contains("did not match"));
        assert!(jwks_uri(b"{}", "").is_err());
        assert!(jwks_uri(b"x", "https://i").is_err());
    }

    #[test]
    fn discovery_is_below_the_issuer_unless_it_is_elsewhere() {
        let of = |url: &str, discovery: &str| {
            let issuer = Issuer { url: url.into(), discovery_url: discovery.into(), ..Issuer::default() };
            Source::of(&issuer).discovery_url
        };
        assert_eq!(of("https://i/a/", ""), "https://i/a/.well-known/openid-configuration");
        assert_eq!(of("https://i", "https://j/x"), "https://j/x");
    }
}
