//! Streams a log file: from where the reader wants, across rotations, until the container has ended.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::unfold;

use super::select::{Options, Selector};
use super::tail;

/// Time between looks at the end of the file.
const POLL: Duration = Duration::from_millis(100);
/// Bytes per piece of the answer, about.
const PIECE: usize = 64 << 10;

/// Tells whether the container still writes.
pub trait Source: Send + 'static {
    /// False when the container has ended: what is in the file then is all there will be.
    fn is_running(&mut self) -> impl Future<Output = bool> + Send;
}

/// Opens the file and streams it. Dropping the stream ends the reading.
///
/// # Errors
/// The file cannot be opened; later errors are in the stream.
pub fn stream<S: Source>(path: &Path, options: &Options, source: S) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + use<S>> {
    let mut file = File::open(path)?;
    let begin = match options.tail_lines {
        Some(lines) => tail::offset(&mut file, lines)?,
        None => 0,
    };
    file.seek(SeekFrom::Start(begin))?;
    let reader = Reader {
        path: path.to_owned(),
        file,
        rest: Vec::new(),
        selector: Selector::new(options),
        follow: options.follow,
        source,
        drained: false,
        ended: false,
    };
    Ok(unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

struct Reader<S> {
    path: PathBuf,
    file: File,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
    selector: Selector,
    follow: bool,
    source: S,
    /// The file has been replaced, and its end is being waited for.
    drained: bool,
    /// The container has ended; one more look at the file and that is all.
    ended: bool,
}

impl<S: Source> Reader<S> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.selector.is_full() {
                return Ok(None);
            }
            let mut out = Vec::new();
            if self.read(&mut out)? {
                if !out.is_empty() {
                    return Ok(Some(out.into()));
                }
                continue;
            }
            // The end of this file. A rotated log goes on in a new file of the same name; until containerd has turned to that, which takes it
            // a moment, lines may still come to the old one.
            if self.follow && self.is_replaced()? {
                if self.drained {
                    self.file = File::open(&self.path)?;
                } else {
                    tokio::time::sleep(POLL).await;
                }
                self.drained = !self.drained;
                continue;
            }
            if !self.follow || self.ended {
                let last = std::mem::take(&mut self.rest);
                self.selector.add(&last, &mut out);
                return Ok(Some(out).filter(|o| !o.is_empty()).map(Bytes::from));
            }
            self.ended = !self.source.is_running().await;
            if !self.ended {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    /// Reads a piece of the file; false at its end.
    fn read(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let mut piece = vec![0; PIECE];
        let count = self.file.read(&mut piece)?;
        if count == 0 {
            return Ok(false);
        }
        self.rest.extend_from_slice(&piece[..count]);
        let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else { return Ok(true) };
        let tail = self.rest.split_off(end + 1);
        for line in self.rest.split_inclusive(|b| *b == b'\n') {
            self.selector.add(line, out);
            if self.selector.is_full() {
                break;
            }
        }
        self.rest = tail;
        Ok(true)
    }

    /// True when the name belongs to another file now.
    fn is_replaced(&self) -> io::Result<bool> {
        let Ok(named) = std::fs::metadata(&self.path) else { return Ok(false) };
        let open = self.file.metadata()?;
        Ok((named.dev(), named.ino()) != (open.dev(), open.ino()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use std::io::Write;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Flag(Arc<AtomicBool>);

    impl Source for Flag {
        async fn is_running(&mut self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn append(path: &Path, text: &str) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "2024-05-01T10:00:00Z stdout F {text}").unwrap();
    }

    #[tokio::test]
    async fn a_follower_sees_new_lines_across_a_rotation_until_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        append(&path, "old");
        append(&path, "one");
        let running = Arc::new(AtomicBool::new(true));
        let options = Options { follow: true, tail_lines: Some(1), ..Options::default() };
        let mut stream = pin!(stream(&path, &options, Flag(running.clone())).unwrap());
        assert_eq!(stream.next().await.unwrap().unwrap(), "one\n");
        append(&path, "two");
        assert_eq!(stream.next().await.unwrap().unwrap(), "two\n");
        let aside = directory.path().join("0.log.1");
        std::fs::rename(&path, &aside).unwrap();
        append(&path, "three");
        // The end of the old file is seen, then the name of the new one; a line that comes to the old one in between is not lost.
        tokio::select! {
            biased;
            _ = stream.next() => panic!("the new file before the old one's end"),
            () = std::future::ready(()) => append(&aside, "late"),
        }
        assert_eq!(stream.next().await.unwrap().unwrap(), "late\n");
        assert_eq!(stream.next().await.unwrap().unwrap(), "three\n");
        append(&path, "four");
        running.store(false, Ordering::SeqCst);
        assert_eq!(stream.next().await.unwrap().unwrap(), "four\n");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn without_follow_the_file_is_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        (0..5000).for_each(|n| append(&path, &format!("line {n}")));
        let flag = Flag(Arc::new(AtomicBool::new(true)));
        let pieces: Vec<_> = stream(&path, &Options::default(), flag).unwrap().collect().await;
        let all: Vec<u8> = pieces.into_iter().flat_map(|p| p.unwrap().to_vec()).collect();
        assert_eq!(String::from_utf8(all).unwrap().lines().count(), 5000);
    }
}
