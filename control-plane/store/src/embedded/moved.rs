//! The mark of a store that was migrated to another place: a file beside the log. Nobody opens it by mistake and goes on writing there.

use super::segment;
use super::state::failed;
use crate::StoreError;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where to, if it was.
pub fn moved(directory: &Path) -> Result<Option<String>, StoreError> {
    match fs::read_to_string(mark(directory)) {
        Ok(to) => Ok(Some(to)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read the mark of a migration", error)),
    }
}

/// Puts the mark, durably.
pub fn leave(directory: &Path, to: &str) -> Result<(), StoreError> {
    let put = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(segment::MODE).open(mark(directory))?;
        file.write_all(to.as_bytes())?;
        file.sync_all()?;
        segment::sync_directory(directory)
    };
    put().map_err(|error| failed("mark the store as migrated", error))
}

/// Takes the mark away; none there is no error.
pub fn stay(directory: &Path) -> Result<(), StoreError> {
    match fs::remove_file(mark(directory)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("take away the mark of a migration", error)),
        _ => segment::sync_directory(directory).map_err(|error| failed("take away the mark of a migration", error)),
    }
}

fn mark(directory: &Path) -> PathBuf {
    directory.join("moved")
}
