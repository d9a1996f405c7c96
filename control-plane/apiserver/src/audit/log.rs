//! The audit log: a file of one JSON event a line, that is changed for a new one when it is full.
//!
//! A thread of its own writes, so that no request waits for the disk; a request waits before it begins while too much is unwritten. What cannot be
//! written is counted and told, and the server goes on, as with Kubernetes.

use super::event::Event;
use jiff::{Timestamp, Unit};
use prometheus_client::metrics::counter::Counter;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use tokio::sync::Notify;

/// Unwritten bytes from which on requests wait.
const ROOM: usize = 32 << 20;
/// Most bytes that are written at a time.
const BATCH: usize = 1 << 20;

/// Where events go, and how many files are kept.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LogConfig {
    /// The file; `-` is standard output.
    pub path: PathBuf,
    /// Bytes (in units of 2²⁰) from which on a new file is begun.
    #[serde(default = "default_size")]
    pub max_size_megabytes: u64,
    /// How many files are kept beside the one that is written; 0: all.
    #[serde(default)]
    pub max_backups: usize,
    /// How many days these are kept; 0: for ever.
    #[serde(default)]
    pub max_age_days: u64,
}

fn default_size() -> u64 {
    100
}

impl LogConfig {
    fn max_bytes(&self) -> u64 {
        self.max_size_megabytes.saturating_mul(1 << 20)
    }
}

/// What has become of events, as the metrics tell. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub written: Counter,
    pub failed: Counter,
}

/// See the module. Its thread ends with it.
pub struct Log {
    lines: mpsc::Sender<Vec<u8>>,
    backlog: Arc<Backlog>,
    pub counts: Counts,
}

#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    shrank: Notify,
}

impl Log {
    /// Opens the file, makes its directory where there is none.
    pub fn open(config: LogConfig) -> io::Result<Self> {
        let (lines, received) = mpsc::channel();
        let (backlog, counts) = <(Arc<Backlog>, Counts)>::default();
        let output = Output::open(config)?;
        let writer = Writer { output, backlog: backlog.clone(), counts: counts.clone(), failing: false };
        std::thread::Builder::new().name("audit-log".into()).spawn(move || writer.run(&received))?;
        Ok(Self { lines, backlog, counts })
    }

    /// Waits while too much is unwritten.
    pub async fn room(&self) {
        self.shrinks_below(ROOM).await;
    }

    /// Waits until all has been written, or could not be.
    pub async fn flushed(&self) {
        self.shrinks_below(1).await;
    }

    async fn shrinks_below(&self, bytes: usize) {
        loop {
            let shrank = self.backlog.shrank.notified();
            if self.backlog.bytes.load(Ordering::Acquire) < bytes {
                return;
            }
            shrank.await;
        }
    }

    /// Hands an event over. Does not wait.
    pub fn write(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else {
            self.counts.failed.inc();
            return;
        };
        line.push(b'\n');
        self.backlog.bytes.fetch_add(line.len(), Ordering::AcqRel);
        // The thread ends after all senders.
        let _ = self.lines.send(line);
    }
}

struct Writer {
    output: Output,
    backlog: Arc<Backlog>,
    counts: Counts,
    failing: bool,
}

impl Writer {
    fn run(mut self, lines: &mpsc::Receiver<Vec<u8>>) {
        while let Ok(first) = lines.recv() {
            let (mut batch, mut events) = (first, 1);
            while batch.len() < BATCH
                && let Ok(line) = lines.try_recv()
            {
                batch.extend(line);
                events += 1;
            }
            let written = self.output.write(&batch);
            let count = if written.is_ok() { &self.counts.written } else { &self.counts.failed };
            count.inc_by(events);
            match &written {
                Err(error) if !self.failing => tracing::error!(%error, "audit events cannot be written, and are lost"),
                Ok(()) if self.failing => tracing::info!("audit events are written again"),
                _ => {}
            }
            self.failing = written.is_err();
            self.backlog.bytes.fetch_sub(batch.len(), Ordering::AcqRel);
            self.backlog.shrank.notify_waiters();
        }
    }
}

/// Where the bytes go.
enum Output {
    Standard,
    /// `full`: from which size on a new file is begun.
    File {
        config: LogConfig,
        file: File,
        size: u64,
        full: u64,
    },
}

