//! GET of a collection as a stream of changes, from the cache's window.

use super::held::{self, Hold, Holder, Holdings, held};
use super::list::{check_fields, selects};
use crate::cache::{CachedObject, Caches, Change, ChangeKind, Cursor, Fallen};
use crate::call::Call;
use crate::custom::convert;
use crate::error::ApiError;
use crate::metrics::Present;
use crate::present::{Batch, Events};
use crate::selector::FieldSelector;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use prometheus_client::metrics::counter::Counter;
use rand::Rng;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Objects of the initial state that are sent at once.
const CHUNK: usize = 256;
/// Time between bookmarks.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// The last bookmark comes this long before the end.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// Answers with a stream that ends after `timeoutSeconds` (else between 30 and 60 minutes), when the client falls behind (410), or at shutdown.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let mut call_options = call.options.clone();
    if !call.path.name.is_empty() {
        let selector = &mut call_options.field_selector;
        if selector.is_empty() {
            *selector = FieldSelector::for_name(&call.path.name);
        } else if selector.exact("metadata.name") != Some(&call.path.name) {
            return Err(ApiError::bad_request("fieldSelector metadata.name doesn't match requested name"));
        }
    }
    call.options.check_watch()?;
    check_fields(call)?;
    let storage = &call.server.storage;
    let cache = storage.caches.of(call.names().stored_as).ok_or_else(ApiError::no_such_resource)?;
    let initial_events = call.options.send_initial_events;
    let after = call.resource_version().unwrap_or_default();
    // Without a version the stream begins with the newest state, with 0 with any state.
    let from_state = match initial_events {
        Some(wanted) => wanted,
        None => after == 0,
    };
    if call.resource_version().is_none() {
        storage.catch_up().await?;
    } else if from_state && after == 0 {
        storage.catch_up_if_told().await;
    } else if initial_events == Some(true) {
        storage.reach(after).await?;
    }
    let mut initial = VecDeque::new();
    let mut failed = None;
    let (cursor, after) = if from_state || after == 0 {
        let progress = storage.caches.progress().revision;
        let snapshot = cache.snapshot(call.namespace());
        if from_state {
            initial.extend(convert::objects(&call.server, &call.kind, snapshot.objects, true).await?);
        }
        (snapshot.cursor, progress.max(snapshot.revision))
    } else {
        let cursor = cache.after(after).unwrap_or_else(|oldest| {
            failed = Some(ApiError::too_old(after, oldest));
            cache.end()
        });
        (cursor, after)
    };
    // Watches that have their place by now are ended when the kind goes or is replaced; one that found it too late ends by itself.
    let ended = !call.server.kinds().serves(&call.kind);
    let lasts = Duration::from_secs(
        call.options.timeout_seconds.filter(|seconds| *seconds > 0).unwrap_or_else(|| rand::rng().random_range(1800..3600)),
    );
    let ends = Instant::now() + lasts.min(Duration::from_secs(86_400));
    let mut selection = copy_for_selection(call);
    selection.options = call_options;
    let scope = match (&call.path.name[..], call.namespace()) {
        ("", "") => "cluster",
        ("", _) => "namespace",
        _ => "resource",
    };
    let holder = Arc::new(Holder { user: call.who.username.clone(), address: call.address.map(|address| address.to_canonical()) });
    let holdings = call.server.holdings.clone();
    let take = |bytes| holdings.take(&holder, bytes).ok_or_else(ApiError::too_many_requests);
    let hold = take(held::WATCH)?;
    let initial_hold = Some(take(initial.len() * size_of::<Arc<CachedObject>>())?);
    let watcher = Watcher {
        holdings,
        holder,
        _hold: hold,
        initial_hold,
        events: Events::of(call),
        caches: storage.caches.clone(),
        initial,
        end_of_initial: (initial_events == Some(true)).then_some(after),
        failed,
        cursor,
        after,
        bookmarks: call.options.allow_bookmarks,
        next_bookmark: (Instant::now() + BOOKMARKS).min(ends - LAST_BOOKMARK),
        ends,
        done: ended,
        told: call.server.metrics.watch_events(call.names()),
        _present: call.server.metrics.watches(call.names(), scope),
        call: selection,
    };
    let media_type = watcher.events.media_type();
    let stream = futures::stream::unfold(watcher, |mut watcher| async move {
        let batch = watcher.next().await?;
        // A user whose readers let too much wait loses watches, each after a whole event: it goes on from there.
        let hold = Arc::new(watcher.holdings.take(&watcher.holder, batch.len())?);
        let chunks =
            batch.into_chunks(&watcher.events).into_iter().map(move |chunk| Ok::<_, std::convert::Infallible>(held(chunk, hold.clone())));
        Some((futures::stream::iter(chunks), watcher))
    });
    let mut response = Response::new(Body::from_stream(stream.flatten()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

fn copy_for_selection(call: &Call) -> Call {
    Call {
        server: call.server.clone(),
        who: call.who.clone(),
        address: call.address,
        verb: call.verb,
        path: call.path.clone(),
        kind: call.kind.clone(),
        options: call.options.clone(),
        accept: call.accept,
        content_type: None,
        user_agent: String::new(),
        body: Bytes::new(),
    }
}

/// What a change is for a watcher that sees only some objects: an object that begins to match is added, one that ceases to is deleted, with its
/// last matching state. `None`: nothing to tell.
fn seen(change: &Change, matches: impl Fn(&CachedObject) -> bool) -> Option<(&'static str, Arc<CachedObject>)> {
    let before = change.previous.as_ref().filter(|object| matches(object));
    match (change.kind, before) {
        (ChangeKind::Delete, Some(_)) => Some(("DELETED", change.object.clone())),
        (ChangeKind::Delete, None) => None,
        (ChangeKind::Put, before) => match (matches(&change.object), before) {
            (true, Some(_)) => Some(("MODIFIED", change.object.clone())),
            (true, None) => Some(("ADDED", change.object.clone())),
            (false, Some(before)) => Some(("DELETED", Arc::new(before.deleted_at(&[], change.revision)))),
            (false, None) => None,
        },
    }
}

struct Watcher {
    holdings: Arc<Holdings>,
    /// Whose it is.
    holder: Arc<Holder>,
    _hold: Hold,
    /// Of the initial state, until all of it was sent.
    initial_hold: Option<Hold>,
    call: Call,
    events: Events,
    caches: Arc<Caches>,
    initial: VecDeque<Arc<CachedObject>>,
    /// The version to tell when the initial state has been sent, if the client wants to be told.
    end_of_initial: Option<u64>,
    failed: Option<ApiError>,
    cursor: Cursor,
    /// Changes up to this revision are known to the client.
    after: u64,
    bookmarks: bool,
    next_bookmark: Instant,
    ends: Instant,
    done: bool,
    /// Counts events.
    told: Counter,
    _present: Present,
}

impl Watcher {
    /// The next events to send; `None` at the end.
    async fn next(&mut self) -> Option<Batch> {
        if self.done {
            return None;
        }
        let mut out = Batch::default();
        if let Some(error) = self.failed.take() {
            self.done = true;
            self.events.write_error(&mut out, &error);
            return Some(out);
        }
        while let Some(object) = self.initial.pop_front() {
            if self.matches(&object) {
                self.told.inc();
                self.events.write(&mut out, "ADDED", &object);
            }
            if out.len() >= CHUNK * 1024 {
                return Some(out);
            }
        }
        if self.initial_hold.take().is_some() {
            self.initial = VecDeque::new();
        }
        if let Some(revision) = self.end_of_initial.take() {
            let annotations = json!({ "k8s.io/initial-events-end": "true" });
            self.events.write_bookmark(&mut out, revision, Some(annotations));
        }
        if !out.is_empty() {
            return Some(out);
        }
        let told = self.told.clone();
        loop {
            // Read before the changes: when there are none, the client knows everything up to here.
            let progress = self.caches.progress().revision;
            let changes = match self.cursor.ready() {
                Ok(changes) => changes,
                Err(Fallen::Ended) => return None,
                Err(Fallen::Behind) => {
                    self.done = true;
                    self.events.write_error(&mut out, &ApiError::too_old(self.after, self.caches.progress().revision));
                    return Some(out);
                }
            };
            let changes = changes.into_iter().filter(|change| change.revision > self.after).collect::<Vec<_>>();
            let idle = changes.is_empty();
            let changes = match convert::changes(&self.call.server, &self.call.kind, changes).await {
                Ok(changes) => changes,
                Err(error) => {
                    self.done = true;
                    self.events.write_error(&mut out, &error);
                    return Some(out);
                }
            };
            for change in changes {
                if let Some((name, object)) = seen(&change, |object| self.matches(object)) {
                    self.events.write(&mut out, name, &object);
                    told.inc();
                }
            }
            if !out.is_empty() {
                return Some(out);
            }
            let now = Instant::now();
            // Also where changes that this client does not see never cease.
            if now >= self.ends {
                return None;
            }
            if !idle {
                continue;
            }
            if self.bookmarks && now >= self.next_bookmark {
                self.next_bookmark =
                    if self.ends > now + BOOKMARKS { now + BOOKMARKS } else { (self.ends - LAST_BOOKMARK).max(now + LAST_BOOKMARK) };
                self.events.write_bookmark(&mut out, progress.max(self.after), None);
                return Some(out);
            }
            let wakes = if self.bookmarks { self.next_bookmark.min(self.ends) } else { self.ends };
            tokio::select! {
                () = self.cursor.wait() => {}
                () = tokio::time::sleep_until(wakes) => {}
                () = self.call.server.shutdown.cancelled() => return None,
            }
        }
    }

    fn matches(&self, object: &CachedObject) -> bool {
        let namespace = self.call.namespace();
        (namespace.is_empty() || object.place().0 == namespace) && selects(&self.call, object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object;

    fn object(app: &str) -> Arc<CachedObject> {
        Arc::new(CachedObject::new(&[], json!({ "metadata": { "name": "a", "labels": { "app": app } } }), 1))
    }

    fn change(kind: ChangeKind, before: Option<&str>, now: &str) -> Option<&'static str> {
        let change = Change { revision: 7, kind, object: object(now), previous: before.map(object) };
        seen(&change, |object| object.label("app") == Some("web")).map(|(event, _)| event)
    }

    #[test]
    fn objects_that_begin_or_cease_to_match_are_added_or_deleted() {
        assert_eq!(change(ChangeKind::Put, None, "web"), Some("ADDED"));
        assert_eq!(change(ChangeKind::Put, Some("web"), "web"), Some("MODIFIED"));
        assert_eq!(change(ChangeKind::Put, Some("db"), "web"), Some("ADDED"));
        assert_eq!(change(ChangeKind::Put, Some("web"), "db"), Some("DELETED"));
        assert_eq!(change(ChangeKind::Put, Some("db"), "db"), None);
        assert_eq!(change(ChangeKind::Delete, Some("web"), "web"), Some("DELETED"));
        assert_eq!(change(ChangeKind::Delete, Some("db"), "db"), None);
    }

    #[test]
    fn an_object_that_ceases_to_match_is_told_as_it_last_matched_with_the_new_version() {
        let change = Change { revision: 7, kind: ChangeKind::Put, object: object("db"), previous: Some(object("web")) };
        let (_, told) = seen(&change, |object| object.label("app") == Some("web")).expect("told");
        assert_eq!((told.label("app"), object::resource_version(&told.value())), (Some("web"), "7"));
    }
}
