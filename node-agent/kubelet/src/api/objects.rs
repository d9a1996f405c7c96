//! ConfigMaps and Secrets of the node's pods: each object that a pod refers to is watched by its name while the pod is here, as the
//! API allows a node no more than that. A change wakes the workers of the pods that use the object. Immutable objects are not watched.
//!
//! There are as many watches as objects that pods of this node refer to. While the server is away what is known serves.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::reconnect::Reconnect;
use crate::error::Error;

/// Kinds that can be frozen for good.
pub(super) trait Freezable {
    /// The field `immutable`.
    fn is_immutable(&self) -> bool;
}

impl Freezable for ConfigMap {
    fn is_immutable(&self) -> bool {
        self.immutable.unwrap_or(false)
    }
}

impl Freezable for Secret {
    fn is_immutable(&self) -> bool {
        self.immutable.unwrap_or(false)
    }
}

/// The objects of one kind that pods use, by namespace and name.
pub(super) struct Followed<K> {
    client: Client,
    entries: Arc<Mutex<Entries<K>>>,
}

type Name = (String, String);
type Entries<K> = HashMap<Name, Entry<K>>;

struct Entry<K> {
    /// Who is woken by a change, by uid of the pod.
    users: HashMap<String, Arc<Notify>>,
    /// What the server said last; none when there is no such object.
    object: Option<Arc<K>>,
    /// The version of that, or of the deletion.
    version: Option<u64>,
    /// When that was asked for; none before the first answer.
    asked: Option<Instant>,
    /// When the object was last replaced.
    heard: Option<Instant>,
    /// A pod that came at this time expects an object as new as itself: earlier answers do not count.
    since: Instant,
    _watch: AbortOnDropHandle<()>,
}

impl<K> Followed<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Freezable
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    pub(super) fn new(client: Client) -> Self {
        Self { client, entries: Arc::default() }
    }

    /// Wakes `user` by `changed` whenever the object changes. Must be called inside of a runtime. Doing it again changes nothing.
    pub(super) fn follow(&self, namespace: &str, name: &str, user: &str, changed: &Arc<Notify>) {
        let mut entries = self.entries.lock();
        let key = (namespace.to_owned(), name.to_owned());
        let entry = entries.entry(key).or_insert_with_key(|key| Entry {
            users: HashMap::new(),
            object: None,
            version: None,
            asked: None,
            heard: None,
            since: Instant::now(),
            _watch: AbortOnDropHandle::new(tokio::spawn(watch(self.client.clone(), key.clone(), Arc::downgrade(&self.entries)))),
        });
        if entry.users.insert(user.to_owned(), changed.clone()).is_none() {
            entry.since = Instant::now();
        }
    }

    /// Forgets a user, and the objects that were followed for it alone.
    pub(super) fn unfollow(&self, user: &str) {
        self.entries.lock().retain(|_, entry| {
            entry.users.remove(user);
            !entry.users.is_empty()
        });
    }

    /// The object; none when it does not exist. Asks the server when nothing is known that is new enough for all users.
    pub(super) async fn get(&self, namespace: &str, name: &str) -> Result<Option<Arc<K>>, Error> {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(entry) = self.entries.lock().get(&key).filter(|e| e.asked.is_some_and(|asked| asked >= e.since)) {
            return Ok(entry.object.clone());
        }
        let asked = Instant::now();
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let object = api.get_opt(name).await.map_err(Error::api(format!("get {} {namespace}/{name}", K::kind(&()))))?.map(Arc::new);
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(&key) else { return Ok(object) };
        let version = object.as_deref().and_then(version);
        entry.hear(object, version, Some(asked));
        Ok(entry.object.clone())
    }
}

