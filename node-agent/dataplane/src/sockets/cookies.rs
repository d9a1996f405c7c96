//! The numbers of pods' network namespaces, by which programs at sockets know who calls.

use crate::kernel::namespace_cookie;
use nix::sched::{CloneFlags, setns};
use std::{fs::File, io, path::PathBuf, thread};

/// The kernel's numbers of the network namespaces at these paths, in their order; an error for one that cannot be entered (any more). Blocks for
/// some microseconds each. The caller stays where it is.
pub fn namespace_cookies_at(paths: &[PathBuf]) -> Vec<io::Result<u64>> {
    let cookie = |path: &PathBuf| {
        setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?;
        namespace_cookie()
    };
    // A thread of its own: namespaces are left by its end.
    thread::scope(|scope| scope.spawn(|| paths.iter().map(cookie).collect()).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::unshare;
    use std::sync::mpsc::channel;

    #[test]
    fn root_namespaces_are_asked_for_their_numbers_and_the_caller_stays_where_it_is() {
        let here = namespace_cookie().unwrap();
        let (tell, told) = channel();
        let (end, ended) = channel::<()>();
        let other = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            // Of this thread, while it runs.
            tell.send((PathBuf::from(format!("/proc/self/task/{}/ns/net", nix::unistd::gettid())), namespace_cookie().unwrap())).unwrap();
            let _ = ended.recv();
        });
        let (there, cookie) = told.recv().unwrap();
        let paths = [there, PathBuf::from("/nonexistent"), PathBuf::from("/proc/self/ns/net")];
        let asked: Vec<_> = namespace_cookies_at(&paths).into_iter().map(Result::ok).collect();
        assert_eq!(asked, [Some(cookie), None, Some(here)]);
        assert_eq!(namespace_cookie().unwrap(), here);
        drop(end);
        other.join().unwrap();
    }
}
