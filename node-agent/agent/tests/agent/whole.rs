//! Everything real but the API: agent, CNI plugin, BPF programs, sockets of processes in a cgroup.
//!
//! ```text
//!   client (in the node's cgroup)            server
//!   pod a ── veth ── node's namespace ── veth ── pod b 10.244.1.3:8080
//!            connect 10.96.0.1:80 → translated by the socket hook
//! ```

use crate::harness::{Agent, FakeApi, eventually, in_namespace, ip, node, service, slice};
use nix::sched::{CloneFlags, setns, unshare};
use orknet_agent::{Config, Dataplane, cleanup, run_with};
use orknet_cni::protocol::{Answer, Request};
use orknet_dataplane::Reader;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A namespace that lives as long as a parked thread in it.
pub struct PodNamespace {
    path: PathBuf,
    _park: mpsc::Sender<()>,
}

impl PodNamespace {
    pub fn new() -> Self {
        let (park, parked) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            tell.send(nix::unistd::gettid()).unwrap();
            let _ = parked.recv();
        });
        let thread = told.recv().unwrap();
        Self { path: format!("/proc/{}/task/{thread}/ns/net", std::process::id()).into(), _park: park }
    }

    /// Does something inside, such as opening a socket.
    pub fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(File::open(&self.path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            act()
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    pub fn listen(&self, address: IpAddr) -> TcpListener {
        self.run(|| TcpListener::bind(SocketAddr::new(address, 8080)).unwrap())
    }

    /// A datagram socket that is bound to port 8080.
    pub fn bind(&self, address: IpAddr) -> UdpSocket {
        self.run(|| UdpSocket::bind(SocketAddr::new(address, 8080)).unwrap())
    }
}

/// A cgroup for the node's processes.
pub struct Cgroup(PathBuf);

impl Cgroup {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(mount.split(' ').nth(1).unwrap()).join(format!("orknet-agent-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A shell script in the cgroup and in a pod's namespace.
    pub fn spawn(&self, pod: &PodNamespace, script: &str) -> Child {
        let enter = format!("echo $$ > {}/cgroup.procs && exec nsenter --net={} bash -c \"$0\"", self.0.display(), pod.path.display());
        Command::new("bash")
            .args(["-c", &enter, script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A test that failed leaves processes, and a group is busy until the last one is gone.
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let deadline = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.0).is_err() && self.0.exists() && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
}

/// Programs and pins of a test that failed on its way.
pub struct CleanUp(pub Config);

impl Drop for CleanUp {
    fn drop(&mut self) {
        let _ = orknet_dataplane::cleanup(&self.0.dataplane.pin_dir);
    }
}

pub struct RealAgent {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), orknet_agent::Error>>,
}

impl RealAgent {
    pub fn start(config: &Config, api: &FakeApi) -> Self {
        let dataplane: Arc<dyn Dataplane> = Arc::new(orknet_dataplane::Dataplane::open(&config.dataplane).unwrap());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run_with(config.clone(), api.client(), dataplane, shutdown.clone()));
        Self { shutdown, task }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// The plugin, called as containerd would for what is no pod of the API.
pub async fn plugin(config: &Config, command: &'static str, container: &'static str, pod: &PodNamespace) -> Result<Value, String> {
    plugin_for(config, command, container, pod, None).await
}

/// The plugin, called as containerd would; `args` is `CNI_ARGS`.
pub async fn plugin_for(
    config: &Config,
    command: &'static str,
    container: &'static str,
    pod: &PodNamespace,
    args: Option<String>,
) -> Result<Value, String> {
    let input = json!({
        "cniVersion": "1.0.0", "name": "orknet", "type": "orknet-cni", "agentSocket": config.socket, "stateDir": config.state_dir,
    });
    let path = pod.path.display().to_string();
    let call = move || {
        let variable = |name: &str| match name {
            "CNI_COMMAND" => Some(command.to_owned()),
            "CNI_CONTAINERID" => Some(container.to_owned()),
            "CNI_IFNAME" => Some("eth0".to_owned()),
            "CNI_NETNS" => Some(path.clone()),
            "CNI_ARGS" => args.clone(),
            _ => None,
        };
        orknet_cni::run(&variable, input.to_string().as_bytes())
    };
    let printed = tokio::task::spawn_blocking(call).await.unwrap().map_err(|error| error.to_string())?;
    Ok(if printed.is_empty() { Value::Null } else { serde_json::from_str(&printed).unwrap() })
}

/// ADD, tried again as kubelet does.
pub async fn add(config: &Config, container: &'static str, pod: &PodNamespace) -> Vec<IpAddr> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let result = loop {
        match plugin(config, "ADD", container, pod).await {
            Ok(result) => break result,
            Err(error) => assert!(error.contains("agent") && Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let ips = result["ips"].as_array().unwrap();
    ips.iter().map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap()).collect()
}

pub fn config(folder: &Path, cgroup: &Cgroup) -> Config {
    let mut config = Config {
        node_name: "here".into(),
        cgroup: Some(cgroup.0.clone()),
        socket: folder.join("agent.sock"),
        state_dir: folder.join("state"),
        ..Config::default()
    };
    config.dataplane.pin_dir = folder.join("bpf");
    config
}

pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(false).unwrap();
    listener.accept().unwrap().0
}

#[test]
fn root_a_pod_reaches_another_through_its_service_and_a_restart_disturbs_nothing() {
    in_namespace(|| async {
        let (folder, cgroup) = (tempfile::tempdir().unwrap(), Cgroup::new());
        let config = config(folder.path(), &cgroup);
        let _clean_up = CleanUp(config.clone());
        let api = FakeApi::new();
        api.put(node("here", &["10.244.1.0/24", "fd00:10:244:1::/64"], &["192.0.2.1"]));
        api.put(service("web", "10.96.0.1"));
        let agent = RealAgent::start(&config, &api);
        let (a, b) = (PodNamespace::new(), PodNamespace::new());
        add(&config, "a", &a).await;
        let addresses = add(&config, "b", &b).await;
        let address = addresses[0];

        // No endpoints yet: refused at once. So is a port that the Service has not.
        for port in [80, 81] {
            let refused = cgroup.spawn(&a, &format!("exec 3<>/dev/tcp/10.96.0.1/{port}")).wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(said.contains("Connection refused"), "port {port}: {said}");
        }

        api.put(slice("web", &[&address.to_string()]));
        let listener = b.listen(address);
        let pins = config.dataplane.pin_dir.clone();
        let in_maps = || Reader::open(&pins).unwrap().image().unwrap();
        eventually("the backend is in the maps", || (!in_maps().backends.is_empty()).then_some(())).await;
        let mut client = cgroup.spawn(&a, "exec 3<>/dev/tcp/10.96.0.1/80; cat <&3");
        let mut server = accept(&listener);
        server.write_all(b"before\n").unwrap();
        let mut lines = BufReader::new(client.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "before\n");

        let before = in_maps();
        agent.stop().await;
        assert_eq!(in_maps(), before);
        let agent = RealAgent::start(&config, &api);
        server.write_all(b"after\n").unwrap();
        line.clear();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "after\n");
        let c = PodNamespace::new();
        add(&config, "c", &c).await;
        let mut second = cgroup.spawn(&c, "exec 3<>/dev/tcp/10.96.0.1/80; cat <&3");
        accept(&listener).write_all(b"new\n").unwrap();
        let mut said = String::new();
        second.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "new\n");
        second.wait().unwrap();
        drop(server);
        client.wait().unwrap();

        // The same over IPv6, from a pod to itself included.
        api.put(service("web6", "fd00:10:96::1"));
        let mut of_family = slice("web6", &[&addresses[1].to_string()]);
        of_family["addressType"] = "IPv6".into();
        api.put(of_family);
        eventually("the other family is in the maps", || (in_maps().backends.len() == 2).then_some(())).await;
        let listener = b.listen(addresses[1]);
        for pod in [&a, &b] {
            let client = cgroup.spawn(pod, "exec 3<>/dev/tcp/fd00:10:96::1/80; cat <&3");
            accept(&listener).write_all(b"six\n").unwrap();
            assert_eq!(client.wait_with_output().unwrap().stdout, b"six\n");
        }

        for (container, pod) in [("a", &a), ("b", &b), ("c", &c)] {
            plugin(&config, "DEL", container, pod).await.unwrap();
        }
        assert!(in_maps().pods.is_empty());
        assert!(!ip("-o link show").replace("orknet", "").contains("ork"), "of the devices only the agent's own are left");
        agent.stop().await;
        cleanup(&config).await.unwrap();
        assert!(!config.dataplane.pin_dir.exists());
    });
}

#[test]
fn root_a_full_map_costs_what_does_not_fit_and_a_larger_one_takes_over() {
    in_namespace(|| async {
        let (folder, cgroup) = (tempfile::tempdir().unwrap(), Cgroup::new());
        let mut config = config(folder.path(), &cgroup);
        let _clean_up = CleanUp(config.clone());
        // A Service has two entries: one for its address, one for its port.
        config.dataplane.capacities = BTreeMap::from([("SERVICES".to_owned(), 4)]);
        let pins = config.dataplane.pin_dir.clone();
        let api = FakeApi::new();
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        for (name, address) in [("a", "10.96.0.1"), ("b", "10.96.0.2"), ("c", "10.96.0.3")] {
            api.put(service(name, address));
            api.put(slice(name, &["10.244.1.9"]));
        }
        // How many backends each Service in the maps has.
        let shown = || -> Vec<(String, u32)> {
            let rows = Reader::open(&pins).unwrap().image().unwrap().service_rows();
            rows.iter().filter(|row| !row.protocol.is_empty()).map(|row| (row.address.to_string(), row.count)).collect()
        };
        let becomes = async |wanted: &[(&str, u32)]| {
            let wanted: Vec<_> = wanted.iter().map(|(address, count)| ((*address).to_owned(), *count)).collect();
            eventually(&format!("the maps to be {wanted:?}"), || (shown() == wanted).then_some(())).await;
        };
        let agent = RealAgent::start(&config, &api);
        becomes(&[("10.96.0.1", 1), ("10.96.0.2", 1)]).await;
        let told = || api.condition("here", "NetworkMapsFull").filter(|condition| condition["status"] == "True");
        let condition = eventually("the node says so", told).await;
        assert_eq!(condition["message"].as_str().unwrap().rsplit(' ').next(), Some("default/c"), "{condition}");
        // What is in goes on being followed, and what goes makes room.
        api.put(slice("b", &["10.244.1.8", "10.244.1.9"]));
        becomes(&[("10.96.0.1", 1), ("10.96.0.2", 2)]).await;
        api.delete(&slice("a", &[]));
        api.delete(&service("a", "10.96.0.1"));
        becomes(&[("10.96.0.2", 2), ("10.96.0.3", 1)]).await;

        api.put(service("d", "10.96.0.4"));
        agent.stop().await;
        config.dataplane.capacities = BTreeMap::from([("SERVICES".to_owned(), 100)]);
        let agent = RealAgent::start(&config, &api);
        becomes(&[("10.96.0.2", 2), ("10.96.0.3", 1), ("10.96.0.4", 0)]).await;
        let aside = pins.join(format!("v{}-1", orknet_abi::ABI_VERSION));
        eventually("the small maps go", || (!aside.exists()).then_some(())).await;
        eventually("the node no longer says so", || told().is_none().then_some(())).await;
        agent.stop().await;
        cleanup(&config).await.unwrap();
    });
}

#[test]
fn root_an_agent_loads_nothing_while_another_one_serves() {
    in_namespace(|| async {
        let (folder, cgroup) = (tempfile::tempdir().unwrap(), Cgroup::new());
        let config = config(folder.path(), &cgroup);
        let _clean = CleanUp(config.clone());
        let api = FakeApi::new();
        let first = Agent::start_with(Arc::new(tempfile::tempdir().unwrap()), &api, &Arc::default(), |first| {
            first.socket.clone_from(&config.socket);
        });
        assert!(matches!(first.ask(&Request::Status).await, Answer::Status(_)));
        let second = orknet_agent::run(config.clone(), api.client(), CancellationToken::new()).await;
        assert!(matches!(second, Err(orknet_agent::Error::Socket { .. })), "{second:?}");
        assert!(!config.dataplane.pin_dir.exists());
    });
}
