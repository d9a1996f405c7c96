//! A server of somebody else's: HTTPS with a certificate of an authority of its own, answering as a test says.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use orknet_auth::pki::{Pki, YEAR, server_tls};
use serde_json::Value;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A request: its path with the query, the credentials, the body (`Null`: none, or no JSON).
pub struct Asked {
    pub path: String,
    pub authorization: String,
    pub body: Value,
}

type Answers = dyn Fn(Asked) -> (u16, Value) + Send + Sync;

pub struct HttpsServer {
    address: SocketAddr,
    pki: Pki,
    _directory: TempDir,
    _task: JoinSet<()>,
}

impl HttpsServer {
    /// One whose certificate is for `localhost`. `answers` gets its URL, and makes what answers requests: a status and JSON.
    pub async fn start<F>(answers: impl FnOnce(String) -> F) -> Self
    where
        F: Fn(Asked) -> (u16, Value) + Send + Sync + 'static,
    {
        let directory = tempfile::tempdir().expect("a directory");
        let pki = Pki::open_or_create(directory.path()).expect("an authority");
        let serving = pki.issue_serving("server", &["localhost".to_owned()], &[], YEAR).expect("a certificate");
        let tls = TlsAcceptor::from(Arc::new(server_tls(pki.ca_pem(), &serving).expect("TLS")));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers: Arc<Answers> = Arc::new(answers(url(address)));
        let mut task = JoinSet::new();
        task.spawn(serve(listener, tls, answers));
        Self { address, pki, _directory: directory, _task: task }
    }

    pub fn url(&self) -> String {
        url(self.address)
    }

    /// The certificate of its authority.
    pub fn ca_pem(&self) -> &str {
        self.pki.ca_pem()
    }
}

fn url(address: SocketAddr) -> String {
    format!("https://localhost:{}", address.port())
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, answers: Arc<Answers>) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, answers) = (tls.clone(), answers.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else { return };
            let service = service_fn(|request| answer(&answers, request));
            // Clients that go away are no fault of the server.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(answers: &Arc<Answers>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let asked = Asked { path: head.uri.to_string(), authorization, body: serde_json::from_slice(&body).unwrap_or_default() };
    let (code, body) = answers(asked);
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = code.try_into().expect("a code");
    Ok(response)
}
