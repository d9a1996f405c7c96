//! Network namespaces with parts to play, and the server in one of them; removed when dropped.

use anyhow::{Context, Result, bail};
use orknet_tests::cluster;
use std::io::Write;
use std::process::{Child, Command, Stdio};

pub struct Roles {
    prefix: String,
    roles: Vec<&'static str>,
    server: Option<Child>,
}

impl Roles {
    /// A namespace for each role, named after it and this process.
    pub fn new(kind: &str, roles: impl IntoIterator<Item = &'static str>) -> Result<Self> {
        let mut made = Self { prefix: format!("orknet-{kind}{}-", std::process::id()), roles: Vec::new(), server: None };
        for role in roles {
            ip(&["netns", "add", &made.netns(role)])?;
            made.roles.push(role);
            ip(&["-n", &made.netns(role), "link", "set", "lo", "up"])?;
        }
        Ok(made)
    }

    /// The name of a role's namespace.
    pub fn netns(&self, role: &str) -> String {
        format!("{}{role}", self.prefix)
    }

    /// Starts netserver in the namespace of a role.
    pub fn serve(&mut self, role: &str, options: &[&str]) -> Result<()> {
        let mut netserver = self.command(role, &["netserver", "-D", "-4"]);
        netserver.args(options).stdin(Stdio::null()).stdout(Stdio::null());
        self.server = Some(netserver.spawn().context("cannot start netserver")?);
        Ok(())
    }

    /// Runs a command in the namespace of a role: its standard output.
    pub fn run(&self, role: &str, command: &[&str]) -> Result<String> {
        cluster::run(&mut self.command(role, command))
    }

    /// Runs a command with standard input.
    pub fn feed(&self, role: &str, command: &[&str], input: &str) -> Result<()> {
        let mut child = self.command(role, command).stdin(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let status = child.wait()?;
        if !status.success() {
            bail!("{command:?}: {status}");
        }
        Ok(())
    }

    fn command(&self, role: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns(role)]).args(arguments);
        command
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        for role in &self.roles {
            let _ = ip(&["netns", "delete", &self.netns(role)]);
        }
    }
}

/// Runs `ip`.
pub fn ip(arguments: &[&str]) -> Result<()> {
    cluster::run(Command::new("ip").args(arguments)).map(drop)
}
