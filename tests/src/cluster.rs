//! One local cluster of a test run, with a name of its own.

use crate::kubectl::Kubectl;
use crate::{eventually, panics};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A cluster that exists as long as this value.
pub struct Cluster {
    name: String,
}

impl Cluster {
    /// Brings one up; `options` go to `orknet up`. `tag` is part of the name: at most four lower-case letters.
    pub fn up(tag: &str, options: &[&str]) -> Result<Self> {
        let cluster = Self::named(tag);
        cluster.up_again(options)?;
        Ok(cluster)
    }

    /// Nothing is brought up yet; removed all the same when dropped.
    pub fn named(tag: &str) -> Self {
        // Runs beside each other must not meet.
        Self { name: format!("t{tag}{}", std::process::id() % 1_000_000) }
    }

    /// `orknet up` for this cluster, also to repair it.
    pub fn up_again(&self, options: &[&str]) -> Result<()> {
        run(orknet().args(["up", "--name", &self.name]).args(options)).map(|_| ())
    }

    /// `orknet up`, started but not waited for.
    pub fn start_up(&self, options: &[&str]) -> Result<std::process::Child> {
        let mut command = orknet();
        command.args(["up", "--name", &self.name]).args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().context("cannot start orknet up")
    }

    /// `orknet down`; what the logs tell of panics is remembered.
    pub fn down(&self) -> Result<()> {
        self.log_files().for_each(|(name, log)| panics::note(&name, &log));
        run(orknet().args(["down", "--name", &self.name])).map(|_| ())
    }

    /// What a crash of the machine does: every process ends at once, and what lives in memory is gone. The files stay.
    pub fn crash(&self) -> Result<()> {
        let hybrid = Path::new("/sys/fs/cgroup/unified");
        let unified = if hybrid.exists() { hybrid } else { Path::new("/sys/fs/cgroup") };
        let group = unified.join("orknet/clusters").join(&self.name);
        std::fs::write(group.join("cgroup.kill"), "1").with_context(|| format!("cannot kill {}", group.display()))?;
        eventually("all processes to be gone", || {
            let events = std::fs::read_to_string(group.join("cgroup.events"))?;
            ensure!(events.contains("populated 0"), "processes are left");
            Ok(())
        })?;
        // `down` removes all that a crash removes, and the files, which it must not see.
        let (state, aside) = (self.state_dir(), self.state_dir().with_extension("aside"));
        std::fs::rename(&state, &aside).with_context(|| format!("cannot move {}", state.display()))?;
        let downed = self.down();
        std::fs::create_dir_all(state.parent().context("a directory has a parent")?)?;
        std::fs::rename(&aside, &state).with_context(|| format!("cannot move {} back", state.display()))?;
        downed
    }

    /// Gives agents other settings from their next start by `up` on, as an administrator would who edits their files: `up` itself leaves those of
    /// a cluster that is there as they are.
    pub fn set_agents(&self, settings: serde_json::Value) -> Result<()> {
        let path = self.state_dir().join("cluster.json");
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut record: serde_json::Value = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        record["agent"] = settings;
        std::fs::write(&path, record.to_string()).with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn state_dir(&self) -> PathBuf {
        Path::new("/var/lib/orknet/clusters").join(&self.name)
    }

    pub fn run_dir(&self) -> PathBuf {
        Path::new("/run/orknet/clusters").join(&self.name)
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.state_dir().join("kubeconfig")
    }

    /// kubectl against this cluster.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.kubeconfig())
    }

    /// A sub-command of `orknet` about this cluster: its standard output.
    pub fn orknet(&self, arguments: &[&str]) -> Result<String> {
        run(orknet().args(arguments).args(["--name", &self.name]))
    }

    /// A sub-command of `orknet` about this cluster, to be run by the caller.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = orknet();
        command.args(arguments).args(["--name", &self.name]).stdin(Stdio::null());
        command
    }

    /// A command inside a place (`server`, `node1`): its standard output.
    pub fn inside(&self, place: &str, command: &[&str]) -> Result<String> {
        run(&mut self.command_inside(place, command))
    }

    /// A command inside a place, to be started by the caller.
    pub fn command_inside(&self, place: &str, arguments: &[&str]) -> Command {
        let mut command = orknet();
        command.args(["enter", "--name", &self.name, place, "--"]).args(arguments);
        command
    }

    /// A daemon's process id (`server`, `etcd`; `containerd`, `agent`, `kubelet`).
    pub fn process(&self, place: &str, daemon: &str) -> Result<i32> {
        let path = self.run_dir().join(place).join(format!("{daemon}.pid"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        text.split_whitespace().next().and_then(|id| id.parse().ok()).with_context(|| format!("{} holds no process id", path.display()))
    }

    /// Sends a signal to a daemon.
    pub fn signal(&self, place: &str, daemon: &str, signal: nix::sys::signal::Signal) -> Result<()> {
        let id = self.process(place, daemon)?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).with_context(|| format!("cannot signal {daemon} of {place}"))
    }

    /// An error with the end of every daemon's log behind it.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        anyhow::anyhow!("{error:#}\n{}", self.logs())
    }

    /// The end of every daemon's log, for a failing test's output.
    pub fn logs(&self) -> String {
        let mut text = format!("to look inside: orknet enter --name {} node1\n", self.name);
        for (name, log) in self.log_files() {
            let lines: Vec<&str> = log.lines().collect();
            text.push_str(&format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(25)..].join("\n")));
        }
        text
    }

    /// The daemons' logs: names and texts.
    fn log_files(&self) -> impl Iterator<Item = (String, String)> {
        let entries = std::fs::read_dir(self.state_dir().join("logs")).into_iter().flatten().flatten();
        entries.map(|entry| {
            let log = std::fs::read(entry.path()).unwrap_or_default();
            (entry.file_name().to_string_lossy().into_owned(), String::from_utf8_lossy(&log).into_owned())
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::env::var_os("ORKNET_KEEP").is_some() {
            eprintln!("cluster {} is kept; remove it with: orknet down --name {}", self.name, self.name);
        } else if let Err(error) = self.down() {
            eprintln!("cannot remove cluster {}: {error:#}", self.name);
        }
    }
}

/// The binary under test: `$ORKNET`, or the one that cargo built beside this program.
pub fn orknet() -> Command {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("orknet"));
    let path = std::env::var_os("ORKNET").map(PathBuf::from).or_else(beside);
    Command::new(path.unwrap_or_else(|| PathBuf::from("orknet")))
}

/// Runs to the end; standard output, or an error with both outputs.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{command:?}: {}\n{stdout}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(stdout)
}
