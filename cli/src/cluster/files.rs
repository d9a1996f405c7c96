//! Files that others read while they are written: whole or as before, and untouched where nothing changes.

use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// Makes a directory, with those above it, that only its owner may enter: keys and Secrets are below. Blocking.
pub fn private_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("cannot make {}", path.display()))
}

/// Writes a file in one step, with the directories above it. Blocking.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|before| before == content) {
        return Ok(());
    }
    replace(path, |fresh| fs::write(fresh, content))
}

/// Makes a symbolic link, or points it elsewhere, in one step. Blocking.
pub fn link(path: &Path, target: &Path) -> Result<()> {
    if fs::read_link(path).is_ok_and(|before| before == target) {
        return Ok(());
    }
    replace(path, |fresh| symlink(target, fresh))
}

fn replace(path: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<()> {
    let directory = path.parent().context("a file has a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let fresh = path.with_added_extension("new");
    // Left by somebody who was killed in between.
    let _ = fs::remove_file(&fresh);
    make(&fresh).and_then(|()| fs::rename(&fresh, path)).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_directory_is_closed_also_where_it_was_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        private_directory(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_does_not_change_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let (file, other) = (directory.path().join("below/file"), directory.path().join("link"));
        write(&file, b"one").unwrap();
        let made = fs::metadata(&file).unwrap().modified().unwrap();
        write(&file, b"one").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), made);
        write(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        link(&other, Path::new("a")).unwrap();
        link(&other, Path::new("b")).unwrap();
        assert_eq!(fs::read_link(&other).unwrap(), Path::new("b"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left beside them");
    }
}
