//! What the server must be told.

use crate::audit::AuditConfig;
use crate::http::Bounds;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Where to listen.
#[derive(Debug)]
pub enum Listener {
    /// An address; port 0 takes a free one.
    Address(SocketAddr),
    /// A socket that is listening already (socket activation).
    Socket(TcpListener),
}

/// The server's settings. [`Config::default`] is that of a cluster on one machine.
#[derive(Debug)]
pub struct Config {
    pub listeners: Vec<Listener>,
    /// Address under which pods and nodes reach this server: endpoint of the Service `default/kubernetes`.
    pub advertise_address: IpAddr,
    /// Port under which they do; `None`: that of the first listener.
    pub advertise_port: Option<u16>,
    /// Directory of keys and certificates (`orknet_auth::pki`).
    pub pki_dir: PathBuf,
    /// How long the server's own certificates are good for: the one that it shows, and the one with which it calls kubelets. Each is issued anew when
    /// two thirds of that are over.
    pub certificate_life: Duration,
    /// More names in the serving certificate.
    pub extra_names: Vec<String>,
    /// More addresses in the serving certificate.
    pub extra_addresses: Vec<IpAddr>,
    /// Ranges of cluster addresses, one per family; the first family is the default of single-stack Services.
    pub service_cidrs: Vec<IpNet>,
    pub node_ports: RangeInclusive<u16>,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// File of static bearer tokens (`token,user,uid,"groups"`), if any.
    pub token_file: Option<PathBuf>,
    /// File that says whose OpenID Connect tokens are believed (`apiserver.config.k8s.io/v1 AuthenticationConfiguration`), if any.
    pub authentication_file: Option<PathBuf>,
    /// Kubeconfig of a webhook that is asked whose tokens are that nobody else knows, if any.
    pub token_webhook_file: Option<PathBuf>,
    /// How long its answers are kept.
    pub token_webhook_ttl: Duration,
    /// File that says which kinds are sealed in the store and by which keys (`apiserver.config.k8s.io/v1 EncryptionConfiguration`); `None`: none.
    pub encryption_file: Option<PathBuf>,
    /// Whether who shows nothing of himself is `system:anonymous`, and may what is everybody's; else he may nothing.
    pub anonymous_auth: bool,
    /// What is told of requests, and where; `None`: nothing.
    pub audit: Option<AuditConfig>,
    /// Most bytes of a request body.
    pub max_body_bytes: usize,
    /// Longest duration of a request that is no watch and no stream.
    pub request_timeout: Duration,
    /// With `max_writes_in_flight` the seats of the server, which priority levels share (`--max-requests-inflight` and
    /// `--max-mutating-requests-inflight` of kube-apiserver). Streams are not counted, watches until they have begun.
    pub max_reads_in_flight: usize,
    pub max_writes_in_flight: usize,
    /// What clients may have open at a time, and how long they may be silent.
    pub connections: Bounds,
    /// How long events are kept.
    pub event_ttl: Duration,
    /// How much of the past the store keeps at least, for lists and watches at older versions; at most twice that.
    pub compaction_interval: Duration,
    /// How often kubelets are asked what their nodes and pods use (`metrics.k8s.io`); `None`: never.
    pub metrics_resolution: Option<Duration>,
    /// How long the server waits at shutdown for requests in flight.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listeners: vec![Listener::Address((Ipv4Addr::UNSPECIFIED, 6443).into())],
            advertise_address: Ipv4Addr::LOCALHOST.into(),
            advertise_port: None,
            pki_dir: PathBuf::from("/var/lib/orknet/pki"),
            certificate_life: orknet_auth::pki::YEAR,
            extra_names: Vec::new(),
            extra_addresses: Vec::new(),
            service_cidrs: vec![
                IpNet::new_assert(Ipv4Addr::new(10, 96, 0, 0).into(), 16),
                IpNet::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0).into(), 112),
            ],
            node_ports: 30000..=32767,
            cluster_domain: "cluster.local".into(),
            token_file: None,
            authentication_file: None,
            token_webhook_file: None,
            token_webhook_ttl: Duration::from_secs(120),
            encryption_file: None,
            anonymous_auth: true,
            audit: None,
            max_body_bytes: 3 << 20,
            request_timeout: Duration::from_secs(60),
            max_reads_in_flight: 400,
            max_writes_in_flight: 200,
            connections: Bounds::default(),
            event_ttl: Duration::from_secs(3600),
            compaction_interval: Duration::from_secs(300),
            metrics_resolution: Some(Duration::from_secs(15)),
            drain: Duration::from_secs(5),
        }
    }
}
