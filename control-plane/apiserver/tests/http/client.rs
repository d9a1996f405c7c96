//! A small HTTPS client: one connection a request, JSON in and out.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Nothing in these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub tls: Arc<rustls::ClientConfig>,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
}

/// An answer, with its body parsed as JSON (or `Null`).
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
    pub bytes: Bytes,
}

/// An open watch.
pub struct Watch {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Client {
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", Bytes::new()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "", Bytes::new()).await
    }

    pub async fn delete_with(&self, path: &str, options: Value) -> Answer {
        self.send("DELETE", path, "application/json", options.to_string()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, "application/json", body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, "application/json", body.to_string()).await
    }

    pub async fn patch(&self, path: &str, kind: &str, body: Value) -> Answer {
        self.send("PATCH", path, kind, body.to_string()).await
    }

    pub async fn send(&self, method: &str, path: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
        let sending = async {
            let response = self.open(method, path, content_type, body.into()).await;
            let (head, body) = response.into_parts();
            let bytes = body.collect().await.expect("the whole answer").to_bytes();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Answer { status: head.status, headers: head.headers, body: serde_json::from_slice(&bytes).unwrap_or_default(), text, bytes }
        };
        tokio::time::timeout(DEADLINE, sending).await.expect("an answer in time")
    }

    pub async fn watch(&self, path: &str) -> Watch {
        let response = self.open("GET", path, "", Bytes::new()).await;
        assert_eq!(response.status(), StatusCode::OK);
        Watch { body: response.into_body(), buffer: Vec::new() }
    }

    async fn open(&self, method: &str, path: &str, content_type: &str, body: Bytes) -> http::Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let name = "localhost".try_into().expect("a name");
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await.expect("TLS");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        sender.send_request(request.body(Full::new(body)).expect("a request")).await.expect("an answer")
    }
}

impl Watch {
    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        let reading = async {
            loop {
                if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.buffer.drain(..=end).collect();
                    return Some(serde_json::from_slice(&line).expect("JSON"));
                }
                let frame = self.body.frame().await?.expect("a frame");
                if let Ok(data) = frame.into_data() {
                    self.buffer.extend_from_slice(&data);
                }
            }
        };
        tokio::time::timeout(DEADLINE, reading).await.expect("an event in time")
    }

    /// The next frame of a stream that gives each its length in four bytes before it.
    pub async fn next_frame(&mut self) -> Option<Vec<u8>> {
        let reading = async {
            loop {
                if let Some((length, rest)) = self.buffer.split_first_chunk::<4>() {
                    let length = u32::from_be_bytes(*length) as usize;
                    if rest.len() >= length {
                        return Some(self.buffer.drain(..4 + length).skip(4).collect());
                    }
                }
                let frame = self.body.frame().await?.expect("a frame");
                if let Ok(data) = frame.into_data() {
                    self.buffer.extend_from_slice(&data);
                }
            }
        };
        tokio::time::timeout(DEADLINE, reading).await.expect("a frame in time")
    }

    /// The next event's type and the object's name.
    pub async fn next_named(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

impl Answer {
    /// The object, of an answer that must have this code.
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.status.as_u16(), code, "{}", self.text);
        self.body
    }

    /// What it warns of.
    pub fn warnings(&self) -> Vec<String> {
        self.headers.get_all("warning").iter().map(|value| value.to_str().expect("text").to_owned()).collect()
    }

    /// The `Status`, of an answer that must have this code and reason.
    pub fn refused(self, code: u16, reason: &str) -> String {
        assert_eq!((self.status.as_u16(), self.body["reason"].as_str()), (code, Some(reason)), "{}", self.text);
        assert_eq!((&self.body["kind"], &self.body["status"]), (&"Status".into(), &"Failure".into()));
        assert_eq!(self.body["code"], code);
        self.body["message"].as_str().expect("a message").to_owned()
    }
}
