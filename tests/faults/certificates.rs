//! Does a machine that has nothing but a token become a node, and stay one for longer than its certificates are good? A server and a kubelet as
//! processes of their own; no container runtime is there, and none is needed.

use anyhow::{Context, Result, ensure};
use orknet_tests::cluster::{orknet, run};
use orknet_tests::server::Server;
use orknet_tests::{Kubectl, eventually, faults};
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

faults![root_a_machine_joins_by_a_token_and_outlives_its_certificates];

/// Certificates begin five minutes before they are made: of seven minutes, seven to nine tenths are over within a minute and a half.
const SIGNING_SECONDS: u32 = 130;

/// A kubelet that is killed with this value.
struct Kubelet {
    child: Child,
    directory: PathBuf,
}

impl Kubelet {
    fn start(directory: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(directory.join("kubelet.log"))?;
        let mut command = orknet();
        command.arg("kubelet").arg("--config").arg(directory.join("kubelet.json"));
        command.arg("--kubeconfig").arg(kubeconfig(directory));
        command.arg("--bootstrap-kubeconfig").arg(directory.join("bootstrap"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("cannot start the kubelet")?;
        Ok(Self { child, directory: directory.to_owned() })
    }

    fn runs(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        let log = || fs::read_to_string(self.directory.join("kubelet.log")).unwrap_or_default();
        ensure!(ended.is_none(), "the kubelet ended: {ended:?}\n{}", log());
        Ok(())
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kubeconfig(directory: &Path) -> PathBuf {
    directory.join("node/kubeconfig")
}

fn root_a_machine_joins_by_a_token_and_outlives_its_certificates() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    let config = directory.join("server.json");
    let settings = json!({"signingSeconds": SIGNING_SECONDS, "store": {"embedded": {"directory": directory.join("store")}}});
    fs::write(&config, settings.to_string())?;
    let server = Server::start_on(directory, &["--config".to_owned(), config.display().to_string()])?;
    let kubectl = server.kubectl();
    invite(directory, &kubectl)?;
    let settings = json!({"nodeName": "n1", "rootDir": directory.join("kubelet"), "addresses": ["192.0.2.10"], "listen": "127.0.0.1:0",
        "containerdSocket": directory.join("none.sock")});
    fs::write(directory.join("kubelet.json"), settings.to_string())?;
    let mut kubelet = Kubelet::start(directory)?;
    let serving = directory.join("kubelet/pki/kubelet-server-current.pem");
    let [first_client, first_serving] = [kubeconfig(directory), serving.clone()].map(|path| {
        eventually("the first certificates", || {
            kubelet.runs()?;
            ensure!(fs::metadata(&path)?.permissions().mode() & 0o777 == 0o600, "{} is others' to read", path.display());
            Ok(fs::read_to_string(&path)?)
        })
    });
    let (first_client, first_serving) = (first_client?, first_serving?);
    ensure!(!first_client.contains("token"), "the token is not kept");
    // Both are replaced well before they end, by the process that runs.
    eventually("the renewed certificates", || {
        kubelet.runs()?;
        ensure!(fs::read_to_string(kubeconfig(directory))? != first_client, "the client certificate is the first one");
        ensure!(fs::read_to_string(&serving)? != first_serving, "the serving certificate is the first one");
        Ok(())
    })?;
    let requests = kubectl.run(&["get", "csr", "-o", "jsonpath={range .items[*]}{.spec.signerName} {.spec.username}{\"\\n\"}{end}"])?;
    for expected in [
        "kubernetes.io/kube-apiserver-client-kubelet system:bootstrap:abcdef",
        "kubernetes.io/kube-apiserver-client-kubelet system:node:n1",
        "kubernetes.io/kubelet-serving system:node:n1",
    ] {
        ensure!(requests.lines().any(|line| line == expected), "{expected:?} is not among:\n{requests}");
    }
    // Killed and started again without its token's file: it goes on with what it has, and gives signs of life.
    drop(kubelet);
    fs::remove_file(directory.join("bootstrap"))?;
    let before = renewed(&kubectl)?;
    let mut kubelet = Kubelet::start(directory)?;
    eventually("a sign of life", || {
        kubelet.runs()?;
        let now = renewed(&kubectl)?;
        ensure!(now != before, "{now}");
        Ok(())
    })
}

fn renewed(kubectl: &Kubectl) -> Result<String> {
    kubectl.run(&["get", "lease", "n1", "-n", "kube-node-lease", "-o", "jsonpath={.spec.renewTime}"])
}

/// Makes a token, and the kubeconfig of who holds it.
fn invite(directory: &Path, kubectl: &Kubectl) -> Result<()> {
    let token = "abcdef.0123456789abcdef";
    let mut command = orknet();
    command.args(["token", "create", token, "--kubeconfig"]).arg(directory.join("kubeconfig"));
    let said = run(&mut command)?;
    ensure!(said.trim() == token, "{said}");
    let mut bootstrap = kubectl.json(&["config", "view", "--raw"])?;
    // With everything of the cluster, and nothing of the administrator.
    bootstrap["users"] = json!([{"name": "joiner", "user": {"token": token}}]);
    bootstrap["contexts"][0]["context"]["user"] = "joiner".into();
    fs::write(directory.join("bootstrap"), bootstrap.to_string()).context("cannot write the bootstrap kubeconfig")
}
