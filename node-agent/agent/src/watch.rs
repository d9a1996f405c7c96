//! Watching the API: events in, compact facts out to the programmer. Whole objects live only as long as it takes to convert one.

use crate::nodes::Nodes;
use crate::programmer::Message;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use orknet_compiler::{Change, Names, ObjectName, ServiceFacts, SliceFacts};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt::Debug;
use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};

/// What is done with the events of one kind.
pub trait Follower<K>: Send {
    /// Takes one event; waiting here slows the watch down, which is right when the programmer is busy.
    fn event(&mut self, event: Event<K>) -> impl Future<Output = ()> + Send;
}

/// Follows all objects of a kind for ever. Errors are logged and tried again with back-off; a server that cannot stream lists is
/// asked for ordinary ones.
pub async fn follow<K>(api: Api<K>, kind: &'static str, mut follower: impl Follower<K>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut streams_lists = true;
    loop {
        let config = if streams_lists { watcher::Config::default().streaming_lists() } else { watcher::Config::default() };
        let mut events = Box::pin(watcher(api.clone(), config).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => follower.event(event).await,
                Err(error) if streams_lists && is_refusal(&error) => {
                    tracing::info!(kind, "the server does not stream lists; listing instead");
                    streams_lists = false;
                    break;
                }
                Err(error) => tracing::warn!(kind, %error, "watching failed; trying again"),
            }
        }
    }
}

/// Whether the server did not understand the request, as opposed to being unable to serve it now.
fn is_refusal(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) | watcher::Error::WatchFailed(kube::Error::Api(status)) => status,
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchError(status) => status,
        _ => return false,
    };
    matches!(status.code, 400 | 405 | 422)
}

/// The Services for the programmer.
pub async fn services(client: Client, sender: mpsc::Sender<Message>) {
    let convert = |service: &Service, names: &mut Names| {
        let name = ObjectName::of(&service.metadata, names);
        let facts = ServiceFacts::of(service, names);
        (name, facts)
    };
    let feed =
        Feed { sender, convert, change: Change::Service, listed: Message::ServicesListed, seen: HashSet::new(), names: Names::default() };
    follow(Api::all(client), "Service", feed).await;
}

/// The EndpointSlices for the programmer.
pub async fn slices(client: Client, sender: mpsc::Sender<Message>) {
    let convert = |slice: &EndpointSlice, names: &mut Names| {
        let name = ObjectName::of(&slice.metadata, names);
        let facts = SliceFacts::of(slice, names);
        (name, facts)
    };
    let feed =
        Feed { sender, convert, change: Change::Slice, listed: Message::SlicesListed, seen: HashSet::new(), names: Names::default() };
    follow(Api::all(client), "EndpointSlice", feed).await;
}

/// The Nodes: our own for the programmer, all of them for whoever keeps the routes.
pub async fn nodes(client: Client, own: &str, sender: mpsc::Sender<Message>, view: watch::Sender<Arc<NodesView>>) {
    let feed = NodeFeed { sender, view, nodes: Nodes::new(own), seen: HashSet::new(), is_complete: false };
    follow(Api::all(client), "Node", feed).await;
}

/// What the Nodes amount to for this node's own network.
#[derive(Debug, Default)]
pub struct NodesView {
    pub nodes: crate::nodes::Outlook,
    /// All Nodes have been seen, so routes that are not wanted may go.
    pub is_complete: bool,
}

struct Feed<K, F> {
    sender: mpsc::Sender<Message>,
    convert: fn(&K, &mut Names) -> (ObjectName, Option<F>),
    change: fn(ObjectName, Option<F>) -> Change,
    listed: fn(HashSet<ObjectName>) -> Message,
    /// Names of the list in progress.
    seen: HashSet<ObjectName>,
    names: Names,
}

impl<K, F> Feed<K, F> {
    /// The programmer outlives the watches, so nobody is told of a failure.
    async fn send(&self, name: ObjectName, facts: Option<F>, seen: Instant) {
        let change = (self.change)(name, facts);
        let _ = self.sender.send(Message::Change { change, seen }).await;
    }
}

impl<K: Send, F: Send + Sync> Follower<K> for Feed<K, F> {
    async fn event(&mut self, event: Event<K>) {
        let now = Instant::now();
        match event {
            Event::Init => self.seen.clear(),
            Event::InitApply(object) => {
                let (name, facts) = (self.convert)(&object, &mut self.names);
                drop(object);
                if facts.is_some() {
                    self.seen.insert(name.clone());
                }
                self.send(name, facts, now).await;
            }
            Event::InitDone => {
                let listed = (self.listed)(mem::take(&mut self.seen));
                let _ = self.sender.send(listed).await;
            }
            Event::Apply(object) => {
                let (name, facts) = (self.convert)(&object, &mut self.names);
                drop(object);
                self.send(name, facts, now).await;
            }
            Event::Delete(object) => {
                let (name, _) = (self.convert)(&object, &mut self.names);
                drop(object);
                self.send(name, None, now).await;
            }
        }
    }
}

struct NodeFeed {
    sender: mpsc::Sender<Message>,
    view: watch::Sender<Arc<NodesView>>,
    nodes: Nodes,
    seen: HashSet<String>,
    is_complete: bool,
}

impl Follower<Node> for NodeFeed {
    async fn event(&mut self, event: Event<Node>) {
        let now = Instant::now();
        let changed = match event {
            Event::Init => {
                self.seen.clear();
                false
            }
            Event::InitApply(node) => {
                self.seen.extend(node.metadata.name.clone());
                self.nodes.put(&node)
            }
            Event::InitDone => {
                let removed = self.nodes.retain(&mem::take(&mut self.seen));
                !mem::replace(&mut self.is_complete, true) || removed
            }
            Event::Apply(node) => self.nodes.put(&node),
            Event::Delete(node) => self.nodes.remove(node.metadata.name.as_deref().unwrap_or_default()),
        };
        if !changed {
            return;
        }
        if let Some(facts) = self.nodes.own_facts() {
            // The state ignores facts that it has already.
            let _ = self.sender.send(Message::Change { change: Change::Node(facts.clone()), seen: now }).await;
        }
        self.view.send_replace(Arc::new(NodesView { nodes: self.nodes.outlook(), is_complete: self.is_complete }));
    }
}
