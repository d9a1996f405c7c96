//! The HTTPS client for webhooks of all sorts: admission, conversion of custom resources, reviews. Connections are kept and used again.

use super::connect::{ConnectError, Connector};
use super::destination::Destination;
use crate::cache::Caches;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Most destinations whose connections are kept.
const MOST: usize = 200;
/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(90);
const AGENT: &str = concat!("orknet-server/", env!("CARGO_PKG_VERSION"));

type Pool = legacy::Client<Connector, Full<Bytes>>;

/// A call that brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// HTTP status that says what kind of failure it is: what the webhook answered; 503 where it did not answer.
    pub code: u16,
    /// `Post "https://…": dial tcp …`, as kube-apiserver says it.
    pub message: String,
}

/// See the module. Cheap to ask from many tasks.
pub struct Client {
    caches: Arc<Caches>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// With the time of its last use.
    pools: HashMap<Destination, (Pool, u64)>,
    clock: u64,
}

impl Client {
    /// `caches`: where Services and their endpoints are looked up.
    pub fn new(caches: Arc<Caches>) -> Self {
        Self { caches, kept: Mutex::default() }
    }

    /// Posts JSON and gives back the body of a 2xx answer of at most `most` bytes. Follows no redirection. All of it takes no longer than `patience`,
    /// of which the webhook is told. The outer error is about the destination itself: nothing has been sent.
    pub async fn post(&self, to: &Destination, body: Bytes, most: usize, patience: Duration) -> Result<Result<Bytes, CallError>, String> {
        let pool = self.pool(to)?;
        let url = format!("{}{}?timeout={}s", to.origin(), to.path, patience.as_secs_f64().ceil());
        let request = Request::builder()
            .method(Method::POST)
            .uri(&url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, */*")
            .header(USER_AGENT, AGENT)
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let fail = |why: &dyn std::fmt::Display| CallError { code: 503, message: format!("Post {url:?}: {why}") };
        let exchange = async {
            let (head, body) = pool.request(request).await.map_err(|error| fail(&words(&error)))?.into_parts();
            let body = Limited::new(body, most).collect().await.map_err(|error| {
                let too_long = error.downcast_ref::<LengthLimitError>().is_some();
                if too_long { fail(&format_args!("the answer has more than {most} bytes")) } else { fail(&words(&*error)) }
            })?;
            let body = body.to_bytes();
            if head.status.is_success() { Ok(body) } else { Err(refused(head.status, &body)) }
        };
        Ok(timeout(patience, exchange).await.unwrap_or_else(|_| Err(fail(&"context deadline exceeded"))))
    }

    /// The connections to a destination. Those that have not been used for the longest time go when there are many.
    fn pool(&self, to: &Destination) -> Result<Pool, String> {
        let mut kept = self.kept.lock();
        kept.clock += 1;
        let now = kept.clock;
        if let Some((pool, used)) = kept.pools.get_mut(to) {
            *used = now;
            return Ok(pool.clone());
        }
        let connector = Connector::new(to.clone(), self.caches.clone())?;
        let pool = legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).build(connector);
        if kept.pools.len() >= MOST
            && let Some(oldest) = kept.pools.iter().min_by_key(|(_, (_, used))| *used).map(|(to, _)| to.clone())
        {
            kept.pools.remove(&oldest);
        }
        kept.pools.insert(to.clone(), (pool.clone(), now));
        Ok(pool)
    }
}

/// The cause at the bottom; the library's own words above it say nothing that the reader does not know.
pub fn words(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    loop {
        if let Some(error) = last.downcast_ref::<ConnectError>() {
            return error.to_string();
        }
        if last.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return "EOF".to_owned();
        }
        match last.source() {
            Some(source) => last = source,
            None => return last.to_string(),
        }
    }
}

/// What client-go makes of an answer that is no success.
fn refused(status: StatusCode, body: &[u8]) -> CallError {
    let code = status.as_u16();
    let message = match code {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => String::from_utf8_lossy(&body[..body.len().min(1024)]).trim().to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        406 => "the server was unable to respond with a content type that the client supports".to_owned(),
        409 => "the server reported a conflict".to_owned(),
        410 => "the resource has expired".to_owned(),
        413 => "the server responded with the status code 413 but did not return more information".to_owned(),
        415 => "the body of the request was in an unknown format".to_owned(),
        422 => "the server rejected our request due to an error in our request".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request".to_owned(),
        500.. => {
            let text = String::from_utf8_lossy(&body[..body.len().min(1024)]);
            format!("an error on the server ({:?}) has prevented the request from succeeding", text.trim())
        }
        _ => format!("the server responded with the status code {code} but did not return more information"),
    };
    CallError { code, message }
}
