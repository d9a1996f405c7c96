//! A server on a store of its own, with the controllers, for tests of what they do together.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use orknet_apiserver::{Handle, Listener};
use orknet_auth::Identity;
use orknet_auth::authn::GROUP_MASTERS;
use orknet_controllers::Config;
use orknet_store::embedded::EmbeddedConfig;
use orknet_store::{Store, StoreConfig, StoreError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct Cluster {
    handle: Handle,
    pub client: Client,
    shutdown: CancellationToken,
    controllers: JoinHandle<()>,
}

impl Cluster {
    /// `change`: the controllers' settings.
    pub async fn start(directory: &Path, change: impl FnOnce(&mut Config)) -> Self {
        let store = open(directory).await;
        let config = orknet_apiserver::Config {
            listeners: vec![Listener::Address(([127, 0, 0, 1], 0).into())],
            pki_dir: directory.join("pki"),
            ..Default::default()
        };
        let shutdown = CancellationToken::new();
        let handle = orknet_apiserver::start(config, store, shutdown.clone()).await.unwrap();
        handle.ready().await;
        let who = Identity::authenticated("system:kube-controller-manager", [GROUP_MASTERS.to_owned()]);
        let client = Client::new(handle.local_client(who), "default");
        let (own, ending) = (client.clone(), shutdown.clone());
        let mut config = Config::default();
        change(&mut config);
        let controllers = tokio::spawn(async move { orknet_controllers::run(config, own, ending).await.unwrap() });
        Self { handle, client, shutdown, controllers }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.controllers.await.unwrap();
        drop(self.client);
        self.handle.stopped().await.unwrap();
    }
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
