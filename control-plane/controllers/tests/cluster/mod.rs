//! A server on a store of its own, with the controllers, for tests of what they do together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use orknet_apiserver::{AuditConfig, AuditLogConfig, Handle, Listener};
use orknet_auth::Identity;
use orknet_auth::authn::GROUP_MASTERS;
use orknet_controllers::Config;
use orknet_store::embedded::EmbeddedConfig;
use orknet_store::{Store, StoreConfig, StoreError};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What controllers and scheduler ask for.
const POLICY: &str = "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived], rules: [
    {level: Metadata, userGroups: [\"system:serviceaccounts:kube-system\"]},
    {level: Metadata, users: [\"system:kube-controller-manager\", \"system:kube-scheduler\"]}]}";

pub struct Cluster {
    pub handle: Handle,
    log: PathBuf,
    /// A master's.
    pub client: Client,
    shutdown: CancellationToken,
    controllers: JoinHandle<()>,
}

impl Cluster {
    /// `change`: the controllers' settings.
    pub async fn start(directory: &Path, change: impl FnOnce(&mut Config)) -> Self {
        let store = open(directory).await;
        let (policy_file, path) = (directory.join("policy.yaml"), directory.join("audit.log"));
        std::fs::write(&policy_file, POLICY).unwrap();
        let log = AuditLogConfig { path: path.clone(), max_size_megabytes: 1_000, max_backups: 0, max_age_days: 0 };
        let config = orknet_apiserver::Config {
            audit: Some(AuditConfig { policy_file, log }),
            listeners: vec![Listener::Address(([127, 0, 0, 1], 0).into())],
            pki_dir: directory.join("pki"),
            ..Default::default()
        };
        let shutdown = CancellationToken::new();
        let handle = orknet_apiserver::start(config, store, shutdown.clone()).await.unwrap();
        handle.ready().await;
        let client = Client::new(handle.local_client(Identity::authenticated("admin", [GROUP_MASTERS.to_owned()])), "default");
        // As in a server: no master.
        let who = Identity::authenticated("system:kube-controller-manager", []);
        let (own, ending) = (Client::new(handle.local_client(who), "default"), shutdown.clone());
        let mut config = Config { token_issuer: Some(handle.token_issuer()), ..Config::default() };
        change(&mut config);
        let controllers = tokio::spawn(async move { orknet_controllers::run(config, own, ending).await.unwrap() });
        Self { handle, log: path, client, shutdown, controllers }
    }

    /// A client of somebody in this process.
    #[allow(dead_code, reason = "not every test has a scheduler")]
    pub fn client_of(&self, who: Identity) -> Client {
        Client::new(self.handle.local_client(who), "default")
    }

    #[allow(dead_code, reason = "not every test has a scheduler")]
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Stops it all. What controllers (and scheduler) have asked for: user, verb and resource of each request that was answered.
    ///
    /// # Panics
    /// Where one of them was not allowed to.
    pub async fn stop(self) -> Vec<(String, String)> {
        self.shutdown.cancel();
        self.controllers.await.unwrap();
        drop(self.client);
        self.handle.stopped().await.unwrap();
        let text = std::fs::read_to_string(&self.log).unwrap();
        let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let is_forbidden = |event: &&Value| event["annotations"]["authorization.k8s.io/decision"] == "forbid";
        let forbidden: Vec<_> = events.iter().filter(is_forbidden).map(asked).collect();
        assert!(forbidden.is_empty(), "{forbidden:?}");
        events.iter().map(asked).collect()
    }
}

/// Who asked, and for what.
fn asked(event: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (object, subresource) = (&event["objectRef"], text(&event["objectRef"]["subresource"]));
    let resource = text(&object["resource"]);
    let resource = if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") };
    (text(&event["user"]["username"]), format!("{} {resource}", text(&event["verb"])))
}

/// The watches of a cluster that was stopped end on their own, and hold the store until then.
async fn open(directory: &Path) -> Arc<dyn Store> {
    let opened = async {
        loop {
            match orknet_store::open(StoreConfig::Embedded(EmbeddedConfig::new(directory.join("store")))).await {
                Ok(store) => return store,
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), opened).await.unwrap()
}
