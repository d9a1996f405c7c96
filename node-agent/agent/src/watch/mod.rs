//! Watching the API: events in, compact facts out to the programmer. Whole objects live only as long as it takes to convert one.

mod absence;
mod lull;
mod nodes;
mod policies;
mod service_cidrs;

pub use nodes::{NodesView, nodes};
pub use policies::{cluster_policies, namespaces, pods, policies};
pub use service_cidrs::{service_cidrs, with_ranges};

use crate::programmer::{Listed, Message};
use crate::progress::Kind;
use absence::{Absence, is_absence};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client, Resource};
use lull::Lull;
use orknet_compiler::{Change, Names, ObjectName, ServiceFacts, SliceFacts};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::mem;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Before a kind that the server does not know is asked for again.
const ABSENT_RETRY: Duration = Duration::from_secs(30);

/// What is done with the events of one kind.
pub trait Follower<K>: Send {
    /// Takes one event; waiting here slows the watch down, which is right when the programmer is busy.
    fn event(&mut self, event: Event<K>) -> impl Future<Output = ()> + Send;

    /// Hears that watching failed: from now on there may be objects that nobody shows. Whether all of them must be listed again, so that
    /// the end of the list says that it is over. (A watch that goes on where it was tells nothing before there is something new.)
    fn failed(&mut self) -> impl Future<Output = bool> + Send;

    /// Hears that a watch that failed goes on where it was: it has shown nothing since, and not failed again, either.
    fn goes_on(&mut self) -> impl Future<Output = ()> + Send;
}

/// Follows all objects of a kind for ever. Errors are logged and tried again with back-off; a server that cannot stream lists is
/// asked for ordinary ones.
pub async fn follow<K>(api: Api<K>, kind: &'static str, follower: impl Follower<K>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    follow_if(api, kind, follower, None).await;
}

/// The same; where the server does not know the kind there are no objects of it, and it is asked again from time to time. Whether a former agent
/// has seen objects of it may become known later.
async fn follow_if_served<K>(api: Api<K>, kind: &'static str, follower: impl Follower<K>, was_served: oneshot::Receiver<bool>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    follow_if(api, kind, follower, Some(Absence::new(was_served))).await;
}

async fn follow_if<K>(api: Api<K>, kind: &'static str, mut follower: impl Follower<K>, mut absence: Option<Absence>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut streams_lists = true;
    let mut backoff = DefaultBackoff::default();
    loop {
        let config = if streams_lists { watcher::Config::default().streaming_lists() } else { watcher::Config::default() };
        let mut events = Box::pin(watcher(api.clone(), config).default_backoff());
        // A complete list is being followed; else one is to come, or is coming.
        let (mut is_listed, mut is_listing, mut lull) = (false, false, Lull::default());
        loop {
            let Some(event) = lull.wait(events.next()).await else {
                follower.goes_on().await;
                continue;
            };
            let Some(event) = event else { break };
            match (event, &mut absence) {
                (Ok(event), _) => {
                    // A list begins before the server has said anything.
                    if matches!(event, Event::Init) {
                        lull.forget();
                    } else {
                        absence.iter_mut().for_each(Absence::served);
                        lull.end();
                    }
                    is_listing = matches!(event, Event::Init | Event::InitApply(_));
                    is_listed = !is_listing;
                    follower.event(event).await;
                }
                (Err(error), Some(absence)) if is_absence(&error) => {
                    if absence.refused().await {
                        tracing::info!(kind, "the server does not know the kind, so there are none; asking again from time to time");
                        follower.event(Event::Init).await;
                        follower.event(Event::InitDone).await;
                    } else if absence.is_doubtful() {
                        follower.failed().await;
                    }
                    tokio::time::sleep(ABSENT_RETRY).await;
                    break;
                }
                (Err(error), _) if streams_lists && is_refusal(&error) => {
                    tracing::info!(kind, "the server does not stream lists; listing instead");
                    streams_lists = false;
                    follower.failed().await;
                    break;
                }
                (Err(error), _) => {
                    tracing::warn!(kind, %error, "watching failed; trying again");
                    // Of what has expired a list is made by itself, as at the beginning, and tried again by itself.
                    is_listed &= code(&error) != Some(410);
                    let must_list = follower.failed().await;
                    // What could not be read is not in the list, which goes on to its end all the same: it is none. (One that is not streamed, and
                    // one that has expired, begin again by themselves.)
                    let is_holed = is_listing && streams_lists && code(&error) != Some(410);
                    if is_holed || (is_listed && must_list) {
                        tokio::time::sleep(backoff.next().unwrap_or(ABSENT_RETRY)).await;
                        break;
                    }
                    if is_listed { lull.begin() } else { lull.forget() }
                }
            }
        }
    }
}

/// Whether the server did not understand the request, as opposed to being unable to serve it now.
fn is_refusal(error: &watcher::Error) -> bool {
    matches!(code(error), Some(400 | 405 | 422))
}

