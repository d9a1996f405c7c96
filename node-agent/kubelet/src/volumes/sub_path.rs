//! `subPath`: one file or directory inside a volume, bound to a place of its own. The kernel resolves every step below the volume, so that
//! no link of a container leads out of it, whenever it is made; what was opened is what is bound.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};

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
    // Only as a place: opening a pipe would wait for its other end.
    let root = fs::OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(volume).map_err(Error::file("open", volume))?;
    let opened = open_or_make(&root, volume, relative)?;
    let is_directory = opened.metadata().map_err(Error::file("look at", relative))?.is_dir();
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    }
    if is_directory {
        fs::create_dir_all(place).map_err(Error::file("create", place))?;
    } else {
        fs::OpenOptions::new().create(true).append(true).open(place).map_err(Error::file("create", place))?;
    }
    // A start that failed after this will try again with the same place.
    while umount2(place, MntFlags::MNT_DETACH).is_ok() {}
    mount(Some(&descriptor(&opened)), place, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|errno| Error::file("bind", place)(errno.into()))?;
    Ok(place.to_owned())
}

/// Opens a path below `root`, making the directories that are missing, with the mode of the volume.
fn open_or_make(root: &fs::File, volume: &Path, relative: &Path) -> Result<fs::File, Error> {
    let mode = root.metadata().map_err(Error::file("look at", volume))?.permissions().mode() & 0o7777;
    let mut at = PathBuf::from(".");
    let mut opened = beneath(root, &at).map_err(|errno| Error::file("open", volume)(errno.into()))?;
    for part in relative.components().filter(|part| *part != Component::CurDir) {
        at.push(part);
        let fail = |operation, errno: Errno| Error::file(operation, &volume.join(&at))(errno.into());
        opened = match beneath(root, &at) {
            Err(Errno::ENOENT) => {
                match mkdirat(&opened, Path::new(&part), Mode::S_IRWXU) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(fail("create", errno)),
                }
                let made = beneath(root, &at).map_err(|errno| fail("open", errno))?;
                // By its descriptor: the name may be another file's by now. The umask has no say.
                fs::set_permissions(descriptor(&made), fs::Permissions::from_mode(mode)).map_err(Error::file("change the mode of", &at))?;
                made
            }
            other => other.map_err(|errno| fail("open", errno))?,
        };
    }
    Ok(opened)
}

fn beneath(root: &fs::File, path: &Path) -> Result<fs::File, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .mode(Mode::empty())
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how).map(fs::File::from)
}

fn descriptor(file: &fs::File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_a_path_inside_is_bound_and_one_that_leads_out_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("v");
        fs::create_dir_all(volume.join("d")).unwrap();
        fs::write(volume.join("d/f"), "x").unwrap();
        fs::write(root.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(root.path().join("secret"), volume.join("out")).unwrap();
        std::os::unix::fs::symlink("d/f", volume.join("in")).unwrap();
        std::os::unix::fs::symlink(root.path(), volume.join("away")).unwrap();
        let place = root.path().join("p");
        for (sub, ok) in [("out", false), ("../secret", false), ("/etc", false), ("away/new", false), ("in", true)] {
            let bound = bind(&volume, sub, &place);
            assert_eq!(bound.is_ok(), ok, "{sub}: {bound:?}");
        }
        assert!(!root.path().join("new").exists(), "nothing is made out there");
        assert_eq!(fs::read_to_string(&place).unwrap(), "x");
        bind(&volume, "in", &place).unwrap();
        umount2(&place, MntFlags::MNT_DETACH).unwrap();
        assert!(umount2(&place, MntFlags::MNT_DETACH).is_err(), "a second bind takes the place of the first");
        let made = root.path().join("q");
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o2777)).unwrap();
        bind(&volume, "new/dir", &made).unwrap();
        for made in ["new", "new/dir"] {
            assert_eq!(fs::metadata(volume.join(made)).unwrap().permissions().mode() & 0o7777, 0o2777, "whoever may write the volume");
        }
        umount2(&made, MntFlags::MNT_DETACH).unwrap();
    }
}
