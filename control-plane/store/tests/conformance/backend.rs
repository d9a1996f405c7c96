//! The two backends as the suite sees them: begun empty, opened again, and removed by drop, also when a test panics.

use crate::members::Members;
use orknet_store::embedded::{Embedded, EmbeddedConfig};
use orknet_store::etcd::{Etcd, EtcdConfig};
use orknet_store::snapshot::{Begin, SnapshotError, Source, Target};
use orknet_store::{Store, StoreConfig, StoreError};
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Whose etcd: Kubernetes runs on both, and they differ in how a watch learns that it has seen everything (`etcd/progress.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// This Debian's (12: 3.4.23).
    Debian,
    /// 3.5, which `cargo xtask setup` unpacks beside it.
    Next,
}

impl Release {
    /// The program.
    pub fn command(self) -> Command {
        match self {
            Self::Debian => Command::new("etcd"),
            Self::Next => {
                let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin");
                let paths = std::env::var_os("PATH").unwrap_or_default();
                let found = std::env::split_paths(&paths).chain([tools]).map(|folder| folder.join("etcd-3.5")).find(|path| path.exists());
                Command::new(found.expect("etcd-3.5 is in PATH or in target/tools/bin (cargo xtask setup)"))
            }
        }
    }
}

/// A store under test with what it runs on.
pub struct Fixture {
    pub store: Arc<dyn Store>,
    pub ground: Ground,
}

/// What a store runs on, which outlives it.
pub enum Ground {
    Embedded { directory: TempDir },
    Etcd { server: EtcdServer },
    Members { members: Members },
}

impl Fixture {
    pub async fn embedded() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Embedded::open(small(directory.path())).expect("the store opens");
        Self { store, ground: Ground::Embedded { directory } }
    }

    pub async fn etcd() -> Self {
        Self::etcd_of(Release::Debian).await
    }

    pub async fn etcd_of(release: Release) -> Self {
        let server = EtcdServer::start_of(release, &[]);
        let store = server.connect("/orknet").await;
        Self { store, ground: Ground::Etcd { server } }
    }

    /// An etcd whose store was restored, so that its revisions are far above etcd's own.
    pub async fn restored_etcd() -> Self {
        let server = EtcdServer::start_of(Release::Next, &[]);
        let begin = Begin { above: 1_000_000_000, again: false, from: "nothing".into() };
        let restore = orknet_store::etcd::Restore::begin(server.config("/orknet"), &begin).await.expect("a restore begins");
        let revision = restore.finish().await.expect("a restore ends");
        assert!(revision > begin.above, "{revision}");
        let store = server.connect("/orknet").await;
        Self { store, ground: Ground::Etcd { server } }
    }

    /// The store as a backup sees it, beside whoever has it open.
    pub async fn source(&self) -> Box<dyn Source> {
        self.ground.source(false).await.expect("the store is read")
    }

    /// Closes the store and opens it again; etcd itself is killed and started again in between.
    pub async fn reopen(self) -> Self {
        drop(self.store);
        match self.ground {
            Ground::Embedded { directory } => {
                let store = Embedded::open(small(directory.path())).expect("the store opens again");
                Self { store, ground: Ground::Embedded { directory } }
            }
            Ground::Etcd { mut server } => {
                server.kill();
                server.start_again();
                let store = server.connect("/orknet").await;
                Self { store, ground: Ground::Etcd { server } }
            }
            Ground::Members { mut members } => {
                members.restart();
                let store = members.connect().await;
                Self { store, ground: Ground::Members { members } }
            }
        }
    }
}

impl Ground {
    /// With `alone`, if nobody has the store open (which only a directory knows).
    pub async fn source(&self, alone: bool) -> Result<Box<dyn Source>, StoreError> {
        Ok(match self {
            Self::Embedded { directory } => Box::new(orknet_store::embedded::Reader::open(directory.path(), alone)?),
            Self::Etcd { server } => Box::new(orknet_store::etcd::Snapshot::open(server.config("/orknet")).await?),
            Self::Members { members } => Box::new(orknet_store::etcd::Snapshot::open(members.config()).await?),
        })
    }

    /// Nothing, of the same kind.
    pub fn empty_like(&self) -> Self {
        match self {
            Self::Embedded { .. } => Self::empty_embedded(),
            Self::Etcd { .. } | Self::Members { .. } => Self::empty_etcd(),
        }
    }

    /// Nothing, of the other kind.
    pub fn empty_unlike(&self) -> Self {
        match self {
            Self::Embedded { .. } => Self::empty_etcd(),
            Self::Etcd { .. } | Self::Members { .. } => Self::empty_embedded(),
        }
    }

    fn empty_embedded() -> Self {
        Self::Embedded { directory: tempfile::tempdir().expect("a directory") }
    }

    fn empty_etcd() -> Self {
        Self::Etcd { server: EtcdServer::start(&[]) }
    }

    pub async fn restore(&self, begin: &Begin) -> Result<Box<dyn Target>, SnapshotError> {
        Ok(match self {
            Self::Embedded { directory } => Box::new(orknet_store::embedded::Restore::begin(small(directory.path()), begin)?),
            Self::Etcd { server } => Box::new(orknet_store::etcd::Restore::begin(server.config("/orknet"), begin).await?),
            Self::Members { members } => Box::new(orknet_store::etcd::Restore::begin(members.config(), begin).await?),
        })
    }

    pub async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        orknet_store::open(match self {
            Self::Embedded { directory } => StoreConfig::Embedded(small(directory.path())),
            Self::Etcd { server } => StoreConfig::Etcd(server.config("/orknet")),
            Self::Members { members } => StoreConfig::Etcd(members.config()),
        })
        .await
    }
}

/// Segments and the feed are made small so that the tests cross their ends.
pub fn small(directory: &Path) -> EmbeddedConfig {
    EmbeddedConfig { segment_bytes: 16 << 10, recent_bytes: 8 << 10, ..EmbeddedConfig::new(directory) }
}

/// A real etcd with its own data, on ports of its own.
pub struct EtcdServer {
    release: Release,
    child: Child,
    directory: TempDir,
    client_port: u16,
    peer_port: u16,
    arguments: Vec<String>,
}

impl EtcdServer {
    /// Starts one; `arguments` come after the usual ones. With a certificate among them the client's URL is https.
    pub fn start(arguments: &[String]) -> Self {
        Self::start_of(Release::Debian, arguments)
    }

    pub fn start_of(release: Release, arguments: &[String]) -> Self {
        // Ports may be taken by somebody else between looking and using: etcd ends at once then, and others are tried.
        for _ in 0..10 {
            let directory = tempfile::tempdir().expect("a directory");
            let (client_port, peer_port) = (free_port(), free_port());
            let child = spawn(release, directory.path(), client_port, peer_port, arguments);
            let mut server = Self { release, child, directory, client_port, peer_port, arguments: arguments.to_vec() };
            if server.listens() {
                return server;
            }
        }
        panic!("etcd did not start");
    }

    pub fn start_again(&mut self) {
        self.child = spawn(self.release, self.directory.path(), self.client_port, self.peer_port, &self.arguments);
        assert!(self.listens(), "etcd did not start again");
    }

    pub async fn connect(&self, prefix: &str) -> Arc<dyn Store> {
        Etcd::connect(self.config(prefix)).await.expect("etcd answers")
    }

    pub fn config(&self, prefix: &str) -> EtcdConfig {
        EtcdConfig { prefix: prefix.into(), ..EtcdConfig::new([self.url()]) }
    }

    pub fn url(&self) -> String {
        let scheme = if self.arguments.iter().any(|argument| argument.starts_with("--cert-file")) { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.client_port)
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).expect("etcd takes the signal");
        // Threads that run elsewhere stop a little later.
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("etcd runs");
        let deadline = Instant::now() + Duration::from_secs(30);
        while signal == nix::sys::signal::Signal::SIGSTOP && !stat().contains(") T ") {
            assert!(Instant::now() < deadline, "etcd does not stop");
            std::thread::yield_now();
        }
    }

    /// kill -9, and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it listens; false when it ended.
    fn listens(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if self.child.try_wait().expect("a child").is_some() {
                return false;
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.client_port)).is_ok() {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        panic!("etcd does not listen; its log is {}", self.directory.path().join("log").display());
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn spawn(release: Release, directory: &Path, client_port: u16, peer_port: u16, arguments: &[String]) -> Child {
    let log = File::create(directory.join("log")).expect("a log");
    let scheme = if arguments.iter().any(|argument| argument.starts_with("--cert-file")) { "https" } else { "http" };
    let client = format!("{scheme}://127.0.0.1:{client_port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    release
        .command()
        .arg("--data-dir")
        .arg(directory.join("data"))
        .args(["--name", "test", "--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("test={peer}")])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("etcd is installed (Debian package etcd-server)")
}
