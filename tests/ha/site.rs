//! Three etcd members and three API servers, each in a network namespace of its own, on one bridge; and what can happen to them.
//!
//! Servers are also reached through sockets of the host's loopback, so that a client is on the side of its server however the network is cut.

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orknet_tests::cluster::{orknet, run};
use orknet_tests::history::{Change, Revision, recorder};
use orknet_tests::https::Api;
use orknet_tests::{Kubectl, eventually, panics};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

pub const COUNT: usize = 3;
/// The member whose disk is small, in bytes: room for its two log files of 64 MB, and little more.
pub const SMALL_DISK: usize = 2;
const SMALL: &str = "size=150m,mode=0700";

/// A part of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Server(usize),
    Member(usize),
}

impl Part {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..COUNT).map(Self::Server).chain((0..COUNT).map(Self::Member))
    }

    fn name(self) -> String {
        match self {
            Self::Server(number) => format!("s{number}"),
            Self::Member(number) => format!("e{number}"),
        }
    }

    fn address(self) -> String {
        match self {
            Self::Server(number) => format!("10.99.0.{}", 11 + number),
            Self::Member(number) => format!("10.99.0.{}", 21 + number),
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Server(number) => number,
            Self::Member(number) => COUNT + number,
        }
    }
}

/// Runs as long as this value.
pub struct Site {
    /// What the names of its namespaces begin with.
    name: String,
    directory: TempDir,
    /// Of the servers, on the host's loopback.
    ports: Vec<u16>,
    /// By [`Part::place`]; `None` while it is down.
    running: Mutex<Vec<Option<Child>>>,
}

