//! A server of its own for each test, in a temporary directory, on a free port.

use crate::client::Client;
use orknet_apiserver::{Config, Handle, Listener, start};
use orknet_auth::pki::client_tls;
use orknet_store::embedded::EmbeddedConfig;
use orknet_store::{Store, StoreConfig};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub struct TestServer {
    pub handle: Handle,
    pub shutdown: CancellationToken,
    pub directory: TempDir,
    /// A member of `system:masters`.
    pub admin: Client,
}

impl TestServer {
    /// A server with everything at its default, ready, with the service account `default` in the namespace `default`.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path()).await;
        Self::start_on(directory, store, change).await
    }

    pub async fn start_on(directory: TempDir, store: Arc<dyn Store>, change: impl FnOnce(&mut Config)) -> Self {
        let server = Self::begin_on(directory, store, change).await;
        server.handle.ready().await;
        let account = json!({ "metadata": { "name": "default" } });
        let made = server.admin.post("/api/v1/namespaces/default/serviceaccounts", account).await;
        assert!(made.status == 201 || made.status == 409, "{}", made.text);
        server
    }

    /// A server that listens and may not be ready.
    pub async fn begin_on(directory: TempDir, store: Arc<dyn Store>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            listeners: vec![Listener::Address(([127, 0, 0, 1], 0).into())],
            pki_dir: directory.path().join("pki"),
            ..Config::default()
        };
        change(&mut config);
        let shutdown = CancellationToken::new();
        let handle = start(config, store, shutdown.clone()).await.expect("starts");
        let admin = client(&handle, "admin", Some("system:masters"));
        Self { handle, shutdown, directory, admin }
    }

    /// A client with a certificate.
    pub fn client(&self, user: &str, group: Option<&str>) -> Client {
        client(&self.handle, user, group)
    }

    /// A client with no certificate.
    pub fn stranger(&self) -> Client {
        let mut roots = rustls::RootCertStore::empty();
        let pem = self.handle.pki().ca_pem().to_owned();
        use rustls::pki_types::pem::PemObject;
        let certificate = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        roots.add(certificate).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Client { address: self.handle.addresses()[0], tls: Arc::new(tls), headers: Vec::new() }
    }

    /// Stops the server and gives its directory back.
    pub async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        self.handle.stopped().await.expect("stops");
        self.directory
    }
}

pub async fn open(directory: &Path) -> Arc<dyn Store> {
    orknet_store::open(StoreConfig::Embedded(EmbeddedConfig::new(directory.join("store")))).await.expect("opens")
}

pub fn config_map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "app": name } }, "data": { "k": "v" } })
}

pub fn pod(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": { "containers": [{ "name": "c", "image": "i" }] } })
}

pub fn deployment(name: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name }, "spec": { "replicas": 2,
        "selector": { "matchLabels": { "app": name } },
        "template": { "metadata": { "labels": { "app": name } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } } } })
}

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// The object's `resourceVersion` as a number.
pub fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()).expect("a version")
}

fn client(handle: &Handle, user: &str, group: Option<&str>) -> Client {
    let pair = handle.issue_client(user, group).expect("a certificate");
    let tls = client_tls(handle.pki().ca_pem(), &pair).expect("TLS");
    Client { address: handle.addresses()[0], tls: Arc::new(tls), headers: Vec::new() }
}
