//! A webhook: an HTTPS server with a certificate of an authority of its own, which answers as a test says and remembers what it was asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use orknet_auth::pki::{Pki, YEAR, server_tls};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How a webhook answers.
pub enum Reply {
    /// With a review that has this response; the uid is the question's unless it says one.
    Response(Value),
    /// With anything.
    Raw(u16, Bytes),
    /// Not at all.
    Silence,
}

type Answers = dyn Fn(&Value) -> Reply + Send + Sync;

pub struct HookServer {
    pub address: SocketAddr,
    pki: Pki,
    state: Arc<State>,
    _directory: TempDir,
    _task: JoinSet<()>,
}

struct State {
    answers: Box<Answers>,
    /// The requests of the reviews.
    asked: Mutex<Vec<Value>>,
    /// Path and query of each.
    paths: Mutex<Vec<String>>,
    connections: AtomicUsize,
}

impl HookServer {
    /// One that allows everything.
    pub async fn allowing() -> Self {
        Self::start(|_| Reply::Response(json!({ "allowed": true }))).await
    }

    /// One whose certificate is for `localhost`. `answers` gets the review's request.
    pub async fn start(answers: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        Self::named("localhost", answers).await
    }

    /// One whose certificate is for another name.
    pub async fn named(name: &str, answers: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let pki = Pki::open_or_create(directory.path()).expect("an authority");
        let serving = pki.issue_serving("webhook", &[name.to_owned()], &[], YEAR).expect("a certificate");
        let tls = TlsAcceptor::from(Arc::new(server_tls(pki.ca_pem(), &serving).expect("TLS")));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            answers: Box::new(answers),
            asked: Mutex::default(),
            paths: Mutex::default(),
            connections: AtomicUsize::default(),
        });
        let mut task = JoinSet::new();
        task.spawn(serve(listener, tls, state.clone()));
        Self { address, pki, state, _directory: directory, _task: task }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}/ask", self.address.port())
    }

    /// The certificate of its authority, as configurations have it.
    pub fn ca_bundle(&self) -> String {
        STANDARD.encode(self.pki.ca_pem())
    }

    /// What it was asked since the last time.
    pub fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.state.asked.lock())
    }

    /// Which paths it was asked for.
    pub fn paths(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.paths.lock())
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::SeqCst);
        let (tls, state) = (tls.clone(), state.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else { return };
            let service = service_fn(|request| answer(&state, request));
            // Clients that go away are no fault of the server.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    state.paths.lock().push(request.uri().to_string());
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let review: Value = serde_json::from_slice(&body).expect("a review");
    let question = &review["request"];
    state.asked.lock().push(question.clone());
    let (code, body) = match (state.answers)(question) {
        Reply::Response(mut response) => {
            if response.get("uid").is_none() {
                response["uid"] = question["uid"].clone();
            }
            let review = json!({ "kind": review["kind"], "apiVersion": review["apiVersion"], "response": response });
            (200, review.to_string().into())
        }
        Reply::Raw(code, body) => (code, body),
        Reply::Silence => std::future::pending().await,
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = code.try_into().expect("a code");
    response.headers_mut().insert("location", "https://localhost/elsewhere".parse().expect("a header"));
    Ok(response)
}
