//! Starting a cluster's programs in their place, and knowing later whether they still run.
//!
//! Every program is started through `orknet enter`, which joins the place's namespaces and cgroup before it becomes the
//! program: nothing of a cluster ever runs outside of the cluster's cgroup.

use super::layout::Place;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A command that runs in `place`.
pub fn command(place: &Place, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
    let mut command = Command::new(own_binary()?);
    command.args(["enter", "--netns", &place.netns(), "--cgroup", &place.daemon_cgroup(), "--mounts"]);
    command.arg(place.mount_ns_path()).arg("--").arg(program).stdin(Stdio::null());
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

/// Starts a daemon unless it runs, its output appended to its log; its identity goes to a file. Its standard input is what the
/// command says, nothing by default. Blocking for moments.
pub fn start(place: &Place, daemon: &str, mut command: Command) -> Result<()> {
    if running(place, daemon).is_some() {
        return Ok(());
    }
    let log = place.log_path(daemon);
    let directory = log.parent().context("a log has a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let file = fs::OpenOptions::new().create(true).append(true).open(&log).with_context(|| format!("cannot open {}", log.display()))?;
    let errors = file.try_clone().context("cannot share a log")?;
    // A group of its own: Ctrl-C at `up` is not for the daemons.
    command.stdout(file).stderr(errors).process_group(0);
    let child = command.spawn().with_context(|| format!("cannot start {daemon} of {}", place.name))?;
    let id = child.id() as i32;
    let identity = Identity { id, started: start_time(id).unwrap_or_default() };
    fs::create_dir_all(place.run_dir()).with_context(|| format!("cannot make {}", place.run_dir().display()))?;
    let path = identity_path(place, daemon);
    fs::write(&path, format!("{} {}\n", identity.id, identity.started)).with_context(|| format!("cannot write {}", path.display()))
}

/// The daemon's process id, if it runs.
pub fn running(place: &Place, daemon: &str) -> Option<i32> {
    let text = fs::read_to_string(identity_path(place, daemon)).ok()?;
    let mut parts = text.split_whitespace();
    let identity = Identity { id: parts.next()?.parse().ok()?, started: parts.next()?.parse().ok()? };
    // A process id alone may be another's by now.
    (start_time(identity.id) == Some(identity.started)).then_some(identity.id)
}

/// Where a daemon's identity is kept: process id and start time.
pub fn identity_path(place: &Place, daemon: &str) -> PathBuf {
    place.run_dir().join(format!("{daemon}.pid"))
}

/// The last lines of a daemon's log, for a person to read after a failure.
pub fn log_tail(place: &Place, daemon: &str) -> String {
    let text = fs::read(place.log_path(daemon)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// Fails with the log's end if a daemon that was started is no longer there.
pub fn check(place: &Place, daemon: &str) -> Result<()> {
    if running(place, daemon).is_some() {
        return Ok(());
    }
    bail!("{daemon} of {} ended; the end of {}:\n{}", place.name, place.log_path(daemon).display(), log_tail(place, daemon))
}

/// A program that the cluster needs, by name, with the package that brings it.
pub fn find_program(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(extra).map(|directory| directory.join(name)).find(|file| Path::is_file(file));
    found.with_context(|| format!("{name} is not installed; remedy: apt-get install {package}"))
}

struct Identity {
    id: i32,
    /// Clock ticks since boot (/proc/ID/stat, field 22).
    started: u64,
}

/// `None` when there is no such process, or only its remains (a zombie).
fn start_time(id: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let own = std::process::id() as i32;
        assert!(start_time(own).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_time(own), start_time(own));
        assert_eq!(start_time(i32::MAX), None);
    }
}
