//! Two servers over one store, each with controllers: those of one at a time work, however they come to change.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use orknet_apiserver::{Handle, Listener};
use orknet_auth::Identity;
use orknet_auth::authn::GROUP_MASTERS;
use orknet_controllers::Config;
use orknet_reconciler::leader::{Election, Leadership, Timing};
use orknet_store::embedded::EmbeddedConfig;
use orknet_store::{Commit, Compare, KeyRange, Op, RangeResult, Revision, Store, StoreConfig, StoreError, Watch};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LEASE: &str = "kube-controller-manager";
/// A tenth of what a server has, and more tries.
const TIMING: Timing =
    Timing { lease_duration: Duration::from_secs(3), renew_deadline: Duration::from_secs(2), retry_period: Duration::from_millis(200) };
/// Far more than anything takes here.
const LONG: Duration = Duration::from_secs(60);

/// One server's way to the store: it takes a while for each write, and may be cut.
struct Path {
    inner: Arc<dyn Store>,
    is_cut: watch::Sender<bool>,
}

impl Path {
    async fn open(&self) {
        // The sender lives in self.
        let _ = self.is_cut.subscribe().wait_for(|is_cut| !is_cut).await;
    }
}

#[async_trait::async_trait]
impl Store for Path {
    async fn range(&self, range: KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError> {
        self.open().await;
        self.inner.range(range, revision, limit).await
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Commit, StoreError> {
        // So that there are leaders in the middle of something.
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.open().await;
        self.inner.commit(compares, ops).await
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<Watch, StoreError> {
        let is_cut = self.is_cut.subscribe();
        let held = move |item| {
            let mut is_cut = is_cut.clone();
            async move {
                let _ = is_cut.wait_for(|is_cut| !is_cut).await;
                item
            }
        };
        Ok(self.inner.watch(range, after).await?.then(held).boxed())
    }

    async fn request_progress(&self) -> Result<(), StoreError> {
        self.inner.request_progress().await
    }

    async fn current_revision(&self) -> Result<Revision, StoreError> {
        self.open().await;
        self.inner.current_revision().await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.inner.compact(revision).await
    }

    async fn size(&self) -> Result<u64, StoreError> {
        self.inner.size().await
    }
}

/// A server and its controllers.
struct Server {
    name: &'static str,
    _directory: TempDir,
    path: Arc<Path>,
    handle: Handle,
    client: Client,
    leadership: Leadership,
    controllers: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Server {
    async fn start(name: &'static str, store: Arc<dyn Store>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = Arc::new(Path { inner: store, is_cut: watch::Sender::new(false) });
        let config = orknet_apiserver::Config {
            listeners: vec![Listener::Address(([127, 0, 0, 1], 0).into())],
            pki_dir: directory.path().join("pki"),
            ..Default::default()
        };
        let handle = orknet_apiserver::start(config, path.clone(), CancellationToken::new()).await.unwrap();
        handle.ready().await;
        let who = Identity::authenticated("admin", [GROUP_MASTERS.to_owned()]);
        let client = Client::new(handle.local_client(who), "default");
        let mut server = Self { name, _directory: directory, path, handle, client, leadership: Leadership::default(), controllers: None };
        server.stand();
        server
    }

    /// Becomes a candidate.
    fn stand(&mut self) {
        let shutdown = CancellationToken::new();
        let election = Election {
            lease: LEASE,
            identity: format!("{}-{}", self.name, self.handle.addresses()[0]),
            timing: TIMING,
            leadership: self.leadership.clone(),
        };
        // As in a server: who leads is no master.
        let who = Identity::authenticated("system:kube-controller-manager", []);
        let (client, ending) = (Client::new(self.handle.local_client(who), "default"), shutdown.clone());
        let task = tokio::spawn(async move { orknet_controllers::run_elected(Config::default(), client, election, ending).await.unwrap() });
        self.controllers = Some((shutdown, task));
    }

    /// Ends the controllers as a server does that is told to end.
    async fn withdraw(&mut self) {
        let (shutdown, task) = self.controllers.take().unwrap();
        shutdown.cancel();
        task.await.unwrap();
    }

    fn leads(&self) -> bool {
        self.leadership.leads()
    }
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let awaited = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, awaited).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"));
}

/// Scales the Deployment and waits until the first pods of the change are there.
async fn scale(client: &Client, replicas: usize, from: usize) {
    let patch = json!({"spec": {"replicas": replicas}});
    Api::<Deployment>::default_namespaced(client.clone()).patch("d", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    until("the first pods", async || pods(client).await > from + 2).await;
    assert!(pods(client).await < replicas, "too late for a change in the middle");
}

async fn pods(client: &Client) -> usize {
    Api::<Pod>::default_namespaced(client.clone()).list(&ListParams::default()).await.unwrap().items.len()
}

async fn complete(client: &Client, replicas: usize) {
    let api = Api::<Deployment>::default_namespaced(client.clone());
    until("all pods", async || {
        let status = api.get("d").await.unwrap().status.unwrap_or_default();
        status.replicas == i32::try_from(replicas).ok() && pods(client).await >= replicas
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_makes_as_many_pods_as_it_says_however_leaders_change() {
    let directory = tempfile::tempdir().unwrap();
    let store = orknet_store::open(StoreConfig::Embedded(EmbeddedConfig::new(directory.path().join("store")))).await.unwrap();
    let mut first = Server::start("first", store.clone()).await;
    until("the first leader", async || first.leads()).await;
    let second = Server::start("second", store).await;
    let watcher = second.client.clone();

    let deployment: Deployment = serde_json::from_value(json!({"metadata": {"name": "d"}, "spec": {"replicas": 0,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}))
    .unwrap();
    Api::default_namespaced(watcher.clone()).create(&PostParams::default(), &deployment).await.unwrap();
    let since =
        Api::<Pod>::default_namespaced(watcher.clone()).list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();

    // Given back in the middle: the other goes on at its next try.
    scale(&watcher, 20, 0).await;
    assert!(!second.leads());
    first.withdraw().await;
    assert!(!first.leads());
    let lease = Api::<Lease>::namespaced(watcher.clone(), "kube-system").get(LEASE).await.unwrap().spec.unwrap();
    assert!(lease.holder_identity.is_none_or(|holder| !holder.starts_with("first")), "given back");
    complete(&watcher, 20).await;
    assert!(second.leads());

    // Cut off in the middle: the leader stops before the other begins, and carries nothing out late.
    first.stand();
    scale(&watcher, 60, 20).await;
    second.path.is_cut.send_replace(true);
    let (leadership, other) = (second.leadership.clone(), first.leadership.clone());
    until("the cut one to stop", async || {
        assert!(!(leadership.leads() && other.leads()), "two lead");
        !leadership.leads()
    })
    .await;
    let watcher = first.client.clone();
    complete(&watcher, 60).await;
    assert!(first.leads());
    second.path.is_cut.send_replace(false);
    // The one that was cut off can be the next leader, and knows what happened meanwhile.
    scale(&watcher, 80, 60).await;
    first.withdraw().await;
    complete(&watcher, 80).await;
    until("the second to lead again", async || second.leads()).await;
    let transitions = Api::<Lease>::namespaced(watcher.clone(), "kube-system").get(LEASE).await.unwrap().spec.unwrap().lease_transitions;
    assert_eq!(transitions, Some(3));

    // Every pod there ever was.
    let marker: Pod =
        serde_json::from_value(json!({"metadata": {"name": "marker"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})).unwrap();
    let api = Api::<Pod>::default_namespaced(watcher);
    api.create(&PostParams::default(), &marker).await.unwrap();
    let mut events = std::pin::pin!(api.watch(&WatchParams::default(), &since).await.unwrap());
    let (mut added, mut deleted) = (0, 0);
    loop {
        match events.next().await.unwrap().unwrap() {
            WatchEvent::Added(pod) if pod.metadata.name.as_deref() == Some("marker") => break,
            WatchEvent::Added(_) => added += 1,
            WatchEvent::Deleted(_) => deleted += 1,
            _ => {}
        }
    }
    assert_eq!((added, deleted), (80, 0));
}
