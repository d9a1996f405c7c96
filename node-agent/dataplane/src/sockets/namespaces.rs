//! Network namespaces, one after the other: work that the kernel does only in the namespace of who asks.

use nix::sched::{CloneFlags, setns};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
};

const PROCESSES: &str = "/proc";

/// Namespaces to be looked into, besides that of the calling thread.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    open: Vec<(String, File)>,
    known: BTreeSet<(u64, u64)>,
    is_incomplete: bool,
}

impl Namespaces {
    /// Those at these paths. One that is gone has no sockets.
    pub(super) fn at(paths: Vec<PathBuf>) -> Self {
        let mut all = Self::default();
        paths.iter().for_each(|path| all.add(path));
        all
    }

    /// The same, and those of all processes that we may look at.
    pub(super) fn of_processes_and(paths: Vec<PathBuf>) -> Self {
        let mut all = Self::at(paths);
        let Ok(processes) = fs::read_dir(PROCESSES) else {
            all.is_incomplete = true;
            return all;
        };
        let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        for process in processes.flatten().filter(|process| process.file_name().to_str().is_some_and(is_number)) {
            // One that has ended has no namespaces; nor are there any to be had of one that we may not look at.
            let _ = all.open(&process.path().join("ns/net"));
        }
        all
    }

    fn add(&mut self, path: &Path) {
        match self.open(path) {
            // The pod is gone, and its sockets with it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.failed(&path.display().to_string(), &error),
            _ => {}
        }
    }

    fn open(&mut self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if self.known.insert((metadata.dev(), metadata.ino())) {
            self.open.push((path.display().to_string(), file));
        }
        Ok(())
    }

    /// Does something in the calling thread's namespace and in all of these; whether it could be done everywhere. The caller stays where it
    /// is.
    pub(super) fn each(mut self, act: &mut (dyn FnMut() -> io::Result<()> + Send)) -> bool {
        // A thread of its own: namespaces are left by its end. It begins in the caller's.
        let work = || {
            if let Err(error) = act() {
                self.failed("of the node", &error);
            }
            for (name, file) in std::mem::take(&mut self.open) {
                if let Err(error) = setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from).and_then(|()| act()) {
                    self.failed(&name, &error);
                }
            }
            !self.is_incomplete
        };
        thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn failed(&mut self, namespace: &str, error: &io::Error) {
        self.is_incomplete = true;
        tracing::warn!(namespace, %error, "can't look at the sockets of a namespace; trying again");
    }
}
