//! `orknet server`: API server, controllers and scheduler in one process.

use super::daemon;
use anyhow::{Context, Result};
use ipnet::IpNet;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use orknet_apiserver::{AuditConfig, Listener};
use orknet_auth::Identity;
use orknet_controllers::Signing;
use orknet_reconciler::leader::{self, Election, Leadership, Timing};
use orknet_reconciler::{SharedInformers, acting_as};
use orknet_store::StoreConfig;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The Leases of the controllers and of the scheduler, named as Kubernetes names them.
const LEASES: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];
/// How long controllers and scheduler may take to end before the API server does, by which they give their Leases back.
const ENDING: Duration = Duration::from_secs(5);

/// How often routes are compared with what they should be, beside every change of a Node.
const ROUTE_RESYNC: Duration = Duration::from_secs(30);

/// Runs the control plane: API server, controllers, scheduler.
#[derive(clap::Args)]
pub struct Server {
    /// Settings as YAML or JSON; the flags below win over it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// An address to listen on (default 0.0.0.0:6443); may be repeated.
    #[arg(long)]
    listen: Vec<SocketAddr>,
    /// Standard input is a socket to listen on as well (as inetd and systemd's StandardInput=socket pass it).
    #[arg(long)]
    listen_stdin: bool,
    /// The address under which nodes and pods reach this server.
    #[arg(long)]
    advertise_address: Option<IpAddr>,
    /// Directory of keys and certificates.
    #[arg(long)]
    pki_dir: Option<PathBuf>,
    /// Directory of the embedded store.
    #[arg(long, conflicts_with = "etcd")]
    store_dir: Option<PathBuf>,
    /// An etcd endpoint, instead of the embedded store; may be repeated.
    #[arg(long)]
    etcd: Vec<String>,
    /// First and last node port of Services, such as 30000-32767.
    #[arg(long)]
    service_node_port_range: Option<PortRange>,
    /// Keep routes to the pods of all nodes on this host: where it is no node itself, and nothing else knows the way.
    #[arg(long)]
    pod_routes: bool,
}

/// The configuration file.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    listen: Vec<SocketAddr>,
    advertise_address: IpAddr,
    pki_dir: PathBuf,
    /// More names and addresses in the serving certificate.
    extra_names: Vec<String>,
    extra_addresses: Vec<IpAddr>,
    service_cidrs: Option<Vec<IpNet>>,
    service_node_port_range: PortRange,
    token_file: Option<PathBuf>,
    /// Whose OpenID Connect tokens are believed: an AuthenticationConfiguration.
    authentication_file: Option<PathBuf>,
    /// Kubeconfig of a webhook that is asked about tokens.
    token_webhook_file: Option<PathBuf>,
    /// How long, in seconds, its answers are kept; 0: not at all.
    token_webhook_cache_seconds: u64,
    /// Which kinds are sealed in the store and by which keys: an EncryptionConfiguration.
    encryption_file: Option<PathBuf>,
    /// Whether requests without credentials are those of `system:anonymous`.
    anonymous_auth: bool,
    /// What the audit log tells of requests, and where it is; none by default.
    audit: Option<AuditConfig>,
    /// What clients may have open at a time, and how long they may be silent.
    connections: orknet_apiserver::Bounds,
    /// How often, in seconds, kubelets are asked what their nodes and pods use (`metrics.k8s.io`); 0: never.
    metrics_resolution_seconds: u64,
    /// Keep routes to the pods of all nodes: for a host that is no node itself.
    pod_routes: bool,
    /// How long certificates that are signed for others are good for, at most and by default.
    signing_seconds: u32,
    store: Option<StoreConfig>,
    leader_election: LeaderElection,
    controllers: orknet_controllers::Config,
}

/// Which of several servers over one store runs the controllers, and which the scheduler.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct LeaderElection {
    /// Whether this server asks before it does. By default it does with etcd; an embedded store has one server.
    leader_elect: Option<bool>,
}

