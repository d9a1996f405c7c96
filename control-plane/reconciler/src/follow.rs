//! Lists a kind and follows its changes by a watch, without end: a watch that ended is taken up where it was, and one whose place the
//! server no longer has begins anew with a list. Unlike kube's `watcher` it hands on the revision of a list, without which an [`Informer`]
//! could not tell an answer to its own write that is older than the list from one that is newer.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;

use crate::informer::version_of;
use crate::{Cached, Informer, ObjectKey, is_gone};

/// Objects in one answer of a list.
const PAGE: u32 = 500;
/// How long the server keeps a watch open, in seconds.
const WATCH: u32 = 290;
/// A watch that is open for so much longer than the server was asked to keep it has lost its connection.
const LATE: Duration = Duration::from_secs(5);
/// Between two tries when the back-off says nothing.
const RETRY: Duration = Duration::from_secs(30);

/// Keeps `informer` up to date; errors are logged and tried again with back-off. Runs until it is dropped.
pub(crate) async fn follow<K: Cached>(informer: &Informer<K>, api: &Api<K>) {
    let mut back_off = DefaultBackoff::default();
    // Up to which revision the informer knows all; empty when it must be listed.
    let mut known = String::new();
    loop {
        let step = if known.is_empty() { list(informer, api, &mut known).await } else { watch(informer, api, &mut known).await };
        match step {
            Ok(()) => {
                back_off.reset();
                continue;
            }
            Err(error) if is_gone(&error) => {
                tracing::debug!(kind = %K::kind(&()), %error, "the server no longer has the place of the watch");
                known.clear();
            }
            Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "watch interrupted"),
        }
        tokio::time::sleep(back_off.next().unwrap_or(RETRY)).await;
    }
}

async fn list<K: Cached>(informer: &Informer<K>, api: &Api<K>, known: &mut String) -> Result<(), kube::Error> {
    let mut parameters = ListParams { field_selector: K::FIELDS.map(str::to_owned), ..ListParams::default() }.limit(PAGE);
    let mut listed = BTreeMap::new();
    loop {
        let page = api.list(&parameters).await?;
        for mut object in page.items {
            object.prune();
            listed.insert(ObjectKey::of(object.meta()), object);
        }
        parameters.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if parameters.continue_token.is_none() {
            let revision = page.metadata.resource_version.unwrap_or_default();
            informer.replace(listed, revision.parse().unwrap_or(0));
            // Of a server that names no revision all there ever is comes from "0".
            *known = if revision.is_empty() { "0".into() } else { revision };
            return Ok(());
        }
    }
}

/// One watch, until the server ends it.
async fn watch<K: Cached>(informer: &Informer<K>, api: &Api<K>, known: &mut String) -> Result<(), kube::Error> {
    let parameters = WatchParams { field_selector: K::FIELDS.map(str::to_owned), ..WatchParams::default() }.timeout(WATCH);
    let mut events = pin!(api.watch(&parameters, known).await?);
    let dead = tokio::time::sleep(Duration::from_secs(WATCH.into()) + LATE);
    let mut dead = pin!(dead);
    loop {
        let event = tokio::select! {
            () = &mut dead => return Ok(()),
            event = events.next() => event,
        };
        let Some(event) = event else { return Ok(()) };
        match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                *known = version_of(object.meta()).to_string();
                informer.apply(object);
            }
            WatchEvent::Deleted(object) => {
                *known = version_of(object.meta()).to_string();
                informer.delete(&object);
            }
            WatchEvent::Bookmark(bookmark) => *known = bookmark.metadata.resource_version,
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Namespace;
    use kube::Client;
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::{Value, json};
    use tokio::sync::mpsc;

    use super::*;

    fn object(name: &str, version: u64) -> Value {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": name, "resourceVersion": version.to_string()}})
    }

    fn listed(version: &str, more: &str, items: &[Value]) -> String {
        json!({"metadata": {"resourceVersion": version, "continue": more}, "items": items}).to_string()
    }

    fn event(kind: &str, object: Value) -> String {
        format!("{}\n", json!({"type": kind, "object": object}))
    }

    /// A server that gives these answers one after the other and then none; it tells the query of each request.
    fn server(answers: Vec<String>) -> (Client, mpsc::UnboundedReceiver<String>) {
        let (asked, queries) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let answer = answers.lock().next();
            let _ = asked.send(request.uri().query().unwrap_or_default().to_owned());
            async move {
                match answer {
                    Some(answer) => Ok::<_, Infallible>(http::Response::new(answer)),
                    None => std::future::pending().await,
                }
            }
        });
        (Client::new(service, "default"), queries)
    }

    #[tokio::test]
    async fn a_list_tells_its_revision_and_a_watch_goes_on_where_it_was() {
        let gone = json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"});
        let (client, mut queries) = server(vec![
            listed("10", "rest", &[object("a", 5)]),
            listed("10", "", &[object("b", 6)]),
            event("DELETED", object("b", 12)) + &event("BOOKMARK", object("", 20)),
            event("ERROR", gone),
            listed("30", "", &[]),
        ]);
        let informer = Arc::new(Informer::<Namespace>::new());
        let (following, api) = (informer.clone(), Api::all(client));
        let task = tokio::spawn(async move { follow(&following, &api).await });
        for wanted in ["limit=500", "continue=rest", "resourceVersion=10", "resourceVersion=20", "limit=500", "resourceVersion=30"] {
            let query = queries.recv().await.unwrap();
            assert!(query.contains(wanted), "{query} instead of {wanted}");
        }
        let record = |name: &str, version: u64| {
            informer.record(serde_json::from_value(object(name, version)).unwrap());
            informer.get(&ObjectKey::new("", name)).is_some()
        };
        assert!(!record("deleted-before-the-list", 29), "it would never go");
        assert!(record("made-after-the-list", 31));
        task.abort();
    }
}
