//! Network and mount namespaces that stay when their maker ends: pinned as files, entered by path, gone when unpinned.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, setns, unshare};
use nix::unistd::Pid;
use orknet_kubelet::volumes::mount_table;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where `ip netns` looks for names.
pub const NETNS_DIR: &str = "/run/netns";

/// The pin of a network namespace.
pub fn netns_path(name: &str) -> PathBuf {
    Path::new(NETNS_DIR).join(name)
}

/// Makes a network namespace of this name, unless it is there. Blocking.
pub fn create_netns(name: &str) -> Result<()> {
    let pin = netns_path(name);
    fs::create_dir_all(NETNS_DIR).with_context(|| format!("cannot make {NETNS_DIR}"))?;
    // Like `ip netns`: a shared mount, so that a namespace removed here is removed in every mount namespace that saw it.
    if !is_mount(Path::new(NETNS_DIR)) {
        bind(Path::new(NETNS_DIR), Path::new(NETNS_DIR), MsFlags::MS_REC)?;
    }
    mount(None::<&str>, NETNS_DIR, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("cannot share {NETNS_DIR}"))?;
    if is_mount(&pin) {
        return Ok(());
    }
    in_new_thread(move || {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        pin_namespace("/proc/thread-self/ns/net", &pin)
    })
}

/// Makes a mount namespace pinned at `pin`, unless it is there: it sees what the host mounts; what it mounts stays inside.
/// `prepare` runs in it, in each of them if more than one attempt is needed. Blocking.
pub fn create_mount_ns(pin: &Path, prepare: impl FnOnce() -> Result<()> + Clone + Send + 'static) -> Result<()> {
    if is_mount(pin) {
        return Ok(());
    }
    let directory = pin.parent().context("a pin has a directory")?.to_owned();
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    // A mount namespace can be pinned only where mounts do not spread.
    if !is_mount(&directory) {
        bind(&directory, &directory, MsFlags::empty())?;
    }
    mount(None::<&str>, &directory, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>)
        .with_context(|| format!("cannot make {} private", directory.display()))?;
    // Linux refuses to pin a mount namespace in one with a higher number, since they could hold each other, and since 6.18 each CPU
    // numbers namespaces from a store of its own. Only the first of all is surely lower; in any other, as of a container, a
    // namespace from the CPU that it came from is higher.
    let cpus = sched_getaffinity(Pid::from_raw(0)).context("cannot read which CPUs there are")?;
    let mut result = make_mount_ns(pin, None, prepare.clone());
    for cpu in (0..CpuSet::count()).filter(|cpu| cpus.is_set(*cpu).unwrap_or(false)) {
        match &result {
            Err(error) if error.downcast_ref() == Some(&Errno::EINVAL) => result = make_mount_ns(pin, Some(cpu), prepare.clone()),
            _ => break,
        }
    }
    result
}

/// One attempt, on the CPU of this number if one is given.
fn make_mount_ns(pin: &Path, cpu: Option<usize>, prepare: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let (made, wait_made) = std::sync::mpsc::channel::<PathBuf>();
    let (pinned, wait_pinned) = std::sync::mpsc::channel::<()>();
    let maker = std::thread::spawn(move || -> Result<()> {
        if let Some(cpu) = cpu {
            run_on(cpu)?;
        }
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).context("cannot make a mount namespace")?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>).context("cannot isolate mounts")?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SHARED, None::<&str>).context("cannot share mounts inside")?;
        prepare()?;
        let thread = nix::unistd::gettid();
        let _ = made.send(PathBuf::from(format!("/proc/{}/task/{thread}/ns/mnt", std::process::id())));
        // Lives until this thread ends, so it waits for the pin.
        let _ = wait_pinned.recv();
        Ok(())
    });
    let result = match wait_made.recv() {
        Ok(source) => pin_namespace(&source.to_string_lossy(), pin),
        Err(_) => Ok(()),
    };
    drop(pinned);
    join(maker)?;
    result
}

/// Keeps the calling thread on one CPU.
fn run_on(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &only)).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// Removes the pin; the namespace goes with its last process. Nothing there is no error. Blocking.
pub fn unpin(pin: &Path) -> Result<()> {
    while is_mount(pin) {
        umount2(pin, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {}", pin.display()))?;
    }
    match fs::remove_file(pin) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", pin.display()))
        }
        _ => Ok(()),
    }
}

/// Runs `action` on a thread of its own inside a network namespace. Blocking.
pub fn in_netns<T: Send + 'static>(name: &str, action: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let pin = netns_path(name);
    in_new_thread(move || {
        enter(&pin, CloneFlags::CLONE_NEWNET)?;
        action()
    })
}

/// Runs `action` on a thread of its own inside a network namespace that is gone afterwards. Blocking.
pub fn in_passing_netns<T: Send + 'static>(action: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    in_new_thread(move || {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        action()
    })
}

/// Moves the calling thread into the namespace pinned at `pin`. For mount namespaces the process must have one thread only.
pub fn enter(pin: &Path, kind: CloneFlags) -> Result<()> {
    let file = File::open(pin).with_context(|| format!("there is no namespace {}", pin.display()))?;
    setns(file, kind).with_context(|| format!("cannot enter {}", pin.display()))
}

/// Whether something is mounted exactly there.
pub fn is_mount(path: &Path) -> bool {
    mounts_below(path).iter().any(|mount| mount == path)
}

/// Mount points at or below `path` that the calling thread sees, in the order they were mounted.
pub fn mounts_below(path: &Path) -> Vec<PathBuf> {
    mount_table::mounts_below(path).unwrap_or_default()
}

/// A bind mount.
pub fn bind(source: &Path, target: &Path, flags: MsFlags) -> Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>)
        .with_context(|| format!("cannot bind {} to {}", source.display(), target.display()))
}

fn pin_namespace(source: &str, pin: &Path) -> Result<()> {
    File::create(pin).with_context(|| format!("cannot make {}", pin.display()))?;
    bind(Path::new(source), pin, MsFlags::empty())
}

fn in_new_thread<T: Send + 'static>(action: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    join(std::thread::spawn(action))
}

fn join<T>(thread: std::thread::JoinHandle<Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_a_mount_namespace_is_pinned_inside_another_whatever_cpu_that_came_from() {
        let directory = tempfile::tempdir().unwrap();
        let pin = directory.path().join("pins/one");
        let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
        for cpu in (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap()) {
            let pin = pin.clone();
            let inside = move || {
                run_on(cpu)?;
                unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS)?;
                sched_setaffinity(Pid::from_raw(0), &all)?;
                mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
                create_mount_ns(&pin, || Ok(()))?;
                Ok(is_mount(&pin))
            };
            assert!(in_new_thread(inside).unwrap(), "CPU {cpu}");
        }
        assert!(!is_mount(&pin), "what is mounted in a namespace ends with it");
    }
}