/// `FIRST-LAST`, both of them included.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct PortRange(RangeInclusive<u16>);

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        let ends = text.split_once('-').and_then(|(first, last)| Some((port(first)?, port(last)?)));
        let range = ends.filter(|(first, last)| first <= last).map(|(first, last)| Self(first..=last));
        range.ok_or_else(|| format!("{text:?} is no range of ports; expected FIRST-LAST, such as 30000-32767"))
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 6443)],
            advertise_address: Ipv4Addr::LOCALHOST.into(),
            pki_dir: "/var/lib/orknet/server/pki".into(),
            extra_names: Vec::new(),
            extra_addresses: Vec::new(),
            service_cidrs: None,
            service_node_port_range: PortRange(orknet_apiserver::Config::default().node_ports),
            token_file: None,
            authentication_file: None,
            token_webhook_file: None,
            token_webhook_cache_seconds: orknet_apiserver::Config::default().token_webhook_ttl.as_secs(),
            encryption_file: None,
            anonymous_auth: orknet_apiserver::Config::default().anonymous_auth,
            audit: None,
            connections: orknet_apiserver::Bounds::default(),
            metrics_resolution_seconds: 15,
            pod_routes: false,
            signing_seconds: 365 * 86_400,
            store: None,
            leader_election: LeaderElection::default(),
            controllers: orknet_controllers::Config::default(),
        }
    }
}

/// As many files and sockets as this process may have at all: each connection is one, and the usual limit of 1024 is for programs that use `select`.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Runs until a signal, or until a part of it fails.
pub fn run(options: Server) -> Result<()> {
    raise_file_limit();
    let settings: Settings = daemon::config(options.config.as_deref(), flags(&options))?;
    settings.connections.check().map_err(anyhow::Error::msg)?;
    let mut listeners: Vec<Listener> = settings.listen.iter().copied().map(Listener::Address).collect();
    if options.listen_stdin {
        listeners.push(Listener::Socket(stdin_socket()?));
    }
    daemon::run(|shutdown| serve(settings, listeners, shutdown))
}

/// The flags of a store as a setting. A store is of one kind: naming one takes the file's other one away.
fn store_flag(directory: Option<&Path>, endpoints: &[String]) -> Option<Value> {
    match (directory, endpoints) {
        (Some(directory), _) => Some(json!({"embedded": {"directory": directory}, "etcd": null})),
        (None, []) => None,
        (None, endpoints) => Some(json!({"etcd": {"endpoints": endpoints}, "embedded": null})),
    }
}

/// The store and the directory of keys of a server that is given these, for commands beside it.
pub fn places(config: Option<&Path>, store_dir: Option<&Path>, etcd: &[String], pki_dir: Option<&Path>) -> Result<(StoreConfig, PathBuf)> {
    let flags = daemon::flags([("store", store_flag(store_dir, etcd)), ("pkiDir", pki_dir.map(|path| json!(path)))]);
    let settings: Settings = daemon::config(config, flags)?;
    Ok((store_config(settings.store)?, settings.pki_dir))
}

fn store_config(store: Option<StoreConfig>) -> Result<StoreConfig> {
    let default_store = || serde_json::from_value(json!({"embedded": {"directory": "/var/lib/orknet/server/store"}}));
    Ok(store.map_or_else(default_store, Ok)?)
}

fn flags(options: &Server) -> Map<String, Value> {
    let store = store_flag(options.store_dir.as_deref(), &options.etcd);
    daemon::flags([
        ("listen", (!options.listen.is_empty()).then(|| json!(options.listen))),
        ("advertiseAddress", options.advertise_address.map(|address| json!(address))),
        ("pkiDir", options.pki_dir.as_ref().map(|path| json!(path))),
        ("store", store),
        ("serviceNodePortRange", options.service_node_port_range.as_ref().map(|range| json!(range.to_string()))),
        ("podRoutes", options.pod_routes.then_some(json!(true))),
    ])
}

