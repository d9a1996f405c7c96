//! A real etcd on the loopback, on ports and in a directory of its own, for tests that need no cluster.

use crate::{eventually, panics};
use anyhow::{Context, Result, anyhow, bail};
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Runs as long as this value.
pub struct Etcd {
    child: Child,
    directory: TempDir,
    port: u16,
}

impl Etcd {
    /// Starts one and waits until it listens.
    pub fn start() -> Result<Self> {
        // Between looking for a free port and using it somebody else may take it: etcd ends then.
        for _ in 0..10 {
            let (port, peer) = (free_port()?, free_port()?);
            let directory = tempfile::tempdir().context("cannot make a directory")?;
            let log = File::create(directory.path().join("log")).context("cannot make etcd's log")?;
            let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
            let mut command = Command::new("etcd");
            command.args(["--name", "test", "--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &format!("test={peer}"), "--data-dir"]).arg(directory.path().join("data"));
            let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("cannot start etcd")?;
            let mut etcd = Self { child, directory, port };
            if etcd.listens()? {
                return Ok(etcd);
            }
        }
        bail!("etcd does not start")
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until it listens; false when it ended.
    fn listens(&mut self) -> Result<bool> {
        eventually("etcd to listen", || match self.child.try_wait()? {
            Some(_) => Ok(false),
            None => TcpStream::connect(("127.0.0.1", self.port)).map(|_| true).map_err(|error| anyhow!(error)),
        })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        panics::note("etcd.log", &fs::read_to_string(self.directory.path().join("log")).unwrap_or_default());
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("there is no free port")?.local_addr()?.port())
}
