//! Namespaces, a fake agent and a way to call the real plugin binary. All of it goes away by drop.

use nix::sched::{CloneFlags, setns};
use orknet_cni::protocol::{Answer, NodeConfiguration, Request};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A network namespace with a unique name. A test that fails says how to look at it; `ORKNET_KEEP=1` leaves it in place.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("orknet-cni-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name]);
        Self { name }
    }

    /// A namespace with node addresses of both families.
    pub fn node() -> Self {
        let node = Self::new();
        node.ip("link set lo up");
        node.ip("address add 192.0.2.1/32 dev lo");
        node.ip("address add 2001:db8::1/128 dev lo nodad");
        node
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Runs `ip` inside; its output.
    pub fn ip(&self, arguments: &str) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split(' '));
        ip(&all)
    }

    /// Runs `work` on a thread inside.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).unwrap();
        let inside = move || {
            setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to look inside (with ORKNET_KEEP=1): ip netns exec {} sh", self.name);
        }
        if std::env::var_os("ORKNET_KEEP").is_none() {
            let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
        }
    }
}

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the fake agent answers; `None` keeps the caller waiting.
pub type Behaviour = fn(&Request) -> Option<Answer>;

/// An agent that answers everything, with addresses of 10.244.1.0/24 and fd00:10:244:1::/64.
pub fn willing(request: &Request) -> Option<Answer> {
    Some(match request {
        Request::Configuration => Answer::Configuration(NodeConfiguration {
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap(), "fd00:10:244:1::/64".parse().unwrap()],
            mtu: 1450,
            gateways: vec!["169.254.1.1".parse().unwrap(), "fe80::1".parse().unwrap()],
        }),
        _ => Answer::Done,
    })
}

/// A node: its namespace, its state folder, its agent.
pub struct Node {
    pub namespace: Namespace,
    pub folder: tempfile::TempDir,
    pub requests: Arc<Mutex<Vec<Request>>>,
}

impl Node {
    /// A node whose agent is down.
    pub fn without_agent() -> Self {
        Self { namespace: Namespace::node(), folder: tempfile::tempdir().unwrap(), requests: Arc::default() }
    }

    pub fn with_agent(behaviour: Behaviour) -> Self {
        let node = Self::without_agent();
        node.start_agent(behaviour);
        node
    }

    /// The threads end with the process: they hold nothing but the socket.
    pub fn start_agent(&self, behaviour: Behaviour) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let requests = Arc::clone(&self.requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let requests = Arc::clone(&requests);
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut line = String::new();
                    BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                    let request: Request = serde_json::from_str(&line).unwrap();
                    let answer = behaviour(&request);
                    requests.lock().unwrap().push(request);
                    match answer {
                        Some(answer) => writeln!(stream, "{}", serde_json::to_string(&answer).unwrap()).unwrap(),
                        // Until the caller is gone.
                        None => drop(std::io::copy(&mut stream, &mut std::io::sink())),
                    }
                });
            }
        });
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Starts the plugin in the node's namespace; `extra` is merged into the configuration.
    pub fn start(&self, command: &str, container: &str, namespace: &str, extra: &Value) -> Child {
        let mut config = json!({
            "cniVersion": "1.1.0", "name": "orknet", "type": "orknet-cni",
            "agentSocket": self.socket(), "stateDir": self.state_dir(),
        });
        config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.namespace.name, env!("CARGO_BIN_EXE_orknet-cni")])
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", namespace)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=uid-1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
        child
    }

    /// Runs the plugin: what it printed, or the error document.
    pub fn call(&self, command: &str, container: &str, namespace: &str, extra: Value) -> Result<Value, Value> {
        outcome(self.start(command, container, namespace, &extra).wait_with_output().unwrap())
    }

    pub fn add(&self, container: &str, pod: &Namespace) -> Result<Value, Value> {
        self.call("ADD", container, pod.path().to_str().unwrap(), json!({}))
    }

    pub fn del(&self, container: &str, pod: &Namespace) -> Result<Value, Value> {
        self.call("DEL", container, pod.path().to_str().unwrap(), json!({}))
    }

    /// Nothing of any pod is left on the node.
    pub fn assert_clean(&self) {
        assert_eq!(files(&self.state_dir().join("addresses")), Vec::<String>::new());
        assert_eq!(files(&self.state_dir().join("attachments")), Vec::<String>::new());
        let links = self.namespace.ip("-o link show");
        assert!(!links.contains("ork"), "{links}");
    }
}

fn outcome(output: Output) -> Result<Value, Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    if output.status.success() { Ok(value) } else { Err(value) }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::yield_now();
    }
}
