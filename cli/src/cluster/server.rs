//! The control plane of a local cluster: `orknet server`, and etcd where it is asked for, in the server's place.

use super::hello::wait;
use super::layout::{API_PORT, Cluster, Place};
use super::record::{Record, StoreKind};
use super::{files, process};
use crate::commands::daemon;
use anyhow::{Context, Result};
use orknet_auth::authn::GROUP_MASTERS;
use orknet_auth::kubeconfig::kubeconfig;
use orknet_auth::pki::{Pki, YEAR, write_private};
use serde_json::json;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const SERVER: &str = "server";
const ETCD: &str = "etcd";

/// Makes the authority, so that the server and every credential come from the same.
pub fn prepare(cluster: &Cluster) -> Result<Pki> {
    Pki::open_or_create(&cluster.pki_dir()).context("cannot open the cluster's certificate authority")
}

/// Starts what does not run. Blocking for moments.
pub fn start(cluster: &Cluster, record: &Record) -> Result<()> {
    let place = cluster.server();
    if record.store == StoreKind::Etcd {
        start_etcd(&place)?;
    }
    if process::running(&place, SERVER).is_some() {
        return Ok(());
    }
    let config = place.state_dir().join("server.json");
    files::write(&config, &serde_json::to_vec_pretty(&settings(cluster, record))?)?;
    let Some(listener) = listener(&place, record.api_port)? else { return Ok(()) };
    let mut command = process::daemon(&place, SERVER, process::own_binary()?)?;
    command.arg("server").arg("--config").arg(&config).arg("--listen-stdin").stdin(OwnedFd::from(listener));
    process::start(&place, SERVER, command)
}

/// Writes the administrator's kubeconfig.
pub fn write_kubeconfig(cluster: &Cluster, record: &Record) -> Result<()> {
    let path = cluster.kubeconfig_path();
    if path.exists() {
        return Ok(());
    }
    let pki = prepare(cluster)?;
    let credentials = pki.issue_client("admin", Some(GROUP_MASTERS), YEAR).context("cannot issue the administrator's certificate")?;
    let server = format!("https://127.0.0.1:{}", record.api_port);
    let text = kubeconfig(&format!("orknet-{}", cluster.name()), &server, pki.ca_pem(), "admin", &credentials);
    Ok(write_private(&path, &text)?)
}

/// A client with the administrator's rights.
pub async fn client(cluster: &Cluster) -> Result<kube::Client> {
    daemon::client(&cluster.kubeconfig_path(), "orknet").await
}

/// Waits until the server says that it is ready; fails with its log when it ended.
pub async fn wait_ready(cluster: &Cluster, client: &kube::Client, deadline: Duration) -> Result<()> {
    let place = cluster.server();
    wait(
        "the API server to be ready",
        deadline,
        || process::check(&place, SERVER),
        async || {
            let request = http_get("/readyz")?;
            Ok((client.request_text(request).await? == "ok").then_some(()))
        },
    )
    .await
}

/// The server's address as nodes see it.
pub fn address(cluster: &Cluster) -> SocketAddr {
    SocketAddr::new(cluster.server().addresses()[0], API_PORT)
}

/// The daemons of the server's place.
pub fn daemons(record: &Record) -> Vec<&'static str> {
    match record.store {
        StoreKind::Embedded => vec![SERVER],
        StoreKind::Etcd => vec![ETCD, SERVER],
    }
}

/// The host's loopback is not in the server's network namespace: the socket is made here and handed down. `None` when the server that
/// an `up` before this one had just begun to start is there after all.
fn listener(place: &Place, port: u16) -> Result<Option<TcpListener>> {
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return Ok(Some(listener)),
            Err(_) if process::running(place, SERVER).is_some() => return Ok(None),
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("cannot listen on 127.0.0.1:{port} for the API server; remedy: end the program that uses this port")
                });
            }
        }
    }
}

fn http_get(path: &str) -> Result<http::Request<Vec<u8>>> {
    http::Request::get(path).body(Vec::new()).context("cannot build a request")
}

fn start_etcd(place: &Place) -> Result<()> {
    let program = process::find_program("etcd", "etcd-server")?;
    let mut command = process::daemon(place, ETCD, program)?;
    command.arg("--data-dir").arg(place.state_dir().join("etcd"));
    // Both inside the server's own network namespace.
    command.args(["--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379"]);
    command.args(["--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "warn", "--logger", "zap"]);
    process::start(place, ETCD, command)
}

fn settings(cluster: &Cluster, record: &Record) -> serde_json::Value {
    let place = cluster.server();
    let store = match record.store {
        StoreKind::Embedded => json!({"embedded": {"directory": place.state_dir().join("store")}}),
        StoreKind::Etcd => json!({"etcd": {"endpoints": ["http://127.0.0.1:2379"]}}),
    };
    json!({
        "listen": [address(cluster)],
        "advertiseAddress": address(cluster).ip(),
        "pkiDir": cluster.pki_dir(),
        "podRoutes": true,
        "store": store,
    })
}
