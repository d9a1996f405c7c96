//! The API server alone, on both stores: what a call takes, what lists and watches take, what many objects weigh.

pub mod calls;
pub mod scale;
pub mod watchers;

use anyhow::{Context, Result};
use http::{Method, Request};
use orknet_store::embedded::EmbeddedConfig;
use orknet_store::etcd::EtcdConfig;
use orknet_store::{Store, StoreConfig};
use orknet_tests::etcd::Etcd;
use orknet_tests::server::Server;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// Where the objects of the benchmarks live.
const NAMESPACE: &str = "default";

/// One server with a store of its own. Both stores write to the same disk.
pub struct Served {
    pub name: &'static str,
    pub server: Server,
    directory: TempDir,
    etcd: Option<Etcd>,
}

impl Served {
    pub fn on_embedded() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        Ok(Self { name: "embedded", server: Server::start(directory.path())?, directory, etcd: None })
    }

    pub fn on_etcd() -> Result<Self> {
        let (directory, etcd) = (tempfile::tempdir()?, Etcd::start()?);
        let server = Server::start_on(directory.path(), &["--etcd".to_owned(), etcd.url()])?;
        Ok(Self { name: "etcd", server, directory, etcd: Some(etcd) })
    }

    pub fn both() -> Result<[Self; 2]> {
        Ok([Self::on_embedded()?, Self::on_etcd()?])
    }

    fn store_directory(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// The server's store, while the server is not there.
    pub async fn store(&self) -> Result<Arc<dyn Store>> {
        let config = match &self.etcd {
            None => StoreConfig::Embedded(EmbeddedConfig::new(self.store_directory())),
            Some(etcd) => StoreConfig::Etcd(EtcdConfig::new([etcd.url()])),
        };
        Ok(orknet_store::open(config).await?)
    }

    /// With the administrator's rights; each has connections of its own.
    pub async fn client(&self) -> Result<kube::Client> {
        let file = kube::config::Kubeconfig::read_from(self.directory.path().join("kubeconfig")).context("cannot read the kubeconfig")?;
        let config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }
}

/// Where the numbered ConfigMap is.
fn config_map_path(name: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{name}")
}

/// An object of about a kilobyte.
fn config_map(name: &str, word: &str) -> Value {
    let text = word.repeat(900 / word.len());
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "bench"}}, "data": {"text": text}})
}

fn request(method: Method, path: &str, content_type: &str, body: Option<&Value>) -> Result<Request<Vec<u8>>> {
    let request = Request::builder().method(method).uri(path).header("content-type", content_type).header("accept", "application/json");
    Ok(request.body(body.map(serde_json::to_vec).transpose()?.unwrap_or_default())?)
}
