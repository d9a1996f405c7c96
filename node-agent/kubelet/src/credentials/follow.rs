//! A client of the API whose credentials are those of a kubeconfig file as it is now: when the file is replaced, later requests are made with what
//! it says then. Requests and watches that are under way go on over the connection that they have.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use kube::Client;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::Mutex;
use tower::Service;

use crate::error::Error;

/// How often the file is looked at, at most: a request that comes later looks first.
const LOOK: Duration = Duration::from_secs(2);

/// A client by the kubeconfig at `path`, which calls itself `user_agent`. Does not connect yet. Call it inside of a runtime.
///
/// # Errors
/// The file is missing or cannot be used. Later that is none: what was good before is used on.
pub async fn client(path: &Path, user_agent: HeaderValue) -> Result<Client, Error> {
    following(path, user_agent, LOOK).await
}

/// The same, looking at the file as often as told.
pub async fn following(path: &Path, user_agent: HeaderValue, look: Duration) -> Result<Client, Error> {
    let seen = mark(path);
    let client = open(path, &user_agent).await?;
    let namespace = client.default_namespace().to_owned();
    let state = Mutex::new(State { client, seen, looked: Instant::now() });
    let service = Followed(Arc::new(Shared { path: path.to_owned(), user_agent, look, state }));
    Ok(Client::new(service, namespace))
}

/// A client by what the file says now.
pub async fn open(path: &Path, user_agent: &HeaderValue) -> Result<Client, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Invalid(format!("{} cannot be used: {error}", path.display()));
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| wrong(&error))?;
    config.headers.push((http::header::USER_AGENT, user_agent.clone()));
    Client::try_from(config).map_err(|error| wrong(&error))
}

struct Shared {
    path: PathBuf,
    user_agent: HeaderValue,
    look: Duration,
    state: Mutex<State>,
}

struct State {
    client: Client,
    /// The file of which that is.
    seen: Option<Mark>,
    looked: Instant,
}

/// By what a file is known to be another one: device, inode, time of its last change in nanoseconds, length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark(u64, u64, i64, i64, u64);

/// `None` when there is no file.
fn mark(path: &Path) -> Option<Mark> {
    let found = std::fs::metadata(path).ok()?;
    Some(Mark(found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
}

impl Shared {
    /// The client by the file as it is now, or by what it was when it is missing or wrong.
    async fn current(&self) -> Client {
        let mut state = self.state.lock().await;
        if state.looked.elapsed() >= self.look {
            state.looked = Instant::now();
            // Before it is read: what is written meanwhile is seen by the next look.
            let seen = mark(&self.path);
            if seen.is_some() && seen != state.seen {
                match open(&self.path, &self.user_agent).await {
                    Ok(client) => {
                        tracing::info!(path = %self.path.display(), "credentials were replaced; the new ones are used");
                        (state.client, state.seen) = (client, seen);
                    }
                    Err(error) => tracing::warn!(%error, "credentials were replaced by what is of no use; the old ones are used on"),
                }
            }
        }
        state.client.clone()
    }
}

#[derive(Clone)]
struct Followed(Arc<Shared>);

impl Service<Request<Body>> for Followed {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, kube::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = self.0.clone();
        async move { shared.current().await.send(request).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::extract::Path as Segment;
    use axum::http::HeaderMap;
    use axum::routing::get;
    use tokio::net::TcpListener;

    /// A server that answers with the number that it is and who asks.
    async fn server(number: u32) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = move |Segment(path): Segment<String>, headers: HeaderMap| async move {
            let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
            format!("{number} {path} {} {}", header("authorization"), header("user-agent"))
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/{*path}", get(answer))).await });
        url
    }

    fn write(path: &Path, server: &str, token: &str) {
        let text = format!(
            "clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u, namespace: n}}}}]\n\
             users: [{{name: u, user: {{token: {token}}}}}]\ncurrent-context: c\n"
        );
        crate::credentials::files::write(path, &text).unwrap();
    }

    async fn ask(client: &Client) -> String {
        client.request_text(Request::get("/a/b").body(Vec::new()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn requests_are_made_with_what_the_file_says_then() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubeconfig");
        let agent = HeaderValue::from_static("part/v1");
        assert!(following(&path, agent.clone(), Duration::ZERO).await.is_err(), "there is no file");
        let (first, second) = (server(1).await, server(2).await);
        write(&path, &first, "one");
        let client = following(&path, agent, Duration::ZERO).await.unwrap();
        assert_eq!(client.default_namespace(), "n");
        assert_eq!(ask(&client).await, "1 a/b Bearer one part/v1");
        write(&path, &second, "two");
        assert_eq!(ask(&client).await, "2 a/b Bearer two part/v1");
        // Of no use, then gone: what was good is used on.
        std::fs::write(&path, "clusters: 7\n").unwrap();
        assert_eq!(ask(&client).await, "2 a/b Bearer two part/v1");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(ask(&client).await, "2 a/b Bearer two part/v1");
        write(&path, &first, "three");
        assert_eq!(ask(&client).await, "1 a/b Bearer three part/v1");
    }
}