impl Output {
    fn open(config: LogConfig) -> io::Result<Self> {
        if config.path == Path::new("-") {
            return Ok(Self::Standard);
        }
        if let Some(directory) = config.path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        if config.max_size_megabytes == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "maxSizeMegabytes must be positive"));
        }
        let file = append(&config.path)?;
        let metadata = file.metadata()?;
        // A pipe or a device is never full.
        let (size, full) = (metadata.len(), if metadata.is_file() { config.max_bytes() } else { u64::MAX });
        Ok(Self::File { config, file, size, full })
    }

    /// Writes whole lines, or none of them.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let Self::File { config, file, size, full } = self else { return io::stdout().lock().write_all(lines) };
        if *size > 0 && *size + lines.len() as u64 > *full {
            match rotate(config) {
                Ok(new) => (*file, *size, *full) = (new, 0, config.max_bytes()),
                Err(error) => {
                    tracing::error!(%error, path = %config.path.display(), "the audit log is full and cannot be changed for a new file, it grows on");
                    *full = *size + config.max_bytes();
                }
            }
        }
        file.write_all(lines).inspect_err(|_| {
            // A part may be there. What is no file (a pipe) keeps it.
            let _ = file.set_len(*size);
        })?;
        *size += lines.len() as u64;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    // Bodies of requests are in it.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Renames the file to one that says when, begins a new one, and removes those that are too many or too old.
fn rotate(config: &LogConfig) -> io::Result<File> {
    let now = Timestamp::now();
    let mut at = now.round(Unit::Millisecond).unwrap_or(now);
    // Two in a millisecond have names of their own.
    while backup(&config.path, at).exists() {
        at += jiff::SignedDuration::from_millis(1);
    }
    match std::fs::rename(&config.path, backup(&config.path, at)) {
        // Somebody else moved or removed it, or an earlier change got no further.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed?,
    }
    let new = append(&config.path)?;
    match backups(&config.path) {
        // Who removed one before wanted the same.
        Ok(backups) => surplus(backups, config, now).into_iter().for_each(|path| drop(std::fs::remove_file(path))),
        Err(error) => tracing::warn!(%error, path = %config.path.display(), "old audit logs cannot be listed, and stay"),
    }
    Ok(new)
}

/// How a backup's time is written in its name, as the rotation of Kubernetes' audit log does.
const TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// `/var/log/audit.log` → `/var/log/audit-2026-01-02T03-04-05.006.log`.
fn backup(path: &Path, at: Timestamp) -> PathBuf {
    let (stem, extension) = parts(path);
    path.with_file_name(format!("{stem}-{}{extension}", at.strftime(TIME)))
}

/// Name without and with its last extension's dot.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = path.extension().map(|_| format!(".{}", text(path.extension()))).unwrap_or_default();
    (text(path.file_stem()), extension)
}

/// The backups that there are, newest first.
fn backups(path: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let (stem, extension) = parts(path);
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let time = name.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(&extension[..]));
        if let Some(at) = time.and_then(|time| jiff::civil::DateTime::strptime(TIME, time).ok()) {
            let Ok(at) = at.to_zoned(jiff::tz::TimeZone::UTC) else { continue };
            found.push((at.timestamp(), entry.path()));
        }
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found)
}