impl<K: Resource> Entry<K> {
    /// Takes an answer unless a newer one is known; tells whether the object is another one now. `version` is that of the answer.
    fn hear(&mut self, object: Option<Arc<K>>, version: Option<u64>, asked: Option<Instant>) -> bool {
        self.asked = self.asked.max(asked);
        let older = match version {
            Some(heard) => self.version.is_some_and(|known| heard < known),
            // That there is none has no version: what came after the question counts more.
            None => asked < self.heard,
        };
        let existed = self.object.is_some();
        if older || (existed == object.is_some() && (!existed || self.version == version)) {
            return false;
        }
        self.version = version.or(self.version);
        self.object = object;
        self.heard = Some(Instant::now());
        true
    }
}

/// Versions of one object grow.
fn version<K: Resource>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

/// Follows one object until it is immutable or nobody uses it any more.
async fn watch<K>(client: Client, key: Name, entries: std::sync::Weak<Mutex<Entries<K>>>)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Freezable + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let api: Api<K> = Api::namespaced(client, &key.0);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", key.1));
    let stream = watcher(api, config).backoff(Reconnect);
    pin_mut!(stream);
    let (mut asked, mut listed) = (None, None);
    while let Some(event) = stream.next().await {
        let (object, version) = match event {
            Ok(watcher::Event::Init) => {
                (asked, listed) = (Some(Instant::now()), None);
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed = Some(object);
                continue;
            }
            Ok(watcher::Event::InitDone) => (listed.take(), None),
            Ok(watcher::Event::Apply(object)) => (Some(object), None),
            Ok(watcher::Event::Delete(last)) => (None, version(&last)),
            Err(error) => {
                tracing::debug!(%error, namespace = key.0, name = key.1, "watch of an object interrupted");
                continue;
            }
        };
        let version = object.as_ref().and_then(self::version).or(version);
        let object = object.map(|mut object| {
            object.meta_mut().managed_fields = None;
            Arc::new(object)
        });
        let is_final = object.as_ref().is_some_and(|o| o.is_immutable());
        let Some(entries) = entries.upgrade() else { return };
        let mut entries = entries.lock();
        let Some(entry) = entries.get_mut(&key) else { return };
        if entry.hear(object, version, asked) {
            entry.users.values().for_each(|user| user.notify_one());
        }
        if is_final {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures::stream::{self, BoxStream};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::{Value, json};
    use std::convert::Infallible;
    use std::time::Duration;
    use tokio::sync::mpsc;

    /// A server with one ConfigMap. What it was asked for, and where its watch's events come from.
    struct Server {
        object: Mutex<Value>,
        asked: Mutex<Vec<String>>,
        watches: mpsc::UnboundedSender<mpsc::UnboundedSender<Value>>,
    }

    impl Server {
        fn answer(&self, request: &http::Request<Body>) -> Answer {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let kind = if query.contains("watch=") {
                "watch"
            } else if query.contains("fieldSelector=") {
                "list"
            } else {
                "get"
            };
            self.asked.lock().push(kind.to_owned());
            let object = self.object.lock().clone();
            let one = |value: Value| stream::once(async move { value }).boxed();
            let values = match kind {
                "watch" => {
                    let (send, events) = mpsc::unbounded_channel::<Value>();
                    // A test that wants no more events has dropped the other end.
                    let _ = self.watches.send(send);
                    stream::unfold(events, |mut events| async move { Some((events.recv().await?, events)) }).boxed()
                }
                "list" => one(json!({"metadata": {"resourceVersion": "1"}, "items": [object]})),
                _ => one(object),
            };
            StreamBody::new(values.map(|value| Ok(Frame::data(Bytes::from(format!("{value}\n"))))).boxed())
        }

        fn count(&self, kind: &str) -> usize {
            self.asked.lock().iter().filter(|asked| *asked == kind).count()
        }
    }

    fn object(version: u32, more: Value) -> Value {
        let mut object = json!({"metadata": {"name": "c", "namespace": "n", "resourceVersion": version.to_string()}, "data": {"v": version.to_string()}});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    }

    type Answer = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;
    type Watches = mpsc::UnboundedReceiver<mpsc::UnboundedSender<Value>>;

    fn start(first: Value) -> (Arc<Server>, Watches, Followed<ConfigMap>) {
        let (watches, opened) = mpsc::unbounded_channel();
        let server = Arc::new(Server { object: Mutex::new(first), asked: Mutex::default(), watches });
        let answering = server.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let answer = http::Response::new(answering.answer(&request));
            async move { Ok::<_, Infallible>(answer) }
        });
        (server, opened, Followed::new(Client::new(service, "n")))
    }

    async fn value(followed: &Followed<ConfigMap>) -> Option<String> {
        Some(followed.get("n", "c").await.unwrap()?.data.clone()?["v"].clone())
    }

    async fn woken(changed: &Notify) {
        tokio::time::timeout(Duration::from_secs(10), changed.notified()).await.expect("a wake");
    }

    #[tokio::test]
    async fn a_change_wakes_those_who_use_the_object_and_is_known_without_asking_again() {
        let (server, mut watches, followed) = start(object(5, json!({})));
        let changed = Arc::new(Notify::new());
        followed.follow("n", "c", "pod", &changed);
        let events = watches.recv().await.unwrap();
        // The first list may have told the user already.
        assert_eq!(value(&followed).await.as_deref(), Some("5"));
        let asked = server.count("get");
        events.send(json!({"type": "MODIFIED", "object": object(6, json!({}))})).unwrap();
        while value(&followed).await.as_deref() != Some("6") {
            woken(&changed).await;
        }
        events.send(json!({"type": "DELETED", "object": object(7, json!({}))})).unwrap();
        while value(&followed).await.is_some() {
            woken(&changed).await;
        }
        assert_eq!(server.count("get"), asked, "answered from what the watch brought");
        followed.unfollow("pod");
        tokio::time::timeout(Duration::from_secs(10), events.closed()).await.expect("the watch ends with its last user");
    }

    #[tokio::test]
    async fn a_new_user_gets_an_object_as_new_as_itself() {
        let (server, mut watches, followed) = start(object(5, json!({})));
        followed.follow("n", "c", "first", &Arc::default());
        let _events = watches.recv().await.unwrap();
        assert_eq!(value(&followed).await.as_deref(), Some("5"));
        // The watch has not brought it yet.
        *server.object.lock() = object(6, json!({}));
        assert_eq!(value(&followed).await.as_deref(), Some("5"));
        followed.follow("n", "c", "first", &Arc::default());
        assert_eq!(value(&followed).await.as_deref(), Some("5"), "the same user again");
        followed.follow("n", "c", "second", &Arc::default());
        assert_eq!(value(&followed).await.as_deref(), Some("6"));
    }

    #[tokio::test]
    async fn an_answer_that_was_overtaken_is_no_news() {
        let (_, _, followed) = start(object(5, json!({})));
        followed.follow("n", "c", "pod", &Arc::default());
        let mut entries = followed.entries.lock();
        let entry = entries.values_mut().next().unwrap();
        let one = |number: u32| Some(Arc::new(serde_json::from_value::<ConfigMap>(object(number, json!({}))).unwrap()));
        let early = Some(Instant::now());
        assert!(entry.hear(one(5), Some(5), early));
        assert!(!entry.hear(one(4), Some(4), early) && !entry.hear(one(5), Some(5), early) && !entry.hear(None, None, early));
        assert!(entry.hear(None, Some(6), early), "deleted");
        assert!(!entry.hear(one(5), Some(5), Some(Instant::now())), "asked before the deletion");
        assert!(entry.hear(one(7), Some(7), early) && entry.hear(None, None, Some(Instant::now())));
    }

    #[tokio::test]
    async fn an_immutable_object_is_not_watched() {
        let (server, _watches, followed) = start(object(5, json!({"immutable": true})));
        let changed = Arc::new(Notify::new());
        followed.follow("n", "c", "pod", &changed);
        woken(&changed).await;
        assert_eq!(value(&followed).await.as_deref(), Some("5"));
        assert_eq!((server.count("list"), server.count("watch")), (1, 0));
    }
}
