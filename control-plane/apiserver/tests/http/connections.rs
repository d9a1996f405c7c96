//! Connections over HTTP/2 that the server ends by itself.

use crate::harness::TestServer;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// A connection, and what completes at its end.
async fn connect(server: &TestServer) -> (SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(server.admin.address).await.expect("connects");
    let name = "localhost".try_into().expect("a name");
    let stream = TlsConnector::from(server.admin.tls.clone()).connect(name, stream).await.expect("TLS");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    (sender, tokio::spawn(connection))
}

async fn get(sender: &mut SendRequest<Empty<Bytes>>) -> hyper::Result<StatusCode> {
    let request = Request::get("https://localhost/api/v1/namespaces/default").body(Empty::new()).expect("a request");
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    answer.into_body().collect().await?;
    Ok(status)
}

async fn ends(connection: JoinHandle<hyper::Result<()>>) -> bool {
    tokio::time::timeout(Duration::from_secs(20), connection).await.is_ok_and(|ended| ended.is_ok_and(|ended| ended.is_ok()))
}

#[tokio::test]
async fn a_request_may_end_its_connection_in_good_order() {
    // Surely; as a setting it is at most one in fifty.
    let server = TestServer::start_with(|config| config.connections.goaway_chance = 1.0).await;
    let (mut sender, connection) = connect(&server).await;
    assert_eq!(get(&mut sender).await.expect("an answer"), StatusCode::OK);
    assert!(ends(connection).await);
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_for_is_closed() {
    let server = TestServer::start_with(|config| config.connections.idle_seconds = 1).await;
    let (mut sender, connection) = connect(&server).await;
    assert_eq!(get(&mut sender).await.expect("an answer"), StatusCode::OK);
    assert!(ends(connection).await);
}

#[tokio::test]
async fn others_stay_open() {
    let server = TestServer::start().await;
    let (mut sender, connection) = connect(&server).await;
    for _ in 0..50 {
        assert_eq!(get(&mut sender).await.expect("an answer"), StatusCode::OK);
    }
    assert!(!connection.is_finished());
}
