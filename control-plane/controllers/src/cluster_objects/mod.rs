//! The metadata of every object in the cluster, of every served kind: who owns what, and what is in which namespace. Shared by the
//! controllers that work over all kinds (garbage, namespace). Fed by one metadata watch per kind; kinds come from discovery, which runs
//! again when a definition of kinds changes.

mod graph;
mod kinds;
mod monitor;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Api, core::discovery::Scope};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) use graph::{FOREGROUND, Graph, Node, ORPHAN, Owner, Uid};
pub(crate) use kinds::Kind;

use crate::context::Context;

/// An object of any kind, without spec and status.
pub(crate) type Meta = PartialObjectMeta<DynamicObject>;

/// How long discovery is put off after a change of definitions: they usually change in groups and twice (created, established).
const SETTLING: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(5);

/// What happened to one object, or what is known now.
pub(crate) enum Event {
    /// An object came or changed; its owners before are not in the graph any more.
    Changed {
        uid: Uid,
        /// Whether it was not known before.
        is_new: bool,
        owners_before: Vec<Owner>,
    },
    Removed(Node),
    /// All objects of the kind that there were are in the graph: from now on each that goes is told of.
    Listed(Arc<Kind>),
}

type Listener = Box<dyn Fn(&Graph, &Event) + Send + Sync>;

/// The shared view.
pub(crate) struct ClusterObjects {
    client: Client,
    graph: RwLock<Graph>,
    kinds: RwLock<Vec<Arc<Kind>>>,
    listeners: RwLock<Vec<Listener>>,
    definitions_changed: Notify,
    monitors: Mutex<HashMap<String, CancellationToken>>,
}

impl ClusterObjects {
    /// Starts discovery and the watches.
    pub fn start(context: &Context) -> Arc<Self> {
        let objects = Arc::new(Self {
            client: context.client.clone(),
            graph: RwLock::new(Graph::default()),
            kinds: RwLock::new(Vec::new()),
            listeners: RwLock::new(Vec::new()),
            definitions_changed: Notify::new(),
            monitors: Mutex::new(HashMap::new()),
        });
        let (discovering, shutdown) = (objects.clone(), context.shutdown());
        context.spawn_task(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = discovering.clone().discover(shutdown.clone()) => {}
            }
        });
        objects
    }

    /// Calls `listener` for every later change, on the watches' tasks, with the graph locked for reading. It must be short.
    pub fn on_event(&self, listener: impl Fn(&Graph, &Event) + Send + Sync + 'static) {
        self.listeners.write().push(Box::new(listener));
    }

    /// Reads the graph.
    pub fn read<T>(&self, reader: impl FnOnce(&Graph) -> T) -> T {
        reader(&self.graph.read())
    }

    /// The served kinds, one version each.
    pub fn kinds(&self) -> Vec<Arc<Kind>> {
        self.kinds.read().clone()
    }

    /// The kinds that are served now, not when the definitions last changed: for who must miss none.
    pub async fn served_now(&self) -> Result<Vec<Arc<Kind>>, kube::Error> {
        kinds::served(&self.client).await
    }

    /// The kind by what an owner reference says of it; any version of the same group and kind will do.
    pub fn kind_of(&self, api_version: &str, kind: &str) -> Option<Arc<Kind>> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.kinds.read().iter().find(|known| known.resource.group == group && known.resource.kind == kind).cloned()
    }

    /// One kind in one namespace (ignored for cluster-scoped kinds), by a controller's own client.
    pub fn api(&self, client: &Client, kind: &Kind, namespace: &str) -> Api<Meta> {
        api(client, &kind.resource, &kind.scope, namespace)
    }

    async fn discover(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            match kinds::served(&self.client).await {
                Ok(kinds) => self.follow(kinds, &shutdown),
                Err(error) => {
                    tracing::warn!(%error, "discovery failed");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            self.definitions_changed.notified().await;
            tokio::time::sleep(SETTLING).await;
        }
    }

    /// Starts watches of new kinds and ends those of kinds that are no longer served.
    fn follow(self: &Arc<Self>, kinds: Vec<Arc<Kind>>, shutdown: &CancellationToken) {
        // Before the first object comes whose owner is asked for.
        *self.kinds.write() = kinds.clone();
        let mut monitors = self.monitors.lock();
        monitors.retain(|id, stop| {
            let served = kinds.iter().any(|kind| kind.id() == *id);
            if !served {
                stop.cancel();
                self.forget_kind(id);
            }
            served
        });
        for kind in kinds.iter().filter(|kind| kind.is_watched()) {
            monitors.entry(kind.id()).or_insert_with(|| {
                let stop = shutdown.child_token();
                tokio::spawn(monitor::follow(self.clone(), kind.clone(), stop.clone()));
                stop
            });
        }
    }

    fn forget_kind(&self, id: &str) {
        let gone = self.graph.read().of_kind(id);
        gone.iter().for_each(|uid| self.remove(uid));
    }

    fn upsert(&self, node: Node) {
        let uid = node.uid.clone();
        if node.kind.defines_kinds() {
            self.definitions_changed.notify_one();
        }
        let before = self.graph.write().upsert(node);
        let is_new = before.is_none();
        self.tell(&Event::Changed { uid, is_new, owners_before: before.map(|before| before.owners).unwrap_or_default() });
    }

    fn remove(&self, uid: &Uid) {
        let Some(node) = self.graph.write().remove(uid) else { return };
        if node.kind.defines_kinds() {
            self.definitions_changed.notify_one();
        }
        self.tell(&Event::Removed(node));
    }

    fn tell(&self, event: &Event) {
        let graph = self.graph.read();
        self.listeners.read().iter().for_each(|listener| listener(&graph, event));
    }
}

fn api(client: &Client, resource: &ApiResource, scope: &Scope, namespace: &str) -> Api<Meta> {
    match scope {
        Scope::Cluster => Api::all_with(client.clone(), resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, resource),
    }
}