/// The HTTP status of a refusal.
fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) | watcher::Error::WatchFailed(kube::Error::Api(status)) => {
            Some(status.code)
        }
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// The Services for the programmer.
pub async fn services(client: Client, sender: mpsc::Sender<Message>) {
    let convert = |service: &Service, names: &mut Names| {
        let name = ObjectName::of(&service.metadata, names);
        let facts = ServiceFacts::of(service, names);
        (name, facts)
    };
    follow(Api::all(client), "Service", Feed::new(sender, convert, Change::Service, Listed::Services)).await;
}

/// The EndpointSlices for the programmer.
pub async fn slices(client: Client, sender: mpsc::Sender<Message>) {
    let convert = |slice: &EndpointSlice, names: &mut Names| {
        let name = ObjectName::of(&slice.metadata, names);
        let facts = SliceFacts::of(slice, names);
        (name, facts)
    };
    follow(Api::all(client), "EndpointSlice", Feed::new(sender, convert, Change::Slice, Listed::Slices)).await;
}

/// Turns the events of a kind of objects, which are known by `N`, into changes of facts.
struct Feed<K, N, F> {
    sender: mpsc::Sender<Message>,
    convert: fn(&K, &mut Names) -> (N, Option<F>),
    change: fn(N, Option<F>) -> Change,
    listed: fn(HashSet<N>) -> Listed,
    /// Names of the list in progress.
    seen: HashSet<N>,
    /// The highest version in it.
    version: u64,
    names: Names,
    /// Where it is said whether all of the kind is seen.
    sight: Sight,
}

/// Whether all of a kind is seen, as the programmer was told; of one that policies do not depend on it is not.
#[derive(Default)]
struct Sight {
    kind: Option<Kind>,
    is_lost: bool,
}

impl Sight {
    /// Watching failed; answers as [`Follower::failed`] does.
    async fn lose(&mut self, sender: &mpsc::Sender<Message>) -> bool {
        let Some(kind) = self.kind else { return false };
        if !mem::replace(&mut self.is_lost, true) {
            let _ = sender.send(Message::Behind(kind)).await;
        }
        kind.is_vital()
    }

    async fn regain(&mut self, sender: &mpsc::Sender<Message>) {
        if let Some(kind) = self.kind.filter(|_| mem::replace(&mut self.is_lost, false)) {
            let _ = sender.send(Message::Abreast(kind)).await;
        }
    }
}

impl<K: Resource, N: Clone + Eq + Hash, F> Feed<K, N, F> {
    fn new(
        sender: mpsc::Sender<Message>,
        convert: fn(&K, &mut Names) -> (N, Option<F>),
        change: fn(N, Option<F>) -> Change,
        listed: fn(HashSet<N>) -> Listed,
    ) -> Self {
        let (seen, names) = (HashSet::new(), Names::default());
        Self { sender, convert, change, listed, seen, version: 0, names, sight: Sight::default() }
    }

    /// Policies depend on this kind: while not all of it is seen, that is told.
    fn sighted(self, kind: Kind) -> Self {
        Self { sight: Sight { kind: Some(kind), ..self.sight }, ..self }
    }

    /// The programmer outlives the watches, so nobody is told of a failure. Once it has taken `version` (unless that is 0), it knows all of
    /// the kind up to there.
    async fn send(&self, name: N, facts: Option<F>, seen: Instant, version: u64) {
        let change = (self.change)(name, facts);
        let _ = self.sender.send(Message::Change { change, seen, version }).await;
    }
}

impl<K: Resource + Send, N: Clone + Eq + Hash + Send + Sync, F: Send + Sync> Follower<K> for Feed<K, N, F> {
    async fn event(&mut self, event: Event<K>) {
        let now = Instant::now();
        match event {
            Event::Init => {
                self.seen.clear();
                self.version = 0;
                return;
            }
            Event::InitApply(object) => {
                self.version = self.version.max(version(&object));
                let (name, facts) = (self.convert)(&object, &mut self.names);
                drop(object);
                if facts.is_some() {
                    self.seen.insert(name.clone());
                }
                // Others of the list, with lower versions, may still come.
                self.send(name, facts, now, 0).await;
                return;
            }
            Event::InitDone => {
                let listed = (self.listed)(mem::take(&mut self.seen));
                let _ = self.sender.send(Message::Listed(listed, self.version)).await;
            }
            Event::Apply(object) => {
                let version = version(&object);
                let (name, facts) = (self.convert)(&object, &mut self.names);
                drop(object);
                self.send(name, facts, now, version).await;
            }
            Event::Delete(object) => {
                let version = version(&object);
                let (name, _) = (self.convert)(&object, &mut self.names);
                drop(object);
                self.send(name, None, now, version).await;
            }
        }
        self.goes_on().await;
    }

    async fn failed(&mut self) -> bool {
        self.sight.lose(&self.sender).await
    }

    async fn goes_on(&mut self) {
        self.sight.regain(&self.sender).await;
    }
}

/// `metadata.resourceVersion` as a number, by which versions of a kind are compared (KEP-5504); 0 for what is none.
fn version(object: &impl Resource) -> u64 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}