/// Of backups, newest first, those that are too many or too old. Pure.
fn surplus(backups: Vec<(Timestamp, PathBuf)>, config: &LogConfig, now: Timestamp) -> Vec<PathBuf> {
    let most = if config.max_backups == 0 { usize::MAX } else { config.max_backups };
    let oldest = i64::try_from(config.max_age_days.saturating_mul(24 * 3600)).ok().filter(|age| *age > 0);
    let is_old = |at: Timestamp| oldest.is_some_and(|age| now.as_second().saturating_sub(at.as_second()) > age);
    backups.into_iter().enumerate().filter(|(index, (at, _))| *index >= most || is_old(*at)).map(|(_, (_, path))| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::event::Level;
    use orknet_auth::Identity;

    fn config(path: PathBuf) -> LogConfig {
        LogConfig { path, max_size_megabytes: 1, max_backups: 0, max_age_days: 0 }
    }

    fn event(id: usize, padding: usize) -> Event {
        let uri = "x".repeat(padding);
        Event::new(Level::Metadata, id.to_string(), "get", uri, Identity::anonymous(), String::new())
    }

    fn ids(path: &Path) -> Vec<usize> {
        let text = std::fs::read_to_string(path).expect("a file");
        let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("an event")["auditID"].as_str()?.parse().ok();
        text.lines().map(|line| id(line).expect("a number")).collect()
    }

    #[tokio::test]
    async fn files_are_changed_when_full_and_no_event_is_lost_or_cut() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("logs/audit.log");
        let log = Log::open(config(path.clone())).expect("opens");
        for id in 0..30 {
            log.write(&event(id, 100_000));
            // Each batch may be up to a file's size: one at a time makes the count of files sure.
            log.flushed().await;
        }
        let mut files: Vec<PathBuf> = backups(&path).expect("reads").into_iter().map(|(_, path)| path).rev().collect();
        assert_eq!(files.len(), 2, "three MB in files of one");
        files.push(path.clone());
        assert_eq!(files.iter().flat_map(|path| ids(path)).collect::<Vec<_>>(), (0..30).collect::<Vec<_>>());
        assert_eq!(log.counts.written.get(), 30);
        use std::os::unix::fs::PermissionsExt;
        for path in files {
            assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
    }

    #[tokio::test]
    async fn a_file_is_gone_on_with_after_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        for id in 0..2 {
            let log = Log::open(config(path.clone())).expect("opens");
            log.write(&event(id, 1));
            log.flushed().await;
        }
        assert_eq!(ids(&path), [0, 1]);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_counted_and_holds_nobody_up() {
        // Writes to it fail for want of space.
        let log = Log::open(config("/dev/full".into())).expect("opens");
        log.write(&event(0, 1));
        log.flushed().await;
        log.room().await;
        assert_eq!((log.counts.written.get(), log.counts.failed.get()), (0, 1));
    }

    #[test]
    fn backups_that_are_too_many_or_too_old_go() {
        let at = |days: i64| Timestamp::from_second(1_700_000_000 - days * 86_400).expect("a time");
        let all: Vec<_> = [1, 2, 5, 9].map(|days| (at(days), PathBuf::from(days.to_string()))).into();
        let gone = |max_backups, max_age_days| {
            let config = LogConfig { max_backups, max_age_days, ..config("a".into()) };
            surplus(all.clone(), &config, at(0)).iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(gone(0, 0), [""; 0]);
        assert_eq!(gone(3, 0), ["9"]);
        assert_eq!(gone(0, 4), ["5", "9"]);
        assert_eq!(gone(1, 4), ["2", "5", "9"]);
    }

    #[test]
    fn a_log_that_somebody_moved_goes_on_and_is_changed_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let mut output = Output::open(LogConfig { max_backups: 1, ..config(path.clone()) }).expect("opens");
        let half = vec![b'x'; 600 << 10];
        output.write(&half).expect("writes");
        std::fs::rename(&path, directory.path().join("elsewhere")).expect("moves");
        for _ in 0..4 {
            output.write(&half).expect("writes");
            assert_eq!(std::fs::metadata(&path).expect("there again").len(), half.len() as u64);
        }
        assert_eq!(backups(&path).expect("reads").len(), 1, "those that are too many go");
        let none = Output::open(LogConfig { max_size_megabytes: 0, ..config(path) }).err().map(|error| error.kind());
        assert_eq!(none, Some(io::ErrorKind::InvalidInput));
    }

    #[test]
    fn names_of_backups_are_read_back_and_other_files_are_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let at: Timestamp = "2026-01-02T03:04:05.006Z".parse().expect("a time");
        let own = backup(&path, at);
        assert_eq!(own.file_name().expect("a name"), "audit-2026-01-02T03-04-05.006.log");
        for name in ["audit.log", "audit-x.log", "other-2026-01-02T03-04-05.006.log", "audit-2026-01-02T03-04-05.006.log.gz"] {
            std::fs::write(directory.path().join(name), "").expect("writes");
        }
        std::fs::write(&own, "").expect("writes");
        assert_eq!(backups(&path).expect("reads"), [(at, own)]);
    }
}
