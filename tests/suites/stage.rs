//! The cluster that the suites run against, with what they take for granted: images from public registries, and pods in kube-system.

use anyhow::{Context, Result, ensure};
use orknet_tests::cluster::{orknet, run};
use orknet_tests::{Cluster, eventually};
use std::path::{Path, PathBuf};

/// A cluster and what the suites need beside it.
pub struct Stage {
    /// What `cargo xtask test` fetched.
    pub folder: PathBuf,
    /// Up as long as this value.
    _cluster: Cluster,
    /// Of a user called `kubernetes-admin`, as kind's is.
    pub kubeconfig: PathBuf,
    pub kubectl: PathBuf,
    /// Removed at the end.
    pub scratch: tempfile::TempDir,
}

/// Answers on port 80 with nginx's first page, from the folder where nginx has it.
const NGINX: &str = "mkdir -p /usr/share/nginx/html; echo '<title>Welcome to nginx!</title>' > /usr/share/nginx/html/index.html; \
                     trap 'exit 0' TERM; httpd -f -p 80 -h /usr/share/nginx/html & wait";
const PAUSE: &str = "trap 'exit 0' TERM; sleep 2147483647 & wait";

/// Image, what its containers run by themselves, programs of this host. Tags are not `latest`: those are pulled always, and there is no registry.
const IMAGES: &[(&str, Option<&str>, &[&str])] = &[
    ("docker.io/library/busybox:stable", None, &["/bin/true"]),
    ("docker.io/library/nginx:1", Some(NGINX), &[]),
    // GNU's date says of a wrong one what kr8s's tests expect.
    ("docker.io/library/ubuntu:1", None, &["/bin/bash", "/bin/date"]),
    ("gcr.io/google_containers/pause:1", Some(PAUSE), &[]),
];

impl Stage {
    pub fn set(folder: &Path) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let kubectl =
            std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.is_file()).context("there is no kubectl")?;
        let cluster = Cluster::up("s", &["--bare"])?;
        for (image, run, programs) in IMAGES {
            let run = run.map(|run| vec!["--run", run]).unwrap_or_default();
            cluster.orknet(&[&["add-image", image][..], &run, programs].concat()).with_context(|| format!("cannot add {image}"))?;
        }
        let system = cluster.kubectl().in_namespace("kube-system");
        system.run(&["create", "deployment", "coredns", "--image=gcr.io/google_containers/pause:1", "--replicas=2"])?;
        eventually("pods in kube-system", || {
            let ready = system.run(&["get", "deployment", "coredns", "-o", "jsonpath={.status.readyReplicas}"])?;
            ensure!(ready == "2", "{ready} are ready");
            Ok(())
        })?;
        let scratch = tempfile::tempdir().context("cannot make a folder")?;
        let kubeconfig = scratch.path().join("kubeconfig");
        std::fs::write(&kubeconfig, administrator(&cluster)?).context("cannot write a kubeconfig")?;
        Ok(Self { kubeconfig, folder: folder.to_owned(), _cluster: cluster, kubectl, scratch })
    }
}

/// The cluster's kubeconfig with a certificate of another name.
fn administrator(cluster: &Cluster) -> Result<String> {
    let server = cluster.kubectl().run(&["config", "view", "--output=jsonpath={.clusters[0].cluster.server}"])?;
    let mut command = orknet();
    command.args(["credentials", "--server", server.trim(), "--pki-dir"]).arg(cluster.state_dir().join("server/pki"));
    run(command.args(["user", "kubernetes-admin", "--group", "system:masters"]))
}
