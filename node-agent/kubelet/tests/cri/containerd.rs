//! A containerd of its own, in a network namespace of its own, with a CNI plugin that gives every pod a loopback address. Dropping it
//! removes everything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::image;

/// Brings up the namespace's loopback and answers with an address on it. Also stands in for the plugin named loopback.
const PLUGIN: &str = r#"#!/bin/sh
cat > /dev/null
case "$CNI_COMMAND" in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}' ;;
ADD)
    nsenter --net="$CNI_NETNS" ip link set lo up
    echo '{"cniVersion":"0.4.0","interfaces":[{"name":"'$CNI_IFNAME'","sandbox":"'$CNI_NETNS'"}],"ips":[{"version":"4","address":"127.0.0.1/8","interface":0}]}' ;;
esac
"#;
const NETWORK: &str = r#"{"cniVersion":"0.4.0","name":"test","plugins":[{"type":"loop-address"}]}"#;

pub struct Containerd {
    pub directory: tempfile::TempDir,
    namespace: String,
    process: Option<Child>,
    /// Path of the cgroup under which pods go, in every hierarchy.
    pub cgroup: String,
}

impl Containerd {
    /// Starts containerd and imports the images.
    pub fn start() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("orknet-kt-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::Builder::new().prefix("orknet-kt").tempdir()?;
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let mut made = Self { directory, cgroup: format!("/{name}"), namespace: name, process: None };
        run(Command::new("ip").args(["-n", &made.namespace, "link", "set", "lo", "up"]))?;
        made.write_config()?;
        made.resume()?;
        let archive = made.path("images.tar");
        image::write(&archive)?;
        let socket = made.socket();
        run(Command::new("ctr").arg("--address").arg(socket).args(["-n", "k8s.io", "images", "import"]).arg(archive))?;
        Ok(made)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("c.sock")
    }

    /// Ends the process; containers go on.
    pub fn pause(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts the process, again or for the first time.
    pub fn resume(&mut self) -> Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log"))?;
        let process = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .args(["containerd", "--config"])
            .arg(self.path("config.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start containerd")?;
        self.process = Some(process);
        let deadline = Instant::now() + Duration::from_secs(30);
        // `ctr version` blocks until the server answers or its own time limit is over.
        while !ctr(&self.socket(), &["version"]) {
            if Instant::now() > deadline {
                bail!("containerd does not answer: {}", fs::read_to_string(self.path("log")).unwrap_or_default());
            }
        }
        Ok(())
    }

    fn write_config(&self) -> Result<()> {
        let (bin, conf) = (self.path("cni-bin"), self.path("cni-conf"));
        for directory in [&bin, &conf] {
            fs::create_dir_all(directory)?;
        }
        for plugin in ["loopback", "loop-address"] {
            let path = bin.join(plugin);
            fs::write(&path, PLUGIN)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        fs::write(conf.join("10-test.conflist"), NETWORK)?;
        let root = self.directory.path().display();
        let (socket, pause) = (self.socket(), image::PAUSE);
        let text = format!(
            r#"version = 2
root = "{root}/root"
state = "{root}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{}"
    conf_dir = "{}"
"#,
            socket.display(),
            bin.display(),
            conf.display()
        );
        fs::write(self.path("config.toml"), text).context("write the configuration")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.pause();
        // Shims are left: everything in the test's cgroup, and the shims themselves by their socket's directory.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            kill_tree(&hierarchy.path().join(self.cgroup.trim_start_matches('/')));
        }
        kill_shims(&self.directory.path().join("state"));
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
        let _ = orknet_kubelet::volumes::remove(self.directory.path());
        let deadline = Instant::now() + Duration::from_secs(5);
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let tree = hierarchy.path().join(self.cgroup.trim_start_matches('/'));
            while tree.exists() && Instant::now() < deadline {
                let _ = orknet_kubelet::cgroups::remove_tree(&tree);
            }
        }
    }
}

/// Kills every process in a cgroup and below.
fn kill_tree(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
        kill_tree(&entry.path());
    }
    for pid in fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default().lines() {
        kill(pid);
    }
}

/// Shims run with the containerd's address among their arguments.
fn kill_shims(state: &Path) {
    let socket = state.with_file_name("c.sock");
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().filter(|n| n.parse::<i32>().is_ok()).map(str::to_owned) else { continue };
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        if arguments.contains("containerd-shim") && arguments.contains(&*socket.to_string_lossy()) {
            kill(&pid);
        }
    }
}

fn kill(pid: &str) {
    if let Ok(pid) = pid.parse() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}

fn ctr(socket: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(socket).arg("--connect-timeout").arg("1s").args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
