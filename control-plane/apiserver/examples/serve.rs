//! An API server alone, on the embedded store: `cargo run -p orknet-apiserver --example serve -- DIRECTORY [ADDRESS]`, then
//! `kubectl --kubeconfig DIRECTORY/admin.kubeconfig get namespaces`.

use orknet_apiserver::{Config, Listener, start};
use orknet_store::StoreConfig;
use orknet_store::embedded::EmbeddedConfig;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: serve DIRECTORY [ADDRESS]")?);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let store = orknet_store::open(StoreConfig::Embedded(EmbeddedConfig::new(directory.join("store")))).await?;
    let config = Config { listeners: vec![Listener::Address(address)], pki_dir: directory.join("pki"), ..Config::default() };
    let shutdown = CancellationToken::new();
    let handle = start(config, store, shutdown.clone()).await?;
    handle.ready().await;
    std::fs::write(directory.join("admin.kubeconfig"), handle.kubeconfig("kubernetes-admin", Some("system:masters"))?)?;
    println!("{}", handle.local_url());
    tokio::signal::ctrl_c().await?;
    shutdown.cancel();
    handle.stopped().await?;
    Ok(())
}
