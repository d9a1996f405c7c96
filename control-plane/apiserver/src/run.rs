//! Starting and stopping the server: what is made in which order, and the handle that others get.

use crate::access::{Access, Oidc, TokenReviewer, TokenWebhook, legacy};
use crate::admission::Chain;
use crate::admission::policies::Policies;
use crate::admission::webhooks::Webhooks;
use crate::aggregation::{self, Aggregation, FrontProxy};
use crate::allocate::{self, Claims};
use crate::audit::{Audit, AuditError};
use crate::bootstrap;
use crate::cache::{Caches, feed};
use crate::config::{Config, Listener};
use crate::custom::{self, Custom};
use crate::http::bounds::Places;
use crate::http::{Flow, flow, listener};
use crate::kinds::{self, ChangeError, Kinds, Path as KindPath};
use crate::local::LocalClient;
use crate::metrics::Metrics;
use crate::metrics_api::{self, MetricsApi};
use crate::proxy::Kubelets;
use crate::server::Server;
use crate::serving::{self, Serving};
use crate::storage::sealed::{self, SealedStore};
use crate::storage::timed::TimedStore;
use crate::storage::{Storage, compaction};
use crate::verbs::held::Holdings;
use orknet_auth::Identity;
use orknet_auth::authn::{StaticTokens, TokenFileError};
use orknet_auth::kubeconfig::kubeconfig;
use orknet_auth::pki::{KeyAndCertificate, Pki, PkiError, YEAR, server_tls_with};
use orknet_auth::renewed::Renewed;
use orknet_auth::tokens::{API_AUDIENCE, TokenError, TokenIssuer};
use orknet_patch::Schema;
use orknet_patch::schema::SchemaError;
use orknet_resources::Resource;
use orknet_store::{Store, StoreError};
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen { address: String, source: std::io::Error },
    #[error("no listener is configured")]
    NoListener,
    #[error("cannot set up the certificates")]
    Pki(#[from] PkiError),
    #[error("cannot set up service-account tokens")]
    Tokens(#[from] TokenError),
    #[error("cannot read the token file {path}")]
    TokenFile { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    TokenLine(#[from] TokenFileError),
    #[error("cannot use the authentication configuration {path}: {why}")]
    Authentication { path: PathBuf, why: String },
    #[error("cannot use the token webhook of {path}: {why}")]
    TokenWebhook { path: PathBuf, why: String },
    #[error(transparent)]
    Encryption(#[from] sealed::FileError),
    #[error("there can be no audit log")]
    Audit(#[from] AuditError),
    #[error("the kinds' definitions cannot be used for patches")]
    Schema(#[from] SchemaError),
    #[error("the server cannot go on")]
    Store(#[from] StoreError),
    #[error("the server's task ended with a panic")]
    Panicked(#[from] tokio::task::JoinError),
}

/// How long the end of a server waits for its audit log to be written.
const FLUSH: Duration = Duration::from_secs(5);

/// A server that listens.
pub struct Handle {
    server: Arc<Server>,
    addresses: Vec<SocketAddr>,
    tasks: JoinSet<()>,
    /// What ended it, beside its shutdown.
    lost: Arc<Mutex<Option<StoreError>>>,
}

impl Handle {
    /// Where it listens, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The URL for clients on this machine.
    pub fn local_url(&self) -> String {
        let address = self.addresses.first().copied().unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 6443)));
        let host = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        format!("https://{}", SocketAddr::new(host, address.port()))
    }

    /// Names and addresses in its certificate.
    pub fn certificate_names(&self) -> Vec<String> {
        let config = &self.server.config;
        names(config).into_iter().chain(ips(config, &self.addresses).iter().map(ToString::to_string)).collect()
    }

    /// The cluster's certificate authority.
    pub fn pki(&self) -> &Arc<Pki> {
        &self.server.pki
    }

    /// By which tokens of service accounts are signed, for parts of this process.
    pub fn token_issuer(&self) -> Arc<TokenIssuer> {
        self.server.access.tokens.issuer().clone()
    }

    /// A client certificate good for a year.
    pub fn issue_client(&self, user: &str, group: Option<&str>) -> Result<KeyAndCertificate, Error> {
        Ok(self.server.pki.issue_client(user, group, YEAR)?)
    }

    /// A kubeconfig for a client on this machine, such as the controllers of the same process.
    pub fn kubeconfig(&self, user: &str, group: Option<&str>) -> Result<String, Error> {
        Ok(kubeconfig("orknet", &self.local_url(), self.server.pki.ca_pem(), user, &self.issue_client(user, group)?))
    }

    /// A way to the server for parts of this process, as this identity.
    pub fn local_client(&self, who: Identity) -> LocalClient {
        LocalClient::new(self.server.clone(), who)
    }

    /// Serves other kinds from now on: `add`, in place of those that are served at their paths, and no more those at the paths of `remove`. What is
    /// stored stays. The server's own kinds stay as they are.
    pub async fn change_kinds(&self, add: Vec<Arc<dyn Resource>>, remove: Vec<KindPath>) -> Result<(), ChangeError> {
        serving::change(self.server.clone(), add, remove).await
    }

    /// Whom the metrics ask whether this process holds a Lease of the control plane.
    pub fn ask_leader(&self, lease: &'static str, leads: impl Fn() -> bool + Send + Sync + 'static) {
        self.server.metrics.ask_leader(lease, leads);
    }

    /// Completes when the store has been read, the cluster's first objects are there, and the custom resources that are defined are served. May take as
    /// long as the store is away.
    pub async fn ready(&self) {
        self.server.storage.caches.filled().await;
        self.server.shutdown.run_until_cancelled(self.server.custom.ready()).await;
        self.server.shutdown.run_until_cancelled(self.server.aggregation.ready()).await;
        while !self.server.bootstrapped.load(Ordering::Acquire) && !self.server.shutdown.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Completes when the server has stopped, after its shutdown was asked for, or because its store is another's now, which is an error.
    pub async fn stopped(mut self) -> Result<(), Error> {
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        // No request is answered any more. A disk that hangs keeps nobody from going.
        let _ = tokio::time::timeout(FLUSH, self.server.audit.flushed()).await;
        self.lost.lock().take().map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Runs the server until `shutdown`; `started` gets to know when it is ready for clients.
pub async fn run(config: Config, store: Arc<dyn Store>, shutdown: CancellationToken, started: impl FnOnce(&Handle)) -> Result<(), Error> {
    let handle = start(config, store, shutdown).await?;
    handle.ready().await;
    started(&handle);
    handle.stopped().await
}

/// Starts the server: it listens when this returns, and is ready when [`Handle::ready`] completes.
pub async fn start(config: Config, store: Arc<dyn Store>, shutdown: CancellationToken) -> Result<Handle, Error> {
    start_with(config, store, shutdown, Chain::default()).await
}

/// The same with other admission.
pub(crate) async fn start_with(
    mut config: Config,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
    admission: Chain,
) -> Result<Handle, Error> {
    let audit = Audit::open(config.audit.as_ref())?;
    let metrics = Metrics::new(audit.counts());
    let timed = Arc::new(TimedStore::new(store, metrics.store.clone()));
    let sealed = Arc::new(SealedStore::open(timed, config.encryption_file.as_deref())?);
    let store: Arc<dyn Store> = sealed.clone();
    let listeners = listen(std::mem::take(&mut config.listeners))?;
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let pki = Arc::new(Pki::open_or_create(&config.pki_dir)?);
    let (dns, ips) = (names(&config), ips(&config, &addresses));
    let serving = Renewed::serving(pki.clone(), "kube-apiserver", dns, ips, config.certificate_life)?;
    let tls = TlsAcceptor::from(Arc::new(server_tls_with(pki.ca_pem(), Arc::new(serving))?));
    let static_tokens = match &config.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|source| Error::TokenFile { path: path.clone(), source })?;
            StaticTokens::parse(&text)?
        }
        None => StaticTokens::default(),
    };
    let kubelets = Arc::new(Kubelets::new(&pki, config.certificate_life)?);
    let front = FrontProxy::open(&config.pki_dir)?;
    let kinds = Kinds::new(kinds::own());
    let claims = Arc::new(Claims::default());
    let caches = Arc::new(Caches::new(&kinds, claims.clone()));
    let issuer = TokenIssuer::new(pki.service_account_key(), pki.account_keys().accepted(), API_AUDIENCE)?;
    let tokens = TokenReviewer::new(issuer, caches.clone());
    let (oidc, token_webhook) = token_authenticators(&config, &caches, &shutdown)?;
    let access = Access::new(caches.clone(), tokens, static_tokens, oidc, token_webhook);
    let port = config.advertise_port.or(addresses.first().map(SocketAddr::port)).unwrap_or(6443);
    let server = Arc::new(Server {
        flow: Flow::new(&config, caches.clone(), metrics.flow.clone()),
        pki,
        serving: Serving::new(kinds),
        custom: Custom::default(),
        schema: Schema::from_definitions(&orknet_resources::openapi::definitions(kinds::own()))?,
        aggregation: Aggregation::new(front),
        storage: Storage { store: store.clone(), caches: caches.clone() },
        claims,
        access,
        admission,
        webhooks: Webhooks::new(caches.clone()),
        metrics,
        holdings: Holdings::new(config.connections.watch_bytes_per_user),
        metrics_api: MetricsApi::default(),
        audit,
        policies: Policies::new(caches.clone()),
        kubelets,
        bootstrapped: AtomicBool::new(false),
        shutdown: shutdown.clone(),
        config,
    });
    let mut tasks = JoinSet::new();
    if server.config.encryption_file.is_some() {
        let (asks, sealed_store, end) = (server.clone(), sealed.clone(), shutdown.clone());
        tasks.spawn(async move {
            if end.run_until_cancelled(asks.custom.ready()).await.is_some() {
                let stored = asks.kinds().stored();
                sealed_store.warn_of_unknown(|group, plural| stored.keys().any(|place| *place == (group, plural)));
            }
        });
        tasks.spawn(sealed::renew(sealed, server.config.event_ttl, shutdown.clone()));
    }
    tasks.spawn(compaction::keep(store.clone(), server.config.compaction_interval, shutdown.clone()));
    let lost = Arc::<Mutex<Option<StoreError>>>::default();
    let (reason, end) = (lost.clone(), shutdown.clone());
    tasks.spawn(async move {
        if let Err(error) = feed(caches, store, end.clone()).await {
            tracing::error!(%error, "the server ends");
            *reason.lock() = Some(error);
            end.cancel();
        }
    });
    let nodes = server.clone();
    tasks.spawn(async move { nodes.access.nodes.follow(shutdown).await });
    let issuers = server.clone();
    tasks.spawn(async move { issuers.access.oidc.keep().await });
    tasks.spawn(bootstrap::keep(server.clone(), port));
    tasks.spawn(legacy::keep(server.clone()));
    tasks.spawn(flow::keep(server.clone()));
    tasks.spawn(allocate::repair(server.clone()));
    tasks.spawn(custom::keep(server.clone()));
    tasks.spawn(aggregation::keep(server.clone()));
    tasks.spawn(metrics_api::keep(server.clone()));
    let places = Places::new(&server.config.connections);
    for listener in listeners {
        tasks.spawn(listener::serve(server.clone(), listener, tls.clone(), places.clone()));
    }
    tracing::info!(?addresses, "the API server listens");
    Ok(Handle { server, addresses, tasks, lost })
}

/// Those who know tokens from elsewhere.
fn token_authenticators(
    config: &Config,
    caches: &Arc<Caches>,
    shutdown: &CancellationToken,
) -> Result<(Oidc, Option<TokenWebhook>), Error> {
    let file = config.authentication_file.as_deref();
    let oidc = Oidc::open(file, caches.clone(), shutdown.clone())
        .map_err(|why| Error::Authentication { path: file.unwrap_or(Path::new("")).to_owned(), why })?;
    let webhook = config.token_webhook_file.as_ref().map(|path| {
        TokenWebhook::open(path, config.token_webhook_ttl, caches.clone()).map_err(|why| Error::TokenWebhook { path: path.clone(), why })
    });
    Ok((oidc, webhook.transpose()?))
}

fn listen(listeners: Vec<Listener>) -> Result<Vec<TcpListener>, Error> {
    if listeners.is_empty() {
        return Err(Error::NoListener);
    }
    listeners
        .into_iter()
        .map(|listener| {
            let (address, socket) = match listener {
                Listener::Address(address) => (address.to_string(), std::net::TcpListener::bind(address)),
                Listener::Socket(socket) => (socket.local_addr().map(|address| address.to_string()).unwrap_or_default(), Ok(socket)),
            };
            let fail = |source| Error::Listen { address: address.clone(), source };
            let socket = socket.map_err(fail)?;
            socket.set_nonblocking(true).map_err(fail)?;
            TcpListener::from_std(socket).map_err(fail)
        })
        .collect()
}

fn names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "kubernetes".into(), "kubernetes.default".into(), "kubernetes.default.svc".into()];
    names.push(format!("kubernetes.default.svc.{}", config.cluster_domain));
    names.extend(config.extra_names.iter().cloned());
    names
}

fn ips(config: &Config, addresses: &[SocketAddr]) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), config.advertise_address];
    ips.extend(config.service_cidrs.iter().map(|cidr| allocate::first_address(*cidr)));
    ips.extend(config.extra_addresses.iter().copied());
    ips.extend(addresses.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()));
    ips.sort_unstable();
    ips.dedup();
    ips
}
