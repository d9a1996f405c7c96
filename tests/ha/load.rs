//! A fault under load: recorded, repaired, judged.

use crate::leaders::{LEASES, Leaders, two_at_once};
use crate::site::{COUNT, Site};
use anyhow::{Result, bail, ensure};
use orknet_tests::eventually;
use orknet_tests::history::recorder::Recorder;
use orknet_tests::history::{Violation, check};
use std::time::{Duration, Instant};

/// Writes that each server has acknowledged before a fault, and that one has to acknowledge to count as one that serves.
const ENOUGH: usize = 10;

/// Clients at work on a site, and who looks after leaders.
pub struct Load {
    recorder: Recorder,
    leaders: Leaders,
}

/// How long writes were not acknowledged, by server, while the fault lasted.
pub struct Expected {
    pub within: Duration,
    pub servers: Vec<usize>,
    /// The one that was killed: it knows nothing of the past.
    pub started_anew: Option<usize>,
}

/// Runs the fault under load and repairs the site. Then what everybody was told is compared with what the store says, nobody has led beside
/// another, and the servers that the fault names were never without an acknowledged write for longer than it says.
pub fn under(site: &Site, name: &str, ballast: usize, fault: impl FnOnce(&Load) -> Result<Expected>) -> Result<()> {
    site.repair()?;
    let namespace = format!("{name}-{}", std::process::id());
    site.kubectl(0).run(&["create", "namespace", &namespace])?;
    let apis = (0..COUNT).map(|server| site.api(server)).collect::<Result<Vec<_>>>()?;
    let load = Load { recorder: Recorder::start(&apis, &namespace, ballast)?, leaders: Leaders::start(site)? };
    load.serves(0, &[0, 1, 2], Duration::from_secs(60))?;
    let began = load.recorder.now();
    let expected = fault(&load);
    let ended = load.recorder.now();
    site.repair()?;
    // A fault that has failed is told of, but its history is judged first.
    let (since, asked) = (load.recorder.now(), Instant::now());
    let repaired = load.serves(since, &[0, 1, 2], Duration::from_secs(30));
    let led = load.has_leaders(asked);
    let answers = load.leaders.finish()?;
    let recorded = load.recorder.finish()?;
    let truth = site.truth(&namespace, recorded.began, recorded.end)?;
    let violations = check(&truth, &recorded.history);
    ensure!(violations.is_empty(), "{} violations:\n{}", violations.len(), told(&violations));
    let expected = expected?;
    repaired?;
    led?;
    for (lease, name) in LEASES.iter().enumerate() {
        if let Some(two) = two_at_once(&answers, lease) {
            bail!("two led {name} at once: {two:?}");
        }
    }
    for server in (0..COUNT).filter(|server| Some(*server) != expected.started_anew) {
        ensure!(recorded.lists(server) == 0, "a watch of server {server}, which has run all the time, could not go on where it was");
    }
    let gaps: Vec<Duration> = expected.servers.iter().map(|server| recorded.longest_gap(*server, began, ended)).collect();
    let (acknowledged, unknown) = recorded.counts();
    println!(
        "{name}: {acknowledged} writes acknowledged, {unknown} unknown, {} changes, {} watches; longest gaps {gaps:.1?} of servers {:?} in {:.1?}",
        truth.len(),
        recorded.history.watches.len(),
        expected.servers,
        Duration::from_micros(ended - began)
    );
    ensure!(gaps.iter().all(|gap| *gap <= expected.within), "no write was acknowledged for {gaps:.1?}; at most {:?}", expected.within);
    Ok(())
}

fn told(violations: &[Violation]) -> String {
    violations.iter().take(10).map(|violation| format!("{violation}\n")).collect()
}

impl Load {
    pub fn now(&self) -> u64 {
        self.recorder.now()
    }

    /// Waits until each of these servers has acknowledged some writes that were sent after `since`.
    pub fn serves(&self, since: u64, servers: &[usize], within: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let counts = self.recorder.acknowledged(since);
            if servers.iter().all(|server| counts[*server] >= ENOUGH) {
                return Ok(began.elapsed());
            }
            ensure!(began.elapsed() < within, "after {within:?} the servers have acknowledged {counts:?} writes");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Who leads the Lease.
    pub fn leader(&self, lease: usize) -> Result<usize> {
        let asked = Instant::now();
        eventually("a leader", || self.leaders.now(lease, asked).map(|(server, _)| server).ok_or_else(|| anyhow::anyhow!("nobody leads")))
    }

    /// Waits until another server than `former` leads the Lease; for how long.
    pub fn another_leads(&self, lease: usize, former: usize, within: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            if let Some((server, at)) = self.leaders.now(lease, began)
                && server != former
            {
                return Ok(at - began);
            }
            ensure!(began.elapsed() < within, "{former} led {}, and nobody else does after {within:?}", LEASES[lease]);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Controllers and scheduler are led by somebody again.
    fn has_leaders(&self, since: Instant) -> Result<()> {
        for (lease, name) in LEASES.iter().enumerate() {
            let deadline = Instant::now() + Duration::from_secs(25);
            while self.leaders.now(lease, since).is_none() {
                ensure!(Instant::now() < deadline, "nobody leads {name}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }
}
