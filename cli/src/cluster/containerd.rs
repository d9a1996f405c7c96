//! One containerd for a node: its configuration, its start, and the images it begins with.

use super::images::{self, PAUSE};
use super::layout::{Cluster, Place};
use super::node::on_each;
use super::{files, process, record};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const NAME: &str = "containerd";

/// Starts the node's containerd, unless it runs. Blocking for moments.
pub fn start(node: &Place) -> Result<()> {
    let program = process::find_program("containerd", "containerd")?;
    process::find_program("runc", "runc")?;
    let config = write_config(node)?;
    let mut command = process::daemon(node, NAME, program)?;
    command.arg("--config").arg(config);
    process::start(node, NAME, command)
}

/// Waits until containerd answers on its socket. Blocking.
pub fn wait_ready(node: &Place, deadline: Duration) -> Result<()> {
    let end = Instant::now() + deadline;
    while std::os::unix::net::UnixStream::connect(node.containerd_socket()).is_err() {
        process::check(node, NAME)?;
        if Instant::now() > end {
            bail!("containerd of {} does not answer after {deadline:?}:\n{}", node.name, process::log_tail(node, NAME));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Imports archives. What is there already is imported again: it is cheap. Blocking.
pub fn import_images(node: &Place, archives: &[PathBuf]) -> Result<()> {
    let program = process::find_program("ctr", "containerd")?;
    for archive in archives {
        // In the node's cgroup as everything is: an import that outlives its `up` is found and ended by `down`.
        let mut command = process::command(node, &program)?;
        command.arg("--address").arg(node.containerd_socket());
        command.args(["--namespace", "k8s.io", "images", "import"]).arg(archive);
        let output = command.output().context("cannot run ctr")?;
        if !output.status.success() {
            bail!(
                "cannot import {} into containerd of {}: {}",
                archive.display(),
                node.name,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
    }
    Ok(())
}

/// The built-in images as archives below `directory`, written unless they are there. Blocking.
pub fn archives(directory: &Path) -> Result<Vec<PathBuf>> {
    let busybox = process::find_program("busybox", "busybox-static")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut paths = Vec::new();
    for image in images::built_in(&busybox)? {
        let base = image.name.rsplit_once('/').map_or(image.name.as_str(), |(_, base)| base).replace(':', "-");
        let path = directory.join(format!("{base}.tar"));
        if !path.exists() {
            images::write_archive(&image, &path)?;
        }
        paths.push(path);
    }
    Ok(paths)
}

/// Builds an image from programs of this host, with a command of its shell to run, and imports it into every node. Blocking.
pub fn add_image(cluster: &Cluster, name: &str, run: Option<String>, programs: &[PathBuf]) -> Result<()> {
    let record = record::read(cluster)?.with_context(|| format!("there is no cluster {:?}; `orknet up` makes one", cluster.name()))?;
    let busybox = process::find_program("busybox", "busybox-static")?;
    let path = cluster.state_dir().join("images").join(format!("added-{}.tar", name.replace(['/', ':'], "-")));
    let mut image = images::with_programs(name, &busybox, programs)?;
    if let Some(run) = run {
        image.entrypoint = ["/bin/sh", "-c"].map(str::to_owned).into_iter().chain([run]).collect();
        image.command.clear();
    }
    images::write_archive(&image, &path)?;
    let nodes: Vec<Place> = (1..=record.nodes).map(|number| cluster.node(number)).collect();
    on_each(&nodes, |node| import_images(node, std::slice::from_ref(&path))).map(drop)
}

fn write_config(node: &Place) -> Result<PathBuf> {
    let (state, run) = (node.state_dir(), node.run_dir());
    for directory in [&state, &run, &state.join("cni")] {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let text = format!(
        r#"version = 2
root = "{root}"
state = "{runtime}"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Without CAP_SYS_RESOURCE runc may not lower a score below its parent's.
  restrict_oom_score_adj = true
  disable_apparmor = true
  # Pods' network namespaces are then the node's, and go with it.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{bin}"
    conf_dir = "{conf}"
"#,
        root = state.join("containerd").display(),
        runtime = run.join("containerd").display(),
        socket = node.containerd_socket().display(),
        bin = state.join("cni/bin").display(),
        conf = state.join("cni/net.d").display(),
    );
    let path = state.join("containerd.toml");
    files::write(&path, text.as_bytes())?;
    Ok(path)
}
