//! Starting a cluster's programs in their place, and knowing later whether they still run.
//!
//! Every program is started through `orknet enter`, which joins the place's namespaces and cgroup before it becomes the
//! program: nothing of a cluster ever runs outside of the cluster's cgroup.

use super::identity;
use super::layout::Place;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to become the daemon.
const START: Duration = Duration::from_secs(20);

/// A command that runs in `place`.
pub fn command(place: &Place, program: impl AsRef<OsStr>) -> Result<Command> {
    let mut command = enter(place)?;
    command.arg("--").arg(program);
    Ok(command)
}

/// A command that runs in `place` as its one daemon of this name.
pub fn daemon(place: &Place, name: &str, program: impl AsRef<OsStr>) -> Result<Command> {
    let mut command = enter(place)?;
    // A group of its own: Ctrl-C at `up` is not for the daemons.
    command.arg("--hold").arg(place.identity_path(name)).arg("--").arg(program).process_group(0);
    Ok(command)
}

/// This executable, also after the file was replaced by a newer build.
pub fn own_binary() -> Result<PathBuf> {
    let path = std::env::current_exe().context("cannot find this executable")?;
    Ok(match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(plain) => PathBuf::from(plain),
        None => path,
    })
}

/// Starts what [`daemon`] made, unless it runs; its output is appended to its log. Its standard input is what the command says,
/// nothing by default. Blocking for moments.
pub fn start(place: &Place, name: &str, mut command: Command) -> Result<()> {
    if running(place, name).is_some() {
        return Ok(());
    }
    let log = place.log_path(name);
    let directory = log.parent().context("a log has a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let file = fs::OpenOptions::new().create(true).append(true).open(&log).with_context(|| format!("cannot open {}", log.display()))?;
    let errors = file.try_clone().context("cannot share a log")?;
    let mut child = command.stdout(file).stderr(errors).spawn().with_context(|| format!("cannot start {name} of {}", place.name))?;
    let end = Instant::now() + START;
    while running(place, name).is_none() {
        let ended = child.try_wait().with_context(|| format!("cannot look after {name} of {}", place.name))?;
        if ended.is_some() || Instant::now() > end {
            return check(place, name);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The daemon's process id, if it runs.
pub fn running(place: &Place, name: &str) -> Option<i32> {
    identity::holder(&place.identity_path(name))
}

/// The last lines of a daemon's log, for a person to read after a failure.
pub fn log_tail(place: &Place, name: &str) -> String {
    let text = fs::read(place.log_path(name)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// Fails with the log's end if a daemon that was started is no longer there.
pub fn check(place: &Place, name: &str) -> Result<()> {
    if running(place, name).is_some() {
        return Ok(());
    }
    bail!("{name} of {} ended; the end of {}:\n{}", place.name, place.log_path(name).display(), log_tail(place, name))
}

/// A program that the cluster needs, by name, with the package that brings it.
pub fn find_program(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(extra).map(|directory| directory.join(name)).find(|file| Path::is_file(file));
    found.with_context(|| format!("{name} is not installed; remedy: apt-get install {package}"))
}

fn enter(place: &Place) -> Result<Command> {
    let mut command = Command::new(own_binary()?);
    command.args(["enter", "--netns", &place.netns(), "--cgroup", &place.daemon_cgroup(), "--mounts"]);
    command.arg(place.mount_ns_path()).stdin(Stdio::null());
    Ok(command)
}
