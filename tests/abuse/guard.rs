//! What must hold whatever clients do: the server answers others in time, has logged no panic, and its memory is bounded.

use anyhow::{Context, Result, ensure};
use orknet_tests::https::{Answer, Api};
use orknet_tests::server::Server;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Another client is answered within this time, on a machine that does other things as well.
const DEADLINE: Duration = Duration::from_secs(5);

/// A server under abuse.
pub struct Guarded {
    pub server: Server,
    pub api: Api,
    /// Resident memory before, in bytes.
    before: u64,
    /// Answers with 500 that are as they should be.
    explained: AtomicUsize,
    _directory: TempDir,
}

impl Guarded {
    /// A fresh server.
    pub fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let server = Server::start(directory.path())?;
        let api = Api::of(&server.kubectl())?;
        let before = resident(server.process())?;
        // Health checks answer so until the server is ready.
        let explained = AtomicUsize::new(failures(&api)?.iter().map(|(_, count)| count).sum());
        Ok(Self { server, api, before, explained, _directory: directory })
    }

    /// Another client reads, writes and asks for health on a connection of its own, in time.
    pub fn serves_others(&self) -> Result<()> {
        let asked = Instant::now();
        let api = self.api.clone().within(DEADLINE);
        for path in ["/readyz", "/api/v1/namespaces/default"] {
            let answer = api.get(path).with_context(|| format!("{path} is not answered"))?;
            ensure!(answer.code == 200, "{path}: {}", answer.text());
        }
        api.post("/api/v1/namespaces/default/configmaps", r#"{"metadata":{"generateName":"other-"}}"#)?.expect(201)?;
        ensure!(asked.elapsed() < DEADLINE, "others wait {:?}", asked.elapsed());
        Ok(())
    }

    /// Its memory has grown by at most so many MiB.
    pub fn grew_at_most(&self, mebibytes: u64) -> Result<()> {
        let now = resident(self.server.process())?;
        let grown = now.saturating_sub(self.before) >> 20;
        ensure!(grown <= mebibytes, "the server's memory grew by {grown} MiB (from {} MiB), more than {mebibytes}", self.before >> 20);
        Ok(())
    }

    /// Whether an answer is no failure of the server. Kubernetes has no better code than 500 for a configuration to apply that does not have the shape of
    /// its kind.
    pub fn is_no_failure(&self, answer: &Answer) -> bool {
        let is_untyped = answer.code == 500 && answer.text().contains("failed to create typed patch object");
        if is_untyped {
            self.explained.fetch_add(1, Ordering::Relaxed);
        }
        answer.code < 500 || is_untyped
    }

    /// At the end: as [`Guarded::serves_others`], and no request was answered by 500 but those, none panicked.
    pub fn is_sound(&self) -> Result<()> {
        self.serves_others()?;
        let log = self.server.log();
        ensure!(!log.contains("panicked"), "the server's log tells of a panic:\n{log}");
        let failed = failures(&self.api)?;
        let count: usize = failed.iter().map(|(_, count)| count).sum();
        let explained = self.explained.load(Ordering::Relaxed);
        ensure!(count <= explained, "the server failed, {explained} answers of these were as they should be: {failed:?}");
        Ok(())
    }
}

/// How many requests were answered by 500, by their labels.
fn failures(api: &Api) -> Result<Vec<(String, usize)>> {
    let metrics = api.get("/metrics")?.text();
    let failed = metrics.lines().filter(|line| line.starts_with("apiserver_request_total{") && line.contains("code=\"500\""));
    failed
        .map(|line| {
            let (labels, count) = line.rsplit_once(' ').with_context(|| format!("{line:?} has no value"))?;
            Ok((labels.to_owned(), count.parse().with_context(|| format!("{line:?} counts nothing"))?))
        })
        .collect()
}

/// `VmRSS` of a process, in bytes.
fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("the server is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process without memory")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{line:?} is no number"))?;
    Ok(kibibytes << 10)
}
