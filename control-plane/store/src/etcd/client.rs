//! The connection to etcd: opening it, TLS, time limits and retries. What is asked over it is for the callers.

use super::EtcdConfig;
use super::errors;
use super::keys::Keys;
use super::members::Members;
use super::origin::Clock;
use crate::StoreError;
use etcd_client::{Certificate, Client, ConnectOptions, Identity, KvClient, LeaseClient, MaintenanceClient, TlsOptions, WatchClient};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Keep-alive: a member that answers nothing for the sum of both is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two tries of the same request, after the first ones, which follow at once.
const RETRY_AFTER: Duration = Duration::from_millis(100);
const PROMPT_RETRIES: u32 = 4;
/// etcd bounds what it sends; answers are never refused for their size here.
const MESSAGE_LIMIT: usize = i32::MAX as usize;

/// The clients of one connection; cheap to clone.
#[derive(Clone)]
pub struct Clients {
    pub kv: KvClient,
    pub watch: WatchClient,
    pub lease: LeaseClient,
    pub maintenance: MaintenanceClient,
}

/// An open connection.
pub struct Connection {
    pub members: Members,
    pub keys: Keys,
    /// That of a store that was never restored until somebody reads it.
    pub clock: Clock,
    pub request_timeout: Duration,
    /// What etcd says its version is, like `3.4.23`.
    pub version: String,
}

impl Connection {
    /// Connects and waits for the first answer. Errors name the endpoints or the file at fault.
    pub async fn open(config: &EtcdConfig) -> Result<Self, StoreError> {
        let connect_timeout = Duration::from_secs(config.connect_timeout_seconds);
        let mut options = ConnectOptions::new()
            .with_connect_timeout(connect_timeout)
            .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE_TIMEOUT)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        if let Some(tls) = tls(config).await? {
            options = options.with_tls(tls);
        }
        let endpoints = config.endpoints.join(", ");
        let mut members = Vec::with_capacity(config.endpoints.len());
        for endpoint in &config.endpoints {
            // Nothing is sent yet.
            let client = Client::connect([endpoint], Some(options.clone())).await;
            let client = client.map_err(|error| errors::convert("connect to etcd", error))?;
            members.push(Clients {
                kv: client.kv_client().max_decoding_message_size(MESSAGE_LIMIT),
                watch: client.watch_client().max_decoding_message_size(MESSAGE_LIMIT),
                lease: client.lease_client(),
                maintenance: client.maintenance_client(),
            });
        }
        if members.is_empty() {
            return Err(StoreError::Failed { operation: "connect to etcd", source: "no endpoint is named".into() });
        }
        let keys = Keys::new(&config.prefix);
        let mut connection = Self {
            members: Members::new(members, keys.origin()),
            keys,
            clock: Clock::default(),
            request_timeout: Duration::from_secs(config.request_timeout_seconds),
            version: String::new(),
        };
        let asked = connection.retried("connect to etcd", |mut clients| async move { clients.maintenance.status().await });
        let status = match timeout(connect_timeout, asked).await {
            Ok(Ok(status)) => status,
            Ok(Err(StoreError::Unavailable(reason))) => {
                return Err(StoreError::Unavailable(format!("etcd at {endpoints}: {reason}")));
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let seconds = config.connect_timeout_seconds;
                return Err(StoreError::Unavailable(format!("etcd at {endpoints} did not answer within {seconds} s")));
            }
        };
        connection.version = status.version().to_owned();
        Ok(connection)
    }

    /// Makes a request that must not be made twice: it is repeated only if it cannot have reached a member. After [`StoreError::Unavailable`] it may
    /// or may not have taken effect.
    pub async fn once<T, F>(&self, operation: &'static str, request: impl Fn(Clients) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call(operation, false, request).await
    }

    /// Makes a request that changes nothing, again while etcd is not there, within the one time limit.
    pub async fn retried<T, F>(&self, operation: &'static str, request: impl Fn(Clients) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call(operation, true, request).await
    }

    async fn call<T, F>(&self, operation: &'static str, may_repeat: bool, request: impl Fn(Clients) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + self.request_timeout;
        for attempt in 0u32.. {
            let (member, clients) = self.members.current();
            let answered = tokio::select! {
                answered = timeout_at(deadline, request(clients)) => answered,
                () = self.members.left(member) => {
                    if may_repeat {
                        continue;
                    }
                    return Err(StoreError::Unavailable(format!("a member of etcd did not {operation}, and says nothing any more")));
                }
            };
            let error = match answered {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => break,
            };
            if errors::is_unavailable(&error) {
                self.members.leave(member);
            }
            // The first repetitions are for the other members.
            let pause = if attempt < PROMPT_RETRIES { Duration::ZERO } else { RETRY_AFTER };
            let repeats = if may_repeat { errors::is_unavailable(&error) } else { errors::was_never_sent(&error) };
            if !repeats || Instant::now() + pause >= deadline {
                return Err(errors::convert(operation, error));
            }
            sleep(pause).await;
        }
        Err(errors::too_slow(operation, self.request_timeout))
    }
}

async fn tls(config: &EtcdConfig) -> Result<Option<TlsOptions>, StoreError> {
    let Some(ca_file) = &config.ca_file else {
        if config.certificate_file.is_some() || config.key_file.is_some() {
            return Err(misconfigured("a client certificate needs ca_file too"));
        }
        return Ok(None);
    };
    let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca_file).await?));
    match (&config.certificate_file, &config.key_file) {
        (Some(certificate), Some(key)) => options = options.identity(Identity::from_pem(read(certificate).await?, read(key).await?)),
        (None, None) => {}
        _ => return Err(misconfigured("certificate_file and key_file go together")),
    }
    Ok(Some(options))
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, StoreError> {
    tokio::fs::read(path).await.map_err(|error| misconfigured(&format!("{}: {error}", path.display())))
}

fn misconfigured(reason: &str) -> StoreError {
    StoreError::Failed { operation: "configure etcd's TLS", source: reason.into() }
}
