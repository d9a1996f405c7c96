//! Watches over a WebSocket, with a client that is not ours.

use crate::client::Client;
use crate::harness::{CONFIG_MAPS, TestServer, config_map};
use futures::StreamExt;
use k8s_pb::apimachinery::pkg::apis::meta::v1::WatchEvent;
use prost::Message as _;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message, handshake::client::Response};
use tokio_tungstenite::{WebSocketStream, client_async};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

async fn connect(client: &Client, path: &str, headers: &[(&'static str, &str)]) -> Result<(Socket, Response), Error> {
    let stream = TcpStream::connect(client.address).await.expect("connects");
    let stream = TlsConnector::from(client.tls.clone()).connect("localhost".try_into().expect("a name"), stream).await.expect("TLS");
    let mut request = format!("wss://localhost{path}").into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().expect("a value"));
    }
    client_async(request, stream).await
}

async fn next(socket: &mut Socket) -> Message {
    tokio::time::timeout(Duration::from_secs(20), socket.next()).await.expect("in time").expect("a message").expect("no error")
}

async fn next_event(socket: &mut Socket) -> (String, String) {
    let Message::Text(text) = next(socket).await else { panic!("no text") };
    let event: Value = serde_json::from_str(&text).expect("one event");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
}

#[tokio::test]
async fn each_event_is_a_message_of_text() {
    let server = TestServer::start().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    server.admin.post(CONFIG_MAPS, config_map("b")).await.expect(201);
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion=0&labelSelector=app");
    let (mut socket, response) = connect(&server.admin, &path, &[]).await.expect("a socket");
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (101, &"application/json".parse().expect("a value")));
    let both = [next_event(&mut socket).await.1, next_event(&mut socket).await.1];
    assert!(both.contains(&"a".to_owned()) && both.contains(&"b".to_owned()), "{both:?}");
    socket.close(None).await.expect("closes");
    assert!(
        tokio::time::timeout(Duration::from_secs(20), async { while socket.next().await.is_some_and(|message| message.is_ok()) {} })
            .await
            .is_ok()
    );
    // The end of the watch ends the socket, as do the server's own.
    let (mut socket, _) = connect(&server.admin, &format!("{path}&timeoutSeconds=1"), &[]).await.expect("a socket");
    next_event(&mut socket).await;
    next_event(&mut socket).await;
    assert!(next(&mut socket).await.is_close());
    let (mut socket, _) = connect(&server.admin, &path, &[]).await.expect("a socket");
    next_event(&mut socket).await;
    server.shutdown.cancel();
    next_event(&mut socket).await;
    assert!(next(&mut socket).await.is_close());
}

#[tokio::test]
async fn protobuf_events_are_messages_of_bytes() {
    let server = TestServer::start().await;
    let accept = [("accept", "application/vnd.kubernetes.protobuf;stream=watch")];
    let (mut socket, _) = connect(&server.admin, &format!("{CONFIG_MAPS}?watch=1"), &accept).await.expect("a socket");
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let Message::Binary(bytes) = next(&mut socket).await else { panic!("no bytes") };
    let event = WatchEvent::decode(bytes).expect("an event, without its length");
    assert_eq!(event.r#type(), "ADDED");
    assert!(event.object.expect("an object").raw().starts_with(b"k8s\0"));
}

#[tokio::test]
async fn a_browser_says_who_it_is_by_a_protocol() {
    let server = TestServer::start().await;
    let request = json!({ "spec": {} });
    let token = server.admin.post("/api/v1/namespaces/default/serviceaccounts/default/token", request).await.expect(201);
    let token = token["status"]["token"].as_str().expect("a token").to_owned();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, token);
    let role = json!({ "metadata": { "name": "reader" }, "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": "default" }] });
    server.admin.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", role).await.expect(201);
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let path = format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Da");
    let protocols = format!("base64url.bearer.authorization.k8s.io.{encoded}, base64.binary.k8s.io");
    let (mut socket, response) = connect(&server.stranger(), &path, &[("sec-websocket-protocol", &protocols)]).await.expect("a socket");
    assert_eq!(response.headers()["sec-websocket-protocol"], "base64.binary.k8s.io");
    assert_eq!(next_event(&mut socket).await, ("ADDED".to_owned(), "a".to_owned()));
}

#[tokio::test]
async fn what_is_no_stream_is_refused_as_ever() {
    let server = TestServer::start().await;
    let refused = |result: Result<(Socket, Response), Error>| match result {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{:?}", other.map(|(_, response)| response)),
    };
    assert_eq!(refused(connect(&server.admin, &format!("{CONFIG_MAPS}?watch=1&resourceVersion=x"), &[]).await), 400);
    let accept = [("accept", "application/yaml")];
    assert_eq!(refused(connect(&server.admin, &format!("{CONFIG_MAPS}?watch=1"), &accept).await), 406);
    // Only watches.
    assert_eq!(refused(connect(&server.admin, CONFIG_MAPS, &[]).await), 200);
}

/// A socket, as soon as there is a place for it: the connections of calls before have theirs until the server has seen their end.
async fn placed(server: &TestServer, path: &str) -> Socket {
    loop {
        let (client, path) = (server.admin.clone(), path.to_owned());
        if let Ok(Ok((socket, _))) = tokio::spawn(async move { connect(&client, &path, &[]).await }).await {
            return socket;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_that_was_upgraded_has_its_place_yet() {
    let server = TestServer::start_with(|config| config.connections.most_per_address = 4).await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion=0&labelSelector=app");
    let all = async {
        let mut held = Vec::new();
        for _ in 0..4 {
            let mut socket = placed(&server, &path).await;
            assert_eq!(next_event(&mut socket).await.1, "a");
            held.push(socket);
        }
        held
    };
    let held = tokio::time::timeout(Duration::from_secs(20), all).await.expect("four places");
    // One more is closed at once; one that had a place would be listened to for ten seconds.
    let mut more = TcpStream::connect(server.admin.address).await.expect("connects");
    let read = tokio::time::timeout(Duration::from_secs(5), tokio::io::AsyncReadExt::read(&mut more, &mut [0])).await;
    assert!(!matches!(read.expect("is closed at once"), Ok(1..)));
    drop(held);
    let again = tokio::time::timeout(Duration::from_secs(20), placed(&server, &path)).await;
    assert!(again.is_ok());
}
