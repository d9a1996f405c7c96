//! Network namespaces, one after the other: work that the kernel does only in the namespace of who asks.

use crate::pace::{Pace, Rest, paced};
use nix::sched::{CloneFlags, setns};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    ops::ControlFlow,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::mpsc::channel,
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

    /// Does something in the calling thread's namespace and in all of these, at a pace; whether it could be done everywhere. The caller stays
    /// where it is.
    pub(super) fn each(mut self, pace: &mut Pace<'_>, act: &mut (dyn FnMut(&mut Rest<'_>) -> io::Result<()> + Send)) -> bool {
        let (tell, told) = channel();
        let (answer, answers) = channel();
        // A thread of its own: namespaces are left by its end. It begins in the caller's, who tells it when to go on.
        let work = move || {
            let mut pace = |took| {
                let goes_on = tell.send(took).is_ok() && answers.recv() == Ok(true);
                if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let is_whole = paced(&mut pace, |rest| {
                if let Err(error) = act(rest) {
                    self.failed("of the node", &error);
                }
                for (name, file) in std::mem::take(&mut self.open) {
                    if !rest() {
                        break;
                    }
                    if let Err(error) = setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from).and_then(|()| act(rest)) {
                        self.failed(&name, &error);
                    }
                }
            });
            is_whole.is_some() && !self.is_incomplete
        };
        thread::scope(|scope| {
            let worker = scope.spawn(work);
            for took in told {
                // One that has ended needs no answer.
                let _ = answer.send(pace(took).is_continue());
            }
            worker.join()
        })
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn failed(&mut self, namespace: &str, error: &io::Error) {
        self.is_incomplete = true;
        tracing::warn!(namespace, %error, "can't look at the sockets of a namespace; trying again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn root_work_in_namespaces_rests_after_each_and_ends_when_it_is_told_to() {
        let namespaces = || {
            // The same one under two names is one; so there are the caller's and this.
            Namespaces::at(vec!["/proc/self/ns/net".into(), "/proc/thread-self/ns/net".into()])
        };
        let run = |goes_on_for: usize, is_long: bool| {
            let (mut acted, mut rested) = (0, 0);
            let mut pace = |_: Duration| {
                rested += 1;
                if rested <= goes_on_for { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let is_complete = namespaces().each(&mut pace, &mut |rest| {
                acted += 1;
                // Pieces of work inside of one namespace.
                while is_long && rest() {}
                Ok(())
            });
            (acted, rested, is_complete)
        };
        assert_eq!(run(usize::MAX, false), (2, 2, true));
        assert_eq!(run(0, false), (1, 1, false));
        assert_eq!(run(5, true), (1, 6, false), "whoever is told to end is not asked again");
    }
}