async fn serve(settings: Settings, listeners: Vec<Listener>, shutdown: CancellationToken) -> Result<()> {
    let store_config = store_config(settings.store)?;
    let elects = settings.leader_election.leader_elect.unwrap_or(matches!(store_config, StoreConfig::Etcd(_)));
    let store = orknet_store::open(store_config).await.context("cannot open the store")?;
    let port = settings.listen.first().map(SocketAddr::port);
    let mut config = orknet_apiserver::Config {
        listeners,
        advertise_address: settings.advertise_address,
        advertise_port: port,
        pki_dir: settings.pki_dir.clone(),
        extra_names: settings.extra_names,
        extra_addresses: settings.extra_addresses,
        token_file: settings.token_file,
        authentication_file: settings.authentication_file,
        token_webhook_file: settings.token_webhook_file,
        token_webhook_ttl: Duration::from_secs(settings.token_webhook_cache_seconds),
        encryption_file: settings.encryption_file,
        anonymous_auth: settings.anonymous_auth,
        audit: settings.audit,
        connections: settings.connections,
        metrics_resolution: Some(Duration::from_secs(settings.metrics_resolution_seconds)).filter(|time| !time.is_zero()),
        node_ports: settings.service_node_port_range.0,
        ..Default::default()
    };
    if let Some(cidrs) = settings.service_cidrs {
        config.service_cidrs = cidrs;
    }
    // The API server ends after those that use it.
    let server_shutdown = CancellationToken::new();
    let handle = orknet_apiserver::start(config, store, server_shutdown.clone()).await.context("the API server cannot start")?;
    // Controllers and scheduler use the API as anybody does, with identities of their own, but without a socket between.
    let who = Identity::authenticated("system:kube-controller-manager", []);
    let user_agent = daemon::user_agent("orknet-server")?;
    let named = tower::util::MapRequest::new(handle.local_client(who), move |mut request: http::Request<kube::client::Body>| {
        request.headers_mut().insert(http::header::USER_AGENT, user_agent.clone());
        request
    });
    let client = kube::Client::new(named, "default");
    let mut controllers = settings.controllers;
    if let (true, Some(port)) = (controllers.api_server.is_empty(), port) {
        controllers.api_server = format!("https://{}", SocketAddr::new(settings.advertise_address, port));
    }
    controllers.root_ca_pem = handle.pki().ca_pem().to_owned();
    controllers.token_issuer = Some(handle.token_issuer());
    controllers.server_names = handle.certificate_names();
    controllers.signing = Some(Signing { authority: handle.pki().clone(), longest_seconds: settings.signing_seconds });
    tokio::select! {
        () = shutdown.cancelled() => server_shutdown.cancel(),
        () = handle.ready() => {}
    }

    let leaderships = [Leadership::default(), Leadership::default()];
    for (lease, leadership) in LEASES.into_iter().zip(leaderships.clone()) {
        // Without an election it works always.
        handle.ask_leader(lease, move || !elects || leadership.leads());
    }
    let workers = async {
        let workers = work(controllers, client.clone(), elects.then_some(leaderships), shutdown.clone());
        let routes = async {
            if settings.pod_routes {
                orknet_agent::keep_pod_routes(client.clone(), ROUTE_RESYNC, shutdown.clone())
                    .await
                    .context("the routes to pods are not kept")
            } else {
                Ok(())
            }
        };
        tokio::try_join!(workers, routes).map(drop)
    };
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(ENDING).await;
    };
    let working = async {
        let ended = tokio::select! {
            ended = workers => ended,
            () = late => Ok(()),
        };
        shutdown.cancel();
        server_shutdown.cancel();
        ended
    };
    let serving = async {
        let ended = handle.stopped().await.context("the API server ended");
        shutdown.cancel();
        ended
    };
    let (worked, served) = tokio::join!(working, serving);
    worked.and(served)
}

