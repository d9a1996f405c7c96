//! The control plane of a local cluster: `orknet server`, and etcd where it is asked for, in the server's place.

use super::hello::wait;
use super::layout::{API_PORT, Cluster, Place};
use super::record::{Record, StoreKind};
use super::{files, process};
use crate::commands::daemon;
use anyhow::{Context, Result};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use orknet_auth::authn::GROUP_MASTERS;
use orknet_auth::kubeconfig::kubeconfig;
use orknet_auth::pki::{Pki, YEAR, write_private};
use serde_json::json;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

const SERVER: &str = "server";
const ETCD: &str = "etcd";
/// What leads to those of several servers that are ready.
pub const BALANCER: &str = "balancer";
/// Ports of etcd, for clients and for its other members.
const ETCD_CLIENTS: u16 = 2379;
const ETCD_PEERS: u16 = 2380;

/// Makes the authority, so that the server and every credential come from the same.
pub fn prepare(cluster: &Cluster) -> Result<Pki> {
    Pki::open_or_create(&cluster.pki_dir()).context("cannot open the cluster's certificate authority")
}

/// Starts what does not run. Blocking for moments.
pub fn start(cluster: &Cluster, record: &Record) -> Result<()> {
    let places = cluster.servers(record.servers);
    if record.store == StoreKind::Etcd {
        places.iter().try_for_each(|place| start_etcd(place, &places))?;
    }
    for place in &places {
        let config = place.state_dir().join("server.json");
        files::write(&config, &serde_json::to_vec_pretty(&settings(cluster, record, place))?)?;
        let mut command = process::daemon(place, SERVER, process::own_binary()?)?;
        command.arg("server").arg("--config").arg(&config);
        // One alone has the host's port; of several none has.
        if record.servers > 1 {
            process::start(place, SERVER, command)?;
        } else {
            start_with_port(place, SERVER, record.api_port, command)?;
        }
    }
    if record.servers > 1 {
        let control = cluster.server();
        start_with_port(&control, BALANCER, record.api_port, balancer(cluster, record, &control)?)?;
    }
    Ok(())
}

/// Starts a daemon that is given the port on the host's loopback as its standard input, unless it runs.
fn start_with_port(place: &Place, name: &str, port: u16, mut command: Command) -> Result<()> {
    if process::running(place, name).is_some() {
        return Ok(());
    }
    let Some(listener) = listener(place, name, port)? else { return Ok(()) };
    command.arg("--listen-stdin").stdin(OwnedFd::from(listener));
    process::start(place, name, command)
}

/// What leads to the servers that are ready, in any place.
pub fn balancer(cluster: &Cluster, record: &Record, place: &Place) -> Result<Command> {
    let mut command = process::daemon(place, BALANCER, process::own_binary()?)?;
    command.arg("balance").arg("--ca").arg(cluster.pki_dir().join("ca.crt"));
    for server in cluster.servers(record.servers) {
        command.arg("--server").arg(address(&server).to_string());
    }
    Ok(command)
}

/// The control plane in words.
pub fn describe(record: &Record) -> String {
    match (record.store, record.servers) {
        (StoreKind::Embedded, _) => "embedded store".into(),
        (StoreKind::Etcd, 1) => "etcd store".into(),
        (StoreKind::Etcd, servers) => format!("{servers} servers on {servers} members of etcd"),
    }
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
pub async fn wait_ready(cluster: &Cluster, record: &Record, client: &kube::Client, deadline: Duration) -> Result<()> {
    let places = cluster.servers(record.servers);
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    wait(
        "the API server to be ready",
        deadline,
        || places.iter().try_for_each(|place| process::check(place, SERVER)),
        async || {
            let request = http_get("/readyz")?;
            if client.request_text(request).await? != "ok" {
                return Ok(None);
            }
            if record.servers == 1 {
                return Ok(Some(()));
            }
            // Each server says there that it lives.
            let living = slices.get_opt("kubernetes").await?.map_or(0, |slice| slice.endpoints.len());
            Ok((living >= places.len()).then_some(()))
        },
    )
    .await
}

/// A server's address as nodes see it.
pub fn address(server: &Place) -> SocketAddr {
    SocketAddr::new(server.addresses()[0], API_PORT)
}

/// Where nodes find an API server: one alone at its address, several by what leads to those that are ready, on each node.
pub fn address_for_nodes(cluster: &Cluster, record: &Record) -> SocketAddr {
    if record.servers == 1 { address(&cluster.server()) } else { SocketAddr::new(Ipv4Addr::LOCALHOST.into(), API_PORT) }
}

/// The daemons of a server's place.
pub fn daemons(record: &Record, place: &Place, cluster: &Cluster) -> Vec<&'static str> {
    let balancer = (record.servers > 1 && *place == cluster.server()).then_some(BALANCER);
    let store = (record.store == StoreKind::Etcd).then_some(ETCD);
    store.into_iter().chain([SERVER]).chain(balancer).collect()
}

/// The host's loopback is not in the server's network namespace: the socket is made here and handed down. `None` when the server that
/// an `up` before this one had just begun to start is there after all.
fn listener(place: &Place, name: &str, port: u16) -> Result<Option<TcpListener>> {
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return Ok(Some(listener)),
            Err(_) if process::running(place, name).is_some() => return Ok(None),
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

fn start_etcd(place: &Place, all: &[Place]) -> Result<()> {
    let program = process::find_program("etcd", "etcd-server")?;
    let mut command = process::daemon(place, ETCD, program)?;
    command.arg("--data-dir").arg(place.state_dir().join("etcd"));
    if let [_] = all {
        // Both inside the server's own network namespace.
        command.args(["--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379"]);
        command.args(["--listen-peer-urls", "http://127.0.0.1:2380"]);
    } else {
        let (client, peer) = (etcd_url(place, ETCD_CLIENTS), etcd_url(place, ETCD_PEERS));
        let members: Vec<String> = all.iter().map(|place| format!("{}={}", place.name, etcd_url(place, ETCD_PEERS))).collect();
        command.args(["--name", &place.name, "--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--initial-cluster", &members.join(",")]);
    }
    command.args(["--log-level", "warn", "--logger", "zap"]);
    process::start(place, ETCD, command)
}

fn etcd_url(place: &Place, port: u16) -> String {
    format!("http://{}", SocketAddr::new(place.addresses()[0], port))
}

fn settings(cluster: &Cluster, record: &Record, place: &Place) -> serde_json::Value {
    let store = match (record.store, record.servers) {
        (StoreKind::Embedded, _) => json!({"embedded": {"directory": place.state_dir().join("store")}}),
        (StoreKind::Etcd, 1) => json!({"etcd": {"endpoints": ["http://127.0.0.1:2379"]}}),
        (StoreKind::Etcd, count) => {
            let endpoints: Vec<String> = cluster.servers(count).iter().map(|place| etcd_url(place, ETCD_CLIENTS)).collect();
            json!({"etcd": {"endpoints": endpoints}})
        }
    };
    json!({
        "listen": [address(place)],
        "advertiseAddress": address(place).ip(),
        // The keys are those of all servers.
        "pkiDir": cluster.pki_dir(),
        "podRoutes": true,
        "store": store,
    })
}
