//! HTTPS to those who are asked about tokens: issuers and a webhook.

use crate::admission::webhooks::client::words;
use crate::admission::webhooks::connect::Connector;
use bytes::Bytes;
use http::StatusCode;
use http::header::USER_AGENT;
use http::request::Builder;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;
use tokio::time::timeout;

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(90);
const AGENT: &str = concat!("orknet-server/", env!("CARGO_PKG_VERSION"));

/// One server. Connections to it are kept and used again.
pub struct Remote {
    pool: legacy::Client<Connector, Full<Bytes>>,
}

impl Remote {
    pub fn new(connector: Connector) -> Self {
        Self { pool: legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).build(connector) }
    }

    /// Sends a request, whose URI is whole. The answer, of whatever status, with a body of at most `most` bytes; or why there is none after `patience`.
    /// Follows no redirection.
    pub async fn send(&self, request: Builder, body: Bytes, most: usize, patience: Duration) -> Result<(StatusCode, Bytes), String> {
        let request = request.header(USER_AGENT, AGENT).body(Full::new(body)).map_err(|error| error.to_string())?;
        let exchange = async {
            let (head, body) = self.pool.request(request).await.map_err(|error| words(&error))?.into_parts();
            let body = Limited::new(body, most).collect().await.map_err(|error| {
                let too_long = error.downcast_ref::<LengthLimitError>().is_some();
                if too_long { format!("the answer has more than {most} bytes") } else { words(&*error) }
            })?;
            Ok((head.status, body.to_bytes()))
        };
        timeout(patience, exchange).await.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()))
    }
}
