//! `orknet balance`: one address that leads to those of several API servers that answer. It passes bytes on and reads none: clients speak TLS with the
//! servers themselves. A server that is not ready any more, or says nothing, loses its connections, so that clients come anew and are led elsewhere.

use super::{daemon, server};
use anyhow::{Context, Result};
use kube::config::{Config, Kubeconfig};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Between two questions whether a server is ready, and how long its answer may take.
const ASK_EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);
/// A server has gone after so many questions without a good answer: one may be lost.
const FAILURES: u32 = 2;
/// How long making a connection may take before the next server is tried.
const CONNECT: Duration = Duration::from_secs(1);

/// Leads connections to those of several API servers that are ready: for nodes and people who name one address.
#[derive(clap::Args)]
pub struct Balance {
    /// An address to listen on; may be repeated.
    #[arg(long)]
    listen: Vec<SocketAddr>,
    /// Standard input is a socket to listen on as well.
    #[arg(long)]
    listen_stdin: bool,
    /// An API server's address and port; may be repeated.
    #[arg(long = "server", required = true)]
    servers: Vec<SocketAddr>,
    /// The authority's certificate (PEM), by which servers are known when they are asked whether they are ready.
    #[arg(long)]
    ca: PathBuf,
}

/// Runs until a signal.
pub fn run(options: Balance) -> Result<()> {
    daemon::run(|shutdown| balance(options, shutdown))
}

async fn balance(options: Balance, shutdown: CancellationToken) -> Result<()> {
    let mut listeners = Vec::new();
    for address in &options.listen {
        listeners.push(TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?);
    }
    if options.listen_stdin {
        let socket = server::stdin_socket()?;
        socket.set_nonblocking(true)?;
        listeners.push(TcpListener::from_std(socket)?);
    }
    anyhow::ensure!(!listeners.is_empty(), "--listen or --listen-stdin says where to listen");
    let servers: Arc<[Server]> = options.servers.iter().map(|address| Server::new(*address)).collect();
    let mut clients = Vec::new();
    for server in &*servers {
        clients.push(client(server.address, &options.ca).await?);
    }
    let turn = Arc::new(AtomicUsize::new(std::process::id() as usize));
    for (number, client) in clients.into_iter().enumerate() {
        let servers = servers.clone();
        tokio::spawn(async move { servers[number].ask(client).await });
    }
    for listener in listeners {
        let (servers, turn) = (servers.clone(), turn.clone());
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(lead(stream, servers.clone(), turn.fetch_add(1, Ordering::Relaxed)))),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be taken");
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
    }
    shutdown.cancelled().await;
    Ok(())
}

/// One of the servers.
struct Server {
    address: SocketAddr,
    /// Whether it answers that it is ready; taken for granted at the start.
    is_ready: watch::Sender<bool>,
}

impl Server {
    fn new(address: SocketAddr) -> Self {
        Self { address, is_ready: watch::Sender::new(true) }
    }

    /// Asks it for ever.
    async fn ask(&self, client: kube::Client) {
        let mut failures = 0;
        loop {
            let answer = async {
                let request = http::Request::get("/readyz").body(Vec::new())?;
                anyhow::Ok(client.request_text(request).await?)
            };
            let is_good = timeout(PATIENCE, answer).await.is_ok_and(|answer| answer.is_ok());
            failures = if is_good { 0 } else { failures + 1 };
            let is_ready = failures < FAILURES;
            self.is_ready.send_if_modified(|before| {
                let changed = *before != is_ready;
                if changed {
                    tracing::info!(server = %self.address, is_ready, "a server has come or gone");
                }
                *before = is_ready;
                changed
            });
            sleep(ASK_EVERY).await;
        }
    }
}

/// Whom to try, one after the other: those that are ready in turn; the others after them, since all may be starting.
fn order(ready: &[bool], turn: usize) -> Vec<usize> {
    let all = (0..ready.len()).map(|step| (turn + step) % ready.len());
    let (mut first, rest): (Vec<usize>, Vec<usize>) = all.partition(|number| ready[*number]);
    first.extend(rest);
    first
}

/// Leads one connection, until one of its ends has it, or the server goes.
async fn lead(mut stream: TcpStream, servers: Arc<[Server]>, turn: usize) {
    let ready: Vec<bool> = servers.iter().map(|server| *server.is_ready.borrow()).collect();
    for number in order(&ready, turn) {
        let mut goes = servers[number].is_ready.subscribe();
        let Ok(Ok(mut there)) = timeout(CONNECT, TcpStream::connect(servers[number].address)).await else { continue };
        let _ = (stream.set_nodelay(true), there.set_nodelay(true));
        tokio::select! {
            _ = copy_bidirectional(&mut stream, &mut there) => {}
            // One that is not ready yet may become so.
            () = async {
                let _ = goes.wait_for(|is_ready| *is_ready).await;
                let _ = goes.wait_for(|is_ready| !*is_ready).await;
            } => {}
        }
        return;
    }
}

/// A client of one server, without credentials: whether it is ready anybody may ask.
async fn client(address: SocketAddr, ca: &Path) -> Result<kube::Client> {
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "server",
        "clusters": [{"name": "server", "cluster": {
            "server": format!("https://{address}"), "tls-server-name": "kubernetes",
            "certificate-authority": ca}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "server", "context": {"cluster": "server", "user": "nobody"}}],
    });
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).context("cannot set up a client")?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?;
    kube::Client::try_from(config).context("cannot set up a client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_are_ready_come_first_and_in_turn() {
        assert_eq!(order(&[true, true, true], 1), [1, 2, 0]);
        assert_eq!(order(&[true, false, true], 1), [2, 0, 1]);
        assert_eq!(order(&[false, false], 5), [1, 0]);
    }

    /// Answers every connection with one byte.
    async fn server(byte: u8) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        use tokio::io::AsyncWriteExt;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(&[byte]).await.unwrap();
                open.push(stream);
            }
        });
        (address, task)
    }

    /// A connection through the balancer, and the byte that came.
    async fn ask(servers: &Arc<[Server]>) -> (TcpStream, u8) {
        use tokio::io::AsyncReadExt;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mine, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        tokio::spawn(lead(theirs.unwrap().0, servers.clone(), 0));
        let mut mine = mine.unwrap();
        let byte = mine.read_u8().await.unwrap();
        (mine, byte)
    }

    #[tokio::test]
    async fn a_server_that_goes_loses_its_connections_and_gets_no_more() {
        use tokio::io::AsyncReadExt;
        let ((first, _one), (second, _two)) = (server(1).await, server(2).await);
        let servers: Arc<[Server]> = [first, second].into_iter().map(Server::new).collect();
        let (mut open, byte) = ask(&servers).await;
        assert_eq!(byte, 1);
        servers[0].is_ready.send_replace(false);
        assert_eq!(open.read(&mut [0]).await.unwrap(), 0, "it is closed");
        let (mut other, byte) = ask(&servers).await;
        assert_eq!(byte, 2);
        // When nobody is ready everybody is tried, and such a connection stays.
        servers[1].is_ready.send_replace(false);
        assert_eq!(other.read(&mut [0]).await.unwrap(), 0, "it is closed");
        assert_eq!(ask(&servers).await.1, 1);
    }

    #[tokio::test]
    async fn a_server_that_refuses_is_passed_over() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (there, _task) = server(7).await;
        let servers: Arc<[Server]> = [gone, there].into_iter().map(Server::new).collect();
        assert_eq!(ask(&servers).await.1, 7);
    }
}
