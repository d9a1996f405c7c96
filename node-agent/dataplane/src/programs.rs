//! The loaded programs by hook. Those that are wanted at once are verified by the kernel on all CPUs at the same time, the others when
//! somebody first asks for them.

use crate::{Error, Hook, features};
use aya::{
    Ebpf,
    programs::{Program, ProgramError, SchedClassifier},
};
use std::{
    collections::BTreeMap,
    fmt,
    num::NonZero,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    panic,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

/// The programs of an object whose maps are there.
pub(crate) struct Programs {
    files: BTreeMap<Hook, OnceLock<OwnedFd>>,
    /// The programs as the library holds them, loaded or not; filters need it.
    object: Mutex<Ebpf>,
}

impl Programs {
    /// Loads those that are `wanted`. The kernel walks a program's instructions for tens of milliseconds; a thread for each CPU takes
    /// the next one as long as there are any.
    ///
    /// # Errors
    /// An object without one of the programs, and the refusal of any that is wanted.
    pub(crate) fn load(mut object: Ebpf, wanted: impl Fn(Hook) -> bool) -> Result<Self, Error> {
        let present = |hook: &Hook| object.program(hook.name()).is_some();
        if let Some(hook) = Hook::all().find(|hook| !present(hook)) {
            return Err(absent(hook));
        }
        let mut programs: Vec<(Hook, &mut Program)> = object
            .programs_mut()
            .filter_map(|(name, program)| Some((Hook::named(name)?, program)))
            .filter(|(hook, _)| wanted(*hook))
            .collect();
        // The long ones, which are those for devices, begin; so no CPU is left with one at the end.
        programs.sort_by_key(|(hook, _)| std::cmp::Reverse(*hook));
        let cpus = thread::available_parallelism().map_or(1, NonZero::get).min(programs.len());
        let queue = Mutex::new(programs.into_iter());
        let work = || {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            std::iter::from_fn(next).map(|(hook, program)| Ok((hook, load_program(hook, program)?))).collect::<Result<Vec<_>, Error>>()
        };
        let loaded = thread::scope(|scope| {
            let workers: Vec<_> = (0..cpus).map(|_| scope.spawn(work)).collect();
            let outcomes = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
            outcomes.collect::<Result<Vec<_>, Error>>()
        })?;
        let mut files: BTreeMap<Hook, OnceLock<OwnedFd>> = Hook::all().map(|hook| (hook, OnceLock::new())).collect();
        files.extend(loaded.into_iter().flatten().map(|(hook, file)| (hook, OnceLock::from(file))));
        Ok(Self { files, object: Mutex::new(object) })
    }

    /// The program of a hook; loads it if that has not been done.
    pub(crate) fn get(&self, hook: Hook) -> Result<BorrowedFd<'_>, Error> {
        let file = self.files.get(&hook).ok_or_else(|| absent(hook))?;
        if let Some(loaded) = file.get() {
            return Ok(loaded.as_fd());
        }
        let mut object = self.lock();
        // Another may have been quicker to the lock.
        if file.get().is_none() {
            let program = object.program_mut(hook.name()).ok_or_else(|| absent(hook))?;
            let loaded = load_program(hook, program)?;
            return Ok(file.get_or_init(|| loaded).as_fd());
        }
        drop(object);
        self.get(hook)
    }

    /// Acts on a program for devices as the library has it; loads it if that has not been done.
    pub(crate) fn with_classifier<T>(&self, hook: Hook, act: impl FnOnce(&mut SchedClassifier) -> Result<T, Error>) -> Result<T, Error> {
        self.get(hook)?;
        match self.lock().program_mut(hook.name()) {
            Some(Program::SchedClassifier(program)) => act(program),
            _ => Err(Error::Load(format!("no program {hook} for devices").into())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ebpf> {
        self.object.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Programs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Programs").field("files", &self.files).finish_non_exhaustive()
    }
}

fn absent(hook: Hook) -> Error {
    Error::Load(format!("the object file has no program {hook}").into())
}

fn load_program(hook: Hook, program: &mut Program) -> Result<OwnedFd, Error> {
    let loaded = match program {
        Program::CgroupSockAddr(program) => uninterrupted(|| program.load()).and_then(|()| program.fd()),
        Program::SchedClassifier(program) => uninterrupted(|| program.load()).and_then(|()| program.fd()),
        Program::Xdp(program) => uninterrupted(|| program.load()).and_then(|()| program.fd()),
        _ => return Err(absent(hook)),
    };
    let fd = loaded.map_err(|error| refused(hook, error))?;
    fd.as_fd().try_clone_to_owned().map_err(|error| Error::Load(Box::new(error)))
}

/// The verifier gives up with `EAGAIN` when the thread gets a signal or the kernel wants something of it, and may be asked again.
fn uninterrupted(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    const ATTEMPTS: u32 = 16;
    for _ in 1..ATTEMPTS {
        match load() {
            Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == std::io::ErrorKind::WouldBlock => {}
            outcome => return outcome,
        }
    }
    load()
}

fn refused(hook: Hook, error: ProgramError) -> Error {
    let reason = match &error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            if let Some(missing) = features::missing_helper(&log) {
                return missing;
            }
            format!("{io_error}: {}", last_words(&log).unwrap_or("no reason given"))
        }
        other => other.to_string(),
    };
    Error::ProgramRefused { hook, reason, source: Box::new(error) }
}

/// What the verifier said last before its statistics: why it refused.
fn last_words(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 3] = ["processed ", "verification time ", "stack depth "];
    let said = |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|words| line.starts_with(words));
    log.lines().map(str::trim).rev().find(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_gives_the_verifiers_last_words() {
        let log = "46: (7b) *(u64 *)(r10 -184) = r4\nR4 !read_ok\nverification time 666 usec\nstack depth 280+0\nprocessed 99 insns\n";
        assert_eq!(last_words(log), Some("R4 !read_ok"));
        assert_eq!(last_words("processed 0 insns\n"), None);
    }
}
