//! A webhook: an HTTPS server on the loopback with a certificate of its own, which answers as a test says. One request after the other on a connection.

use anyhow::{Context, Result, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

type Answer = dyn Fn(&Value) -> Value + Send + Sync;

/// Longest body that is read, in bytes.
const LONGEST_BODY: usize = 16 << 20;

/// Listens as long as this value.
pub struct Webhook {
    address: SocketAddr,
    authority: String,
    ended: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Webhook {
    /// Keeps its key and certificate in `directory`. `answer` makes the answer's body of the question's.
    pub fn start(directory: &Path, answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Result<Self> {
        let (key, certificate) = (directory.join("webhook.key"), directory.join("webhook.pem"));
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]);
        command.args(["-subj", "/CN=webhook", "-addext", "subjectAltName=IP:127.0.0.1"]);
        let made = command.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output().context("cannot run openssl")?;
        ensure!(made.status.success(), "openssl made no certificate: {}", String::from_utf8_lossy(&made.stderr));
        let authority = std::fs::read_to_string(&certificate)?;
        let chain = vec![CertificateDer::from_pem_slice(authority.as_bytes()).context("no certificate")?];
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_no_client_auth();
        let tls = Arc::new(builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&key).context("no key")?)?);
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("there is no free port")?;
        let (address, ended, answer) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)), Arc::new(answer));
        let listening = std::thread::spawn({
            let ended = ended.clone();
            move || listen(&listener, &tls, &ended, &(answer as Arc<Answer>))
        });
        Ok(Self { address, authority, ended, listening: Some(listening) })
    }

    pub fn url(&self) -> String {
        format!("https://{}/", self.address)
    }

    /// The certificate that its own is signed by, as PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // It waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

fn listen(listener: &TcpListener, tls: &Arc<ServerConfig>, ended: &AtomicBool, answer: &Arc<Answer>) {
    for socket in listener.incoming().map_while(Result::ok) {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let (tls, answer) = (tls.clone(), answer.clone());
        // Ends with its connection, which the API server closes at its own end at the latest.
        std::thread::spawn(move || serve(socket, tls, &*answer));
    }
}

/// Answers until the client goes.
fn serve(socket: TcpStream, tls: Arc<ServerConfig>, answer: &Answer) -> Result<()> {
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(tls)?, socket));
    while let Some(question) = question(&mut stream)? {
        let body = answer(&question).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all(head.as_bytes())?;
        stream.get_mut().write_all(body.as_bytes())?;
        stream.get_mut().flush()?;
    }
    Ok(())
}

/// The next request's body; `None` when there is no more request.
fn question(stream: &mut impl BufRead) -> Result<Option<Value>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    ensure!(length <= LONGEST_BODY, "a body of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}
