//! Where the programs of a benchmark run: network namespaces, those of pods among them, all entered alike from this host, so that nothing
//! but the network differs between them.

use crate::traffic::find;
use anyhow::{Context, Result, ensure};
use orknet_tests::{Kubectl, cluster, eventually};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An image with a shell's tools, which every local cluster has.
const IMAGE: &str = "registry.orknet.local/busybox:1";
/// Enters a group and a network namespace, and becomes the command.
const ENTER: &str = "group=$1; netns=$2; shift 2; echo $$ > $group && exec nsenter --net=$netns -- \"$@\"";

/// One network namespace.
#[derive(Clone, Debug)]
pub struct Place {
    netns: PathBuf,
    /// The file that takes processes into the pod's group of cgroup v2, where the node's hooks see their sockets. Resources are not
    /// accounted to it where the host has cgroup v1 for that.
    group: Option<PathBuf>,
}

impl Place {
    /// A namespace that has a name.
    pub fn named(name: &str) -> Self {
        Self { netns: Path::new("/run/netns").join(name), group: None }
    }

    /// A pod: made here, idle, with the label `app` of its name, and removed with its cluster.
    pub fn pod(kubectl: &Kubectl, name: &str, node: &str) -> Result<Self> {
        // Nobody else on this host sleeps exactly so long: that tells the pod's process.
        let seconds = format!("{}{:03}", 1_000_000 + std::process::id(), name.bytes().map(u32::from).sum::<u32>() % 1_000);
        kubectl.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  nodeName: {node}\n  terminationGracePeriodSeconds: 0\n  \
             containers:\n  - name: c\n    image: {IMAGE}\n    command: [sleep, '{seconds}']\n"
        ))?;
        kubectl.run(&["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=60s"])?;
        // A container that has begun is another program for a moment.
        let process = eventually("the pod's process", || process_with(&format!("sleep\0{seconds}\0")))?;
        let groups = fs::read_to_string(process.join("cgroup")).context("cannot read a process's groups")?;
        let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).context("the pod is in no group of cgroup v2")?;
        let hybrid = Path::new("/sys/fs/cgroup/unified");
        let root = if hybrid.exists() { hybrid } else { Path::new("/sys/fs/cgroup") };
        Ok(Self { netns: process.join("ns/net"), group: Some(root.join(group).join("cgroup.procs")) })
    }

    /// Runs a program of this host there: its standard output.
    pub fn run(&self, command: &[&str]) -> Result<String> {
        cluster::run(&mut self.command(command))
    }

    /// Starts netserver there.
    pub fn serve(&self, control_port: u16) -> Result<Server> {
        let mut netserver = self.command(&[&find("netserver")?, "-D", "-4", "-p", &control_port.to_string()]);
        netserver.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Server(netserver.spawn().context("cannot start netserver")?))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(if self.group.is_some() { "sh" } else { "nsenter" });
        match &self.group {
            Some(group) => command.args(["-c", ENTER, "enter"]).arg(group).arg(&self.netns),
            None => command.arg(format!("--net={}", self.netns.display())).arg("--"),
        };
        command.args(arguments);
        command
    }
}

/// A netserver that ends when dropped.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The directory in /proc of the one process with exactly these arguments, each ended by a zero.
fn process_with(arguments: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // What is no process, or is one no more, has no such file.
        if fs::read(path.join("cmdline")).is_ok_and(|text| text == arguments.as_bytes()) {
            found.push(path);
        }
    }
    ensure!(found.len() == 1, "{} processes are so: {found:?}", found.len());
    found.pop().context("no process is so")
}
