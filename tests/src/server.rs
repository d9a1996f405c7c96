//! An API server alone: `orknet server` on the loopback with a directory of its own, for tests that need no nodes.

use crate::cluster::{orknet, run};
use crate::{Kubectl, eventually, panics};
use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Runs as long as this value; its directory is the caller's.
pub struct Server {
    directory: PathBuf,
    /// Which store, as flags.
    store: Vec<String>,
    port: u16,
    child: Child,
}

impl Server {
    /// Starts one that keeps everything below `directory`, its store in `directory/store`; waits until it is ready.
    pub fn start(directory: &Path) -> Result<Self> {
        Self::start_on(directory, &["--store-dir".to_owned(), directory.join("store").display().to_string()])
    }

    /// The same on the store that these flags of `orknet server` name. A former server's kubeconfig in the directory is replaced.
    pub fn start_on(directory: &Path, store: &[String]) -> Result<Self> {
        let _ = fs::remove_file(directory.join("kubeconfig"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("there is no free port")?;
        let port = listener.local_addr()?.port();
        let mut server = Self { directory: directory.to_owned(), store: store.to_vec(), port, child: spawn(directory, store, listener)? };
        server.wait_ready()?;
        Ok(server)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill the server")?;
        self.child.wait().context("cannot wait for the server")?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        self.child.wait().context("cannot wait for the server")?;
        Ok(())
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal).context("cannot signal the server")
    }

    /// Waits until it has ended by itself; whether that was a success.
    pub fn ended(&mut self) -> Result<bool> {
        eventually("the server to end", || self.child.try_wait()?.map(|status| status.success()).context("it runs"))
    }

    /// After [`Server::kill`]: the same server again; waits until it is ready.
    pub fn start_again(&mut self) -> Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).context("the server's port is taken")?;
        self.child = spawn(&self.directory, &self.store, listener)?;
        self.wait_ready()
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.directory.join("kubeconfig"))
    }

    /// Everything that it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(log_path(&self.directory)).unwrap_or_default()
    }

    fn wait_ready(&mut self) -> Result<()> {
        eventually("the server to be ready", || {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Err(anyhow!("the server ended: {status}\n{}", self.log())));
            }
            // The authority is there once the server has begun.
            self.write_kubeconfig()?;
            let answer = self.kubectl().run(&["get", "--raw", "/readyz"])?;
            ensure!(answer == "ok", "{answer}");
            Ok(Ok(()))
        })?
    }

    fn write_kubeconfig(&self) -> Result<()> {
        let path = self.directory.join("kubeconfig");
        if !path.exists() {
            let mut command = orknet();
            command.args(["credentials", "--server", &format!("https://127.0.0.1:{}", self.port), "--pki-dir"]);
            command.arg(self.directory.join("pki")).args(["user", "admin", "--group", "system:masters"]);
            fs::write(&path, run(&mut command)?).context("cannot write the kubeconfig")?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
        panics::note("server.log", &self.log());
    }
}

/// The server is given the socket: a port that is only told could be another's by the time it listens.
fn spawn(directory: &Path, store: &[String], listener: TcpListener) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log_path(directory)).context("cannot open the server's log")?;
    let mut command = orknet();
    // Any other port in place of the default one.
    command.args(["server", "--listen-stdin", "--listen", "127.0.0.1:0", "--advertise-address", "127.0.0.1", "--pki-dir"]);
    command.arg(directory.join("pki")).args(store);
    command.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(log).spawn().context("cannot start orknet server")
}

fn log_path(directory: &Path) -> PathBuf {
    directory.join("server.log")
}
