//! A node without a kernel and a cluster without a server: namespaces that vanish with their threads, a data plane of plain maps, an
//! API of plain objects.

mod api;
mod dataplane;
pub mod nodes;

pub use api::{CLUSTER_POLICIES, FakeApi, NAMESPACES, NODES, PODS, POLICIES, SERVICES};
pub use dataplane::FakeDataplane;

use nix::sched::{CloneFlags, unshare};
use orknet_agent::{Config, Dataplane, run_with};
use orknet_cni::protocol::{Answer, Request};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Runs a test in a network namespace of its own, with a runtime whose threads are all inside.
pub fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        eprintln!("to look inside: nsenter --net=/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test());
    };
    std::thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Runs `ip` in the calling thread's namespace; its output.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until `condition` gives something.
pub async fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A running agent; stops by drop, without cleaning up, as a real one.
pub struct Agent {
    pub folder: Arc<tempfile::TempDir>,
    pub config: Config,
    _stop: DropGuard,
    pub task: JoinHandle<Result<(), orknet_agent::Error>>,
}

impl Agent {
    pub fn start(api: &FakeApi, dataplane: &Arc<FakeDataplane>) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), api, dataplane)
    }

    /// On the files of a former agent.
    pub fn start_in(folder: Arc<tempfile::TempDir>, api: &FakeApi, dataplane: &Arc<FakeDataplane>) -> Self {
        Self::start_with(folder, api, dataplane, |_| {})
    }

    /// With settings of the test's own.
    pub fn start_with(
        folder: Arc<tempfile::TempDir>,
        api: &FakeApi,
        dataplane: &Arc<FakeDataplane>,
        set: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config {
            node_name: "here".into(),
            cgroup: Some("/nowhere".into()),
            socket: folder.path().join("agent.sock"),
            state_dir: folder.path().join("state"),
            http_address: Some("127.0.0.1:0".parse().unwrap()),
            resync_seconds: 1,
            ..Config::default()
        };
        set(&mut config);
        let shutdown = CancellationToken::new();
        let dataplane: Arc<dyn Dataplane> = Arc::<FakeDataplane>::clone(dataplane);
        let task = tokio::spawn(run_with(config.clone(), api.client(), dataplane, shutdown.clone()));
        Self { folder, config, _stop: shutdown.drop_guard(), task }
    }

    /// Stops it and waits until it has.
    pub async fn stop(self) -> Arc<tempfile::TempDir> {
        drop(self._stop);
        self.task.await.unwrap().unwrap();
        self.folder
    }

    /// Asks over the socket, as the CNI plugin does.
    pub async fn ask(&self, request: &Request) -> Answer {
        self.send(&serde_json::to_string(request).unwrap()).await
    }

    /// Sends one line, again and again until an agent answers. (A child process that another test is just starting can hold a
    /// former agent's listener for a moment, which then resets the connection.)
    pub async fn send(&self, line: &str) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.exchange(line).await {
                Ok(answer) => return serde_json::from_str(&answer).unwrap(),
                Err(error) => assert!(Instant::now() < deadline && !self.task.is_finished(), "no answer: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn exchange(&self, line: &str) -> std::io::Result<String> {
        let (reader, mut writer) = UnixStream::connect(&self.config.socket).await?.into_split();
        writer.write_all(format!("{line}\n").as_bytes()).await?;
        let mut answer = String::new();
        match BufReader::new(reader).read_line(&mut answer).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(answer),
        }
    }

    /// Waits until the socket gives out addresses and all of the cluster is known.
    pub async fn configured(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let (configuration, status) = (self.ask(&Request::Configuration).await, self.ask(&Request::Status).await);
            if matches!((configuration, status), (Answer::Configuration(_), Answer::Status(status)) if status.synced) {
                return;
            }
            assert!(Instant::now() < deadline, "the agent gives out no addresses");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn state_dir(&self) -> PathBuf {
        self.config.state_dir.clone()
    }
}

/// A Node object.
pub fn node(name: &str, pod_cidrs: &[&str], internal: &[&str]) -> Value {
    let addresses: Vec<_> = internal.iter().map(|address| json!({ "type": "InternalIP", "address": address })).collect();
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "uid": format!("of-{name}") },
        "spec": { "podCIDRs": pod_cidrs }, "status": { "addresses": addresses },
    })
}

/// A Service with one port, 80.
pub fn service(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "default" },
        "spec": { "clusterIP": address, "clusterIPs": [address], "ports": [{ "name": "http", "port": 80 }] },
    })
}

/// An EndpointSlice of a Service, with ready endpoints on port 8080.
pub fn slice(service: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<_> = addresses.iter().map(|address| json!({ "addresses": [address], "conditions": { "ready": true } })).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints,
        "metadata": { "name": format!("{service}-1"), "namespace": "default", "labels": { "kubernetes.io/service-name": service } },
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    })
}
