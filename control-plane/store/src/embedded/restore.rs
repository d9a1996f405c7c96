//! Filling a directory that has no store with what a backup holds. A file marks it until all is there: nobody takes a part for the whole.

use super::state::failed;
use super::{Embedded, EmbeddedConfig, Reader, enter, moved, recover, segment};
use crate::MAX_RESTORED;
use crate::snapshot::{Begin, SnapshotError, Target};
use crate::{Revision, Store, StoreError};
use async_trait::async_trait;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a restore that is not done comes from, if there is one.
pub fn unfinished(directory: &Path) -> Result<Option<String>, StoreError> {
    match fs::read_to_string(mark(directory)) {
        Ok(from) => Ok(Some(from)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read the mark of a restore", error)),
    }
}

fn mark(directory: &Path) -> PathBuf {
    directory.join("restoring")
}

/// A directory that is being filled; nobody else can open it.
pub struct Restore {
    directory: PathBuf,
    store: Arc<Embedded>,
}

impl Restore {
    /// Begins: from now on until [`Target::finish`] the directory holds a restore that is not done. Blocks.
    /// Errors: somebody has the directory open; there is a store in it, or a part of one that the caller does not say to remove.
    pub fn begin(mut config: EmbeddedConfig, begin: &Begin) -> Result<Self, SnapshotError> {
        let directory = config.directory.clone();
        let lock = enter(&mut config)?;
        let files = log_files(&directory).map_err(|error| failed("list the store's directory", error))?;
        match unfinished(&directory)? {
            Some(from) if !begin.again => {
                return Err(SnapshotError::Unfinished { place: directory.display().to_string(), from });
            }
            None if !files.is_empty() => {
                let found = match Reader::open(&directory, false) {
                    Ok(reader) => {
                        format!("a store with {} keys at revision {}", reader.total(), crate::snapshot::Source::revision(&reader))
                    }
                    Err(error) => format!("a store that cannot be read ({error})"),
                };
                return Err(SnapshotError::NotEmpty { place: directory.display().to_string(), found });
            }
            Some(_) | None => {}
        }
        put_mark(&directory, &begin.from).map_err(|error| failed("mark the restore", error))?;
        for file in files {
            fs::remove_file(file).map_err(|error| failed("remove what a restore left", error))?;
        }
        // Of a store that went, and was removed.
        moved::stay(&directory)?;
        let recovered = recover::recover_from(config, begin.above)?;
        Ok(Self { directory, store: Embedded::begin(recovered, lock, MAX_RESTORED)? })
    }
}

#[async_trait]
impl Target for Restore {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn finish(&self) -> Result<Revision, StoreError> {
        // Its past is none of the cluster's.
        let revision = self.store.current_revision().await?;
        self.store.compact(revision).await?;
        fs::remove_file(mark(&self.directory))
            .and_then(|()| segment::sync_directory(&self.directory))
            .map_err(|error| failed("end the restore", error))?;
        Ok(revision)
    }
}

/// Makes the mark durable.
fn put_mark(directory: &Path, from: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(segment::MODE).open(mark(directory))?;
    file.write_all(from.as_bytes())?;
    file.sync_all()?;
    segment::sync_directory(directory)
}

fn log_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let all: Vec<PathBuf> = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    Ok(all.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect())
}
