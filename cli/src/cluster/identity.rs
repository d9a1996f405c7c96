//! Who a daemon is: the process that holds a record lock on the daemon's file. The lock is taken before the process becomes the
//! daemon and ends with it, whoever started it and however it ends; the kernel tells who holds it. No process id is ever trusted.

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::IntoRawFd;
use std::path::Path;

/// Makes the calling process, and what it becomes by `exec`, the holder of `path`; writes its id into the file for people.
/// Children do not inherit the lock (fcntl(2), "Advisory record locking"). Fails when another process holds it.
pub fn take(path: &Path) -> Result<()> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = open.with_context(|| format!("cannot open {}", path.display()))?;
    match fcntl(&file, FcntlArg::F_SETLK(&whole_file())) {
        Err(Errno::EAGAIN | Errno::EACCES) => bail!("it runs already: another process holds {}", path.display()),
        locked => locked.with_context(|| format!("cannot lock {}", path.display()))?,
    };
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).with_context(|| format!("cannot write {}", path.display()))?;
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).with_context(|| format!("cannot keep {} open", path.display()))?;
    // Closing any descriptor of the file would drop the lock.
    let _ = file.into_raw_fd();
    Ok(())
}

/// The process that holds `path`, if one does. Must not be asked by the holder itself: it would drop its lock.
pub fn holder(path: &Path) -> Option<i32> {
    let file = File::open(path).ok()?;
    let mut lock = whole_file();
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    (i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid)
}

fn whole_file() -> libc::flock {
    libc::flock { l_type: libc::F_WRLCK as libc::c_short, l_whence: libc::SEEK_SET as libc::c_short, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    /// A process that takes `path` and becomes `sleep`: this test's own program, called again.
    fn sleeper(path: &Path) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "cluster::identity::tests::the_process_that_takes_a_file", "--nocapture"])
            .env("TAKE", path)
            .spawn()
            .unwrap()
    }

    #[test]
    fn the_process_that_takes_a_file() {
        // Without the variable this is the ordinary run, in which another test asks.
        let Some(path) = std::env::var_os("TAKE") else { return };
        take(Path::new(&path)).unwrap();
        panic!("{}", Command::new("sleep").arg("60").exec());
    }

    #[test]
    fn an_identity_survives_exec_and_ends_with_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.pid");
        assert_eq!(holder(&path), None);
        let mut child = sleeper(&path);
        let name = format!("/proc/{}/comm", child.id());
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::fs::read_to_string(&name).unwrap_or_default() != "sleep\n" {
            assert!(std::time::Instant::now() < end, "the child never became another program");
            std::thread::yield_now();
        }
        assert_eq!(holder(&path), Some(child.id() as i32));
        assert!(take(&path).unwrap_err().to_string().contains("runs already"));
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), child.id().to_string());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(holder(&path), None);
    }
}