impl Site {
    /// Starts everything, and waits until every server is ready.
    pub fn start() -> Result<Self> {
        let ports = (0..COUNT).map(|_| Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())).collect::<Result<_>>()?;
        let running = Mutex::new((0..2 * COUNT).map(|_| None).collect());
        let site = Self { name: format!("ha{}", std::process::id()), directory: tempfile::tempdir()?, ports, running };
        site.wire()?;
        let disk = site.data(SMALL_DISK);
        fs::create_dir(&disk)?;
        mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some(SMALL)).context("cannot mount a small disk")?;
        (0..COUNT).try_for_each(|member| site.begin(Part::Member(member)))?;
        // The first one makes the keys of all.
        site.begin(Part::Server(0))?;
        site.wait_ready(0)?;
        site.repair()?;
        Ok(site)
    }

    /// What is down is started, what is stopped goes on, the network is whole, and all servers are ready.
    pub fn repair(&self) -> Result<()> {
        self.join()?;
        for part in Part::all() {
            if self.signal(part, Signal::SIGCONT).is_err() {
                self.begin(part)?;
            }
        }
        (0..COUNT).try_for_each(|server| self.wait_ready(server))
    }

    pub fn kubectl(&self, server: usize) -> Kubectl {
        Kubectl::new(self.kubeconfig(server))
    }

    pub fn api(&self, server: usize) -> Result<Api> {
        Api::of(&self.kubectl(server))
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&self, part: Part) -> Result<()> {
        let child = self.running()[part.place()].take();
        let mut child = child.with_context(|| format!("{part:?} does not run"))?;
        child.kill().and_then(|()| child.wait()).with_context(|| format!("cannot kill {part:?}")).map(drop)
    }

    /// Sends a signal; an error when it does not run.
    pub fn signal(&self, part: Part, signal: Signal) -> Result<()> {
        let mut running = self.running();
        let child = running[part.place()].as_mut().with_context(|| format!("{part:?} does not run"))?;
        if let Some(status) = child.try_wait()? {
            running[part.place()] = None;
            bail!("{part:?} has ended: {status}");
        }
        kill(Pid::from_raw(i32::try_from(child.id())?), signal).with_context(|| format!("cannot signal {part:?}"))
    }

    /// Waits until it has ended by itself.
    pub fn ended(&self, part: Part) -> Result<()> {
        eventually("it to end", || {
            let is_running = self.signal(part, Signal::SIGCONT).is_ok();
            ensure!(!is_running, "{part:?} runs");
            Ok(())
        })
    }

    /// No packet passes any more between those on the one side and those on the other.
    pub fn cut(&self, side: &[Part], other: &[Part]) -> Result<()> {
        let addresses = |parts: &[Part]| parts.iter().map(|part| part.address()).collect::<Vec<_>>().join(", ");
        for (here, there) in [(side, other), (other, side)] {
            for part in here {
                let there = addresses(there);
                let rules = format!(
                    "table ip cut {{ chain in {{ type filter hook input priority 0; ip saddr {{ {there} }} drop; }}
                     chain out {{ type filter hook output priority 0; ip daddr {{ {there} }} drop; }}
                     }}"
                );
                let file = self.directory.path().join(format!("{}.nft", part.name()));
                fs::write(&file, rules)?;
                run(self.enter(&part.name()).args(["nft", "-f"]).arg(&file))?;
            }
        }
        Ok(())
    }

    /// Packets pass again.
    pub fn join(&self) -> Result<()> {
        for part in Part::all() {
            // There may be no table.
            let _ = self.enter(&part.name()).args(["nft", "delete", "table", "ip", "cut"]).stderr(Stdio::null()).status()?;
        }
        Ok(())
    }

    /// The member that leads, as those say that answer.
    pub fn leading_member(&self) -> Result<usize> {
        eventually("etcd to have a leader", || {
            for member in 0..COUNT {
                let url = client_url(member);
                let mut ask = self.etcdctl(&url);
                let Ok(said) = run(ask.args(["--command-timeout=2s", "endpoint", "status", "-w", "json"])) else { continue };
                let status: Value = serde_json::from_str(&said)?;
                let status = &status[0]["Status"];
                if status["leader"] == status["header"]["member_id"] && status["leader"].is_number() {
                    return Ok(member);
                }
            }
            bail!("nobody leads")
        })
    }

    /// Fills the small disk. What takes the room is removed by [`Site::empty_disk`].
    pub fn fill_disk(&self) -> Result<()> {
        let mut file = File::create(self.data(SMALL_DISK).join("ballast"))?;
        let block = vec![0u8; 64 << 10];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        Ok(())
    }

    pub fn empty_disk(&self) -> Result<()> {
        fs::remove_file(self.data(SMALL_DISK).join("ballast")).context("the ballast is not there")
    }

    /// All that etcd has of the ConfigMaps of a namespace from one revision to another, as its own client tells it. The last one is of such an object.
    pub fn truth(&self, namespace: &str, after: Revision, until: Revision) -> Result<Vec<Change>> {
        let prefix = format!("/orknet/data//registry/core/configmaps/{namespace}/");
        let endpoints: Vec<String> = (0..COUNT).map(client_url).collect();
        let mut command = self.etcdctl(&endpoints.join(","));
        command.args(["watch", "--prefix", &prefix, &format!("--rev={after}"), "-w", "json"]).stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn().context("cannot run etcdctl")?;
        let output = BufReader::new(child.stdout.take().context("etcdctl has an output")?);
        let mut changes = Vec::new();
        for line in output.lines() {
            let answer: Value = serde_json::from_str(&line?).context("etcdctl speaks no JSON")?;
            ensure!(answer["CompactRevision"].as_u64().unwrap_or(0) == 0, "the history was compacted: {answer}");
            for event in answer["Events"].as_array().context("events")? {
                changes.extend(change(event, &prefix)?);
            }
            if changes.last().is_some_and(|last: &Change| last.revision >= until) {
                break;
            }
        }
        child.kill()?;
        child.wait()?;
        changes.retain(|change| recorder::is_ours(&change.key));
        Ok(changes)
    }

    /// For a person to read after a failure.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let logs = Part::all().map(|part| {
            let log = fs::read_to_string(self.log(part)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("--- {part:?}\n{}\n", lines[lines.len().saturating_sub(12)..].join("\n"))
        });
        let logs: String = logs.collect();
        error.context(logs)
    }

    /// Namespaces, bridge, wires.
    fn wire(&self) -> Result<()> {
        let hub = self.netns("hub");
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "bridge0", "type", "bridge", "forward_delay", "0"])?;
        ip(&["-n", &hub, "addr", "add", "10.99.0.1/24", "dev", "bridge0"])?;
        for device in ["lo", "bridge0"] {
            ip(&["-n", &hub, "link", "set", device, "up"])?;
        }
        for part in Part::all() {
            let (name, netns) = (part.name(), self.netns(&part.name()));
            ip(&["netns", "add", &netns])?;
            ip(&["-n", &hub, "link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &netns])?;
            ip(&["-n", &hub, "link", "set", &name, "master", "bridge0", "up"])?;
            ip(&["-n", &netns, "addr", "add", &format!("{}/24", part.address()), "dev", "eth0"])?;
            for device in ["lo", "eth0"] {
                ip(&["-n", &netns, "link", "set", device, "up"])?;
            }
        }
        Ok(())
    }

    /// Starts it, not waited for.
    fn begin(&self, part: Part) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log(part)).context("cannot open a log")?;
        let mut command = self.enter(&part.name());
        let address = part.address();
        match part {
            Part::Member(number) => {
                let (client, peer) = (client_url(number), peer_url(number));
                let all: Vec<String> = (0..COUNT).map(|member| format!("e{member}={}", peer_url(member))).collect();
                command.args(["etcd", "--name", &part.name(), "--listen-client-urls", &client, "--advertise-client-urls", &client]);
                command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--initial-cluster", &all.join(",")]);
                command.arg("--data-dir").arg(self.data(number).join("data")).stdin(Stdio::null());
            }
            Part::Server(number) => {
                let listener = TcpListener::bind(("127.0.0.1", self.ports[number])).context("the server's port is taken")?;
                command.arg(orknet().get_program());
                command.args(["server", "--listen-stdin", "--listen", &format!("{address}:6443"), "--advertise-address", &address]);
                (0..COUNT).for_each(|member| {
                    command.args(["--etcd", &client_url(member)]);
                });
                command.arg("--pki-dir").arg(self.pki()).stdin(OwnedFd::from(listener));
            }
        }
        let child = command.stdout(log.try_clone()?).stderr(log).spawn().with_context(|| format!("cannot start {part:?}"))?;
        self.running()[part.place()] = Some(child);
        Ok(())
    }

    fn wait_ready(&self, server: usize) -> Result<()> {
        eventually("the server to be ready", || {
            if let Err(error) = self.signal(Part::Server(server), Signal::SIGCONT) {
                return Ok(Err(self.explain(error)));
            }
            let path = self.kubeconfig(server);
            if !path.exists() {
                let mut command = orknet();
                command.args(["credentials", "--server", &format!("https://127.0.0.1:{}", self.ports[server]), "--pki-dir"]);
                let said = run(command.arg(self.pki()).args(["user", "admin", "--group", "system:masters"]))?;
                fs::write(&path, said)?;
            }
            let answer = self.api(server)?.within(Duration::from_secs(5)).get("/readyz")?;
            ensure!(answer.code == 200, "{}", answer.text());
            Ok(Ok(()))
        })?
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Vec<Option<Child>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn etcdctl(&self, endpoints: &str) -> Command {
        let mut command = self.enter("hub");
        command.args(["etcdctl", "--endpoints", endpoints]).env("ETCDCTL_API", "3");
        command
    }

    /// A command in the namespace; it becomes the program that follows.
    fn enter(&self, name: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns(name)]);
        command
    }

    fn netns(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    fn data(&self, member: usize) -> PathBuf {
        self.directory.path().join(format!("e{member}"))
    }

    fn pki(&self) -> PathBuf {
        self.directory.path().join("pki")
    }

    fn kubeconfig(&self, server: usize) -> PathBuf {
        self.directory.path().join(format!("kubeconfig{server}"))
    }

    fn log(&self, part: Part) -> PathBuf {
        self.directory.path().join(format!("{}.log", part.name()))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for child in self.running().iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for part in Part::all() {
            panics::note(&part.name(), &fs::read_to_string(self.log(part)).unwrap_or_default());
            let _ = ip(&["netns", "delete", &self.netns(&part.name())]);
        }
        let _ = ip(&["netns", "delete", &self.netns("hub")]);
        let _ = umount2(&self.data(SMALL_DISK), MntFlags::MNT_DETACH);
    }
}

fn client_url(member: usize) -> String {
    format!("http://{}:2379", Part::Member(member).address())
}

fn peer_url(member: usize) -> String {
    format!("http://{}:2380", Part::Member(member).address())
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments)).map(drop)
}

/// Of an event as etcdctl writes it: bytes in base64, a type only for deletions.
fn change(event: &Value, prefix: &str) -> Result<Option<Change>> {
    use base64::Engine;
    let decoded =
        |text: &Value| -> Result<Vec<u8>> { Ok(base64::engine::general_purpose::STANDARD.decode(text.as_str().context("base64")?)?) };
    let kv = &event["kv"];
    let key = String::from_utf8(decoded(&kv["key"])?)?;
    let key = key.strip_prefix(prefix).with_context(|| format!("{key} is elsewhere"))?.to_owned();
    let revision = kv["mod_revision"].as_u64().context("a revision")?;
    let value = match event["type"].as_u64().unwrap_or(0) {
        0 => {
            let object: Value = serde_json::from_slice(&decoded(&kv["value"])?)?;
            Some(recorder::content(&object)?.1)
        }
        _ => None,
    };
    Ok(Some(Change { revision, key, value }))
}
