//! HTTP/1.1 over TLS as a client that obeys no rules: any method, path, header and body, byte for byte. For what kubectl would not send.

use crate::kubectl::Kubectl;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// No answer may take longer; one that does is a hang.
const DEADLINE: Duration = Duration::from_secs(60);
/// Longest line of a head.
const LONGEST_LINE: u64 = 1 << 20;

/// An API server, and who asks it.
#[derive(Clone)]
pub struct Api {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    token: Option<String>,
    deadline: Duration,
}

/// An answer that goes on, such as a watch's.
pub struct Stream {
    connection: Connection,
    /// What was read and is no whole line yet.
    rest: Vec<u8>,
}

/// One connection, kept open between requests.
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    token: Option<String>,
}

/// A request's answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Api {
    /// As the user of kubectl's configuration, by its client certificate.
    pub fn of(kubectl: &Kubectl) -> Result<Self> {
        let config = configuration(kubectl)?;
        let user = &config["users"][0]["user"];
        let certificate =
            CertificateDer::from_pem_slice(&decoded(&user["client-certificate-data"])?).context("no certificate of a client")?;
        let key = PrivateKeyDer::from_pem_slice(&decoded(&user["client-key-data"])?).context("no key of a client")?;
        Self::with(&config, |builder| Ok(builder.with_client_auth_cert(vec![certificate], key)?))
    }

    /// Without a certificate; `token` is the bearer's, if any.
    pub fn without_certificate(kubectl: &Kubectl, token: Option<&str>) -> Result<Self> {
        let mut api = Self::with(&configuration(kubectl)?, |builder| Ok(builder.with_no_client_auth()))?;
        api.token = token.map(str::to_owned);
        Ok(api)
    }

    /// The same, with another deadline for each step of a request.
    pub fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// One request on a connection of its own.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        self.connect()?.send(method, path, headers, body)
    }

    /// GET.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], &[])
    }

    /// POST of JSON.
    pub fn post(&self, path: &str, body: &str) -> Result<Answer> {
        self.send("POST", path, &[("content-type", "application/json")], body.as_bytes())
    }

    /// Opens a connection.
    pub fn connect(&self) -> Result<Connection> {
        let socket = TcpStream::connect_timeout(&self.address, self.deadline).context("cannot connect to the API server")?;
        socket.set_read_timeout(Some(self.deadline))?;
        socket.set_write_timeout(Some(self.deadline))?;
        socket.set_nodelay(true)?;
        let client = ClientConnection::new(self.tls.clone(), ServerName::try_from("localhost")?)?;
        Ok(Connection { stream: BufReader::new(StreamOwned::new(client, socket)), token: self.token.clone() })
    }

    fn with(
        config: &Value,
        finish: impl FnOnce(rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>) -> Result<ClientConfig>,
    ) -> Result<Self> {
        let cluster = &config["clusters"][0]["cluster"];
        let url = cluster["server"].as_str().context("the configuration names no server")?;
        let address = url.strip_prefix("https://").unwrap_or(url).parse().with_context(|| format!("{url} is no address"))?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&decoded(&cluster["certificate-authority-data"])?).context("no authority")?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_root_certificates(roots);
        Ok(Self { address, tls: Arc::new(finish(builder)?), token: None, deadline: DEADLINE })
    }
}

impl Connection {
    /// Sends a request and reads the whole answer.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let sent = self.ask(method, path, headers, body);
        self.receive(method == "HEAD").with_context(|| format!("{method} {path} was sent ({sent:?}) and not answered"))
    }

    /// Sends a GET whose answer goes on, and reads its head; an error when that is no 200.
    pub fn follow(mut self, path: &str) -> Result<Stream> {
        self.ask("GET", path, &[], &[])?;
        let answer = self.head()?;
        ensure!(answer.code == 200, "{path}: {}", answer.code);
        ensure!(answer.header("transfer-encoding") == Some("chunked"), "{path}: an answer of one piece");
        Ok(Stream { connection: self, rest: Vec::new() })
    }

    /// The bytes themselves, of a connection on which nothing was asked.
    pub fn into_stream(self) -> StreamOwned<ClientConnection, TcpStream> {
        self.stream.into_inner()
    }

    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
        if let Some(token) = &self.token {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        // A server may refuse a body before it has read it, and close: what it said then is read below.
        self.write(head.as_bytes()).and_then(|()| self.write(body))
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    fn receive(&mut self, only_head: bool) -> Result<Answer> {
        let mut answer = self.head()?;
        if only_head {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            while self.chunk(&mut answer.body)? {}
            return Ok(answer);
        }
        let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
        self.read_into(&mut answer.body, length)?;
        Ok(answer)
    }

    /// Reads the next chunk; false when it was the last.
    fn chunk(&mut self, body: &mut Vec<u8>) -> Result<bool> {
        let size = usize::from_str_radix(&self.line()?, 16).context("no size of a chunk")?;
        self.read_into(body, size)?;
        self.line()?;
        Ok(size > 0)
    }

    fn head(&mut self) -> Result<Answer> {
        let status = self.line()?;
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok()).with_context(|| format!("{status:?} is no status"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').with_context(|| format!("{line:?} is no header"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Answer { code, headers, body: Vec::new() })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        (&mut self.stream).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        ensure!(line.ends_with(b"\r\n"), "the connection ended in the middle of an answer");
        line.truncate(line.len() - 2);
        Ok(String::from_utf8(line)?)
    }

    fn read_into(&mut self, body: &mut Vec<u8>, length: usize) -> Result<()> {
        let start = body.len();
        body.resize(start + length, 0);
        self.stream.read_exact(&mut body[start..]).context("the connection ended in the middle of a body")
    }
}

impl Stream {
    /// The next line; `None` at the end of the answer.
    pub fn line(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let rest = self.rest.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.rest, rest)));
            }
            if !self.connection.chunk(&mut self.rest)? {
                return Ok(None);
            }
        }
    }
}

impl Answer {
    /// The first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| &value[..])
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, of an answer with this code.
    pub fn expect(&self, code: u16) -> Result<Value> {
        ensure!(self.code == code, "{} instead of {code}: {}", self.code, self.text());
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// The message of a `Status` that refuses, with this code and reason.
    pub fn refused(&self, code: u16, reason: &str) -> Result<String> {
        let status = self.expect(code)?;
        let parts = (&status["kind"], &status["apiVersion"], &status["status"], &status["code"], &status["reason"]);
        if parts != (&"Status".into(), &"v1".into(), &"Failure".into(), &code.into(), &reason.into()) {
            bail!("no Status of {code} {reason}: {status}");
        }
        Ok(status["message"].as_str().unwrap_or_default().to_owned())
    }
}

fn configuration(kubectl: &Kubectl) -> Result<Value> {
    kubectl.json(&["config", "view", "--raw"])
}

fn decoded(text: &Value) -> Result<Vec<u8>> {
    let text = text.as_str().context("a part of the configuration is missing")?;
    base64::engine::general_purpose::STANDARD.decode(text).context("a part of the configuration is no base64")
}
