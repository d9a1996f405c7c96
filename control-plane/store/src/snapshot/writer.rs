//! Writing a backup: under a temporary name until all of it is on the disk.

use super::format::{Header, KeptFile, MOST_PART, PART_BYTES, Payload, header};
use super::{Pages, SnapshotError, Source};
use crate::KeyRange;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Mode of a backup: Secrets and private keys are in it.
const MODE: u32 = 0o600;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub header: Header,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes what `source` holds, without the keys in the ranges `without`, and `files` beside it into the file `path`, which is replaced if it is
/// there. On an error what there was stays. Blocks on the file.
pub async fn backup(
    source: &dyn Source,
    without: &[KeyRange],
    files: &[KeptFile],
    cluster: &str,
    program: &str,
    path: &Path,
) -> Result<Written, SnapshotError> {
    let mut pages = Pages::new(source, without);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let about = Header {
        cluster: cluster.to_owned(),
        revision: source.revision(),
        keys: pages.count().await?,
        taken_at: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        program: program.to_owned(),
    };
    let mut out = Out::begin(path)?;
    let fail = |operation: &'static str| move |source: io::Error| SnapshotError::File { operation, path: path.to_owned(), source };
    let bytes = header(&about).map_err(|error| fail("write")(error.into()))?;
    out.write(&bytes).map_err(fail("write"))?;
    for file in files {
        out.part(&Payload::file(file)).map_err(fail("write"))?;
    }
    let mut keys = Payload::keys();
    let mut count = 0;
    while let Some(page) = pages.next().await? {
        for record in &page {
            keys.add(record);
            count += 1;
            if keys.len() >= PART_BYTES {
                out.part(&keys).map_err(fail("write"))?;
                keys = Payload::keys();
            }
        }
    }
    if keys.len() > 0 {
        out.part(&keys).map_err(fail("write"))?;
    }
    if count != about.keys {
        let what = format!("{count} keys were read of {}", about.keys);
        return Err(SnapshotError::Damaged { path: path.to_owned(), what });
    }
    let end = Payload::end(count, out.checksum.clone().finalize());
    out.part(&end).map_err(fail("write"))?;
    let bytes = out.bytes;
    out.place().map_err(fail("put in place"))?;
    Ok(Written { header: about, bytes })
}

/// The file being written, removed when it is dropped before it is in place.
struct Out {
    file: io::BufWriter<File>,
    temporary: PathBuf,
    path: PathBuf,
    parts: u32,
    bytes: u64,
    checksum: crc32fast::Hasher,
    placed: bool,
}

impl Out {
    fn begin(path: &Path) -> Result<Self, SnapshotError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".unfinished-{}", std::process::id()));
        let temporary = path.with_file_name(name);
        // One that is there has somebody else's mode.
        let _ = fs::remove_file(&temporary);
        let opened = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary);
        let file = opened.map_err(|source| SnapshotError::File { operation: "create", path: temporary.clone(), source })?;
        let checksum = crc32fast::Hasher::new();
        Ok(Self { file: io::BufWriter::new(file), temporary, path: path.to_owned(), parts: 0, bytes: 0, checksum, placed: false })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn part(&mut self, payload: &Payload) -> io::Result<()> {
        if payload.len() > MOST_PART {
            return Err(io::Error::other(format!("a key or file of {} bytes is too long", payload.len())));
        }
        let bytes = payload.part(self.parts);
        self.parts += 1;
        self.write(&bytes)
    }

    fn place(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.placed = true;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if !self.placed {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
