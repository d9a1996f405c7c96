//! Files that only their owner may read, replaced whole or not at all.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::error::Error;

/// Writes a file (0600): into a temporary one beside it, to the disk, and then into its place. Blocking for moments.
///
/// # Errors
/// The operation that failed; the file is then what it was.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    // What a process of this id left when it was killed may have other permissions.
    let _ = fs::remove_file(&fresh);
    let written = write_new(&fresh, text).and_then(|()| fs::rename(&fresh, path).map_err(Error::file("replace", path)));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written?;
    // The name too must outlive a power failure.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::file("keep", directory))
}

fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(Error::file("create", path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(Error::file("write", path))
}

/// The text of a file; none where there is no file.
pub fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// Removes a file if it is there.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a directory for secrets (0700) with those above it.
pub fn directory(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubeconfig");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        // As a process that was killed leaves it.
        fs::write(path.with_extension(format!("new-{}", std::process::id())), "half").unwrap();
        write(&path, "new").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("new"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read(&path).unwrap(), None);
        assert!(write(&directory.path().join("none/x"), "x").is_err());
    }
}