/// Runs controllers and scheduler until `shutdown`: always, or whenever this process holds their Leases, if it is told where to say so.
async fn work(
    controllers: orknet_controllers::Config,
    client: kube::Client,
    leaderships: Option<[Leadership; 2]>,
    shutdown: CancellationToken,
) -> Result<()> {
    let scheduler = orknet_scheduler::Config::default();
    if let Some([controllers_lead, scheduler_leads]) = leaderships {
        let identity = leader::identity();
        let election = |lease, leadership| Election { lease, identity: identity.clone(), timing: Timing::default(), leadership };
        let [first, second] = [election(LEASES[0], controllers_lead), election(LEASES[1], scheduler_leads)];
        tokio::try_join!(
            async {
                orknet_controllers::run_elected(controllers, client.clone(), first, shutdown.clone()).await.context("the controllers ended")
            },
            async {
                let client = acting_as(&client, Identity::authenticated("system:kube-scheduler", []));
                orknet_scheduler::run_elected(scheduler, client, second, shutdown.clone()).await.context("the scheduler ended")
            },
        )?;
    } else {
        let informers = SharedInformers::new(client, shutdown.clone());
        tokio::try_join!(
            async { orknet_controllers::run_with(controllers, informers.clone(), shutdown.clone()).await.context("the controllers ended") },
            async { orknet_scheduler::run_with(scheduler, informers.clone(), shutdown.clone()).await.context("the scheduler ended") },
        )?;
    }
    Ok(())
}

/// The listening socket that was passed as standard input.
pub fn stdin_socket() -> Result<TcpListener> {
    let owned = std::io::stdin().as_fd().try_clone_to_owned().context("cannot take over standard input")?;
    let listener = TcpListener::from(owned);
    listener.local_addr().context("--listen-stdin: standard input is no socket")?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        server: Server,
    }

    fn settings(file: &str, line: &[&str]) -> Settings {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.yaml");
        std::fs::write(&path, file).unwrap();
        let options = Line::parse_from([&["server"], line].concat()).server;
        daemon::config(Some(&path), flags(&options)).unwrap()
    }

    #[test]
    fn a_stores_flag_overrides_its_field_or_takes_the_other_kinds_place() {
        let embedded = "store: {embedded: {directory: /old, reserveBytes: 7}}";
        let StoreConfig::Embedded(config) = settings(embedded, &["--store-dir", "/new"]).store.unwrap() else { panic!("another kind") };
        assert_eq!((config.directory, config.reserve_bytes), (PathBuf::from("/new"), 7));
        assert!(matches!(settings(embedded, &["--etcd", "http://e:2379"]).store, Some(StoreConfig::Etcd(_))));
        let etcd = "store: {etcd: {endpoints: [\"http://a:2379\"]}}";
        assert!(matches!(settings(etcd, &["--store-dir", "/new"]).store, Some(StoreConfig::Embedded(_))));
        assert!(matches!(settings(etcd, &[]).store, Some(StoreConfig::Etcd(_))));
    }

    #[test]
    fn the_range_of_node_ports_is_that_of_the_flag_then_the_file_then_the_default() {
        let range = |file: &str, line: &[&str]| settings(file, line).service_node_port_range.0;
        assert_eq!(range("{}", &[]), 30_000..=32_767);
        assert_eq!(range("serviceNodePortRange: 20000-20100", &[]), 20_000..=20_100);
        assert_eq!(range("serviceNodePortRange: 20000-20100", &["--service-node-port-range", "7-9"]), 7..=9);
        for wrong in ["", "7", "9-7", "0-9", "7-70000", "a-b"] {
            assert!(wrong.parse::<PortRange>().is_err_and(|error| error.contains("FIRST-LAST")), "{wrong}");
        }
    }
}
