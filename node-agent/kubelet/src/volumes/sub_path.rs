//! `subPath`: one file or directory inside a volume, bound to a place of its own, so that no container can swap it for a link that leads
//! out of the volume between the check and the mount.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;

use crate::error::Error;

/// Binds `sub` of the volume at `volume` to `place`, and answers with the path to mount: `place`, or the volume's own file when it
/// cannot be bound. A missing directory is made.
///
/// # Errors
/// The path leaves the volume, or cannot be made or bound.
pub fn bind(volume: &Path, sub: &str, place: &Path) -> Result<PathBuf, Error> {
    let relative = Path::new(sub);
    if relative.is_absolute() || relative.components().any(|c| c == Component::ParentDir) {
        return Err(Error::Invalid(format!("subPath {sub} must be relative and must not contain '..'")));
    }
    let target = volume.join(relative);
    if fs::symlink_metadata(&target).is_err() {
        fs::create_dir_all(&target).map_err(Error::file("create", &target))?;
    }
    let root = fs::canonicalize(volume).map_err(Error::file("resolve", volume))?;
    let resolved = fs::canonicalize(&target).map_err(Error::file("resolve", &target))?;
    let Ok(inside) = resolved.strip_prefix(&root) else {
        return Err(Error::Invalid(format!("subPath {sub} leads out of its volume")));
    };
    // From here on no link is followed: what was checked is what is opened.
    let directory = fs::File::open(&root).map_err(Error::file("open", &root))?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .mode(Mode::empty())
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
    let opened = openat2(&directory, inside, how).map_err(|errno| Error::file("open", &resolved)(errno.into()))?;
    let is_directory = resolved.is_dir();
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    }
    if is_directory {
        fs::create_dir_all(place).map_err(Error::file("create", place))?;
    } else {
        fs::OpenOptions::new().create(true).append(true).open(place).map_err(Error::file("create", place))?;
    }
    let source = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    mount(Some(&source), place, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|errno| Error::file("bind", place)(errno.into()))?;
    Ok(place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::mount::{MntFlags, umount2};

    #[test]
    fn root_a_path_inside_is_bound_and_one_that_leads_out_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("v");
        fs::create_dir_all(volume.join("d")).unwrap();
        fs::write(volume.join("d/f"), "x").unwrap();
        fs::write(root.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(root.path().join("secret"), volume.join("out")).unwrap();
        std::os::unix::fs::symlink("d/f", volume.join("in")).unwrap();
        let place = root.path().join("p");
        for (sub, ok) in [("out", false), ("../secret", false), ("/etc", false), ("in", true)] {
            let bound = bind(&volume, sub, &place);
            assert_eq!(bound.is_ok(), ok, "{sub}: {bound:?}");
        }
        assert_eq!(fs::read_to_string(&place).unwrap(), "x");
        umount2(&place, MntFlags::MNT_DETACH).unwrap();
        let made = root.path().join("q");
        bind(&volume, "new/dir", &made).unwrap();
        assert!(volume.join("new/dir").is_dir());
        umount2(&made, MntFlags::MNT_DETACH).unwrap();
    }
}
